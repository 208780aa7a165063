//! The simulated destinations: an object store (a name holds one body) and a collector that drops bodies whose
//! idempotency key it knows. Fault model: a reply may be lost after the body was stored; a request may arrive late, after
//! its verdict, after a crash. The same name or key with another body is a broken promise, whoever sent it.
use edgepush::protocol::{CodecKind, Spooled};
use std::collections::BTreeMap;
use std::io::Read;

/// What the destinations hold.
#[derive(Debug, Default)]
pub struct Store {
    bodies: BTreeMap<String, Vec<u8>>,
    keys: BTreeMap<String, String>,
    late: Vec<(String, String, Vec<u8>)>,
}

impl Store {
    /// A request arrives.
    pub fn put(&mut self, batch: &Spooled, body: Vec<u8>) {
        self.arrive(batch.name.to_string(), batch.key.to_string(), body);
    }

    /// A request is on its way for longer than anyone waits for it.
    pub fn put_late(&mut self, batch: &Spooled, body: Vec<u8>) {
        self.late.push((batch.name.to_string(), batch.key.to_string(), body));
    }

    /// A late request arrives.
    pub fn arrive_late(&mut self, at: usize) {
        if !self.late.is_empty() {
            let (name, key, body) = self.late.swap_remove(at % self.late.len());
            self.arrive(name, key, body);
        }
    }

    fn arrive(&mut self, name: String, key: String, body: Vec<u8>) {
        if let Some(known) = self.keys.get(&key) {
            assert_eq!(*known, name, "two names have the key {key}");
        }
        if let Some(known) = self.bodies.get(&name) {
            assert!(*known == body, "the object {name} was sent again with another body");
        }
        self.keys.insert(key, name.clone());
        self.bodies.insert(name, body);
    }

    /// The text of every object, decompressed.
    pub fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.bodies.iter().map(|(name, body)| {
            let mut text = String::new();
            let read = flate2::read::MultiGzDecoder::new(&body[..]).read_to_string(&mut text);
            assert!(read.is_ok(), "{name} does not decompress: {read:?}");
            text
        })
    }
}

/// The simulation runs with gzip only: the codec is not what is tested here.
pub const CODEC: CodecKind = CodecKind::Gzip;

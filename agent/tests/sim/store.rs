//! The simulated destination: an object store, a name holds one body; and it knows idempotency keys as a collector
//! does. Fault model: a reply may be lost after the body was stored; a request may arrive late, after its verdict, after
//! a crash. The same name or key with another body is a broken promise (I7), whoever sent it.
use crate::logs::{Line, line_of};
use bytes::Bytes;
use edgepush::protocol::{CodecKind, JobId, Spooled};
use std::collections::BTreeMap;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub job: JobId,
    pub records: u64,
    codec: CodecKind,
    body: Vec<u8>,
}

/// What the destination holds.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<String, Object>,
    keys: BTreeMap<String, String>,
    late: Vec<(String, String, Object)>,
}

/// The records of a body: those that the log's writer wrote whole, and how many others.
pub fn records_of(job: JobId, codec: CodecKind, body: &[u8]) -> (Vec<Line>, u64) {
    let text = edgepush_shard::batch::decode(codec, body).expect("a body does not decompress");
    assert!(text.last().is_none_or(|b| *b == b'\n'), "a body ends inside a record");
    let (mut lines, mut others) = (Vec::new(), 0);
    for record in text.split(|b| *b == b'\n').filter(|r| !r.is_empty()) {
        let line = if job == JobId::REJECTS { rejected(record) } else { line_of(record) };
        match line {
            Some(line) => lines.push(line),
            None => others += 1,
        }
    }
    (lines, others)
}

/// The line that a reject holds.
fn rejected(record: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(record).ok()?;
    let (_, line) = text.split_once("\"line\":\"")?;
    line_of(line.strip_suffix("\"}")?.as_bytes())
}

impl Store {
    /// A request arrives.
    pub fn put(&mut self, batch: &Spooled, body: &[Bytes]) {
        let (name, key, object) = request(batch, body);
        self.arrive(name, key, object);
    }

    /// A request is on its way for longer than anyone waits for it.
    pub fn put_late(&mut self, batch: &Spooled, body: &[Bytes]) {
        self.late.push(request(batch, body));
    }

    /// A late request arrives.
    pub fn arrive_late(&mut self, at: usize) {
        if !self.late.is_empty() {
            let (name, key, object) = self.late.swap_remove(at % self.late.len());
            self.arrive(name, key, object);
        }
    }

    fn arrive(&mut self, name: String, key: String, object: Object) {
        if let Some(known) = self.keys.get(&key) {
            assert_eq!(*known, name, "I7: two names have the key {key}");
        }
        if let Some(known) = self.objects.get(&name) {
            assert!(*known == object, "I7: the object {name} was sent again with another body");
        }
        self.keys.insert(key, name.clone());
        self.objects.insert(name, object);
    }

    /// How often each line was delivered, by job. Checks that objects hold as many records as they say.
    pub fn delivered(&self) -> BTreeMap<(JobId, Line), u32> {
        let mut found = BTreeMap::new();
        for (name, object) in &self.objects {
            let (lines, others) = records_of(object.job, object.codec, &object.body);
            assert_eq!(lines.len() as u64 + others, object.records, "{name}: its number of records");
            for line in lines {
                *found.entry((object.job, line)).or_default() += 1;
            }
        }
        found
    }

    /// The objects that hold a line, for the story of a failure.
    pub fn holders(&self, line: Line) -> Vec<String> {
        let has = |object: &Object| records_of(object.job, object.codec, &object.body).0.contains(&line);
        self.objects.iter().filter(|(_, object)| has(object)).map(|(name, _)| name.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }
}

fn request(batch: &Spooled, body: &[Bytes]) -> (String, String, Object) {
    let object = Object { job: batch.job, records: batch.records, codec: batch.codec, body: body.concat() };
    (batch.name.to_string(), batch.key.to_string(), object)
}

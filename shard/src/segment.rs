//! Segment: one compressed run of records of one job.
//!
//! Promises: a segment is compressed on its own (no window shared with another), so any core can make one; its body
//! ends on a byte boundary, so bodies are joined by concatenation (DESIGN 4).
//! Must not know: containers, files, destinations.
use crate::chunk::{GroupId, JobId, Logged};
use crate::codec::CodecKind;
use crate::room::BatchNo;
use bytes::Bytes;
use std::sync::Arc;

/// One domain and one slot of time of an archive: its records become files of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shelf {
    /// The domain, as a directory is called.
    pub domain: Arc<str>,
    /// Where the slot begins, s since the epoch.
    pub start: i64,
    /// Its length, s.
    pub seconds: u32,
}

impl Shelf {
    /// Where the slot ends, s since the epoch.
    pub fn end(&self) -> i64 {
        self.start + i64::from(self.seconds)
    }
}

/// One compressed run of records of one job.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The job, and its version when the records were formatted: a batch never mixes versions.
    pub job: JobId,
    /// The job's version.
    pub version: u32,
    /// The shard's epoch: segments of a later one wait for the next commit (PROTOCOL P4).
    pub epoch: u64,
    /// Which of the job's batches these records took room in; means nothing with a shelf.
    pub batch: BatchNo,
    /// Where its records belong, of a job that goes into an archive.
    pub shelf: Option<Arc<Shelf>>,
    /// What the body is.
    pub codec: CodecKind,
    /// gzip: raw DEFLATE that ends with an empty stored block (BFINAL=0); zstd: one frame; none: the records.
    pub body: Bytes,
    /// CRC-32 of the uncompressed bytes.
    pub crc32: u32,
    /// Uncompressed bytes.
    pub raw_len: u32,
    /// Records.
    pub records: u32,
    /// Processing time of the first record, ns since the epoch; with a shelf the earliest of the records' own times.
    pub first: i64,
    /// Processing time of the last record, ns since the epoch; with a shelf the latest of the records' own times.
    pub last: i64,
}

/// Which slabs a seal closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the hot group.
    Hot,
    /// All of them.
    All,
}

/// What a shard pushes after its segments of an epoch (PROTOCOL P3): the chunks that those segments hold whole.
#[derive(Clone, Debug)]
pub struct Marker {
    /// The shard, 0-based.
    pub shard: usize,
    /// The epoch that ends here.
    pub epoch: u64,
    /// Every chunk that was processed whole since the group was sealed last, for each group that was sealed.
    pub logs: Vec<(GroupId, Vec<Logged>)>,
}

/// A shard took something into memory that is not sealed: the clocks of intervals start (RULINGS 2).
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The shard's epoch.
    pub epoch: u64,
    /// The job and version whose slab was begun; `None`: the first chunk since all slabs were closed was logged.
    pub job: Option<(JobId, u32)>,
}

/// What travels from a shard to the batcher, in order.
#[derive(Clone, Debug)]
pub enum FromShard {
    /// Something unsealed is in memory.
    Begun(Begun),
    /// A segment.
    Segment(Segment),
    /// The end of an epoch.
    Marker(Marker),
}

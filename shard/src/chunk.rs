//! Chunk: whole lines from one source with their offsets; the unit of work between cores and of progress.
//!
//! Promises: a chunk never ends inside a line (but for [`ChunkKind::TooLong`] and a final line that will never
//! get its newline), so a chunk is decided whole or not at all (PROTOCOL P1, I2).
//! Must not know: how the bytes were read.
use bytes::Bytes;
use std::sync::Arc;

/// A source's row id in the ledger. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u64);

/// A job's row id in the ledger. Never reused. [`JobId::REJECTS`] is the internal job of rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

impl JobId {
    /// The environment job (INTERFACE 1: name `env`, id 1).
    pub const ENV: JobId = JobId(1);
    /// The internal job that keeps what could not be parsed (INTERFACE 3).
    pub const REJECTS: JobId = JobId(0);
}

/// A commit group: jobs that commit together (PROTOCOL 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl GroupId {
    /// Every job that is neither hot nor parked.
    pub const MAIN: GroupId = GroupId(0);
    /// Jobs that fill batches faster than the others' interval: they may commit alone, so that the others' slabs are
    /// not cut each time. What this group has decided always contains what [`GroupId::MAIN`] has decided.
    pub const HOT: GroupId = GroupId(1);
    /// The first group of parked jobs; each one is used once.
    pub const FIRST_PARKED: GroupId = GroupId(2);

    /// Whether its jobs get what sources read now.
    pub fn is_live(self) -> bool {
        self < GroupId::FIRST_PARKED
    }
}

/// Whom a chunk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every job that is not parked.
    Live {
        /// The hot group decided it before a restart: only the main group sees it (PROTOCOL P1).
        hot_done: bool,
    },
    /// The jobs of one parked group, which catches up (PROTOCOL P6).
    Parked(GroupId),
}

impl Audience {
    /// Everybody: the hot path.
    pub const ALL: Audience = Audience::Live { hot_done: false };

    /// Whether a group's jobs get the chunk.
    pub fn contains(self, group: GroupId) -> bool {
        match self {
            Audience::Live { hot_done } => group == GroupId::MAIN || group == GroupId::HOT && !hot_done,
            Audience::Parked(parked) => group == parked,
        }
    }
}

/// What a file looked like when a chunk was read from it: goes into the ledger beside the offset (PROTOCOL I5, S2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Bytes of the head that were hashed, 0..=1024.
    pub head_len: u32,
    /// Hash of the first `head_len` bytes, as read.
    pub head_hash: u64,
    /// Hash of the ≤ 64 bytes before the chunk's end, as read.
    pub tail_hash: u64,
    /// The file's size when the chunk was read, bytes.
    pub size_seen: u64,
}

/// What a chunk's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Lines, each ended by `\n`; the last one may lack it when the file will not grow any more.
    Lines,
    /// The first 64 KiB of one line of `length` bytes that is longer than `EDGEPUSH_LINE_MAX`: a reject.
    TooLong {
        /// Length of the whole line without its newline, bytes.
        length: u64,
    },
    /// A run of NUL bytes that is skipped (copytruncate under a writer without O_APPEND); no bytes are carried.
    Nul,
}

/// Whole lines from one source, with their offsets.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The source's row.
    pub source: SourceId,
    /// The source's path, for rejects and messages.
    pub path: Arc<str>,
    /// Which of the configured sources it matched, for metrics.
    pub origin: u16,
    /// The source's random seed: sampling is a function of it and the record's offset (PROTOCOL I10).
    pub seed: u64,
    /// Offset of the first byte in the source.
    pub start: u64,
    /// Offset after the last byte in the source (the newline included).
    pub end: u64,
    /// The bytes `start..end` for [`ChunkKind::Lines`].
    pub bytes: Bytes,
    /// The source's first bytes, at most [`crate::limits::HEAD_BYTES_MAX`]: what its lines are may stand there.
    pub head: Bytes,
    /// What the bytes are.
    pub kind: ChunkKind,
    /// Whom it is for.
    pub audience: Audience,
    /// The file as it was read.
    pub evidence: Evidence,
}

/// A chunk that a shard has processed whole; travels in its next marker (PROTOCOL P2, P3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The source's row.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: u64,
    /// The file as it was read.
    pub evidence: Evidence,
}

impl Chunk {
    /// What the shard notes once the chunk is processed.
    pub fn logged(&self) -> Logged {
        Logged { source: self.source, start: self.start, end: self.end, evidence: self.evidence }
    }
}

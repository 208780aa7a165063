//! What the state machines say to one another: the messages of PROTOCOL 2, as types.
//!
//! Promises: owned values only, so every message can cross a queue; no message holds a file, a socket or a clock.
//! Must not know: who sends or receives them.
use bytes::Bytes;
pub use edgepush_shard::batch::{Container, Framing};
pub use edgepush_shard::chunk::{Evidence, GroupId, JobId, Logged, SourceId};
pub use edgepush_shard::codec::CodecKind;
use edgepush_shard::room::BatchLimits;
pub use edgepush_shard::segment::{Scope, Shelf};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The name of the internal job of rejects, as metrics and logs have it.
pub const REJECTS: &str = "_rejects";
/// What one batch of it may hold.
pub const REJECTS_LIMITS: BatchLimits = BatchLimits { records: 100_000, bytes: 50_000_000 };

/// The time of a step. Intervals, back-off and time-outs use `mono`; names use `wall` (INTERFACE 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the process started.
    pub mono: Duration,
    /// Wall time, ns since the epoch; never goes backwards within a process.
    pub wall: i64,
}

/// A batch's row id in the ledger. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// What identifies a file beside its content (PROTOCOL S1). The device may change at a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdent {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Birth time, ns since the epoch, where statx has it.
    pub btime: Option<i64>,
}

/// A file's first bytes, hashed; grows while the file is shorter than 1 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Hashed bytes, 0..=1024. 0 = no evidence: matches nothing.
    pub len: u32,
    /// Hash of them.
    pub hash: u64,
}

/// Which whole chunks of one source a group has decided (PROTOCOL 2): everything below `low`, and `above`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything below is decided.
    pub low: u64,
    /// Decided ranges above `low`: ascending, not touching one another nor `low`.
    pub above: Vec<Range<u64>>,
    /// Hash of the ≤ 64 bytes before a durable offset: for `low` and the end of each range above, ascending.
    pub tails: Vec<(u64, u64)>,
}

/// What the ledger keeps of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// Row id, never reused.
    pub id: SourceId,
    /// Random 64 bits.
    pub seed: u64,
    /// Device, inode, birth time.
    pub ident: FileIdent,
    /// Where it was seen last.
    pub path: PathBuf,
    /// First bytes, hashed.
    pub head: Head,
    /// Size seen last, bytes.
    pub size_seen: u64,
    /// Attached, or detached: waiting for its copy, or gone; kept 48 h (RULINGS 4).
    pub state: SourceState,
    /// When the row was detached, ns since the epoch; 0 while attached.
    pub detached_at: i64,
    /// Progress of the main group. (One row a group in the ledger.)
    pub progress: Progress,
    /// What the hot group has decided beyond that: ascending, not touching one another.
    pub hot: Vec<Range<u64>>,
}

/// Whether a source row stands for a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// A file with this identity is followed.
    Attached,
    /// Its file was truncated, replaced or is gone: a stranger with its content is its copy (PROTOCOL S4).
    Detached,
}

/// A file seen for the first time: gets its row and progress before anything is read (PROTOCOL 8.2, I3).
#[derive(Clone, Debug, PartialEq)]
pub struct NewSource {
    /// The caller's token, returned in the answer.
    pub token: u64,
    /// Device, inode, birth time.
    pub ident: FileIdent,
    /// Path.
    pub path: PathBuf,
    /// First bytes, hashed.
    pub head: Head,
    /// Size, bytes.
    pub size: u64,
    /// Where reading begins: 0, or further on for `EDGEPUSH_START` (durable before anything is read, S9).
    pub begin: u64,
}

/// A change of a source row that is not progress.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceChange {
    /// The row's file is at another path or inode now (rename, or an adopted copy), with its head and size.
    Moved {
        /// The row.
        id: SourceId,
        /// Identity now.
        ident: FileIdent,
        /// Path now.
        path: PathBuf,
        /// Attached or detached.
        state: SourceState,
    },
    /// The file shrank below our position with the same head: progress goes on at `size` (RULINGS 4).
    Shrunk {
        /// The row.
        id: SourceId,
        /// The present size, bytes.
        size: u64,
    },
    /// What is known of the file's size, when no commit that moves its progress says it.
    Sized {
        /// The row.
        id: SourceId,
        /// What [`SourceRow::size_seen`] is to be.
        size: u64,
    },
    /// The file is gone and read to its end, or given up: the row goes; `unread` bytes of it were never read.
    Closed {
        /// The row.
        id: SourceId,
        /// Bytes that left the disk unread (RULINGS 13).
        unread: u64,
    },
}

/// The batcher's own number of a batch it has open; of this process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenKey(pub u64);

/// How the objects of a job are named and framed (INTERFACE 4). The name is expanded when the batch closes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Naming {
    /// Path with `{DATE}`, `{HOUR}`, `{HOST}`, `{JOB}`, `{DATASET}`, without slashes at its ends; may be empty.
    pub path: String,
    /// Suffix, with the codec's: `.log.gz`.
    pub suffix: String,
    /// Values of `{HOST}`, `{JOB}`, `{DATASET}`.
    pub host: String,
    /// The job's name.
    pub job: String,
    /// The data set.
    pub dataset: String,
    /// What stands around and between the records.
    pub framing: Framing,
    /// Whether records are comma-separated values and no JSON.
    pub csv: bool,
}

/// What one commit does to one batch.
#[derive(Clone, Debug)]
pub struct BatchCommit {
    /// The batcher's key.
    pub open: OpenKey,
    /// The row, once an earlier commit has made it.
    pub row: Option<BatchId>,
    /// The job.
    pub job: JobId,
    /// The job's version.
    pub version: u32,
    /// Codec of every piece.
    pub codec: CodecKind,
    /// How the pieces are joined.
    pub container: Container,
    /// How the object is named when it closes.
    pub naming: Arc<Naming>,
    /// The new piece: its bytes in order, not empty unless the batch only closes.
    pub piece: Vec<Bytes>,
    /// Records in the piece.
    pub records: u32,
    /// Uncompressed bytes in the piece.
    pub raw: u64,
    /// Processing time of the batch's first record, ns since the epoch.
    pub first: i64,
    /// Processing time of the batch's last record, ns since the epoch.
    pub last: i64,
    /// Whether the batch is complete: it gets its name and is sent.
    pub close: bool,
}

/// What one commit adds to one shelf of a job.
#[derive(Clone, Debug)]
pub struct ShelfCommit {
    /// The job.
    pub job: JobId,
    /// The job's version.
    pub version: u32,
    /// How its records are framed.
    pub naming: Arc<Naming>,
    /// What one file may hold.
    pub limits: BatchLimits,
    /// The shelf.
    pub shelf: Arc<Shelf>,
    /// gzip members, in order; not empty.
    pub members: Vec<Member>,
}

/// A gzip member that says its span.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its bytes, in order.
    pub bytes: [Bytes; 3],
    /// Records in it.
    pub records: u32,
    /// Uncompressed bytes in it.
    pub raw: u32,
    /// Time of the earliest record, ns since the epoch.
    pub first: i64,
    /// Time of the latest.
    pub last: i64,
}

/// One commit (PROTOCOL P4).
#[derive(Clone, Debug)]
pub struct Commit {
    /// The epoch that all shards have ended.
    pub epoch: u64,
    /// What happens to batches.
    pub batches: Vec<BatchCommit>,
    /// What comes onto shelves: each once for a version of a job.
    pub shelves: Vec<ShelfCommit>,
    /// The whole chunks that were processed, of all shards, for each group that was sealed.
    pub logs: Vec<(GroupId, Vec<Logged>)>,
    /// The change of jobs that rode on the seal.
    pub jobs: Option<Arc<JobsCommit>>,
}

/// A job as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// Its group.
    pub group: GroupId,
    /// Its version.
    pub version: u32,
    /// What it is, as a text that the ledger does not look into; empty for jobs that the settings make.
    pub config: String,
    /// End of the last time range that was delivered, ns since the epoch.
    pub last_complete: Option<i64>,
    /// When its last error happened, ns since the epoch.
    pub last_error: Option<i64>,
    /// What that error was.
    pub error_message: Option<String>,
}

/// What one commit does to jobs and groups, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobsCommit {
    /// Parked groups that have decided all that the main group has, with this commit: their rows go, their jobs are in
    /// `put`. (A parked group that no job is in any more goes by itself.)
    pub merged: Vec<GroupId>,
    /// New parked groups: they get the main group's progress after this commit.
    pub parked: Vec<GroupId>,
    /// New jobs, new versions, and jobs that change their group; times and errors are not looked at.
    pub put: Vec<JobRow>,
    /// Jobs that go, with everything that is spooled or open of them: a loss with this reason.
    pub deleted: Vec<JobId>,
    /// What they had that no commit has seen: a loss too.
    pub lost: Vec<Lost>,
}

/// Records of a deleted job that were in memory only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The job.
    pub job: JobId,
    /// How many.
    pub records: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Processing time of the first one, ns since the epoch.
    pub first: i64,
    /// And of the last one.
    pub last: i64,
}

/// What a parked group has still to read of one source: what the main group has decided and it has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The row.
    pub source: SourceId,
    /// The row's random 64 bits.
    pub seed: u64,
    /// Device, inode, birth time.
    pub ident: FileIdent,
    /// Where it was seen last.
    pub path: PathBuf,
    /// First bytes, hashed.
    pub head: Head,
    /// Ascending, not touching one another, not empty. They begin and end where chunks began and ended.
    pub ranges: Vec<Range<u64>>,
    /// Hashes of the ≤ 64 bytes before some of their ends, ascending.
    pub tails: Vec<(u64, u64)>,
}

impl Gap {
    /// Bytes to read.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceAt {
    /// In a pack file, at an offset.
    Pack {
        /// Pack id.
        pack: u64,
        /// Offset in the pack, bytes.
        offset: u64,
    },
    /// In the ledger (≤ 64 KiB), by its number in the batch.
    Ledger {
        /// Number in the batch.
        seq: u32,
    },
}

/// A durable piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it lies.
    pub at: PieceAt,
    /// Stored bytes.
    pub len: u64,
    /// CRC-32 of the stored bytes.
    pub crc: u32,
}

/// A batch that is durable, closed and named, and not yet delivered.
#[derive(Clone, Debug)]
pub struct Spooled {
    /// The row.
    pub id: BatchId,
    /// The job.
    pub job: JobId,
    /// The job's version.
    pub version: u32,
    /// Object name with its path (INTERFACE 4); fixed.
    pub name: Arc<str>,
    /// 16 lower-case hex: the id in the name, the `Idempotency-Key`.
    pub key: Arc<str>,
    /// Codec of every piece.
    pub codec: CodecKind,
    /// How the pieces are joined.
    pub container: Container,
    /// Records.
    pub records: u64,
    /// Uncompressed bytes.
    pub raw: u64,
    /// Processing time of the first record, ns since the epoch.
    pub first: i64,
    /// Processing time of the last record, ns since the epoch.
    pub last: i64,
    /// How its objects are named and framed.
    pub naming: Arc<Naming>,
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// The pieces' bytes, while they are still in memory from their commit.
    pub body: Option<Vec<Bytes>>,
    /// Where it belongs, of an archive; then `first` and `last` are the records' own times.
    pub shelf: Option<Arc<Shelf>>,
}

/// A batch that was open when the process ended: the batcher goes on with it.
#[derive(Clone, Debug)]
pub struct OpenBatch {
    /// The row.
    pub id: BatchId,
    /// The job.
    pub job: JobId,
    /// The job's version.
    pub version: u32,
    /// Codec of every piece.
    pub codec: CodecKind,
    /// How the pieces are joined.
    pub container: Container,
    /// Records so far.
    pub records: u64,
    /// Uncompressed bytes so far.
    pub raw: u64,
    /// Processing time of the first record, ns since the epoch.
    pub first: i64,
    /// Processing time of the last record, ns since the epoch.
    pub last: i64,
    /// How its objects are named and framed.
    pub naming: Arc<Naming>,
}

/// The answer to a [`Commit`]: it is durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The epoch.
    pub epoch: u64,
    /// Rows of the batches that are still open.
    pub open: Vec<(OpenKey, BatchId)>,
    /// The batches that closed, named, in commit order.
    pub spooled: Vec<Spooled>,
    /// The shelves' batches that this commit filled.
    pub filled: Vec<Spooled>,
    /// For each source with new progress: everything below is durable for every live job.
    pub durable: Vec<(SourceId, u64)>,
    /// Batches of deleted jobs that went: batches, records.
    pub deleted: (u64, u64),
    /// How many chunks of each parked group are durable with it.
    pub caught: Vec<(GroupId, usize)>,
    /// All slabs were closed, and yet the hot group has decided more than the main group: a replay has not reached it.
    pub hot_ahead: bool,
}

/// What an operator wants of a batch that is held aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsideWord {
    /// It is sent again, under its name.
    Retry,
    /// It goes: a declared loss.
    Drop,
}

/// What became of a batch, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The destination has it.
    Delivered,
    /// The destination refused it for good: held aside (INTERFACE 5).
    Aside,
    /// Dropped by a declared policy or bound: becomes a loss row.
    Dropped,
}

/// One verdict to make durable (PROTOCOL P5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The batch.
    pub id: BatchId,
    /// Its fate.
    pub fate: Fate,
    /// Why, for aside and dropped; at most 500 bytes.
    pub reason: String,
}

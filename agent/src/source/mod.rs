//! Source: where lines come from. What a source is told and what it asks for, as owned values.
//!
//! Promises: a source decides and does nothing: no I/O, no clock, no descriptor. Its driver performs the actions in
//! their order, on `rt` in production and on a simulated file system in tests: the same type.
//! Must not know: the ledger, the shards, the destinations.
pub mod catch_up;
pub mod evidence;
pub mod feed;
pub mod file;
mod notice;

pub use catch_up::{CatchUp, CatchUpAction, CatchUpEvent};
pub use file::{FileSettings, FileSource};
pub use notice::Notice;

use crate::protocol::{FileIdent, NewSource, Now, SourceChange, SourceId, SourceRow};
use bytes::Bytes;
use edgepush_shard::chunk::Chunk;
use std::path::PathBuf;
use std::time::Duration;

/// The machine's number of an open file; the driver maps it to a descriptor. Never reused in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(pub u32);

/// A source of lines.
pub trait Source {
    /// Takes one event, appends what is to be done, in order.
    fn step(&mut self, now: Now, event: SourceEvent, out: &mut Vec<SourceAction>);
    /// Whether everything that is known to be there has been read, and nothing is under way. With `--once`:
    /// everything up to the sizes taken at the start.
    fn idle(&self) -> bool;
    /// Bytes not yet read, by the number of the glob or socket.
    fn lag_bytes(&self) -> Vec<(u32, u64)>;
}

/// One path that matches a glob, as a look found it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path, as the glob gives it.
    pub path: PathBuf,
    /// Number of the (first) glob that it matches.
    pub glob: u32,
    /// Device, inode, birth time; of the target of a symbolic link.
    pub ident: FileIdent,
    /// Size on the disk, bytes.
    pub size: u64,
    /// Last modification, ns since the epoch.
    pub mtime: i64,
    /// Names that the inode has.
    pub nlink: u64,
    /// Its first ≤ 1 KiB.
    pub head: SeenHead,
    /// It is compressed, by its first bytes. Not known of a file whose head was skipped.
    pub packed: bool,
}

/// How far a compressed file is decompressed. All else that is said of it is about its text: head, size, offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its size on the disk, bytes.
    pub stored: u64,
    /// How many of these are decompressed. The rest, where there is one, makes at least one byte of text.
    pub taken: u64,
    /// What is known of the rest.
    pub state: PackedState,
}

/// What is known of the rest of a compressed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedState {
    /// There is more: the size of the text is what is known of it so far.
    More,
    /// There is no rest, and all checksums are right.
    Whole,
    /// It ends in the middle: it is being written, or was cut off.
    Torn,
    /// It cannot be decompressed from here on, or was not what was compressed.
    Broken {
        /// Where, in stored bytes.
        at: u64,
        /// Why, in plain words.
        why: String,
    },
}

/// The first bytes of a file in a look; of its text if it is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenHead {
    /// Not read: the machine knows this file as it is ([`KnownFiles`]).
    Skipped,
    /// The first ≤ 1 KiB.
    Bytes(Bytes),
    /// It may not be read.
    Denied,
    /// Another error, in the system's words.
    Failed(String),
}

/// What an open file looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenStat {
    /// Device, inode, birth time.
    pub ident: FileIdent,
    /// Size, bytes.
    pub size: u64,
    /// Last modification, ns since the epoch.
    pub mtime: i64,
    /// Names; 0 = deleted.
    pub nlink: u64,
    /// Its first ≤ 1 KiB, read through the descriptor.
    pub head: Bytes,
    /// It is compressed: `size` is that of the text, as far as it is known.
    pub packed: Option<Packed>,
}

/// Why a file could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is gone, or another file has its name.
    Gone,
    /// It may not be read.
    Denied,
    /// Another error, in the system's words: tried again at a later look.
    Failed(String),
}

/// A read and what the file looked like right after it (PROTOCOL S3: read, *then* verify).
#[derive(Clone, Debug)]
pub struct ReadBack {
    /// What was read; shorter than asked only at the end of the file.
    pub bytes: Bytes,
    /// Size after the read, bytes.
    pub size_after: u64,
    /// Names after the read.
    pub nlink: u64,
    /// First ≤ 1 KiB after the read.
    pub head: Bytes,
    /// It is compressed: `size_after` is that of the text, as far as it is known.
    pub packed: Option<Packed>,
}

/// The size of a file that it can have at most.
pub(crate) fn size_max(size: u64, packed: Option<&Packed>) -> u64 {
    if packed.is_some_and(|packed| packed.state == PackedState::More) { u64::MAX } else { size }
}

/// The answer to [`SourceAction::Look`].
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Every path that matches a glob and is a regular file.
    pub files: Vec<Seen>,
    /// fstat of every open file: size, names.
    pub open: Vec<(FileKey, u64, u64)>,
    /// Directories or globs that could not be read, in the system's words.
    pub failed: Vec<(PathBuf, String)>,
}

/// The files whose head a look need not read: (device, inode), and for those that are not open the (size, mtime) that
/// the machine has judged already.
#[derive(Clone, Debug, Default)]
pub struct KnownFiles {
    /// `None`: open, its reads verify it.
    pub judged: std::collections::HashMap<(u64, u64), Option<(u64, i64)>>,
}

impl KnownFiles {
    /// Whether the head of this file is wanted.
    pub fn wants_head(&self, ident: FileIdent, size: u64, mtime: i64) -> bool {
        match self.judged.get(&(ident.dev, ident.ino)) {
            None => true,
            Some(None) => false,
            Some(Some(seen)) => *seen != (size, mtime),
        }
    }
}

/// What inotify said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// This file has changed; it is not watched any more ([`SourceAction::Watch`] is for one change).
    File(FileKey),
    /// Names in this directory came, went or changed.
    Dir(PathBuf),
    /// Events were lost (`IN_Q_OVERFLOW`): anything may have happened.
    Everything,
}

/// What a source is told.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// The ledger's rows, before anything else.
    Start {
        /// Attached and detached rows, with the main group's progress.
        rows: Vec<SourceRow>,
    },
    /// Answer to [`SourceAction::Look`].
    Looked(Look),
    /// Answer to [`SourceAction::Open`]. After an error the key is free.
    Opened {
        /// The file.
        file: FileKey,
        /// What was opened.
        result: Result<OpenStat, OpenError>,
    },
    /// Answer to [`SourceAction::Read`].
    Read {
        /// The file.
        file: FileKey,
        /// The offset asked for.
        offset: u64,
        /// Bytes and verification, or the system's words.
        result: Result<ReadBack, String>,
    },
    /// Answer to [`SourceAction::SeekData`].
    DataAt {
        /// The file.
        file: FileKey,
        /// Where data begins at or after the offset asked for; `None`: nowhere.
        offset: Option<u64>,
    },
    /// Answer to [`SourceAction::Register`]: token, row, random seed.
    Registered(Vec<(u64, SourceId, u64)>),
    /// A commit is durable: everything below the offset, for each source that it moved.
    Durable(Vec<(SourceId, u64)>),
    /// How many chunks may be emitted from now on; replaces what was said before (PROTOCOL P8).
    Room {
        /// Chunks.
        chunks: usize,
    },
    /// Answer to [`SourceAction::Sweep`]: size and names of every open file.
    Swept(Vec<(FileKey, u64, u64)>),
    /// inotify said something.
    Dirty(Vec<Dirty>),
    /// Whether parked groups have reads or chunks under way ([`CatchUp::is_busy`]).
    CatchingUp {
        /// They have.
        busy: bool,
    },
    /// The time of a [`SourceAction::Wake`] has come.
    Tick,
}

/// What a source asks for. The driver performs the actions of one step in their order.
#[derive(Clone, Debug)]
pub enum SourceAction {
    /// Walk the globs; at most one is outstanding.
    Look(KnownFiles),
    /// Open for reading. The file that is opened must be (dev, ino) `ident`, else [`OpenError::Gone`].
    Open {
        /// Its new key.
        file: FileKey,
        /// Where it was seen.
        path: PathBuf,
        /// What was seen there.
        ident: FileIdent,
    },
    /// Close; no read of it is outstanding. The ledger thread may hold its own reference until it has committed.
    Close {
        /// The file.
        file: FileKey,
    },
    /// Read, then verify; at most one is outstanding a file. `len` may be 0: verify only.
    Read {
        /// The file.
        file: FileKey,
        /// From here, bytes.
        offset: u64,
        /// So many bytes.
        len: usize,
        /// Backlog: may come from the disk, not to be read on the shard's own time.
        cold: bool,
        /// It is compressed: nothing of it is decompressed on the shard's own time.
        packed: bool,
    },
    /// `lseek(SEEK_DATA)`: counts as the file's one outstanding read.
    SeekData {
        /// The file.
        file: FileKey,
        /// From here, bytes.
        offset: u64,
    },
    /// New rows for the ledger. An empty list says that the first look is over (the ledger's first start ends).
    Register(Vec<NewSource>),
    /// A row changes. In the order of the actions, before any later commit of that source.
    Change(SourceChange),
    /// Whole lines for the shards.
    Emit(Chunk),
    /// A followed file was renamed, unlinked, replaced or truncated: seal and commit at once (RULINGS 2).
    SealNow,
    /// fstat every open file: the safety net under inotify.
    Sweep,
    /// Tell the next change of this file once, and at once if its size is not this one any more.
    Watch {
        /// The file.
        file: FileKey,
        /// The size that the machine knows, bytes.
        size: u64,
    },
    /// Send a [`SourceEvent::Tick`] after this; replaces an earlier wish.
    Wake {
        /// From now.
        after: Duration,
    },
    /// From now on this file is what a commit that names the source must fdatasync (PROTOCOL P4 d). Performed before
    /// the [`SourceAction::Change`] that follows it: an adopted copy is synced first (S4).
    Attach {
        /// The row.
        source: SourceId,
        /// The file.
        file: FileKey,
    },
    /// The source has no file any more; what is in flight of it needs no sync.
    Detach {
        /// The row.
        source: SourceId,
    },
    /// Something for the log and the counters.
    Notice(Notice),
}

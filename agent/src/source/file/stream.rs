//! Stream: one row of the ledger and the file that it stands for, with where reading stands.
//!
//! Promises: a position only grows while its file keeps its content; at most one read is outstanding.
//! Must not know: other streams.
use crate::protocol::{FileIdent, Head, SourceId, SourceRow, SourceState};
use crate::source::evidence::Tail;
use crate::source::file::names::live_name;
use crate::source::{FileKey, Packed, Seen};
use bytes::Bytes;
use edgepush_shard::chunk::Evidence;
use edgepush_shard::limits::{COLD_BACKLOG_BYTES, READ_BYTES_COLD, READ_BYTES_HOT};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A renamed file is read until its end and so long after it grew last, ns (PROTOCOL S6).
pub(super) const GRACE_NS: i64 = 600_000_000_000;
/// A deleted file is kept open so long after it grew last, ns: its writer may not know yet.
pub(super) const DELETED_GRACE_NS: i64 = 2_000_000_000;

/// Where a file was seen.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) ident: FileIdent,
    pub(super) path: PathBuf,
    pub(super) glob: u32,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// It is compressed: the size is that of its text, as far as it is known.
    pub(super) packed: Option<Packed>,
}

impl Place {
    /// Where a walk has seen a plain file.
    pub(super) fn of(seen: &Seen) -> Place {
        Place {
            ident: seen.ident,
            path: seen.path.clone(),
            glob: seen.glob,
            size: seen.size,
            mtime: seen.mtime,
            packed: None,
        }
    }
}

/// How a file and a row come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A stranger: it gets a row, or turns out to be a copy.
    New,
    /// The row's own file.
    Resume,
    /// A copy of a detached row's file.
    Adopt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The row's file is not open: not found yet, or read to its end long ago.
    Resting,
    /// An open is outstanding.
    Opening(Why),
    /// The bytes before the position are compared with what the row (or the original) had there.
    Probing(Why),
    /// `EDGEPUSH_START=end`: the last line's start is looked for.
    Backing,
    /// Open, no row yet: gets one when it has a first byte and is no copy.
    Fresh,
    /// The row is being made.
    Registering,
    /// Read as it grows.
    Following,
    /// It shrank to this size: waits until what was read of it is durable.
    Draining(u64),
    /// The row waits for its copy.
    Detached,
    /// `--once`: read.
    Done,
}

/// What the line at the position is.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// Nothing special. Reads ask for so many bytes when a longer line needs it (0: the usual).
    Usual { ask: usize },
    /// Longer than the limit: its newline is looked for from `scanned` on.
    Skip { kept: Bytes, scanned: u64, tail: Tail },
    /// A run of NUL: its end is looked for from `scanned` on, by SEEK_DATA when `seek`.
    Nul { scanned: u64, seek: bool },
}

/// An outstanding read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) what: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Head and size only.
    Verify,
    /// Lines; the first `lead` bytes are the tail before the position.
    Lines { lead: usize },
    /// The rest of a line that is too long.
    Skip,
    /// The rest of a NUL run.
    Nul,
    /// SEEK_DATA.
    Seek,
    /// The tail before the position of a copy.
    Probe,
    /// The bytes before the size.
    Back,
    /// The text of a compressed file, to know how long it is.
    Measure,
}

impl Ask {
    /// Whether a chunk may come of it.
    pub(super) fn takes_room(self) -> bool {
        matches!(self, Ask::Lines { .. } | Ask::Skip | Ask::Nul)
    }
}

/// A stranger that begins like another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The other stream.
    pub(super) of: Token,
    /// Since when (monotonic).
    pub(super) since: Duration,
    /// The other stream's file has been looked at again since it seemed too short to be the original.
    pub(super) checked: bool,
}

/// The machine's own name of a stream; the token of its registration.
pub(super) type Token = u64;

#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) id: Option<SourceId>,
    pub(super) seed: u64,
    pub(super) place: Place,
    /// The path, as chunks carry it.
    pub(super) label: Arc<str>,
    /// Where a copy stands that is being compared.
    pub(super) target: Option<Place>,
    pub(super) head: Head,
    /// The bytes of the head, while a read of this process has seen them.
    pub(super) head_bytes: Bytes,
    pub(super) pos: u64,
    pub(super) durable: u64,
    /// Decided ranges above the position, from before the restart.
    pub(super) above: VecDeque<Range<u64>>,
    /// What the hot group alone had decided before the restart.
    pub(super) hot: VecDeque<Range<u64>>,
    /// What the row knows of the bytes before certain offsets.
    pub(super) tails: Vec<(u64, u64)>,
    pub(super) tail: Tail,
    pub(super) stage: Stage,
    pub(super) file: Option<FileKey>,
    pub(super) asked: Option<Asked>,
    pub(super) line: Line,
    /// Something may be there to read or to verify.
    pub(super) want: bool,
    /// It stands in the queue of streams to be read.
    pub(super) queued: bool,
    /// Polls that it still gets before inotify and the sweep are enough.
    pub(super) polls: u8,
    pub(super) renamed: bool,
    pub(super) rotated_name: bool,
    pub(super) unlinked: bool,
    /// Its file is a copy of the one that the row was made for.
    pub(super) adopted: bool,
    /// No glob finds it any more.
    pub(super) left: bool,
    /// A row of the last run that no look has found yet.
    pub(super) unseen: bool,
    /// Looks in a row that did not find it.
    pub(super) missed: u8,
    /// Wall time when it grew last, ns.
    pub(super) grown: i64,
    /// `--once`: read up to here.
    pub(super) limit: Option<u64>,
    /// An adopted copy that is (still) shorter than the position.
    pub(super) stub: bool,
    /// A compressed file: nothing more is expected of it.
    pub(super) settled: bool,
    /// It begins like another one.
    pub(super) held: Option<Held>,
    /// Streams that it was compared with and is no copy of.
    pub(super) not_of: Vec<Token>,
    pub(super) detached_at: i64,
    /// When the bytes of a detached row that were not read count as lost (monotonic); `None`: reported.
    pub(super) report_at: Option<Duration>,
    /// An error of it was said.
    pub(super) said_error: bool,
}

impl Stream {
    pub(super) fn new(place: Place, head_bytes: Bytes) -> Stream {
        Stream {
            id: None,
            seed: 0,
            head: crate::source::evidence::head_of(&head_bytes),
            head_bytes,
            pos: 0,
            durable: 0,
            above: VecDeque::new(),
            hot: VecDeque::new(),
            tails: Vec::new(),
            tail: Tail::default(),
            stage: Stage::Resting,
            file: None,
            asked: None,
            line: Line::Usual { ask: 0 },
            want: false,
            queued: false,
            polls: 0,
            renamed: false,
            rotated_name: live_name(&place.path).is_some(),
            unlinked: false,
            adopted: false,
            left: false,
            unseen: false,
            missed: 0,
            grown: place.mtime,
            limit: None,
            stub: false,
            settled: false,
            held: None,
            not_of: Vec::new(),
            detached_at: 0,
            report_at: None,
            said_error: false,
            target: None,
            label: place.path.to_string_lossy().into(),
            place,
        }
    }

    /// It stands at another path now.
    pub(super) fn move_to(&mut self, path: &std::path::Path) {
        self.place.path = path.to_owned();
        self.label = path.to_string_lossy().into();
        self.rotated_name = live_name(path).is_some();
    }

    /// It has grown to this size, or is known to have it.
    pub(super) fn resize(&mut self, size: u64, wall: i64) {
        if size > self.place.size && !self.is_packed() {
            self.grown = self.grown.max(wall);
        }
        self.place.size = size;
    }

    pub(super) fn of_row(row: SourceRow) -> Stream {
        let (ident, path) = (row.ident, row.path);
        let mut place = Place { ident, path, glob: 0, size: 0, mtime: 0, packed: None };
        place.take_row_size(row.size_seen, row.progress.low);
        let mut stream = Stream::new(place, Bytes::new());
        stream.id = Some(row.id);
        stream.seed = row.seed;
        stream.head = row.head;
        stream.pos = row.progress.low;
        stream.durable = row.progress.low;
        stream.above = row.progress.above.into();
        stream.hot = row.hot.into();
        stream.tails = row.progress.tails;
        stream.detached_at = row.detached_at;
        stream.unseen = true;
        if row.state == SourceState::Detached {
            stream.stage = Stage::Detached;
        }
        stream.pass_decided();
        stream
    }

    /// What was decided before the restart is not read again.
    pub(super) fn pass_decided(&mut self) {
        while let Some(range) = self.above.front() {
            if range.start > self.pos {
                break;
            }
            if range.end > self.pos {
                self.pos = range.end;
                self.tail = Tail::default();
            }
            self.above.pop_front();
        }
    }

    /// A chunk must not cross this: the next offset where something decided begins or ends (PROTOCOL P1).
    pub(super) fn edge(&self) -> u64 {
        let above = self.above.front().map(|range| range.start);
        let hot = self.hot.iter().flat_map(|range| [range.start, range.end]).find(|edge| *edge > self.pos);
        above.into_iter().chain(hot).min().unwrap_or(u64::MAX)
    }

    /// Whether the hot group has decided what stands at the position. What lies behind is forgotten.
    pub(super) fn hot_done(&mut self) -> bool {
        while self.hot.front().is_some_and(|range| range.end <= self.pos) {
            self.hot.pop_front();
        }
        self.hot.front().is_some_and(|range| range.contains(&self.pos))
    }

    /// Nothing is read from here on.
    pub(super) fn bound(&self) -> u64 {
        self.edge().min(self.limit.unwrap_or(u64::MAX))
    }

    /// The size that counts: of the file, or taken at the start with `--once`.
    pub(super) fn end(&self) -> u64 {
        self.place.size.min(self.limit.unwrap_or(u64::MAX))
    }

    /// Whether a last line without newline is a line: nothing will follow it (PROTOCOL S7).
    pub(super) fn tail_is_final(&self, wall: i64, once: bool) -> bool {
        if let Some(packed) = &self.place.packed {
            return self.packed_is_final(packed, wall, once);
        }
        let quiet = wall.saturating_sub(self.grown);
        if self.unlinked {
            // A copy that was deleted may have been torn: another one may have the whole line.
            return !self.adopted && (once || quiet >= DELETED_GRACE_NS);
        }
        (self.renamed || self.rotated_name || self.left) && (once || quiet >= GRACE_NS)
    }

    /// What the row or this process knows of the bytes before the position.
    pub(super) fn expected_tail(&self) -> Option<u64> {
        if self.tail.proves(self.pos) {
            return Some(self.tail.hash());
        }
        self.tails.iter().find(|(offset, _)| *offset == self.pos).map(|(_, hash)| *hash)
    }

    /// What the next read is to be, if one is wanted.
    pub(super) fn next_read(&self) -> Option<Asked> {
        if !self.want || self.asked.is_some() || self.file.is_none() {
            return None;
        }
        let verify = Asked { offset: self.pos, len: 0, what: Ask::Verify };
        match self.stage {
            Stage::Fresh if self.is_packed() => Some(self.measure()),
            Stage::Fresh => Some(Asked { offset: 0, ..verify }),
            Stage::Probing(_) => {
                let lead = Tail::needed(self.pos);
                Some(Asked { offset: self.pos - lead as u64, len: lead, what: Ask::Probe })
            }
            Stage::Backing => {
                let offset = self.pos.saturating_sub(READ_BYTES_HOT as u64);
                Some(Asked { offset, len: (self.pos - offset) as usize, what: Ask::Back })
            }
            Stage::Following if self.stub && self.place.size < self.pos => Some(verify),
            Stage::Following => Some(self.next_lines().unwrap_or(verify)),
            _ => None,
        }
    }

    fn next_lines(&self) -> Option<Asked> {
        let room = |from: u64| usize::try_from(self.bound().saturating_sub(from)).unwrap_or(usize::MAX);
        let usual = if self.is_cold() { READ_BYTES_COLD } else { READ_BYTES_HOT };
        let on = if self.is_packed() { READ_BYTES_COLD } else { READ_BYTES_HOT };
        let (offset, len, what) = match &self.line {
            Line::Usual { ask } => {
                let lead = Tail::needed(self.pos);
                let len = usual.max(*ask).min(room(self.pos));
                if len == 0 {
                    return None;
                }
                (self.pos - lead as u64, lead + len, Ask::Lines { lead })
            }
            Line::Skip { scanned, .. } => (*scanned, on.min(room(*scanned)), Ask::Skip),
            Line::Nul { scanned, seek: true } if !self.is_packed() => (*scanned, 0, Ask::Seek),
            Line::Nul { scanned, .. } => (*scanned, on.min(room(*scanned)), Ask::Nul),
        };
        Some(Asked { offset, len, what })
    }

    /// Whether it is so far behind that its reads come from the disk.
    pub(super) fn is_cold(&self) -> bool {
        self.is_packed() || self.end().saturating_sub(self.pos) > COLD_BACKLOG_BYTES
    }

    /// What a chunk that ends at the position carries.
    pub(super) fn evidence(&self) -> Evidence {
        Evidence {
            head_len: self.head.len,
            head_hash: self.head.hash,
            tail_hash: self.tail.hash(),
            size_seen: self.place.row_size(self.pos),
        }
    }

    /// Whether this stream has this inode open, or is about to.
    pub(super) fn holds(&self, (dev, ino): (u64, u64)) -> bool {
        let place = self.target.as_ref().unwrap_or(&self.place);
        (self.file.is_some() || matches!(self.stage, Stage::Opening(_)))
            && (place.ident.dev, place.ident.ino) == (dev, ino)
    }

    /// Whether it is read as it grows, or about to be: a stranger that equals it may be a copy in the making.
    pub(super) fn is_followed(&self) -> bool {
        match self.stage {
            Stage::Registering | Stage::Following | Stage::Draining(_) | Stage::Done => true,
            // Also while a copy is being compared with it: a second copy waits for what comes of that.
            Stage::Opening(why) | Stage::Probing(why) => why != Why::New,
            Stage::Resting => self.id.is_some(),
            Stage::Backing | Stage::Fresh | Stage::Detached => false,
        }
    }

    /// Bytes that are there and not read.
    pub(super) fn lag(&self) -> u64 {
        match self.stage {
            Stage::Detached | Stage::Done => 0,
            _ => self.unread(),
        }
    }
}

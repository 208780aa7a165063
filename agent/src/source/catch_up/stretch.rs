//! Stretch: one source's gap, read from its first range to its last.
//!
//! Promises: a chunk is whole lines, never crosses an edge of the gap, and is emitted only if the file, looked at *after*
//! the read, begins like its row and has the bytes before and after the range that were there when the others read it.
//! Must not know: other sources, groups' turns.
use crate::protocol::{Gap, GroupId};
use crate::source::evidence::{Tail, has_head, tail_hash};
use crate::source::file::cut::{Cut, cut};
use crate::source::{ReadBack, size_max};
use bytes::Bytes;
use edgepush_shard::chunk::{Audience, Chunk, ChunkKind, Evidence};
use edgepush_shard::limits::{READ_BYTES_COLD, TOO_LONG_KEPT_BYTES};
use memchr::memchr;
use std::ops::Range;
use std::sync::Arc;

/// What the line at the position is.
#[derive(Clone, Debug)]
enum Line {
    /// Nothing special. Reads ask for so many bytes when a longer line needs it (0: the usual).
    Usual { ask: usize },
    /// Longer than the limit: its end is looked for from `scanned` on.
    Skip { kept: Bytes, scanned: u64, tail: Tail },
    /// A run of NUL: its end is looked for from `scanned` on.
    Nul { scanned: u64 },
}

/// What comes of a read.
#[derive(Debug)]
pub(super) enum Taken {
    /// Lines for the group.
    Chunk(Chunk),
    /// The line is longer than what was read.
    More,
    /// The file is not, or not any more, what the row stands for.
    Stranger,
}

/// A gap and where reading stands in it.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) gap: Gap,
    group: GroupId,
    label: Arc<str>,
    /// The file's first bytes, as the last read saw them.
    head: Bytes,
    /// The range in work.
    at: usize,
    pos: u64,
    tail: Tail,
    line: Line,
}

impl Stretch {
    /// The whole gap. `gap` has a range.
    pub(super) fn new(group: GroupId, gap: Gap) -> Stretch {
        let (label, pos) = (gap.path.to_string_lossy().into(), gap.ranges[0].start);
        let (head, tail, line) = (Bytes::new(), Tail::default(), Line::Usual { ask: 0 });
        Stretch { gap, group, label, head, at: 0, pos, tail, line }
    }

    /// Whether everything was emitted.
    pub(super) fn is_done(&self) -> bool {
        self.at == self.gap.ranges.len()
    }

    /// What was not emitted.
    pub(super) fn rest(&self) -> Vec<Range<u64>> {
        let mut rest = self.gap.ranges[self.at..].to_vec();
        if let Some(first) = rest.first_mut() {
            first.start = self.pos;
        }
        rest
    }

    /// Whether a file that begins with `head` and has this size may be the row's.
    pub(super) fn may_be(&self, head: &[u8], size: u64) -> bool {
        let end = self.gap.ranges.last().map_or(0, |range| range.end);
        self.gap.head.len > 0 && has_head(head, self.gap.head) && size >= end
    }

    fn end(&self) -> u64 {
        self.gap.ranges[self.at].end
    }

    /// The next read: offset and length.
    pub(super) fn ask(&self) -> (u64, usize) {
        let room = |from: u64| usize::try_from(self.end() - from).unwrap_or(usize::MAX);
        match &self.line {
            Line::Usual { ask } => {
                let lead = Tail::needed(self.pos);
                (self.pos - lead as u64, lead + READ_BYTES_COLD.max(*ask).min(room(self.pos)))
            }
            Line::Skip { scanned, .. } | Line::Nul { scanned } => {
                (*scanned, READ_BYTES_COLD.min(room(*scanned)))
            }
        }
    }

    /// Takes what [`Stretch::ask`] asked for.
    pub(super) fn take(&mut self, back: &ReadBack, line_max: usize) -> Taken {
        let (offset, len) = self.ask();
        // A file that is shorter than what the others have read of it is another one, or will be found to be.
        let size = size_max(back.size_after, back.packed.as_ref());
        if back.bytes.len() != len || !self.may_be(&back.head, size) {
            return Taken::Stranger;
        }
        self.head = back.head.clone();
        let last = offset + len as u64 == self.end();
        match &self.line {
            Line::Usual { .. } => self.take_lines(back, line_max, last),
            Line::Skip { .. } => self.take_skip(&back.bytes, last, back.size_after),
            Line::Nul { .. } => self.take_nul(&back.bytes, last, back.size_after),
        }
    }

    fn known_tail(&self, offset: u64) -> Option<u64> {
        self.gap.tails.iter().find(|(at, _)| *at == offset).map(|(_, hash)| *hash)
    }

    fn take_lines(&mut self, back: &ReadBack, line_max: usize, last: bool) -> Taken {
        let lead = Tail::needed(self.pos);
        let carried = self.tail.proves(self.pos);
        let known = if carried { Some(self.tail.hash()) } else { self.known_tail(self.pos) };
        if known.is_some_and(|known| known != tail_hash(&back.bytes[..lead])) {
            return Taken::Stranger;
        }
        if !carried {
            self.tail = Tail::default();
            self.tail.push(&back.bytes[..lead]);
        }
        let bytes = back.bytes.slice(lead..);
        match cut(&bytes, line_max, last) {
            Cut::Lines(len) => {
                self.tail.push(&bytes[..len]);
                self.emit(bytes.slice(..len), len as u64, ChunkKind::Lines, back.size_after)
            }
            Cut::Nul(run) => {
                self.tail.push_nul(run as u64);
                self.emit(Bytes::new(), run as u64, ChunkKind::Nul, back.size_after)
            }
            Cut::TooLong(Some(length)) => {
                let whole = (length + 1).min(bytes.len());
                self.tail.push(&bytes[..whole]);
                let kept = bytes.slice(..length.min(TOO_LONG_KEPT_BYTES));
                let kind = ChunkKind::TooLong { length: length as u64 };
                self.emit(kept, whole as u64, kind, back.size_after)
            }
            Cut::TooLong(None) => {
                let mut tail = self.tail;
                tail.push(&bytes);
                let kept = Bytes::copy_from_slice(&bytes[..bytes.len().min(TOO_LONG_KEPT_BYTES)]);
                self.line = Line::Skip { kept, scanned: self.pos + bytes.len() as u64, tail };
                Taken::More
            }
            Cut::AllNul => {
                self.line = Line::Nul { scanned: self.pos + bytes.len() as u64 };
                Taken::More
            }
            Cut::Partial => {
                self.line = Line::Usual { ask: (bytes.len() * 2).min(line_max + 1) };
                Taken::More
            }
        }
    }

    /// The rest of a line that is too long.
    fn take_skip(&mut self, bytes: &Bytes, last: bool, size: u64) -> Taken {
        let Line::Skip { kept, scanned, tail } = &mut self.line else { return Taken::More };
        let newline = memchr(b'\n', bytes);
        let taken = newline.map_or(bytes.len(), |at| at + 1);
        tail.push(&bytes[..taken]);
        *scanned += taken as u64;
        if newline.is_none() && !last {
            return Taken::More;
        }
        let (kept, len) = (kept.clone(), *scanned - self.pos);
        self.tail = *tail;
        let length = len - u64::from(newline.is_some());
        self.emit(kept, len, ChunkKind::TooLong { length }, size)
    }

    /// The rest of a run of NUL.
    fn take_nul(&mut self, bytes: &Bytes, last: bool, size: u64) -> Taken {
        let Line::Nul { scanned } = &mut self.line else { return Taken::More };
        let text = bytes.iter().position(|byte| *byte != 0);
        *scanned += text.unwrap_or(bytes.len()) as u64;
        if text.is_none() && !last {
            return Taken::More;
        }
        let len = *scanned - self.pos;
        self.tail.push_nul(len);
        self.emit(Bytes::new(), len, ChunkKind::Nul, size)
    }

    /// Passes `len` bytes; the tail stands at their end already.
    fn emit(&mut self, bytes: Bytes, len: u64, kind: ChunkKind, size: u64) -> Taken {
        let (start, end) = (self.pos, self.pos + len);
        if self.known_tail(end).is_some_and(|known| known != self.tail.hash()) {
            return Taken::Stranger;
        }
        let head = self.gap.head;
        let chunk = Chunk {
            source: self.gap.source,
            path: self.label.clone(),
            // Only the machine of the followed files knows.
            origin: 0,
            seed: self.gap.seed,
            start,
            end,
            bytes,
            head: self.head.clone(),
            kind,
            audience: Audience::Parked(self.group),
            evidence: Evidence {
                head_len: head.len,
                head_hash: head.hash,
                tail_hash: self.tail.hash(),
                size_seen: size,
            },
        };
        self.pos = end;
        self.line = Line::Usual { ask: 0 };
        if end == self.end() {
            self.at += 1;
            self.tail = Tail::default();
            self.pos = self.gap.ranges.get(self.at).map_or(end, |range| range.start);
        }
        Taken::Chunk(chunk)
    }
}

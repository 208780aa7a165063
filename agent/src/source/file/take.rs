//! take: what comes of a read: it is verified, then cut into chunks (PROTOCOL P1, S2, S3, S7, S8).
//!
//! Promises: bytes become a chunk only if the file, looked at *after* the read, still begins like its row, is not
//! shorter than what was read, and has the bytes before the position that were there before.
//! Must not know: other streams.
use super::cut::{Cut, cut};
use super::stream::{Ask, Asked, Line, Stage, Token, Why};
use super::{FileSource, POLLS};
use crate::protocol::Now;
use crate::source::evidence::{Tail, has_head, head_of, tail_hash};
use crate::source::{FileKey, Notice, ReadBack, SourceAction};
use bytes::Bytes;
use edgepush_shard::chunk::{Audience, Chunk, ChunkKind};
use edgepush_shard::limits::{HEAD_BYTES_MAX, TOO_LONG_KEPT_BYTES};
use memchr::{memchr, memrchr};

impl FileSource {
    pub(super) fn read(
        &mut self,
        now: Now,
        (file, offset): (FileKey, u64),
        result: Result<ReadBack, String>,
        out: &mut Vec<SourceAction>,
    ) {
        let Some((token, asked)) = self.answered(file) else { return };
        debug_assert_eq!(asked.offset, offset, "a read of another offset than asked for");
        let back = match result {
            Ok(back) => back,
            Err(error) => return self.read_failed(token, error, out),
        };
        let stream = self.stream(token);
        stream.said_error = false;
        let as_taken = stream.learn(&back, now.wall);
        let size = stream.text_size(&back);
        if back.nlink == 0 && !std::mem::replace(&mut stream.unlinked, true) {
            stream.grown = now.wall;
            out.push(SourceAction::SealNow);
        }
        if stream.stage == Stage::Fresh {
            stream.resize(size, now.wall);
            stream.head_bytes = back.head;
            stream.want = false;
            if self.unjudged.contains(&token) {
                return;
            }
            return self.judge_fresh(now, token, out);
        }
        if !self.verified(now, token, size, &back.head, out) {
            return;
        }
        if !as_taken {
            // What was read may be compressed.
            return self.want(token);
        }
        if !back.bytes.is_empty() && asked.offset + back.bytes.len() as u64 > back.size_after {
            // It was truncated and has grown again since: what was read may be of either.
            return self.want(token);
        }
        match asked.what {
            Ask::Verify => self.verify_only(now, token, out),
            Ask::Lines { lead } => self.take_lines(now, token, lead, &back, out),
            Ask::Skip => self.take_skip(now, token, &back, out),
            Ask::Nul => self.take_nul(now, token, &back, out),
            Ask::Probe => self.probed(now, token, &back, out),
            Ask::Back => self.take_back(token, asked, &back.bytes),
            Ask::Seek | Ask::Measure => {}
        }
    }

    fn answered(&mut self, file: FileKey) -> Option<(Token, Asked)> {
        let token = self.by_file.get(&file).copied()?;
        let asked = self.stream(token).asked.take()?;
        self.reads -= 1;
        self.reserved -= usize::from(asked.what.takes_room());
        Some((token, asked))
    }

    fn read_failed(&mut self, token: Token, error: String, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let stream = self.stream(token);
        stream.want = false;
        if !std::mem::replace(&mut stream.said_error, true) {
            let path = stream.place.path.clone();
            out.push(SourceAction::Notice(Notice::Unreadable { path, error }));
        }
        // The sweep asks again; `--once` has none and leaves the file for the next run.
        if once {
            stream.stage = if stream.id.is_some() { Stage::Done } else { Stage::Resting };
            self.close(token, out);
        }
    }

    /// PROTOCOL S3: whether the file is still the one whose bytes were read. If not, what follows is under way.
    pub(super) fn verified(
        &mut self,
        now: Now,
        token: Token,
        size: u64,
        head: &Bytes,
        out: &mut Vec<SourceAction>,
    ) -> bool {
        let stream = self.stream(token);
        if stream.id.is_none() {
            // Its end is looked for (`EDGEPUSH_START=end`): it has no head to be compared with yet.
            return true;
        }
        // A torn copy may be shorter than the head that it begins like.
        let torn = stream.stub && stream.head_bytes.starts_with(head);
        let whole = head.len() >= stream.head.len as usize;
        if !(if whole { has_head(head, stream.head) } else { torn }) {
            self.rewritten(now, token, size, head.clone(), out);
            return false;
        }
        if stream.stage == Stage::Probing(Why::Adopt) {
            // The row keeps what it knows until the copy has proved to be one.
            stream.stub = size < stream.pos;
            return true;
        }
        stream.resize(size, now.wall);
        // Half a compressed file has not shrunk: the rest is still to come, or never will.
        stream.stub |= size < stream.pos && stream.is_half();
        if size < stream.pos && !stream.stub {
            self.shrunk(now, token, size, out);
            return false;
        }
        if whole && ((stream.head.len as usize) < HEAD_BYTES_MAX || stream.head_bytes.is_empty()) {
            stream.head = head_of(head);
            stream.head_bytes = head.clone();
        }
        true
    }

    fn shrunk(&mut self, now: Now, token: Token, size: u64, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let size = match stream.stage {
            Stage::Draining(least) => size.min(least),
            _ => size,
        };
        stream.stage = Stage::Draining(size);
        out.push(SourceAction::SealNow);
        self.end_draining(now, token, out);
    }

    /// The bytes before the position of a row's file or of a copy.
    fn probed(&mut self, now: Now, token: Token, back: &ReadBack, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let Stage::Probing(why) = stream.stage else { return };
        let whole = back.bytes.len() == Tail::needed(stream.pos);
        let same = stream.expected_tail().is_none_or(|hash| hash == tail_hash(&back.bytes));
        if !(whole && same || stream.stub) {
            return self.rewritten(now, token, back.size_after, back.head.clone(), out);
        }
        if whole {
            stream.tail = Tail::default();
            stream.tail.push(&back.bytes);
        }
        if why == Why::Adopt {
            self.adopted(now, token, out);
        }
        let stream = self.stream(token);
        stream.stage = Stage::Following;
        stream.polls = POLLS;
        self.want(token);
    }

    fn verify_only(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        if stream.stub && stream.place.size >= stream.pos {
            // The copy is whole now: the bytes before the position show whether it is one.
            stream.stub = false;
            return self.want(token);
        }
        self.at_end(now, token, out);
    }

    fn take_lines(
        &mut self,
        now: Now,
        token: Token,
        lead: usize,
        back: &ReadBack,
        out: &mut Vec<SourceAction>,
    ) {
        let (line_max, once) = (self.settings.line_max, self.settings.once);
        let stream = self.stream(token);
        if back.bytes.len() < lead {
            return self.want(token);
        }
        if stream.expected_tail().is_some_and(|hash| hash != tail_hash(&back.bytes[..lead])) {
            let (size, head) = (back.size_after, back.head.clone());
            return self.rewritten(now, token, size, head, out);
        }
        stream.tail = Tail::default();
        stream.tail.push(&back.bytes[..lead]);
        let bytes = back.bytes.slice(lead..);
        let end = stream.pos + bytes.len() as u64;
        let at_end = end >= back.size_after.min(stream.limit.unwrap_or(u64::MAX));
        let last = end == stream.edge() || at_end && stream.tail_is_final(now.wall, once);
        match cut(&bytes, line_max, last) {
            Cut::Lines(len) => {
                stream.tail.push(&bytes[..len]);
                let to = stream.pos + len as u64;
                self.emit(token, bytes.slice(..len), to, ChunkKind::Lines, out);
                // The beginning of a line at the end of the file need not be read again to be known as one.
                let rest = &bytes[len..];
                let begun =
                    rest.len() <= line_max && rest.first() != Some(&0) && memchr(b'\n', rest).is_none();
                self.more(now, token, at_end && begun, out);
            }
            Cut::Partial if at_end => self.at_end(now, token, out),
            Cut::Partial => {
                let ask = (bytes.len() * 2).min(line_max + 1);
                stream.line = Line::Usual { ask };
                self.want(token);
            }
            Cut::Nul(run) => {
                let to = stream.pos + run as u64;
                self.emit_nul(now, token, to, out);
            }
            Cut::AllNul => {
                stream.line = Line::Nul { scanned: end, seek: true };
                if at_end { self.at_end(now, token, out) } else { self.want(token) }
            }
            Cut::TooLong(Some(length)) => {
                let whole = (length + 1).min(bytes.len());
                stream.tail.push(&bytes[..whole]);
                let to = stream.pos + whole as u64;
                let kept = bytes.slice(..length.min(TOO_LONG_KEPT_BYTES));
                self.emit_long(token, kept, length as u64, to, out);
                self.more(now, token, false, out);
            }
            Cut::TooLong(None) => {
                let mut tail = Tail::default();
                tail.push(&bytes);
                let kept = Bytes::copy_from_slice(&bytes[..bytes.len().min(TOO_LONG_KEPT_BYTES)]);
                stream.line = Line::Skip { kept, scanned: end, tail };
                self.want(token);
            }
        }
    }

    /// A chunk has been emitted; there may be more.
    fn more(&mut self, now: Now, token: Token, at_end: bool, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        stream.pass_decided();
        if at_end {
            self.at_end_found(now, token, true, out);
        } else {
            self.want(token);
        }
    }

    fn at_end(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        self.at_end_found(now, token, false, out);
    }

    /// Nothing whole is there beyond the position.
    fn at_end_found(&mut self, now: Now, token: Token, found: bool, out: &mut Vec<SourceAction>) {
        if self.stream(token).is_packed() {
            return self.packed_end(now, token, out);
        }
        if self.settings.once {
            return self.done(token, out);
        }
        self.rest(now, token, found, out);
    }

    /// `--once`: this file has been read.
    pub(super) fn done(&mut self, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        stream.stage = Stage::Done;
        let bytes = stream.end().saturating_sub(stream.pos);
        if bytes > 0 && !stream.stub {
            let path = stream.place.path.clone();
            out.push(SourceAction::Notice(Notice::TailUnread { path, bytes }));
        }
        self.close(token, out);
    }

    /// `EDGEPUSH_START=end`: the beginning of the last, unfinished line is where reading begins.
    fn take_back(&mut self, token: Token, asked: Asked, bytes: &[u8]) {
        let stream = self.stream(token);
        if stream.stage != Stage::Backing {
            return;
        }
        match memrchr(b'\n', bytes) {
            Some(newline) => stream.pos = asked.offset + newline as u64 + 1,
            None => stream.pos = asked.offset,
        }
        if stream.pos == asked.offset && asked.offset > 0 {
            return self.want(token);
        }
        self.ask_for_row(token);
    }

    /// The rest of a line that is too long.
    fn take_skip(&mut self, now: Now, token: Token, back: &ReadBack, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let stream = self.stream(token);
        let Line::Skip { kept, scanned, tail } = &mut stream.line else { return };
        let newline = memchr(b'\n', &back.bytes);
        let taken = newline.map_or(back.bytes.len(), |at| at + 1);
        *scanned += taken as u64;
        tail.push(&back.bytes[..taken]);
        let (kept, end, tail) = (kept.clone(), *scanned, *tail);
        let at_end = end >= back.size_after.min(stream.limit.unwrap_or(u64::MAX));
        let last = end == stream.edge() || at_end && stream.tail_is_final(now.wall, once);
        if newline.is_none() && !last {
            return if at_end { self.at_end(now, token, out) } else { self.want(token) };
        }
        let length = end - stream.pos - u64::from(newline.is_some());
        stream.tail = tail;
        self.emit_long(token, kept, length, end, out);
        self.more(now, token, false, out);
    }

    fn emit_long(&mut self, token: Token, kept: Bytes, length: u64, end: u64, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let (path, offset) = (stream.place.path.clone(), stream.pos);
        out.push(SourceAction::Notice(Notice::LongLine { path, offset, length }));
        self.emit(token, kept, end, ChunkKind::TooLong { length }, out);
    }

    /// The rest of a run of NUL.
    fn take_nul(&mut self, now: Now, token: Token, back: &ReadBack, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let stream = self.stream(token);
        let Line::Nul { scanned, seek } = &mut stream.line else { return };
        let text = back.bytes.iter().position(|byte| *byte != 0);
        *scanned += text.unwrap_or(back.bytes.len()) as u64;
        *seek = true;
        let end = *scanned;
        let at_end = end >= back.size_after.min(stream.limit.unwrap_or(u64::MAX));
        let last = end == stream.edge() || at_end && stream.tail_is_final(now.wall, once);
        match (text, at_end) {
            (Some(_), _) => self.emit_nul(now, token, end, out),
            (None, _) if last => self.emit_nul(now, token, end, out),
            (None, true) => self.at_end(now, token, out),
            (None, false) => self.want(token),
        }
    }

    fn emit_nul(&mut self, now: Now, token: Token, end: u64, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let bytes = end - stream.pos;
        if bytes > 0 {
            stream.tail.push_nul(bytes);
            let path = stream.place.path.clone();
            out.push(SourceAction::Notice(Notice::NulSkipped { path, bytes }));
            self.emit(token, Bytes::new(), end, ChunkKind::Nul, out);
        }
        self.more(now, token, false, out);
    }

    /// Where the data behind a hole begins.
    pub(super) fn data_at(&mut self, file: FileKey, offset: Option<u64>) {
        let Some((token, asked)) = self.answered(file) else { return };
        let stream = self.stream(token);
        let bound = stream.bound();
        let Line::Nul { scanned, seek } = &mut stream.line else { return };
        // A hole to the end: its last byte is read, which tells whether the end is the end for good.
        let data = offset.unwrap_or_else(|| stream.place.size.saturating_sub(1));
        *scanned = data.min(bound).max(asked.offset);
        *seek = false;
        self.want(token);
    }

    /// Passes a chunk on; the stream's tail stands at its end already.
    fn emit(&mut self, token: Token, bytes: Bytes, end: u64, kind: ChunkKind, out: &mut Vec<SourceAction>) {
        self.room = self.room.saturating_sub(1);
        let stream = self.stream(token);
        debug_assert_eq!(stream.stage, Stage::Following, "a chunk of a stream that is not followed");
        let source = stream.id.expect("INVARIANT: a stream that is followed has its row");
        let hot_done = stream.hot_done();
        let start = std::mem::replace(&mut stream.pos, end);
        stream.line = Line::Usual { ask: 0 };
        out.push(SourceAction::Emit(Chunk {
            source,
            path: stream.label.clone(),
            origin: stream.place.glob as u16,
            seed: stream.seed,
            start,
            end,
            bytes,
            head: stream.head_bytes.clone(),
            kind,
            audience: Audience::Live { hot_done },
            evidence: stream.evidence(),
        }));
    }
}

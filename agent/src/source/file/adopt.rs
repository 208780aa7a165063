//! adopt: strangers, copies, and files that are not what they were (PROTOCOL S3, S4; RULINGS 4).
//!
//! Promises: a stranger gets a row of its own only when no stream that is known begins like it; a copy goes on where
//! its original stood, never at 0; two files that begin alike are told apart by the bytes before the position.
//! Must not know: what stands in a chunk.
use super::identity::{Likeness, likeness};
use super::names::live_name;
use super::packed::PASSED;
use super::stream::{Held, Line, Place, Stage, Stream, Token, Why};
use super::{FileSource, HOLD};
use crate::config::Start;
use crate::protocol::{NewSource, Now, SourceChange, SourceState};
use crate::source::evidence::head_of;
use crate::source::{Notice, PackedState, SourceAction};
use bytes::Bytes;
use edgepush_shard::limits::HEAD_BYTES_MAX;
use std::cmp::Reverse;
use std::time::Duration;

/// A stranger too short to be compared with a row whose bytes no one has waits only so long, unless its name is one
/// that rotation gives.
const UNKNOWN_HOLD: Duration = Duration::from_secs(2);

/// What a stranger is.
enum Kin {
    /// A file of its own.
    None,
    /// A copy of this detached row's file.
    CopyOf(Token),
    /// It begins like this one, which is followed: perhaps a copy in the making.
    Like(Token),
    /// It may be the beginning of a copy of this one.
    Stub(Token),
    /// Too short to be told from this one.
    Unknown(Token),
}

impl FileSource {
    /// Strangers that were found together are judged once all are open, live names first: whichever of two files that
    /// begin alike was opened first, the rotated one is the copy. Of two copies the longer one goes first: a copy that
    /// was given up half-way is not what its row goes on with.
    pub(super) fn judge_new(&mut self, now: Now, out: &mut Vec<SourceAction>) {
        if self.opening > 0 || self.unjudged.is_empty() {
            return;
        }
        // One that is being looked at once more is judged by what comes of that.
        if self.unjudged.iter().any(|token| self.streams.get(token).is_some_and(|s| s.asked.is_some())) {
            return;
        }
        let mut tokens = std::mem::take(&mut self.unjudged);
        tokens.retain(|token| self.streams.get(token).is_some_and(|s| s.stage == Stage::Fresh));
        let name = |token: &Token| {
            let place = &self.streams[token].place;
            let named = live_name(&place.path).is_some();
            (named, place.packed.is_some(), Reverse(place.size), place.path.clone())
        };
        tokens.sort_by_cached_key(name);
        for token in tokens {
            self.judge_fresh(now, token, out);
        }
    }

    /// A stranger that is open: what is to become of it, by its first bytes.
    pub(super) fn judge_fresh(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let stream = self.stream(token);
        if stream.head_bytes.is_empty() {
            if self.empty_packed(now, token, out) {
                return;
            }
            let stream = self.stream(token);
            // What it was like is gone; a row without a head would be no evidence for its copies.
            stream.held = None;
            if once {
                stream.stage = Stage::Resting;
                return self.close(token, out);
            }
            return self.rest_fresh(token, out);
        }
        if self.begins_at_end(token) {
            let stream = self.stream(token);
            if let Some(packed) = &mut stream.place.packed {
                // Where its end is need not be known, as nothing of it is ever read.
                packed.state = PackedState::Whole;
                (stream.pos, stream.place.size) = (PASSED, PASSED);
                return self.ask_for_row(token);
            }
            stream.stage = Stage::Backing;
            stream.pos = stream.end();
            return self.want(token);
        }
        let stream = self.stream(token);
        let begun = stream.head_bytes.len() < HEAD_BYTES_MAX && !proves(&stream.head_bytes, once);
        if begun && !stream.tail_is_final(now.wall, once) {
            if once {
                let (path, bytes) = (stream.place.path.clone(), stream.end());
                stream.stage = Stage::Resting;
                out.push(SourceAction::Notice(Notice::TailUnread { path, bytes }));
                return self.close(token, out);
            }
            return self.rest_fresh(token, out);
        }
        if self.measures(token) {
            return;
        }
        match self.kin(token) {
            Kin::None => self.ask_for_row(token),
            Kin::CopyOf(original) if self.is_older(token, original) => {
                if !self.known_older(token, original, out) {
                    self.hold(now, token, original, out);
                }
            }
            Kin::CopyOf(original) => self.adopt(token, original),
            Kin::Like(of) | Kin::Stub(of) | Kin::Unknown(of) => self.hold(now, token, of, out),
        }
    }

    fn rest_fresh(&mut self, token: Token, out: &mut Vec<SourceAction>) {
        self.stream(token).want = false;
        if !self.settings.once {
            self.watch(token, out);
        }
    }

    fn hold(&mut self, now: Now, token: Token, of: Token, out: &mut Vec<SourceAction>) {
        let original = self.stream(of).place.path.clone();
        let stream = self.stream(token);
        let since = stream.held.map_or(now.mono, |held| held.since);
        let checked = stream.held.is_some_and(|held| held.of == of && held.checked);
        if stream.held.replace(Held { of, since, checked }).is_none() {
            let path = stream.place.path.clone();
            out.push(SourceAction::Notice(Notice::CopyHeld { path, of: original }));
        }
        self.rest_fresh(token, out);
    }

    /// Whether `EDGEPUSH_START` has it begin at its end (S9).
    fn begins_at_end(&self, token: Token) -> bool {
        if self.looks.first_done && self.looks.first_registered || !self.settings.first_start {
            return false;
        }
        match self.settings.start {
            Start::Beginning => false,
            Start::End => true,
            Start::At(time) => self.streams[&token].place.mtime < time,
        }
    }

    /// Whether it begins like another one, as far as one can see.
    pub(super) fn has_kin(&self, token: Token) -> bool {
        !matches!(self.kin(token), Kin::None)
    }

    fn kin(&self, token: Token) -> Kin {
        let stranger = &self.streams[&token];
        let (mut best, mut furthest) = (Kin::None, None);
        for (other, stream) in &self.streams {
            if *other == token || stranger.not_of.contains(other) {
                continue;
            }
            let detached = stream.stage == Stage::Detached && stream.id.is_some();
            if detached && stream.pos == PASSED {
                // Nothing of it was read.
                continue;
            }
            if !detached && !stream.is_followed() {
                continue;
            }
            let found = match likeness(&stranger.head_bytes, stream.head, &stream.head_bytes) {
                Likeness::Same if !alike(&stranger.head_bytes, &stream.head_bytes) => Kin::None,
                Likeness::Same if detached => Kin::CopyOf(*other),
                Likeness::Same => Kin::Like(*other),
                Likeness::Stub => Kin::Stub(*other),
                Likeness::Unknown if detached || stream.stage == Stage::Probing(Why::Adopt) => {
                    Kin::Unknown(*other)
                }
                Likeness::Unknown | Likeness::Other => Kin::None,
            };
            // Of several rows with the same beginning it is the one that was read furthest; of equals the youngest.
            let within = Some(stream.pos.min(stranger.place.size));
            if (rank(&found), within) >= (rank(&best), furthest) {
                (best, furthest) = (found, within);
            }
        }
        best
    }

    /// Looks again at strangers that are held back: what they wait for may have happened.
    pub(super) fn judge_held(&mut self, now: Now, quiet: bool, out: &mut Vec<SourceAction>) {
        let is_held = |s: &Stream| s.stage == Stage::Fresh && s.file.is_some() && s.held.is_some();
        let looks = |s: &Stream| s.asked.is_some() || s.is_packed() && s.want;
        if self.streams.values().any(|s| is_held(s) && looks(s)) {
            // What is being looked at may be the longer copy.
            self.review = true;
            return;
        }
        let mut held: Vec<(Token, Held)> = self
            .streams
            .iter()
            .filter(|(_, s)| is_held(s))
            .filter_map(|(token, s)| s.held.map(|held| (*token, held)))
            .collect();
        held.sort_by_key(|(token, _)| Reverse(self.streams[token].place.size));
        for (token, held) in held {
            if self.streams.values().any(|s| s.stage == Stage::Probing(Why::Adopt)) {
                // One after the other: what comes of this one says what the next one is.
                self.review = true;
                return;
            }
            let waited = quiet || now.mono >= held.since + HOLD;
            // What is still being compressed is not yet what it will be.
            let copy = &self.streams[&token];
            let grows = copy.is_half() && now.wall.saturating_sub(copy.grown) < HOLD.as_nanos() as i64;
            match self.kin(token) {
                Kin::None => {
                    self.stream(token).held = None;
                    self.ask_for_row(token);
                }
                Kin::CopyOf(original)
                    if self.is_older(token, original)
                        && (self.known_older(token, original, out) || !waited) => {}
                Kin::CopyOf(original) => {
                    let (row, copy) = (&self.streams[&original], &self.streams[&token]);
                    if copy.unlinked && copy.place.size < row.pos {
                        // Torn and deleted: it has nothing to give, and goes when it is closed.
                        continue;
                    }
                    self.stream(token).held = None;
                    self.adopt(token, original);
                }
                Kin::Like(of) | Kin::Stub(of) if quiet || waited && !grows => {
                    self.known_copy(now, token, of, out);
                }
                Kin::Unknown(of) => {
                    let stream = self.stream(token);
                    let named = live_name(&stream.place.path).is_some();
                    if named && waited {
                        self.adopt(token, of);
                    } else if !named && (quiet || now.mono >= held.since + UNKNOWN_HOLD) {
                        stream.held = None;
                        self.ask_for_row(token);
                    }
                }
                Kin::Like(_) | Kin::Stub(_) => {}
            }
        }
    }

    /// Whether a compressed file is the copy of less than was read of a row's file: it is whole, so it is not what the row
    /// goes on with.
    fn is_older(&self, token: Token, original: Token) -> bool {
        let (copy, row) = (&self.streams[&token], &self.streams[&original]);
        copy.is_known_whole() && copy.place.size < row.pos
    }

    /// Nothing of it is to be read, once what it has is durable.
    fn known_older(&mut self, token: Token, original: Token, out: &mut Vec<SourceAction>) -> bool {
        let (durable, of) = (self.streams[&original].durable, self.streams[&original].place.path.clone());
        let stream = self.stream(token);
        let (path, position) = (stream.place.path.clone(), stream.place.size);
        if durable < position {
            return false;
        }
        stream.pos = position;
        out.push(SourceAction::Notice(Notice::CopyKnown { path, of, position }));
        self.ask_for_row(token);
        true
    }

    /// It has equalled a file that goes on for long enough: what stands in it was, or will be, read from that one.
    fn known_copy(&mut self, now: Now, token: Token, of: Token, out: &mut Vec<SourceAction>) {
        let original = &self.streams[&of];
        if original.stage == Stage::Detached && original.durable < self.streams[&token].end() {
            self.stream(token).held = None;
            return self.adopt(token, of);
        }
        // Else, of a row whose file is gone, it is the beginning of a copy that was never finished.
        // What is only in memory may be needed again: from this file, if the other one is truncated meanwhile.
        let (position, path_of) = (original.durable, original.place.path.clone());
        let (size, followed) = (self.streams[&token].end(), original.stage);
        // What was read of it was there, also when its file is shorter by now.
        if size > original.place.size.max(position) {
            if !original.stub {
                return self.longer(token, of);
            }
            // The row has a torn copy; this one is longer than all that was read: it is compared next.
            self.close(of, out);
            return self.detach(now, of, out);
        }
        if position < size && followed != Stage::Done {
            return;
        }
        let tail = original.expected_tail().filter(|_| original.pos == position);
        let stream = self.stream(token);
        // Half a compressed file may be finished yet: what the original has given is known of it before it is there.
        stream.pos = size;
        if position > size && stream.is_half() {
            stream.pos = position;
            stream.tails = tail.map(|tail| (position, tail)).into_iter().collect();
        }
        stream.held = None;
        let (path, position) = (stream.place.path.clone(), stream.pos);
        out.push(SourceAction::Notice(Notice::CopyKnown { path, of: path_of, position }));
        self.ask_for_row(token);
    }

    /// A stranger begins like a stream and is longer: no copy of it. Perhaps the stream's file is the copy, and was seen
    /// before its original was found to have begun anew: then the original goes on where the copy ends. (The first read
    /// compares the bytes before that.) Else it may be a copy of another stream.
    fn longer(&mut self, token: Token, of: Token) {
        let Some(held) = self.stream(token).held else { return };
        self.stream(token).held = Some(Held { of, checked: true, ..held });
        let known = &self.streams[&of];
        if known.file.is_some() {
            // What is known of its size may be old: it may have grown and been truncated since.
            if held.of != of || !held.checked {
                return self.want(of);
            }
            if known.want || known.asked.is_some() {
                return;
            }
        }
        let (copy, stranger) = (&self.streams[&of], &self.streams[&token]);
        if live_name(&copy.place.path).as_ref() == Some(&stranger.place.path) {
            let read = !copy.want && copy.asked.is_none() && copy.durable >= copy.pos;
            if !read || copy.id.is_none() {
                return;
            }
            if let Some(tail) = copy.expected_tail() {
                let position = copy.pos;
                let stream = self.stream(token);
                stream.pos = position;
                stream.tails = vec![(position, tail)];
                return self.ask_for_row(token);
            }
        }
        self.stream(token).not_of.push(of);
        self.review = true;
    }

    /// A stranger gets its row with the next registration.
    pub(super) fn ask_for_row(&mut self, token: Token) {
        let stream = self.stream(token);
        stream.stage = Stage::Registering;
        stream.held = None;
        stream.head = head_of(&stream.head_bytes);
        stream.want = false;
        let new = NewSource {
            token,
            ident: stream.place.ident,
            path: stream.place.path.clone(),
            head: stream.head,
            size: stream.place.row_size(stream.pos),
            begin: stream.pos,
        };
        self.new.push(new);
    }

    /// The stranger's file goes to the row: first the bytes before the position are compared.
    fn adopt(&mut self, token: Token, original: Token) {
        let Some(stranger) = self.streams.remove(&token) else { return };
        let Some(file) = stranger.file else { return };
        self.by_file.insert(file, original);
        self.backlog.hand_over(token, original);
        let row = self.stream(original);
        row.file = Some(file);
        row.limit = stranger.limit;
        row.asked = None;
        row.queued = false;
        row.line = Line::Usual { ask: 0 };
        row.stub = stranger.place.size < row.pos;
        row.target = Some(stranger.place);
        // If it proves to be no copy, the stranger goes on where it stood: it does not wait again for each row.
        row.not_of = stranger.not_of;
        row.held = stranger.held;
        row.stage = Stage::Probing(Why::Adopt);
        row.unlinked = stranger.unlinked;
        self.want(original);
    }

    /// The copy is one: the row is attached to it.
    pub(super) fn adopted(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let (Some(place), Some(id), Some(file)) = (stream.target.take(), stream.id, stream.file) else {
            return;
        };
        let of = std::mem::replace(&mut stream.place, place).path;
        let path = stream.place.path.clone();
        stream.move_to(&path);
        stream.not_of.clear();
        stream.held = None;
        (stream.left, stream.renamed, stream.missed) = (false, false, 0);
        stream.adopted = true;
        stream.grown = now.wall;
        stream.report_at = None;
        let (ident, position) = (stream.place.ident, stream.pos);
        out.push(SourceAction::Attach { source: id, file });
        let moved = SourceChange::Moved { id, ident, path: path.clone(), state: SourceState::Attached };
        out.push(SourceAction::Change(moved));
        out.push(SourceAction::Notice(Notice::CopyAdopted { path, of, position }));
    }

    /// The bytes before the position differ: the row waits on, the stranger is a file of its own.
    pub(super) fn not_adopted(&mut self, now: Now, token: Token, head: Bytes, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let (Some(place), Some(file)) = (stream.target.take(), stream.file.take()) else { return };
        stream.stage = Stage::Detached;
        stream.want = false;
        stream.stub = false;
        let (limit, held) = (stream.limit.take(), stream.held.take());
        let mut not_of = std::mem::take(&mut stream.not_of);
        not_of.push(token);
        self.review = true;
        let fresh = self.fresh(place, head, Some(file));
        self.backlog.hand_over(token, fresh);
        let stream = self.stream(fresh);
        (stream.limit, stream.held, stream.not_of) = (limit, held, not_of);
        self.judge_fresh(now, fresh, out);
    }

    /// The file was truncated, or another content stands in it: the row waits for its copy, the file begins anew.
    pub(super) fn rewritten(
        &mut self,
        now: Now,
        token: Token,
        size: u64,
        head: Bytes,
        out: &mut Vec<SourceAction>,
    ) {
        let stream = self.stream(token);
        if stream.stage == Stage::Probing(Why::Adopt) {
            return self.not_adopted(now, token, head, out);
        }
        let file = stream.file.take();
        let place = Place { size, ..stream.place.clone() };
        let (path, position, limit) = (place.path.clone(), stream.pos, stream.limit);
        let (renamed, unlinked) = (stream.renamed, stream.unlinked);
        out.push(SourceAction::Notice(Notice::Truncated { path, position }));
        out.push(SourceAction::SealNow);
        self.detach(now, token, out);
        let fresh = self.fresh(place, head, file);
        let stream = self.stream(fresh);
        (stream.limit, stream.renamed, stream.unlinked) = (limit, renamed, unlinked);
        stream.not_of.push(token);
        stream.grown = now.wall;
        self.look_soon(now);
        self.judge_fresh(now, fresh, out);
    }

    fn fresh(&mut self, place: Place, head: Bytes, file: Option<crate::source::FileKey>) -> Token {
        let mut stream = Stream::new(place, head);
        stream.stage = Stage::Fresh;
        stream.file = file;
        let token = self.add(stream);
        if let Some(file) = file {
            self.by_file.insert(file, token);
        }
        token
    }
}

/// Whether a beginning is evidence: less than a line is none, as every record begins alike, and lines that say what
/// follows (`#Fields: …`) are none either. `--once` cannot wait for more than a line.
fn proves(head: &[u8], once: bool) -> bool {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.any(|line| once || line[0] != b'#')
}

fn rank(kin: &Kin) -> u8 {
    match kin {
        Kin::None => 0,
        Kin::Unknown(_) => 1,
        Kin::Stub(_) => 2,
        Kin::CopyOf(_) => 3,
        // A file that is there explains a copy better than one that is gone.
        Kin::Like(_) => 4,
    }
}

/// Whether two beginnings agree as far as both are known.
fn alike(a: &[u8], b: &[u8]) -> bool {
    let len = a.len().min(b.len());
    a[..len] == b[..len]
}

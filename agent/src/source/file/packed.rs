//! packed: compressed files among the others. All offsets and sizes are those of the text; what a file has on the disk
//! matters only to see it grow.
//!
//! Promises: one compressed file is decompressed at a time, from its beginning to its end, twice at most: a second time
//! when it begins like another one and had to be measured; one that ends in the middle is waited for, not for ever; one
//! that was read to its end is never decompressed again, also after a restart.
//! Must not know: how files are compressed.
use super::stream::{Ask, Asked, DELETED_GRACE_NS, Place, Stream, Token};
use super::{FileSource, inode};
use crate::protocol::{Now, SourceChange};
use crate::source::{Notice, Packed, PackedState, ReadBack, Seen, SourceAction};
use edgepush_shard::limits::READ_BYTES_COLD;

/// A file that ends in the middle, or cannot be decompressed, is taken as it is when it did not change for so long, ns.
const QUIET_NS: i64 = 60_000_000_000;

/// Sizes as they stand in the ledger's rows say more of a compressed file. None is a size that a file can have.
///
/// Here begins what `EDGEPUSH_START` counts as read: how long its text is, no one has looked.
pub(super) const PASSED: u64 = 1 << 60;
/// Plus its size: it was read to its end.
const DONE: u64 = 1 << 61;
/// Plus the stored bytes that are left: its size is not known yet.
const UNKNOWN: u64 = 1 << 62;

impl Place {
    /// Its size on the disk.
    pub(super) fn stored(&self) -> u64 {
        self.packed.as_ref().map_or(self.size, |packed| packed.stored)
    }

    fn more(&self) -> Option<&Packed> {
        self.packed.as_ref().filter(|packed| packed.state == PackedState::More)
    }

    /// What a ledger's row says of the size, read by [`Place::take_row_size`].
    pub(super) fn row_size(&self, position: u64) -> u64 {
        match &self.packed {
            None => self.size,
            Some(packed) if packed.state == PackedState::Whole && position >= self.size => DONE + self.size,
            Some(packed) => UNKNOWN + packed.stored.saturating_sub(packed.taken).min(PASSED),
        }
    }

    pub(super) fn take_row_size(&mut self, size_seen: u64, position: u64) {
        let packed = |stored, state| Some(Packed { stored, taken: 0, state });
        (self.size, self.packed) = match size_seen {
            UNKNOWN.. => (position, packed(size_seen - UNKNOWN, PackedState::More)),
            DONE.. => (size_seen - DONE, packed(0, PackedState::Whole)),
            _ => (size_seen, None),
        };
    }
}

impl Stream {
    /// Where its file stands: of a copy that is being compared, that one.
    pub(super) fn at(&self) -> &Place {
        self.target.as_ref().unwrap_or(&self.place)
    }

    /// Its file is compressed.
    pub(super) fn is_packed(&self) -> bool {
        self.at().packed.is_some()
    }

    /// Bytes that are there and not read: of a compressed file at least so many.
    pub(super) fn unread(&self) -> u64 {
        let known = self.end().saturating_sub(self.pos);
        self.place.more().map_or(known, |packed| known.max(packed.stored.saturating_sub(packed.taken)))
    }

    /// Whether nothing more will come of a compressed file.
    pub(super) fn packed_is_final(&self, packed: &Packed, wall: i64, once: bool) -> bool {
        let quiet = wall.saturating_sub(self.grown);
        match packed.state {
            PackedState::Whole => true,
            PackedState::More => false,
            // A copy that was deleted may have been torn: another one may have the whole line.
            _ if self.unlinked => !self.adopted && (once || quiet >= DELETED_GRACE_NS),
            _ => once || quiet >= QUIET_NS,
        }
    }

    /// It is compressed, and is known to its end.
    pub(super) fn is_known_whole(&self) -> bool {
        self.place.packed.as_ref().is_some_and(|packed| packed.state == PackedState::Whole)
    }

    /// A compressed file whose end has not come yet.
    pub(super) fn is_half(&self) -> bool {
        self.place.packed.is_some() && !self.is_known_whole()
    }

    /// The read by which a compressed file is measured.
    pub(super) fn measure(&self) -> Asked {
        Asked { offset: self.place.size, len: READ_BYTES_COLD, what: Ask::Measure }
    }

    /// What a read has shown of the file. Says whether it is (not) compressed as it was taken to be.
    pub(super) fn learn(&mut self, back: &ReadBack, wall: i64) -> bool {
        let place = self.target.as_mut().unwrap_or(&mut self.place);
        let same_kind = back.packed.is_some() == place.packed.is_some();
        let Some(new) = &back.packed else {
            place.packed = None;
            return same_kind;
        };
        let old = place.packed.replace(new.clone());
        let same = old.as_ref().is_some_and(|old| old.stored == new.stored);
        if !same {
            self.grown = self.grown.max(wall);
            self.settled = false;
        }
        // It was measured: that this read has not been at its end says nothing.
        if let (true, PackedState::More, Some(old)) = (same, &new.state, old) {
            place.packed = Some(Packed { state: old.state, ..new.clone() });
        }
        same_kind
    }

    /// Its size after a read that has said `size`: of a compressed file what is known of it.
    pub(super) fn text_size(&self, back: &ReadBack) -> u64 {
        let place = self.at();
        match &back.packed {
            Some(new) if new.state == PackedState::More => place.size.max(back.size_after),
            _ => back.size_after,
        }
    }

    /// Whether what a walk has seen was read to its end.
    fn was_read(&self, seen: &Seen, first: bool) -> bool {
        let Some(packed) = &self.place.packed else { return false };
        let same = if first { packed.state == PackedState::Whole } else { packed.stored == seen.size };
        let ended = packed.state == PackedState::Whole || self.settled;
        same && ended && self.pos == self.place.size && self.above.is_empty()
    }

    /// A row's compressed file is there: its place. Says whether there is something to read.
    pub(super) fn resume_packed(&mut self, seen: &Seen, first: bool) -> bool {
        let read = self.was_read(seen, first);
        let state = match &self.place.packed {
            Some(packed) if read => packed.state.clone(),
            _ => PackedState::More,
        };
        let packed = Some(Packed { stored: seen.size, taken: 0, state });
        let size = self.place.size.max(self.pos);
        self.place = Place { size, packed, ..Place::of(seen) };
        !read
    }
}

impl FileSource {
    /// Whether this stream may decompress now: only one does, so that none begins again for another.
    pub(super) fn may_unpack(&mut self, token: Token) -> bool {
        let Some(holder) = self.unpacking.filter(|holder| *holder != token) else { return true };
        let Some(stream) = self.streams.get(&holder) else { return true };
        if stream.asked.is_some() {
            return false;
        }
        let next = stream.next_read().filter(|_| stream.is_packed());
        let glob = stream.place.glob;
        !next.is_some_and(|ask| !ask.what.takes_room() || self.is_turn(holder, glob))
    }

    /// Whether a stranger must be measured before it is told what it is.
    pub(super) fn measures(&mut self, token: Token) -> bool {
        if self.stream(token).place.more().is_none() || !self.has_kin(token) {
            return false;
        }
        self.want(token);
        true
    }

    /// Nothing of a compressed stranger can be decompressed, or nothing is in it.
    pub(super) fn empty_packed(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) -> bool {
        let once = self.settings.once;
        let stream = self.stream(token);
        let Some(packed) = stream.place.packed.clone() else { return false };
        if !stream.packed_is_final(&packed, now.wall, once) {
            return false;
        }
        self.say_broken(token, out);
        let stream = self.stream(token);
        let (at, known) = (inode(stream.place.ident), (stream.place.stored(), stream.place.mtime));
        self.close(token, out);
        self.streams.remove(&token);
        self.ignored.insert(at, known);
        true
    }

    /// Nothing whole is there beyond the position of a compressed file.
    pub(super) fn packed_end(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let stream = self.stream(token);
        stream.want = false;
        stream.polls = 0;
        let ended = stream.place.packed.as_ref().is_some_and(|p| stream.packed_is_final(p, now.wall, once));
        if ended && !std::mem::replace(&mut stream.settled, true) {
            self.say_broken(token, out);
        }
        if once {
            self.end_packed(token, out);
            self.done(token, out);
        }
    }

    /// Once, what is wrong with a compressed file that was taken as it is.
    fn say_broken(&mut self, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        let why = match stream.place.packed.as_ref().map(|packed| &packed.state) {
            Some(PackedState::Torn) => {
                let at = stream.place.stored();
                format!("it ends in the middle, after {at} stored bytes")
            }
            Some(PackedState::Broken { at, why }) => format!("{why}, at {at} of its stored bytes"),
            _ => return,
        };
        let (path, position) = (stream.place.path.clone(), stream.place.size);
        let notice = Notice::Broken { path: path.clone(), position, why };
        self.say_once(&path, notice, out);
    }

    /// It was read to its end: its row says so from now on.
    pub(super) fn end_packed(&mut self, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        if let (Some(id), true, true) = (stream.id, stream.is_packed(), stream.pos >= stream.place.size) {
            let size = DONE + stream.place.size;
            out.push(SourceAction::Change(SourceChange::Sized { id, size }));
        }
    }

    /// What a sweep has seen of a compressed file.
    pub(super) fn swept_packed(&mut self, now: Now, token: Token, stored: u64) {
        let stream = self.stream(token);
        let Some(packed) = &mut stream.place.packed else { return };
        if packed.stored != stored {
            packed.stored = stored;
            // What was measured is not all any more.
            packed.state = PackedState::More;
            stream.grown = now.wall;
            stream.settled = false;
            return self.want(token);
        }
        let quiet = now.wall.saturating_sub(stream.grown) >= QUIET_NS;
        let waits = !stream.settled && packed.state != PackedState::Whole && stream.held.is_none();
        if waits && (quiet || stream.said_error || stream.unlinked) {
            self.want(token);
        }
    }
}

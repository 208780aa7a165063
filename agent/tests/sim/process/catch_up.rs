//! The part of `run::catch_up`: performs what the reader of parked groups asks for on the simulated files.
use super::tail::{GLOB, head, ident_of, nlink, text};
use super::{Around, Cut, FromSource, Io, Life, ToLedger, short};
use bytes::Bytes;
use edgepush::ledger::LedgerEvent;
use edgepush::protocol::GroupId;
use edgepush::source::*;

impl Life {
    /// As `Tail::catch_up_room`.
    fn catch_up_room(&self) -> usize {
        if self.uncommitted_full || self.spool_full {
            return 0;
        }
        let free = (self.settings.shards + 2 - self.chunks.len()).saturating_sub(self.source.reserved());
        free.min(2usize.saturating_sub(self.chunks.len()))
    }

    fn still(&self) -> bool {
        self.catch_up.wants_still() && self.source.is_still()
    }

    pub(super) fn catch_up_wants(&self) -> bool {
        !self.ending
            && (!self.to_catch_up.is_empty()
                || self.catch_up_room() != self.catch_up_room_said
                || self.source.is_draining() != self.held_said
                || self.still()
                || self.seal_soon && self.processed == self.emitted)
    }

    /// As `Reader::next_event`.
    pub(super) fn catch_up_turn(&mut self, around: &mut Around<'_>) {
        if self.seal_soon && self.processed == self.emitted {
            self.seal_soon = false;
            self.from_source.push_back(FromSource::SealNow);
        }
        let (held, room) = (self.source.is_draining(), self.catch_up_room());
        let event = if held != self.held_said {
            self.held_said = held;
            CatchUpEvent::Hold(held)
        } else if room != self.catch_up_room_said {
            self.catch_up_room_said = room;
            CatchUpEvent::Room { chunks: room }
        } else if self.still() {
            CatchUpEvent::Still
        } else if let Some(event) = self.to_catch_up.pop_front() {
            event
        } else {
            return;
        };
        self.catch_up_step(event, around);
    }

    pub(super) fn catch_up_step(&mut self, event: CatchUpEvent, around: &mut Around<'_>) {
        around.say(|| format!("catch up <- {}", short(&event)));
        let mut actions = Vec::new();
        self.catch_up.step(around.now, event, &mut actions);
        for action in actions {
            if !matches!(action, CatchUpAction::Emit(_) | CatchUpAction::Wake { .. }) {
                around.say(|| format!("  catch up -> {}", short(&action)));
            }
            self.catch_up_action(action, around);
        }
        let busy = self.catch_up.is_busy();
        if busy != std::mem::replace(&mut self.busy_said, busy) {
            self.source_step(SourceEvent::CatchingUp { busy }, around);
        }
        if self.room() != self.room_said {
            self.room_said = self.room();
            self.source_step(SourceEvent::Room { chunks: self.room_said }, around);
        }
    }

    fn catch_up_action(&mut self, action: CatchUpAction, around: &mut Around<'_>) {
        match action {
            CatchUpAction::Gaps(group) => {
                self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Gaps(group)));
            }
            CatchUpAction::Lost { group, source, ranges } => {
                self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Lost { group, source, ranges }));
            }
            CatchUpAction::Emit(chunk) => {
                self.catch_up_room_said = self.catch_up_room_said.saturating_sub(1);
                self.emit(chunk, around);
            }
            CatchUpAction::Merge(group) => self.from_source.push_back(FromSource::CaughtUp(group)),
            CatchUpAction::Stand(_) => {}
            CatchUpAction::SealSoon => self.seal_soon = true,
            CatchUpAction::Wake { after } => self.catch_up_wake = Some(around.now.mono + after),
            CatchUpAction::Open { file, path, ident } => {
                self.io.push(Io::CatchUpOpen { file, path: path.display().to_string(), ident });
            }
            CatchUpAction::Find { path, ident } => {
                assert!(path.starts_with(GLOB));
                self.io.push(Io::CatchUpFind { ident });
            }
            CatchUpAction::Read { file, offset, len } => self.io.push(Io::CatchUpRead { file, offset, len }),
            CatchUpAction::Close(file) => {
                let at = self.catch_up_files.remove(&file).expect("a file that is open");
                around.logs.close(at);
            }
        }
    }

    pub(super) fn catch_up_io(&mut self, io: Io, around: &mut Around<'_>) {
        let event = match io {
            Io::CatchUpOpen { file, path, ident } => {
                let opened = super::tail::open_at(around.logs, &path, ident);
                let result = opened.map(|(at, stat)| {
                    around.logs.open(at);
                    self.catch_up_files.insert(file, at);
                    stat
                });
                CatchUpEvent::Opened { file, result }
            }
            Io::CatchUpFind { ident } => {
                let is_it = |at: usize| {
                    let found = ident_of(around.logs, at);
                    (found.dev, found.ino) == (ident.dev, ident.ino)
                };
                let found = around.logs.names.iter().find(|(path, at)| path.starts_with(GLOB) && is_it(**at));
                CatchUpEvent::Found(found.map(|(path, _)| path.into()))
            }
            Io::CatchUpRead { file, offset, len } => {
                let data = &around.logs.files[self.catch_up_files[&file]].data;
                let from = (offset as usize).min(data.len());
                let to = (from + len).min(data.len());
                let bytes = Bytes::copy_from_slice(&data[from..to]);
                let known = (from + bytes.len()) as u64;
                return self.io.push(Io::CatchUpVerify { file, bytes, known });
            }
            Io::CatchUpVerify { file, bytes, known } => {
                let (logs, at) = (&around.logs, self.catch_up_files[&file]);
                let ((size_after, packed), nlink, head) =
                    (text(logs, at, known), nlink(logs, at), head(logs, at));
                CatchUpEvent::Read { file, result: Ok(ReadBack { bytes, size_after, nlink, head, packed }) }
            }
            _ => unreachable!("the live source's"),
        };
        self.to_catch_up.push_back(event);
    }

    /// What becomes of a cut chunk: who is to get it.
    pub(super) fn cut_key(chunk: &edgepush_shard::chunk::Chunk) -> (super::CutKey, bool) {
        use edgepush_shard::chunk::Audience;
        let (group, hot) = match chunk.audience {
            Audience::Live { hot_done } => (GroupId::MAIN, !hot_done),
            Audience::Parked(group) => (group, false),
        };
        ((group, chunk.source, chunk.start, chunk.end), hot)
    }
}

impl Cut {
    /// The lines of a chunk's bytes, with where each begins and ends in the source.
    pub(super) fn new(chunk: &edgepush_shard::chunk::Chunk, hot: bool) -> Cut {
        use edgepush_shard::chunk::ChunkKind;
        let mut cut = Cut { lines: Vec::new(), spans: Vec::new(), processed: false, hot };
        if chunk.kind != ChunkKind::Lines {
            return cut;
        }
        assert_eq!(chunk.bytes.len() as u64, chunk.end - chunk.start, "P1: a chunk's bytes");
        let mut at = chunk.start;
        for text in chunk.bytes.split_inclusive(|b| *b == b'\n') {
            let end = at + text.len() as u64;
            let line = text.strip_suffix(b"\n").unwrap_or(text);
            if let Some(line) = crate::logs::line_of(line) {
                cut.lines.push(line);
                cut.spans.push((at..end, line));
            }
            at = end;
        }
        cut
    }
}

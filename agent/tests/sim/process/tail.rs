//! The part of `run::tail`: performs what the source asks for on the simulated files.
//!
//! Between the parts of one read (read, then verify), of one walk (names, then each file) and of one open anything may
//! happen to the files.
use super::{Around, Cut, FromSource, Io, Life, ToLedger, short};
use crate::logs::Logs;
use bytes::Bytes;
use edgepush::ledger::LedgerEvent;
use edgepush::protocol::{FileIdent, GroupId};
use edgepush::source::*;
use edgepush_shard::chunk::Chunk;

pub(super) const GLOB: &str = "/log/";

impl Life {
    pub(super) fn room(&self) -> usize {
        if self.uncommitted_full || self.spool_full || self.catch_up.stands() {
            return 0;
        }
        (self.settings.shards + 2 - self.chunks.len()).saturating_sub(self.catch_up.reserved())
    }

    pub(super) fn source_wants(&self) -> bool {
        if self.ending {
            return !self.done && self.to_ledger.is_empty() && self.processed == self.emitted;
        }
        !self.inbox.is_empty() || !self.to_source.is_empty() || self.room() != self.room_said
    }

    pub(super) fn source_turn(&mut self, around: &mut Around<'_>) {
        if self.ending {
            self.done = true;
            self.from_source.push_back(FromSource::Done);
            return;
        }
        self.inbox.extend(self.to_source.drain(..));
        if self.room() != self.room_said {
            self.room_said = self.room();
            self.inbox.push_front(SourceEvent::Room { chunks: self.room_said });
        }
        if let Some(event) = self.inbox.pop_front() {
            self.source_step(event, around);
        }
    }

    pub(super) fn source_step(&mut self, event: SourceEvent, around: &mut Around<'_>) {
        around.say(|| format!("source <- {}", short(&event)));
        let mut actions = Vec::new();
        self.source.step(around.now, event, &mut actions);
        for action in actions {
            self.source_action(action, around);
        }
    }

    pub(super) fn source_action(&mut self, action: SourceAction, around: &mut Around<'_>) {
        match &action {
            SourceAction::Wake { .. } | SourceAction::Sweep | SourceAction::Emit(_) => {}
            action => around.say(|| format!("  source -> {}", short(action))),
        }
        match action {
            SourceAction::Look(known) => {
                let mut paths: Vec<String> =
                    around.logs.names.keys().filter(|p| p.starts_with(GLOB)).cloned().collect();
                paths.reverse();
                self.io.push(Io::Look { known, paths, found: Vec::new() });
            }
            SourceAction::Open { file, path, ident } => {
                self.io.push(Io::Open { file, path: path.display().to_string(), ident });
            }
            SourceAction::Close { file } => {
                let at = self.files.remove(&file).expect("a file that is open");
                self.watches.remove(&file);
                around.logs.close(at);
            }
            SourceAction::Read { file, offset, len, .. } => self.io.push(Io::Read { file, offset, len }),
            SourceAction::SeekData { file, offset } => {
                self.inbox.push_back(SourceEvent::DataAt { file, offset: Some(offset) });
            }
            SourceAction::Register(new) => {
                self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Register(new)))
            }
            SourceAction::Change(change) => {
                self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Change(vec![change])));
            }
            SourceAction::Emit(chunk) => self.emit(chunk, around),
            SourceAction::SealNow => self.from_source.push_back(FromSource::SealNow),
            SourceAction::Sweep => {
                let stat =
                    |(key, at): (&FileKey, &usize)| (*key, size(around.logs, *at), nlink(around.logs, *at));
                let open = self.files.iter().map(stat).collect();
                self.inbox.push_back(SourceEvent::Swept(open));
            }
            SourceAction::Watch { file, size: known } => {
                if self.settings.blind {
                    return;
                }
                if size(around.logs, self.files[&file]) == known {
                    self.watches.insert(file, known);
                } else {
                    self.inbox.push_back(SourceEvent::Dirty(vec![Dirty::File(file)]));
                }
            }
            SourceAction::Wake { after } => self.wake = Some(around.now.mono + after),
            SourceAction::Attach { source, file } => {
                let at = self.files[&file];
                around.logs.open(at);
                self.to_ledger.push_back(ToLedger::Attach(source, at));
            }
            SourceAction::Detach { source } => self.to_ledger.push_back(ToLedger::Detach(source)),
            SourceAction::Notice(_) => {}
        }
    }

    pub(super) fn emit(&mut self, chunk: Chunk, around: &mut Around<'_>) {
        assert!(self.chunks.len() < self.settings.shards + 2, "P8: a chunk was emitted without room");
        if chunk.audience.contains(GroupId::MAIN) {
            self.room_said = self.room_said.saturating_sub(1);
        }
        self.emitted += 1;
        let (key, hot) = Life::cut_key(&chunk);
        let cut = Cut::new(&chunk, hot);
        around.say(|| {
            let lines: Vec<u64> = cut.lines.iter().map(|line| line.number()).collect();
            format!(
                "  cut {:?} {} {}..{}: {lines:?} for {:?}",
                chunk.source, chunk.path, chunk.start, chunk.end, chunk.audience
            )
        });
        around.logs.held(cut.lines.iter().map(|line| line.number()));
        let old = self.cuts.insert(key, cut);
        assert!(old.is_none(), "I1: a chunk was cut twice: {key:?}");
        self.chunks.push_back(chunk);
    }

    /// inotify: files that changed, names that changed.
    pub fn changed(&mut self, logs: &mut Logs) {
        let (touched, moved) = (std::mem::take(&mut logs.touched), std::mem::take(&mut logs.moved));
        if self.settings.blind || self.ending {
            return;
        }
        let dirty: Vec<FileKey> =
            self.watches.keys().filter(|key| touched.contains(&self.files[key])).copied().collect();
        for file in dirty {
            self.watches.remove(&file);
            self.inbox.push_back(SourceEvent::Dirty(vec![Dirty::File(file)]));
        }
        if moved {
            self.inbox.push_back(SourceEvent::Dirty(vec![Dirty::Dir("/log".into())]));
        }
    }

    pub(super) fn io_turn(&mut self, at: usize, around: &mut Around<'_>) {
        match self.io.swap_remove(at) {
            io @ (Io::CatchUpOpen { .. }
            | Io::CatchUpFind { .. }
            | Io::CatchUpRead { .. }
            | Io::CatchUpVerify { .. }) => self.catch_up_io(io, around),
            Io::Look { known, mut paths, mut found } => match paths.pop() {
                Some(path) => {
                    found.extend(seen(around.logs, &path, &known));
                    self.io.push(Io::Look { known, paths, found });
                }
                None => {
                    let stat = |(key, at): (&FileKey, &usize)| {
                        (*key, size(around.logs, *at), nlink(around.logs, *at))
                    };
                    let open = self.files.iter().map(stat).collect();
                    self.inbox.push_back(SourceEvent::Looked(Look {
                        files: found,
                        open,
                        failed: Vec::new(),
                    }));
                }
            },
            Io::Open { file, path, ident } => {
                let result = open_at(around.logs, &path, ident).map(|(at, stat)| {
                    around.logs.open(at);
                    self.files.insert(file, at);
                    stat
                });
                self.inbox.push_back(SourceEvent::Opened { file, result });
            }
            Io::Read { file, offset, len } => {
                let Some(&inode) = self.files.get(&file) else { return };
                let data = &around.logs.files[inode].data;
                let from = (offset as usize).min(data.len());
                let to = (from + len).min(data.len());
                let bytes = Bytes::copy_from_slice(&data[from..to]);
                self.io.push(Io::Verify { file, offset, bytes });
            }
            Io::Verify { file, offset, bytes } => {
                let Some(&inode) = self.files.get(&file) else { return };
                let known = offset + bytes.len() as u64;
                let (size_after, packed) = text(around.logs, inode, known);
                let (nlink, head) = (nlink(around.logs, inode), head(around.logs, inode));
                let result = Ok(ReadBack { bytes, size_after, nlink, head, packed });
                self.inbox.push_back(SourceEvent::Read { file, offset, result });
            }
        }
    }
}

/// As `os::open`.
pub(super) fn open_at(logs: &Logs, path: &str, ident: FileIdent) -> Result<(usize, OpenStat), OpenError> {
    let at = *logs.names.get(path).ok_or(OpenError::Gone)?;
    let found = ident_of(logs, at);
    if (found.dev, found.ino) != (ident.dev, ident.ino) {
        return Err(OpenError::Gone);
    }
    let mtime = logs.files[at].mtime;
    let ((size, packed), nlink, head) = (text(logs, at, 0), nlink(logs, at), head(logs, at));
    let stat = OpenStat { ident: found, size, mtime, nlink, head, packed };
    Ok((at, stat))
}

/// Size on the disk.
pub(super) fn size(logs: &Logs, at: usize) -> u64 {
    let (file, len) = (&logs.files[at], logs.files[at].data.len() as u64);
    file.packed.map_or(len, |whole| len / 4 + 10 + u64::from(whole) * 8)
}

/// What is known of a file's size when it was read, or decompressed, up to `known`.
pub(super) fn text(logs: &Logs, at: usize, known: u64) -> (u64, Option<Packed>) {
    let (file, len) = (&logs.files[at], logs.files[at].data.len() as u64);
    let Some(whole) = file.packed else { return (len, None) };
    let known = known.max(1024).min(len);
    let state = match whole {
        _ if known < len => PackedState::More,
        true => PackedState::Whole,
        false => PackedState::Torn,
    };
    (known + u64::from(known < len), Some(Packed { stored: size(logs, at), taken: known / 4, state }))
}

pub(super) fn nlink(logs: &Logs, at: usize) -> u64 {
    u64::from(logs.files[at].name.is_some())
}

pub(super) fn head(logs: &Logs, at: usize) -> Bytes {
    let data = &logs.files[at].data;
    Bytes::copy_from_slice(&data[..data.len().min(1024)])
}

pub(super) fn ident_of(logs: &Logs, at: usize) -> FileIdent {
    let file = &logs.files[at];
    FileIdent { dev: logs.dev, ino: file.ino, btime: (!logs.settings.no_btime).then_some(file.btime) }
}

fn seen(logs: &Logs, path: &str, known: &KnownFiles) -> Option<Seen> {
    let at = *logs.names.get(path)?;
    let (ident, size, mtime) = (ident_of(logs, at), size(logs, at), logs.files[at].mtime);
    let wanted = known.wants_head(ident, size, mtime);
    let head = if wanted { SeenHead::Bytes(head(logs, at)) } else { SeenHead::Skipped };
    Some(Seen {
        path: path.into(),
        glob: 0,
        ident,
        size,
        mtime,
        nlink: 1,
        head,
        packed: wanted && logs.files[at].packed.is_some(),
    })
}

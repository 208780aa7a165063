//! A world of one directory around the source's machine: what the driver of `run` does is done here in one thread, action
//! by action, under a clock of the test's own, so a test repeats.
use edgepush::config::Start;
use edgepush::protocol::{NewSource, Now, Progress, SourceChange, SourceId, SourceRow, SourceState};
use edgepush::source::file::unpack::{Reader, Step};
use edgepush::source::file::{buffers::Buffers, os};
use edgepush::source::{
    Dirty, FileKey, FileSettings, FileSource, Notice, SeenHead, Source, SourceAction, SourceEvent,
};
use edgepush_shard::chunk::{Chunk, ChunkKind};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
pub const LINE_MAX: usize = 20_000;

pub struct World {
    pub dir: tempfile::TempDir,
    pub globs: Vec<String>,
    pub settings: FileSettings,
    pub machine: FileSource,
    pub files: HashMap<FileKey, Arc<File>>,
    pub now: Now,
    pub wake: Option<Duration>,
    pub rows: BTreeMap<SourceId, SourceRow>,
    pub room: usize,
    pub chunks: Vec<Chunk>,
    pub committed: usize,
    pub notices: Vec<Notice>,
    pub seals: usize,
    pub unread: u64,
    pub registrations: Vec<Vec<NewSource>>,
    pub cold: usize,
    pub unpacker: Reader,
    /// Pieces of work on compressed files.
    pub steps: usize,
    /// This file may not be read (a test may run as root, who may read everything).
    pub denied: Option<PathBuf>,
}

impl World {
    pub fn new(glob: &str) -> World {
        World::with(glob, |_| {})
    }

    pub fn with(glob: &str, set: impl FnOnce(&mut FileSettings)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let globs = glob.split(' ').map(|glob| dir.path().join(glob).display().to_string()).collect();
        let mut settings =
            FileSettings { once: false, start: Start::Beginning, first_start: true, line_max: LINE_MAX };
        set(&mut settings);
        World {
            dir,
            globs,
            settings,
            machine: FileSource::new(settings),
            files: HashMap::new(),
            now: Now { mono: SECOND, wall: 2_000_000_000_000_000_000 },
            wake: None,
            rows: BTreeMap::new(),
            room: 1000,
            chunks: Vec::new(),
            committed: 0,
            notices: Vec::new(),
            seals: 0,
            unread: 0,
            registrations: Vec::new(),
            cold: 0,
            unpacker: Reader::default(),
            steps: 0,
            denied: None,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub fn truncate(&self, name: &str, size: u64) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(size).unwrap();
    }

    pub fn start(&mut self) -> &mut World {
        let rows = self.rows.values().cloned().collect();
        self.step(SourceEvent::Start { rows });
        self.step(SourceEvent::Room { chunks: self.room });
        self
    }

    pub fn step(&mut self, event: SourceEvent) {
        let mut events = VecDeque::from([event]);
        let mut steps = 0;
        while let Some(event) = events.pop_front() {
            steps += 1;
            assert!(steps < 10_000, "the machine does not come to rest");
            let mut actions = Vec::new();
            self.machine.step(self.now, event, &mut actions);
            for action in actions {
                self.perform(action, &mut events);
            }
        }
    }

    pub fn open_files(&self) -> Vec<(FileKey, Arc<File>)> {
        self.files.iter().map(|(key, file)| (*key, file.clone())).collect()
    }

    pub fn perform(&mut self, action: SourceAction, events: &mut VecDeque<SourceEvent>) {
        match action {
            SourceAction::Look(known) => {
                let mut look = os::look(&self.globs, &known, &self.open_files()).look;
                for seen in look.files.iter_mut().filter(|seen| self.denied.as_ref() == Some(&seen.path)) {
                    seen.head = SeenHead::Denied;
                }
                events.push_back(SourceEvent::Looked(look));
            }
            SourceAction::Open { file, path, ident } => {
                let result = os::open(&path, ident).map(|(handle, stat)| {
                    self.files.insert(file, handle);
                    stat
                });
                events.push_back(SourceEvent::Opened { file, result });
            }
            SourceAction::Close { file } => {
                self.unpacker.forget(file);
                assert!(self.files.remove(&file).is_some());
            }
            SourceAction::Read { file, offset, len, packed: true, .. } => {
                let (handle, buffers) = (self.files[&file].clone(), Buffers::new(1));
                let back = loop {
                    self.steps += 1;
                    match self.unpacker.step((file, &handle), (offset, len), &buffers) {
                        Ok(Step::Again) => {}
                        Ok(Step::Done(back)) => break Ok(back),
                        Err(error) => break Err(error.to_string()),
                    }
                };
                events.push_back(SourceEvent::Read { file, offset, result: back });
            }
            SourceAction::Read { file, offset, len, cold, .. } => {
                self.cold += usize::from(cold);
                let result = os::read_back(&self.files[&file], offset, len, &Buffers::new(1))
                    .map_err(|e| e.to_string());
                events.push_back(SourceEvent::Read { file, offset, result });
            }
            SourceAction::SeekData { file, offset } => {
                let found = os::seek_data(&self.files[&file], offset).unwrap();
                events.push_back(SourceEvent::DataAt { file, offset: found });
            }
            SourceAction::Register(new) => events.push_back(self.register(new)),
            SourceAction::Change(change) => self.change(change),
            SourceAction::Emit(chunk) => {
                self.room = self.room.checked_sub(1).expect("a chunk was emitted without room");
                self.chunks.push(chunk);
            }
            SourceAction::SealNow => self.seals += 1,
            SourceAction::Sweep => events.push_back(SourceEvent::Swept(os::sweep(&self.open_files()))),
            SourceAction::Watch { file, size } => {
                let changed = self.files[&file].metadata().unwrap().len() != size;
                events.extend(changed.then(|| SourceEvent::Dirty(vec![Dirty::File(file)])));
            }
            SourceAction::Wake { after } => self.wake = Some(self.now.mono + after),
            SourceAction::Attach { file, .. } => assert!(self.files.contains_key(&file)),
            SourceAction::Detach { .. } => {}
            SourceAction::Notice(notice) => self.notices.push(notice),
        }
    }

    pub fn register(&mut self, new: Vec<NewSource>) -> SourceEvent {
        self.registrations.push(new.clone());
        let mut answers = Vec::new();
        for file in new {
            let id = SourceId(self.rows.keys().last().map_or(1, |id| id.0 + 1));
            let row = SourceRow {
                id,
                seed: id.0 * 7,
                ident: file.ident,
                path: file.path,
                head: file.head,
                size_seen: file.size,
                state: SourceState::Attached,
                detached_at: 0,
                progress: Progress::starting_at(file.begin),
                hot: Vec::new(),
            };
            self.rows.insert(id, row);
            answers.push((file.token, id, id.0 * 7));
        }
        SourceEvent::Registered(answers)
    }

    pub fn change(&mut self, change: SourceChange) {
        let wall = self.now.wall;
        match change {
            SourceChange::Moved { id, ident, path, state } => {
                let row = self.rows.get_mut(&id).unwrap();
                if row.state == SourceState::Attached && state == SourceState::Detached {
                    row.detached_at = wall;
                }
                (row.ident, row.path, row.state) = (ident, path, state);
            }
            SourceChange::Shrunk { id, size } => self.rows.get_mut(&id).unwrap().progress.clip(size),
            SourceChange::Sized { id, size } => self.rows.get_mut(&id).unwrap().size_seen = size,
            SourceChange::Closed { id, unread } => {
                let row = self.rows.get_mut(&id).unwrap();
                row.state = SourceState::Detached;
                row.detached_at = wall;
                self.unread += unread;
            }
        }
    }

    /// Everything emitted becomes durable.
    pub fn commit(&mut self) -> &mut World {
        self.commit_up_to(self.chunks.len())
    }

    pub fn commit_up_to(&mut self, count: usize) -> &mut World {
        let mut low = BTreeMap::new();
        for chunk in &self.chunks[self.committed..count] {
            let row = self.rows.get_mut(&chunk.source).unwrap();
            row.progress.add(chunk.start, chunk.end, chunk.evidence.tail_hash);
            row.head =
                edgepush::protocol::Head { len: chunk.evidence.head_len, hash: chunk.evidence.head_hash };
            row.size_seen = chunk.evidence.size_seen;
            low.insert(chunk.source, row.progress.low);
        }
        self.committed = count;
        self.step(SourceEvent::Durable(low.into_iter().collect()));
        self
    }

    /// Lets time pass, tick by tick.
    pub fn pass(&mut self, time: Duration) -> &mut World {
        let end = self.now.mono + time;
        loop {
            let at = self.wake.unwrap_or(end).min(end).max(self.now.mono);
            self.now.wall += (at - self.now.mono).as_nanos() as i64;
            self.now.mono = at;
            if at == end && self.wake.is_none_or(|wake| wake > end) {
                return self;
            }
            self.wake = None;
            let room = self.room;
            self.step(SourceEvent::Room { chunks: room });
            self.step(SourceEvent::Tick);
        }
    }

    /// The process dies with what it had not committed, and starts again.
    pub fn restart(&mut self) -> &mut World {
        self.chunks.truncate(self.committed);
        self.files.clear();
        self.wake = None;
        self.settings.first_start = false;
        self.machine = FileSource::new(self.settings);
        self.start()
    }

    /// Every line of every chunk, sorted.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.chunks.iter().flat_map(lines_of).collect();
        lines.sort();
        lines
    }

    pub fn said(&self, kind: &str) -> usize {
        self.notices.iter().filter(|notice| notice.kind() == kind).count()
    }

    pub fn attached(&self) -> Vec<&str> {
        let attached = self.rows.values().filter(|row| row.state == SourceState::Attached);
        attached.map(|row| row.path.file_name().unwrap().to_str().unwrap()).collect()
    }
}

pub fn lines_of(chunk: &Chunk) -> Vec<String> {
    if chunk.kind != ChunkKind::Lines {
        return Vec::new();
    }
    assert_eq!(chunk.end - chunk.start, chunk.bytes.len() as u64);
    String::from_utf8_lossy(&chunk.bytes).lines().map(str::to_owned).collect()
}

pub fn numbered(range: std::ops::Range<usize>) -> String {
    range.map(|n| format!("line {n:05}\n")).collect()
}

pub fn expected(range: std::ops::Range<usize>) -> Vec<String> {
    numbered(range).lines().map(str::to_owned).collect()
}

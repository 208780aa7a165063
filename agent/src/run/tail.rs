//! Drives the file source on shard 0: performs what its machine asks for, and gives it what came of it.
//!
//! Promises: what the page cache holds is read by plain `pread`s on the shard, what a disk must be waited for goes through
//! the runtime (io_uring where it is allowed); walks and opens run on the blocking thread; nothing is emitted that has no room (PROTOCOL P8).
//! Must not know: which file is which (the machine does), what becomes of a chunk.
use super::catch_up::Reader;
use super::feed::FeedWords;
use super::shared::{FromSource, Outbox, Shared, ToLedger, ToSource};
use super::unpack::Unpacker;
use crate::api::health::Health;
use crate::config::Config;
use crate::ledger::{LedgerEvent, Recovered};
use crate::log::Kind;
use crate::metrics::ShardCounters;
use crate::protocol::{SourceId, SourceRow};
use crate::queue::{Bell, LocalBell, Seat};
use crate::rt::Rt;
use crate::source::file::buffers::Buffers;
use crate::source::file::{os, watch};
use crate::source::{
    CatchUpAction, Dirty, FileKey, FileSettings, FileSource, KnownFiles, Notice, Source, SourceAction,
    SourceEvent,
};
use crate::status::SourceStatus;
use edgepush_shard::chunk::Chunk;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the lag is published.
const LAG_EVERY: Duration = Duration::from_millis(250);
/// How often the files are published for `/status`.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// Events that are worked on before other tasks of the core get their turn: some 2 ms of hot reads.
const EVENTS_A_TURN: usize = 4;
/// With so many chunks waiting for a shard, none is added for a parked group.
const CATCH_UP_CHUNKS: usize = 2;

/// What the source needs, on its way to shard 0.
pub(super) struct Plan {
    globs: Vec<String>,
    names: Vec<String>,
    settings: FileSettings,
    rows: Vec<SourceRow>,
    feeds: Vec<Arc<FeedWords>>,
    health: Arc<Health>,
    counters: Arc<ShardCounters>,
}

impl Plan {
    pub(super) fn new(
        config: &Config,
        once: bool,
        recovered: &Recovered,
        (globs, feeds): (Vec<String>, Vec<Arc<FeedWords>>),
        (health, counters): (Arc<Health>, Arc<ShardCounters>),
    ) -> Plan {
        Plan {
            globs,
            feeds,
            names: config.sources.iter().map(|s| s.name.clone()).collect(),
            settings: FileSettings {
                once,
                start: config.start,
                first_start: recovered.first_start,
                line_max: config.line_max as usize,
            },
            rows: recovered.sources.clone(),
            health,
            counters,
        }
    }
}

/// What tasks of this shard have for the machine, and the bell that says so.
#[derive(Clone)]
struct Inbox {
    events: Rc<RefCell<VecDeque<SourceEvent>>>,
    /// Directories that the last walk went through.
    dirs: Rc<RefCell<Option<Vec<PathBuf>>>>,
    bell: Bell,
}

impl Inbox {
    /// For the machine, by this task itself.
    fn push(&self, event: SourceEvent) {
        self.events.borrow_mut().push_back(event);
    }

    /// For the machine, by another task.
    fn send(&self, event: SourceEvent) {
        self.push(event);
        self.bell.ring();
    }
}

struct Tail {
    rt: Rt,
    bell: LocalBell,
    shared: Shared,
    globs: Arc<[String]>,
    machine: FileSource,
    files: Rc<RefCell<HashMap<FileKey, Arc<File>>>>,
    buffers: Buffers,
    unpacker: Unpacker,
    inbox: Inbox,
    watches: Option<Rc<RefCell<watch::Watches>>>,
    to_ledger: Outbox<ToLedger>,
    from_source: Outbox<FromSource>,
    /// When the machine wants its next tick (monotonic).
    wake: Option<Duration>,
    once: bool,
    room_said: usize,
    catch_up: Reader,
    counters: Arc<ShardCounters>,
    health: Option<Arc<Health>>,
    lag_at: Duration,
    files_at: Duration,
    names: Vec<String>,
    /// Sockets and pipes, which others read.
    feeds: Vec<Arc<FeedWords>>,
    /// Files that could not be opened, and why.
    denied: BTreeMap<String, String>,
    said: HashMap<&'static str, Kind>,
}

/// Runs until everything is read (`--once`) or reading was ended; says so once every chunk is processed.
pub(super) async fn drive(rt: Rt, bell: LocalBell, shared: Shared, plan: Plan) {
    let inbox = Inbox { events: Rc::default(), dirs: Rc::default(), bell: shared.shard_bells[0].clone() };
    let watches = if plan.settings.once { None } else { watch(&rt, &inbox) };
    let buffers = Buffers::new(shared.chunks.items_max() + shared.shard_bells.len());
    let unpacker = Unpacker::new(&rt, &shared.words, &buffers);
    let mut tail = Tail {
        bell,
        globs: plan.globs.into(),
        machine: FileSource::new(plan.settings),
        files: Rc::default(),
        buffers: buffers.clone(),
        unpacker,
        inbox,
        watches,
        to_ledger: Outbox::new(shared.to_ledger.clone()),
        from_source: Outbox::new(shared.from_source.clone()),
        wake: None,
        once: plan.settings.once,
        room_said: 0,
        catch_up: Reader::new(
            plan.settings.line_max,
            &rt,
            shared.shard_bells[0].clone(),
            Unpacker::new(&rt, &shared.words, &buffers),
        ),
        counters: plan.counters,
        health: Some(plan.health),
        lag_at: Duration::ZERO,
        files_at: Duration::ZERO,
        names: plan.names,
        feeds: plan.feeds,
        denied: BTreeMap::new(),
        said: HashMap::new(),
        shared,
        rt,
    };
    tail.step(SourceEvent::Start { rows: plan.rows });
    loop {
        tail.collect();
        let mut worked = 0;
        tail.say_room();
        tail.catch_up();
        while let Some(event) = tail.next_event() {
            tail.step(event);
            tail.say_room();
            tail.catch_up();
            worked += 1;
            if worked == EVENTS_A_TURN {
                tail.rt.pause().await;
                worked = 0;
            }
        }
        tail.tell();
        if tail.finished() {
            break;
        }
        tail.wait().await;
    }
    tail.end().await;
}

/// Starts listening to inotify; without it the machine's sweeps find everything, later.
fn watch(rt: &Rt, inbox: &Inbox) -> Option<Rc<RefCell<watch::Watches>>> {
    let (watches, fd) = match watch::Watches::new() {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(
                "inotify is not to be had ({error}): files are looked at four times a second instead"
            );
            return None;
        }
    };
    let watches = Rc::new(RefCell::new(watches));
    let mut reader = rt.fd_reader(fd);
    let (inbox, told) = (inbox.clone(), watches.clone());
    rt.spawn_local(async move {
        loop {
            match reader.read(watch::READ_BYTES).await {
                Ok(bytes) => {
                    let dirty = told.borrow_mut().dirty(&bytes);
                    if !dirty.is_empty() {
                        inbox.send(SourceEvent::Dirty(dirty));
                    }
                }
                Err(error) => {
                    tracing::warn!("inotify: {error}: files are looked at four times a second instead");
                    return inbox.send(SourceEvent::Dirty(vec![Dirty::Everything]));
                }
            }
        }
    });
    Some(watches)
}

impl Tail {
    fn next_event(&mut self) -> Option<SourceEvent> {
        if self.shared.words.ending() {
            return None;
        }
        self.inbox.events.borrow_mut().pop_front()
    }

    fn finished(&self) -> bool {
        let files = self.machine.idle() && self.inbox.events.borrow().is_empty();
        self.shared.words.ending() || self.once && files && self.shared.words.feeds_ended()
    }

    /// Takes messages.
    fn collect(&mut self) {
        self.to_ledger.flush();
        self.from_source.flush();
        while let Some(message) = self.shared.to_source.try_pop() {
            self.inbox.push(match message {
                ToSource::Registered(rows) => SourceEvent::Registered(rows),
                ToSource::Durable(durable) => SourceEvent::Durable(self.without_feeds(durable)),
                ToSource::CatchUp(event) => {
                    self.catch_up.push(event);
                    continue;
                }
            });
        }
        if let (Some(dirs), Some(watches)) = (self.inbox.dirs.borrow_mut().take(), &self.watches) {
            watches.borrow_mut().watch_dirs(&dirs);
        }
        if self.wake.is_some_and(|at| self.shared.clock.now().mono >= at) {
            self.wake = None;
            self.inbox.push(SourceEvent::Tick);
        }
        self.catch_up.tick(self.shared.clock.now().mono);
    }

    /// What is durable of files; feeds keep their own.
    fn without_feeds(&self, durable: Vec<(SourceId, u64)>) -> Vec<(SourceId, u64)> {
        let of_file = |(source, offset): &(SourceId, u64)| {
            let feed = self.feeds.iter().find(|feed| feed.source == *source);
            if let Some(feed) = feed {
                feed.durable.store(*offset, Ordering::Relaxed);
            }
            feed.is_none()
        };
        durable.into_iter().filter(of_file).collect()
    }

    /// Says how much room there is *now*: what waits in the inbox may take some of it.
    fn say_room(&mut self) {
        let room = self.room();
        if room != self.room_said {
            self.room_said = room;
            self.step(SourceEvent::Room { chunks: room });
        }
    }

    fn room(&self) -> usize {
        if self.shared.words.readers_stopped() || self.catch_up.machine.stands() {
            return 0;
        }
        let free = self.shared.chunks.items_max() - self.shared.chunks.len();
        free.saturating_sub(self.catch_up.machine.reserved())
    }

    /// Parked groups are read when the live reader leaves room: never more than [`CATCH_UP_CHUNKS`] chunks wait.
    fn catch_up_room(&self) -> usize {
        let queue = &self.shared.chunks;
        if self.shared.words.readers_stopped() {
            return 0;
        }
        let free = (queue.items_max() - queue.len()).saturating_sub(self.machine.reserved());
        free.min(CATCH_UP_CHUNKS.saturating_sub(queue.len()))
    }

    /// What the reader of parked groups has to do now.
    fn catch_up(&mut self) {
        while !self.shared.words.ending() {
            let still = self.catch_up.machine.wants_still() && self.machine.is_still();
            let room = self.catch_up_room();
            let Some(event) = self.catch_up.next_event((room, self.machine.is_draining(), still)) else {
                break;
            };
            for action in self.catch_up.step(self.shared.clock.now(), event) {
                self.perform_catch_up(action);
            }
            if let Some(busy) = self.catch_up.busy_changed() {
                self.step(SourceEvent::CatchingUp { busy });
            }
            self.say_room();
        }
        if self.catch_up.seals_now(self.shared.words.all_processed()) {
            self.from_source.put(FromSource::SealNow);
        }
    }

    fn perform_catch_up(&mut self, action: CatchUpAction) {
        match action {
            CatchUpAction::Gaps(group) => {
                self.to_ledger.put(ToLedger::Event(LedgerEvent::Gaps(group)));
            }
            CatchUpAction::Lost { group, source, ranges } => {
                self.to_ledger.put(ToLedger::Event(LedgerEvent::Lost { group, source, ranges }));
            }
            CatchUpAction::Emit(mut chunk) => {
                chunk.origin = self.origin_of(&chunk);
                self.shared.words.emitted.fetch_add(1, Ordering::AcqRel);
                assert!(self.shared.chunks.try_push(chunk).is_ok(), "a chunk was emitted without room");
            }
            CatchUpAction::Merge(group) => self.from_source.put(FromSource::CaughtUp(group)),
            // The room that is said next is none, or some again.
            CatchUpAction::Stand(_) => {}
            other => self.catch_up.perform(other, &self.buffers, self.shared.clock.now().mono),
        }
    }

    /// Which configured source a parked group's chunk is of: lines are read as that one's are.
    fn origin_of(&self, chunk: &Chunk) -> u16 {
        let by_path = || {
            let matches =
                |glob: &String| glob::Pattern::new(glob).is_ok_and(|glob| glob.matches(&chunk.path));
            self.globs.iter().position(matches).unwrap_or(0) as u16
        };
        self.machine.origin_of(chunk.source).unwrap_or_else(by_path)
    }

    /// Publishes the lag, and that the sources are open.
    fn tell(&mut self) {
        let now = self.shared.clock.now().mono;
        if now >= self.lag_at {
            self.lag_at = now + LAG_EVERY;
            self.machine
                .lag_bytes()
                .into_iter()
                .for_each(|(at, bytes)| self.counters.source_lag(at as usize, bytes));
        }
        if now >= self.files_at {
            self.files_at = now + FILES_EVERY;
            if let Some(behind) = self.catch_up.behind_changed() {
                self.from_source.put(FromSource::Behind(behind));
            }
            self.shared.shown.publish_sources(|| self.file_states());
        }
        if self.machine.is_open()
            && let Some(health) = self.health.take()
        {
            health.sources_open();
        }
    }

    fn file_states(&self) -> Vec<SourceStatus> {
        let name = |glob: u32| self.names.get(glob as usize).cloned().unwrap_or_default();
        let mut denied = self.denied.clone();
        let mut states: Vec<SourceStatus> = Vec::new();
        for file in self.machine.files() {
            denied.remove(&*file.path);
            states.push(SourceStatus {
                name: name(file.glob),
                path: file.path.to_string(),
                read: file.read,
                durable: file.durable,
                size: file.size,
                lag_bytes: file.lag_bytes,
                error: file.unreadable.then(|| "its last read failed; it is tried again".to_owned()),
            });
        }
        let unread = denied.into_iter().map(|(path, why)| SourceStatus {
            path,
            error: Some(why),
            ..SourceStatus::default()
        });
        states.extend(unread);
        states.extend(self.feeds.iter().map(|feed| feed.status()));
        states
    }

    /// Waits for a bell or the machine's next tick.
    async fn wait(&self) {
        let look = || {
            let woken = !self.shared.to_source.is_empty()
                || !self.inbox.events.borrow().is_empty()
                || self.room() != self.room_said
                || self.finished()
                || self.to_ledger.can_flush()
                || self.from_source.can_flush()
                || self.catch_up.has_work(self.catch_up_room(), self.shared.words.all_processed());
            woken.then_some(())
        };
        let wake = [self.wake, self.catch_up.wake].into_iter().flatten().min();
        let left = wake.map(|at| at.saturating_sub(self.shared.clock.now().mono));
        match left {
            Some(left) => drop(self.rt.timeout(left, self.bell.until(look)).await),
            None => self.bell.until(look).await,
        }
    }

    fn step(&mut self, event: SourceEvent) {
        let mut actions = Vec::new();
        self.machine.step(self.shared.clock.now(), event, &mut actions);
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: SourceAction) {
        match action {
            SourceAction::Look(known) => self.look(known),
            SourceAction::Open { file, path, ident } => self.open(file, path, ident),
            SourceAction::Close { file } => {
                self.files.borrow_mut().remove(&file);
                self.unpacker.forget(file);
            }
            SourceAction::Read { file, offset, len, packed: true, .. } => self.unpack(file, offset, len),
            SourceAction::Read { file, offset, len, cold, .. } => self.read(file, offset, len, cold),
            SourceAction::SeekData { file, offset } => {
                // An error is what a file system without SEEK_DATA says in its own way: the bytes are read instead.
                let found = os::seek_data(&self.file(file), offset).unwrap_or(Some(offset));
                self.inbox.push(SourceEvent::DataAt { file, offset: found });
            }
            SourceAction::Register(new) => self.to_ledger.put(ToLedger::Event(LedgerEvent::Register(new))),
            SourceAction::Change(change) => {
                self.to_ledger.put(ToLedger::Event(LedgerEvent::Change(vec![change])));
            }
            SourceAction::Emit(chunk) => {
                self.shared.words.emitted.fetch_add(1, Ordering::AcqRel);
                self.room_said = self.room_said.saturating_sub(1);
                assert!(self.shared.chunks.try_push(chunk).is_ok(), "a chunk was emitted without room");
            }
            SourceAction::SealNow => self.from_source.put(FromSource::SealNow),
            SourceAction::Sweep => {
                self.inbox.push(SourceEvent::Swept(os::sweep(&self.open_files())));
            }
            SourceAction::Watch { file, size } => self.watch(file, size),
            SourceAction::Wake { after } => self.wake = Some(self.shared.clock.now().mono + after),
            SourceAction::Attach { source, file } => {
                self.to_ledger.put(ToLedger::Attach(source, self.file(file)));
            }
            SourceAction::Detach { source } => self.to_ledger.put(ToLedger::Detach(source)),
            SourceAction::Notice(notice) => self.notice(&notice),
        }
    }

    fn file(&self, key: FileKey) -> Arc<File> {
        self.files.borrow()[&key].clone()
    }

    fn open_files(&self) -> Vec<(FileKey, Arc<File>)> {
        self.files.borrow().iter().map(|(key, file)| (*key, file.clone())).collect()
    }

    fn look(&self, known: KnownFiles) {
        let (rt, inbox, globs) = (self.rt.clone(), self.inbox.clone(), self.globs.clone());
        let open = self.open_files();
        self.rt.spawn_local(async move {
            let walked = rt.spawn_blocking(move || os::look(&globs, &known, &open)).await;
            *inbox.dirs.borrow_mut() = Some(walked.dirs);
            inbox.send(SourceEvent::Looked(walked.look));
        });
    }

    fn open(&self, file: FileKey, path: PathBuf, ident: crate::protocol::FileIdent) {
        let (rt, inbox) = (self.rt.clone(), self.inbox.clone());
        let files = self.files.clone();
        self.rt.spawn_local(async move {
            let result = rt.spawn_blocking(move || os::open(&path, ident)).await;
            let result = result.map(|(handle, stat)| {
                files.borrow_mut().insert(file, handle);
                stat
            });
            inbox.send(SourceEvent::Opened { file, result });
        });
    }

    fn read(&self, file: FileKey, offset: u64, len: usize, cold: bool) {
        let handle = self.file(file);
        if !cold {
            let result = os::read_back(&handle, offset, len, &self.buffers).map_err(|e| e.to_string());
            return self.inbox.push(SourceEvent::Read { file, offset, result });
        }
        match os::read_cached(&handle, offset, len, &self.buffers) {
            Ok(None) => {}
            Ok(Some(read)) => return self.inbox.push(SourceEvent::Read { file, offset, result: Ok(read) }),
            Err(error) => {
                let result = Err(error.to_string());
                return self.inbox.push(SourceEvent::Read { file, offset, result });
            }
        }
        let (rt, inbox, buffers) = (self.rt.clone(), self.inbox.clone(), self.buffers.clone());
        self.rt.spawn_local(async move {
            let (read, bytes) = rt.read_at(&handle, offset, buffers.take(len)).await;
            // The buffer may be longer than the read that was asked for.
            let verified = read.and_then(|read| os::verify(&handle, buffers.lend(bytes, read.min(len))));
            inbox.send(SourceEvent::Read { file, offset, result: verified.map_err(|e| e.to_string()) });
        });
    }

    /// Decompresses on the blocking thread, which others get in between.
    fn unpack(&self, file: FileKey, offset: u64, len: usize) {
        let (handle, inbox, unpacker) = (self.file(file), self.inbox.clone(), self.unpacker.clone());
        self.rt.spawn_local(async move {
            if let Some(result) = unpacker.read((file, handle), offset, len).await {
                inbox.send(SourceEvent::Read { file, offset, result });
            }
        });
    }

    fn watch(&self, file: FileKey, size: u64) {
        if let Some(watches) = &self.watches
            && let Some(dirty) = watches.borrow_mut().watch_file(file, &self.file(file), size)
        {
            self.inbox.push(SourceEvent::Dirty(vec![dirty]));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Shrunk { .. } => self.counters.source_shrunk(),
            Notice::Unread { bytes, .. } => self.counters.source_unread(*bytes),
            Notice::NoPermission { path } => {
                let (said, remedy) = crate::denied::unreadable(path, &ErrorKind::PermissionDenied.into());
                tracing::warn!("{said}: {remedy}; it is tried again");
                self.denied.insert(path.display().to_string(), format!("{said}: {remedy}"));
                return;
            }
            _ => {}
        }
        let count = if notice.repeats() {
            let Some(count) = self.said.entry(notice.kind()).or_default().happened() else { return };
            count
        } else {
            1
        };
        if notice.is_warning() {
            tracing::warn!(count, "{notice}");
        } else {
            tracing::info!(count, "{notice}");
        }
    }

    /// Reading is over: once every chunk is processed and the ledger has everything, the batcher may finish.
    async fn end(mut self) {
        let bell = self.bell.clone();
        bell.until(|| {
            self.to_ledger.flush();
            self.from_source.flush();
            let words = &self.shared.words;
            (self.to_ledger.is_empty() && words.feeds_ended() && words.all_processed()).then_some(())
        })
        .await;
        let complete = self.once && self.machine.idle();
        self.from_source.put(FromSource::Done { complete });
    }
}

//! One life of the agent: the production machines, the queues between them, and what the drivers in `run` do.
//!
//! Everything that a thread or task does in production without looking at another one is one step here; the world
//! chooses whose step comes next. Between the parts of one read (read, then verify), of one walk and of one open
//! anything may happen.
mod catch_up;
mod delivery;
mod jobs;
mod tail;

pub use jobs::{FEW, MADE, SimJobs, Wish};

use crate::disk::SimDisk;
use crate::logs::{Line, Logs};
use crate::rng::Rng;
use crate::store::Store;
use bytes::Bytes;
use edgepush::batcher::{Batcher, BatcherEvent, BatcherSettings};
use edgepush::config::Start;
use edgepush::destination::Verdict;
use edgepush::ledger::{Ledger, LedgerEvent, LedgerReply, Recovered};
use edgepush::parking::Parking;
use edgepush::protocol::*;
use edgepush::sender::{SendEvent, Sender, SenderSettings};
use edgepush::shard_loop::{ShardEvent, ShardLoop, ShardPlan};
use edgepush::source::*;
use edgepush_shard::chunk::Chunk;
use edgepush_shard::ring::Ring;
use edgepush_shard::segment::FromShard;
use jobs::SimJob;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Slabs so small that one fills within a chunk.
const SLAB_BYTES: usize = 4096;

/// What a life is started with.
#[derive(Clone, Debug)]
pub struct LifeSettings {
    pub shards: usize,
    /// What jobs are like follows from it.
    pub salt: u64,
    /// As [`BatcherSettings::many`].
    pub many: usize,
    pub commit_interval: Duration,
    pub uncommitted_bytes_max: u64,
    /// inotify says nothing: sweeps and walks must find everything.
    pub blind: bool,
}

enum ToLedger {
    Event(LedgerEvent),
    Attach(SourceId, usize),
    Detach(SourceId),
}

enum FromSource {
    SealNow,
    CaughtUp(GroupId),
    Done,
}

/// I/O of the source that is under way.
enum Io {
    /// Paths still to be looked at, and what was found.
    Look {
        known: KnownFiles,
        paths: Vec<String>,
        found: Vec<Seen>,
    },
    Open {
        file: FileKey,
        path: String,
        ident: FileIdent,
    },
    Read {
        file: FileKey,
        offset: u64,
        len: usize,
    },
    /// The bytes are read, the verification is not.
    Verify {
        file: FileKey,
        offset: u64,
        bytes: Bytes,
    },
    CatchUpOpen {
        file: FileKey,
        path: String,
        ident: FileIdent,
    },
    CatchUpFind {
        ident: FileIdent,
    },
    CatchUpRead {
        file: FileKey,
        offset: u64,
        len: usize,
    },
    CatchUpVerify {
        file: FileKey,
        bytes: Bytes,
        known: u64,
    },
}

/// A cut chunk: whose (the main group stands for both live ones), of which source, from where to where.
pub type CutKey = (GroupId, SourceId, u64, u64);

struct Upload {
    batch: Arc<Spooled>,
    body: Vec<Bytes>,
    /// What comes back, once the request has had its effect.
    answer: Option<Verdict>,
}

/// A chunk's lines, until it is committed.
#[derive(Clone, Debug)]
pub struct Cut {
    pub lines: Vec<Line>,
    /// Where each line begins and ends in its source.
    pub spans: Vec<(Range<u64>, Line)>,
    pub processed: bool,
    /// The hot group is still to get it.
    pub hot: bool,
}

/// What a step of a life may touch of the world around it.
pub struct Around<'a> {
    pub now: Now,
    pub logs: &'a mut Logs,
    pub store: &'a mut Store,
    pub disk: &'a SimDisk,
    pub rng: &'a mut Rng,
    /// Faults are over.
    pub calm: bool,
    pub trace: &'a mut Vec<String>,
    pub tracing: bool,
}

impl Around<'_> {
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if self.tracing {
            let line = format!("{:>10.4} {}", self.now.mono.as_secs_f64(), text());
            self.trace.push(line);
        }
    }
}

/// Who is to do something next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Source,
    CatchUp,
    Change,
    Io(usize),
    Shard(usize),
    Replies,
    Up(usize),
    FromSource,
    Ledger,
    Upload(usize),
}

/// Where a shard stands between its looks at the seal, the queue, and its work.
enum Hand {
    Free,
    SawNoSeal,
    Holds(Chunk),
}

pub struct Life {
    settings: LifeSettings,
    source: FileSource,
    files: BTreeMap<FileKey, usize>,
    inbox: VecDeque<SourceEvent>,
    to_source: VecDeque<SourceEvent>,
    io: Vec<Io>,
    watches: BTreeMap<FileKey, u64>,
    wake: Option<Duration>,
    room_said: usize,
    chunks: VecDeque<Chunk>,
    emitted: u64,
    processed: u64,
    shards: Vec<ShardLoop>,
    /// What each shard is about to do: it has seen no seal, or holds a chunk.
    hands: Vec<Hand>,
    sealed: Vec<u64>,
    seal: u64,
    scope: Scope,
    seal_plan: Option<Arc<ShardPlan>>,
    up: Vec<VecDeque<FromShard>>,
    from_source: VecDeque<FromSource>,
    to_ledger: VecDeque<ToLedger>,
    replies: VecDeque<LedgerReply>,
    uncommitted_full: bool,
    spool_full: bool,
    batcher: Batcher,
    sender: Sender,
    uploads: Vec<Upload>,
    pub ledger: Ledger<SimDisk>,
    attached: BTreeMap<SourceId, usize>,
    blocked: VecDeque<LedgerEvent>,
    tick_at: Duration,
    /// Reading has ended.
    ending: bool,
    /// The source has said so.
    done: bool,
    stopping: bool,
    close: bool,
    pub finished: bool,
    /// Chunks that were cut and are not durable.
    pub cuts: BTreeMap<CutKey, Cut>,
    pub jobs: SimJobs,
    pub parking: Parking,
    changes: jobs::Changes,
    next_job: u64,
    /// The jobs that shards go by, each from an epoch on.
    plans: Vec<(u64, SimJobs)>,
    catch_up: CatchUp,
    to_catch_up: VecDeque<CatchUpEvent>,
    catch_up_files: BTreeMap<FileKey, usize>,
    catch_up_room_said: usize,
    catch_up_wake: Option<Duration>,
    held_said: bool,
    busy_said: bool,
    seal_soon: bool,
}

/// What the world has to check after a step of the ledger.
pub struct LedgerStep {
    pub event: LedgerEvent,
    /// `None`: the process ended in it.
    pub replies: Option<Vec<LedgerReply>>,
}

fn shard_loop(shard: usize, plan: &Arc<ShardPlan>) -> ShardLoop {
    let ring = Ring::bytes_min(SLAB_BYTES) + 3 * SLAB_BYTES;
    ShardLoop::with_slabs(shard, (ring, SLAB_BYTES), plan.clone())
}

impl Life {
    #[expect(clippy::too_many_lines, reason = "the parts of a life, joined once")]
    pub fn start(
        settings: LifeSettings,
        ledger: Ledger<SimDisk>,
        recovered: Recovered,
        around: &mut Around<'_>,
    ) -> Life {
        let jobs = jobs::recovered_jobs(settings.salt, &recovered);
        let last_job = jobs.keys().map(|id| id.0).max().unwrap_or(0).max(recovered.last_job).max(MADE - 1);
        let batcher_settings = BatcherSettings {
            shards: settings.shards,
            commit_interval: settings.commit_interval,
            uncommitted_bytes_max: settings.uncommitted_bytes_max,
            many: settings.many,
        };
        let send_jobs = jobs.values().map(SimJob::send_job);
        let send_settings = SenderSettings {
            uploads_max: SenderSettings::UPLOADS_MAX,
            bodies_bytes_max: u64::MAX,
            seed: around.rng.next(),
        };
        let file_settings = FileSettings {
            once: false,
            start: Start::Beginning,
            first_start: recovered.first_start,
            line_max: 1 << 20,
        };
        let shards = settings.shards;
        let plan = jobs::plan(&jobs);
        let mut life = Life {
            source: FileSource::new(file_settings),
            files: BTreeMap::new(),
            inbox: VecDeque::new(),
            to_source: VecDeque::new(),
            io: Vec::new(),
            watches: BTreeMap::new(),
            wake: None,
            room_said: 0,
            chunks: VecDeque::new(),
            emitted: 0,
            processed: 0,
            shards: (0..shards).map(|at| shard_loop(at, &plan)).collect(),
            hands: (0..shards).map(|_| Hand::Free).collect(),
            sealed: vec![0; shards],
            seal: 0,
            scope: Scope::All,
            seal_plan: None,
            up: (0..shards).map(|_| VecDeque::new()).collect(),
            from_source: VecDeque::new(),
            to_ledger: VecDeque::new(),
            replies: VecDeque::new(),
            uncommitted_full: false,
            spool_full: false,
            batcher: Batcher::new(
                batcher_settings,
                around.now,
                jobs::batch_jobs(&jobs),
                recovered.open.clone(),
            ),
            sender: Sender::new(send_jobs.collect(), send_settings),
            uploads: Vec::new(),
            ledger,
            attached: BTreeMap::new(),
            blocked: VecDeque::new(),
            tick_at: around.now.mono + Duration::from_secs(1),
            ending: false,
            done: false,
            stopping: false,
            close: false,
            finished: false,
            cuts: BTreeMap::new(),
            plans: vec![(0, jobs.clone())],
            jobs,
            parking: Parking::new(recovered.last_group),
            changes: jobs::Changes::default(),
            next_job: last_job + 1,
            catch_up: CatchUp::new(1 << 20),
            to_catch_up: VecDeque::new(),
            catch_up_files: BTreeMap::new(),
            catch_up_room_said: 0,
            catch_up_wake: None,
            held_said: false,
            busy_said: false,
            seal_soon: false,
            settings,
        };
        life.source_step(SourceEvent::Start { rows: recovered.sources }, around);
        life.send(SendEvent::Spooled(recovered.spooled), around);
        life.batch(BatcherEvent::Tick, around);
        life.park_again(around);
        life
    }

    /// Everything that can be done now.
    pub fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        if self.source_wants() {
            turns.push(Turn::Source);
        }
        if self.catch_up_wants() {
            turns.push(Turn::CatchUp);
        }
        if self.changes.waits() {
            turns.push(Turn::Change);
        }
        turns.extend((0..self.io.len()).map(Turn::Io));
        for shard in 0..self.shards.len() {
            let busy = !matches!(self.hands[shard], Hand::Free);
            if busy || self.seal > self.sealed[shard] || !self.chunks.is_empty() {
                turns.push(Turn::Shard(shard));
            }
            if !self.up[shard].is_empty() {
                turns.push(Turn::Up(shard));
            }
        }
        let rest = [
            (!self.replies.is_empty(), Turn::Replies),
            (!self.from_source.is_empty(), Turn::FromSource),
            (!self.to_ledger.is_empty(), Turn::Ledger),
        ];
        turns.extend(rest.into_iter().filter(|(has, _)| *has).map(|(_, turn)| turn));
        turns.extend((0..self.uploads.len()).map(Turn::Upload));
        turns
    }

    /// When something is to happen by the clock alone.
    pub fn deadline(&self) -> Option<Duration> {
        let wake = self.wake.filter(|_| !self.ending);
        let catch_up = self.catch_up_wake.filter(|_| !self.ending);
        [wake, catch_up, self.batcher.deadline(), self.sender.deadline(), Some(self.tick_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The clock moved on.
    pub fn tick(&mut self, around: &mut Around<'_>) -> Option<LedgerStep> {
        let now = around.now.mono;
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
            self.inbox.push_back(SourceEvent::Tick);
        }
        if self.catch_up_wake.is_some_and(|at| at <= now) {
            self.catch_up_wake = None;
            self.to_catch_up.push_back(CatchUpEvent::Tick);
        }
        if self.batcher.deadline().is_some_and(|at| at <= now) {
            self.batch(BatcherEvent::Tick, around);
        }
        if self.sender.deadline().is_some_and(|at| at <= now) {
            self.send(SendEvent::Tick, around);
        }
        if self.tick_at > now {
            return None;
        }
        self.tick_at = now + Duration::from_secs(1);
        for event in std::mem::take(&mut self.blocked) {
            self.to_ledger.push_back(ToLedger::Event(event));
        }
        Some(self.ledger_step(LedgerEvent::Tick, around))
    }

    /// One step of one part.
    pub fn turn(&mut self, turn: Turn, around: &mut Around<'_>) -> Option<LedgerStep> {
        match turn {
            Turn::Source => self.source_turn(around),
            Turn::CatchUp => self.catch_up_turn(around),
            Turn::Change => self.change_turn(around),
            Turn::Io(at) => self.io_turn(at, around),
            Turn::Shard(at) => self.shard_turn(at, around),
            Turn::Replies => self.reply_turn(around),
            Turn::Up(at) => {
                let message = self.up[at].pop_front().expect("a turn that can be taken");
                self.batch(BatcherEvent::Shard(message), around);
            }
            Turn::FromSource => match self.from_source.pop_front().expect("a turn that can be taken") {
                FromSource::SealNow => self.batch(BatcherEvent::SealNow, around),
                FromSource::CaughtUp(group) => {
                    self.park(around, |parking, out| parking.caught_up(group, out))
                }
                FromSource::Done => self.batch(BatcherEvent::Finish { close: self.close }, around),
            },
            Turn::Ledger => return self.ledger_turn(around),
            Turn::Upload(at) => self.upload_turn(at, around),
        }
        None
    }

    /// Readers stop; what was read becomes durable. With `close` every batch closes.
    pub fn stop(&mut self, close: bool, around: &mut Around<'_>) {
        around.say(|| format!("stop, close {close}"));
        self.ending = true;
        self.close = close;
        self.stopping = !close;
        if self.stopping {
            self.send(SendEvent::Stop, around);
        }
    }

    /// Whether a life that was told to stop is over.
    pub fn is_over(&self) -> bool {
        self.finished && (self.sender.pending() == 0 || self.stopping && self.sender.in_flight() == 0)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.turns().is_empty()
    }

    pub fn why_not_idle(&self) -> String {
        format!(
            "parked {:?} {:?} idle {} lag {:?} turns {:?} pending {} uncommitted {} spool_full {} blocked {} room {} wake {:?}\n{:?}",
            self.parking,
            self.catch_up,
            self.source.idle(),
            self.source.lag_bytes(),
            self.turns(),
            self.sender.pending(),
            self.uncommitted_full,
            self.spool_full,
            self.blocked.len(),
            self.room_said,
            self.wake,
            self.source
        )
    }

    // ---- shards

    /// A shard looks at the seal, then at the queue, then works: others act in between.
    fn shard_turn(&mut self, at: usize, around: &mut Around<'_>) {
        let mut push = Vec::new();
        self.hands[at] = match std::mem::replace(&mut self.hands[at], Hand::Free) {
            Hand::Free if self.seal > self.sealed[at] => {
                self.sealed[at] = self.seal;
                around.say(|| format!("shard {at} seals {}", self.seal));
                let event = ShardEvent::Seal {
                    scope: self.scope,
                    epoch: self.seal,
                    plan: self
                        .seal_plan
                        .clone()
                        .map(|plan| Box::new(edgepush::shard_loop::ReadyPlan::new(plan))),
                };
                self.shards[at].step(around.now, event, &mut push);
                Hand::Free
            }
            Hand::Free => Hand::SawNoSeal,
            Hand::SawNoSeal => self.chunks.pop_front().map_or(Hand::Free, Hand::Holds),
            Hand::Holds(chunk) => {
                let (key, _) = Life::cut_key(&chunk);
                around.say(|| format!("shard {at} takes {key:?}"));
                self.shards[at].step(around.now, ShardEvent::Chunk(chunk), &mut push);
                self.cuts.get_mut(&key).expect("a chunk that was cut").processed = true;
                self.processed += 1;
                Hand::Free
            }
        };
        self.up[at].extend(push);
    }

    // ---- the ledger's thread

    fn ledger_turn(&mut self, around: &mut Around<'_>) -> Option<LedgerStep> {
        match self.to_ledger.pop_front().expect("a turn that can be taken") {
            ToLedger::Attach(source, at) => {
                if let Some(old) = self.attached.insert(source, at) {
                    around.logs.close(old);
                }
                None
            }
            ToLedger::Detach(source) => {
                if let Some(old) = self.attached.remove(&source) {
                    around.logs.close(old);
                }
                None
            }
            ToLedger::Event(event) => {
                if !self.blocked.is_empty() && !matches!(event, LedgerEvent::Judge(_)) {
                    self.blocked.push_back(event);
                    return None;
                }
                Some(self.ledger_step(event, around))
            }
        }
    }

    fn ledger_step(&mut self, event: LedgerEvent, around: &mut Around<'_>) -> LedgerStep {
        if !matches!(event, LedgerEvent::Tick) {
            around.say(|| format!("ledger <- {}", short(&event)));
        }
        let result = self.ledger.step(around.now, event.clone());
        for source in std::mem::take(&mut around.disk.0.borrow_mut().sync_sources) {
            if let Some(&at) = self.attached.get(&source) {
                around.logs.sync(at);
            }
        }
        let Ok(replies) = result else {
            assert!(around.disk.0.borrow().crashed.is_some(), "the ledger failed by itself: {result:?}");
            return LedgerStep { event, replies: None };
        };
        for reply in replies.clone() {
            match reply {
                LedgerReply::Gaps { group, gaps, ahead } => {
                    self.to_catch_up.push_back(CatchUpEvent::Gaps { group, gaps, ahead });
                }
                LedgerReply::Lost { group, .. } => self.to_catch_up.push_back(CatchUpEvent::Lost(group)),
                LedgerReply::Registered(rows) => self.to_source.push_back(SourceEvent::Registered(rows)),
                LedgerReply::Space(space) => self.spool_full = space.full || !self.blocked.is_empty(),
                LedgerReply::NoSpace(event) => {
                    self.spool_full = true;
                    self.blocked.push_back(*event);
                }
                reply => self.replies.push_back(reply),
            }
        }
        LedgerStep { event, replies: Some(replies) }
    }

    /// The file that a source stands for, as the ledger's thread knows it.
    pub fn attached(&self, source: SourceId) -> Option<usize> {
        self.attached.get(&source).copied()
    }
}

fn short(what: &impl std::fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    if text.len() > 1200 {
        let end = text.floor_char_boundary(1200);
        text.truncate(end);
    }
    text
}

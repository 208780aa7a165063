//! One life of the agent: the production machines, the queues between them, and what the drivers in `run` do.
//!
//! Everything that a thread or task does in production without looking at another one is one step here; the world
//! chooses whose step comes next. Between the parts of one read (read, then verify), of one walk and of one open
//! anything may happen.
use crate::disk::SimDisk;
use crate::logs::{Line, Logs, line_of};
use crate::rng::Rng;
use crate::store::Store;
use bytes::Bytes;
use edgepush::batcher::{BatchJob, Batcher, BatcherAction, BatcherEvent, BatcherSettings};
use edgepush::config::Start;
use edgepush::destination::{Answer, Verdict};
use edgepush::ledger::{Ledger, LedgerEvent, LedgerReply, Recovered, SplitChild};
use edgepush::protocol::*;
use edgepush::sender::{SendAction, SendEvent, SendJob, Sender};
use edgepush::shard_loop::{ShardEvent, ShardJob, ShardLoop};
use edgepush::source::*;
use edgepush_shard::batch::join;
use edgepush_shard::chunk::{Chunk, ChunkKind};
use edgepush_shard::codec::{Level, codec};
use edgepush_shard::plan::Output;
use edgepush_shard::ring::Ring;
use edgepush_shard::room::{BatchLimits, Room};
use edgepush_shard::segment::FromShard;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Slabs so small that one fills within a chunk.
const SLAB_BYTES: usize = 4096;
const GLOB: &str = "/log/";

/// A job of the simulation.
#[derive(Clone, Debug)]
pub struct SimJob {
    pub id: JobId,
    pub output: Output,
    pub codec: CodecKind,
    pub container: Container,
    pub limits: BatchLimits,
    pub interval: Duration,
    pub uploads: usize,
}

/// What a life is started with.
#[derive(Clone, Debug)]
pub struct LifeSettings {
    pub shards: usize,
    pub jobs: Vec<SimJob>,
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
    Done,
}

/// I/O of the source that is under way.
enum Io {
    /// Paths still to be looked at, and what was found.
    Look { known: KnownFiles, paths: Vec<String>, found: Vec<Seen> },
    Open { file: FileKey, path: String, ident: FileIdent },
    Read { file: FileKey, offset: u64, len: usize },
    /// The bytes are read, the verification is not.
    Verify { file: FileKey, offset: u64, bytes: Bytes },
}

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
    pub others: u64,
    pub processed: bool,
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
    Io(usize),
    Shard(usize),
    Replies,
    Up(usize),
    FromSource,
    Ledger,
    Upload(usize),
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
    sealed: Vec<u64>,
    seal: u64,
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
    pub cuts: BTreeMap<(SourceId, u64, u64), Cut>,
}

/// What the world has to check after a step of the ledger.
pub struct LedgerStep {
    pub event: LedgerEvent,
    /// `None`: the process ended in it.
    pub replies: Option<Vec<LedgerReply>>,
}

fn naming(job: &SimJob) -> Arc<Naming> {
    Arc::new(Naming {
        path: "{JOB}/{DATE}".into(),
        suffix: ".log".into(),
        host: "edge1".into(),
        job: format!("job{}", job.id.0),
        dataset: "raw".into(),
    })
}

/// The room in the batch that the last life left open (as `run::jobs`).
fn room(job: &SimJob, recovered: &Recovered) -> Arc<Room> {
    let same = |open: &&OpenBatch| (open.job, open.codec, open.container) == (job.id, job.codec, job.container);
    Arc::new(match recovered.open.iter().filter(same).next_back() {
        Some(open) => Room::new(job.limits, open.records as u32, open.raw as u32),
        None => Room::new(job.limits, 0, 0),
    })
}

fn shard_loop(shard: usize, jobs: &[SimJob], rooms: &[Arc<Room>]) -> ShardLoop {
    let mut jobs = jobs.iter().zip(rooms).map(|(job, room)| ShardJob {
        id: job.id,
        version: 1,
        output: job.output.clone(),
        room: room.clone(),
        codec: codec(job.codec, Level::Fast),
    });
    let rejects = jobs.next().expect("the rejects are the first job");
    let ring = Ring::bytes_min(SLAB_BYTES) + 3 * SLAB_BYTES;
    ShardLoop::with_slabs(shard, (ring, SLAB_BYTES), rejects, jobs.collect())
}

impl Life {
    pub fn start(
        settings: LifeSettings,
        ledger: Ledger<SimDisk>,
        recovered: Recovered,
        around: &mut Around<'_>,
    ) -> Life {
        let rooms: Vec<Arc<Room>> = settings.jobs.iter().map(|job| room(job, &recovered)).collect();
        let batch_jobs = settings.jobs.iter().zip(&rooms).map(|(job, room)| BatchJob {
            id: job.id,
            version: 1,
            codec: job.codec,
            container: job.container,
            naming: naming(job),
            interval: job.interval,
            room: room.clone(),
        });
        let batcher_settings = BatcherSettings {
            shards: settings.shards,
            commit_interval: settings.commit_interval,
            uncommitted_bytes_max: settings.uncommitted_bytes_max,
        };
        let send_jobs = settings.jobs.iter().map(|job| SendJob { job: job.id, uploads: job.uploads });
        let file_settings = FileSettings {
            once: false,
            start: Start::Beginning,
            first_start: recovered.first_start,
            rebooted: recovered.rebooted,
            line_max: 1 << 20,
        };
        let shards = settings.shards;
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
            shards: (0..shards).map(|at| shard_loop(at, &settings.jobs, &rooms)).collect(),
            sealed: vec![0; shards],
            seal: 0,
            up: (0..shards).map(|_| VecDeque::new()).collect(),
            from_source: VecDeque::new(),
            to_ledger: VecDeque::new(),
            replies: VecDeque::new(),
            uncommitted_full: false,
            spool_full: false,
            batcher: Batcher::new(batcher_settings, around.now, batch_jobs.collect(), recovered.open.clone()),
            sender: Sender::new(send_jobs.collect(), around.rng.next()),
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
            settings,
        };
        life.source_step(SourceEvent::Start { rows: recovered.sources }, around);
        life.send(SendEvent::Spooled(recovered.spooled), around);
        life.batch(BatcherEvent::Tick, around);
        life
    }

    /// Everything that can be done now.
    pub fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        if self.source_wants() {
            turns.push(Turn::Source);
        }
        turns.extend((0..self.io.len()).map(Turn::Io));
        for shard in 0..self.shards.len() {
            if self.seal > self.sealed[shard] || !self.chunks.is_empty() {
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
        [wake, self.batcher.deadline(), self.sender.deadline(), Some(self.tick_at)].into_iter().flatten().min()
    }

    /// The clock moved on.
    pub fn tick(&mut self, around: &mut Around<'_>) -> Option<LedgerStep> {
        let now = around.now.mono;
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
            self.inbox.push_back(SourceEvent::Tick);
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
            Turn::Io(at) => self.io_turn(at, around),
            Turn::Shard(at) => self.shard_turn(at, around),
            Turn::Replies => self.reply_turn(around),
            Turn::Up(at) => {
                let message = self.up[at].pop_front().expect("a turn that can be taken");
                self.batch(BatcherEvent::Shard(message), around);
            }
            Turn::FromSource => match self.from_source.pop_front().expect("a turn that can be taken") {
                FromSource::SealNow => self.batch(BatcherEvent::SealNow, around),
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
            "idle {} lag {:?} turns {:?} pending {} uncommitted {} spool_full {} blocked {} room {} wake {:?}\n{:?}",
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

    // ---- the source and its I/O

    fn room(&self) -> usize {
        let stopped = self.uncommitted_full || self.spool_full;
        if stopped { 0 } else { (self.settings.shards + 2).saturating_sub(self.chunks.len()) }
    }

    fn source_wants(&self) -> bool {
        if self.ending {
            return !self.done && self.to_ledger.is_empty() && self.processed == self.emitted;
        }
        !self.inbox.is_empty() || !self.to_source.is_empty() || self.room() != self.room_said
    }

    fn source_turn(&mut self, around: &mut Around<'_>) {
        if self.ending {
            self.done = true;
            self.from_source.push_back(FromSource::Done);
            return;
        }
        self.inbox.extend(self.to_source.drain(..));
        if self.room() != self.room_said {
            self.room_said = self.room();
            self.inbox.push_back(SourceEvent::Room { chunks: self.room_said });
        }
        if let Some(event) = self.inbox.pop_front() {
            self.source_step(event, around);
        }
    }

    fn source_step(&mut self, event: SourceEvent, around: &mut Around<'_>) {
        around.say(|| format!("source <- {}", short(&event)));
        let mut actions = Vec::new();
        self.source.step(around.now, event, &mut actions);
        for action in actions {
            self.source_action(action, around);
        }
    }

    fn source_action(&mut self, action: SourceAction, around: &mut Around<'_>) {
        match &action {
            SourceAction::Wake { .. } | SourceAction::Sweep => {}
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
            SourceAction::Read { file, offset, len, cold: _ } => self.io.push(Io::Read { file, offset, len }),
            SourceAction::SeekData { file, offset } => {
                self.inbox.push_back(SourceEvent::DataAt { file, offset: Some(offset) });
            }
            SourceAction::Register(new) => self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Register(new))),
            SourceAction::Change(change) => {
                self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Change(vec![change])));
            }
            SourceAction::Emit(chunk) => self.emit(chunk, around),
            SourceAction::SealNow => self.from_source.push_back(FromSource::SealNow),
            SourceAction::Sweep => {
                let stat = |(key, at): (&FileKey, &usize)| (*key, size(around.logs, *at), nlink(around.logs, *at));
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

    fn emit(&mut self, chunk: Chunk, around: &mut Around<'_>) {
        assert!(self.chunks.len() < self.settings.shards + 2, "P8: a chunk was emitted without room");
        self.room_said = self.room_said.saturating_sub(1);
        self.emitted += 1;
        let mut cut = Cut { lines: Vec::new(), others: 0, processed: false };
        if chunk.kind == ChunkKind::Lines {
            assert_eq!(chunk.bytes.len() as u64, chunk.end - chunk.start, "P1: a chunk's bytes");
            for line in chunk.bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                match line_of(line) {
                    Some(line) => cut.lines.push(line),
                    None => cut.others += 1,
                }
            }
        }
        around.logs.held(cut.lines.iter().map(|line| line.number()));
        let old = self.cuts.insert((chunk.source, chunk.start, chunk.end), cut);
        assert!(old.is_none(), "I1: a chunk was cut twice: {:?} {}..{}", chunk.source, chunk.start, chunk.end);
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

    fn io_turn(&mut self, at: usize, around: &mut Around<'_>) {
        match self.io.swap_remove(at) {
            Io::Look { known, mut paths, mut found } => match paths.pop() {
                Some(path) => {
                    found.extend(seen(around.logs, &path, &known));
                    self.io.push(Io::Look { known, paths, found });
                }
                None => {
                    let stat =
                        |(key, at): (&FileKey, &usize)| (*key, size(around.logs, *at), nlink(around.logs, *at));
                    let open = self.files.iter().map(stat).collect();
                    self.inbox.push_back(SourceEvent::Looked(Look { files: found, open, failed: Vec::new() }));
                }
            },
            Io::Open { file, path, ident } => {
                let result = self.open(file, &path, ident, around);
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
                let result = Ok(ReadBack {
                    bytes,
                    size_after: size(around.logs, inode),
                    nlink: nlink(around.logs, inode),
                    head: head(around.logs, inode),
                });
                self.inbox.push_back(SourceEvent::Read { file, offset, result });
            }
        }
    }

    fn open(
        &mut self,
        file: FileKey,
        path: &str,
        ident: FileIdent,
        around: &mut Around<'_>,
    ) -> Result<OpenStat, OpenError> {
        let at = *around.logs.names.get(path).ok_or(OpenError::Gone)?;
        let found = ident_of(around.logs, at);
        if (found.dev, found.ino) != (ident.dev, ident.ino) {
            return Err(OpenError::Gone);
        }
        around.logs.open(at);
        self.files.insert(file, at);
        let logs = &around.logs;
        let mtime = logs.files[at].mtime;
        Ok(OpenStat { ident: found, size: size(logs, at), mtime, nlink: nlink(logs, at), head: head(logs, at) })
    }

    // ---- shards

    fn shard_turn(&mut self, at: usize, around: &mut Around<'_>) {
        let mut push = Vec::new();
        if self.seal > self.sealed[at] {
            self.sealed[at] = self.seal;
            around.say(|| format!("shard {at} seals {}", self.seal));
            let event = ShardEvent::Seal { group: GroupId::MAIN, epoch: self.seal };
            self.shards[at].step(around.now, event, &mut push);
        } else if let Some(chunk) = self.chunks.pop_front() {
            let key = (chunk.source, chunk.start, chunk.end);
            around.say(|| format!("shard {at} takes {key:?}"));
            self.shards[at].step(around.now, ShardEvent::Chunk(chunk), &mut push);
            self.cuts.get_mut(&key).expect("a chunk that was cut").processed = true;
            self.processed += 1;
        }
        self.up[at].extend(push);
    }

    // ---- the delivery thread

    fn reply_turn(&mut self, around: &mut Around<'_>) {
        match self.replies.pop_front().expect("a turn that can be taken") {
            LedgerReply::Committed(committed) => self.batch(BatcherEvent::Committed(committed), around),
            LedgerReply::Judged(ids) => self.send(SendEvent::Durable(ids), around),
            LedgerReply::Split { parent, children } => self.send(SendEvent::Split { parent, children }, around),
            LedgerReply::Registered(_) | LedgerReply::Space(_) | LedgerReply::NoSpace(_) => {
                unreachable!("the ledger's driver keeps these")
            }
        }
    }

    fn batch(&mut self, event: BatcherEvent, around: &mut Around<'_>) {
        let mut out = Vec::new();
        self.batcher.step(around.now, event, &mut out);
        for action in out {
            match action {
                BatcherAction::Seal { epoch, .. } => {
                    assert_eq!(epoch, self.seal + 1, "P4: one seal outstanding, in order");
                    self.seal = epoch;
                }
                BatcherAction::Commit(commit) => {
                    self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Commit(commit)));
                }
                BatcherAction::Spooled(spooled) => self.send(SendEvent::Spooled(spooled), around),
                BatcherAction::Durable(durable) => self.to_source.push_back(SourceEvent::Durable(durable)),
                BatcherAction::Readers { stop } => self.uncommitted_full = stop,
                BatcherAction::Finished => self.finished = true,
            }
        }
    }

    fn send(&mut self, event: SendEvent, around: &mut Around<'_>) {
        let mut out = Vec::new();
        self.sender.step(around.now, event, &mut out);
        for action in out {
            match action {
                SendAction::Upload { batch, .. } => self.upload(batch, around),
                SendAction::Judge(judged) => {
                    self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Judge(judged)));
                }
                SendAction::Split { batch } => self.split(&batch, around),
                SendAction::Settled { .. } | SendAction::Notice(_) => {}
            }
        }
    }

    /// Starts an upload. I8: what is sent is durable under the name that it is sent by.
    fn upload(&mut self, batch: Arc<Spooled>, around: &mut Around<'_>) {
        around.say(|| format!("upload {:?} {} of {:?}", batch.id, batch.name, batch.job));
        let row: Result<(String, String), _> = self.ledger.connection().query_row(
            "SELECT name, state FROM batch WHERE id = ?1",
            [batch.id.0 as i64],
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        let expected = (batch.name.to_string(), "spooled".to_owned());
        assert_eq!(row.as_ref().ok(), Some(&expected), "I8: {:?} is sent before it is committed", batch.id);
        let body = self.body(&batch, around.disk);
        self.uploads.push(Upload { batch, body, answer: None });
    }

    /// A batch's body, as the uploads read it: from memory or from the spool.
    fn body(&self, batch: &Spooled, disk: &SimDisk) -> Vec<Bytes> {
        let pieces = match &batch.body {
            Some(body) => vec![body.clone()],
            None => self.stored(batch.id, disk),
        };
        join(batch.container, batch.codec, pieces).expect("a spooled body is well formed")
    }

    /// A batch's pieces as they are on the disk, by the ledger's present rows.
    fn stored(&self, id: BatchId, disk: &SimDisk) -> Vec<Vec<Bytes>> {
        let conn = self.ledger.connection();
        let mut statement = conn
            .prepare_cached("SELECT pack, off, len, crc, bytes FROM piece WHERE batch = ?1 ORDER BY seq")
            .expect("a statement");
        let rows = statement.query_map([id.0 as i64], |row| {
            let len: i64 = row.get(2)?;
            let bytes = match row.get::<_, Option<i64>>(0)? {
                Some(pack) => disk.read(pack as u64, row.get::<_, i64>(1)? as u64, len as u64),
                None => row.get(4)?,
            };
            Ok((bytes, row.get::<_, u32>(3)?))
        });
        let read = |row: Result<(Option<Vec<u8>>, u32), _>| {
            let (bytes, crc): (Option<Vec<u8>>, u32) = row.expect("a row");
            let bytes = bytes.unwrap_or_else(|| panic!("a pack that a row names is gone: {id:?}"));
            assert_eq!(crc32fast::hash(&bytes), crc, "a committed piece of {id:?} is rotten");
            vec![Bytes::from(bytes)]
        };
        rows.expect("rows").map(read).collect()
    }

    fn split(&mut self, batch: &Spooled, around: &mut Around<'_>) {
        around.say(|| format!("split {:?}", batch.id));
        let body = self.body(batch, around.disk);
        let mut codec = codec(batch.codec, Level::Fast);
        let halves = edgepush_shard::batch::split(&mut *codec, batch.container, &body).expect("two records");
        let child = |half: edgepush_shard::batch::Half| SplitChild {
            pieces: vec![Bytes::from(half.piece.concat())],
            records: u64::from(half.records),
            raw: half.raw,
        };
        let children = halves.map(child).into();
        self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Split { parent: batch.id, children }));
    }

    fn upload_turn(&mut self, at: usize, around: &mut Around<'_>) {
        if let Some(verdict) = self.uploads[at].answer.take() {
            let upload = self.uploads.swap_remove(at);
            around.say(|| format!("answer for {:?}: {verdict:?}", upload.batch.id));
            let answer = Answer::from(verdict);
            return self.send(SendEvent::Outcome { id: upload.batch.id, answer }, around);
        }
        let upload = &mut self.uploads[at];
        let retry = || Verdict::Retry { after: None, why: "weather".into() };
        let fate = if around.calm { 0 } else { around.rng.below(12) };
        let hash = crc32fast::hash(upload.batch.key.as_bytes());
        let verdict = match fate {
            // What is too large or refused is so at every try, and never stored.
            _ if upload.batch.records > 1 && hash % 16 == 0 => Verdict::TooLarge { why: "413".into() },
            _ if hash % 16 == 1 && !around.calm => Verdict::Refused { why: "400".into() },
            0..=5 => {
                around.store.put(&upload.batch, &upload.body);
                Verdict::Delivered
            }
            6 | 7 => {
                // Stored, and the reply is lost.
                around.store.put(&upload.batch, &upload.body);
                retry()
            }
            8 => {
                around.store.put_late(&upload.batch, &upload.body);
                retry()
            }
            9 => Verdict::Hold { why: "forbidden".into() },
            _ => retry(),
        };
        self.uploads[at].answer = Some(verdict);
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
    if text.len() > 700 {
        let end = text.floor_char_boundary(700);
        text.truncate(end);
    }
    text
}

// ---- what the file system answers

fn size(logs: &Logs, at: usize) -> u64 {
    logs.files[at].data.len() as u64
}

fn nlink(logs: &Logs, at: usize) -> u64 {
    u64::from(logs.files[at].name.is_some())
}

fn head(logs: &Logs, at: usize) -> Bytes {
    let data = &logs.files[at].data;
    Bytes::copy_from_slice(&data[..data.len().min(1024)])
}

fn ident_of(logs: &Logs, at: usize) -> FileIdent {
    let file = &logs.files[at];
    FileIdent { dev: logs.dev, ino: file.ino, btime: (!logs.settings.no_btime).then_some(file.btime) }
}

fn seen(logs: &Logs, path: &str, known: &KnownFiles) -> Option<Seen> {
    let at = *logs.names.get(path)?;
    let (ident, size, mtime) = (ident_of(logs, at), size(logs, at), logs.files[at].mtime);
    let wanted = known.wants_head(ident, size, mtime);
    let head = if wanted { SeenHead::Bytes(head(logs, at)) } else { SeenHead::Skipped };
    Some(Seen { path: path.into(), glob: 0, ident, size, mtime, nlink: 1, head })
}

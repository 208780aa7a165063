//! Batcher: joins segments of one job from all shards into batches, and decides when a group is sealed and commits.
//!
//! Promises: a commit holds exactly the segments of its epoch, of all shards, and their chunk logs (PROTOCOL P4); one
//! seal is outstanding per group; a batch holds records of one version of one job, never more than its limits; it is
//! closed by its limits, its interval or the end of the run, and by nothing else. Never waits for the ledger: the
//! answer is an event (RULINGS 14).
//! Must not know: shards' insides, the spool, destinations, the runtime.
//!
//! How a batch gets closed. Shards take room in a job's open batch (`edgepush_shard::room`), so a segment arrives with
//! the number of its batch. When a seal is asked for, every number below the one that is being filled is complete with
//! that seal's last marker: nobody can take room in it any more. A batch whose interval ended is closed while its
//! commit is built; a segment that had taken room in it after its shard's marker moves to the batch being filled if it
//! fits there, else it becomes a batch alone.
//!
//! Many jobs. Everything that a step looks at is indexed, so it costs what it touches and not what there is. A seal for
//! full batches of the hot group closes only that group's slabs; timers of many jobs share seals.
//!
//! An archive's records take no room: their segments say their shelf, the ledger has the open batch of each shelf, and
//! here is only what one commit brings, however many shelves there are.
//!
//! Changes of jobs ride on a seal of all slabs. A version of a job is a lane of its own: segments of the new version
//! come from shards that have passed the seal while others still send those of the old one.
mod job;
mod lanes;

use crate::protocol::{
    BatchCommit, Commit, Committed, GroupId, JobId, JobsCommit, Logged, Now, OpenBatch, Scope, SourceId,
    Spooled,
};
use edgepush_shard::segment::{Begun, FromShard, Marker, Segment};
pub use job::BatchJob;
use job::EpochEnd;
use lanes::Lanes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// At most one seal for full batches in this time; all full ones share it (RULINGS 2).
const SIZE_SEAL_EVERY: Duration = Duration::from_millis(200);

/// What the batcher goes by.
#[derive(Clone, Copy, Debug)]
pub struct BatcherSettings {
    /// Shards whose markers end an epoch.
    pub shards: usize,
    /// Longest time that a record is only in memory (`EDGEPUSH_COMMIT_INTERVAL`).
    pub commit_interval: Duration,
    /// Stored bytes in memory, not yet committed, that stop the readers (PROTOCOL P8). Half of it forces a seal: while
    /// that half is written, the shards fill the other one.
    pub uncommitted_bytes_max: u64,
    /// So many jobs that hold something are many: their timers share seals, and busy ones commit alone.
    pub many: usize,
}

impl BatcherSettings {
    /// What `many` is in the agent.
    pub const MANY: usize = 16;
}

/// A change of the jobs, on its way to a seal.
#[derive(Clone, Debug)]
pub struct BatchChange {
    /// Who asked, to be told when it is durable.
    pub token: u64,
    /// What the ledger does in the commit.
    pub rows: Arc<JobsCommit>,
    /// New jobs and new versions: what the version before has open is closed. The same version: it changes its group.
    pub put: Vec<BatchJob>,
    /// Jobs that take no records any more: what they have open is closed.
    pub gone: Vec<JobId>,
}

/// What happens to the batcher.
#[derive(Debug)]
pub enum BatcherEvent {
    /// A shard pushed something; in order per shard.
    Shard(FromShard),
    /// A followed file was renamed, unlinked, replaced or truncated: what was read of it becomes durable now.
    SealNow,
    /// The ledger's answer to the outstanding commit.
    Committed(Committed),
    /// Jobs change with the next seal.
    Change(BatchChange),
    /// Time passed.
    Tick,
    /// No chunk will come any more, and all that came were processed: seal. With `close` every batch is closed.
    Finish {
        /// Close every open batch (`--once`, `demo`); else they stay open in the ledger (shutdown).
        close: bool,
    },
}

/// What the batcher wants.
#[derive(Debug)]
pub enum BatcherAction {
    /// Every shard ends this epoch.
    Seal {
        /// Which slabs are closed.
        scope: Scope,
        /// The epoch that ends.
        epoch: u64,
        /// Whose change rides on it ([`BatchChange::token`]): every shard goes on with the new jobs.
        change: Option<u64>,
    },
    /// To the ledger.
    Commit(Commit),
    /// To the sender: batches that are durable and closed.
    Spooled(Vec<Spooled>),
    /// To the sources: everything below these offsets is durable.
    Durable(Vec<(SourceId, u64)>),
    /// To the reader of parked groups: so many of its chunks are durable.
    Caught(Vec<(GroupId, usize)>),
    /// Readers stop (or go on): too much is in memory that is not committed.
    Readers {
        /// Whether they stop.
        stop: bool,
    },
    /// Jobs that fill batches faster than others should commit alone, and those that do not any more should not.
    Regroup {
        /// They belong into the hot group.
        hot: Vec<JobId>,
        /// They belong into the main group.
        cool: Vec<JobId>,
    },
    /// A change of jobs is durable.
    Changed {
        /// Whose.
        token: u64,
        /// Batches and records of deleted jobs that went.
        deleted: (u64, u64),
    },
    /// The commit that [`BatcherEvent::Finish`] asked for is durable.
    Finished,
}

/// Where the outstanding seal stands.
enum Seal {
    /// None is outstanding.
    None,
    /// Shards were asked; markers come in.
    Asked { scope: Scope, markers: usize, logs: BTreeMap<GroupId, Vec<Logged>>, due: Duration },
    /// The commit is with the ledger.
    Committing,
}

/// Joins segments into batches and commits.
pub struct Batcher {
    settings: BatcherSettings,
    lanes: Lanes,
    /// The epoch that shards are in (those that have not passed an outstanding seal).
    epoch: u64,
    seal: Seal,
    /// When the first unsealed chunk of each epoch was logged.
    begun: Vec<(u64, Duration)>,
    last_size_seal: Option<Duration>,
    wanted: bool,
    /// A change that waits for a seal, and the one that rides on the outstanding one.
    waiting: Option<BatchChange>,
    riding: Option<(u64, Arc<JobsCommit>)>,
    /// The end of the run is asked for; `true`: every batch closes.
    finish: Option<bool>,
    /// The epoch whose commit ends the run.
    finishing: Option<u64>,
    uncommitted_bytes: u64,
    /// Of these, the main group's.
    main_bytes: u64,
    committing_bytes: u64,
    stopped: bool,
    next_key: u64,
    in_commit: Vec<BatchCommit>,
    /// A replay is under way in which the hot group is ahead of the main group: no job may change between them.
    hot_ahead: bool,
    /// What the outstanding commit is of.
    committing: Scope,
}

impl Batcher {
    /// A batcher for `jobs`; `open` are the batches that the last run left open.
    pub fn new(settings: BatcherSettings, now: Now, jobs: Vec<BatchJob>, open: Vec<OpenBatch>) -> Batcher {
        let mut next_key = 1;
        Batcher {
            settings,
            lanes: Lanes::new(now, settings.many, jobs, &open, &mut next_key),
            epoch: 1,
            seal: Seal::None,
            begun: Vec::new(),
            last_size_seal: None,
            wanted: false,
            waiting: None,
            riding: None,
            finish: None,
            finishing: None,
            uncommitted_bytes: 0,
            main_bytes: 0,
            committing_bytes: 0,
            stopped: false,
            next_key,
            in_commit: Vec::new(),
            hot_ahead: true,
            committing: Scope::All,
        }
    }

    /// Stored bytes that are in memory and not committed, with what many small segments take beside them.
    pub fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes
    }

    /// When [`BatcherEvent::Tick`] is needed at the latest (monotonic).
    pub fn deadline(&self) -> Option<Duration> {
        if !matches!(self.seal, Seal::None) {
            return None;
        }
        let full = self.lanes.any_full();
        let size = full.then(|| self.last_size_seal.map_or(Duration::ZERO, |at| at + SIZE_SEAL_EVERY));
        [self.lanes.deadline(), size, self.group_deadline()].into_iter().flatten().min()
    }

    /// One step.
    pub fn step(&mut self, now: Now, event: BatcherEvent, out: &mut Vec<BatcherAction>) {
        match event {
            BatcherEvent::Shard(FromShard::Begun(begun)) => self.begin(now, begun),
            BatcherEvent::Shard(FromShard::Segment(segment)) => self.segment(now, segment),
            BatcherEvent::Shard(FromShard::Marker(marker)) => self.marker(now, marker, out),
            BatcherEvent::SealNow => self.wanted = true,
            BatcherEvent::Committed(committed) => self.committed(committed, out),
            BatcherEvent::Change(change) => {
                assert!(self.waiting.is_none(), "two changes wait for one seal");
                self.waiting = Some(change);
            }
            BatcherEvent::Tick => {}
            BatcherEvent::Finish { close } => self.finish = Some(close),
        }
        self.pressure(out);
        self.maybe_seal(now, out);
    }

    fn begin(&mut self, now: Now, begun: Begun) {
        match begun.job {
            Some(job) => self.lanes.begin(job, begun.epoch, now.mono),
            None if self.begun.iter().all(|&(epoch, _)| epoch != begun.epoch) => {
                self.begun.push((begun.epoch, now.mono));
            }
            None => {}
        }
    }

    fn segment(&mut self, now: Now, segment: Segment) {
        let bytes = job::held(&segment);
        self.uncommitted_bytes += bytes;
        if self.lanes.take(now, segment, &mut self.next_key) != GroupId::HOT {
            self.main_bytes += bytes;
        }
    }

    fn marker(&mut self, now: Now, marker: Marker, out: &mut Vec<BatcherAction>) {
        let Seal::Asked { scope, markers, logs, due } = &mut self.seal else {
            panic!("a marker of epoch {} without a seal", marker.epoch)
        };
        assert_eq!(marker.epoch, self.epoch, "shard {} ended another epoch", marker.shard);
        for (group, log) in marker.logs {
            logs.entry(group).or_default().extend(log);
        }
        *markers += 1;
        if *markers == self.settings.shards {
            let (scope, logs, due) = (*scope, std::mem::take(logs), *due);
            self.commit(now, (scope, due), logs, out);
        }
    }

    /// All markers are there: what came before them commits.
    fn commit(
        &mut self,
        now: Now,
        (scope, due): (Scope, Duration),
        logs: BTreeMap<GroupId, Vec<Logged>>,
        out: &mut Vec<BatcherAction>,
    ) {
        let epoch = self.epoch;
        let close_all = self.finishing == Some(epoch) && self.finish == Some(true);
        let end = EpochEnd { epoch, due, close_all, many: self.lanes.are_many() };
        let (mut batches, mut shelves) = (Vec::new(), Vec::new());
        let into = (&mut batches, &mut shelves);
        let bytes = self.lanes.commit(now, scope, end, &mut self.next_key, into);
        self.committing_bytes += bytes;
        if scope == Scope::All {
            self.begun.retain(|&(of, _)| of > epoch);
            self.main_bytes = self.lanes.main_bytes();
        }
        self.epoch = epoch + 1;
        self.in_commit.clone_from(&batches);
        self.seal = Seal::Committing;
        self.committing = scope;
        let lost = self.lanes.take_lost();
        let jobs = self.riding.as_ref().map(|(_, rows)| match lost.is_empty() {
            true => rows.clone(),
            false => Arc::new(JobsCommit { lost, ..JobsCommit::clone(rows) }),
        });
        let logs = logs.into_iter().collect();
        out.push(BatcherAction::Commit(Commit { epoch, batches, shelves, logs, jobs }));
    }

    fn committed(&mut self, committed: Committed, out: &mut Vec<BatcherAction>) {
        assert!(matches!(self.seal, Seal::Committing), "an answer without a commit");
        self.seal = Seal::None;
        if self.committing == Scope::All {
            self.hot_ahead = committed.hot_ahead;
        }
        let mut spooled = committed.spooled;
        self.uncommitted_bytes -= std::mem::take(&mut self.committing_bytes);
        self.attach_bodies(&mut spooled);
        spooled.extend(committed.filled);
        for (key, row) in committed.open {
            self.lanes.row(key, row);
        }
        self.lanes.forget_closed();
        if !spooled.is_empty() {
            out.push(BatcherAction::Spooled(spooled));
        }
        if !committed.durable.is_empty() {
            out.push(BatcherAction::Durable(committed.durable));
        }
        if !committed.caught.is_empty() {
            out.push(BatcherAction::Caught(committed.caught));
        }
        if let Some((token, _)) = self.riding.take() {
            out.push(BatcherAction::Changed { token, deleted: committed.deleted });
        }
        if self.finishing == Some(committed.epoch) {
            (self.finish, self.finishing) = (None, None);
            out.push(BatcherAction::Finished);
        }
    }

    /// A batch that closed in the commit which also made its only piece need not be read from the spool again.
    fn attach_bodies(&mut self, spooled: &mut [Spooled]) {
        let mut closed = self.in_commit.iter().filter(|b| b.close);
        for batch in spooled {
            let of = closed.next().expect("INVARIANT: the ledger answers in commit order");
            if of.row.is_none() && !of.piece.is_empty() {
                batch.body = Some(of.piece.clone());
            }
        }
        self.in_commit.clear();
    }

    fn pressure(&mut self, out: &mut Vec<BatcherAction>) {
        let over = self.uncommitted_bytes >= self.settings.uncommitted_bytes_max;
        let low = self.uncommitted_bytes <= self.settings.uncommitted_bytes_max / 2;
        if over && !self.stopped || low && self.stopped {
            self.stopped = over;
            out.push(BatcherAction::Readers { stop: over });
        }
    }

    fn maybe_seal(&mut self, now: Now, out: &mut Vec<BatcherAction>) {
        if !matches!(self.seal, Seal::None) {
            return;
        }
        let full = self.lanes.any_full();
        let size = full && self.last_size_seal.is_none_or(|at| now.mono >= at + SIZE_SEAL_EVERY);
        let much = self.uncommitted_bytes >= self.settings.uncommitted_bytes_max / 2;
        let time = self.lanes.deadline().into_iter().chain(self.group_deadline()).any(|at| now.mono >= at);
        let asked = self.wanted || self.waiting.is_some() || self.finish.is_some();
        if !(asked || size || time || much) {
            return;
        }
        // A bound that is reached by what the main group holds is not met by a seal of the hot group.
        let hot_will_do = !much || self.main_bytes < self.settings.uncommitted_bytes_max / 4;
        let scope = match asked || time || !self.lanes.only_hot_full() || !hot_will_do {
            true => Scope::All,
            false => Scope::Hot,
        };
        if full {
            self.last_size_seal = Some(now.mono);
        }
        let (hot, cool) = self.lanes.regroup(scope);
        if !(self.hot_ahead || hot.is_empty() && cool.is_empty()) {
            out.push(BatcherAction::Regroup { hot, cool });
        }
        self.seal(now, scope, out);
    }

    /// When the oldest chunk whose slabs are open has waited for the commit interval.
    fn group_deadline(&self) -> Option<Duration> {
        self.begun.iter().map(|&(_, at)| at + self.settings.commit_interval).min()
    }

    fn seal(&mut self, now: Now, scope: Scope, out: &mut Vec<BatcherAction>) {
        self.lanes.sealing(scope);
        if scope == Scope::All {
            self.wanted = false;
            if self.finish.is_some() {
                self.finishing = Some(self.epoch);
            }
            self.riding = self.waiting.take().map(|change| {
                self.lanes.change(&change);
                (change.token, change.rows)
            });
        }
        let change = self.riding.as_ref().map(|(token, _)| *token);
        self.seal = Seal::Asked { scope, markers: 0, logs: BTreeMap::new(), due: now.mono };
        out.push(BatcherAction::Seal { scope, epoch: self.epoch, change });
    }
}

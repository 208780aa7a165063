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
mod job;

use crate::protocol::{
    BatchCommit, Commit, Committed, GroupId, JobId, Logged, Now, OpenBatch, SourceId, Spooled,
};
use edgepush_shard::segment::{Begun, FromShard, Marker, Segment};
pub use job::BatchJob;
use job::{EpochEnd, Lane};
use std::collections::BTreeMap;
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
        /// The group.
        group: GroupId,
        /// The epoch that ends.
        epoch: u64,
    },
    /// To the ledger.
    Commit(Commit),
    /// To the sender: batches that are durable and closed.
    Spooled(Vec<Spooled>),
    /// To the sources: everything below these offsets is durable.
    Durable(Vec<(SourceId, u64)>),
    /// Readers stop (or go on): too much is in memory that is not committed.
    Readers {
        /// Whether they stop.
        stop: bool,
    },
    /// The commit that [`BatcherEvent::Finish`] asked for is durable.
    Finished,
}

/// Where the outstanding seal stands.
enum Seal {
    /// None is outstanding.
    None,
    /// Shards were asked; markers come in.
    Asked { markers: usize, log: Vec<Logged>, due: Duration },
    /// The commit is with the ledger.
    Committing,
}

/// Joins segments into batches and commits.
pub struct Batcher {
    settings: BatcherSettings,
    lanes: BTreeMap<JobId, Lane>,
    /// The epoch that shards are in (those that have not passed an outstanding seal).
    epoch: u64,
    seal: Seal,
    /// When the first unsealed chunk of each epoch was logged.
    begun: Vec<(u64, Duration)>,
    last_size_seal: Option<Duration>,
    wanted: bool,
    /// The end of the run is asked for; `true`: every batch closes.
    finish: Option<bool>,
    /// The epoch whose commit ends the run.
    finishing: Option<u64>,
    uncommitted_bytes: u64,
    committing_bytes: u64,
    stopped: bool,
    next_key: u64,
    in_commit: Vec<BatchCommit>,
}

impl Batcher {
    /// A batcher for `jobs`; `open` are the batches that the last run left open.
    pub fn new(settings: BatcherSettings, now: Now, jobs: Vec<BatchJob>, open: Vec<OpenBatch>) -> Batcher {
        let mut batcher = Batcher {
            settings,
            lanes: jobs.into_iter().map(|job| (job.id, Lane::new(job))).collect(),
            epoch: 1,
            seal: Seal::None,
            begun: Vec::new(),
            last_size_seal: None,
            wanted: false,
            finish: None,
            finishing: None,
            uncommitted_bytes: 0,
            committing_bytes: 0,
            stopped: false,
            next_key: 1,
            in_commit: Vec::new(),
        };
        for batch in open {
            if let Some(lane) = batcher.lanes.get_mut(&batch.job) {
                lane.resume(now, &batch, &mut batcher.next_key);
            }
        }
        batcher
    }

    /// Stored bytes that are in memory and not committed.
    pub fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes
    }

    /// When [`BatcherEvent::Tick`] is needed at the latest (monotonic).
    pub fn deadline(&self) -> Option<Duration> {
        if !matches!(self.seal, Seal::None) {
            return None;
        }
        let lanes = self.lanes.values().filter_map(Lane::deadline);
        let full = self.lanes.values().any(Lane::has_full);
        let size = full.then(|| self.last_size_seal.map_or(Duration::ZERO, |at| at + SIZE_SEAL_EVERY));
        let group = self.begun.iter().map(|&(_, at)| at + self.settings.commit_interval).min();
        lanes.chain(size).chain(group).min()
    }

    /// One step.
    pub fn step(&mut self, now: Now, event: BatcherEvent, out: &mut Vec<BatcherAction>) {
        match event {
            BatcherEvent::Shard(FromShard::Begun(begun)) => self.begin(now, begun),
            BatcherEvent::Shard(FromShard::Segment(segment)) => self.segment(now, segment),
            BatcherEvent::Shard(FromShard::Marker(marker)) => self.marker(now, marker, out),
            BatcherEvent::SealNow => self.wanted = true,
            BatcherEvent::Committed(committed) => self.committed(committed, out),
            BatcherEvent::Tick => {}
            BatcherEvent::Finish { close } => self.finish = Some(close),
        }
        self.pressure(out);
        self.maybe_seal(now, out);
    }

    fn begin(&mut self, now: Now, begun: Begun) {
        if !self.begun.iter().any(|&(epoch, _)| epoch == begun.epoch) {
            self.begun.push((begun.epoch, now.mono));
        }
        if let Some(lane) = begun.job.and_then(|job| self.lanes.get_mut(&job)) {
            lane.begin(begun.epoch, now.mono);
        }
    }

    fn segment(&mut self, now: Now, segment: Segment) {
        self.uncommitted_bytes += segment.body.len() as u64;
        let lane = self.lanes.get_mut(&segment.job).expect("INVARIANT: shards know only jobs of the plan");
        lane.take(now, segment, &mut self.next_key);
    }

    fn marker(&mut self, now: Now, marker: Marker, out: &mut Vec<BatcherAction>) {
        let Seal::Asked { markers, log, due } = &mut self.seal else {
            panic!("a marker of epoch {} without a seal", marker.epoch)
        };
        assert_eq!(marker.epoch, self.epoch, "shard {} ended another epoch", marker.shard);
        log.extend(marker.log);
        *markers += 1;
        if *markers == self.settings.shards {
            let (log, due) = (std::mem::take(log), *due);
            self.commit(now, due, log, out);
        }
    }

    /// All markers are there: what came before them commits.
    fn commit(&mut self, now: Now, due: Duration, log: Vec<Logged>, out: &mut Vec<BatcherAction>) {
        let epoch = self.epoch;
        let close_all = self.finishing == Some(epoch) && self.finish == Some(true);
        let end = EpochEnd { epoch, due, close_all };
        let mut batches = Vec::new();
        for lane in self.lanes.values_mut() {
            self.committing_bytes += lane.commit(now, end, &mut self.next_key, &mut batches);
        }
        self.begun.retain(|&(of, _)| of > epoch);
        self.epoch = epoch + 1;
        self.in_commit.clone_from(&batches);
        self.seal = Seal::Committing;
        out.push(BatcherAction::Commit(Commit { group: GroupId::MAIN, epoch, batches, log }));
    }

    fn committed(&mut self, committed: Committed, out: &mut Vec<BatcherAction>) {
        assert!(matches!(self.seal, Seal::Committing), "an answer without a commit");
        self.seal = Seal::None;
        let mut spooled = committed.spooled;
        self.uncommitted_bytes -= std::mem::take(&mut self.committing_bytes);
        self.attach_bodies(&mut spooled);
        for (key, row) in committed.open {
            for lane in self.lanes.values_mut() {
                lane.row(key, row);
            }
        }
        if !spooled.is_empty() {
            out.push(BatcherAction::Spooled(spooled));
        }
        if !committed.durable.is_empty() {
            out.push(BatcherAction::Durable(committed.durable));
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
        let full = self.lanes.values().any(Lane::has_full);
        let size = full && self.last_size_seal.is_none_or(|at| now.mono >= at + SIZE_SEAL_EVERY);
        let due = self.deadline().is_some_and(|at| now.mono >= at);
        let much = self.uncommitted_bytes >= self.settings.uncommitted_bytes_max / 2;
        if !(self.wanted || size || due || much || self.finish.is_some()) {
            return;
        }
        if full {
            self.last_size_seal = Some(now.mono);
        }
        self.wanted = false;
        for lane in self.lanes.values_mut() {
            lane.sealing();
        }
        if self.finish.is_some() {
            self.finishing = Some(self.epoch);
        }
        self.seal = Seal::Asked { markers: 0, log: Vec::new(), due: now.mono };
        out.push(BatcherAction::Seal { group: GroupId::MAIN, epoch: self.epoch });
    }
}

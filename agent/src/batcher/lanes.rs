//! Lanes: every job's batches, with the indexes by which a step finds those that it concerns.
//!
//! Promises: a step costs what it touches, not what there is; the indexes say what the lanes say.
//! Must not know: seals' reasons, the ledger.
use super::BatchChange;
use super::job::{BatchJob, Ending, EpochEnd, Lane};
use crate::protocol::{
    BatchCommit, BatchId, GroupId, JobId, Lost, Now, OpenBatch, OpenKey, Scope, ShelfCommit,
};
use edgepush_shard::segment::Segment;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A version of a job.
type Key = (JobId, u32);

/// Every job's batches.
#[derive(Default)]
pub(super) struct Lanes {
    /// More lanes than these that hold something are many.
    many: usize,
    lanes: BTreeMap<Key, Lane>,
    /// Lanes that hold something, with what the other indexes have of them.
    active: BTreeMap<Key, Indexed>,
    due: BTreeSet<(Duration, Key)>,
    full: BTreeSet<Key>,
    /// Of the full ones, how many are not hot.
    full_not_hot: usize,
    /// Lanes that filled a batch since all slabs were closed.
    filled: BTreeSet<Key>,
    /// How many are hot.
    hot: usize,
    open: BTreeMap<OpenKey, Key>,
    /// Lanes that end with the outstanding commit.
    ending: Vec<Key>,
    /// What went with deleted jobs in the last commit.
    lost: Vec<Lost>,
}

/// What the indexes have of a lane.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Indexed {
    due: Option<Duration>,
    full: bool,
}

impl Lanes {
    pub(super) fn new(
        now: Now,
        many: usize,
        jobs: Vec<BatchJob>,
        open: &[OpenBatch],
        next_key: &mut u64,
    ) -> Lanes {
        let mut lanes = Lanes { many, ..Lanes::default() };
        for job in jobs {
            lanes.hot += usize::from(job.group == GroupId::HOT);
            lanes.lanes.insert((job.id, job.version), Lane::new(job));
        }
        for batch in open {
            let mut key = (batch.job, batch.version);
            // A batch of a form that no job has any more has a lane of its own, which ends with the first commit.
            if lanes.lanes.get(&key).is_none_or(|lane| !lane.is_form_of(batch)) {
                while lanes.lanes.contains_key(&key) {
                    key.1 = key.1.wrapping_add(1);
                }
                lanes.lanes.insert(key, Lane::of_the_past(batch));
                lanes.ending.push(key);
            }
            lanes.touch(key, |lane| lane.resume(now, batch, next_key));
        }
        lanes
    }

    /// Whether timers must share seals.
    pub(super) fn are_many(&self) -> bool {
        self.active.len() > self.many
    }

    /// When the oldest record has waited for its job's interval (monotonic).
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether a batch is full or left over: it waits for a seal, and for nothing else.
    pub(super) fn any_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Whether a seal of the hot group is enough for the full batches, and spares many others.
    pub(super) fn only_hot_full(&self) -> bool {
        !self.full.is_empty() && self.full_not_hot == 0 && self.are_many()
    }

    /// A job's first record of an epoch is in a slab.
    pub(super) fn begin(&mut self, key: Key, epoch: u64, at: Duration) {
        self.touch(key, |lane| lane.begin(epoch, at));
    }

    /// Takes a segment; answers with its job's group.
    pub(super) fn take(&mut self, now: Now, segment: Segment, next_key: &mut u64) -> GroupId {
        let key = (segment.job, segment.version);
        self.touch(key, |lane| {
            lane.take(now, segment, next_key);
            lane.job.group
        })
    }

    /// A seal is asked for: what is full now is complete with its last marker.
    pub(super) fn sealing(&mut self, scope: Scope) {
        for key in self.active.keys() {
            let lane = self.lanes.get_mut(key).expect("INVARIANT: an active lane is a lane");
            if scope == Scope::All || lane.job.group == GroupId::HOT {
                lane.sealing();
            }
        }
    }

    /// Jobs change with the seal that is asked for now.
    pub(super) fn change(&mut self, change: &BatchChange) {
        for id in &change.gone {
            self.end((*id, 0)..=(*id, u32::MAX), Ending::Closes);
        }
        for id in &change.rows.deleted {
            self.end((*id, 0)..=(*id, u32::MAX), Ending::Dropped);
        }
        for job in &change.put {
            let key = (job.id, job.version);
            if let Some(lane) = self.lanes.get_mut(&key) {
                // The same version in another group: what is open stays open.
                lane.job = job.clone();
                continue;
            }
            self.end((job.id, 0)..=(job.id, u32::MAX), Ending::Closes);
            self.lanes.insert(key, Lane::new(job.clone()));
        }
        self.hot = self.lanes.values().filter(|lane| lane.job.group == GroupId::HOT).count();
        self.count_full();
    }

    /// Which jobs should change their group, as the seal that begins shows.
    pub(super) fn regroup(&mut self, scope: Scope) -> (Vec<JobId>, Vec<JobId>) {
        let filled: Vec<Key> = self.full.iter().copied().collect();
        for key in &filled {
            self.filled.insert(*key);
        }
        if scope == Scope::Hot || !self.are_many() && self.hot == 0 {
            return (Vec::new(), Vec::new());
        }
        let filled = std::mem::take(&mut self.filled);
        let group = |key: &Key| self.lanes.get(key).map(|lane| (lane.job.group, lane.ending));
        let main = |key: &&Key| self.are_many() && group(key) == Some((GroupId::MAIN, Ending::None));
        let hot = filled.iter().filter(main).map(|key| key.0).filter(|job| *job != JobId::REJECTS).collect();
        let cool = match self.hot {
            0 => Vec::new(),
            _ => {
                let cold =
                    |(key, lane): &(&Key, &Lane)| lane.job.group == GroupId::HOT && !filled.contains(key);
                self.lanes.iter().filter(cold).map(|(key, _)| key.0).collect()
            }
        };
        (hot, cool)
    }

    fn end(&mut self, keys: std::ops::RangeInclusive<Key>, how: Ending) {
        for (key, lane) in self.lanes.range_mut(keys) {
            lane.ending = how;
            self.ending.push(*key);
        }
    }

    /// Moves the segments of the epoch that ends (and before) into `batches` and `shelves`; answers with their stored
    /// bytes.
    pub(super) fn commit(
        &mut self,
        now: Now,
        scope: Scope,
        end: EpochEnd,
        next_key: &mut u64,
        (batches, shelves): (&mut Vec<BatchCommit>, &mut Vec<ShelfCommit>),
    ) -> u64 {
        let mut bytes = 0;
        let keys: Vec<Key> = self.active.keys().copied().collect();
        for key in keys {
            if scope == Scope::All || self.lanes[&key].job.group == GroupId::HOT {
                let lost = self.lanes[&key].lost();
                self.lost.extend(lost);
                bytes += self.touch(key, |lane| {
                    lane.commit_shelves(end.epoch, shelves) + lane.commit(now, end, next_key, batches)
                });
            }
        }
        if scope == Scope::All {
            for key in std::mem::take(&mut self.ending) {
                self.remove(key);
            }
        }
        self.open.extend(batches.iter().filter(|b| !b.close).map(|b| (b.open, (b.job, b.version))));
        bytes
    }

    /// What went with deleted jobs in the last commit, once.
    pub(super) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    fn remove(&mut self, key: Key) {
        let Some(lane) = self.lanes.remove(&key) else { return };
        assert!(lane.is_idle(), "a lane ends and holds something");
        self.index(key, None);
    }

    /// Stored bytes of jobs that are not hot.
    pub(super) fn main_bytes(&self) -> u64 {
        let lanes = self.active.keys().map(|key| &self.lanes[key]);
        lanes.filter(|lane| lane.job.group != GroupId::HOT).map(Lane::stored_bytes).sum()
    }

    /// An open batch has its row.
    pub(super) fn row(&mut self, open: OpenKey, row: BatchId) {
        if let Some(lane) = self.open.remove(&open).and_then(|key| self.lanes.get_mut(&key)) {
            lane.row(open, row);
        }
    }

    /// What the last commit asked rows for has them, or is gone.
    pub(super) fn forget_closed(&mut self) {
        self.open.clear();
    }

    /// Does something with a lane, and brings the indexes up to date.
    fn touch<T>(&mut self, key: Key, what: impl FnOnce(&mut Lane) -> T) -> T {
        let lane = self.lanes.get_mut(&key).expect("INVARIANT: shards know only jobs of the plan");
        let answer = what(lane);
        let indexed = (!lane.is_idle()).then(|| Indexed { due: lane.deadline(), full: lane.has_full() });
        self.index(key, indexed);
        answer
    }

    fn index(&mut self, key: Key, now: Option<Indexed>) {
        let before = self.active.get(&key).copied();
        if before == now {
            return;
        }
        if let Some(at) = before.and_then(|before| before.due) {
            self.due.remove(&(at, key));
        }
        self.full.remove(&key);
        match now {
            None => drop(self.active.remove(&key)),
            Some(indexed) => {
                self.active.insert(key, indexed);
                self.due.extend(indexed.due.map(|at| (at, key)));
                if indexed.full {
                    self.full.insert(key);
                }
            }
        }
        self.count_full();
    }

    fn count_full(&mut self) {
        let not_hot = |key: &&Key| self.lanes.get(*key).is_none_or(|lane| lane.job.group != GroupId::HOT);
        self.full_not_hot = self.full.iter().filter(not_hot).count();
    }
}

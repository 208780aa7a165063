//! changes: jobs change while the agent runs (INTERFACE 6, PROTOCOL 4).
//!
//! What is asked for is collected for a moment, rides on one seal, and is answered when its commit is durable. Until
//! then everybody but the shards goes by the jobs before it.
//! Promises: one change is under way at a time; an ask that a rule forbids changes nothing and spoils no other.
//! Must not know: how a seal is made, HTTP.
use super::jobs::{Job, Jobs};
use super::make::{CHECKS, Maker, kept};
use crate::batcher::BatchChange;
use crate::jobs::{Book, Change, ChangeError, JobChange, Problem, Refusal};
use crate::protocol::{GroupId, JobId, JobsCommit};
use crate::sender::LaneChange;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Asks that come within this share a seal (RULINGS 8).
const COLLECTED: Duration = Duration::from_millis(50);

/// Somebody wants jobs changed.
pub(super) struct Ask {
    pub(super) change: Change,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What became of it.
pub(super) type Answer = Result<Vec<JobChange>, ChangeError>;

/// Who asked, and what came of it.
pub(super) type Asked = (oneshot::Sender<Answer>, Vec<JobChange>);

/// What rides on a seal, and what everybody goes by once its commit is durable.
pub(super) struct Riding {
    pub(super) jobs: Jobs,
    pub(super) book: Book,
    pub(super) lanes: Vec<LaneChange>,
    /// Jobs that are gone.
    pub(super) deleted: Vec<JobId>,
    /// To be answered last, after everybody else goes by the new jobs.
    pub(super) asked: Vec<Asked>,
}

impl Riding {
    /// What has not changed anything yet.
    fn from_here(jobs: &Jobs, book: &Book) -> Riding {
        let (jobs, book) = (jobs.clone(), book.clone());
        Riding { jobs, book, lanes: Vec::new(), deleted: Vec::new(), asked: Vec::new() }
    }
}

/// Tells those who asked.
pub(super) fn answer(asked: Vec<Asked>) {
    for (answer, changes) in asked {
        // Who asked may have gone away meanwhile.
        let _ = answer.send(Ok(changes));
    }
}

/// What happens to jobs without anybody's asking.
#[derive(Clone, Debug, Default)]
pub(super) struct Regroup {
    /// Jobs and the group that they belong into.
    pub(super) groups: BTreeMap<JobId, GroupId>,
    /// New parked groups.
    pub(super) parked: Vec<GroupId>,
    /// Parked groups that have caught up.
    pub(super) merged: Vec<GroupId>,
}

/// What waits to change, and what rides on the outstanding seal.
pub(super) struct Changes {
    maker: Arc<Maker>,
    asks: VecDeque<Ask>,
    /// When the oldest ask came (monotonic).
    since: Option<Duration>,
    regroup: Regroup,
    riding: Option<Riding>,
    token: u64,
}

impl Changes {
    pub(super) fn new(maker: Arc<Maker>) -> Changes {
        Changes {
            maker,
            asks: VecDeque::new(),
            since: None,
            regroup: Regroup::default(),
            riding: None,
            token: 0,
        }
    }

    /// Somebody asks.
    pub(super) fn ask(&mut self, now: Duration, ask: Ask) {
        self.since.get_or_insert(now);
        self.asks.push_back(ask);
    }

    /// Jobs belong into other groups.
    pub(super) fn regroup(&mut self, now: Duration, regroup: Regroup) {
        self.since.get_or_insert(now);
        self.regroup.groups.extend(regroup.groups);
        self.regroup.parked.extend(regroup.parked);
        self.regroup.merged.extend(regroup.merged);
    }

    /// When [`Changes::due`] has something next (monotonic).
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.since.filter(|_| self.riding.is_none()).map(|since| since + COLLECTED)
    }

    /// The agent ends: nothing changes any more.
    pub(super) fn end(&mut self) {
        for ask in self.asks.drain(..) {
            let _ = ask.answer.send(Err(ChangeError::Unavailable("the agent is stopping".into())));
        }
        self.since = None;
    }

    /// The change that is due, for the batcher; at most one is under way.
    pub(super) fn due(&mut self, now: Duration, jobs: &Jobs, book: &Book) -> Option<BatchChange> {
        self.deadline().filter(|at| now >= *at)?;
        self.since = None;
        let mut riding = Riding::from_here(jobs, book);
        let mut steps: Vec<JobChange> = Vec::new();
        for ask in std::mem::take(&mut self.asks) {
            match self.plan(&mut riding, &ask.change) {
                Ok(changes) if changes.is_empty() => drop(ask.answer.send(Ok(changes))),
                Ok(changes) => {
                    steps.extend(changes.iter().cloned());
                    riding.asked.push((ask.answer, changes));
                }
                Err(refusal) => drop(ask.answer.send(Err(ChangeError::Refused(refusal)))),
            }
        }
        let regroup = std::mem::take(&mut self.regroup);
        let moved = move_jobs(&mut riding, &regroup);
        if steps.is_empty() && moved.is_empty() && regroup.merged.is_empty() {
            return None;
        }
        self.token += 1;
        let change = self.ride(&mut riding, jobs, &steps, moved, regroup);
        self.riding = Some(riding);
        Some(change)
    }

    /// Plans one ask on what the asks before it have made of the jobs. All of it, or nothing.
    fn plan(&self, riding: &mut Riding, change: &Change) -> Result<Vec<JobChange>, Refusal> {
        let changes = riding.book.plan(change, &CHECKS)?;
        let mut made = Vec::new();
        for change in &changes {
            let JobChange::Put(entry) = change else { continue };
            let group = riding.jobs.get(entry.id).map_or(GroupId::MAIN, |job| job.group);
            let mut job = self
                .maker
                .make(entry, group, None)
                .map_err(|why| Refusal::Invalid(vec![Problem::at("/destination_conf", why)]))?;
            // A job that is disabled leaves its group: enabled again, it begins where the others are then.
            if !job.takes {
                job.group = GroupId::MAIN;
            }
            made.push(job);
        }
        made.into_iter().for_each(|job| riding.jobs.put(job));
        for change in &changes {
            if let JobChange::Delete(id) = change {
                riding.jobs.remove(*id);
            }
        }
        riding.book.apply(&changes);
        Ok(changes)
    }

    /// What each machine gets of the change.
    fn ride(
        &self,
        riding: &mut Riding,
        before: &Jobs,
        steps: &[JobChange],
        moved: Vec<JobId>,
        regroup: Regroup,
    ) -> BatchChange {
        let mut rows = JobsCommit { merged: regroup.merged, parked: regroup.parked, ..JobsCommit::default() };
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        let changed: std::collections::BTreeSet<JobId> = steps
            .iter()
            .map(|step| match step {
                JobChange::Put(entry) => entry.id,
                JobChange::Delete(id) => *id,
            })
            .chain(moved)
            .collect();
        for id in changed {
            match riding.jobs.get(id) {
                Some(job) => {
                    rows.put.push(job.row(riding.book.get(id).map(|entry| kept(entry)).unwrap_or_default()));
                    riding.lanes.push(LaneChange::Put(job.send_job()));
                    if job.takes { put.push(job.batch_job()) } else { gone.push(id) }
                }
                // Made and deleted within one change: nobody has heard of it.
                None if before.get(id).is_none() => {}
                None => {
                    rows.deleted.push(id);
                    riding.deleted.push(id);
                    riding.lanes.push(LaneChange::Delete(id));
                }
            }
        }
        BatchChange { token: self.token, rows: Arc::new(rows), put, gone }
    }

    /// The jobs that shards go by from the seal on that a change rides on.
    pub(super) fn riding_jobs(&self, token: u64) -> &Jobs {
        assert_eq!(token, self.token, "another change rides");
        &self.riding.as_ref().expect("INVARIANT: a change rides on the seal that names it").jobs
    }

    /// The change is durable.
    pub(super) fn done(&mut self, token: u64) -> Riding {
        assert_eq!(token, self.token, "another change is durable");
        self.riding.take().expect("INVARIANT: a change that is durable was under way")
    }
}

/// Carries a change out before anything runs: what the ledger does then.
///
/// # Errors
/// A rule forbids it: nothing has changed.
pub(super) fn at_start(
    maker: &Arc<Maker>,
    jobs: &mut Jobs,
    book: &mut Book,
    change: &Change,
) -> Result<Arc<JobsCommit>, Refusal> {
    let changes = Changes::new(maker.clone());
    let mut riding = Riding::from_here(jobs, book);
    let steps = changes.plan(&mut riding, change)?;
    let rows = changes.ride(&mut riding, jobs, &steps, Vec::new(), Regroup::default()).rows;
    (*jobs, *book) = (riding.jobs, riding.book);
    Ok(rows)
}

/// Gives jobs their groups; answers with those that changed.
fn move_jobs(riding: &mut Riding, regroup: &Regroup) -> Vec<JobId> {
    let mut moved = Vec::new();
    for (id, group) in &regroup.groups {
        let moves = |job: &&Arc<Job>| job.group != *group && job.takes;
        let Some(job) = riding.jobs.get(*id).filter(moves) else { continue };
        let mut job = (**job).clone();
        job.group = *group;
        riding.jobs.put(job);
        moved.push(*id);
    }
    moved
}

//! Jobs of a life: what they are like, how they change while it runs, and who is parked (the part of `run::changes`).
use super::{Around, CatchUpEvent, Life};
use crate::rng::Rng;
use edgepush::batcher::{BatchChange, BatchJob, BatcherEvent};
use edgepush::ledger::Recovered;
use edgepush::parking::{Parking, ParkingAction};
use edgepush::protocol::*;
use edgepush::sender::{LaneChange, SendEvent, SendJob};
use edgepush::shard_loop::{PlanJob, PlanOutput, ShardPlan};
use edgepush_shard::codec::Level;
use edgepush_shard::dataset::RAW;
use edgepush_shard::plan::{HashKey, Output, Sample};
use edgepush_shard::room::{BatchLimits, Room};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A job with few fields that is always there, beside the environment job.
pub const FEW: JobId = JobId(2);
/// Jobs that are made while the agent runs have ids from here on.
pub const MADE: u64 = 3;

/// A job of the simulation. What it is like follows from the run's seed, its id and its version.
#[derive(Clone, Debug)]
pub struct SimJob {
    pub id: JobId,
    pub version: u32,
    pub group: GroupId,
    pub takes: bool,
    pub output: Output,
    pub codec: CodecKind,
    pub container: Container,
    pub limits: BatchLimits,
    pub interval: Duration,
    pub uploads: usize,
    pub room: Arc<Room>,
}

pub type SimJobs = BTreeMap<JobId, SimJob>;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())]
}

impl SimJob {
    fn new(salt: u64, id: JobId, version: u32) -> SimJob {
        let mut rng = Rng::new(salt ^ id.0.wrapping_mul(0x9e37_79b9) ^ u64::from(version) << 40);
        let limits = BatchLimits {
            records: pick(&mut rng, &[1, 3, 10, 40]),
            bytes: pick(&mut rng, &[300, 2000, 20_000]),
        };
        let few = id != JobId::REJECTS && (id == FEW || rng.one_in(2));
        SimJob {
            id,
            version,
            group: GroupId::MAIN,
            takes: true,
            output: if few { Output::Fields(vec!["n".into()]) } else { Output::PassThrough },
            codec: pick(&mut rng, &[CodecKind::None, CodecKind::None, CodecKind::Gzip]),
            container: pick(&mut rng, &[Container::Members, Container::Single]),
            limits,
            interval: Duration::from_millis(pick(&mut rng, &[200, 1000, 5000])),
            uploads: 1 + rng.below(3),
            room: Arc::new(Room::new(limits, 0, 0)),
        }
    }

    fn row(&self) -> JobRow {
        JobRow {
            id: self.id,
            group: self.group,
            version: self.version,
            config: if self.takes { "on" } else { "off" }.into(),
            last_complete: None,
            last_error: None,
            error_message: None,
        }
    }

    fn batch_job(&self) -> BatchJob {
        BatchJob {
            id: self.id,
            version: self.version,
            group: self.group,
            codec: self.codec,
            container: self.container,
            naming: Arc::new(Naming {
                path: "{JOB}/{DATE}".into(),
                suffix: ".log".into(),
                host: "edge1".into(),
                job: format!("job{}", self.id.0),
                dataset: "raw".into(),
                ..Naming::default()
            }),
            frame: Arc::default(),
            interval: self.interval,
            room: self.room.clone(),
        }
    }

    pub fn send_job(&self) -> SendJob {
        SendJob { hold: !self.takes, ..SendJob::new(self.id, self.uploads) }
    }
}

/// The jobs that a start finds: those of the settings, and the ledger's.
pub fn recovered_jobs(salt: u64, recovered: &Recovered) -> SimJobs {
    let settings = [JobId::REJECTS, JobId::ENV, FEW].map(|id| (id, SimJob::new(salt, id, 1)));
    let mut jobs: SimJobs = settings.into_iter().collect();
    for row in &recovered.jobs {
        let mut job = SimJob::new(salt, row.id, row.version);
        job.group = row.group;
        job.takes = row.config != "off";
        jobs.insert(row.id, job);
    }
    for job in jobs.values_mut() {
        let same = |open: &&OpenBatch| {
            (open.job, open.version, open.codec, open.container)
                == (job.id, job.version, job.codec, job.container)
        };
        if let Some(open) = recovered.open.iter().rfind(same) {
            job.room = Arc::new(Room::new(job.limits, open.records as u32, open.raw as u32));
        }
    }
    jobs
}

pub fn batch_jobs(jobs: &SimJobs) -> Vec<BatchJob> {
    jobs.values().filter(|job| job.takes).map(SimJob::batch_job).collect()
}

pub fn plan(jobs: &SimJobs) -> Arc<ShardPlan> {
    let mut outputs: Vec<PlanOutput> = Vec::new();
    let mut planned = Vec::new();
    for job in jobs.values().filter(|job| job.takes) {
        let wanted = PlanOutput { options: (&job.output).into(), dataset: &RAW };
        let output = outputs.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            outputs.push(wanted);
            outputs.len() - 1
        });
        planned.push(PlanJob {
            id: job.id,
            version: job.version,
            group: job.group,
            hosts: None,
            filter: None,
            sample: Sample::ALL,
            delimiter_bytes: 0,
            output,
            codec: job.codec,
            level: Level::Fast,
            room: job.room.clone(),
            shelved: false,
            matched: Arc::default(),
        });
    }
    let rejects = planned.remove(0);
    assert_eq!(rejects.id, JobId::REJECTS);
    Arc::new(ShardPlan::new(rejects, planned, outputs, HashKey::new(&[0; 32]), Arc::new([])))
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Make,
    Change(JobId),
    Delete(JobId),
    Enable(JobId, bool),
}

/// What waits to change, and what rides on the outstanding seal.
#[derive(Default)]
pub struct Changes {
    wishes: Vec<Wish>,
    groups: BTreeMap<JobId, GroupId>,
    parked: Vec<GroupId>,
    merged: Vec<GroupId>,
    pub riding: Option<(SimJobs, Vec<LaneChange>)>,
    token: u64,
}

impl Changes {
    pub fn waits(&self) -> bool {
        self.riding.is_none() && !(self.wishes.is_empty() && self.groups.is_empty() && self.merged.is_empty())
    }
}

impl Life {
    /// Somebody asks for a change of jobs.
    pub fn wish(&mut self, wish: Wish, around: &mut Around<'_>) {
        around.say(|| format!("wish: {wish:?}"));
        self.changes.wishes.push(wish);
    }

    /// The sender would say so.
    pub fn share(&mut self, job: JobId, over: bool, around: &mut Around<'_>) {
        around.say(|| format!("share of {job:?}: over {over}"));
        match over {
            true => self.park(around, |parking, out| parking.over_share(job, out)),
            false => self.park(around, |parking, out| parking.under_share(job, out)),
        }
    }

    /// Begins the change that is due (`Changes::due`).
    pub(super) fn change_turn(&mut self, around: &mut Around<'_>) {
        if self.ending {
            self.changes = Changes { riding: self.changes.riding.take(), ..Changes::default() };
            return;
        }
        let before = self.jobs.clone();
        let mut jobs = before.clone();
        for wish in std::mem::take(&mut self.changes.wishes) {
            self.apply(wish, &mut jobs);
        }
        for (id, group) in std::mem::take(&mut self.changes.groups) {
            if let Some(job) = jobs.get_mut(&id).filter(|job| job.takes) {
                job.group = group;
            }
        }
        let (parked, merged) =
            (std::mem::take(&mut self.changes.parked), std::mem::take(&mut self.changes.merged));
        let mut rows = JobsCommit { parked, merged, ..JobsCommit::default() };
        let (mut put, mut gone, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for (id, job) in &jobs {
            let old = before.get(id).map(|old| (old.version, old.group, old.takes));
            if old == Some((job.version, job.group, job.takes)) {
                continue;
            }
            rows.put.push(job.row());
            lanes.push(LaneChange::Put(job.send_job()));
            if job.takes { put.push(job.batch_job()) } else { gone.push(*id) }
        }
        for id in before.keys().filter(|id| !jobs.contains_key(id)) {
            rows.deleted.push(*id);
            lanes.push(LaneChange::Delete(*id));
        }
        if lanes.is_empty() && rows.merged.is_empty() {
            return;
        }
        self.changes.token += 1;
        around.say(|| format!("change: {rows:?}"));
        let change = BatchChange { token: self.changes.token, rows: Arc::new(rows), put, gone };
        self.changes.riding = Some((jobs, lanes));
        self.batch(BatcherEvent::Change(change), around);
    }

    fn apply(&mut self, wish: Wish, jobs: &mut SimJobs) {
        let salt = self.settings.salt;
        match wish {
            Wish::Make => {
                let id = JobId(self.next_job);
                self.next_job += 1;
                jobs.insert(id, SimJob::new(salt, id, 1));
            }
            Wish::Change(id) => {
                if let Some(job) = jobs.get_mut(&id) {
                    let (group, takes) = (job.group, job.takes);
                    *job = SimJob { group, takes, ..SimJob::new(salt, id, job.version + 1) };
                }
            }
            Wish::Delete(id) => drop(jobs.remove(&id)),
            Wish::Enable(id, takes) => {
                if let Some(job) = jobs.get_mut(&id).filter(|job| job.takes != takes) {
                    let group = if takes { job.group } else { GroupId::MAIN };
                    *job = SimJob { group, takes, ..SimJob::new(salt, id, job.version + 1) };
                }
            }
        }
    }

    /// The plan of the jobs whose change rides on the seal that is asked for.
    pub(super) fn riding_plan(&mut self, epoch: u64) -> Arc<ShardPlan> {
        let (jobs, _) = self.changes.riding.as_ref().expect("a change rides on its seal");
        self.plans.push((epoch + 1, jobs.clone()));
        plan(jobs)
    }

    pub(super) fn jobs_changed(&mut self, around: &mut Around<'_>) {
        let (jobs, lanes) = self.changes.riding.take().expect("a change that is durable was under way");
        self.jobs = jobs;
        self.send(SendEvent::Jobs(lanes), around);
        self.park_again(around);
    }

    pub(super) fn park_again(&mut self, around: &mut Around<'_>) {
        let jobs: Vec<_> = self.jobs.values().map(|job| (job.id, job.group, job.takes)).collect();
        self.park(around, |parking, out| parking.changed(jobs.into_iter(), out));
    }

    /// As `run::delivery` has it.
    pub(super) fn park(
        &mut self,
        around: &mut Around<'_>,
        step: impl FnOnce(&mut Parking, &mut Vec<ParkingAction>),
    ) {
        let mut actions = Vec::new();
        step(&mut self.parking, &mut actions);
        for action in actions {
            around.say(|| format!("parking -> {action:?}"));
            match action {
                ParkingAction::Park { job, group } => {
                    self.changes.groups.insert(job, group);
                    self.changes.parked.push(group);
                }
                ParkingAction::Merge { job, group } => {
                    self.changes.groups.insert(job, GroupId::MAIN);
                    self.changes.merged.push(group);
                }
                ParkingAction::Begin(group) => self.to_catch_up.push_back(CatchUpEvent::Begin(group)),
                ParkingAction::End(group) => self.to_catch_up.push_back(CatchUpEvent::End(group)),
            }
        }
    }

    pub(super) fn regroup(&mut self, hot: Vec<JobId>, cool: Vec<JobId>) {
        let hot = hot.into_iter().map(|job| (job, GroupId::HOT));
        let all = hot.chain(cool.into_iter().map(|job| (job, GroupId::MAIN)));
        let groups: BTreeMap<_, _> = all.filter(|(job, _)| !self.parking.concerns(*job)).collect();
        self.changes.groups.extend(groups);
    }

    /// The jobs that shards went by while an epoch lasted.
    pub fn jobs_of(&self, epoch: u64) -> &SimJobs {
        let of = self.plans.iter().rev().find(|(from, _)| *from <= epoch);
        &of.expect("a plan from the start on").1
    }

    /// Jobs that may be asked to change, by their ids.
    pub fn made(&self) -> BTreeSet<JobId> {
        self.jobs.keys().copied().filter(|id| id.0 >= MADE).collect()
    }
}

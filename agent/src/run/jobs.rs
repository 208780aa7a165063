//! jobs: all jobs of the running agent, as every machine needs them: those of the settings, and the customers'.
//!
//! Promises: the shards' plan is made of the jobs that take records at present; cloning costs a pointer a job.
//! Must not know: how a job is made, how a change becomes durable.
use crate::batcher::BatchJob;
use crate::destination::Destination;
use crate::ledger::Part;
use crate::metrics::JobCounters;
use crate::protocol::{BatchCommit, BatchId, CodecKind, Container, GroupId, JobId, JobRow, Naming, OpenKey};
use crate::sender::{Picked, RefusedPart, SendJob};
use crate::shard_loop::{PlanJob, PlanOutput, ShardPlan};
use edgepush_shard::batch::Frame;
use edgepush_shard::codec::Level;
use edgepush_shard::dataset::Dataset;
use edgepush_shard::dataset::mapping::Choices;
use edgepush_shard::plan::{Filter, HashKey, OutputOptions, Sample, Shelving};
use edgepush_shard::room::Room;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// One job as the machines need it.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) version: u32,
    pub(super) group: GroupId,
    /// What logs and metrics call it.
    pub(super) label: String,
    /// Whether it takes records.
    pub(super) takes: bool,
    /// Whether its batches wait and are not sent.
    pub(super) hold: bool,
    pub(super) dataset: &'static Dataset,
    pub(super) hosts: Option<Arc<[String]>>,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) output: Arc<OutputOptions>,
    /// Equal for jobs that get the same of a record.
    pub(super) output_key: Arc<str>,
    pub(super) codec: CodecKind,
    pub(super) level: Level,
    pub(super) container: Container,
    pub(super) naming: Arc<Naming>,
    pub(super) frame: Arc<Frame>,
    pub(super) interval: Duration,
    pub(super) room: Arc<Room>,
    /// Whether its records go to the archive's shelves.
    pub(super) shelved: bool,
    pub(super) uploads: usize,
    pub(super) drop_oldest: bool,
    /// Most bytes a second that leave this host for its destination.
    pub(super) egress_max: Option<u64>,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) counters: Arc<JobCounters>,
}

impl Job {
    fn plan_job(&self, output: usize) -> PlanJob {
        PlanJob {
            id: self.id,
            version: self.version,
            group: self.group,
            hosts: self.hosts.clone(),
            filter: self.filter.clone(),
            sample: Sample::of_rate(self.output.sample_rate()).unwrap_or(Sample::ALL),
            output,
            delimiter_bytes: self.naming.framing.delimiter.len(),
            codec: self.codec,
            level: self.level,
            room: self.room.clone(),
            shelved: self.shelved,
            matched: self.counters.matched(),
        }
    }

    /// What the batcher must know.
    pub(super) fn batch_job(&self) -> BatchJob {
        BatchJob {
            id: self.id,
            version: self.version,
            group: self.group,
            codec: self.codec,
            container: self.container,
            naming: self.naming.clone(),
            frame: self.frame.clone(),
            interval: self.interval,
            room: self.room.clone(),
        }
    }

    /// What the sender must know.
    pub(super) fn send_job(&self) -> SendJob {
        SendJob {
            job: self.id,
            uploads: self.uploads,
            hold: self.hold,
            drop_oldest: self.drop_oldest,
            egress_max: self.egress_max.filter(|_| self.destination.leaves_host()),
        }
    }

    /// Its row in the ledger; `kept`: its words, none for the jobs of the settings.
    pub(super) fn row(&self, kept: String) -> JobRow {
        JobRow {
            id: self.id,
            group: self.group,
            version: self.version,
            config: kept,
            last_complete: None,
            last_error: None,
            error_message: None,
        }
    }
}

/// All jobs of this agent.
#[derive(Clone)]
pub(super) struct Jobs {
    jobs: BTreeMap<JobId, Arc<Job>>,
    hash_key: HashKey,
    shelving: Arc<Shelving>,
    mappings: Arc<Choices>,
}

impl Jobs {
    /// These jobs; `shelving` also says where records have their host.
    pub(super) fn new(jobs: Vec<Job>, hash_key: HashKey, shelving: Arc<Shelving>) -> Jobs {
        let jobs = jobs.into_iter().map(|job| (job.id, Arc::new(job))).collect();
        Jobs { jobs, hash_key, shelving, mappings: Arc::default() }
    }

    /// The same, with what was said of each source's fields.
    pub(super) fn mapped(self, mappings: Arc<Choices>) -> Jobs {
        Jobs { mappings, ..self }
    }

    /// Whether there is a job of the archive.
    pub(super) fn are_shelved(&self) -> bool {
        self.jobs.values().any(|job| job.shelved)
    }

    /// A job; `None`: it was deleted.
    pub(super) fn get(&self, job: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&job)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// A new job, or a new version.
    pub(super) fn put(&mut self, job: Job) {
        self.jobs.insert(job.id, Arc::new(job));
    }

    /// It is deleted.
    pub(super) fn remove(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }

    /// Every job's group, and whether it takes records.
    pub(super) fn groups(&self) -> impl Iterator<Item = (JobId, GroupId, bool)> + '_ {
        self.jobs.values().map(|job| (job.id, job.group, job.takes))
    }

    /// The environment job takes no records: its default destination is for agents without any other job. What it has
    /// left is delivered.
    pub(super) fn rest_environment(&mut self) {
        let others = self.jobs.keys().any(|id| *id > JobId::ENV);
        if let Some(env) = self.jobs.get_mut(&JobId::ENV).filter(|_| others) {
            Arc::make_mut(env).takes = false;
        }
    }

    /// What the ledger makes of a batch that was taken in part: what was refused becomes batches of the rejects.
    pub(super) fn part(&self, parent: BatchId, wall: i64, picked: Picked) -> Part {
        let rejects = self.get(JobId::REJECTS).expect("INVARIANT: the rejects are always a job");
        let commit = |part: RefusedPart| BatchCommit {
            open: OpenKey(0),
            row: None,
            job: rejects.id,
            version: rejects.version,
            codec: rejects.codec,
            container: rejects.container,
            naming: rejects.naming.clone(),
            piece: part.piece,
            records: part.records,
            raw: part.raw,
            first: wall,
            last: wall,
            close: true,
        };
        Part { parent, again: picked.again, rejects: picked.refused.into_iter().map(commit).collect() }
    }

    /// Every destination, to be prepared.
    pub(super) fn destinations(&self) -> Vec<Arc<dyn Destination>> {
        self.jobs.values().map(|job| job.destination.clone()).collect()
    }

    /// The shards' plan.
    pub(super) fn plan(&self) -> Arc<ShardPlan> {
        let mut outputs: Vec<PlanOutput> = Vec::new();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut jobs, mut rejects) = (Vec::new(), None);
        for job in self.jobs.values().filter(|job| job.takes) {
            let output = *numbers.entry(&job.output_key).or_insert_with(|| {
                outputs.push(PlanOutput { options: (*job.output).clone(), dataset: job.dataset });
                outputs.len() - 1
            });
            match job.id {
                JobId::REJECTS => rejects = Some(job.plan_job(output)),
                _ => jobs.push(job.plan_job(output)),
            }
        }
        let rejects = rejects.expect("INVARIANT: the rejects are always a job");
        let (hash_key, host_fields) = (self.hash_key.clone(), self.shelving.domain_fields.clone());
        let shelved = jobs.iter().any(|job| job.shelved);
        let plan =
            ShardPlan::new(rejects, jobs, outputs, hash_key, host_fields).mapped(self.mappings.clone());
        Arc::new(if shelved { plan.shelved(self.shelving.clone()) } else { plan })
    }

    /// What the batcher must know.
    pub(super) fn batch_jobs(&self) -> Vec<BatchJob> {
        self.jobs.values().filter(|job| job.takes).map(|job| job.batch_job()).collect()
    }

    /// What the sender must know.
    pub(super) fn send_jobs(&self) -> Vec<SendJob> {
        self.jobs.values().map(|job| job.send_job()).collect()
    }
}

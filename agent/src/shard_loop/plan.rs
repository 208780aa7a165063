//! Shard plan: all jobs as the shards see them, made once for each change of jobs and shared by every shard.
//!
//! Promises: nothing in it changes but what is atomic. Job number 0 is the rejects; jobs of equal output lie side by
//! side, so that what they get is formatted once.
//! Must not know: destinations, the ledger, who asked for a job.
use crate::protocol::{GroupId, JobId};
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::dataset::mapping::Choices;
use edgepush_shard::dataset::{Dataset, RAW};
use edgepush_shard::plan::{Filter, HashKey, OutputOptions, RouteJob, Sample, Shelving};
use edgepush_shard::room::Room;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// One job as a shard sees it.
#[derive(Clone, Debug)]
pub struct PlanJob {
    /// The job.
    pub id: JobId,
    /// Its version.
    pub version: u32,
    /// Its group.
    pub group: GroupId,
    /// The hosts whose records it sees (its zone's); `None`: all.
    pub hosts: Option<Arc<[String]>>,
    /// Which of them it wants.
    pub filter: Option<Arc<Filter>>,
    /// How many of these.
    pub sample: Sample,
    /// What it gets of a record: a number in [`ShardPlan::outputs`].
    pub output: usize,
    /// Length of the delimiter that stands before each record, bytes.
    pub delimiter_bytes: usize,
    /// How its segments are encoded.
    pub codec: CodecKind,
    /// How hard.
    pub level: Level,
    /// What still fits into its open batch.
    pub room: Arc<Room>,
    /// Whether its records go to shelves, by [`ShardPlan::shelving`]: then they take no room.
    pub shelved: bool,
    /// Records that it took, counted by all shards.
    pub matched: Arc<AtomicU64>,
}

impl PlanJob {
    /// As the router wants it.
    pub fn route(&self) -> RouteJob<'_> {
        RouteJob { hosts: self.hosts.as_deref(), filter: self.filter.as_deref(), sample: self.sample }
    }

    /// Whether it wants every record.
    pub fn wants_all(&self) -> bool {
        self.hosts.is_none() && self.filter.is_none() && self.sample == Sample::ALL
    }
}

/// What jobs of one form get of a record.
#[derive(Clone, Debug)]
pub struct PlanOutput {
    /// What was asked for.
    pub options: OutputOptions,
    /// Of which data set.
    pub dataset: &'static Dataset,
}

impl PartialEq for PlanOutput {
    fn eq(&self, other: &PlanOutput) -> bool {
        std::ptr::eq(self.dataset, other.dataset) && self.options == other.options
    }
}

/// All jobs.
#[derive(Clone, Debug)]
pub struct ShardPlan {
    /// The jobs; the rejects first.
    pub jobs: Vec<PlanJob>,
    /// What jobs get of a record.
    pub outputs: Vec<PlanOutput>,
    /// The key of hashed fields.
    pub hash_key: HashKey,
    /// In which fields a record's host stands; the first one that it has.
    pub host_fields: Arc<[String]>,
    /// Numbers of the jobs of the hot group.
    pub hot: Vec<u32>,
    /// How records of shelved jobs are divided; `None`: there is no such job.
    pub shelving: Option<Arc<Shelving>>,
    /// From which fields those of typed data sets come, by source.
    pub mappings: Arc<Choices>,
}

impl ShardPlan {
    /// A plan of the rejects and these jobs, in the order of their outputs.
    pub fn new(
        rejects: PlanJob,
        mut jobs: Vec<PlanJob>,
        outputs: Vec<PlanOutput>,
        hash_key: HashKey,
        host_fields: Arc<[String]>,
    ) -> ShardPlan {
        jobs.sort_by_key(|job| (job.output, job.id));
        jobs.insert(0, rejects);
        let hot = jobs.iter().enumerate().filter(|(_, job)| job.group == GroupId::HOT);
        let hot = hot.map(|(at, _)| at as u32).collect();
        ShardPlan { jobs, outputs, hash_key, host_fields, hot, shelving: None, mappings: Arc::default() }
    }

    /// The same with jobs whose records go to shelves.
    #[must_use]
    pub fn shelved(self, shelving: Arc<Shelving>) -> ShardPlan {
        ShardPlan { shelving: Some(shelving), ..self }
    }

    /// The same, with what was said of each source's fields.
    #[must_use]
    pub fn mapped(self, mappings: Arc<Choices>) -> ShardPlan {
        ShardPlan { mappings, ..self }
    }

    /// The data set of a job's records.
    pub(super) fn dataset(&self, job: &PlanJob) -> &'static Dataset {
        self.outputs.get(job.output).map_or(&RAW, |output| output.dataset)
    }
}

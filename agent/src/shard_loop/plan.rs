//! Shard plan: all jobs as the shards see them, made once for each change of jobs and shared by every shard.
//!
//! Promises: nothing in it changes but what is atomic. Job number 0 is the rejects; jobs of equal output lie side by
//! side, so that what they get is formatted once.
//! Must not know: destinations, the ledger, who asked for a job.
use crate::protocol::{GroupId, JobId};
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::plan::Output;
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
    /// What it gets of a record: a number in [`ShardPlan::outputs`].
    pub output: usize,
    /// How its segments are encoded.
    pub codec: CodecKind,
    /// How hard.
    pub level: Level,
    /// What still fits into its open batch.
    pub room: Arc<Room>,
    /// Records that it took, counted by all shards.
    pub matched: Arc<AtomicU64>,
}

/// All jobs.
#[derive(Clone, Debug)]
pub struct ShardPlan {
    /// The jobs; the rejects first.
    pub jobs: Vec<PlanJob>,
    /// What jobs get of a record.
    pub outputs: Vec<Output>,
    /// Numbers of the jobs of the hot group.
    pub hot: Vec<u32>,
}

impl ShardPlan {
    /// A plan of the rejects and these jobs, in the order of their outputs.
    pub fn new(rejects: PlanJob, mut jobs: Vec<PlanJob>, outputs: Vec<Output>) -> ShardPlan {
        jobs.sort_by_key(|job| (job.output, job.id));
        jobs.insert(0, rejects);
        let hot = jobs.iter().enumerate().filter(|(_, job)| job.group == GroupId::HOT);
        let hot = hot.map(|(at, _)| at as u32).collect();
        ShardPlan { jobs, outputs, hot }
    }
}

//! jobs: what the settings make of the environment job and of the rejects, as every machine needs them.
//!
//! Promises: job number 0 is `_rejects`, then the jobs in the order of their ids; the same order in the shards' plan and
//! in the metrics' labels.
use super::start::RING_BYTES;
use crate::batcher::BatchJob;
use crate::config::{self, Config};
use crate::destination::Destination;
use crate::destination::file::FileDestination;
use crate::ledger::{Recovered, StateDir};
use crate::metrics::Labels;
use crate::protocol::{CodecKind, Container, JobId, Naming, OpenBatch, REJECTS};
use crate::rt::Backend;
use crate::sender::SendJob;
use crate::shard_loop::{ShardJob, ShardLoop};
use edgepush_shard::codec::{Level, codec};
use edgepush_shard::parse::Reason;
use edgepush_shard::plan::Output;
use edgepush_shard::record::RepairKind;
use edgepush_shard::room::{BatchLimits, Room};
use std::sync::Arc;
use std::time::Duration;

struct Job {
    id: JobId,
    name: &'static str,
    version: u32,
    output: Output,
    codec: CodecKind,
    level: Level,
    container: Container,
    naming: Arc<Naming>,
    interval: Duration,
    room: Arc<Room>,
    uploads: usize,
    destination: Arc<dyn Destination>,
}

/// All jobs of this agent.
pub(super) struct Jobs(Vec<Job>);

impl Jobs {
    /// The rejects and the environment job.
    pub(super) fn new(config: &Config, state: &StateDir, recovered: &Recovered) -> Result<Jobs, String> {
        Ok(Jobs(vec![rejects(config, state, recovered), environment(config, state, recovered)?]))
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A job's number in the metrics.
    pub(super) fn number(&self, job: JobId) -> usize {
        self.0.iter().position(|j| j.id == job).expect("INVARIANT: batches belong to jobs of the plan")
    }

    /// A job's name.
    pub(super) fn name(&self, job: JobId) -> &'static str {
        self.0[self.number(job)].name
    }

    /// Where a job's batches go.
    pub(super) fn destination(&self, job: JobId) -> Arc<dyn Destination> {
        self.0[self.number(job)].destination.clone()
    }

    /// The machine of one shard.
    pub(super) fn shard_loop(&self, shard: usize) -> ShardLoop {
        let mut jobs = self.0.iter().map(|job| ShardJob {
            id: job.id,
            version: job.version,
            output: job.output.clone(),
            room: job.room.clone(),
            codec: codec(job.codec, job.level),
        });
        let rejects = jobs.next().expect("INVARIANT: the rejects are job number 0");
        ShardLoop::new(shard, RING_BYTES, rejects, jobs.collect())
    }

    /// What the batcher must know.
    pub(super) fn batch_jobs(&self) -> Vec<BatchJob> {
        let job = |job: &Job| BatchJob {
            id: job.id,
            version: job.version,
            codec: job.codec,
            container: job.container,
            naming: job.naming.clone(),
            interval: job.interval,
            room: job.room.clone(),
        };
        self.0.iter().map(job).collect()
    }

    /// What the sender must know.
    pub(super) fn send_jobs(&self) -> Vec<SendJob> {
        self.0.iter().map(|job| SendJob { job: job.id, uploads: job.uploads }).collect()
    }

    /// What the metrics call things.
    pub(super) fn labels(&self, config: &Config, backend: Backend) -> Labels {
        const REPAIRS: [&str; RepairKind::ALL.len()] = repair_names();
        const REASONS: [&str; Reason::ALL.len()] = reason_names();
        Labels {
            version: config::VERSION,
            runtime: backend.as_str(),
            simd: edgepush_shard::scan::in_use(),
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            repairs: &REPAIRS,
            reasons: &REASONS,
            jobs: self.0.iter().map(|job| job.name.to_owned()).collect(),
        }
    }
}

const fn repair_names() -> [&'static str; RepairKind::ALL.len()] {
    let mut names = [""; RepairKind::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = RepairKind::ALL[at].as_str();
        at += 1;
    }
    names
}

const fn reason_names() -> [&'static str; Reason::ALL.len()] {
    let mut names = [""; Reason::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Reason::ALL[at].as_str();
        at += 1;
    }
    names
}

const REJECTS_LIMITS: BatchLimits = BatchLimits { records: 100_000, bytes: 50_000_000 };

fn rejects(config: &Config, state: &StateDir, recovered: &Recovered) -> Job {
    let form = (JobId::REJECTS, CodecKind::Gzip, Container::Members);
    Job {
        id: JobId::REJECTS,
        name: REJECTS,
        version: 1,
        output: Output::PassThrough,
        codec: CodecKind::Gzip,
        level: Level::Fast,
        container: Container::Members,
        naming: naming(config, REJECTS, String::new(), ".log.gz"),
        interval: config.batch_interval,
        room: Arc::new(room(REJECTS_LIMITS, form, recovered)),
        uploads: 1,
        destination: Arc::new(FileDestination::new(state.path().join("rejects"))),
    }
}

fn environment(config: &Config, state: &StateDir, recovered: &Recovered) -> Result<Job, String> {
    let url = config.destination.expose();
    let http = url.starts_with("http");
    let container = config.gzip.unwrap_or(if http { Container::Single } else { Container::Members });
    let (codec, level) = (config.codec, config.level);
    let ending = match codec {
        CodecKind::Gzip => ".log.gz",
        CodecKind::Zstd => ".log.zst",
        CodecKind::None => ".log",
    };
    let limits = BatchLimits { records: config.batch_records, bytes: config.batch_bytes_of(http) };
    let (path, destination): (String, Arc<dyn Destination>) = match url {
        "archive:" | "" => (String::new(), Arc::new(FileDestination::new(state.path().join("archive")))),
        url => (String::new(), Arc::new(FileDestination::new(url.trim_start_matches("file://").into()))),
    };
    let output = config.fields.clone().map_or(Output::PassThrough, Output::Fields);
    Ok(Job {
        id: JobId::ENV,
        name: "env",
        version: 1,
        output,
        codec,
        level,
        container,
        naming: naming(config, "env", path, ending),
        interval: config.batch_interval,
        room: Arc::new(room(limits, (JobId::ENV, codec, container), recovered)),
        uploads: config.uploads as usize,
        destination,
    })
}

fn naming(config: &Config, job: &str, path: String, suffix: &str) -> Arc<Naming> {
    Arc::new(Naming {
        path,
        suffix: suffix.to_owned(),
        host: config.hostname.clone(),
        job: job.to_owned(),
        dataset: "raw".to_owned(),
    })
}

/// The room in the batch that the last run left open, if it has the job's present form; else a fresh one.
fn room(
    limits: BatchLimits,
    (job, codec, container): (JobId, CodecKind, Container),
    recovered: &Recovered,
) -> Room {
    let same = |open: &&OpenBatch| (open.job, open.codec, open.container) == (job, codec, container);
    match recovered.open.iter().filter(same).next_back() {
        Some(open) => Room::new(limits, open.records as u32, open.raw as u32),
        None => Room::new(limits, 0, 0),
    }
}

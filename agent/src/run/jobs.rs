//! jobs: what the settings make of the environment job and of the rejects, as every machine needs them.
//!
//! Promises: job number 0 is `_rejects`, then the jobs in the order of their ids; the same order in the shards' plan and
//! in the metrics' labels.
use crate::batcher::BatchJob;
use crate::config::{self, Config};
use crate::destination::client::Clients;
use crate::destination::file::FileDestination;
use crate::destination::{Destination, DestinationUrl, Opening};
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
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A core's ring (limit of RULINGS 7: 16 MB per shard in all).
const RING_BYTES: usize = 8 << 20;

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
    ///
    /// # Errors
    /// A destination that cannot be; in plain words.
    pub(super) fn new(
        config: &Config,
        state: &StateDir,
        recovered: &Recovered,
        rejects_dropped: Arc<AtomicU64>,
    ) -> Result<Jobs, String> {
        let clients = Clients::default();
        let rejects = rejects(config, state, recovered, rejects_dropped);
        Ok(Jobs(vec![rejects, environment(config, state, recovered, &clients)?]))
    }

    /// Prepares every destination.
    pub(super) async fn prepare(&self) {
        for job in &self.0 {
            job.destination.prepare().await;
        }
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
        self.0.iter().map(|job| SendJob::new(job.id, job.uploads)).collect()
    }
}

/// The jobs' names, by their numbers.
const NAMES: [&str; 2] = [REJECTS, "env"];

/// What the metrics call things.
pub(super) fn labels(config: &Config, backend: Backend) -> Labels {
    const REPAIRS: [&str; RepairKind::ALL.len()] = repair_names();
    const REASONS: [&str; Reason::ALL.len()] = reason_names();
    Labels {
        version: config::VERSION,
        runtime: backend.as_str(),
        simd: edgepush_shard::scan::level().as_str(),
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        repairs: &REPAIRS,
        reasons: &REASONS,
        jobs: NAMES.map(str::to_owned).into(),
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

fn rejects(config: &Config, state: &StateDir, recovered: &Recovered, dropped: Arc<AtomicU64>) -> Job {
    let form = (JobId::REJECTS, 1, CodecKind::Gzip, Container::Members);
    Job {
        id: JobId::REJECTS,
        name: NAMES[0],
        version: 1,
        output: Output::PassThrough,
        codec: CodecKind::Gzip,
        level: Level::Fast,
        container: Container::Members,
        naming: naming(config, NAMES[0], "", ".log.gz"),
        interval: config.batch_interval,
        room: Arc::new(room(REJECTS_LIMITS, form, recovered)),
        uploads: 1,
        destination: Arc::new(
            FileDestination::new(state.path().join("rejects"))
                .bounded(config.rejects_max.0, dropped)
                .keeping_free(config.disk_reserve),
        ),
    }
}

fn environment(
    config: &Config,
    state: &StateDir,
    recovered: &Recovered,
    clients: &Clients,
) -> Result<Job, String> {
    let url = DestinationUrl::parse(config.destination.expose())?;
    let container = url.container(config.gzip);
    if let Some(warning) = url.warning(config.gzip) {
        tracing::warn!("{warning}");
    }
    let (codec, level) = (config.codec, config.level);
    let limits = BatchLimits { records: config.batch_records, bytes: config.batch_bytes_of(url.kind().http) };
    let output = config.fields.clone().map_or(Output::PassThrough, Output::Fields);
    let naming = naming(config, NAMES[1], url.naming_path(), &suffix(url.suffix(), codec));
    let version = version(&output, &naming);
    Ok(Job {
        id: JobId::ENV,
        name: NAMES[1],
        version,
        output,
        codec,
        level,
        container,
        naming,
        interval: config.batch_interval,
        room: Arc::new(room(limits, (JobId::ENV, version, codec, container), recovered)),
        uploads: config.uploads as usize,
        destination: url.open(&Opening { state: state.path(), clients, keep_free: config.disk_reserve })?,
    })
}

/// The version of a job whose settings have no number of their own: another form is another version, so that an open
/// batch never mixes two (INTERFACE 6).
fn version(output: &Output, naming: &Naming) -> u32 {
    let fields = match output {
        Output::PassThrough => None,
        Output::Fields(fields) => Some(fields),
    };
    crc32fast::hash(format!("{fields:?} {naming:?}").as_bytes()).max(1)
}

/// The end of an object's name (INTERFACE 4).
fn suffix(said: Option<&str>, codec: CodecKind) -> String {
    let packed = match codec {
        CodecKind::Gzip => ".gz",
        CodecKind::Zstd => ".zst",
        CodecKind::None => "",
    };
    format!("{}{packed}", said.unwrap_or(".log"))
}

fn naming(config: &Config, job: &str, path: &str, suffix: &str) -> Arc<Naming> {
    Arc::new(Naming {
        path: path.to_owned(),
        suffix: suffix.to_owned(),
        host: config.hostname.clone(),
        job: job.to_owned(),
        dataset: "raw".to_owned(),
    })
}

/// The room in the batch that the last run left open, if it has the job's present form; else a fresh one.
fn room(limits: BatchLimits, form: (JobId, u32, CodecKind, Container), recovered: &Recovered) -> Room {
    let same = |open: &&OpenBatch| (open.job, open.version, open.codec, open.container) == form;
    match recovered.open.iter().rfind(same) {
        Some(open) => Room::new(limits, open.records as u32, open.raw as u32),
        None => Room::new(limits, 0, 0),
    }
}

//! jobs: all jobs of the running agent, as every machine needs them: those of the settings, and the customers'.
//!
//! Promises: a job's version changes with everything that its batches must not mix; the shards' plan is made of the jobs
//! that take records at present.
//! Must not know: how a change becomes durable.
use crate::batcher::BatchJob;
use crate::config::{self, Config};
use crate::destination::client::Clients;
use crate::destination::file::FileDestination;
use crate::destination::{Destination, DestinationUrl, Opening};
use crate::ledger::{Recovered, StateDir};
use crate::metrics::{JobCounters, Labels, Metrics};
use crate::protocol::{CodecKind, Container, GroupId, JobId, Naming, OpenBatch, REJECTS};
use crate::rt::Backend;
use crate::sender::SendJob;
use crate::shard_loop::{PlanJob, PlanOutput, ShardPlan};
use edgepush_shard::batch::Frame;
use edgepush_shard::codec::Level;
use edgepush_shard::dataset::{Dataset, RAW};
use edgepush_shard::parse::Reason;
use edgepush_shard::plan::{Filter, HashKey, OutputOptions, OutputType, Sample};
use edgepush_shard::record::RepairKind;
use edgepush_shard::room::{BatchLimits, Room};
use std::collections::BTreeMap;
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
    pub(super) dataset: &'static Dataset,
    pub(super) hosts: Option<Arc<[String]>>,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) output: OutputOptions,
    pub(super) codec: CodecKind,
    pub(super) level: Level,
    pub(super) container: Container,
    pub(super) naming: Arc<Naming>,
    pub(super) frame: Arc<Frame>,
    pub(super) interval: Duration,
    pub(super) room: Arc<Room>,
    pub(super) uploads: usize,
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
            delimiter_bytes: self.naming.framing.delimiter.len(),
            output,
            codec: self.codec,
            level: self.level,
            room: self.room.clone(),
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
}

/// All jobs of this agent.
pub(super) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    hash_key: HashKey,
    host_fields: Arc<[String]>,
}

impl Jobs {
    /// The rejects and the environment job.
    ///
    /// # Errors
    /// A destination that cannot be; in plain words.
    pub(super) fn new(
        config: &Config,
        state: &StateDir,
        recovered: &Recovered,
        metrics: &Metrics,
    ) -> Result<Jobs, String> {
        let clients = Clients::default();
        let rejects = rejects(config, state, recovered, metrics);
        let environment = environment(config, state, recovered, &clients, metrics)?;
        Ok(Jobs {
            jobs: [rejects, environment].into_iter().map(|job| (job.id, job)).collect(),
            hash_key: hash_key(config, recovered),
            host_fields: HOST_FIELDS.map(str::to_owned).into(),
        })
    }

    /// Every destination, to be prepared.
    pub(super) fn destinations(&self) -> Vec<Arc<dyn Destination>> {
        self.jobs.values().map(|job| job.destination.clone()).collect()
    }

    /// A job. Panics on one that nobody knows: batches belong to jobs.
    pub(super) fn of(&self, job: JobId) -> &Job {
        self.jobs.get(&job).unwrap_or_else(|| panic!("job {} has batches and is none", job.0))
    }

    /// The shards' plan.
    pub(super) fn plan(&self) -> Arc<ShardPlan> {
        let mut outputs: Vec<PlanOutput> = Vec::new();
        let mut jobs = Vec::new();
        let mut rejects = None;
        for job in self.jobs.values().filter(|job| job.takes) {
            let wanted = PlanOutput { options: job.output.clone(), dataset: job.dataset };
            let known = outputs.iter().position(|output| *output == wanted);
            let output = known.unwrap_or_else(|| {
                outputs.push(wanted);
                outputs.len() - 1
            });
            match job.id {
                JobId::REJECTS => rejects = Some(job.plan_job(output)),
                _ => jobs.push(job.plan_job(output)),
            }
        }
        let rejects = rejects.expect("INVARIANT: the rejects are always a job");
        let (hash_key, host_fields) = (self.hash_key.clone(), self.host_fields.clone());
        Arc::new(ShardPlan::new(rejects, jobs, outputs, hash_key, host_fields))
    }

    /// What the batcher must know.
    pub(super) fn batch_jobs(&self) -> Vec<BatchJob> {
        self.jobs.values().filter(|job| job.takes).map(Job::batch_job).collect()
    }

    /// What the sender must know.
    pub(super) fn send_jobs(&self) -> Vec<SendJob> {
        self.jobs.values().map(|job| SendJob { job: job.id, uploads: job.uploads }).collect()
    }
}

/// Where a record's host stands, unless `EDGEPUSH_DOMAIN_FIELD` says it (INTERFACE 1).
const HOST_FIELDS: [&str; 5] = ["ClientRequestHost", "http_host", "host", "vhost", "server_name"];

/// The key of hashed fields: the operator's, or one that this ledger has to itself.
fn hash_key(_config: &Config, recovered: &Recovered) -> HashKey {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&recovered.ledger_id.to_le_bytes());
    HashKey::new(&key)
}

/// The environment job's name.
const ENVIRONMENT: &str = "env";

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

fn rejects(config: &Config, state: &StateDir, recovered: &Recovered, metrics: &Metrics) -> Job {
    let form = (JobId::REJECTS, 1, CodecKind::Gzip, Container::Members);
    Job {
        id: JobId::REJECTS,
        version: 1,
        group: GroupId::MAIN,
        label: REJECTS.to_owned(),
        takes: true,
        dataset: &RAW,
        hosts: None,
        filter: None,
        output: OutputOptions::all(&RAW),
        codec: CodecKind::Gzip,
        level: Level::Fast,
        container: Container::Members,
        naming: naming(config, REJECTS, "", ".log.gz", &OutputOptions::all(&RAW)),
        frame: Arc::default(),
        interval: config.batch_interval,
        room: Arc::new(room(REJECTS_LIMITS, form, recovered)),
        uploads: 1,
        destination: Arc::new(
            FileDestination::new(state.path().join("rejects"))
                .bounded(config.rejects_max.0, metrics.delivery().rejects_dropped())
                .keeping_free(config.disk_reserve),
        ),
        counters: metrics.job(JobId::REJECTS, REJECTS),
    }
}

fn environment(
    config: &Config,
    state: &StateDir,
    recovered: &Recovered,
    clients: &Clients,
    metrics: &Metrics,
) -> Result<Job, String> {
    let url = DestinationUrl::parse(config.destination.expose())?;
    let container = url.container(config.gzip);
    if let Some(warning) = url.warning(config.gzip) {
        tracing::warn!("{warning}");
    }
    let (codec, level) = (config.codec, config.level);
    let limits = BatchLimits { records: config.batch_records, bytes: config.batch_bytes_of(url.kind().http) };
    let output = match &config.fields {
        None => OutputOptions::all(&RAW),
        Some(names) => OutputOptions::fields(&RAW, names.iter().map(String::as_str)),
    };
    let naming = naming(config, ENVIRONMENT, url.naming_path(), &suffix(url.suffix(), codec), &output);
    let version = version(&output, &naming);
    let row = recovered.jobs.iter().find(|row| row.id == JobId::ENV);
    Ok(Job {
        id: JobId::ENV,
        version,
        group: row.map_or(GroupId::MAIN, |row| row.group),
        label: ENVIRONMENT.to_owned(),
        takes: true,
        dataset: &RAW,
        hosts: None,
        filter: None,
        output,
        codec,
        level,
        container,
        frame: Arc::new(Frame::new(&naming.framing, codec)),
        naming,
        interval: config.batch_interval,
        room: Arc::new(room(limits, (JobId::ENV, version, codec, container), recovered)),
        uploads: config.uploads as usize,
        destination: url.open(&Opening { state: state.path(), clients, keep_free: config.disk_reserve })?,
        counters: metrics.job(JobId::ENV, ENVIRONMENT),
    })
}

/// The version of a job whose settings have no number of their own: another form is another version, so that an open
/// batch never mixes two (INTERFACE 6).
fn version(output: &OutputOptions, naming: &Naming) -> u32 {
    crc32fast::hash(format!("{} {naming:?}", output.to_json()).as_bytes()).max(1)
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

fn naming(config: &Config, job: &str, path: &str, suffix: &str, output: &OutputOptions) -> Arc<Naming> {
    Arc::new(Naming {
        path: path.to_owned(),
        suffix: suffix.to_owned(),
        host: config.hostname.clone(),
        job: job.to_owned(),
        dataset: "raw".to_owned(),
        framing: output.framing(),
        csv: output.output_type() == OutputType::Csv,
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

//! make: what the settings and the customers' words make of jobs.
//!
//! Promises: a job's version changes with everything that its batches must not mix; a job that was kept and cannot be
//! made any more (a directory that is gone, an older program) is held and named, and stops nobody else.
//! Must not know: machines, threads, how jobs change.
use super::jobs::{Job, Jobs};
use crate::archive::name;
use crate::config::Config;
use crate::destination::client::Clients;
use crate::destination::file::FileDestination;
use crate::destination::kind::{ARCHIVE, Caps};
use crate::destination::null::NullDestination;
use crate::destination::{Destination, DestinationUrl, Opening};
use crate::jobs::{self, Book, BookLimits, Checks, JobConfig, Life, Origin, Owner, Zones};
use crate::ledger::Recovered;
use crate::metrics::Metrics;
use crate::protocol::{
    CodecKind, Container, GroupId, JobId, JobRow, Naming, OpenBatch, REJECTS, REJECTS_LIMITS,
};
use edgepush_shard::batch::Frame;
use edgepush_shard::codec::Level;
use edgepush_shard::dataset::{Dataset, MEDIANOVA, RAW};
use edgepush_shard::plan::{Envelope, Filter, HashKey, OutputOptions, OutputType, Shelving};
use edgepush_shard::room::{BatchLimits, Room};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The environment job's name.
const ENVIRONMENT: &str = "env";

/// Judges what a job says with what will run it.
pub(super) const CHECKS: Checks = Checks {
    filter: |text, dataset| {
        Filter::parse(text, dataset).map(drop).map_err(|error| (error.pointer, error.message))
    },
    output: |options, dataset| told(OutputOptions::from_json(options, dataset)),
    logpull: |text, dataset| told(OutputOptions::from_logpull(text, dataset)),
};

fn told(
    read: Result<OutputOptions, Vec<edgepush_shard::plan::OptionError>>,
) -> Result<(), Vec<(String, String)>> {
    let inner = |pointer: &str| {
        let rest = pointer.strip_prefix("/output_options").or(pointer.strip_prefix("/logpull_options"));
        rest.unwrap_or(pointer).to_owned()
    };
    read.map(drop).map_err(|all| all.into_iter().map(|e| (inner(&e.pointer), e.message)).collect())
}

/// A customer's job as the ledger keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    owner: Owner,
    origin: Origin,
    config: JobConfig,
}

/// Makes jobs.
pub(super) struct Maker {
    config: Config,
    state: PathBuf,
    clients: Clients,
    pub(super) zones: Arc<Zones>,
    metrics: Arc<Metrics>,
    outputs: Outputs,
    /// Nothing comes late that is read once (PROTOCOL 6.3).
    once: bool,
}

impl Maker {
    pub(super) fn new(config: &Config, state: PathBuf, metrics: Arc<Metrics>, once: bool) -> Maker {
        let zones = Arc::new(Zones::new(config.zones.clone()));
        Maker {
            config: config.clone(),
            state,
            clients: Clients::default(),
            zones,
            metrics,
            outputs: Outputs::default(),
            once,
        }
    }

    /// Opens a destination. Touches nothing.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub(super) fn destination(&self, conf: &str) -> Result<Arc<dyn Destination>, String> {
        self.open(&DestinationUrl::parse(conf)?)
    }

    fn open(&self, url: &DestinationUrl) -> Result<Arc<dyn Destination>, String> {
        let keep_free = self.config.disk_reserve;
        url.open(&Opening { state: &self.state, clients: &self.clients, keep_free })
    }

    /// All jobs as the settings and the ledger have them.
    ///
    /// # Errors
    /// The environment job's destination cannot be; in plain words.
    pub(super) fn all(&self, recovered: &Recovered) -> Result<(Jobs, Book), String> {
        let mut all = vec![self.rejects(recovered), self.environment(recovered)?];
        let mut kept = vec![self.environment_entry(&all[1])];
        for row in recovered.jobs.iter().filter(|row| !row.config.is_empty()) {
            let Some(entry) = entry(row) else {
                // Not in the book: nobody can change what cannot be shown. What it left is held, or the sender would
                // send it to nobody.
                all.push(self.held(&unreadable(row), "this program cannot read it in the ledger"));
                continue;
            };
            let made = self.make(&entry, row.group, Some(recovered));
            all.push(made.unwrap_or_else(|why| self.held(&entry, &why)));
            kept.push(entry);
        }
        let limits = BookLimits { jobs_max: self.config.jobs_max as usize };
        let book = Book::new(kept, recovered.last_job + 1, limits);
        let shelving = Arc::new(self.shelving());
        let jobs = Jobs::new(all, self.hash_key(recovered), shelving);
        Ok((jobs.mapped(self.config.mappings.clone()), book))
    }

    /// How records of archives are divided.
    fn shelving(&self) -> Shelving {
        let fields = |said: &Option<String>, usual: &[&str]| -> Arc<[String]> {
            match said {
                Some(field) => [field.clone()].into(),
                None => usual.iter().map(|field| (*field).to_owned()).collect(),
            }
        };
        let archive = &self.config.archive;
        let zones = self.config.zones.as_ref();
        Shelving {
            domain_fields: fields(&self.config.domain_field, &HOST_FIELDS),
            time_fields: fields(&archive.time_field, &TIME_FIELDS),
            rule: archive.rule,
            since: archive.since,
            late_after: (!self.once).then(|| i64::try_from(archive.late.as_nanos()).unwrap_or(i64::MAX)),
            late_kept: archive.late_kept,
            domains_max: archive.domains_max as usize,
            zones: zones.map(|zones| zones.values().flatten().cloned().collect()),
            domain: name::domain,
            invalid: name::INVALID,
            other: name::OTHER,
        }
    }

    /// The key of hashed fields: the operator's, or one that this ledger has to itself. Records' ids are this ledger's.
    fn hash_key(&self, recovered: &Recovered) -> HashKey {
        let mut key = [0; 32];
        match &self.config.privacy_key {
            Some(said) => key.copy_from_slice(&said.digest()),
            None => key[..16].copy_from_slice(&recovered.ledger_id.to_le_bytes()),
        }
        HashKey::new(&key).of_ledger(recovered.ledger_id)
    }

    /// A customer's job; `recovered`: at the start, when a batch of its form may be open.
    ///
    /// # Errors
    /// Its destination cannot be, or it does not pass its checks; in plain words.
    pub(super) fn make(
        &self,
        entry: &jobs::Job,
        group: GroupId,
        recovered: Option<&Recovered>,
    ) -> Result<Job, String> {
        let config = &entry.config;
        let dataset = config.dataset()?;
        let url = DestinationUrl::parse(config.destination_conf.expose())?;
        let filter = Filter::parse(&config.filter, dataset).map_err(|error| error.to_string())?;
        let (output, output_key) = self.outputs.of(config, dataset, url.envelope())?;
        let label = label(entry);
        let codec = readable(&label, config.codec().unwrap_or(self.config.codec), &url);
        let level = config.level().unwrap_or(self.config.level);
        let shelved = is_archive(&url);
        let container = if shelved { Container::Members } else { url.container(self.config.gzip) };
        if let Some(warning) = url.warning(self.config.gzip) {
            tracing::warn!(job = label, "{warning}");
        }
        let name = if config.name.is_empty() { &label } else { &config.name };
        let naming = self.naming(name, &url, codec, dataset, &output);
        let limits = config.limits();
        let limits =
            BatchLimits { records: limits.records, bytes: limits.bytes.unwrap_or(url.batch_bytes()) };
        let limits = capped(&label, limits, url.caps());
        let form = (entry.id, entry.version, codec, container);
        Ok(Job {
            id: entry.id,
            version: entry.version,
            group,
            takes: config.enabled,
            hold: !config.enabled,
            dataset,
            hosts: self.hosts(&entry.owner),
            filter: filter.map(Arc::new),
            output_key,
            output,
            codec,
            level,
            container,
            frame: Arc::new(Frame::new(&naming.framing, codec)),
            naming,
            interval: config.limits().interval,
            room: Arc::new(room(limits, form, recovered)),
            shelved,
            uploads: if config.uploads == 0 { self.config.uploads } else { config.uploads } as usize,
            drop_oldest: config.drops_oldest(),
            egress_max: config.egress_max().or(self.config.job_egress_max.map(|rate| rate.0)),
            destination: self.open(&url)?,
            counters: self.metrics.job(entry.id, &label),
            label,
        })
    }

    /// A job that was kept and cannot be made: what it left waits, it takes nothing.
    fn held(&self, entry: &jobs::Job, why: &str) -> Job {
        let label = label(entry);
        tracing::error!(job = label, "the job cannot run: {why}; it takes no records until it is mended");
        let output = OutputOptions::all(&RAW);
        Job {
            id: entry.id,
            version: entry.version,
            group: GroupId::MAIN,
            takes: false,
            hold: true,
            dataset: &RAW,
            hosts: None,
            filter: None,
            output_key: output_key(&RAW, &output),
            naming: Arc::default(),
            output: Arc::new(output),
            codec: CodecKind::None,
            level: Level::Fast,
            container: Container::Members,
            frame: Arc::default(),
            interval: self.config.batch_interval,
            room: Arc::new(Room::new(REJECTS_LIMITS, 0, 0)),
            shelved: false,
            uploads: 1,
            drop_oldest: false,
            egress_max: None,
            destination: Arc::new(NullDestination::default()),
            counters: self.metrics.job(entry.id, &label),
            label,
        }
    }

    /// The hosts whose records an owner's jobs see; `None`: all.
    fn hosts(&self, owner: &Owner) -> Option<Arc<[String]>> {
        match owner {
            Owner::Zone(zone) if self.zones.are_configured() => {
                Some(self.zones.hosts(zone).unwrap_or_default().into())
            }
            _ => None,
        }
    }

    fn rejects(&self, recovered: &Recovered) -> Job {
        let config = &self.config;
        let form = (JobId::REJECTS, 1, CodecKind::Gzip, Container::Members);
        let output = OutputOptions::all(&RAW);
        let naming = Naming {
            suffix: ".log.gz".to_owned(),
            host: config.hostname.clone(),
            job: REJECTS.to_owned(),
            dataset: RAW.name.to_owned(),
            ..Naming::default()
        };
        Job {
            id: JobId::REJECTS,
            version: 1,
            group: GroupId::MAIN,
            label: REJECTS.to_owned(),
            takes: true,
            hold: false,
            dataset: &RAW,
            hosts: None,
            filter: None,
            output_key: output_key(&RAW, &output),
            output: Arc::new(output),
            codec: CodecKind::Gzip,
            level: Level::Fast,
            container: Container::Members,
            naming: Arc::new(naming),
            frame: Arc::default(),
            interval: config.batch_interval,
            room: Arc::new(room(REJECTS_LIMITS, form, Some(recovered))),
            shelved: false,
            uploads: 1,
            drop_oldest: true,
            egress_max: None,
            destination: Arc::new(
                FileDestination::new(self.state.join("rejects"))
                    .bounded(config.rejects_max.0, self.metrics.delivery().rejects_dropped())
                    .keeping_free(config.disk_reserve),
            ),
            counters: self.metrics.job(JobId::REJECTS, REJECTS),
        }
    }

    fn environment(&self, recovered: &Recovered) -> Result<Job, String> {
        let config = &self.config;
        let url = DestinationUrl::parse(config.destination.expose())?;
        let shelved = is_archive(&url);
        let container = if shelved { Container::Members } else { url.container(config.gzip) };
        if let Some(warning) = url.warning(config.gzip) {
            tracing::warn!("{warning}");
        }
        let (codec, level) = (readable(ENVIRONMENT, config.codec, &url), config.level);
        let limits = BatchLimits {
            records: config.batch_records,
            bytes: config.batch_bytes.unwrap_or(url.batch_bytes()),
        };
        let limits = capped(ENVIRONMENT, limits, url.caps());
        let output = enveloped(config.output.clone(), url.envelope())?;
        let naming = self.naming(ENVIRONMENT, &url, codec, config.dataset, &output);
        let version = version((&output, config.filter.as_ref(), &naming), &mapping_said(config));
        let row = recovered.jobs.iter().find(|row| row.id == JobId::ENV);
        Ok(Job {
            id: JobId::ENV,
            version,
            group: row.map_or(GroupId::MAIN, |row| row.group),
            label: ENVIRONMENT.to_owned(),
            takes: true,
            hold: false,
            dataset: config.dataset,
            hosts: None,
            filter: config.filter.clone().map(Arc::new),
            output_key: output_key(config.dataset, &output),
            output: Arc::new(output),
            codec,
            level,
            container,
            frame: Arc::new(Frame::new(&naming.framing, codec)),
            naming,
            interval: config.batch_interval,
            room: Arc::new(room(limits, (JobId::ENV, version, codec, container), Some(recovered))),
            shelved,
            uploads: config.uploads as usize,
            drop_oldest: false,
            egress_max: config.job_egress_max.map(|rate| rate.0),
            destination: self.open(&url)?,
            counters: self.metrics.job(JobId::ENV, ENVIRONMENT),
        })
    }

    /// The environment job as the API shows it.
    fn environment_entry(&self, job: &Job) -> jobs::Job {
        let config = JobConfig {
            dataset: job.dataset.name.to_owned(),
            destination_conf: self.config.destination.clone(),
            enabled: true,
            name: ENVIRONMENT.to_owned(),
            filter: self.config.filter_text.clone(),
            output_options: Some(job.output.to_json()),
            max_upload_bytes: u64::from(job.room.limits().bytes),
            max_upload_records: u64::from(job.room.limits().records),
            max_upload_interval_seconds: job.interval.as_secs(),
            ..JobConfig::default()
        };
        let (owner, origin) = (Owner::local(), Origin::Environment);
        jobs::Job { id: JobId::ENV, version: job.version, owner, origin, config, life: Life::default() }
    }

    fn naming(
        &self,
        job: &str,
        url: &DestinationUrl,
        codec: CodecKind,
        dataset: &Dataset,
        output: &OutputOptions,
    ) -> Arc<Naming> {
        let packed = match codec {
            CodecKind::Gzip => ".gz",
            CodecKind::Zstd => ".zst",
            CodecKind::None => "",
        };
        Arc::new(Naming {
            path: url.naming_path().to_owned(),
            suffix: format!("{}{packed}", url.suffix().unwrap_or(suffix(dataset, output))),
            host: self.config.hostname.clone(),
            job: job.to_owned(),
            dataset: dataset.name.to_owned(),
            framing: output.framing(),
            csv: output.output_type() == OutputType::Csv,
        })
    }
}

/// The end of an object's name before the codec's (INTERFACE 1, 4).
fn suffix(dataset: &Dataset, output: &OutputOptions) -> &'static str {
    match output.output_type() {
        OutputType::Csv => ".csv",
        OutputType::Ndjson if dataset.name == MEDIANOVA.name => ".txt",
        OutputType::Ndjson => ".log",
    }
}

/// Where a record's host stands, unless `EDGEPUSH_DOMAIN_FIELD` says it (INTERFACE 1).
const HOST_FIELDS: [&str; 5] = ["ClientRequestHost", "http_host", "host", "vhost", "server_name"];

/// Where its time stands, unless `EDGEPUSH_TIME_FIELD` says it (INTERFACE 1).
const TIME_FIELDS: [&str; 6] = ["EdgeStartTimestamp", "timestamp", "time", "ts", "msec", "@timestamp"];

/// What logs and metrics call a job.
pub(super) fn label(entry: &jobs::Job) -> String {
    if entry.id == JobId::ENV {
        return ENVIRONMENT.to_owned();
    }
    match entry.config.name.as_str() {
        "" => entry.id.0.to_string(),
        name => format!("{}-{name}", entry.id.0),
    }
}

fn output_of(config: &JobConfig, dataset: &Dataset) -> Result<OutputOptions, String> {
    let read = match &config.output_options {
        Some(options) => OutputOptions::from_json(options, dataset),
        None if config.logpull_options.is_empty() => return Ok(OutputOptions::all(dataset)),
        None => OutputOptions::from_logpull(&config.logpull_options, dataset),
    };
    read.map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// An output inside what its destination wants around records.
fn enveloped(output: OutputOptions, envelope: Option<Envelope>) -> Result<OutputOptions, String> {
    match envelope {
        Some(envelope) => output.within(&envelope),
        None => Ok(output),
    }
}

/// Limits that the receiver's own caps allow; said once when the job asked for more.
fn capped(label: &str, limits: BatchLimits, caps: Caps) -> BatchLimits {
    let allowed =
        BatchLimits { records: limits.records.min(caps.records), bytes: limits.bytes.min(caps.bytes) };
    if (allowed.records, allowed.bytes) != (limits.records, limits.bytes) {
        tracing::info!(
            job = label,
            records = allowed.records,
            bytes = allowed.bytes,
            "the destination never takes more than this in one request: batches are kept to it"
        );
    }
    allowed
}

/// Whether a job's records go to the archive's shelves.
fn is_archive(url: &DestinationUrl) -> bool {
    url.kind().scheme == ARCHIVE
}

/// A codec that the receiver reads; said once when it is another one than the job's.
fn readable(label: &str, codec: CodecKind, url: &DestinationUrl) -> CodecKind {
    if codec == CodecKind::None && is_archive(url) {
        tracing::info!(job = label, "the archive's files are gzip: batches are compressed with it");
        return CodecKind::Gzip;
    }
    if codec != CodecKind::Zstd || url.kind().zstd {
        return codec;
    }
    tracing::info!(
        job = label,
        "{}: does not read zstd: batches are compressed with gzip",
        url.kind().scheme
    );
    CodecKind::Gzip
}

fn output_key(dataset: &Dataset, output: &OutputOptions) -> Arc<str> {
    format!("{} {}", dataset.name, output.key()).into()
}

/// Outputs by what was written: thousands of jobs write the same, and have it once.
#[derive(Default)]
struct Outputs(Mutex<HashMap<String, Output>>);

/// An output and its key.
type Output = (Arc<OutputOptions>, Arc<str>);

/// Outputs that are remembered; then they are forgotten and learnt anew, since jobs that went are not told apart.
const OUTPUTS_MAX: usize = 1000;

impl Outputs {
    /// The output of a job, and its key.
    ///
    /// # Errors
    /// All mistakes in it.
    fn of(
        &self,
        config: &JobConfig,
        dataset: &'static Dataset,
        envelope: Option<Envelope>,
    ) -> Result<Output, String> {
        let options = config.output_options.as_ref().map(Value::to_string).unwrap_or_default();
        let written = format!("{} {options} {} {envelope:?}", dataset.name, config.logpull_options);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.get(&written) {
            return Ok(same.clone());
        }
        let output = enveloped(output_of(config, dataset)?, envelope)?;
        let made = (Arc::new(output.clone()), output_key(dataset, &output));
        if known.len() >= OUTPUTS_MAX {
            known.clear();
        }
        known.insert(written, made.clone());
        Ok(made)
    }
}

/// What the ledger keeps of a job; nothing of those of the settings.
pub(super) fn kept(entry: &jobs::Job) -> String {
    if entry.id == JobId::ENV {
        return String::new();
    }
    let jobs::Job { owner, origin, config, .. } = entry.clone();
    serde_json::to_string(&Kept { owner, origin, config })
        .expect("INVARIANT: our types have string keys only")
}

/// A customer's job of its row.
fn entry(row: &JobRow) -> Option<jobs::Job> {
    let Kept { owner, origin, config } = serde_json::from_str(&row.config).ok()?;
    let life = Life {
        last_complete: row.last_complete,
        last_error: row.last_error,
        error_message: row.error_message.clone(),
    };
    Some(jobs::Job { id: row.id, version: row.version, owner, origin, config, life })
}

/// A job of which nothing but its row is known.
fn unreadable(row: &JobRow) -> jobs::Job {
    let (owner, origin, config) = (Owner::local(), Origin::Environment, JobConfig::default());
    jobs::Job { id: row.id, version: row.version, owner, origin, config, life: Life::default() }
}

/// What is said of the fields of a typed data set; nothing where nothing is, so that versions stay what they were.
fn mapping_said(config: &Config) -> String {
    let plain = config.mapping_text == "auto" && config.mapping_named.is_empty();
    match plain || config.dataset.fields.is_empty() {
        true => String::new(),
        false => format!(" {} {:?}", config.mapping_text, config.mapping_named),
    }
}

/// The version of a job whose settings have no number of their own: another form is another version, so that an open
/// batch never mixes two (INTERFACE 6).
fn version((output, filter, naming): (&OutputOptions, Option<&Filter>, &Naming), mapping: &str) -> u32 {
    crc32fast::hash(format!("{} {filter:?} {naming:?}{mapping}", output.key()).as_bytes()).max(1)
}

/// The room in the batch that the last run left open, if it has the job's present form; else a fresh one.
fn room(
    limits: BatchLimits,
    form: (JobId, u32, CodecKind, Container),
    recovered: Option<&Recovered>,
) -> Room {
    let same = |open: &&OpenBatch| (open.job, open.version, open.codec, open.container) == form;
    match recovered.and_then(|recovered| recovered.open.iter().rfind(same)) {
        Some(open) => Room::new(limits, open.records as u32, open.raw as u32),
        None => Room::new(limits, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_as_the_data_set_and_the_form_have_it() {
        let csv = serde_json::json!({ "output_type": "csv", "field_names": ["a"] });
        let csv = OutputOptions::from_json(&csv, &RAW).unwrap();
        assert_eq!(suffix(&RAW, &OutputOptions::all(&RAW)), ".log");
        assert_eq!(suffix(&MEDIANOVA, &OutputOptions::all(&MEDIANOVA)), ".txt");
        assert_eq!((suffix(&RAW, &csv), suffix(&MEDIANOVA, &csv)), (".csv", ".csv"));
    }
}

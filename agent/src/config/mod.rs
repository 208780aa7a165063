//! config: what an operator said, and what it means.
//!
//! `keys` is the one table of settings; `said` collects what was said (names, `_FILE`, unknown ones); this file has
//! what it means, and the rules between two settings; `show` prints the table for people and for the docs.
//!
//! Promises: a [`Config`] is whole and inside every bound; all problems are reported at once, each with its remedy;
//! no secret is ever in a problem, in `Debug` or in what `show` prints.
//! Must not know: the process environment (it comes in as pairs), sources, destinations, jobs.
pub mod archive;
pub mod choice;
pub mod host;
pub mod keys;
pub mod mapping;
mod output;
mod said;
pub mod show;
pub mod source;
pub mod token;
pub mod tz;
pub mod value;
pub mod zones;

pub use archive::{ArchiveConfig, Rule};
pub use choice::{CoreSpec, LogFormat, LogLevel, RuntimeChoice, SimdChoice, Start};
pub use host::Host;
pub use source::{Format, SourceKind, SourceSpec};
pub use token::{ApiToken, Rights};
pub use value::{Bytes, Reserve, Secret, Target};
pub use zones::ZoneHosts;

use edgepush_shard::batch::Container;
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::dataset::mapping::Choices;
use edgepush_shard::dataset::{Dataset, RAW};
use edgepush_shard::limits::SOURCES_MAX;
use edgepush_shard::plan::{Filter, OutputOptions};
use jiff::tz::TimeZone;
use keys::{KEYS, Parse, Preset};
use said::Said;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The version that is told to operators.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Least memory of the process beside its shards (RULINGS 7).
pub const MEMORY_FIXED: Bytes = Bytes(64_000_000);
/// Least memory of one shard (RULINGS 7).
pub const MEMORY_SHARD: Bytes = Bytes(16_000_000);
/// Memory that is used at most when nothing is said and the cgroup has room.
const MEMORY_DEFAULT: Bytes = Bytes(256_000_000);

/// Where the Logs API listens when nothing is said and a job archives.
const LOGS_API_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9601);

/// All settings, typed and inside their bounds. One field a row of [`KEYS`], in its order.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where lines come from; may be empty for every command but `run`.
    pub sources: Vec<SourceSpec>,
    /// Where files begin at the very first start of a state directory.
    pub start: Start,
    /// Longest line, bytes.
    pub line_max: u32,
    /// The environment job's destination, checked.
    pub destination: Target,
    /// Whether `EDGEPUSH_DESTINATION` was set: its default is for agents without any other job.
    pub destination_said: bool,
    /// The environment job's data set.
    pub dataset: &'static Dataset,
    /// From which fields those of typed data sets come, as it was said: of all sources, and of named ones.
    pub mapping_text: String,
    /// The same of named sources.
    pub mapping_named: Vec<(String, String)>,
    /// The same as it is meant, by source.
    pub mappings: Arc<Choices>,
    /// The environment job's output fields, in order; `None` = not said.
    pub fields: Option<Vec<String>>,
    /// Its filter as it was said.
    pub filter_text: String,
    /// Its filter.
    pub filter: Option<Filter>,
    /// How many of its records are sent.
    pub sample: f64,
    /// How its times are written; `None` = not said.
    pub timestamp_format: Option<String>,
    /// The rest of its output options as they were said.
    pub output_options: Option<serde_json::Map<String, serde_json::Value>>,
    /// What its records look like: all of the above.
    pub output: OutputOptions,
    /// A job that fails for so long is disabled; `None` = never.
    pub job_disable_after: Option<Duration>,
    /// What hashed fields are hashed with.
    pub privacy_key: Option<Secret>,
    /// In which field a record's host stands; `None` = in one of the usual ones.
    pub domain_field: Option<String>,
    /// The archive.
    pub archive: ArchiveConfig,
    /// Most records of a batch.
    pub batch_records: u32,
    /// Most uncompressed bytes of a batch; `None` = by destination (5MB HTTP kinds, 50MB others).
    pub batch_bytes: Option<u32>,
    /// Longest time from a batch's first record to its end.
    pub batch_interval: Duration,
    /// How batches are compressed.
    pub codec: CodecKind,
    /// How hard the codec tries.
    pub level: Level,
    /// How gzip segments are joined; `None` = by destination.
    pub gzip: Option<Container>,
    /// Where job files are: a directory, or a URL that is polled, checked; `None` = nowhere.
    pub jobs: Option<Target>,
    /// Hosts of each zone; `None` = zones are not told apart.
    pub zones: Option<ZoneHosts>,
    /// Most jobs beside the environment job.
    pub jobs_max: u32,
    /// Which CPUs, as said.
    pub cores: CoreSpec,
    /// Which CPUs, as resolved on this host: one shard each, ascending, never empty.
    pub cpus: Vec<usize>,
    /// What runs the shards.
    pub runtime: RuntimeChoice,
    /// Which vector instructions are used.
    pub simd: SimdChoice,
    /// The state directory.
    pub state_dir: PathBuf,
    /// Longest time that a record read from a file is only in memory.
    pub commit_interval: Duration,
    /// Longest time that a record received on a socket or from a pipe is only in memory.
    pub socket_sync: Duration,
    /// Permission bits of the files of unix sockets.
    pub socket_mode: u32,
    /// What the kernel may keep of a UDP socket's datagrams, bytes.
    pub socket_buffer: Bytes,
    /// Bound of spool, ledger and WAL together.
    pub spool_max: Bytes,
    /// Bound of the rejects.
    pub rejects_max: Bytes,
    /// What spool, archive and rejects leave free on the file system.
    pub disk_reserve: Reserve,
    /// Peak RSS of the whole process.
    pub memory_max: Bytes,
    /// Parallel uploads per destination.
    pub uploads: u32,
    /// Bytes per second that leave the host; `None` = unlimited.
    pub egress_max: Option<Bytes>,
    /// The same of each job that says nothing of its own.
    pub job_egress_max: Option<Bytes>,
    /// Where the admin API listens; `None` = nowhere. `run --once` asks [`Config::api_of`].
    pub api: Option<SocketAddr>,
    /// Whether `EDGEPUSH_API` was set (RULINGS 15).
    pub api_said: bool,
    /// The admin API's bearer token.
    pub api_token: Option<Secret>,
    /// More tokens, with what each may do.
    pub api_tokens: Vec<ApiToken>,
    /// Where the Logs API listens: `None`: by default, `Some(None)`: nowhere. See [`Config::logs_api_of`].
    pub logs_api: Option<Option<SocketAddr>>,
    /// What the URLs of archived files begin with; `None`: as the client called.
    pub logs_url: Option<String>,
    /// Open downloads of a key.
    pub logs_downloads: u32,
    /// Requests per second of a key.
    pub logs_rate: u32,
    /// Certificate of the listeners.
    pub tls_cert: Option<PathBuf>,
    /// The path of its private key; a secret, since somebody will put the key itself there.
    pub tls_key: Option<Secret>,
    /// `{HOST}` in paths.
    pub hostname: String,
    /// The zone of times that have none.
    pub zone: TimeZone,
    /// How much the agent says about itself.
    pub log: LogLevel,
    /// How it is written.
    pub log_format: LogFormat,
    /// How long stopping may take.
    pub stop_timeout: Duration,
    /// How long `run --once` waits for deliveries; `None` = for ever.
    pub once_timeout: Option<Duration>,
    /// What is not as asked and not a mistake: one WARN each at start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Where the API listens in this way of running: `run --once` opens none unless it was asked for (RULINGS 15).
    pub fn api_of(&self, once: bool) -> Option<SocketAddr> {
        self.api.filter(|_| !once || self.api_said)
    }

    /// Where the Logs API listens, and whether that was asked for. `archive`: whether a job archives.
    pub fn logs_api_of(&self, once: bool, archive: bool) -> Option<(SocketAddr, bool)> {
        match self.logs_api {
            Some(said) => said.map(|addr| (addr, true)),
            None if archive && !once => Some((LOGS_API_DEFAULT, false)),
            None => None,
        }
    }

    /// The token with which a command of this host asks its own agent: `EDGEPUSH_API_TOKEN`, else the first of the
    /// others that is for the whole host and may `write`, where that is needed. None when there are no tokens.
    pub fn own_token(&self, write: bool) -> Option<&Secret> {
        let fits = |rights: &Rights| !rights.are_restricted() && (rights.write || !write);
        let other = self.api_tokens.iter().find(|token| fits(&token.rights)).map(|token| &token.token);
        self.api_token.as_ref().or(other)
    }

    /// Least memory that so many shards need (RULINGS 7).
    pub fn memory_least(shards: usize) -> Bytes {
        Bytes(MEMORY_FIXED.0 + MEMORY_SHARD.0 * shards as u64)
    }

    /// Only seen while the table is filled in: every field is set by its row, from its default if nothing was said.
    fn blank() -> Config {
        Config {
            sources: Vec::new(),
            start: Start::Beginning,
            line_max: 0,
            destination: Target::new(""),
            destination_said: false,
            dataset: &RAW,
            mapping_text: String::new(),
            mapping_named: Vec::new(),
            mappings: Arc::default(),
            fields: None,
            filter_text: String::new(),
            filter: None,
            sample: 1.0,
            timestamp_format: None,
            output_options: None,
            output: OutputOptions::all(&RAW),
            job_disable_after: None,
            privacy_key: None,
            domain_field: None,
            archive: ArchiveConfig::blank(),
            batch_records: 0,
            batch_bytes: None,
            batch_interval: Duration::ZERO,
            codec: CodecKind::None,
            level: Level::Fast,
            gzip: None,
            jobs: None,
            zones: None,
            jobs_max: 0,
            cores: CoreSpec::Count(1),
            cpus: vec![0],
            runtime: RuntimeChoice::Auto,
            simd: SimdChoice::Auto,
            state_dir: PathBuf::new(),
            commit_interval: Duration::ZERO,
            socket_sync: Duration::ZERO,
            socket_mode: 0,
            socket_buffer: Bytes(0),
            spool_max: Bytes(0),
            rejects_max: Bytes(0),
            disk_reserve: Reserve::Percent(0),
            memory_max: Bytes(0),
            uploads: 0,
            egress_max: None,
            job_egress_max: None,
            api: None,
            api_said: false,
            api_token: None,
            api_tokens: Vec::new(),
            logs_api: None,
            logs_url: None,
            logs_downloads: 0,
            logs_rate: 0,
            tls_cert: None,
            tls_key: None,
            hostname: String::new(),
            zone: TimeZone::UTC,
            log: LogLevel::Info,
            log_format: LogFormat::Text,
            stop_timeout: Duration::ZERO,
            once_timeout: None,
            warnings: Vec::new(),
        }
    }
}

/// An operator's mistake: what is wrong, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, with its value where that is no secret.
    pub subject: String,
    /// What is wrong with it and the remedy; continues the subject as a sentence.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.why)
    }
}

/// Where a value in force comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// The environment.
    Environment,
    /// A file that the environment named.
    File(PathBuf),
}

/// One setting as it is in force; safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The variable.
    pub name: String,
    /// Its value, redacted; empty when there is none.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// What settings are read with.
pub struct Around<'a> {
    /// Facts about the machine.
    pub host: Host,
    /// Reads the file that a `<NAME>_FILE` names.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Says what is wrong with a destination URL, without repeating its secrets.
    pub destination: fn(&str) -> Result<(), String>,
}

/// Everything that reading the settings gives.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The settings; where there was a problem, the default stands.
    pub config: Config,
    /// Every setting with its value in force.
    pub in_force: Vec<InForce>,
    /// What the operator must mend; empty = `config` is what was meant.
    pub problems: Vec<Problem>,
}

/// What a command needs beside valid settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// At least one source (`run`).
    Sources,
    /// Nothing.
    Nothing,
}

/// Reads all settings from `said` (names and values; names of others are passed over).
/// Gives all problems at once.
pub fn load(
    said: impl IntoIterator<Item = (OsString, OsString)>,
    around: &Around<'_>,
    needs: Needs,
) -> Result<Config, Vec<Problem>> {
    let mut reading = read(said, around);
    if needs == Needs::Sources && reading.config.sources.is_empty() && !reading.said_of_sources() {
        reading.problems.push(Problem {
            subject: "EDGEPUSH_SOURCES".into(),
            why: "is not set: nothing to read; set it, e.g. EDGEPUSH_SOURCES=file:/var/log/nginx/access.log"
                .into(),
        });
    }
    if reading.problems.is_empty() { Ok(reading.config) } else { Err(reading.problems) }
}

/// Reads all settings, and keeps going for the sake of showing them.
pub fn read(said: impl IntoIterator<Item = (OsString, OsString)>, around: &Around<'_>) -> Reading {
    let mut said = Said::collect(said, around.read);
    let mut config = Config::blank();
    let mut problems = std::mem::take(&mut said.problems);
    let mut in_force = Vec::new();
    for key in KEYS {
        for (name, value) in said.take_named(key) {
            apply_named(key, &name, &value, &mut config, &mut problems);
            in_force.push(InForce { name, value: key.shown(&value.text), origin: value.origin });
        }
        if matches!(key.parse, Parse::Named(_)) {
            continue;
        }
        let (text, origin) = match said.take(key.name) {
            Some(value) => {
                if let Err(why) = apply(key, &value.text, around, &mut config) {
                    problems.push(problem_of(key, key.name, &value.text, why));
                    set_default(key, around, &mut config);
                }
                (value.text, value.origin)
            }
            None => (set_default(key, around, &mut config), Origin::Default),
        };
        config.api_said |= key.name == "EDGEPUSH_API" && origin != Origin::Default;
        config.destination_said |= key.name == "EDGEPUSH_DESTINATION" && origin != Origin::Default;
        in_force.push(InForce { name: key.name.into(), value: key.shown(&text), origin });
    }
    check_together(&mut config, around, &mut problems);
    Reading { config, in_force, problems }
}

impl Reading {
    /// Whether any source was said, rightly or wrongly: then its own problem is enough.
    fn said_of_sources(&self) -> bool {
        let named = |row: &&InForce| row.name.starts_with("EDGEPUSH_SOURCE");
        self.in_force.iter().filter(named).any(|row| row.origin != Origin::Default && !row.value.is_empty())
    }
}

fn problem_of(key: &keys::Key, name: &str, text: &str, why: String) -> Problem {
    let shown = key.shown(text);
    let short: String = shown.escape_debug().take(80).collect();
    let dots = if shown.chars().count() > 80 { "…" } else { "" };
    Problem { subject: format!("{name}={short}{dots}"), why }
}

fn apply(key: &keys::Key, text: &str, around: &Around<'_>, config: &mut Config) -> Result<(), String> {
    match key.parse {
        Parse::One(set) => set(config, text),
        Parse::Reading(set) => set(config, text, around.read),
        Parse::Destination => {
            (around.destination)(text)?;
            config.destination = Target::new(text);
            Ok(())
        }
        Parse::Named(_) => Ok(()),
    }
}

fn apply_named(
    key: &keys::Key,
    name: &str,
    value: &said::Value,
    config: &mut Config,
    problems: &mut Vec<Problem>,
) {
    let Parse::Named(set) = key.parse else { return };
    let own = &name[key.stem().len()..];
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let done = if own.is_empty() || !own.bytes().all(fits) {
        Err(format!("has a name that is not made of A-Z, 0-9 and _; write {}NAME", key.stem()))
    } else {
        set(config, own, &value.text)
    };
    problems.extend(done.err().map(|why| problem_of(key, name, &value.text, why)));
}

/// Sets a key to its default; gives the default's text.
fn set_default(key: &keys::Key, around: &Around<'_>, config: &mut Config) -> String {
    let text = match key.preset {
        Preset::Text(text) => text.to_string(),
        Preset::Computed { of, .. } => of(&around.host, config),
        Preset::Unset(_) => return String::new(),
    };
    match key.parse {
        Parse::One(set) => {
            set(config, &text).unwrap_or_else(|why| panic!("BUG: the default of {}: {text} {why}", key.name));
        }
        Parse::Destination => config.destination = Target::new(&text),
        Parse::Named(_) | Parse::Reading(_) => {}
    }
    text
}

/// The rules between two settings, or between a setting and the machine.
fn check_together(config: &mut Config, around: &Around<'_>, problems: &mut Vec<Problem>) {
    match config.cores.resolve(&around.host.cpus, around.host.cpu_quota) {
        Ok((cpus, warning)) => {
            config.cpus = cpus;
            config.warnings.extend(warning.map(|text| format!("EDGEPUSH_CORES: {text}")));
        }
        Err(why) => problems.push(Problem { subject: "EDGEPUSH_CORES:".into(), why }),
    }
    if config.sources.len() > SOURCES_MAX {
        problems.push(Problem {
            subject: "EDGEPUSH_SOURCES".into(),
            why: format!(
                "names {} sources; {SOURCES_MAX} is the most: join some in one glob",
                config.sources.len()
            ),
        });
    }
    problems.extend(mapping::compose(config, around.read));
    problems.extend(output::compose(config));
    let shards = config.cpus.len();
    let least = Config::memory_least(shards);
    if config.memory_max < least {
        problems.push(Problem {
            subject: format!("EDGEPUSH_MEMORY_MAX={}", config.memory_max),
            why: format!(
                "is too small: {MEMORY_FIXED} + {MEMORY_SHARD} for each of {shards} shards = {least}; set at least \
                 that, or fewer EDGEPUSH_CORES"
            ),
        });
    }
    if let Some(jobs) = config.jobs.as_ref().filter(|jobs| choice::is_web(jobs.expose()))
        && let Err(why) = (around.destination)(jobs.expose())
    {
        problems.push(Problem { subject: format!("EDGEPUSH_JOBS={jobs}"), why });
        config.jobs = None;
    }
    if config.tls_cert.is_some() != config.tls_key.is_some() {
        problems.push(Problem {
            subject: "EDGEPUSH_TLS_CERT and EDGEPUSH_TLS_KEY".into(),
            why: "belong together: set both or none".into(),
        });
    }
    if let Some(addr) = config.api
        && !addr.ip().is_loopback()
        && config.api_token.is_none()
        && config.api_tokens.is_empty()
    {
        problems.push(Problem {
            subject: format!("EDGEPUSH_API={addr}"),
            why: "can be reached from other hosts: set EDGEPUSH_API_TOKEN (or EDGEPUSH_API_TOKEN_FILE), or listen \
                  on 127.0.0.1"
                .into(),
        });
    }
}

/// The default of `EDGEPUSH_MEMORY_MAX`: never below the least that its shards need (RULINGS 7).
fn memory_default(host: &Host, config: &Config) -> Bytes {
    let shards = config.cores.resolve(&host.cpus, host.cpu_quota).map_or(1, |(cpus, _)| cpus.len());
    let half = host.memory_limit.map_or(MEMORY_DEFAULT, |limit| Bytes(limit / 2));
    MEMORY_DEFAULT.min(half).max(Config::memory_least(shards))
}

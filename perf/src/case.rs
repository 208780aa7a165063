//! The cases: small TOML files that say what is run and what it should reach.
//!
//! Promises: an unknown key or a wrong value is an error that names the file and the key. Must not know: how a case is
//! run.
use crate::corpus::Kind as Corpus;
use crate::expect::field;
use crate::figures::FIGURES;
use crate::flood::{Framing, Head};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `run --once` over a whole log.
    Once,
    /// `run`, and then a whole log appears.
    Follow,
    /// `run --once` on one core against two, in pairs.
    Scaling,
    /// `run --once` into the archive, by many domains and by one, in pairs.
    Domains,
    /// `run --once` on an empty file.
    Start,
    /// `run` on an empty file.
    Idle,
    /// `run`, and a line is written at a time, at a steady rate.
    LowRate,
    /// `run` at shares of the rate that it can follow: from written to acknowledged.
    Latency,
    /// The sink refuses for a while.
    Outage,
    /// `run --once` with jobs of a host each, against one job, in pairs.
    Jobs,
    /// `run --once` with jobs that all want every record, against one and none.
    JobsAll,
    /// `run` with jobs that see nothing.
    JobsStart,
    /// `run` on a socket, and a flood into it.
    Flood,
    /// The same at one rate after the other: the highest that loses nothing.
    FloodRate,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// The sink.
    #[default]
    Http,
    /// The sink, with TLS.
    Https,
    /// Nowhere.
    Null,
    /// A directory in memory.
    File,
    /// The built-in archive, on the disk.
    Archive,
}

/// What sort of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Socket {
    /// Datagrams in the file system.
    Unixgram,
    /// Datagrams over IP.
    Udp,
    /// A stream in the file system.
    Unix,
    /// A TCP stream.
    Tcp,
}

/// A flood into a socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// Which socket the agent listens on.
    pub socket: Socket,
    /// Messages; of a search those of each try last `seconds`.
    #[serde(default = "hundred_thousand")]
    pub messages: u64,
    /// Messages a second; 0 is as fast as they are taken, or the first that a search tries.
    #[serde(default)]
    pub rate: u64,
    /// Bytes of a message without its head.
    #[serde(default = "seven_hundred")]
    pub bytes: usize,
    /// What stands before each.
    #[serde(default)]
    pub head: Head,
    /// How a stream is cut.
    #[serde(default)]
    pub framing: Framing,
    /// What is not taken at once is dropped, as nginx does.
    #[serde(default)]
    pub drop: bool,
}

/// Which lines a filter keeps, as the harness checks it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// A top-level field.
    pub field: String,
    /// What its text holds.
    pub contains: String,
}

impl Keep {
    /// Whether a line is kept.
    pub fn keeps(&self, line: &[u8]) -> bool {
        field(line, &self.field).is_some_and(|value| value.contains(&self.contains))
    }
}

/// A target: the least or the most that a figure may be.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// At least this.
    pub min: Option<f64>,
    /// At most this.
    pub max: Option<f64>,
}

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// One line for people.
    pub about: String,
    /// What is done.
    pub kind: Kind,
    /// Which log.
    #[serde(default = "edge26")]
    pub corpus: Corpus,
    /// Size of the log, MiB.
    #[serde(default = "size")]
    pub mebibytes: u64,
    /// Cores of the agent; the scaling case has its own.
    #[serde(default = "one")]
    pub cores: usize,
    /// Where lines go.
    #[serde(default)]
    pub destination: Destination,
    /// Part of a run that names no case.
    #[serde(default)]
    pub default: bool,
    /// Also run by the peers, with `--peers`.
    #[serde(default)]
    pub peers: bool,
    /// What the agent must be able to do, in a word; whether it is, the agent is asked with these settings.
    pub requires: Option<String>,
    /// Which lines the filter in the settings keeps.
    pub keep: Option<Keep>,
    /// Customers' jobs, of kinds that have them: each with the fields of `EDGEPUSH_FIELDS`, to `null:`.
    #[serde(default = "hundred")]
    pub jobs: u64,
    /// Runs, unless the command line says it; of a scaling case pairs.
    pub runs: Option<usize>,
    /// Seconds: watched when idle or at a low rate, of each load, of the outage.
    #[serde(default = "ten")]
    pub seconds: u64,
    /// Files that are followed when idle, of one line each; none: an empty one.
    #[serde(default)]
    pub files: u64,
    /// Lines a second of the low rate.
    #[serde(default = "thousand")]
    pub rate: u64,
    /// The flood of kinds that have one.
    pub flood: Option<Flood>,
    /// Loads of a latency case, % of what the agent can follow.
    #[serde(default)]
    pub loads: Vec<u32>,
    /// More settings of the agent.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// By figure.
    #[serde(default)]
    pub targets: BTreeMap<String, Target>,
}

fn edge26() -> Corpus {
    Corpus::Edge26
}
fn size() -> u64 {
    256
}
fn one() -> usize {
    1
}
fn ten() -> u64 {
    10
}
fn hundred() -> u64 {
    100
}
fn thousand() -> u64 {
    1000
}
fn hundred_thousand() -> u64 {
    100_000
}
fn seven_hundred() -> usize {
    700
}

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../cases/", $name, ".toml")))),*]
    };
}

/// The cases of this build, in the order of the report.
const EMBEDDED: &[(&str, &str)] = embedded![
    "fields12",
    "all",
    "balanced",
    "filter",
    "zstd",
    "follow",
    "scaling",
    "start",
    "idle",
    "idle-files",
    "idle-files-threads",
    "low-rate",
    "latency",
    "fields12-2g",
    "all-2g",
    "balanced-2g",
    "filter-2g",
    "zstd-2g",
    "small",
    "none",
    "cores2",
    "null",
    "tls",
    "file",
    "archive",
    "archive-domains",
    "nginx",
    "mixed",
    "http-requests",
    "entropy",
    "hostile",
    "outage",
    "jobs-disjoint",
    "jobs-disjoint-256m",
    "jobs-all",
    "jobs-start",
    "unixgram",
    "udp",
    "unix",
    "tcp",
    "unixgram-rate",
    "udp-rate",
];

/// The cases of a directory, by name, or those of this build.
pub fn all(dir: Option<&Path>) -> io::Result<Vec<Case>> {
    let Some(dir) = dir else {
        return EMBEDDED.iter().map(|(name, text)| parse(name, text)).collect();
    };
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io::Error::other(format!("{}: {e}", dir.display())))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            cases.push(parse(&name, &std::fs::read_to_string(&path)?)?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// A case from its file.
pub fn parse(name: &str, text: &str) -> io::Result<Case> {
    let wrong = |what: String| io::Error::other(format!("{name}.toml: {what}"));
    let mut case: Case = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
    name.clone_into(&mut case.name);
    if let Some(figure) = case.targets.keys().find(|key| !FIGURES.iter().any(|f| f.is(key))) {
        let known: Vec<_> = FIGURES.iter().map(|f| f.key).collect();
        return Err(wrong(format!("targets.{figure}: no such figure; there are {}", known.join(", "))));
    }
    if let Some(setting) = case.set.keys().find(|key| !key.starts_with("EDGEPUSH_")) {
        return Err(wrong(format!("set.{setting}: settings begin with EDGEPUSH_")));
    }
    if case.kind == Kind::Latency && case.loads.is_empty() {
        return Err(wrong("loads: a latency case needs at least one".to_owned()));
    }
    if matches!(case.kind, Kind::Flood | Kind::FloodRate) && case.flood.is_none() {
        return Err(wrong("flood: this kind of case needs it".to_owned()));
    }
    Ok(case)
}

impl Case {
    /// The fields that the settings ask for; empty for all.
    pub fn fields(&self) -> Vec<String> {
        let said = self.set.get("EDGEPUSH_FIELDS").map_or("", String::as_str);
        said.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_this_build_are_right_and_stand_in_files_of_their_names() {
        let embedded: Vec<String> = all(None).unwrap().into_iter().map(|c| c.name).collect();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut sorted = embedded.clone();
        sorted.sort();
        let files: Vec<String> = all(Some(&dir)).unwrap().into_iter().map(|c| c.name).collect();
        assert_eq!(sorted, files, "every file is embedded");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_and_key() {
        let check = |text: &str, said: &[&str]| {
            let e = parse("mine", &format!("about = \"x\"\n{text}")).unwrap_err().to_string();
            said.iter().for_each(|s| assert!(e.contains(s), "{e} does not say {s}"));
        };
        check("kind = \"once\"\ncolour = 3", &["mine.toml", "colour"]);
        check("kind = \"twice\"", &["mine.toml", "twice", "once"]);
        check("kind = \"once\"\n[targets.beauty]\nmin = 3", &["mine.toml", "targets.beauty", "mb_per_cpu_s"]);
        check("kind = \"once\"\n[targets.ratio]\nleast = 3", &["mine.toml", "least"]);
        check("kind = \"once\"\n[set]\nCODEC = \"gzip\"", &["mine.toml", "set.CODEC"]);
        check("kind = \"latency\"", &["mine.toml", "loads"]);
        check("kind = \"flood\"", &["mine.toml", "flood"]);
        check("kind = \"flood\"\nflood.socket = \"pigeon\"", &["mine.toml", "pigeon", "unixgram"]);
        check("mebibytes = 3", &["mine.toml", "kind"]);
    }
}

//! status: what the running agent says about itself, and `edgepush status`, which asks it.
//!
//! Promises: the JSON of `/status` only gains fields; asking never takes longer than [`crate::ask::TIMEOUT`].
//! Must not know: how the agent works.
use crate::ask::Agent;
use crate::cli::{Exit, StatusArgs, print};
use crate::config::Config;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What the agent does at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The runtime in use: `uring` or `threads`.
    pub runtime: String,
    /// The vector instructions in use.
    pub simd: String,
    /// Whether ledger and sources are open.
    pub ready: bool,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Shards that have not ticked within 10 s.
    pub shards_stuck: Vec<usize>,
    /// Every followed file.
    pub sources: Vec<SourceStatus>,
    /// Every job.
    pub jobs: Vec<JobStatus>,
    /// What is durable and not delivered.
    pub spool: SpoolStatus,
    /// Whether the readers wait because nothing has room.
    pub backpressure: bool,
    /// Which sets of job files are refused, why, and what to do; `None`: none is.
    pub jobs_refused: Option<String>,
}

/// One followed file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// The configured name or glob.
    pub name: String,
    /// The file.
    pub path: String,
    /// Everything before is read, bytes.
    pub read: u64,
    /// Everything before is durable, bytes.
    pub durable: u64,
    /// Size seen last, bytes.
    pub size: u64,
    /// Bytes that are there and not read.
    pub lag_bytes: u64,
    /// Why it cannot be read, with the remedy.
    pub error: Option<String>,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// Its destination, without secrets.
    pub destination: String,
    /// `ok`, `retrying`, `holds`.
    pub state: String,
    /// The last error in plain words.
    pub error: Option<String>,
    /// Records that its destination has.
    pub records_delivered: u64,
    /// Batches in the spool.
    pub spool_batches: u64,
    /// Age of the oldest of them, seconds.
    pub oldest_seconds: Option<u64>,
    /// Parked: what it has still to read from the files, bytes.
    pub behind_bytes: u64,
}

/// The spool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold now.
    pub limit_bytes: u64,
    /// Batches that it holds.
    pub batches: u64,
}

/// `edgepush status`.
pub fn status(config: &Config, flags: StatusArgs) -> Exit {
    let agent = match Agent::find(config) {
        Ok(agent) => agent,
        Err(exit) => return exit,
    };
    match agent.answer("GET", "/status", None) {
        Ok((200, body)) if flags.json => print(&body, Exit::Done),
        Ok((200, body)) => match serde_json::from_str::<Status>(&body) {
            Ok(status) => print(&show(&status), Exit::Done),
            Err(error) => agent.is_none(&error.to_string()),
        },
        Ok((code, body)) => agent.is_none(&format!("{code} {}", body.trim())),
        Err(exit) => exit,
    }
}

/// The answer for people.
pub fn show(status: &Status) -> String {
    let mut out = String::new();
    let state = match (status.stopping, status.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "starting",
    };
    let _ = writeln!(
        out,
        "edgepush {} pid {} {state}, up {} s, runtime {}, simd {}",
        status.version, status.pid, status.uptime_seconds, status.runtime, status.simd
    );
    if !status.shards_stuck.is_empty() {
        let _ = writeln!(out, "stuck shards: {:?}", status.shards_stuck);
    }
    let (bytes, limit) = (mega(status.spool.bytes), mega(status.spool.limit_bytes));
    let _ = writeln!(out, "spool  {} batches, {bytes} of {limit}", status.spool.batches);
    if status.backpressure {
        let _ = writeln!(out, "back-pressure: files wait unread until there is room");
    }
    for refused in status.jobs_refused.iter().flat_map(|refused| refused.lines()) {
        let _ = writeln!(out, "refused set: {refused}");
    }
    for job in &status.jobs {
        let waiting = match (job.spool_batches, job.oldest_seconds) {
            (0, _) => String::new(),
            (n, Some(age)) => format!(", {n} batches wait, the oldest for {age} s"),
            (n, None) => format!(", {n} batches wait"),
        };
        let _ = writeln!(
            out,
            "job    {} {} -> {}, {} records delivered{waiting}",
            job.name, job.state, job.destination, job.records_delivered
        );
        if let Some(error) = &job.error {
            let _ = writeln!(out, "       {error}");
        }
    }
    for source in &status.sources {
        let _ = writeln!(
            out,
            "source {} read {} of {}, durable to {}, lag {}",
            source.path,
            source.read,
            source.size,
            source.durable,
            mega(source.lag_bytes)
        );
        if let Some(error) = &source.error {
            let _ = writeln!(out, "       {error}");
        }
    }
    out
}

/// Bytes as people read them.
fn mega(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{}kB", bytes / 1000),
        _ => format!("{:.1}MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_shown_for_people() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            ready: true,
            runtime: "uring".into(),
            simd: "avx2".into(),
            backpressure: true,
            jobs_refused: Some("the jobs of /j are refused".into()),
            spool: SpoolStatus { bytes: 1_500_000, limit_bytes: 10_000_000_000, batches: 2 },
            jobs: vec![JobStatus {
                name: "env".into(),
                destination: "https://h/in".into(),
                state: "retrying".into(),
                error: Some("503 busy".into()),
                records_delivered: 10,
                spool_batches: 2,
                oldest_seconds: Some(31),
                behind_bytes: 0,
            }],
            sources: vec![SourceStatus {
                path: "/var/log/a.log".into(),
                read: 100,
                size: 200,
                durable: 50,
                lag_bytes: 100,
                ..SourceStatus::default()
            }],
            ..Status::default()
        };
        let text = show(&status);
        for wanted in [
            "edgepush 0.1.0 pid 7 ready, up 0 s, runtime uring, simd avx2\n",
            "spool  2 batches, 1.5MB of 10000.0MB\n",
            "back-pressure: files wait unread",
            "refused set: the jobs of /j are refused\n",
            "job    env retrying -> https://h/in, 10 records delivered, 2 batches wait, the oldest for 31 s\n",
            "       503 busy\n",
            "source /var/log/a.log read 100 of 200, durable to 50, lag 100 bytes\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        let back: Status = serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
        assert_eq!(back, status);
        let older: Status = serde_json::from_str("{\"version\":\"9\",\"new\":1}").unwrap();
        assert_eq!(older.version, "9");
    }
}

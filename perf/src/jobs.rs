//! Customers' jobs: a state directory that knows them, made by the agent itself over its API.
//!
//! Promises: a job is created as a customer's tool does it, and is there when this returns; nothing of the agent is
//! linked. Must not know: what is measured with them.
use crate::bench::Bench;
use crate::corpus;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The jobs' API of an account that needs no zones.
const JOBS: &str = "/client/v4/accounts/local/logpush/jobs";
/// Asks that are under way together: those that come within a moment share a seal.
const ASKERS: usize = 32;
/// The environment job's filter: no record has such a host.
pub const NOTHING: &str = r#"{"where":{"key":"host","operator":"eq","value":"nobody"}}"#;

/// What jobs want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Every record.
    All,
    /// The `n`th job the records of the `n`th host from this one on.
    HostFrom(u64),
}

impl Wants {
    /// The body that creates the `n`th job.
    fn job(self, n: u64, fields: &[String]) -> String {
        let mut job = serde_json::json!({
            "name": format!("job-{n:05}"),
            "dataset": "raw",
            "enabled": true,
            "destination_conf": "null:",
            "output_options": { "output_type": "ndjson" },
        });
        if !fields.is_empty() {
            job["output_options"]["field_names"] = fields.into();
        }
        if let Wants::HostFrom(first) = self {
            let host = corpus::host(first + n);
            let filter = serde_json::json!({"where": {"key": "host", "operator": "eq", "value": host}});
            job["filter"] = filter.to_string().into();
        }
        job.to_string()
    }
}

/// Makes a state directory of the name with so many jobs, and answers with its path.
pub fn make(bench: &Bench, name: &str, jobs: u64, wants: Wants, fields: &[String]) -> io::Result<PathBuf> {
    let empty = bench.disk.join("empty.log");
    std::fs::write(&empty, "")?;
    let mut command = bench.command(&["run"], &format!("file:{}", empty.display()), "null:")?;
    command.env("EDGEPUSH_FILTER", NOTHING).env("EDGEPUSH_JOBS_MAX", jobs.max(1).to_string());
    eprintln!("creating {jobs} jobs");
    let running = bench.start_ready(command, bench.cpus.len())?;
    let address = bench.api()?;
    create(&address, jobs, wants, fields)?;
    running.terminate();
    bench.ended(running, "run, at SIGTERM,")?;
    let kept = bench.fresh(name, &bench.disk)?;
    copy(&bench.disk.join("state"), &kept)?;
    Ok(kept)
}

fn create(address: &str, jobs: u64, wants: Wants, fields: &[String]) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let ask = || -> io::Result<()> {
        let api = Api::at(address);
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed) as u64;
            if n >= jobs {
                return Ok(());
            }
            api.ask("POST", JOBS, &wants.job(n, fields))?;
        }
    };
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..ASKERS.min(jobs as usize)).map(|_| scope.spawn(ask)).collect();
        let died = |_| io::Error::other("an asker has died");
        askers.into_iter().try_for_each(|asker| asker.join().map_err(died)?)
    })
}

/// Copies a state directory; only once nobody writes to it.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, target) = {
            let entry = entry?;
            let name = entry.file_name();
            (entry, to.join(name))
        };
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &target)?,
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), &target)?),
            _ => {}
        }
    }
    Ok(())
}

/// The API of a running agent; it takes one ask a connection.
pub struct Api {
    address: String,
}

impl Api {
    /// At this address.
    pub fn at(address: &str) -> Api {
        Api { address: address.to_owned() }
    }

    /// The answer's body; an error when the status is not 200.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(crate::bench::PATIENCE))?;
        let mut stream = BufReader::new(stream);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: edgepush\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        let mut status = String::new();
        stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().map_err(io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match status.split(' ').nth(1) {
            Some("200") => Ok(answer),
            _ => Err(io::Error::other(format!("{method} {path}: {}: {answer}", status.trim()))),
        }
    }

    /// Records that destinations have, of every job that was made here: with its number.
    pub fn delivered(&self) -> io::Result<Vec<(u64, u64)>> {
        let jobs: serde_json::Value = serde_json::from_str(&self.ask("GET", JOBS, "")?)?;
        let mut delivered = Vec::new();
        for job in jobs["result"].as_array().into_iter().flatten() {
            let name = job["name"].as_str().unwrap_or_default();
            let Some(n) = name.strip_prefix("job-").and_then(|n| n.parse().ok()) else { continue };
            let health = self.ask("GET", &format!("{JOBS}/{}/health", job["id"]), "")?;
            let health: serde_json::Value = serde_json::from_str(&health)?;
            let records = health["result"]["records"].as_u64();
            let records = records.ok_or_else(|| io::Error::other(format!("no records in {health}")))?;
            delivered.push((n, records));
        }
        Ok(delivered)
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> io::Result<u64> {
        let text = self.ask("GET", "/metrics", "")?;
        let of =
            text.lines().filter(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        Ok(of.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }
}

//! Many customers' jobs: what they cost beside one, what they take at rest, how soon they are back.
use super::whole::{check, once_with, throughput};
use super::{Input, Sample};
use crate::bench::{Bench, PATIENCE};
use crate::corpus::{self, Kind};
use crate::jobs::{self, Api, NOTHING, Wants};
use crate::process::{Ended, Running};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Time to settle before an agent is watched.
const SETTLE: Duration = Duration::from_secs(2);

/// The agent's command over a log with a copy of a kept state directory; the environment job wants nothing.
fn command(bench: &Bench, input: &Input, args: &[&str], source: &Path, kept: &Path) -> io::Result<Command> {
    let mut command = bench.command(args, &format!("file:{}", source.display()), "null:")?;
    jobs::copy(kept, &bench.disk.join("state"))?;
    command
        .env("EDGEPUSH_CORES", input.case.cores.to_string())
        .env("EDGEPUSH_JOBS_MAX", input.case.jobs.max(1).to_string())
        .env("EDGEPUSH_FILTER", NOTHING)
        .envs(&input.case.set);
    Ok(command)
}

/// `run --once` with the jobs of a state directory, each line to `times` of them.
fn once(bench: &Bench, input: &Input, kept: &Path, times: u64) -> io::Result<Ended> {
    let command = command(bench, input, &["run", "--once"], &input.log.path, kept)?;
    let ended = once_with(bench, command, input.case.cores)?;
    check(bench, input, times)?;
    Ok(ended)
}

/// The kept state directory of a name, made by the first run of a case.
fn kept(
    bench: &Bench,
    turn: usize,
    name: &str,
    make: impl FnOnce() -> io::Result<()>,
) -> io::Result<std::path::PathBuf> {
    let path = bench.disk.join(name);
    if turn == 0 || !path.exists() {
        make()?;
    }
    Ok(path)
}

/// Jobs of a host each, against one job that has all of them.
pub fn disjoint(bench: &Bench, input: &Input, turn: usize) -> io::Result<Sample> {
    let (case, fields) = (input.case, input.case.fields());
    let one =
        kept(bench, turn, "jobs-one", || jobs::make(bench, "jobs-one", 1, Wants::All, &fields).map(drop))?;
    let many = kept(bench, turn, "jobs-many", || {
        jobs::make(bench, "jobs-many", case.jobs, Wants::HostFrom(0), &fields).map(drop)
    })?;
    if turn == 0 {
        each_has_its_own(bench, input, &many)?;
    }
    let order = if turn.is_multiple_of(2) { [&one, &many] } else { [&many, &one] };
    let first = once(bench, input, order[0], 1)?;
    let second = once(bench, input, order[1], 1)?;
    let (one, many) = if turn.is_multiple_of(2) { (first, second) } else { (second, first) };
    let mut sample = Sample::default();
    throughput(&mut sample, &many, input.log.bytes);
    sample.set("cpu_x_one_job", many.cpu().as_secs_f64() / one.cpu().as_secs_f64());
    sample.set("one_job_cpu_s", one.cpu().as_secs_f64());
    Ok(sample)
}

/// Every job of a followed run has delivered the lines of its host, as the corpus has them.
fn each_has_its_own(bench: &Bench, input: &Input, kept: &Path) -> io::Result<()> {
    let dir = bench.fresh("followed", &bench.disk)?;
    let command = command(bench, input, &["run"], &dir.join("*.log"), kept)?;
    let mut running = bench.start_ready(command, input.case.cores)?;
    std::fs::hard_link(&input.log.path, dir.join("access.log"))?;
    let api = Api::at(&bench.api()?);
    let (end, lines) = (Instant::now() + PATIENCE, input.log.lines);
    while api.metric("edgepush_records_delivered_total")? < lines {
        alive(bench, &mut running)?;
        if Instant::now() > end {
            return Err(bench.failed("not everything was delivered"));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let delivered = api.delivered()?;
    running.terminate();
    bench.ended(running, "run, at SIGTERM,")?;
    std::fs::remove_dir_all(dir)?;
    let wanted = by_host(input.case.corpus, lines);
    if delivered.len() as u64 != input.case.jobs {
        return Err(io::Error::other(format!("wrong answer: {} jobs", delivered.len())));
    }
    for (n, records) in delivered {
        let right = wanted.get(&corpus::host(n)).copied().unwrap_or(0);
        if records != right {
            return Err(io::Error::other(format!(
                "wrong answer: job {n} has {records} records, not {right}"
            )));
        }
    }
    Ok(())
}

/// How many of the first lines each host has.
fn by_host(kind: Kind, lines: u64) -> HashMap<String, u64> {
    let (mut corpus, mut line, mut hosts) = (corpus::Corpus::new(kind, 1), Vec::new(), HashMap::new());
    for _ in 0..lines {
        line.clear();
        corpus.line(&mut line, None);
        let host = crate::expect::field(&line, "host").unwrap_or_default();
        *hosts.entry(host.trim_matches('"').to_owned()).or_default() += 1;
    }
    hosts
}

/// Jobs that all want every record: what they cost beside the compression of each.
pub fn all(bench: &Bench, input: &Input, turn: usize) -> io::Result<Sample> {
    let (case, fields) = (input.case, input.case.fields());
    let make = |name: &str, count, wants| {
        kept(bench, turn, name, || jobs::make(bench, name, count, wants, &fields).map(drop))
    };
    let nobody = make("jobs-none", 1, Wants::HostFrom(u64::from(u32::MAX)))?;
    let one = make("jobs-one", 1, Wants::All)?;
    let many = make("jobs-all", case.jobs, Wants::All)?;
    let runs = [(&nobody, 0), (&one, 1), (&many, case.jobs)];
    let mut cpu = [0.0; 3];
    let mut last = None;
    for step in 0..3 {
        let at = if turn.is_multiple_of(2) { step } else { 2 - step };
        let ended = once(bench, input, runs[at].0, runs[at].1)?;
        cpu[at] = ended.cpu().as_secs_f64();
        if at == 2 {
            last = Some(ended);
        }
    }
    let mut sample = Sample::default();
    if let Some(ended) = last {
        throughput(&mut sample, &ended, input.log.bytes);
    }
    // What one job adds to a run in which nobody wants anything: format, compression, delivery.
    sample.set("cpu_x_sum", cpu[2] / (cpu[0] + case.jobs as f64 * (cpu[1] - cpu[0])));
    sample.set("one_job_cpu_s", cpu[1]);
    Ok(sample)
}

/// A start with jobs that see nothing, and how it is with them at rest.
pub fn start(bench: &Bench, input: &Input, turn: usize) -> io::Result<Sample> {
    let (case, fields) = (input.case, input.case.fields());
    let many = kept(bench, turn, "jobs-many", || {
        jobs::make(bench, "jobs-many", case.jobs, Wants::HostFrom(0), &fields).map(drop)
    })?;
    let source = bench.disk.join("empty.log");
    std::fs::write(&source, "")?;
    let command = command(bench, input, &["run"], &source, &many)?;
    let begun = Instant::now();
    let mut running = bench.start_ready(command, case.cores)?;
    let mut sample = Sample::default();
    sample.set("ready_ms", begun.elapsed().as_secs_f64() * 1e3);
    let cpu: Duration = running.look().values().sum();
    sample.set("start_ms", cpu.as_secs_f64() * 1e3);
    std::thread::sleep(SETTLE);
    let (at, written, cpu) = (Instant::now(), running.written(), running.look().values().sum::<Duration>());
    std::thread::sleep(Duration::from_secs(case.seconds));
    let seconds = at.elapsed().as_secs_f64();
    sample.set("written_per_s", running.written().saturating_sub(written) as f64 / seconds);
    let used = running.look().values().sum::<Duration>().saturating_sub(cpu);
    sample.set("cpu_percent", used.as_secs_f64() / seconds * 100.0);
    running.terminate();
    let ended = bench.ended(running, "run, at SIGTERM,")?;
    sample.set("peak_rss_mb", ended.peak_rss as f64 / 1e6);
    Ok(sample)
}

fn alive(bench: &Bench, running: &mut Running) -> io::Result<()> {
    running.look();
    match running.child().try_wait()? {
        Some(_) => Err(bench.failed("the agent ended")),
        None => Ok(()),
    }
}

//! Runs in which lines come at a rate, or not at all: idle, low rate, latency under load.
use super::whole::{once, wait_records};
use super::{Input, Sample};
use crate::account::{Account, account};
use crate::bench::{Bench, Sink};
use crate::case::{Case, Destination};
use crate::corpus::{Corpus, Kind};
use crate::expect::{By, Expected};
use crate::process::Running;
use crate::sink::now_ns;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Time to settle before an agent is watched.
const SETTLE: Duration = Duration::from_secs(2);
/// Many files are open after so long at the latest.
const SETTLE_FILES: Duration = Duration::from_secs(60);
/// Share of the writer's own speed that a load may ask for: it shares its core with the sink.
const WRITER_SHARE: f64 = 0.4;
/// Lines go into the file at the latest when there are as many bytes: what waits would be late by our fault.
const WRITE_MAX: usize = 128 << 10;

/// CPU and sleeps of all threads so far.
struct Watch {
    start: Instant,
    cpu: Duration,
    sleeps: u64,
}

impl Watch {
    fn start(running: &mut Running) -> Watch {
        Watch { start: Instant::now(), cpu: running.look().values().sum(), sleeps: running.sleeps() }
    }

    fn end(&self, running: &mut Running, sample: &mut Sample) {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu = running.look().values().sum::<Duration>().saturating_sub(self.cpu);
        sample.set("cpu_percent", cpu.as_secs_f64() / seconds * 100.0);
        sample.set("wakeups_per_s", running.sleeps().saturating_sub(self.sleeps) as f64 / seconds);
    }
}

/// What is followed when nothing comes: an empty file, or as many as the case says, of which each has its first line.
fn still(bench: &Bench, files: u64) -> io::Result<String> {
    if files == 0 {
        let path = bench.disk.join("empty.log");
        std::fs::write(&path, "")?;
        return Ok(format!("file:{}", path.display()));
    }
    let dir = bench.disk.join("still");
    std::fs::create_dir_all(&dir)?;
    let mut corpus = Corpus::new(Kind::Edge26, SEED);
    for n in 0..files {
        let mut line = Vec::new();
        corpus.line(&mut line, None);
        std::fs::write(dir.join(format!("site-{n}.log")), line)?;
    }
    Ok(format!("file:{}/*.log", dir.display()))
}

/// Files to which nothing is written are followed.
pub fn idle(bench: &Bench, case: &Case) -> io::Result<Sample> {
    let source = still(bench, case.files)?;
    let mut command = bench.command(&["run"], &source, "null:")?;
    command.env("EDGEPUSH_CORES", case.cores.to_string()).envs(&case.set);
    let mut running = bench.start_ready(command, case.cores)?;
    std::thread::sleep(SETTLE);
    let end = Instant::now() + SETTLE_FILES;
    while running.open_files()? < case.files {
        if Instant::now() > end {
            return Err(bench.failed("not every file is followed"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(SETTLE);
    let mut sample = Sample::default();
    let watch = Watch::start(&mut running);
    std::thread::sleep(Duration::from_secs(case.seconds));
    watch.end(&mut running, &mut sample);
    running.terminate();
    bench.ended(running, "run, at SIGTERM,")?;
    Ok(sample)
}

/// Seed of the lines that are written at a rate.
const SEED: u64 = 2;

/// A file to which lines are appended, and when each was.
struct Writer {
    file: std::fs::File,
    corpus: Corpus,
    times_ns: Vec<u64>,
    bytes: u64,
    longest: Duration,
}

impl Writer {
    /// Appends lines with their write times, in one write, or each in its own.
    fn write(&mut self, lines: u64, single: bool) -> io::Result<()> {
        let mut text = Vec::new();
        for _ in 0..lines {
            let now = now_ns();
            self.corpus.line(&mut text, Some(now));
            self.times_ns.push(now);
            if single || text.len() > WRITE_MAX {
                self.append(&text)?;
                text.clear();
            }
        }
        self.append(&text)
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let start = Instant::now();
        self.file.write_all(text)?;
        self.longest = self.longest.max(start.elapsed());
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn written(&self) -> u64 {
        self.times_ns.len() as u64
    }

    /// What must come: made only now, since hashing takes as long as writing.
    fn expected(&self) -> Expected {
        let (mut corpus, mut expected, mut line) =
            (Corpus::new(Kind::Edge26, SEED), Expected::new(By::Bytes), Vec::new());
        for at in &self.times_ns {
            line.clear();
            corpus.line(&mut line, Some(*at));
            expected.push(&line[..line.len() - 1]);
        }
        expected.lines.sort_unstable();
        expected
    }

    /// Writes at a rate for a while, `tick` apart.
    fn steady(&mut self, rate: f64, seconds: u64, tick: Duration, single: bool) -> io::Result<()> {
        let (start, first) = (Instant::now(), self.written());
        while start.elapsed() < Duration::from_secs(seconds) {
            let due = first + (start.elapsed().as_secs_f64() * rate) as u64;
            self.write(due.saturating_sub(self.written()), single)?;
            std::thread::sleep(tick);
        }
        Ok(())
    }
}

/// An agent that follows a new file into a sink, and the writer of that file.
fn followed(bench: &Bench, case: &Case) -> io::Result<(Running, Sink, Writer)> {
    let sink = bench.sink(case.destination == Destination::Https)?;
    let path = bench.fresh("followed", &bench.disk)?.join("access.log");
    let file = std::fs::File::create(&path)?;
    let mut command = bench.command(&["run"], &format!("file:{}", path.display()), &sink.url())?;
    command.env("EDGEPUSH_CORES", case.cores.to_string()).envs(&case.set);
    let running = bench.start_ready(command, case.cores)?;
    let corpus = Corpus::new(Kind::Edge26, SEED);
    Ok((running, sink, Writer { file, corpus, times_ns: Vec::new(), bytes: 0, longest: Duration::ZERO }))
}

/// Waits for everything, ends the agent, and checks the answer.
fn finish(bench: &Bench, mut running: Running, sink: &Sink, writer: &Writer) -> io::Result<Account> {
    wait_records(bench, &mut running, sink, writer.written())?;
    running.terminate();
    bench.ended(running, "run, at SIGTERM,")?;
    let account = account(&sink.bodies()?, &writer.expected(), true)?.exact();
    let _ = std::fs::remove_dir_all(bench.disk.join("followed"));
    account
}

/// Lines come at a low rate, each by a write of its own.
pub fn low_rate(bench: &Bench, case: &Case) -> io::Result<Sample> {
    let (mut running, sink, mut writer) = followed(bench, case)?;
    let (rate, tick) = (case.rate as f64, Duration::from_micros(500_000 / case.rate.max(1)));
    writer.steady(rate, SETTLE.as_secs(), tick, true)?;
    let mut sample = Sample::default();
    let (watch, before) = (Watch::start(&mut running), writer.bytes);
    writer.steady(rate, case.seconds, tick, true)?;
    watch.end(&mut running, &mut sample);
    let seconds = watch.start.elapsed().as_secs_f64();
    sample.set("load_mb_per_s", (writer.bytes - before) as f64 / 1e6 / seconds);
    let account = finish(bench, running, &sink, &writer)?;
    sample.set("p50_ms", account.delay_ms(0.5));
    sample.set("p99_ms", account.delay_ms(0.99));
    Ok(sample)
}

/// From written to acknowledged at shares of what the agent can follow.
pub fn latency(bench: &Bench, input: &Input) -> io::Result<Sample> {
    let case = input.case;
    let mut sample = Sample::default();
    // A followed log would end with the wait for the last batch's interval; `--once` has none.
    let can = input.log.bytes as f64 / 1e6 / once(bench, input, case.cores)?.figures["wall_s"];
    let writer = writer_speed();
    sample.set("wall_mb_per_s", can);
    for load in &case.loads {
        let wanted = can * f64::from(*load) / 100.0;
        let bounded = wanted.min(writer * WRITER_SHARE);
        if bounded < wanted {
            sample.marks.push(format!(
                "{load} % is bounded to {bounded:.0} MB/s: alone the writer makes {writer:.0}"
            ));
        }
        let (running, sink, mut lines) = followed(bench, case)?;
        let bytes_a_line = input.log.bytes as f64 / input.log.lines.max(1) as f64;
        let start = Instant::now();
        lines.steady(bounded * 1e6 / bytes_a_line, case.seconds, Duration::from_millis(1), false)?;
        let reached = lines.bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
        let account = finish(bench, running, &sink, &lines)?;
        if reached < bounded * 0.95 {
            sample.marks.push(format!("{load} %: the writer reached {reached:.0} of {bounded:.0} MB/s"));
        }
        sample.set(&format!("load_mb_per_s@{load}"), reached);
        sample.set(&format!("p50_ms@{load}"), account.delay_ms(0.5));
        sample.set(&format!("p99_ms@{load}"), account.delay_ms(0.99));
        sample.set(&format!("max_ms@{load}"), account.delay_ms(1.0));
        sample.set(&format!("write_ms@{load}"), lines.longest.as_secs_f64() * 1e3);
    }
    Ok(sample)
}

/// MB/s that the writer makes when nothing takes them.
fn writer_speed() -> f64 {
    let mut corpus = Corpus::new(Kind::Edge26, SEED);
    let (start, mut text) = (Instant::now(), Vec::with_capacity(64 << 20));
    for _ in 0..40_000 {
        corpus.line(&mut text, Some(now_ns()));
    }
    text.len() as f64 / 1e6 / start.elapsed().as_secs_f64()
}

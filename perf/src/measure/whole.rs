//! Runs over a log that lies there: `run --once`, `run` into whose glob the log appears, one core against two.
use super::{Input, Sample};
use crate::account::{Account, account};
use crate::bench::{Bench, PATIENCE, Place};
use crate::process::{Ended, Running};
use serde::Deserialize;
use std::io;
use std::time::{Duration, Instant};

/// The line that `run --once` prints; what of it is checked.
#[derive(Deserialize)]
struct Once {
    records_delivered: u64,
    rejected: u64,
    repaired: u64,
    undelivered_batches: u64,
}

/// `run --once`.
pub fn once(bench: &Bench, input: &Input, cores: usize) -> io::Result<Sample> {
    once_set(bench, input, cores, &[])
}

/// The same with more settings.
fn once_set(bench: &Bench, input: &Input, cores: usize, more: &[(&str, &str)]) -> io::Result<Sample> {
    let place = bench.place(input.case.destination)?;
    let sources = format!("file:{}", input.log.path.display());
    let mut command = bench.command(&["run", "--once"], &sources, &place.url())?;
    command.env("EDGEPUSH_CORES", cores.to_string()).envs(&input.case.set).envs(more.iter().copied());
    let ended = once_with(bench, command, cores)?;
    let mut sample = Sample::default();
    throughput(&mut sample, &ended, input.log.bytes);
    check(bench, input, 1)?;
    if let Some(bodies) = place.bodies()? {
        answer(&mut sample, &account(&bodies, input.expected, false)?.exact()?, input)?;
    }
    if let Place::Dir(dir) = &place {
        let _ = std::fs::remove_dir_all(dir);
    }
    Ok(sample)
}

/// A command that ends by itself, to its end.
pub fn once_with(bench: &Bench, command: std::process::Command, cores: usize) -> io::Result<Ended> {
    let running = Running::start(command, bench.first(cores), bench.other())?;
    bench.ended(running, "run --once")
}

/// What the agent said of its run must be what the corpus says, when so many jobs want each record.
pub fn check(bench: &Bench, input: &Input, jobs: u64) -> io::Result<()> {
    let said: Once = serde_json::from_str(&bench.said())
        .map_err(|e| bench.failed(&format!("run --once said no line of figures: {e}")))?;
    let e = input.expected;
    let pairs = [
        ("records delivered", said.records_delivered, e.lines.len() as u64 * jobs),
        ("rejected", said.rejected, e.rejects),
        ("repaired", said.repaired, e.repairs),
        ("undelivered batches", said.undelivered_batches, 0),
    ];
    match pairs.iter().find(|(_, got, wanted)| got != wanted) {
        Some((what, got, wanted)) => {
            Err(io::Error::other(format!("wrong answer: {what}: {got}, the corpus has {wanted}")))
        }
        None => Ok(()),
    }
}

/// Time, CPU and memory of a whole process.
pub fn throughput(sample: &mut Sample, ended: &Ended, log_bytes: u64) {
    let megabytes = log_bytes as f64 / 1e6;
    sample.set("mb_per_cpu_s", megabytes / ended.cpu().as_secs_f64());
    sample.set("user_s", ended.user.as_secs_f64());
    sample.set("system_s", ended.system.as_secs_f64());
    sample.set("wall_s", ended.wall.as_secs_f64());
    sample.set("peak_rss_mb", ended.peak_rss as f64 / 1e6);
}

/// What arrived. The ratio is of the bytes that were compressed: after fields and filter.
pub fn answer(sample: &mut Sample, account: &Account, input: &Input) -> io::Result<()> {
    let expected = input.expected.bytes;
    if expected > 0 && account.bytes != expected {
        let what = format!("wrong answer: {} uncompressed bytes, not {expected}", account.bytes);
        return Err(io::Error::other(what));
    }
    sample.set("ratio", account.bytes as f64 / account.stored as f64);
    sample.set("mb_out", account.stored as f64 / 1e6);
    sample.set("batches", account.bodies as f64);
    sample.set("repeated_keys", account.repeated as f64);
    Ok(())
}

/// `run`, and once it is ready the log appears in its glob; SIGTERM when everything has come.
pub fn follow(bench: &Bench, input: &Input) -> io::Result<Sample> {
    let Place::Sink(sink) = bench.place(input.case.destination)? else {
        return Err(io::Error::other("this kind of case needs the destination http or https"));
    };
    let dir = bench.fresh("followed", &bench.disk)?;
    let sources = format!("file:{}/*.log", dir.display());
    let mut command = bench.command(&["run"], &sources, &sink.url())?;
    command
        .env("EDGEPUSH_BATCH_INTERVAL", "1s")
        .env("EDGEPUSH_CORES", input.case.cores.to_string())
        .envs(&input.case.set);
    let mut running = bench.start_ready(command, input.case.cores)?;
    let before = running.look();
    std::fs::hard_link(&input.log.path, dir.join("access.log"))?;
    wait_records(bench, &mut running, &sink, input.expected.lines.len() as u64)?;
    // The verdicts of the last batches become durable.
    std::thread::sleep(Duration::from_millis(300));
    let threads = running.look();
    running.terminate();
    let ended = bench.ended(running, "run, at SIGTERM,")?;
    let account = account(&sink.bodies()?, input.expected, false)?.exact()?;
    let mut sample = Sample::default();
    throughput(&mut sample, &ended, input.log.bytes);
    answer(&mut sample, &account, input)?;
    let mut ledger = None;
    for (name, cpu) in threads {
        let ms = cpu.saturating_sub(before.get(&name).copied().unwrap_or_default()).as_secs_f64() * 1e3;
        if name.contains("ledger") {
            ledger = Some(ledger.unwrap_or(0.0) + ms);
        }
        sample.threads.insert(name, ms);
    }
    if let Some(ledger) = ledger {
        sample.set("ledger_ms", ledger / account.bodies.max(1) as f64);
    }
    Ok(sample)
}

/// Waits until the sink has as many records as were written.
pub fn wait_records(
    bench: &Bench,
    running: &mut Running,
    sink: &crate::bench::Sink,
    records: u64,
) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while sink.bodies()?.iter().map(|b| b.records).sum::<u64>() < records {
        running.look();
        if running.child().try_wait()?.is_some() {
            return Err(bench.failed("the agent ended"));
        }
        if Instant::now() > end {
            return Err(bench.failed("not everything arrived"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A pair: one core and two, the order changing with each pair.
pub fn scaling(bench: &Bench, input: &Input, turn: usize) -> io::Result<Sample> {
    if bench.cpus.len() < 2 {
        return Err(io::Error::other("scaling needs two CPUs"));
    }
    let order = if turn.is_multiple_of(2) { [1, 2] } else { [2, 1] };
    let first = once(bench, input, order[0])?;
    let second = once(bench, input, order[1])?;
    let (one, mut two) = if order[0] == 1 { (first, second) } else { (second, first) };
    let wall = one.figures["wall_s"] / two.figures["wall_s"];
    let growth = one.figures["mb_per_cpu_s"] / two.figures["mb_per_cpu_s"] - 1.0;
    two.set("wall_ratio", wall);
    two.set("cpu_growth_percent", growth * 100.0);
    Ok(two)
}

/// A pair: the archive by the records' hosts, and by a field that is the same in all of them.
pub fn domains(bench: &Bench, input: &Input, turn: usize) -> io::Result<Sample> {
    const ONE: [(&str, &str); 1] = [("EDGEPUSH_DOMAIN_FIELD", "scheme")];
    let run = |one: bool| once_set(bench, input, input.case.cores, if one { &ONE } else { &[] });
    let one_first = turn.is_multiple_of(2);
    let (first, second) = (run(one_first)?, run(!one_first)?);
    let (one, mut many) = if one_first { (first, second) } else { (second, first) };
    let cpu = |sample: &Sample| sample.figures["user_s"] + sample.figures["system_s"];
    many.set("cpu_x_one_domain", cpu(&many) / cpu(&one));
    many.set("one_domain_cpu_s", cpu(&one));
    Ok(many)
}

/// `run --once` on an empty file.
pub fn start(bench: &Bench) -> io::Result<Sample> {
    let path = bench.disk.join("empty.log");
    std::fs::write(&path, "")?;
    let command = bench.command(&["run", "--once"], &format!("file:{}", path.display()), "null:")?;
    let running = Running::start(command, bench.first(1), bench.other())?;
    let ended = bench.ended(running, "run --once on an empty file")?;
    let mut sample = Sample::default();
    sample.set("start_ms", ended.cpu().as_secs_f64() * 1e3);
    Ok(sample)
}

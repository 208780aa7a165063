//! edgepush-perf: the end-to-end harness that an operator runs on a host.
//!
//! `cargo run --release -p edgepush-perf` builds the agent, generates a log, follows it on one core into a sink on
//! another, and prints a table beside the targets. The method and its biases stand in `docs/performance.md`.
mod account;
mod cases;
mod corpus;
mod process;
mod sink;

use cases::{Bench, Run};
use clap::{Parser, Subcommand};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Measures edgepush on this host.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    /// Also write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The agent's binary; by default it is built with cargo.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Where logs and state lie: a real disk.
    #[arg(long, default_value = ".cache/perf")]
    dir: PathBuf,
    /// Size of the generated log, MB.
    #[arg(long, default_value_t = 256)]
    megabytes: u64,
    /// Runs over the whole log; the best is the headline, the worst stands beside it.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only the runs over the whole log.
    #[arg(long)]
    only_throughput: bool,
    /// A setting for the agent, NAME=VALUE (EDGEPUSH_CODEC=zstd); may be repeated.
    #[arg(long = "set")]
    settings: Vec<String>,
}

#[derive(Subcommand)]
enum Sub {
    /// The sink's process: keeps bodies in a directory. Started by the harness itself.
    Sink {
        /// Where bodies go.
        dir: PathBuf,
    },
}

/// One row of the report.
struct Row {
    figure: String,
    value: String,
    target: &'static str,
    met: Option<bool>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Some(Sub::Sink { dir }) => sink::serve(dir.clone()).map(|()| true),
        None => measure(&cli),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("edgepush-perf: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The agent's binary, built like this one unless it was given.
fn agent_binary(cli: &Cli) -> io::Result<PathBuf> {
    if let Some(agent) = &cli.agent {
        return agent.canonicalize();
    }
    let here = std::env::current_exe()?;
    let beside = here.parent().unwrap_or(Path::new(".")).join("edgepush");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "-p", "edgepush", "--bin", "edgepush"]);
        if here.components().any(|c| c.as_os_str() == "release") {
            command.arg("--release");
        }
        if !command.status()?.success() {
            return Err(io::Error::other("the agent does not build"));
        }
    }
    beside.canonicalize().map_err(|e| io::Error::other(format!("{}: {e}; give --agent", beside.display())))
}

fn bench(cli: &Cli) -> io::Result<Bench> {
    std::fs::create_dir_all(&cli.dir)?;
    let disk = cli.dir.canonicalize()?;
    let memory = Path::new("/dev/shm").join(format!("edgepush-perf-{}", std::process::id()));
    let memory = if std::fs::create_dir_all(&memory).is_ok() { memory } else { disk.join("memory") };
    let (cpu, other) = process::cores()?;
    if cpu == other {
        eprintln!(
            "edgepush-perf: one CPU only: the agent shares it with the sink, wall times are not comparable"
        );
    }
    let mut settings = Vec::new();
    for setting in &cli.settings {
        let pair =
            setting.split_once('=').ok_or_else(|| io::Error::other(format!("{setting}: NAME=VALUE")))?;
        settings.push((pair.0.to_owned(), pair.1.to_owned()));
    }
    Ok(Bench { agent: agent_binary(cli)?, disk, memory, cpu, other, settings })
}

fn measure(cli: &Cli) -> io::Result<bool> {
    let bench = bench(cli)?;
    let outcome = measure_on(cli, &bench);
    let _ = std::fs::remove_dir_all(&bench.memory);
    outcome
}

fn measure_on(cli: &Cli, bench: &Bench) -> io::Result<bool> {
    let log = bench.log(cli.megabytes * 1_000_000)?;
    eprintln!(
        "log: {} lines, {} bytes; agent on CPU {}, sink on CPU {}",
        log.lines, log.bytes, bench.cpu, bench.other
    );
    // Read once, so that every run finds the log in the page cache.
    io::copy(&mut std::fs::File::open(&log.path)?, &mut io::sink())?;
    let mut rows = Vec::new();
    let mut once = Vec::new();
    let mut follow = Vec::new();
    for _ in 0..cli.runs.max(1) {
        once.push(checked(bench.once(&log)?, log.bytes)?);
        follow.push(checked(bench.follow(&log)?, log.bytes)?);
    }
    throughput(&mut rows, "run --once", &once, log.bytes, true);
    throughput(&mut rows, "run, followed", &follow, log.bytes, false);
    let ledger_ms = ledger(&mut rows, &follow);
    let mut latency_exact = true;
    let mut small = json!(null);
    if !cli.only_throughput {
        let start_ms = bench.start_stop(20)?.as_secs_f64() * 1e3;
        push(
            &mut rows,
            "start + stop of --once on an empty file",
            format!("{start_ms:.1} ms CPU"),
            "≤ 15 ms",
            start_ms <= 15.0,
        );
        let idle = bench.idle(Duration::from_secs(10))? * 100.0;
        push(
            &mut rows,
            "idle, following an empty file",
            format!("{idle:.2} % of a core"),
            "≤ 0.4 %",
            idle <= 0.4,
        );
        let delays = bench.latency(2000, 10)?;
        let (p50, p99) = (delays.delay_ms(0.5), delays.delay_ms(0.99));
        latency_exact = delays.exact();
        push(
            &mut rows,
            "written → acknowledged at 2,000 lines/s, interval 1 s, p50",
            format!("{p50:.0} ms"),
            "",
            true,
        );
        push(&mut rows, "the same, p99", format!("{p99:.0} ms"), "≤ interval + 1 s", p99 <= 2000.0);
        push(
            &mut rows,
            "the same, lost / doubled",
            format!("{} / {}", delays.lost, delays.doubled),
            "0 / 0",
            delays.exact(),
        );
        small = json!({"start_stop_cpu_ms": start_ms, "idle_percent": idle, "latency_ms": {"p50": p50, "p99": p99},
            "latency_lines": delays.lines, "latency_lost": delays.lost, "latency_doubled": delays.doubled});
    }
    print_table(&rows);
    if let Some(path) = &cli.json {
        let figures = json!({"log_bytes": log.bytes, "log_lines": log.lines, "once": runs_json(&once, log.bytes),
            "follow": runs_json(&follow, log.bytes), "ledger_ms_per_batch": ledger_ms, "small": small});
        std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(latency_exact)
}

/// A run counts only when every line came once, as it was.
fn checked(run: Run, bytes: u64) -> io::Result<Run> {
    let a = &run.account;
    if a.exact() && a.bytes == bytes {
        return Ok(run);
    }
    let (lost, doubled, foreign, got) = (a.lost, a.doubled, a.foreign, a.bytes);
    let what =
        format!("wrong answer: {lost} lost, {doubled} doubled, {foreign} foreign, {got} of {bytes} bytes");
    Err(io::Error::other(what))
}

fn speed(run: &Run, bytes: u64) -> f64 {
    bytes as f64 / 1e6 / run.ended.cpu().as_secs_f64()
}

fn push(rows: &mut Vec<Row>, figure: &str, value: String, target: &'static str, met: bool) {
    rows.push(Row { figure: figure.to_owned(), value, target, met: (!target.is_empty()).then_some(met) });
}

fn throughput(rows: &mut Vec<Row>, name: &str, runs: &[Run], bytes: u64, headline: bool) {
    let best = runs.iter().map(|r| speed(r, bytes)).fold(0.0, f64::max);
    let worst = runs.iter().map(|r| speed(r, bytes)).fold(f64::INFINITY, f64::min);
    let Some(run) = runs.iter().min_by_key(|r| r.ended.cpu()) else { return };
    let target = if headline { "≥ 350" } else { "" };
    push(
        rows,
        &format!("{name}: input per CPU-second"),
        format!("{best:.0} MB (worst {worst:.0})"),
        target,
        best >= 350.0,
    );
    let (user, system) = (run.ended.user.as_secs_f64(), run.ended.system.as_secs_f64());
    push(
        rows,
        &format!("{name}: CPU, user + system; wall"),
        format!("{user:.2} + {system:.2} s; {:.2} s", run.ended.wall.as_secs_f64()),
        "",
        true,
    );
    let ratio = bytes as f64 / run.account.stored as f64;
    push(
        rows,
        &format!("{name}: ratio, bytes out, batches"),
        format!("{ratio:.2}, {:.1} MB, {}", run.account.stored as f64 / 1e6, run.account.bodies),
        "",
        true,
    );
    let rss = runs.iter().map(|r| r.ended.peak_rss).max().unwrap_or(0) as f64 / 1e6;
    push(rows, &format!("{name}: peak RSS"), format!("{rss:.0} MB"), "≤ 150 MB", rss <= 150.0);
    push(
        rows,
        &format!("{name}: lost / doubled / repeated keys"),
        format!("{} / {} / {}", run.account.lost, run.account.doubled, run.account.repeated),
        "0 / 0",
        run.account.exact(),
    );
}

/// CPU of the ledger's thread per batch, and a row with all threads.
fn ledger(rows: &mut Vec<Row>, runs: &[Run]) -> Option<f64> {
    let run = runs.iter().min_by_key(|r| r.ended.cpu())?;
    let shares: Vec<String> =
        run.threads.iter().map(|(name, cpu)| format!("{name} {:.0}", cpu.as_secs_f64() * 1e3)).collect();
    push(rows, "run, followed: CPU by thread, ms", shares.join(", "), "", true);
    let per_batch = |run: &Run| {
        let ledger = run
            .threads
            .iter()
            .filter(|(name, _)| name.contains("ledger"))
            .map(|(_, cpu)| *cpu)
            .sum::<Duration>();
        ledger.as_secs_f64() * 1e3 / run.account.bodies.max(1) as f64
    };
    let found = run.threads.keys().any(|name| name.contains("ledger"));
    let ms = runs.iter().map(per_batch).fold(f64::INFINITY, f64::min);
    let value = if found { format!("{ms:.2} ms CPU per batch") } else { "no thread named ledger".to_owned() };
    push(rows, "spool + ledger", value, "≤ 0.3 ms", found && ms <= 0.3);
    found.then_some(ms)
}

fn print_table(rows: &[Row]) {
    println!("| figure | measured | target | |\n|---|---|---|---|");
    for row in rows {
        let met = row.met.map_or("", |m| if m { "met" } else { "MISSED" });
        println!("| {} | {} | {} | {met} |", row.figure, row.value, row.target);
    }
}

fn runs_json(runs: &[Run], bytes: u64) -> serde_json::Value {
    let one = |run: &Run| {
        let threads: serde_json::Map<String, serde_json::Value> =
            run.threads.iter().map(|(n, cpu)| (n.clone(), json!(cpu.as_secs_f64() * 1e3))).collect();
        json!({"mb_per_cpu_s": speed(run, bytes), "user_s": run.ended.user.as_secs_f64(),
            "system_s": run.ended.system.as_secs_f64(), "wall_s": run.ended.wall.as_secs_f64(),
            "peak_rss_bytes": run.ended.peak_rss, "bytes_out": run.account.stored, "batches": run.account.bodies,
            "lines": run.account.lines, "lost": run.account.lost, "doubled": run.account.doubled,
            "repeated_keys": run.account.repeated, "threads_ms": threads})
    };
    runs.iter().map(one).collect()
}

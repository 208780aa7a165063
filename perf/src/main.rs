//! edgepush-perf: the end-to-end harness that an operator runs on a host.
//!
//! `cargo run --release -p edgepush-perf` builds the agent, generates logs, runs the cases on one core into a sink on
//! another, and prints tables beside the targets. The method and its biases stand in `docs/performance.md`.
mod account;
mod bench;
mod case;
mod compare;
mod corpus;
mod expect;
mod figures;
mod flood;
mod host;
mod jobs;
mod measure;
mod peers;
mod process;
mod reference;
mod report;
mod results;
mod sink;
mod stats;
mod suite;

use crate::results::Results;
use bench::Bench;
use clap::{Args, Parser, Subcommand};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Measures edgepush on this host.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: RunArgs,
}

/// What a run takes.
#[derive(Args)]
struct RunArgs {
    /// Cases by name; without any those of the default run.
    cases: Vec<String>,
    /// Only show the cases.
    #[arg(long)]
    list: bool,
    /// Also write the results to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write a report to this file, as HTML.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Only cases over a whole log.
    #[arg(long)]
    only_throughput: bool,
    /// Also run the peers that are on PATH.
    #[arg(long)]
    peers: bool,
    /// The agent's binary; by default it is built with cargo.
    #[arg(long)]
    agent: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where and how much.
#[derive(Args)]
struct PlaceArgs {
    /// Where logs and state lie: a real disk.
    #[arg(long, default_value = ".cache/perf")]
    dir: PathBuf,
    /// Case files of your own: a directory of *.toml.
    #[arg(long = "cases", value_name = "DIR")]
    cases_from: Option<PathBuf>,
    /// Size of every log, MB; by default each case's own.
    #[arg(long)]
    megabytes: Option<u64>,
    /// Runs of every case; by default each case's own, or 3.
    #[arg(long)]
    runs: Option<usize>,
    /// A setting for the agent, NAME=VALUE (EDGEPUSH_CODEC=zstd); may be repeated.
    #[arg(long = "set")]
    settings: Vec<String>,
}

/// Two builds or two results.
#[derive(Args)]
struct CompareArgs {
    /// The older one: an agent's binary, or results from --json.
    a: PathBuf,
    /// The newer one, of the same sort.
    b: PathBuf,
    /// Cases for two binaries.
    #[arg(default_value = "all")]
    cases: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// A flood.
#[derive(Args)]
struct FloodArgs {
    /// unixgram:PATH, udp:ADDRESS:PORT, unix:PATH or tcp:ADDRESS:PORT.
    #[arg(long)]
    to: flood::Address,
    /// Messages a second, or max: as fast as they are taken.
    #[arg(long, default_value = "max", value_parser = rate)]
    rate: u64,
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Bytes of a line, without head and newline.
    #[arg(long, default_value_t = 700)]
    bytes: usize,
    /// What stands before each line.
    #[arg(long, value_enum, default_value = "none")]
    head: flood::Head,
    /// How a stream is cut.
    #[arg(long, value_enum, default_value = "lf")]
    framing: flood::Framing,
    /// Drop what the kernel does not take at once, as nginx does, instead of waiting.
    #[arg(long)]
    drop: bool,
    /// The first number.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// Messages a second; 0 for max.
fn rate(text: &str) -> Result<u64, String> {
    match text {
        "max" => Ok(0),
        _ => text.parse().ok().filter(|rate| *rate > 0).ok_or("a number above 0, or max".to_owned()),
    }
}

#[derive(Subcommand)]
enum Sub {
    /// Compares two agents, in turns, or two files of results; the verdict knows noise.
    Compare(CompareArgs),
    /// Sends numbered messages to a socket; says what the kernel took, as one JSON line.
    Flood(FloodArgs),
    /// The sink's process: keeps bodies in a directory. Started by the harness itself.
    #[command(hide = true)]
    Sink {
        /// Where bodies go.
        dir: PathBuf,
        /// With TLS and a certificate of its own.
        #[arg(long)]
        tls: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Sub::Sink { dir, tls }) => sink::serve(dir, tls).map(|()| true),
        Some(Sub::Flood(args)) => flood_socket(&args),
        Some(Sub::Compare(args)) => compare_two(&args),
        None if cli.run.list => list(&cli.run),
        None => measure(&cli.run),
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

fn list(args: &RunArgs) -> io::Result<bool> {
    for case in case::all(args.place.cases_from.as_deref())? {
        let mark = if case.default { "*" } else { " " };
        println!("{mark} {:<14} {}", case.name, case.about);
    }
    println!("* part of a run that names no case");
    Ok(true)
}

/// The agent's binary, built like this one unless it was given.
fn agent_binary(given: Option<&Path>) -> io::Result<PathBuf> {
    let named = |path: &Path| {
        path.canonicalize().map_err(|e| io::Error::other(format!("{}: {e}; give --agent", path.display())))
    };
    if let Some(agent) = given {
        return named(agent);
    }
    let here = std::env::current_exe()?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "-p", "edgepush", "--bin", "edgepush"]);
        // What cargo says of this package makes build scripts run again, and builds half of the agent anew.
        let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
            command.env_remove(name);
        }
        if here.components().any(|c| c.as_os_str() == "release") {
            command.arg("--release");
        }
        if !command.status()?.success() {
            return Err(io::Error::other("the agent does not build"));
        }
    }
    named(&here.parent().unwrap_or(Path::new(".")).join("edgepush"))
}

/// The bench on this machine.
fn bench(place: &PlaceArgs, agent: PathBuf) -> io::Result<Bench> {
    std::fs::create_dir_all(&place.dir)?;
    let disk = place.dir.canonicalize()?;
    let memory = Path::new("/dev/shm").join(format!("edgepush-perf-{}", std::process::id()));
    let memory = if std::fs::create_dir_all(&memory).is_ok() { memory } else { disk.join("memory") };
    let cpus = process::cpus()?;
    if cpus.len() < 2 {
        eprintln!("edgepush-perf: one CPU only: the agent shares it with the sink, wall times mean nothing");
    }
    let mut settings = Vec::new();
    for setting in &place.settings {
        let pair =
            setting.split_once('=').ok_or_else(|| io::Error::other(format!("{setting}: NAME=VALUE")))?;
        settings.push((pair.0.to_owned(), pair.1.to_owned()));
    }
    Ok(Bench { agent, disk, memory, cpus, settings })
}

fn extent(place: &PlaceArgs, peers: bool) -> suite::Extent {
    suite::Extent { bytes: place.megabytes.map(|mb| mb * 1_000_000), runs: place.runs, peers }
}

fn compare_two(args: &CompareArgs) -> io::Result<bool> {
    let text = match (compare::is_results(&args.a)?, compare::is_results(&args.b)?) {
        (true, true) => compare::results(&Results::read(&args.a)?, &Results::read(&args.b)?),
        (false, false) => {
            let place = &args.place;
            let cases = suite::chosen(case::all(place.cases_from.as_deref())?, &args.cases, false)?;
            let a = bench(place, agent_binary(Some(&args.a))?)?;
            let b = Bench { agent: agent_binary(Some(&args.b))?, ..a.clone() };
            let text = compare::builds(&a, &b, &cases, &extent(place, false));
            let _ = std::fs::remove_dir_all(&a.memory);
            text?
        }
        _ => return Err(io::Error::other("two results or two binaries, not one of each")),
    };
    print!("A {}\nB {}\n\n{text}", args.a.display(), args.b.display());
    Ok(true)
}

fn flood_socket(args: &FloodArgs) -> io::Result<bool> {
    let mut wire = flood::Wire::open(&args.to, args.framing)?;
    let mut messages = flood::Messages::new(args.bytes, args.head)?;
    let pace = flood::Pace { rate: args.rate, drop: args.drop };
    let numbers = args.first..args.first.saturating_add(args.messages);
    let sent = flood::flood(&mut wire, &mut messages, numbers, pace)?;
    let said = serde_json::json!({"to": args.to.to_string(), "messages": args.messages, "sent": sent});
    println!("{said}");
    Ok(true)
}

fn measure(args: &RunArgs) -> io::Result<bool> {
    let place = &args.place;
    let cases = suite::chosen(case::all(place.cases_from.as_deref())?, &args.cases, args.only_throughput)?;
    let bench = bench(place, agent_binary(args.agent.as_deref())?)?;
    let results = suite::suite(&bench, &cases, &extent(place, args.peers));
    let _ = std::fs::remove_dir_all(&bench.memory);
    println!("{}", report::table::text(&results));
    if let Some(path) = &args.json {
        results.write(path)?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, report::html::page(&results))?;
    }
    Ok(results.right())
}

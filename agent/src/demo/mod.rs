//! demo: the whole agent on realistic traffic, with a proof.
//!
//! A writer appends edge access-log lines to a file at a chosen rate and rotates it half-way; the real agent follows it
//! into the embedded archive; at the end every archived file is decompressed and compared with what was written.
//!
//! Promises: what is printed as proof was counted from the files, not from the agent's own counters.
//! Must not know: the agent's insides; it starts it as `run` does.
mod proof;
mod traffic;

use crate::cli::{DemoArgs, Exit, complain, print};
use crate::config::{self, Around, Config, Host, Needs};
use crate::metrics::Totals;
use crate::run::{Ending, Running, start};
use indicatif::{ProgressBar, ProgressStyle};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use traffic::Traffic;

/// How often the progress line is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How long the agent may take to read and deliver what was written.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Runs the demo.
pub fn demo(flags: DemoArgs) -> Exit {
    match perform(&flags) {
        Ok(report) => {
            let exit = if report.proven { Exit::Done } else { Exit::Failed };
            print(&report.text, exit)
        }
        Err((exit, why)) => {
            complain(&format!("edgepush: demo: {why}\n"));
            exit
        }
    }
}

struct Report {
    proven: bool,
    text: String,
}

type Failure = (Exit, String);

fn perform(flags: &DemoArgs) -> Result<Report, Failure> {
    let dir = directory(flags).map_err(|e| (Exit::Failed, e))?;
    let config = settings(&dir)?;
    crate::log::start(config.log, config.log_format);
    let log = dir.join("access.log");
    let failed = |e: std::io::Error| (Exit::Failed, format!("{}: {e}", log.display()));
    let duration = Duration::from_secs(flags.seconds);
    let mut traffic = Traffic::begin(&log, flags.rate, duration).map_err(failed)?;
    let ending = Ending { close: true, grace: Some(DRAIN_MAX), stop_grace: DRAIN_MAX };
    let running = start(&config, false, ending).map_err(|e| (e.exit(), e.to_string()))?;
    let begun = Instant::now();
    follow(&mut traffic, &running);
    let written = traffic.join().map_err(failed)?;
    let (metrics, stopper) = (running.metrics(), running.stopper());
    let waited = Instant::now();
    while metrics.totals().lines_read < written.lines && waited.elapsed() < DRAIN_MAX {
        std::thread::sleep(Duration::from_millis(10));
    }
    stopper.drain();
    let ended = running.join();
    let archive = dir.join("state/archive");
    let found = proof::count(&archive).map_err(|e| (Exit::Failed, format!("{}: {e}", archive.display())))?;
    let proven = ended.undelivered == 0 && found.sum == written.sum;
    Ok(Report {
        proven,
        text: report(&archive, &metrics.totals(), &written, &found, proven, begun.elapsed()),
    })
}

/// A new directory for this run.
fn directory(flags: &DemoArgs) -> Result<PathBuf, String> {
    let dir = match &flags.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("edgepush-demo-{}", std::process::id())),
    };
    let log = dir.join("access.log");
    if log.exists() {
        return Err(format!("{}: is there already; name another directory with --dir", log.display()));
    }
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    fs::canonicalize(&dir).map_err(|e| format!("{}: {e}", dir.display()))
}

/// The settings of the demo, on top of what the environment says of cores, runtime, codec and the like.
fn settings(dir: &Path) -> Result<Config, Failure> {
    let own: [(&str, OsString); 6] = [
        ("EDGEPUSH_SOURCES", format!("file:{}/access.log*", dir.display()).into()),
        ("EDGEPUSH_STATE_DIR", dir.join("state").into()),
        ("EDGEPUSH_DESTINATION", "archive:".into()),
        ("EDGEPUSH_BATCH_INTERVAL", "2s".into()),
        ("EDGEPUSH_API", "off".into()),
        ("EDGEPUSH_LOGS_API", "off".into()),
    ];
    let said = std::env::vars_os().filter(|(name, _)| own.iter().all(|(n, _)| name != n));
    let said = said.chain(own.iter().map(|(name, value)| (OsString::from(name), value.clone())));
    let around = Around {
        host: Host::of_this_machine(),
        read: &|path| fs::read_to_string(path),
        destination: crate::destination::url::validate,
    };
    config::load(said, &around, Needs::Sources).map_err(|problems| {
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (Exit::Operator, text.join("\n"))
    })
}

/// Draws the progress until all traffic is written.
fn follow(traffic: &mut Traffic, running: &Running) {
    let metrics = running.metrics();
    let bar = ProgressBar::new(traffic.duration().as_millis() as u64);
    let style = ProgressStyle::with_template("{bar:24} {elapsed:>4}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let begun = Instant::now();
    let (mut last, mut last_at) = (metrics.totals(), begun);
    while !traffic.ended() {
        std::thread::sleep(DRAW_EVERY);
        let (now, at) = (metrics.totals(), Instant::now());
        bar.set_position((at - begun).as_millis() as u64);
        bar.set_message(line(&last, &now, (at - last_at).as_secs_f64(), traffic.lines()));
        (last, last_at) = (now, at);
    }
    bar.finish_and_clear();
}

fn line(last: &Totals, now: &Totals, seconds: f64, written: u64) -> String {
    let per_second = |now: u64, last: u64| (now - last) as f64 / seconds;
    format!(
        "{:>8.0} lines/s  {:>6.1} MB/s in  {:>5.1} MB/s out  ratio {:.2}  {} batches  lag {} lines",
        per_second(now.lines_read, last.lines_read),
        per_second(now.bytes_read, last.bytes_read) / 1e6,
        per_second(now.compressed_bytes, last.compressed_bytes) / 1e6,
        ratio(now.raw_bytes, now.compressed_bytes),
        now.batches,
        written.saturating_sub(now.lines_read),
    )
}

fn ratio(raw: u64, compressed: u64) -> f64 {
    if compressed == 0 { 0.0 } else { raw as f64 / compressed as f64 }
}

fn report(
    archive: &Path,
    totals: &Totals,
    written: &traffic::Written,
    found: &proof::Found,
    proven: bool,
    took: Duration,
) -> String {
    let mut text = format!(
        "\n{} lines in {:.1} s: {:.1} MB in, {:.1} MB out (ratio {:.2}), {} batches\n\n  files  {} in {}\n",
        written.lines,
        took.as_secs_f64(),
        written.bytes as f64 / 1e6,
        found.stored_bytes as f64 / 1e6,
        ratio(written.bytes, found.stored_bytes),
        totals.batches,
        found.files,
        archive.display(),
    );
    text += &match proven {
        true => format!(
            "  proof  lines written {} = lines delivered {}; every file decompressed, same lines, none lost, none doubled\n",
            written.lines, found.sum.lines
        ),
        false => format!(
            "  FAILED lines written {}, lines delivered {}: they differ; log and archive are kept\n",
            written.lines, found.sum.lines
        ),
    };
    text
}

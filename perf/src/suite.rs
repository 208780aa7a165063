//! The suite: cases one after the other, `igzip -1` and peers beside them, into results.
//!
//! Promises: within a case the contestants take turns, so that a slow minute of the host hits all of them; a case that
//! fails is a row with its error, and the next one runs. Must not know: how a case is run, how results are shown.
use crate::bench::{Bench, Log};
use crate::case::{Case, Kind, Target};
use crate::expect::{By, Expected};
use crate::measure::{Input, Sample, run};
use crate::results::{Goal, Results, Row};
use crate::{host, peers, reference};
use std::io;
use std::process::Command;

/// How much of each case.
pub struct Extent {
    /// Size of every log, bytes; by default each case's own.
    pub bytes: Option<u64>,
    /// Runs of every case; by default each case's own, or 3.
    pub runs: Option<usize>,
    /// Peers too.
    pub peers: bool,
}

/// Runs cases in their order.
pub fn suite(bench: &Bench, cases: &[Case], extent: &Extent) -> Results {
    let host = host::look(&bench.cpus);
    let mut results = Results {
        format: 2,
        time: crate::sink::now_ns() / 1_000_000_000,
        agent: version(bench),
        settings: bench.settings.clone(),
        host,
        rows: Vec::new(),
    };
    for case in cases {
        eprintln!("{}: {}", case.name, case.about);
        let wide = host::wide(&results.host);
        let rows = rows(bench, case, extent, wide)
            .unwrap_or_else(|e| vec![Row { error: Some(e.to_string()), ..empty(case, "edgepush", wide) }]);
        for row in &rows {
            if let Some(e) = &row.error {
                eprintln!("  {}: ERROR: {e}", row.who);
            }
            if let Some(why) = &row.skipped {
                eprintln!("  {}: SKIPPED: {why}", row.who);
            }
        }
        results.rows.extend(rows);
    }
    results
}

/// A row without samples.
fn empty(case: &Case, who: &str, wide: bool) -> Row {
    let goal = |(figure, target): (&String, &Target)| {
        let adapted = !wide && figure == "mb_per_cpu_s";
        let share = if adapted { host::NARROW } else { 1.0 };
        Goal { figure: figure.clone(), min: target.min.map(|m| m * share), max: target.max, adapted }
    };
    Row {
        case: case.name.clone(),
        about: case.about.clone(),
        who: who.to_owned(),
        targets: if who == "edgepush" { case.targets.iter().map(goal).collect() } else { Vec::new() },
        ..Row::default()
    }
}

fn rows(bench: &Bench, case: &Case, extent: &Extent, wide: bool) -> io::Result<Vec<Row>> {
    let mut agent = empty(case, "edgepush", wide);
    if let Some(why) = missing(bench, case)? {
        agent.skipped = Some(why);
        return Ok(vec![agent]);
    }
    let log = log(bench, case, extent)?;
    let expected = expected(case, &log);
    agent.log_bytes = log.bytes;
    let mut igzip = Row { log_bytes: log.bytes, ..empty(case, reference::NAME, wide) };
    let contestants = if extent.peers && case.peers { peers::of(case) } else { Vec::new() };
    let mut peer_rows: Vec<Row> = contestants
        .iter()
        .map(|peer| Row { log_bytes: log.bytes, ..peers::row(peer, empty(case, peer.name(), wide)) })
        .collect();
    let by_id =
        Expected::of(case.corpus, if contestants.is_empty() { 0 } else { log.lines }, &[], None, By::Id);
    for turn in 0..extent.runs.or(case.runs).unwrap_or(3).max(1) {
        if case.kind.speed() {
            match reference::igzip(bench, &log)? {
                Some(sample) => take(&mut igzip, Ok(sample)),
                None => igzip.skipped = Some("igzip is not on PATH (Debian package isal)".to_owned()),
            }
        }
        let input = Input { case, log: &log, expected: &expected };
        take(&mut agent, run(bench, &input, turn));
        for (peer, row) in contestants.iter().zip(&mut peer_rows) {
            if row.error.is_none() && row.skipped.is_none() {
                let wanted = if peer.keeps_bytes() { &expected } else { &by_id };
                let run = peers::run(bench, peer, &Input { case, log: &log, expected: wanted });
                let run = run.map(|(sample, config)| {
                    row.config = Some(config);
                    sample
                });
                take(row, run);
            }
        }
        if agent.error.is_some() {
            break;
        }
    }
    let mut rows = vec![agent];
    rows.append(&mut peer_rows);
    if case.kind.speed() {
        rows.iter_mut().for_each(|row| compare_with(row, &igzip));
        rows.push(igzip);
    }
    Ok(rows)
}

/// The log of a case.
pub fn log(bench: &Bench, case: &Case, extent: &Extent) -> io::Result<Log> {
    let bytes = extent.bytes.unwrap_or(case.mebibytes << 20);
    bench.log(case.corpus, if case.kind.whole() { bytes } else { 1 })
}

/// What must come of a case's log.
pub fn expected(case: &Case, log: &Log) -> Expected {
    let lines = if case.kind.whole() { log.lines } else { 0 };
    Expected::of(case.corpus, lines, &case.fields(), case.keep.as_ref(), By::Bytes)
}

/// The samples of a run go into its row.
fn take(row: &mut Row, run: io::Result<Sample>) {
    match run {
        Ok(sample) => {
            let faster = sample.figures.get("mb_per_cpu_s") > row.head("mb_per_cpu_s").map(|h| h.0).as_ref();
            sample.figures.iter().for_each(|(figure, value)| row.push(figure, *value));
            if row.threads.is_empty() || faster {
                row.threads = sample.threads;
            }
            row.marks.extend(sample.marks);
        }
        Err(e) => {
            row.figures.clear();
            row.error = Some(e.to_string());
        }
    }
}

/// Every speed also in multiples of `igzip -1` alone.
fn compare_with(row: &mut Row, igzip: &Row) {
    let Some((unit, _)) = igzip.head("mb_per_cpu_s") else { return };
    let speeds = row.figures.get("mb_per_cpu_s").cloned().unwrap_or_default();
    if !speeds.is_empty() {
        row.figures.insert("x_igzip".to_owned(), speeds.iter().map(|s| s / unit).collect());
    }
}

/// Why the agent cannot run a case: it is asked with the case's settings, and its own words are given.
fn missing(bench: &Bench, case: &Case) -> io::Result<Option<String>> {
    let Some(requires) = &case.requires else { return Ok(None) };
    let mut command = bench.command(&["env"], "file:/dev/null", "null:")?;
    let out = command
        .envs(&case.set)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .output()?;
    if out.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = said.lines().find(|l| case.set.keys().any(|k| l.contains(k))).or(said.lines().next());
    Ok(Some(format!("the agent has no {requires}: {}", line.unwrap_or("it says nothing").trim())))
}

fn version(bench: &Bench) -> String {
    let out = Command::new(&bench.agent).arg("--version").output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// The cases that are asked for: named ones, or those of a default run.
pub fn chosen(all: Vec<Case>, names: &[String], only_throughput: bool) -> io::Result<Vec<Case>> {
    if let Some(name) = names.iter().find(|name| !all.iter().any(|c| c.name == **name)) {
        let known: Vec<_> = all.iter().map(|c| c.name.as_str()).collect();
        return Err(io::Error::other(format!("{name}: no such case; there are {}", known.join(", "))));
    }
    let wanted = |case: &Case| {
        let named = names.contains(&case.name) || (names.is_empty() && case.default);
        named && (!only_throughput || matches!(case.kind, Kind::Once | Kind::Follow))
    };
    Ok(all.into_iter().filter(wanted).collect())
}

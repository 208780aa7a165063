//! The kill test: SIGKILL at random while a writer appends and rotates keeping three old files; every line comes once.
//!
//! `EDGEPUSH_TEST_KILLS` sets the kills on uring (50 by default), the threads backend gets two fifths of them; each
//! backend's kills are shared by `file://` and HTTP. A kill that finds the agent idle shows nothing, so the test
//! prints what was in hand and wants ≥ 80 % of the kills to hit records in memory or uploads in flight.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn kills_of(backend: &str) -> u64 {
    let uring: u64 =
        std::env::var("EDGEPUSH_TEST_KILLS").map_or(50, |v| v.parse().expect("EDGEPUSH_TEST_KILLS"));
    let all = if backend == "uring" { uring } else { uring * 2 / 5 };
    all.div_ceil(2)
}

/// What an agent had in hand when it was killed.
#[derive(Default)]
struct Histogram {
    kinds: BTreeMap<&'static str, u64>,
    behind: Vec<u64>,
}

impl Histogram {
    fn note(&mut self, agent: &Agent, open_requests: usize, behind: u64) {
        let memory = agent
            .metrics()
            .map(|m| (m.sum("edgepush_ring_bytes") > 0.0, m.sum("edgepush_spool_batches") > 0.0));
        let kind = match (memory, open_requests > 0) {
            (Some((true, _)), true) => "memory and flight",
            (Some((true, _)), false) => "memory",
            (_, true) => "flight",
            (Some((false, true)), false) => "spool only",
            (Some((false, false)), false) => "idle",
            (None, false) => "starting",
        };
        *self.kinds.entry(kind).or_default() += 1;
        self.behind.push(behind);
    }

    fn report(&mut self, title: &str) {
        self.behind.sort_unstable();
        let kills = self.behind.len();
        let mut text = format!("{title}: {kills} kills; in hand at the kill:");
        for (kind, count) in &self.kinds {
            text += &format!("\n    {kind:<18}{count:>4}  {}", "#".repeat(*count as usize));
        }
        let at = |part: usize| self.behind[(kills - 1) * part / 10];
        text += &format!(
            "\n    lines written and not yet delivered: least {}, median {}, most {}",
            at(0),
            at(5),
            at(10)
        );
        say(&text);
        let hit: u64 =
            ["memory and flight", "memory", "flight"].iter().filter_map(|k| self.kinds.get(k)).sum();
        assert!(hit * 10 >= kills as u64 * 8, "{title}: only {hit} of {kills} kills found anything in hand");
    }
}

fn setup(place: &Place, backend: &str, destination: &str) -> Setup {
    place
        .setup()
        .env("EDGEPUSH_RUNTIME", backend)
        .env("EDGEPUSH_DESTINATION", destination)
        .env("EDGEPUSH_BATCH_INTERVAL", "300ms")
        .env("EDGEPUSH_COMMIT_INTERVAL", "1s")
}

/// Waits until the agent is ready. When that takes long, rotation is held: what leaves the disk while no agent could
/// read it is lost by the operator's choice of old files, not by the agent.
fn wait_ready(agent: &mut Agent, writer: &LogWriter) {
    let start = Instant::now();
    while agent.get("/readyz").is_none_or(|(status, _)| status != 200) {
        assert!(agent.alive(), "the agent ended:\n{}", agent.stderr_text());
        assert!(start.elapsed() < Duration::from_secs(20), "not ready:\n{}", agent.stderr_text());
        writer.hold_rotation(start.elapsed() > Duration::from_millis(500));
        std::thread::sleep(Duration::from_millis(5));
    }
    writer.hold_rotation(false);
}

/// Kills the agent again and again under load; returns the lines written once a last run has delivered all.
fn kill_often(
    place: &Place,
    setup: &Setup,
    (backend, to): (&str, &str),
    recorder: Option<&Recorder>,
    mut after_kill: impl FnMut(),
) -> u64 {
    let seed = u64::from(std::process::id());
    let mut dice = Dice(seed << 20 | 0x9e37_79b9);
    let mut histogram = Histogram::default();
    let mut files =
        Delivered::below(&if to == "archive" { place.state().join("archive") } else { place.out() });
    // What is asked of the archive is nothing about files that leave the disk.
    let keep = if to == "archive" { 60 } else { 3 };
    let writer = LogWriter::start(Load {
        path: place.log(),
        run: "r".into(),
        lines_per_second: 4000,
        rotation: Rotation::Rename { keep },
        rotate_every: Duration::from_secs(1),
    });
    for _ in 0..kills_of(backend) {
        let mut agent = setup.start();
        wait_ready(&mut agent, &writer);
        std::thread::sleep(Duration::from_millis(200 + dice.below(700)));
        let delivered = recorder.map_or_else(|| files.count(), Recorder::records);
        let open = recorder.map_or(0, Recorder::open_requests);
        histogram.note(&agent, open, writer.written().saturating_sub(delivered));
        agent.kill();
        after_kill();
    }
    let written = writer.stop();
    setup.once().exits(0);
    histogram.report(&format!("kill test, {backend}, {to}, seed {seed}"));
    written
}

fn to_files(backend: &str) {
    let place = Place::new();
    let setup = setup(&place, backend, &place.to_files());
    let written = kill_often(&place, &setup, (backend, "file"), None, || {});
    assert_exactly_once("r", written, &lines_in_dir(&place.out()));
    assert_eq!(objects(&place.out()), files_below(&place.out()), "no temporary file is left");
}

fn to_http(backend: &str) {
    let place = Place::new();
    // A slow receiver with some trouble, so that uploads are under way at the kill.
    let recorder = Recorder::with(|ask| match ask.number % 11 {
        3 => Answer::Status(503),
        7 => Answer::CloseAfter,
        _ => Answer::Slow(Duration::from_millis(150), 200),
    });
    let setup = setup(&place, backend, &recorder.url());
    let written = kill_often(&place, &setup, (backend, "http"), Some(&recorder), || {});
    assert_exactly_once("r", written, &recorder.lines());
}

/// Every file that was listed at a kill is there at the end, byte for byte, and what is listed is what is there.
fn to_archive(backend: &str) {
    let place = Place::new();
    // Full files are published at once: there is always one on its way.
    let setup = setup(&place, backend, "archive:").env("EDGEPUSH_BATCH_RECORDS", "400");
    let mut listed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let root = place.state().join("archive");
    let names = || {
        let index = edgepush::archive::Index::look(&place.state().join("archive.db"));
        let domains = |index: &edgepush::archive::Index| index.domains().expect("domains");
        let files = index.iter().flat_map(|index| {
            let all =
                domains(index).into_iter().flat_map(|d| index.list(&d, i64::MIN..i64::MAX).expect("a list"));
            all.map(|entry| entry.path()).collect::<Vec<_>>()
        });
        files.collect::<Vec<_>>()
    };
    let written = kill_often(&place, &setup, (backend, "archive"), None, || {
        for name in names() {
            let bytes = std::fs::read(root.join(&name)).expect("what is listed is there");
            assert_eq!(
                *listed.entry(name.clone()).or_insert_with(|| bytes.clone()),
                bytes,
                "{name} has changed"
            );
        }
    });
    assert_exactly_once("r", written, &lines_in_dir(&root));
    assert!(listed.len() > 10, "{} files were listed at kills", listed.len());
    for (name, bytes) in listed {
        assert_eq!(std::fs::read(root.join(&name)).expect("still there"), bytes, "{name} has changed");
    }
    let mut names: Vec<_> = names().iter().map(|name| root.join(name)).collect();
    names.sort();
    assert_eq!(files_below(&root), names, "what is listed is what is there");
}

#[test]
fn killed_on_threads_into_the_archive() {
    to_archive("threads");
}

#[test]
fn killed_on_uring_into_files() {
    if uring_works() { to_files("uring") } else { skipped("kill on uring", "io_uring is refused here") }
}

#[test]
fn killed_on_uring_into_http() {
    if uring_works() { to_http("uring") } else { skipped("kill on uring", "io_uring is refused here") }
}

#[test]
fn killed_on_threads_into_files() {
    to_files("threads");
}

#[test]
fn killed_on_threads_into_http() {
    to_http("threads");
}

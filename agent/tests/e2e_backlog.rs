//! Compressed logs: what gzip, zstd and logrotate itself leave behind is read, oldest first, each line once.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(40);

fn following(place: &Place, backend: &str) -> Setup {
    place.setup().env("EDGEPUSH_RUNTIME", backend).env("EDGEPUSH_BATCH_INTERVAL", "300ms")
}

fn wait_delivered(place: &Place, count: u64) {
    let mut delivered = Delivered::below(&place.out());
    wait_until(&format!("{count} lines are delivered"), PATIENCE, || delivered.count() >= count);
}

/// Whether a program is here; says it loudly when not.
fn has(test: &str, program: &str) -> bool {
    let here = Command::new(program).arg("--version").output().is_ok();
    if !here {
        skipped(test, &format!("{program} is not installed; .ci/install does it"));
    }
    here
}

fn ran(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Compresses by the program, which removes the original.
fn compress(program: &str, path: &Path) {
    let quiet = if program == "zstd" { &["-q", "--rm"][..] } else { &["-1"] };
    ran(Command::new(program).args(quiet).arg(path));
}

fn aged(path: &Path, hours: u64) {
    let file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).unwrap();
}

/// A backlog of three rotations beside the live file, `lines` each; by gzip, plain, by zstd.
fn backlog(place: &Place, lines: u64) {
    for (n, program) in [(3, "gzip"), (2, ""), (1, "zstd")] {
        let path = writer::rotated(&place.log(), n);
        writer::append(&path, "r", (3 - u64::from(n)) * lines..(4 - u64::from(n)) * lines);
        aged(&path, u64::from(n) * 10);
        if !program.is_empty() {
            compress(program, &path);
        }
    }
    writer::append(&place.log(), "r", 3 * lines..4 * lines);
}

fn numbers(place: &Place) -> Vec<u64> {
    let lines = lines_in_dir(&place.out());
    let seq = |line: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64();
    lines.iter().filter_map(seq).collect()
}

#[test]
fn a_backlog_is_read_oldest_first_by_once_and_by_run() {
    if !has("backlog", "gzip") || !has("backlog", "zstd") {
        return;
    }
    let place = Place::new();
    backlog(&place, 20_000);
    let setup = place.setup().env("EDGEPUSH_BATCH_RECORDS", "1000000");
    let done = setup.once().exits(0);
    assert_eq!(done.count("lines_read"), 80_000);
    assert!(numbers(&place).is_sorted(), "with one shard the order of the lines is that of the files");
    assert_exactly_once("r", 80_000, &lines_in_dir(&place.out()));
    assert_eq!(setup.once().exits(0).count("lines_read"), 0);
    for backend in backends("backlog") {
        let place = Place::new();
        backlog(&place, 20_000);
        let agent = following(&place, backend).start_ready();
        wait_delivered(&place, 80_000);
        writer::append(&place.log(), "r", 80_000..80_100);
        wait_delivered(&place, 80_100);
        let status = agent.get("/status").unwrap().1;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let text = status.to_string();
        assert!(text.contains("access.log.3.gz") && text.contains("access.log.1.zst"), "{text}");
        agent.terminate().exits(0);
        assert_eq!(place.setup().once().exits(0).count("lines_read"), 0);
        assert_exactly_once("r", 80_100, &lines_in_dir(&place.out()));
    }
}

#[test]
fn a_kill_in_the_middle_of_a_compressed_file() {
    if !has("kill in a compressed file", "gzip") {
        return;
    }
    for backend in backends("kill in a compressed file") {
        let place = Place::new();
        let lines = 400_000;
        let rotated = writer::rotated(&place.log(), 1);
        writer::append(&rotated, "r", 0..lines);
        compress("gzip", &rotated);
        writer::append(&place.log(), "r", lines..lines + 100);
        // A commit every second, of which kills leave some behind.
        let setup = following(&place, backend)
            .env("EDGEPUSH_COMMIT_INTERVAL", "1s")
            .env("EDGEPUSH_EGRESS_MAX", "20MB");
        let mut dice = Dice(7);
        let mut killed_in_the_middle = 0;
        for _ in 0..6 {
            let agent = setup.start_ready();
            std::thread::sleep(Duration::from_millis(300 + dice.below(900)));
            agent.kill();
            let there = Delivered::below(&place.out()).count();
            killed_in_the_middle += u32::from((1..lines).contains(&there));
        }
        say(&format!("{backend}: {killed_in_the_middle} of 6 kills had delivered a part"));
        setup.without("EDGEPUSH_EGRESS_MAX").once().exits(0);
        assert_exactly_once("r", lines + 100, &lines_in_dir(&place.out()));
    }
}

/// logrotate as a host runs it: its configuration, its state, its own compressing.
struct Logrotate {
    conf: PathBuf,
    state: PathBuf,
    /// Names by the second must differ.
    pause: Duration,
}

impl Logrotate {
    fn new(place: &Place, words: &[&str]) -> Logrotate {
        let (conf, state) = (place.path("logrotate.conf"), place.path("logrotate.state"));
        let log = place.log().display().to_string();
        std::fs::write(&conf, format!("{log} {{\n rotate 50\n missingok\n {}\n}}\n", words.join("\n ")))
            .unwrap();
        std::fs::set_permissions(&conf, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let pause = Duration::from_millis(if words.contains(&"dateext") { 1100 } else { 0 });
        Logrotate { conf, state, pause }
    }

    fn run(&self) {
        std::thread::sleep(self.pause);
        ran(Command::new("logrotate").arg("--force").arg("--state").arg(&self.state).arg(&self.conf));
    }
}

/// Every way of logrotate with the agent there, away, and killed; a third of the lines comes between two runs.
fn rotated_by(words: &[&str], backend: &str, globs: &str) {
    let place = Place::new();
    let log = place.log().display().to_string();
    let setup = following(&place, backend).env("EDGEPUSH_SOURCES", &globs.replace("LOG", &log));
    let logrotate = Logrotate::new(&place, words);
    let mut next = 0;
    let mut write = |count: u64| {
        writer::append(&place.log(), "r", next..next + count);
        next += count;
        next
    };
    let agent = setup.start_ready();
    for _ in 0..3 {
        let written = write(2000);
        // What copytruncate cuts off before it is copied is lost for everybody: nothing is written meanwhile.
        if words.contains(&"copytruncate") {
            wait_delivered(&place, written);
        }
        logrotate.run();
        write(500);
        std::thread::sleep(Duration::from_millis(700));
    }
    wait_delivered(&place, 7500);
    agent.kill();
    // It is away: two rotations, the second of which compresses what the first one left.
    for _ in 0..2 {
        write(3000);
        logrotate.run();
    }
    let written = write(100);
    let agent = setup.start_ready();
    wait_delivered(&place, written);
    agent.terminate().exits(0);
    let compressed = std::fs::read_dir(place.path("log")).unwrap().flatten();
    let compressed =
        compressed.filter(|e| e.path().extension().is_some_and(|ext| ext == "gz" || ext == "zst"));
    assert!(compressed.count() >= 3, "logrotate compresses");
    assert_eq!(setup.once().exits(0).count("lines_read"), 0, "nothing is read twice");
    assert_exactly_once("r", written, &lines_in_dir(&place.out()));
}

#[test]
fn logrotate_compresses_at_once() {
    if has("logrotate compress", "logrotate") {
        for backend in backends("logrotate compress") {
            rotated_by(&["create", "compress"], backend, "file:LOG*");
        }
    }
}

#[test]
fn logrotate_compresses_at_once_and_only_compressed_files_are_in_the_globs() {
    if has("logrotate compress", "logrotate") {
        rotated_by(&["create", "compress"], "auto", "file:LOG,file:LOG*.gz");
    }
}

#[test]
fn logrotate_delays_compressing() {
    if has("logrotate delaycompress", "logrotate") {
        for backend in backends("logrotate delaycompress") {
            rotated_by(&["create", "compress", "delaycompress"], backend, "file:LOG*");
        }
    }
}

#[test]
fn logrotate_copies_truncates_and_compresses() {
    if has("logrotate copytruncate", "logrotate") {
        for backend in backends("logrotate copytruncate") {
            rotated_by(&["copytruncate", "compress"], backend, "file:LOG*");
        }
    }
}

#[test]
fn logrotate_compresses_with_zstd_and_dates() {
    if has("logrotate zstd", "logrotate") && has("logrotate zstd", "zstd") {
        let zstd = [
            "create",
            "compress",
            "compresscmd /usr/bin/zstd",
            "compressext .zst",
            "compressoptions -q --rm",
        ];
        let dated = ["dateext", "dateformat -%Y%m%d-%s"];
        rotated_by(&[&zstd[..], &dated].concat(), "auto", "file:LOG*");
    }
}

#[test]
fn a_damaged_file_is_named_and_holds_nothing_up() {
    if !has("damaged gzip", "gzip") {
        return;
    }
    let place = Place::new();
    let rotated = writer::rotated(&place.log(), 1);
    writer::append(&rotated, "r", 0..20_000);
    compress("gzip", &rotated);
    let packed = place.path("log/access.log.1.gz");
    let whole = std::fs::read(&packed).unwrap();
    std::fs::write(&packed, &whole[..whole.len() / 2]).unwrap();
    aged(&packed, 5);
    writer::append(&place.log(), "s", 0..100);
    let begun = Instant::now();
    let done = place.setup().once().exits(0);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(done.stderr.contains("access.log.1.gz is damaged (it ends in the middle"), "{}", done.stderr);
    let read = done.count("lines_read");
    assert!((5_000..20_000).contains(&read), "{read} lines");
    assert_eq!(place.setup().once().exits(0).count("lines_read"), 0);
}

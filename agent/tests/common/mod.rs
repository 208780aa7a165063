//! The tools of the black-box tests: they start the real binary and real servers, write real logs, and count lines.
//!
//! Promises: nothing here reaches into the agent: what is known of it comes from its processes, files, sockets and
//! metrics, as an operator would know it. Must not know: the agent's library.
#![allow(dead_code, unused_imports, missing_docs, clippy::unwrap_used, clippy::expect_used)]
pub mod agent;
pub mod delivery;
pub mod dice;
pub mod faults;
pub mod jobs;
pub mod lines;
pub mod recorder;
pub mod servers;
pub mod writer;

pub use agent::{Agent, Done, Metrics, Setup};
pub use dice::Dice;
pub use faults::{Fault, Faults};
pub use jobs::{Api, Reply};
pub use lines::*;
pub use recorder::{Answer, Recorder, Request};
pub use writer::{Load, LogWriter, Rotation};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A place for one test: log, destination and state directories below one temporary directory.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { dir: tempfile::Builder::new().prefix("edgepush-test-").tempdir().unwrap() };
        for sub in ["log", "out", "state"] {
            std::fs::create_dir(place.path(sub)).unwrap();
        }
        place
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn log(&self) -> PathBuf {
        self.path("log/access.log")
    }
    pub fn out(&self) -> PathBuf {
        self.path("out")
    }
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }
    /// `EDGEPUSH_SOURCES` for the access log alone.
    pub fn one_log(&self) -> String {
        format!("file:{}", self.log().display())
    }
    /// `EDGEPUSH_SOURCES` for the access log and its rotated files.
    pub fn all_logs(&self) -> String {
        format!("file:{}*", self.log().display())
    }
    /// `EDGEPUSH_DESTINATION` for the out directory.
    pub fn to_files(&self) -> String {
        format!("file://{}", self.out().display())
    }
    /// A setup that reads the access log and its rotated files into the out directory.
    pub fn setup(&self) -> Setup {
        Setup::new(&self.state())
            .env("EDGEPUSH_SOURCES", &self.all_logs())
            .env("EDGEPUSH_DESTINATION", &self.to_files())
    }
}

/// Waits until `done` holds; panics with `what` when it does not within `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "waited {limit:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a line past the test runner's capture: figures and skips are to be seen of tests that pass, too.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Says loudly that a test did not run, and why. CI forbids it where the tool must be there.
pub fn skipped(test: &str, why: &str) {
    say(&format!("SKIPPED {test}: {why}"));
    assert!(std::env::var_os("EDGEPUSH_TEST_NO_SKIP").is_none(), "{test} may not be skipped here: {why}");
}

/// Whether this machine lets a process set up an io_uring: asked of the agent itself, once.
pub fn uring_works() -> bool {
    static WORKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *WORKS.get_or_init(|| {
        let place = Place::new();
        std::fs::write(place.log(), "").unwrap();
        let done = place.setup().env("EDGEPUSH_RUNTIME", "uring").once();
        let refused = done.code == Some(2) && done.stderr.contains("io_uring");
        assert!(done.code == Some(0) || refused, "the probe of io_uring failed otherwise: {done:?}");
        done.code == Some(0)
    })
}

/// The backends to test on this machine; a missing one is said loudly.
pub fn backends(test: &str) -> Vec<&'static str> {
    if uring_works() {
        return vec!["uring", "threads"];
    }
    skipped(test, "io_uring is refused on this machine: only the threads backend is tested");
    vec!["threads"]
}

/// Bytes below a directory as `du` counts them: allocated blocks.
pub fn allocated_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        sum += if meta.is_dir() { allocated_bytes(&entry.path()) } else { meta.blocks() * 512 };
    }
    sum
}

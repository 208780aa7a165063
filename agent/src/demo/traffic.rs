//! traffic: writes realistic edge access-log lines into a file at a chosen rate, and rotates it half-way.
//!
//! Promises: what it says it wrote is in the files, whole lines only.
//! Must not know: who reads them.
use super::proof::Sum;
use edgepush_shard::testing::corpus::EdgeLines;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lines are written in bursts this far apart.
const BURST_EVERY: Duration = Duration::from_millis(10);
/// Lines of a burst when there is no rate.
const BURST_LINES_MAX: u64 = 5_000;

/// A writer on a thread of its own.
pub struct Traffic {
    duration: Duration,
    lines: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<Written>>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Lines.
    pub lines: u64,
    /// Bytes, line ends included.
    pub bytes: u64,
    /// The lines' sum.
    pub sum: Sum,
}

impl Traffic {
    /// Creates the log and begins to write `rate` lines per second (0: as fast as it goes) for `duration`.
    ///
    /// # Errors
    /// The log cannot be created.
    pub fn begin(log: &Path, rate: u64, duration: Duration) -> io::Result<Traffic> {
        let file = open(log)?;
        let lines = Arc::new(AtomicU64::new(0));
        let (path, shown) = (log.to_owned(), lines.clone());
        let thread = std::thread::Builder::new()
            .name("traffic".into())
            .spawn(move || write(file, &path, rate, duration, &shown))?;
        Ok(Traffic { duration, lines, thread })
    }

    /// How long it writes.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Lines written so far.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What was written.
    ///
    /// # Errors
    /// The log could not be written.
    pub fn join(self) -> io::Result<Written> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).open(path)
}

fn write(
    mut file: File,
    log: &Path,
    rate: u64,
    duration: Duration,
    shown: &AtomicU64,
) -> io::Result<Written> {
    let begun = Instant::now();
    let mut lines =
        EdgeLines::new(SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64));
    let (mut written, mut burst, mut rotated) = (Written::default(), Vec::new(), false);
    while begun.elapsed() < duration {
        let due = match rate {
            0 => BURST_LINES_MAX,
            rate => ((begun.elapsed().as_secs_f64() * rate as f64) as u64).saturating_sub(written.lines),
        };
        burst.clear();
        for _ in 0..due {
            let start = burst.len();
            lines.append(&mut burst);
            written.sum.add(burst[start..].strip_suffix(b"\n").unwrap_or(&burst[start..]));
        }
        file.write_all(&burst)?;
        written.lines += due;
        written.bytes += burst.len() as u64;
        shown.store(written.lines, Ordering::Relaxed);
        if !rotated && begun.elapsed() * 2 > duration {
            rotated = true;
            fs::rename(log, rotated_name(log))?;
            file = open(log)?;
        }
        if rate > 0 {
            std::thread::sleep(BURST_EVERY);
        }
    }
    Ok(written)
}

fn rotated_name(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

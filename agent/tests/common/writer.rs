//! A web server's log, as a thread: it appends JSON lines with a run id and a sequence number, and rotates.
//!
//! Promises: a line counts as written once `write` returned; no line is written during a rotation, so that neither
//! way of rotating loses a line by itself.
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    None,
    /// rename to `.1` … `.keep`, create anew, as logrotate's `create` does.
    Rename {
        keep: u32,
    },
    /// copy to `.1` … `.keep`, truncate, as logrotate's `copytruncate` does.
    CopyTruncate {
        keep: u32,
    },
}

#[derive(Clone, Debug)]
pub struct Load {
    pub path: PathBuf,
    pub run: String,
    pub lines_per_second: u64,
    pub rotation: Rotation,
    pub rotate_every: Duration,
}

pub struct LogWriter {
    stop: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The line number `seq` of a run, without its newline. Its shape varies as real traffic does.
pub fn line(run: &str, seq: u64) -> String {
    let mix = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (seq << 13);
    let path =
        ["/", "/index.html", "/api/v1/items", "/static/app.js", "/ünïcode/\\\"q\\\""][(mix % 5) as usize];
    let status = [200, 200, 200, 304, 404, 500][(mix >> 8) as usize % 6];
    format!(
        "{{\"run\":\"{run}\",\"seq\":{seq},\"id\":\"{mix:016x}\",\"status\":{status},\"bytes\":{},\"rt\":0.{:03},\
         \"path\":\"{path}\",\"ua\":\"Mozilla/5.0 (X11; Linux x86_64) rv:{}\"}}",
        mix % 100_000,
        mix % 1000,
        mix % 140,
    )
}

/// Some lines of a run, each with its newline.
pub fn text(run: &str, seqs: std::ops::Range<u64>) -> String {
    seqs.map(|s| line(run, s) + "\n").collect()
}

/// Appends some lines of a run to a file, made when it is missing.
pub fn append(path: &Path, run: &str, seqs: std::ops::Range<u64>) {
    open(path).write_all(text(run, seqs).as_bytes()).unwrap();
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// `access.log.N`.
pub fn rotated(path: &Path, n: u32) -> PathBuf {
    PathBuf::from(format!("{}.{n}", path.display()))
}

/// Moves `.1` to `.2` and so on; the oldest is replaced, so it goes.
pub fn shift(path: &Path, keep: u32) {
    for n in (1..keep).rev() {
        let _ = std::fs::rename(rotated(path, n), rotated(path, n + 1));
    }
}

/// One rotation by rename; the next line goes to a new file.
pub fn rotate_by_rename(path: &Path, keep: u32) {
    shift(path, keep);
    std::fs::rename(path, rotated(path, 1)).unwrap();
}

/// One rotation by copy and truncation.
pub fn rotate_by_copy(path: &Path, keep: u32) {
    shift(path, keep);
    std::fs::copy(path, rotated(path, 1)).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
}

impl LogWriter {
    pub fn start(load: Load) -> LogWriter {
        let (stop, hold) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let written = Arc::new(AtomicU64::new(0));
        let shared = (stop.clone(), hold.clone(), written.clone());
        let thread = std::thread::spawn(move || write_lines(&load, &shared.0, &shared.1, &shared.2));
        LogWriter { stop, hold, written, thread: Some(thread) }
    }
    /// Lines written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
    /// Stops or resumes rotations: what no reader has had a chance to read must not be deleted.
    pub fn hold_rotation(&self, hold: bool) {
        self.hold.store(hold, Ordering::Release);
    }
    /// Ends the thread; lines written in all.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.take().expect("runs").join().expect("the writer does not panic");
        self.written()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn write_lines(load: &Load, stop: &AtomicBool, hold: &AtomicBool, written: &AtomicU64) {
    let start = Instant::now();
    let mut file = open(&load.path);
    let mut rotated_at = start;
    let mut seq = 0;
    while !stop.load(Ordering::Acquire) {
        let due = (start.elapsed().as_secs_f64() * load.lines_per_second as f64) as u64;
        // A late writer catches up in small steps, as nginx flushes its buffer.
        let end = due.min(seq + 500);
        if end > seq {
            file.write_all(text(&load.run, seq..end).as_bytes()).unwrap();
            seq = end;
            written.store(seq, Ordering::Release);
        }
        if rotated_at.elapsed() >= load.rotate_every && !hold.load(Ordering::Acquire) {
            rotated_at = Instant::now();
            match load.rotation {
                Rotation::None => {}
                Rotation::Rename { keep } => {
                    rotate_by_rename(&load.path, keep);
                    file = open(&load.path);
                }
                Rotation::CopyTruncate { keep } => rotate_by_copy(&load.path, keep),
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

//! The cases: each starts the real agent on one core and the sink on another, checks the answer, then reports.
//!
//! Promises: a figure is only reported of a run whose every line arrived once. Must not know: how it is printed.
use crate::account::{Account, account};
use crate::corpus::Corpus;
use crate::process::{Ended, Running};
use crate::sink;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where a bench runs.
pub struct Bench {
    /// The agent's binary.
    pub agent: PathBuf,
    /// Directory for logs and state, on a real disk.
    pub disk: PathBuf,
    /// Directory for the sink's bodies, in memory where there is one.
    pub memory: PathBuf,
    /// The agent's CPU.
    pub cpu: usize,
    /// The CPU of the sink and of this process.
    pub other: usize,
    /// More `EDGEPUSH_*` settings for the agent.
    pub settings: Vec<(String, String)>,
}

/// A generated log.
pub struct Log {
    /// Where it lies.
    pub path: PathBuf,
    /// Its lines.
    pub lines: u64,
    /// Its size, bytes.
    pub bytes: u64,
}

/// One measured run of a whole log.
pub struct Run {
    /// The process's account.
    pub ended: Ended,
    /// The lines' account.
    pub account: Account,
    /// CPU of threads by name, of the time in which the log was read; empty with `--once`.
    pub threads: BTreeMap<String, Duration>,
}

/// Nobody waits longer than this for an agent.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sink's process; ended with its value.
struct Sink {
    running: Running,
    port: u16,
    dir: PathBuf,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.running.child().kill();
        let _ = self.running.child().wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Bench {
    /// Generates the log of about `bytes`, unless it is there already.
    pub fn log(&self, bytes: u64) -> io::Result<Log> {
        let path = self.disk.join(format!("access-{bytes}.log"));
        let count = self.disk.join(format!("access-{bytes}.lines"));
        if let (Ok(lines), Ok(meta)) = (std::fs::read_to_string(&count), path.metadata())
            && let Ok(lines) = lines.trim().parse()
        {
            return Ok(Log { path, lines, bytes: meta.len() });
        }
        let mut corpus = Corpus::new(1);
        let mut file = io::BufWriter::with_capacity(1 << 20, std::fs::File::create(&path)?);
        let (mut lines, mut size, mut line) = (0, 0, Vec::new());
        while size < bytes {
            line.clear();
            corpus.line(&mut line, None);
            file.write_all(&line)?;
            size += line.len() as u64;
            lines += 1;
        }
        file.into_inner()?.sync_all()?;
        std::fs::write(count, format!("{lines}\n"))?;
        Ok(Log { path, lines, bytes: size })
    }

    fn fresh(&self, name: &str, root: &Path) -> io::Result<PathBuf> {
        let dir = root.join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn sink(&self) -> io::Result<Sink> {
        let dir = self.fresh("bodies", &self.memory)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("sink").arg(&dir).stdout(Stdio::piped());
        let mut running = Running::start(command, self.other, self.other)?;
        let out = running.child().stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().parse().map_err(io::Error::other)?;
        Ok(Sink { running, port, dir })
    }

    /// The agent with a fresh state directory; its own log goes to a file.
    fn command(&self, args: &[&str], sources: &str, destination: &str) -> io::Result<Command> {
        let state = self.fresh("state", &self.disk)?;
        let mut command = Command::new(&self.agent);
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("EDGEPUSH_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("EDGEPUSH_SOURCES", sources)
            .env("EDGEPUSH_DESTINATION", destination)
            .env("EDGEPUSH_STATE_DIR", state)
            .envs(self.settings.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.disk.join("agent.stderr"))?);
        Ok(command)
    }

    fn failed(&self, what: &str) -> io::Error {
        let said = std::fs::read_to_string(self.disk.join("agent.stderr")).unwrap_or_default();
        io::Error::other(format!("{what}; the agent said:\n{said}"))
    }

    /// `run --once` over a whole log.
    pub fn once(&self, log: &Log) -> io::Result<Run> {
        let sink = self.sink()?;
        let sources = format!("file:{}", log.path.display());
        let command =
            self.command(&["run", "--once"], &sources, &format!("http://127.0.0.1:{}/ingest", sink.port))?;
        let ended = Running::start(command, self.cpu, self.other)?.wait(PATIENCE)?;
        if ended.code != Some(0) {
            return Err(self.failed(&format!("run --once exited with {:?}", ended.code)));
        }
        let account = account(&sink::bodies(&sink.dir)?, log.lines, false)?;
        Ok(Run { ended, account, threads: BTreeMap::new() })
    }

    /// `run` follows a directory into which a whole log is linked once the agent is ready.
    pub fn follow(&self, log: &Log) -> io::Result<Run> {
        let sink = self.sink()?;
        let dir = self.fresh("followed", &self.disk)?;
        let sources = format!("file:{}/*.log", dir.display());
        let mut command =
            self.command(&["run"], &sources, &format!("http://127.0.0.1:{}/ingest", sink.port))?;
        command.env("EDGEPUSH_BATCH_INTERVAL", "1s").env("EDGEPUSH_API", "127.0.0.1:0");
        let mut running = Running::start(command, self.cpu, self.other)?;
        self.wait_ready(&mut running)?;
        let before = running.look();
        std::fs::hard_link(&log.path, dir.join("access.log"))?;
        self.wait_records(&mut running, &sink, log.lines)?;
        // The verdicts of the last batches become durable.
        std::thread::sleep(Duration::from_millis(300));
        let mut threads = running.look();
        for (name, cpu) in &mut threads {
            *cpu = cpu.saturating_sub(before.get(name).copied().unwrap_or_default());
        }
        running.terminate();
        let ended = running.wait(PATIENCE)?;
        if ended.code != Some(0) {
            return Err(self.failed(&format!("run exited with {:?} at SIGTERM", ended.code)));
        }
        let account = account(&sink::bodies(&sink.dir)?, log.lines, false)?;
        Ok(Run { ended, account, threads })
    }

    /// A writer at a steady rate, the agent follows: write to acknowledgement of each line.
    pub fn latency(&self, lines_per_second: u64, seconds: u64) -> io::Result<Account> {
        let sink = self.sink()?;
        let dir = self.fresh("followed", &self.disk)?;
        let path = dir.join("access.log");
        let mut file = std::fs::File::create(&path)?;
        let sources = format!("file:{}", path.display());
        let mut command =
            self.command(&["run"], &sources, &format!("http://127.0.0.1:{}/ingest", sink.port))?;
        command.env("EDGEPUSH_BATCH_INTERVAL", "1s").env("EDGEPUSH_API", "127.0.0.1:0");
        let mut running = Running::start(command, self.cpu, self.other)?;
        self.wait_ready(&mut running)?;
        let (start, mut corpus, mut written) = (Instant::now(), Corpus::new(2), 0);
        let mut text = Vec::new();
        while start.elapsed() < Duration::from_secs(seconds) {
            let due = (start.elapsed().as_secs_f64() * lines_per_second as f64) as u64;
            text.clear();
            for _ in written..due {
                corpus.line(&mut text, Some(sink::now_ns()));
            }
            file.write_all(&text)?;
            written = due.max(written);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.wait_records(&mut running, &sink, written)?;
        running.terminate();
        running.wait(PATIENCE)?;
        account(&sink::bodies(&sink.dir)?, written, true)
    }

    /// CPU of `--once` on an empty file, start to end, the median of `runs`.
    pub fn start_stop(&self, runs: usize) -> io::Result<Duration> {
        let path = self.disk.join("empty.log");
        std::fs::write(&path, "")?;
        let mut times = Vec::new();
        for _ in 0..runs {
            let command = self.command(&["run", "--once"], &format!("file:{}", path.display()), "null:")?;
            let ended = Running::start(command, self.cpu, self.other)?.wait(PATIENCE)?;
            if ended.code != Some(0) {
                return Err(self.failed(&format!("run --once on an empty file exited with {:?}", ended.code)));
            }
            times.push(ended.cpu());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }

    /// Share of a core that an agent takes that follows an empty file, over `watched`.
    pub fn idle(&self, watched: Duration) -> io::Result<f64> {
        let path = self.disk.join("empty.log");
        std::fs::write(&path, "")?;
        let mut command = self.command(&["run"], &format!("file:{}", path.display()), "null:")?;
        command.env("EDGEPUSH_API", "127.0.0.1:0");
        let mut running = Running::start(command, self.cpu, self.other)?;
        self.wait_ready(&mut running)?;
        std::thread::sleep(Duration::from_secs(2));
        let total = |running: &mut Running| running.look().values().sum::<Duration>();
        let (start, before) = (Instant::now(), total(&mut running));
        std::thread::sleep(watched);
        let used = total(&mut running).saturating_sub(before);
        let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
        running.terminate();
        running.wait(PATIENCE)?;
        Ok(share)
    }

    fn wait_ready(&self, running: &mut Running) -> io::Result<()> {
        let address = self.disk.join("state/api.addr");
        let end = Instant::now() + Duration::from_secs(20);
        while !ready(&address) {
            if running.child().try_wait()?.is_some() || Instant::now() > end {
                return Err(self.failed("the agent did not get ready"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn wait_records(&self, running: &mut Running, sink: &Sink, records: u64) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while sink::bodies(&sink.dir)?.iter().map(|b| b.records).sum::<u64>() < records {
            running.look();
            if Instant::now() > end {
                return Err(self.failed("not everything arrived"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn ready(address: &Path) -> bool {
    use std::io::Read;
    let Ok(text) = std::fs::read_to_string(address) else { return false };
    let Ok(mut stream) = std::net::TcpStream::connect(text.trim()) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: edgepush\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
}

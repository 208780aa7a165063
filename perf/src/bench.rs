//! The bench: logs, sinks and agents of a measurement, each on its core.
//!
//! Promises: a log lies in the page cache before it is used; an agent starts with a fresh state directory and no setting
//! of the harness's own environment; what was started ends with its value. Must not know: what is measured.
use crate::case::Destination;
use crate::corpus::{self, Corpus, Kind};
use crate::process::{Ended, Running};
use crate::sink::{self, Body};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Nobody waits longer than this for an agent.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Where a bench runs.
#[derive(Clone)]
pub struct Bench {
    /// The agent's binary.
    pub agent: PathBuf,
    /// Directory for logs and state, on a real disk.
    pub disk: PathBuf,
    /// Directory for the sink's bodies, in memory where there is one.
    pub memory: PathBuf,
    /// The CPUs that may be used: the agent takes the first ones.
    pub cpus: Vec<usize>,
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

/// A sink's process; ended with its value.
pub struct Sink {
    _running: Running,
    port: u16,
    tls: bool,
    dir: PathBuf,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Sink {
    /// Where the agent posts to.
    pub fn url(&self) -> String {
        if self.tls {
            let ca = self.dir.join(sink::CERTIFICATE);
            format!("https://127.0.0.1:{}/ingest?ca={}", self.port, ca.display())
        } else {
            format!("http://127.0.0.1:{}/ingest", self.port)
        }
    }

    /// Its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What came so far.
    pub fn bodies(&self) -> io::Result<Vec<Body>> {
        sink::bodies(&self.dir)
    }

    /// From now on it answers 503, or 200 again.
    pub fn refuse(&self, on: bool) -> io::Result<()> {
        let word = self.dir.join(sink::REFUSE);
        if on { std::fs::write(word, "") } else { std::fs::remove_file(word) }
    }
}

/// Where the lines of one run go.
pub enum Place {
    /// To a sink.
    Sink(Sink),
    /// Into a directory.
    Dir(PathBuf),
    /// Into the archive of the state directory.
    Archive(PathBuf),
    /// Nowhere.
    Null,
}

impl Place {
    /// The destination's URL.
    pub fn url(&self) -> String {
        match self {
            Place::Sink(sink) => sink.url(),
            Place::Dir(dir) => format!("file://{}", dir.display()),
            Place::Archive(_) => "archive:".to_owned(),
            Place::Null => "null:".to_owned(),
        }
    }

    /// What came; `None` where nothing can be looked at.
    pub fn bodies(&self) -> io::Result<Option<Vec<Body>>> {
        match self {
            Place::Sink(sink) => sink.bodies().map(Some),
            Place::Dir(dir) | Place::Archive(dir) => sink::files(dir).map(Some),
            Place::Null => Ok(None),
        }
    }
}

impl Bench {
    /// The first `count` CPUs, or as many as there are.
    pub fn first(&self, count: usize) -> &[usize] {
        &self.cpus[..count.clamp(1, self.cpus.len())]
    }

    /// The CPU of sink and harness: the second.
    pub fn other(&self) -> usize {
        self.cpus[1.min(self.cpus.len() - 1)]
    }

    /// The log of a corpus of about `bytes`, made unless it is there already, and in the page cache.
    pub fn log(&self, kind: Kind, bytes: u64) -> io::Result<Log> {
        let word = format!("{kind:?}").replace(['(', ')'], "");
        let name = format!("{word}-v{}-{bytes}", corpus::VERSION).to_lowercase();
        let (path, count) = (self.disk.join(format!("{name}.log")), self.disk.join(format!("{name}.lines")));
        let kept: Option<u64> = std::fs::read_to_string(&count).ok().and_then(|n| n.trim().parse().ok());
        if kept.is_none() {
            eprintln!("making {}", path.display());
            let lines = generate(kind, bytes, &path)?;
            std::fs::write(&count, format!("{lines}\n"))?;
        }
        let bytes = io::copy(&mut std::fs::File::open(&path)?, &mut io::sink())?;
        let lines = std::fs::read_to_string(&count)?.trim().parse::<u64>().map_err(io::Error::other)?;
        Ok(Log { path, lines, bytes })
    }

    /// An empty directory.
    pub fn fresh(&self, name: &str, root: &Path) -> io::Result<PathBuf> {
        let dir = root.join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// A sink on the second CPU.
    pub fn sink(&self, tls: bool) -> io::Result<Sink> {
        let dir = self.fresh("bodies", &self.memory)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("sink").arg(&dir).stdout(Stdio::piped());
        if tls {
            command.arg("--tls");
        }
        let mut running = Running::start(command, &[self.other()], self.other())?;
        let out = running.child().stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().parse().map_err(|_| io::Error::other("the sink did not start"))?;
        Ok(Sink { _running: running, port, tls, dir })
    }

    /// A fresh place for what is delivered.
    pub fn place(&self, destination: Destination) -> io::Result<Place> {
        Ok(match destination {
            Destination::Http => Place::Sink(self.sink(false)?),
            Destination::Https => Place::Sink(self.sink(true)?),
            Destination::Null => Place::Null,
            Destination::File => Place::Dir(self.fresh("delivered", &self.memory)?),
            Destination::Archive => Place::Archive(self.disk.join("state/archive")),
        })
    }

    /// The agent's command with a fresh state directory; its own log goes to a file.
    pub fn command(&self, args: &[&str], sources: &str, url: &str) -> io::Result<Command> {
        let state = self.fresh("state", &self.disk)?;
        let mut command = Command::new(&self.agent);
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("EDGEPUSH_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("EDGEPUSH_SOURCES", sources)
            .env("EDGEPUSH_DESTINATION", url)
            .env("EDGEPUSH_STATE_DIR", state)
            .envs(self.settings.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(self.disk.join("agent.stdout"))?)
            .stderr(std::fs::File::create(self.disk.join("agent.stderr"))?);
        Ok(command)
    }

    /// The address of the API of the agent that runs.
    pub fn api(&self) -> io::Result<String> {
        Ok(std::fs::read_to_string(self.disk.join("state/api.addr"))?.trim().to_owned())
    }

    /// The metrics of the agent that runs.
    pub fn metrics(&self) -> io::Result<String> {
        get(&self.api()?, "/metrics")
    }

    /// What the agent wrote to standard output last.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.disk.join("agent.stdout")).unwrap_or_default()
    }

    /// An error with the end of what the agent wrote to standard error.
    pub fn failed(&self, what: &str) -> io::Error {
        let said = std::fs::read_to_string(self.disk.join("agent.stderr")).unwrap_or_default();
        let tail: Vec<&str> = said.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        io::Error::other(format!("{what}; the agent said:\n{}", tail.join("\n")))
    }

    /// Waits for a run's end and wants exit code 0.
    pub fn ended(&self, running: Running, what: &str) -> io::Result<Ended> {
        let ended = running.wait(PATIENCE)?;
        if ended.code == Some(0) {
            return Ok(ended);
        }
        Err(self.failed(&format!("{what} exited with {:?}", ended.code)))
    }

    /// Starts a `run` that is asked whether it is ready, and waits until it is.
    pub fn start_ready(&self, mut command: Command, cores: usize) -> io::Result<Running> {
        command.env("EDGEPUSH_API", "127.0.0.1:0");
        let mut running = Running::start(command, self.first(cores), self.other())?;
        let address = self.disk.join("state/api.addr");
        let end = Instant::now() + Duration::from_secs(20);
        while !ready(&address) {
            if running.child().try_wait()?.is_some() || Instant::now() > end {
                return Err(self.failed("the agent did not get ready"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(running)
    }
}

/// Writes whole lines until there are `bytes`; their number.
fn generate(kind: Kind, bytes: u64, path: &Path) -> io::Result<u64> {
    let mut corpus = Corpus::new(kind, 1);
    let mut file = std::fs::File::create(path)?;
    let (mut lines, mut size, mut text) = (0, 0, Vec::with_capacity(2 << 20));
    while size < bytes {
        let before = text.len();
        corpus.line(&mut text, None);
        size += (text.len() - before) as u64;
        lines += 1;
        if text.len() > 1 << 20 {
            file.write_all(&text)?;
            text.clear();
        }
    }
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(lines)
}

fn ready(address: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(address) else { return false };
    get(text.trim(), "/readyz").is_ok_and(|answer| answer.contains(" 200 "))
}

/// An answer of the agent's API, with its head.
fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: edgepush\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The sum of a metric over its labels.
pub fn sum(metrics: &str, name: &str) -> f64 {
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let known = series.split('{').next() == Some(name);
        if known { value.parse::<f64>().ok() } else { None }
    };
    metrics.lines().filter_map(of).sum()
}

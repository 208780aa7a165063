//! `Setup` describes one `edgepush` process, `Agent` is one that runs, `Done` one that has ended.
//!
//! Promises: the environment of the test leaks into no agent; an agent dies with its `Agent`; nothing waits forever.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The binary under test: the one that cargo built, or the one that `EDGEPUSH_TEST_BINARY` names (a packaged one).
pub fn binary() -> PathBuf {
    std::env::var_os("EDGEPUSH_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_edgepush").into(), PathBuf::from)
}
/// Writes a script.
pub fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
/// No agent is waited for longer than this, unless the test says so.
pub const PATIENCE: Duration = Duration::from_secs(50);

#[derive(Clone)]
pub struct Setup {
    env: BTreeMap<String, String>,
    state: PathBuf,
    binary: PathBuf,
    uid: Option<u32>,
}

impl Setup {
    pub fn new(state: &Path) -> Setup {
        let setup = Setup { env: BTreeMap::new(), state: state.into(), binary: binary(), uid: None };
        // A small spool keeps the tests from preallocating packs of 64 MiB each.
        setup.env("EDGEPUSH_STATE_DIR", &state.display().to_string()).env("EDGEPUSH_SPOOL_MAX", "256MB")
    }
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.insert(name.into(), value.into());
        self
    }
    pub fn without(mut self, name: &str) -> Setup {
        self.env.remove(name);
        self
    }
    /// Runs the agent as this user. Only root may.
    pub fn user(mut self, uid: u32, binary: &Path) -> Setup {
        self.uid = Some(uid);
        self.binary = binary.into();
        self
    }
    /// Runs this program instead: a script that runs the agent.
    pub fn program(mut self, program: &Path) -> Setup {
        self.binary = program.into();
        self
    }
    pub fn state(&self) -> &Path {
        &self.state
    }
    fn command(&self, args: &[&str], stdin: Stdio) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("EDGEPUSH_")) {
            command.env_remove(name);
        }
        command.env_remove("NOTIFY_SOCKET").envs(&self.env).current_dir("/");
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }
    /// Starts any command of the binary.
    pub fn spawn(&self, args: &[&str]) -> Agent {
        self.spawn_reading(args, Stdio::null())
    }
    /// The same with this standard input.
    pub fn spawn_reading(&self, args: &[&str], stdin: impl Into<Stdio>) -> Agent {
        let mut child = self.command(args, stdin.into()).spawn().expect("the binary starts");
        let stderr = drain(child.stderr.take().expect("piped"));
        let stdout = drain(child.stdout.take().expect("piped"));
        Agent { child, state: self.state.clone(), stdout, stderr, ended: None }
    }
    /// Starts `edgepush run` with an API on a free port.
    pub fn start(&self) -> Agent {
        let mut setup = self.clone();
        setup.env.entry("EDGEPUSH_API".into()).or_insert_with(|| "127.0.0.1:0".into());
        let _ = std::fs::remove_file(self.state.join("api.addr"));
        setup.spawn(&["run"])
    }
    /// Starts `edgepush run` and waits until it is ready.
    pub fn start_ready(&self) -> Agent {
        let mut agent = self.start();
        agent.wait_ready();
        agent
    }
    /// Runs `edgepush run --once` to its end.
    pub fn once(&self) -> Done {
        self.finish(&["run", "--once"])
    }
    /// Runs any command to its end.
    pub fn finish(&self, args: &[&str]) -> Done {
        self.spawn(args).wait(PATIENCE)
    }
}

type Text = (Arc<Mutex<Vec<u8>>>, std::thread::JoinHandle<()>);

fn drain(mut from: impl Read + Send + 'static) -> Text {
    let text = Arc::new(Mutex::new(Vec::new()));
    let into = text.clone();
    let thread = std::thread::spawn(move || {
        let mut part = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut part) {
            into.lock().unwrap().extend_from_slice(&part[..n]);
        }
    });
    (text, thread)
}

/// How a process ended and what it said.
#[derive(Clone, Debug)]
pub struct Done {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Asserts the exit code and returns itself.
    #[track_caller]
    pub fn exits(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
    /// The JSON line that `run --once` prints: exactly one line, exactly these keys.
    #[track_caller]
    pub fn summary(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "one line on stdout, not:\n{}", self.stdout);
        let line: serde_json::Value = serde_json::from_str(self.stdout.trim()).expect("stdout is JSON");
        let mut keys: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = [
            "batches",
            "bytes_in",
            "bytes_out",
            "lines_read",
            "records_delivered",
            "records_filtered",
            "rejected",
            "repaired",
            "undelivered_batches",
        ];
        assert_eq!(keys, expected);
        line
    }
    /// One number of the JSON line.
    #[track_caller]
    pub fn count(&self, key: &str) -> u64 {
        self.summary()[key].as_u64().unwrap_or_else(|| panic!("{key} is a number in {}", self.stdout))
    }
}

pub struct Agent {
    child: Child,
    state: PathBuf,
    stdout: Text,
    stderr: Text,
    ended: Option<Option<i32>>,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, signal);
    }
    /// `kill -9`, now.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
    /// SIGTERM, and waits for the end.
    pub fn terminate(self) -> Done {
        self.signal(rustix::process::Signal::TERM);
        self.wait(Duration::from_secs(20))
    }
    pub fn alive(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait works").map(|s| s.code());
        }
        self.ended.is_none()
    }
    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Done {
        let end = Instant::now() + limit;
        while self.alive() {
            if Instant::now() > end {
                let _ = self.child.kill();
                panic!("the agent did not end within {limit:?}; stderr:\n{}", self.stderr_text());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // What the process wrote is complete once its pipes are closed.
        let limit = Instant::now() + Duration::from_secs(2);
        while !(self.stdout.1.is_finished() && self.stderr.1.is_finished()) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        let text = |t: &Text| String::from_utf8_lossy(&t.0.lock().unwrap()).into_owned();
        Done { code: self.ended.flatten(), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }
    /// What it has logged so far.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr.0.lock().unwrap()).into_owned()
    }
    /// The address of the API, once it stands in the state directory.
    pub fn api(&self) -> Option<SocketAddr> {
        let text = std::fs::read_to_string(self.state.join("api.addr")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }
    /// Its jobs API.
    pub fn jobs(&self) -> super::Api {
        super::Api::of(&self.state)
    }
    /// Waits until so many lines have been read and processed since this process started.
    #[track_caller]
    pub fn wait_read(&self, lines: u64) {
        super::wait_until("the lines are read", Duration::from_secs(30), || {
            self.metrics().is_some_and(|m| m.sum("edgepush_lines_read_total") >= lines as f64)
        });
    }
    /// GET on the API: status and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.api()?, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: edgepush\r\n\r\n").ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(self.alive(), "the agent ended instead of getting ready:\n{}", self.stderr_text());
            if self.get("/readyz").is_some_and(|(status, _)| status == 200) {
                return;
            }
            assert!(Instant::now() < end, "not ready within 20 s:\n{}", self.stderr_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    /// What `/metrics` says now.
    pub fn metrics(&self) -> Option<Metrics> {
        let (status, text) = self.get("/metrics")?;
        (status == 200).then(|| Metrics::parse(&text))
    }
    /// The largest resident set so far, bytes.
    pub fn peak_rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A scrape of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<(String, String, f64)>,
}

impl Metrics {
    pub fn parse(text: &str) -> Metrics {
        let mut samples = Vec::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let Some((series, rest)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Ok(value) = rest.parse() else { continue };
            samples.push((name.to_owned(), labels.trim_end_matches('}').to_owned(), value));
        }
        Metrics { samples }
    }
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|(n, _, _)| n == name)
    }
    /// Sum over all series of this name.
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }
    /// Sum over the series of this name whose labels contain `part`.
    pub fn sum_where(&self, name: &str, part: &str) -> f64 {
        self.samples.iter().filter(|(n, l, _)| n == name && l.contains(part)).map(|s| s.2).sum()
    }
}

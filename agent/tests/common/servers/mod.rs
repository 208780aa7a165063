//! Real servers that no one here wrote, each a process on free ports of 127.0.0.1 with a temporary folder of its own.
//!
//! Promises: one that is returned answers; its end is the end of its processes, waited for; one that is not installed
//! says SKIPPED and is `None`. What was delivered is read back with the vendors' own clients (`readback/*.py`).
//! Must not know: the agent.
pub mod azurite;
pub mod gcs;
pub mod nginx;
pub mod osmem;
pub mod s3;

pub use azurite::Azurite;
pub use gcs::FakeGcs;
pub use nginx::Nginx;
pub use osmem::Osmem;
pub use s3::{JuiceFs, S3, Weed};

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The bucket or container that each store has from its start.
pub const BUCKET: &str = "edge-logs";

/// A place below the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A file below the cache of `.ci/servers`; without it the test that wants it is skipped, said once here.
fn cached(part: &str, path: &str) -> Option<PathBuf> {
    let path = repository(".cache").join(path);
    if path.exists() {
        return Some(path);
    }
    super::skipped(part, "it is not installed; .ci/servers does it");
    None
}

/// A program of this host that `.ci/install` installs; without it the test that wants it is skipped, said once here.
pub fn program(part: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(|p| p.is_file());
    if found.is_none() {
        super::skipped(part, "it is not installed; .ci/install does it");
    }
    found
}

/// A file of a Python package of `.ci/servers`.
fn packaged(part: &str, path: &str) -> Option<PathBuf> {
    let libraries = repository(".cache/servers-py/lib");
    let found = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let found = found.map(|version| version.path().join("site-packages").join(path)).find(|p| p.exists());
    if found.is_none() {
        super::skipped(part, "it is not installed; .ci/servers does it");
    }
    found
}

/// Free ports of 127.0.0.1, all different.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let all: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    all.map(|listener| listener.local_addr().unwrap().port())
}

/// A process of a server, and its folder.
pub struct Server {
    name: &'static str,
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    /// A folder for a server.
    pub fn folder(name: &str) -> tempfile::TempDir {
        tempfile::Builder::new().prefix(&format!("edgepush-{name}-")).tempdir().unwrap()
    }
    /// Starts the process and waits until it is ready. `None`: it ended, for example since another took its port.
    pub fn start(
        name: &'static str,
        dir: tempfile::TempDir,
        command: &mut Command,
        mut ready: impl FnMut() -> bool,
    ) -> Option<Server> {
        let log = std::fs::File::create(dir.path().join("server.log")).unwrap();
        let child = command
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // A group of its own: what the server starts ends with it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let mut server = Server { name, child, dir };
        let end = Instant::now() + Duration::from_secs(60);
        while !ready() {
            if server.child.try_wait().unwrap().is_some() {
                super::say(&format!("{name} ended at its start: {}", server.log()));
                return None;
            }
            assert!(Instant::now() < end, "{name} is not ready after 60 s: {}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }
    /// What it has said, its last 4 kB.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.dir.path().join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned()
    }
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Asks it to end, and waits until it has: what it still has to write is written.
    #[track_caller]
    pub fn quit(&mut self, signal: rustix::process::Signal) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal);
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "{} does not end: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Three tries of a start: a port that was free may be taken by another test.
#[track_caller]
pub fn tries<T>(name: &str, start: impl Fn() -> Option<T>) -> T {
    (0..3).find_map(|_| start()).unwrap_or_else(|| panic!("{name} ended at its start, three times"))
}

/// The status of `GET path`, without any credentials.
pub fn status_of(port: u16, path: &str) -> Option<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.split(' ').nth(1)?.parse().ok()
}

/// What a script of `readback/` found: whole objects stand below a folder, as stored.
#[derive(Debug)]
pub struct ReadBack {
    /// What the script counted: `objects`, `lines`, `numbers` (distinct sequence numbers), and what else it says.
    pub said: serde_json::Value,
    dir: tempfile::TempDir,
}

impl ReadBack {
    /// Where the objects stand.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// One number of what the script said.
    #[track_caller]
    pub fn count(&self, what: &str) -> u64 {
        self.said[what].as_u64().unwrap_or_else(|| panic!("no {what} in {}", self.said))
    }
    /// All lines, decoded by the object's name.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        super::lines_in_dir(self.dir.path())
    }
    /// Whole objects as stored, by name.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let files = super::files_below(self.dir.path()).into_iter();
        let name = |p: &Path| p.strip_prefix(self.dir.path()).unwrap().display().to_string();
        files.map(|p| (name(&p), std::fs::read(&p).unwrap())).collect()
    }
    /// Asserts that the lines `0..written` of run `run` came, each once, by both counts: the script's and ours.
    #[track_caller]
    pub fn assert_exactly_once(&self, run: &str, written: u64) {
        assert_eq!((self.count("lines"), self.count("numbers")), (written, written), "{}", self.said);
        super::assert_exactly_once(run, written, &self.lines());
    }
    /// The same of documents, which a server may have spelled anew: each is the value that was written.
    #[track_caller]
    pub fn assert_exactly_once_as_json(&self, run: &str, written: u64) {
        assert_eq!((self.count("lines"), self.count("numbers")), (written, written), "{}", self.said);
        for line in self.lines() {
            let found: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(found["run"], run, "{found}");
            let line = super::writer::line(run, found["seq"].as_u64().unwrap());
            assert_eq!(worth(&found), worth(&serde_json::from_str(&line).unwrap()));
        }
    }
}

/// An object with its numbers as what they are worth: a server may write 0.250 as 0.25, and serde_json keeps the spelling
/// where another crate of the build asks it to.
pub fn worth(object: &serde_json::Value) -> serde_json::Value {
    let members = object.as_object().unwrap().iter();
    members.map(|(name, value)| (name.clone(), value.as_f64().map_or(value.clone(), Into::into))).collect()
}

/// Runs a script of `readback/` with the Python of `.ci/servers`; its last argument is a fresh folder.
#[track_caller]
pub fn read_back(script: &str, args: &[&str]) -> ReadBack {
    let dir = Server::folder("readback");
    let folder = dir.path().display().to_string();
    let said = python(script, &[args, &[&folder]].concat());
    ReadBack { said: serde_json::from_str(&said).unwrap_or_else(|e| panic!("{script}: {e}: {said}")), dir }
}

/// What a script of `readback/` prints.
#[track_caller]
pub fn python(script: &str, args: &[&str]) -> String {
    let mut command = Command::new(repository(".cache/servers-py/bin/python3"));
    command
        .arg(repository("agent/tests/readback").join(script))
        .args(args)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let out = command.output().unwrap_or_else(|e| panic!("{script}: {e}"));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{script} {args:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
    said
}

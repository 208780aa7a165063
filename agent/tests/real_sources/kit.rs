//! What the tests of all servers have in common: the load, the agent's sources, and the account of what came.
//!
//! Promises: a request is known by the id in its query, whatever the format. Must not know: which server it is.
use crate::common::servers::{program, repository};
use crate::common::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a head of syslog adds to a record.
const HEAD: [&str; 3] = ["syslog_time", "syslog_host", "syslog_tag"];

/// One server at a time: they are driven as fast as they can.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether the long runs are wanted.
pub fn long() -> bool {
    std::env::var("EDGEPUSH_TEST_REAL").is_ok_and(|which| which == "all")
}

/// Seconds of load: the records of all sources are held in memory.
pub fn seconds() -> u32 {
    if long() { 4 } else { 1 }
}

/// wrk against a port of the loopback interface, with what `load.lua` makes up. `None`: it is not installed.
pub fn load(port: u16, seconds: u32) -> Option<()> {
    let wrk = program("wrk", "wrk")?;
    let script = repository("agent/tests/real_sources/load.lua");
    let done = Command::new(wrk)
        .args(["-t1", "-c4", &format!("-d{seconds}s"), "-s", &script.display().to_string()])
        .arg(format!("http://127.0.0.1:{port}/"))
        .stdout(Stdio::null())
        .status();
    assert!(done.unwrap().success());
    Some(())
}

/// A server's count once it stands still: what was on its way when the load ended is counted, too. Each look may itself
/// be so many requests.
pub fn settled(each_look: u64, count: impl Fn() -> u64) -> u64 {
    let mut before = count();
    for looks in 1..100 {
        std::thread::sleep(Duration::from_millis(400));
        let now = count() - looks * each_look;
        if now == before {
            return now;
        }
        before = now;
    }
    panic!("the count does not stand still");
}

/// The body of a GET.
pub fn get(port: u16, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The queue of the unix sockets that are made while it lives. `None`: this process may not set it.
pub struct DatagramQueue(String);

const QUEUE: &str = "/proc/sys/net/unix/max_dgram_qlen";

impl DatagramQueue {
    pub fn of(messages: u32) -> Option<DatagramQueue> {
        let before = std::fs::read_to_string(QUEUE).ok()?;
        std::fs::write(QUEUE, messages.to_string()).ok()?;
        Some(DatagramQueue(before))
    }
}

impl Drop for DatagramQueue {
    fn drop(&mut self) {
        let _ = std::fs::write(QUEUE, self.0.trim());
    }
}

/// A place with sources, each with a name and a format.
pub struct Site {
    pub place: Place,
    sources: Vec<(&'static str, String, String)>,
}

impl Site {
    pub fn new() -> Site {
        Site { place: Place::new(), sources: Vec::new() }
    }
    /// A log that a server writes.
    pub fn file(&mut self, name: &'static str, format: &str) -> PathBuf {
        let path = self.place.path(&format!("log/{}.log", name.to_lowercase()));
        self.sources.push((name, format!("file:{}", path.display()), format.into()));
        path
    }
    /// A unix socket for datagrams.
    pub fn unixgram(&mut self, name: &'static str, format: &str) -> PathBuf {
        let path = self.place.path(&format!("log/{}.sock", name.to_lowercase()));
        self.sources.push((name, format!("unixgram:{}", path.display()), format.into()));
        path
    }
    /// A UDP port.
    pub fn udp(&mut self, name: &'static str, format: &str) -> String {
        let at = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        self.sources.push((name, format!("udp:{at}"), format.into()));
        at.to_string()
    }
    /// Standard input.
    pub fn stdin(&mut self, name: &'static str, format: &str) {
        self.sources.push((name, "stdin:".into(), format.into()));
    }
    pub fn setup(&self) -> Setup {
        let setup = self.place.setup().without("EDGEPUSH_SOURCES").env("EDGEPUSH_BATCH_INTERVAL", "300ms");
        // A disk of the tests that is nearly full would make the spool small.
        let setup = setup.env("EDGEPUSH_DISK_RESERVE", "1%");
        self.sources.iter().fold(setup, |setup, (name, address, format)| {
            setup
                .env(&format!("EDGEPUSH_SOURCE_{name}"), address)
                .env(&format!("EDGEPUSH_FORMAT_{name}"), format)
        })
    }
    /// What was kept of rejects.
    fn rejects(&self) -> Vec<String> {
        let kept = lines_in_dir(&self.place.state().join("rejects"));
        kept.iter().take(10).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
    /// Waits until so many records are delivered, or dropped by the kernel, or nothing comes any more; ends the agent.
    pub fn came(&self, mut agent: Agent, wanted: u64) -> Came {
        let mut now = Metrics::default();
        let (mut best, mut moved) = (0, Instant::now());
        while moved.elapsed() < Duration::from_secs(5) {
            assert!(agent.alive(), "the agent ended: {}", agent.stderr_text());
            now = agent.metrics().unwrap_or(now);
            let delivered = now.sum("edgepush_records_delivered_total");
            let sum = (delivered + now.sum("edgepush_socket_dropped_total")) as u64;
            if sum >= wanted {
                break;
            }
            if sum > best {
                (best, moved) = (sum, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let done = agent.terminate().exits(0);
        let came = Came { metrics: now, records: records(&self.place.out()), stderr: done.stderr };
        assert!(came.metrics.sum("edgepush_records_rejected_total") < 1.0, "{:#?}", self.rejects());
        came
    }
}

/// Every record that was delivered into a directory.
pub fn records(dir: &Path) -> Vec<Value> {
    lines_in_dir(dir).iter().map(|line| serde_json::from_slice(line).expect("a record is JSON")).collect()
}

/// What an agent delivered, and its metrics just before its end.
pub struct Came {
    pub metrics: Metrics,
    pub records: Vec<Value>,
    pub stderr: String,
}

impl Came {
    /// Datagrams that the kernel dropped.
    pub fn dropped(&self) -> u64 {
        self.metrics.sum("edgepush_socket_dropped_total") as u64
    }
    /// The records of the format that writes JSON (with a member `server`), or of the other one, by request: without what
    /// syslog added, and the same from each source.
    pub fn copies(&self, json: bool) -> Copies {
        let mut copies: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        for record in self.records.iter().filter(|r| r.get("server").is_some() == json) {
            let Some(id) = id(record) else { continue };
            let mut record = record.clone();
            HEAD.iter().for_each(|name| drop(record.as_object_mut().unwrap().remove(*name)));
            copies.entry(id).or_default().push(record);
        }
        for (id, copies) in &copies {
            assert!(copies.iter().all(|c| *c == copies[0]), "request {id} came in two forms: {copies:#?}");
        }
        Copies(copies)
    }
    /// The heads that were stripped: each tag with its records, all of now, of this host where they say so.
    pub fn tags(&self) -> BTreeMap<String, u64> {
        let mut tags = BTreeMap::new();
        let now = jiff::Timestamp::now();
        for record in self.records.iter().filter(|r| r.get("syslog_tag").is_some()) {
            let time: jiff::Timestamp = record["syslog_time"].as_str().expect("a time").parse().unwrap();
            assert!((now - time).get_seconds().abs() < 300, "{record}");
            *tags.entry(record["syslog_tag"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        tags
    }
}

/// The id of a request, in the query of its URI. `None`: HAProxy says that the request was cut off.
fn id(record: &Value) -> Option<u64> {
    let text = record.to_string();
    if text.contains("<BADREQ>") {
        return None;
    }
    let digits = text.split_once("?id=").unwrap_or_else(|| panic!("no id in {text}")).1;
    Some(digits.split_once('&').unwrap().0.parse().unwrap())
}

/// The copies of each request's record.
pub struct Copies(BTreeMap<u64, Vec<Value>>);

impl Copies {
    /// How many are missing of so many of each request. One of each came by a file, so none is missing altogether.
    #[track_caller]
    pub fn missing(&self, requests: u64, each: u64) -> u64 {
        assert_eq!(self.0.len() as u64, requests, "requests of which a record came");
        let more = self.0.values().find(|copies| copies.len() as u64 > each);
        assert!(more.is_none(), "more than {each}: {more:?}");
        requests * each - self.0.values().map(|copies| copies.len() as u64).sum::<u64>()
    }
    /// The log that the server wrote has the same requests with the same values.
    #[track_caller]
    pub fn assert_as_written(&self, log: &Path) {
        let mut same = 0;
        for line in lines_of(&std::fs::read(log).unwrap()) {
            let line: Value = serde_json::from_slice(&line).expect("the server writes JSON");
            let Some(id) = id(&line) else { continue };
            assert_eq!(self.0[&id][0], line);
            same += 1;
        }
        assert_eq!(same, self.0.len());
    }
    /// Fields of these and of others mean the same, request by request.
    #[track_caller]
    pub fn assert_same(&self, others: &Copies, fields: &[(&str, &str)]) {
        for (id, ours) in &self.0 {
            let theirs = &others.0[id][0];
            for (our, their) in fields {
                let (a, b) = (&ours[0][our], &theirs[their]);
                assert_eq!(a, b, "{our} of {} and {their} of {theirs}", ours[0]);
                assert!(!a.is_null(), "{our} of {}", ours[0]);
            }
        }
    }
    /// A field has these values and no others.
    #[track_caller]
    pub fn assert_values(&self, field: &str, values: &[Value]) {
        let seen: BTreeSet<String> = self.0.values().map(|copies| copies[0][field].to_string()).collect();
        assert_eq!(seen, values.iter().map(Value::to_string).collect(), "{field}");
    }
}

/// What `load.lua` has as `User-Agent`.
pub fn agents() -> [Value; 4] {
    [
        "curl/8.5.0".into(),
        "quote\"back\\slash".into(),
        "\u{dc}nic\u{f6}de \u{65e5}\u{672c}".into(),
        "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0".into(),
    ]
}

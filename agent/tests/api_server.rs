//! The admin API over real sockets, and `edgepush status` as its client.
#![allow(clippy::unwrap_used)]
use edgepush::api::{ApiLimits, ApiState, auth::Auth, bind, health::Health, serve};
use edgepush::config::Secret;
use edgepush::destination::Status as UploadStatus;
use edgepush::metrics::{Labels, Metrics, Shape, TABLE};
use edgepush::status::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

struct Server {
    addr: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    now_ms: Arc<AtomicU64>,
    dir: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(token: Option<&str>, limits: ApiLimits) -> Server {
        let labels = Labels {
            version: "0.1.0",
            runtime: "threads",
            simd: "scalar",
            sources: vec!["/var/log/*.log".into()],
            repairs: &["bare_word"],
            reasons: &["too_long"],
            jobs: vec!["env".into()],
        };
        let metrics = Metrics::new(labels, 2);
        let health = Health::new(metrics.shards());
        let now_ms = Arc::new(AtomicU64::new(1_000));
        let clock = now_ms.clone();
        let state = Arc::new(ApiState {
            metrics: metrics.clone(),
            health: health.clone(),
            auth: Auth::new(token.map(Secret::new), Vec::new()),
            logpush: None,
            status: Box::new(|| Status { version: "0.1.0".into(), pid: 4711, ..Status::default() }),
            clock: Box::new(move || Duration::from_millis(clock.load(Ordering::Relaxed))),
            limits,
        });
        let dir = tempfile::tempdir().unwrap();
        let bound = bind::bind("127.0.0.1:0".parse().unwrap(), dir.path()).unwrap();
        let addr = bound.addr();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving = serve(bound.listener().unwrap(), state);
                tokio::select! { () = serving => {}, _ = stopped => {} }
            });
        });
        Server { addr, metrics, health, now_ms, dir, stop: Some(stop), thread: Some(thread) }
    }

    fn open(token: Option<&str>) -> Server {
        Server::start(token, ApiLimits::default())
    }

    fn send(&self, text: &str) -> Reply {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        Reply::read(&mut stream)
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[derive(Debug)]
struct Reply {
    code: u16,
    head: String,
    body: String,
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Reply {
        let mut text = String::new();
        // The server may cut the connection while our request is still on its way.
        let _ = stream.read_to_string(&mut text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Reply { code, head: head.to_ascii_lowercase(), body: body.into() }
    }

    fn error(&self) -> String {
        let value: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        value["error"].as_str().unwrap().to_string()
    }
}

#[test]
fn health_follows_the_shards_ticks() {
    let server = Server::open(None);
    server.metrics.shard(0).tick(Duration::from_secs(1));
    server.metrics.shard(1).tick(Duration::from_secs(1));
    server.now_ms.store(11_000, Ordering::Relaxed);
    assert_eq!(server.get("/healthz").code, 200);
    server.now_ms.store(11_001, Ordering::Relaxed);
    server.metrics.shard(0).tick(Duration::from_secs(11));
    let reply = server.get("/healthz");
    assert_eq!((reply.code, reply.error()), (503, "no tick within 10 s of shards [1]".into()));
    server.metrics.shard(1).tick(Duration::from_secs(11));
    assert_eq!(server.get("/healthz").code, 200);
}

#[test]
fn readiness_follows_ledger_sources_and_stopping() {
    let server = Server::open(None);
    assert_eq!(server.get("/readyz").error(), "the ledger is not open yet");
    server.health.ledger_open();
    assert_eq!(server.get("/readyz").error(), "the sources are not open yet");
    server.health.sources_open();
    assert_eq!(server.get("/readyz").code, 200);
    server.health.stopping();
    let reply = server.get("/readyz");
    assert_eq!((reply.code, reply.error()), (503, "stopping".into()));
}

#[test]
fn mistakes_are_answered_in_json() {
    let server = Server::open(None);
    let nothing = server.get("/nothing?x=1");
    assert_eq!((nothing.code, nothing.error()), (404, "there is nothing at /nothing".into()));
    let post = server.send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!((post.code, post.error()), (405, "POST is not for /metrics; use GET".into()));
    assert!(post.head.contains("allow: get, head"), "{post:?}");
    let head = server.send("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.code, head.body.as_str()), (200, ""));
    let page = server.get("/");
    assert!(
        page.code == 200 && page.head.contains("text/html") && page.body.contains("/metrics"),
        "{page:?}"
    );
}

#[test]
fn a_token_is_asked_for() {
    let server = Server::open(Some("hunter2"));
    for path in ["/", "/metrics", "/status"] {
        let with = |value: &str| {
            server.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\n\r\n"))
        };
        let none = server.get(path);
        assert_eq!(none.code, 401, "{path}");
        assert!(
            none.head.contains("www-authenticate: bearer") && !none.error().contains("hunter2"),
            "{none:?}"
        );
        for wrong in
            ["Bearer hunter3", "Bearer hunter22", "Bearer hunter", "Bearer", "Basic hunter2", "hunter2", "ä"]
        {
            assert_eq!(with(wrong).code, 401, "{path} {wrong}");
        }
        assert_eq!(with("Bearer hunter2").code, 200, "{path}");
        assert_eq!(with("bearer hunter2").code, 200, "{path}");
    }
    assert_eq!(server.get("/readyz").code, 503, "needs no token");
    assert_eq!(server.get("/healthz").code, 200, "needs no token");
}

#[test]
fn heads_have_bounds() {
    let server = Server::open(None);
    let many = "X: y\r\n".repeat(100);
    assert_eq!(server.send(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")).code, 431);
    let long = "y".repeat(64 * 1024);
    assert_eq!(server.send(&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n")).code, 431);
    assert_eq!(server.get("/").code, 200);
}

/// Four clients open a connection and do `slow`, on a server with two places; a fifth is answered all the same.
fn answered_beside_slow_clients(limits: ApiLimits, slow: &[u8]) {
    let server = Server::start(None, ApiLimits { connections: 2, ..limits });
    let begun = Instant::now();
    let mut clients: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
    for stream in &mut clients {
        stream.write_all(slow).unwrap();
    }
    assert_eq!(server.get("/").code, 200, "answered after the slow ones are cut");
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(300), "there were two places only: {waited:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    for stream in &mut clients {
        let reply = Reply::read(stream);
        assert!(matches!(reply.code, 0 | 408), "{reply:?}");
    }
}

const SOON: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_secs(600);

#[test]
fn who_sends_half_a_head_is_cut() {
    let limits = ApiLimits { head: SOON, connection: NEVER, ..ApiLimits::default() };
    answered_beside_slow_clients(limits, b"GET /metrics HT");
}

#[test]
fn who_is_not_done_in_time_is_cut() {
    let limits = ApiLimits { head: NEVER, connection: SOON, ..ApiLimits::default() };
    answered_beside_slow_clients(limits, b"GET /metrics HT");
}

/// The shape of a metrics line: name, labels, value.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let (front, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = match front.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
        None => (front, ""),
    };
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (key.to_string(), value.trim_end_matches('"').to_string())
    });
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    (name.into(), pairs.collect(), value)
}

/// INTERFACE 8, to the letter.
const PROMISED: &[(&str, &[&str])] = &[
    ("edgepush_build_info", &["version", "runtime", "simd"]),
    ("edgepush_lines_read_total", &["source"]),
    ("edgepush_bytes_read_total", &["source"]),
    ("edgepush_source_lag_bytes", &["source"]),
    ("edgepush_source_shrunk_total", &[]),
    ("edgepush_lines_blank_total", &[]),
    ("edgepush_records_parsed_total", &["path"]),
    ("edgepush_records_repaired_total", &["kind"]),
    ("edgepush_records_rejected_total", &["reason"]),
    ("edgepush_segments_encoded_total", &["encoder"]),
    ("edgepush_segments_verified_total", &[]),
    ("edgepush_segments_wrong_total", &[]),
    ("edgepush_records_matched_total", &["job"]),
    ("edgepush_records_delivered_total", &["job"]),
    ("edgepush_batches_total", &["job", "verdict"]),
    ("edgepush_batch_bytes_total", &["job", "kind"]),
    ("edgepush_uploads_total", &["job", "status"]),
    ("edgepush_upload_seconds", &["job"]),
    ("edgepush_delivery_lag_seconds", &["job"]),
    ("edgepush_spool_bytes", &[]),
    ("edgepush_spool_limit_bytes", &[]),
    ("edgepush_spool_batches", &["job"]),
    ("edgepush_ring_bytes", &["shard"]),
    ("edgepush_socket_dropped_total", &["source"]),
    ("edgepush_memory_bytes", &[]),
    ("edgepush_backpressure", &[]),
];

#[test]
fn metrics_are_open_metrics_and_whole() {
    let server = Server::open(None);
    server.metrics.job(0).uploaded(UploadStatus::Code(200), Duration::from_millis(7));
    let reply = server.get("/metrics");
    assert_eq!(reply.code, 200);
    assert!(reply.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let (mut helps, mut types, mut seen) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let text = reply.body.strip_suffix("# EOF\n").unwrap();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helps.insert(rest.split(' ').next().unwrap()), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            types.insert(family, kind);
        } else {
            let (name, labels, value) = sample(line);
            assert!(value >= 0.0, "{line}");
            let keys: Vec<String> =
                labels.into_iter().map(|(key, _)| key).filter(|key| key != "le").collect();
            seen.insert(name, keys);
        }
    }
    for (name, labels) in PROMISED {
        let row = TABLE.iter().find(|row| row.name == *name).unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(row.labels, *labels, "{name}");
        let (family, kind, samples) = match row.shape {
            Shape::Facts => (name.strip_suffix("_info").unwrap(), "info", vec![name.to_string()]),
            Shape::Counter => (name.strip_suffix("_total").unwrap(), "counter", vec![name.to_string()]),
            Shape::Gauge => (*name, "gauge", vec![name.to_string()]),
            Shape::Histogram => {
                (*name, "histogram", ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec())
            }
        };
        assert!(helps.contains(family), "{family} has no HELP");
        assert_eq!(types.get(family), Some(&kind), "{family}");
        for sample in samples {
            let keys = seen.get(&sample).unwrap_or_else(|| panic!("no sample of {sample}"));
            assert_eq!(keys, labels, "{sample}");
        }
    }
    assert_eq!(types.len(), TABLE.len());
}

/// `UPDATE_DOCS=1 cargo test` writes the table anew.
#[test]
fn the_docs_have_every_metric() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let kept = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- metrics: begin -->\n", "<!-- metrics: end -->");
    let (front, rest) = kept.split_once(begin).unwrap();
    let (table, back) = rest.split_once(end).unwrap();
    let wanted = edgepush::metrics::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{front}{begin}{wanted}{end}{back}")).unwrap();
    } else {
        assert!(
            table == wanted,
            "docs/operating.md is old: UPDATE_DOCS=1 cargo test -p edgepush --test api_server"
        );
    }
}

fn status(server: &Server, extra: &[(&str, &str)], args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_edgepush"))
        .arg("status")
        .args(args)
        .env_clear()
        .env("EDGEPUSH_STATE_DIR", server.dir.path())
        .envs(extra.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn status_finds_the_agent_and_shows_its_answer() {
    let server = Server::open(None);
    let shown = status(&server, &[], &[]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.status.code(), Some(0), "{text}");
    assert!(text.starts_with("edgepush 0.1.0 pid 4711 starting"), "{text}");
    let json = status(&server, &[], &["--json"]);
    assert_eq!(json.status.code(), Some(0));
    let value: Status = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value.pid, 4711);
    let elsewhere = [("EDGEPUSH_STATE_DIR", "/nonexistent"), ("EDGEPUSH_API", &server.addr.to_string())];
    assert_eq!(status(&server, &elsewhere, &[]).status.code(), Some(0), "EDGEPUSH_API is enough");
}

#[test]
fn status_needs_the_token() {
    let server = Server::open(Some("hunter2"));
    let none = status(&server, &[], &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("set EDGEPUSH_API_TOKEN"));
    assert_eq!(status(&server, &[("EDGEPUSH_API_TOKEN", "hunter2")], &[]).status.code(), Some(0));
}

#[test]
fn status_says_when_nobody_answers() {
    let server = Server::open(None);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = gone.local_addr().unwrap();
    drop(gone);
    std::fs::write(server.dir.path().join("api.addr"), format!("{addr}\n")).unwrap();
    let out = status(&server, &[], &[]);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stderr).contains(&format!("no agent answers at {addr}")));

    std::fs::remove_file(server.dir.path().join("api.addr")).unwrap();
    let out = status(&server, &[("EDGEPUSH_API", "off")], &[]);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stderr).contains("api.addr does not exist"));
    // Somebody who is no agent.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = other.local_addr().unwrap().to_string();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").unwrap();
    });
    assert_eq!(status(&server, &[("EDGEPUSH_API", &said)], &[]).status.code(), Some(3));
    stranger.join().unwrap();
}

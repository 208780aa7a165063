//! An agent that is a book, durable nowhere: it follows a set of jobs and serves the admin API.
use edgepush::api::logpush::Logpush;
use edgepush::api::{ApiLimits, ApiState, auth::Auth, bind, health::Health, serve};
use edgepush::config::{Reserve, Secret, token};
use edgepush::destination::client::Clients;
use edgepush::destination::{Boxed, Destination, DestinationUrl, Opening};
use edgepush::jobs::{
    Book, BookLimits, Challenges, Change, ChangeError, Checks, Follow, GuardState, Job, JobChange, JobConfig,
    JobHealth, JobsFrom, JobsPort, Life, Origin, Owner, Pace, Zones, follow,
};
use edgepush::metrics::{Labels, Metrics};
use edgepush::status::Status;
use edgepush_shard::chunk::JobId;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A filter `bad` is bad.
pub const CHECKS: Checks = Checks {
    filter: |text, _| if text == "bad" { Err(("/where".into(), "is bad".into())) } else { Ok(()) },
    output: |_, _| Ok(()),
    logpull: |_, _| Ok(()),
};

/// As the real ones, in less time.
pub const PACE: Pace = Pace {
    look: Duration::from_millis(20),
    settle: Duration::from_millis(30),
    poll: Duration::from_millis(60),
    again: Duration::from_millis(300),
    retry: Duration::from_millis(60),
};

pub struct BookPort {
    book: Mutex<Arc<Book>>,
    guard: Arc<GuardState>,
    pub unavailable: AtomicBool,
    /// Changes that were carried out.
    pub changes: AtomicU64,
    dir: std::path::PathBuf,
}

impl JobsPort for BookPort {
    fn book(&self) -> Arc<Book> {
        self.book.lock().unwrap().clone()
    }

    fn change(&self, change: Change) -> Boxed<'static, Result<Vec<JobChange>, ChangeError>> {
        if self.unavailable.load(Relaxed) {
            return Box::pin(async { Err(ChangeError::Unavailable("the disk is full".into())) });
        }
        let mut book = self.book.lock().unwrap();
        let done = book.plan(&change, &CHECKS).map_err(ChangeError::Refused);
        if let Ok(changes) = &done {
            Arc::make_mut(&mut book).apply(changes);
            self.changes.fetch_add(1, Relaxed);
        }
        Box::pin(async { done })
    }

    fn destination(&self, conf: &str) -> Result<Arc<dyn Destination>, String> {
        let with = Opening { state: &self.dir, clients: &Clients::default(), keep_free: Reserve::Percent(0) };
        DestinationUrl::parse(conf)?.open(&with)
    }

    fn health(&self, job: JobId) -> JobHealth {
        JobHealth { records: 100 + job.0, lag_seconds: 3, state: "ok".into(), ..JobHealth::default() }
    }

    fn guard(&self) -> Option<Arc<GuardState>> {
        Some(self.guard.clone())
    }
}

/// The rejects and the environment job, as every agent has them.
fn first_jobs() -> Vec<Job> {
    let config = json!({ "destination_conf": "https://h/in?header_X-Key=hunter22", "dataset": "raw", "enabled": true });
    let job = |id| Job {
        id: JobId(id),
        version: 1,
        owner: Owner::local(),
        origin: Origin::Environment,
        config: JobConfig::from_json(config.as_object().unwrap()).unwrap(),
        life: Life::default(),
    };
    vec![job(0), job(1)]
}

/// The book of an agent that has seen no set yet.
pub fn new_book() -> Book {
    Book::new(first_jobs(), 2, BookLimits { jobs_max: 100 })
}

pub fn with() -> Follow {
    let guard = Arc::new(GuardState::new(Arc::default()));
    Follow { checks: CHECKS, zones: Arc::new(Zones::new(None)), guard, pace: PACE }
}

pub struct Agent {
    pub port: Arc<BookPort>,
    pub guard: Arc<GuardState>,
    /// How many sets are refused, as the metrics have it.
    pub refused: Arc<AtomicU64>,
    pub state: tempfile::TempDir,
    pub addr: std::net::SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    pub fn start(from: Option<JobsFrom>) -> Agent {
        Agent::start_with(from, Arc::new(new_book()), None)
    }

    pub fn start_with(from: Option<JobsFrom>, book: Arc<Book>, token: Option<&str>) -> Agent {
        let state = tempfile::tempdir().unwrap();
        let metrics = metrics();
        let refused = metrics.delivery().sets_refused();
        let guard = Arc::new(GuardState::new(refused.clone()));
        let port = Arc::new(BookPort {
            book: Mutex::new(book),
            guard: guard.clone(),
            unavailable: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            dir: state.path().into(),
        });
        let api = Arc::new(api_state(metrics, port.clone(), token));
        let bound = bind::bind("127.0.0.1:0".parse().unwrap(), state.path()).unwrap();
        let addr = bound.addr();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let with = Follow { guard: guard.clone(), ..with() };
        let following = port.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving = serve(bound.listener().unwrap(), api);
                let following = async {
                    follow(from, following, with).await;
                    std::future::pending::<()>().await;
                };
                tokio::select! { () = serving => {}, () = following => {}, _ = stopped => {} }
            });
        });
        Agent { port, guard, refused, state, addr, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, holds: impl Fn(&Agent) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{what}: {:?}", self.guard.standings());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The state of the one set that is followed.
    pub fn set_state(&self) -> &'static str {
        self.guard.standings().first().map_or("none", |set| set.state())
    }

    pub fn until_state(&self, state: &str) {
        self.until(state, |agent| agent.set_state() == state);
    }

    /// Why it is refused.
    pub fn refusal(&self) -> String {
        self.guard.refused().unwrap_or_default()
    }

    /// The jobs that are not the environment's: key, id, version, whether they take records.
    pub fn jobs(&self) -> Vec<(String, u64, u32, bool)> {
        let book = self.port.book();
        let ours = book.iter().filter(|job| job.origin != Origin::Environment);
        ours.map(|job| (job.origin.to_string(), job.id.0, job.version, job.config.enabled)).collect()
    }

    pub fn changes(&self) -> u64 {
        self.port.changes.load(Relaxed)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn metrics() -> Arc<Metrics> {
    let labels = Labels {
        version: "0.1.0",
        runtime: "threads",
        simd: "scalar",
        sources: vec![],
        repairs: &[],
        reasons: &[],
    };
    Metrics::new(labels, 1)
}

fn api_state(metrics: Arc<Metrics>, port: Arc<BookPort>, all: Option<&str>) -> ApiState {
    let logpush = Logpush {
        port,
        checks: CHECKS,
        zones: Arc::new(Zones::new(None)),
        challenges: Challenges::new(&[7; 32]),
        challenged: |_| false,
        clock: Box::new(|| 1_800_000_000),
    };
    let more = if all.is_some() { "read:READER,write+zone=z:ZONED" } else { "" };
    ApiState {
        health: Health::new(metrics.shards()),
        metrics,
        auth: Auth::new(all.map(Secret::new), token::tokens(more).unwrap()),
        logpush: Some(logpush),
        status: Box::new(Status::default),
        clock: Box::new(|| Duration::ZERO),
        limits: ApiLimits::default(),
    }
}

/// A list of jobs with these names.
pub fn list(names: &[&str]) -> String {
    let job =
        |name: &&str| json!({ "dataset": "raw", "destination_conf": "null:", "name": name, "enabled": true });
    Value::from(names.iter().map(job).collect::<Vec<_>>()).to_string()
}

/// Writes a file as careful writers do.
pub fn put(dir: &Path, name: &str, text: &str) {
    let temporary = dir.join(format!(".{name}.tmp"));
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(temporary, dir.join(name)).unwrap();
}

/// Asks the API: status and body.
pub fn ask(agent: &Agent, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(agent.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!("{method} /client/v4/edgepush/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{auth}");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

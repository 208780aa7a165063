//! A jobs API over a book that is durable nowhere, and a plain HTTP client whose answers are judged by the document.
use super::schema;
use edgepush::api::logpush::{Logpush, openapi};
use edgepush::api::{ApiLimits, ApiState, auth::Auth, bind, health::Health, serve};
use edgepush::config::{Reserve, Secret, ZoneHosts, token};
use edgepush::destination::client::Clients;
use edgepush::destination::{Boxed, Destination, DestinationUrl, Opening};
use edgepush::jobs::{
    Book, BookLimits, Challenges, Change, ChangeError, Checks, Job, JobChange, JobConfig, JobHealth,
    JobsPort, Life, Origin, Owner, Zones,
};
use edgepush::metrics::{Labels, Metrics};
use edgepush::status::Status;
use edgepush_shard::chunk::JobId;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Stand for the parts that are compiled elsewhere: a filter needs its `where`, options know one word.
pub const CHECKS: Checks = Checks {
    filter: |text, _| match serde_json::from_str::<Value>(text) {
        Ok(filter) if filter["where"].is_object() => Ok(()),
        _ => Err(("/where".into(), "has no where".into())),
    },
    output: |options, _| match options.get("nope") {
        None => Ok(()),
        Some(_) => Err(vec![("/nope".into(), "is no option".into()), ("/nape".into(), "neither".into())]),
    },
    logpull: |text, _| match text.contains("fields=") {
        true => Ok(()),
        false => Err(vec![(String::new(), "has no fields=".into())]),
    },
};

/// The agent of these tests: a book, and destinations as they are.
pub struct BookPort {
    pub book: Mutex<Arc<Book>>,
    pub unavailable: AtomicBool,
    /// How often a destination was opened.
    pub opened: AtomicU64,
    only_null: bool,
    dir: std::path::PathBuf,
    clients: Clients,
}

impl JobsPort for BookPort {
    fn book(&self) -> Arc<Book> {
        self.book.lock().unwrap().clone()
    }

    fn change(&self, change: Change) -> Boxed<'static, Result<Vec<JobChange>, ChangeError>> {
        if self.unavailable.load(Relaxed) {
            return Box::pin(async { Err(ChangeError::Unavailable("the agent is stopping".into())) });
        }
        let mut book = self.book.lock().unwrap();
        let done = book.plan(&change, &CHECKS).map_err(ChangeError::Refused);
        if let Ok(changes) = &done {
            Arc::make_mut(&mut book).apply(changes);
        }
        Box::pin(async { done })
    }

    fn destination(&self, conf: &str) -> Result<Arc<dyn Destination>, String> {
        self.opened.fetch_add(1, Relaxed);
        if self.only_null && conf != "null:" {
            return Err("is not null:".into());
        }
        let with = Opening { state: &self.dir, clients: &self.clients, keep_free: Reserve::Percent(0) };
        DestinationUrl::parse(conf)?.open(&with)
    }

    fn health(&self, job: JobId) -> JobHealth {
        JobHealth {
            uploads: job.0,
            retries: [("503".into(), 2)].into(),
            state: "ok".into(),
            ..JobHealth::default()
        }
    }
}

pub const JOBS: &str = "/zones/023e/logpush/jobs";

/// A job that works, and its path.
pub fn created(server: &Server, more: Value) -> (Value, String) {
    let mut body = json!({ "destination_conf": server.directory("out"), "name": "example.com" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = server.post(JOBS, body).result();
    let path = format!("{JOBS}/{}", job["id"]);
    (job, path)
}

/// What a server is made with.
pub struct Setup {
    pub token: Option<&'static str>,
    pub tokens: &'static str,
    pub zones: Option<ZoneHosts>,
    pub jobs_max: usize,
    pub challenged: fn(&str) -> bool,
    pub more_jobs: Vec<Job>,
    /// No other destination is opened: for requests that somebody makes up.
    pub only_null: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            token: None,
            tokens: "",
            zones: None,
            jobs_max: 100,
            challenged: |_| false,
            more_jobs: Vec::new(),
            only_null: false,
        }
    }
}

pub struct Server {
    pub addr: SocketAddr,
    pub port: Arc<BookPort>,
    pub now: Arc<AtomicI64>,
    pub dir: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The environment job and one of a file, as an agent has them.
fn first_jobs() -> Vec<Job> {
    let job = |id, origin, name: &str| {
        let config = json!({ "destination_conf": "https://h/in?header_X-Key=hunter22", "dataset": "raw", "name": name });
        Job {
            id: JobId(id),
            version: 1,
            owner: Owner::local(),
            origin,
            config: JobConfig::from_json(config.as_object().unwrap()).unwrap(),
            life: Life::default(),
        }
    };
    vec![
        job(0, Origin::Environment, "rejects"),
        job(1, Origin::Environment, "env"),
        job(2, Origin::File { key: "jobs.d/a.json".into() }, "file"),
    ]
}

fn state(setup: Setup, port: Arc<BookPort>, now: Arc<AtomicI64>) -> ApiState {
    let labels = Labels {
        version: "0.1.0",
        runtime: "threads",
        simd: "scalar",
        sources: vec![],
        repairs: &[],
        reasons: &[],
    };
    let metrics = Metrics::new(labels, 1);
    let logpush = Logpush {
        port,
        checks: CHECKS,
        zones: Arc::new(Zones::new(setup.zones)),
        challenges: Challenges::new(&[7; 32]),
        challenged: setup.challenged,
        clock: Box::new(move || now.load(Relaxed)),
    };
    ApiState {
        health: Health::new(metrics.shards()),
        metrics,
        auth: Auth::new(setup.token.map(Secret::new), token::tokens(setup.tokens).unwrap()),
        logpush: Some(logpush),
        status: Box::new(Status::default),
        clock: Box::new(|| Duration::ZERO),
        limits: ApiLimits::default(),
    }
}

impl Server {
    pub fn start(mut setup: Setup) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut jobs = first_jobs();
        jobs.append(&mut setup.more_jobs);
        let book = Book::new(jobs, 0, BookLimits { jobs_max: setup.jobs_max });
        let port = Arc::new(BookPort {
            book: Mutex::new(Arc::new(book)),
            unavailable: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            only_null: setup.only_null,
            dir: dir.path().into(),
            clients: Clients::default(),
        });
        let now = Arc::new(AtomicI64::new(1_800_000_000));
        let state = Arc::new(state(setup, port.clone(), now.clone()));
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
        Server { addr, port, now, dir, stop: Some(stop), thread: Some(thread) }
    }

    pub fn open() -> Server {
        Server::start(Setup::default())
    }

    /// Sends a request as it is and reads the answer as it is.
    pub fn send(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let json = serde_json::from_str(body).unwrap_or(Value::Null);
        Reply { code, head: head.to_ascii_lowercase(), json, said: body.into() }
    }

    /// Asks below `/client/v4`, and holds the answer against the document.
    pub fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let body = body.map(Value::to_string);
        let auth =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let length =
            body.as_ref().map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
        let head = format!("{method} /client/v4{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{auth}{length}\r\n");
        let reply = self.send(format!("{head}{}", body.unwrap_or_default()).as_bytes());
        schema::judge(openapi::document(), method, path, reply.code, &reply.json);
        reply
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.ask_as("", method, path, body)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, Some(&body))
    }

    pub fn put(&self, path: &str, body: Value) -> Reply {
        self.ask("PUT", path, Some(&body))
    }

    /// A destination that works.
    pub fn directory(&self, name: &str) -> String {
        format!("file://{}/{name}", self.dir.path().display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub head: String,
    pub json: Value,
    pub said: String,
}

impl Reply {
    /// The result of a success.
    pub fn result(self) -> Value {
        assert_eq!((self.code, &self.json["success"]), (200, &json!(true)), "{self:?}");
        self.json["result"].clone()
    }

    /// Status, code of the first error, its pointer, its message.
    pub fn error(&self) -> (u16, u64, String, String) {
        assert_eq!(self.json["success"], json!(false), "{self:?}");
        let first = &self.json["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            self.code,
            first["code"].as_u64().unwrap_or_else(|| panic!("{self:?}")),
            text(&first["source"]["pointer"]),
            text(&first["message"]),
        )
    }
}

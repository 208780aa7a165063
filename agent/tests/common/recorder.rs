//! A real HTTP server that records what it gets and answers as a test scripts it.
//!
//! Promises: a request is recorded before it is answered; what it answered stands beside it; the same address can be
//! closed and opened again. Must not know: what a test expects.
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a script does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, with an empty body.
    Status(u16),
    /// This status and text.
    Text(u16, &'static str),
    /// This status with headers and a text.
    Full(u16, &'static [(&'static str, &'static str)], String),
    /// This status with a `Retry-After`.
    RetryAfter(u16, &'static str),
    /// This status, after a while.
    Slow(Duration, u16),
    /// Reads the body and never answers.
    Hang,
    /// Closes the connection after the first part of the body.
    CloseInside,
    /// Reads and keeps the whole body, then closes without an answer.
    CloseAfter,
}

/// What a script knows when it decides.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Requests before this one, over all.
    pub number: usize,
    /// Requests with the same key before this one.
    pub tries: usize,
    /// `Idempotency-Key`.
    pub key: String,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `Content-Length`.
    pub length: u64,
    /// `Authorization`.
    pub authorization: String,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Bytes,
    /// Whether the body was read to its end.
    pub whole: bool,
    /// The status that was sent, once it was.
    pub status: Option<u16>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
    }
    pub fn key(&self) -> &str {
        self.header("idempotency-key")
    }
    /// The body without its content encoding; a gzip body has exactly one member.
    pub fn decoded(&self) -> Vec<u8> {
        match self.header("content-encoding") {
            "gzip" => {
                let members = super::gunzip_members(&self.body);
                assert_eq!(members.len(), 1, "Content-Encoding: gzip is one member");
                members.concat()
            }
            "zstd" => zstd::decode_all(&self.body[..]).unwrap(),
            "" => self.body.to_vec(),
            other => panic!("Content-Encoding {other}"),
        }
    }
    pub fn lines(&self) -> Vec<Vec<u8>> {
        super::lines_of(&self.decoded())
    }
}

type Script = Arc<dyn Fn(&Ask) -> Answer + Send + Sync>;

struct Shared {
    requests: Mutex<Vec<Request>>,
    script: Mutex<Script>,
    open: AtomicUsize,
}

pub struct Recorder {
    shared: Arc<Shared>,
    address: SocketAddr,
    close: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Recorder {
    /// A server on a free port that takes everything.
    pub fn start() -> Recorder {
        Recorder::with(|_| Answer::Status(200))
    }
    /// A server on a free port with a script.
    pub fn with(script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Recorder {
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            script: Mutex::new(Arc::new(script)),
            open: AtomicUsize::new(0),
        });
        let mut recorder =
            Recorder { shared, address: ([127, 0, 0, 1], 0).into(), close: None, thread: None };
        recorder.open();
        recorder
    }
    /// Opens the address again after [`Recorder::close`]; what was recorded stays.
    pub fn open(&mut self) {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let (close, closed) = tokio::sync::oneshot::channel();
        let shared = self.shared.clone();
        self.close = Some(close);
        self.thread = Some(std::thread::spawn(move || serve(listener, shared, closed)));
    }
    /// Closes the listener and every connection: from now on the address refuses.
    pub fn close(&mut self) {
        drop(self.close.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
    pub fn script(&self, script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }
    pub fn url(&self) -> String {
        format!("http://{}/ingest", self.address)
    }
    /// Its host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// The URL for one of many jobs: its requests are told from the others' by their target.
    pub fn url_of(&self, job: &str) -> String {
        format!("{}?job={job}", self.url())
    }
    /// What was posted for one job, in the order of arrival; what asks whether the server is there is none of it.
    pub fn posts(&self, job: &str) -> Vec<Request> {
        let target = format!("/ingest?job={job}");
        let mut requests = self.requests();
        requests.retain(|r| r.method == "POST" && r.target == target);
        requests
    }
    /// What was taken of it: the first of each key, for a receiver removes doubles.
    pub fn taken(&self, job: &str) -> Vec<Request> {
        let mut keys = std::collections::HashSet::new();
        let mut posts = self.posts(job);
        posts.retain(|r| r.whole && r.status.is_some_and(|s| (200..300).contains(&s)));
        posts.retain(|r| keys.insert(r.key().to_owned()));
        posts
    }
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
    /// Requests that have arrived and are not answered yet.
    pub fn open_requests(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }
    /// The first accepted request of each key: what a receiver that removes doubles keeps. Panics when one key
    /// ever carried two different contents.
    pub fn accepted(&self) -> Vec<Request> {
        let mut kept: BTreeMap<String, Request> = BTreeMap::new();
        for request in self.requests().into_iter().filter(|r| r.whole && r.method == "POST") {
            assert!(!request.key().is_empty(), "every request has an Idempotency-Key");
            let taken = request.status.is_some_and(|s| (200..300).contains(&s));
            if let Some(first) = kept.get(request.key()) {
                assert_eq!(first.decoded(), request.decoded(), "key {} carries one content", request.key());
            } else if taken {
                kept.insert(request.key().to_owned(), request);
            }
        }
        let mut kept: Vec<_> = kept.into_values().collect();
        kept.sort_by_key(|r| r.at);
        kept
    }
    /// The lines of [`Recorder::accepted`], in the order of arrival.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.accepted().iter().flat_map(Request::lines).collect()
    }
    /// [`Recorder::records`] of each target.
    pub fn records_by_target(&self) -> BTreeMap<String, u64> {
        let requests = self.shared.requests.lock().unwrap();
        let mut keys = std::collections::HashSet::new();
        let mut sums = BTreeMap::new();
        for request in requests.iter().filter(|r| r.status.is_some_and(|s| (200..300).contains(&s))) {
            if keys.insert((&request.target, request.key())) {
                let records: u64 = request.header("x-edgepush-records").parse().unwrap_or(0);
                *sums.entry(request.target.clone()).or_default() += records;
            }
        }
        sums
    }
    /// How many lines were accepted, by `X-Edgepush-Records`: cheap enough to poll.
    pub fn records(&self) -> u64 {
        let requests = self.shared.requests.lock().unwrap();
        let mut keys = std::collections::HashSet::new();
        let taken = requests.iter().filter(|r| r.status.is_some_and(|s| (200..300).contains(&s)));
        taken
            .filter(|r| keys.insert(r.key().to_owned()))
            .map(|r| r.header("x-edgepush-records").parse().unwrap_or(0))
            .sum()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut closed: tokio::sync::oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            tokio::select! {
                _ = &mut closed => return,
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    tokio::spawn(connection(stream, shared.clone()));
                }
            }
        }
    });
    // Dropping the runtime drops every connection.
}

async fn connection(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| record(request, shared.clone()));
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Counts a request as open until it is answered or dropped.
struct Open(Arc<Shared>);
impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

fn full(headers: &[(&str, &str)], text: String) -> Result<hyper::Response<Full<Bytes>>, std::io::Error> {
    let reply = headers.iter().fold(hyper::Response::builder(), |reply, (n, v)| reply.header(*n, *v));
    reply.body(Full::from(text)).map_err(std::io::Error::other)
}

async fn record(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<hyper::Response<Full<Bytes>>, std::io::Error> {
    shared.open.fetch_add(1, Ordering::AcqRel);
    let _open = Open(shared.clone());
    let (parts, mut body) = request.into_parts();
    let text = |v: &hyper::header::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let headers = parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
    let mut seen = Request {
        at: Instant::now(),
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers,
        body: Bytes::new(),
        whole: false,
        status: None,
    };
    let ask = {
        let requests = shared.requests.lock().unwrap();
        let tries = requests.iter().filter(|r| r.key() == seen.key()).count();
        let length = seen.header("content-length").parse().unwrap_or(0);
        let (method, target) = (seen.method.clone(), seen.target.clone());
        let authorization = seen.header("authorization").to_owned();
        Ask {
            number: requests.len(),
            tries,
            key: seen.key().to_owned(),
            method,
            target,
            length,
            authorization,
        }
    };
    let script = shared.script.lock().unwrap().clone();
    let answer = script(&ask);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(std::io::Error::other)?;
        if let Some(part) = frame.data_ref() {
            bytes.extend_from_slice(part);
        }
        if matches!(answer, Answer::CloseInside) {
            break;
        }
    }
    seen.whole = !matches!(answer, Answer::CloseInside);
    seen.body = bytes.into();
    let index = {
        let mut requests = shared.requests.lock().unwrap();
        requests.push(seen);
        requests.len() - 1
    };
    let (status, reply) = match answer {
        Answer::Status(s) => (s, hyper::Response::new(Full::default())),
        Answer::Text(s, text) => (s, hyper::Response::new(Full::from(text))),
        Answer::Full(s, headers, text) => (s, full(headers, text)?),
        Answer::RetryAfter(s, after) => {
            let reply = hyper::Response::builder().header("Retry-After", after).body(Full::default());
            (s, reply.map_err(std::io::Error::other)?)
        }
        Answer::Slow(delay, s) => {
            tokio::time::sleep(delay).await;
            (s, hyper::Response::new(Full::default()))
        }
        Answer::Hang => std::future::pending().await,
        Answer::CloseInside | Answer::CloseAfter => return Err(std::io::Error::other("scripted close")),
    };
    shared.requests.lock().unwrap()[index].status = Some(status);
    let mut reply = reply;
    *reply.status_mut() = hyper::StatusCode::from_u16(status).map_err(std::io::Error::other)?;
    Ok(reply)
}

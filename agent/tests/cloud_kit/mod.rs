//! A server of the tests that stands before a real store: it sees every request, answers some itself and passes the others on.
//!
//! Promises: what is passed on is what came, and so is the answer; its clock may be another. Must not know: whose protocol
//! it is.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]
use bytes::Bytes;
use edgepush::destination::{Outgoing, Verdict};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// Why a job holds.
pub fn why(verdict: Verdict) -> String {
    match verdict {
        Verdict::Hold { why } => why,
        other => panic!("{other:?} is no hold"),
    }
}

/// A batch of so many bytes, every piece of it another.
pub fn large(number: u64, len: usize, seed: u8) -> Outgoing {
    let piece = |at: usize| {
        let mut piece = vec![seed; 700_001.min(len - at)];
        let mark = at.to_be_bytes();
        let marked = mark.len().min(piece.len());
        piece[..marked].copy_from_slice(&mark[..marked]);
        Bytes::from(piece)
    };
    Outgoing { body: (0..len).step_by(700_001).map(piece).collect(), ..super::contract::batch(number, &[]) }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
    /// What it was answered with.
    pub status: u16,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What the front does itself.
pub enum Do {
    /// Passes the request on.
    Pass,
    /// Answers with this status, type and text.
    Say(u16, &'static str, String),
    /// Says that this was the last byte that was kept of an upload in pieces.
    Resume(u64),
    /// Closes the connection.
    Cut,
}

type Script = Box<dyn Fn(&Seen, usize) -> Do + Send + Sync>;

struct Inner {
    behind: Mutex<Option<u16>>,
    clock: i64,
    script: Script,
    seen: Mutex<Vec<Seen>>,
}

/// A front. It ends with the runtime of its thread, at the end of the test's process.
pub struct Front {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

impl Front {
    /// A front with this script, which is given each request and how many came before. `clock`: how many seconds its
    /// clock is ahead.
    pub fn start(clock: i64, script: impl Fn(&Seen, usize) -> Do + Send + Sync + 'static) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (behind, seen) = (Mutex::new(None), Mutex::default());
        let inner = Arc::new(Inner { behind, clock, script: Box::new(script), seen });
        let serving = inner.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let inner = serving.clone();
                    let service = hyper::service::service_fn(move |request| answer(request, inner.clone()));
                    let http = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        Front { address, inner }
    }
    /// What stands behind it: a port of this host.
    pub fn before(&self, port: u16) {
        *self.inner.behind.lock().unwrap() = Some(port);
    }
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }
    /// The requests since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.inner.seen.lock().unwrap())
    }
}

type Reply = hyper::Response<Full<Bytes>>;

async fn answer(request: hyper::Request<Incoming>, inner: Arc<Inner>) -> Result<Reply, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mut seen = Seen {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers.clone(),
        body: body.clone(),
        status: 0,
    };
    let number = inner.seen.lock().unwrap().len();
    let mut reply = match (inner.script)(&seen, number) {
        Do::Cut => {
            inner.seen.lock().unwrap().push(seen);
            return Err(std::io::Error::other("cut"));
        }
        Do::Say(status, kind, text) => {
            let reply = hyper::Response::builder().status(status).header("content-type", kind);
            let reply = reply.header("etag", "\"1\"");
            reply.body(Full::from(text)).unwrap()
        }
        Do::Resume(last) => {
            let reply = hyper::Response::builder().status(308).header("range", format!("bytes=0-{last}"));
            reply.body(Full::default()).unwrap()
        }
        Do::Pass => {
            let port = inner.behind.lock().unwrap().expect("something stands behind");
            let mut on = hyper::Request::new(Full::<Bytes>::new(body));
            *on.method_mut() = head.method;
            *on.uri_mut() = format!("http://127.0.0.1:{port}{}", head.uri).parse().unwrap();
            *on.headers_mut() = head.headers;
            let client = Client::builder(TokioExecutor::new()).build_http();
            let (head, body) = client.request(on).await.map_err(std::io::Error::other)?.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            hyper::Response::from_parts(head, Full::from(body))
        }
    };
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + inner.clock).unwrap();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    reply.headers_mut().insert(DATE, HeaderValue::try_from(date).unwrap());
    seen.status = reply.status().as_u16();
    inner.seen.lock().unwrap().push(seen);
    Ok(reply)
}

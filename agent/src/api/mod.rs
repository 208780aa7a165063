//! api: the admin HTTP server (INTERFACE 1, 2, 8).
//!
//! | path | says | token |
//! |---|---|---|
//! | `/metrics` | OpenMetrics text | asked for when one is set |
//! | `/healthz` | 200 while every shard ticked within 10 s | never |
//! | `/readyz` | 200 when ledger and sources are open, 503 before and while stopping | never |
//! | `/status` | JSON, see [`crate::status::Status`] | asked for when one is set |
//! | `/` | a page with links | asked for when one is set |
//! | `/client/v4/…` | the jobs API, see [`logpush`] | asked for when one is set |
//! | `/client/v4/edgepush/…` | what that API does not have, see [`own`] | asked for when one is set |
//! | `/openapi.json`, `/client/v4/openapi.json` | its document | never |
//!
//! Promises: whatever a client sends or leaves unsent costs a bounded amount of memory and time; every error is JSON.
//! Must not know: shards, the ledger, destinations; what it shows comes in as closures and counters.
pub mod auth;
pub mod bind;
pub mod health;
pub mod logpush;
pub mod own;
pub mod tls;

use crate::metrics::{self, Metrics};
use crate::status::Status;
use auth::Auth;
use bytes::Bytes;
use health::Health;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use logpush::Logpush;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Bytes of a request's head; ours are below 1 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// What TLS begins with, and HTTP never.
const TLS_RECORD: u8 = 0x16;
/// Pause after accept fails (no descriptors): the next try would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// A client that has not sent its request by then is cut off.
    pub head: Duration,
    /// A connection that is not done by then is cut off: who reads slowly must not keep a place.
    pub connection: Duration,
}

impl Default for ApiLimits {
    /// An operator, a few scrapers, probes: 32 connections, 10 s for a request, 30 s for all of it.
    fn default() -> ApiLimits {
        ApiLimits { connections: 32, head: Duration::from_secs(10), connection: Duration::from_secs(30) }
    }
}

/// What the server shows.
pub struct ApiState {
    /// Every number.
    pub metrics: Arc<Metrics>,
    /// Whether the agent lives and is ready.
    pub health: Arc<Health>,
    /// The tokens that are asked for where the table says so.
    pub auth: Auth,
    /// The jobs API, where there are jobs to speak of.
    pub logpush: Option<Logpush>,
    /// What `/status` says at this moment. Must not block.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// Monotonic time of the process, the one that shards tick with.
    pub clock: Box<dyn Fn() -> Duration + Send + Sync>,
    /// What clients may take.
    pub limits: ApiLimits,
}

/// Answers until it is dropped. Runs on the sender's runtime.
pub async fn serve(listener: TcpListener, state: Arc<ApiState>) {
    serve_tls(listener, state, None).await;
}

/// [`serve`] with a certificate: over TLS for everyone, and without for who comes over loopback, as our commands do.
pub async fn serve_tls(listener: TcpListener, state: Arc<ApiState>, tls: Option<Arc<Tls>>) {
    let room = Arc::new(Semaphore::new(state.limits.connections));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (state, tls) = (state.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, state).await,
                        Some(tls) => tls_connection(stream, from.ip().is_loopback(), state, &tls).await,
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                crate::once_a_minute!(warn, %error, "admin API: cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection where there is a certificate.
async fn tls_connection(stream: TcpStream, loopback: bool, state: Arc<ApiState>, tls: &Tls) {
    let head = state.limits.head;
    let mut first = [0];
    let peeked = tokio::time::timeout(head, stream.peek(&mut first)).await;
    match peeked {
        Ok(Ok(1)) if loopback && first[0] != TLS_RECORD => connection(stream, state).await,
        Ok(Ok(_)) => match tls.accept(stream, head).await {
            Ok(stream) => connection(stream, state).await,
            Err(why) => tracing::debug!("admin API: {why}"),
        },
        _ => tracing::debug!("admin API: a client was too slow"),
    }
}

/// One request and its answer: no keep-alive, so that nobody holds a place for later.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: Arc<ApiState>) {
    let limits = state.limits;
    let answer = service_fn(move |request: Request<Incoming>| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(respond(request, &state).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(limits.connection, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin API: connection"),
        Err(_) => tracing::debug!("admin API: a client was too slow"),
    }
}

type Answer = Response<Full<Bytes>>;

async fn respond<B: Body + Unpin>(request: Request<B>, state: &ApiState) -> Answer {
    let path = request.uri().path();
    match &state.logpush {
        Some(logpush) if path.starts_with(own::ROOT) => own::respond(request, &state.auth, logpush).await,
        Some(logpush) if path.starts_with("/client/") => {
            logpush::respond(request, &state.auth, logpush).await
        }
        _ => shown(&request, state),
    }
}

/// What the agent shows of itself.
fn shown<B>(request: &Request<B>, state: &ApiState) -> Answer {
    let path = request.uri().path();
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else {
        return problem(StatusCode::NOT_FOUND, &format!("there is nothing at {path}"));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("{} is not for {path}; use GET", request.method()),
        );
        answer.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("INVARIANT: a header value"));
        return answer;
    }
    if route.token && !state.auth.shows_host(request.headers()) {
        let why = "send the token of EDGEPUSH_API_TOKEN as Authorization: Bearer";
        let mut answer = problem(StatusCode::UNAUTHORIZED, why);
        answer.headers_mut().insert(WWW_AUTHENTICATE, "Bearer".parse().expect("INVARIANT: a header value"));
        return answer;
    }
    (route.answer)(state)
}

struct Route {
    path: &'static str,
    token: bool,
    answer: fn(&ApiState) -> Answer,
}

const ROUTES: [Route; 6] = [
    Route { path: "/", token: true, answer: |_| answer(StatusCode::OK, "text/html; charset=utf-8", PAGE) },
    Route {
        path: "/metrics",
        token: true,
        answer: |state| answer(StatusCode::OK, metrics::CONTENT_TYPE, state.metrics.text()),
    },
    Route { path: "/status", token: true, answer: |state| json(StatusCode::OK, &(state.status)()) },
    Route {
        path: "/openapi.json",
        token: false,
        answer: |_| json(StatusCode::OK, logpush::openapi::document()),
    },
    Route { path: "/healthz", token: false, answer: healthz },
    Route { path: "/readyz", token: false, answer: readyz },
];

fn healthz(state: &ApiState) -> Answer {
    match state.health.stuck((state.clock)()) {
        stuck if stuck.is_empty() => answer(StatusCode::OK, "text/plain", "ok\n"),
        stuck => {
            problem(StatusCode::SERVICE_UNAVAILABLE, &format!("no tick within 10 s of shards {stuck:?}"))
        }
    }
}

fn readyz(state: &ApiState) -> Answer {
    match state.health.not_ready() {
        None => answer(StatusCode::OK, "text/plain", "ok\n"),
        Some(why) => problem(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, kind.parse().expect("INVARIANT: a header value"));
    headers.insert(CACHE_CONTROL, "no-store".parse().expect("INVARIANT: a header value"));
    headers.insert("x-content-type-options", "nosniff".parse().expect("INVARIANT: a header value"));
    answer
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    let text = serde_json::to_string(value).expect("INVARIANT: our types have string keys only");
    answer(status, "application/json", text + "\n")
}

/// The body of every error: `{"error": "…"}`.
fn problem(status: StatusCode, why: &str) -> Answer {
    json(status, &serde_json::json!({ "error": why }))
}

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>edgepush</title>\
    <h1>edgepush</h1><ul><li><a href=\"/status\">status</a><li><a href=\"/metrics\">metrics</a>\
    <li><a href=\"/openapi.json\">jobs API</a>\
    <li><a href=\"/healthz\">alive</a><li><a href=\"/readyz\">ready</a></ul></html>\n";

//! Server: the listener of the Logs API on a thread of its own: whoever downloads takes no turn from deliveries.
//!
//! Promises: a bounded number of connections; who is slow to ask, to shake hands or to take what was asked for is cut
//! off; at the end of the agent open downloads are.
//! Must not know: what is asked for.
use super::answer::{Answer, Problem};
use super::{Asked, LogsApi};
use crate::api::bind::Bound;
use crate::api::tls::Tls;
use bytes::Buf as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, Sleep};

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 256;
/// Bytes of a request's head; that of a signed request is below 1 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's body: fifty domains are below 16 KiB.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// A client that has not sent its request, or its next one, by then is cut off.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is cut off. The kernel says that somebody has taken something only when a third
/// of its send buffer is free, up to a megabyte: a slow client must have the time for that.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Threads that ask index and keys, and read what is not in the page cache.
const BLOCKING_MAX: usize = 8;
/// Pause after accept fails (no descriptors): the next try would fail as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Ends the listener when it is dropped.
pub type Stop = oneshot::Sender<()>;

/// The running listener.
#[derive(Debug)]
pub struct LogsServer {
    addr: SocketAddr,
    stop: Option<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// Starts it. Its address file goes with it.
///
/// # Errors
/// There is no thread or no runtime for it.
pub fn start(bound: Bound, api: Arc<LogsApi>, tls: Option<Arc<Tls>>) -> io::Result<LogsServer> {
    let addr = bound.addr();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_MAX)
        .build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("logs".into()).spawn(move || {
        runtime.block_on(async {
            match bound.listener() {
                Ok(listener) => {
                    tokio::select! {
                        () = serve(listener, api, tls, addr) => {}
                        _ = stopped => {}
                    }
                }
                Err(error) => tracing::warn!("the logs API does not run: {error}"),
            }
        });
        drop(bound);
        // A disk that hangs must not hold the end up.
        runtime.shutdown_timeout(Duration::from_millis(200));
    })?;
    Ok(LogsServer { addr, stop: Some(stop), thread: Some(thread) })
}

impl LogsServer {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for LogsServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok(), "the logs thread has died");
        }
    }
}

async fn serve(listener: TcpListener, api: Arc<LogsApi>, tls: Option<Arc<Tls>>, local: SocketAddr) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                // A small answer need not wait for more.
                let _ = stream.set_nodelay(true);
                let (api, tls) = (api.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, api, "http", local).await,
                        Some(tls) => match tls.accept(stream, ASK_TIMEOUT).await {
                            Ok(stream) => connection(stream, api, "https", local).await,
                            Err(why) => tracing::debug!("logs API: {why}"),
                        },
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                crate::once_a_minute!(warn, %error, "logs API: cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    api: Arc<LogsApi>,
    scheme: &'static str,
    local: SocketAddr,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(respond(request, api, scheme, local).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASK_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), answer);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "logs API: connection");
    }
}

async fn respond(
    request: Request<Incoming>,
    api: Arc<LogsApi>,
    scheme: &'static str,
    local: SocketAddr,
) -> Answer {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(ASK_TIMEOUT, read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return problem.answer(),
        Err(_) => {
            let message = "the body did not come in time";
            return Problem::new(StatusCode::REQUEST_TIMEOUT, "Request.BadRequest", message).answer();
        }
    };
    let asked = Asked { method: head.method, uri: head.uri, headers: head.headers, body, scheme, local };
    let answering = tokio::task::spawn_blocking(move || api.respond(&asked));
    answering.await.unwrap_or_else(|_| Problem::failed().answer())
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Request.BadRequest", message)
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad("Request.BadRequest", "the body ended early"))?;
        let Ok(mut bytes) = frame.into_data() else { continue };
        if kept.len() + bytes.remaining() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        kept.extend_from_slice(&bytes.copy_to_bytes(bytes.remaining()));
    }
    Ok(kept)
}

/// A stream whose writes fail once nobody has taken anything for [`STALL_TIMEOUT`].
struct Patient<S> {
    stream: S,
    /// Runs while a write waits.
    patience: Pin<Box<Sleep>>,
    waits: bool,
}

impl<S> Patient<S> {
    fn new(stream: S) -> Patient<S> {
        Patient { stream, patience: Box::pin(tokio::time::sleep(STALL_TIMEOUT)), waits: false }
    }

    fn patiently<T>(&mut self, context: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.waits = false;
            return write;
        }
        if !self.waits {
            self.waits = true;
            self.patience.as_mut().reset(Instant::now() + STALL_TIMEOUT);
        }
        self.patience.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patiently(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.patiently(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        self.patiently(context, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(context);
        self.patiently(context, shutdown)
    }
}

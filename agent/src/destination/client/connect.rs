//! connect: from a URL to a connection that HTTP can be spoken over: TCP, a proxy where there is one, TLS.
//!
//! Promises: each step has its time; what fails says in plain words at which step and why; an address whose TLS fails
//! comes last the next time.
//! Must not know: requests, beyond where they go.
use super::dial::Dialer;
use super::proxy::{Proxies, Speaks, Via};
use super::{CONNECT, tls};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// No connection could be made.
#[derive(Debug)]
pub struct Failed {
    /// One of the words of [`crate::destination::Status::Word`].
    pub word: &'static str,
    /// In plain words, without the URL.
    pub why: String,
}

impl Failed {
    pub(super) fn new(word: &'static str, why: impl Into<String>) -> Failed {
        Failed { word, why: why.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for Failed {}

/// What bytes go over: TCP, or TLS over it, or TLS over a proxy's TLS.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Io = Box<dyn Duplex>;

/// When a connection was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Born(pub(super) Instant);

/// A connection.
pub struct Conn {
    io: TokioIo<Io>,
    born: Born,
    /// Requests go to a proxy in absolute form.
    forwarded: bool,
    /// The other side has chosen HTTP/2.
    two: bool,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.born).proxy(self.forwarded);
        if self.two { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

/// All that connections of one link are made with.
pub(super) struct Wire {
    pub(super) dialer: Arc<Dialer>,
    pub(super) proxies: Proxies,
    /// Spoken with the receiver.
    pub(super) tls: Arc<ClientConfig>,
    /// Spoken with a proxy that wants it.
    pub(super) proxy_tls: Option<Arc<ClientConfig>>,
}

/// Makes connections, as hyper asks for them.
#[derive(Clone)]
pub struct Connector(pub(super) Arc<Wire>);

impl Service<Uri> for Connector {
    type Response = Conn;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let wire = self.0.clone();
        Box::pin(async move { wire.connect(&to).await })
    }
}

impl Wire {
    async fn connect(&self, to: &Uri) -> Result<Conn, Failed> {
        match self.proxies.way(to) {
            None => self.directly(to).await,
            Some(via) => {
                let through =
                    |failed: Failed| Failed::new(failed.word, format!("proxy {via}: {}", failed.why));
                self.through(to, &via).await.map_err(through)
            }
        }
    }

    async fn directly(&self, to: &Uri) -> Result<Conn, Failed> {
        let (tcp, address) = self.dialer.dial(host(to), port(to)).await?;
        if !is_tls(to) {
            return Ok(conn(Box::new(tcp), false, false));
        }
        let secured = within(CONNECT, "the TLS handshake", secure(&self.tls, host(to), Box::new(tcp))).await;
        if secured.is_err() {
            self.dialer.failed(address);
        }
        let (io, two) = secured?;
        Ok(conn(io, two, false))
    }

    async fn through(&self, to: &Uri, via: &Via) -> Result<Conn, Failed> {
        let (tcp, address) = self.dialer.dial(via.host(), via.port()).await?;
        let made = within(CONNECT, "the way through the proxy", async {
            let mut io: Io = Box::new(tcp);
            if via.speaks() == Speaks::Https {
                let config = self.proxy_tls.as_ref().unwrap_or(&self.tls);
                (io, _) = secure(config, via.host(), io).await?;
            }
            io = match via.speaks() {
                Speaks::Socks { resolves } => self.socks(io, to, via, resolves).await?,
                // It is asked for the URL itself.
                _ if !is_tls(to) => return Ok(conn(io, false, true)),
                _ => tunnel(io, to, via).await?,
            };
            let two = if is_tls(to) {
                let (secured, two) = secure(&self.tls, host(to), io).await?;
                io = secured;
                two
            } else {
                false
            };
            Ok(conn(io, two, false))
        })
        .await;
        if made.is_err() {
            self.dialer.failed(address);
        }
        made
    }

    async fn socks(&self, io: Io, to: &Uri, via: &Via, resolves: bool) -> Result<Io, Failed> {
        let failed = |why: String| Failed::new("proxy", why);
        let mut target = format!("{}:{}", host(to), port(to));
        if !resolves {
            let found = self.dialer.addresses(host(to), port(to), Instant::now() + CONNECT).await?;
            target = found[0].to_string();
        }
        let target = format!("http://{target}/").parse().map_err(|e| failed(format!("{e}")))?;
        // The proxy's own URL only says where to connect, which is done.
        let mut socks = SocksV5::new(Uri::from_static("http://proxy/"), Given(Some(TokioIo::new(io))));
        if let Some((user, password)) = via.user() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        let io = socks.call(target).await.map_err(|e| failed(format!("SOCKS: {e}")))?;
        Ok(io.into_inner())
    }
}

/// A connection that is there already.
struct Given(Option<TokioIo<Io>>);

impl Service<Uri> for Given {
    type Response = TokioIo<Io>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Io>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

fn conn(io: Io, two: bool, forwarded: bool) -> Conn {
    Conn { io: TokioIo::new(io), born: Born(Instant::now()), forwarded, two }
}

fn is_tls(to: &Uri) -> bool {
    to.scheme_str() == Some("https")
}

fn host(to: &Uri) -> &str {
    to.host().unwrap_or_default()
}

fn port(to: &Uri) -> u16 {
    to.port_u16().unwrap_or(if is_tls(to) { 443 } else { 80 })
}

async fn within<T>(
    limit: Duration,
    what: &str,
    step: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    let late = || Err(Failed::new("timeout", format!("{what} took longer than {} s", limit.as_secs())));
    timeout(limit, step).await.unwrap_or_else(|_| late())
}

/// Speaks TLS over a connection; also whether HTTP/2 was agreed on.
async fn secure(config: &Arc<ClientConfig>, host: &str, io: Io) -> Result<(Io, bool), Failed> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare);
    let name = name.map_err(|e| Failed::new("tls", format!("{host}: {e}")))?;
    let stream = TlsConnector::from(config.clone()).connect(name, io).await.map_err(handshake)?;
    let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), two))
}

fn handshake(error: io::Error) -> Failed {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Failed::new("tls", tls::plain(error)),
        None => Failed::new("closed", format!("the TLS handshake broke off: {error}")),
    }
}

/// Most bytes of a proxy's answer.
const ANSWER_BYTES_MAX: usize = 8192;

/// Asks a proxy for a tunnel (RFC 9110 9.3.6).
async fn tunnel(mut io: Io, to: &Uri, via: &Via) -> Result<Io, Failed> {
    let failed = |why: String| Failed::new("proxy", why);
    let broken = |error: io::Error| Failed::new("closed", format!("it broke off: {error}"));
    let target = format!("{}:{}", host(to), port(to));
    let mut ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(basic) = via.basic() {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(basic.as_bytes());
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    io.write_all(&ask).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the head is not ours to read.
        let byte = io.read_u8().await.map_err(broken)?;
        answer.push(byte);
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(failed("its answer to CONNECT has no end".into()));
        }
    }
    let line: String =
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().chars().take(80).collect();
    match line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1)) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(io),
        Some("407") => {
            Err(failed("it asks for credentials (407): write them into its URL, user:password@".into()))
        }
        _ => Err(failed(format!("it does not let through to {target}: {line}"))),
    }
}

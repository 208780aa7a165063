//! The sink: a process of its own that takes every POST, keeps the body as it came, and answers 200 at once.
//!
//! Promises: nothing is decoded while a measurement runs; a body becomes a file in a directory (give it a memory file
//! system) whose name says when it was acknowledged; while a file `.refuse` is in that directory it answers 503 and
//! keeps nothing. Must not know: what is in the bodies.
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// While it is there, the sink refuses.
pub const REFUSE: &str = ".refuse";
/// Certificate and key of a TLS sink, in its directory.
pub const CERTIFICATE: &str = ".cert.pem";
const KEY: &str = ".key.pem";

/// Where bodies go, and their number.
type Place = Arc<(PathBuf, AtomicU64)>;

/// Serves on a free port of the loopback interface until it is killed; the port is its first line on stdout.
pub fn serve(dir: PathBuf, tls: bool) -> io::Result<()> {
    let acceptor = if tls { Some(acceptor(&dir)?) } else { None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        io::stdout().flush()?;
        let place: Place = Arc::new((dir, AtomicU64::new(0)));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (place, acceptor) = (place.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => connection(stream, place).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(stream, place).await;
                        }
                    }
                }
            });
        }
    })
}

/// A new self-signed certificate for the loopback address, left in the directory.
fn acceptor(dir: &Path) -> io::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])
        .map_err(io::Error::other)?;
    std::fs::write(dir.join(CERTIFICATE), made.cert.pem())?;
    std::fs::write(dir.join(KEY), made.signing_key.serialize_pem())?;
    let chain = CertificateDer::pem_file_iter(dir.join(CERTIFICATE)).map_err(io::Error::other)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(dir.join(KEY)).map_err(io::Error::other)?;
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(server.map_err(io::Error::other)?)))
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S, place: Place) {
    let service = hyper::service::service_fn(move |request| keep(request, place.clone()));
    // A client that goes away is no error of the sink.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// ns since the epoch.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

async fn keep(request: hyper::Request<Incoming>, place: Place) -> io::Result<hyper::Response<Full<Bytes>>> {
    let (head, mut body) = request.into_parts();
    let (dir, count) = (&place.0, &place.1);
    let header =
        |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned();
    let mut parts = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(part) = frame.map_err(io::Error::other)?.into_data() {
            parts.push(part);
        }
    }
    let mut response = hyper::Response::new(Full::default());
    if dir.join(REFUSE).exists() {
        *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    let number = count.fetch_add(1, Ordering::Relaxed);
    let (key, encoding, records) =
        (header("idempotency-key"), header("content-encoding"), header("x-edgepush-records"));
    let name = format!("{number:06}.{}.{records}.{encoding}.{key}", now_ns());
    let temporary = dir.join(format!(".{name}"));
    let mut file = std::fs::File::create(&temporary)?;
    for part in parts {
        file.write_all(&part)?;
    }
    std::fs::rename(temporary, dir.join(name))?;
    Ok(response)
}

/// One kept body, or one delivered file.
pub struct Body {
    path: PathBuf,
    /// When it was acknowledged, ns since the epoch; 0 for a file.
    pub acked_ns: u64,
    /// What `X-Edgepush-Records` said; 0 where nobody said it.
    pub records: u64,
    /// Stored bytes.
    pub len: u64,
    encoding: String,
    /// The idempotency key.
    pub key: String,
}

/// The bodies that a sink has kept so far, in the order of arrival.
pub fn bodies(dir: &Path) -> io::Result<Vec<Body>> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            // A body that is still being written, or a word to the sink.
            continue;
        }
        let parts: Vec<&str> = name.splitn(5, '.').collect();
        let [_, acked, records, encoding, key] = parts[..] else { continue };
        let Ok(acked_ns) = acked.parse() else { continue };
        kept.push(Body {
            path: entry.path(),
            acked_ns,
            records: records.parse().unwrap_or(0),
            len: entry.metadata()?.len(),
            encoding: encoding.to_owned(),
            key: key.to_owned(),
        });
    }
    kept.sort_by_key(|b| b.acked_ns);
    Ok(kept)
}

/// The files that a `file://` or `archive:` destination has made below a directory.
pub fn files(dir: &Path) -> io::Result<Vec<Body>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let (entry, path) = entry.map(|e| (e.metadata(), e.path()))?;
        let (meta, key) = (entry?, path.to_string_lossy().into_owned());
        if meta.is_dir() {
            found.append(&mut files(&path)?);
        } else if path.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')) {
            let suffix = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            let encoding = match suffix {
                "gz" => "gzip",
                "zst" => "zstd",
                _ => "none",
            };
            let encoding = encoding.to_owned();
            found.push(Body { path, acked_ns: 0, records: 0, len: meta.len(), encoding, key });
        }
    }
    Ok(found)
}

impl Body {
    /// The body without its content encoding.
    pub fn open(&self) -> io::Result<Box<dyn Read>> {
        let stored = io::BufReader::with_capacity(1 << 16, std::fs::File::open(&self.path)?);
        Ok(match self.encoding.as_str() {
            "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(stored)),
            "zstd" => Box::new(zstd::stream::read::Decoder::with_buffer(stored)?),
            _ => Box::new(stored),
        })
    }
}

//! The sink: a process of its own that takes every POST, keeps the body as it came, and answers 200 at once.
//!
//! Promises: nothing is decoded while a measurement runs; a body becomes a file in a directory (give it a memory file
//! system) whose name says when it was acknowledged. Must not know: what is in the bodies.
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Serves on a free port of the loopback interface until it is killed; the port is its first line on stdout.
pub fn serve(dir: PathBuf) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        io::stdout().flush()?;
        let (dir, count): (Arc<Path>, _) = (dir.into(), Arc::new(AtomicU64::new(0)));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (dir, count) = (dir.clone(), count.clone());
            let service =
                hyper::service::service_fn(move |request| keep(request, dir.clone(), count.clone()));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    })
}

/// ns since the epoch.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

async fn keep(
    request: hyper::Request<Incoming>,
    dir: Arc<Path>,
    count: Arc<AtomicU64>,
) -> io::Result<hyper::Response<Full<Bytes>>> {
    let (head, mut body) = request.into_parts();
    let header =
        |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned();
    let mut parts = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(part) = frame.map_err(io::Error::other)?.into_data() {
            parts.push(part);
        }
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
    Ok(hyper::Response::new(Full::default()))
}

/// One kept body.
pub struct Body {
    path: PathBuf,
    /// When it was acknowledged, ns since the epoch.
    pub acked_ns: u64,
    /// What `X-Edgepush-Records` said.
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
            // A body that is still being written.
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

impl Body {
    /// The body without its content encoding.
    pub fn decoded(&self) -> io::Result<Vec<u8>> {
        let stored = std::fs::read(&self.path)?;
        match self.encoding.as_str() {
            "gzip" => {
                let mut text = Vec::new();
                flate2::read::MultiGzDecoder::new(&stored[..]).read_to_end(&mut text)?;
                Ok(text)
            }
            "zstd" => zstd::decode_all(&stored[..]),
            _ => Ok(stored),
        }
    }
}

//! Real peers for the tests of the HTTP transport: authorities, HTTPS servers that write down what they get, proxies,
//! and a resolver whose answers a test chooses.
//!
//! Must not know: what a test expects.
#![allow(dead_code)]
pub mod proxy;

use bytes::Bytes;
use edgepush::config::Reserve;
use edgepush::destination::client::dial::Resolve;
use edgepush::destination::client::{Clients, Network, ProxyVariables};
use edgepush::destination::{Answer, Boxed, Destination, DestinationUrl, Opening, Outgoing};
use edgepush::protocol::{CodecKind, Container};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("it takes too long")
    })
}

pub fn batch(number: u64, body: &[&[u8]]) -> Outgoing {
    let key = format!("{number:016x}");
    Outgoing {
        name: format!("20261121T101112Z_20261121T101113Z_{key}.log").into(),
        key: key.into(),
        codec: CodecKind::None,
        container: Container::Single,
        records: 1,
        csv: false,
        shelf: None,
        body: body.iter().map(|part| Bytes::copy_from_slice(part)).collect(),
    }
}

pub fn open(clients: &Clients, url: &str) -> Arc<dyn Destination> {
    try_open(clients, url).unwrap()
}

pub fn try_open(clients: &Clients, url: &str) -> Result<Arc<dyn Destination>, String> {
    let opening = Opening { state: Path::new("/nowhere"), clients, keep_free: Reserve::Percent(0) };
    DestinationUrl::parse(url)?.open(&opening)
}

/// One small batch and what came of it.
pub async fn deliver(to: &Arc<dyn Destination>) -> Answer {
    to.deliver(batch(1, &[b"{\"a\":1}\n"])).await
}

/// A network without the environment's proxies.
pub fn network(names: &Names) -> Network {
    Network { resolver: Arc::new(names.clone()), proxies: ProxyVariables::default(), ..Network::default() }
}

/// Addresses of hosts, as a test says.
#[derive(Clone, Default)]
pub struct Names {
    known: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    pub fn say(&self, host: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.known.lock().unwrap().insert(host.to_owned(), addresses);
    }
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.known.lock().unwrap().get(host).cloned();
        Box::pin(async move {
            let found = found.ok_or_else(|| io::Error::other("no such name in this test"))?;
            Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
        })
    }
}

/// A certificate authority, and files that it issues.
pub struct Authority {
    pub dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
}

/// A certificate with its key, as files too.
pub struct Issued {
    pub cert: PathBuf,
    pub key: PathBuf,
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    private: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let (pem, der) = (own.pem(), own.der().clone());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        Authority { dir, issuer: Issuer::new(params, key), pem, der }
    }

    /// The file with its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let made = made.signed_by(&key, &self.issuer).unwrap();
        let place = |ending| self.dir.path().join(format!("{name}.{ending}"));
        let issued = Issued {
            cert: place("crt"),
            key: place("key"),
            chain: vec![made.der().clone()],
            private: key.serialize_der(),
        };
        std::fs::write(&issued.cert, made.pem()).unwrap();
        std::fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}

/// Whom a server lets in, and what it offers.
#[derive(Default)]
pub struct Wants<'a> {
    /// A client certificate of this authority.
    pub client_of: Option<&'a Authority>,
    /// HTTP/2 beside 1.1.
    pub two: bool,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Got {
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server: what it got, on how many connections.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn tls(at: &str, own: &Issued, wants: Wants<'_>) -> Server {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = match wants.client_of {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(own.private.clone().into());
        let mut config = config.with_single_cert(own.chain.clone(), key).unwrap();
        if wants.two {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Server::start(at, move |stream, server| {
            let acceptor = acceptor.clone();
            async move {
                match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => {
                        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        server.serve(TokioIo::new(stream), two).await;
                    }
                    // Closing at once would be a reset, which may overtake the alert that says why.
                    Err((_, mut stream)) => drop(stream.read_to_end(&mut Vec::new()).await),
                }
            }
        })
        .await
    }

    pub async fn plain(at: &str, two: bool) -> Server {
        Server::start(at, move |stream, server| async move { server.serve(TokioIo::new(stream), two).await })
            .await
    }

    /// Closes each connection as soon as it is there.
    pub async fn closing(at: &str) -> Server {
        Server::start(at, |stream, _| async move { drop(stream) }).await
    }

    async fn start<F>(at: &str, each: impl Fn(TcpStream, Server) -> F + Send + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server { address, got: Arc::default(), connections: Arc::default() };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(each(stream, own.clone()));
            }
        });
        server
    }

    async fn serve<T>(&self, stream: TokioIo<T>, two: bool)
    where
        TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let got = self.got.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let got = got.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                got.lock().unwrap().push(Got { version: head.version, headers: head.headers, body });
                Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
            }
        });
        if two {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(stream, service).await;
        } else {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
        }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

//! client: the HTTP clients of the agent: pooled connections, TLS, time-outs of the connection (INTERFACE 5).
//!
//! Promises: connections are reused; a certificate that is not trusted is never talked to; certificates are read only
//! when something speaks TLS.
//! Must not know: what is sent, what an answer means.
use super::body::UploadBody;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// Longest time for the TCP connection; for the TLS handshake as well.
pub const CONNECT: Duration = Duration::from_secs(10);
/// An idle connection is kept so long: shorter than what servers and balancers commonly allow.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// A client with its pool. Clones share it.
pub type HttpClient = Client<Connector, UploadBody>;

type Https = HttpsConnector<HttpConnector>;

/// Makes connections within a time that the TLS handshake is part of: a server that accepts and says nothing is weather.
#[derive(Clone)]
pub struct Connector(Https);

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = <Https as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move {
            let late =
                || format!("no connection within {} s, the TLS handshake included", 2 * CONNECT.as_secs());
            match tokio::time::timeout(2 * CONNECT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, late()).into()),
            }
        })
    }
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Nobody's: `http://`.
    Plain,
    /// The system's.
    System,
    /// Those in this PEM file only.
    File(PathBuf),
}

/// What makes one connection different from another to the same host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Whose certificates are trusted.
    pub trust: Trust,
}

/// The clients, one for each kind of link.
#[derive(Default)]
pub struct Clients {
    made: Mutex<HashMap<Link, HttpClient>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// The client for such links.
    ///
    /// # Errors
    /// The certificates cannot be read; in plain words.
    pub fn of(&self, link: &Link) -> Result<HttpClient, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(link) {
            return Ok(client.clone());
        }
        let client = client(tls(&link.trust)?);
        made.insert(link.clone(), client.clone());
        Ok(client)
    }
}

fn client(tls: ClientConfig) -> HttpClient {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(Connector(connector))
}

fn tls(trust: &Trust) -> Result<ClientConfig, String> {
    let roots = match trust {
        Trust::Plain => RootCertStore::empty(),
        Trust::System => system_roots()?,
        Trust::File(file) => file_roots(file)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|e| format!("TLS cannot be used: {e}"))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(|e| format!(" ({e})")).unwrap_or_default();
    Err(format!(
        "this host has no certificates to trust{why}: install ca-certificates, or name a PEM file with ca="
    ))
}

fn file_roots(file: &PathBuf) -> Result<RootCertStore, String> {
    let failed = |e: &dyn fmt::Display| format!("ca={}: {e}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(&e))? {
        let certificate = certificate.map_err(|e| failed(&e))?;
        roots.add(certificate).map_err(|e| failed(&e))?;
    }
    if roots.is_empty() {
        return Err(failed(&"holds no certificate"));
    }
    Ok(roots)
}

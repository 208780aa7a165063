//! tls: the certificate of the listeners (`EDGEPUSH_TLS_CERT`, `EDGEPUSH_TLS_KEY`).
//!
//! Promises: both files are read again when one has changed; what was read before is used on while they cannot be, or do
//! not belong together.
//! Must not know: which listener it is.
use crate::destination::client::refresh::Stamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Certificate and key of a listener.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    held: Mutex<([Stamp; 2], Arc<ServerConfig>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EDGEPUSH_TLS_CERT={}", self.cert.display())
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together; for an operator.
    pub fn open(cert: &Path, key: &Path) -> Result<Tls, String> {
        // The stamps first: what changes in between is read again.
        let stamps = [Stamp::of(cert), Stamp::of(key)];
        let config = config(cert, key)?;
        Ok(Tls { cert: cert.to_owned(), key: key.to_owned(), held: Mutex::new((stamps, config)) })
    }

    fn current(&self) -> Arc<ServerConfig> {
        let stamps = [Stamp::of(&self.cert), Stamp::of(&self.key)];
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 != stamps {
            match config(&self.cert, &self.key) {
                Ok(config) => {
                    tracing::info!("{self:?} or its key has changed and was read again");
                    held.1 = config;
                }
                // The other file is being written at this moment, or never will be.
                Err(why) => tracing::warn!("{why}; what was read before is used on"),
            }
            held.0 = stamps;
        }
        held.1.clone()
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// The other side does not, or is slow.
    pub async fn accept(&self, stream: TcpStream, limit: Duration) -> Result<TlsStream<TcpStream>, String> {
        let accepting = TlsAcceptor::from(self.current()).accept(stream);
        match tokio::time::timeout(limit, accepting).await {
            Ok(accepted) => accepted.map_err(|error| error.to_string()),
            Err(_) => Err("a client was too slow to shake hands".into()),
        }
    }
}

fn config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let of_cert = |why: &dyn fmt::Display| format!("EDGEPUSH_TLS_CERT={}: {why}", cert.display());
    // Without its value: somebody has put the key itself there.
    let of_key =
        |why: &dyn fmt::Display| format!("EDGEPUSH_TLS_KEY: {why}; it must be the path of a PEM file");
    let chain = CertificateDer::pem_file_iter(cert).map_err(|error| of_cert(&error))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| of_cert(&error))?;
    if chain.is_empty() {
        return Err(of_cert(&"holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of_key(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| of_cert(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => of_cert(&"does not belong to the key of EDGEPUSH_TLS_KEY"),
        error => of_cert(&error),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

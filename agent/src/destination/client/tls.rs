//! tls: whom a link trusts, and as whom it goes.
//!
//! Promises: certificates and keys that cannot be read, or do not belong together, are told with their file; who was
//! asked for a certificate and had none can say so.
//! Must not know: hosts, connections.
use super::Link;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, client, sign,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Nobody's: `http://`.
    Plain,
    /// The system's.
    System,
    /// Those in this PEM file only.
    File(PathBuf),
    /// Everybody's, unseen: `insecure-skip-verify=true`.
    Anyone,
}

/// Who the agent is: a certificate for those that ask for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// PEM file with the certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Whether a server has asked for a certificate that there is not.
pub(super) type Asked = Arc<AtomicBool>;

/// How TLS is spoken on a link.
pub(super) fn config(link: &Link, trust: &Trust, asked: &Asked) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let versions = versions.map_err(|e| format!("TLS cannot be used: {e}"))?;
    let trusting = match trust {
        Trust::Plain => versions.with_root_certificates(RootCertStore::empty()),
        Trust::System => versions.with_root_certificates(system_roots()?),
        Trust::File(file) => versions.with_root_certificates(file_roots(file)?),
        Trust::Anyone => versions.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider))),
    };
    match &link.identity {
        None => Ok(trusting.with_client_cert_resolver(Arc::new(Nobody(asked.clone())))),
        Some(identity) => {
            let chain = certificates("cert", &identity.cert)?;
            let (cert, key) = (identity.cert.display(), identity.key.display());
            let private = private_key(&identity.key)?;
            trusting.with_client_auth_cert(chain, private).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("cert={cert} and cert-key={key} do not belong together")
                }
                error => format!("cert={cert} and cert-key={key} cannot be used: {error}"),
            })
        }
    }
}

/// An error of TLS in plain words.
pub fn plain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            format!("its certificate is not trusted: {why}; ca= names the certificates that are")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a client certificate: name one with cert= and cert-key=".into()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied),
        ) => format!("it does not accept the client certificate ({alert:?}): see cert= and cert-key="),
        error => format!("TLS: {error}"),
    }
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

fn file_roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", file)? {
        roots.add(certificate).map_err(|e| format!("ca={}: {e}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |e: &dyn fmt::Display| format!("{parameter}={}: {e}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(|e| failed(&e))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|e| failed(&e))?;
    if found.is_empty() {
        return Err(failed(&"holds no certificate"));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        Error::NoItemsFound => format!(
            "cert-key={}: holds no private key that can be used; one with a passphrase cannot",
            file.display()
        ),
        error => format!("cert-key={}: {error}", file.display()),
    })
}

/// Has no certificate, and remembers that it was asked for one.
#[derive(Debug)]
struct Nobody(Asked);

impl client::ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<sign::CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Takes every certificate, as it was told to. That the other side has its key is still checked.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! `azure://account.blob.core.windows.net/container/path`: blobs of Azure Storage.
//!
//! Promises: a blob is created once and never replaced; a signature that may only create is enough; what is wrong with a
//! signature (its end, its rights) is said in plain words, and its end beforehand.
//! Must not know: how requests are signed and made.
mod login;
mod sas;

use super::super::client;
use super::super::kind::Opening;
use super::super::text;
use super::super::{Answer, Boxed, Destination, DestinationUrl, Outgoing, Verdict};
use super::connector::{Connect, Link, heard_here};
use super::gcs::is_endpoint;
use super::s3::{Clock, Environment};
use super::{Manner, Mode, Parts, StoreDestination, once};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use hyper::Method;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use login::{Gate, Login};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{HttpRequest, HttpRequestBody, HttpService as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use sas::Sas;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where accounts are unless the URL says more than their name.
const CLOUD: &str = "blob.core.windows.net";
/// Azure takes no larger blob in one request.
const PUT_BYTES_MAX: u64 = 5000 * 1024 * 1024;
const DAY_SECONDS: i64 = 24 * 3600;

pub use sas::PARAMETERS;

/// Where a URL points to.
struct Target {
    account: String,
    /// `https://account.blob.core.windows.net`, without a slash at the end.
    endpoint: String,
    container: String,
}

impl Target {
    fn of(url: &DestinationUrl) -> Result<Target, String> {
        let host = url.bucket();
        let account = host.split(['.', ':']).next().unwrap_or_default();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !(3..=24).contains(&account.len()) || !account.bytes().all(fits) {
            return Err(format!(
                "{url}: an account has 3 to 24 lower-case letters and digits: azure://ACCOUNT.{CLOUD}/CONTAINER"
            ));
        }
        let container = url.naming_path().split('/').next().unwrap_or_default();
        if container.is_empty() || container.contains('{') {
            return Err(format!("{url}: names no container: azure://{account}.{CLOUD}/CONTAINER/path"));
        }
        let endpoint = match url.own("endpoint") {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None if host.contains('.') => format!("https://{host}"),
            None => format!("https://{account}.{CLOUD}"),
        };
        Ok(Target { account: account.to_owned(), endpoint, container: container.to_owned() })
    }

    fn is_plain(&self) -> bool {
        self.endpoint.starts_with("http:")
    }
}

/// Makes the destination. Touches nothing but the environment.
///
/// # Errors
/// What is wrong with the URL, or that nothing says who asks.
pub fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    open(url, with, Timestamp::now, &|name| std::env::var(name).ok())
}

/// As [`build`], with another clock and another environment. For tests of wrong clocks.
///
/// # Errors
/// As [`build`].
pub fn open(
    url: &DestinationUrl,
    with: &Opening<'_>,
    clock: Clock,
    environment: Environment<'_>,
) -> Result<Arc<dyn Destination>, String> {
    let target = Target::of(url)?;
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let link = |to: &client::Link| with.clients.of(to).map(Link::new);
    let sas = Sas::of(url, &environment).map_err(|why| format!("{url}: {why}"))?;
    let login = match &sas {
        Some(sas) => Login::sas(sas.pairs()),
        None => identity(url, &target, &environment, &link).map_err(|why| format!("{url}: {why}"))?,
    };
    let version = url.own("api-version").map(HeaderValue::from_str).transpose();
    let version = version.map_err(|_| format!("{url}: api-version cannot stand in a header"))?;
    let gate = Gate::new(link(&url.link_to(!target.is_plain()))?, clock, login, version);
    let blobs = MicrosoftAzureBuilder::new()
        .with_account(&target.account)
        .with_container_name(&target.container)
        .with_endpoint(target.endpoint.clone())
        .with_allow_http(true)
        .with_skip_signature(true)
        .with_retry(once())
        .with_http_connector(Connect(gate.clone()))
        .build();
    let blobs = blobs.map_err(|e| format!("{url}: {e}"))?;
    let strip = format!("{}/", target.container);
    let root = format!("{}/{}", target.endpoint, target.container);
    let parts = Parts { over_bytes: over_bytes(sas.as_ref()), ..Parts::default() };
    let manner = Manner { mode: Mode::CreateOnly, parts, encoded: url.content_encoding(), strip };
    let inner = StoreDestination::new(Arc::new(Container { blobs, gate, root }), manner, url);
    let borrows_keys = url.own("sig").or(url.own("account-key")).is_none();
    let inner = inner.borrowing_keys(borrows_keys);
    Ok(Arc::new(AzureDestination { inner, sas, clock, warned: AtomicI64::new(0) }))
}

/// What is sent in blocks: Azure wants the right to write for them, and for one request only the right to create.
fn over_bytes(sas: Option<&Sas>) -> u64 {
    let usual = Parts::default().over_bytes;
    if sas.is_none_or(|sas| sas.may('w')) { usual } else { PUT_BYTES_MAX }
}

/// Who asks when there is no SAS: the account's key, or what the environment says that this process is.
fn identity(
    url: &DestinationUrl,
    target: &Target,
    environment: Environment<'_>,
    link: &dyn Fn(&client::Link) -> Result<Link, String>,
) -> Result<Login, String> {
    let key = url.own("account-key").map(str::to_owned);
    let key =
        key.or_else(|| environment("AZURE_STORAGE_KEY")).or_else(|| environment("AZURE_STORAGE_ACCOUNT_KEY"));
    if let Some(key) = key {
        return Login::key(&target.account, &key);
    }
    const NAMES: [(&str, AzureConfigKey); 6] = [
        ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
        ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
        ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
        ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
        ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
        ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
    ];
    let set: Vec<_> = NAMES.into_iter().filter_map(|(name, key)| Some((key, environment(name)?))).collect();
    // A token never goes over a wire that everybody reads, unless somebody named whose.
    if set.is_empty() && target.is_plain() {
        return Err("has no SAS and no account-key; without TLS no other identity is sent".into());
    }
    let by_login = set.iter().any(|(key, _)| *key == AzureConfigKey::AuthorityId);
    let authority = set.iter().find(|(key, _)| *key == AzureConfigKey::AuthorityHost);
    let link = link(&match authority {
        _ if !by_login => client::Link::machine(),
        Some((_, host)) => client::Link::public(!host.starts_with("http:")),
        None => client::Link::public(true),
    })?;
    let account = target.account.clone();
    Login::tokens(Box::new(move || {
        let builder = MicrosoftAzureBuilder::new().with_account(&account).with_container_name("none");
        let builder = set.iter().fold(builder, |builder, (key, value)| builder.with_config(*key, value));
        let made = builder.with_retry(once()).with_http_connector(Connect(link.clone())).build();
        made.map(|made| made.credentials().clone()).map_err(|e| e.to_string())
    }))
}

/// A container. What `object_store` does with blobs is its own; only removing is not: it does that in a way that asks
/// for more rights.
#[derive(Debug)]
struct Container {
    blobs: MicrosoftAzure,
    gate: Gate,
    /// `https://account.blob.core.windows.net/container`
    root: String,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)
    }
}

#[async_trait]
impl ObjectStore for Container {
    async fn put_opts(&self, at: &Path, body: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        self.blobs.put_opts(at, body, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.blobs.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> StoreResult<GetResult> {
        self.blobs.get_opts(at, opts).await
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let (gate, root) = (self.gate.clone(), self.root.clone());
        let remove = move |name: StoreResult<Path>| {
            let (gate, root) = (gate.clone(), root.clone());
            heard_here(async move {
                let name = name?;
                remove(&gate, &root, &name).await?;
                Ok(name)
            })
        };
        names.then(remove).boxed()
    }

    fn list(&self, below: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.blobs.list(below)
    }

    async fn list_with_delimiter(&self, below: Option<&Path>) -> StoreResult<ListResult> {
        self.blobs.list_with_delimiter(below).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> StoreResult<()> {
        self.blobs.copy_opts(from, to, opts).await
    }
}

async fn remove(gate: &Gate, root: &str, name: &Path) -> StoreResult<()> {
    let failed = |why: String| Error::Generic { store: "azure", source: why.into() };
    let parts: Vec<String> = name.parts().map(|part| text::encode_all(part.as_ref())).collect();
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::DELETE;
    *request.uri_mut() =
        format!("{root}/{}", parts.join("/")).parse().map_err(|_| failed("no URL".into()))?;
    request.headers_mut().insert("x-ms-version", HeaderValue::from_static("2023-11-03"));
    let answer = Connect(gate.clone()).call(request).await.map_err(|e| failed(e.to_string()))?;
    if answer.status().is_success() { Ok(()) } else { Err(failed(format!("HTTP {}", answer.status()))) }
}

/// A container as a destination: a store, and the words about its signature.
struct AzureDestination {
    inner: StoreDestination,
    sas: Option<Sas>,
    clock: Clock,
    /// The day, since 1970, on which the end of the signature was last spoken of.
    warned: AtomicI64,
}

impl AzureDestination {
    /// Says once a day that the signature ends soon.
    fn warn(&self) {
        let now = (self.clock)();
        let day = now.as_second() / DAY_SECONDS;
        let soon = self.sas.as_ref().and_then(|sas| sas.ends_soon(now));
        if let Some(soon) = soon.filter(|_| self.warned.swap(day, Ordering::Relaxed) != day) {
            tracing::warn!("{}: {soon}", self.inner.redacted());
        }
    }

    /// The words of a refusal, with what is wrong with the signature before them.
    fn plain(&self, why: String) -> String {
        match self.sas.as_ref().and_then(|sas| sas.trouble((self.clock)(), &why)) {
            Some(trouble) => {
                let shown = self.inner.redacted();
                let said = why.strip_prefix(shown).map_or(&*why, |rest| rest.trim_start_matches(": "));
                format!("{shown}: {trouble} ({said})")
            }
            None => why,
        }
    }
}

impl Destination for AzureDestination {
    fn prepare(&self) -> Boxed<'_, ()> {
        self.warn();
        self.inner.prepare()
    }

    fn notable(&self) -> Option<String> {
        self.sas.as_ref().and_then(|sas| sas.ends_soon((self.clock)()))
    }

    fn borrows_keys(&self) -> bool {
        self.inner.borrows_keys()
    }

    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(async move {
            self.warn();
            let answer = self.inner.deliver(batch).await;
            let verdict = match answer.verdict {
                Verdict::Hold { why } => Verdict::Hold { why: self.plain(why) },
                other => other,
            };
            Answer { verdict, status: answer.status }
        })
    }

    fn probe(&self, write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(async move { self.inner.probe(write).await.map_err(|why| self.plain(why)) })
    }

    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        self.inner.put_object(name, body)
    }

    fn leaves_host(&self) -> bool {
        true
    }

    fn redacted(&self) -> &str {
        self.inner.redacted()
    }
}

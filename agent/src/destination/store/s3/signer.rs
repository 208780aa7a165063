//! signer: what a request to S3 gets on its way: the headers that the URL asks for, checksums, the signature.
//!
//! Promises: every request is signed with the hash of its body; a store whose clock differs is believed once, said
//! once, and its time is used from then on; nothing else is tried again.
//! Must not know: which object it is, what an answer means to a batch.
use super::super::answer::complaint;
use super::super::connector::{Link, Reply, Said, Way};
use super::credentials::Credentials;
use super::sign::{Keys, Signed, authorization, stamp};
use crate::destination::redact::Secrets;
use crate::destination::text::{base64, hex};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Response};
use object_store::client::{HttpRequest, HttpRequestBody};
use ring::digest;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// This host's clock.
pub type Clock = fn() -> jiff::Timestamp;

/// A difference of clocks is said again when it has changed by more than this.
const SKEW_SECONDS: i64 = 60;

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const CHECKSUM_SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const CHECKSUM_CRC32: HeaderName = HeaderName::from_static("x-amz-checksum-crc32");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Which checksum an object gets beside the hash that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// `x-amz-checksum-crc32`
    Crc32,
    /// `x-amz-checksum-sha256`
    Sha256,
    /// None.
    Off,
}

/// Everything about requests that belongs to the destination.
pub struct Signer {
    /// How it is reached.
    pub link: Link,
    /// Whose keys.
    pub credentials: Credentials,
    /// In whose scope.
    pub region: String,
    /// Headers of every new object: encryption, class, ACL.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The checksum of objects in one request.
    pub checksum: Checksum,
    /// Whether the completion of an upload in parts asks that the name be new.
    pub create_parts: bool,
    /// This host's clock.
    pub clock: Clock,
    /// Seconds that the store's clock is ahead.
    pub ahead: AtomicI64,
    /// The URL as it may be shown.
    pub shown: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.shown)
    }
}

/// What a request does, as far as its headers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A whole object.
    Put,
    /// The beginning of an upload in parts.
    Begin,
    /// Its end.
    Complete,
    /// Anything else.
    Other,
}

fn deed(method: &Method, query: &str) -> Deed {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match method.as_str() {
        "PUT" if !has("uploadId") => Deed::Put,
        "POST" if has("uploads") => Deed::Begin,
        "POST" if has("uploadId") => Deed::Complete,
        _ => Deed::Other,
    }
}

/// Hash and checksum of a body.
struct Sums {
    sha256: digest::Digest,
    crc32: u32,
}

/// Reads a body piece by piece; other uploads go on in between.
async fn sums(mut body: HttpRequestBody, with_crc: bool) -> Sums {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut crc32 = crc32fast::Hasher::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(piece) = frame.data_ref() else { continue };
        for some in piece.chunks(1024 * 1024) {
            sha256.update(some);
            if with_crc {
                crc32.update(some);
            }
            tokio::task::yield_now().await;
        }
    }
    Sums { sha256: sha256.finish(), crc32: crc32.finalize() }
}

fn header(text: &str) -> Result<HeaderValue, Said> {
    HeaderValue::from_str(text)
        .map_err(|_| Said::Unable { why: "the keys have characters that no header can have".into() })
}

/// An error that repeats keys does not bring them into a log: those of the host stand in no URL.
fn without_keys(answer: Response<Bytes>, keys: &Keys) -> Response<Bytes> {
    if answer.status().is_success() {
        return answer;
    }
    let mut secrets = Secrets::default();
    [Some(&keys.id), Some(&keys.secret), keys.token.as_ref()]
        .into_iter()
        .flatten()
        .for_each(|key| secrets.add(key));
    answer.map(|body| secrets.hide(&String::from_utf8_lossy(&body)).into())
}

impl Signer {
    /// Adds what belongs to the destination and the body. The signature follows.
    async fn dress(&self, request: &mut HttpRequest) -> Result<String, Said> {
        let deed = deed(request.method(), request.uri().query().unwrap_or(""));
        let crc = deed == Deed::Put && self.checksum == Checksum::Crc32;
        let sums = sums(request.body().clone(), crc).await;
        let payload = hex(sums.sha256.as_ref());
        let host = request.uri().authority().map(|at| at.as_str().to_owned()).unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, header(&host)?);
        headers.insert(CONTENT_SHA256, header(&payload)?);
        match self.checksum {
            Checksum::Crc32 if crc => {
                headers.insert(CHECKSUM_CRC32, header(&base64(&sums.crc32.to_be_bytes()))?);
            }
            Checksum::Sha256 if deed == Deed::Put => {
                headers.insert(CHECKSUM_SHA256, header(&base64(sums.sha256.as_ref()))?);
            }
            _ => {}
        }
        if matches!(deed, Deed::Put | Deed::Begin) {
            headers.extend(self.headers.iter().cloned());
        }
        if deed == Deed::Complete && self.create_parts {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Ok(payload)
    }

    fn sign(&self, request: &mut HttpRequest, payload: &str, keys: &Keys) -> Result<(), Said> {
        let ahead = jiff::SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        let at = stamp((self.clock)().saturating_add(ahead).unwrap_or_else(|_| (self.clock)()));
        let headers = request.headers_mut();
        headers.insert(DATE, header(&at)?);
        if let Some(token) = &keys.token {
            let mut token = header(token)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let signed =
            Signed { method: request.method(), uri: request.uri(), headers: request.headers(), payload };
        let mut value = header(&authorization(signed, keys, &self.region, &at))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    async fn sent(&self, mut request: HttpRequest) -> Result<Response<Bytes>, Said> {
        let payload = self.dress(&mut request).await?;
        let keys = self.credentials.keys().await?;
        let mut again = request.clone();
        self.sign(&mut request, &payload, &keys)?;
        let answer = self.link.send(request).await?;
        if !self.learns_time(&Reply::of(&answer)) {
            return Ok(without_keys(answer, &keys));
        }
        self.sign(&mut again, &payload, &keys)?;
        Ok(without_keys(self.link.send(again).await?, &keys))
    }

    /// Whether the answer says that this host's clock is wrong, and by how much.
    fn learns_time(&self, reply: &Reply) -> bool {
        if reply.status.as_u16() != 403 || complaint(&reply.text).code != "RequestTimeTooSkewed" {
            return false;
        }
        let Some(theirs) = reply.date else { return false };
        let ahead = theirs.as_second() - (self.clock)().as_second();
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if (ahead - before).abs() > SKEW_SECONDS {
            let side = if ahead > 0 { "behind" } else { "ahead of" };
            tracing::warn!(
                "{}: the clock of this host is {} s {side} the store's; requests are signed with the store's time; \
                 set the clock right (NTP)",
                self.shown,
                ahead.abs()
            );
        }
        true
    }
}

impl Way for Arc<Signer> {
    fn exchange(&self, request: HttpRequest) -> impl Future<Output = Result<Response<Bytes>, Said>> + Send {
        self.sent(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_query() {
        for (method, query, want) in [
            (Method::PUT, "", Deed::Put),
            (Method::PUT, "partNumber=1&uploadId=x", Deed::Other),
            (Method::POST, "uploads=", Deed::Begin),
            (Method::POST, "uploadId=x", Deed::Complete),
            (Method::DELETE, "uploadId=x", Deed::Other),
            (Method::GET, "", Deed::Other),
        ] {
            assert_eq!(deed(&method, query), want, "{method} {query}");
        }
    }
}

//! How Azure is told who asks: a signature of each request, a signature that Azure made for a while, or a token.
//!
//! Promises: a large blob is created under the same condition as a small one, never over another; a clock that is off is
//! corrected by the server's, once and with a warning; a token that is refused is replaced once; no secret is ever said.
//! Must not know: batches, verdicts, URLs of operators.
use super::super::super::text;
use super::super::connector::{Link, Reply, Said, Way, copy, listening, unable, weather};
use super::super::s3::Clock;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Response, StatusCode, Uri};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use object_store::azure::{AzureCredential, AzureCredentialProvider};
use object_store::client::HttpRequest;
use ring::hmac;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const X_MS_DATE: HeaderName = HeaderName::from_static("x-ms-date");
const X_MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
/// A clock that is further off is corrected. Azure takes 15 minutes.
const SKEW_SECONDS: i64 = 5 * 60;
/// Headers that a signature covers beside those of Azure, in its order; `None`: the date, which `x-ms-date` stands for.
const SIGNED: [Option<&str>; 11] = [
    Some("content-encoding"),
    Some("content-language"),
    Some("content-length"),
    Some("content-md5"),
    Some("content-type"),
    None,
    Some("if-modified-since"),
    Some("if-match"),
    Some("if-none-match"),
    Some("if-unmodified-since"),
    Some("range"),
];

/// Makes a provider of tokens, without those that it had.
pub type MakeTokens = Box<dyn Fn() -> Result<AzureCredentialProvider, String> + Send + Sync>;

/// Who asks.
pub enum Login {
    /// The account itself.
    Key {
        /// Its name.
        account: String,
        /// Its key, decoded.
        key: hmac::Key,
        /// The server's clock minus ours, in seconds.
        offset: AtomicI64,
    },
    /// Whoever has this signature: the query that Azure printed, percent-encoded.
    Sas(String),
    /// An identity of Entra.
    Tokens {
        /// Where tokens come from.
        from: Mutex<AzureCredentialProvider>,
        /// Makes another.
        make: MakeTokens,
    },
}

impl Login {
    /// The account with its key in base64.
    ///
    /// # Errors
    /// The key is none.
    pub fn key(account: &str, key: &str) -> Result<Login, String> {
        let key = text::unbase64(key).filter(|key| !key.is_empty()).ok_or("the account key is no base64")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Login::Key { account: account.to_owned(), key, offset: AtomicI64::new(0) })
    }

    /// A signature in pairs, decoded.
    pub fn sas<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Login {
        let pair = |(name, value): (&str, &str)| format!("{name}={}", text::encode_all(value));
        Login::Sas(pairs.map(pair).collect::<Vec<_>>().join("&"))
    }

    /// An identity of Entra.
    ///
    /// # Errors
    /// As `make` says.
    pub fn tokens(make: MakeTokens) -> Result<Login, String> {
        Ok(Login::Tokens { from: Mutex::new(make()?), make })
    }
}

/// The way to Azure.
#[derive(Clone)]
pub struct Gate {
    link: Link,
    clock: Clock,
    login: Arc<Login>,
    version: Option<HeaderValue>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    /// Over this link. `version`: of the API, where the newest that we know is too new.
    pub fn new(link: Link, clock: Clock, login: Login, version: Option<HeaderValue>) -> Gate {
        Gate { link, clock, login: Arc::new(login), version }
    }

    async fn sent(&self, mut request: HttpRequest) -> Result<Response<Bytes>, Said> {
        // What makes a blob of its blocks overwrites unless it is told not to.
        if *request.method() == Method::PUT && has(request.uri(), "comp", "blocklist") {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if let Some(version) = &self.version {
            request.headers_mut().insert(X_MS_VERSION, version.clone());
        }
        let answer = self.link.send(self.signed(&request).await?).await?;
        if self.mends(&answer)? { self.link.send(self.signed(&request).await?).await } else { Ok(answer) }
    }

    /// The request, with who asks.
    async fn signed(&self, request: &HttpRequest) -> Result<HttpRequest, Said> {
        let mut signed = copy(request);
        match &*self.login {
            Login::Key { account, key, offset } => {
                let now = (self.clock)().as_second() + offset.load(Ordering::Relaxed);
                sign(&mut signed, account, key, now);
            }
            Login::Sas(sas) => {
                let mark = if signed.uri().query().is_some() { '&' } else { '?' };
                let uri = format!("{}{mark}{sas}", signed.uri());
                *signed.uri_mut() = uri.parse().map_err(|_| unable("the SAS cannot stand in a URL"))?;
            }
            Login::Tokens { from, .. } => {
                let from = from.lock().unwrap_or_else(PoisonError::into_inner).clone();
                signed.headers_mut().insert(AUTHORIZATION, bearer(&from).await?);
            }
        }
        Ok(signed)
    }

    /// Whether an answer says something about who asks that another try mends.
    fn mends(&self, answer: &Response<Bytes>) -> Result<bool, Said> {
        match &*self.login {
            Login::Key { offset, .. } if answer.status() == StatusCode::FORBIDDEN => {
                let theirs = Reply::of(answer).date.map(|date| date.as_second());
                let now = (self.clock)().as_second();
                let off = theirs.map_or(0, |theirs| theirs - now);
                // Once: what the corrected clock does not mend, no second correction will.
                let before = offset.load(Ordering::Relaxed);
                let mends = (off - before).abs() > SKEW_SECONDS;
                if mends {
                    offset.store(off, Ordering::Relaxed);
                    tracing::warn!(
                        "the clock of this host is {} s off Azure's, which is used: set the clock",
                        -off
                    );
                }
                Ok(mends)
            }
            Login::Tokens { from, make } if answer.status() == StatusCode::UNAUTHORIZED => {
                let fresh = make().map_err(|why| Said::Unable { why })?;
                *from.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// A token as a header.
async fn bearer(from: &AzureCredentialProvider) -> Result<HeaderValue, Said> {
    let (token, heard) = listening(from.get_credential()).await;
    match token.as_deref() {
        Ok(AzureCredential::BearerToken(token)) => {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| unable("the token of the identity is none"))?;
            value.set_sensitive(true);
            Ok(value)
        }
        Ok(_) => Err(unable("the identity gives no token")),
        Err(error) => Err(match heard.bad {
            Some(Said::Answer(reply)) if reply.status.is_client_error() && reply.status != 429 => {
                unable(format!("no token for the identity: HTTP {}: {}", reply.status, reply.words()))
            }
            Some(Said::Answer(reply)) => {
                weather(format!("no token for the identity: HTTP {}: {}", reply.status, reply.words()))
            }
            Some(Said::Trouble { why, .. } | Said::Unable { why }) => weather(format!(
                "no SAS and no account key is given, and nobody says who this machine is: {why}"
            )),
            None => unable(format!("no token for the identity: {error}")),
        }),
    }
}

/// Whether a query has this pair.
fn has(uri: &Uri, name: &str, value: &str) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.any(|pair| pair == (name, value))
}

/// Signs with the key of the account (Shared Key of the Blob service).
fn sign(request: &mut HttpRequest, account: &str, key: &hmac::Key, now: i64) {
    let at = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default();
    let date = HeaderValue::try_from(date).expect("INVARIANT: a date may stand in a header");
    request.headers_mut().remove(DATE);
    request.headers_mut().insert(X_MS_DATE, date);
    let signature = hmac::sign(key, to_sign(request, account).as_bytes());
    let value = format!("SharedKey {account}:{}", text::base64(signature.as_ref()));
    let mut value = HeaderValue::try_from(value).expect("INVARIANT: an account is letters and digits");
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
}

/// What a signature covers: the method, some headers, all of Azure's headers, and where it goes.
fn to_sign(request: &HttpRequest, account: &str) -> String {
    let headers = request.headers();
    let mut out = format!("{}\n", request.method());
    for name in SIGNED {
        let value = name.and_then(|name| headers.get(name)?.to_str().ok()).unwrap_or_default();
        let value = if name == Some(CONTENT_LENGTH.as_str()) && value == "0" { "" } else { value };
        out.push_str(value);
        out.push('\n');
    }
    let mut own: Vec<(&str, &str)> =
        headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap_or_default())).collect();
    own.retain(|(name, _)| name.starts_with("x-ms-"));
    own.sort_unstable();
    own.iter().for_each(|(name, value)| out.push_str(&format!("{name}:{}\n", value.trim())));
    out.push_str(&format!("/{account}{}", request.uri().path()));
    let pairs = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_ascii_lowercase(), text::decode(value).unwrap_or_default())
        })
        .collect();
    pairs.sort_unstable();
    pairs.iter().for_each(|(name, value)| out.push_str(&format!("\n{name}:{value}")));
    out
}

impl Way for Gate {
    fn exchange(&self, request: HttpRequest) -> impl Future<Output = Result<Response<Bytes>, Said>> + Send {
        self.sent(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    #[test]
    fn what_is_signed_is_what_azure_documents() {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::PUT;
        *request.uri_mut() =
            "http://h/c/a%20b?timeout=30&comp=block&blockid=QQ%3D%3D".parse().expect("a URI");
        for (name, value) in [
            ("x-ms-version", "2023-11-03"),
            ("content-length", "0"),
            ("if-none-match", "*"),
            ("x-ms-date", "D"),
        ] {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let want = "PUT\n\n\n\n\n\n\n\n\n*\n\n\nx-ms-date:D\nx-ms-version:2023-11-03\n\
                    /acc/c/a%20b\nblockid:QQ==\ncomp:block\ntimeout:30";
        assert_eq!(to_sign(&request, "acc"), want);
    }
}

//! `http(s)://`: a batch is the body of one POST to the exact URL (INTERFACE 5).
//!
//! Promises: an answer is what the server said, mapped to a verdict; whatever else happens is weather, in plain words;
//! no time-out is missing; no secret of the URL is ever said.
//! Must not know: retries, other batches.
use super::body::{IDLE, Moved, UploadBody};
use super::client::{CONNECT, HttpClient};
use super::redact::Secrets;
use super::{Answer, Boxed, Destination, Outgoing, Status, Verdict, text};
use bytes::Bytes;
use edgepush_shard::codec::CodecKind;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest time of an upload, and more of it for each MB.
const TOTAL: Duration = Duration::from_secs(60);
const TOTAL_PER_MB: Duration = Duration::from_secs(1);
/// What is read of an answer: enough for an error's words.
const WORDS_BYTES: usize = 4096;
/// Characters of an error's words that are told.
const WORDS_CHARS: usize = 300;
/// An answer is read on up to here so that its connection can be used again.
const DRAIN_BYTES: usize = 64 * 1024;
/// A target's own wish is obeyed up to this.
const WISH_MAX: Duration = Duration::from_secs(3600);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const BATCH: HeaderName = HeaderName::from_static("x-edgepush-batch");
const OBJECT: HeaderName = HeaderName::from_static("x-edgepush-object");
const RECORDS: HeaderName = HeaderName::from_static("x-edgepush-records");

/// Where to, and with what.
pub struct HttpTarget {
    /// As it is sent.
    pub url: String,
    /// Headers of the operator.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// As it may be shown.
    pub shown: String,
    /// What must not be shown.
    pub secrets: Secrets,
}

/// A collector that takes POSTs.
pub struct HttpDestination {
    uri: Uri,
    headers: HeaderMap,
    shown: String,
    secrets: Secrets,
    client: HttpClient,
}

impl HttpDestination {
    /// A destination; nothing is connected yet.
    ///
    /// # Errors
    /// The URL is none.
    pub fn new(target: HttpTarget, client: HttpClient) -> Result<HttpDestination, String> {
        let uri = target.url.parse().map_err(|e| format!("{}: {e}", target.shown))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("edgepush/", env!("CARGO_PKG_VERSION"))));
        headers.extend(target.headers);
        Ok(HttpDestination { uri, headers, shown: target.shown, secrets: target.secrets, client })
    }

    fn request(&self, batch: &Outgoing, body: UploadBody) -> Request<UploadBody> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 6);
        let content = if batch.csv { "text/csv" } else { "application/x-ndjson" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
        let encoding = match batch.codec {
            CodecKind::Gzip => Some("gzip"),
            CodecKind::Zstd => Some("zstd"),
            CodecKind::None => None,
        };
        headers.extend(encoding.map(|word| (CONTENT_ENCODING, HeaderValue::from_static(word))));
        headers.insert(IDEMPOTENCY_KEY, value(&batch.key));
        headers.insert(BATCH, value(&batch.name));
        headers.insert(RECORDS, HeaderValue::from(batch.records));
        // The operator's own come last: `header_Content-Type` overrides.
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    async fn post(&self, batch: Outgoing) -> Answer {
        let limit = Instant::now() + TOTAL + TOTAL_PER_MB.mul_f64(batch.len() as f64 / 1e6);
        let moved = Arc::new(Moved::new());
        let request = self.request(&batch, UploadBody::new(batch.body.clone(), moved.clone()));
        self.exchange(request, &moved, limit).await
    }

    /// POSTs a text that is no batch. Some seconds are enough: somebody waits for the answer.
    async fn post_object(&self, name: String, body: Bytes) -> Result<String, String> {
        let moved = Arc::new(Moved::new());
        let mut request = Request::new(UploadBody::new(vec![body], moved.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        request.headers_mut().insert(OBJECT, value(&name));
        match self.exchange(request, &moved, Instant::now() + 2 * CONNECT).await.verdict {
            Verdict::Delivered => Ok(name),
            Verdict::Retry { why, .. }
            | Verdict::Hold { why }
            | Verdict::Refused { why }
            | Verdict::TooLarge { why }
            | Verdict::Partly { why, .. } => Err(why),
        }
    }

    async fn exchange(&self, request: Request<UploadBody>, moved: &Moved, limit: Instant) -> Answer {
        let answer = async {
            let response = self.client.request(request).await.map_err(|e| self.trouble(&e))?;
            moved.now();
            let (status, headers) = (response.status(), response.headers().clone());
            let words = words(response, moved).await;
            Ok::<Answer, Answer>(self.meaning(status, &headers, &words))
        };
        match timeout_at(limit, moved.watch(answer)).await {
            Ok(Some(Ok(answer) | Err(answer))) => answer,
            Ok(None) => self.weather("timeout", format!("nothing has moved for {} s", IDLE.as_secs())),
            Err(_) => {
                let why = "the upload took too long (60 s and 1 s for each MB; 20 s for a single object)";
                self.weather("timeout", why.into())
            }
        }
    }

    fn weather(&self, word: &'static str, why: String) -> Answer {
        let why = format!("{}: {}", self.shown, self.secrets.hide(&why));
        Answer { verdict: Verdict::Retry { after: None, why }, status: Status::Word(word) }
    }

    /// An error of the transport, in plain words.
    fn trouble(&self, error: &hyper_util::client::legacy::Error) -> Answer {
        let mut chain = Vec::new();
        let mut word = if error.is_connect() { "connect" } else { "closed" };
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(at) = cause {
            let said = at.to_string();
            if said.contains("dns error") {
                word = "dns";
            }
            if let Some(io) = at.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::ConnectionRefused => word = "refused",
                    io::ErrorKind::TimedOut => word = "timeout",
                    _ if is_tls(io) => word = "tls",
                    _ => {}
                }
            }
            chain.push(said);
            cause = at.source();
        }
        chain.dedup();
        self.weather(word, chain.join(": "))
    }

    /// What an answer means (INTERFACE 5, RULINGS 12).
    fn meaning(&self, status: StatusCode, headers: &HeaderMap, words: &str) -> Answer {
        let mut why = format!("{}: HTTP {status}", self.shown);
        if let Some(to) =
            headers.get(LOCATION).filter(|_| status.is_redirection()).and_then(|to| to.to_str().ok())
        {
            why.push_str(&format!(" to {}, which is not followed", self.secrets.hide(to)));
        }
        if !words.is_empty() {
            why.push_str(&format!(": {}", self.secrets.hide(words)));
        }
        let verdict = match status.as_u16() {
            200..=299 => Verdict::Delivered,
            413 => Verdict::TooLarge { why },
            400 | 415 | 422 => Verdict::Refused { why },
            408 | 425 | 429 | 500..=599 => Verdict::Retry { after: retry_after(headers), why },
            _ => Verdict::Hold { why },
        };
        Answer { verdict, status: Status::Code(status.as_u16()) }
    }

    async fn ask(&self) -> Result<(), String> {
        let mut request = Request::new(UploadBody::empty());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let response = match timeout(2 * CONNECT, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(said(&self.trouble(&error))),
            Err(_) => return Err(format!("no answer within {} s", 2 * CONNECT.as_secs())),
        };
        // Many collectors know POST only: that they answer is enough, unless they say who may not.
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(format!("HTTP {}", response.status()))
            }
            _ => Ok(()),
        }
    }
}

/// Whether an I/O error is TLS's, however often it was wrapped.
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_tls)
    })
}

fn said(answer: &Answer) -> String {
    match &answer.verdict {
        Verdict::Retry { why, .. } => why.clone(),
        other => format!("{other:?}"),
    }
}

fn value(text: &str) -> HeaderValue {
    let encoded = text::encode_header(text);
    HeaderValue::try_from(encoded).expect("INVARIANT: what is percent-encoded may stand in a header")
}

/// Seconds or a date (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(WISH_MAX));
    }
    let at = jiff::fmt::rfc2822::parse(said).ok()?.timestamp();
    let left = at.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default().min(WISH_MAX))
}

/// The beginning of an answer's body on one line; the rest is read on for the connection's sake.
async fn words(response: Response<Incoming>, moved: &Moved) -> String {
    let mut body = response.into_body();
    let (mut kept, mut read) = (Vec::new(), 0);
    while read < DRAIN_BYTES {
        let Some(Ok(frame)) = body.frame().await else { break };
        moved.now();
        if let Some(bytes) = frame.data_ref() {
            read += bytes.len();
            let room = WORDS_BYTES.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(&bytes[..room]);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let plain = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    plain.collect::<Vec<_>>().join(" ").chars().take(WORDS_CHARS).collect()
}

impl Destination for HttpDestination {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(self.post(batch))
    }

    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(self.ask())
    }

    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        Box::pin(self.post_object(name.to_owned(), body))
    }

    fn leaves_host(&self) -> bool {
        true
    }

    fn redacted(&self) -> &str {
        &self.shown
    }
}

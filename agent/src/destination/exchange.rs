//! exchange: one request to a receiver that speaks HTTP, and what its answer means (INTERFACE 5).
//!
//! Promises: no time-out is missing; an answer's body is bounded; whatever is no answer is weather, in plain words; no
//! secret of the receiver is ever said.
//! Must not know: batches, retries, what bodies hold.
//!
//! A destination makes its request with [`Exchange::request`], changes it as it likes, and gives it to
//! [`Exchange::send`]. Where the receiver's status says all, [`Exchange::answer`] is the end; where the truth stands in
//! the body, the destination reads [`Reply::body`] itself (look at [`Reply::whole`] first).
use super::body::{IDLE, UploadBody};
use super::client::{CONNECT, Failed, HttpClient, tls};
use super::http::HttpTarget;
use super::proof::Proof;
use super::redact::Secrets;
use super::{Answer, Status, Verdict};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest time of an upload, and more of it for each MB.
const TOTAL: Duration = Duration::from_secs(60);
const TOTAL_PER_MB: Duration = Duration::from_secs(1);
/// What is read of an answer: enough for an error's words.
pub const WORDS_BYTES: usize = 4096;
/// Characters of an error's words that are told.
const WORDS_CHARS: usize = 300;
/// An answer is read on up to here so that its connection can be used again.
const DRAIN_BYTES: usize = 64 * 1024;
/// A target's own wish is obeyed up to this.
const WISH_MAX: Duration = Duration::from_secs(3600);

/// What one exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time in all, from the first step of the connection to the end of the answer.
    pub total: Duration,
    /// Most bytes of the answer's body that are kept.
    pub answer_bytes: usize,
}

impl Limits {
    /// Of an upload of so many bytes, whose answer is read for its words.
    pub fn upload(bytes: u64) -> Limits {
        Limits { total: TOTAL + TOTAL_PER_MB.mul_f64(bytes as f64 / 1e6), answer_bytes: WORDS_BYTES }
    }

    /// Of a question or a small object: somebody waits for the answer.
    pub const fn small() -> Limits {
        Limits { total: Duration::from_secs(2 * CONNECT.as_secs()), answer_bytes: WORDS_BYTES }
    }

    /// The same, with an answer of which more is kept.
    pub const fn keeping(self, answer_bytes: usize) -> Limits {
        Limits { answer_bytes, ..self }
    }
}

/// What a receiver said.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body, at most [`Limits::answer_bytes`]. Holds whatever the receiver repeats, secrets as well.
    pub body: Bytes,
    /// Whether that is the whole of it: it was neither longer nor broken off.
    pub whole: bool,
}

impl Reply {
    /// The beginning of its body on one line. Not yet fit to be shown: [`Exchange::hide`].
    pub fn words(&self) -> String {
        words(&self.body)
    }
}

/// A receiver, and the way to it.
pub struct Exchange {
    uri: Uri,
    headers: HeaderMap,
    shown: String,
    secrets: Secrets,
    proof: Proof,
    client: HttpClient,
}

impl Exchange {
    /// Of a receiver; nothing is connected yet.
    ///
    /// # Errors
    /// The URL is none; a file with a key or a token cannot be read.
    pub fn new(target: HttpTarget, client: HttpClient) -> Result<Exchange, String> {
        let uri = target.url.parse().map_err(|e| format!("{}: {e}", target.shown))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("edgepush/", env!("CARGO_PKG_VERSION"))));
        headers.extend(target.headers);
        let proof = Proof::open(&target.proof)?;
        Ok(Exchange { uri, headers, shown: target.shown, secrets: target.secrets, proof, client })
    }

    /// The URL that is sent to. Holds secrets.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The URL as it may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The beginning of a reply's body on one line, without this receiver's secrets: hidden before it is cut, since a half of a
    /// secret is one, too.
    pub fn words_of(&self, reply: &Reply) -> String {
        words(
            self.hide(&String::from_utf8_lossy(&reply.body[..reply.body.len().min(2 * WORDS_BYTES)]))
                .as_bytes(),
        )
    }

    /// A text without this receiver's secrets.
    pub fn hide(&self, text: &str) -> String {
        self.proof.hide(self.secrets.hide(text))
    }

    /// A request to the URL with these headers. The operator's own come last: `header_Content-Type` overrides.
    pub fn request(&self, method: Method, mut headers: HeaderMap, body: UploadBody) -> Request<UploadBody> {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    /// Sends one request, signed and with its token where the URL asks for that, and reads the answer, whatever its
    /// status.
    ///
    /// # Errors
    /// There was none: the answer is then weather, with the reason. A body that breaks off behind a status is no error
    /// but a reply that is not [`Reply::whole`].
    pub async fn send(&self, mut request: Request<UploadBody>, limits: Limits) -> Result<Reply, Answer> {
        self.proof.put(&mut request).await;
        let moved = request.body().moved().clone();
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| self.trouble(&e))?;
            moved.now();
            let (head, body) = response.into_parts();
            let (body, whole) = read(body, limits.answer_bytes, || moved.now()).await;
            Ok(Reply { status: head.status, headers: head.headers, body, whole })
        };
        match timeout_at(Instant::now() + limits.total, moved.watch(exchange)).await {
            Ok(Some(got)) => got,
            Ok(None) => Err(self.weather("timeout", &format!("nothing has moved for {} s", IDLE.as_secs()))),
            Err(_) => {
                let why = format!("no end of it within {} s", limits.total.as_secs());
                Err(self.weather("timeout", &why))
            }
        }
    }

    /// Weather: it is to be tried again. `word` is one of [`Status::Word`]'s.
    pub fn weather(&self, word: &'static str, why: &str) -> Answer {
        let why = format!("{}: {}", self.shown, self.hide(why));
        Answer { verdict: Verdict::Retry { after: None, why }, status: Status::Word(word) }
    }

    /// What a reply means by its status alone.
    pub fn answer(&self, reply: &Reply) -> Answer {
        self.meaning(reply.status, &reply.headers, &self.words_of(reply))
    }

    /// What a status means (INTERFACE 5, RULINGS 12); `words`: what to repeat of the receiver's own.
    pub fn meaning(&self, status: StatusCode, headers: &HeaderMap, words: &str) -> Answer {
        let mut why = format!("{}: HTTP {status}", self.shown);
        if let Some(to) =
            headers.get(LOCATION).filter(|_| status.is_redirection()).and_then(|to| to.to_str().ok())
        {
            why.push_str(&format!(" to {}, which is not followed", self.hide(to)));
        }
        if !words.is_empty() {
            why.push_str(&format!(": {}", self.hide(words)));
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

    fn trouble(&self, error: &(dyn Error + 'static)) -> Answer {
        let (word, why) = transport_words(&self.client, error);
        self.weather(word, &why)
    }
}

/// An error of the transport: its word for [`Status::Word`], and the whole of it in plain words.
pub fn transport_words<'a>(client: &HttpClient, error: &'a (dyn Error + 'static)) -> (&'static str, String) {
    let chain = || std::iter::successors(Some(error), |at: &&'a (dyn Error + 'static)| (*at).source());
    if let Some(failed) = chain().find_map(|at| at.downcast_ref::<Failed>()) {
        return (failed.word, failed.why.clone());
    }
    if let Some(error) = chain().filter_map(|at| at.downcast_ref()).find_map(of_tls) {
        return ("tls", tls::plain(error));
    }
    let mut said: Vec<String> = chain().map(ToString::to_string).collect();
    said.dedup();
    if client.lacks_certificate() {
        said.push("it asked for a client certificate, and cert= names none".into());
    }
    ("closed", said.join(": "))
}

/// The wish of a receiver when it wants to be asked again: seconds or a date (RFC 9110 10.2.3), at most 1 h.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(WISH_MAX));
    }
    let at = jiff::fmt::rfc2822::parse(said).ok()?.timestamp();
    let left = at.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default().min(WISH_MAX))
}

/// The beginning of a text as it stands in an error: on one line, at most 300 characters.
pub fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(WORDS_BYTES)]);
    let plain = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    plain.collect::<Vec<_>>().join(" ").chars().take(WORDS_CHARS).collect()
}

/// The beginning of an answer's body, and whether that is all; the rest is read on for the connection's sake.
async fn read(mut body: Incoming, bytes_max: usize, moved: impl Fn()) -> (Bytes, bool) {
    let (mut kept, mut read) = (BytesMut::new(), 0);
    let ended = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => {
                moved();
                if let Some(bytes) = frame.data_ref() {
                    read += bytes.len();
                    let room = bytes_max.saturating_sub(kept.len()).min(bytes.len());
                    kept.extend_from_slice(&bytes[..room]);
                }
            }
        }
        if read >= bytes_max.max(DRAIN_BYTES) {
            break false;
        }
    };
    let whole = ended && read == kept.len();
    (kept.freeze(), whole)
}

/// The error of TLS that an I/O error is, however often it was wrapped.
fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| inner.downcast_ref().and_then(of_tls))
}

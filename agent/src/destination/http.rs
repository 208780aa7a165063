//! `http(s)://`: a batch is the body of one POST to the exact URL (INTERFACE 5).
//!
//! Promises: the headers say which batch it is, equal in every retry; the receiver's status is the whole answer.
//! Must not know: connections, retries, other batches.
use super::body::UploadBody;
use super::client::HttpClient;
use super::exchange::{Exchange, Limits};
use super::proof::ProofOptions;
use super::redact::Secrets;
use super::{Answer, Boxed, Destination, Outgoing, text};
use bytes::Bytes;
use edgepush_shard::codec::CodecKind;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

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
    /// Signature and token.
    pub proof: ProofOptions,
}

/// A collector that takes POSTs.
pub struct HttpDestination {
    exchange: Exchange,
}

impl HttpDestination {
    /// A destination; nothing is connected yet.
    ///
    /// # Errors
    /// The URL is none; a file with a key or a token cannot be read.
    pub fn new(target: HttpTarget, client: HttpClient) -> Result<HttpDestination, String> {
        Ok(HttpDestination { exchange: Exchange::new(target, client)? })
    }

    async fn post(&self, batch: Outgoing) -> Answer {
        let limits = Limits::upload(batch.len());
        let headers = batch_headers(&batch);
        let request = self.exchange.request(Method::POST, headers, UploadBody::from(batch.body));
        match self.exchange.send(request, limits).await {
            Ok(reply) => self.exchange.answer(&reply),
            Err(answer) => answer,
        }
    }

    /// POSTs a text that is no batch. Some seconds are enough: somebody waits for the answer.
    async fn post_object(&self, name: String, body: Bytes) -> Result<String, String> {
        let mut request = self.exchange.request(Method::POST, HeaderMap::new(), UploadBody::from(vec![body]));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        request.headers_mut().insert(OBJECT, header_value(&name));
        let answer = match self.exchange.send(request, Limits::small()).await {
            Ok(reply) => self.exchange.answer(&reply),
            Err(answer) => answer,
        };
        answer.verdict.why().map_or(Ok(name), Err)
    }

    async fn ask(&self) -> Result<(), String> {
        let request = self.exchange.request(Method::HEAD, HeaderMap::new(), UploadBody::empty());
        let reply = match self.exchange.send(request, Limits::small()).await {
            Ok(reply) => reply,
            Err(answer) => return Err(answer.verdict.why().unwrap_or_default()),
        };
        // Many collectors know POST only: that they answer is enough, unless they say who may not.
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(format!("HTTP {}", reply.status))
            }
            _ => Ok(()),
        }
    }
}

/// What a request says of its batch: what it holds, how it is compressed, its key, its name, its records.
pub fn batch_headers(batch: &Outgoing) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    let content = if batch.csv { "text/csv" } else { "application/x-ndjson" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    headers.extend(content_encoding(batch.codec).map(|word| (CONTENT_ENCODING, word)));
    headers.insert(IDEMPOTENCY_KEY, header_value(&batch.key));
    headers.insert(BATCH, header_value(&batch.name));
    headers.insert(RECORDS, HeaderValue::from(batch.records));
    headers
}

/// How a codec is called in a `Content-Encoding`; `None`: by leaving it out.
pub fn content_encoding(codec: CodecKind) -> Option<HeaderValue> {
    match codec {
        CodecKind::Gzip => Some(HeaderValue::from_static("gzip")),
        CodecKind::Zstd => Some(HeaderValue::from_static("zstd")),
        CodecKind::None => None,
    }
}

/// A text as the value of a header: what may not stand there is percent-encoded.
pub fn header_value(text: &str) -> HeaderValue {
    let encoded = text::encode_header(text);
    HeaderValue::try_from(encoded).expect("INVARIANT: what is percent-encoded may stand in a header")
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
        self.exchange.shown()
    }
}

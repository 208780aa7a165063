//! vendor: receivers that speak HTTP in a form of their own: one file for each, one row of the table of kinds in each.
//!
//! Promises: a batch goes as the vendor documents it; what a vendor says inside its answer is read by a pure function
//! of status and body, and a 2xx that reports a failure is none.
//! Must not know: connections, retries, other batches.
mod clickhouse;
mod datadog;
mod hec;
mod ibm;
mod newrelic;
mod said;
mod sentinelone;
mod splunk;
mod sumo;

pub(super) use clickhouse::CLICKHOUSE;
pub(super) use datadog::DATADOG;
pub(super) use ibm::IBMCL;
pub(super) use newrelic::NEWRELIC;
pub(super) use sentinelone::SENTINELONE;
pub(super) use splunk::SPLUNK;
pub(super) use sumo::SUMO;

use super::body::UploadBody;
use super::exchange::{Exchange, Limits, Reply, retry_after};
use super::http::batch_headers;
use super::{Answer, Boxed, Destination, DestinationUrl, Opening, Outgoing, Status, Verdict};
use bytes::Bytes;
use edgepush_shard::codec::CodecKind;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use said::{Means, Said};
use std::sync::Arc;

/// A vendor to which a batch is one POST, and whose answer is read at once.
struct Dialect {
    /// How the vendor is called.
    name: &'static str,
    /// What records are; `None`: as everywhere.
    content_type: Option<&'static str>,
    /// Most bytes of a body as it is sent.
    body_bytes_max: u64,
    /// Whether it reads zstd.
    zstd: bool,
    /// The statuses by which it says that it has a batch. Another 2xx is somebody else's.
    taken: &'static [u16],
    /// What an answer means: status, body.
    read: fn(u16, &[u8]) -> Said,
    /// How it is asked whether it would take a batch.
    probe: Probe,
    /// Whether it takes a line of text as well: the proof of ownership.
    text: bool,
}

/// How a vendor is asked whether it would take a batch.
#[derive(Clone, Copy)]
enum Probe {
    /// A `HEAD`; only 401, 403 and 407 say no.
    Head,
    /// A POST that holds no record, and what of its answer says no.
    Post(&'static [u8], Fits),
}

/// Whether a status and a body mean that a batch would be taken; if not, why.
type Fits = fn(u16, &[u8]) -> Result<(), String>;

/// Most bytes of an answer: a vendor's are some hundred, a portal's page may be longer.
const ANSWER_BYTES: usize = 64 * 1024;

/// A vendor's receiver behind one URL.
struct Posts {
    exchange: Exchange,
    dialect: &'static Dialect,
}

/// Opens what the URL says.
fn exchange_of(url: &DestinationUrl, with: &Opening<'_>) -> Result<Exchange, String> {
    let target = url.web().expect("INVARIANT: vendors speak HTTP");
    Exchange::new(target, with.clients.of(&url.link())?)
}

/// A destination of a dialect.
fn posts(
    url: &DestinationUrl,
    with: &Opening<'_>,
    dialect: &'static Dialect,
) -> Result<Arc<dyn Destination>, String> {
    Ok(Arc::new(Posts { exchange: exchange_of(url, with)?, dialect }))
}

impl Dialect {
    /// What an answer means.
    fn said(&self, status: u16, body: &[u8]) -> Said {
        if said::is_success(status) && !self.taken.contains(&status) {
            return said::STRANGER;
        }
        (self.read)(status, body)
    }

    /// Why a batch must not be sent as it is, if so.
    fn refusal(&self, exchange: &Exchange, batch: &Outgoing) -> Option<Answer> {
        let name = self.name;
        if batch.codec == CodecKind::Zstd && !self.zstd {
            let why = format!(
                "{}: the batch is compressed with zstd, which {name} does not read",
                exchange.shown()
            );
            return Some(Answer { verdict: Verdict::Refused { why }, status: Status::Word("error") });
        }
        let (bytes, most) = (batch.len(), self.body_bytes_max);
        (bytes > most).then(|| {
            let why =
                format!("{}: {bytes} bytes, and {name} takes at most {most} in a request", exchange.shown());
            Answer { verdict: Verdict::TooLarge { why }, status: Status::Word("error") }
        })
    }

    /// The request of a batch.
    fn request(&self, exchange: &Exchange, batch: Outgoing) -> Request<UploadBody> {
        let mut headers = batch_headers(&batch);
        if let Some(content) = self.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
        }
        exchange.request(Method::POST, headers, UploadBody::from(batch.body))
    }
}

/// What a reply means, with the receiver's words and ours.
fn answer(exchange: &Exchange, reply: &Reply, said: Said) -> Answer {
    let status = reply.status;
    // What a stranger says is not repeated: whoever names a URL would read what the agent's host may read.
    let mut words = if said == said::STRANGER { String::new() } else { exchange.words_of(reply) };
    if !said.note.is_empty() {
        words = format!("{words} ({})", said.note).trim_start().to_owned();
    }
    if said.means == Means::Status {
        return exchange.meaning(status, &reply.headers, &words);
    }
    let space = if words.is_empty() { "" } else { ": " };
    let why = format!("{}: HTTP {status}{space}{}", exchange.shown(), words);
    let verdict = match said.means {
        Means::Delivered | Means::Status => Verdict::Delivered,
        Means::Retry => Verdict::Retry { after: retry_after(&reply.headers), why },
        Means::Hold => Verdict::Hold { why },
        Means::Refused => Verdict::Refused { why },
        Means::TooLarge => Verdict::TooLarge { why },
    };
    Answer { verdict, status: Status::Code(status.as_u16()) }
}

/// What a reply means to a dialect. A success whose body broke off may have held a failure: nobody knows.
fn meaning(exchange: &Exchange, reply: &Reply, read: impl FnOnce(u16, &[u8]) -> Said) -> Answer {
    if reply.status.is_success() && !reply.whole && reply.body.len() >= ANSWER_BYTES {
        return answer(exchange, reply, said::STRANGER);
    }
    if reply.status.is_success() && !reply.whole {
        return answer(exchange, reply, Said::new(Means::Retry, "the answer broke off"));
    }
    answer(exchange, reply, read(reply.status.as_u16(), &reply.body))
}

/// Asks a vendor whether it would take a batch; `dressed`: what its requests have beside.
async fn ask(
    exchange: &Exchange,
    probe: Probe,
    dressed: impl Fn(Request<UploadBody>) -> Request<UploadBody>,
) -> Result<(), String> {
    let (request, fits) = match probe {
        Probe::Head => (
            exchange.request(Method::HEAD, HeaderMap::new(), UploadBody::empty()),
            said::not_forbidden as Fits,
        ),
        Probe::Post(body, fits) => {
            let json = HeaderValue::from_static("application/json");
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
            let body = UploadBody::from(vec![Bytes::from_static(body)]);
            (exchange.request(Method::POST, headers, body), fits)
        }
    };
    let reply = exchange.send(dressed(request), Limits::small()).await;
    let reply = reply.map_err(|answer| answer.verdict.why().unwrap_or_default())?;
    fits(reply.status.as_u16(), &reply.body).map_err(|why| {
        let words = reply.words();
        let words = if words.is_empty() { why } else { format!("{words} ({why})") };
        exchange.hide(&format!("HTTP {}: {words}", reply.status))
    })
}

impl Posts {
    async fn post(&self, batch: Outgoing) -> Answer {
        if let Some(refusal) = self.dialect.refusal(&self.exchange, &batch) {
            return refusal;
        }
        let limits = Limits::upload(batch.len()).keeping(ANSWER_BYTES);
        match self.exchange.send(self.dialect.request(&self.exchange, batch), limits).await {
            Ok(reply) => meaning(&self.exchange, &reply, |status, body| self.dialect.said(status, body)),
            Err(answer) => answer,
        }
    }
}

impl Posts {
    /// POSTs a line of text that is no batch.
    async fn post_text(&self, name: String, body: Bytes) -> Result<String, String> {
        if !self.dialect.text {
            return Err(format!("{} takes no single objects", self.dialect.name));
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let request = self.exchange.request(Method::POST, headers, UploadBody::from(vec![body]));
        let answer = match self.exchange.send(request, Limits::small()).await {
            Ok(reply) => meaning(&self.exchange, &reply, |status, body| self.dialect.said(status, body)),
            Err(answer) => answer,
        };
        answer.verdict.why().map_or(Ok(name), Err)
    }
}

impl Destination for Posts {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(self.post(batch))
    }

    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        Box::pin(self.post_text(name.to_owned(), body))
    }

    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(ask(&self.exchange, self.dialect.probe, |request| request))
    }

    fn leaves_host(&self) -> bool {
        true
    }

    fn redacted(&self) -> &str {
        self.exchange.shown()
    }
}

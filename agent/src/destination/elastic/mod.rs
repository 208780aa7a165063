//! `elasticsearch://`, `opensearch://`: a batch is one `_bulk` request to an index whose name has the batch's date.
//!
//! Promises: records are created under ids that the same line always has, so that whatever is sent again is there once;
//! each record's own answer counts, and only that.
//! Must not know: how ids are made, connections, retries, other batches.
mod bulk;
mod index;

use super::body::UploadBody;
use super::exchange::{Exchange, Limits, Reply, retry_after};
use super::http::batch_headers;
use super::kind::{Form, HTTP, Kind, OwnParameter};
use super::{Answer, Boxed, Destination, DestinationUrl, Opening, Outgoing, Status, Verdict, text};
use bytes::Bytes;
use edgepush_shard::batch::{ID_OPEN, reader};
use edgepush_shard::plan::Envelope;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use std::io::Read as _;
use std::sync::Arc;

/// Most bytes of an answer: a hundred thousand records that were taken, or ten thousand with a reason each. A batch
/// whose answer is longer is split.
const ANSWER_BYTES: usize = 4 << 20;
/// Bytes of an answer for each record: a reason with its names.
const ANSWER_BYTES_EACH: u64 = 400;
/// Bytes of a body in which its beginning can be read.
const FRONT_BYTES: usize = 4096;
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Most bytes of the answer to a batch of so many records.
fn answer_bytes(records: u64) -> usize {
    (FRONT_BYTES as u64 + ANSWER_BYTES_EACH.saturating_mul(records)).min(ANSWER_BYTES as u64) as usize
}

/// The row of the table.
pub const ELASTICSEARCH: Kind = Kind {
    scheme: "elasticsearch",
    form: Form::Index,
    passes: false,
    zstd: false,
    own: &PARAMETERS,
    envelope: |_| Some(Envelope { id: true, ..Envelope::default() }),
    build,
    ..HTTP
};

/// The same under its other name.
pub const OPENSEARCH: Kind = Kind { scheme: "opensearch", ..ELASTICSEARCH };

const PARAMETERS: [OwnParameter; 2] = [
    OwnParameter {
        name: "api-key",
        takes: "an API key: as it was given in base64, or `id:key`",
        secret: true,
        fits: |key| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic()),
    },
    OwnParameter {
        name: "pipeline",
        takes: "the name of an ingest pipeline",
        secret: false,
        fits: |name| !name.is_empty() && name.len() <= 255 && !name.contains(char::is_control),
    },
];

/// An index, or one for each day.
struct ElasticDestination {
    exchange: Exchange,
    pipeline: Option<String>,
}

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let mut target = url.web().expect("INVARIANT: this kind speaks HTTP");
    let mut wrong = Vec::from_iter(index::check(url.naming_path()).err());
    if let Some(key) = url.own("api-key") {
        if target.headers.iter().any(|(name, _)| name == AUTHORIZATION) {
            wrong.push("has an api-key beside a user part or header_Authorization; keep one".into());
        }
        let encoded = if key.contains(':') { text::base64(key.as_bytes()) } else { key.to_owned() };
        // A receiver that repeats it repeats it in any of its spellings.
        key.split(':').for_each(|part| target.secrets.add(part));
        target.secrets.add(&encoded);
        target.headers.push((AUTHORIZATION, authorization(&encoded)));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let exchange = Exchange::new(target, with.clients.of(&url.link())?)?;
    Ok(Arc::new(ElasticDestination { exchange, pipeline: url.own("pipeline").map(str::to_owned) }))
}

impl ElasticDestination {
    /// A request below the URL.
    fn request(
        &self,
        method: Method,
        below: &str,
        body: Vec<Bytes>,
        headers: HeaderMap,
    ) -> Request<UploadBody> {
        let mut request = self.exchange.request(method, headers, UploadBody::from(body));
        let base = self.exchange.uri();
        let path = format!("{}/{below}", base.path().trim_end_matches('/'));
        let mut parts = base.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        *request.uri_mut() =
            Uri::from_parts(parts).expect("INVARIANT: its parts are encoded, and its base is a URL");
        request
    }

    async fn post(&self, batch: Outgoing) -> Answer {
        if !begins(&batch) {
            let why = "the batch was made for another destination: its records have no ids".into();
            return Answer { verdict: Verdict::Refused { why }, status: Status::Word("error") };
        }
        let mut below = format!("{}/_bulk?filter_path={}", index::of(&batch.name), bulk::FILTER);
        if let Some(pipeline) = &self.pipeline {
            below.push_str("&pipeline=");
            below.push_str(&text::encode_all(pipeline));
        }
        let limits = Limits::upload(batch.len()).keeping(answer_bytes(batch.records));
        let mut headers = batch_headers(&batch);
        headers.insert(CONTENT_TYPE, NDJSON);
        let request = self.request(Method::POST, &below, batch.body, headers);
        match self.exchange.send(request, limits).await {
            Ok(reply) if reply.status.is_success() => self.judge(&reply, batch.records),
            Ok(reply) => self.refusal(&reply),
            Err(answer) => answer,
        }
    }

    /// What a success means: what its items say.
    fn judge(&self, reply: &Reply, records: u64) -> Answer {
        let status = Status::Code(reply.status.as_u16());
        if !reply.whole {
            let most = answer_bytes(records);
            if reply.body.len() >= most && records > 1 {
                let why = self.said(&format!("the answer is longer than {most} bytes"));
                return Answer { verdict: Verdict::TooLarge { why }, status };
            }
            return self.exchange.weather("unreadable", "the answer was broken off");
        }
        match bulk::verdict(&reply.body, records, retry_after(&reply.headers)) {
            Ok(verdict) => Answer { verdict: self.told(verdict), status },
            Err(why) => self.exchange.weather("unreadable", &why),
        }
    }

    /// What the receiver said of the whole request; its reason rather than its JSON.
    fn refusal(&self, reply: &Reply) -> Answer {
        let words = bulk::trouble(&reply.body).unwrap_or_else(|| reply.words());
        self.exchange.meaning(reply.status, &reply.headers, &words)
    }

    fn said(&self, why: &str) -> String {
        format!("{}: {}", self.exchange.shown(), self.exchange.hide(why))
    }

    /// The same verdict with words that may be shown.
    fn told(&self, mut verdict: Verdict) -> Verdict {
        if let Verdict::Partly { refused, .. } = &mut verdict {
            refused.iter_mut().for_each(|(_, why)| *why = self.exchange.hide(why));
        }
        verdict.told(|why| self.said(why))
    }

    /// Asks who answers, and whether he knows us. With `write` a bulk request without any record is tried as well: it
    /// leaves nothing, and a key that may only write is refused the first question.
    async fn ask(&self, write: bool) -> Result<(), String> {
        let request = self.request(Method::GET, "", Vec::new(), HeaderMap::new());
        let root = match self.exchange.send(request, Limits::small()).await {
            Ok(reply) => reply,
            Err(answer) => return Err(answer.verdict.why().unwrap_or_default()),
        };
        match root.status {
            StatusCode::OK if is_ours(&root) => {}
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if write => {}
            status if status.is_success() => {
                // Not in its own words: whoever names a URL would read what the agent's host may read.
                return Err(self.said("answers, but not as Elasticsearch or OpenSearch does"));
            }
            _ => return Err(self.refusal(&root).verdict.why().unwrap_or_default()),
        }
        if !write {
            return Ok(());
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, NDJSON)]);
        let request = self.request(Method::POST, "_bulk", vec![Bytes::from_static(b"\n")], headers);
        match self.exchange.send(request, Limits::small()).await {
            // It has no records: that is what is to be told.
            Ok(reply) if reply.status == StatusCode::BAD_REQUEST && bulk::trouble(&reply.body).is_some() => {
                Ok(())
            }
            Ok(reply) if reply.status.is_success() => Ok(()),
            Ok(reply) => Err(self.refusal(&reply).verdict.why().unwrap_or_default()),
            Err(answer) => Err(answer.verdict.why().unwrap_or_default()),
        }
    }
}

/// Whether a batch was made for this kind: one that another destination left in the spool may say anything.
fn begins(batch: &Outgoing) -> bool {
    let mut front = Vec::with_capacity(FRONT_BYTES);
    for part in &batch.body {
        let room = FRONT_BYTES - front.len();
        front.extend_from_slice(&part[..part.len().min(room)]);
    }
    let mut beginning = [0; ID_OPEN.len()];
    let read = reader(batch.codec, &front[..]).and_then(|mut text| text.read_exact(&mut beginning));
    read.is_ok() && beginning == *ID_OPEN.as_bytes()
}

/// Whether an answer to `GET /` is that of a server of this kind.
fn is_ours(reply: &Reply) -> bool {
    let said: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
    said.is_some_and(|said| said["version"]["number"].is_string())
}

fn authorization(encoded: &str) -> HeaderValue {
    let value = HeaderValue::from_str(&format!("ApiKey {encoded}"));
    let mut value = value.expect("INVARIANT: the parameter takes printable ASCII only");
    value.set_sensitive(true);
    value
}

impl Destination for ElasticDestination {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(self.post(batch))
    }

    fn probe(&self, write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(self.ask(write))
    }

    fn leaves_host(&self) -> bool {
        true
    }

    fn redacted(&self) -> &str {
        self.exchange.shown()
    }
}

//! `splunk://`: the HTTP Event Collector of Splunk, raw and event, with indexer acknowledgement when it is asked for.
//!
//! Promises: only what the collector says is a success is one; with `ack=true` a batch is delivered when it is indexed.
//! Must not know: retries, other batches.
//!
//! The form: "HTTP Event Collector REST API endpoints", the acknowledgement: "About HTTP Event Collector Indexer
//! Acknowledgment" (<https://docs.splunk.com/Documentation/Splunk/8.2.5/Data/AboutHECIDXAck>). Splunk forgets an
//! acknowledgement once it has told it: when that answer is lost, the batch is sent again.
use super::super::kind::{HTTP, Kind, OwnParameter};
use super::said::{Means, Said};
use super::{ANSWER_BYTES, Dialect, Probe, answer, ask, exchange_of, hec, meaning};
use crate::destination::body::UploadBody;
use crate::destination::exchange::{Exchange, Limits, Reply};
use crate::destination::{Answer, Boxed, Destination, DestinationUrl, Opening, Outgoing, Verdict};
use edgepush_shard::plan::Envelope;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The row of the table.
pub const SPLUNK: Kind = Kind { scheme: "splunk", zstd: false, own: &OWN, envelope, build, ..HTTP };

const OWN: [OwnParameter; 2] = [
    OwnParameter {
        name: "ack",
        takes: "`true` or `false`",
        secret: false,
        fits: |value| ["true", "false"].contains(&value),
    },
    OwnParameter {
        name: "ack-timeout",
        takes: "a number of seconds from 1 to 3600",
        secret: false,
        fits: |value| value.parse().is_ok_and(|seconds: u64| (1..=3600).contains(&seconds)),
    },
];

const DIALECT: Dialect = Dialect {
    name: "Splunk",
    content_type: None,
    body_bytes_max: u64::MAX,
    zstd: false,
    taken: &[200],
    read: hec::read,
    // Without data the collector looks at the token and says "No data".
    probe: Probe::Post(b"", hec::probed),
    text: false,
};

/// Longest wait for an acknowledgement: what Splunk's page advises before a client sends again.
const ACK_WAIT: Duration = Duration::from_secs(300);
/// Between two questions about it, at first and at most.
const ACK_PAUSE: Duration = Duration::from_millis(250);
const ACK_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A number that no batch gets: numbers begin with 0 on each channel. A question about a real one could take the answer
/// from the upload that waits for it.
const NO_BATCH: u64 = i32::MAX as u64;

const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

/// What stands at the end of the path of every endpoint, and behind it.
const COLLECTOR: &str = "/services/collector";
const ENDPOINTS: [(&str, bool); 5] =
    [("/raw", false), ("/raw/1.0", false), ("", true), ("/event", true), ("/event/1.0", true)];

/// Where the collector's path begins, and whether it takes events; `None`: it is no path of a collector.
fn endpoint(path: &str) -> Option<(&str, bool)> {
    let path = path.trim_end_matches('/');
    let at = path.rfind(COLLECTOR)?;
    let (front, tail) = (&path[..at], &path[at + COLLECTOR.len()..]);
    ENDPOINTS.iter().find(|(end, _)| *end == tail).map(|(_, event)| (front, *event))
}

/// Around each record for the endpoint of events: what the URL says of all of them.
fn envelope(url: &DestinationUrl) -> Option<Envelope> {
    let (_, event) = endpoint(url.path())?;
    if !event {
        return None;
    }
    let mut before = String::from("{");
    for name in ["host", "source", "sourcetype", "index"] {
        if let Some(value) = url.sent_value(name) {
            let _ = write!(before, "\"{name}\":{},", serde_json::Value::from(value));
        }
    }
    before.push_str("\"event\":");
    Some(Envelope { record_before: before.into(), record_after: "}".into(), ..Envelope::default() })
}

/// A collector.
struct Splunk {
    exchange: Exchange,
    /// What stands before the collector's path.
    front: String,
    /// The channel of the URL.
    given: Option<String>,
    /// Channels of our own that no upload has now. Acknowledgements are numbered by channel, anew when an indexer starts: on one
    /// that two uploads share, the number of one could speak for the other.
    free: Mutex<Vec<String>>,
    ack: Option<Acknowledging>,
}

/// How a batch is known to be indexed.
struct Acknowledging {
    wait: Duration,
    /// Whether the token is known to acknowledge.
    known: AtomicBool,
}

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let Some((front, _)) = endpoint(url.path()) else {
        return Err(format!("must end in {COLLECTOR}/raw or {COLLECTOR}/event"));
    };
    if !url.has_header("authorization") && !url.sends("token") {
        return Err("names no token: add header_Authorization=Splunk%20<token>".into());
    }
    let exchange = exchange_of(url, with)?;
    let given = url.sent_value("channel");
    let ack = (url.own("ack") == Some("true")).then(|| {
        let seconds = url.own("ack-timeout").and_then(|text| text.parse().ok());
        Acknowledging { wait: seconds.map_or(ACK_WAIT, Duration::from_secs), known: false.into() }
    });
    let first = given.clone().map_or_else(guid, Ok)?;
    ack_uri(exchange.uri(), front, &first)?;
    let front = front.to_owned();
    Ok(Arc::new(Splunk { exchange, front, given, free: Mutex::new(vec![first]), ack }))
}

/// Where acknowledgements are asked for.
fn ack_uri(uri: &Uri, front: &str, channel: &str) -> Result<Uri, String> {
    let mut parts = uri.clone().into_parts();
    let channel = crate::destination::text::encode_all(channel);
    let path = format!("{front}{COLLECTOR}/ack?channel={channel}");
    parts.path_and_query = Some(path.parse().map_err(|_| "has a channel that cannot be sent")?);
    Uri::from_parts(parts).map_err(|e| e.to_string())
}

/// A channel of our own: any GUID that nobody else uses.
fn guid() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| format!("no random numbers: {e}"))?;
    let number = u128::from_be_bytes(bytes);
    // Version 4, variant 1 (RFC 9562).
    let number = number & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{number:032x}");
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

impl Splunk {
    async fn post(&self, batch: Outgoing) -> Answer {
        if let Some(refusal) = DIALECT.refusal(&self.exchange, &batch) {
            return refusal;
        }
        let channel = match self.channel() {
            Ok(channel) => channel,
            Err(why) => return self.exchange.weather("error", &why),
        };
        let answer = self.post_on(&channel, batch).await;
        if answer == Verdict::Delivered {
            // What is not acknowledged may still be, under its number: its channel is left.
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
        answer
    }

    /// A channel that no other upload has; the URL's, if it names one.
    fn channel(&self) -> Result<String, String> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(guid, Ok)
    }

    async fn post_on(&self, channel: &str, batch: Outgoing) -> Answer {
        if let Some(ack) = &self.ack
            && let Err(answer) = self.acknowledges(ack, channel).await
        {
            return answer;
        }
        let limits = Limits::upload(batch.len()).keeping(ANSWER_BYTES);
        let request = self.on_channel(DIALECT.request(&self.exchange, batch), channel);
        let reply = match self.exchange.send(request, limits).await {
            Ok(reply) => reply,
            Err(answer) => return answer,
        };
        let taken = meaning(&self.exchange, &reply, |status, body| DIALECT.said(status, body));
        match (&self.ack, hec::ack_id(&reply.body)) {
            (Some(ack), Some(id)) if taken == Verdict::Delivered => {
                self.indexed((ack, channel), id, taken).await
            }
            (Some(_), None) if taken == Verdict::Delivered => {
                let note = "no ackId: enable the acknowledgement of this token, or leave ack=true out";
                answer(&self.exchange, &reply, Said::new(Means::Hold, note))
            }
            _ => taken,
        }
    }

    fn on_channel(&self, mut request: Request<UploadBody>, channel: &str) -> Request<UploadBody> {
        if self.given.is_none() {
            let channel = HeaderValue::try_from(channel).expect("INVARIANT: a GUID is ASCII");
            request.headers_mut().insert(CHANNEL, channel);
        }
        request
    }

    /// Asks for acknowledgements.
    async fn asked(&self, channel: &str, ids: &[u64]) -> Result<Reply, Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::json!({ "acks": ids }).to_string();
        let request = self.exchange.request(Method::POST, headers, UploadBody::from(vec![body.into()]));
        let mut request = self.on_channel(request, channel);
        let uri = ack_uri(self.exchange.uri(), &self.front, channel);
        *request.uri_mut() = uri.map_err(|why| self.exchange.weather("error", &why))?;
        self.exchange.send(request, Limits::small()).await
    }

    /// Before the first batch: a token that does not acknowledge would store it, and again at each try.
    async fn acknowledges(&self, ack: &Acknowledging, channel: &str) -> Result<(), Answer> {
        if ack.known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reply = self.asked(channel, &[NO_BATCH]).await?;
        if !reply.status.is_success() || !hec::knows_acks(&reply.body) {
            let said = hec::read(reply.status.as_u16(), &reply.body);
            return Err(answer(&self.exchange, &reply, said));
        }
        ack.known.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until a taken batch is indexed.
    async fn indexed(&self, (ack, channel): (&Acknowledging, &str), id: u64, taken: Answer) -> Answer {
        let (end, mut pause) = (Instant::now() + ack.wait, ACK_PAUSE);
        while Instant::now() < end {
            sleep(pause.min(end - Instant::now())).await;
            pause = (2 * pause).min(ACK_PAUSE_MAX);
            // No answer, or another one, is asked for again: the batch itself has been taken.
            let Ok(reply) = self.asked(channel, &[id]).await else { continue };
            match hec::acknowledged(&reply.body, id) {
                Some(true) => return taken,
                Some(false) => {}
                None => {
                    let said = hec::read(reply.status.as_u16(), &reply.body);
                    if said.means == Means::Hold {
                        return answer(&self.exchange, &reply, said);
                    }
                }
            }
        }
        let why = format!("taken, but not acknowledged as indexed within {} s", ack.wait.as_secs());
        self.exchange.weather("timeout", &why)
    }

    async fn ask(&self) -> Result<(), String> {
        let channel = self.channel()?;
        if let Some(ack) = &self.ack {
            let known = self.acknowledges(ack, &channel).await;
            known.map_err(|answer| answer.verdict.why().unwrap_or_default())?;
        }
        ask(&self.exchange, DIALECT.probe, |request| self.on_channel(request, &channel)).await
    }
}

impl Destination for Splunk {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(self.post(batch))
    }

    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(self.ask())
    }

    fn leaves_host(&self) -> bool {
        true
    }

    fn redacted(&self) -> &str {
        self.exchange.shown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_told_apart() {
        assert_eq!(endpoint("/services/collector/raw"), Some(("", false)));
        assert_eq!(endpoint("/services/collector/raw/1.0/"), Some(("", false)));
        assert_eq!(endpoint("/services/collector"), Some(("", true)));
        assert_eq!(endpoint("/front/services/collector/event"), Some(("/front", true)));
        for path in ["/", "/services/collector/ack", "/services/collector/rawe", "/services"] {
            assert_eq!(endpoint(path), None, "{path}");
        }
    }

    #[test]
    fn channels_are_guids() {
        let (one, other) = (guid().unwrap_or_default(), guid().unwrap_or_default());
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(one.as_bytes()[14] == b'4' && b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert_ne!(one, other);
    }
}

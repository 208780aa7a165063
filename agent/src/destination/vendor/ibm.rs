//! `ibmcl://`: IBM Cloud Logs, with a bearer token that is got for an API key.
//!
//! Promises: a request holds at most 2 MB; a token is got once for all uploads, before the old one ends, and anew when
//! it is not accepted; neither key nor token is ever said.
//! Must not know: connections, retries.
//!
//! The form: <https://cloud.ibm.com/docs/cloud-logs?topic=cloud-logs-send-logs-api>; the token:
//! <https://cloud.ibm.com/docs/account?topic=account-iamtoken_from_apikey>.
use super::super::kind::{Caps, HTTP, Kind, OwnParameter};
use super::datadog::array;
use super::said::{Body, Means, STRANGER, Said, is_success, says};
use super::{ANSWER_BYTES, Dialect, Probe, exchange_of, meaning};
use crate::destination::body::UploadBody;
use crate::destination::client::Trust;
use crate::destination::exchange::{Exchange, Limits, Reply};
use crate::destination::http::HttpTarget;
use crate::destination::proof::ProofOptions;
use crate::destination::text::encode_all;
use crate::destination::{Answer, Boxed, Destination, DestinationUrl, Opening, Outgoing};
use edgepush_shard::plan::Envelope;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The row of the table.
pub const IBMCL: Kind = Kind {
    scheme: "ibmcl",
    zstd: false,
    own: &OWN,
    // 2 MB with the brackets.
    caps: Caps { records: u32::MAX, bytes: 1_999_900 },
    envelope,
    build,
    ..HTTP
};

const OWN: [OwnParameter; 4] = [
    OwnParameter {
        name: "ibm_api_key",
        takes: "an API key of IBM Cloud",
        secret: true,
        fits: |value| !value.is_empty(),
    },
    OwnParameter {
        name: "iam",
        takes: "the URL where keys become tokens, beginning with https:// (or http:// with ibmcl+http://)",
        secret: false,
        fits: |value| value.starts_with("https://") || value.starts_with("http://"),
    },
    OwnParameter {
        name: "application",
        takes: "the name of an application",
        secret: false,
        fits: |value| !value.is_empty(),
    },
    OwnParameter {
        name: "subsystem",
        takes: "the name of a subsystem",
        secret: false,
        fits: |value| !value.is_empty(),
    },
];

const DIALECT: Dialect = Dialect {
    name: "IBM Cloud Logs",
    content_type: Some("application/json"),
    body_bytes_max: u64::MAX,
    zstd: false,
    taken: &[200],
    read,
    probe: Probe::Head,
    text: false,
};

/// Where keys become tokens.
const IAM: &str = "https://iam.cloud.ibm.com/identity/token";
/// A token is not used in its last minutes: an upload takes its time.
const SPARE: Duration = Duration::from_secs(300);
/// How long a token holds whose end is not told: IBM's hold an hour.
const HOLDS: Duration = Duration::from_secs(600);
/// No longer, whatever is said.
const HOLDS_MAX: Duration = Duration::from_secs(86_400);
/// Tokens have some thousand characters.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// An array; and around each record an entry that names where it is from, when the URL says where. If it does not, the
/// job makes entries of its own, as Cloudflare's do with `record_prefix`.
fn envelope(url: &DestinationUrl) -> Option<Envelope> {
    let array = array(url)?;
    let (application, subsystem) = (url.own("application"), url.own("subsystem"));
    if application.is_none() && subsystem.is_none() {
        return Some(array);
    }
    let name = |said: Option<&str>, default: &str| Value::from(said.unwrap_or(default)).to_string();
    let (application, subsystem) = (name(application, "edgepush"), name(subsystem, "access-log"));
    // Severity 3 is "info".
    let before =
        format!("{{\"applicationName\":{application},\"subsystemName\":{subsystem},\"severity\":3,\"text\":");
    Some(Envelope { record_before: before.into(), record_after: "}".into(), ..array })
}

/// An instance of IBM Cloud Logs.
struct CloudLogs {
    exchange: Exchange,
    iam: Iam,
}

/// Where keys become tokens, and the last one.
struct Iam {
    exchange: Exchange,
    form: String,
    last: Mutex<Option<Token>>,
}

/// A token and when it is not used any more.
#[derive(Clone)]
struct Token {
    text: String,
    until: Instant,
}

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let Some(key) = url.own("ibm_api_key") else {
        return Err("names no API key: add ibm_api_key=<key>".into());
    };
    let address = url.own("iam").unwrap_or(IAM);
    let (secure, mut link) = (address.starts_with("https://"), url.link());
    match (secure, link.trust == Trust::Plain) {
        (false, false) => return Err("must give iam= with https://: an API key is sent there".into()),
        (true, true) => link.trust = Trust::System,
        _ => {}
    }
    let target = HttpTarget {
        url: address.to_owned(),
        headers: Vec::new(),
        shown: address.to_owned(),
        secrets: url.secrets().clone(),
        proof: ProofOptions::default(),
    };
    let form =
        format!("grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey={}", encode_all(key));
    let exchange = Exchange::new(target, with.clients.of(&link)?)?;
    let iam = Iam { exchange, form, last: Mutex::new(None) };
    Ok(Arc::new(CloudLogs { exchange: exchange_of(url, with)?, iam }))
}

impl Iam {
    /// The token of now; `refused`: one that was not accepted, which another upload may have replaced meanwhile.
    async fn token(&self, refused: Option<&str>) -> Result<String, Answer> {
        let mut last = self.last.lock().await;
        let good =
            last.as_ref().filter(|token| token.until > Instant::now() && Some(&*token.text) != refused);
        if let Some(token) = good {
            return Ok(token.text.clone());
        }
        let token = self.fetch().await?;
        *last = Some(token.clone());
        Ok(token.text)
    }

    async fn fetch(&self) -> Result<Token, Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(hyper::header::ACCEPT, HeaderValue::from_static("application/json"));
        let body = UploadBody::from(vec![self.form.clone().into()]);
        let request = self.exchange.request(Method::POST, headers, body);
        let reply = self.exchange.send(request, Limits::small().keeping(TOKEN_BYTES_MAX)).await?;
        if let Some(token) = token_of(&reply) {
            return Ok(token);
        }
        let said = match reply.status.as_u16() {
            // A wrong key is a 400: it concerns every batch.
            400 | 401 => Said::new(Means::Hold, "look at ibm_api_key"),
            200..=299 => STRANGER,
            _ => Means::Status.into(),
        };
        // What is no token may still hold one: its words are not repeated with a success.
        match reply.status.is_success() {
            true => Err(super::answer(&self.exchange, &Reply { body: bytes::Bytes::new(), ..reply }, said)),
            false => Err(super::answer(&self.exchange, &reply, said)),
        }
    }
}

fn token_of(reply: &Reply) -> Option<Token> {
    if !reply.status.is_success() || !reply.whole {
        return None;
    }
    let answer: Value = serde_json::from_slice(&reply.body).ok()?;
    let text = answer["access_token"].as_str().filter(|text| !text.is_empty())?.to_owned();
    let holds = answer["expires_in"].as_u64().map_or(HOLDS, Duration::from_secs).min(HOLDS_MAX);
    // Of a short one, half is used.
    Some(Token { text, until: Instant::now() + holds.saturating_sub(SPARE).max(holds / 2) })
}

impl CloudLogs {
    /// Sends with a token, and once more with a new one when it is not accepted.
    async fn post(&self, batch: Outgoing) -> Answer {
        if let Some(refusal) = DIALECT.refusal(&self.exchange, &batch) {
            return refusal;
        }
        let mut refused: Option<String> = None;
        loop {
            let token = match self.iam.token(refused.as_deref()).await {
                Ok(token) => token,
                Err(answer) => return answer,
            };
            let limits = Limits::upload(batch.len()).keeping(ANSWER_BYTES);
            let mut request = DIALECT.request(&self.exchange, batch.clone());
            match bearer(&token) {
                Some(value) => request.headers_mut().insert(AUTHORIZATION, value),
                None => return self.exchange.weather("error", "the token cannot stand in a header"),
            };
            let mut reply = match self.exchange.send(request, limits).await {
                Ok(reply) => reply,
                Err(answer) => return answer,
            };
            if reply.status == StatusCode::UNAUTHORIZED && refused.is_none() {
                refused = Some(token);
                continue;
            }
            reply.body = String::from_utf8_lossy(&reply.body).replace(&token, "…").into();
            return meaning(&self.exchange, &reply, |status, body| DIALECT.said(status, body));
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let said = |answer: Answer| answer.verdict.why().unwrap_or_default();
        let token = self.iam.token(None).await.map_err(said)?;
        let mut request = self.exchange.request(Method::HEAD, HeaderMap::new(), UploadBody::empty());
        request.headers_mut().extend(bearer(&token).map(|value| (AUTHORIZATION, value)));
        let reply = self.exchange.send(request, Limits::small()).await.map_err(said)?;
        super::said::not_forbidden(reply.status.as_u16(), b"")
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read(status: u16, body: &[u8]) -> Said {
    if !is_success(status) {
        return Means::Status.into();
    }
    match Body::of(body) {
        Body::Json(answer) if says(&answer, "errors") || says(&answer, "error") => Means::Refused.into(),
        Body::Empty | Body::Json(_) => Means::Delivered.into(),
        Body::Text => STRANGER,
    }
}

impl Destination for CloudLogs {
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

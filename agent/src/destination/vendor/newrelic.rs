//! `newrelic://`: New Relic's Log API.
//!
//! Promises: no request has more than 1 MB as it is sent; a failure inside a 202 is none.
//! Must not know: connections, retries.
//!
//! Form, limits: <https://docs.newrelic.com/docs/logs/log-api/introduction-log-api/>. What is wrong with records that
//! were accepted with a 202 is told later, in the account, as events `NrIntegrationError`.
use super::super::kind::{Caps, HTTP, Kind};
use super::datadog::array;
use super::said::{Body, Means, STRANGER, Said, is_success, says};
use super::{Dialect, Probe, posts};
use crate::destination::{Destination, DestinationUrl, Opening};
use edgepush_shard::plan::Envelope;
use std::sync::Arc;

/// The row of the table: as much as is commonly 1 MB once it is compressed; what is more is split.
pub const NEWRELIC: Kind = Kind {
    scheme: "newrelic",
    zstd: false,
    caps: Caps { records: u32::MAX, bytes: 5_000_000 },
    envelope,
    build,
    ..HTTP
};

const DIALECT: Dialect = Dialect {
    name: "New Relic",
    content_type: Some("application/json"),
    body_bytes_max: 1_000_000,
    zstd: false,
    taken: &[202],
    read,
    probe: Probe::Post(b"[]", super::said::takes_nothing),
    text: false,
};

/// `format=cloudflare` takes lines, everything else an array.
fn envelope(url: &DestinationUrl) -> Option<Envelope> {
    if url.sends("format") { None } else { array(url) }
}

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let keys = ["api-key", "license-key", "x-license-key", "x-insert-key"];
    if !keys.iter().any(|key| url.has_header(key) || url.sends(key)) {
        return Err("names no license key: add header_Api-Key=<key>".into());
    }
    posts(url, with, &DIALECT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_reports_an_error_is_none() {
        let means = |status, body: &str| read(status, body.as_bytes()).means;
        assert_eq!(means(202, r#"{"requestId":"f0e7bfff-001a-b000-0000-01682bcf4565"}"#), Means::Delivered);
        assert_eq!(means(202, ""), Means::Delivered);
        assert_eq!(means(202, r#"{"error":"unparseable"}"#), Means::Refused);
        assert_eq!(means(202, r#"{"errors":["x"]}"#), Means::Refused);
        assert_eq!(means(200, "<html>"), Means::Hold);
        assert_eq!(means(403, "{}"), Means::Status);
    }
}

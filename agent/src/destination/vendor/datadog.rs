//! `datadog://`: JSON arrays for Datadog's log intake.
//!
//! Promises: a request holds at most 1,000 records and 5 MB; a failure inside a 202 is none.
//! Must not know: connections, retries.
//!
//! Limits and statuses: <https://docs.datadoghq.com/api/latest/logs/send-logs/>.
use super::super::kind::{Caps, HTTP, Kind};
use super::said::{Body, Means, STRANGER, Said, inner_status, is_success, says, takes_nothing};
use super::{Dialect, Probe, posts};
use crate::destination::{Destination, DestinationUrl, Opening};
use edgepush_shard::plan::Envelope;
use std::sync::Arc;

/// The row of the table. Datadog truncates a record above 1 MB by itself and says nothing.
pub const DATADOG: Kind = Kind {
    scheme: "datadog",
    zstd: false,
    // 5 MB with the brackets.
    caps: Caps { records: 1000, bytes: 4_999_900 },
    envelope: array,
    build,
    ..HTTP
};

const DIALECT: Dialect = Dialect {
    name: "Datadog",
    content_type: Some("application/json"),
    body_bytes_max: u64::MAX,
    zstd: false,
    taken: &[200, 202],
    read,
    // No record, and the key is looked at.
    probe: Probe::Post(b"[]", takes_nothing),
    text: false,
};

/// Records as one JSON array.
#[expect(clippy::unnecessary_wraps, reason = "a function of the table")]
pub fn array(_: &DestinationUrl) -> Option<Envelope> {
    Some(Envelope { batch_prefix: "[", batch_suffix: "]", delimiter: ",", ..Envelope::default() })
}

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    if !url.has_header("dd-api-key") && !url.sends("dd-api-key") {
        return Err("names no API key: add header_DD-API-KEY=<key>".into());
    }
    posts(url, with, &DIALECT)
}

/// What an answer means: v2 says 202 and `{}`, v1 says 200 and `{}` or `{"status":"ok"}`; errors stand in `errors`.
fn read(status: u16, body: &[u8]) -> Said {
    if !is_success(status) {
        return Means::Status.into();
    }
    match Body::of(body) {
        Body::Empty => Means::Delivered.into(),
        Body::Text => STRANGER,
        Body::Json(answer) if says(&answer, "errors") => {
            let inner = &answer["errors"][0]["status"];
            let inner = inner.as_str().and_then(|text| text.parse().ok()).or(inner.as_u64());
            inner_status(inner.unwrap_or(400)).into()
        }
        // A gateway's word, not Datadog's.
        Body::Json(answer) if says(&answer, "error") || says(&answer, "message") => STRANGER,
        Body::Json(_) => Means::Delivered.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_reports_errors_is_none() {
        let means = |status, body: &str| read(status, body.as_bytes()).means;
        for body in ["", "{}", r#"{"status":"ok"}"#, r#"{"errors":[]}"#] {
            assert_eq!(means(202, body), Means::Delivered, "{body}");
        }
        let error =
            |status: &str| format!(r#"{{"errors":[{{"detail":"x","status":{status},"title":"y"}}]}}"#);
        for (status, expected) in [
            (r#""400""#, Means::Refused),
            (r#""403""#, Means::Hold),
            (r#""413""#, Means::TooLarge),
            (r#""429""#, Means::Retry),
            ("500", Means::Retry),
        ] {
            assert_eq!(means(202, &error(status)), expected, "{status}");
        }
        assert_eq!(means(202, r#"{"errors":["Payload is not in the expected format"]}"#), Means::Refused);
        assert_eq!(means(200, "<html>Sign in</html>"), Means::Hold);
        assert_eq!(means(403, r#"{"errors":[{"status":"429"}]}"#), Means::Status);
    }
}

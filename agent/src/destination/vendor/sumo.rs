//! `sumo://`: the HTTP source of a hosted collector of Sumo Logic.
//!
//! Promises: the code in the path is never shown; a failure inside a 200 is none.
//! Must not know: connections, retries.
//!
//! Statuses: <https://help.sumologic.com/docs/send-data/hosted-collectors/http-source/troubleshooting>; a 200 with a body
//! names an issue with `id`, `code`, `status`, `message`, `errors`.
use super::super::kind::{HTTP, Kind};
use super::said::{Body, Means, STRANGER, Said, inner_status, is_success, says};
use super::{Dialect, Probe, posts};
use crate::destination::{Destination, DestinationUrl, Opening};
use std::sync::Arc;

/// What stands before the code of a source.
const SOURCES: &str = "/receiver/v1/http/";

/// The row of the table. Sumo Logic advises requests of 100 kB to 1 MB before compression.
pub const SUMO: Kind =
    Kind { scheme: "sumo", zstd: false, batch_bytes: 1_000_000, secret_behind: Some(SOURCES), build, ..HTTP };

const DIALECT: Dialect = Dialect {
    name: "Sumo Logic",
    content_type: None,
    body_bytes_max: u64::MAX,
    zstd: false,
    taken: &[200],
    read,
    probe: Probe::Head,
    text: true,
};

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let code = url.path().split_once(SOURCES).map(|(_, code)| code);
    if code.is_none_or(|code| code.trim_matches('/').is_empty()) {
        return Err(format!("names no HTTP source: write sumo://<endpoint>{SOURCES}<code>"));
    }
    posts(url, with, &DIALECT)
}

fn read(status: u16, body: &[u8]) -> Said {
    if !is_success(status) {
        return Means::Status.into();
    }
    match Body::of(body) {
        Body::Empty => Means::Delivered.into(),
        Body::Text => STRANGER,
        Body::Json(answer) => match answer["status"].as_u64() {
            Some(inner) if !(200..300).contains(&inner) => inner_status(inner).into(),
            _ if ["code", "errors"].iter().any(|member| says(&answer, member)) => Means::Refused.into(),
            _ => Means::Delivered.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_names_an_issue_is_none() {
        let means = |status, body: &str| read(status, body.as_bytes()).means;
        for body in ["", " \n", "{}", r#"{"status":200,"id":"1X"}"#] {
            assert_eq!(means(200, body), Means::Delivered, "{body}");
        }
        assert_eq!(means(200, r#"{"id":"1X","code":"parse.error","message":"x"}"#), Means::Refused);
        assert_eq!(means(200, r#"{"errors":[{"code":"header.invalid"}]}"#), Means::Refused);
        assert_eq!(means(200, r#"{"status":429,"code":"rate.limit"}"#), Means::Retry);
        assert_eq!(means(200, r#"{"status":401,"code":"unauthorized"}"#), Means::Hold);
        assert_eq!(means(200, "<html>"), Means::Hold);
        assert_eq!(means(429, ""), Means::Status);
    }
}

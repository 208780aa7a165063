//! `clickhouse://`: `INSERT … FORMAT JSONEachRow` over ClickHouse's HTTP interface.
//!
//! Promises: a batch is one INSERT with a token of deduplication that is equal in every retry; an exception in a 200 is
//! no success.
//! Must not know: connections, retries.
//!
//! The interface: <https://clickhouse.com/docs/interfaces/http>; what deduplicates and what does not:
//! <https://clickhouse.com/docs/guides/developer/deduplicating-inserts-on-retries>. Codes are those of ClickHouse's
//! `ErrorCodes`.
use super::super::kind::{HTTP, Kind, OwnParameter};
use super::said::{Means, STRANGER, Said, is_success};
use super::{ANSWER_BYTES, Dialect, Probe, ask, meaning};
use crate::destination::exchange::{Exchange, Limits, Reply};
use crate::destination::text::encode_all;
use crate::destination::{Answer, Boxed, Destination, DestinationUrl, Opening, Outgoing};
use hyper::header::HeaderName;
use std::sync::Arc;

/// The row of the table.
pub const CLICKHOUSE: Kind = Kind { scheme: "clickhouse", own: &OWN, build, ..HTTP };

const OWN: [OwnParameter; 2] = [
    OwnParameter {
        name: "table",
        takes: "a table, or database.table",
        secret: false,
        fits: |value| !value.is_empty() && !value.contains(char::is_control),
    },
    OwnParameter {
        name: "deduplicate",
        takes: "`true` or `false`",
        secret: false,
        fits: |value| ["true", "false"].contains(&value),
    },
];

const DIALECT: Dialect = Dialect {
    name: "ClickHouse",
    content_type: None,
    body_bytes_max: u64::MAX,
    zstd: true,
    taken: &[200],
    read,
    // Nothing is inserted, and user, table and right are looked at.
    probe: Probe::Post(b"", probed),
    text: false,
};

/// The number of the exception, where the server is new enough to say it.
const EXCEPTION: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");

/// An INSERT without rows, as old servers answer it.
const NO_DATA: u64 = 108;
const UNKNOWN_FIELD: &str = "a field that the table does not have; input_format_skip_unknown_fields=1 in the URL leaves such fields out";
const UNKNOWN_SETTING: &str =
    "a setting that this server does not know; an old server needs deduplicate=false in the URL";
const COMPRESSION: &str = "set EDGEPUSH_CODEC=gzip";

/// What each code means, whatever the status. What is not here means what its status says.
const CODES: [(Means, &[u64], &str); 5] = [
    // Records that cannot be read or stored.
    (
        Means::Refused,
        &[
            6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 124, 128, 130, 131, 141, 190, 321, 349, 354, 407,
            441, 469, 636, 675, 676, 691,
        ],
        "",
    ),
    (Means::Refused, &[117], UNKNOWN_FIELD),
    // Table, database, user, right, setting.
    (Means::Hold, &[8, 10, 16, 47, 60, 62, 73, 81, 164, 192, 193, 194, 195, 291, 452, 497, 516, 719], ""),
    (Means::Hold, &[115], UNKNOWN_SETTING),
    // Too much at once, no replica, no keeper, no room.
    (
        Means::Retry,
        &[
            3, 159, 160, 201, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 265, 279, 285, 286, 288, 297,
            319, 394, 416, 425, 439, 473, 999,
        ],
        "",
    ),
];

/// A table of one server.
struct ClickHouse {
    exchange: Exchange,
    deduplicates: bool,
}

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    let mut target = url.web().expect("INVARIANT: this kind speaks HTTP");
    let table = table(url)?;
    if url.sent_value("wait_for_async_insert").is_some_and(|value| value == "0" || value == "false") {
        return Err(
            "has wait_for_async_insert=0: a batch would be called delivered before it is stored".into()
        );
    }
    let (front, query) = target.url.split_once('?').unwrap_or((&target.url, ""));
    let host = front.strip_suffix(url.path()).unwrap_or(front);
    let insert = encode_all(&format!("INSERT INTO {table} FORMAT JSONEachRow"));
    let mut sent = format!("{host}/?query={insert}");
    // RFC 3339 with its Z, which our times are, is not read otherwise.
    if !url.sends("date_time_input_format") {
        sent.push_str("&date_time_input_format=best_effort");
    }
    if !query.is_empty() {
        sent.push('&');
        sent.push_str(query);
    }
    target.url = sent;
    let exchange = Exchange::new(target, with.clients.of(&url.link())?)?;
    Ok(Arc::new(ClickHouse { exchange, deduplicates: url.own("deduplicate") != Some("false") }))
}

/// The table that the URL names, quoted.
fn table(url: &DestinationUrl) -> Result<String, String> {
    const REMEDY: &str = "write clickhouse://host:8123/?database=<database>&table=<table>";
    if url.sends("query") {
        return Err(format!("has a query of its own; {REMEDY}"));
    }
    let path = crate::destination::text::decode(url.path())?;
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match url.own("table") {
        Some(_) if !parts.is_empty() => return Err(format!("names its table twice; {REMEDY}")),
        Some(table) => parts = table.splitn(2, '.').collect(),
        None => {}
    }
    match parts[..] {
        [table] if !table.is_empty() => Ok(quoted(table)),
        [database, table] if !database.is_empty() && !table.is_empty() => {
            Ok(format!("{}.{}", quoted(database), quoted(table)))
        }
        _ => Err(format!("names no table; {REMEDY}")),
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// The number of the exception that a text begins with: `Code: 60. DB::Exception: …`, or has behind its rows.
fn code(body: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(body);
    let mut rest = &*text;
    while let Some(at) = rest.find("Code: ") {
        rest = &rest[at + "Code: ".len()..];
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        if let Ok(code) = digits.parse() {
            return Some(code);
        }
    }
    None
}

fn read(status: u16, body: &[u8]) -> Said {
    of_code(code(body), status, body)
}

fn of_code(code: Option<u64>, status: u16, body: &[u8]) -> Said {
    let known = code.and_then(|code| CODES.iter().find(|(_, codes, _)| codes.contains(&code)));
    match known {
        Some((means, _, note)) => Said::new(*means, note),
        None if status == 500 && code == Some(89) => Said::new(Means::Hold, COMPRESSION),
        None if !is_success(status) => Means::Status.into(),
        None if code.is_some() => Said::new(Means::Retry, "an exception in an answer that says success"),
        None if status == 200 && body.trim_ascii().is_empty() => Means::Delivered.into(),
        None => STRANGER,
    }
}

fn probed(status: u16, body: &[u8]) -> Result<(), String> {
    if code(body) == Some(NO_DATA) {
        return Ok(());
    }
    let said = read(status, body);
    match said.means {
        Means::Delivered => Ok(()),
        Means::Status if is_success(status) => Ok(()),
        _ if said.note.is_empty() => Err("an INSERT without rows is refused".into()),
        _ => Err(said.note.into()),
    }
}

impl ClickHouse {
    fn meaning(&self, reply: &Reply) -> Answer {
        let said = || reply.headers.get(&EXCEPTION)?.to_str().ok()?.parse().ok();
        meaning(&self.exchange, reply, |status, body| of_code(said().or_else(|| code(body)), status, body))
    }

    async fn post(&self, batch: Outgoing) -> Answer {
        let limits = Limits::upload(batch.len()).keeping(ANSWER_BYTES);
        let key = batch.key.clone();
        let mut request = DIALECT.request(&self.exchange, batch);
        if self.deduplicates {
            let uri = format!("{}&insert_deduplication_token={}", self.exchange.uri(), encode_all(&key));
            match uri.parse() {
                Ok(uri) => *request.uri_mut() = uri,
                Err(_) => return self.exchange.weather("error", "the URL is too long"),
            }
        }
        match self.exchange.send(request, limits).await {
            Ok(reply) => self.meaning(&reply),
            Err(answer) => answer,
        }
    }
}

impl Destination for ClickHouse {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(self.post(batch))
    }

    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(ask(&self.exchange, DIALECT.probe, |request| request))
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

    fn means(status: u16, body: &str) -> Means {
        read(status, body.as_bytes()).means
    }

    #[test]
    fn each_exception_has_its_meaning() {
        let exception = |code: u64| format!("Code: {code}. DB::Exception: words. (NAME) (version 25.8)\n");
        for (status, code, expected) in [
            (500, 27, Means::Refused),
            (400, 117, Means::Refused),
            (500, 117, Means::Refused),
            (404, 60, Means::Hold),
            (404, 115, Means::Hold),
            (403, 516, Means::Hold),
            (500, 89, Means::Hold),
            (500, 241, Means::Retry),
            (500, 252, Means::Retry),
            (500, 202, Means::Retry),
            (500, 49, Means::Status),
        ] {
            assert_eq!(means(status, &exception(code)), expected, "{code}");
        }
        assert_eq!(
            means(500, "Code: 60, e.displayText() = DB::Exception: Table x doesn't exist."),
            Means::Hold
        );
        assert_eq!(of_code(Some(252), 500, b"anything").means, Means::Retry);
    }

    #[test]
    fn a_success_with_an_exception_is_none() {
        assert_eq!(means(200, ""), Means::Delivered);
        assert_eq!(means(200, "\n\nCode: 27. DB::Exception: Cannot parse input"), Means::Refused);
        assert_eq!(means(200, "Code: 49. DB::Exception: Logical error"), Means::Retry);
        assert_eq!(of_code(Some(241), 200, b"").means, Means::Retry);
        assert_eq!(means(200, "<html>Sign in</html>"), Means::Hold);
    }

    #[test]
    fn tables_are_named_in_three_ways() {
        let table = |rest: &str| {
            let url = DestinationUrl::parse(&format!("clickhouse://h:8123{rest}"))?;
            table(&url)
        };
        for (rest, expected) in [
            ("/?database=logs&table=edge", "`edge`"),
            ("/?table=logs.edge", "`logs`.`edge`"),
            ("/logs/edge", "`logs`.`edge`"),
            ("/edge", "`edge`"),
            ("/?table=e%60x", "`e\\`x`"),
        ] {
            assert_eq!(table(rest).as_deref(), Ok(expected), "{rest}");
        }
        for rest in ["/", "/a/b/c", "/?table=", "/t?table=t", "/t?query=SELECT%201"] {
            assert!(table(rest).is_err(), "{rest}");
        }
    }
}

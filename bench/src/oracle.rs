//! Oracle: what a line of a text format means by a regular expression: another implementation, for benches and tests.
//!
//! Promises: nothing of the formats' own code is used. Must not know: how the real way finds anything.
use regex::bytes::{Captures, Regex};
use serde_json::Value;

/// How a value's escapes are undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// `\xHH`, `\"`, `\n`.
    C,
    /// `#HH`.
    Hash,
    /// JSON's own, where the value stands in quotes.
    Json,
    /// `""`, where the value stands in quotes.
    Doubled,
    Nothing,
}

/// A format as a regular expression.
pub struct Oracle {
    line: Regex,
    request: Regex,
    escape: Regex,
    undo: Undo,
}

const QUOTED: &str = r#"(?:[^"\\]|\\.)*"#;
const TIME: &str = r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d[^\]]*";
/// Members that are numbers where they are spelled as JSON spells them.
const NUMBERS: [&str; 8] = [
    "status",
    "server_port",
    "body_bytes_sent",
    "bytes_sent",
    "request_length",
    "request_time",
    "upstream_status",
    "upstream_response_time",
];
/// HAProxy's.
const HAPROXY: [&str; 15] = [
    "client_port",
    "TR",
    "Tw",
    "Tc",
    "Tr",
    "Ta",
    "status_code",
    "bytes_read",
    "actconn",
    "feconn",
    "beconn",
    "srv_conn",
    "retries",
    "srv_queue",
    "backend_queue",
];

fn common() -> String {
    format!(
        r#"(?P<remote_addr>[^ ]*) - (?P<remote_user>.*?) \[(?P<time_local>{TIME}|-)\] "(?P<request>{QUOTED})" (?P<status>[^ ]*) (?P<body_bytes_sent>[^ ]*)"#
    )
}

fn agents() -> String {
    format!(r#" "(?P<http_referer>{QUOTED})" "(?P<http_user_agent>{QUOTED})""#)
}

fn haproxy() -> String {
    let slashed =
        |names: &[&str]| names.iter().map(|name| format!("(?P<{name}>[^ /]*)")).collect::<Vec<_>>().join("/");
    let timers = slashed(&["TR", "Tw", "Tc", "Tr", "Ta"]);
    let counts = slashed(&["actconn", "feconn", "beconn", "srv_conn", "retries"]);
    let queues = slashed(&["srv_queue", "backend_queue"]);
    format!(
        r#"(?P<client_ip>[^ ]*?):(?P<client_port>\d*|-) \[(?P<request_date>{TIME})\] (?P<frontend_name>[^ ]*) (?P<backend_name>[^ /]*)/(?P<server_name>[^ ]*) {timers} (?P<status_code>[^ ]*) (?P<bytes_read>[^ ]*) (?P<captured_request_cookie>.*?) (?P<captured_response_cookie>.*?) (?P<termination_state>[^ ]*) {counts} {queues} \{{(?P<captured_headers>[^}}]*)\}} "(?P<http_request>.*)""#
    )
}

impl Oracle {
    /// The oracle of what an operator writes as `format`: one of the names with an expression here, and the columns of
    /// tables, in their order. Panics at another name.
    pub fn new(format: &str, columns: &[&str]) -> Oracle {
        let row = |value: &str, between: &str| {
            let cells: Vec<_> = columns.iter().map(|name| format!("(?P<{name}>{value})")).collect();
            cells.join(between)
        };
        let pairs = || {
            columns.iter().map(|name| format!(r#"{name}=(?P<{name}>"{QUOTED}"|[^ ]*)"#)).collect::<Vec<_>>()
        };
        let (line, undo) = match format {
            "common" => (common(), Undo::C),
            "combined" => (common() + &agents(), Undo::C),
            "main" => (common() + &agents() + &format!(r#" "(?P<http_x_forwarded_for>{QUOTED})""#), Undo::C),
            "vhost_combined" => {
                let ident =
                    common().replace(" - (?P<remote_user>", " (?P<remote_logname>[^ ]*) (?P<remote_user>");
                let sent = ident.replace("body_bytes_sent", "bytes_sent");
                (format!(r"(?P<server_name>.*?):(?P<server_port>[^ ]*) {sent}{}", agents()), Undo::C)
            }
            "haproxy" => (haproxy(), Undo::Hash),
            "csv" => (row(r#""(?:[^"]|"")*"|[^,]*"#, ","), Undo::Doubled),
            "tsv" | "w3c" => (row(r"[^\t]*", r"\t"), Undo::Nothing),
            "logfmt" => (pairs().join(" "), Undo::Json),
            // The format of the generated log.
            nginx if nginx.starts_with("nginx:") => {
                let words = [
                    "host",
                    "request_length",
                    "request_time",
                    "upstream_cache_status",
                    "upstream_addr",
                    "upstream_status",
                ];
                let words: String = words.iter().map(|name| format!(" (?P<{name}>[^ ]*)")).collect();
                let quoted = format!(r#" "(?P<http_x_forwarded_for>{QUOTED})""#);
                let end = format!(r#" "(?P<upstream_response_time>{QUOTED})" (?P<request_id>[^ ]*)"#);
                (common() + &agents() + &quoted + &words + &end, Undo::C)
            }
            other => panic!("no expression for {other}"),
        };
        let regex = |text: &str| Regex::new(&format!("(?s-u)^(?:{text})$")).expect("an expression");
        let escape = match undo {
            Undo::Hash => "#([0-9A-Fa-f]{2})",
            _ => r#"\\(x[0-9A-Fa-f]{2}|[nrtbfv"\\])"#,
        };
        Oracle {
            line: regex(&line),
            request: regex(r"([A-Za-z_-]+) (.+?)(?: (HTTP/[^ ]*))?"),
            escape: Regex::new(&format!("(?s-u){escape}")).expect("an expression"),
            undo,
        }
    }

    /// The members of a line's record, in their order; none when the line is not of the format.
    pub fn members(&self, line: &[u8]) -> Option<Vec<(String, Value)>> {
        let captures = self.line.captures(line)?;
        let mut members = Vec::new();
        for name in self.line.capture_names().flatten() {
            let raw = captures.name(name).map_or(&b""[..], |found| found.as_bytes());
            members.push((name.to_owned(), self.value(name, raw)));
            if matches!(name, "request" | "http_request") {
                let parts = self.request.captures(raw);
                for (at, name) in ["request_method", "request_uri", "server_protocol"].iter().enumerate() {
                    let part = parts.as_ref().and_then(|parts| parts.get(at + 1));
                    let text = part.map(|part| self.undone(part.as_bytes()));
                    members.push(((*name).to_owned(), text.map_or(Value::Null, Value::from)));
                }
            }
        }
        Some(members)
    }

    fn value(&self, name: &str, raw: &[u8]) -> Value {
        let number = NUMBERS.contains(&name) || HAPROXY.contains(&name);
        let tables = matches!(self.undo, Undo::Doubled | Undo::Json | Undo::Nothing);
        match raw {
            b"-" if self.undo != Undo::Json => return Value::Null,
            b"" if number || tables => return Value::Null,
            _ => {}
        }
        let parsed = std::str::from_utf8(raw).ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
        match parsed.filter(|value| number && value.is_number()) {
            Some(value) => value,
            None => Value::from(self.undone(raw)),
        }
    }

    /// The text that was meant.
    fn undone(&self, raw: &[u8]) -> String {
        let quoted = raw.len() > 1 && raw.starts_with(b"\"") && raw.ends_with(b"\"");
        let bytes = match self.undo {
            Undo::Nothing => raw.to_vec(),
            Undo::Doubled if quoted => {
                return String::from_utf8_lossy(&raw[1..raw.len() - 1]).replace("\"\"", "\"");
            }
            Undo::Json if quoted => return serde_json::from_slice(raw).expect("a JSON string"),
            Undo::Doubled | Undo::Json => raw.to_vec(),
            Undo::C | Undo::Hash => {
                self.escape.replace_all(raw, |found: &Captures<'_>| vec![meant(&found[1])]).into_owned()
            }
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The byte that stands behind an escape's mark.
fn meant(escape: &[u8]) -> u8 {
    let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap_or("0"), 16).unwrap_or(0);
    match escape {
        [b'x', digits @ ..] => hex(digits),
        [b'n'] => b'\n',
        [b'r'] => b'\r',
        [b't'] => b'\t',
        [b'b'] => 8,
        [b'f'] => 12,
        [b'v'] => 11,
        [digit, second] => hex(&[*digit, *second]),
        [other, ..] => *other,
        [] => 0,
    }
}

//! lines: what servers write as text, from a seed: the requests of one site in the formats of several servers.
//!
//! Values are as skewed as traffic is. Some users have names, some clients have IPv6 addresses, a third of the requests
//! have no referrer, one request in a hundred has quotes or bytes that its server escapes; times move on.
//! Must not know: how lines are read.
use super::corpus::Rng;
use super::format::{Hand, written};
use std::fmt::Write;

/// A format that lines are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextLog {
    /// nginx's default.
    Combined,
    /// [`NGINX`].
    Nginx,
    /// httpd's `vhost_combined`, by httpd's rules of escaping.
    VhostCombined,
    /// HAProxy's httplog with one list of captures.
    Haproxy,
    /// RFC 4180 with a head line.
    Csv,
    /// Tabs with a head line.
    Tsv,
    /// W3C with `#Fields:` and tabs, as CloudFront has them.
    W3c,
    /// `key=value`.
    Logfmt,
}

/// A `log_format` as operators write them: combined, and what they add to it.
pub const NGINX: &str = concat!(
    r#"nginx:$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "#,
    r#""$http_user_agent" "$http_x_forwarded_for" $host $request_length $request_time $upstream_cache_status "#,
    r#"$upstream_addr $upstream_status "$upstream_response_time" $request_id"#
);

/// The columns of [`TextLog::Csv`], [`TextLog::Tsv`] and [`TextLog::W3c`], and the keys of [`TextLog::Logfmt`].
pub const COLUMNS: [&str; 12] = [
    "time",
    "remote_addr",
    "host",
    "request_method",
    "request_uri",
    "server_protocol",
    "status",
    "body_bytes_sent",
    "request_time",
    "referer",
    "user_agent",
    "request_id",
];

const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "curl/8.14.1",
    "okhttp/4.12.0",
];
const SECTIONS: [&str; 8] = [
    "static/js",
    "assets/img",
    "api/v2/catalog",
    "media/video/segments",
    "fonts",
    "blog/2026/11",
    "products",
    "search",
];
const SUFFIXES: [&str; 6] = [".js", ".webp", "", ".m4s", ".css", ".html"];
const STATUSES: [u16; 8] = [200, 200, 304, 206, 404, 301, 499, 502];
const METHODS: [&str; 4] = ["GET", "GET", "POST", "HEAD"];
const PROTOCOLS: [&str; 3] = ["HTTP/2.0", "HTTP/1.1", "HTTP/3.0"];
const CACHE: [&str; 4] = ["HIT", "MISS", "EXPIRED", "-"];

/// One request, its values as they were before any server wrote them; `None`: it has none.
struct Request {
    second: u64,
    millis: u64,
    addr: String,
    port: u64,
    user: Option<String>,
    host: String,
    method: &'static str,
    uri: String,
    protocol: &'static str,
    status: u16,
    bytes: u64,
    took: u64,
    referer: Option<String>,
    agent: Option<String>,
    forwarded: Option<String>,
    cache: &'static str,
    id: String,
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.rank(of.len() as u64) as usize]
}

impl Request {
    fn new(rng: &mut Rng, number: u64) -> Request {
        let client = rng.rank(50_000);
        let addr = match client % 5 {
            0 => format!("2001:db8:{:x}:{:x}::{:x}", client % 4096, client % 251, client * 7 + 1),
            _ => format!("{}.{}.{}.{}", 11 + client % 200, client % 256, client / 251, client * 31 % 254 + 1),
        };
        let page = rng.rank(20_000);
        let mut uri =
            format!("/{}/{:05}-{:x}{}", pick(rng, &SECTIONS), page, page * 40_503, pick(rng, &SUFFIXES));
        if rng.below(4) == 0 {
            let _ = write!(uri, "?v={}&session={:x}", rng.rank(300), rng.word() >> 20);
        }
        let odd = rng.below(100) == 0;
        let agent = if odd { "Gecko \"fork\" \\ é".to_owned() } else { pick(rng, &AGENTS).to_owned() };
        let site = rng.rank(40);
        Request {
            second: number / 50,
            millis: number * 20 % 1000,
            addr,
            port: 1024 + rng.below(60_000),
            user: (rng.below(50) == 0).then(|| format!("user{}", rng.rank(100))),
            host: format!("www.site{site}.example"),
            method: pick(rng, &METHODS),
            uri,
            protocol: pick(rng, &PROTOCOLS),
            status: pick(rng, &STATUSES),
            bytes: rng.rank(3_000_000),
            took: rng.rank(20_000),
            referer: (rng.below(3) > 0)
                .then(|| format!("https://www.site{site}.example/index-{}.html", rng.rank(500))),
            agent: (rng.below(200) > 0).then_some(agent),
            forwarded: (rng.below(5) == 0).then(|| format!("203.0.113.{}", rng.below(256))),
            cache: pick(rng, &CACHE),
            id: format!("{:016x}{:016x}", rng.word(), rng.word()),
        }
    }

    /// `21/Nov/2026:10:11:12`.
    fn clock(&self) -> String {
        let (hour, minute, second) = (self.second / 3600 % 24, self.second / 60 % 60, self.second % 60);
        format!("21/Nov/2026:{hour:02}:{minute:02}:{second:02}")
    }

    fn iso(&self) -> String {
        format!("2026-11-21T{}.{:03}Z", &self.clock()[12..], self.millis)
    }

    /// [`COLUMNS`].
    fn columns(&self) -> [String; COLUMNS.len()] {
        let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        [
            self.iso(),
            self.addr.clone(),
            self.host.clone(),
            self.method.to_owned(),
            self.uri.clone(),
            self.protocol.to_owned(),
            self.status.to_string(),
            self.bytes.to_string(),
            format!("{}.{:03}", self.took / 1000, self.took % 1000),
            or_dash(&self.referer),
            or_dash(&self.agent),
            self.id.clone(),
        ]
    }
}

/// A value as a server writes it.
fn by(hand: Hand, value: &Option<String>) -> String {
    String::from_utf8_lossy(&written(hand, value.as_deref().map(str::as_bytes))).into_owned()
}

/// The combined format, from its client's address to the end, as `hand` writes it.
fn combined(request: &Request, hand: Hand) -> String {
    let Request { addr, method, uri, protocol, status, bytes, .. } = request;
    let (user, referer, agent) =
        (by(hand, &request.user), by(hand, &request.referer), by(hand, &request.agent));
    let time = request.clock();
    format!(
        r#"{addr} - {user} [{time} +0300] "{method} {uri} {protocol}" {status} {bytes} "{referer}" "{agent}""#
    )
}

fn nginx(request: &Request) -> String {
    let Request { host, took, cache, id, .. } = request;
    let (seconds, millis) = (took / 1000, took % 1000);
    let upstream = match *cache {
        "HIT" => r#"- - "-""#.to_owned(),
        _ => format!(r#"10.0.0.{}:8080 {} "{seconds}.{millis:03}""#, request.bytes % 9, request.status),
    };
    let (length, forwarded) = (300 + request.uri.len(), by(Hand::Nginx, &request.forwarded));
    let combined = combined(request, Hand::Nginx);
    format!(r#"{combined} "{forwarded}" {host} {length} {seconds}.{millis:03} {cache} {upstream} {id}"#)
}

fn haproxy(request: &Request) -> String {
    let Request { addr, port, method, uri, protocol, status, bytes, took, host, .. } = request;
    let (time, millis, server) = (request.clock(), request.millis, bytes % 7);
    let agent = by(Hand::Haproxy, &request.agent);
    format!(
        r#"{addr}:{port} [{time}.{millis:03}] edge~ www/app{server} 0/0/{}/{took}/{} {status} {bytes} - - ---- {}/{}/3/1/0 0/0 {{{host}|{agent}}} "{method} {uri} {protocol}""#,
        took % 3,
        took + 2,
        port % 900,
        port % 700,
    )
}

fn csv(columns: &[String]) -> String {
    let cell = |value: &String| match value.contains([',', '"']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value.clone(),
    };
    columns.iter().map(cell).collect::<Vec<_>>().join(",")
}

fn logfmt(columns: &[String]) -> String {
    let cell = |(name, value): (&&str, &String)| match value.contains([' ', '"', '=', '\\']) {
        true => format!("{name}=\"{}\"", by(Hand::NginxJson, &Some(value.clone()))),
        false => format!("{name}={value}"),
    };
    COLUMNS.iter().zip(columns).map(cell).collect::<Vec<_>>().join(" ")
}

impl TextLog {
    /// All of them.
    pub const ALL: [TextLog; 8] = [
        TextLog::Combined,
        TextLog::Nginx,
        TextLog::VhostCombined,
        TextLog::Haproxy,
        TextLog::Csv,
        TextLog::Tsv,
        TextLog::W3c,
        TextLog::Logfmt,
    ];

    /// What an operator writes for it.
    pub fn format(self) -> &'static str {
        match self {
            TextLog::Combined => "combined",
            TextLog::Nginx => NGINX,
            TextLog::VhostCombined => "vhost_combined",
            TextLog::Haproxy => "haproxy",
            TextLog::Csv => "csv",
            TextLog::Tsv => "tsv",
            TextLog::W3c => "w3c",
            TextLog::Logfmt => "logfmt",
        }
    }

    /// At least `bytes` of it, of a seed, in whole lines.
    pub fn lines(self, seed: u64, bytes: usize) -> Vec<u8> {
        let (mut rng, mut out) = (Rng::new(seed), String::with_capacity(bytes + 1024));
        match self {
            TextLog::Csv => out = COLUMNS.join(",") + "\n",
            TextLog::Tsv => out = COLUMNS.join("\t") + "\n",
            TextLog::W3c => out = format!("#Version: 1.0\n#Fields: {}\n", COLUMNS.join(" ")),
            _ => {}
        }
        for number in 0.. {
            if out.len() >= bytes {
                break;
            }
            let request = Request::new(&mut rng, number);
            out += &match self {
                TextLog::Combined => combined(&request, Hand::Nginx),
                TextLog::Nginx => nginx(&request),
                TextLog::VhostCombined => {
                    format!("{}:443 {}", request.host, combined(&request, Hand::Apache))
                }
                TextLog::Haproxy => haproxy(&request),
                TextLog::Csv => csv(&request.columns()),
                TextLog::Tsv | TextLog::W3c => request.columns().join("\t"),
                TextLog::Logfmt => logfmt(&request.columns()),
            };
            out.push('\n');
        }
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, Reader, Stand};

    #[test]
    fn every_line_is_of_its_format() {
        for log in TextLog::ALL {
            let lines = log.lines(7, 100_000);
            assert!(lines == log.lines(7, 100_000) && lines != log.lines(8, 100_000));
            let format = Format::parse(log.format()).expect("a format");
            let mut repaired = 0;
            let told = Reader::new().lines(&format, Stand::of(&lines[..512], 0), &lines, |frame, parsed| {
                let record =
                    parsed.unwrap_or_else(|fault| panic!("{fault:?}: {}", frame.line.escape_ascii()));
                repaired += usize::from(!record.repairs.is_empty());
            });
            assert!(told.lines.all - told.lines.blank > 200 && repaired == 0, "{log:?}");
        }
    }
}

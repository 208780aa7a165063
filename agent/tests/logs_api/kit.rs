//! The tools of the Logs API's tests: an archive that is made file by file, a listener, and a client over a socket.
use edgepush::api::bind;
use edgepush::archive::{Entry, Index, Leases, Slot, name};
use edgepush::logs_api::keys::{Domains, Key, KeyStore};
use edgepush::logs_api::{Allowance, LogsApi, LogsServer, LogsSettings, sign, start};
use edgepush::metrics::LogsCounters;
use edgepush_shard::batch::span::{self, HEADER_BYTES, Span};
use flate2::Compression;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// 2022-09-01T01:00:00Z
pub const HOUR: i64 = 1_661_994_000;
const NS: i64 = 1_000_000_000;

/// One member: lines with their times (s since the epoch).
pub fn member(lines: &[(i64, String)]) -> (Vec<u8>, Span, Vec<u8>) {
    let raw: Vec<u8> = lines.iter().flat_map(|(_, line)| [line.as_bytes(), b"\n"].concat()).collect();
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(&raw).unwrap();
    let body = deflate.finish().unwrap();
    let span = Span {
        member_bytes: (HEADER_BYTES + body.len() + 8) as u32,
        records: lines.len() as u32,
        raw_bytes: raw.len() as u32,
        first: lines.iter().map(|(at, _)| at * NS).min().unwrap(),
        last: lines.iter().map(|(at, _)| at * NS).max().unwrap(),
    };
    let mut out = Vec::new();
    span::write(&span, &mut out);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32fast::hash(&raw).to_le_bytes());
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    (out, span, raw)
}

/// Puts a file of these members into the archive of a state directory, and lists it.
pub fn publish(state: &Path, domain: &str, at: i64, serial: u32, members: &[Vec<(i64, String)>]) -> Entry {
    let (mut file, mut raw, mut records, mut times) = (Vec::new(), Vec::new(), 0, (i64::MAX, i64::MIN));
    for lines in members {
        let (bytes, span, lines) = member(lines);
        file.extend_from_slice(&bytes);
        raw.extend_from_slice(&lines);
        records += u64::from(span.records);
        times = (times.0.min(span.first), times.1.max(span.last));
    }
    let entry = Entry {
        domain: domain.to_owned(),
        start: at,
        serial,
        slot: Slot::Hour,
        bytes: file.len() as u64,
        raw_bytes: raw.len() as u64,
        records,
        crc32: crc32fast::hash(&raw),
        first: times.0,
        last: times.1,
        published: at + 3900,
    };
    let path = state.join("archive").join(entry.path());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, file).unwrap();
    Index::open(&state.join("archive.db")).unwrap().add(&entry).unwrap();
    entry
}

/// `n` lines of a domain, one a second from `at` on.
pub fn lines(domain: &str, at: i64, n: usize) -> Vec<(i64, String)> {
    let line = |i: i64| {
        let at = at + i % 3600;
        let text =
            format!("{{\"seq\":{i},\"ts\":{at},\"host\":\"{domain}\",\"path\":\"/p/{}\"}}", i * 7919 % 1013);
        (at, text)
    };
    (0..n as i64).map(line).collect()
}

/// A file of about so many bytes, which nothing compresses far: nobody's socket holds it.
pub fn large(state: &Path, domain: &str, at: i64, bytes: usize) -> Entry {
    let noise =
        |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let line = |n: u64| (at, (0..32).map(|i| format!("{:016x}", noise(n * 32 + i))).collect::<String>());
    let members: Vec<Vec<_>> =
        (0..bytes as u64 / 290_000 + 1).map(|m| (m * 1000..m * 1000 + 1000).map(line).collect()).collect();
    publish(state, domain, at, 1, &members)
}

/// A listener over an archive of its own.
pub struct Logs {
    dir: tempfile::TempDir,
    pub server: LogsServer,
    pub leases: Leases,
    pub counters: Arc<LogsCounters>,
}

pub fn settings(allowance: Allowance) -> LogsSettings {
    LogsSettings { allowance, url: None, final_after: 49 * 3600 }
}

pub const MAY: Allowance = Allowance { rate: 10_000, downloads: 2 };

impl Logs {
    pub fn new() -> Logs {
        Logs::with(MAY)
    }

    pub fn with(allowance: Allowance) -> Logs {
        Logs::over(tempfile::tempdir().unwrap(), allowance)
    }

    /// The next run, over the same state directory.
    pub fn again(self) -> Logs {
        let Logs { dir, server, .. } = self;
        drop(server);
        Logs::over(dir, MAY)
    }

    fn over(dir: tempfile::TempDir, allowance: Allowance) -> Logs {
        let bound = bind::bind_logs("127.0.0.1:0".parse().unwrap(), dir.path()).unwrap();
        let (leases, counters) = (Leases::default(), Arc::<LogsCounters>::default());
        let api = LogsApi::new(dir.path(), settings(allowance), (leases.clone(), counters.clone()));
        let server = start(bound, Arc::new(api), None).unwrap();
        Logs { dir, server, leases, counters }
    }

    pub fn state(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.state().join("archive").join(entry.path())
    }

    pub fn publish(&self, domain: &str, at: i64, serial: u32, members: &[Vec<(i64, String)>]) -> Entry {
        publish(self.state(), domain, at, serial, members)
    }

    /// A key, which the listener knows at once: it has not read any before, or a while ago.
    pub fn key(&self, domains: &str) -> Key {
        let key =
            KeyStore::open(self.state()).unwrap().add("test", Domains::read(domains).unwrap(), 0).unwrap();
        std::thread::sleep(Duration::from_millis(520));
        key
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    pub fn send(&self, request: &str) -> Reply {
        Reply::of(self.addr(), request.as_bytes())
    }

    pub fn get(&self, target: &str, headers: &str) -> Reply {
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: logs.example:9601\r\nConnection: close\r\n{headers}\r\n"
        ))
    }

    /// A list, signed with version 1.
    pub fn list(&self, key: &Key, body: &str) -> Reply {
        self.send(&signed(key, "POST", "/v1.1/log/list", body, &stamp(0), &nonce()))
    }

    /// The signed target of a file.
    pub fn target(&self, key: &Key, entry: &Entry) -> String {
        let path = entry.path();
        let expire = jiff::Timestamp::now().as_second() + 60;
        let sign = sign::url(key.secret.expose(), &path, expire, &key.id);
        format!("/{path}?expire={expire}&key={}&sign={sign}", key.id)
    }
}

/// `20190401T131000Z`, so many seconds from now.
pub fn stamp(from_now: i64) -> String {
    let at = name::stamp(jiff::Timestamp::now().as_second() + from_now);
    format!("{}T{}Z", &at[..8], &at[8..])
}

/// A number that came never before.
pub fn nonce() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(10_000);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()
}

/// A request, signed with version 1.
pub fn signed(key: &Key, method: &str, uri: &str, body: &str, date: &str, nonce: &str) -> String {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let what = if method == "GET" { query } else { body };
    let text = format!("{method}\n{path}\n{date}\n{nonce}\n{}\n{what}", key.id);
    let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.secret.expose().as_bytes());
    let hex: String =
        ring::hmac::sign(&mac, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{method} {uri} HTTP/1.1\r\nHost: logs.example:9601\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: HMAC-SHA256 {}:{hex}\r\nX-SFD-Date: {date}\r\nX-SFD-Nonce: {nonce}\r\n\r\n{body}",
        body.len(),
        key.id
    )
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn of(addr: SocketAddr, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        Reply::read(&all)
    }

    pub fn read(all: &[u8]) -> Reply {
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let mut rows = head.split("\r\n");
        let status = rows.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |row: &str| row.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned())).unwrap();
        Reply { status, headers: rows.map(header).collect(), body: all[end + 4..].to_vec() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body, unpacked.
    pub fn unpacked(&self) -> String {
        let mut out = String::new();
        flate2::read::MultiGzDecoder::new(&self.body[..]).read_to_string(&mut out).unwrap();
        out
    }
}

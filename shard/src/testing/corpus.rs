//! corpus: access-log lines as an edge server writes them, from a seed.
//!
//! 26 fields, about 750 bytes a line; hosts, paths, clients and user agents are drawn by rank like Zipf's law, time
//! moves on by some tens of microseconds a line.
//! Must not know: what the lines are used for.
use crate::reject::push_time;
use std::io::Write;

/// xorshift64*: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; every seed is good.
    pub fn new(seed: u64) -> Rng {
        // One round of SplitMix64, so that near seeds are far apart and the state is not 0.
        let mixed =
            (seed.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Rng(mixed | 1)
    }

    /// The next 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// A rank below `bound`: each doubling of the rank is as likely as the one before it, like Zipf's law.
    pub fn rank(&mut self, bound: u64) -> u64 {
        let scale = self.below(u64::from(bound.ilog2()) + 1);
        let rank = (1 << scale) - 1 + self.below(1 << scale);
        rank % bound
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rank(of.len() as u64) as usize]
    }
}

const COUNTRIES: [&str; 16] =
    ["US", "DE", "TR", "GB", "BR", "IN", "FR", "NL", "JP", "ID", "PL", "IT", "ES", "CA", "MX", "VN"];
const METHODS: [&str; 5] = ["GET", "GET", "GET", "HEAD", "POST"];
const PROTOCOLS: [&str; 3] = ["HTTP/2.0", "HTTP/1.1", "HTTP/3.0"];
const STATUSES: [&str; 10] = ["200", "200", "304", "206", "404", "301", "302", "403", "499", "502"];
const CACHE: [&str; 6] = ["HIT", "HIT", "MISS", "EXPIRED", "REVALIDATED", "BYPASS"];
const TYPES: [&str; 9] = [
    "image/webp",
    "application/javascript",
    "text/html; charset=utf-8",
    "text/css",
    "image/jpeg",
    "video/mp4",
    "font/woff2",
    "application/json",
    "image/svg+xml",
];
const CIPHERS: [&str; 4] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
];
const POPS: [&str; 8] = ["FRA1", "AMS2", "IST1", "LHR3", "JFK1", "SIN2", "GRU1", "NRT1"];
const SECTIONS: [&str; 12] = [
    "static/js",
    "assets/img",
    "static/css",
    "media/video/segments",
    "api/v2/catalog",
    "fonts",
    "blog/2026/11",
    "products/detail",
    "news/world",
    "download/releases",
    "user/avatars",
    "search",
];
const SUFFIXES: [&str; 8] = ["js", "webp", "css", "html", "m4s", "json", "woff2", "svg"];
const AGENTS: [(&str, &str); 6] = [
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
        " Safari/537.36",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
        " Mobile Safari/537.36",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/",
        " Safari/605.1.15",
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/", ""),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/", " Safari/537.36"),
    ("okhttp/4.12.0 ExampleShop/", " (Android 14; arm64-v8a; xxhdpi; tr_TR)"),
];

/// Writes access-log lines, one after the other.
#[derive(Clone, Debug)]
pub struct EdgeLines {
    rng: Rng,
    now: i64,
}

impl EdgeLines {
    /// Lines of a seed, from 2026-11-21T02:20:14Z on.
    pub fn new(seed: u64) -> EdgeLines {
        EdgeLines::starting_at(seed, 1_795_227_614_000_000_000)
    }

    /// Lines of a seed from a time on, ns since the epoch.
    pub fn starting_at(seed: u64, now: i64) -> EdgeLines {
        EdgeLines { rng: Rng::new(seed), now }
    }

    /// Sets the clock of the next line, ns since the epoch.
    pub fn set_now(&mut self, now: i64) {
        self.now = now;
    }

    /// Appends one line and its `\n`. Allocates only where `out` has to grow.
    pub fn append(&mut self, out: &mut Vec<u8>) {
        self.now += 10_000 + self.rng.below(80_000) as i64;
        self.append_client(out);
        self.append_request(out);
        self.append_answer(out);
        self.append_edge(out);
        out.extend_from_slice(b"}\n");
    }

    fn append_client(&mut self, out: &mut Vec<u8>) {
        let rng = &mut self.rng;
        out.extend_from_slice(b"{\"time\":\"");
        push_time(out, self.now);
        // Milliseconds are what servers write.
        out.truncate(out.len() - 7);
        let (id_high, id_low) = (rng.word(), rng.word());
        let client = rng.rank(60_000);
        let (b, c, d) = (client % 223, client / 223 % 256, client * 7 % 254 + 1);
        let (country, asn) = (COUNTRIES[(client % 16) as usize], 3_320 + client % 97 * 131);
        let port = 1024 + rng.below(64_000);
        put(
            out,
            format_args!(
                r#"Z","request_id":"{id_high:016x}{id_low:016x}","remote_addr":"10.{b}.{c}.{d}","remote_port":{port},"country":"{country}","asn":{asn}"#
            ),
        );
    }

    fn append_request(&mut self, out: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let (site, section, page) = (rng.rank(500), rng.pick(&SECTIONS), rng.rank(40_000));
        let (method, protocol, suffix) = (rng.pick(&METHODS), rng.pick(&PROTOCOLS), rng.pick(&SUFFIXES));
        let query = match rng.below(4) {
            0 => rng.rank(300),
            _ => 0,
        };
        let (tls, cipher) = if protocol == "HTTP/1.1" {
            ("TLSv1.2", CIPHERS[3])
        } else {
            ("TLSv1.3", rng.pick(&CIPHERS[..3]))
        };
        put(
            out,
            format_args!(
                r#","host":"www.site{site}.example.com","scheme":"https","method":"{method}","uri":"/{section}/{page:06}/{:08x}.{suffix}?v={query}","protocol":"{protocol}","tls_version":"{tls}","tls_cipher":"{cipher}""#,
                page.wrapping_mul(0x9e37_79b1) & 0xffff_ffff
            ),
        );
        let (from, agent, version) = (rng.rank(2_000), AGENTS[rng.rank(6) as usize], 100 + rng.rank(32));
        put(
            out,
            format_args!(
                r#","referer":"https://site{site}.example.com/index-{from}.html","user_agent":"{}{version}.0.0.0{}""#,
                agent.0, agent.1
            ),
        );
    }

    fn append_answer(&mut self, out: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let (status, cache, kind) = (rng.pick(&STATUSES), rng.pick(&CACHE), rng.pick(&TYPES));
        let (sent, received) = (300 + rng.rank(4_000_000), 200 + rng.below(900));
        let (took, first) = (rng.rank(60_000), rng.rank(3_000));
        put(
            out,
            format_args!(
                r#","status":{status},"bytes_sent":{sent},"request_length":{received},"content_type":"{kind}","request_time":{}.{:03},"first_byte_time":0.{first:04},"cache_status":"{cache}""#,
                took / 1000,
                took % 1000
            ),
        );
    }

    fn append_edge(&mut self, out: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let (pop, server, rtt, zone) =
            (rng.pick(&POPS), rng.below(24), 500 + rng.rank(200_000), rng.rank(800));
        put(
            out,
            format_args!(
                r#","pop":"{pop}","server":"edge-{server:02}.{pop}","rtt_us":{rtt},"zone_id":"{:08x}""#,
                zone.wrapping_mul(0x9e37_79b1) & 0xffff_ffff
            ),
        );
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("INVARIANT: writing to a Vec cannot fail");
}

/// `n` lines of a seed.
pub fn edge_lines(seed: u64, n: usize) -> Vec<u8> {
    let mut lines = EdgeLines::new(seed);
    let mut out = Vec::with_capacity(n * 800);
    for _ in 0..n {
        lines.append(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Parser;

    #[test]
    fn lines_are_like_an_edge_servers() {
        let bytes = edge_lines(7, 2000);
        assert!(bytes == edge_lines(7, 2000) && bytes != edge_lines(8, 2000));
        let mean = bytes.len() / 2000;
        assert!((730..=770).contains(&mean), "{mean} bytes a line");
        let mut parser = Parser::new();
        for frame in crate::frame::frames(&bytes, 0) {
            let record = parser.parse(frame.line).expect("a record");
            assert_eq!(record.members.len(), 26);
            assert!(record.repairs.is_empty());
        }
    }

    #[test]
    fn ranks_fall_like_zipf() {
        let mut rng = Rng::new(1);
        let low = (0..10_000).filter(|_| rng.rank(1024) < 32).count();
        assert!((4_000..6_000).contains(&low), "{low} of 10,000 in the first 32 of 1024 ranks");
    }
}

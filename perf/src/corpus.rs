//! A CDN's access log, made from nothing but a seed: 26 fields, about 750 bytes a line, every line with its own id.
//!
//! Promises: the same seed gives the same bytes; the ids of `0..n` are distinct and can be read back. Columns are as
//! skewed as traffic is (few hosts, agents and pops, many URIs); the data are stationary, which flatters every
//! compressor a little.
use std::io::Write;

/// Lines of one log.
pub struct Corpus {
    state: u64,
    seq: u64,
}

/// Epoch time of the first line, ns: 2026-01-01T00:00:00Z.
const FIRST_NS: u64 = 1_767_225_600_000_000_000;
/// 20,000 lines a second.
const STEP_NS: u64 = 50_000;

const HOSTS: [&str; 12] = [
    "cdn.shop.example",
    "img.news.example",
    "static.bank.example",
    "video.stream.example",
    "api.game.example",
    "www.travel.example",
    "assets.blog.example",
    "dl.software.example",
    "m.social.example",
    "tiles.map.example",
    "fonts.type.example",
    "edge.iot.example",
];
const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "okhttp/4.12.0",
    "Dalvik/2.1.0 (Linux; U; Android 14; SM-A546B Build/UP1A.231005.007)",
    "curl/8.5.0",
];
const COUNTRIES: [&str; 10] = ["US", "DE", "TR", "BR", "IN", "JP", "GB", "FR", "NL", "ZA"];
const POPS: [&str; 8] = ["IST01", "FRA02", "AMS01", "IAD03", "GRU01", "NRT02", "BOM01", "JNB01"];
const KINDS: [(&str, &str, &str); 6] = [
    ("assets/js", "js", "application/javascript"),
    ("img/products", "webp", "image/webp"),
    ("video/hls", "ts", "video/mp2t"),
    ("css", "css", "text/css"),
    ("api/v2/items", "json", "application/json"),
    ("fonts", "woff2", "font/woff2"),
];

impl Corpus {
    /// The log of a seed.
    pub fn new(seed: u64) -> Corpus {
        Corpus { state: seed, seq: 0 }
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// An index below `bound`, small ones far more often.
    fn skewed(&mut self, bound: usize) -> usize {
        let unit = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        ((unit * unit * unit) * bound as f64) as usize
    }

    /// Appends the next line, with its newline. `written_ns` is its write time; by default the line's own.
    pub fn line(&mut self, out: &mut Vec<u8>, written_ns: Option<u64>) {
        let seq = self.seq;
        self.seq += 1;
        let at = written_ns.unwrap_or(FIRST_NS + seq * STEP_NS);
        let host = HOSTS[self.skewed(HOSTS.len())];
        let agent = AGENTS[self.skewed(AGENTS.len())];
        let country = COUNTRIES[self.skewed(COUNTRIES.len())];
        let pop = POPS[self.skewed(POPS.len())];
        let (dir, suffix, kind) = KINDS[self.skewed(KINDS.len())];
        let object = mix(self.skewed(20_000) as u64) & 0xff_ffff;
        let [status, cache] = [
            ["200", "HIT"],
            ["206", "HIT"],
            ["304", "REVALIDATED"],
            ["200", "MISS"],
            ["404", "MISS"],
            ["503", "EXPIRED"],
        ][self.skewed(6)];
        let (r, bytes) = (self.random(), 200 + self.skewed(2_000_000));
        let client = mix(self.skewed(50_000) as u64);
        let (c1, c2, c3) = (client % 223 + 1, (client >> 8) % 256, (client >> 16) % 256);
        let head = mix(seq ^ 0x5eed);
        let us = r % 900_000;
        let day_seconds = (at / 1_000_000_000) % 86_400;
        let (hour, minute, second) = (day_seconds / 3600, day_seconds / 60 % 60, day_seconds % 60);
        // Writing into a Vec cannot fail.
        let _ = writeln!(
            out,
            "{{\"time\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}.{:03}Z\",\"written_ns\":{at},\
             \"request_id\":\"{head:016x}{:016x}\",\"remote_addr\":\"{c1}.{c2}.{c3}.{}\",\"country\":\"{country}\",\
             \"asn\":{},\"host\":\"{host}\",\"method\":\"{}\",\"scheme\":\"https\",\
             \"uri\":\"/{dir}/{object:06x}/v{}.{suffix}\",\"query\":\"w={}&q={}\",\"protocol\":\"{}\",\
             \"status\":{status},\"bytes_sent\":{bytes},\"body_bytes\":{},\"request_time\":{}.{:03},\
             \"upstream_time\":\"0.{:03}\",\"upstream_addr\":\"10.{}.{}.7:8080\",\"cache_status\":\"{cache}\",\
             \"content_type\":\"{kind}\",\"referer\":\"https://{host}/{dir}\",\"user_agent\":\"{agent}\",\
             \"tls_version\":\"TLSv1.3\",\"tls_cipher\":\"TLS_AES_128_GCM_SHA256\",\"pop\":\"{pop}\",\
             \"server\":\"edge-{pop}-{:02}\"}}",
            at / 1_000_000 % 1000,
            mix(head) ^ seq,
            (client >> 24) % 254 + 1,
            1000 + client % 60_000,
            if r % 40 == 0 { "POST" } else { "GET" },
            r % 30,
            [320, 640, 1080, 1920][(r >> 8) as usize % 4],
            (r >> 16) % 100,
            if r % 5 == 0 { "HTTP/1.1" } else { "HTTP/2.0" },
            bytes - 180,
            us / 1_000_000,
            us / 1000 % 1000,
            (r >> 20) % 400,
            (r >> 30) % 4,
            (r >> 33) % 16,
            (r >> 40) % 24,
        );
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The line number behind a line's request id; `None` when the line has no id of a corpus.
pub fn sequence(line: &[u8]) -> Option<u64> {
    let id = field(line, b"\"request_id\":\"")?.get(..32)?;
    let half = |range| u64::from_str_radix(std::str::from_utf8(&id[range]).ok()?, 16).ok();
    let (head, tail) = (half(0..16)?, half(16..32)?);
    let seq = mix(head) ^ tail;
    (mix(seq ^ 0x5eed) == head).then_some(seq)
}

/// The write time of a line, ns since the epoch.
pub fn written_ns(line: &[u8]) -> Option<u64> {
    let digits = field(line, b"\"written_ns\":")?;
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

fn field<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = line.windows(key.len()).position(|w| w == key)?;
    Some(&line[at + key.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_json_lines_of_26_fields_with_distinct_ids() {
        let (mut a, mut b) = (Corpus::new(1), Corpus::new(1));
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..2000 {
            a.line(&mut x, None);
            b.line(&mut y, None);
        }
        assert!(x == y);
        let lines: Vec<_> = x.split(|c| *c == b'\n').filter(|l| !l.is_empty()).collect();
        for (i, line) in lines.iter().enumerate() {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(value.as_object().unwrap().len(), 26);
            assert_eq!(sequence(line), Some(i as u64));
            assert_eq!(written_ns(line), Some(FIRST_NS + i as u64 * STEP_NS));
        }
        let mean = x.len() / lines.len();
        assert!((700..800).contains(&mean), "{mean} bytes a line");
        assert_eq!(sequence(b"{\"request_id\":\"0000000000000000000000000000000f\"}"), None);
    }
}

//! The corpora: logs made from nothing but a seed, every line with its own id.
//!
//! Promises: the same kind and seed give the same bytes on every host; the ids of `0..n` are distinct; each line says
//! what a right agent makes of it. Columns are as skewed as traffic is; the data are stationary, which flatters every
//! compressor a little. Must not know: files, agents, cases.
mod edge26;
mod entropy;
mod hostile;
mod http_requests;
mod mixed;
mod nginx;

pub use edge26::{host, sequence, written_ns};

/// Changes whenever the bytes of a corpus change: logs of another version are not used again.
pub const VERSION: u32 = 2;

/// Epoch time of the first line, ns: 2026-01-01T00:00:00Z.
const FIRST_NS: u64 = 1_767_225_600_000_000_000;
/// 20,000 lines a second.
const STEP_NS: u64 = 50_000;

/// What kind of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A CDN's access log: 26 fields, about 750 bytes.
    Edge26,
    /// The same of so many hosts, each as busy as the others: `{ hosts = 10000 }`.
    Hosts(u32),
    /// What nginx writes with `escape=json`: 22 fields, about 450 bytes.
    Nginx,
    /// Lines of four shapes in random order, one of them nested.
    Mixed,
    /// 60 fields of Cloudflare's dataset `http_requests`, about 1,700 bytes.
    HttpRequests,
    /// Values that do not compress: random hexadecimal and base64 text.
    Entropy,
    /// Escapes, repeated keys, deep nesting, long lines, repairs, blank lines, rejects.
    Hostile,
}

/// What a right agent makes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A record: it leaves as it came.
    Record,
    /// A record after a repair: these bytes leave, without a newline.
    Repaired(Vec<u8>),
    /// No record: it is counted and kept among the rejects.
    Reject,
    /// A blank line: skipped.
    Blank,
}

/// Lines of one log.
pub struct Corpus {
    kind: Kind,
    random: Random,
    seq: u64,
}

impl Corpus {
    /// The log of a seed.
    pub fn new(kind: Kind, seed: u64) -> Corpus {
        Corpus { kind, random: Random(seed), seq: 0 }
    }

    /// Appends the next line, with its newline. `written_ns` is its write time; by default the line's own.
    pub fn line(&mut self, out: &mut Vec<u8>, written_ns: Option<u64>) -> Fate {
        let seq = self.seq;
        self.seq += 1;
        let at = written_ns.unwrap_or(FIRST_NS + seq * STEP_NS);
        let random = &mut self.random;
        match self.kind {
            Kind::Edge26 => edge26::line(random, seq, at, out),
            Kind::Hosts(hosts) => edge26::of_hosts(hosts, random, seq, at, out),
            Kind::Nginx => nginx::line(random, seq, at, out),
            Kind::Mixed => mixed::line(random, seq, at, out),
            Kind::HttpRequests => http_requests::line(random, seq, at, out),
            Kind::Entropy => entropy::line(random, seq, out),
            Kind::Hostile => return hostile::line(random, seq, at, out),
        }
        Fate::Record
    }
}

/// SplitMix64: a full period, and good enough for logs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// An index below `bound`, small ones far more often.
    fn skewed(&mut self, bound: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((unit * unit * unit) * bound as f64) as usize
    }

    /// One of these, the first ones far more often.
    fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.skewed(values.len())]
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The two halves of a line's id: distinct for distinct line numbers, and without order.
fn id(seq: u64) -> (u64, u64) {
    let head = mix(seq ^ 0x5eed);
    (head, mix(head) ^ seq)
}

/// The text of a line's id, as [`Kind::Edge26`] has it in `request_id`.
pub fn request_id(seq: u64) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (head, tail) = id(seq);
    let whole = u128::from(head) << 64 | u128::from(tail);
    std::array::from_fn(|at| DIGITS[(whole >> (124 - 4 * at)) as usize & 15])
}

/// An address out of 50,000, the busy ones far more often.
fn client(random: &mut Random) -> u64 {
    mix(random.skewed(50_000) as u64)
}

/// Hour, minute, second and millisecond of the day.
fn clock(at_ns: u64) -> (u64, u64, u64, u64) {
    let seconds = (at_ns / 1_000_000_000) % 86_400;
    (seconds / 3600, seconds / 60 % 60, seconds % 60, at_ns / 1_000_000 % 1000)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const KINDS: [(Kind, &str); 7] = [
        (Kind::Edge26, "request_id"),
        (Kind::Hosts(1000), "request_id"),
        (Kind::Nginx, "rid"),
        (Kind::Mixed, ""),
        (Kind::HttpRequests, "RayID"),
        (Kind::Entropy, "id"),
        (Kind::Hostile, "id"),
    ];

    fn lines(kind: Kind, count: usize) -> Vec<(Vec<u8>, Fate)> {
        let mut corpus = Corpus::new(kind, 1);
        let mut one = || {
            let mut line = Vec::new();
            let fate = corpus.line(&mut line, None);
            assert_eq!(line.pop(), Some(b'\n'));
            (line, fate)
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_lines_and_they_are_distinct() {
        for (kind, _) in KINDS {
            let (a, b) = (lines(kind, 3000), lines(kind, 3000));
            assert!(a == b, "{kind:?}");
            let records: Vec<_> = a.iter().filter(|(_, fate)| *fate == Fate::Record).collect();
            let distinct: HashSet<_> = records.iter().map(|(line, _)| line).collect();
            assert_eq!(distinct.len(), records.len(), "{kind:?}");
            assert!(a.iter().all(|(line, _)| !line.contains(&b'\n')), "{kind:?}");
        }
    }

    #[test]
    fn what_is_called_a_record_parses_and_what_is_called_a_reject_does_not() {
        for (kind, key) in KINDS {
            let mut ids = HashSet::new();
            for (line, fate) in lines(kind, 3000) {
                let said = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                let object = |text: &[u8]| {
                    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
                    value.as_object().cloned()
                };
                match fate {
                    Fate::Record => {
                        let object = object(&line).unwrap_or_else(|| panic!("{kind:?}: {said}"));
                        if !key.is_empty() {
                            assert!(ids.insert(object[key].as_str().unwrap().to_owned()), "{kind:?}: {said}");
                        }
                    }
                    Fate::Repaired(right) => assert!(object(&line).is_none() && object(&right).is_some()),
                    Fate::Reject => assert!(object(&line).is_none(), "{said}"),
                    Fate::Blank => assert!(line.iter().all(u8::is_ascii_whitespace)),
                }
            }
        }
    }

    #[test]
    fn the_hostile_corpus_says_how_many_lines_are_rejects() {
        let count =
            |fate: fn(&Fate) -> bool| lines(Kind::Hostile, 3200).iter().filter(|l| fate(&l.1)).count();
        // Of every 32 lines 3 are rejects, 4 are repaired, 1 is blank.
        assert_eq!(count(|f| *f == Fate::Reject), 300);
        assert_eq!(count(|f| matches!(f, Fate::Repaired(_))), 400);
        assert_eq!(count(|f| *f == Fate::Blank), 100);
    }

    #[test]
    fn the_shapes_have_their_fields_and_sizes() {
        let check = |kind, fields: usize, bytes: std::ops::Range<usize>| {
            let lines = lines(kind, 2000);
            let value: serde_json::Value = serde_json::from_slice(&lines[7].0).unwrap();
            assert_eq!(value.as_object().unwrap().len(), fields, "{kind:?}");
            let mean = lines.iter().map(|l| l.0.len() + 1).sum::<usize>() / lines.len();
            assert!(bytes.contains(&mean), "{kind:?}: {mean} bytes a line");
        };
        check(Kind::Edge26, 26, 700..800);
        check(Kind::Nginx, 22, 400..600);
        check(Kind::HttpRequests, 60, 1500..2100);
    }
}

//! Text formats against regular expressions, and each level of vector instructions against none.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::parse::Fault;
use edgepush_shard::record::{Member, Repairs};
use edgepush_shard::scan::Simd;
use edgepush_shard::testing::format::{Hand, written};
use edgepush_shard::testing::lines::{COLUMNS, TextLog};
use oracle::Oracle;
use proptest::prelude::*;
use serde_json::Value;

#[path = "../../bench/src/oracle.rs"]
mod oracle;

type Read = Result<(Vec<u8>, Vec<Member>, Repairs), Fault>;

/// What becomes of each line.
fn read(format: &Format, level: Simd, head: &[u8], bytes: &[u8]) -> Vec<(Vec<u8>, Read)> {
    let mut all = Vec::new();
    let start = if head.is_empty() { 1 } else { 0 };
    Reader::with_level(level).lines(format, Stand::of(head, start), bytes, |frame, parsed| {
        let read = parsed.map(|record| (record.text.to_vec(), record.members.to_vec(), record.repairs));
        all.push((frame.line.to_vec(), read));
    });
    all
}

fn members(text: &[u8], members: &[Member]) -> Vec<(String, Value)> {
    let whole: Value = serde_json::from_slice(text).expect("a record's text is JSON");
    assert_eq!(whole.as_object().map(serde_json::Map::len), Some(members.len()));
    let text_of = |span: edgepush_shard::record::Span| std::str::from_utf8(span.of(text)).expect("UTF-8");
    members
        .iter()
        .map(|member| {
            let value = serde_json::from_str(text_of(member.value)).expect("JSON");
            (text_of(member.key).to_owned(), value)
        })
        .collect()
}

/// Values of clients: most are harmless, some are what nobody should send.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"\"\\ #-[]{}|/:,=x2n\t\r\x0b\x01\x7f\n".to_vec()),
        1 => any::<u8>(),
        6 => b'a'..=b'z',
    ];
    prop_oneof![
        3 => prop::collection::vec(byte, 0..24),
        3 => "[a-zA-Z0-9/.?=&;() ]{0,200}".prop_map(String::into_bytes),
        1 => prop::sample::select(vec!["", "-", "GET / HTTP/1.1", "POST /a b HTTP/2.0", "GET /", "M-SEARCH * HTTP/1.1", "x\\"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn bare() -> impl Strategy<Value = &'static str> {
    let values = [
        "192.0.2.1",
        "::1",
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        "-",
        "",
        "200",
        "0",
        "000",
        "1e3",
        "-0.5",
        "12345678",
        "123456789",
    ];
    prop::sample::select(values.to_vec())
}

/// A line of combined, or what belongs to a format that has it; cut somewhere, or not.
fn line(format: &str, bare: &[&str], user: &[u8], quoted: &[Vec<u8>], cut: usize) -> Vec<u8> {
    let hand = if format == "vhost_combined" { Hand::Apache } else { Hand::Nginx };
    let by = |value: &[u8]| written(hand, Some(value));
    let mut line = Vec::new();
    if format == "vhost_combined" {
        line.extend_from_slice(format!("{}:443 ", bare[3]).as_bytes());
    }
    line.extend_from_slice(format!("{} - ", bare[0]).as_bytes());
    line.extend_from_slice(&by(user));
    let time = [" [10/Oct/2000:13:55:36 -0700] \"", " [-] \"", " [10/Oct/2000] \""];
    line.extend_from_slice(time[cut % 7 % 3].as_bytes());
    line.extend_from_slice(&by(&quoted[0]));
    line.extend_from_slice(format!("\" {} {}", bare[1], bare[2]).as_bytes());
    let more = match format {
        "common" => 0,
        "main" => 3,
        _ => 2,
    };
    for value in &quoted[1..=more] {
        line.extend_from_slice(b" \"");
        line.extend_from_slice(&by(value));
        line.extend_from_slice(b"\"");
    }
    if cut < 20 {
        line.truncate(line.len().saturating_sub(cut));
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn records_are_those_of_a_regular_expression(
        format in prop::sample::select(vec!["combined", "common", "main", "vhost_combined"]),
        values in prop::collection::vec(
            (prop::collection::vec(bare(), 4), value(), prop::collection::vec(value(), 4), 0..200usize), 4..16),
    ) {
        let mut bytes = Vec::new();
        for (bare, user, quoted, cut) in &values {
            bytes.extend_from_slice(&line(format, bare, user, quoted, *cut));
            bytes.push(b'\n');
        }
        let oracle = Oracle::new(format, &[]);
        let format = Format::parse(format).unwrap();
        for level in Simd::all() {
            for (line, read) in read(&format, level, b"", &bytes) {
                // An ident name is not in the expression.
                let Some(expected) = oracle.members(&line) else { continue };
                let (text, found, _) = read.unwrap_or_else(|fault| panic!("{fault:?} {}", line.escape_ascii()));
                prop_assert_eq!(members(&text, &found), expected, "{:?} {}", level, line.escape_ascii());
            }
        }
    }

    #[test]
    fn every_level_reads_what_none_reads(
        log in prop::sample::select(TextLog::ALL.to_vec()),
        seed in any::<u64>(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(b"\"\\ #-[]{}/:,=\t\r\n0a\xc3\x01".to_vec())), 0..12),
    ) {
        let mut bytes = log.lines(seed, 4000);
        let head = match log {
            TextLog::Csv | TextLog::Tsv | TextLog::W3c => bytes[..1024].to_vec(),
            _ => Vec::new(),
        };
        for (at, byte) in changes {
            let at = 200 + at.index(bytes.len() - 200);
            bytes[at] = byte;
        }
        let format = Format::parse(log.format()).unwrap();
        let expected = read(&format, Simd::Scalar, &head, &bytes);
        for level in Simd::all() {
            let got = read(&format, level, &head, &bytes);
            prop_assert_eq!(&got, &expected, "{:?}", level);
        }
    }
}

#[test]
fn generated_logs_are_what_the_expressions_say() {
    for log in TextLog::ALL {
        let lines = log.lines(3, 200_000);
        let (oracle, format) = (Oracle::new(log.format(), &COLUMNS), Format::parse(log.format()).unwrap());
        for level in Simd::all() {
            let all = read(&format, level, &lines[..1024], &lines);
            assert!(all.len() > 400, "{log:?}");
            for (line, read) in all {
                let (text, found, _) = read.unwrap();
                assert_eq!(Some(members(&text, &found)), oracle.members(&line), "{}", line.escape_ascii());
            }
        }
    }
}

/// Lines that end as Windows has it, and the last ones of a text, are read as all others.
#[test]
fn carriage_returns_and_last_lines_change_nothing() {
    for log in TextLog::ALL {
        let lines = log.lines(5, 20_000);
        let format = Format::parse(log.format()).unwrap();
        let windows: Vec<u8> = lines.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
        let expected = read(&format, Simd::Scalar, &lines[..1024], &lines);
        for level in Simd::all() {
            assert_eq!(read(&format, level, &windows[..1024], &windows), expected, "{log:?} {level:?}");
        }
    }
}

//! Real servers' logs: each sample gives as many records and rejects as is known of it.
//!
//! The samples are no part of the project: `EDGEPUSH_SAMPLES` names their directory.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::format::{Format, Reader, Stand};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

fn samples() -> Option<PathBuf> {
    let found = std::env::var_os("EDGEPUSH_SAMPLES").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: set EDGEPUSH_SAMPLES to the directory of sample logs");
    }
    found
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    records: u64,
    repaired: u64,
    rejects: BTreeMap<&'static str, u64>,
    decided: Option<&'static str>,
}

fn count(format: &Format, bytes: &[u8]) -> Counts {
    let (mut counts, mut reader) = (Counts::default(), Reader::new());
    let mut at = 0;
    // As a source cuts it.
    while at < bytes.len() {
        let most = &bytes[at..bytes.len().min(at + (256 << 10))];
        let len = memchr::memrchr(b'\n', most).map_or(most.len(), |end| end + 1);
        let stand = Stand::of(&bytes[..bytes.len().min(1024)], at as u64);
        let told = reader.lines(format, stand, &bytes[at..at + len], |frame, parsed| match parsed {
            Ok(record) => {
                let value: serde_json::Value = serde_json::from_slice(record.text).expect("JSON");
                assert_eq!(value.as_object().map(serde_json::Map::len), Some(record.members.len()));
                counts.records += 1;
                counts.repaired += u64::from(!record.repairs.is_empty());
            }
            Err(fault) => {
                eprintln!("reject at {}: {}", fault.column, frame.line.escape_ascii());
                *counts.rejects.entry(fault.reason.as_str()).or_default() += 1;
            }
        });
        counts.decided = told.decided;
        at += len;
    }
    counts
}

#[test]
fn every_sample_gives_what_is_known_of_it() {
    let Some(dir) = samples() else { return };
    for (name, format, records, rejects) in [
        ("nginx.combined.log.gz", "combined", 4645, 0),
        ("apache.combined.log.gz", "combined", 12_000, 0),
        ("elastic-examples-apache_logs.gz", "combined", 9999, 1),
        ("nginx.json.log.gz", "json", 4645, 0),
        ("haproxy.json.log.gz", "json", 12_000, 0),
        ("varnish.json.log.gz", "json", 12_000, 0),
        ("ats.json.log.gz", "json", 12_000, 0),
        ("squid.json.log.gz", "json", 12_000, 0),
        ("caddy-deb.json.log.gz", "json", 9763, 0),
        ("caddy-pypi.json.log.gz", "json", 9014, 0),
        ("traefik.json.log.gz", "json", 6468, 0),
        ("envoy.json.log.gz", "json", 12_000, 0),
        ("apache.json.log.gz", "json", 12_000, 0),
        ("lighttpd.json.log.gz", "json", 12_000, 0),
        ("h2o.json.log.gz", "json", 12_000, 0),
    ] {
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(dir.join(name)).unwrap())
            .read_to_end(&mut bytes)
            .unwrap();
        let counts = count(&Format::auto(), &bytes);
        assert_eq!(counts.decided, Some(format), "{name}");
        let named = count(&Format::parse(format).unwrap(), &bytes);
        assert_eq!((named.records, &named.rejects), (counts.records, &counts.rejects), "{name}");
        assert_eq!((counts.records, counts.rejects.values().sum()), (records, rejects), "{name}: {counts:?}");
        // Three clients of the public log sent bytes that are no UTF-8, and its server wrote them as they were.
        if format == "combined" {
            assert_eq!(counts.repaired, if name.starts_with("elastic") { 3 } else { 0 }, "{name}");
        }
    }
}

/// Datagrams of nginx over a unix socket and, without a host, over UDP.
#[test]
fn messages_behind_syslog_heads_are_the_records_of_the_file() {
    let Some(dir) = samples() else { return };
    let read = |name: &str| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(dir.join(name)).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        bytes
    };
    let file = read("nginx.json.log.gz");
    for (name, records, added) in
        [("nginx.syslog-unix.log.gz", 4511, 3), ("nginx.syslog-udp.log.gz", 4645, 2)]
    {
        let bytes = read(name);
        for (format, decided) in [("syslog", Some("json")), ("syslog:json", None)] {
            let counts = count(&Format::parse(format).unwrap(), &bytes);
            assert_eq!((counts.records, counts.rejects.len(), counts.repaired), (records, 0, 0), "{name}");
            assert_eq!(counts.decided, decided);
        }
        assert_eq!(count(&Format::json(), &bytes).records, 0);
        // What is behind the heads is what the file has, but for what was lost.
        let mut lines = file.split(|byte| *byte == b'\n');
        Reader::new().lines(&Format::json().syslog(), Stand::of(b"", 0), &bytes, |_, parsed| {
            let record = parsed.unwrap();
            let own = &record.members[..record.members.len() - added];
            let end = own.last().unwrap().value.end as usize;
            let names = record.members[own.len()..].iter().map(|member| member.key.of(record.text));
            assert!(
                names.eq([&b"syslog_time"[..], b"syslog_host", b"syslog_tag"]
                    .into_iter()
                    .filter(|name| added == 3 || *name != b"syslog_host"))
            );
            assert!(lines.any(|line| line.strip_suffix(b"}") == Some(&record.text[..end])));
        });
    }
}

/// The pattern of nginx's own words for combined, pasted, reads the same.
#[test]
fn a_pasted_format_reads_as_the_named_one() {
    let Some(dir) = samples() else { return };
    let pasted = "nginx:log_format combined '$remote_addr - $remote_user [$time_local] '\n  '\"$request\" $status $body_bytes_sent '\n  '\"$http_referer\" \"$http_user_agent\"';";
    let apache =
        r#"apache:LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined"#;
    for (name, format) in [("nginx.combined.log.gz", pasted), ("apache.combined.log.gz", apache)] {
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(dir.join(name)).unwrap())
            .read_to_end(&mut bytes)
            .unwrap();
        let counts = count(&Format::parse(format).unwrap(), &bytes);
        assert_eq!(counts.records, bytes.split(|byte| *byte == b'\n').count() as u64 - 1, "{name}");
    }
}

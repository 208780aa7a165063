//! Stages: every pure stage of the data plane as one pass over the same log.
//!
//! Promises: [`Stage::ready`] has asserted the answer against another implementation (serde_json, flate2's decoder, a
//! loop over bits) before it returns; a pass allocates nothing that the stage itself does not.
//! Must not know: who times or counts it.
use crate::oracle::Oracle;
use crate::runs::{FIELDS, Filler, Records, SLAB, combined, projection, records};
use edgepush_shard::batch::{Container, Part, decode, join, piece_of};
use edgepush_shard::codec::{CodecKind, Form, Level, Span, codec};
use edgepush_shard::dataset::HTTP_REQUESTS;
use edgepush_shard::dataset::mapping::Mapper;
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::frame::frames;
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::Output;
use edgepush_shard::record::Member;
use edgepush_shard::testing::lines::{COLUMNS, TextLog};
use serde_json::Value;
use std::hint::black_box;
use std::sync::Arc;

/// One stage.
pub struct Stage {
    /// What it is called on the command line and in `baseline.json`.
    pub name: &'static str,
    /// Makes it ready for a log.
    pub ready: fn(&[u8]) -> Ready,
}

/// A stage whose answer was right.
pub struct Ready {
    /// What one pass takes in.
    pub input_bytes: u64,
    /// One pass.
    pub pass: Box<dyn FnMut()>,
}

/// All stages, in a line's order. `parse` contains `frame`; `parse-combined` is the requests of the log in that format, and
/// `parse-as-json` the records that it makes, as lines of JSON; `parse-syslog` is the log behind heads of syslog, by the
/// bytes of the log alone, so that it may be held against `parse`; `map`, `project` and `pass-through` contain `parse`.
/// `format-…` are logs of their own, of the same size.
pub const STAGES: [Stage; 23] = [
    Stage { name: "frame", ready: frame },
    Stage { name: "parse", ready: parse },
    Stage { name: "parse-combined", ready: parse_combined },
    Stage { name: "parse-as-json", ready: parse_as_json },
    Stage { name: "format-combined", ready: |lines| text_log(TextLog::Combined, lines.len()) },
    Stage { name: "format-nginx", ready: |lines| text_log(TextLog::Nginx, lines.len()) },
    Stage { name: "format-vhost-combined", ready: |lines| text_log(TextLog::VhostCombined, lines.len()) },
    Stage { name: "format-haproxy", ready: |lines| text_log(TextLog::Haproxy, lines.len()) },
    Stage { name: "format-csv", ready: |lines| text_log(TextLog::Csv, lines.len()) },
    Stage { name: "format-tsv", ready: |lines| text_log(TextLog::Tsv, lines.len()) },
    Stage { name: "format-w3c", ready: |lines| text_log(TextLog::W3c, lines.len()) },
    Stage { name: "format-logfmt", ready: |lines| text_log(TextLog::Logfmt, lines.len()) },
    Stage { name: "map", ready: map },
    Stage { name: "parse-syslog", ready: parse_syslog },
    Stage { name: "project", ready: |lines| fill(lines, &projection(), projected_by_serde) },
    Stage { name: "pass-through", ready: |lines| fill(lines, &Output::PassThrough, str::to_owned) },
    Stage { name: "gzip-fast-12", ready: |lines| encode(lines, &projection(), CodecKind::Gzip, Level::Fast) },
    Stage {
        name: "gzip-fast-26",
        ready: |lines| encode(lines, &Output::PassThrough, CodecKind::Gzip, Level::Fast),
    },
    Stage {
        name: "gzip-balanced-12",
        ready: |lines| encode(lines, &projection(), CodecKind::Gzip, Level::Balanced),
    },
    Stage { name: "zstd-fast-12", ready: |lines| encode(lines, &projection(), CodecKind::Zstd, Level::Fast) },
    Stage {
        name: "zstd-fast-26",
        ready: |lines| encode(lines, &Output::PassThrough, CodecKind::Zstd, Level::Fast),
    },
    Stage { name: "crc", ready: crc },
    Stage { name: "join", ready: join_batch },
];

fn frame(lines: &[u8]) -> Ready {
    let expected: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    let got = frames(lines, 0).map(|frame| frame.line);
    assert!(got.eq(expected[..expected.len() - 1].iter().copied()), "frames are not the lines");
    let lines = lines.to_vec();
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || {
            black_box(frames(&lines, 0).map(|frame| frame.line.len()).sum::<usize>());
        }),
    }
}

fn parse(lines: &[u8]) -> Ready {
    let mut parser = Parser::new();
    parser.lines(lines, 0, |frame, parsed| {
        let record = parsed.expect("the log is JSON");
        let value: Value = serde_json::from_slice(frame.line).expect("the log is JSON");
        let object = value.as_object().expect("every line is an object");
        assert_eq!(record.members.len(), object.len());
        for member in record.members {
            let key = std::str::from_utf8(member.key.of(record.text)).expect("UTF-8");
            let got: Value = serde_json::from_slice(member.value.of(record.text)).expect("a JSON value");
            assert!(object.get(key) == Some(&got), "{key}: {got}");
        }
    });
    let lines = lines.to_vec();
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || {
            parser.lines(&lines, 0, |_, parsed| {
                black_box(parsed.is_ok());
            });
        }),
    }
}

const AT_START: Stand<'static> = Stand::of(b"", 0);

fn parse_combined(lines: &[u8]) -> Ready {
    let (lines, values) = combined(lines);
    let format = Format::parse("combined").expect("a format");
    let mut reader = Reader::new();
    let mut rows = values.iter();
    reader.lines(&format, AT_START, &lines, |_, parsed| {
        let record: Value = serde_json::from_slice(parsed.expect("a line of the format").text).expect("JSON");
        let [addr, time, request, status, bytes, referer, agent] = rows.next().expect("as many as lines");
        let parts: Vec<&str> = request.split(' ').collect();
        let expected = serde_json::json!({
            "remote_addr": addr, "remote_user": null, "time_local": time, "request": request,
            "request_method": parts[0], "request_uri": parts[1], "server_protocol": parts[2],
            "status": status.parse::<u64>().expect("a status"),
            "body_bytes_sent": bytes.parse::<u64>().expect("a number of bytes"),
            "http_referer": referer, "http_user_agent": agent,
        });
        assert_eq!(record, expected);
    });
    assert!(rows.next().is_none(), "a line is no record");
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || {
            reader.lines(&format, AT_START, &lines, |_, parsed| {
                black_box(parsed.is_ok());
            });
        }),
    }
}

fn parse_as_json(lines: &[u8]) -> Ready {
    let format = Format::parse("combined").expect("a format");
    let mut json = Vec::new();
    Reader::new().lines(&format, AT_START, &combined(lines).0, |_, parsed| {
        json.extend_from_slice(parsed.expect("a line of the format").text);
        json.push(b'\n');
    });
    parse(&json)
}

fn text_log(log: TextLog, bytes: usize) -> Ready {
    let format = log.format();
    format_stage(format, &Oracle::new(format, &COLUMNS), log.lines(1, bytes))
}

/// Bytes of a log that the oracle reads: it takes far longer than what it judges.
const JUDGED_BYTES: usize = 256 << 10;

/// Lines of a text format into records with their text. Panics where a record of the log's first lines is not what the
/// oracle makes of its line.
pub fn format_stage(format: &str, oracle: &Oracle, lines: Vec<u8>) -> Ready {
    let format = Format::parse(format).expect("a format");
    let mut reader = Reader::new();
    let (mut records, mut rejects) = (0, 0);
    let judged =
        lines[..lines.len().min(JUDGED_BYTES)].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let told = reader.lines(&format, AT_START, &lines[..judged], |frame, parsed| {
        let got = parsed.ok().map(|record| {
            let text = |span: Span| std::str::from_utf8(span.of(record.text)).expect("UTF-8");
            let whole: Value = serde_json::from_slice(record.text).expect("JSON");
            assert_eq!(whole.as_object().map(serde_json::Map::len), Some(record.members.len()));
            let member = |member: &Member| {
                (text(member.key).to_owned(), serde_json::from_str(text(member.value)).expect("JSON"))
            };
            record.members.iter().map(member).collect::<Vec<(String, Value)>>()
        });
        (records, rejects) = (records + u64::from(got.is_some()), rejects + u64::from(got.is_none()));
        assert_eq!(got, oracle.members(frame.line), "{}", frame.line.escape_ascii());
    });
    assert_eq!(told.lines.all, told.lines.blank + records + rejects);
    assert!(records > 100 * rejects, "{rejects} rejects");
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || {
            reader.lines(&format, AT_START, &lines, |_, parsed| {
                black_box(parsed.is_ok());
            });
        }),
    }
}

/// Lines that the head has the same second for: one core takes some hundred thousand a second, a host writes fewer.
const LINES_A_SECOND: usize = 200;

fn parse_syslog(lines: &[u8]) -> Ready {
    let mut behind = Vec::new();
    for (at, line) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let second = at / LINES_A_SECOND;
        let head = format!("<190>Jan  1 00:{:02}:{:02} edge1 nginx: ", second / 60 % 60, second % 60);
        behind.extend_from_slice(head.as_bytes());
        behind.extend_from_slice(line);
    }
    let format = Format::json().syslog();
    let mut reader = Reader::new();
    let (mut plain, mut at) = (lines.split(|byte| *byte == b'\n'), 0);
    reader.lines(&format, AT_START, &behind, |_, parsed| {
        let (line, second) = (plain.next().expect("as many as lines"), at / LINES_A_SECOND);
        let open =
            std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('}')).expect("the log is JSON");
        let time = format!("1970-01-01T00:{:02}:{:02}Z", second / 60 % 60, second % 60);
        let added = format!(r#","syslog_time":"{time}","syslog_host":"edge1","syslog_tag":"nginx"}}"#);
        let record = parsed.expect("the log is JSON");
        assert_eq!(record.text, [open, &added].concat().as_bytes());
        at += 1;
    });
    assert!(plain.next() == Some(b"") && plain.next().is_none(), "a line is no record");
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || {
            reader.lines(&format, AT_START, &behind, |_, parsed| {
                black_box(parsed.is_ok());
            });
        }),
    }
}

/// Lines as records of `http_requests`.
fn map(lines: &[u8]) -> Ready {
    let mut mapper = Mapper::new(&HTTP_REQUESTS, Arc::default());
    let mut parser = Parser::new();
    parser.lines(lines, 0, |frame, parsed| {
        let record = parsed.expect("the log is JSON");
        let line: Value = serde_json::from_slice(frame.line).expect("the log is JSON");
        let made: Value = serde_json::from_slice(mapper.map(&record, 0).own.text).expect("an object");
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        for (name, same) in [
            ("ClientIP", "remote_addr"),
            ("EdgeResponseStatus", "status"),
            ("EdgeResponseBytes", "bytes_sent"),
        ] {
            assert_eq!(made[name], line[same], "{name}");
        }
        assert_eq!(made["ClientRequestPath"], *text("uri").split('?').next().expect("a part"));
        assert_eq!(made["CacheCacheStatus"], text("cache_status").to_lowercase());
        assert!(made["EdgeStartTimestamp"].is_i64() && made.as_object().is_some_and(|made| made.len() >= 20));
    });
    let lines = lines.to_vec();
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || {
            parser.lines(&lines, 0, |_, parsed| {
                black_box(parsed.map(|record| mapper.map(&record, 0).own.text.len()).ok());
            });
        }),
    }
}

/// A line's projection, by the other implementation; the log's values are spelled as serde_json spells them.
fn projected_by_serde(line: &str) -> String {
    let raw: std::collections::HashMap<&str, &serde_json::value::RawValue> =
        serde_json::from_str(line).expect("the log is JSON");
    let members = FIELDS.map(|field| format!("\"{field}\":{}", raw[field]));
    format!("{{{}}}", members.join(","))
}

fn fill(lines: &[u8], output: &Output, expected: fn(&str) -> String) -> Ready {
    let mut filler = Filler::new(output, SLAB);
    let mut got = Vec::new();
    filler.fill(lines, |run| got.extend_from_slice(run.bytes));
    let text = std::str::from_utf8(lines).expect("the log is UTF-8");
    let expected: String = text.lines().map(|line| expected(line) + "\n").collect();
    assert!(got == expected.as_bytes(), "{output:?} is not what serde_json makes of it");
    let lines = lines.to_vec();
    Ready {
        input_bytes: lines.len() as u64,
        pass: Box::new(move || filler.fill(&lines, |run| _ = black_box(run.bytes.len()))),
    }
}

fn bytes_of(slabs: &[Records]) -> u64 {
    slabs.iter().map(|slab| slab.bytes.len() as u64).sum()
}

fn encode(lines: &[u8], output: &Output, kind: CodecKind, level: Level) -> Ready {
    let slabs = records(lines, output, SLAB);
    let mut codec = codec(kind, level);
    for slab in &slabs {
        let part = Part::encode(&mut *codec, &slab.run());
        let body = piece_of(Container::Members, kind, &[part]).concat();
        assert!(decode(kind, &body[..]).expect("a good body") == slab.bytes, "{kind:?} {level:?}");
    }
    let mut out = Vec::new();
    Ready {
        input_bytes: bytes_of(&slabs),
        pass: Box::new(move || {
            for slab in &slabs {
                out.clear();
                codec.encode(Form::ONLY, &slab.run(), &mut out);
                black_box(out.len());
            }
        }),
    }
}

/// CRC-32 by its definition.
fn crc_by_bits(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

fn crc(lines: &[u8]) -> Ready {
    assert_eq!(crc32fast::hash(lines), crc_by_bits(lines));
    let lines = lines.to_vec();
    Ready { input_bytes: lines.len() as u64, pass: Box::new(move || _ = black_box(crc32fast::hash(&lines))) }
}

/// Segments of 16 KiB to one gzip member: the container that costs most.
fn join_batch(lines: &[u8]) -> Ready {
    let kind = CodecKind::Gzip;
    let slabs = records(lines, &projection(), 16 << 10);
    let mut codec = codec(kind, Level::Fast);
    let parts: Vec<Part> = slabs.iter().map(|slab| Part::encode(&mut *codec, &slab.run())).collect();
    let joined = move || {
        let pieces = parts.chunks(4).map(|parts| piece_of(Container::Single, kind, parts)).collect();
        join(Container::Single, kind, pieces).expect("good pieces")
    };
    let expected: Vec<u8> = slabs.iter().flat_map(|slab| &slab.bytes).copied().collect();
    assert!(decode(kind, &joined().concat()[..]).expect("a good body") == expected);
    Ready { input_bytes: bytes_of(&slabs), pass: Box::new(move || drop(black_box(joined()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_gives_the_right_answer() {
        let lines = crate::runs::lines(64 << 10);
        for stage in &STAGES {
            let mut ready = (stage.ready)(&lines);
            (ready.pass)();
            assert!(ready.input_bytes > 20 << 10, "{}", stage.name);
        }
    }

    #[test]
    fn the_definition_of_crc_32_is_right() {
        assert_eq!(crc_by_bits(b"123456789"), 0xcbf4_3926);
    }
}

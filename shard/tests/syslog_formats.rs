//! Formats behind syslog heads: what a head says is the record's last members, and everything else is as without it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::parse::{Fault, Lines, Reason};
use edgepush_shard::record::ShapeId;
use edgepush_shard::testing::format::read_all;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// 2026-11-21T10:00:00Z; one hour east.
const NOW: Stand<'static> = Stand { wall: 1_795_255_200_000_000_000, ..Stand::of(b"", 1) };
const HEAD: &str = "<190>Nov 20 23:58:00 edge1 nginx: ";
const ADDED: &str = r#""syslog_time":"2026-11-20T23:58:00Z","syslog_host":"edge1","syslog_tag":"nginx""#;

/// The texts of a chunk's records, and its faults, with the offsets and lines that they are given with.
#[track_caller]
fn read(format: &str, stand: Stand<'_>, bytes: &[u8]) -> (Vec<Result<String, Fault>>, Lines) {
    let format = Format::parse(format).unwrap();
    let mut all = Vec::new();
    let told = Reader::new().lines(&format, stand, bytes, |frame, parsed| {
        let mark = if frame.offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let start = frame.offset + mark;
        assert_eq!(&bytes[start..start + frame.line.len()], frame.line);
        assert!(start == mark || bytes[frame.offset - 1] == b'\n');
        all.push(parsed.map(|record| {
            for member in record.members {
                assert!(serde_json::from_slice::<Value>(member.value.of(record.text)).is_ok());
            }
            String::from_utf8(record.text.to_vec()).unwrap()
        }));
    });
    (all, told.lines)
}

#[track_caller]
fn check(format: &str, line: &str, expected: &str) {
    let (got, lines) = read(format, NOW, line.as_bytes());
    assert_eq!(got, [Ok(expected.to_owned())], "{line}");
    assert_eq!(lines, Lines { all: 1, blank: 0 });
    // Among others, and with marks.
    let many = format!("{line}\n").repeat(40);
    let (got, _) = read(format, NOW, many.as_bytes());
    assert!(got.len() == 40 && got.iter().all(|got| got.as_deref() == Ok(expected)), "{got:?}");
}

#[test]
fn json_gets_what_its_head_says() {
    check("syslog:json", &format!(r#"{HEAD}{{"a":1, "b":"x"}}"#), &format!(r#"{{"a":1, "b":"x",{ADDED}}}"#));
    check("syslog", &format!(r#"{HEAD}{{}}"#), &format!("{{{ADDED}}}"));
    check("syslog:auto", &format!(r#"{HEAD} {{ }} "#), &format!(" {{ {ADDED}}}"));
    let some = r#""syslog_tag":"app""#;
    check("syslog", r#"<14>app: {"a":{"b":[]}}"#, &format!(r#"{{"a":{{"b":[]}},{some}}}"#));
    check("syslog", r#"<14>{"a":1} "#, r#"{"a":1} "#);
    check("syslog", r#"{"a":1, "b" : 2}"#, r#"{"a":1, "b" : 2}"#);
}

#[test]
fn a_format_is_written_as_it_is_read() {
    for (text, written) in [
        ("syslog", "syslog"),
        ("syslog:auto", "syslog"),
        ("syslog: json", "syslog:json"),
        ("syslog:syslog:json", "syslog:json"),
        ("syslog:nginx:$a $b", "syslog:nginx:$a $b"),
    ] {
        let format = Format::parse(text).unwrap();
        assert_eq!((format.to_string(), format.is_behind_heads()), (written.to_owned(), true));
        assert_eq!(Format::parse(written), Ok(format.clone().syslog()));
    }
    assert_eq!(Format::json().syslog(), Format::parse("syslog:json").unwrap());
    assert_ne!(Format::json().syslog(), Format::json());
    for (text, wrong) in
        [("syslog:", "must be"), ("syslog:jsom", "did you mean json"), ("syslogs", "did you mean syslog")]
    {
        assert!(Format::parse(text).unwrap_err().contains(wrong), "{text}");
    }
}

#[test]
fn names_in_a_head_are_escaped() {
    let line = b"<14>1 - h\"\\\xff a\" - - - {\"a\":1}";
    let (got, _) = read("syslog:json", NOW, line);
    assert_eq!(
        got,
        [Ok("{\"a\":1,\"syslog_host\":\"h\\\"\\\\\u{fffd}\",\"syslog_tag\":\"a\\\"\"}".to_owned())]
    );
}

#[test]
fn a_member_that_a_record_has_is_its_own() {
    let own = r#"{"syslog_host":7,"a":1}"#;
    let rest = r#""syslog_time":"2026-11-20T23:58:00Z","syslog_tag":"nginx""#;
    check("syslog", &format!("{HEAD}{own}"), &format!(r#"{{"syslog_host":7,"a":1,{rest}}}"#));
    let own = r#"{"syslog_tag":null,"syslog_host":7,"syslog_time":[]}"#;
    check("syslog", &format!("{HEAD}{own}"), own);
    // The same names, of which none was added.
    check("syslog", r#"<14>{"syslog_tag":null}"#, r#"{"syslog_tag":null}"#);
    let format = "syslog:nginx:$syslog_host $x";
    check(format, &format!("{HEAD}a b"), &format!(r#"{{"syslog_host":"a","x":"b",{rest}}}"#));
}

#[test]
fn a_record_of_text_gets_them_too() {
    let line = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326"#;
    let (plain, _) = read("common", NOW, line.as_bytes());
    let plain = plain[0].as_ref().unwrap().strip_suffix('}').unwrap();
    for format in ["syslog:common", "syslog", "syslog:auto", "syslog:syslog:common"] {
        check(format, &format!("{HEAD}{line}"), &format!("{plain},{ADDED}}}"));
        check(format, line, &format!("{plain}}}"));
        check(format, &format!("<14>{line}"), &format!("{plain}}}"));
    }
    check("syslog:logfmt", &format!("{HEAD}a=1 b"), &format!(r#"{{"a":"1","b":true,{ADDED}}}"#));
    check("syslog:csv:a,b", &format!("{HEAD}1,\"x\""), &format!(r#"{{"a":"1","b":"x",{ADDED}}}"#));
    check("syslog:tsv:a,b", "1\t2", r#"{"a":"1","b":"2"}"#);
}

#[test]
fn haproxy_drops_its_head_and_syslog_keeps_it() {
    let line =
        r#"::1:1 [21/Nov/2026:10:11:12.123] w a/s 0/0/1/1/1 200 2 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#;
    let (plain, _) = read("haproxy", NOW, line.as_bytes());
    let plain = plain[0].as_ref().unwrap();
    for head in [
        "<134>Nov 21 10:11:12 haproxy[123]: ",
        "Nov 21 10:11:12 lb1 haproxy[123]: ",
        "<134>1 - - haproxy 1 - - ",
    ] {
        check("haproxy", &format!("{head}{line}"), plain);
        check("auto", &format!("{head}{line}"), plain);
    }
    let added = r#","syslog_time":"2026-11-21T10:11:12Z","syslog_host":"lb1","syslog_tag":"haproxy"}"#;
    let whole = format!("{}{added}", plain.strip_suffix('}').unwrap());
    check("syslog:haproxy", &format!("Nov 21 10:11:12 lb1 haproxy[123]: {line}"), &whole);
    check("syslog", &format!("Nov 21 10:11:12 lb1 haproxy[123]: {line}"), &whole);
}

#[test]
fn a_line_that_names_columns_may_have_a_head() {
    let bytes = format!("{HEAD}a,b\n{HEAD}1,2\n{HEAD}\n3,4\n");
    let (got, lines) = read("syslog:csv", Stand { wall: NOW.wall, ..Stand::of(b"", 0) }, bytes.as_bytes());
    let first = format!(r#"{{"a":"1","b":"2",{ADDED}}}"#);
    assert_eq!(got, [Ok(first), Ok(r#"{"a":"3","b":"4"}"#.to_owned())]);
    assert_eq!(lines, Lines { all: 4, blank: 2 });
    let fields = format!("{HEAD}#Fields: a b");
    let head = format!("{fields}\n1");
    let stand = Stand { wall: NOW.wall, ..Stand::of(head.as_bytes(), 99) };
    let (got, lines) = read("syslog:w3c", stand, format!("{HEAD}1 2\n{HEAD}#Date: x\n").as_bytes());
    assert_eq!(got, [Ok(format!(r#"{{"a":"1","b":"2",{ADDED}}}"#))]);
    assert_eq!(lines, Lines { all: 2, blank: 1 });
}

#[test]
fn a_fault_is_shown_in_the_line_as_it_came() {
    let at = HEAD.len() as u32;
    for (format, message, reason, column) in [
        ("syslog:json", r#"{"a":x"#, Reason::Cut, 7),
        ("syslog:json", r#"{"a":"x}"#, Reason::Cut, 9),
        ("syslog:json", r#"{"a":{"b":1}"#, Reason::Cut, 13),
        ("syslog:json", r#"{"a":1}}"#, Reason::Trailing, 8),
        ("syslog:json", r#"{"a":1,}"#, Reason::Syntax, 8),
        ("syslog:json", r#"{"a" 1}"#, Reason::Syntax, 6),
        ("syslog:json", "x", Reason::NotAnObject, 1),
        ("syslog:common", r#"192.0.2.1 - - [x"#, Reason::Format, 17),
        ("syslog:csv:a,b", "1", Reason::Format, 2),
        ("syslog:logfmt", "a=1 \"", Reason::Format, 5),
    ] {
        let bare = read(format, NOW, message.as_bytes()).0;
        assert_eq!(bare, [Err(Fault { reason, column })], "{message}");
        for before in ["", &format!("{HEAD}{{\"a\":1}}\n").repeat(30)] {
            let got = read(format, NOW, format!("{before}{HEAD}{message}\n").as_bytes()).0;
            assert_eq!(got.last(), Some(&Err(Fault { reason, column: column + at })), "{message}");
        }
    }
}

#[test]
fn what_is_behind_a_head_is_told() {
    let combined = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 1 "-" "-""#;
    for (format, message, contrary) in
        [("syslog:json", combined, "combined"), ("syslog:combined", r#"{"a":1}"#, "json")]
    {
        let line = format!("{HEAD}{message}\n");
        let told = Reader::new().lines(&Format::parse(format).unwrap(), NOW, line.as_bytes(), |_, _| {});
        assert_eq!(told.contrary, Some(contrary));
    }
}

#[test]
fn a_head_without_a_message_is_a_blank_line() {
    for format in ["syslog:json", "syslog:common"] {
        let (got, lines) = read(format, NOW, format!("{HEAD}\n\n<14>\r\n").as_bytes());
        assert_eq!((got.len(), lines), (0, Lines { all: 3, blank: 3 }));
    }
}

#[test]
fn bare_lines_stay_byte_for_byte_among_others() {
    let bare = "{\"a\" : 1,\"a\":2}\t";
    let bytes = format!("\u{feff}{bare}\r\r\n{HEAD}{{\"a\":1}}\r\n{bare}\n{bare}\r\r\n\n{HEAD}{{\"a\":1}}");
    let (got, lines) = read("syslog", Stand { wall: NOW.wall, ..Stand::of(b"", 0) }, bytes.as_bytes());
    let (cr, headed) = (format!("{bare}\r"), format!(r#"{{"a":1,{ADDED}}}"#));
    assert_eq!(got, [&cr, &headed, bare, &cr, &headed].map(|text| Ok(text.to_owned())));
    assert_eq!(lines, Lines { all: 6, blank: 1 });
    let bytes = format!("\u{feff}{HEAD}{{\"a\":1}}\r\n");
    let (got, _) = read("syslog", Stand { wall: NOW.wall, ..Stand::of(b"", 0) }, bytes.as_bytes());
    assert_eq!(got, [Ok(headed)]);
}

#[test]
fn a_time_without_year_and_zone_gets_them() {
    let line =
        b"<14>Jan  1 01:30:00.25 h a: {}\n<14>2026-01-01T01:30:00+01:00 h a: {}\n<14>Feb 30 00:00:00 h a: {}";
    let rest = r#""syslog_host":"h","syslog_tag":"a"}"#;
    for (wall, first) in [
        (NOW.wall, "2027-01-01T01:30:00.25Z"),
        (0, "1970-01-01T01:30:00.25Z"),
        (-86_400_000_000_000, "1970-01-01T01:30:00.25Z"),
    ] {
        let (got, _) = read("syslog", Stand { wall, ..NOW }, line);
        let of = |time: &str| Ok(format!(r#"{{"syslog_time":"{time}",{rest}"#));
        // What is no time is no part of the head.
        let none = Err(Fault { reason: Reason::NotAnObject, column: 5 });
        assert_eq!(got, [of(first), of("2026-01-01T00:30:00Z"), none], "{wall}");
    }
}

#[test]
fn equal_shapes_are_equal_keys_behind_heads_too() {
    let heads = [HEAD, "<14>app: ", "<14>", "", "Nov 20 23:58:00 haproxy[1]: "];
    for (format, lines) in [
        ("syslog:json", [r#"{"a":1,"b":"x"}"#, r#"{"a":1,"syslog_tag":"x"}"#]),
        ("syslog:csv:a,b", ["1,2", "\"x\",-"]),
        ("syslog:csv:a,syslog_tag", ["1,2", "\"x\",-"]),
    ] {
        let bytes: String = (0..200).map(|at| format!("{}{}\n", heads[at % 5], lines[at / 7 % 2])).collect();
        let mut known: HashMap<ShapeId, Vec<String>> = HashMap::new();
        let mut learned = 0;
        Reader::new().lines(&Format::parse(format).unwrap(), NOW, bytes.as_bytes(), |_, parsed| {
            let record = parsed.unwrap();
            let keys: Vec<_> = record
                .members
                .iter()
                .map(|member| String::from_utf8(member.key.of(record.text).to_vec()).unwrap())
                .collect();
            let object: Map<String, Value> = serde_json::from_slice(record.text).unwrap();
            assert_eq!(object.len(), keys.len(), "a name twice: {keys:?}");
            if record.shape != ShapeId::UNKNOWN {
                learned += 1;
                assert_eq!(known.entry(record.shape).or_insert_with(|| keys.clone()), &keys);
            }
        });
        assert!(learned >= 100, "{format}: {learned}");
    }
}

/// A line as it is, and what may be wrong with it.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let nasty = prop::collection::vec(prop::sample::select(b"{}[]\",:\\ a1-x\0\r\xff".to_vec()), 0..16);
    prop_oneof![
        3 => Just(br#"{"a":1,"b":"x y","c":{"d":[1,2]}}"#.to_vec()),
        1 => Just(br#"{"a":-,"b":0.1, 0.2,"c":}"#.to_vec()),
        1 => Just(b"{\"a\":\"\\xc3\\xa9\",\"b\":000}".to_vec()),
        1 => Just(br#"{"syslog_host":1,"a":"b"}"#.to_vec()),
        1 => Just(br#"{"a":1,"syslog_tag":"x","b":-}"#.to_vec()),
        1 => nasty.clone(),
        2 => nasty.prop_map(|inner| [b"{\"a\":", &inner[..], b"}"].concat()),
    ]
}

/// What a head makes of a record.
fn with(record: &Map<String, Value>, added: &Value) -> Map<String, Value> {
    let mut all = record.clone();
    for (name, value) in added.as_object().unwrap() {
        all.entry(name).or_insert_with(|| value.clone());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_head_adds_its_members_and_changes_nothing_else(
        messages in prop::collection::vec((message(), 0..4_usize), 1..12),
        format in prop::sample::select(vec!["json", "logfmt", "csv:a,b"]),
    ) {
        let heads = [
            ("<190>Nov 20 23:58:00 edge1 nginx: ", json!({"syslog_time": "2026-11-20T23:58:00Z", "syslog_host": "edge1", "syslog_tag": "nginx"})),
            ("<14>1 - - app - - - ", json!({"syslog_tag": "app"})),
            ("<14>2026-11-20T23:58:00.5Z ", json!({"syslog_time": "2026-11-20T23:58:00.5Z"})),
            ("<14>app: ", json!({"syslog_tag": "app"})),
        ];
        let plain = Format::parse(format).unwrap();
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, head) in &messages {
            let (head, added) = &heads[*head];
            // What a message begins with may be part of its head.
            let sure = message.first().is_none_or(|first| b"{\",\\".contains(first));
            let message = &[if sure { &b""[..] } else { b"," }, message].concat();
            bytes.extend_from_slice(&[head.as_bytes(), message, b"\n"].concat());
            expected.extend(read_all(&plain, NOW, message).into_iter().map(|read| match read {
                Ok(record) => Ok(with(&record, added)),
                Err(fault) => Err(Fault { column: fault.column + head.len() as u32, ..fault }),
            }));
        }
        let got = read_all(&plain.syslog(), NOW, &bytes);
        prop_assert_eq!(got, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn lines_behind_heads_may_be_cut_into_chunks_anywhere(
        messages in prop::collection::vec((message(), prop::sample::select(vec!["", HEAD, "<14>a[1]: ", "<14>"])), 1..20),
        format in prop::sample::select(vec!["syslog:json", "syslog:logfmt", "syslog:csv:a,b", "syslog:haproxy"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(message, head)| [head.as_bytes(), message, b"\n"].concat()).collect();
        let format = Format::parse(format).unwrap();
        let whole = read_all(&format, NOW, &bytes);
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&ends)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).flat_map(|cut| read_all(&format, NOW, &bytes[cut[0]..cut[1]])).collect();
        prop_assert_eq!(whole, parts);
    }
}

//! What leaves: pass-through and `EDGEPUSH_FIELDS` (INTERFACE 3).
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Formatter, Output};
use edgepush_shard::ring::RecordSink;

#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    values: Vec<Vec<u8>>,
}

impl RecordSink for Sink {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.values.push(bytes.to_vec());
    }
}

#[track_caller]
fn check_with(output: &Output, lines: &[&str], expected: &[&str]) {
    let (mut parser, mut formatter) = (Parser::new(), Formatter::from(output));
    // Twice: the second time by shapes that are known.
    for _ in 0..2 {
        for (line, expected) in lines.iter().zip(expected) {
            let mut sink = Sink::default();
            let record = parser.parse(line.as_bytes()).expect("a record");
            let (bytes_max, fields_max) = (formatter.bytes_max(&record), formatter.fields_max(&record));
            formatter.write(&record, (0, 0), &mut sink);
            assert_eq!(String::from_utf8_lossy(&sink.bytes), format!("{expected}\n"));
            assert!(sink.bytes.len() <= bytes_max, "{} > {bytes_max}", sink.bytes.len());
            assert!(sink.values.len() <= fields_max);
        }
    }
}

#[track_caller]
fn check(names: &[&str], line: &str, expected: &str) {
    let names = names.iter().map(|name| name.to_string()).collect();
    check_with(&Output::Fields(names), &[line], &[expected]);
}

#[test]
fn pass_through_is_byte_for_byte() {
    let lines = [
        r#"{"b":1e-7,"a":-0.0,"b":1.10,"u":"\/\u00e9é","i":123456789012345678901234567890}"#,
        " \t{ \"a\" :\t[ 1 , {\"x\" : null } ] , \"b\":true }  ",
        "{}",
        " { } ",
        r#"{"huge":1e400,"lone":"\ud800"}"#,
    ];
    check_with(&Output::PassThrough, &lines, &lines);
}

#[test]
fn values_are_marked_without_their_quotes() {
    let line = br#"{"a":"x","b":12,"c":["y"],"d":""}"#;
    let names = ["a", "b", "c", "d"].map(String::from).to_vec();
    for output in [Output::PassThrough, Output::Fields(names)] {
        let (mut parser, mut sink) = (Parser::new(), Sink::default());
        let record = parser.parse(line).unwrap();
        Formatter::from(&output).write(&record, (0, 0), &mut sink);
        assert_eq!(sink.values, [&b"x"[..], b"12", br#"["y"]"#, b""]);
        assert_eq!(sink.bytes, [&line[..], b"\n"].concat());
    }
}

#[test]
fn fields_keep_their_order_and_bytes() {
    let line = r#"{ "a" : 1e-7 , "b":-0.0,"c":1.10,"d":"\/\u00e9","e":98765432109876543210,"f":null}"#;
    check(&["d", "a"], line, r#"{"d":"\/\u00e9","a":1e-7}"#);
    check(
        &["f", "e", "d", "c", "b", "a"],
        line,
        r#"{"f":null,"e":98765432109876543210,"d":"\/\u00e9","c":1.10,"b":-0.0,"a":1e-7}"#,
    );
    check(&["d", "d2", "d"], line, r#"{"d":"\/\u00e9"}"#);
}

#[test]
fn names_are_trimmed_and_case_sensitive() {
    check(&[" a ", "\tB", "", "  "], r#"{"a":1,"b":2}"#, r#"{"a":1}"#);
}

#[test]
fn what_is_missing_is_left_out_and_null_stays() {
    check(&["x", "a", "y", "b", "z"], r#"{"a":null,"b":"s"}"#, r#"{"a":null,"b":"s"}"#);
    check(&["x", "b", "y"], r#"{"a":null,"b":"s"}"#, r#"{"b":"s"}"#);
    check(&["x", "y.z"], r#"{"a":1,"y":5}"#, "{}");
    check(&["a"], "{}", "{}");
}

#[test]
fn the_last_of_duplicates_wins() {
    check(&["a"], r#"{"a":1,"a":"2"}"#, r#"{"a":"2"}"#);
    check(&["o.a"], r#"{"o":{"a":0},"o":{"a":1,"b":5,"a":[2]}}"#, r#"{"o.a":[2]}"#);
    check(&["a"], r#"{"\u0061":1,"a":2}"#, r#"{"a":2}"#);
    check(&["a"], r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#);
}

#[test]
fn an_exact_key_wins_over_a_path() {
    let line = r#"{"a.b":1,"a":{"b":2,"c":3}}"#;
    check(&["a.b", "a.c", "a"], line, r#"{"a.b":1,"a.c":3,"a":{"b":2,"c":3}}"#);
}

#[test]
fn paths_walk_objects_and_arrays() {
    let line = r#"{"r":{"headers":{"UA":["x \"]}", "y"],"0":[]},"n":[[1,[ ]],{"k":"v"}]},"s":"text"}"#;
    check(&["r.headers.UA.0"], line, r#"{"r.headers.UA.0":"x \"]}"}"#);
    check(&["r.headers.UA.1", "s"], line, r#"{"r.headers.UA.1":"y","s":"text"}"#);
    check(&["r.n.0.1", "r.n.1.k", "r.headers.0"], line, r#"{"r.n.0.1":[ ],"r.n.1.k":"v","r.headers.0":[]}"#);
    check(&["r.n.2", "r.n.-1", "r.n.00", "r.n.k", "s.0", "r.headers.UA.0.x", "r."], line, "{}");
    check(
        &["r.headers", "r.headers.UA", "r.n"],
        line,
        concat!(
            r#"{"r.headers":{"UA":["x \"]}", "y"],"0":[]},"r.headers.UA":["x \"]}", "y"],"#,
            r#""r.n":[[1,[ ]],{"k":"v"}]}"#
        ),
    );
}

#[test]
fn a_nested_log_of_a_real_server_is_flattened() {
    let line = concat!(
        r#"{"level":"info","ts":1795227708.7223442,"request":{"remote_ip":"127.0.0.1","method":"GET","#,
        r#""uri":"/static/11.css?v=3","headers":{"Referer":["http://ref.test/9"],"#,
        r#""User-Agent":["weird \"quoted\" \\ ua"]}},"size":32,"status":200,"#,
        r#""resp_headers":{"Server":["nginx/1.22.1"],"Via":["1.1 Caddy"]}}"#
    );
    check(
        &[
            "ts",
            "request.uri",
            "request.headers.User-Agent.0",
            "request.headers.Cookie.0",
            "resp_headers.Via",
        ],
        line,
        concat!(
            r#"{"ts":1795227708.7223442,"request.uri":"/static/11.css?v=3","#,
            r#""request.headers.User-Agent.0":"weird \"quoted\" \\ ua","resp_headers.Via":["1.1 Caddy"]}"#
        ),
    );
}

#[test]
fn output_keys_are_escaped() {
    check(&["q\"\\\u{1}é"], r#"{"q\"\\\u0001é":1}"#, r#"{"q\"\\\u0001é":1}"#);
}

#[test]
fn shapes_that_take_turns_are_told_apart() {
    let lines: Vec<String> = (0..20).map(|n| format!(r#"{{"k{n}":0,"a":{n},"z":"{n}"}}"#)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let expected: Vec<String> = (0..20).map(|n| format!(r#"{{"z":"{n}","a":{n}}}"#)).collect();
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expected[7] = r#"{"z":"7","a":7,"k7":0}"#;
    let names = ["z", "a", "k7"].map(String::from).to_vec();
    check_with(&Output::Fields(names), &lines, &expected);
}

#[test]
fn shapes_too_large_to_learn_are_told_apart() {
    let filler = |n: usize| (0..600).map(|at| format!(r#""f{n}_{at}":0,"#)).collect::<String>();
    let lines = [format!(r#"{{{}"a":1}}"#, filler(1)), format!(r#"{{"a":2,{}"z":0}}"#, filler(2))];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let output = Output::Fields(vec!["a".into()]);
    check_with(&output, &lines, &[r#"{"a":1}"#, r#"{"a":2}"#]);
}

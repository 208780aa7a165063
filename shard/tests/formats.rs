//! Text formats: what lines mean, what is made of them, what is told about those that are none.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::parse::{Fault, Reason};
use edgepush_shard::testing::format::read_all;
use serde_json::{Value, json};

const AT_START: Stand<'static> = Stand::of(b"", 0);

/// The record of one line, and that it is spelled so.
#[track_caller]
fn text_of(format: &str, line: &str) -> String {
    let format = Format::parse(format).unwrap();
    let mut text = String::new();
    Reader::new().lines(&format, AT_START, line.as_bytes(), |_, parsed| {
        text = match parsed {
            Ok(record) => String::from_utf8(record.text.to_vec()).unwrap(),
            Err(Fault { reason, column }) => format!("{} at {column}", reason.as_str()),
        };
    });
    text
}

#[test]
fn a_combined_line_is_a_record() {
    assert_eq!(
        text_of(
            "combined",
            r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a?b=\xC3\xA9 HTTP/1.1" 200 2326 "-" "curl \"8\" \x22\\""#
        ),
        concat!(
            r#"{"remote_addr":"192.0.2.1","remote_user":null,"time_local":"10/Oct/2000:13:55:36 -0700","#,
            r#""request":"GET /a?b=é HTTP/1.1","request_method":"GET","request_uri":"/a?b=é","#,
            r#""server_protocol":"HTTP/1.1","status":200,"body_bytes_sent":2326,"http_referer":null,"#,
            r#""http_user_agent":"curl \"8\" \"\\"}"#
        )
    );
}

#[test]
fn what_is_no_number_is_a_string_and_what_is_none_is_null() {
    let parse = |line: &str| -> Value {
        serde_json::from_str(&text_of("nginx:$status|$request_time|$upstream_response_time|$http_x", line))
            .unwrap()
    };
    let record = |status: Value, time: Value, upstream: Value, x: Value| json!({"status": status, "request_time": time, "upstream_response_time": upstream, "http_x": x});
    assert_eq!(parse("200|0.001|0.1|7"), record(json!(200), json!(0.001), json!(0.1), json!("7")));
    assert_eq!(
        parse("000|+1|0.1, 0.2 : -|"),
        record(json!("000"), json!("+1"), json!("0.1, 0.2 : -"), json!(""))
    );
    assert_eq!(parse("-||-|-"), record(json!(null), json!(null), json!(null), json!(null)));
}

#[test]
fn numbers_keep_their_spelling() {
    let line = "1.10 1e3 -0.0 12345678901234567890";
    let text = text_of("nginx:$status $request_time $msec $bytes_sent", line);
    assert_eq!(text, r#"{"status":1.10,"request_time":1e3,"msec":-0.0,"bytes_sent":12345678901234567890}"#);
}

#[test]
fn values_may_have_in_them_what_follows_them() {
    let user = |line: &str| text_of("combined", line);
    let line = |name: &str| {
        format!(r#"192.0.2.1 - {name} [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "-""#)
    };
    for name in ["a b", "a [b", "[", "a [10/Oct", " - "] {
        let text = user(&line(name));
        assert!(text.contains(&format!(r#""remote_user":"{name}","#)), "{text}");
    }
    let text = text_of("nginx:escape=none \"$http_a\" \"$http_b\"", "\"x\"y\" \"z\"\"");
    assert_eq!(text, r#"{"http_a":"x\"y","http_b":"z\""}"#);
}

#[test]
fn a_line_of_another_form_is_a_reject_with_its_place() {
    let good = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "-""#;
    assert!(text_of("combined", good).starts_with('{'));
    for (line, column) in [
        (&good[..good.len() - 1], good.len()),
        (r#"{"a":1}"#, 8),
        ("192.0.2.1 - - [yesterday] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"", 16),
        (r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /"x HTTP/1.1" 200 1 "-" "-""#, 50),
        ("hello", 6),
    ] {
        assert_eq!(text_of("combined", line), format!("format at {column}"), "{line}");
    }
    assert_eq!(text_of("combined", &format!("{good} more")), format!("format at {}", good.len() + 1));
}

#[test]
fn haproxy_lines_have_captures_or_none() {
    let head =
        r#"::1:5678 [21/Nov/2026:10:11:12.123] web~ app/s1 0/0/1/-1/+12 503 217 - - sC-- 1/1/0/0/+3 0/0"#;
    let all = [
        format!(r#"{head} "GET /a#22b HTTP/1.1""#),
        format!(r#"{head} {{a.example|}} {{}} "<BADREQ>""#),
        format!(r#"{head} {{x y}} "GET /a#22b HTTP/1.1""#),
        format!(r#"Nov 21 10:11:12 edge1 haproxy[123]: {head} "GET /a#22b HTTP/1.1""#),
        format!(r#"<134>Nov 21 10:11:12 haproxy[123]: {head} {{a.example|}} {{}} "<BADREQ>""#),
    ];
    for round in 0..2 {
        let read = read_all(&Format::parse("haproxy").unwrap(), AT_START, all.join("\n").as_bytes());
        let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
        for record in &read {
            assert_eq!(record["client_ip"], "::1", "{round}");
            assert_eq!(record["client_port"], 5678);
            assert_eq!(record["request_date"], "21/Nov/2026:10:11:12.123");
            assert_eq!((&record["Tr"], &record["Ta"]), (&json!(-1), &json!("+12")));
        }
        assert_eq!(read[0]["request_uri"], "/a\"b");
        assert_eq!(read[1]["captured_request_headers"], "a.example|");
        assert_eq!(read[1]["captured_response_headers"], "");
        assert_eq!((&read[1]["http_request"], &read[1]["request_uri"]), (&json!("<BADREQ>"), &Value::Null));
        assert_eq!(read[2]["captured_headers"], "x y");
        assert_eq!((&read[3], &read[4]), (&read[0], &read[1]));
    }
}

#[test]
fn varnish_and_squid_lines_are_records() {
    let varnish =
        r#"varnish:%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i" %{Varnish:time_firstbyte}x"#;
    let line = r#"192.0.2.1 - - [21/Nov/2026:10:11:12 +0000] "GET http://a/ HTTP/1.1" 200 0 "-" "a\x22\"b" 0.000123"#;
    let record: Value = serde_json::from_str(&text_of(varnish, line)).unwrap();
    assert_eq!(record["http_user_agent"], "a\"\"b");
    assert_eq!((&record["time_firstbyte"], &record["request_uri"]), (&json!(0.000123), &json!("http://a/")));
    let line =
        "1286536309.450    929 192.0.2.4 TCP_MISS/200 597 GET http://a/b - DIRECT/203.0.113.5 text/html";
    let record: Value = serde_json::from_str(&text_of("squid", line)).unwrap();
    assert_eq!(
        (&record["elapsed"], &record["result_code"], &record["status"]),
        (&json!(929), &json!("TCP_MISS"), &json!(200))
    );
    assert_eq!(
        (&record["request_uri"], &record["content_type"]),
        (&json!("http://a/b"), &json!("text/html"))
    );
}

#[test]
fn tables_have_heads_or_given_names() {
    let read =
        |format: &str, bytes: &str| read_all(&Format::parse(format).unwrap(), AT_START, bytes.as_bytes());
    let fault = |column| Fault { reason: Reason::Format, column };
    let rows = read(
        "csv",
        "time,\"a b\",status\r\n1,\"x \"\"y\"\", z\",200\n,-,-\n1,2\n1,2,3,4\n\"1\"x,2,3\n\"1,2,3\n",
    );
    assert_eq!(
        rows[0].as_ref().unwrap(),
        json!({"time": "1", "a b": "x \"y\", z", "status": 200}).as_object().unwrap()
    );
    assert_eq!(
        rows[1].as_ref().unwrap(),
        json!({"time": null, "a b": null, "status": null}).as_object().unwrap()
    );
    assert_eq!(rows[2..].to_vec(), [Err(fault(4)), Err(fault(6)), Err(fault(4)), Err(fault(7))]);
    let rows = read("tsv: host , bytes_sent", "\"a\t1\nb\t007\n");
    assert_eq!(rows[0].as_ref().unwrap(), json!({"host": "\"a", "bytes_sent": 1}).as_object().unwrap());
    assert_eq!(rows[1].as_ref().unwrap(), json!({"host": "b", "bytes_sent": "007"}).as_object().unwrap());
}

#[test]
fn a_tables_head_is_its_sources() {
    let format = Format::parse("csv").unwrap();
    let stand = Stand::of(b"a,b\n1,2\n3,", 8);
    let rows = read_all(&format, stand, b"3,4\na,b\n");
    assert_eq!(rows.len(), 1, "a head that stands there again is no record");
    assert_eq!(rows[0].as_ref().unwrap(), json!({"a": "3", "b": "4"}).as_object().unwrap());
    let mut lines = 0;
    let told = Reader::new().lines(&format, Stand::of(b"a,b", 8), b"3,4\n", |_, parsed| {
        lines += 1;
        assert!(parsed.is_err());
    });
    assert!(told.headless && lines == 1);
}

#[test]
fn w3c_logs_name_their_columns() {
    let head = "#Version: 1.0\n#Fields: date time c-ip cs(User-Agent) sc-status\n";
    let rows = format!(
        "{head}2026-11-21 10:11:12 192.0.2.1 \"a b\" 200\n#Date: x\n2026-11-21\t10:11:12\t192.0.2.1\t-\t000\n"
    );
    for format in ["w3c", "auto"] {
        let rows = read_all(&Format::parse(format).unwrap(), AT_START, rows.as_bytes());
        let row = |agent: Value, status: Value| json!({"date": "2026-11-21", "time": "10:11:12", "c_ip": "192.0.2.1", "cs_user_agent": agent, "sc_status": status});
        assert_eq!(rows.len(), 2);
        assert_eq!(Value::Object(rows[0].clone().unwrap()), row(json!("a b"), json!(200)));
        assert_eq!(Value::Object(rows[1].clone().unwrap()), row(json!(null), json!("000")));
    }
}

#[test]
fn logfmt_has_pairs() {
    let text = text_of("logfmt", r#"at=info  msg="a \"b\" \u00e9" status=200 n=5 x= flag path=/a=b"#);
    assert_eq!(
        text,
        r#"{"at":"info","msg":"a \"b\" é","status":200,"n":"5","x":null,"flag":true,"path":"/a=b"}"#
    );
    for (line, column) in [("hello", 1), ("a=\"b", 5), ("a=\"b\"c", 6), ("a=b =c", 5), ("a\"b=c", 2)] {
        assert_eq!(text_of("logfmt", line), format!("format at {column}"), "{line}");
    }
}

#[test]
fn auto_says_what_it_decided() {
    let combined = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1"#;
    let decided = |stand: Stand<'_>, bytes: &str| {
        let mut ok = 0;
        let told = Reader::new()
            .lines(&Format::auto(), stand, bytes.as_bytes(), |_, parsed| ok += usize::from(parsed.is_ok()));
        (told.decided, ok)
    };
    for (line, name) in [
        (r#"{"a":1}"#.to_owned(), "json"),
        (combined.to_owned(), "common"),
        (format!(r#"{combined} "-" "-""#), "combined"),
        (format!(r#"{combined} "-" "-" "-""#), "main"),
        (format!(r#"www:80 {combined} "-" "-""#), "vhost_combined"),
        ("a=1 b=2".to_owned(), "logfmt"),
        (r#"::1:1 [21/Nov/2026:10:11:12.123] w a/s 0/0/1/1/1 200 2 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#.to_owned(), "haproxy"),
        ("1286536309.450    929 ::1 TCP_MISS/200 597 GET http://a/ - DIRECT/::2 text/html".to_owned(), "squid"),
    ] {
        assert_eq!(decided(AT_START, &format!("\nwhat is this\n{line}\n")), (Some(name), 1), "{line}");
        assert_eq!(decided(AT_START, &line), (Some(name), 1), "{line}");
        let head = format!("{line}\n");
        assert_eq!(decided(Stand::of(head.as_bytes(), 999), "what is this\n").0, Some(name));
    }
    assert_eq!(decided(AT_START, "what is this\n"), (None, 0));
    assert_eq!(decided(Stand::of(b"192.0.2.1 - - [10/O", 99), "what\n"), (None, 0));
}

#[test]
fn lines_of_another_kind_are_told() {
    let combined = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "-""#;
    let told = |format: &str, bytes: &str| {
        Reader::new().lines(&Format::parse(format).unwrap(), AT_START, bytes.as_bytes(), |_, _| {}).contrary
    };
    assert_eq!(told("combined", &format!("{combined}\n{{\"a\":1}}\n")), Some("json"));
    assert_eq!(told("json", &format!("{{\"a\":1}}\n{combined}\n")), Some("combined"));
    assert_eq!(told("csv:a,b", "{\"a\":1}\n"), Some("json"));
    assert_eq!(told("combined", "hello\n"), None);
    assert_eq!(told("json", "hello\n"), None);
}

#[test]
fn mistakes_name_the_place_and_the_remedy() {
    let why = |text: &str| Format::parse(text).unwrap_err();
    assert!(why("nginx:$remote_addr$status [$a]").contains(
        "has $remote_addr$status, which have nothing between them and cannot be told apart: write a space or quotes"
    ));
    assert!(why("apache:%h%u").contains("has %h%u, which have nothing between them"));
    assert_eq!(why("nginx:$a$b $c$d").matches("nothing between them").count(), 2, "all mistakes at once");
    assert!(why("combine").contains("did you mean combined?"), "{}", why("combine"));
    assert!(why("xml").starts_with("must be auto, json, combined"));
    assert!(why("nginx").contains("nginx:<the text"));
    assert!(why("combined:x").contains("takes no text"));
    assert!(why("nginx:nothing").contains("has no field"));
    assert!(why("csv:a,,b").contains("csv:time,host,status"));
    assert!(why("nginx:'$a\n$b'").contains("line end"));
}

#[test]
fn a_field_that_stands_twice_is_two() {
    assert_eq!(
        text_of("nginx:$status $status $request_method $request", "1 2 GET GET / HTTP/1.1"),
        r#"{"status":1,"status_2":2,"request_method":"GET","request":"GET / HTTP/1.1"}"#
    );
}

#[test]
fn bytes_that_are_no_utf_8_are_replaced_and_counted() {
    let format = Format::parse("nginx:[$http_a] [$http_b]").unwrap();
    Reader::new().lines(&format, AT_START, b"[\xff\xc3\xa9] [\\xFF]\n", |_, parsed| {
        let record = parsed.unwrap();
        assert_eq!(
            std::str::from_utf8(record.text).unwrap(),
            "{\"http_a\":\"\u{fffd}é\",\"http_b\":\"\u{fffd}\"}"
        );
        assert_eq!(record.repairs.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(), ["invalid_utf8"]);
    });
}

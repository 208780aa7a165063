//! Frames and heads of syslog: the same messages however they come, and heads as real programs write them.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::limits::TOO_LONG_KEPT_BYTES;
use edgepush_shard::syslog::{Cut, Splitter, TooLong, head};
use edgepush_shard::testing::syslog::{a_head_is_the_begin_of_its_line, split, split_anywhere_is_the_same};
use edgepush_shard::testing::time::{Parts, access_log_times_are, syslog_times_are_near};
use edgepush_shard::time::Time;
use edgepush_shard::zone::Zone;
use proptest::prelude::*;

#[track_caller]
fn check(bytes: &[u8], lines: &str) {
    assert_eq!(
        split(bytes, 1 << 20, &[]).0.escape_ascii().to_string(),
        lines.as_bytes().escape_ascii().to_string()
    );
    for at in 0..=bytes.len() {
        split_anywhere_is_the_same(bytes, 1 << 20, at);
    }
}

#[test]
fn a_connection_of_lines_has_lines() {
    check(b"<34>a: x\n\n<34>a: y\r\n<34>a: z", "<34>a: x\n<34>a: y\n<34>a: z\n");
    check(b"{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n");
    // Nothing that a line begins with makes frames of lines.
    check(b"{\"a\":1}\n8 <34>a: \n", "{\"a\":1}\n8 <34>a: \n");
    check(b"12\n1 2\n123 45\n", "12\n1 2\n123 45\n");
    check(b"1795285000.123 5 192.0.2.1\n", "1795285000.123 5 192.0.2.1\n");
    check(b"12", "12\n");
}

#[test]
fn glibc_ends_messages_with_a_nul() {
    check(b"<13>a: x\0<13>a: y\0", "<13>a: x\n<13>a: y\n");
    check(b"{\"a\":\"\0\"}\n", "{\"a\":\"\0\"}\n");
}

#[test]
fn counted_frames_are_messages_whatever_is_in_them() {
    check(b"8 <34>a: x10 <34>b:\n\ny\n", "<34>a: x\n<34>b:  y\n");
    check(b"9 <34>a: x\n8 <34>a: y\n8 <34>a: z\0", "<34>a: x\n<34>a: y\n<34>a: z\n");
    // The last one is cut.
    check(b"8 <34>a: x20 <34>b: y", "<34>a: x\n<34>b: y\n");
}

#[test]
fn a_frame_without_count_among_counted_ones_is_a_line() {
    check(b"8 <34>a: x<34>b: y\n8 <34>a: z", "<34>a: x\n<34>b: y\n<34>a: z\n");
    check(b"8 <34>a: x{\"a\":1}\n\n8 <34>a: z12 no\n", "<34>a: x\n{\"a\":1}\n<34>a: z\n12 no\n");
}

#[test]
fn what_is_too_long_is_kept_apart() {
    let (max, long) = (100, "x".repeat(101));
    let kept = |kept: &[u8]| vec![TooLong { kept: kept.to_vec(), length: kept.len() as u64 }];
    let lines = format!("<34>{}\n<34>{long}\n{}", &long[5..], &long[1..]);
    let got = split(lines.as_bytes(), max, &[]);
    assert_eq!(got.0, format!("<34>{}\n{}\n", &long[5..], &long[1..]).as_bytes());
    assert_eq!(got.1, kept(format!("<34>{long}").as_bytes()));
    let frames = format!("101 <34>{}100 <34>{}", &long[4..], &long[5..]);
    let got = split(frames.as_bytes(), max, &[]);
    assert_eq!(got.0, format!("<34>{}\n", &long[5..]).as_bytes());
    assert_eq!(got.1, kept(format!("<34>{}", &long[4..]).as_bytes()));
    for at in 0..frames.len() {
        split_anywhere_is_the_same(frames.as_bytes(), max, at);
        split_anywhere_is_the_same(lines.as_bytes(), max, at);
    }
}

#[test]
fn of_a_long_message_little_is_kept() {
    const LENGTH: usize = 10 << 20;
    for framing in ["", "10485760 "] {
        let mut splitter = Splitter::new(1 << 20);
        let mut out = Vec::new();
        splitter.push(format!("{framing}<34>").as_bytes(), &mut out);
        let piece = vec![b'x'; 1000];
        let mut left = LENGTH - 4;
        while left > 0 {
            let here = left.min(piece.len());
            assert_eq!(splitter.push(&piece[..here], &mut out).messages, 0);
            assert!(splitter.kept_bytes() <= 1 << 20);
            left -= here;
        }
        let cut = splitter.push(b"\n", &mut out);
        let long: Vec<_> = splitter.too_long().collect();
        assert_eq!((long.len(), long[0].kept.len(), long[0].length), (1, TOO_LONG_KEPT_BYTES, LENGTH as u64));
        assert_eq!(cut, if framing.is_empty() { Cut { messages: 0, too_long: 1 } } else { Cut::default() });
        assert!(out.is_empty());
    }
}

/// 2026-11-21T10:00:00Z
const WALL: Time = Time { seconds: 1_795_255_200, nanos: 0 };

/// A line, and what its head says: time, host, tag, message.
type Golden = (&'static str, [Option<&'static str>; 3], &'static str);

#[rustfmt::skip]
const GOLDEN: [Golden; 47] = [
    // nginx, with and without a host, with other tags and priorities.
    (r#"<190>Nov 20 23:58:00 edge1 nginx: {"a":1}"#, [Some("2026-11-20T23:58:00Z"), Some("edge1"), Some("nginx")], r#"{"a":1}"#),
    (r#"<190>Nov 20 23:58:00 nginx: {"a":1}"#, [Some("2026-11-20T23:58:00Z"), None, Some("nginx")], r#"{"a":1}"#),
    (r#"<190>Nov  2 03:04:05 edge-1.example.com nginx_edge: 192.0.2.1 - - [20/Nov/2026:23:58:00 +0000] "GET / HTTP/1.1" 200 1"#, [Some("2026-11-02T03:04:05Z"), Some("edge-1.example.com"), Some("nginx_edge")], r#"192.0.2.1 - - [20/Nov/2026:23:58:00 +0000] "GET / HTTP/1.1" 200 1"#),
    (r#"<187>Nov 20 23:58:00 2001:db8::1 nginx: 2026/11/20 23:58:00 [error] 12#12: *1 open() failed"#, [Some("2026-11-20T23:58:00Z"), Some("2001:db8::1"), Some("nginx")], "2026/11/20 23:58:00 [error] 12#12: *1 open() failed"),
    // HAProxy: local (its default), rfc3164, rfc5424, timed, short.
    (r#"<134>Nov 21 10:00:00 haproxy[123]: 192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www app/s1 0/0/1/2/3 200 5 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#, [Some("2026-11-21T10:00:00Z"), None, Some("haproxy")], r#"192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www app/s1 0/0/1/2/3 200 5 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#),
    ("<134>Nov 21 10:00:00 lb1 haproxy[123]: Proxy www started.", [Some("2026-11-21T10:00:00Z"), Some("lb1"), Some("haproxy")], "Proxy www started."),
    (r#"<134>1 2026-11-21T10:00:00.123456+00:00 lb1 haproxy 123 - - {"a":1}"#, [Some("2026-11-21T10:00:00.123456Z"), Some("lb1"), Some("haproxy")], r#"{"a":1}"#),
    (r#"<6>2026-11-21T10:00:00.123456+01:00 192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www"#, [Some("2026-11-21T09:00:00.123456Z"), None, None], "192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www"),
    (r#"<6>192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www"#, [None, None, None], "192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www"),
    (r#"<134>{"a":1}"#, [None, None, None], r#"{"a":1}"#),
    // varnishncsa | logger: util-linux over /dev/log, over the network in both forms.
    (r#"<13>Nov 21 10:00:00 varnish: {"a":1}"#, [Some("2026-11-21T10:00:00Z"), None, Some("varnish")], r#"{"a":1}"#),
    (r#"<13>Nov 21 10:00:00 cache1 varnishncsa[77]: 192.0.2.1 - - [21/Nov/2026:10:00:00 +0000] "GET http://a/ HTTP/1.1" 200 1 "-" "-""#, [Some("2026-11-21T10:00:00Z"), Some("cache1"), Some("varnishncsa")], r#"192.0.2.1 - - [21/Nov/2026:10:00:00 +0000] "GET http://a/ HTTP/1.1" 200 1 "-" "-""#),
    (r#"<13>1 2026-11-21T10:00:00.543210+00:00 cache1 varnish - - [timeQuality tzKnown="1" isSynced="1" syncAccuracy="167000"] {"a":1}"#, [Some("2026-11-21T10:00:00.543210Z"), Some("cache1"), Some("varnish")], r#"{"a":1}"#),
    ("<13>1 2026-11-21T10:00:00.543210+00:00 cache1 root - - - hello", [Some("2026-11-21T10:00:00.543210Z"), Some("cache1"), Some("root")], "hello"),
    // busybox logger and syslogd -R.
    ("<13>Nov 21 10:00:00 root: hello", [Some("2026-11-21T10:00:00Z"), None, Some("root")], "hello"),
    ("<13>Nov 21 10:00:00 router root: hello", [Some("2026-11-21T10:00:00Z"), Some("router"), Some("root")], "hello"),
    // rsyslog: traditional, with ISO times, RFC 5424, what it writes into files, CEE.
    ("<165>Nov 21 10:00:00 web1 sshd[998]: Accepted publickey for a from 192.0.2.9 port 1 ssh2", [Some("2026-11-21T10:00:00Z"), Some("web1"), Some("sshd")], "Accepted publickey for a from 192.0.2.9 port 1 ssh2"),
    (r#"<30>2026-11-21T10:00:00.123456+02:00 web1 docker/abc[1]: {"a":1}"#, [Some("2026-11-21T08:00:00.123456Z"), Some("web1"), Some("docker/abc")], r#"{"a":1}"#),
    (r#"<30>1 2026-11-21T10:00:00.123456+02:00 web1 app 12 - [origin software="rsyslogd"][x@1 a="\"]\\"] {"a":1}"#, [Some("2026-11-21T08:00:00.123456Z"), Some("web1"), Some("app")], r#"{"a":1}"#),
    (r#"Nov 20 23:58:00 edge1 nginx: {"a":1}"#, [Some("2026-11-20T23:58:00Z"), Some("edge1"), Some("nginx")], r#"{"a":1}"#),
    ("Nov  2 23:58:00 edge1 CRON[77]: (root) CMD (true)", [Some("2026-11-02T23:58:00Z"), Some("edge1"), Some("CRON")], "(root) CMD (true)"),
    (r#"2026-11-20T23:58:00.654321+00:00 edge1 nginx: {"a":1}"#, [Some("2026-11-20T23:58:00.654321Z"), Some("edge1"), Some("nginx")], r#"{"a":1}"#),
    ("2026-11-20T23:58:00.654321-08:00 edge1 haproxy[9]: x", [Some("2026-11-21T07:58:00.654321Z"), Some("edge1"), Some("haproxy")], "x"),
    (r#"<190>Nov 20 23:58:00 edge1 nginx: @cee: {"a":1}"#, [Some("2026-11-20T23:58:00Z"), Some("edge1"), Some("nginx")], r#"{"a":1}"#),
    (r#"<190>Nov 20 23:58:00 edge1 nginx: @cee:{"a":1}"#, [Some("2026-11-20T23:58:00Z"), Some("edge1"), Some("nginx")], r#"{"a":1}"#),
    (r#"<190>Nov 20 23:58:00 edge1 {"a":1}"#, [Some("2026-11-20T23:58:00Z"), Some("edge1"), None], r#"{"a":1}"#),
    (r#"<190>Nov 20 23:58:00 edge1 nginx:{"a":1}"#, [Some("2026-11-20T23:58:00Z"), Some("edge1"), Some("nginx")], r#"{"a":1}"#),
    // syslog-ng: BSD with a chain of hosts, with a fraction, with ISO times, IETF.
    ("<13>Nov 21 10:00:00 src@web1/relay app[3]: x", [Some("2026-11-21T10:00:00Z"), Some("src@web1/relay"), Some("app")], "x"),
    ("<13>Nov 21 10:00:00.123 web1 app[3]: x", [Some("2026-11-21T10:00:00.123Z"), Some("web1"), Some("app")], "x"),
    ("<13>2026-11-21T10:00:00+00:00 web1 app[3]: x", [Some("2026-11-21T10:00:00Z"), Some("web1"), Some("app")], "x"),
    ("<13>1 2026-11-21T10:00:00+00:00 web1 app 3 - - \u{feff}x", [Some("2026-11-21T10:00:00Z"), Some("web1"), Some("app")], "x"),
    // The examples of the two papers.
    ("<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8", [Some("2026-10-11T22:14:15Z"), Some("mymachine"), Some("su")], "'su root' failed for lonvick on /dev/pts/8"),
    ("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", [Some("2027-02-05T17:32:18Z"), None, None], "10.0.0.99 Use the BFG!"),
    ("<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.", [Some("2003-08-24T12:14:15.000003Z"), Some("192.0.2.1"), Some("myproc")], "%% It's time to make the do-nuts."),
    (r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application"#, [Some("2003-10-11T22:14:15.003Z"), Some("mymachine.example.com"), Some("evntslog")], "An application"),
    (r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [a@1 b="3"][c@1 class="high"]"#, [Some("2003-10-11T22:14:15.003Z"), Some("mymachine.example.com"), Some("evntslog")], ""),
    ("<34>1 - - - - - -", [None, None, None], ""),
    ("<34>1 - - - - - - x", [None, None, None], "x"),
    // systemd and the kernel.
    ("<30>Nov 21 10:00:00 web1 systemd[1]: Started nginx.service.", [Some("2026-11-21T10:00:00Z"), Some("web1"), Some("systemd")], "Started nginx.service."),
    ("<4>Nov 21 10:00:00 web1 kernel: [12.3] x", [Some("2026-11-21T10:00:00Z"), Some("web1"), Some("kernel")], "[12.3] x"),
    // Programs that write nothing but a priority, and a year where there should be none.
    ("<14>message of a program", [None, None, None], "message of a program"),
    ("<14>app: message of a program", [None, None, Some("app")], "message of a program"),
    ("<189>Nov 21 2026 10:00:00 sw1 app: x", [Some("2026-11-21T10:00:00Z"), Some("sw1"), Some("app")], "x"),
    // What looks like a structured data element and is none is the message's; a year nearest to now.
    ("<34>1 2026-11-21T10:00:00Z h app - - [not closed", [Some("2026-11-21T10:00:00Z"), Some("h"), Some("app")], "[not closed"),
    ("<34>Jan  1 00:00:00 h app: x", [Some("2027-01-01T00:00:00Z"), Some("h"), Some("app")], "x"),
    ("<34>May 22 00:00:00 h app: x", [Some("2027-05-22T00:00:00Z"), Some("h"), Some("app")], "x"),
    ("<34>May 23 00:00:00 h app: x", [Some("2026-05-23T00:00:00Z"), Some("h"), Some("app")], "x"),
];

#[test]
fn heads_as_real_programs_write_them() {
    for (line, expected, message) in GOLDEN {
        let head = head::read(line.as_bytes()).unwrap_or_else(|| panic!("no head: {line}"));
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let mut time = Vec::new();
        let timed = head.time.is_some_and(|stamp| stamp.write(WALL, &Zone::default(), &mut time));
        let time = timed.then(|| time[1..time.len() - 1].to_vec());
        let got = [text(time.as_deref()), text(head.host), text(head.tag)];
        assert_eq!(got.each_ref().map(Option::as_deref), expected, "{line}");
        assert_eq!(String::from_utf8_lossy(head.message), message, "{line}");
        a_head_is_the_begin_of_its_line(line.as_bytes());
    }
}

#[test]
fn lines_without_a_head_have_none() {
    for line in [
        "",
        " ",
        "<",
        "<>",
        "<192>x",
        "<1a>x",
        "<1234>x",
        r#"{"a":1}"#,
        r#" {"time":"Nov 21 10:00:00 h a: b"}"#,
        r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "-" "say""#,
        r#"2001:db8::1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "-" "say""#,
        r#"a.example:443 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "-" "x: y""#,
        r#"Nov.example:443 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "-" "x: y""#,
        r#"192.0.2.1:5000 [21/Nov/2026:10:00:00.123] www app/s1 0/0/1/2/3 200 5 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#,
        "time=2026-11-21T10:00:00Z level=info msg=\"a: b\"",
        "level=info ts=2026-11-21T10:00:00Z a: b",
        "1795255200.123    5 192.0.2.1 TCP_HIT/200 100 GET http://a/ - HIER_NONE/- text/html",
        "2026-11-21 10:00:00 192.0.2.1 GET /a: 200",
        "2026-11-21\t10:00:00\tFRA1\t100\t192.0.2.1\tGET\ta: b",
        "2026-11-21T10:00:00Z INFO starting up",
        "2026-11-21T10:00:00 host app: no zone",
        "2026-11-21T10:00:00Z ERROR: no host",
        r#"[2026-11-21T10:00:00.000Z] "GET / HTTP/1.1" 200 - 0 10 1 0 "-" "x: y""#,
        "2026-11-21T10:00:00Z,192.0.2.1,a: b",
        "2026/11/21 10:00:00 [error] 12#12: *1 x",
        "Nov 21 10:00:00 no tag in here",
        "Nov 21 10:00:00 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /a: HTTP/1.1\" 200",
        "Nov 32 10:00:00 h a: b",
        "Nov 21 24:00:00 h a: b",
        "Nix 21 10:00:00 h a: b",
        "#Fields: date time",
        "Novel: x",
        "Nov 21 10:00:00 12: x",
        "Nov 21 10:00:00 -: x",
        "Nov 21 10:00:00 - a: x",
        "a,b: c,d",
    ] {
        assert_eq!(head::read(line.as_bytes()), None, "{line}");
    }
}

/// What jiff says of parts of a time, in UTC.
fn seconds((year, month, day, hour, minute, second): Parts) -> Option<i64> {
    let [month, day, hour, minute, second] =
        [month, day, hour, minute, second].map(|part| i8::try_from(part).ok());
    let time = jiff::civil::DateTime::new(year, month?, day?, hour?, minute?, second?, 0).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Text that could be taken for something else.
fn nasty(alphabet: &'static [u8], most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(alphabet.to_vec()), 1..=most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn times_are_what_jiff_says(
        parts in (0..10_000_i16, 0..14_u8, 0..33_u8, 0..26_u8, 0..62_u8, 0..62_u8),
        nanos in any::<Option<u32>>(),
        zone in any::<Option<i16>>(),
        wall in prop_oneof![Just(WALL.seconds), any::<i64>()],
    ) {
        access_log_times_are(parts, nanos, zone, seconds);
        syslog_times_are_near(parts, wall, zone.unwrap_or(0), seconds);
    }

    #[test]
    fn bytes_may_be_split_anywhere(
        pieces in prop::collection::vec(prop_oneof![
            Just(b"8 <34>a: x".to_vec()),
            Just(b"25 <34>a: \n \0 yyyyyyyyyyyyyyy".to_vec()),
            Just(b"<34>b: y\n".to_vec()),
            Just(b"<34>b: y\0".to_vec()),
            Just(b"{\"a\":1}\n".to_vec()),
            nasty(b"1234 <3>\n\0\rx", 12),
        ], 0..12),
        max in prop::sample::select(vec![3_usize, 8, 20, 1000]),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = pieces.concat();
        split_anywhere_is_the_same(&bytes, max, at.index(bytes.len() + 1));
    }

    #[test]
    fn a_head_that_is_written_is_read(
        host in prop::option::of(nasty(b"aZ9.-_:@/%[]", 12)),
        tag in nasty(b"aZ_-./@()", 12),
        process in prop::option::of(1..99_999_u32),
        body in nasty(b"{}\"\\ :[]<>-a1\xc3\xa9\xff=,@", 20),
        (priority, day, form) in (0..192_u32, 1..29_u32, 0..4_u32),
    ) {
        // A host that ends in a colon is a tag; marks alone are neither.
        let (host, tag) = (host.map(|host| [&host[..], b"a"].concat()), [&tag[..], b"a"].concat());
        let process_text = process.map(|id| format!("[{id}]")).unwrap_or_default();
        let host_text = |nil: &str| host.as_ref().map_or(nil.to_owned(), |host| format!("{} ", String::from_utf8_lossy(host)));
        let tag_text = String::from_utf8_lossy(&tag);
        // Some words are a tag in the host's place, where there is nothing to tell them apart.
        let head = match form {
            0 => format!("<{priority}>Nov {day:2} 01:02:03 {}{tag_text}{process_text}: ", host_text("")),
            1 => format!("<{priority}>2026-11-{day:02}T01:02:03.5Z {}{tag_text}{process_text}: ", host_text("")),
            2 => format!("Nov {day:2} 01:02:03 {}{tag_text}{process_text}: ", host_text("")),
            _ => {
                let process = process.map_or("-".to_owned(), |id| id.to_string());
                format!("<{priority}>1 2026-11-{day:02}T01:02:03Z {}{tag_text} {process} - [a b=\"\\\"]\\\\\"] ", host_text("- "))
            }
        };
        let line = [head.as_bytes(), &body[..]].concat();
        let read = head::read(&line).expect("a head");
        prop_assert_eq!(read.host.map(<[u8]>::to_vec), host, "{}", line.escape_ascii());
        prop_assert_eq!(read.tag, Some(&tag[..]), "{}", line.escape_ascii());
        prop_assert_eq!(read.priority, if form == 2 { None } else { Some(priority as u8) });
        prop_assert_eq!(read.message, &body[..], "{}", line.escape_ascii());
        let mut time = Vec::new();
        prop_assert!(read.time.expect("a time").write(WALL, &Zone::default(), &mut time));
        let fraction = if form == 1 { ".5" } else { "" };
        prop_assert_eq!(String::from_utf8(time).unwrap(), format!("\"2026-11-{day:02}T01:02:03{fraction}Z\""));
    }

    #[test]
    fn whatever_a_line_is_its_head_begins_it(line in nasty(b"<134>Nov 21:-TZ.+[]=\"\\{} a@\n\0\xef\xbb\xbf", 60)) {
        a_head_is_the_begin_of_its_line(&line);
        a_head_is_the_begin_of_its_line(&[b"<134>1 2026-11-21T10:00:00Z ", &line[..]].concat());
        a_head_is_the_begin_of_its_line(&[b"<134>Nov 21 10:00:00 ", &line[..]].concat());
    }
}

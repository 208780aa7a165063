//! Zero allocations per record after warm-up: every way of parsing, and the formatter.
#![allow(unsafe_code)]
use edgepush_shard::dataset::RAW;
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::parse::{Fault, Parser, Reason};
use edgepush_shard::plan::{Envelope, Formatter, HashKey, Output, OutputOptions};
use edgepush_shard::record::Way;
use edgepush_shard::reject::{Reject, write_reject};
use edgepush_shard::ring::RecordSink;
use edgepush_shard::testing::corpus::edge_lines;
use edgepush_shard::testing::lines::TextLog;
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter is a plain thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(mut work: impl FnMut()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

struct Sink(Vec<u8>);

impl RecordSink for Sink {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

struct Chain {
    parser: Parser,
    formatters: Vec<Formatter>,
    sink: Sink,
}

impl Chain {
    fn new() -> Chain {
        let names = ["uri", "nested.list.1.k", "none", "status", "h\u{f6}st"].map(String::from).to_vec();
        let outputs = [Output::PassThrough, Output::Fields(names)];
        let mut formatters: Vec<Formatter> = outputs.iter().map(Formatter::from).collect();
        // Every way to write a record, and everything that may be done to a value.
        for options in [
            json!({"timestamp_format": "rfc3339", "rename": {"uri": "url"}, "stringify_object": true,
                "privacy": {"remote_addr": "truncate_ip", "user_agent": "hash", "t": "drop"}}),
            json!({"field_names": ["time", "nested", "user_agent", "remote_addr", "h\u{f6}st"], "CVE-2021-44228": true,
                "timestamp_format": "rfc3339ns", "stringify_object": true,
                "privacy": {"remote_addr": "truncate_ip", "user_agent": "hash"}}),
            json!({"output_type": "csv", "field_names": ["time", "uri", "nested", "nested.list.1.k", "status"]}),
            json!({"record_template": "\"t\":{{.time}},\"u\":{{.uri}},\"n\":{{.nested}}"}),
        ] {
            let options = OutputOptions::from_json(&options, &RAW).expect("options");
            formatters.push(Formatter::new(&options, &RAW, &HashKey::new(&[1; 32])));
            let ids = Envelope {
                record_before: "<".into(),
                record_after: ">".into(),
                id: true,
                ..Envelope::default()
            };
            if let Ok(options) = options.within(&ids) {
                formatters.push(Formatter::new(&options, &RAW, &HashKey::new(&[1; 32])));
            }
        }
        Chain { parser: Parser::new(), formatters, sink: Sink(Vec::new()) }
    }

    /// Parses and formats all lines; how many went the learned way, how many were repaired, how many are rejects.
    fn run(&mut self, lines: &[&[u8]], general: bool) -> (usize, usize, usize) {
        let (mut learned, mut repaired, mut rejects) = (0, 0, 0);
        self.sink.0.clear();
        for line in lines {
            let parsed = if general { self.parser.parse_general(line) } else { self.parser.parse(line) };
            let Ok(record) = parsed else {
                rejects += 1;
                continue;
            };
            learned += usize::from(record.way == Way::Learned);
            repaired += usize::from(!record.repairs.is_empty());
            for formatter in &mut self.formatters {
                assert!(formatter.bytes_max(&record) > 0 && formatter.fields_max(&record) <= 27);
                formatter.write(&record, (1, 2), &mut self.sink);
            }
        }
        (learned, repaired, rejects)
    }
}

/// Runs twice to warm up, then asserts.
#[track_caller]
fn check(lines: &[&[u8]], general: bool, expected: (usize, usize, usize)) {
    let mut chain = Chain::new();
    chain.run(lines, general);
    chain.run(lines, general);
    let mut got = (0, 0, 0);
    let count = allocations(|| got = chain.run(lines, general));
    assert_eq!(got, expected, "(learned, repaired, rejects)");
    assert_eq!(count, 0, "allocations for {} lines", lines.len());
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn learned_records_allocate_nothing() {
    check(&lines(&edge_lines(1, 500)), false, (500, 0, 0));
}

#[test]
fn general_records_allocate_nothing() {
    check(&lines(&edge_lines(1, 500)), true, (0, 0, 0));
    let nested: &[u8] = br#"{"nested":{"list":[0,{"k":[1e400,"\u00e9"]}]},"h\u00f6st":"x","uri":"\ud800"}"#;
    check(&[nested, b"{}", b"{\"a\":1e400}"], true, (0, 0, 0));
}

#[test]
fn repaired_records_and_rejects_allocate_nothing() {
    let repaired: [&[u8]; 4] = [
        b"{\"uri\":-,\"status\":000,\"t\":0.1, 0.2,\"n\":}",
        b"{\"uri\":\"r\\xc3\\xa9sum\\xc3\\xa9/1.0\\xff\",\"status\":\"\xff\0\"}",
        b"{\"uri\":\"x",
        b"{\"uri\":[[[[[[[[[[",
    ];
    check(&repaired, false, (0, 2, 2));
}

#[test]
fn shapes_that_push_one_another_out_allocate_nothing() {
    let many: Vec<String> = (0..40).map(|n| format!(r#"{{"k{n:02}":1,"uri":"x"}}"#)).collect();
    let many: Vec<&[u8]> = many.iter().map(|line| line.as_bytes()).collect();
    check(&many, false, (0, 0, 0));
}

#[test]
fn rejects_are_written_without_allocating() {
    let fault = Fault { reason: Reason::Cut, column: 3 };
    let mut out = Vec::new();
    let mut write = |line: &[u8]| {
        out.clear();
        let (reason, column) = (fault.reason.as_str(), fault.column);
        let reject =
            Reject { time: 1, source: "a", offset: 2, length: 3, reason, column, object: None, line };
        write_reject(&mut out, &reject);
    };
    write(b"{\"a\":\"\xff some line");
    assert_eq!(allocations(|| write(b"{\"a\":\"\xff some")), 0);
    assert_eq!(allocations(|| write(b"{\"a\":\x01\"")), 0);
}

#[test]
fn lines_of_text_formats_allocate_nothing() {
    let combined = r#"192.0.2.1 - a [b [10/Oct/2000:13:55:36 -0700] "GET /\x22 HTTP/1.1" 200 1 "-" "\xFF""#;
    let plain = r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 1 "https://a/" "curl/8""#;
    let head = "<190>Nov 20 23:58:00 edge1 nginx: ";
    let table = "a,b\n1,\"x \"\"y\"\"\"\n,z\n1,2,3\n";
    for (format, lines, records) in [
        ("combined", format!("{combined}\n{plain}\nno\n"), 2),
        ("auto", format!("{combined}\n{plain}\nno\n"), 2),
        ("csv", table.to_owned(), 2),
        ("logfmt", "a=1 b=\"x \\\" y\" c\nno\n".to_owned(), 1),
        ("syslog", format!("{head}{{\"a\":1}}\n<14>app: {{\"a\":1}}\n{{\"a\":1}}\n{head}no\n").repeat(9), 27),
        ("syslog:json", format!("{head}{{\"syslog_tag\":1}}\n<14>{{\"a\":-}}\n{head}{{\"a\":\"}}\n"), 2),
        ("syslog:combined", format!("{head}{plain}\n<14>app: {combined}\n{plain}\n{head}no\n"), 3),
    ] {
        let (format, mut reader) = (Format::parse(format).expect("a format"), Reader::new());
        let mut run = || {
            let mut got = 0;
            let stand = Stand::of(b"", 0);
            reader.lines(&format, stand, lines.as_bytes(), |_, parsed| got += usize::from(parsed.is_ok()));
            got
        };
        assert_eq!((run(), run()), (records, records), "{format}");
        // `auto` looks at the first lines of each chunk anew, and knows its formats by then.
        assert_eq!(allocations(|| _ = run()), 0, "{format}");
    }
}

/// Many lines, whose marks are found at once; those with escapes among them.
#[test]
fn whole_logs_of_text_formats_allocate_nothing() {
    for log in TextLog::ALL {
        let (format, lines) = (Format::parse(log.format()).expect("a format"), log.lines(1, 200_000));
        let mut reader = Reader::new();
        let mut run = || {
            let mut records = 0;
            let stand = Stand::of(&lines[..1024], 0);
            reader.lines(&format, stand, &lines, |_, parsed| records += usize::from(parsed.is_ok()));
            records
        };
        assert!(run() > 400 && run() > 400, "{log:?}");
        assert_eq!(allocations(|| _ = run()), 0, "{log:?}");
    }
}

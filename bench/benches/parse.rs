//! How fast lines become records, and records output: 750-byte edge lines, one core.
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgepush_shard::frame::frames;
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Formatter, Output};
use edgepush_shard::record::Way;
use edgepush_shard::ring::RecordSink;
use edgepush_shard::testing::corpus::edge_lines;
use std::hint::black_box;

const FIELDS: [&str; 12] = [
    "time",
    "request_id",
    "remote_addr",
    "country",
    "host",
    "method",
    "uri",
    "status",
    "bytes_sent",
    "request_time",
    "cache_status",
    "user_agent",
];

struct Sink(Vec<u8>);

impl RecordSink for Sink {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Members of all records, and how many were learned.
fn parse_all(parser: &mut Parser, lines: &[u8], general: bool) -> (usize, usize) {
    let (mut members, mut learned) = (0, 0);
    for frame in frames(lines, 0) {
        let parsed = if general { parser.parse_general(frame.line) } else { parser.parse(frame.line) };
        let record = parsed.expect("a record");
        members += black_box(record.members).len();
        learned += usize::from(record.way == Way::Learned);
    }
    (members, learned)
}

fn format_all(parser: &mut Parser, formatter: &mut Formatter, lines: &[u8], sink: &mut Sink) {
    sink.0.clear();
    for frame in frames(lines, 0) {
        let record = parser.parse(frame.line).expect("a record");
        sink.0.reserve(formatter.bytes_max(&record));
        formatter.write(&record, (1, frame.offset as u64), sink);
    }
}

fn benches(c: &mut Criterion) {
    // 256 KiB: what a chunk of a hot file is.
    let lines = edge_lines(1, 349);
    let count = frames(&lines, 0).count();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Bytes(lines.len() as u64));
    let mut parser = Parser::new();
    assert_eq!(parse_all(&mut parser, &lines, true), (26 * count, 0));
    group.bench_function("general", |b| b.iter(|| parse_all(&mut parser, &lines, true)));
    assert_eq!(parse_all(&mut parser, &lines, false), (26 * count, count));
    group.bench_function("learned", |b| b.iter(|| parse_all(&mut parser, &lines, false)));

    let mut sink = Sink(Vec::new());
    let mut formatter = Formatter::from(&Output::PassThrough);
    format_all(&mut parser, &mut formatter, &lines, &mut sink);
    assert_eq!(sink.0, lines);
    group.bench_function("learned, pass-through", |b| {
        b.iter(|| format_all(&mut parser, &mut formatter, &lines, &mut sink))
    });
    let mut formatter = Formatter::from(&Output::Fields(FIELDS.map(String::from).to_vec()));
    format_all(&mut parser, &mut formatter, &lines, &mut sink);
    let mut projected = Parser::new();
    assert_eq!(parse_all(&mut projected, &sink.0, true), (FIELDS.len() * count, 0));
    group.bench_function("learned, 12 fields", |b| {
        b.iter(|| format_all(&mut parser, &mut formatter, &lines, &mut sink))
    });
    group.finish();
}

criterion_group!(parse, benches);
criterion_main!(parse);

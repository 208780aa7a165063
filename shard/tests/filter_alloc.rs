//! Routing and mapping allocate nothing per record after warm-up, and ten thousand jobs' router is small.
#![allow(unsafe_code)]
use edgepush_shard::dataset::mapping::{Choices, Mapper};
use edgepush_shard::dataset::{HTTP_REQUESTS, MEDIANOVA, RAW};
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Filter, RouteJob, Router, Sample};
use edgepush_shard::testing::corpus::edge_lines;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: i64) {
    COUNT.with(|count| count.set(count.get() + 1));
    BYTES.with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call goes to the system's allocator as it came; the counters are plain thread-local cells.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        BYTES.with(|held| held.set(held.get() - layout.size() as i64));
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn filter(node: &str) -> Filter {
    Filter::parse(&format!(r#"{{"where":{node}}}"#), &RAW).expect("right").expect("a filter")
}

/// Wants of all lines, summed, and the allocations that routing made (the parser's are counted elsewhere).
fn run(router: &mut Router, parser: &mut Parser, lines: &[Vec<u8>], wants: &mut Vec<u32>) -> (usize, u64) {
    let (mut sum, mut allocations) = (0, 0);
    for (offset, line) in (0..).zip(lines) {
        let record = parser.parse(line).expect("a record");
        let before = COUNT.with(Cell::get);
        router.wants(&record, 7, offset, wants);
        allocations += COUNT.with(Cell::get) - before;
        sum += wants.len();
    }
    (sum, allocations)
}

/// Lines of several shapes, with and without escapes; 40 shapes push one another out.
fn lines() -> Vec<Vec<u8>> {
    let edge = edge_lines(1, 300);
    let edge = edge.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec);
    let escaped = (0..40).map(|n| {
        format!(
            r#"{{"k{n}":1,"host":"WWW.\u0073ite0.example.com:443","tags":["\u0061","b"],"uri":"\/a{n}"}}"#
        )
    });
    edge.chain(escaped.map(String::into_bytes)).collect()
}

#[test]
fn wants_allocates_nothing() {
    let filters = [
        r#"{"key":"host","operator":"eq","value":"www.site0.example.com"}"#,
        r#"{"key":"status","operator":"in","value":[200,404,"502"]}"#,
        r#"{"or":[{"key":"uri","operator":"contains","value":"a"},{"key":"tags","operator":"contains","value":"a"}]}"#,
        r#"{"key":"time","operator":"!endsWith","value":"x"}"#,
        r#"{"and":[{"key":"request_time","operator":"geq","value":"0.001"},{"key":"a.b.0","operator":"!eq","value":1}]}"#,
    ]
    .map(filter);
    let zone = ["www.site0.example.com".to_owned(), "*.example.com".to_owned()];
    let half = Sample::of_rate(0.5).expect("a rate");
    let mut jobs: Vec<RouteJob<'_>> =
        filters.iter().map(|filter| RouteJob { hosts: None, filter: Some(filter), sample: half }).collect();
    jobs.push(RouteJob { hosts: Some(&zone), filter: None, sample: Sample::ALL });
    jobs.push(RouteJob { hosts: None, filter: None, sample: Sample::ALL });
    let mut router = Router::new(&["http_host", "host"], &jobs);
    let (mut parser, mut wants, lines) = (Parser::new(), Vec::new(), lines());
    let (first, warming) = run(&mut router, &mut parser, &lines, &mut wants);
    assert!(first > 3 * lines.len() && warming > 0, "{first} wants, {warming} allocations");
    for _ in 0..3 {
        assert_eq!(run(&mut router, &mut parser, &lines, &mut wants), (first, 0));
    }
}

#[test]
fn mapping_allocates_nothing() {
    let nested = (0..30).map(|n| {
        format!(
            r#"{{"request":{{"remote_ip":"192.0.2.1","uri":"\/a?{n}","headers":{{"User-Agent":["a\u0062\n"]}}}},"ts":1795227708.722,"duration":{n}e-5,"resp_headers":{{}}}}"#
        )
    });
    let odd = (0..30)
        .map(|n| format!(r#"{{"k{n}":1,"remote_addr":"192.0.2.1:{n}","request":"GET /{n}?a HTTP/2.0"}}"#));
    let lines: Vec<Vec<u8>> = lines().into_iter().chain(nested.chain(odd).map(String::into_bytes)).collect();
    for dataset in [&HTTP_REQUESTS, &MEDIANOVA] {
        let (mut parser, mut mapper) = (Parser::new(), Mapper::new(dataset, Arc::<Choices>::default()));
        let mut run = || {
            let (mut bytes, mut allocations) = (0, 0);
            for line in &lines {
                let record = parser.parse(line).expect("a record");
                let before = COUNT.with(Cell::get);
                bytes += mapper.map(&record, 0).own.text.len();
                allocations += COUNT.with(Cell::get) - before;
            }
            (bytes, allocations)
        };
        let (first, warming) = run();
        assert!(first > 100 * lines.len() && warming > 0, "{first} bytes, {warming} allocations");
        for _ in 0..3 {
            assert_eq!(run(), (first, 0));
        }
    }
}

/// Bytes that a router of jobs holds once it has routed.
fn bytes_of(jobs: &[RouteJob<'_>]) -> i64 {
    let (mut parser, mut wants, lines) = (Parser::new(), Vec::new(), lines());
    run(&mut Router::new(&[], &[]), &mut parser, &lines, &mut wants);
    let before = BYTES.with(Cell::get);
    let mut router = Router::new(&["host"], jobs);
    run(&mut router, &mut parser, &lines, &mut wants);
    BYTES.with(Cell::get) - before
}

#[test]
fn ten_thousand_jobs_fit_five_megabytes() {
    let zones: Vec<[String; 1]> = (0..10_000).map(|n| [format!("www.customer-{n:05}.example.com")]).collect();
    let filters: Vec<Filter> = zones
        .iter()
        .map(|zone| {
            let host = format!(r#"{{"key":"host","operator":"eq","value":"{}"}}"#, zone[0]);
            filter(&format!(r#"{{"and":[{{"key":"status","operator":"eq","value":200}},{host}]}}"#))
        })
        .collect();
    let by_host: Vec<_> =
        zones.iter().map(|zone| RouteJob { hosts: Some(zone), filter: None, sample: Sample::ALL }).collect();
    let by_filter: Vec<_> = filters
        .iter()
        .map(|filter| RouteJob { hosts: None, filter: Some(filter), sample: Sample::ALL })
        .collect();
    for jobs in [by_host, by_filter] {
        let bytes = bytes_of(&jobs);
        println!("{bytes} bytes");
        assert!(bytes > 100_000 && bytes < 5_000_000, "{bytes} bytes");
    }
}

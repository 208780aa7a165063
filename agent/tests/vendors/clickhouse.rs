//! ClickHouse's HTTP interface as new servers have it, which cannot be had here: tokens of deduplication, the header of
//! exceptions.
use super::*;
use crate::common::{Place, assert_exactly_once, writer};
use contract::{batch, contract, run};

fn server(rest: &str, script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Vendor {
    Vendor::new("clickhouse", rest, script)
}

const INSERT: &str = "query=INSERT%20INTO%20%60logs%60.%60edge%60%20FORMAT%20JSONEachRow";

#[test]
fn clickhouse_keeps_the_contract() {
    let rest = "/logs/edge?async_insert=0&header_X-ClickHouse-User=u&header_X-ClickHouse-Key=hunter2hunter2";
    let vendor = server(rest, |_| Answer::Status(200));
    run(contract(vendor.open(), vendor.held(), "hunter2hunter2"));
    for request in vendor.recorder.requests() {
        let (path, query) = target(&request);
        assert_eq!((&*request.method, path), ("POST", "/"));
        let mut expected = vec![INSERT, "date_time_input_format=best_effort", "async_insert=0"];
        let token = format!("insert_deduplication_token={}", request.key());
        if !request.key().is_empty() {
            expected.push(&token);
        }
        assert_eq!(query, expected);
        assert_eq!(request.header("x-clickhouse-user"), "u");
        assert_eq!(request.header("x-clickhouse-key"), "hunter2hunter2");
    }
    assert!(!shown(&vendor.url).contains("hunter2"));
}

#[test]
fn a_retry_has_the_same_token_and_the_parts_of_a_split_have_others() {
    let place = Place::new();
    let vendor = server("/?database=logs&table=edge", |ask| match (ask.number, ask.length) {
        (0, _) => {
            json(500, "Code: 241. DB::Exception: Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)")
        }
        (1, _) => Answer::Status(413),
        _ => Answer::Status(200),
    });
    writer::append(&place.log(), "r", 0..1000);
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).env("EDGEPUSH_CODEC", "zstd");
    setup.env("EDGEPUSH_ONCE_TIMEOUT", "40s").once().exits(0);
    let batches = vendor.batches();
    let tokens: Vec<_> = batches.iter().map(|r| target(r).1.pop().unwrap().to_owned()).collect();
    assert_eq!(tokens.len(), 4);
    assert_eq!(tokens[0], tokens[1]);
    assert_eq!(tokens[2..], [format!("{}-1", tokens[0]), format!("{}-2", tokens[0])]);
    assert!(
        batches.iter().all(|r| r.header("content-encoding") == "zstd" && r.target.contains("database=logs"))
    );
    let lines: Vec<_> = batches[2..].iter().flat_map(Request::lines).collect();
    assert_exactly_once("r", 1000, &lines);
}

#[test]
fn the_exceptions_of_new_servers_have_their_meaning() {
    const HEADERS: [&[(&str, &str)]; 4] = [
        &[("x-clickhouse-exception-code", "252")],
        &[("x-clickhouse-exception-code", "516")],
        &[("x-clickhouse-exception-code", "117")],
        &[("x-clickhouse-exception-code", "241")],
    ];
    for (status, headers, body, expected) in [
        (500, HEADERS[0], "Code: 252. DB::Exception: Too many parts", "Retry"),
        (403, HEADERS[1], "Code: 516. DB::Exception: Authentication failed", "Hold"),
        (400, HEADERS[2], "", "Refused"),
        // Successes that are none.
        (200, HEADERS[3], "", "Retry"),
        (200, &[], "Code: 27. DB::Exception: Cannot parse input", "Refused"),
        (200, &[], "<html>Sign in</html>", "Hold"),
        (200, &[], "", "Delivered"),
    ] {
        let vendor = server("/edge", move |_| Answer::Full(status, headers, body.to_owned()));
        let verdict = vendor.delivered();
        assert!(format!("{verdict:?}").starts_with(expected), "{status} {body}: {verdict:?}");
    }
    let old = server("/edge", |_| json(404, "Code: 115. DB::Exception: Unknown setting"));
    assert!(why(&old.delivered()).contains("deduplicate=false"));
}

#[test]
fn what_the_operator_says_of_times_and_tokens_stands() {
    let vendor = server("/edge?deduplicate=false&date_time_input_format=basic", |_| Answer::Status(200));
    assert_eq!(run(vendor.open().deliver(batch(1, &[b"{}\n"]))), Verdict::Delivered);
    let expected = "query=INSERT%20INTO%20%60edge%60%20FORMAT%20JSONEachRow";
    assert_eq!(target(&vendor.batches()[0]).1, [expected, "date_time_input_format=basic"]);
    assert!(refused("clickhouse://h:8123/").contains("?database=<database>&table=<table>"));
}

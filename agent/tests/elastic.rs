//! Elasticsearch and OpenSearch: against a server with OpenSearch's own bulk semantics, with nginx before it where locks
//! and refusals are wanted; documents are read back with opensearch-py.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
#[path = "common/contract.rs"]
mod contract;

use common::servers::{Nginx, Osmem, worth};
use common::*;
use contract::{open, run};
use edgepush::destination::{Answer, Outgoing, Status, Verdict};
use edgepush::protocol::{CodecKind, Container};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A batch as jobs of this kind make it: documents, each under its id, in one gzip member.
fn bulk(key: &str, documents: &[(String, Value)]) -> Outgoing {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for (id, document) in documents {
        writeln!(gzip, "{{\"create\":{{\"_id\":\"{id}\"}}}}\n{document}").unwrap();
    }
    let body = gzip.finish().unwrap();
    // In parts, as a spool has them.
    let body = body.chunks(body.len() / 3 + 1).map(bytes::Bytes::copy_from_slice).collect();
    Outgoing {
        name: format!("logs-20261121/20261121T101112Z_20261121T101113Z_{key}.log.gz").into(),
        key: key.into(),
        codec: CodecKind::Gzip,
        container: Container::Single,
        records: documents.len() as u64,
        csv: false,
        shelf: None,
        body,
    }
}

fn documents(ids: std::ops::Range<u64>) -> Vec<(String, Value)> {
    ids.map(|id| (format!("id-{id}"), json!({"seq": id, "text": "ünï \"x\""}))).collect()
}

/// One request of curl: status and body.
fn curl(method: &str, url: &str, body: &str) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--noproxy", "*", "-w", "\n%{http_code}", "-X", method]);
    command.args(["-H", "Content-Type: application/json", "--data-binary", body, url]);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", &said));
    (status.to_owned(), body.to_owned())
}

fn url(server: &str, more: &str) -> String {
    format!("opensearch+{server}/{more}")
}

#[test]
fn every_document_is_there_once_however_often_it_is_sent() {
    let Some(osmem) = Osmem::start() else { return };
    let to = open(&url(&osmem.endpoint(), "logs-{DATE}"), Path::new("/nowhere"));
    run(async {
        assert_eq!(to.redacted(), url(&osmem.endpoint(), "logs-{DATE}"));
        assert_eq!(to.probe(false).await, Ok(()), "a look");
        assert_eq!(to.probe(true).await, Ok(()), "a probe");
        assert_eq!(osmem.read_back("*").said["indexes"], json!([]), "a probe leaves nothing");
        let all = documents(0..3000);
        for batch in [bulk("1", &all[..1]), bulk("2", &all[1..2000]), bulk("3", &all[2000..2500])] {
            assert_eq!(to.deliver(batch.clone()).await, Verdict::Delivered);
            // A crash between the answer and its verdict: the same batch comes again.
            let again = to.deliver(batch).await;
            assert_eq!((again.verdict, again.status), (Verdict::Delivered, Status::Code(200)));
        }
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            // Each overlaps with its neighbours: parts of batches come again, too.
            let (to, part) = (to.clone(), all[2400 + number * 50..2600 + number * 50].to_vec());
            tasks.spawn(async move { to.deliver(bulk(&format!("p{number}"), &part)).await });
        }
        while let Some(answer) = tasks.join_next().await {
            assert_eq!(answer.unwrap(), Verdict::Delivered);
        }
        let found = osmem.read_back("*");
        assert_eq!(found.said["indexes"], json!(["logs-20261121"]));
        assert_eq!(
            (found.count("documents"), found.count("ids"), found.count("numbers")),
            (2950, 2950, 2950)
        );
    });
}

#[test]
fn records_are_judged_one_by_one() {
    let Some(osmem) = Osmem::start() else { return };
    let mapping =
        r#"{"mappings":{"dynamic":"strict","properties":{"seq":{"type":"long"},"text":{"type":"text"}}}}"#;
    osmem.make_index("logs-20261121", mapping);
    let to = open(&url(&osmem.endpoint(), "logs-{DATE}"), Path::new("/nowhere"));
    run(async {
        let mut some = documents(0..6);
        some[1].1 = json!({"seq": 1, "unknown": true});
        some[4].1 = json!({"seq": "no number"});
        // And again: what is there now answers 409.
        for _ in 0..2 {
            let Answer { verdict: Verdict::Partly { again, refused, why, .. }, status } =
                to.deliver(bulk("1", &some)).await
            else {
                panic!("no answer one by one");
            };
            assert_eq!((again, status), (vec![], Status::Code(200)));
            let places: Vec<u32> = refused.iter().map(|(place, _)| *place).collect();
            assert_eq!(places, [1, 4]);
            assert!(refused[0].1.starts_with("400 strict_dynamic_mapping_exception: "), "{refused:?}");
            assert!(refused[1].1.starts_with("400 mapper_parsing_exception: "), "{refused:?}");
            assert!(why.contains("/logs-{DATE}: 2 of 6 records were refused: 400 strict_dyn"), "{why}");
        }
        assert_eq!(osmem.read_back("*").count("documents"), 4);
        let bad = vec![some[1].clone(), some[4].clone()];
        let answer = to.deliver(bulk("2", &bad)).await;
        assert!(
            matches!(&answer.verdict, Verdict::Refused { why } if why.contains("none of 2")),
            "{answer:?}"
        );
    });
}

#[test]
fn what_concerns_the_index_holds_the_batch_and_not_its_records() {
    let Some(osmem) = Osmem::start() else { return };
    let at = |path: &str| format!("{}/{path}", osmem.endpoint());
    let to = open(&url(&osmem.endpoint(), "logs-{DATE}"), Path::new("/nowhere"));
    let lost = open(&url(&osmem.endpoint(), "logs-{DATE}?pipeline=none%20such"), Path::new("/nowhere"));
    let some = documents(0..10);
    run(async {
        assert_eq!(to.deliver(bulk("1", &some[..5])).await, Verdict::Delivered);
        let flood = |on: bool| json!({"index.blocks.read_only_allow_delete": on.then_some(true)}).to_string();
        assert_eq!(curl("PUT", &at("logs-20261121/_settings"), &flood(true)).0, "200");
        let answer = to.deliver(bulk("2", &some)).await;
        assert!(
            matches!(&answer.verdict, Verdict::Retry { why, .. } if why.contains("flood-stage")),
            "{answer:?}"
        );
        assert_eq!(curl("PUT", &at("logs-20261121/_settings"), &flood(false)).0, "200");
        assert_eq!(to.deliver(bulk("2", &some)).await, Verdict::Delivered);
        let answer = lost.deliver(bulk("3", &some)).await;
        let why = "pipeline with id [none such] does not exist";
        assert!(matches!(&answer.verdict, Verdict::Hold { why: said } if said.contains(why)), "{answer:?}");
        assert_eq!(curl("POST", &at("logs-20261121/_close"), "").0, "200");
        let answer = to.deliver(bulk("4", &documents(20..22))).await;
        assert!(matches!(&answer.verdict, Verdict::Hold { why } if why.contains("closed")), "{answer:?}");
        assert_eq!(curl("POST", &at("logs-20261121/_open"), "").0, "200");
        assert_eq!(to.deliver(bulk("4", &documents(20..22))).await, Verdict::Delivered);
        assert_eq!(osmem.read_back("*").count("documents"), 12);
    });
}

/// Locks and refusals before the server.
fn guarded(osmem: &Osmem) -> Option<Nginx> {
    let port = osmem.port;
    Nginx::start(&format!(
        r#"map $http_authorization $known {{ "ApiKey b3VyLWlkOm91ci1rZXk=" 1; "Basic am9lOnNlc2FtZS1vcGVu" 1; default 0; }}
        server {{ {{listen}} client_max_body_size 2k;
          location / {{ if ($known = 0) {{ return 401; }} proxy_pass http://127.0.0.1:{port}; }}
          location /es/ {{ proxy_pass http://127.0.0.1:{port}/; }}
          location /denied/ {{ return 403; }}
          location /writer/ {{ proxy_pass http://127.0.0.1:{port}/; location = /writer/ {{ return 403; }} }}
          location /busy/ {{ add_header Retry-After 7 always; return 429; }}
          location /down/ {{ return 503; }}
          location /page/ {{ default_type text/html; return 200 "<html>welcome</html>"; }}
          location /empty/ {{ return 200; }}
          location /few/ {{ default_type application/json; return 200 '{{"errors":false,"items":[]}}'; }}
          location /ill/ {{ default_type application/json; return 400 '{{"error":{{"type":"parse_exception","reason":"no"}},"status":400}}'; }}
        }}"#
    ))
}

#[test]
fn keys_are_sent_and_refusals_are_what_they_are() {
    let Some(osmem) = Osmem::start() else { return };
    let Some(nginx) = guarded(&osmem) else { return };
    let to = |more: &str| open(&url(&nginx.http(), more), Path::new("/nowhere"));
    let some = bulk("1", &documents(0..2));
    let user = format!("opensearch+http://joe:sesame-open@127.0.0.1:{}/logs", nginx.plain);
    run(async {
        for good in [
            to("logs?api-key=our-id:our-key"),
            to("logs?api-key=b3VyLWlkOm91ci1rZXk%3D"),
            open(&user, Path::new("/")),
        ] {
            assert_eq!(good.probe(true).await, Ok(()));
            assert_eq!(good.deliver(some.clone()).await, Verdict::Delivered);
            assert!(
                !good.redacted().contains("sesame") && !good.redacted().contains("our-key"),
                "{}",
                good.redacted()
            );
        }
        for bad in [to("logs?api-key=our-id:other-key"), to("logs")] {
            let answer = bad.deliver(some.clone()).await;
            assert!(matches!(&answer.verdict, Verdict::Hold { why } if why.contains("401")), "{answer:?}");
            let told = bad.probe(false).await.unwrap_err();
            assert!(told.contains("HTTP 401") && !told.contains("other-key"), "{told}");
        }
        // Below a path, where there is no lock.
        assert_eq!(to("es/logs-{DATE}").deliver(some.clone()).await, Verdict::Delivered);
        let large: Vec<(String, Value)> = (0..500_u64)
            .map(|n| (format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), json!({"n": n})))
            .collect();
        let answer = to("es/logs").deliver(bulk("2", &large)).await;
        assert!(matches!(answer.verdict, Verdict::TooLarge { .. }), "{answer:?}");
        for (at, expected) in
            [("denied", "Hold"), ("down", "Retry"), ("ill", "Refused"), ("nowhere/es", "Hold")]
        {
            let answer = to(&format!("{at}/logs")).deliver(some.clone()).await;
            assert!(format!("{:?}", answer.verdict).starts_with(expected), "{at}: {answer:?}");
        }
        let busy = to("busy/logs").deliver(some.clone()).await.verdict;
        assert!(matches!(busy, Verdict::Retry { after: Some(after), .. } if after == Duration::from_secs(7)));
        // A success that is none.
        for (at, word) in [("page", "welcome"), ("empty", "bulk request"), ("few", "0 records")] {
            let answer = to(&format!("{at}/logs")).deliver(some.clone()).await;
            assert!(
                matches!(&answer.verdict, Verdict::Retry { why, .. } if why.contains(word)),
                "{answer:?}"
            );
            assert_eq!(answer.status, Status::Word("unreadable"));
        }
        assert!(
            to("page/logs").probe(true).await.unwrap_err().contains("not as Elasticsearch or OpenSearch")
        );
        assert!(to("denied/logs").probe(true).await.is_err());
        // A key that may only write.
        assert_eq!(to("writer/logs").probe(true).await, Ok(()));
        assert!(to("writer/logs").probe(false).await.unwrap_err().contains("403"));
    });
    assert_eq!(osmem.read_back("*").count("documents"), 2, "the same two each time");
}

/// A server that takes whole requests and answers each with these bytes and the end of its connection.
fn answers(bytes: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut read, mut part) = (client.unwrap(), Vec::new(), [0; 4096]);
            while let Ok(more @ 1..) = client.read(&mut part) {
                read.extend_from_slice(&part[..more]);
                let text = String::from_utf8_lossy(&read);
                let length =
                    text.split_once("content-length: ").map(|(_, rest)| rest.split('\r').next().unwrap());
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                if read
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .is_some_and(|at| at + 4 + length <= read.len())
                {
                    break;
                }
            }
            let _ = client.write_all(&bytes);
        }
    });
    port
}

#[test]
fn answers_without_an_end_are_no_success() {
    let item = r#"{"create":{"status":201}}"#;
    let good = format!(r#"{{"errors":false,"items":[{item},{item}]}}"#);
    let told = |length: usize, body: &str| {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        let to =
            open(&url(&format!("http://127.0.0.1:{}", answers(text.into())), "logs"), Path::new("/nowhere"));
        run(to.deliver(bulk("1", &documents(0..2))))
    };
    assert_eq!(told(good.len(), &good), Verdict::Delivered);
    for answer in [
        told(good.len() + 1, &good),
        told(good.len(), &good[..good.len() - 9]),
        told(good.len() + 2, &(good.clone() + ",{")),
    ] {
        assert!(matches!(answer.verdict, Verdict::Retry { .. }), "{answer:?}");
        assert_eq!(answer.status, Status::Word("unreadable"));
    }
    // Longer than is read of one: the halves' answers are shorter.
    let long = good.clone() + &" ".repeat(5 << 20);
    let answer = told(long.len(), &long);
    assert!(
        matches!(&answer.verdict, Verdict::TooLarge { why } if why.contains("longer than")),
        "{answer:?}"
    );
    // What a receiver repeats of a key is not told.
    let body = r#"{"error":{"type":"x","reason":"no b3VyLWlkOm91ci1rZXk= our-key our-id"},"status":403}"#;
    let text = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let at = format!("http://127.0.0.1:{}", answers(text.into()));
    let to = open(&url(&at, "logs?api-key=our-id:our-key"), Path::new("/nowhere"));
    let Verdict::Hold { why } = run(to.deliver(bulk("1", &documents(0..2)))).verdict else {
        panic!("no hold")
    };
    assert!(why.contains("x: no … … …"), "{why}");
}

#[test]
fn a_batch_that_another_destination_left_is_not_sent() {
    let recorder = Recorder::start();
    let to = open(&url(&recorder.url().replace("/ingest", ""), "logs"), Path::new("/nowhere"));
    let other = contract::batch(1, &[b"{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n"]);
    let answer = run(to.deliver(other));
    assert!(
        matches!(&answer.verdict, Verdict::Refused { why } if why.contains("another destination")),
        "{answer:?}"
    );
    assert_eq!(recorder.requests().len(), 0);
}

#[test]
fn mistakes_are_told_when_the_destination_is_made() {
    let place = Place::new();
    std::fs::write(place.log(), "{}\n").unwrap();
    let told = |destination: &str, options: &str| {
        let setup =
            place.setup().env("EDGEPUSH_DESTINATION", destination).env("EDGEPUSH_OUTPUT_OPTIONS", options);
        setup.once().exits(2).stderr
    };
    let csv = r#"{"output_type":"csv","field_names":["a"]}"#;
    for (destination, options, words) in [
        ("elasticsearch://h:9200", "{}", &["names no index"][..]),
        ("elasticsearch://h:9200/", "{}", &["names no index"]),
        ("elasticsearch://h/Logs*", "{}", &["upper-case", "'*'"]),
        ("elasticsearch://h/logs?api_key=x", "{}", &["nearest is `api-key`"]),
        ("elasticsearch://a:b@h/logs?api-key=x", "{}", &["api-key beside"]),
        ("elasticsearch://h/logs", csv, &["JSON records only"]),
        (
            "elasticsearch://h/logs",
            r#"{"record_delimiter":",","batch_prefix":"["}"#,
            &["leave batch_prefix out", "leave record_delimiter out"],
        ),
    ] {
        let said = told(destination, options);
        assert!(words.iter().all(|word| said.contains(word)), "{destination} {options}: {said}");
    }
}

/// Passes connections on; the answers of the first so many requests with a body are read and not given to the client.
fn lossy(to: u16, lost: u64) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let swallowed = Arc::new(AtomicU64::new(0));
    let counts = swallowed.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, counts) = (client.unwrap(), counts.clone());
            std::thread::spawn(move || {
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let upward = std::thread::spawn(move || std::io::copy(&mut from, &mut into));
                let (mut from, mut into) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let mut part = [0; 65536];
                while let Ok(read @ 1..) = from.read(&mut part) {
                    // The server has taken the batch: it says so.
                    if counts.fetch_add(1, Ordering::SeqCst) < lost || into.write_all(&part[..read]).is_err()
                    {
                        break;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
                let _ = server.shutdown(std::net::Shutdown::Both);
                let _ = upward.join();
            });
        }
    });
    (address, swallowed)
}

/// osmem with a template for `edge-*` that indexes nothing: its index of words is made anew for each request, which takes
/// this server a second and longer.
fn without_words() -> Option<Osmem> {
    let osmem = Osmem::start()?;
    let template = json!({"index_patterns": ["edge-*"], "template": {"mappings": {"dynamic": false}}});
    let at = format!("{}/_index_template/edge", osmem.endpoint());
    assert_eq!(curl("PUT", &at, &template.to_string()).0, "200");
    Some(osmem)
}

/// Asserts that the documents are the lines of a run, each once, values as they were written.
fn assert_documents(osmem: &Osmem, run: &str, written: u64, renamed: bool) {
    let found = osmem.read_back("*");
    let counts = ["documents", "ids", "lines", "numbers"].map(|what| found.count(what));
    assert_eq!(counts, [written; 4], "{}", found.said);
    for line in found.lines() {
        let mut document: Value = serde_json::from_slice(&line).unwrap();
        let expected: Value =
            serde_json::from_str(&writer::line(run, document["seq"].as_u64().unwrap())).unwrap();
        if renamed {
            let id = document.as_object_mut().unwrap().remove("edge_id").unwrap();
            document["id"] = id;
        }
        assert_eq!(worth(&document), worth(&expected));
    }
}

#[test]
fn answers_that_are_lost_double_nothing() {
    let Some(osmem) = without_words() else { return };
    let (address, swallowed) = lossy(osmem.port, 4);
    let place = Place::new();
    writer::append(&place.log(), "lost", 0..6000);
    let setup = place
        .setup()
        .env("EDGEPUSH_DESTINATION", &format!("elasticsearch+http://{address}/edge-{{DATE}}"))
        .env("EDGEPUSH_OUTPUT_OPTIONS", r#"{"rename":{"id":"edge_id"},"CVE-2021-44228":true}"#)
        .env("EDGEPUSH_BATCH_RECORDS", "1000");
    let done = setup.once().exits(0);
    assert_eq!((done.count("records_delivered"), done.count("rejected")), (6000, 0));
    assert!(swallowed.load(Ordering::SeqCst) > 4, "answers were lost, and others came");
    assert_documents(&osmem, "lost", 6000, true);
}

#[test]
fn what_a_strict_index_refuses_becomes_rejects() {
    let Some(osmem) = Osmem::start() else { return };
    let template = json!({"index_patterns": ["edge-*"], "template": {"mappings": {"dynamic": "strict",
        "properties": {"n": {"type": "long"}}}}});
    let at = format!("{}/_index_template/edge", osmem.endpoint());
    assert_eq!(curl("PUT", &at, &template.to_string()).0, "200");
    let place = Place::new();
    let bad = |n: u64| match n % 50 {
        7 => Some(format!("{{\"n\":\"no number {n}\"}}")),
        9 => Some(format!("{{\"n\":{n},  \"more\":true}}")),
        _ => None,
    };
    let line = |n: u64| bad(n).unwrap_or_else(|| format!("{{\"n\":{n}}}")) + "\n";
    std::fs::write(place.log(), (0..1000).map(line).collect::<String>()).unwrap();
    let done = place
        .setup()
        .env("EDGEPUSH_DESTINATION", &url(&osmem.endpoint(), "edge-{DATE}"))
        .env("EDGEPUSH_BATCH_RECORDS", "200")
        .env("EDGEPUSH_DISK_RESERVE", "0%")
        .once()
        .exits(0);
    assert_eq!(done.count("records_delivered"), 960, "{}", done.stderr);
    let found = osmem.read_back("*");
    assert_eq!((found.count("documents"), found.count("ids")), (960, 960));
    let rejects = lines_in_dir(&place.state().join("rejects"));
    let rejects: Vec<Value> = rejects.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    let mut kept: Vec<&str> = rejects.iter().map(|reject| reject["line"].as_str().unwrap()).collect();
    kept.sort_unstable();
    let mut expected: Vec<String> = (0..1000).filter_map(bad).collect();
    expected.sort_unstable();
    assert_eq!(kept, expected);
    for reject in &rejects {
        let (reason, more) =
            (reject["reason"].as_str().unwrap(), reject["line"].as_str().unwrap().contains("more"));
        let word = if more { "strict_dynamic_mapping_exception: " } else { "mapper_parsing_exception: " };
        assert!(reason.starts_with(&format!("refused: 400 {word}")), "{reject}");
    }
}

#[test]
fn an_agent_that_is_killed_again_and_again_doubles_nothing() {
    let Some(osmem) = without_words() else { return };
    let place = Place::new();
    let setup = place
        .setup()
        .env("EDGEPUSH_DESTINATION", &url(&osmem.endpoint(), "edge-{DATE}"))
        .env("EDGEPUSH_BATCH_INTERVAL", "100ms")
        .env("EDGEPUSH_BATCH_RECORDS", "300");
    for round in 0..5 {
        let agent = setup.start_ready();
        writer::append(&place.log(), "killed", round * 2000..round * 2000 + 2000);
        std::thread::sleep(Duration::from_millis(150 + 60 * round));
        agent.kill();
    }
    setup.once().exits(0);
    assert_documents(&osmem, "killed", 10_000, false);
}

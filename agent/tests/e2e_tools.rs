//! The test tools themselves, without an agent: a tool that cannot fail would prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn post(address: &str, key: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = format!(
        "POST /ingest?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: {key}\r\n\
         X-Edgepush-Records: 2\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_recorder_answers_by_its_script_and_keeps_each_key_once() {
    let mut recorder = Recorder::with(|ask| match ask.tries {
        0 => Answer::RetryAfter(429, "2"),
        1 => Answer::CloseAfter,
        _ => Answer::Status(200),
    });
    let address = recorder.url().trim_start_matches("http://").trim_end_matches("/ingest").to_owned();
    assert!(post(&address, "k", b"a\nb\n").contains("429"));
    assert!(recorder.accepted().is_empty(), "a refused request is not accepted");
    assert_eq!(post(&address, "k", b"a\nb\n"), "");
    assert!(post(&address, "k", b"a\nb\n").starts_with("HTTP/1.1 200"));
    assert!(post(&address, "k", b"a\nb\n").starts_with("HTTP/1.1 200"));
    assert_eq!(recorder.requests().len(), 4);
    assert_eq!(recorder.lines(), [b"a", b"b"]);
    assert_eq!(recorder.records(), 2);
    assert_eq!(recorder.requests()[0].target, "/ingest?a=b");
    recorder.close();
    assert!(TcpStream::connect(&address).is_err(), "a closed recorder refuses");
    recorder.open();
    assert!(post(&address, "k2", b"c\n").starts_with("HTTP/1.1 429"));
}

#[test]
#[should_panic(expected = "carries one content")]
fn one_key_with_two_contents_is_found() {
    let recorder = Recorder::start();
    let address = recorder.url().trim_start_matches("http://").trim_end_matches("/ingest").to_owned();
    post(&address, "k", b"a\n");
    post(&address, "k", b"b\n");
    recorder.accepted();
}

#[test]
fn a_hanging_request_is_open_until_its_client_goes() {
    let recorder = Recorder::with(|_| Answer::Hang);
    let address = recorder.url().trim_start_matches("http://").trim_end_matches("/ingest").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").unwrap();
    wait_until("it is open", Duration::from_secs(5), || recorder.open_requests() == 1);
    drop(stream);
    wait_until("it is closed", Duration::from_secs(5), || recorder.open_requests() == 0);
}

#[test]
fn both_ways_of_rotating_keep_every_line_of_the_writer() {
    for rotation in [Rotation::Rename { keep: 50 }, Rotation::CopyTruncate { keep: 50 }] {
        let place = Place::new();
        let writer = LogWriter::start(Load {
            path: place.log(),
            run: "r".into(),
            lines_per_second: 20_000,
            rotation,
            rotate_every: Duration::from_millis(50),
        });
        std::thread::sleep(Duration::from_millis(600));
        let written = writer.stop();
        assert!(written > 1000);
        assert!(files_below(&place.path("log")).len() > 4);
        assert_exactly_once("r", written, &lines_in_dir(&place.path("log")));
    }
}

#[test]
fn lost_doubled_changed_and_foreign_lines_are_found() {
    let good: Vec<Vec<u8>> = (0..10).map(|s| writer::line("r", s).into_bytes()).collect();
    assert_exactly_once("r", 10, &good);
    let fails =
        |lines: Vec<Vec<u8>>| std::panic::catch_unwind(|| assert_exactly_once("r", 10, &lines)).is_err();
    assert!(fails(good[1..].to_vec()), "a lost line");
    assert!(fails([good.clone(), vec![good[3].clone()]].concat()), "a doubled line");
    let mut changed = good.clone();
    changed[4].extend_from_slice(b" ");
    assert!(fails(changed), "a changed line");
    assert!(fails([good.clone(), vec![writer::line("r", 10).into_bytes()]].concat()), "a line beyond");
    assert!(fails([good.clone(), vec![writer::line("q", 1).into_bytes()]].concat()), "a line of another run");
}

#[test]
fn object_names_are_judged_to_the_letter() {
    let good = "20260102T030405Z_20260102T030406Z_0123456789abcdef.log.gz";
    assert!(name_parts(good, ".log.gz").is_some());
    for bad in [
        "20260102T030405Z_20260102T030406Z_0123456789ABCDEF.log.gz",
        "20260102T030405Z_20260102T030404Z_0123456789abcdef.log.gz",
        "20260102T030405_20260102T030406Z_0123456789abcdef.log.gz",
        "20260102T030405Z_20260102T030406Z_0123456789abcde.log.gz",
        "20260102T030405Z_20260102T030406Z_0123456789abcdef.log",
    ] {
        assert!(name_parts(bad, ".log.gz").is_none(), "{bad}");
    }
    assert_eq!(ranges(&[1, 2, 3, 7]), "1-3 7-7");
}

//! `http://` destinations: headers, keys, and what each answer means (INTERFACE 5), against a real HTTP server.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn to(place: &Place, recorder: &Recorder) -> Setup {
    place.setup().env("EDGEPUSH_DESTINATION", &recorder.url())
}

/// Whole requests by their key, with the statuses they got, in order.
fn statuses(recorder: &Recorder) -> BTreeMap<String, Vec<Option<u16>>> {
    let mut by_key: BTreeMap<String, Vec<Option<u16>>> = BTreeMap::new();
    for request in recorder.requests() {
        by_key.entry(request.key().to_owned()).or_default().push(request.status);
    }
    by_key
}

#[test]
fn every_header_is_as_promised_with_every_codec() {
    for (codec, encoding) in [("gzip", "gzip"), ("zstd", "zstd"), ("none", "")] {
        let place = Place::new();
        let recorder = Recorder::start();
        writer::append(&place.log(), "r", 0..20_000);
        let done = to(&place, &recorder).env("EDGEPUSH_CODEC", codec).once().exits(0);
        assert_eq!(done.count("records_delivered"), 20_000);
        let requests = recorder.requests();
        assert_eq!(requests.len() as u64, done.count("batches"));
        let mut keys = BTreeSet::new();
        for request in &requests {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/ingest"));
            assert_eq!(request.header("content-type"), "application/x-ndjson");
            assert_eq!(request.header("content-encoding"), encoding);
            assert_eq!(request.header("content-length"), request.body.len().to_string());
            assert_eq!(request.header("x-edgepush-records"), request.lines().len().to_string());
            assert!(request.header("user-agent").starts_with("edgepush/"));
            let suffix = [".log.gz", ".log.zst", ".log"]
                [["gzip", "zstd", "none"].iter().position(|c| *c == codec).unwrap()];
            let name = request.header("x-edgepush-batch").rsplit('/').next().unwrap().to_owned();
            let (_, _, id) = name_parts(&name, suffix).unwrap_or_else(|| panic!("an object name: {name}"));
            assert_eq!(id, request.key(), "the key is the id of the name");
            assert!(keys.insert(id), "an id is never used twice");
        }
        assert_exactly_once("r", 20_000, &recorder.lines());
    }
}

#[test]
fn our_parameters_leave_the_url_and_all_others_are_sent() {
    let place = Place::new();
    let recorder = Recorder::start();
    writer::append(&place.log(), "r", 0..10);
    let url = format!(
        "{}?token=a%20b&header_X-Api-Key=s3cret&header_Content-Type=text%2Fplain&z=1",
        recorder.url()
    );
    let done =
        to(&place, &recorder).env("EDGEPUSH_DESTINATION", &url).env("EDGEPUSH_LOG", "debug").once().exits(0);
    let request = recorder.requests().remove(0);
    assert_eq!(request.target, "/ingest?token=a%20b&z=1");
    assert_eq!(request.header("x-api-key"), "s3cret");
    assert_eq!(request.header("content-type"), "text/plain");
    assert!(!done.stderr.contains("s3cret"), "a secret is never printed: {}", done.stderr);
}

#[test]
fn a_retry_has_the_key_of_the_first_try_also_after_a_restart() {
    for backend in backends("retry") {
        let place = Place::new();
        let recorder = Recorder::with(|ask| Answer::Status(if ask.tries < 2 { 503 } else { 200 }));
        writer::append(&place.log(), "r", 0..1000);
        to(&place, &recorder).env("EDGEPUSH_RUNTIME", backend).once().exits(0);
        let seen = statuses(&recorder);
        assert_eq!(seen.len(), 1, "one batch, one key: {seen:?}");
        assert_eq!(seen.values().next().unwrap()[..], [Some(503), Some(503), Some(200)]);
        assert_exactly_once("r", 1000, &recorder.lines());

        // The next batch is refused until the agent is killed, and delivered by the one after it.
        recorder.script(|_| Answer::Status(503));
        writer::append(&place.log(), "r", 1000..2000);
        let setup =
            to(&place, &recorder).env("EDGEPUSH_RUNTIME", backend).env("EDGEPUSH_BATCH_INTERVAL", "200ms");
        let agent = setup.start();
        wait_until("it was tried twice", Duration::from_secs(15), || recorder.requests().len() >= 5);
        agent.kill();
        recorder.script(|_| Answer::Status(200));
        setup.once().exits(0);
        let seen = statuses(&recorder);
        assert_eq!(seen.len(), 2, "the key outlives the process: {seen:?}");
        assert_exactly_once("r", 2000, &recorder.lines());
    }
}

#[test]
fn a_413_is_split_into_parts_with_derived_keys() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| Answer::Status(if ask.length > 40_000 { 413 } else { 200 }));
    writer::append(&place.log(), "r", 0..2000);
    to(&place, &recorder).env("EDGEPUSH_CODEC", "none").once().exits(0);
    assert_exactly_once("r", 2000, &recorder.lines());
    let seen = statuses(&recorder);
    for (key, statuses) in &seen {
        if let Some((parent, part)) = key.rsplit_once('-') {
            assert!(part == "1" || part == "2", "{key}");
            assert_eq!(seen[parent], [Some(413)], "the parent {parent} was refused once");
        }
        if statuses.contains(&Some(413)) {
            assert!(
                seen.contains_key(&format!("{key}-1")) && seen.contains_key(&format!("{key}-2")),
                "{key}"
            );
        }
    }
}

#[test]
fn a_404_holds_the_job_and_its_oldest_batch_probes_until_it_passes() {
    let place = Place::new();
    let recorder = Recorder::with(|_| Answer::Text(404, "no such collector"));
    writer::append(&place.log(), "r", 0..5000);
    let setup =
        to(&place, &recorder).env("EDGEPUSH_BATCH_RECORDS", "1000").env("EDGEPUSH_BATCH_INTERVAL", "300ms");
    let agent = setup.start_ready();
    wait_until("it has probed three times", Duration::from_secs(20), || recorder.requests().len() >= 3);
    let keys: BTreeSet<String> = recorder.requests().iter().map(|r| r.key().to_owned()).collect();
    // The uploads that were under way together when the first 404 came are no probes.
    assert!(keys.len() <= 4, "only the oldest batch probes: {keys:?}");
    let last = recorder.requests().last().unwrap().key().to_owned();
    wait_until("the log has the server's text", Duration::from_secs(5), || {
        agent.stderr_text().contains("no such collector")
    });
    assert_eq!(agent.get("/readyz").expect("readyz").0, 200, "readiness does not depend on destinations");
    recorder.script(|_| Answer::Status(200));
    wait_until("all is delivered", Duration::from_secs(25), || recorder.records() == 5000);
    agent.terminate().exits(0);
    assert_exactly_once("r", 5000, &recorder.lines());
    assert!(recorder.accepted()[0].key() == last || keys.contains(recorder.accepted()[0].key()));
}

#[test]
fn one_refused_batch_is_held_aside_and_its_neighbours_pass() {
    let place = Place::new();
    let refused = std::sync::Arc::new(std::sync::Mutex::new(None::<String>));
    let first = refused.clone();
    let recorder = Recorder::with(move |ask| {
        let mut key = first.lock().unwrap();
        let bad = key.get_or_insert_with(|| ask.key.clone());
        if *bad == ask.key { Answer::Text(400, "bad field") } else { Answer::Status(200) }
    });
    let setup =
        to(&place, &recorder).env("EDGEPUSH_BATCH_RECORDS", "1000").env("EDGEPUSH_BATCH_INTERVAL", "300ms");
    writer::append(&place.log(), "r", 0..5000);
    let agent = setup.start_ready();
    wait_until("the neighbours are delivered", Duration::from_secs(30), || recorder.records() == 4000);
    wait_until("it was tried three times", Duration::from_secs(20), || {
        statuses(&recorder)[refused.lock().unwrap().as_ref().unwrap()].len() >= 3
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        statuses(&recorder)[refused.lock().unwrap().as_ref().unwrap()].len(),
        3,
        "held aside after 3 tries"
    );
    writer::append(&place.log(), "r", 5000..6000);
    wait_until("the job goes on", Duration::from_secs(10), || recorder.records() == 5000);
    let aside = agent.metrics().expect("metrics").sum_where("edgepush_batches_total", "aside");
    assert!(aside >= 1.0, "what is held aside is counted");
    agent.terminate();
}

#[test]
fn the_body_that_curl_gets_compressed_is_read_by_curl() {
    // What we send with Content-Encoding: gzip must be one member: curl --compressed reads no second one.
    let place = Place::new();
    let recorder = Recorder::start();
    writer::append(&place.log(), "r", 0..20_000);
    to(&place, &recorder).env("EDGEPUSH_BATCH_BYTES", "100MB").once().exits(0);
    let body = recorder.requests().remove(0).body;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    });
    let out = std::process::Command::new("curl")
        .args(["-sS", "--max-time", "20", "--compressed", &format!("http://{address}/")])
        .output();
    match out {
        Ok(out) => {
            server.join().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert!(out.stdout == std::fs::read(place.log()).unwrap(), "curl reads every line");
        }
        Err(e) => {
            drop(std::net::TcpStream::connect(address));
            skipped("curl --compressed", &e.to_string());
        }
    }
}

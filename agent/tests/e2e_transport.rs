//! What an operator sees of the transport, with the real binary: proxies of the environment, a job's bytes a second,
//! what `check` warns of.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::time::Duration;

#[test]
fn a_proxy_of_the_environment_is_used() {
    let place = Place::new();
    // A proxy for http:// is a server that takes whole URLs.
    let proxy = Recorder::start();
    let address = proxy.url().replace("/ingest", "");
    let setup = place.setup().env("EDGEPUSH_DESTINATION", "http://collector.invalid/ingest");
    writer::append(&place.log(), "r", 0..100);
    let done = setup.env("http_proxy", &address).once().exits(0);
    assert_eq!(done.count("records_delivered"), 100);
    assert_exactly_once("r", 100, &proxy.lines());
    assert_eq!(proxy.requests()[0].header("host"), "collector.invalid");
    let done = place
        .setup()
        .env("EDGEPUSH_DESTINATION", "http://collector.invalid/ingest")
        .env("HTTP_PROXY", "gopher://old")
        .once()
        .exits(2);
    assert!(done.stderr.contains("HTTP_PROXY is not the URL of a proxy"), "{}", done.stderr);
}

#[test]
fn a_jobs_bytes_a_second_are_kept() {
    const RATE: f64 = 20_000.0;
    let place = Place::new();
    let recorder = Recorder::start();
    let setup = place
        .setup()
        .env("EDGEPUSH_DESTINATION", &recorder.url())
        .env("EDGEPUSH_CODEC", "none")
        .env("EDGEPUSH_BATCH_BYTES", "10kB")
        .env("EDGEPUSH_JOB_EGRESS_MAX", "20kB/s");
    let lines = 40_000 / writer::line("r", 0).len() as u64;
    writer::append(&place.log(), "r", 0..lines);
    setup.once().exits(0);
    assert_exactly_once("r", lines, &recorder.lines());
    let requests = recorder.requests();
    assert!(requests.len() >= 4, "{}", requests.len());
    let mut before = 0.0;
    for request in &requests {
        let at = request.at - requests[0].at + Duration::from_millis(100);
        assert!(at.as_secs_f64() >= before / RATE, "{before} bytes were sent within {at:?}");
        before += request.body.len() as f64;
    }
}

#[test]
fn check_warns_of_a_certificate_that_is_not_verified() {
    let place = Place::new();
    let check = |query: &str| {
        let url = format!("https://127.0.0.1:1/in{query}");
        place.setup().env("EDGEPUSH_DESTINATION", &url).finish(&["check"]).exits(1).stdout
    };
    let said = check("?insecure-skip-verify=true");
    assert!(said.contains("the receiver's certificate is not verified"), "{said}");
    assert!(said.contains("/in?insecure-skip-verify=true"), "{said}");
    assert!(!check("").contains("not verified"));
}

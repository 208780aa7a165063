//! A destination that refuses, hangs, errs, closes, or stays away for longer than memory lasts: nothing is lost,
//! nothing doubled, memory and spool stay under their bounds, and what waited comes oldest first.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn to(place: &Place, recorder: &Recorder) -> Setup {
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &recorder.url());
    setup.env("EDGEPUSH_BATCH_INTERVAL", "300ms").env("EDGEPUSH_STOP_TIMEOUT", "3s")
}

/// Writes for some seconds while the recorder behaves as scripted, then well: every line comes once.
fn survives(script: impl Fn(&recorder::Ask) -> Answer + Send + Sync + 'static) -> (Place, Recorder) {
    let place = Place::new();
    let recorder = Recorder::with(script);
    let setup = to(&place, &recorder);
    let agent = setup.start_ready();
    let load = Load {
        path: place.log(),
        run: "r".into(),
        lines_per_second: 3000,
        rotation: Rotation::Rename { keep: 5 },
        rotate_every: Duration::from_secs(2),
    };
    let writer = LogWriter::start(load);
    std::thread::sleep(Duration::from_secs(5));
    let written = writer.stop();
    recorder.script(|_| Answer::Status(200));
    wait_until("all is delivered", Duration::from_secs(45), || recorder.records() >= written);
    agent.terminate().exits(0);
    assert_exactly_once("r", written, &recorder.lines());
    (place, recorder)
}

#[test]
fn errors_500() {
    let (_place, recorder) = survives(|ask| Answer::Status(if ask.number % 3 == 2 { 200 } else { 500 }));
    assert!(recorder.requests().iter().any(|r| r.status == Some(500)));
}

#[test]
fn retry_after_is_obeyed() {
    let (_place, recorder) = survives(|ask| match ask.tries {
        0 => Answer::RetryAfter(429, "3"),
        _ => Answer::Status(200),
    });
    let mut first: BTreeMap<String, std::time::Instant> = BTreeMap::new();
    let mut obeyed = 0;
    for request in recorder.requests() {
        match first.get(request.key()) {
            None if request.status == Some(429) => drop(first.insert(request.key().into(), request.at)),
            Some(refused) => {
                let waited = request.at - *refused;
                assert!(waited >= Duration::from_millis(2900), "tried again after {waited:?}");
                obeyed += 1;
            }
            None => {}
        }
    }
    assert!(obeyed > 0);
}

#[test]
fn closed_in_the_middle_and_after_the_body() {
    let (_place, recorder) = survives(|ask| match ask.tries {
        0 => Answer::CloseInside,
        1 => Answer::CloseAfter,
        _ => Answer::Status(200),
    });
    assert!(recorder.requests().iter().any(|r| !r.whole));
}

#[test]
fn slow_answers_hold_back_nothing_but_themselves() {
    survives(|_| Answer::Slow(Duration::from_millis(900), 200));
}

#[test]
fn refused_and_back() {
    let place = Place::new();
    let mut recorder = Recorder::start();
    recorder.close();
    writer::append(&place.log(), "r", 0..5000);
    let mut agent = to(&place, &recorder).start_ready();
    std::thread::sleep(Duration::from_secs(3));
    assert!(agent.alive(), "weather never ends run");
    writer::append(&place.log(), "r", 5000..10_000);
    recorder.open();
    wait_until("all is delivered", Duration::from_secs(30), || recorder.records() >= 10_000);
    agent.terminate().exits(0);
    assert_exactly_once("r", 10_000, &recorder.lines());
}

#[test]
fn a_hanging_destination_delays_no_stop_and_its_batches_keep_their_keys() {
    let place = Place::new();
    let recorder = Recorder::with(|_| Answer::Hang);
    let setup = to(&place, &recorder);
    writer::append(&place.log(), "r", 0..5000);
    let agent = setup.start_ready();
    wait_until("a request hangs", Duration::from_secs(10), || recorder.open_requests() > 0);
    let asked = std::time::Instant::now();
    agent.terminate();
    assert!(asked.elapsed() < Duration::from_secs(6), "stops within EDGEPUSH_STOP_TIMEOUT");
    recorder.script(|_| Answer::Status(200));
    setup.once().exits(0);
    let hung: Vec<String> =
        recorder.requests().iter().filter(|r| r.status.is_none()).map(|r| r.key().to_owned()).collect();
    assert!(!hung.is_empty());
    for key in hung {
        assert!(recorder.accepted().iter().any(|r| r.key() == key), "{key} came again under its key");
    }
    assert_exactly_once("r", 5000, &recorder.lines());
}

#[test]
fn a_hanging_request_times_out_and_is_tried_again() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| if ask.tries == 0 { Answer::Hang } else { Answer::Status(200) });
    writer::append(&place.log(), "r", 0..100);
    let agent = to(&place, &recorder).start_ready();
    // INTERFACE 5: 30 s without any byte.
    wait_until("it is delivered", Duration::from_secs(45), || recorder.records() >= 100);
    let waited = recorder.requests()[1].at - recorder.requests()[0].at;
    assert!(waited >= Duration::from_secs(25), "{waited:?}");
    agent.terminate().exits(0);
    assert_exactly_once("r", 100, &recorder.lines());
}

#[test]
fn longer_than_memory_and_spool_last() {
    const SPOOL: u64 = 64_000_000;
    const MEMORY: u64 = 96_000_000;
    let place = Place::new();
    let recorder = Recorder::with(|_| Answer::Status(503));
    // Uncompressed, so that what waits is larger than the spool: the file itself has to hold the rest.
    let lines = 700_000;
    for part in 0..lines / 50_000 {
        writer::append(&place.log(), "r", part * 50_000..(part + 1) * 50_000);
    }
    let size = std::fs::metadata(place.log()).unwrap().len();
    assert!(size > SPOOL + MEMORY / 4, "the input must not fit: {size}");
    let setup = to(&place, &recorder)
        .env("EDGEPUSH_CODEC", "none")
        .env("EDGEPUSH_BATCH_BYTES", "2MB")
        .env("EDGEPUSH_UPLOADS", "1")
        .env("EDGEPUSH_SPOOL_MAX", "64MB")
        .env("EDGEPUSH_MEMORY_MAX", "96MB");
    let agent = setup.start_ready();
    let mut largest = 0;
    let mut pressed = false;
    wait_until("the readers are stopped by the full spool", Duration::from_secs(40), || {
        largest = largest.max(allocated_bytes(&place.state()));
        // Readers also stop for a moment while a commit is written: the spool's bound is what is waited for.
        let stopped = agent.metrics().is_some_and(|m| m.sum("edgepush_backpressure") > 0.0);
        pressed |= stopped && largest >= SPOOL / 2;
        pressed
    });
    for _ in 0..20 {
        largest = largest.max(allocated_bytes(&place.state()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let spooled = agent.metrics().expect("metrics").sum("edgepush_spool_bytes");
    assert!(largest <= SPOOL, "the state directory took {largest} of {SPOOL} bytes");
    assert!(largest >= SPOOL / 2, "the bound was reached, or this test shows nothing: {largest}");
    assert!(agent.peak_rss() <= MEMORY, "peak RSS {} of {MEMORY} bytes", agent.peak_rss());
    recorder.script(|_| Answer::Status(200));
    wait_until("all is delivered", Duration::from_secs(50), || recorder.records() >= lines);
    let rss = agent.peak_rss();
    println!(
        "outage: state {largest} B (bound {SPOOL}), spool {spooled} B, peak RSS {rss} B (bound {MEMORY})"
    );
    assert!(rss <= MEMORY, "peak RSS {rss} of {MEMORY} bytes while catching up");
    agent.terminate().exits(0);
    let delivered = recorder.lines();
    assert_exactly_once("r", lines, &delivered);
    let firsts: Vec<u64> = recorder.accepted().iter().map(|r| sequence("r", &r.lines()[0])).collect();
    assert!(firsts.is_sorted(), "catch-up is oldest first: {firsts:?}");
}

//! `https://` and `http://` into a real nginx that keeps every body, directly and through every fault: each line of the log
//! once for a receiver that removes doubles by their `Idempotency-Key`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::servers::{Nginx, nginx};
use common::*;
use std::time::Duration;

/// Batches of 100 lines, whose uploads come one at a time: the nth meets the nth fault.
fn setup(place: &Place, url: &str) -> Setup {
    place
        .setup()
        .env("EDGEPUSH_DESTINATION", url)
        .env("EDGEPUSH_BATCH_RECORDS", "100")
        .env("EDGEPUSH_BATCH_INTERVAL", "200ms")
        .env("EDGEPUSH_UPLOADS", "1")
}

fn with_ca(url: &str, nginx: &Nginx) -> String {
    format!("{url}/in?ca={}", nginx.file("ca.pem").display())
}

/// Delivers 1,500 lines with `--once`.
fn deliver(url: &str) -> Done {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..1500);
    let done = setup(&place, url).once().exits(0);
    assert_eq!((done.count("records_delivered"), done.count("undelivered_batches")), (1500, 0));
    done
}

#[test]
fn tls_1_3_with_every_codec() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    deliver(&with_ca(&nginx.https(), &nginx));
    let kept = nginx.kept();
    assert!(kept.iter().all(|r| r.tls == "TLSv1.3" && r.uri == "/in" && r.encoding == "gzip"), "{kept:?}");
    assert_eq!(kept.len(), 15);
    assert_exactly_once("r", 1500, &nginx.lines());
}

#[test]
fn every_fault_of_plain_http_leaves_each_line_once_by_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    use Fault::*;
    let faults = [
        ResetOnAccept,
        ResetAfterHead,
        ResetInBody,
        ResetBeforeAnswer,
        ResetInAnswer,
        SwallowAnswer,
        AnswerInstead(500),
        SlowAnswer(Duration::from_millis(2)),
        Refuse(429, "1"),
        Refuse(503, "0"),
        AnswerInstead(503),
    ];
    let proxy = Faults::before(nginx.plain, Fault::apart(&faults));
    deliver(&format!("{}/in", proxy.url()));
    assert_eq!(proxy.met(), faults, "each fault has met an upload");
    assert_exactly_once("r", 1500, &nginx.lines());
    // What was taken and not answered came twice, under one key: this is what the key is for.
    let taken = nginx.requests().iter().filter(|r| r.status == 200).count();
    assert_eq!(taken, 15 + 6, "{:?}", proxy.applied());
}

#[test]
fn a_307_holds_the_job_and_its_batch_passes_later_under_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    let proxy = Faults::before(nginx.plain, [Fault::Redirect(format!("{}/elsewhere", nginx.http()))]);
    let done = deliver(&format!("{}/in", proxy.url()));
    assert!(done.stderr.contains("307") && done.stderr.contains("not followed"), "{}", done.stderr);
    assert_exactly_once("r", 1500, &nginx.lines());
    assert!(nginx.requests().iter().all(|r| r.uri == "/in"), "nothing follows a redirection");
}

#[test]
fn tls_that_breaks_anywhere_leaves_each_line_once_by_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    // In the client's hello, after it, in its finish, in the head, in the body; and answers that never come.
    let resets = [1, 100, 300, 700, 900, 1500, 3000].map(Fault::ResetAfterSent);
    let mutes = [300, 700, 2500].map(Fault::MuteAfterSent);
    for (number, fault) in resets.into_iter().chain(mutes).enumerate() {
        let proxy = Faults::before(nginx.tls, [fault.clone()]);
        let uri = format!("/{number}");
        deliver(&format!("https://localhost:{}{uri}?ca={}", proxy.port(), nginx.file("ca.pem").display()));
        assert_eq!(proxy.met(), [fault.clone()]);
        let lines: Vec<_> = nginx.kept().iter().filter(|r| r.uri == uri).flat_map(|r| r.lines()).collect();
        assert_exactly_once("r", 1500, &lines);
        let taken = nginx.requests().iter().filter(|r| r.uri == uri && r.status == 200).count();
        say(&format!("TLS, {fault:?}: 15 batches, {taken} taken, {} connections", proxy.connections()));
    }
}

#[test]
fn killed_in_the_middle_of_uploads_each_line_once_by_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    // The first tries are taken and their answers take longer than the agent lives.
    let slow = || Fault::SlowAnswer(Duration::from_millis(50));
    let proxy = Faults::before(nginx.plain, [slow(), slow(), slow(), slow()]);
    let place = Place::new();
    let setup = setup(&place, &format!("{}/in", proxy.url())).env("EDGEPUSH_UPLOADS", "4");
    writer::append(&place.log(), "r", 0..1500);
    for round in 1..=4 {
        let agent = setup.start();
        wait_until("uploads are taken", Duration::from_secs(20), || {
            nginx.requests().iter().filter(|r| r.method == "POST").count() >= round
        });
        agent.kill();
    }
    setup.once().exits(0);
    let taken = nginx.requests().iter().filter(|r| r.status == 200).count();
    assert!(taken > nginx.kept().len(), "something came twice: {taken}");
    assert_exactly_once("r", 1500, &nginx.lines());
}

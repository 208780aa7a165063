//! `https://` and `http://` into a real nginx that keeps every body, directly and through every fault: each line of the log
//! once for a receiver that removes doubles by their `Idempotency-Key`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::delivery::{BATCHES, LINES, deliver, deliver_through_faults, deliver_with_kills};
use common::servers::{Nginx, nginx};
use common::*;

fn with_ca(url: &str, nginx: &Nginx) -> String {
    format!("{url}/in?ca={}", nginx.file("ca.pem").display())
}

#[test]
fn tls_1_3_with_every_codec() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    deliver(&with_ca(&nginx.https(), &nginx));
    let kept = nginx.kept();
    assert!(kept.iter().all(|r| r.tls == "TLSv1.3" && r.uri == "/in" && r.encoding == "gzip"), "{kept:?}");
    assert_eq!(kept.len() as u64, BATCHES);
    assert_exactly_once("r", LINES, &nginx.lines());
}

#[test]
fn every_fault_of_plain_http_leaves_each_line_once_by_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    let again = deliver_through_faults(nginx.plain, |port| format!("http://127.0.0.1:{port}/in"));
    assert_exactly_once("r", LINES, &nginx.lines());
    // What was taken and not answered came twice, under one key: this is what the key is for.
    let taken = nginx.requests().iter().filter(|r| r.status == 200).count();
    assert_eq!(taken as u64, BATCHES + again);
}

#[test]
fn a_307_holds_the_job_and_its_batch_passes_later_under_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    let proxy = Faults::before(nginx.plain, [Fault::Redirect(format!("{}/elsewhere", nginx.http()))]);
    let done = deliver(&format!("{}/in", proxy.url()));
    assert!(done.stderr.contains("307") && done.stderr.contains("not followed"), "{}", done.stderr);
    assert_exactly_once("r", LINES, &nginx.lines());
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
        assert_exactly_once("r", LINES, &lines);
        let taken = nginx.requests().iter().filter(|r| r.uri == uri && r.status == 200).count();
        say(&format!(
            "TLS, {fault:?}: {BATCHES} batches, {taken} taken, {} connections",
            proxy.connections()
        ));
    }
}

#[test]
fn killed_in_the_middle_of_uploads_each_line_once_by_its_key() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    deliver_with_kills(nginx.plain, |port| format!("http://127.0.0.1:{port}/in"));
    let taken = nginx.requests().iter().filter(|r| r.status == 200).count();
    assert!(taken > nginx.kept().len(), "something came twice: {taken}");
    assert_exactly_once("r", LINES, &nginx.lines());
}

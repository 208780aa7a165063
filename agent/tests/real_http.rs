//! `https://` and `http://` into a real nginx that keeps every body, directly and through every fault: each line of the log
//! once for a receiver that removes doubles by their `Idempotency-Key`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::delivery::*;
use common::servers::{Nginx, nginx};
use common::*;

fn with_ca(url: &str, nginx: &Nginx) -> String {
    format!("{url}?ca={}", nginx.file("ca.pem").display())
}

#[test]
fn tls_1_3() {
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    deliver(&with_ca(&format!("{}/in", nginx.https()), &nginx));
    let kept = nginx.kept();
    assert!(kept.iter().all(|r| r.tls == "TLSv1.3" && r.uri == "/in" && r.encoding == "gzip"), "{kept:?}");
    assert_eq!(kept.len() as u64, BATCHES);
    assert_exactly_once("r", LINES, &nginx.lines());
}

#[test]
fn http_2_with_a_certificate_of_the_client() {
    let Some(nginx) = Nginx::start(nginx::KEEPS_OF_CLIENTS) else { return };
    let own = |name: &str| {
        let file = |end: &str| nginx.file(&format!("{name}.{end}")).display().to_string();
        format!("cert={}&cert-key={}", file("pem"), file("key"))
    };
    for (version, protocol) in [("1.1", "HTTP/1.1"), ("2", "HTTP/2.0")] {
        let uri = format!("/{version}");
        // Four uploads share what there is of connections; one connection is cut in the body, of another no answer comes.
        for (number, fault) in
            [Fault::Clean, Fault::ResetAfterSent(6000), Fault::MuteAfterSent(9000)].iter().enumerate()
        {
            let proxy = Faults::before(nginx.tls, [fault.clone()]);
            let uri = format!("{uri}-{number}");
            let url = with_ca(&format!("https://localhost:{}{uri}", proxy.port()), &nginx);
            let place = Place::new();
            writer::append(&place.log(), "r", 0..LINES);
            let url = format!("{url}&http-version={version}&{}", own("client"));
            to(&place, &url).env("EDGEPUSH_UPLOADS", "4").once().exits(0);
            let kept: Vec<_> = nginx.kept().into_iter().filter(|r| r.uri == uri).collect();
            assert!(kept.iter().all(|r| r.protocol == protocol && r.client == "CN=client"), "{kept:?}");
            let lines: Vec<_> = kept.iter().flat_map(nginx::Kept::lines).collect();
            assert_exactly_once("r", LINES, &lines);
            // A connection that got the fault may have ended before it had sent so much.
            assert!(proxy.met().len() + proxy.left() <= 1, "{fault:?}");
            say(&format!("{protocol}, {fault:?}: {} connections", proxy.connections()));
        }
    }
    // Another authority's certificate, and none: refused, and nothing is kept.
    for login in [own("other"), String::new()] {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..10);
        let url = format!("{}&{login}", with_ca(&format!("{}/wrong", nginx.https()), &nginx));
        let done = to(&place, url.trim_end_matches('&')).env("EDGEPUSH_ONCE_TIMEOUT", "2s").once().exits(1);
        assert_eq!(done.count("undelivered_batches"), 1);
    }
    let wrong: Vec<u16> = nginx.requests().iter().filter(|r| r.uri == "/wrong").map(|r| r.status).collect();
    assert!(wrong.len() >= 2 && wrong.iter().all(|status| *status == 400), "{wrong:?}");
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
        deliver(&with_ca(&format!("https://localhost:{}{uri}", proxy.port()), &nginx));
        assert_eq!(proxy.met(), std::slice::from_ref(&fault));
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

#[test]
fn silence_and_storms_leave_each_line_once_by_its_key() {
    if !heavy() {
        return;
    }
    let url = |port: u16| format!("http://127.0.0.1:{port}/in");
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    deliver_through_silence(nginx.plain, url);
    assert_exactly_once("r", LINES, &nginx.lines());
    let Some(nginx) = Nginx::start(nginx::KEEPS) else { return };
    let written = deliver_in_a_storm(nginx.plain, (60, 2000), 0x5eed, url);
    assert_exactly_once("r", written, &nginx.lines());
}

//! `opensearch+http://` into osmem, which has OpenSearch's own bulk semantics, read back with opensearch-py: every line one
//! document, whatever happens on the way; nginx before it asks for credentials and refuses.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::delivery::*;
use common::servers::{Nginx, Osmem};
use common::*;
use serde_json::json;

/// Every line of the log is one document of this index, and nothing else is.
fn holds_each_line_once(osmem: &Osmem, index: &str, lines: u64) {
    let found = osmem.read_back(&format!("{index}-*"));
    found.assert_exactly_once_as_json("r", lines);
    assert_eq!((found.count("documents"), found.count("ids")), (lines, lines), "{}", found.said);
}

fn url(port: u16, index: &str) -> String {
    format!("opensearch+http://127.0.0.1:{port}/{index}-{{DATE}}")
}

#[test]
fn every_line_is_one_document() {
    let Some(osmem) = Osmem::start() else { return };
    deliver(&url(osmem.port, "direct"));
    holds_each_line_once(&osmem, "direct", LINES);
    let again = deliver_through_faults(osmem.port, |port| url(port, "faults"));
    assert_eq!(again, 5, "requests that came again after they were taken");
    holds_each_line_once(&osmem, "faults", LINES);
    deliver_with_kills(osmem.port, |port| url(port, "kills"));
    holds_each_line_once(&osmem, "kills", LINES);
    // A portal answers 200 to a request that the server never saw: that is no success.
    let proxy = Faults::before(osmem.port, [Fault::Portal]);
    deliver(&url(proxy.port(), "portal"));
    assert_eq!(proxy.met(), [Fault::Portal]);
    holds_each_line_once(&osmem, "portal", LINES);
}

#[test]
fn behind_a_lock_and_a_limit_every_line_is_one_document() {
    let Some(osmem) = Osmem::start() else { return };
    // Ten requests a second, and what comes faster is 429; a user and a password; TLS 1.3.
    let blocks = format!(
        "limit_req_zone all zone=few:1m rate=10r/s; server {{ {{listen}} \
         auth_basic edge; auth_basic_user_file {{dir}}/users; limit_req zone=few; limit_req_status 429; \
         location / {{ client_max_body_size 0; proxy_pass http://127.0.0.1:{}; }} }}",
        osmem.port
    );
    let Some(nginx) = Nginx::start(&blocks) else { return };
    std::fs::write(nginx.file("users"), "edge:{PLAIN}pa55word\n").unwrap();
    let url = |user: &str| {
        let ca = nginx.file("ca.pem");
        format!("opensearch://{user}@localhost:{}/locked-{{DATE}}?ca={}", nginx.tls, ca.display())
    };
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10);
    let done =
        delivery::to(&place, &url("edge:wr0ngword")).env("EDGEPUSH_ONCE_TIMEOUT", "3s").once().exits(1);
    assert!(done.stderr.contains("401") && !done.stderr.contains("wr0ngword"), "{}", done.stderr);
    assert_eq!(osmem.read_back("*").said["indexes"], json!([]));
    deliver(&url("edge:pa55word"));
    holds_each_line_once(&osmem, "locked", LINES);
    let count =
        |status: u16| nginx.requests().iter().filter(|r| r.status == status && r.method == "POST").count();
    assert_eq!((count(200) as u64, count(401) > 0), (BATCHES, true));
    say(&format!("osmem behind nginx: {} requests were answered 429", count(429)));
}

#[test]
fn every_line_is_one_document_whatever_it_takes() {
    if !heavy() {
        return;
    }
    let Some(osmem) = Osmem::start() else { return };
    // With some tens of thousands of documents this server takes more than half a minute for one request.
    let written = deliver_in_a_storm(osmem.port, (30, 150), 0x5eed, |port| url(port, "storm"));
    holds_each_line_once(&osmem, "storm", written);
    deliver_through_silence(osmem.port, |port| url(port, "silence"));
    holds_each_line_once(&osmem, "silence", LINES);
}

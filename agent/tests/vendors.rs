//! Vendors over HTTP: each keeps the contract of destinations before a recorder that answers as the vendor documents it,
//! and what it sends is held against the vendor's documented request. ClickHouse and nginx are the real ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
#[path = "common/contract.rs"]
mod contract;

#[path = "vendors/clickhouse.rs"]
mod clickhouse;
#[path = "vendors/clickhouse_server.rs"]
mod clickhouse_server;
#[path = "vendors/clients.rs"]
mod clients;
#[path = "vendors/datadog.rs"]
mod datadog;
#[path = "vendors/ibm.rs"]
mod ibm;
#[path = "vendors/nginx.rs"]
mod nginx;
#[path = "vendors/others.rs"]
mod others;
#[path = "vendors/splunk.rs"]
mod splunk;
#[path = "vendors/splunk_ack.rs"]
mod splunk_ack;

use common::recorder::{Answer, Ask, Recorder, Request};
use contract::Held;
use edgepush::config::Reserve;
use edgepush::destination::client::Clients;
use edgepush::destination::{Destination, DestinationUrl, Opening, Verdict};
use std::path::Path;
use std::sync::Arc;

/// A recorder that answers like a vendor, and the vendor's URL of it.
struct Vendor {
    recorder: Arc<Recorder>,
    url: String,
}

impl Vendor {
    /// `rest`: path and query.
    fn new(scheme: &str, rest: &str, script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Vendor {
        let recorder = Arc::new(Recorder::with(script));
        let url = format!("{scheme}+http://{}{rest}", recorder.address());
        Vendor { recorder, url }
    }

    fn open(&self) -> Arc<dyn Destination> {
        contract::open(&self.url, Path::new("/nowhere"))
    }

    /// Requests that hold a batch.
    fn batches(&self) -> Vec<Request> {
        batches(&self.recorder)
    }

    /// Requests that hold none.
    fn others(&self) -> Vec<Request> {
        let mut requests = self.recorder.requests();
        requests.retain(|r| r.header("x-edgepush-batch").is_empty());
        requests
    }

    /// What it holds, for the contract.
    fn held(&self) -> Option<Held> {
        let recorder = self.recorder.clone();
        Some(Box::new(move || {
            let batches = batches(&recorder).into_iter();
            batches.map(|r| (r.header("x-edgepush-batch").to_owned(), r.body.to_vec())).collect()
        }))
    }

    /// What one batch comes to.
    fn delivered(&self) -> Verdict {
        contract::run(self.open().deliver(contract::batch(1, &[b"{}\n"]))).verdict
    }
}

fn batches(recorder: &Recorder) -> Vec<Request> {
    let mut requests = recorder.requests();
    requests.retain(|r| !r.header("x-edgepush-batch").is_empty());
    requests
}

/// A server that answers one request with these bytes and closes.
fn breaking(answer: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{}\n") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the whole request arrives");
            request.extend_from_slice(&part[..read]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn a_success_that_breaks_off_is_weather() {
    for (scheme, rest, answer) in [
        (
            "splunk",
            "/services/collector/raw?header_Authorization=Splunk%20x",
            "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{\"text\":\"Success\",\"code\":0}",
        ),
        (
            "datadog",
            "/api/v2/logs?header_DD-API-KEY=x",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 60\r\n\r\n{}",
        ),
        ("clickhouse", "/edge", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        let url = format!("{scheme}+http://{}{rest}", breaking(answer));
        let to = contract::open(&url, Path::new("/nowhere"));
        let verdict = contract::run(to.deliver(contract::batch(1, &[b"{}\n"]))).verdict;
        assert!(matches!(verdict, Verdict::Retry { .. }), "{scheme}: {verdict:?}");
    }
}

/// An answer with this status and JSON.
fn json(status: u16, text: &str) -> Answer {
    Answer::Full(status, &[("content-type", "application/json")], text.to_owned())
}

/// Why a URL is not taken.
fn refused(url: &str) -> String {
    let opened = DestinationUrl::parse(url).and_then(|url| {
        let clients = Clients::default();
        url.open(&Opening { state: Path::new("/nowhere"), clients: &clients, keep_free: Reserve::Percent(0) })
    });
    opened.err().unwrap_or_else(|| panic!("{url} is taken"))
}

/// What is shown of a URL, in every way.
fn shown(url: &str) -> String {
    let url = DestinationUrl::parse(url).unwrap();
    format!("{url} {url:?}")
}

/// Everything that a verdict says.
fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Delivered => "",
        Verdict::Partly { .. } => panic!("{verdict:?}"),
        Verdict::Retry { why, .. }
        | Verdict::Hold { why }
        | Verdict::Refused { why }
        | Verdict::TooLarge { why } => why,
    }
}

/// The path and the parameters of a target, decoded enough for these tests.
fn target(request: &Request) -> (&str, Vec<&str>) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    (path, query.split('&').filter(|pair| !pair.is_empty()).collect())
}

/// The records of a JSON array that stand on a line each, as they were written.
fn records(body: &[u8]) -> Vec<Vec<u8>> {
    let parsed: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap();
    let inside = std::str::from_utf8(body).unwrap().strip_prefix("[{").unwrap().strip_suffix("}\n]").unwrap();
    let records: Vec<_> = inside.split("}\n,{").map(|record| format!("{{{record}}}").into_bytes()).collect();
    assert_eq!(records.len(), parsed.len());
    records
}

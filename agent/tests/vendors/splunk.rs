//! Splunk's HTTP Event Collector, raw and event, as its REST reference documents it.
use super::*;
use crate::common::{Place, assert_exactly_once, writer};
use contract::{contract, run};
use std::time::Duration;

pub const TOKEN: &str = "c0ffee00-1234-4abc-9def-00112233aabb";
pub const CHANNEL: &str = "5f3a2c1e-0b4d-4c6e-8f7a-9b8c7d6e5f4a";

/// A collector that knows one token, answers with data like Splunk and without data that there is none.
pub fn collector(ask: &Ask) -> Answer {
    match &*ask.authorization {
        "" => json(401, r#"{"text":"Token is required","code":2}"#),
        given if given != format!("Splunk {TOKEN}") => json(403, r#"{"text":"Invalid token","code":4}"#),
        _ if ask.length == 0 => json(400, r#"{"text":"No data","code":5}"#),
        _ => json(200, r#"{"text":"Success","code":0}"#),
    }
}

fn raw(more: &str, script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Vendor {
    let rest = format!("/services/collector/raw?{more}header_Authorization=Splunk%20{TOKEN}");
    Vendor::new("splunk", &rest, script)
}

#[test]
fn raw_keeps_the_contract_as_cloudflare_writes_it() {
    let vendor = raw(&format!("channel={CHANNEL}&sourcetype=cloudflare:json&index=edge&"), collector);
    run(contract(vendor.open(), vendor.held(), TOKEN));
    for request in vendor.recorder.requests() {
        assert_eq!(request.method, "POST");
        let (path, query) = target(&request);
        assert_eq!(path, "/services/collector/raw");
        assert_eq!(query, [&format!("channel={CHANNEL}"), "sourcetype=cloudflare:json", "index=edge"]);
        assert_eq!(request.header("authorization"), format!("Splunk {TOKEN}"));
        assert_eq!(request.header("x-splunk-request-channel"), "", "the URL has one");
    }
}

#[test]
fn a_channel_is_made_when_there_is_none_and_stays() {
    let vendor = raw("", collector);
    let to = vendor.open();
    for number in 0..2 {
        assert_eq!(run(to.deliver(contract::batch(number, &[b"{}\n"]))), Verdict::Delivered);
    }
    let channels: Vec<_> =
        vendor.batches().iter().map(|r| r.header("x-splunk-request-channel").to_owned()).collect();
    assert_eq!(channels[0].len(), 36, "{channels:?}");
    assert_eq!(channels[0], channels[1]);
}

#[test]
fn what_a_collector_says_has_its_meaning() {
    type Fits = fn(&Verdict) -> bool;
    let held: Fits = |v| matches!(v, Verdict::Hold { .. });
    let refused: Fits = |v| matches!(v, Verdict::Refused { .. });
    let again: Fits = |v| matches!(v, Verdict::Retry { .. });
    for (status, body, fits) in [
        (200, r#"{"text":"Success","code":0}"#, (|v| *v == Verdict::Delivered) as Fits),
        (403, r#"{"text":"Invalid token","code":4}"#, held),
        (400, r#"{"text":"Incorrect index","code":7,"invalid-event-number":1}"#, held),
        (400, r#"{"text":"Invalid data format","code":6,"invalid-event-number":1}"#, refused),
        (503, r#"{"text":"Server is busy","code":9}"#, again),
        (503, "", again),
        (413, "<html>too large</html>", |v| matches!(v, Verdict::TooLarge { .. })),
        // Successes that are none.
        (200, r#"{"text":"Invalid data format","code":6}"#, refused),
        (200, r#"{"text":"Server is busy","code":9}"#, again),
        (200, "<html>Sign in to the hotel's network</html>", held),
        (200, "", held),
    ] {
        let vendor = raw("", move |_| json(status, body));
        let verdict = vendor.delivered();
        assert!(fits(&verdict), "{status} {body}: {verdict:?}");
    }
    let busy = raw("", |_| Answer::Full(503, &[("retry-after", "7")], r#"{"code":9}"#.into()));
    assert!(matches!(busy.delivered(), Verdict::Retry { after: Some(after), .. } if after.as_secs() == 7));
    let echo = raw("", |ask| json(403, &format!(r#"{{"text":"bad {}","code":4}}"#, ask.authorization)));
    assert!(!why(&echo.delivered()).contains(TOKEN), "{:?}", echo.delivered());
}

#[test]
fn a_look_tells_a_wrong_token() {
    let vendor = Vendor::new(
        "splunk",
        "/services/collector/event?header_Authorization=Splunk%20wr0ng-wr0ng-wr0ng",
        collector,
    );
    let said = run(vendor.open().probe(false)).unwrap_err();
    assert!(said.contains("Invalid token") && !said.contains("wr0ng"), "{said}");
    assert!(vendor.recorder.requests().iter().all(|r| r.body.is_empty()));
}

#[test]
fn mistakes_in_the_url_are_told_with_the_remedy() {
    let authorized = format!("header_Authorization=Splunk%20{TOKEN}");
    for (rest, words) in [
        (format!("/?{authorized}"), "must end in /services/collector/raw"),
        (format!("/services/collector/ack?{authorized}"), "must end in"),
        ("/services/collector/raw".to_owned(), "add header_Authorization=Splunk%20<token>"),
        (format!("/services/collector/raw?ack=yes&{authorized}"), "`true` or `false`"),
        (format!("/services/collector/raw?ack=true&ack-timeout=0&{authorized}"), "1 to 3600"),
    ] {
        let said = refused(&format!("splunk://h:8088{rest}"));
        assert!(said.contains(words) && !said.contains(TOKEN), "{said}");
    }
    assert!(!shown(&format!("splunk://h:8088/services/collector/raw?{authorized}")).contains(TOKEN));
}

#[test]
fn events_of_a_run_hold_the_lines_as_they_are() {
    let place = Place::new();
    let rest = format!(
        "/services/collector/event?sourcetype=edge%20%22x%22&index=main&header_Authorization=Splunk%20{TOKEN}"
    );
    let vendor = Vendor::new("splunk", &rest, collector);
    writer::append(&place.log(), "r", 0..5000);
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).env("EDGEPUSH_CODEC", "zstd");
    let done = setup.env("EDGEPUSH_GZIP", "members").once().exits(0);
    assert_eq!(done.count("records_delivered"), 5000);
    assert!(done.stderr.contains("does not read zstd"), "{}", done.stderr);
    let mut lines = Vec::new();
    for request in vendor.batches() {
        assert_eq!(request.header("content-encoding"), "gzip");
        // One member, whatever the setting: other collectors refuse more.
        for event in request.lines() {
            let before = br#"{"sourcetype":"edge \"x\"","index":"main","event":"#;
            let line = event.strip_prefix(&before[..]).and_then(|rest| rest.strip_suffix(b"}"));
            lines.push(line.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&event))).to_vec());
            serde_json::from_slice::<serde_json::Value>(&event).unwrap();
        }
    }
    assert_exactly_once("r", 5000, &lines);
}

#[test]
fn a_busy_collector_gets_every_line_once() {
    let place = Place::new();
    let vendor = raw(&format!("channel={CHANNEL}&"), |ask| match ask.tries {
        0 => json(503, r#"{"text":"Server is busy","code":9}"#),
        1 => json(200, r#"{"text":"Internal server error","code":8}"#),
        _ => collector(ask),
    });
    writer::append(&place.log(), "r", 0..2000);
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url);
    let done = setup.env("EDGEPUSH_ONCE_TIMEOUT", "40s").once().exits(0);
    assert_eq!(done.count("records_delivered"), 2000);
    let batches = vendor.batches();
    let taken = batches.iter().skip(2);
    let lines: Vec<_> = taken.flat_map(Request::lines).collect();
    assert_eq!(batches.len(), 3, "one batch, three tries");
    assert_exactly_once("r", 2000, &lines);
    assert!(batches.windows(2).all(|two| two[0].key() == two[1].key()));
    assert!(batches[2].at - batches[0].at < Duration::from_secs(30));
}

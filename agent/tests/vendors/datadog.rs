//! Datadog's log intake: arrays of at most 1,000 records and 5 MB, as its API reference documents it.
use super::*;
use crate::common::{Place, assert_exactly_once, writer};
use contract::{contract, run};
use serde_json::Value;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// An intake that knows one key only through the recorder's eyes: keys are looked at in the test.
fn intake(_: &Ask) -> Answer {
    json(202, "{}")
}

fn v2(script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Vendor {
    let rest =
        format!("/api/v2/logs?header_DD-API-KEY={KEY}&ddsource=cloudflare&service=edge&ddtags=env:x,team:y");
    Vendor::new("datadog", &rest, script)
}

#[test]
fn datadog_keeps_the_contract() {
    let vendor = v2(intake);
    run(contract(vendor.open(), vendor.held(), KEY));
    for request in vendor.recorder.requests() {
        assert_eq!(request.method, "POST");
        assert_eq!(
            target(&request),
            ("/api/v2/logs", vec!["ddsource=cloudflare", "service=edge", "ddtags=env:x,team:y"])
        );
        assert_eq!(request.header("dd-api-key"), KEY);
        assert_eq!(request.header("content-type"), "application/json");
    }
    assert!(vendor.others().iter().all(|r| r.body == "[]"), "a probe holds no record");
    assert!(!shown(&vendor.url).contains(KEY));
}

#[test]
fn a_look_tells_a_wrong_key_and_a_wrong_path() {
    for (status, fits) in [(202, true), (400, true), (403, false), (404, false), (307, false), (503, false)] {
        let vendor = v2(move |_| Answer::Status(status));
        assert_eq!(run(vendor.open().probe(false)).is_ok(), fits, "{status}");
    }
}

/// The records of a request: one array of objects.
fn records(request: &Request) -> Vec<Vec<u8>> {
    let body = request.decoded();
    let records = super::records(&body);
    assert!(!records.is_empty() && records.len() <= 1000, "{} records", records.len());
    assert!(body.len() <= 5_000_000, "{} bytes", body.len());
    assert_eq!(request.header("x-edgepush-records"), records.len().to_string());
    records
}

#[test]
fn a_run_keeps_the_caps_and_says_it_once() {
    let place = Place::new();
    let vendor = v2(intake);
    writer::append(&place.log(), "r", 0..4500);
    let done = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).once().exits(0);
    assert_eq!(done.count("records_delivered"), 4500);
    assert_eq!(done.stderr.matches("never takes more than this").count(), 1, "{}", done.stderr);
    let batches = vendor.batches();
    assert_eq!(batches.len(), 5);
    let lines: Vec<_> = batches.iter().flat_map(records).collect();
    assert_exactly_once("r", 4500, &lines);
}

#[test]
fn large_records_keep_the_cap_of_bytes() {
    let place = Place::new();
    let vendor = v2(intake);
    let text: String =
        (0..40).map(|n| format!("{{\"seq\":{n},\"pad\":\"{}\"}}\n", "p".repeat(400_000))).collect();
    std::fs::write(place.log(), text).unwrap();
    let done = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).once().exits(0);
    assert_eq!(done.count("records_delivered"), 40);
    let mut seen: Vec<u64> = Vec::new();
    for record in vendor.batches().iter().flat_map(records) {
        seen.push(serde_json::from_slice::<Value>(&record).unwrap()["seq"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_record_that_is_too_large_is_held_aside_and_its_neighbours_arrive() {
    let place = Place::new();
    // Bodies are not compressed here, so that their length tells what they hold.
    let vendor = v2(|ask| if ask.length > 300_000 { json(413, "{}") } else { intake(ask) });
    let mut text = writer::text("r", 0..500);
    text.push_str(&format!("{{\"large\":\"{}\"}}\n", "x".repeat(300_000)));
    text.push_str(&writer::text("r", 500..1000));
    std::fs::write(place.log(), text).unwrap();
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).env("EDGEPUSH_CODEC", "none");
    let done = setup.env("EDGEPUSH_ONCE_TIMEOUT", "30s").once();
    assert_eq!(done.count("records_delivered"), 1000, "{}", done.stderr);
    let taken = vendor.batches().into_iter().filter(|r| r.status == Some(202));
    let lines: Vec<_> = taken.flat_map(|request| records(&request)).collect();
    assert_exactly_once("r", 1000, &lines);
}

#[test]
fn what_the_intake_says_has_its_meaning() {
    let denied = r#"{"errors":[{"detail":"API key is not valid","status":"403","title":"Forbidden"}]}"#;
    for (status, body, expected) in [
        (202, "{}", "Delivered"),
        (200, r#"{"status":"ok"}"#, "Delivered"),
        (400, denied, "Refused"),
        (401, denied, "Hold"),
        (403, denied, "Hold"),
        (408, "", "Retry"),
        (413, "", "TooLarge"),
        (429, "", "Retry"),
        (500, "", "Retry"),
        (503, "", "Retry"),
        // Successes that are none.
        (202, denied, "Hold"),
        (202, r#"{"errors":[{"status":"400","title":"Bad Request"}]}"#, "Refused"),
        (202, r#"{"errors":[{"status":"503","title":"Unavailable"}]}"#, "Retry"),
        (200, "<html>Sign in</html>", "Hold"),
    ] {
        let verdict = v2(move |_| json(status, body)).delivered();
        assert!(format!("{verdict:?}").starts_with(expected), "{status} {body}: {verdict:?}");
    }
}

#[test]
fn a_job_that_writes_no_json_and_a_url_without_a_key_are_told() {
    assert!(refused("datadog://h/api/v2/logs?ddsource=x").contains("add header_DD-API-KEY=<key>"));
    let place = Place::new();
    writer::append(&place.log(), "r", 0..1);
    let url = format!("datadog+http://127.0.0.1:1/v1/input?header_DD-API-KEY={KEY}");
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &url);
    let setup = setup.env("EDGEPUSH_OUTPUT_OPTIONS", r#"{"output_type":"csv","field_names":["seq"]}"#);
    let done = setup.once().exits(2);
    assert!(done.stderr.contains("output_type") && !done.stderr.contains(KEY), "{}", done.stderr);
}

//! Sumo Logic, New Relic and SentinelOne.
use super::*;
use crate::common::{Place, assert_exactly_once, writer};
use contract::{contract, contract_up_to, run};
use serde_json::Value;

/// Short and without digits: nothing but its place says that it is a secret.
const CODE: &str = "secretcode";

fn sumo(script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Vendor {
    let rest =
        format!("/receiver/v1/http/{CODE}?header_X-Sumo-Category=edge%2Faccess&header_X-Sumo-Fields=a=b");
    Vendor::new("sumo", &rest, script)
}

#[test]
fn sumo_keeps_the_contract_and_never_shows_its_code() {
    let vendor = sumo(|_| Answer::Status(200));
    run(contract(vendor.open(), vendor.held(), CODE));
    for request in vendor.batches() {
        assert_eq!((&*request.method, target(&request).0), ("POST", &*format!("/receiver/v1/http/{CODE}")));
        assert_eq!(request.header("x-sumo-category"), "edge/access");
        assert_eq!(request.header("x-sumo-fields"), "a=b");
    }
    let text = shown(&vendor.url);
    assert!(!text.contains(CODE) && text.contains("/receiver/v1/http/…"), "{text}");
    let echo = sumo(|ask| json(401, &format!("no source at {}", ask.target)));
    assert!(!why(&echo.delivered()).contains(CODE), "{:?}", echo.delivered());
    assert!(refused("sumo://h/receiver/v1/http/").contains("<code>"));
}

#[test]
fn what_sumo_says_has_its_meaning() {
    for (status, body, expected) in [
        (200, "", "Delivered"),
        (401, "", "Hold"),
        (408, "", "Retry"),
        (429, "", "Retry"),
        (503, "", "Retry"),
        (504, "", "Retry"),
        // Successes that are none.
        (200, r#"{"id":"IUSR5","code":"header.invalid","message":"x"}"#, "Refused"),
        (200, r#"{"status":429,"id":"IUSR5","errors":[{"code":"rate.limit"}]}"#, "Retry"),
        (200, "<html>Sign in</html>", "Hold"),
    ] {
        let verdict = sumo(move |_| json(status, body)).delivered();
        assert!(format!("{verdict:?}").starts_with(expected), "{status} {body}: {verdict:?}");
    }
    let throttled = sumo(|_| Answer::RetryAfter(429, "12"));
    assert!(
        matches!(throttled.delivered(), Verdict::Retry { after: Some(after), .. } if after.as_secs() == 12)
    );
}

#[test]
fn the_proof_of_ownership_is_a_line_that_sumo_shows() {
    let vendor = sumo(|_| Answer::Status(200));
    let put = |to: &Vendor| run(to.open().put_object("ownership-challenge.txt", "a token".into()));
    assert_eq!(put(&vendor).as_deref(), Ok("ownership-challenge.txt"));
    let request = vendor.others().pop().unwrap();
    assert_eq!((&*request.body, request.header("content-type")), (&b"a token"[..], "text/plain"));
    let wrong = sumo(|_| json(200, r#"{"status":401,"code":"unauthorized"}"#));
    assert!(put(&wrong).unwrap_err().contains("unauthorized"));
    let other = new_relic("", log_api);
    assert!(put(&other).is_err() && other.recorder.requests().is_empty());
}

#[test]
fn a_run_sends_sumo_lines_in_one_member() {
    let place = Place::new();
    let vendor = sumo(|_| Answer::Status(200));
    writer::append(&place.log(), "r", 0..3000);
    place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).once().exits(0);
    let lines: Vec<_> = vendor.batches().iter().flat_map(Request::lines).collect();
    assert_exactly_once("r", 3000, &lines);
}

const LICENSE: &str = "eu01xx0123456789abcdef0123456789abcdNRAL";

fn new_relic(more: &str, script: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> Vendor {
    Vendor::new("newrelic", &format!("/log/v1?Api-Key={LICENSE}{more}"), script)
}

/// What New Relic answers to a batch that it takes; above 1 MB it takes none.
fn log_api(ask: &Ask) -> Answer {
    match ask.length {
        1_000_001.. => Answer::Status(413),
        _ => json(202, r#"{"requestId":"f0e7bfff-001a-b000-0000-01682bcf4565"}"#),
    }
}

#[test]
fn new_relic_keeps_the_contract() {
    let vendor = new_relic("", log_api);
    run(contract_up_to(900_000, vendor.open(), vendor.held(), LICENSE));
    for request in vendor.recorder.requests() {
        assert_eq!(target(&request), ("/log/v1", vec![&*format!("Api-Key={LICENSE}")]));
        assert_eq!(request.header("content-type"), "application/json");
    }
    assert!(!shown(&vendor.url).contains(LICENSE));
    assert!(refused("newrelic://log-api.newrelic.com/log/v1").contains("add header_Api-Key=<key>"));
}

/// Records that do not compress: 2 kB of random letters each.
fn noise(count: u64) -> String {
    let mut state = 7u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(
            b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[(state >> 58) as usize],
        )
    };
    (0..count)
        .map(|n| {
            format!("{{\"seq\":{n},\"noise\":\"{}\"}}\n", (0..2000).map(|_| letter()).collect::<String>())
        })
        .collect()
}

#[test]
fn a_batch_above_a_megabyte_as_sent_is_split_without_being_sent() {
    let place = Place::new();
    let vendor = new_relic("", log_api);
    std::fs::write(place.log(), noise(2000)).unwrap();
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &vendor.url);
    let done = setup.env("EDGEPUSH_ONCE_TIMEOUT", "40s").once().exits(0);
    assert_eq!(done.count("records_delivered"), 2000);
    let mut seen = Vec::new();
    for request in vendor.batches() {
        assert!(request.body.len() <= 1_000_000, "{} bytes", request.body.len());
        assert_eq!(request.status, Some(202));
        let records: Vec<Value> = serde_json::from_slice(&request.decoded()).unwrap();
        seen.extend(records.iter().map(|record| record["seq"].as_u64().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..2000).collect::<Vec<_>>());
}

#[test]
fn new_relics_own_format_gets_lines() {
    let place = Place::new();
    let vendor = new_relic("&format=cloudflare", log_api);
    writer::append(&place.log(), "r", 0..500);
    place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).once().exits(0);
    assert!(vendor.batches().iter().all(|r| r.target.ends_with("&format=cloudflare")));
    let lines: Vec<_> = vendor.batches().iter().flat_map(Request::lines).collect();
    assert_exactly_once("r", 500, &lines);
}

#[test]
fn what_new_relic_says_has_its_meaning() {
    for (status, body, expected) in [
        (202, "", "Delivered"),
        (400, "", "Refused"),
        (403, "{}", "Hold"),
        (429, "", "Retry"),
        (202, r#"{"errors":["unparseable"]}"#, "Refused"),
        (200, "<html>", "Hold"),
    ] {
        let verdict = new_relic("", move |_| json(status, body)).delivered();
        assert!(format!("{verdict:?}").starts_with(expected), "{status} {body}: {verdict:?}");
    }
}

#[test]
fn sentinelone_keeps_the_contract() {
    let rest = "/services/collector/raw?sourcetype=marketplace-cloudflare-latest\
                &header_Authorization=Bearer%20s1-t0ken-t0ken";
    let vendor = Vendor::new("sentinelone", rest, |ask| match &*ask.authorization {
        "Bearer s1-t0ken-t0ken" => json(200, r#"{"text":"Success","code":0}"#),
        _ => json(401, r#"{"text":"Invalid authorization","code":3}"#),
    });
    run(contract(vendor.open(), vendor.held(), "s1-t0ken-t0ken"));
    for request in vendor.batches() {
        let query = vec!["sourcetype=marketplace-cloudflare-latest"];
        assert_eq!(target(&request), ("/services/collector/raw", query));
    }
    // A wrong region answers 200 to what it does not take.
    vendor.recorder.script(|_| json(200, r#"{"status":"error/client/badParam","message":"x"}"#));
    assert!(matches!(vendor.delivered(), Verdict::Refused { .. }));
    assert!(refused("sentinelone://h/services/collector/raw").contains("Bearer%20<token>"));
}

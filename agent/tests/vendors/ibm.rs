//! IBM Cloud Logs: entries in an array, with a bearer token of IAM.
use super::*;
use crate::common::{Place, assert_exactly_once, writer};
use contract::{batch, contract, run};
use std::sync::atomic::{AtomicUsize, Ordering};

const KEY: &str = "Abc+def/0123456789=key";

/// An instance whose IAM gives `token-1`, `token-2`, …, each for so many seconds; `current` is the one that it accepts.
struct Instance {
    vendor: Vendor,
    current: Arc<AtomicUsize>,
}

fn instance(seconds: u64, more: &str) -> Instance {
    let (given, current) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(1)));
    let accepted = current.clone();
    let mut vendor = Vendor::new("ibmcl", "", move |ask| {
        if ask.target == "/identity/token" {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return json(
                200,
                &format!(
                    r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{seconds},"expiration":1}}"#
                ),
            );
        }
        match ask.authorization == format!("Bearer token-{}", accepted.load(Ordering::SeqCst)) {
            true => json(200, ""),
            false => json(401, &format!(r#"{{"message":"{} is not valid"}}"#, ask.authorization)),
        }
    });
    let iam = format!("http://{}/identity/token", vendor.recorder.address())
        .replace(':', "%3A")
        .replace('/', "%2F");
    let key = KEY.replace('+', "%2B").replace('=', "%3D").replace('/', "%2F");
    vendor.url.push_str(&format!("/logs/v1/singles?ibm_api_key={key}&iam={iam}{more}"));
    Instance { vendor, current }
}

impl Instance {
    fn exchanges(&self) -> Vec<Request> {
        self.vendor.others().into_iter().filter(|r| r.target == "/identity/token").collect()
    }
}

#[test]
fn ibm_keeps_the_contract_with_one_token() {
    let instance = instance(3600, "");
    run(contract(instance.vendor.open(), instance.vendor.held(), KEY));
    for request in instance.vendor.batches() {
        assert_eq!(request.target, "/logs/v1/singles", "our parameters are not sent");
        assert_eq!(request.header("authorization"), "Bearer token-1");
        assert_eq!(request.header("content-type"), "application/json");
    }
    let exchanges = instance.exchanges();
    assert_eq!(exchanges.len(), 1, "uploads share a token");
    assert_eq!(exchanges[0].header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(
        exchanges[0].body,
        "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=Abc%2Bdef%2F0123456789%3Dkey"
    );
    let text = shown(&instance.vendor.url);
    assert!(!text.contains(KEY) && !text.contains("%2Bdef"), "{text}");
}

#[test]
fn a_token_that_is_not_accepted_is_replaced_once() {
    let instance = instance(3600, "");
    let to = instance.vendor.open();
    assert_eq!(run(to.deliver(batch(1, &[b"[]"]))), Verdict::Delivered);
    instance.current.store(2, Ordering::SeqCst);
    assert_eq!(run(to.deliver(batch(2, &[b"[]"]))), Verdict::Delivered);
    let used: Vec<_> =
        instance.vendor.batches().iter().map(|r| r.header("authorization").to_owned()).collect();
    assert_eq!(used, ["Bearer token-1", "Bearer token-1", "Bearer token-2"]);
    // One that is never accepted holds the job, after one more try, and is not repeated.
    instance.current.store(99, Ordering::SeqCst);
    let verdict = run(to.deliver(batch(3, &[b"[]"]))).verdict;
    assert!(matches!(&verdict, Verdict::Hold { why } if !why.contains("token-")), "{verdict:?}");
    assert_eq!(instance.vendor.batches().len(), 5);
}

#[test]
fn a_token_is_replaced_before_it_ends() {
    let instance = instance(2, "");
    let to = instance.vendor.open();
    assert_eq!(run(to.deliver(batch(1, &[b"[]"]))), Verdict::Delivered);
    // Half of a short life is used.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    instance.current.store(2, Ordering::SeqCst);
    assert_eq!(run(to.deliver(batch(2, &[b"[]"]))), Verdict::Delivered);
    assert_eq!(instance.vendor.batches().len(), 2, "no upload met an ended token");
    assert_eq!(instance.exchanges().len(), 2);
}

#[test]
fn what_iam_says_has_its_meaning() {
    for (status, body, expected) in [
        (400, r#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}"#, "Hold"),
        (429, "", "Retry"),
        (500, "", "Retry"),
        (200, "<html>Sign in</html>", "Hold"),
        (200, r#"{"access_token":""}"#, "Hold"),
    ] {
        let instance = instance(3600, "");
        instance.vendor.recorder.script(move |_| json(status, body));
        let verdict = instance.vendor.delivered();
        assert!(format!("{verdict:?}").starts_with(expected), "{status} {body}: {verdict:?}");
        assert_eq!(instance.vendor.batches().len(), 0, "nothing is sent without a token");
        assert!(run(instance.vendor.open().probe(false)).is_err());
    }
}

#[test]
fn a_success_that_reports_an_error_is_none() {
    let instance = instance(3600, "");
    instance.vendor.recorder.script(|ask| match ask.target == "/identity/token" {
        true => json(200, r#"{"access_token":"token-1"}"#),
        false => json(200, r#"{"errors":[{"message":"no such field"}]}"#),
    });
    assert!(matches!(instance.vendor.delivered(), Verdict::Refused { .. }));
}

#[test]
fn mistakes_in_the_url_are_told() {
    assert!(refused("ibmcl://h/logs/v1/singles").contains("add ibm_api_key=<key>"));
    let plain = refused("ibmcl://h/logs/v1/singles?ibm_api_key=secretsecret&iam=http%3A%2F%2Fh%2Ftoken");
    assert!(plain.contains("https://") && !plain.contains("secretsecret"), "{plain}");
}

#[test]
fn entries_of_a_run_name_where_they_are_from_and_keep_the_cap() {
    let place = Place::new();
    let instance = instance(3600, "&application=edge%20%22a%22&subsystem=fra1");
    writer::append(&place.log(), "r", 0..12_000);
    let done = place.setup().env("EDGEPUSH_DESTINATION", &instance.vendor.url).once().exits(0);
    assert_eq!(done.count("records_delivered"), 12_000);
    let (mut lines, mut largest) = (Vec::new(), 0);
    for request in instance.vendor.batches() {
        let body = request.decoded();
        largest = largest.max(body.len());
        for entry in records(&body) {
            let before = br#"{"applicationName":"edge \"a\"","subsystemName":"fra1","severity":3,"text":"#;
            lines.push(entry.strip_prefix(&before[..]).unwrap().strip_suffix(b"}").unwrap().to_vec());
        }
    }
    assert!((1_900_000..=2_000_000).contains(&largest), "{largest} bytes");
    assert_exactly_once("r", 12_000, &lines);
}

#[test]
fn entries_that_a_job_makes_itself_stand() {
    let place = Place::new();
    let instance = instance(3600, "");
    writer::append(&place.log(), "r", 0..10);
    let own = r#"{"field_names":["seq"],"record_prefix":"{\"applicationName\":\"cf\",\"text\":{","record_suffix":"}}\n"}"#;
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &instance.vendor.url);
    setup.env("EDGEPUSH_OUTPUT_OPTIONS", own).once().exits(0);
    let entries = records(&instance.vendor.batches()[0].decoded());
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[7], br#"{"applicationName":"cf","text":{"seq":7}}"#);
}

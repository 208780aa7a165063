//! What we send beside what the vendors' own client libraries send to the same recorder: the same form.
use super::*;
use crate::common::{Place, servers, skipped, writer};
use serde_json::Value;

/// Whether `.ci/servers` has installed a Python package.
fn installed(test: &str, package: &str) -> bool {
    let libraries = std::fs::read_dir(servers::repository(".cache/servers-py/lib"));
    let versions = libraries.into_iter().flatten().flatten();
    let found =
        versions.map(|version| version.path().join("site-packages").join(package)).any(|p| p.exists());
    if !found {
        skipped(test, &format!("{package} is not installed; .ci/servers does it"));
    }
    found
}

/// What the library sends, and what a run of ours sends to the same vendor.
fn both(vendor: &Vendor, name: &str, token: &str) -> (Request, Request) {
    let address = vendor.recorder.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    servers::python("vendor_client.py", &[name, &host, &port, token]);
    let theirs = vendor.others().pop().unwrap_or_else(|| panic!("{name}'s library sends nothing"));
    let place = Place::new();
    writer::append(&place.log(), "r", 0..3);
    place.setup().env("EDGEPUSH_DESTINATION", &vendor.url).once().exits(0);
    (theirs, vendor.batches().pop().unwrap())
}

fn objects(body: &[u8]) -> usize {
    let array: Vec<Value> = serde_json::from_slice(body).unwrap();
    assert!(array.iter().all(Value::is_object));
    array.len()
}

#[test]
fn datadogs_own_library_sends_the_same_form() {
    if !installed("datadogs_own_library_sends_the_same_form", "datadog_api_client") {
        return;
    }
    let key = "0123456789abcdef0123456789abcdef";
    let rest = format!("/api/v2/logs?header_DD-API-KEY={key}");
    let vendor = Vendor::new("datadog", &rest, |_| json(202, "{}"));
    let (theirs, ours) = both(&vendor, "datadog", key);
    assert_eq!((&theirs.method, &theirs.target), (&ours.method, &ours.target));
    for header in ["dd-api-key", "content-type", "content-encoding"] {
        assert_eq!(theirs.header(header), ours.header(header), "{header}");
    }
    assert_eq!((objects(&theirs.decoded()), objects(&ours.decoded())), (2, 3));
}

#[test]
fn a_library_for_splunk_sends_the_same_form() {
    if !installed("a_library_for_splunk_sends_the_same_form", "splunk_hec_handler") {
        return;
    }
    let rest = format!(
        "/services/collector/event?sourcetype=edge&index=main&host=h&header_Authorization=Splunk%20{}",
        splunk::TOKEN
    );
    let vendor = Vendor::new("splunk", &rest, splunk::collector);
    let (theirs, ours) = both(&vendor, "splunk", splunk::TOKEN);
    assert_eq!((&theirs.method, target(&theirs).0), (&ours.method, target(&ours).0));
    assert_eq!(theirs.header("authorization"), ours.header("authorization"));
    let theirs: Value = serde_json::from_slice(&theirs.decoded()).unwrap();
    for line in ours.lines() {
        let ours: Value = serde_json::from_slice(&line).unwrap();
        for member in ["sourcetype", "index"] {
            assert_eq!(theirs[member], ours[member], "{member}");
        }
        assert!(theirs["event"].is_object() && ours["event"].is_object());
        // Ours leaves out what it does not know: the time and the fields.
        let unknown: Vec<_> =
            ours.as_object().unwrap().keys().filter(|key| theirs.get(key).is_none()).collect();
        assert_eq!(unknown, Vec::<&String>::new());
    }
}

//! What is wrong is told in the envelope, with its place.
use super::kit::{JOBS, Reply, Server};
use edgepush::api::logpush::BODY_BYTES_MAX;
use serde_json::{Value, json};

/// Beside a destination that works, unless it is what is wrong: a body, the pointer, words of the message.
fn mistakes() -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (json!({}), "/destination_conf", "is missing"),
        (json!({ "destination_conf": "htps://h" }), "/destination_conf", "nearest is `https:`"),
        (json!({ "destination_conf": "https://h/?header_X=…" }), "/destination_conf", "send the whole URL"),
        (json!({ "destination_conf": 7 }), "/destination_conf", "must be a URL"),
        (json!({ "dataset": "dns_logs" }), "/dataset", "has no records for"),
        (json!({ "dataset": "HTTP_requests" }), "/dataset", "is no data set"),
        (json!({ "name": "a_b" }), "/name", "must be at most 512"),
        (json!({ "name": "a".repeat(513) }), "/name", "must be at most 512"),
        (json!({ "kind": "instant-logs" }), "/kind", "not offered"),
        (json!({ "kind": "edge", "dataset": "raw" }), "/kind", "for http_requests"),
        (json!({ "kind": "edge", "frequency": "low" }), "/frequency", "must be \"high\""),
        (json!({ "frequency": "mid" }), "/frequency", "\"high\" or \"low\""),
        (json!({ "max_upload_bytes": 4_999_999 }), "/max_upload_bytes", "5000000"),
        (json!({ "max_upload_bytes": 1_000_000_001 }), "/max_upload_bytes", "1000000000"),
        (json!({ "max_upload_records": 999 }), "/max_upload_records", "1000"),
        (json!({ "max_upload_records": -1 }), "/max_upload_records", "whole number"),
        (json!({ "max_upload_interval_seconds": 301 }), "/max_upload_interval_seconds", "30 to 300"),
        (json!({ "enabled": "yes" }), "/enabled", "must be true or false"),
        (json!({ "filter": { "where": {} } }), "/filter", "must be a string"),
        (json!({ "filter": "{}" }), "/filter/where", "filter.where has no where"),
        (json!({ "output_options": [] }), "/output_options", "must be an object"),
        (json!({ "output_options": { "nope": 1 } }), "/output_options/nope", "is no option"),
        (json!({ "logpull_options": "x" }), "/logpull_options", "has no fields="),
        (json!({ "codec": "lz4" }), "/codec", "\"zstd\""),
        (json!({ "level": "9" }), "/level", "\"fast\""),
        (json!({ "over_share": "drop" }), "/over_share", "\"wait\""),
        (json!({ "uploads": 65 }), "/uploads", "1 to 64"),
        (json!({ "max_egress_bytes_per_second": 9999 }), "/max_egress_bytes_per_second", "10000"),
        (json!({ "enabeld": true }), "/enabeld", "did you mean enabled?"),
        (json!({ "a/b~": true }), "/a~1b~0", "is no key of a job"),
        (json!({ "transformer_id": 1 }), "/transformer_id", "not offered"),
        (json!({ "subrequest_merging": true }), "/subrequest_merging", "not offered"),
    ]
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let server = Server::open();
    for (mut body, pointer, words) in mistakes() {
        if pointer != "/destination_conf" {
            body["destination_conf"] = json!("null:");
        }
        let (status, code, at, message) = server.post(JOBS, body.clone()).error();
        assert_eq!((status, code, at.as_str()), (400, 1001, pointer), "{body}: {message}");
        assert!(message.contains(words), "{body}: {message}");
    }
    let all = json!({ "name": "_", "frequency": "x", "output_options": { "nope": 1 }, "destination_conf": "null:" });
    let told = server.post(JOBS, all).json["errors"].as_array().unwrap().len();
    assert_eq!(told, 4, "all at once");
    assert_eq!(server.get(JOBS).result(), json!([]), "nothing was created");
    // What is ignored is not judged.
    let both = json!({ "destination_conf": "null:", "output_options": {}, "logpull_options": "x" });
    assert_eq!(server.post(JOBS, both).code, 200);
}

#[test]
fn bodies_have_bounds() {
    let server = Server::open();
    let post = |body: &str, length: usize| -> Reply {
        let head =
            format!("POST /client/v4{JOBS} HTTP/1.1\r\nHost: [::1]\r\nContent-Length: {length}\r\n\r\n");
        server.send(format!("{head}{body}").as_bytes())
    };
    let sized = |len: usize| {
        let front = "{\"destination_conf\":\"null:\",\"filter\":\"{\\\"where\\\":{}";
        format!("{front}{}}}\"}}", " ".repeat(len - front.len() - 3))
    };
    for (len, status) in [(BODY_BYTES_MAX, 200), (BODY_BYTES_MAX + 1, 413), (3_000_000, 413)] {
        let body = sized(len);
        assert_eq!(body.len(), len);
        assert_eq!(post(&body, len).code, status, "{len}");
    }
    for (body, words) in
        [("[]", "must be a JSON object"), ("{", "is not JSON"), ("{\"a\":}hunter22", "is not JSON")]
    {
        let (status, code, _, message) = post(body, body.len()).error();
        assert_eq!((status, code), (400, 1001));
        assert!(message.contains(words) && !message.contains("hunter22"), "{message}");
    }
    let (_, code, pointer, _) = post("", 0).error();
    assert_eq!((code, pointer.as_str()), (1001, "/destination_conf"), "no body is an empty one");
    let deep = format!("{{\"output_options\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(post(&deep, deep.len()).error().1, 1001, "no stack is used up");
    let body = "{\"destination_conf\":\"null:\"}";
    let chunked = format!(
        "POST /client/v4{JOBS} HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(server.send(chunked.as_bytes()).code, 200);
}

#[test]
fn what_is_not_there_is_told_in_the_envelope() {
    let server = Server::open();
    for path in ["/zones/a/logpush/edge/jobs", "/user", "/zones/a%20b/logpush/jobs", "/zones/a/logpush/jobs/"]
    {
        let (status, code, _, message) = server.get(path).error();
        assert_eq!((status, code), (404, 7003), "{path}");
        assert!(message.starts_with("could not route to /client/v4/"), "{message}");
    }
    let wrong = server.ask("PATCH", &format!("{JOBS}/1"), None);
    assert_eq!((wrong.code, wrong.error().1), (405, 10405));
    assert!(wrong.head.contains("allow: get, put, delete"), "{wrong:?}");
    assert_eq!(server.get(&format!("{JOBS}/abc")).error().1, 1006);
    assert_eq!(server.get(&format!("{JOBS}/99999999999999999999999")).error().1, 1006);
    let head = server.send(b"HEAD /client/v4/logpush/jobs HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.code, head.said.as_str()), (200, ""));
}

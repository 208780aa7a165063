//! Typed data sets out of servers' logs, from outside: what leaves, who gets it, what `edgepush fields` says.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const COMBINED: [&str; 4] = [
    r#"192.0.2.1 - - [21/Nov/2026:02:20:14 +0000] "GET /a?b=1 HTTP/1.1" 200 2326 "-" "say \x22hi\x22""#,
    r#"192.0.2.2 - - [21/Nov/2026:02:20:15 +0000] "POST /c HTTP/2.0" 502 157 "https://ref.test/" "curl/8""#,
    r#"2001:db8::7 - bob [21/Nov/2026:02:20:16 +0000] "GET /d HTTP/1.1" 500 - "-" "-""#,
    r#"192.0.2.4 - - [21/Nov/2026:02:20:17 +0000] "GET /e HTTP/1.1" 404 0 "-" "-""#,
];

/// Lines as nginx's `escape=json` writes them.
fn nginx(host: &str, status: u32) -> String {
    format!(
        r#"{{"msec":1795227614.604,"remote_addr":"192.0.2.9","host":"{host}","request_uri":"/x?y","status":{status},"request_time":0.25,"bytes_sent":99}}"#
    )
}

fn records(dir: &Path) -> Vec<Value> {
    lines_in_dir(dir).iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn write(path: &Path, lines: impl IntoIterator<Item = impl AsRef<str>>) {
    let text: String = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect();
    std::fs::write(path, text).unwrap();
}

#[test]
fn an_nginx_log_becomes_http_requests() {
    let place = Place::new();
    write(&place.log(), COMBINED);
    let setup = place
        .setup()
        .env("EDGEPUSH_DATASET", "http_requests")
        .env("EDGEPUSH_FILTER", r#"{"where":{"key":"EdgeResponseStatus","operator":"geq","value":500}}"#)
        .env("EDGEPUSH_TIMESTAMP_FORMAT", "rfc3339")
        .env("EDGEPUSH_FIELDS", "EdgeStartTimestamp,ClientIP,ClientRequestPath,ClientRequestProtocol,EdgeResponseStatus,EdgeResponseBodyBytes,ClientRequestUserAgent,BotScore");
    let done = setup.once().exits(0);
    assert_eq!(
        (done.count("lines_read"), done.count("records_delivered"), done.count("records_filtered")),
        (4, 2, 2)
    );
    let lines: Vec<String> =
        lines_in_dir(&place.out()).into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            r#"{"EdgeStartTimestamp":"2026-11-21T02:20:15Z","ClientIP":"192.0.2.2","ClientRequestPath":"/c","ClientRequestProtocol":"HTTP/2","EdgeResponseStatus":502,"EdgeResponseBodyBytes":157,"ClientRequestUserAgent":"curl/8","BotScore":null}"#,
            r#"{"EdgeStartTimestamp":"2026-11-21T02:20:16Z","ClientIP":"2001:db8::7","ClientRequestPath":"/d","ClientRequestProtocol":"HTTP/1.1","EdgeResponseStatus":500,"EdgeResponseBodyBytes":null,"ClientRequestUserAgent":null,"BotScore":null}"#,
        ]
    );
}

/// Jobs of two data sets and of none see one log, each in its own words; zones go by the data set's host.
#[test]
fn zones_and_data_sets_share_a_log() {
    let place = Place::new();
    write(&place.log(), [nginx("a.test:8443", 200), nginx("b.test", 503), nginx("c.test", 200)]);
    let jobs = place.path("jobs");
    std::fs::create_dir(&jobs).unwrap();
    let to = |name: &str| format!("file://{}", place.path(name).display());
    let job = |name: &str, zone: Option<&str>, dataset: &str, more: Value| {
        let mut job =
            json!({ "name": name, "dataset": dataset, "enabled": true, "destination_conf": to(name) });
        if let Some(zone) = zone {
            job["zone"] = zone.into();
        }
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        std::fs::write(jobs.join(format!("{name}.json")), job.to_string()).unwrap();
    };
    let fields = |names: Value| json!({ "output_options": { "field_names": names } });
    job("zone-a", Some("za"), "http_requests", fields(json!(["ClientRequestHost", "EdgeStartTimestamp"])));
    job("zone-b", Some("zb"), "medianova", json!({}));
    job("plain", Some("za"), "raw", fields(json!(["host", "ClientRequestHost"])));
    job(
        "errors",
        None,
        "medianova",
        json!({
            "filter": r#"{"where":{"and":[{"key":"status","operator":"geq","value":500},{"key":"http_host","operator":"eq","value":"b.test"}]}}"#,
            "output_options": { "field_names": ["http_host", "request_time", "bytes_sent", "msec", "asn"] },
        }),
    );
    let setup = Setup::new(&place.state())
        .env("EDGEPUSH_SOURCES", &place.all_logs())
        .env("EDGEPUSH_ZONES", "za=a.test;zb=b.test")
        .env("EDGEPUSH_JOBS", &jobs.display().to_string());
    let agent = setup.start_ready();
    let dirs = ["zone-a", "zone-b", "plain", "errors"].map(|name| place.path(name));
    // Batches are closed by the end of the agent.
    agent.wait_read(3);
    agent.terminate().exits(0);
    setup.clone().env("EDGEPUSH_ONCE_TIMEOUT", "30s").once().exits(0);
    let got: Vec<Vec<Value>> = dirs.iter().map(|dir: &PathBuf| records(dir)).collect();
    assert_eq!(
        got[0],
        [json!({"ClientRequestHost": "a.test", "EdgeStartTimestamp": 1_795_227_614_354_000_000_u64})]
    );
    assert_eq!(
        got[1],
        [
            json!({"bytes_sent": 99, "http_host": "b.test", "remote_addr": "192.0.2.9", "request_param": "y", "request_time": 0.25, "request_uri": "/x?y",
                "status": 503, "timestamp": 1_795_227_614_354_000_000_u64})
        ]
    );
    assert_eq!(got[2], [json!({"host": "a.test:8443"})]);
    assert_eq!(
        got[3],
        [json!({"http_host": "b.test", "request_time": 0.25, "bytes_sent": 99, "msec": 1795227614.604})]
    );
}

#[test]
fn a_file_maps_one_source_and_none_leaves_another_alone() {
    let place = Place::new();
    let line = r#"{"cip":"192.0.2.1:99","took":1500,"at":1795227614.5,"remote_addr":"192.0.2.2""#;
    for name in ["one.log", "two.log", "three.log"] {
        // Files of equal content would be copies of one.
        write(&place.path(name), [format!(r#"{line},"n":"{name}"}}"#)]);
    }
    let file = place.path("mine.toml");
    std::fs::write(
        &file,
        "[http_requests]\nClientIP = { from = 'cip', as = 'ip' }\nEdgeStartTimestamp = { from = 'at', minus = 'took milliseconds' }\n",
    )
    .unwrap();
    let path = |name: &str| format!("file:{}", place.path(name).display());
    let done = Setup::new(&place.state())
        .env("EDGEPUSH_SOURCE_ONE", &path("one.log"))
        .env("EDGEPUSH_SOURCE_TWO", &path("two.log"))
        .env("EDGEPUSH_SOURCE_THREE", &path("three.log"))
        .env("EDGEPUSH_MAPPING_ONE", &file.display().to_string())
        .env("EDGEPUSH_MAPPING_TWO", "none")
        .env("EDGEPUSH_DATASET", "http_requests")
        .env("EDGEPUSH_FIELDS", "ClientIP,EdgeStartTimestamp")
        .env("EDGEPUSH_DESTINATION", &place.to_files())
        .once()
        .exits(0);
    assert_eq!(done.count("records_delivered"), 3);
    let mut got: Vec<String> = records(&place.out()).iter().map(Value::to_string).collect();
    got.sort();
    assert_eq!(
        got,
        [
            r#"{"ClientIP":"192.0.2.1","EdgeStartTimestamp":1795227613000000000}"#,
            r#"{"ClientIP":"192.0.2.2","EdgeStartTimestamp":null}"#,
            r#"{"ClientIP":null,"EdgeStartTimestamp":null}"#,
        ]
    );
}

#[test]
fn mistakes_of_a_mapping_are_told_at_once_before_anything_starts() {
    let place = Place::new();
    let file = place.path("wrong.toml");
    std::fs::write(&file, "[http_requests]\nClientIp = 'a'\nRayID = { from = 'b', as = 'sconds' }\n")
        .unwrap();
    let done = place
        .setup()
        .env("EDGEPUSH_MAPPING", &file.display().to_string())
        .env("EDGEPUSH_MAPPING_GHOST", "nginx")
        .env("EDGEPUSH_CODEC", "zip")
        .once()
        .exits(2);
    for part in [
        "wrong.toml has a mistake in line 2: ClientIp is no field of http_requests; did you mean ClientIP?",
        "wrong.toml has a mistake in line 3: RayID has as = \"sconds\": sconds is no conversion; did you mean seconds?",
        "EDGEPUSH_MAPPING_GHOST=nginx belongs to no source",
        "EDGEPUSH_CODEC=zip",
    ] {
        assert!(done.stderr.contains(part), "{part}\nis not in\n{}", done.stderr);
    }
    assert!(!place.state().join("VERSION").exists());
    let done = place.setup().env("EDGEPUSH_MAPPING", "ngnix").once().exits(2);
    assert!(
        done.stderr.contains("EDGEPUSH_MAPPING=ngnix is no mapping: did you mean nginx?"),
        "{}",
        done.stderr
    );
}

#[test]
fn fields_tells_what_a_log_gives() {
    let place = Place::new();
    let log = place.log().display().to_string();
    write(&place.log(), COMBINED.into_iter().chain(["no line of it", ""]));
    let setup = place.setup();
    let json: Value =
        serde_json::from_str(&setup.finish(&["fields", "--sample", &log, "--json"]).exits(0).stdout).unwrap();
    assert_eq!(
        (&json["format"], &json["records"], &json["lines"]),
        (&json!("combined"), &json!(4), &json!(6))
    );
    assert_eq!(json["mappings"], json!([{ "mapping": "nginx", "records": 4 }]));
    assert_eq!(json["rejected"][0]["line"], 5);
    let field =
        |name: &str| json["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).cloned();
    assert_eq!(
        field("ClientRequestPath").unwrap(),
        json!({ "name": "ClientRequestPath", "type": "string", "from": [{ "source": "request_uri (path)", "records": 4 }],
                "example": "/a", "filled": 4 })
    );
    assert_eq!(field("ClientRequestReferer").unwrap()["filled"], 1);
    assert!(json["empty"].as_array().unwrap().contains(&json!("ClientRequestHost")));
    assert_eq!(json["unused"], json!(["remote_user", "request"]));
    let text = setup.finish(&["fields", "--sample", &log]).exits(0).stdout;
    for part in [
        "mapping   nginx (4 records)",
        "ClientIP",
        "4 of 4",
        "stay empty in http_requests",
        "format: 1 (line 5 column",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colour but on terminals");
}

#[test]
fn fields_exits_as_every_command_does() {
    let place = Place::new();
    let setup = place.setup();
    write(&place.log(), ["nothing that is known"]);
    let log = place.log().display().to_string();
    assert!(setup.finish(&["fields", "--sample", &log]).exits(1).stdout.contains("0 records, 1 rejects"));
    let wrong = [
        "fields",
        "--sample",
        "/nowhere/x.log",
        "--dataset",
        "raw",
        "--format",
        "nginxx",
        "--mapping",
        "ngnix",
    ];
    let told = setup.finish(&wrong).exits(2).stderr;
    for part in [
        "--sample /nowhere/x.log cannot be read",
        "--dataset raw takes",
        "did you mean nginx?",
        "--mapping ngnix is no mapping",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    setup.finish(&["fields"]).exits(2);
    assert!(setup.finish(&["fields", "--markdown"]).exits(0).stdout.contains("### nginx"));
}

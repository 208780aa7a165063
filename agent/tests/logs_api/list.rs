//! Lists: who may, what is said, and what is refused.
use crate::kit::*;
use edgepush::logs_api::keys::KeyStore;
use edgepush::logs_api::{Allowance, sign};
use serde_json::json;
use std::time::Duration;

const DAY: &str = r#""startTime":"2022-09-01T00:00:00Z","endTime":"2022-09-02T00:00:00Z""#;

fn body(domain: &str) -> String {
    format!(r#"{{"domains":["{domain}"],{DAY}}}"#)
}

#[test]
fn a_list_is_that_of_the_fact_sheet() {
    let logs = Logs::new();
    let entry = logs.publish("a.example", HOUR, 1, &[lines("a.example", HOUR, 5)]);
    logs.publish("a.example", HOUR, 2, &[lines("a.example", HOUR, 2)]);
    logs.publish("b.example", HOUR, 1, &[lines("b.example", HOUR, 2)]);
    let key = logs.key("a.example,new.example");
    let reply = logs.list(&key, &body("A.example"));
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json; charset=utf-8"));
    let mut all = reply.json();
    let values = all[0]["logs"][0]["values"].take();
    assert_eq!(
        all,
        json!([{ "domain": "A.example", "logs": [{ "timestamp": "2022-09-01T01:00:00Z", "values": null, "final": true }] }])
    );
    assert_eq!(values.as_array().unwrap().len(), 2);
    assert_eq!(values[0]["name"], "20220901010000-1.log.gz");
    assert_eq!(values[0]["size"], entry.bytes);
    let url = values[0]["url"].as_str().unwrap();
    let begins = "http://logs.example:9601/a.example/20220901/20220901010000-1.log.gz?expire=";
    assert!(url.starts_with(begins), "{url}");
    let expire: i64 = url[begins.len()..].split('&').next().unwrap().parse().unwrap();
    let week = expire - jiff::Timestamp::now().as_second();
    assert!((7 * 86_400 - 5..=7 * 86_400).contains(&week), "{week}");
    let file = logs.get(url.strip_prefix("http://logs.example:9601").unwrap(), "");
    assert_eq!((file.status, file.body), (200, std::fs::read(logs.path(&entry)).unwrap()));
    assert_eq!(
        logs.list(&key, &body("new.example")).json(),
        json!([{ "domain": "new.example", "logs": [] }])
    );
}

#[test]
fn the_other_spellings() {
    let logs = Logs::new();
    let entry = logs.publish("a.example", HOUR, 1, &[lines("a.example", HOUR, 5)]);
    let key = logs.key("a.example");
    let waap =
        logs.send(&signed(&key, "POST", "/waap/v1.0/logs/list", &body("a.example"), &stamp(0), &nonce()));
    assert_eq!(waap.json()[0]["logs"][0]["values"][0]["fileSize"], entry.bytes.to_string());
    let uri = "/lls/v1.0/logs/delivery?domain=a.example&started=20220901T000000Z&ended=20220901T030000Z";
    let lls = logs.send(&signed(&key, "GET", uri, "", &stamp(0), &nonce()));
    let slots = lls.json()[0]["logs"].as_array().unwrap().clone();
    assert_eq!(slots.len(), 3);
    assert_eq!((&slots[0]["values"], &slots[1]["values"][0]["size"]), (&json!([]), &json!(entry.bytes)));
    let uri = uri.replace("a.example", "b.example");
    let lls = logs.send(&signed(&key, "GET", &uri, "", &stamp(0), &nonce()));
    assert_eq!((lls.status, lls.code()), (400, "LLS.Domain.NotFound".to_owned()));
}

#[test]
fn a_foreign_domain_is_as_one_that_there_is_not() {
    let logs = Logs::new();
    logs.publish("b.example", HOUR, 1, &[lines("b.example", HOUR, 2)]);
    let (own, all) = (logs.key("a.example"), logs.key("*"));
    let say = |key, domain: &str| {
        let reply = logs.list(key, &body(domain));
        (reply.status, String::from_utf8(reply.body).unwrap().replace(domain, "…"))
    };
    let foreign = say(&own, "b.example");
    assert_eq!(foreign.0, 404);
    assert!(foreign.1.contains("Domain.NotFound"));
    assert_eq!(foreign, say(&own, "c.example"));
    assert_eq!(foreign, say(&all, "c.example"));
    assert_eq!(say(&all, "b.example").0, 200);
}

#[test]
fn who_is_not_admitted() {
    let logs = Logs::new();
    let key = logs.key("a.example");
    let body = body("a.example");
    let ask = |key, date: &str, nonce: &str| {
        let reply = logs.send(&signed(key, "POST", "/v1.1/log/list", &body, date, nonce));
        (reply.status, reply.header("www-authenticate").to_owned())
    };
    let refused = (401, "HMAC-SHA256".to_owned());
    let (date, number) = (stamp(0), nonce());
    assert_eq!(ask(&key, &date, &number).0, 200);
    assert_eq!(ask(&key, &date, &number), refused, "a replay");
    assert_eq!(ask(&key, &stamp(3590), &nonce()).0, 200);
    assert_eq!(ask(&key, &stamp(-3590), &nonce()).0, 200);
    assert_eq!(ask(&key, &stamp(3610), &nonce()), refused);
    assert_eq!(ask(&key, &stamp(-3610), &nonce()), refused);
    assert_eq!(ask(&key, &stamp(0), "1234567890123456789"), refused);
    let wrong =
        edgepush::logs_api::keys::Key { secret: edgepush::config::Secret::new("wrong"), ..key.clone() };
    assert_eq!(ask(&wrong, &stamp(0), &nonce()), refused);
    let unknown = edgepush::logs_api::keys::Key { id: "EP0".into(), ..key.clone() };
    assert_eq!(ask(&unknown, &stamp(0), &nonce()), refused);
    // Nobody signs with the empty secret that stands for a key that there is not.
    let empty =
        edgepush::logs_api::keys::Key { secret: edgepush::config::Secret::new(""), ..unknown.clone() };
    assert_eq!(ask(&empty, &stamp(0), &nonce()), refused);
    let changed = signed(&key, "POST", "/v1.1/log/list", &body, &stamp(0), &nonce())
        .replace("2022-09-01T00", "2022-09-01T01");
    assert_eq!(logs.send(&changed).status, 401);
    assert_eq!(logs.send("POST /v1.1/log/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status, 401);
    let store = KeyStore::open(logs.state()).unwrap();
    store.disable(&key.id, true).unwrap();
    std::thread::sleep(Duration::from_millis(520));
    assert_eq!(ask(&key, &stamp(0), &nonce()), refused, "disabled");
    store.disable(&key.id, false).unwrap();
    std::thread::sleep(Duration::from_millis(520));
    assert_eq!(ask(&key, &stamp(0), &nonce()).0, 200, "enabled again");
}

#[test]
fn the_next_run_takes_no_replay_either() {
    let logs = Logs::new();
    let key = logs.key("a.example");
    let request = signed(&key, "POST", "/v1.1/log/list", &body("a.example"), &stamp(0), &nonce());
    assert_eq!(logs.send(&request).status, 200);
    let logs = logs.again();
    assert_eq!(logs.send(&request).status, 401);
    assert_eq!(logs.list(&key, &body("a.example")).status, 200);
    // Nobody knows whether it came before.
    let file = logs.state().join("nonces.db");
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    std::fs::create_dir(&file).unwrap();
    let logs = logs.again();
    let reply = logs.send(&request);
    assert_eq!((reply.status, reply.header("retry-after")), (503, "10"));
}

#[test]
fn what_is_asked_wrongly() {
    let logs = Logs::new();
    let key = logs.key("a.example");
    for (body, code) in [
        ("", "Request.BadRequest"),
        ("[]", "Request.BadRequest"),
        (r#"{"domains":[]}"#, "Domains.Invalid"),
        (r#"{"domains":["a.example"],"startTime":"x","endTime":"y"}"#, "TimeFormat.Invalid"),
        (r#"{"domains":["a.example"],"endTime":"2022-09-02T00:00:00Z"}"#, "StartTime.Invalid"),
    ] {
        let reply = logs.list(&key, body);
        assert_eq!((reply.status, &*reply.code()), (400, code), "{body}");
    }
    let large = "x".repeat(70_000);
    assert_eq!(logs.list(&key, &large).status, 413);
    let get = logs.get("/v1.1/log/list", "");
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
    for path in ["/", "/metrics", "/status", "/client/v4/zones/a/logpush/jobs", "/v1.1/log/list/", "/healthz"]
    {
        let reply = logs.get(path, "Authorization: Bearer x\r\n");
        assert_eq!((reply.status, &*reply.code()), (404, "NotFound"), "{path}");
    }
    let many: String = (0..80).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(logs.get("/", &many).status, 431);
}

#[test]
fn ten_requests_and_then_one_has_to_wait() {
    let logs = Logs::with(Allowance { rate: 10, downloads: 2 });
    let entry = logs.publish("a.example", HOUR, 1, &[lines("a.example", HOUR, 2)]);
    let (key, other) = (logs.key("a.example"), logs.key("a.example"));
    let target = logs.target(&key, &entry);
    let mut seen = Vec::new();
    for n in 0..20 {
        let reply = if n % 2 == 0 { logs.list(&key, &body("a.example")) } else { logs.get(&target, "") };
        if reply.status == 429 {
            assert_eq!((reply.header("retry-after"), &*reply.code()), ("1", "Request.TooMany"));
        }
        seen.push(reply.status);
    }
    let good = seen.iter().filter(|status| **status == 200).count();
    assert!((10..=18).contains(&good), "{seen:?}");
    assert!(seen[..10].iter().all(|status| *status == 200), "{seen:?}");
    assert_eq!(logs.list(&other, &body("a.example")).status, 200, "another key has its own");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(logs.list(&key, &body("a.example")).status, 200);
    let sign = sign::url("x", "y", 1, "z");
    assert_eq!(sign.len(), 40);
}

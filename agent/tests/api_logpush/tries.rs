//! What tries something and changes no job: destinations, ownership, options, fields.
use super::kit::{JOBS, Server, Setup, created};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn destinations_are_tried_without_a_job() {
    let server = Server::open();
    let ask = |path: &str, conf: &str| {
        server.post(&format!("/zones/023e/logpush/validate/{path}"), json!({ "destination_conf": conf }))
    };
    let good = server.directory("out");
    assert_eq!(ask("destination", &good).result(), json!({ "valid": true, "message": "" }));
    for (bad, words) in
        [("nonsense", "has no scheme"), ("file:///proc/nothing/x", "error validating destination: ")]
    {
        let told = ask("destination", bad).result();
        assert!(told["valid"] == false && told["message"].as_str().unwrap().contains(words), "{told}");
    }
    assert_eq!(ask("destination/exists", &good).result(), json!({ "exists": false }));
    created(&server, json!({}));
    assert_eq!(ask("destination/exists", &format!("{good}?suffix=.txt")).result(), json!({ "exists": true }));
    let other = "/zones/other/logpush/validate/destination/exists";
    let body = json!({ "destination_conf": good });
    assert_eq!(
        server.post(other, body.clone()).result(),
        json!({ "exists": false }),
        "others' jobs are not told"
    );
    assert_eq!(server.post("/logpush/validate/destination/exists", body).result(), json!({ "exists": true }));
    for path in ["destination", "destination/exists", "origin"] {
        let path = format!("/zones/023e/logpush/validate/{path}");
        assert_eq!(server.post(&path, json!({})).error().1, 1001, "{path}");
        assert_eq!(
            server.post(&path, json!({ "destination_conf": 1, "logpull_options": 1 })).error().1,
            1001
        );
    }
}

#[test]
fn legacy_options_are_validated() {
    let server = Server::open();
    let ask = |body| server.post("/zones/023e/logpush/validate/origin", body);
    let good = json!({ "valid": true, "message": "" });
    assert_eq!(ask(json!({ "logpull_options": "fields=RayID" })).result(), good);
    assert_eq!(ask(json!({ "logpull_options": "", "dataset": "raw" })).result(), good);
    let bad = ask(json!({ "logpull_options": "x", "dataset": "http_requests" })).result();
    assert_eq!(bad, json!({ "valid": false, "message": "has no fields=" }));
    assert_eq!(ask(json!({ "logpull_options": "x", "dataset": "dns_logs" })).error().2, "/dataset");
    assert_eq!(ask(json!({ "logpull_options": "x", "dataset": 1 })).error().2, "/dataset");
}

#[test]
fn data_sets_tell_their_fields() {
    let server = Server::open();
    for path in ["fields", "fields/default"] {
        let fields = server.get(&format!("/accounts/a/logpush/datasets/http_requests/{path}")).result();
        let wanted = edgepush_shard::dataset::HTTP_REQUESTS.fields;
        assert_eq!(fields.as_object().unwrap().len(), wanted.len());
        assert!(wanted.iter().all(|field| fields[field.name] == field.help));
    }
    assert_eq!(server.get("/zones/z/logpush/datasets/raw/fields").result(), json!({}));
    for (name, words) in [("dns_logs", "has no records for"), ("x", "is no data set")] {
        for path in ["fields", "fields/default", "jobs"] {
            let (status, code, _, message) =
                server.get(&format!("/zones/z/logpush/datasets/{name}/{path}")).error();
            assert_eq!((status, code), (404, 1003));
            assert!(message.contains(words), "{message}");
        }
    }
}

#[test]
fn a_challenge_is_written_and_proves_ownership() {
    let server = Server::start(Setup { challenged: |scheme| scheme == "file", ..Setup::default() });
    let conf = server.directory("own/{DATE}");
    let made = server.post("/zones/023e/logpush/ownership", json!({ "destination_conf": conf })).result();
    assert_eq!((&made["valid"], &made["message"]), (&json!(true), &json!("")));
    let file = Path::new("/").join(made["filename"].as_str().unwrap());
    assert_eq!(file, server.dir.path().join("own/ownership-challenge.txt"));
    let token = std::fs::read_to_string(&file).unwrap();
    let validate = |conf: &str, token: &str| {
        let body = json!({ "destination_conf": conf, "ownership_challenge": token });
        server.post("/zones/023e/logpush/ownership/validate", body).result()["valid"] == true
    };
    assert!(validate(&conf, &token));
    assert!(!validate(&server.directory("own"), &token) && !validate(&conf, "x"));
    let create = |proof: Value| {
        let body = json!({ "destination_conf": conf, "ownership_challenge": proof });
        server.post(JOBS, body)
    };
    for wrong in [json!("x"), json!(format!("{token}x")), json!(7)] {
        let (status, code, pointer, message) = create(wrong).error();
        assert_eq!((status, code, pointer.as_str()), (400, 1002, "/ownership_challenge"));
        assert_eq!(message, "incorrect ownership challenge");
    }
    for none in [json!(""), json!(null)] {
        assert_eq!(create(none).error().1, 1002, "this kind needs one");
    }
    let job = create(json!(token)).result();
    assert!(job.get("ownership_challenge").is_none());
    let path = format!("{JOBS}/{}", job["id"]);
    assert_eq!(server.put(&path, json!({ "enabled": true })).code, 200, "not needed again");
    assert_eq!(server.put(&path, json!({ "enabled": false, "ownership_challenge": "x" })).error().1, 1002);
    assert_eq!(server.put(&path, json!({ "destination_conf": server.directory("else") })).error().1, 1002);
    server.now.fetch_add(7 * 86_400 + 1, Relaxed);
    assert!(!validate(&conf, &token), "it has an end");
    let none = server.post("/zones/023e/logpush/ownership", json!({ "destination_conf": "null:" })).result();
    assert!(
        none["valid"] == false && none["message"].as_str().unwrap().contains("no single objects"),
        "{none}"
    );
}

#[test]
fn a_challenge_is_posted_to_a_collector() {
    let server = Server::open();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let conf = format!("http://{}/in?header_X-Key=hunter22", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || {
        ["200 OK", "401 Unauthorized"].map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut said = String::new();
            let mut bytes = [0; 4096];
            // A token has two dots, and comes in one piece or more.
            while said.split("\r\n\r\n").nth(1).is_none_or(|body| body.split('.').count() < 3) {
                let n = stream.read(&mut bytes).unwrap();
                said.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
            let reply = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
            said
        })
    });
    let ask = || server.post("/zones/023e/logpush/ownership", json!({ "destination_conf": conf })).result();
    assert_eq!(ask(), json!({ "filename": "ownership-challenge.txt", "valid": true, "message": "" }));
    let refused = ask();
    assert!(refused["valid"] == false && refused["message"].as_str().unwrap().contains("401"), "{refused}");
    assert!(!refused["message"].as_str().unwrap().contains("hunter22"));
    let [said, _] = collector.join().unwrap();
    assert!(
        said.starts_with("POST /in HTTP/1.1\r\n")
            && said.contains("x-edgepush-object: ownership-challenge.txt")
    );
    assert!(said.contains("x-key: hunter22") && said.contains("content-type: text/plain"), "{said}");
}

//! Jobs from create to delete: what is answered, what changes, what never does.
use super::kit::{JOBS, Server, Setup, created};
use edgepush::jobs::Life;
use edgepush_shard::chunk::JobId;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_job_lives_from_create_to_delete() {
    let server = Server::open();
    let asked = json!({
        "name": "example.com", "dataset": "http_requests", "enabled": true,
        "destination_conf": server.directory("logs/{DATE}"),
        "output_options": { "field_names": ["ClientIP", "RayID"], "timestamp_format": "rfc3339" },
        "filter": "{\"where\":{\"key\":\"EdgeResponseStatus\",\"operator\":\"geq\",\"value\":500}}",
        "max_upload_bytes": 5_000_000, "max_upload_records": 1000, "max_upload_interval_seconds": 30,
        "ownership_challenge": "", "over_share": "drop_oldest",
    });
    let reply = server.post(JOBS, asked.clone());
    assert_eq!(reply.json["errors"], json!([]));
    assert_eq!(reply.json["messages"], json!([]));
    let job = reply.result();
    let mut wanted = asked;
    wanted.as_object_mut().unwrap().remove("ownership_challenge");
    let more = json!({
        "id": 3, "kind": "", "last_complete": null, "last_error": null, "error_message": null,
        "version": 1, "owner": "zones/023e", "origin": "api",
    });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(job, wanted);
    let path = format!("{JOBS}/3");
    assert_eq!(server.get(&path).result(), wanted);
    assert_eq!(server.get(JOBS).result(), json!([wanted]));
    assert_eq!(server.get("/zones/023e/logpush/datasets/http_requests/jobs").result(), json!([wanted]));
    assert_eq!(server.get("/zones/023e/logpush/datasets/raw/jobs").result(), json!([]));
    assert_eq!(server.ask("DELETE", &path, None).result(), json!({ "id": 3 }));
    assert_eq!(server.get(&path).error().1, 1006);
    assert_eq!(server.ask("DELETE", &path, None).error(), (404, 1006, "".into(), "job not found".into()));
    assert_eq!(created(&server, json!({})).0["id"], 4, "an id is never given twice");
}

#[test]
fn what_is_not_said_is_left_out() {
    let server = Server::open();
    let (job, _) = created(
        &server,
        json!({ "name": "", "filter": "", "max_upload_bytes": 0, "max_upload_records": null, "frequency": null,
                "logpull_options": "", "output_options": null, "kind": "", "uploads": 0, "codec": "",
                "transformer_id": 0, "subrequest_merging": false }),
    );
    let mut keys: Vec<&str> = job.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "dataset",
            "destination_conf",
            "enabled",
            "error_message",
            "id",
            "kind",
            "last_complete",
            "last_error",
            "origin",
            "owner",
            "version"
        ]
    );
    assert_eq!((&job["dataset"], &job["enabled"]), (&json!("http_requests"), &json!(false)));
}

#[test]
fn life_and_health_are_shown() {
    let server = Server::open();
    let (_, path) = created(&server, json!({}));
    let life = Life {
        last_complete: Some(1_800_000_000_999_999_999),
        last_error: Some(1_800_000_060_000_000_000),
        error_message: Some("HTTP 503".into()),
    };
    Arc::make_mut(&mut server.port.book.lock().unwrap()).live(JobId(3), life);
    let job = server.get(&path).result();
    assert_eq!(job["last_complete"], "2027-01-15T08:00:00Z");
    assert_eq!(
        (&job["last_error"], &job["error_message"]),
        (&json!("2027-01-15T08:01:00Z"), &json!("HTTP 503"))
    );
    assert_eq!(job["version"], 1, "no version changes by it");
    let health = server.get(&format!("{path}/health")).result();
    assert_eq!((&health["uploads"], &health["retries"]), (&json!(3), &json!({ "503": 2 })));
    assert_eq!(server.get(&format!("{JOBS}/99/health")).error().1, 1006);
}

#[test]
fn a_put_changes_the_keys_that_it_has() {
    let server = Server::open();
    let (old, path) =
        created(&server, json!({ "filter": "{\"where\":{}}", "output_options": { "a": 1, "b": 2 } }));
    let job = server.put(&path, json!({ "enabled": true })).result();
    let mut wanted = old;
    (wanted["enabled"], wanted["version"]) = (json!(true), json!(2));
    assert_eq!(job, wanted);
    let job = server.put(&path, json!({ "output_options": { "b": 3 }, "name": "x" })).result();
    assert_eq!(
        (&job["output_options"], &job["name"], &job["version"]),
        (&json!({ "b": 3 }), &json!("x"), &json!(3))
    );
    let job = server.put(&path, json!({ "filter": "", "output_options": null, "dataset": null })).result();
    assert!(job.get("filter").is_none() && job.get("output_options").is_none(), "{job}");
    assert_eq!((&job["version"], &job["dataset"]), (&json!(4), &json!("http_requests")));
    assert_eq!(
        server.put(&path, job.clone()).result(),
        job,
        "what was answered can be sent back and changes nothing"
    );
    assert_eq!(server.put(&path, json!({})).result(), job);
    assert_eq!(server.get(&path).result(), job);
}

#[test]
fn what_identifies_a_job_never_changes() {
    let server = Server::open();
    let (job, path) = created(&server, json!({ "kind": "edge" }));
    assert_eq!(job["kind"], "edge");
    for (key, value) in [("dataset", "raw"), ("kind", "")] {
        let (status, code, pointer, message) = server.put(&path, json!({ key: value })).error();
        assert_eq!((status, code, pointer), (400, 1008, format!("/{key}")));
        assert!(message.contains("cannot be changed"), "{message}");
    }
    assert_eq!(server.put(&path, json!({ "dataset": "http_requests", "kind": "edge" })).result(), job);
}

#[test]
fn jobs_that_are_kept_elsewhere_are_read_only() {
    let server = Server::open();
    let ours = "/accounts/local/logpush/jobs";
    let shown = server.get(ours).result();
    let ids: Vec<u64> = shown.as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2], "the rejects are no job");
    for (id, names) in [(1, "EDGEPUSH_DESTINATION"), (2, "jobs.d/a.json")] {
        let path = format!("{ours}/{id}");
        for (method, body) in [("PUT", Some(json!({ "enabled": true }))), ("DELETE", None)] {
            let (status, code, _, message) = server.ask(method, &path, body.as_ref()).error();
            assert_eq!((status, code), (409, 1007), "{method} {path}");
            assert!(message.contains(names), "{message}");
        }
        assert_eq!(server.get(&path).code, 200);
    }
    assert_eq!(server.get(&format!("{ours}/0")).error().1, 1006);
}

#[test]
fn nobody_sees_the_jobs_of_others() {
    let server = Server::open();
    created(&server, json!({}));
    assert_eq!(
        server.post("/accounts/023e/logpush/jobs", json!({ "destination_conf": "null:" })).result()["id"],
        4
    );
    for path in ["/zones/other/logpush/jobs/3", "/accounts/023e/logpush/jobs/3", "/zones/023e/logpush/jobs/4"]
    {
        for (method, body) in [("GET", None), ("PUT", Some(json!({ "enabled": true }))), ("DELETE", None)] {
            assert_eq!(server.ask(method, path, body.as_ref()).error().1, 1006, "{method} {path}");
        }
    }
    assert_eq!(server.get("/zones/other/logpush/jobs").result(), json!([]));
    let all = server.get("/logpush/jobs").result();
    let owners: Vec<&str> =
        all.as_array().unwrap().iter().map(|job| job["owner"].as_str().unwrap()).collect();
    assert_eq!(owners, ["accounts/local", "accounts/local", "zones/023e", "accounts/023e"]);
    assert_eq!(server.put("/logpush/jobs/3", json!({ "enabled": true })).result()["owner"], "zones/023e");
    assert_eq!(
        server.post("/logpush/jobs", json!({ "destination_conf": "null:" })).result()["owner"],
        "accounts/local"
    );
}

#[test]
fn bounds_themselves_are_accepted() {
    let server = Server::open();
    for (bytes, records, seconds) in [(5_000_000, 1000, 30), (1_000_000_000, 1_000_000, 300)] {
        let (job, _) = created(
            &server,
            json!({ "max_upload_bytes": bytes, "max_upload_records": records, "uploads": 64,
                    "max_upload_interval_seconds": seconds, "name": "a".repeat(512) }),
        );
        assert_eq!(job["max_upload_bytes"], bytes);
    }
}

#[test]
fn there_is_room_for_so_many_jobs() {
    let server = Server::start(Setup { jobs_max: 3, ..Setup::default() });
    created(&server, json!({}));
    let (_, path) = created(&server, json!({}));
    let (status, code, _, message) = server.post(JOBS, json!({ "destination_conf": "null:" })).error();
    assert_eq!((status, code), (400, 1004));
    assert!(message.starts_with("creating a new job is not allowed: exceeded max jobs allowed"), "{message}");
    server.ask("DELETE", &path, None).result();
    created(&server, json!({}));
}

#[test]
fn a_change_that_cannot_be_kept_is_not_made() {
    let server = Server::open();
    let (job, path) = created(&server, json!({}));
    server.port.unavailable.store(true, Relaxed);
    let wanted = (503, 1009, String::new(), "the agent is stopping".to_owned());
    assert_eq!(server.post(JOBS, json!({ "destination_conf": "null:" })).error(), wanted);
    assert_eq!(server.put(&path, json!({ "enabled": true })).error(), wanted);
    assert_eq!(server.ask("DELETE", &path, None).error(), wanted);
    assert_eq!(server.get(JOBS).result(), json!([job]));
}

#[test]
fn a_destination_is_asked_when_it_is_new() {
    let server = Server::open();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = format!("http://127.0.0.1:{port}/in");
    let (status, code, pointer, message) = server.post(JOBS, json!({ "destination_conf": dead })).error();
    assert_eq!((status, code, pointer.as_str()), (400, 1005, "/destination_conf"));
    assert!(message.starts_with("error validating destination: "), "{message}");
    let (_, path) = created(&server, json!({}));
    assert_eq!(server.put(&path, json!({ "destination_conf": dead })).error().1, 1005);
    let before = server.port.opened.load(Relaxed);
    server.put(&path, json!({ "enabled": true, "destination_conf": server.directory("out") })).result();
    assert_eq!(server.port.opened.load(Relaxed), before, "not asked again when it is the same");
    server.put(&path, json!({ "destination_conf": server.directory("else") })).result();
    assert_eq!(server.port.opened.load(Relaxed), before + 1);
    assert_eq!(std::fs::read_dir(server.dir.path()).unwrap().count(), 1, "probes are removed again");
}

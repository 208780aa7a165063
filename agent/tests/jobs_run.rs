//! Customers' jobs in the real agent: what they ask for is what their destinations get, through changes and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::jobs::JOBS;
use common::*;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn setup(place: &Place) -> Setup {
    let setup = place.setup().env("EDGEPUSH_DESTINATION", "null:").env("EDGEPUSH_STOP_TIMEOUT", "3s");
    // A commit closes slabs; only then a shard knows that a batch is full.
    setup.env("EDGEPUSH_COMMIT_INTERVAL", "1s")
}

fn directory(place: &Place, name: &str) -> String {
    format!("{}/{name}", place.to_files())
}

fn written(seq: u64) -> Value {
    serde_json::from_str(&writer::line("r", seq)).unwrap()
}

/// The sequence numbers of records that have one, sorted.
fn seqs<'a>(records: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u64> {
    let seq = |line: &Vec<u8>| {
        let record: Value = serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        record["seq"].as_u64().unwrap_or_else(|| panic!("a record without its number: {record}"))
    };
    let mut seqs: Vec<u64> = records.into_iter().map(seq).collect();
    seqs.sort_unstable();
    seqs
}

fn posted(recorder: &Recorder, job: &str) -> Vec<Vec<u8>> {
    recorder.taken(job).iter().flat_map(Request::lines).collect()
}

fn filed(dir: &Path) -> Vec<u64> {
    seqs(&lines_in_dir(dir))
}

fn filter(text: &Value) -> String {
    json!({ "where": text }).to_string()
}

fn errors_only() -> String {
    filter(&json!({ "key": "status", "operator": "geq", "value": 400 }))
}

fn is_error(seq: u64) -> bool {
    written(seq)["status"].as_u64().unwrap() >= 400
}

/// Ends the agent and has another one deliver all that is there, open batches too.
fn finish(setup: &Setup, agent: Agent) -> Done {
    agent.terminate().exits(0);
    setup.once().exits(0)
}

#[test]
fn every_job_gets_its_records_in_its_form() {
    const LINES: u64 = 2500;
    let place = Place::new();
    let recorder = Recorder::start();
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let make = |name: &str, more: Value| api.create(name, &recorder.url_of(name), more);
    make("all", json!({}));
    make("errors", json!({ "filter": errors_only() }));
    make("fields", json!({ "output_options": { "field_names": ["status", "seq"] } }));
    make("zstd", json!({ "codec": "zstd" }));
    make(
        "csv",
        json!({ "output_options": { "output_type": "csv", "field_names": ["seq", "ua"], "batch_prefix": "seq,ua\n" } }),
    );
    make(
        "template",
        json!({ "output_options": {
            "record_template": "{{ .seq }} asked for {{ .path }}", "record_prefix": "", "record_suffix": "\n"
        } }),
    );
    writer::append(&place.log(), "r", 0..LINES);
    agent.wait_read(LINES);
    finish(&setup, agent);

    assert_exactly_once("r", LINES, &posted(&recorder, "all"));
    assert_exactly_once("r", LINES, &posted(&recorder, "zstd"));
    assert!(recorder.taken("zstd").iter().all(|r| r.header("content-encoding") == "zstd"));
    assert!(recorder.taken("all").iter().all(|r| r.lines().len() <= 1000), "a limit is a ceiling");
    let errors: Vec<u64> = (0..LINES).filter(|s| is_error(*s)).collect();
    assert_eq!(seqs(&posted(&recorder, "errors")), errors);
    let sorted = |job: &str| {
        let mut lines = posted(&recorder, job);
        lines.sort();
        lines
    };
    let expected = |line: &dyn Fn(u64, Value) -> String| {
        let mut lines: Vec<Vec<u8>> = (0..LINES).map(|s| line(s, written(s)).into_bytes()).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted("fields"), expected(&|s, of| format!("{{\"status\":{},\"seq\":{s}}}", of["status"])));
    assert_eq!(sorted("template"), expected(&|s, of| format!("{s} asked for {}", of["path"])));

    let mut rows = Vec::new();
    for body in recorder.taken("csv") {
        assert_eq!(body.header("content-type"), "text/csv");
        assert!(body.header("x-edgepush-batch").ends_with(".csv.gz"), "{:?}", body.headers);
        let mut lines = body.lines();
        assert_eq!(lines.remove(0), b"seq,ua", "every batch has its header");
        assert_eq!(body.header("x-edgepush-records"), lines.len().to_string(), "the header is no record");
        rows.extend(lines);
    }
    rows.sort();
    assert_eq!(rows, expected(&|s, of| format!("{s},{}", of["ua"])));
}

#[test]
fn a_batch_of_several_pieces_is_one_json_document() {
    let place = Place::new();
    let recorder = Recorder::start();
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let output = json!({
        "batch_prefix": "{\"events\":[", "batch_suffix": "\n]}\n", "record_delimiter": ",",
        "record_prefix": "\n{", "record_suffix": "}", "field_names": ["seq", "path"]
    });
    // As large as batches may be: the second job below keeps them small.
    let whole = json!({ "output_options": output, "max_upload_records": 0 });
    api.create("post", &recorder.url_of("post"), whole.clone());
    api.create("file", &directory(&place, "file"), whole);
    api.create("small", &recorder.url_of("small"), json!({ "output_options": output }));
    for part in 0..3 {
        writer::append(&place.log(), "r", part * 900..(part + 1) * 900);
        agent.wait_read((part + 1) * 900);
        // Whatever changes, everything that was read is sealed: the open batches get another piece.
        api.create(&format!("seal.{part}"), "null:", json!({}));
    }
    finish(&setup, agent);

    let events = |bytes: &[u8]| -> Vec<u64> {
        let whole: Value = serde_json::from_slice(bytes).expect("a batch is one JSON document");
        let events = whole["events"].as_array().expect("a list").clone();
        let found: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(events.iter().zip(&found).all(|(event, seq)| event["path"] == written(*seq)["path"]));
        found
    };
    let all: Vec<u64> = (0..2700).collect();
    for (job, bodies) in [("post", 1), ("small", 3)] {
        let taken = recorder.taken(job);
        assert_eq!(taken.len(), bodies, "{job}");
        let mut found: Vec<u64> = taken.iter().flat_map(|body| events(&body.decoded())).collect();
        found.sort_unstable();
        assert_eq!(found, all, "{job}");
    }
    let files = objects(&place.out());
    assert_eq!(files.len(), 1, "{files:?}");
    let stored = std::fs::read(&files[0]).unwrap();
    assert!(gunzip_members(&stored).len() >= 3, "a file has a gzip member for each piece");
    assert_eq!(events(&gunzip(&stored)), all);
}

#[test]
fn a_sample_is_the_same_for_every_job_and_in_every_run() {
    const LINES: u64 = 4000;
    let place = Place::new();
    let setup = setup(&place).env("EDGEPUSH_COMMIT_INTERVAL", "60s");
    let agent = setup.start_ready();
    let api = agent.jobs();
    for (name, rate) in [("a", 0.3), ("b", 0.3), ("more", 0.6)] {
        api.create(
            name,
            &directory(&place, name),
            json!({ "output_options": { "sample_rate": rate }, "max_upload_records": 0 }),
        );
    }
    writer::append(&place.log(), "r", 0..LINES);
    agent.wait_read(LINES);
    let matched = |job: &str| agent.metrics().unwrap().sum_where("edgepush_records_matched_total", job);
    let before = (matched("\"2-a\"") as usize, matched("\"4-more\"") as usize);
    // Nothing of it was committed: the next run reads it all again.
    agent.kill();
    setup.once().exits(0);
    let [a, b, more] = ["a", "b", "more"].map(|name| filed(&place.path("out").join(name)));
    assert_eq!((a.len(), more.len()), before, "the next run chooses as many");
    assert_eq!(a, b, "two jobs with one rate get the same lines");
    assert!(a.iter().all(|seq| more.contains(seq)), "a larger rate has every line of a smaller one");
    let share = |lines: &[u64]| lines.len() as f64 / LINES as f64;
    assert!(
        (0.25..0.35).contains(&share(&a)) && (0.54..0.66).contains(&share(&more)),
        "{} {}",
        a.len(),
        more.len()
    );
}

#[test]
fn the_environment_job_has_filter_and_output_and_cannot_be_changed() {
    let place = Place::new();
    let line = |status: u64, n: u64| {
        format!(
            "{{\"EdgeStartTimestamp\":1506702504433000200,\"ClientIP\":\"203.0.113.{n}\",\"EdgeResponseStatus\":{status},\"RayID\":\"{n}\"}}\n"
        )
    };
    let text: String = (0..200).map(|n| line(if n % 2 == 0 { 200 } else { 503 }, n)).collect();
    std::fs::write(place.log(), text).unwrap();
    let output = json!({
        "output_type": "csv", "batch_prefix": "time,ip,ray,bot\n", "privacy": { "ClientIP": "truncate_ip" },
        "field_names": ["EdgeStartTimestamp", "ClientIP", "RayID", "BotScore"],
    });
    let status = filter(&json!({ "key": "EdgeResponseStatus", "operator": "geq", "value": "500" }));
    let setup = place
        .setup()
        .env("EDGEPUSH_DATASET", "http_requests")
        .env("EDGEPUSH_FILTER", &status)
        .env("EDGEPUSH_TIMESTAMP_FORMAT", "rfc3339")
        .env("EDGEPUSH_OUTPUT_OPTIONS", &output.to_string())
        .env("EDGEPUSH_SAMPLE", "0.5");
    let agent = setup.start_ready();
    let api = agent.jobs();
    let job = api.job(1);
    assert_eq!((&job["name"], &job["filter"]), (&json!("env"), &json!(status)), "{job}");
    assert_eq!(job["output_options"]["sample_rate"], json!(0.5), "{job}");
    for (method, body) in [("PUT", Some(json!({ "enabled": false }))), ("DELETE", None)] {
        let refused = api.ask(method, &format!("{JOBS}/1"), body.as_ref());
        assert_eq!(refused.failure(), (409, 1007), "{method}");
    }
    finish(&setup, agent);

    let files = objects(&place.out());
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].to_string_lossy().ends_with(".csv.gz"), "{files:?}");
    let mut rows = lines_of(&object_bytes(&files[0]));
    assert_eq!(rows.remove(0), b"time,ip,ray,bot");
    assert!((25..=75).contains(&rows.len()), "half of a hundred: {}", rows.len());
    for row in rows {
        let row = String::from_utf8(row).unwrap();
        let ray = row
            .strip_prefix("\"2017-09-29T16:28:24Z\",\"203.0.113.0\",\"")
            .and_then(|r| r.strip_suffix("\","));
        let ray: u64 = ray.unwrap_or_else(|| panic!("{row}")).parse().unwrap();
        assert_eq!(ray % 2, 1, "only errors: {row}");
    }
}

#[test]
fn a_zone_sees_its_own_hosts() {
    let place = Place::new();
    let hosts = ["a.example", "x.b.example", "b.example", "A.Example:443", "other.example", "y.x.b.example"];
    let text: String = (0..600)
        .map(|seq| format!("{{\"host\":\"{}\",\"seq\":{seq}}}\n", hosts[seq % hosts.len()]))
        .collect();
    let setup = setup(&place).env("EDGEPUSH_ZONES", "z1=a.example *.b.example;z2=b.example");
    let agent = setup.start_ready();
    let api = agent.jobs();
    for zone in ["z1", "z2"] {
        api.create_at(&format!("/zones/{zone}/logpush/jobs"), zone, &directory(&place, zone), json!({}));
    }
    let odd = filter(&json!({ "key": "seq", "operator": "geq", "value": 300 }));
    api.create_at("/zones/z1/logpush/jobs", "late", &directory(&place, "late"), json!({ "filter": odd }));
    api.create("account", &directory(&place, "account"), json!({}));
    let unknown = api.ask("POST", "/zones/z3/logpush/jobs", Some(&jobs::job("x", "null:", json!({}))));
    assert_eq!(unknown.failure(), (404, 1003));
    let other = api.ask("GET", "/zones/z2/logpush/jobs/2", None);
    assert_eq!(other.failure(), (404, 1006), "another zone's job");
    std::fs::write(place.log(), text).unwrap();
    agent.wait_read(600);
    finish(&setup, agent);
    let of = |wanted: &[usize]| {
        (0..600).filter(|s| wanted.contains(&(*s as usize % hosts.len()))).collect::<Vec<u64>>()
    };
    let got = |name: &str| filed(&place.out().join(name));
    assert_eq!(got("z1"), of(&[0, 1, 3, 5]));
    assert_eq!(got("z2"), of(&[2]));
    assert_eq!(got("late"), of(&[0, 1, 3, 5]).into_iter().filter(|s| *s >= 300).collect::<Vec<_>>());
    assert_eq!(got("account"), (0..600).collect::<Vec<u64>>());
}

#[test]
fn a_disabled_job_takes_nothing_and_sends_nothing() {
    let place = Place::new();
    let recorder = Recorder::start();
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let id = api.create("a", &recorder.url_of("a"), json!({ "enabled": false, "max_upload_records": 0 }));
    let mut upto = 0;
    let mut more = || {
        writer::append(&place.log(), "r", upto..upto + 500);
        upto += 500;
        agent.wait_read(upto);
    };
    more();
    assert_eq!(api.put(id, json!({ "enabled": true }))["version"], json!(2));
    more();
    // What it has is committed and held.
    api.put(id, json!({ "enabled": false }));
    assert_eq!(api.health(id)["state"], json!("disabled"));
    more();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(recorder.posts("a").len(), 0, "nothing is sent for a disabled job");
    // The hold outlives the process, and nobody waits for what is held.
    agent.kill();
    let once = setup.once().exits(1);
    assert_eq!(once.count("undelivered_batches"), 1);
    let agent = setup.start_ready();
    assert_eq!(api.health(id)["state"], json!("disabled"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(recorder.posts("a").len(), 0, "nor after a restart");
    api.put(id, json!({ "enabled": true }));
    wait_until("what was held is sent", PATIENCE, || recorder.taken("a").len() == 1);
    writer::append(&place.log(), "r", 1500..2000);
    agent.wait_read(500);
    assert_eq!(api.job(id)["version"], json!(4));
    finish(&setup, agent);
    let expected: Vec<u64> = (500..1000).chain(1500..2000).collect();
    assert_eq!(seqs(&posted(&recorder, "a")), expected);
}

#[test]
fn a_deleted_job_goes_with_what_it_had_and_that_is_counted() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| {
        let down = ask.method == "POST" && ask.target.ends_with("=down");
        Answer::Status(if down { 503 } else { 200 })
    });
    // Half of what is read stays in memory: with the job it is lost like what was committed.
    let setup = setup(&place).env("EDGEPUSH_COMMIT_INTERVAL", "60s");
    let agent = setup.start_ready();
    let api = agent.jobs();
    let down = api.create("down", &recorder.url_of("down"), json!({}));
    let well = api.create("well", &recorder.url_of("well"), json!({}));
    writer::append(&place.log(), "r", 0..3500);
    agent.wait_read(3500);
    // Whatever changes, everything that was read is committed.
    api.create("seal", "null:", json!({}));
    wait_until("three batches wait, others are delivered", PATIENCE, || {
        let metrics = agent.metrics().unwrap();
        let waiting = metrics.sum_where("edgepush_spool_batches", "\"2-down\"");
        waiting as u64 == 3 && recorder.taken("well").len() == 3
    });
    writer::append(&place.log(), "r", 3500..4200);
    agent.wait_read(4200);
    api.delete(down);
    assert_eq!(api.ask("GET", &format!("{JOBS}/{down}"), None).failure(), (404, 1006));
    assert_eq!(agent.metrics().unwrap().sum_where("edgepush_spool_batches", "down"), 0.0, "no label is left");
    let tries = recorder.posts("down").len();
    writer::append(&place.log(), "r", 4200..5000);
    agent.wait_read(5000);
    assert!(agent.stderr_text().contains("deleted jobs"), "the loss is told: {}", agent.stderr_text());
    let next = api.create("next", "null:", json!({}));
    assert_eq!(next, well + 2, "an id is never given again");
    let done = finish(&setup, agent);
    assert_eq!(done.count("undelivered_batches"), 0);
    assert_eq!(recorder.posts("down").len(), tries, "nothing is sent after a delete");
    assert_exactly_once("r", 5000, &posted(&recorder, "well"));
    let lost: (u64, String) = rusqlite::Connection::open(place.state().join("ledger.db"))
        .unwrap()
        .query_row(&format!("SELECT sum(records), min(reason) FROM loss WHERE job = {down}"), [], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
        })
        .unwrap();
    assert_eq!(lost, (4200, "deleted".into()), "every record that it had is counted as lost");
}

#[test]
fn a_change_is_a_cut_and_what_waits_goes_where_the_job_points_now() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| {
        let away = ask.method == "POST" && ask.target.ends_with("=old");
        Answer::Status(if away { 503 } else { 200 })
    });
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let id = api.create("a", &recorder.url_of("old"), json!({ "filter": errors_only() }));
    let file =
        api.create("f", &directory(&place, "f"), json!({ "output_options": { "field_names": ["seq"] } }));
    writer::append(&place.log(), "r", 0..2000);
    agent.wait_read(2000);
    let passed = filter(&json!({ "key": "status", "operator": "lt", "value": 400 }));
    assert_eq!(api.put(id, json!({ "filter": passed }))["version"], json!(2));
    assert_eq!(api.put(id, json!({ "filter": passed }))["version"], json!(2), "nothing changes");
    api.put(file, json!({ "output_options": { "field_names": ["seq"], "rename": { "seq": "n" } } }));
    wait_until("it was tried at the old place", PATIENCE, || !recorder.posts("old").is_empty());
    writer::append(&place.log(), "r", 2000..4000);
    agent.wait_read(4000);
    wait_until("it says so", PATIENCE, || api.health(id)["state"] == json!("retrying"));
    let health = api.health(id);
    assert!(health["retries"]["503"].as_u64().unwrap() >= 1, "{health}");
    assert_eq!(
        (&health["records"], &health["bytes"]),
        (&json!(0), &json!(0)),
        "nothing is delivered: {health}"
    );
    assert!(
        api.job(id)["error_message"].as_str().is_some_and(|text| text.contains("503")),
        "{}",
        api.job(id)
    );
    api.put(id, json!({ "destination_conf": recorder.url_of("new") }));
    wait_until("what waited is delivered at the new place", PATIENCE, || {
        recorder.taken("new").len() >= recorder.posts("old").len().min(1)
    });
    let first = recorder.posts("old").remove(0);
    finish(&setup, agent);
    let moved = recorder.taken("new");
    assert!(moved.iter().any(|r| r.key() == first.key() && r.decoded() == first.decoded()), "names stay");
    let mut expected: Vec<u64> = (0..2000).filter(|s| is_error(*s)).collect();
    expected.extend((2000..4000).filter(|s| !is_error(*s)));
    assert_eq!(seqs(&posted(&recorder, "new")), expected);
    for object in objects(&place.out().join("f")) {
        let lines = lines_of(&object_bytes(&object));
        let forms: Vec<bool> = lines.iter().map(|line| line.starts_with(b"{\"n\":")).collect();
        assert!(forms.iter().all(|form| *form == forms[0]), "{object:?} mixes two versions");
        for line in lines {
            let record: Value = serde_json::from_slice(&line).unwrap();
            let key = if forms[0] { "n" } else { "seq" };
            assert_eq!(record[key].as_u64().unwrap() >= 2000, forms[0], "{record}");
        }
    }
    assert_eq!(lines_in_dir(&place.out().join("f")).len(), 4000);
}

#[test]
fn jobs_come_back_after_a_kill_as_they_were() {
    let place = Place::new();
    let recorder = Recorder::start();
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let a = api.create("a", &recorder.url_of("a"), json!({ "filter": errors_only() }));
    let b = api.create("b", &recorder.url_of("b"), json!({}));
    let c = api.create_at("/zones/z/logpush/jobs", "c", &recorder.url_of("c"), json!({}));
    let gone = api.create("gone", "null:", json!({}));
    api.put(a, json!({ "name": "a.again" }));
    api.put(a, json!({ "enabled": false }));
    api.delete(gone);
    writer::append(&place.log(), "r", 0..2000);
    wait_until("two batches are delivered", PATIENCE, || {
        recorder.taken("b").len() == 2 && recorder.taken("c").len() == 2
    });
    let everyone = || api.get("/logpush/jobs").as_array().unwrap().clone();
    wait_until("both are complete up to then", PATIENCE, || {
        everyone().iter().filter(|job| job["last_complete"].is_string()).count() >= 2
    });
    let answer = api.put(b, json!({ "name": "b.again" }));
    assert!(answer["last_complete"].is_string(), "a change forgets nothing: {answer}");
    let before = everyone();
    assert!(
        before.iter().filter(|job| job["last_complete"].is_string()).count() >= 2,
        "of nobody: {before:?}"
    );
    let row =
        |id: u64| before.iter().find(|job| job["id"] == json!(id)).unwrap_or_else(|| panic!("{before:?}"));
    assert_eq!((&row(a)["version"], &row(a)["enabled"]), (&json!(3), &json!(false)));
    assert_eq!((&row(c)["owner"], &row(c)["origin"]), (&json!("zones/z"), &json!("api")));
    agent.kill();
    let agent = setup.start_ready();
    // The environment job counts its deliveries anew: its interval has not ended.
    let stays = |jobs: Vec<Value>| jobs.into_iter().filter(|job| job["id"] != json!(1)).collect::<Vec<_>>();
    assert_eq!(stays(everyone()), stays(before.clone()));
    let next = api.create("next", "null:", json!({}));
    assert_eq!(next, gone + 1, "the id of a deleted job is never given again");
    writer::append(&place.log(), "r", 2000..3000);
    finish(&setup, agent);
    for job in ["b", "c"] {
        assert_exactly_once("r", 3000, &posted(&recorder, job));
    }
    assert_eq!(posted(&recorder, "a").len(), 0);
    assert!(b < c);
}

#[test]
fn a_job_that_cannot_be_run_any_more_stops_nobody() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| {
        let down = ask.method == "POST" && ask.target.ends_with("=bad");
        Answer::Status(if down { 503 } else { 200 })
    });
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let [bad, worse] = ["bad", "worse"].map(|name| api.create(name, &recorder.url_of("bad"), json!({})));
    api.create("good", &recorder.url_of("good"), json!({}));
    writer::append(&place.log(), "r", 0..1500);
    wait_until("a batch of each waits", PATIENCE, || recorder.posts("bad").len() >= 2);
    agent.kill();
    // As an older program would find them: words that it does not know, and a text that it cannot read at all.
    let conn = rusqlite::Connection::open(place.state().join("ledger.db")).unwrap();
    let broken = "UPDATE job SET config = replace(config, '\"raw\"', '\"later\"') WHERE id = ?1";
    assert_eq!(conn.execute(broken, [bad as i64]).unwrap(), 1);
    assert_eq!(conn.execute("UPDATE job SET config = '{' WHERE id = ?1", [worse as i64]).unwrap(), 1);
    drop(conn);
    recorder.script(|_| Answer::Status(200));
    let mut agent = setup.start_ready();
    let told = agent.stderr_text();
    assert!(told.contains("is no data set") && told.contains("cannot read it"), "both are told: {told}");
    writer::append(&place.log(), "r", 1500..3500);
    wait_until("the good job goes on", PATIENCE, || {
        assert!(agent.alive(), "{}", agent.stderr_text());
        posted(&recorder, "good").len() >= 3000
    });
    assert_eq!(recorder.taken("bad").len(), 0, "what they left waits");
    agent.terminate().exits(0);
}

#[test]
fn health_and_metrics_tell_of_each_job() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| {
        let first = ask.method == "POST" && ask.target.ends_with("=a") && ask.tries == 0;
        Answer::Status(if first { 500 } else { 200 })
    });
    let setup = setup(&place);
    let agent = setup.start_ready();
    let api = agent.jobs();
    let id = api.create("a", &recorder.url_of("a"), json!({}));
    let unnamed = api.create("", &recorder.url_of("b"), json!({ "filter": errors_only() }));
    writer::append(&place.log(), "r", 0..2400);
    wait_until("two batches are delivered", PATIENCE, || api.health(id)["uploads"] == json!(2));
    let health = api.health(id);
    let bytes: usize = (0..2000).map(|seq| writer::line("r", seq).len() + 1).sum();
    let sent: usize = recorder.taken("a").iter().map(|body| body.body.len()).sum();
    assert_eq!((&health["records"], &health["bytes"]), (&json!(2000), &json!(bytes)), "{health}");
    assert_eq!(
        (&health["bytes_compressed"], &health["retries"]),
        (&json!(sent), &json!({ "500": 2 })),
        "{health}"
    );
    wait_until("it is well again", PATIENCE, || api.health(id)["state"] == json!("ok"));
    assert_eq!(api.job(id)["error_message"], Value::Null);
    let metrics = agent.metrics().unwrap();
    let of = |name: &str, part: &str| metrics.sum_where(name, part) as u64;
    let (named, other) = (format!("job=\"{id}-a\""), format!("job=\"{unnamed}\""));
    assert_eq!(of("edgepush_records_delivered_total", &named), 2000);
    assert_eq!(of("edgepush_records_matched_total", &named), 2400);
    let errors = (0..2400).filter(|s| is_error(*s)).count() as u64;
    assert_eq!(of("edgepush_records_matched_total", &other), errors);
    assert_eq!(of("edgepush_uploads_total", &format!("{named},status=\"500\"")), 2);
    // Another name is another label; what was counted stays with the job.
    api.put(id, json!({ "name": "renamed" }));
    let metrics = agent.metrics().unwrap();
    let renamed = format!("job=\"{id}-renamed\"");
    assert_eq!(metrics.sum_where("edgepush_records_delivered_total", &renamed) as u64, 2000);
    assert_eq!(metrics.sum_where("edgepush_records_delivered_total", &named) as u64, 0);
    finish(&setup, agent);
    assert_exactly_once("r", 2400, &posted(&recorder, "a"));
}

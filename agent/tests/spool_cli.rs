//! `edgepush spool` beside a real agent whose receiver refuses one batch, and after that agent has ended.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// A receiver that refuses the batch that holds line 0 and takes all others.
fn refuses_the_first() -> Recorder {
    let first = Mutex::new(None::<String>);
    Recorder::with(move |ask| {
        let mut first = first.lock().unwrap();
        let refused = first.get_or_insert_with(|| ask.key.clone());
        Answer::Text(if *refused == ask.key { 400 } else { 200 }, "field [n] is no number")
    })
}

struct World {
    place: Place,
    recorder: Recorder,
    setup: Setup,
    agent: Agent,
}

/// Four batches are delivered, one is aside, one waits since the receiver has gone.
fn world() -> World {
    let (place, recorder) = (Place::new(), refuses_the_first());
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &recorder.url()).env("EDGEPUSH_STOP_TIMEOUT", "2s");
    let setup = setup.env("EDGEPUSH_BATCH_INTERVAL", "300ms").env("EDGEPUSH_UPLOADS", "1");
    writer::append(&place.log(), "r", 0..10);
    let agent = setup.start_ready();
    let posts = |n: usize| recorder.requests().iter().filter(|r| r.method == "POST").count() >= n;
    wait_until("the first batch is refused", Duration::from_secs(20), || posts(1));
    for n in 1..5 {
        writer::append(&place.log(), "r", n * 10..n * 10 + 10);
        wait_until("its neighbours pass", Duration::from_secs(20), || recorder.records() >= n * 10);
    }
    let aside =
        || agent.metrics().map_or(0.0, |m| m.sum_where("edgepush_batches_total", "verdict=\"aside\""));
    wait_until("one is aside", Duration::from_secs(30), || aside() >= 1.0);
    recorder.script(|_| Answer::Status(503));
    writer::append(&place.log(), "r", 50..60);
    World { place, recorder, setup, agent }
}

fn json(setup: &Setup, args: &[&str]) -> Value {
    let args: Vec<&str> = ["spool"].into_iter().chain(args.iter().copied()).chain(["--json"]).collect();
    let done = setup.finish(&args).exits(0);
    serde_json::from_str(&done.stdout).expect("JSON")
}

/// The batches of `ls`, by their state.
fn by_state(setup: &Setup) -> BTreeMap<String, Value> {
    let all = json(setup, &["ls"]);
    let all = all.as_array().expect("an array").iter();
    all.map(|batch| (batch["state"].as_str().expect("a word").to_owned(), batch.clone())).collect()
}

fn state_files(state: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files_below(state).into_iter().map(|file| {
        let bytes = std::fs::read(&file).unwrap();
        (file.display().to_string(), bytes)
    });
    // SQLite's own: whoever looks at a ledger has them for the time.
    files.filter(|(name, _)| !name.ends_with("-wal") && !name.ends_with("-shm")).collect()
}

#[test]
fn batches_are_listed_shown_and_exported_beside_the_agent() {
    let World { place, recorder, setup, agent } = world();
    wait_until("one waits", Duration::from_secs(20), || by_state(&setup).contains_key("waiting"));
    let found = by_state(&setup);
    let (aside, waiting) = (&found["aside"], &found["waiting"]);
    assert_eq!(
        (&aside["job"], &aside["job_name"], &aside["records"]),
        (&1.into(), &"env".into(), &10.into())
    );
    let (name, key) = (aside["name"].as_str().unwrap(), aside["key"].as_str().unwrap());
    assert!(aside["reason"].as_str().unwrap().contains("field [n]"), "{aside}");
    assert!(
        name.contains(key) && aside["bytes"].as_u64() > Some(0) && aside["age_seconds"].as_u64() < Some(120)
    );
    // For people: a line each, and the reason below.
    let table = setup.finish(&["spool", "ls"]).exits(0).stdout;
    assert!(
        table.starts_with("ID  JOB") && table.contains(name) && table.contains("field [n] is no number"),
        "{table}"
    );
    // Filters.
    let count = |args: &[&str]| json(&setup, args).as_array().map(Vec::len);
    assert_eq!(count(&["ls", "--aside"]), Some(1));
    assert_eq!((count(&["ls", "--job", "env"]), count(&["ls", "--job", "1"])), (Some(2), Some(2)));
    assert_eq!(count(&["ls", "--job", "77"]), Some(0));
    // One batch, by its id, its key or its name.
    let id = aside["id"].to_string();
    for what in [&id, key, name] {
        let shown = json(&setup, &["show", what]);
        assert_eq!(
            (&shown["id"], &shown["codec"], &shown["container"]),
            (&aside["id"], &"gzip".into(), &"single".into())
        );
        let bytes: u64 =
            shown["pieces"].as_array().unwrap().iter().map(|piece| piece["bytes"].as_u64().unwrap()).sum();
        assert_eq!(Some(bytes), shown["bytes"].as_u64());
    }
    assert!(setup.finish(&["spool", "show", &id]).exits(0).stdout.contains("state        aside"));
    // The body is what the receiver got.
    let sent = recorder.requests().into_iter().find(|request| request.key() == key).expect("it was posted");
    let out = place.path("one.gz");
    let export = ["spool", "export", &id, "--out", out.to_str().unwrap()];
    assert!(setup.finish(&export).exits(0).stdout.contains("10 records"));
    assert_eq!(std::fs::read(&out).unwrap(), sent.body);
    std::fs::write(&out, "mine").unwrap();
    assert!(setup.finish(&export).exits(2).stderr.contains("not written over"));
    assert_eq!(std::fs::read(&out).unwrap(), b"mine");
    let stdout = Command::new(agent::binary())
        .args(["spool", "export", key, "--out", "-"])
        .env_clear()
        .env("EDGEPUSH_STATE_DIR", place.state())
        .output()
        .unwrap();
    assert!(stdout.status.success() && stdout.stdout == sent.body, "{stdout:?}");
    // Many.
    let dir = place.path("exported");
    let all = ["export", "--all", "--dir", dir.to_str().unwrap()];
    let exported = json(&setup, &all);
    assert_eq!(exported.as_array().map(Vec::len), Some(2), "{exported}");
    assert_eq!(files_below(&dir).len(), 2);
    let lines = files_below(&dir).iter().flat_map(|file| lines_of(&object_bytes(file))).count();
    assert_eq!(lines, 20);
    let again: Vec<&str> = ["spool"].into_iter().chain(all).chain(["--aside"]).collect();
    let done = setup.finish(&again).exits(1);
    assert!(done.stderr.contains("not written over") && done.stdout.contains("1 not exported"), "{done:?}");
    // What goes away is told plainly.
    recorder.script(|_| Answer::Status(200));
    wait_until("it is delivered", Duration::from_secs(60), || !by_state(&setup).contains_key("waiting"));
    let gone = setup.finish(&["spool", "export", &waiting["id"].to_string(), "--out", "/nowhere/x"]).exits(1);
    assert!(
        gone.stderr.contains("is not in the spool") && gone.stderr.contains("delivered"),
        "{}",
        gone.stderr
    );
    agent.terminate().exits(0);
}

#[test]
fn the_spool_of_an_agent_that_has_ended_is_read_and_not_changed() {
    let World { place, setup, agent, .. } = world();
    agent.kill();
    // What the kill left of the WAL goes into the ledger with a proper end.
    setup.start_ready().terminate();
    let before = state_files(&place.state());
    let found = by_state(&setup);
    assert!(found.contains_key("aside"), "{found:?}");
    let dir = place.path("exported");
    let done =
        setup.finish(&["spool", "export", "--all", "--aside", "--dir", dir.to_str().unwrap()]).exits(0);
    assert_eq!(
        done.stdout,
        format!("1 batches exported to {}, 0 gone meanwhile, 0 not exported\n", dir.display())
    );
    let file = files_below(&dir).remove(0);
    let expected = found["aside"]["name"].as_str().unwrap().replace('/', "_");
    assert_eq!(file.file_name().unwrap().to_str().unwrap(), expected);
    assert_eq!(lines_of(&object_bytes(&file)).len(), 10);
    assert_eq!(state_files(&place.state()), before, "it was only looked at");
    // The next start finds all as it was.
    let agent = setup.start_ready();
    assert_eq!(by_state(&setup)["aside"]["id"], found["aside"]["id"]);
    agent.terminate();
    // A damaged body is no body.
    let ledger = rusqlite::Connection::open(place.state().join("ledger.db")).unwrap();
    let id = found["aside"]["id"].to_string();
    ledger.execute("UPDATE piece SET bytes = zeroblob(length(bytes)) WHERE batch = ?1", [&id]).unwrap();
    drop(ledger);
    let done = setup.finish(&["spool", "export", &id, "--out", "/nowhere/x"]).exits(1);
    assert!(done.stderr.contains("does not fit its checksum"), "{}", done.stderr);
    // Nor is a directory of a newer program read.
    std::fs::write(place.state().join("VERSION"), "99\n").unwrap();
    assert!(setup.finish(&["spool", "ls"]).exits(3).stderr.contains("version 99"));
}

#[test]
fn what_is_aside_is_tried_again_or_dropped_by_the_agent() {
    let World { place: _place, recorder, setup, agent } = world();
    let found = by_state(&setup);
    let id = found["aside"]["id"].to_string();
    let waiting = found.get("waiting").map(|batch| batch["id"].to_string());
    for (what, word) in waiting.iter().flat_map(|id| [(id, "retry"), (id, "drop")]) {
        assert!(setup.finish(&["spool", word, what]).exits(2).stderr.contains("not aside"));
    }
    assert!(setup.finish(&["spool", "drop", &id]).exits(2).stderr.contains("--yes"), "nobody was asked");
    // It is refused again, and is aside again: nothing is lost by trying.
    let posts = |recorder: &Recorder| {
        let key = found["aside"]["key"].as_str().unwrap();
        recorder.requests().iter().filter(|request| request.key() == key).count()
    };
    let before = posts(&recorder);
    let first = found["aside"]["key"].as_str().unwrap().to_owned();
    recorder.script(move |ask| Answer::Status(if ask.key == first { 400 } else { 200 }));
    wait_until("the others pass", Duration::from_secs(60), || !by_state(&setup).contains_key("waiting"));
    assert!(setup.finish(&["spool", "retry", &id]).exits(0).stdout.contains("is tried again: 10 records"));
    wait_until("it is tried again", Duration::from_secs(30), || posts(&recorder) > before);
    // Taken this time, it is gone and counted once.
    recorder.script(|_| Answer::Status(200));
    wait_until("all is delivered", Duration::from_secs(60), || {
        by_state(&setup).is_empty() && recorder.lines().len() >= 60
    });
    assert_exactly_once("r", 60, &recorder.lines());
    assert!(setup.finish(&["spool", "retry", &id]).exits(1).stderr.contains("is not in the spool"));
    agent.terminate().exits(0);
    assert!(setup.finish(&["spool", "retry", &id]).exits(1).stderr.contains("is not in the spool"));
}

#[test]
fn a_drop_is_a_loss_that_is_counted() {
    let World { place, setup, agent, .. } = world();
    let id = by_state(&setup)["aside"]["id"].to_string();
    let dropped = json(&setup, &["drop", &id, "--yes"]);
    assert_eq!((&dropped["records"], &dropped["job"]), (&10.into(), &1.into()));
    assert!(!by_state(&setup).contains_key("aside"));
    let counted =
        || agent.metrics().map_or(0.0, |m| m.sum_where("edgepush_batches_total", "verdict=\"dropped\""));
    wait_until("it is counted", Duration::from_secs(10), || counted() == 1.0);
    agent.kill();
    assert!(setup.finish(&["spool", "drop", &id, "--yes"]).exits(1).stderr.contains("is not in the spool"));
    let ledger = rusqlite::Connection::open(place.state().join("ledger.db")).unwrap();
    let records: i64 = ledger
        .query_row("SELECT sum(records) FROM loss WHERE reason = 'dropped'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(records, 10);
}

#[test]
fn where_no_ledger_is_the_operator_is_told() {
    let place = Place::new();
    let done = place.setup().finish(&["spool", "ls"]).exits(2);
    assert!(done.stderr.contains("EDGEPUSH_STATE_DIR") && done.stdout.is_empty(), "{done:?}");
    assert_eq!(std::fs::read_dir(place.state()).unwrap().count(), 0, "nothing was made");
}

//! A directory of job files: what changes jobs, and above all what does not.
use super::kit::{Agent, ask, list, new_book, put, with};
use edgepush::jobs::files::Directory;
use edgepush::jobs::{Change, JobsFrom, OriginKind, follow::first};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn keys(agent: &Agent) -> Vec<String> {
    agent.jobs().into_iter().map(|(key, ..)| key).collect()
}

fn four(dir: &Path) -> Agent {
    put(dir, "a.json", &list(&["a", "b"]));
    put(dir, "b.json", &list(&["c", "d"]));
    let agent = Agent::start(Some(JobsFrom::Directory(dir.into())));
    agent.until_state("good");
    assert_eq!(keys(&agent), ["file:a.json#a", "file:a.json#b", "file:b.json#c", "file:b.json#d"]);
    agent
}

#[test]
fn files_are_watched() {
    let dir = tempfile::tempdir().unwrap();
    let agent = four(dir.path());
    put(dir.path(), "c.json", &list(&["e"]));
    agent.until("a new file", |agent| keys(agent).len() == 5);
    put(dir.path(), "c.json", &list(&["e"]).replace("true", "false"));
    agent.until("a change", |agent| agent.jobs().iter().any(|job| job.2 == 2 && !job.3));
    std::fs::remove_file(dir.path().join("c.json")).unwrap();
    agent.until("a file that goes", |agent| keys(agent).len() == 4);
    for name in ["d.txt", ".e.json", "f.json~"] {
        std::fs::write(dir.path().join(name), "no job").unwrap();
    }
    put(dir.path(), "g.json", &list(&["g"]));
    agent.until("what is no job file is nobody's", |agent| keys(agent).len() == 5);
    assert_eq!(agent.set_state(), "good");
}

/// Cloudflare's outage of November 2024: a blank configuration was taken for the wish to have none.
#[test]
fn a_blank_configuration_never_replaces_a_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let jobs_d = dir.path().join("jobs.d");
    std::fs::create_dir(&jobs_d).unwrap();
    let agent = four(&jobs_d);
    let (before, changes) = (agent.jobs(), agent.changes());
    let whole = list(&["a", "b"]);
    type Accident = (&'static str, fn(&Path, &str), &'static str, &'static str);
    let accidents: [Accident; 9] = [
        ("all files go", |dir, _| clear(dir), "waits", "has no job and would end all 4"),
        ("the directory goes", |dir, _| std::fs::remove_dir_all(dir).unwrap(), "refused", "cannot be read"),
        ("a file is cut to nothing", |dir, _| put(dir, "a.json", ""), "refused", "a.json is empty"),
        ("a file is cut in half", |dir, all| put(dir, "a.json", &all[..40]), "refused", "a.json is not JSON"),
        (
            "all are empty lists",
            |dir, _| ["a.json", "b.json"].iter().for_each(|name| put(dir, name, "[]")),
            "waits",
            "no job",
        ),
        (
            "one job is wrong",
            |dir, _| put(dir, "c.json", r#"{"destination_conf":"null:","filter":"bad"}"#),
            "refused",
            "c.json /filter/where is bad",
        ),
        (
            "a file is a directory",
            |dir, _| std::fs::create_dir(dir.join("c.json")).unwrap(),
            "refused",
            "c.json is no regular file",
        ),
        (
            "a link leads nowhere",
            |dir, _| std::os::unix::fs::symlink("/nonexistent", dir.join("c.json")).unwrap(),
            "refused",
            "c.json cannot be read",
        ),
        (
            "three of four go",
            |dir, all| {
                clear(dir);
                put(dir, "a.json", &all.replace("\"b\"", "\"z\""))
            },
            "waits",
            "end or switch off 3 of the 4",
        ),
    ];
    for (what, happen, state, told) in accidents {
        happen(&jobs_d, &whole);
        agent.until(what, |agent| agent.set_state() == state && agent.refusal().contains(told));
        assert_eq!((agent.jobs(), agent.refused.load(Relaxed)), (before.clone(), 1), "{what}");
        // Also a while later, and after judging it again.
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(
            (agent.jobs(), agent.changes(), agent.set_state()),
            (before.clone(), changes, state),
            "{what}"
        );
        let _ = std::fs::create_dir(&jobs_d);
        clear(&jobs_d);
        put(&jobs_d, "a.json", &whole);
        put(&jobs_d, "b.json", &list(&["c", "d"]));
        agent.until_state("good");
        assert_eq!((agent.jobs(), agent.refused.load(Relaxed)), (before.clone(), 0), "{what}, mended");
    }
    assert_eq!(agent.changes(), changes, "nothing was sent all the while");
}

fn clear(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let gone =
            if entry.file_type().unwrap().is_dir() { std::fs::remove_dir } else { std::fs::remove_file };
        gone(entry.path()).unwrap();
    }
}

#[test]
fn a_bad_set_at_the_start_leaves_what_the_ledger_has() {
    let dir = tempfile::tempdir().unwrap();
    let agent = four(dir.path());
    let (book, before) = (edgepush::jobs::JobsPort::book(&*agent.port), agent.jobs());
    drop(agent);
    clear(dir.path());
    let again = Agent::start_with(Some(JobsFrom::Directory(dir.path().into())), book, None);
    again.until_state("waits");
    assert_eq!((again.jobs(), again.changes()), (before, 0));
}

#[test]
fn a_file_confirms_exactly_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let agent = four(dir.path());
    clear(dir.path());
    put(dir.path(), "CONFIRM", "0123456789abcdef\n");
    put(dir.path(), "a.json", &list(&["a"]));
    agent.until("another digest", |agent| agent.refusal().contains("3 of the 4"));
    let digest = agent.guard.standings()[0].digest.clone().unwrap();
    assert!(agent.refusal().contains(&format!("write {digest} into {}/CONFIRM", dir.path().display())));
    put(dir.path(), "CONFIRM", &digest);
    agent.until("the digest", |agent| keys(agent) == ["file:a.json#a"]);
    put(dir.path(), "b.json", &list(&["b", "c", "d"]));
    agent.until("all again", |agent| keys(agent).len() == 4);
    std::fs::remove_file(dir.path().join("b.json")).unwrap();
    agent.until_state("waits");
    assert_eq!(keys(&agent).len(), 4, "the same accident a second time, with the old CONFIRM still there");
}

#[test]
fn the_api_tells_and_confirms() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.json", &list(&["a"]));
    let from = Some(JobsFrom::Directory(dir.path().into()));
    let agent = Agent::start_with(from, Arc::new(new_book()), Some("ALL"));
    agent.until_state("good");
    let told = |token: &str| ask(&agent, token, "GET", "jobs-source", "");
    let (code, good) = told("READER");
    let set = &good["result"]["sets"][0];
    assert_eq!(
        (code, &set["state"], &set["jobs"], &set["message"]),
        (200, &json!("good"), &json!(1), &Value::Null)
    );
    assert!(set["good_at"].as_str().unwrap().ends_with('Z') && set["digest"].is_null());
    clear(dir.path());
    agent.until_state("waits");
    let digest = told("ALL").1["result"]["sets"][0]["digest"].clone();
    let confirm =
        |token: &str, body: Value| ask(&agent, token, "POST", "jobs-source/confirm", &body.to_string());
    assert_eq!(told("").0, 401);
    assert_eq!(told("ZONED").0, 403);
    assert_eq!(confirm("READER", json!({ "digest": digest })).0, 403);
    assert_eq!(confirm("ZONED", json!({ "digest": digest })).0, 403);
    let (code, other) = confirm("ALL", json!({ "digest": "0123456789abcdef" }));
    assert_eq!((code, &other["errors"][0]["source"]["pointer"]), (400, &json!("/digest")));
    assert_eq!((confirm("ALL", json!({})).0, confirm("ALL", json!([])).0), (400, 400));
    assert_eq!(agent.jobs().len(), 1);
    assert_eq!(confirm("ALL", json!({ "digest": digest })).0, 200);
    agent.until("no job", |agent| agent.jobs().is_empty() && agent.set_state() == "good");
    assert_eq!(confirm("ALL", json!({ "digest": digest })).0, 400, "nothing waits");
    assert_eq!(ask(&agent, "ALL", "DELETE", "jobs-source", "").0, 405);
    assert_eq!(ask(&agent, "ALL", "GET", "nothing", "").0, 404);
}

#[test]
fn what_cannot_be_made_durable_now_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let agent = four(dir.path());
    agent.port.unavailable.store(true, Relaxed);
    put(dir.path(), "c.json", &list(&["e"]));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(agent.jobs().len(), 4);
    agent.port.unavailable.store(false, Relaxed);
    agent.until("the change", |agent| agent.jobs().len() == 5);
}

#[test]
fn jobs_of_files_that_are_not_followed_any_more_wait_for_a_confirmation() {
    let dir = tempfile::tempdir().unwrap();
    let agent = four(dir.path());
    let book = edgepush::jobs::JobsPort::book(&*agent.port);
    drop(agent);
    let agent = Agent::start_with(None, book, None);
    agent.until_state("waits");
    assert!(agent.refusal().contains("EDGEPUSH_JOBS does not name any more"), "{}", agent.refusal());
    assert_eq!(agent.jobs().len(), 4);
    let digest = agent.guard.standings()[0].digest.clone().unwrap();
    agent.guard.confirm(&digest).unwrap();
    agent.until("they go", |agent| agent.jobs().is_empty());
    assert_eq!(
        Agent::start(None).set_state(),
        "none",
        "nobody has anything to confirm where there never was a file"
    );
}

#[test]
fn what_an_editor_has_half_written_is_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.json", &list(&["a"]));
    let mut directory = Directory::new(dir.path().into(), Duration::from_secs(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let write = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            std::fs::write(dir.path().join("a.json"), "[").unwrap();
        };
        let (seen, ()) = tokio::join!(directory.look(true), write);
        assert_eq!(seen, None, "it changed between the two looks");
        let seen = directory.look(false).await.unwrap().unwrap();
        assert_eq!(seen.files, [("a.json".to_owned(), b"[".to_vec())], "it was not forgotten");
        assert_eq!(directory.look(false).await, None, "it is as it was");
        assert!(directory.look(true).await.is_some());
    });
}

#[test]
fn a_set_is_known_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.json", &list(&["a"]));
    let from = JobsFrom::Directory(dir.path().into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let with = with();
    let book = Arc::new(new_book());
    let change = runtime.block_on(first(&from, &book, &with));
    let Some(Change::Replace { origin_kind: OriginKind::File, jobs }) = change else { panic!("{change:?}") };
    assert_eq!(jobs[0].0, "a.json#a");
    put(dir.path(), "a.json", "[");
    assert_eq!(runtime.block_on(first(&from, &book, &with)), None);
    assert!(with.guard.refused().unwrap().contains("a.json is not JSON"));
}

//! `edgepush jobs`, the built binary against a served API.
use super::kit::{Agent, list, new_book, put};
use edgepush::jobs::JobsFrom;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Runs `edgepush jobs …`: exit code, standard output, standard error.
fn jobs(agent: &Agent, args: &[&str], input: &str) -> (i32, String, String) {
    let said = [("EDGEPUSH_STATE_DIR", agent.state.path().to_str().unwrap()), ("EDGEPUSH_API_TOKEN", "ALL")];
    run(args, input, &said)
}

fn run(args: &[&str], input: &str, said: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgepush"));
    command.arg("jobs").args(args).env_clear().envs(said.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing has gone by then.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

struct World {
    agent: Agent,
    files: tempfile::TempDir,
}

fn world() -> World {
    let files = tempfile::tempdir().unwrap();
    put(files.path(), "a.json", &list(&["filed"]));
    let from = Some(JobsFrom::Directory(files.path().into()));
    let agent = Agent::start_with(from, Arc::new(new_book()), Some("ALL"));
    agent.until_state("good");
    World { agent, files }
}

#[test]
fn jobs_are_made_listed_switched_and_deleted() {
    let World { agent, files: _files } = world();
    let out = agent.state.path().join("out");
    let conf = format!("file://{}", out.display());
    let job =
        json!({ "destination_conf": conf, "dataset": "raw", "name": "made", "zone": "023e" }).to_string();
    let (code, said, err) = jobs(&agent, &["create", "-"], &job);
    assert_eq!((code, said.as_str(), err.as_str()), (0, "job 3 of zones/023e created, version 1\n", ""));
    let (code, said, _) = jobs(&agent, &["enable", "3"], "");
    assert_eq!((code, said.as_str()), (0, "job 3 of zones/023e enabled, version 2\n"));
    for args in [&[][..], &["list"]] {
        let (code, said, err) = jobs(&agent, args, "");
        assert_eq!((code, err.as_str()), (0, ""));
        let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 4, "{said}");
        assert_eq!(rows[1][..4], ["1", "-", "accounts/local", "environment"]);
        assert_eq!(rows[1].last(), Some(&"https://h/in?header_X-Key=…"), "a list shows no secret to anybody");
        assert_eq!(
            rows[2],
            ["2", "filed", "accounts/local", "file:a.json#filed", "yes", "ok", "3s", "102", "null:"]
        );
        assert_eq!(rows[3][..7], ["3", "made", "zones/023e", "api", "yes", "ok", "3s"]);
    }
    let (_, said, _) = jobs(&agent, &["list", "--json"], "");
    let all: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (all["jobs"].as_array().unwrap().len(), &all["jobs"][2]["health"]["records"]),
        (3, &json!(103))
    );
    assert_eq!(all["sets"][0]["state"], "good");
    let (code, said, _) = jobs(&agent, &["show", "3"], "");
    assert!(
        code == 0 && said.contains("name                         made\n") && said.contains("health.records "),
        "{said}"
    );
    let (code, _, err) = jobs(&agent, &["delete", "3"], "y\n");
    assert_eq!(
        (code, err.as_str()),
        (2, "edgepush: nobody can be asked here: say --yes to delete the job\n")
    );
    let (code, said, _) = jobs(&agent, &["delete", "3", "--yes"], "");
    assert_eq!((code, said.as_str(), agent.jobs().len()), (0, "job 3 deleted\n", 1));
    let (code, said, _) =
        jobs(&agent, &["create", "-", "--account", "acme", "--json"], &list(&["x"])[1..].replace(']', ""));
    let made: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &made["owner"], &made["id"]),
        (0, &json!("accounts/acme"), &json!(4)),
        "no id comes twice"
    );
}

#[test]
fn mistakes_are_told_with_their_exit_codes() {
    let World { agent, files: _files } = world();
    for (args, input, code, told) in [
        (&["show", "9"][..], "", 2, "job not found"),
        (&["disable", "2"], "", 2, "kept in the job file a.json#filed: change it there"),
        (&["delete", "1", "--yes"], "", 2, "made by the settings of the agent"),
        (&["create", "-"], "[", 2, "- is not JSON"),
        (&["create", "-"], "[]", 2, "must hold one job"),
        (&["create", "/nonexistent"], "", 2, "/nonexistent cannot be read"),
        (&["create", "-"], r#"{"enabld":true}"#, 2, "did you mean enabled?"),
        (&["create", "-", "--zone", "a"], r#"{"zone":"b"}"#, 2, "--zone says another zone than -"),
        (&["create", "-"], r#"{"zone":"a/b"}"#, 2, "/zone must be the id"),
        (&["confirm"], "", 2, "no set of jobs waits"),
        (&["confirm", "0123456789abcdef"], "", 2, "no set of jobs waits"),
    ] {
        let (got, out, err) = jobs(&agent, args, input);
        assert_eq!((got, out.as_str()), (code, ""), "{args:?} {err}");
        assert!(err.starts_with("edgepush: ") && err.contains(told), "{args:?} {err}");
    }
    agent.port.unavailable.store(true, std::sync::atomic::Ordering::Relaxed);
    let (code, _, err) = jobs(&agent, &["create", "-"], r#"{"destination_conf":"null:","dataset":"raw"}"#);
    assert_eq!((code, err.as_str()), (1, "edgepush: the disk is full\n"));
    let state = agent.state.path().to_str().unwrap().to_owned();
    let (code, _, err) = run(&["list"], "", &[("EDGEPUSH_STATE_DIR", &state)]);
    assert!(code == 2 && err.contains("asks for its token"), "{code} {err}");
    drop(agent);
    let (code, _, err) = run(&["list"], "", &[("EDGEPUSH_STATE_DIR", &state), ("EDGEPUSH_API", "off")]);
    assert!(code == 3 && err.contains("no agent answers"), "{code} {err}");
}

#[test]
fn a_job_is_tested_without_being_made() {
    let World { agent, files } = world();
    let (code, said, _) = jobs(&agent, &["test", "2"], "");
    assert_eq!((code, said.as_str()), (0, "✓ job 2 its destination null: takes batches\n"));
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = files.path().join("try.txt");
    let all = json!([
        { "dataset": "raw", "destination_conf": "null:", "name": "good" },
        { "dataset": "raw", "destination_conf": format!("http://u:hunter22@{refused}/"), "filter": "bad", "max_upload_records": 5 },
        { "enabled": "yes", "zone": 7 },
    ]);
    std::fs::write(&file, all.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let (code, said, err) = jobs(&agent, &["test", path], "");
    assert_eq!((code, err.as_str()), (1, ""));
    let lines: Vec<&str> = said.lines().collect();
    let begins = [
        format!("✓ {path}/0 its destination null: takes batches"),
        format!("✗ {path}/1 /max_upload_records must be 0 or a whole number from 1000"),
        format!("✗ {path}/1 /filter/where is bad"),
        format!("✗ {path}/1 its destination http://…@{refused}/: "),
        format!("✗ {path}/2 /zone must be the id"),
        format!("✗ {path}/2 /enabled must be true or false"),
        format!("✗ {path}/2 its destination was not asked"),
    ];
    assert_eq!(lines.len(), begins.len(), "{said}");
    for (line, begin) in lines.iter().zip(&begins) {
        assert!(line.starts_with(begin.as_str()), "{line}\n{begin}");
    }
    assert!(!said.contains("hunter22"));
    let (code, said, _) = jobs(&agent, &["test", path, "--json"], "");
    let tried: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &tried[0]["valid"], &tried[1]["valid"]), (1, &json!(true), &json!(false)));
    assert_eq!(agent.jobs().len(), 1, "nothing was made");
}

#[test]
fn a_set_that_waits_is_told_and_confirmed() {
    let World { agent, files } = world();
    std::fs::remove_file(files.path().join("a.json")).unwrap();
    agent.until_state("waits");
    let (code, said, _) = jobs(&agent, &["list"], "");
    let told = said.lines().last().unwrap();
    assert!(
        code == 0 && told.starts_with("refused set: the jobs of ") && told.contains("edgepush jobs confirm "),
        "{said}"
    );
    let (code, _, err) = jobs(&agent, &["confirm", "0123456789abcdef"], "");
    assert!(code == 2 && err.contains("another digest"), "{err}");
    assert_eq!(agent.jobs().len(), 1);
    let (code, said, err) = jobs(&agent, &["confirm"], "");
    assert_eq!((code, err.as_str(), agent.jobs().len()), (0, "", 0), "{said}");
    assert_eq!(said, format!("{}: good, jobs that run: 0\n", files.path().display()));
}

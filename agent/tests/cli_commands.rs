//! The command line as a black box: what the built binary prints, and with which code it ends.
#![allow(clippy::unwrap_used)]
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn edgepush(args: &[&str], said: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgepush"));
    command.args(args).env_clear().envs(said.iter().copied()).stdin(Stdio::null());
    command
}

fn ended(args: &[&str], said: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = edgepush(args, said).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_and_version_are_done() {
    let (code, out, err) = ended(&["--version"], &[]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "edgepush 0.1.0\n", ""));
    let (code, out, _) = ended(&["--help"], &[]);
    assert_eq!(code, Some(0));
    for command in ["run", "check", "env", "status", "demo", "jobs", "keys", "archive"] {
        assert!(out.lines().any(|line| line.trim_start().starts_with(command)), "{command} in {out}");
    }
    let (code, out, _) = ended(&["run", "--help"], &[]);
    assert!(code == Some(0) && out.contains("--once"), "{out}");
}

#[test]
fn typing_errors_are_exit_2() {
    for args in [
        &[][..],
        &["rum"],
        &["run", "--twice"],
        &["env", "--markdown", "--example"],
        &["demo", "--rate", "x"],
    ] {
        let (code, out, err) = ended(args, &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn commands_that_are_not_built_say_so() {
    for args in [&["doctor"][..], &["replay", "--since", "x"], &["top"]] {
        let (code, _, err) = ended(args, &[]);
        assert_eq!(code, Some(2), "{args:?}");
        assert_eq!(err, format!("edgepush: {} is not built yet in 0.1.0\n", args[0]));
    }
}

#[test]
fn wrong_settings_are_told_all_at_once_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let said = [
        ("EDGEPUSH_STATE_DIR", state.to_str().unwrap()),
        ("EDGEPUSH_FEILDS", "a"),
        ("EDGEPUSH_UPLOADS", "many"),
    ];
    for args in [&["run"][..], &["run", "--once"], &["check"], &["status"], &["env"]] {
        let (code, out, err) = ended(args, &said);
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(
            err.contains("EDGEPUSH_FEILDS is no setting") && err.contains("did you mean EDGEPUSH_FIELDS?"),
            "{err}"
        );
        assert!(err.contains("EDGEPUSH_UPLOADS=many must be a whole number, 1 to 64"), "{err}");
        assert_eq!(
            err.contains("EDGEPUSH_SOURCES is not set"),
            matches!(args[0], "run" | "check"),
            "{args:?} {err}"
        );
        assert_eq!(out.is_empty(), args[0] != "env", "{args:?}");
    }
    assert!(!state.exists());
}

#[test]
fn env_shows_values_and_origins_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cr3t\n").unwrap();
    let said = [
        ("EDGEPUSH_API_TOKEN_FILE", file.to_str().unwrap()),
        ("EDGEPUSH_DESTINATION", "https://u:s3cr3t@h/in?header_X=s3cr3t"),
        ("EDGEPUSH_CODEC", "zstd"),
    ];
    let (code, out, err) = ended(&["env"], &said);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let row = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("EDGEPUSH_CODEC"), "zstd environment");
    assert_eq!(row("EDGEPUSH_LEVEL"), "fast default");
    assert_eq!(row("EDGEPUSH_API_TOKEN"), format!("(secret) file {}", file.display()));
    assert_eq!(row("EDGEPUSH_DESTINATION"), "https://…@h/in?header_X=… environment");
    assert!(!out.contains("s3cr3t"));
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    for args in [&["env"][..], &["env", "--markdown"], &["--help"], &["--version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = edgepush(args, &[])
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = edgepush(&["env"], &[])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("standard output"));
}

#[test]
fn a_closed_standard_error_stops_nothing() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = [("EDGEPUSH_API", "off"), ("EDGEPUSH_STATE_DIR", "/nonexistent"), ("EDGEPUSH_LOG", "trace")];
    let status = edgepush(&["status"], &said).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(3));
    let status = edgepush(&["run"], &[]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

/// What the agent writes is for its own user and group: seen while it waits for an answer that never comes.
#[test]
fn the_umask_is_027() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut child = edgepush(&["status"], &[("EDGEPUSH_API", &addr)]).stderr(Stdio::null()).spawn().unwrap();
    let (_held, _) = silent.accept().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    assert_eq!(umask.trim(), "0027");
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn check_tells_what_works_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    let sources = format!("file:{}", log.display());
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let said = [
        ("EDGEPUSH_SOURCES", sources.as_str()),
        ("EDGEPUSH_STATE_DIR", state.to_str().unwrap()),
        ("EDGEPUSH_SPOOL_MAX", "64MB"),
        ("EDGEPUSH_DISK_RESERVE", "0%"),
        ("EDGEPUSH_API", "127.0.0.1:0"),
    ];
    for args in [&["check"][..], &["check", "--no-probe"]] {
        std::fs::write(&log, "{}\n").unwrap();
        let (code, out, err) = ended(args, &said);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("✓ source") && out.contains("1 files, 3 bytes") && !out.contains('✗'), "{out}");
        std::fs::remove_file(&log).unwrap();
        let (code, out, _) = ended(args, &said);
        assert_eq!(code, Some(1), "{out}");
        assert!(
            out.contains("✗ source") && out.contains("matches no file yet") && out.contains("→ "),
            "{out}"
        );
        assert_eq!(listing(&state), Vec::<String>::new());
    }
}

#[test]
fn check_does_not_write_without_probe() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let before = std::fs::metadata(&state).unwrap().modified().unwrap();
    let said = [("EDGEPUSH_SOURCES", "file:/nonexistent"), ("EDGEPUSH_STATE_DIR", state.to_str().unwrap())];
    ended(&["check", "--no-probe"], &said);
    assert_eq!(std::fs::metadata(&state).unwrap().modified().unwrap(), before, "nothing was made in it");
    ended(&["check"], &said);
    assert_ne!(std::fs::metadata(&state).unwrap().modified().unwrap(), before, "the probe writes for real");
}

/// Runs one of the ignored tests below in a process of its own: they change or end it.
fn child(name: &str) -> Output {
    let own = std::env::current_exe().unwrap();
    Command::new(own)
        .args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"])
        .output()
        .unwrap()
}

#[test]
fn a_bug_is_logged_and_aborts() {
    let out = child("child_that_panics_on_a_thread");
    assert_eq!(out.status.signal(), Some(6), "{out:?}");
    let err = String::from_utf8(out.stderr).unwrap();
    let line = err.lines().find(|line| line.contains("this is a bug")).unwrap();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["level"], "ERROR");
    let message = value["message"].as_str().unwrap();
    assert!(message.contains("thread shard-7") && message.contains("the sum is wrong"), "{message}");
}

#[test]
#[ignore = "run by a_bug_is_logged_and_aborts"]
fn child_that_panics_on_a_thread() {
    edgepush::log::start(edgepush::config::LogLevel::Error, edgepush::config::LogFormat::Json);
    edgepush::log::abort_on_panic();
    let thread =
        std::thread::Builder::new().name("shard-7".into()).spawn(|| panic!("the sum is wrong")).unwrap();
    let _ = thread.join();
}

#[test]
fn the_log_has_levels_bridges_and_one_filter() {
    let out = child("child_that_logs");
    assert!(out.status.success(), "{out:?}");
    let err = String::from_utf8(out.stderr).unwrap();
    let said: Vec<&str> = err.lines().filter(|line| line.contains("say:")).collect();
    assert_eq!(said.len(), 3, "{err}");
    assert!(said[0].contains("INFO") && said[0].contains("say: info"), "{err}");
    assert!(said[1].contains("WARN") && said[1].contains("say: of the log crate"), "{err}");
    assert!(said[2].contains("say: once") && said[2].contains("count=1"), "{err}");
    assert!(!err.contains('\u{1b}'), "no colours into a pipe: {err}");
}

#[test]
#[ignore = "run by the_log_has_levels_bridges_and_one_filter"]
fn child_that_logs() {
    edgepush::log::start(edgepush::config::LogLevel::Info, edgepush::config::LogFormat::Text);
    tracing::info!("say: info");
    tracing::debug!("say: debug");
    log::warn!("say: of the log crate");
    tracing::warn!(target: "glommio::sys::uring", "say: harmless");
    for _ in 0..5 {
        edgepush::once_a_minute!(warn, "say: once");
    }
}

//! Cloudflare's official SDKs, pointed at the running agent by their base URL (`.ci/sdk` installs them): scripts with
//! every call that they have to Logpush.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place below the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs a script against a fresh agent, if its SDK is installed; where `.ci/sdk` runs this it must be. Scripts know
/// neither ids nor what else is there.
fn passes(name: &str, program: &Path, script: &str) {
    if !repository(&format!(".cache/sdk/{name}/.installed")).exists() {
        let needed = std::env::var("SDK_NEEDED").is_ok_and(|names| names.split(' ').any(|of| of == name));
        assert!(!needed, "the official SDK ({name}) is not installed");
        return say(&format!("SKIPPED: the official SDK ({name}) is not installed; .ci/sdk does it"));
    }
    let place = Place::new();
    let setup = place
        .setup()
        .env("EDGEPUSH_API_TOKEN", "all-rights")
        .env("EDGEPUSH_API_TOKENS", "read:only-reads")
        .env("EDGEPUSH_DESTINATION", "null:");
    // Jobs change under a log that is read: a script must not see it.
    writer::append(&place.log(), "r", 0..2000);
    let mut agent = setup.start_ready();
    let api = format!("http://{}/client/v4", agent.api().expect("the API listens"));
    let out = Command::new(program)
        .arg(repository(script))
        .env("NODE_PATH", repository(".cache/sdk/node/node_modules"))
        .args([api, "all-rights".into(), format!("{}/sdk", place.to_files())])
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(agent.alive(), "the agent ended:\n{}", agent.stderr_text());
    assert!(
        out.status.success() && said.contains("passed"),
        "{name}: {said}\nthe agent:\n{}",
        agent.stderr_text()
    );
    say(&format!("{name}: {}", said.trim()));
    agent.terminate().exits(0);
}

#[test]
fn the_python_sdk_passes() {
    let python = repository(".cache/sdk/python/bin/python3");
    passes("python", &python, "agent/tests/sdk/logpush.py");
}

#[test]
fn the_typescript_sdk_passes() {
    passes("node", Path::new("node"), "agent/tests/sdk/logpush.cjs");
}

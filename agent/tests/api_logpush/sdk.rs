//! The official SDKs, pointed at the API by their base URL (`.ci/sdk` installs them).
use super::kit::{Server, Setup};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place below the repository.
fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs a script against a fresh server. Scripts know neither ids nor what else is there.
fn passes(name: &str, program: &Path, script: &Path, installed: &Path) {
    if !installed.exists() {
        let why = format!("the official SDK for {name} is not installed; .ci/sdk does it");
        assert!(std::env::var_os("SDK_NEEDED").is_none(), "{why}");
        eprintln!("SKIPPED: {why}");
        return;
    }
    let server =
        Server::start(Setup { token: Some("all-rights"), tokens: "read:only-reads", ..Setup::default() });
    let out = Command::new(program)
        .arg(script)
        .env("NODE_PATH", place(".cache/sdk/node/node_modules"))
        .args([format!("http://{}/client/v4", server.addr), "all-rights".into(), server.directory("sdk")])
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("passed"), "{name}: {said}");
    println!("{name}: {said}");
}

#[test]
fn the_python_sdk_passes() {
    let python = place(".cache/sdk/python/bin/python3");
    passes("Python", &python, &place("agent/tests/sdk/logpush.py"), &place(".cache/sdk/python/.installed"));
}

#[test]
fn the_typescript_sdk_passes() {
    passes(
        "TypeScript",
        Path::new("node"),
        &place("agent/tests/sdk/logpush.cjs"),
        &place(".cache/sdk/node/.installed"),
    );
}

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

/// Schemathesis makes up requests from the document and holds every answer against it.
#[test]
fn schemathesis_finds_nothing() {
    let program = place(".cache/sdk/schemathesis/bin/schemathesis");
    if std::env::var_os("SDK_NEEDED").is_none() {
        eprintln!("SKIPPED: Schemathesis takes a minute; .ci/sdk installs and runs it");
        return;
    }
    let setup = Setup { token: Some("all-rights"), only_null: true, jobs_max: 20, ..Setup::default() };
    let server = Server::start(setup);
    let out = Command::new(program)
        .args([
            "run",
            "--no-color",
            "--suppress-health-check=all",
            "--seed=1",
            "--max-examples=20",
            "--workers=2",
        ])
        // Not every text that the document allows is a destination that works.
        .args(["--checks=all", "--exclude-checks=positive_data_acceptance", "--warnings=off"])
        .args(["--generation-database=none", "-H", "Authorization: Bearer all-rights"])
        .arg(format!("http://{}/client/v4/openapi.json", server.addr))
        .current_dir(server.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    let end: Vec<&str> = said.lines().rev().take(12).collect();
    println!("{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
}

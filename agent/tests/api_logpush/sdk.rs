//! The official SDKs, pointed at the API by their base URL, and Schemathesis (`.ci/sdk` installs and runs them).
use super::kit::{Server, Setup};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place below the repository.
fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Whether `.ci/sdk` runs this test and has installed what it needs.
fn is_needed(name: &str) -> bool {
    std::env::var("SDK_NEEDED").is_ok_and(|names| names.split(' ').any(|needed| needed == name))
}

/// Whether it is there; where it is needed it must be.
fn is_there(name: &str) -> bool {
    let there = place(&format!(".cache/sdk/{name}/.installed")).exists();
    assert!(there || !is_needed(name), "{name} is not installed");
    if !there {
        eprintln!("SKIPPED: the official SDK ({name}) is not installed; .ci/sdk does it");
    }
    there
}

/// Runs a script against a fresh server. Scripts know neither ids nor what else is there.
fn passes(name: &str, program: &Path, script: &str) {
    let server =
        Server::start(Setup { token: Some("all-rights"), tokens: "read:only-reads", ..Setup::default() });
    let out = Command::new(program)
        .arg(place(script))
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
    if is_there("python") {
        passes("Python", &place(".cache/sdk/python/bin/python3"), "agent/tests/sdk/logpush.py");
    }
}

#[test]
fn the_typescript_sdk_passes() {
    if is_there("node") {
        passes("TypeScript", Path::new("node"), "agent/tests/sdk/logpush.cjs");
    }
}

/// Schemathesis makes up requests from the document and holds every answer against it.
#[test]
fn schemathesis_finds_nothing() {
    if !is_needed("schemathesis") {
        eprintln!("SKIPPED: Schemathesis takes a minute; .ci/sdk installs and runs it");
        return;
    }
    let setup = Setup { token: Some("all-rights"), only_null: true, jobs_max: 20, ..Setup::default() };
    let server = Server::start(setup);
    let out = Command::new(place(".cache/sdk/schemathesis/bin/schemathesis"))
        .args(["run", "--no-color", "--suppress-health-check=all", "--seed=1", "--max-examples=20"])
        // Not every text that the document allows is a destination that works.
        .args(["--workers=2", "--checks=all", "--exclude-checks=positive_data_acceptance", "--warnings=off"])
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

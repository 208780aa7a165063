//! Schemathesis, pointed at the document (`.ci/sdk` installs and runs it). The SDKs are asked in `jobs_sdk.rs`.
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

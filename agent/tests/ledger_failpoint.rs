//! With the feature `failpoints`, `EDGEPUSH_FAILPOINT=name[:n]` kills the process there; the next start finds no half state.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, StateDir};
use ledger_kit::{batch, body, commit, committed, now, settings};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const STATE: &str = "LEDGER_FAILPOINT_TEST_STATE";

/// Three commits in the state directory of the variable: what the killed process does.
fn live() -> Option<usize> {
    let state = StateDir::open(std::env::var_os(STATE)?.as_ref()).unwrap();
    let (mut ledger, found) =
        Ledger::open(state.connect().unwrap(), state.disk(), settings(), now()).unwrap();
    for epoch in 0..3 {
        committed(
            ledger.step(now(), commit(epoch, vec![batch(None, &body(epoch, 500), true)], vec![])).unwrap(),
        );
    }
    Some(found.spooled.len())
}

#[test]
fn a_point_kills_the_process_at_its_nth_hit() {
    if live().is_some() {
        return;
    }
    for (point, durable) in
        [("pack.sync.before", 0), ("commit.before:2", 1), ("commit.after:2", 2), ("no.such.point", 3)]
    {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .arg("a_point_kills_the_process_at_its_nth_hit")
            .env(STATE, dir.path())
            .env("EDGEPUSH_FAILPOINT", point)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), (durable < 3).then_some(9), "{point}");
        let state = StateDir::open(dir.path()).unwrap();
        let (_, found) = Ledger::open(state.connect().unwrap(), state.disk(), settings(), now()).unwrap();
        assert_eq!(found.spooled.len(), durable, "{point}");
    }
}

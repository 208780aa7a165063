//! The ledger with thousands of jobs: what sees nothing costs nothing, and what is small does not fragment.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, LedgerEvent, LedgerSettings, StateDir};
use edgepush::protocol::*;
use ledger_kit::{batch, body, commit, committed, judged, logged, new_source, now, register, settings};
use std::sync::Arc;

fn number(ledger: &Ledger<edgepush::ledger::OsDisk>, ask: &str) -> i64 {
    ledger.connection().query_row(ask, [], |row| row.get(0)).unwrap()
}

fn opened(dir: &tempfile::TempDir) -> (StateDir, Ledger<edgepush::ledger::OsDisk>) {
    let state = StateDir::open(dir.path()).unwrap();
    let ordinary = LedgerSettings { limit_bytes: 1_000_000_000, small_bytes: 64 << 10, ..settings() };
    let (ledger, _) = Ledger::open(state.connect().unwrap(), state.disk(), ordinary, now()).unwrap();
    (state, ledger)
}

/// Rows that each of ten commits writes, verdicts included, when one job has a batch and `others` see nothing.
fn rows_a_commit(others: u64) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let (_state, mut ledger) = opened(&dir);
    let source = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let row = |id| JobRow {
        id: JobId(id),
        group: GroupId::MAIN,
        version: 1,
        config: "{}".to_owned(),
        last_complete: None,
        last_error: None,
        error_message: None,
    };
    let jobs = JobsCommit { put: (2..others + 2).map(row).collect(), ..JobsCommit::default() };
    let mut made = commit(0, Vec::new(), Vec::new());
    if let LedgerEvent::Commit(commit) = &mut made {
        commit.jobs = Some(Arc::new(jobs));
    }
    ledger.step(now(), made).unwrap();
    assert_eq!(number(&ledger, "SELECT count(*) FROM job"), others as i64);
    let before = number(&ledger, "SELECT total_changes()");
    for at in 1..=10 {
        let log = vec![logged(source, at * 100 - 100, at * 100)];
        let event = commit(at, vec![batch(None, &body(at, 1000), true)], log);
        let done = committed(ledger.step(now(), event).unwrap());
        ledger.step(now(), judged(done.spooled[0].id, Fate::Delivered)).unwrap();
    }
    (number(&ledger, "SELECT total_changes()") - before) / 10
}

#[test]
fn jobs_that_see_nothing_cost_no_row() {
    let (none, many) = (rows_a_commit(0), rows_a_commit(10_000));
    assert!(none > 0 && many <= none, "{many} rows a commit with ten thousand jobs, {none} without");
}

#[test]
fn small_pieces_that_are_many_go_to_a_pack_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (state, mut ledger) = opened(&dir);
    let source = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let in_ledger = "SELECT count(*) FROM piece WHERE bytes IS NOT NULL";
    let few = (0..10).map(|n| batch(None, &body(n, 20_000), true)).collect();
    ledger.step(now(), commit(1, few, vec![logged(source, 0, 100)])).unwrap();
    assert_eq!(number(&ledger, in_ledger), 10);
    let many = (0..100).map(|n| batch(None, &body(n, 20_000), true)).collect();
    let done = committed(ledger.step(now(), commit(2, many, vec![logged(source, 100, 200)])).unwrap());
    assert_eq!((number(&ledger, in_ledger), number(&ledger, "SELECT count(*) FROM piece")), (10, 110));
    let reader = state.reader(ledger.id());
    for (n, batch) in done.spooled.iter().enumerate() {
        let whole: Vec<u8> = reader.read(batch).unwrap().concat().concat();
        assert_eq!(whole, body(n as u64, 20_000), "batch {n}");
    }
    let judge =
        done.spooled.iter().map(|b| Judged { id: b.id, fate: Fate::Delivered, reason: String::new() });
    ledger.step(now(), LedgerEvent::Judge(judge.collect())).unwrap();
    assert_eq!(number(&ledger, "SELECT count(*) FROM piece"), 10);
}

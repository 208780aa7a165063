//! What a batch costs the ledger's thread in CPU: the budget is 0.3 ms for spool and ledger together (DESIGN 5).
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, LedgerEvent, LedgerSettings, StateDir};
use edgepush::protocol::*;
use ledger_kit::{batch, body, commit, committed, logged, new_source, now, register, settings};
use rustix::time::{ClockId, clock_gettime};

fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// CPU of this thread per batch, from commit to the durable verdict; on a real directory, with real syncs.
fn cost(per_commit: usize, commits: usize, body_bytes: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let ordinary = LedgerSettings { limit_bytes: 1_000_000_000, small_bytes: 64 << 10, ..settings() };
    let (mut ledger, _) = Ledger::open(state.connect().unwrap(), state.disk(), ordinary, now()).unwrap();
    let source = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let bytes = body(1, body_bytes);
    let events: Vec<LedgerEvent> = (0..commits as u64)
        .map(|at| {
            let batches = (0..per_commit).map(|_| batch(None, &bytes, true)).collect();
            commit(at, batches, vec![logged(source, at * 100, at * 100 + 100)])
        })
        .collect();
    let start = cpu_ms();
    for event in events {
        let done = committed(ledger.step(now(), event).unwrap());
        let judged =
            done.spooled.iter().map(|s| Judged { id: s.id, fate: Fate::Delivered, reason: String::new() });
        ledger.step(now(), LedgerEvent::Judge(judged.collect())).unwrap();
    }
    (cpu_ms() - start) / (per_commit * commits) as f64
}

#[test]
fn a_batch_costs_less_than_its_budget() {
    let mut dear = Vec::new();
    for (per_commit, commits, bytes) in
        [(1, 200, 4 << 10), (1, 100, 1 << 20), (16, 20, 4 << 10), (16, 10, 100_000), (333, 3, 4 << 10)]
    {
        let ms = cost(per_commit, commits, bytes);
        println!("{per_commit:4} batches a commit of {bytes:7} bytes: {ms:.3} ms of CPU a batch");
        // One batch a commit pays for a whole transaction twice; the budget is for what a commit usually holds.
        if ms > if per_commit == 1 { 1.5 } else { 0.3 } {
            dear.push((per_commit, bytes, ms));
        }
    }
    assert!(dear.is_empty(), "over the budget: {dear:?}");
}

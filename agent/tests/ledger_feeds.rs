//! Rows of feeds in the ledger: new ones each start, none of an earlier run, and no gap for parked groups.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{LedgerEvent, LedgerReply};
use edgepush::protocol::*;
use ledger_kit::{
    MemDisk, commit_of, committed, job_row, kill, logged, new_source, now, open, quick_dir, register,
};

const JOB: JobId = JobId(7);
const PARKED: GroupId = GroupId::FIRST_PARKED;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn each_start_gives_a_feed_a_new_row_and_files_keep_theirs() {
    let dir = quick_dir();
    let (mut ledger, first) = open(dir.path(), MemDisk::new());
    assert!(first.first_start);
    let rows = ledger.open_feeds(&names(&["udp:[::]:514", "unixgram:/run/x"])).unwrap();
    assert_ne!(rows[0].0, rows[1].0);
    assert_ne!(rows[0].1, rows[1].1, "each has its own seed");
    let (mut ledger, again) = open(dir.path(), kill(ledger));
    assert!(again.first_start, "only files end the first start");
    assert!(again.sources.iter().all(SourceRow::is_feed), "what the file source must not get");
    let rows_again = ledger.open_feeds(&names(&["udp:[::]:514"])).unwrap();
    assert!(rows_again[0].0 > rows[1].0, "a row is never used twice");

    let file = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let feed = rows_again[0].0;
    let logs = vec![(GroupId::MAIN, vec![logged(file, 0, 50), logged(feed, 0, 70)])];
    committed(ledger.step(now(), commit_of(logs, None)).unwrap());
    assert_eq!(ledger.progress(GroupId::MAIN, feed).unwrap().low, 70);

    let (mut ledger, after) = open(dir.path(), kill(ledger));
    assert!(!after.first_start);
    assert_eq!(ledger.open_feeds(&[]).unwrap(), []);
    let (ledger, last) = open(dir.path(), kill(ledger));
    let ids: Vec<SourceId> = last.sources.iter().map(|row| row.id).collect();
    assert_eq!(ids, [file], "feeds that are configured no more leave nothing");
    assert_eq!(ledger.progress(GroupId::MAIN, file).unwrap().low, 50);
    assert!(ledger.progress(GroupId::MAIN, feed).is_none());
}

#[test]
fn what_a_feed_receives_while_a_job_is_parked_is_its_loss_and_no_gap() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let feed = ledger.open_feeds(&names(&["tcp:[::]:514"])).unwrap()[0].0;
    let file = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let park = JobsCommit { parked: vec![PARKED], put: vec![job_row(JOB, PARKED)], ..JobsCommit::default() };
    let before = vec![(GroupId::MAIN, vec![logged(feed, 0, 100), logged(file, 0, 10)])];
    committed(ledger.step(now(), commit_of(before, Some(park))).unwrap());
    // Out of order: only what is decided is lost.
    let after = vec![(GroupId::MAIN, vec![logged(feed, 130, 150), logged(file, 10, 40)])];
    committed(ledger.step(now(), commit_of(after, None)).unwrap());
    assert_eq!(losses(&ledger), 20);
    let late = vec![(GroupId::MAIN, vec![logged(feed, 100, 130)])];
    committed(ledger.step(now(), commit_of(late, None)).unwrap());
    assert_eq!(losses(&ledger), 50);
    assert_eq!(ledger.progress(PARKED, feed), Some(&progress(150)));

    let LedgerReply::Gaps { gaps, .. } =
        ledger.step(now(), LedgerEvent::Gaps(PARKED)).unwrap().swap_remove(0)
    else {
        panic!("no gaps")
    };
    let sources: Vec<SourceId> = gaps.iter().map(|gap| gap.source).collect();
    assert_eq!(sources, [file], "a feed is never looked for in a file");
    let said: String = ledger
        .connection()
        .query_row("SELECT error_message FROM job WHERE id = 7", [], |row| row.get(0))
        .unwrap();
    assert!(said.contains("50 bytes came on sockets or pipes"), "{said}");

    // It goes on with the others while a feed receives.
    let merge =
        JobsCommit { merged: vec![PARKED], put: vec![job_row(JOB, GroupId::MAIN)], ..JobsCommit::default() };
    let last = vec![(PARKED, vec![logged(file, 10, 40)]), (GroupId::MAIN, vec![logged(feed, 150, 160)])];
    committed(ledger.step(now(), commit_of(last, Some(merge))).unwrap());
    assert!(ledger.progress(PARKED, feed).is_none());
    let (ledger, _) = open(dir.path(), kill(ledger));
    assert_eq!(ledger.progress(GroupId::MAIN, feed).unwrap().low, 160);
}

fn progress(low: u64) -> Progress {
    Progress { low, above: Vec::new(), tails: Vec::new() }
}

fn losses(ledger: &edgepush::ledger::Ledger<MemDisk>) -> i64 {
    let sql = "SELECT coalesce(sum(bytes), 0) FROM loss WHERE job = 7 AND reason = 'socket'";
    ledger.connection().query_row(sql, [], |row| row.get(0)).unwrap()
}

//! Parked groups in the ledger: what they have still to read, what they lose, and when they may go on with the others.
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges that has one")]
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, LedgerError, LedgerEvent, LedgerReply};
use edgepush::protocol::*;
use ledger_kit::{
    MemDisk, commit_of, committed, job_row, kill, logged, new_source, now, open, quick_dir, register,
};
use std::ops::Range;
use std::path::Path;

const JOB: JobId = JobId(7);
const PARKED: GroupId = GroupId::FIRST_PARKED;

fn park() -> JobsCommit {
    JobsCommit { parked: vec![PARKED], put: vec![job_row(JOB, PARKED)], ..JobsCommit::default() }
}

fn merge() -> JobsCommit {
    JobsCommit { merged: vec![PARKED], put: vec![job_row(JOB, GroupId::MAIN)], ..JobsCommit::default() }
}

/// A ledger with a source whose first 100 bytes are decided for all, and 100..400 for all but the parked job.
fn parked(dir: &Path) -> (Ledger<MemDisk>, SourceId) {
    let (mut ledger, _) = open(dir, MemDisk::new());
    let source = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let before = vec![(GroupId::MAIN, vec![logged(source, 0, 100)])];
    committed(ledger.step(now(), commit_of(before, Some(park()))).unwrap());
    let after = vec![(GroupId::MAIN, vec![logged(source, 100, 250), logged(source, 250, 400)])];
    committed(ledger.step(now(), commit_of(after, None)).unwrap());
    (ledger, source)
}

fn gaps(ledger: &mut Ledger<MemDisk>) -> Vec<Range<u64>> {
    match ledger.step(now(), LedgerEvent::Gaps(PARKED)).unwrap().swap_remove(0) {
        LedgerReply::Gaps { group, gaps, ahead } => {
            assert_eq!((group, ahead), (PARKED, false));
            gaps.into_iter().flat_map(|gap| gap.ranges).collect()
        }
        other => panic!("no gaps: {other:?}"),
    }
}

/// Bytes of the job's losses.
fn losses(ledger: &Ledger<MemDisk>) -> i64 {
    let sql = "SELECT coalesce(sum(bytes), 0) FROM loss WHERE job = 7 AND reason = 'retention'";
    ledger.connection().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn count(ledger: &Ledger<MemDisk>, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table} WHERE grp = {}", PARKED.0);
    ledger.connection().query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_committed_with_the_parking_is_decided_and_nothing_later() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    assert_eq!(gaps(&mut ledger), [100..400]);
    let caught = vec![(PARKED, vec![logged(source, 100, 180)])];
    let answer = committed(ledger.step(now(), commit_of(caught, None)).unwrap());
    assert_eq!((answer.caught, answer.durable), (vec![(PARKED, 1)], vec![]));
    let (mut ledger, recovered) = open(dir.path(), kill(ledger));
    assert_eq!(gaps(&mut ledger), [180..400], "after a restart too");
    assert_eq!(recovered.jobs[0].group, PARKED);
    assert_eq!(recovered.last_group, PARKED.0);
}

#[test]
fn a_gap_says_how_its_file_is_known_again() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    let replies = ledger.step(now(), LedgerEvent::Gaps(PARKED)).unwrap();
    let LedgerReply::Gaps { gaps, .. } = &replies[0] else { panic!("no gaps") };
    let gap = &gaps[0];
    assert_eq!((gap.source, gap.head.len, gap.bytes()), (source, 20, 300));
    assert_eq!(
        gap.tails,
        [(100, 100 ^ 0xabc), (400, 400 ^ 0xabc)],
        "before its first and after its last byte"
    );
}

#[test]
fn a_group_merges_with_the_chunks_of_the_same_commit() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    let caught = vec![(GroupId::MAIN, vec![]), (PARKED, vec![logged(source, 100, 400)])];
    committed(ledger.step(now(), commit_of(caught, Some(merge()))).unwrap());
    assert_eq!((count(&ledger, "progress"), gaps(&mut ledger)), (0, vec![]));
    let (_, recovered) = open(dir.path(), kill(ledger));
    assert_eq!((recovered.parked.len(), recovered.jobs[0].group), (0, GroupId::MAIN));
}

#[test]
fn a_group_that_is_behind_does_not_merge_and_the_next_start_finds_it_parked() {
    for logs in [
        // One chunk is missing.
        |source| vec![(GroupId::MAIN, vec![]), (PARKED, vec![logged(source, 100, 250)])],
        // The live reader did not stand still.
        |source| {
            vec![(GroupId::MAIN, vec![logged(source, 400, 500)]), (PARKED, vec![logged(source, 100, 400)])]
        },
    ] {
        let dir = quick_dir();
        let (mut ledger, source) = parked(dir.path());
        let error = ledger.step(now(), commit_of(logs(source), Some(merge()))).unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("/var/log/1.log"), "{error}");
        assert!(matches!(ledger.step(now(), LedgerEvent::Tick), Err(LedgerError::Ended)));
        let (mut ledger, recovered) = open(dir.path(), kill(ledger));
        assert_eq!((recovered.jobs[0].group, gaps(&mut ledger)), (PARKED, vec![100..400]));
    }
}

#[test]
fn what_is_lost_is_decided_counted_for_the_job_and_said() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    // More is named than is missing: only what is missing counts.
    let lost = LedgerEvent::Lost { group: PARKED, source, ranges: vec![0..150, 300..900] };
    let replies = ledger.step(now(), lost).unwrap();
    assert!(matches!(replies[0], LedgerReply::Lost { bytes: 150, .. }), "{replies:?}");
    assert_eq!((gaps(&mut ledger), losses(&ledger)), (vec![150..300], 150));
    let caught = vec![(PARKED, vec![logged(source, 150, 300)])];
    committed(ledger.step(now(), commit_of(caught, Some(merge()))).unwrap());
    let (ledger, recovered) = open(dir.path(), kill(ledger));
    let said = recovered.jobs[0].error_message.clone().unwrap();
    assert_eq!(said, "150 bytes left the disk before they could be read");
    assert_eq!(losses(&ledger), 150);
}

#[test]
fn a_file_that_shrinks_loses_what_a_parked_job_had_not_read() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    let shrunk = LedgerEvent::Change(vec![SourceChange::Shrunk { id: source, size: 150 }]);
    ledger.step(now(), shrunk).unwrap();
    assert_eq!((gaps(&mut ledger), losses(&ledger)), (vec![100..150], 250));
}

#[test]
fn a_row_that_goes_takes_what_was_not_read_with_it() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    let moved = SourceChange::Closed { id: source, unread: 0 };
    ledger.step(now(), LedgerEvent::Change(vec![moved])).unwrap();
    let later = Now { wall: now().wall + 49 * 3_600_000_000_000, ..now() };
    ledger.step(later, LedgerEvent::Tick).unwrap();
    assert_eq!((gaps(&mut ledger), losses(&ledger)), (vec![], 300));
}

#[test]
fn a_group_goes_with_its_last_job_and_late_chunks_of_it_are_nothing() {
    let dir = quick_dir();
    let (mut ledger, source) = parked(dir.path());
    let deleted = JobsCommit { deleted: vec![JOB], ..JobsCommit::default() };
    committed(ledger.step(now(), commit_of(vec![(GroupId::MAIN, vec![])], Some(deleted))).unwrap());
    assert_eq!((count(&ledger, "progress"), count(&ledger, "job")), (0, 0));
    let late = vec![(PARKED, vec![logged(source, 100, 400)])];
    let answer = committed(ledger.step(now(), commit_of(late, None)).unwrap());
    assert_eq!(answer.caught, [(PARKED, 1)], "the reader's count stays right");
    assert_eq!(count(&ledger, "progress"), 0);
    let (_, recovered) = open(dir.path(), kill(ledger));
    assert_eq!((recovered.parked.len(), recovered.last_group), (0, PARKED.0), "its id does not come back");
}

#[test]
fn a_new_file_is_nothing_new_to_a_parked_group() {
    let dir = quick_dir();
    let (mut ledger, _) = parked(dir.path());
    let source = register(&mut ledger, vec![new_source(2, 30)])[0].1;
    assert_eq!(gaps(&mut ledger), [100..400]);
    committed(
        ledger.step(now(), commit_of(vec![(GroupId::MAIN, vec![logged(source, 30, 60)])], None)).unwrap(),
    );
    assert_eq!(gaps(&mut ledger), [100..400, 30..60]);
}

#[test]
fn a_hot_job_that_parks_in_a_replay_keeps_what_the_hot_group_was_ahead() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let source = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let hot = JobsCommit { put: vec![job_row(JOB, GroupId::HOT)], ..JobsCommit::default() };
    committed(ledger.step(now(), commit_of(vec![(GroupId::MAIN, vec![])], Some(hot))).unwrap());
    let ahead = vec![(GroupId::HOT, vec![logged(source, 0, 50), logged(source, 50, 200)])];
    committed(ledger.step(now(), commit_of(ahead, None)).unwrap());
    let (mut ledger, _) = open(dir.path(), kill(ledger));
    let replayed = vec![(GroupId::MAIN, vec![logged(source, 0, 50)])];
    committed(ledger.step(now(), commit_of(replayed, Some(park()))).unwrap());
    let all = vec![(GroupId::MAIN, vec![logged(source, 50, 200), logged(source, 200, 300)])];
    match ledger.step(now(), LedgerEvent::Gaps(PARKED)).unwrap().swap_remove(0) {
        LedgerReply::Gaps { gaps, ahead, .. } => assert_eq!((gaps.len(), ahead), (0, true)),
        other => panic!("no gaps: {other:?}"),
    }
    committed(ledger.step(now(), commit_of(all, None)).unwrap());
    assert_eq!(gaps(&mut ledger), [200..300]);
}

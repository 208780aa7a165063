//! The ledger ends at every operation and every failure point, by `kill -9` and by power cut, and starts again.
//!
//! Promises: what a restart finds is the state before or after the event that was cut, never one between (I1, I7);
//! the event, given again where it did not happen, then succeeds.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, LedgerError, LedgerEvent, LedgerReply, POINTS, Part, Recovered, SplitChild};
use edgepush::protocol::*;
use ledger_kit::*;
use std::collections::BTreeSet;
use std::path::Path;

/// What the tables say, apart from where packs lie: equal states are equal texts.
fn picture(ledger: &mut Ledger<MemDisk>, found: &Recovered) -> String {
    let mut out = String::new();
    for batch in &found.spooled {
        let bytes = stored(ledger, batch);
        out +=
            &format!("spooled {:?} {} {} {}\n", batch.id, batch.name, batch.records, crc32fast::hash(&bytes));
    }
    for batch in &found.open {
        out += &format!("open {:?} {} {}\n", batch.id, batch.records, batch.raw);
    }
    for row in &found.sources {
        out += &format!("source {row:?}\n");
    }
    for table in ["loss", "job", "batch", "meta"] {
        let mut statement = ledger.connection().prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<String> = (0..columns).map(|c| format!("{:?}", row.get_ref(c).unwrap())).collect();
            out += &format!("{table} {}\n", cells.join(" "));
        }
    }
    out
}

/// Nothing that a start should have removed is left.
fn check_spool(ledger: &mut Ledger<MemDisk>) {
    let named: BTreeSet<u64> = {
        let mut statement =
            ledger.connection().prepare("SELECT DISTINCT pack FROM piece WHERE pack IS NOT NULL").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        rows.map(|id| id.unwrap() as u64).collect()
    };
    let files: BTreeSet<u64> = ledger.disk_mut().pack_ids().into_iter().collect();
    assert_eq!(files, named, "packs on disk and packs that rows name");
    for id in named {
        let end: i64 = ledger
            .connection()
            .query_row("SELECT end FROM pack WHERE id = ?1", [id as i64], |row| row.get(0))
            .unwrap();
        assert_eq!(ledger.disk_mut().pack_len(id) as i64, end, "the torn tail of pack {id} is cut off");
    }
}

/// One life that goes through every kind of event.
fn script() -> Vec<LedgerEvent> {
    let (a, b) = (SourceId(1), SourceId(2));
    let ident = FileIdent { dev: 7, ino: 7, btime: None };
    let half = |n: u64| SplitChild {
        pieces: vec![body(n, 700).into(), body(n + 50, 40).into()],
        records: 5,
        raw: 9,
    };
    let moved = |id, state| SourceChange::Moved { id, ident, path: "/moved".into(), state };
    vec![
        LedgerEvent::Register(vec![new_source(1, 0), new_source(2, 0)]),
        commit(
            1,
            vec![
                batch(None, &body(1, 3000), true),
                batch(None, &body(2, 50), true),
                batch(None, &body(3, 900), false),
            ],
            vec![logged(a, 0, 100), logged(b, 50, 80)],
        ),
        commit(
            2,
            vec![batch(Some(BatchId(3)), &body(4, 800), true), batch(None, &body(5, 2000), false)],
            vec![logged(a, 100, 150), logged(b, 0, 50)],
        ),
        LedgerEvent::Change(vec![moved(a, SourceState::Detached), SourceChange::Shrunk { id: b, size: 70 }]),
        judged(BatchId(2), Fate::Delivered),
        LedgerEvent::Split { parent: BatchId(1), children: vec![half(20), half(21)] },
        judged(BatchId(3), Fate::Aside),
        LedgerEvent::Aside { id: BatchId(3), word: AsideWord::Retry },
        judged(BatchId(3), Fate::Aside),
        LedgerEvent::Aside { id: BatchId(3), word: AsideWord::Drop },
        commit(3, vec![batch(Some(BatchId(4)), &[], true)], vec![]),
        LedgerEvent::Part(Part {
            parent: BatchId(4),
            again: Some(half(30)),
            rejects: vec![rejects(&body(31, 800), 2), rejects(&body(32, 30), 1)],
        }),
        LedgerEvent::Part(Part { parent: BatchId(9), again: None, rejects: vec![rejects(&body(33, 50), 1)] }),
        LedgerEvent::Judge(vec![
            Judged { id: BatchId(5), fate: Fate::Delivered, reason: String::new() },
            Judged { id: BatchId(6), fate: Fate::Dropped, reason: "drop_oldest".into() },
        ]),
        shelves(),
        LedgerEvent::Publish { all: true, at_most: 9 },
        LedgerEvent::Tick,
    ]
}

/// Two shelves: the first one's second member passes the limit of its batch, which closes.
fn shelves() -> LedgerEvent {
    let member = |n: u64, len: usize| Member {
        bytes: [body(n, len).into(), bytes::Bytes::new(), bytes::Bytes::new()],
        records: 3,
        raw: 100,
        first: n as i64,
        last: n as i64 + 5,
    };
    let shelf = |domain: &str, members| ShelfCommit {
        job: JobId(1),
        version: 1,
        naming: std::sync::Arc::default(),
        limits: edgepush_shard::room::BatchLimits { records: 5, bytes: 1000 },
        shelf: std::sync::Arc::new(Shelf { domain: domain.into(), start: 7200, seconds: 3600 }),
        members,
    };
    let shelves = vec![
        shelf("a.example", vec![member(40, 900), member(41, 50)]),
        shelf("b.example", vec![member(42, 700)]),
    ];
    let logs = vec![(GroupId::MAIN, Vec::new())];
    LedgerEvent::Commit(Commit { epoch: 4, batches: Vec::new(), shelves, logs, jobs: None })
}

/// Plays the script in the state directory; the disk fails from operation `fail_at` on. Answers with how far it came.
fn play(dir: &Path, disk: MemDisk, from: usize) -> (usize, Result<(), LedgerError>, Option<MemDisk>) {
    let backup = disk.clone();
    match open_at(dir, disk, settings()) {
        // The disk went down with the start: what it held is what it held before, as opening never writes to packs.
        Err(error) => (from, Err(error), Some(backup)),
        Ok((mut ledger, _)) => {
            for (at, event) in script().into_iter().enumerate().skip(from) {
                if let Err(error) = ledger.step(now(), event) {
                    assert!(matches!(ledger.step(now(), LedgerEvent::Tick), Err(LedgerError::Ended)));
                    return (at, Err(error), Some(ledger.into_parts().1));
                }
            }
            (script().len(), Ok(()), Some(ledger.into_parts().1))
        }
    }
}

/// The states before the first event, and after each, as restarts see them.
fn expected() -> Vec<String> {
    let dir = quick_dir();
    let mut disk = MemDisk::new();
    let mut pictures = Vec::new();
    for event in std::iter::once(None).chain(script().into_iter().map(Some)) {
        let (mut ledger, _) = open(dir.path(), disk);
        if let Some(event) = event {
            let replies = ledger.step(now(), event).unwrap();
            assert!(!matches!(replies.first(), Some(LedgerReply::NoSpace(_))));
        }
        let (mut ledger, found) = open(dir.path(), kill(ledger));
        pictures.push(picture(&mut ledger, &found));
        disk = kill(ledger);
    }
    let last = pictures.last().unwrap();
    let waiting = last.lines().filter(|line| line.starts_with("spooled ")).count();
    assert_eq!(
        waiting, 6,
        "the rejects of the two batches that were taken in part, and three files:\n{last}"
    );
    let names = last.matches("a.example/19700101/19700101020000-").count();
    assert!(names > 0 && last.contains("19700101020000-2.log.gz"), "{last}");
    pictures
}

fn crash_everywhere(power: Option<u64>) {
    let pictures = expected();
    let total = {
        let dir = quick_dir();
        let (end, result, disk) = play(dir.path(), MemDisk::new(), 0);
        assert!(result.is_ok() && end == script().len());
        disk.unwrap().journal.len()
    };
    assert!(total > 60, "only {total} operations");
    let mut befores = 0;
    for fail_at in 0..total {
        let dir = quick_dir();
        let mut disk = MemDisk::new();
        disk.fail_at = Some(fail_at);
        let (at, result, disk) = play(dir.path(), disk, 0);
        assert!(result.is_err(), "operation {fail_at} did not fail");
        let disk = disk.unwrap();
        let op = disk.journal.last().cloned().unwrap_or_default();
        let disk = match power {
            Some(seed) => disk.power_cut(seed ^ fail_at as u64),
            None => disk.kill(),
        };
        let (mut ledger, found) = open(dir.path(), disk);
        check_spool(&mut ledger);
        let seen = picture(&mut ledger, &found);
        let happened = match (seen == pictures[at], at < script().len() && seen == pictures[at + 1]) {
            (_, true) => at + 1,
            (true, false) => at,
            _ => panic!(
                "after {op} ({fail_at}) of event {at}: neither before nor after:\n{seen}\nbefore:\n{}",
                pictures[at]
            ),
        };
        befores += usize::from(happened == at);
        // Life goes on: the rest of the script leads to the same end.
        let (_, result, disk) = play(dir.path(), kill(ledger), happened);
        assert!(result.is_ok(), "after {op} ({fail_at}): {result:?}");
        let (mut ledger, found) = open(dir.path(), disk.unwrap().kill());
        check_spool(&mut ledger);
        assert_eq!(&picture(&mut ledger, &found), pictures.last().unwrap(), "the end after {op} ({fail_at})");
    }
    assert!(befores > 30 && befores < total, "{befores} of {total} crashes came before their event was true");
}

#[test]
fn killed_at_every_operation() {
    crash_everywhere(None);
}

#[test]
fn power_cut_at_every_operation() {
    for seed in 1..4 {
        crash_everywhere(Some(seed * 7919));
    }
}

#[test]
fn every_failure_point_is_passed() {
    let dir = quick_dir();
    let (_, _, disk) = play(dir.path(), MemDisk::new(), 0);
    let disk = disk.unwrap();
    let mut seen: BTreeSet<String> = disk.journal.iter().cloned().collect();
    // The rarer ones: a pack is left with a rest, a source expires, a restart trims.
    let (mut ledger, _) = open(dir.path(), disk.kill());
    let late = Now { wall: WALL + 60 * 3_600_000_000_000, ..now() };
    ledger.step(late, LedgerEvent::Tick).unwrap();
    seen.extend(ledger.disk_mut().journal.drain(..));
    seen.extend(sparse_life());
    let points: BTreeSet<String> = POINTS.iter().map(|point| (*point).to_owned()).collect();
    assert_eq!(
        points.difference(&seen).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "points that no test passes"
    );
}

/// A slow batch holds a pack after its neighbours have gone: upkeep moves it on. Answers with the journal.
fn sparse_life() -> Vec<String> {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let slow =
        committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 900), true)], vec![])).unwrap());
    let slow = slow.spooled[0].clone();
    let open_row =
        committed(ledger.step(now(), commit(2, vec![batch(None, &body(2, 600), false)], vec![])).unwrap());
    let many = (0..9).map(|n| batch(None, &body(10 + n, 2000), true)).collect();
    let others = committed(ledger.step(now(), commit(3, many, vec![])).unwrap());
    let (mut ledger, _) = open(dir.path(), kill(ledger));
    let verdicts =
        others.spooled.iter().map(|s| Judged { id: s.id, fate: Fate::Delivered, reason: String::new() });
    ledger.step(now(), LedgerEvent::Judge(verdicts.collect())).unwrap();
    let PieceAt::Pack { pack: old, .. } = slow.pieces[0].at else { panic!("in the ledger") };
    assert_eq!(ledger.disk_mut().pack_ids(), vec![old]);
    ledger.step(now(), LedgerEvent::Tick).unwrap();
    assert!(!ledger.disk_mut().pack_ids().contains(&old), "the old pack is freed");
    // The open batch is whole when it closes, before and after a restart.
    let close = batch(Some(open_row.open[0].1), &body(3, 100), true);
    let done = committed(ledger.step(now(), commit(4, vec![close], vec![])).unwrap());
    assert_eq!(stored(&mut ledger, &done.spooled[0]), [body(2, 600), body(3, 100)].concat());
    let journal = ledger.disk_mut().journal.clone();
    let (mut ledger, found) = open(dir.path(), ledger.into_parts().1.power_cut(3));
    assert_eq!((found.spooled[0].id, found.spooled[0].name.clone()), (slow.id, slow.name));
    assert_eq!(stored(&mut ledger, &found.spooled[0]), body(1, 900));
    assert_eq!(stored(&mut ledger, &found.spooled[1]), [body(2, 600), body(3, 100)].concat());
    check_spool(&mut ledger);
    journal
}

#[test]
fn a_failed_sync_ends_the_ledger_and_names_the_file() {
    for (op, errno) in
        [("sync", libc::ENOSPC), ("sync", libc::EIO), ("append", libc::EIO), ("source_sync", libc::EIO)]
    {
        let dir = quick_dir();
        let (mut ledger, _) = open(dir.path(), MemDisk::new());
        let id = register(&mut ledger, vec![new_source(1, 0)])[0].1;
        ledger.disk_mut().fail_once = Some((op.to_owned(), errno));
        let event = commit(1, vec![batch(None, &body(1, 999), true)], vec![logged(id, 0, 10)]);
        let error = ledger.step(now(), event.clone()).unwrap_err();
        let file = if op == "source_sync" { "/var/log/1.log" } else { ".pack" };
        assert!(error.to_string().contains(file) && error.exit_code() == 1, "{op}: {error}");
        assert!(matches!(ledger.step(now(), event).unwrap_err(), LedgerError::Ended), "never retried");
    }
}

#[test]
fn upkeep_leaves_a_rotten_piece_where_it_is_and_looks_once() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let batches = (0..5).map(|n| batch(None, &body(n, 2000), true)).collect();
    let done = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    let (mut ledger, _) = open(dir.path(), kill(ledger));
    for batch in &done.spooled[1..] {
        ledger.step(now(), judged(batch.id, Fate::Delivered)).unwrap();
    }
    let PieceAt::Pack { pack, .. } = done.spooled[0].pieces[0].at else { panic!("in the ledger") };
    ledger.disk_mut().put_pack(pack, &body(99, 10_000));
    for _ in 0..3 {
        ledger.step(now(), LedgerEvent::Tick).unwrap();
    }
    assert_eq!(ledger.disk_mut().journal.iter().filter(|op| *op == "read").count(), 1);
    assert_eq!(ledger.disk_mut().pack_ids(), vec![pack], "not copied under a checksum that does not fit");
}

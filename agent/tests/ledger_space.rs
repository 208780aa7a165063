//! A full disk is weather, the spool's bound holds, and both end by themselves when batches are delivered.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, LedgerEvent, LedgerReply, Reserve, Space};
use edgepush::protocol::*;
use ledger_kit::*;

fn space_of(replies: &[LedgerReply]) -> Option<Space> {
    replies
        .iter()
        .rev()
        .find_map(|reply| if let LedgerReply::Space(space) = reply { Some(*space) } else { None })
}

fn no_space(replies: Vec<LedgerReply>) -> LedgerEvent {
    match replies.into_iter().next() {
        Some(LedgerReply::NoSpace(event)) => *event,
        other => panic!("there was room: {other:?}"),
    }
}

#[test]
fn a_full_disk_hands_the_event_back_and_changes_nothing() {
    for (op, errno) in [("create", libc::ENOSPC), ("append", libc::ENOSPC), ("append", libc::EDQUOT)] {
        let dir = quick_dir();
        let (mut ledger, _) = open(dir.path(), MemDisk::new());
        let id = register(&mut ledger, vec![new_source(1, 0)])[0].1;
        ledger.disk_mut().fail_once = Some((op.to_owned(), errno));
        let event = commit(1, vec![batch(None, &body(1, 999), true)], vec![logged(id, 0, 10)]);
        let replies = ledger.step(now(), event).unwrap();
        assert!(space_of(&replies).unwrap().full, "{op}");
        let event = no_space(replies);
        assert_eq!(ledger.progress(GroupId::MAIN, id).unwrap().low, 0);
        let done = committed(ledger.step(now(), event).unwrap());
        assert_eq!(stored(&mut ledger, &done.spooled[0]), body(1, 999), "{op}");
        let (mut ledger, found) = open(dir.path(), ledger.into_parts().1.power_cut(9));
        assert_eq!(found.spooled.len(), 1);
        assert_eq!(stored(&mut ledger, &found.spooled[0]), body(1, 999));
        assert_eq!(found.sources[0].progress.low, 10);
    }
}

#[test]
fn a_full_ledger_is_weather_too() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let id = register(&mut ledger, vec![new_source(1, 0)])[0].1;
    let pages: i64 = ledger.connection().query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    // SQLite answers SQLITE_FULL when the file may not grow.
    let cap = |ledger: &Ledger<MemDisk>, pages: i64| {
        ledger.connection().query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    cap(&ledger, pages);
    let small = (0..500).map(|n| batch(None, &body(n, 64), true)).collect();
    let event = commit(1, small, vec![logged(id, 0, 10)]);
    let event = no_space(ledger.step(now(), event).unwrap());
    assert_eq!(ledger.progress(GroupId::MAIN, id).unwrap().low, 0);
    cap(&ledger, 1 << 30);
    let done = committed(ledger.step(now(), event).unwrap());
    assert_eq!((done.spooled.len(), done.durable), (500, vec![(id, 10)]));
    assert_eq!(open(dir.path(), kill(ledger)).1.spooled.len(), 500);
}

#[test]
fn the_spool_stays_under_its_bound_and_empties_again() {
    let dir = quick_dir();
    let limit = settings().limit_bytes;
    let (mut ledger, first) = open(dir.path(), MemDisk::new());
    assert!(!first.space.full && first.space.spool_bytes < 1 << 20, "{:?}", first.space);
    let (mut spooled, mut full_at, mut last) = (Vec::new(), None, first.space);
    for epoch in 0.. {
        let event = commit(epoch, vec![batch(None, &body(epoch, 1 << 20), true)], vec![]);
        let replies = ledger.step(now(), event).unwrap();
        last = space_of(&replies).unwrap_or(last);
        assert!(last.spool_bytes <= limit, "{last:?}");
        if last.full && full_at.is_none() {
            full_at = Some(epoch);
        }
        if matches!(replies[0], LedgerReply::NoSpace(_)) {
            break;
        }
        spooled.extend(committed(replies).spooled);
    }
    let full_at = full_at.unwrap();
    // What is in memory when the readers stop still fits: an eighth of the spool.
    assert!(
        spooled.len() as u64 - full_at >= (limit / 8) >> 20,
        "full at {full_at}, refused at {}",
        spooled.len()
    );
    assert!(spooled.len() > 40, "only {} of 64 MB are used", spooled.len());
    for batch in &spooled {
        ledger.step(now(), judged(batch.id, Fate::Delivered)).unwrap();
    }
    let replies = ledger.step(now(), LedgerEvent::Tick).unwrap();
    let space = space_of(&replies).unwrap_or_else(|| open(dir.path(), MemDisk::new()).1.space);
    assert!(!space.full && space.spool_bytes < limit / 8, "{space:?}");
    assert!(ledger.disk_mut().pack_ids().len() <= 1, "only the pack that is being filled is left");
    committed(ledger.step(now(), commit(99, vec![batch(None, &body(1, 1 << 20), true)], vec![])).unwrap());
}

#[test]
fn what_one_job_leaves_takes_no_more_than_it_is_however_packs_were_shared() {
    let dir = quick_dir();
    let (mut ledger, first) = open(dir.path(), MemDisk::new());
    let (mut last, mut left, mut epoch) = (first.space, 0, 0);
    while !last.full {
        // Of two jobs in turns; one of them delivers.
        let bodies = [0, 1].map(|job| batch(None, &body(2 * epoch + job, 1 << 20), true)).into();
        let replies = ledger.step(now(), commit(epoch, bodies, vec![])).unwrap();
        last = space_of(&replies).unwrap_or(last);
        let done = committed(replies);
        left += 1 << 20;
        last = space_of(&ledger.step(now(), judged(done.spooled[1].id, Fate::Delivered)).unwrap())
            .unwrap_or(last);
        epoch += 1;
    }
    assert!(left < last.taken_bytes * 2 / 3, "{left} of {last:?}");
    for _ in 0..40 {
        last = space_of(&ledger.step(now(), LedgerEvent::Tick).unwrap()).unwrap_or(last);
    }
    assert!(!last.full && last.spool_bytes < left + left / 2, "{left} of {last:?}");
}

#[test]
fn verdicts_need_no_room() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let done =
        committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 9000), true)], vec![])).unwrap());
    ledger.disk_mut().free = 0;
    let replies = ledger.step(now(), judged(done.spooled[0].id, Fate::Delivered)).unwrap();
    assert!(matches!(replies[0], LedgerReply::Judged(_)));
}

#[test]
fn what_is_held_aside_takes_an_eighth_of_the_spool_at_most() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let batches = (1..=4).map(|seed| batch(None, &body(seed, 3_000_000), true)).collect();
    let done = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    for batch in &done.spooled {
        ledger.step(now(), judged(batch.id, Fate::Aside)).unwrap();
    }
    let (conn, disk) = ledger.into_parts();
    let lost: (i64, i64, String) = conn
        .query_row("SELECT sum(records), sum(bytes), max(reason) FROM loss", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?))
        })
        .unwrap();
    assert_eq!(lost, (20, 6_000_000, "rejected".to_owned()), "two of four, the oldest");
    drop(conn);
    let (_, found) = open(dir.path(), disk.kill());
    assert_eq!(found.aside, 2);
}

#[test]
fn below_the_reserve_the_spool_stays_at_its_minimum() {
    let dir = quick_dir();
    let mut disk = MemDisk::new();
    (disk.free, disk.total) = (50 << 30, 1000 << 30);
    let wide = edgepush::ledger::LedgerSettings {
        limit_bytes: 10_000_000_000,
        reserve: Reserve::Percent(10),
        ..settings()
    };
    let (ledger, found) = open_at(dir.path(), disk, wide.clone()).unwrap();
    assert!(found.space.reserve_hit && !found.space.full);
    assert_eq!(found.space.limit_bytes, 64_000_000);
    let mut disk = kill(ledger);
    disk.free = 500 << 30;
    let (mut ledger, found) = open_at(dir.path(), disk, wide).unwrap();
    assert!(!found.space.reserve_hit);
    assert_eq!(found.space.limit_bytes, 10_000_000_000);
    // Another program fills the disk while we run.
    ledger.disk_mut().free = 99 << 30;
    let space = space_of(&ledger.step(now(), LedgerEvent::Tick).unwrap()).unwrap();
    assert!(space.reserve_hit && space.limit_bytes < 10_000_000_000);
}

#[test]
fn a_piece_larger_than_a_pack_gets_a_pack_of_its_own() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let bodies: Vec<Vec<u8>> = vec![body(1, 1000), body(2, 9_000_000), body(3, 1000)];
    let batches = bodies.iter().map(|bytes| batch(None, bytes, true)).collect();
    let done = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    let (mut ledger, found) = open(dir.path(), ledger.into_parts().1.power_cut(1));
    for (at, want) in bodies.iter().enumerate() {
        assert!(stored(&mut ledger, &found.spooled[at]) == *want, "batch {at}");
        assert_eq!(found.spooled[at].pieces, done.spooled[at].pieces);
    }
}

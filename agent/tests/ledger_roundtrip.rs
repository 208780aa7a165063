//! The ledger's plain life: register, commit, judge, restart.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{Ledger, LedgerEvent, LedgerReply, Part, SplitChild};
use edgepush::protocol::*;
use ledger_kit::*;

#[test]
fn a_commit_survives_a_power_cut() {
    let dir = quick_dir();
    let (mut ledger, first) = open(dir.path(), MemDisk::new());
    assert!(first.first_start && !first.cloned && first.sources.is_empty());
    let rows = register(&mut ledger, vec![new_source(1, 0), new_source(2, 500)]);
    assert_eq!((rows[0].0, rows[1].0), (1, 2));
    assert_ne!(rows[0].2, rows[1].2, "seeds differ");
    let (a, b) = (rows[0].1, rows[1].1);

    let (large, small, open_body) = (body(1, 5000), body(2, 60), body(3, 900));
    let batches = vec![batch(None, &large, true), batch(None, &small, true), batch(None, &open_body, false)];
    let log = vec![logged(a, 0, 100), logged(a, 200, 300), logged(b, 500, 600)];
    let done = committed(ledger.step(now(), commit(1, batches, log)).unwrap());
    assert_eq!(done.spooled.len(), 2);
    assert_eq!(done.durable, vec![(a, 100), (b, 600)]);
    assert_eq!(done.spooled[0].body.as_ref().unwrap().concat(), large);
    assert!(done.spooled[0].name.starts_with("env/20231114/20231114T221320Z_20231114T221321Z_"));
    assert!(matches!(done.spooled[0].pieces[0].at, PieceAt::Pack { .. }));
    assert_eq!(done.spooled[1].pieces[0].at, PieceAt::Ledger { seq: 0 });
    assert!(ledger.disk_mut().synced_sources.contains(&a) && ledger.disk_mut().synced_sources.contains(&b));

    let (mut ledger, again) = open(dir.path(), ledger.into_parts().1.power_cut(5));
    assert!(!again.first_start && !again.rebooted);
    assert_eq!(again.ledger_id, first.ledger_id);
    assert_eq!(again.spooled.len(), 2);
    for (found, want) in again.spooled.iter().zip(&done.spooled) {
        assert_eq!((&found.name, &found.key, found.id), (&want.name, &want.key, want.id));
        assert_eq!(
            (found.records, found.raw, found.first, found.last),
            (want.records, want.raw, want.first, want.last)
        );
        assert_eq!((found.codec, found.container, found.version), (CodecKind::Gzip, Container::Members, 3));
        assert_eq!(found.pieces, want.pieces);
    }
    assert_eq!(stored(&mut ledger, &again.spooled[0]), large);
    assert_eq!(stored(&mut ledger, &again.spooled[1]), small);
    assert_eq!(again.open.len(), 1);
    assert_eq!((again.open[0].id, again.open[0].records), (done.open[0].1, 10));
    let row = &again.sources[0];
    assert_eq!(
        (row.progress.low, row.progress.above.len(), row.progress.above[0].clone()),
        (100, 1, 200..300)
    );
    assert_eq!(row.progress.tails, vec![(100, 100 ^ 0xabc), (300, 300 ^ 0xabc)]);
    assert_eq!((row.head, row.size_seen), (Head { len: 20, hash: 99 }, 305));
    assert_eq!((row.seed, row.path.to_str(), row.ident.btime), (rows[0].2, Some("/var/log/1.log"), Some(5)));
    assert_eq!(again.sources[1].progress.low, 600);
}

#[test]
fn an_open_batch_closes_after_restarts_under_its_old_naming() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let done =
        committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 100), false)], vec![])).unwrap());
    let (key, id) = done.open[0];
    assert_eq!(key, OpenKey(77));
    let (mut ledger, again) = open(dir.path(), kill(ledger));
    assert_eq!(again.open[0].id, id);
    let mut more = batch(Some(id), &body(2, 30), false);
    more.first = WALL + 5;
    committed(ledger.step(now(), commit(1, vec![more], vec![])).unwrap());
    let (mut ledger, again) = open(dir.path(), kill(ledger));
    assert_eq!((again.open[0].records, again.open[0].raw, again.open[0].first), (20, 520, WALL));
    let mut close = batch(Some(id), &[], true);
    close.last = WALL + 3_000_000_000;
    close.naming =
        std::sync::Arc::new(Naming { path: "new".into(), suffix: ".zst".into(), ..Naming::default() });
    let done = committed(ledger.step(now(), commit(2, vec![close], vec![])).unwrap());
    let spooled = &done.spooled[0];
    assert!(spooled.name.starts_with("env/20231114/20231114T221320Z_20231114T221323Z_"), "{}", spooled.name);
    assert!(spooled.name.ends_with(".log.gz") && spooled.body.is_none());
    assert_eq!(stored(&mut ledger, spooled), [body(1, 100), body(2, 30)].concat());
}

#[test]
fn verdicts_free_the_spool_and_ids_never_come_back() {
    let dir = quick_dir();
    let mut disk = MemDisk::new();
    let mut keys = std::collections::BTreeSet::new();
    let mut ids = std::collections::BTreeSet::new();
    for round in 0..4 {
        let (mut ledger, again) = open(dir.path(), disk);
        assert!(again.spooled.is_empty());
        let bodies: Vec<_> = (0..3).map(|n| batch(None, &body(round * 3 + n, 4000), true)).collect();
        let done = committed(ledger.step(now(), commit(1, bodies, vec![])).unwrap());
        for spooled in &done.spooled {
            assert!(keys.insert(spooled.key.clone()), "{} came back", spooled.key);
            assert!(ids.insert(spooled.id));
            let replies = ledger.step(now(), judged(spooled.id, Fate::Delivered)).unwrap();
            assert!(matches!(&replies[0], LedgerReply::Judged(ids) if *ids == [spooled.id]));
        }
        disk = kill(ledger);
    }
    let (mut ledger, again) = open(dir.path(), disk);
    assert!(again.spooled.is_empty());
    assert_eq!(ledger.disk_mut().pack_ids(), Vec::<u64>::new());
    let count = |table: &str| -> i64 {
        ledger.connection().query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0)).unwrap()
    };
    assert_eq!((count("batch"), count("piece"), count("pack"), count("naming")), (0, 0, 0, 0));
    let last: i64 = ledger
        .connection()
        .query_row("SELECT last_complete FROM job WHERE id = 1", [], |r| r.get(0))
        .unwrap();
    assert_eq!(last, WALL + 1_000_000_000);
}

#[test]
fn verdicts_aside_dropped_and_strange() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let batches = (0..3).map(|n| batch(None, &body(n, 200), true)).collect();
    let ids: Vec<BatchId> = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap())
        .spooled
        .iter()
        .map(|s| s.id)
        .collect();
    let long = "é".repeat(400);
    let verdicts = vec![
        Judged { id: ids[0], fate: Fate::Aside, reason: long.clone() },
        Judged { id: ids[1], fate: Fate::Dropped, reason: "drop_oldest".into() },
        Judged { id: BatchId(999), fate: Fate::Delivered, reason: String::new() },
    ];
    ledger.step(now(), LedgerEvent::Judge(verdicts)).unwrap();
    assert_eq!(ledger.strange_verdicts(), 1);
    let (mut ledger, again) = open(dir.path(), kill(ledger));
    assert_eq!((again.aside, again.spooled.len()), (1, 1));
    let text: String = ledger
        .connection()
        .query_row("SELECT reason FROM batch WHERE state = 'rejected'", [], |r| r.get(0))
        .unwrap();
    assert_eq!(text, long[..500]);
    let loss: (i64, String, i64, i64) = ledger
        .connection()
        .query_row("SELECT job, reason, records, bytes FROM loss", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        })
        .unwrap();
    assert_eq!(loss, (1, "drop_oldest".into(), 10, 200));
    // What is held aside is not delivered by a late verdict of an earlier try, but an operator can drop it.
    ledger.step(now(), judged(ids[0], Fate::Dropped)).unwrap();
    assert_eq!(open(dir.path(), kill(ledger)).1.aside, 0);
}

#[test]
fn changes_of_sources_are_durable() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let rows = register(&mut ledger, vec![new_source(1, 0), new_source(2, 0), new_source(3, 0)]);
    let id = |n: usize| rows[n].1;
    let log = vec![logged(id(0), 0, 100), logged(id(1), 0, 100), logged(id(1), 150, 200)];
    ledger.step(now(), commit(1, vec![], log)).unwrap();
    let ident = FileIdent { dev: 9, ino: 8, btime: None };
    let changes = vec![
        SourceChange::Moved { id: id(0), ident, path: "/b.1".into(), state: SourceState::Attached },
        SourceChange::Shrunk { id: id(1), size: 170 },
        SourceChange::Shrunk { id: id(1), size: 60 },
        SourceChange::Closed { id: id(2), unread: 4096 },
    ];
    ledger.step(now(), LedgerEvent::Change(changes)).unwrap();
    let (mut ledger, again) = open(dir.path(), kill(ledger));
    assert_eq!((again.sources[0].ident, again.sources[0].path.to_str()), (ident, Some("/b.1")));
    assert_eq!(
        (again.sources[1].progress.clone(), again.sources[1].size_seen),
        (Progress::starting_at(60), 60)
    );
    assert_eq!((again.sources[2].state, again.sources[2].detached_at), (SourceState::Detached, WALL));
    let lost: i64 =
        ledger.connection().query_row("SELECT bytes FROM loss WHERE job = -1", [], |r| r.get(0)).unwrap();
    assert_eq!(lost, 4096);
    // A detached row waits 48 h for its copy.
    let hours = |n: i64| Now { wall: WALL + n * 3_600_000_000_000, ..now() };
    ledger.step(hours(48), LedgerEvent::Tick).unwrap();
    assert!(ledger.progress(GroupId::MAIN, id(2)).is_some());
    ledger.step(hours(49), LedgerEvent::Tick).unwrap();
    assert!(ledger.progress(GroupId::MAIN, id(2)).is_none());
    let (mut ledger, again) = open(dir.path(), kill(ledger));
    assert_eq!(again.sources.len(), 2);
    assert!(register(&mut ledger, vec![new_source(4, 0)])[0].1 > id(2), "source ids never come back");
}

#[test]
fn a_split_replaces_the_parent_by_children_named_after_it() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let done =
        committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 3000), true)], vec![])).unwrap());
    let parent = done.spooled[0].clone();
    let bodies = [vec![body(2, 900), body(3, 40)], vec![body(4, 1200)]];
    let child = |at: usize| SplitChild {
        pieces: bodies[at].iter().map(|bytes| bytes.clone().into()).collect(),
        records: [4, 6][at],
        raw: [100, 200][at],
    };
    let event = LedgerEvent::Split { parent: parent.id, children: vec![child(0), child(1)] };
    let children = match ledger.step(now(), event.clone()).unwrap().swap_remove(0) {
        LedgerReply::Split { parent: id, children } if id == parent.id => children,
        other => panic!("not split: {other:?}"),
    };
    assert_eq!(children.len(), 2);
    // Only the children are sent from now on, under names that follow from the parent's.
    let (mut ledger, found) = open(dir.path(), ledger.into_parts().1.power_cut(4));
    assert_eq!(found.spooled.iter().map(|s| s.id).collect::<Vec<_>>(), [children[0].id, children[1].id]);
    for (at, batch) in found.spooled.iter().enumerate() {
        let stem = parent.name.strip_suffix(".log.gz").unwrap();
        assert_eq!(*batch.name, format!("{stem}-{}.log.gz", at + 1));
        assert_eq!(*batch.key, format!("{}-{}", parent.key, at + 1));
        assert_eq!((batch.records, batch.raw), ([4, 6][at], [100, 200][at]));
        assert_eq!((batch.job, batch.first, batch.last), (parent.job, parent.first, parent.last));
        assert_eq!(stored(&mut ledger, batch), bodies[at].concat());
        assert_eq!(children[at].body.as_ref().unwrap().concat(), bodies[at].concat());
    }
    // The parent is gone: a split or a verdict that comes late changes nothing.
    let replies = ledger.step(now(), event).unwrap();
    assert!(matches!(&replies[0], LedgerReply::Split { children, .. } if children.is_empty()));
    ledger.step(now(), judged(parent.id, Fate::Delivered)).unwrap();
    assert_eq!(ledger.strange_verdicts(), 2);
    assert_eq!(open(dir.path(), kill(ledger)).1.spooled.len(), 2);
}

#[test]
fn what_a_destination_has_not_taken_replaces_the_batch() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let done =
        committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 3000), true)], vec![])).unwrap());
    let parent = done.spooled[0].clone();
    let child = |seed| SplitChild { pieces: vec![body(seed, 400).into()], records: 4, raw: 44 };
    let refused = vec![rejects(&body(3, 500), 2), rejects(&body(4, 20), 1)];
    let part = |parent, again, rejects| LedgerEvent::Part(Part { parent, again, rejects });
    let event = part(parent.id, Some(child(2)), refused);
    let parted = |reply: LedgerReply| match reply {
        LedgerReply::Parted { again, rejects, .. } => (again, rejects),
        other => panic!("not parted: {other:?}"),
    };
    let (again, rejected) = parted(ledger.step(now(), event.clone()).unwrap().swap_remove(0));
    let again = again.unwrap();
    let stem = parent.name.strip_suffix(".log.gz").unwrap();
    assert_eq!((&*again.name, &*again.key), (&*format!("{stem}-1.log.gz"), &*format!("{}-1", parent.key)));
    assert_eq!((again.job, again.records, again.raw), (parent.job, 4, 44));
    assert_eq!((again.first, again.last), (parent.first, parent.last));
    assert_eq!(rejected.iter().map(|batch| batch.records).collect::<Vec<_>>(), [2, 1]);
    assert!(rejected.iter().all(|batch| batch.job == JobId::REJECTS && batch.name.starts_with("20231114T")));
    // A restart finds just these, with their bytes.
    let (mut ledger, found) = open(dir.path(), ledger.into_parts().1.power_cut(4));
    let expected = [(&rejected[0], body(3, 500)), (&rejected[1], body(4, 20)), (&again, body(2, 400))];
    assert_eq!(found.spooled.len(), 3);
    for ((batch, bytes), found) in expected.iter().zip(&found.spooled) {
        assert_eq!((found.id, &found.name, &found.key), (batch.id, &batch.name, &batch.key));
        assert_eq!(stored(&mut ledger, found), *bytes);
        assert_eq!(batch.body.as_ref().unwrap().concat(), *bytes);
    }
    // What comes late changes nothing.
    assert!(
        matches!(parted(ledger.step(now(), event).unwrap().swap_remove(0)), (None, none) if none.is_empty())
    );
    assert_eq!(ledger.strange_verdicts(), 1);
    // The child is taken in part, too; of its child nothing is left to send, so the job's last delivery is known.
    let (grandchild, _) =
        parted(ledger.step(now(), part(again.id, Some(child(5)), vec![])).unwrap().swap_remove(0));
    let grandchild = grandchild.unwrap();
    assert_eq!(&*grandchild.name, format!("{stem}-1-1.log.gz"));
    let complete = |ledger: &Ledger<MemDisk>| -> Option<i64> {
        let sql = "SELECT max(last_complete) FROM job WHERE id = 1";
        ledger.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(complete(&ledger), None);
    let refused = vec![rejects(&body(6, 30), 4)];
    ledger.step(now(), part(grandchild.id, None, refused)).unwrap();
    assert_eq!(complete(&ledger), Some(parent.last));
    let jobs: Vec<JobId> = open(dir.path(), kill(ledger)).1.spooled.iter().map(|batch| batch.job).collect();
    assert_eq!(jobs, [JobId::REJECTS; 3]);
}

#[test]
fn an_operator_frees_only_what_is_aside() {
    let dir = quick_dir();
    let (mut ledger, _) = open(dir.path(), MemDisk::new());
    let batches = vec![batch(None, &body(1, 3000), true), batch(None, &body(2, 40), true)];
    let done = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    let (one, other) = (done.spooled[0].clone(), done.spooled[1].id);
    let ask = |ledger: &mut Ledger<MemDisk>, id, word| match ledger
        .step(now(), LedgerEvent::Aside { id, word })
        .unwrap()
        .swap_remove(0)
    {
        LedgerReply::Aside { batch, .. } => batch,
        other => panic!("{other:?}"),
    };
    for word in [AsideWord::Retry, AsideWord::Drop] {
        assert!(ask(&mut ledger, one.id, word).is_none(), "it waits, and is the agent's");
        assert!(ask(&mut ledger, BatchId(99), word).is_none());
    }
    ledger.step(now(), judged(one.id, Fate::Aside)).unwrap();
    ledger.step(now(), judged(other, Fate::Aside)).unwrap();
    let again = ask(&mut ledger, one.id, AsideWord::Retry).unwrap();
    assert_eq!((&again.name, &again.key, again.records), (&one.name, &one.key, one.records));
    assert_eq!(stored(&mut ledger, &again), body(1, 3000));
    assert_eq!(ask(&mut ledger, other, AsideWord::Drop).unwrap().id, other);
    let loss: (String, i64) = ledger
        .connection()
        .query_row("SELECT reason, records FROM loss", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(loss, ("dropped".into(), 10));
    let found = open(dir.path(), kill(ledger)).1;
    assert_eq!((found.spooled.len(), found.spooled[0].id, found.aside), (1, one.id, 0));
}

//! What the index promises, case by case.
use super::*;
use std::time::Instant;

fn entry_of(domain: &str, start: i64, serial: u32) -> Entry {
    Entry {
        domain: domain.to_owned(),
        start,
        serial,
        slot: Slot::Hour,
        bytes: 1000 + u64::from(serial),
        raw_bytes: u64::from(u32::MAX) + 7,
        records: 5,
        crc32: u32::MAX,
        first: start * 1_000_000_000,
        last: start * 1_000_000_000 + 5,
        published: start + 4000,
    }
}

fn index() -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("archive.db")).unwrap();
    (dir, index)
}

#[test]
fn what_is_added_is_listed_once_and_as_it_was() {
    let (dir, index) = index();
    let entries =
        [entry_of("a", 3600, 1), entry_of("a", 3600, 2), entry_of("a", 7200, 1), entry_of("b", 3600, 1)];
    index.add_all(&entries).unwrap();
    let changed = Entry { bytes: 1, ..entries[0].clone() };
    index.add(&changed).unwrap();
    let looked = Index::look(&dir.path().join("archive.db")).unwrap();
    assert_eq!(looked.list("a", 0..7200).unwrap(), entries[..2]);
    assert_eq!(looked.list("a", 3600..7201).unwrap(), entries[..3]);
    assert_eq!(looked.list("a", 3601..7200).unwrap(), []);
    assert_eq!(looked.list("c", 0..i64::MAX).unwrap(), []);
    assert_eq!(looked.domains().unwrap(), ["a", "b"]);
    assert!(looked.has("b").unwrap() && !looked.has("c").unwrap());
    assert_eq!(looked.get("b", 3600, 1).unwrap().as_ref(), Some(&entries[3]));
    assert_eq!(looked.get("b", 3600, 2).unwrap(), None);
    assert_eq!(looked.bytes().unwrap(), entries.iter().map(|e| e.bytes).sum::<u64>());
    assert!(looked.add(&entry_of("a", 0, 1)).is_err(), "who looks cannot write");
    assert!(index.conn.execute("UPDATE file SET bytes = 0", []).is_err(), "a listed file never changes");
    let mode = std::fs::metadata(dir.path().join("archive.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn removed_slots_leave_their_serials() {
    let (_dir, index) = index();
    for (domain, start, serial) in [("a", 0, 1), ("a", 0, 2), ("a", 3600, 1), ("b", 0, 1)] {
        index.add(&entry_of(domain, start, serial)).unwrap();
    }
    assert_eq!(index.serial_after("a", 0).unwrap(), 3);
    assert_eq!(index.serial_after("a", 9).unwrap(), 1);
    assert_eq!(index.serial_after("new", 0).unwrap(), 1);
    let oldest =
        |n| index.oldest(n).unwrap().into_iter().map(|e| (e.domain, e.start, e.serial)).collect::<Vec<_>>();
    assert_eq!(oldest(3), [("a".into(), 0, 1), ("a".into(), 0, 2), ("b".into(), 0, 1)]);
    index.remove(&[("a".into(), 0), ("never".into(), 0)]).unwrap();
    assert_eq!(oldest(9), [("b".into(), 0, 1), ("a".into(), 3600, 1)]);
    assert_eq!(index.serial_after("a", 0).unwrap(), 3);
    assert_eq!(index.bytes().unwrap(), 1001 * 2);
    index.remove(&[("a".into(), 0), ("b".into(), 0)]).unwrap();
    assert_eq!(index.serial_after("a", 0).unwrap(), 3, "removing again changes nothing");
    assert_eq!(index.domains().unwrap(), ["a"]);
}

#[test]
fn nothing_is_there_before_anything_was_archived() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive.db");
    assert!(matches!(Index::look(&path), Err(IndexError::Missing(_))));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(Index::look(&path), Err(IndexError::Missing(_))));
    std::fs::write(
        &path,
        "this is no database at all, and longer than a header of one hundred bytes is, by far",
    )
    .unwrap();
    assert!(matches!(Index::look(&path), Err(IndexError::Sqlite { .. })));
    std::fs::remove_file(&path).unwrap();
    Index::open(&path).unwrap().conn.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    assert!(matches!(Index::look(&path), Err(IndexError::Newer { .. })));
    assert!(matches!(Index::open(&path), Err(IndexError::Newer { .. })));
}

#[test]
fn questions_are_answered_by_keys_and_never_by_a_scan() {
    let (_dir, index) = index();
    for sql in [LIST, GET, OLDEST] {
        let mut statement = index.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let n = statement.parameter_count();
        let rows = statement.query_map(rusqlite::params_from_iter(vec![1; n]), |row| row.get::<_, String>(3));
        let plan: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
        let is_scan = |step: &&String| step.starts_with("SCAN") && !step.contains("USING INDEX file_start");
        assert_eq!(plan.iter().find(is_scan), None, "{plan:?}");
        assert_eq!(plan.iter().find(|step| step.contains("TEMP B-TREE")), None, "{plan:?}");
    }
}

/// `cargo test … -- --ignored --nocapture` prints the figure of docs/archive.md.
#[test]
#[ignore = "takes a minute; prints a figure"]
fn a_day_of_a_domain_among_forty_days_of_a_thousand() {
    let (dir, index) = index();
    for day in 0..40 {
        let files: Vec<Entry> = (0..1000)
            .flat_map(|domain| (0..24).map(move |hour| (domain, hour)))
            .map(|(domain, hour)| entry_of(&format!("d{domain}.example"), (day * 24 + hour) * 3600, 1))
            .collect();
        index.add_all(&files).unwrap();
    }
    drop(index);
    let path = dir.path().join("archive.db");
    let mut worst = Duration::ZERO;
    for domain in (0..1000).step_by(10) {
        let begun = Instant::now();
        let found = Index::look(&path).unwrap().list(&format!("d{domain}.example"), 20 * 86_400..21 * 86_400);
        assert_eq!(found.unwrap().len(), 24);
        worst = worst.max(begun.elapsed());
    }
    let size = std::fs::metadata(&path).unwrap().len();
    println!("960,000 files, index of {size} bytes: worst of 100 lists, opening included: {worst:?}");
    assert!(worst < Duration::from_millis(20));
}

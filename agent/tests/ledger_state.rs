//! The state directory on the real disk: lock, modes, versions, identity, packs, and reading beside the ledger.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use edgepush::ledger::{
    Ledger, LedgerError, LedgerEvent, LedgerSettings, OsDisk, ReadError, Recovered, SpoolReader, StateDir,
    StateDirError,
};
use edgepush::protocol::*;
use ledger_kit::{batch, body, commit, committed, judged, logged, now, register, settings};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn start(state: &StateDir, settings: LedgerSettings) -> Result<(Ledger<OsDisk>, Recovered), LedgerError> {
    Ledger::open(state.connect().unwrap(), state.disk(), settings, now())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn packs_in(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn spool_of(state: &StateDir, id: u128) -> PathBuf {
    state.path().join(format!("spool-{id:032x}"))
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/state");
    let state = StateDir::open(&path).unwrap();
    let (mut ledger, found) = start(&state, settings()).unwrap();
    committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 5000), true)], vec![])).unwrap());
    assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o750, 0o750));
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    let spool = spool_of(&state, found.ledger_id);
    assert_eq!((mode(&spool), mode(&packs_in(&spool)[0])), (0o750, 0o600));
    assert_eq!(std::fs::read_to_string(path.join("VERSION")).unwrap(), "1\n");
}

#[test]
fn a_held_directory_names_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(StateDir::holder(dir.path()), None);
    let held = StateDir::open(dir.path()).unwrap();
    let error = StateDir::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    assert!(matches!(error, StateDirError::Held { pid, .. } if pid == std::process::id()));
    assert_eq!((error.exit_code(), StateDir::holder(dir.path())), (3, Some(std::process::id())));
    drop(held);
    assert_eq!(StateDir::holder(dir.path()), None);
    StateDir::open(dir.path()).unwrap();
}

#[test]
fn newer_state_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("VERSION"), "2\n").unwrap();
    let error = StateDir::open(dir.path()).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("version 2"), "{error}");
    std::fs::write(dir.path().join("VERSION"), "1\n").unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    drop(start(&state, settings()).unwrap());
    state.connect().unwrap().pragma_update(None, "user_version", 4).unwrap();
    let error = start(&state, settings()).unwrap_err();
    assert!(
        matches!(error, LedgerError::Newer { found: 4, known: 3, .. }) && error.exit_code() == 3,
        "{error}"
    );
    // Another program's database is no ledger.
    let other = tempfile::tempdir().unwrap();
    let state = StateDir::open(other.path()).unwrap();
    state.connect().unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
    assert!(start(&state, settings()).unwrap_err().to_string().contains("no edgepush ledger"));
}

#[test]
fn a_ledger_without_shelves_learns_them() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (_, found) = start(&state, settings()).unwrap();
    let old = "DROP INDEX batch_shelf; DROP INDEX batch_due; ALTER TABLE batch DROP COLUMN domain;
        ALTER TABLE batch DROP COLUMN start; ALTER TABLE batch DROP COLUMN slot; ALTER TABLE batch DROP COLUMN serial;
        ALTER TABLE batch DROP COLUMN due; PRAGMA user_version = 2";
    state.connect().unwrap().execute_batch(old).unwrap();
    let (ledger, again) = start(&state, settings()).unwrap();
    assert_eq!((again.ledger_id, again.shelves), (found.ledger_id, 0));
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name IN ('batch_shelf', 'batch_due')";
    assert_eq!(ledger.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    ledger.connection().prepare("SELECT domain, start, slot, serial, due FROM batch").unwrap();
}

#[test]
fn a_commit_is_synced_for_real() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (ledger, _) = start(&state, settings()).unwrap();
    let pragma =
        |name: &str| ledger.connection().query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    assert_eq!(pragma("synchronous").unwrap(), 2, "FULL");
    assert_eq!(pragma("wal_autocheckpoint").unwrap(), 4000);
    assert_eq!(pragma("auto_vacuum").unwrap(), 2, "INCREMENTAL");
    let mode: String = ledger.connection().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_foreign_spool_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let foreign = spool_of(&state, 0xabc);
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("000000000001.pack"), b"theirs").unwrap();
    let error = start(&state, settings()).unwrap_err();
    assert!(matches!(&error, LedgerError::ForeignSpool { found, .. } if *found == [0xabc]));
    assert!(error.to_string().contains("spool-00000000000000000000000000000abc"), "{error}");
    assert_eq!(std::fs::read(foreign.join("000000000001.pack")).unwrap(), b"theirs", "never deleted");
}

#[test]
fn unknown_packs_of_our_own_go_and_other_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (_, found) = start(&state, settings()).unwrap();
    let spool = spool_of(&state, found.ledger_id);
    std::fs::write(spool.join("000000000009.pack"), b"torn").unwrap();
    std::fs::write(spool.join("notes.txt"), b"an operator's").unwrap();
    let (mut ledger, found) = start(&state, settings()).unwrap();
    assert_eq!(found.packs_removed, 1);
    assert_eq!(packs_in(&spool), vec![spool.join("notes.txt")]);
    let done =
        committed(ledger.step(now(), commit(1, vec![batch(None, &body(1, 5000), true)], vec![])).unwrap());
    assert!(matches!(done.spooled[0].pieces[0].at, PieceAt::Pack { pack: 10, .. }));
}

#[test]
fn a_missing_pack_is_named_and_the_remedy_works() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (mut ledger, found) = start(&state, settings()).unwrap();
    let batches = vec![batch(None, &body(1, 5000), true), batch(None, &body(2, 20), true)];
    committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    drop(ledger);
    let pack = packs_in(&spool_of(&state, found.ledger_id)).remove(0);
    std::fs::remove_file(&pack).unwrap();
    let text = start(&state, settings()).unwrap_err().to_string();
    assert!(text.contains(pack.to_str().unwrap()), "{text}");
    let sql = text.split('"').nth(1).unwrap();
    state.connect().unwrap().execute_batch(sql).unwrap();
    let (_, found) = start(&state, settings()).unwrap();
    assert_eq!(found.spooled.len(), 1, "only what was in the pack is given up");
}

#[test]
fn a_clone_takes_a_new_identity_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let random = LedgerSettings { new_id: None, ..settings() };
    let (mut ledger, first) = start(&state, random.clone()).unwrap();
    let source = register(&mut ledger, vec![ledger_kit::new_source(1, 0)])[0];
    let batches = vec![batch(None, &body(1, 5000), true), batch(None, &body(2, 500), false)];
    let done = committed(ledger.step(now(), commit(1, batches, vec![logged(source.1, 0, 50)])).unwrap());
    drop(ledger);
    let elsewhere =
        LedgerSettings { machine_id: "machine-2".into(), boot_id: "boot-2".into(), ..random.clone() };
    let (mut ledger, clone) = start(&state, elsewhere.clone()).unwrap();
    assert!(clone.cloned && clone.rebooted && !clone.first_start);
    assert_ne!(clone.ledger_id, first.ledger_id);
    assert_eq!(clone.spooled[0].name, done.spooled[0].name, "a name is fixed by its commit");
    assert_eq!(clone.sources[0].seed, source.2);
    assert!(!spool_of(&state, first.ledger_id).exists());
    let read = state.reader(clone.ledger_id).read(&clone.spooled[0]).unwrap();
    assert_eq!(read.concat().concat(), body(1, 5000));
    // The same row id gets another key than it would have got on the other host.
    let close = batch(Some(clone.open[0].id), &[], true);
    let closed = committed(ledger.step(now(), commit(1, vec![close], vec![])).unwrap());
    let there = edgepush::ledger::naming::key(first.ledger_id, clone.open[0].id);
    assert_ne!(*closed.spooled[0].key, *there);
    drop(ledger);
    let (_, again) = start(&state, elsewhere).unwrap();
    assert!(!again.cloned && again.ledger_id == clone.ledger_id);
    let (_, nameless) = start(&state, LedgerSettings { machine_id: String::new(), ..random }).unwrap();
    assert!(!nameless.cloned, "a host that lost its machine id is no clone");
}

#[test]
fn the_reader_reads_beside_the_ledger_and_finds_rotten_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (mut ledger, found) = start(&state, settings()).unwrap();
    let reader: Arc<SpoolReader> = Arc::new(state.reader(found.ledger_id));
    let mut bodies = vec![body(1, 3_000_000), body(2, 30)];
    bodies.extend((3..12).map(|n| body(n, 2_500_000)));
    let batches: Vec<BatchCommit> = bodies.iter().map(|bytes| batch(None, bytes, true)).collect();
    let done = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    for (batch, want) in done.spooled.iter().zip(&bodies) {
        let (reader, batch) = (Arc::clone(&reader), batch.clone());
        let read = std::thread::spawn(move || reader.read(&batch).unwrap()).join().unwrap();
        assert!(read.concat().concat() == *want);
    }
    let slow = done.spooled[0].clone();
    drop(ledger);

    // Delivered batches are gone, also for a reader that still knows where they were.
    let (mut ledger, _) = start(&state, settings()).unwrap();
    let PieceAt::Pack { pack: old, .. } = slow.pieces[0].at else { panic!("in the ledger") };
    let old = spool_of(&state, found.ledger_id).join(format!("{old:012}.pack"));
    for batch in &done.spooled[2..] {
        ledger.step(now(), judged(batch.id, Fate::Delivered)).unwrap();
    }
    let error = ReadError::of(&reader.read(&done.spooled[5]).unwrap_err()).cloned();
    assert_eq!(error, Some(ReadError::Gone { batch: done.spooled[5].id }));

    // One flipped bit is found.
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&old).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(77)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(77)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    let error = reader.read(&slow).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(
        matches!(ReadError::of(&error), Some(ReadError::Rotten { seq: 0, file, .. }) if *file == old),
        "{error}"
    );
}

#[test]
fn the_reader_follows_a_piece_that_was_moved_on() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (mut ledger, found) = start(&state, settings()).unwrap();
    let batches = (0..5).map(|n| batch(None, &body(n, 700_000), true)).collect();
    let done = committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    drop(ledger);
    let (mut ledger, _) = start(&state, settings()).unwrap();
    for batch in &done.spooled[1..] {
        ledger.step(now(), judged(batch.id, Fate::Delivered)).unwrap();
    }
    let spool = spool_of(&state, found.ledger_id);
    let before = packs_in(&spool);
    ledger.step(now(), LedgerEvent::Tick).unwrap();
    let after = packs_in(&spool);
    assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?} {after:?}");
    let read = state.reader(found.ledger_id).read(&done.spooled[0]).unwrap();
    assert!(read.concat().concat() == body(0, 700_000));
}

#[test]
fn packs_read_with_zcat() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (mut ledger, found) = start(&state, settings()).unwrap();
    let member = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let texts: Vec<String> = (0..4).map(|n| format!("line {n}\n").repeat(200)).collect();
    let batches = texts.iter().map(|text| batch(None, &member(text), true)).collect();
    committed(ledger.step(now(), commit(1, batches, vec![])).unwrap());
    let pack = packs_in(&spool_of(&state, found.ledger_id)).remove(0);
    let out = std::process::Command::new("zcat")
        .arg("-f")
        .stdin(std::fs::File::open(pack).unwrap())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8(out.stdout).unwrap(), texts.concat());
}

#[test]
fn a_followed_file_is_synced_by_its_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let (mut ledger, _) = start(&state, settings()).unwrap();
    let source = register(&mut ledger, vec![ledger_kit::new_source(1, 0)])[0].1;
    let log = dir.path().join("access.log");
    std::fs::write(&log, b"x\n").unwrap();
    let read_only = std::fs::File::open(&log).unwrap();
    ledger.disk_mut().attach(source, Arc::new(read_only));
    committed(ledger.step(now(), commit(1, vec![], vec![logged(source, 0, 2)])).unwrap());
    // A descriptor that cannot be synced stands for a failing disk only when the system says so: a pipe cannot.
    let (pipe, _writer) = std::io::pipe().unwrap();
    ledger.disk_mut().attach(source, Arc::new(std::fs::File::from(std::os::fd::OwnedFd::from(pipe))));
    committed(ledger.step(now(), commit(2, vec![], vec![logged(source, 2, 4)])).unwrap());
    ledger.disk_mut().detach(source);
    committed(ledger.step(now(), commit(3, vec![], vec![logged(source, 4, 6)])).unwrap());
    assert_eq!(ledger.progress(GroupId::MAIN, source).unwrap().low, 6);
}

//! Uploads against a real spool and scripted destinations: what is sent, what never is, and how much at once.
#![allow(clippy::unwrap_used)]
mod ledger_kit;
use bytes::Bytes;
use edgepush::destination::{Answer, Boxed, Destination, Outgoing, Verdict};
use edgepush::ledger::{Ledger, LedgerReply, OsDisk, Recovered, StateDir};
use edgepush::ledger::{LedgerEvent, SplitChild};
use edgepush::protocol::*;
use edgepush::sender::{Picks, Said, Standing, Uploaded, Uploads, pick};
use edgepush_shard::batch::decode;
use ledger_kit::{batch, body, commit, committed, now, settings};
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Key, body, and when it came.
type Got = (Arc<str>, Vec<u8>, Instant);

/// A destination in this process: takes its time, and remembers.
#[derive(Default)]
struct Scripted {
    takes: Duration,
    far: bool,
    got: Mutex<Vec<Got>>,
    bytes: AtomicU64,
    bytes_max: AtomicU64,
    uploads: AtomicUsize,
    uploads_max: AtomicUsize,
}

impl Destination for Scripted {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(async move {
            let (begun, len) = (Instant::now(), batch.len());
            self.bytes_max.fetch_max(self.bytes.fetch_add(len, Ordering::SeqCst) + len, Ordering::SeqCst);
            self.uploads_max.fetch_max(self.uploads.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            self.bytes.fetch_sub(len, Ordering::SeqCst);
            self.uploads.fetch_sub(1, Ordering::SeqCst);
            self.got.lock().unwrap().push((batch.key, batch.body.concat(), begun));
            Verdict::Delivered.into()
        })
    }
    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        unreachable!("no test probes")
    }
    fn redacted(&self) -> &str {
        "scripted:"
    }
    fn leaves_host(&self) -> bool {
        self.far
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    state: StateDir,
    ledger: Ledger<OsDisk>,
    id: u128,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let opened = Ledger::open(state.connect().unwrap(), state.disk(), settings(), now());
        let (ledger, found): (_, Recovered) = opened.unwrap();
        Bench { _dir: dir, state, ledger, id: found.ledger_id }
    }

    fn uploads(&self, bytes_max: u64, egress_max: Option<u64>) -> Uploads {
        Uploads::new(Arc::new(self.state.reader(self.id)), bytes_max, egress_max)
    }

    /// Batches of these bodies, as the ledger hands them out after a restart: without their bytes.
    fn spool(&mut self, bodies: &[Vec<u8>], records: u32) -> Vec<Arc<Spooled>> {
        let one = |bytes: &Vec<u8>| BatchCommit { records, ..batch(None, bytes, true) };
        let event = commit(1, bodies.iter().map(one).collect(), vec![]);
        let spooled = committed(self.ledger.step(now(), event).unwrap()).spooled;
        spooled.into_iter().map(|spooled| Arc::new(Spooled { body: None, ..spooled })).collect()
    }

    fn pack(&self) -> PathBuf {
        let spool = self.state.path().join(format!("spool-{:032x}", self.id));
        std::fs::read_dir(spool).unwrap().next().unwrap().unwrap().path()
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A gzip member with that content, as large as it.
fn member(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(content).unwrap();
    let mut member = encoder.finish().unwrap();
    (member[8], member[9]) = (0, 255);
    member
}

async fn all(uploads: &mut Uploads, count: usize) -> Vec<Uploaded> {
    let mut ended = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(30), uploads.next()).await;
        ended.push(next.expect("an upload ends"));
    }
    ended
}

fn why(uploaded: &Uploaded) -> &str {
    match uploaded {
        Uploaded::Unreadable { why, .. } => why,
        other => panic!("not set aside: {other:?}"),
    }
}

#[test]
fn bodies_from_memory_and_from_the_spool_are_the_same() {
    let mut bench = Bench::new();
    let bodies = [member(&body(1, 3_000_000)), member(b"small")];
    let spooled = bench.spool(&bodies, 1);
    let mut uploads = bench.uploads(1 << 20, None);
    let to = Arc::new(Scripted::default());
    run(async {
        for (batch, bytes) in spooled.iter().zip(&bodies) {
            let fresh = Spooled { body: Some(vec![Bytes::copy_from_slice(bytes)]), ..(**batch).clone() };
            for batch in [batch.clone(), Arc::new(fresh)] {
                uploads.start(to.clone(), batch, Standing::Good);
                assert!(matches!(
                    &all(&mut uploads, 1).await[0],
                    Uploaded::Outcome { batch: of, answer, bytes: sent, .. }
                        if of.id == batch_id(&spooled, bytes, &bodies) && *answer == Verdict::Delivered && *sent == bytes.len() as u64
                ));
            }
        }
        let nothing = tokio::time::timeout(Duration::from_millis(50), uploads.next()).await;
        assert!(nothing.is_err(), "nothing runs: {nothing:?}");
    });
    let got = to.got.lock().unwrap();
    let wanted = [&bodies[0], &bodies[0], &bodies[1], &bodies[1]];
    assert!(got.iter().map(|(_, bytes, _)| bytes).eq(wanted), "{} bodies", got.len());
    assert!(got.iter().all(|(key, ..)| *key == spooled[0].key || *key == spooled[1].key));
}

fn batch_id(spooled: &[Arc<Spooled>], of: &[u8], bodies: &[Vec<u8>]) -> BatchId {
    spooled[bodies.iter().position(|bytes| bytes == of).unwrap()].id
}

#[test]
fn what_has_rotted_or_is_lost_is_never_sent() {
    let mut bench = Bench::new();
    let spooled = bench.spool(&[member(&body(1, 100_000)), member(&body(2, 100_000))], 1);
    let pack = bench.pack();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    let mut uploads = bench.uploads(1 << 20, None);
    let to = Arc::new(Scripted::default());
    run(async {
        uploads.start(to.clone(), spooled[0].clone(), Standing::Good);
        uploads.split(spooled[0].clone());
        for rotten in all(&mut uploads, 2).await {
            assert!(why(&rotten).contains("does not fit its checksum"), "{rotten:?}");
        }
        std::fs::OpenOptions::new().write(true).open(&pack).unwrap().set_len(150_000).unwrap();
        uploads.start(to.clone(), spooled[1].clone(), Standing::Good);
        assert!(why(&all(&mut uploads, 1).await[0]).contains("pack"), "the pack is cut");
        std::fs::remove_file(&pack).unwrap();
        uploads.start(to.clone(), spooled[1].clone(), Standing::Good);
        uploads.split(spooled[1].clone());
        for lost in all(&mut uploads, 2).await {
            assert!(why(&lost).contains("pack"), "{lost:?}");
        }
    });
    assert!(to.got.lock().unwrap().is_empty());
}

#[test]
fn a_spool_that_cannot_be_read_for_the_moment_is_weather() {
    let mut bench = Bench::new();
    let spooled = bench.spool(&[member(&body(1, 100_000))], 1);
    let pack = bench.pack();
    let kept = pack.with_extension("kept");
    // Reading a directory fails like a disk does: with an error that says nothing of the bytes.
    std::fs::rename(&pack, &kept).unwrap();
    std::fs::create_dir(&pack).unwrap();
    let mut uploads = bench.uploads(1 << 20, None);
    let to = Arc::new(Scripted::default());
    run(async {
        uploads.start(to.clone(), spooled[0].clone(), Standing::Good);
        let ended = all(&mut uploads, 1).await;
        assert!(
            matches!(&ended[0], Uploaded::Outcome { answer, bytes: 0, .. }
                if matches!(&answer.verdict, Verdict::Retry { why, .. } if why.contains("spool"))),
            "{ended:?}"
        );
        std::fs::remove_dir(&pack).unwrap();
        std::fs::rename(&kept, &pack).unwrap();
        uploads.start(to.clone(), spooled[0].clone(), Standing::Good);
        all(&mut uploads, 1).await;
    });
    assert_eq!(to.got.lock().unwrap().len(), 1);
}

#[test]
fn bytes_in_flight_are_bounded_and_larger_batches_go_one_by_one() {
    let mut bench = Bench::new();
    let mut bodies: Vec<Vec<u8>> = (0..8).map(|seed| member(&body(seed, 100_000))).collect();
    bodies.extend((8..11).map(|seed| member(&body(seed, 1_000_000))));
    let spooled = bench.spool(&bodies, 1);
    let mut uploads = bench.uploads(320 << 10, None);
    let to = Arc::new(Scripted { takes: Duration::from_millis(30), ..Scripted::default() });
    run(async {
        for batch in &spooled[..8] {
            uploads.start(to.clone(), batch.clone(), Standing::Good);
        }
        all(&mut uploads, 8).await;
        assert!(to.bytes_max.load(Ordering::SeqCst) <= 320 << 10, "{to_max:?}", to_max = to.bytes_max);
        assert_eq!(to.uploads_max.swap(0, Ordering::SeqCst), 3);
        for batch in &spooled[8..] {
            uploads.start(to.clone(), batch.clone(), Standing::Good);
        }
        all(&mut uploads, 3).await;
        assert_eq!(to.uploads_max.load(Ordering::SeqCst), 1, "more than the room at once");
    });
    assert_eq!(to.got.lock().unwrap().len(), 11);
}

#[test]
fn bodies_for_bad_destinations_leave_room_for_good_ones() {
    let mut bench = Bench::new();
    let mut bodies: Vec<Vec<u8>> = (0..16).map(|seed| member(&body(seed, 100_000))).collect();
    bodies.extend((16..22).map(|seed| member(&body(seed, 1_000_000))));
    let spooled = bench.spool(&bodies, 1);
    let mut uploads = bench.uploads(400 << 10, None);
    let bad = Arc::new(Scripted { takes: Duration::from_secs(2), ..Scripted::default() });
    let good = Arc::new(Scripted { takes: Duration::from_millis(10), ..Scripted::default() });
    let begun = Instant::now();
    run(async {
        for (n, batch) in spooled[..8].iter().chain(&spooled[16..20]).enumerate() {
            let standing = if n % 2 == 0 { Standing::Failing } else { Standing::Slow };
            uploads.start(bad.clone(), batch.clone(), standing);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        uploads.split(spooled[20].clone());
        for batch in spooled[8..16].iter().chain([&spooled[21]]) {
            uploads.start(good.clone(), batch.clone(), Standing::Good);
        }
        all(&mut uploads, 9).await;
    });
    assert_eq!(good.got.lock().unwrap().len(), 9, "bad ones came first");
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(bad.uploads_max.load(Ordering::SeqCst) <= 2, "more than half of the room");
}

#[test]
fn a_cut_that_cannot_read_the_spool_gives_its_room_back_meanwhile() {
    let mut bench = Bench::new();
    let spooled = bench.spool(&[member(&body(1, 200_000)), member(&body(2, 200_000))], 1);
    let pack = bench.pack();
    let kept = pack.with_extension("kept");
    std::fs::rename(&pack, &kept).unwrap();
    std::fs::create_dir(&pack).unwrap();
    let mut uploads = bench.uploads(210 << 10, None);
    let to = Arc::new(Scripted::default());
    run(async {
        uploads.split(spooled[0].clone());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let fresh = Spooled { body: Some(vec![Bytes::from(member(b"x"))]), ..(*spooled[1]).clone() };
        uploads.start(to.clone(), Arc::new(fresh), Standing::Slow);
        let next = tokio::time::timeout(Duration::from_millis(500), uploads.next()).await;
        assert!(matches!(next, Ok(Uploaded::Outcome { .. })), "{next:?}");
        std::fs::remove_dir(&pack).unwrap();
        std::fs::rename(&kept, &pack).unwrap();
        all(&mut uploads, 1).await;
    });
}

#[test]
fn the_egress_limit_slows_what_leaves_the_host_and_nothing_else() {
    let mut bench = Bench::new();
    let bodies: Vec<Vec<u8>> = (0..4).map(|seed| member(&body(seed, 50_000))).collect();
    let spooled = bench.spool(&bodies, 1);
    // Room for two bodies: what waits for its turn on the wire must not take it from what stays on this host.
    let mut uploads = bench.uploads(110 << 10, Some(100_000));
    let far = Arc::new(Scripted { far: true, ..Scripted::default() });
    let near = Arc::new(Scripted::default());
    let begun = Instant::now();
    run(async {
        for batch in &spooled[..3] {
            uploads.start(far.clone(), batch.clone(), Standing::Good);
        }
        uploads.start(near.clone(), spooled[3].clone(), Standing::Good);
        all(&mut uploads, 4).await;
    });
    let at = |to: &Scripted, n: usize| to.got.lock().unwrap()[n].2 - begun;
    assert!(at(&near, 0) < Duration::from_millis(400), "{:?}", at(&near, 0));
    assert!(at(&far, 1) >= Duration::from_millis(500), "{:?}", at(&far, 1));
    assert!(at(&far, 2) >= Duration::from_millis(1000), "{:?}", at(&far, 2));
    assert!(at(&far, 2) < Duration::from_millis(3000), "{:?}", at(&far, 2));
}

#[test]
fn a_batch_is_cut_into_halves_that_the_ledger_takes() {
    let mut bench = Bench::new();
    let lines: String = (0..1001).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let spooled = bench.spool(&[member(lines.as_bytes())], 1001).remove(0);
    let mut uploads = bench.uploads(1 << 20, None);
    let children: Vec<SplitChild> = run(async {
        uploads.split(spooled.clone());
        match all(&mut uploads, 1).await.remove(0) {
            Uploaded::Split { parent, children } if parent == spooled.id => children,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(children.iter().map(|child| child.records).sum::<u64>(), 1001);
    let event = LedgerEvent::Split { parent: spooled.id, children };
    let LedgerReply::Split { children, .. } = bench.ledger.step(now(), event).unwrap().remove(0) else {
        panic!("not split")
    };
    assert_eq!(&*children[1].key, format!("{}-2", spooled.key));
    let to = Arc::new(Scripted::default());
    run(async {
        for child in children {
            uploads.start(to.clone(), Arc::new(Spooled { body: None, ..child }), Standing::Good);
            all(&mut uploads, 1).await;
        }
    });
    let got = to.got.lock().unwrap();
    let halves = got.iter().map(|(_, bytes, _)| decode(CodecKind::Gzip, &bytes[..]).unwrap());
    assert_eq!(String::from_utf8(halves.collect::<Vec<_>>().concat()).unwrap(), lines);
}

#[test]
fn picked_records_keep_their_bytes_and_refused_ones_become_rejects() {
    let mut bench = Bench::new();
    let line = |n: u32| format!("{{\"n\":{n}, \"a\":\"é\\n\"}}\n");
    let lines: String = (0..1001).map(line).collect();
    let spooled = bench.spool(&[member(lines.as_bytes())], 1001).remove(0);
    let mut uploads = bench.uploads(1 << 20, None);
    let (again, refused): (Vec<u32>, Vec<u32>) =
        ((3..900).step_by(7).collect(), (0..1001).step_by(250).collect());
    let words = |place: &u32| (*place, format!("field [n] of {place}: {}", "é".repeat(400)));
    let picks = Picks { again: again.clone(), refused: refused.iter().map(words).collect() };
    let (wall, picked) = run(async {
        uploads.pick(spooled.clone(), picks, "es".into(), 1_700_000_000_000_000_000);
        match all(&mut uploads, 1).await.remove(0) {
            Uploaded::Picked { parent, wall, picked } if parent == spooled.id => (wall, picked),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(wall, 1_700_000_000_000_000_000);
    let child = picked.again.unwrap();
    let text = decode(CodecKind::Gzip, &child.pieces.concat()[..]).unwrap();
    assert_eq!(String::from_utf8(text.clone()).unwrap(), again.iter().map(|n| line(*n)).collect::<String>());
    assert_eq!((child.records, child.raw), (again.len() as u64, text.len() as u64));
    let [part] = &picked.refused[..] else { panic!("{:?}", picked.refused) };
    let rejects = decode(CodecKind::Gzip, &part.piece.concat()[..]).unwrap();
    assert_eq!((part.records, part.raw), (5, rejects.len() as u64));
    for (reject, place) in String::from_utf8(rejects).unwrap().lines().zip(&refused) {
        let reject: serde_json::Value = serde_json::from_str(reject).unwrap();
        let offset: usize = (0..*place).map(|n| line(n).len()).sum();
        let bare = line(*place).trim_end().to_owned();
        assert_eq!(reject["line"], bare);
        assert_eq!(
            (reject["source"].as_str(), reject["object"].as_str()),
            (Some("es"), Some(&*spooled.name))
        );
        assert_eq!(
            (reject["offset"].as_u64(), reject["length"].as_u64()),
            (Some(offset as u64), Some(bare.len() as u64))
        );
        assert_eq!(reject["time"], "2023-11-14T22:13:20.000000000Z");
        let reason = reject["reason"].as_str().unwrap();
        assert!(
            reason.starts_with(&format!("refused: field [n] of {place}: é")) && reason.len() <= 509,
            "{reason}"
        );
    }
}

#[test]
fn refused_records_fill_as_many_batches_of_rejects_as_their_limits_ask_for() {
    let mut bench = Bench::new();
    let lines = "{}\n".repeat(100_001);
    let spooled = bench.spool(&[member(lines.as_bytes())], 100_001).remove(0);
    let refused: Vec<(u32, String)> = (0..100_001).map(|place| (place, String::new())).collect();
    let picks = Picks { again: Vec::new(), refused };
    let body = vec![Bytes::from(member(lines.as_bytes()))];
    let picked = pick(&spooled, &picks, Said { job: "es", wall: 0 }, &body).unwrap();
    assert!(picked.again.is_none());
    let records: Vec<u32> = picked.refused.iter().map(|part| part.records).collect();
    assert_eq!(records, [100_000, 1]);
    let rejects: Vec<u8> = picked
        .refused
        .iter()
        .flat_map(|part| decode(CodecKind::Gzip, &part.piece.concat()[..]).unwrap())
        .collect();
    assert_eq!(rejects.iter().filter(|byte| **byte == b'\n').count(), 100_001);
}

#[test]
fn a_batch_that_does_not_hold_what_its_row_says_is_not_cut() {
    let mut bench = Bench::new();
    let spooled = bench.spool(&[member(b"one\ntwo\nthree\n"), member(b"one\n")], 2);
    let mut uploads = bench.uploads(1 << 20, None);
    run(async {
        uploads.split(spooled[0].clone());
        assert!(why(&all(&mut uploads, 1).await[0]).contains("cannot be cut into 2 records"));
        uploads.split(spooled[1].clone());
        assert!(why(&all(&mut uploads, 1).await[0]).contains("cannot be cut into 2 records"));
        let picks = Picks { again: vec![1], refused: Vec::new() };
        uploads.pick(spooled[0].clone(), picks, "es".into(), 0);
        assert!(
            why(&all(&mut uploads, 1).await[0])
                .contains("1 of 2 records were not taken, and cannot be picked")
        );
    });
}

#[test]
fn cutting_takes_room_like_an_upload() {
    let mut bench = Bench::new();
    let spooled = bench.spool(&[member(&body(1, 200_000)), member(b"a\nb\n")], 2);
    let mut uploads = bench.uploads(210 << 10, None);
    let to = Arc::new(Scripted { takes: Duration::from_millis(300), ..Scripted::default() });
    run(async {
        uploads.start(to.clone(), spooled[0].clone(), Standing::Slow);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let large = Spooled { raw: 100_000, ..(*spooled[1]).clone() };
        uploads.split(Arc::new(large));
        let ended = all(&mut uploads, 2).await;
        assert!(matches!(ended[0], Uploaded::Outcome { .. }), "it was cut beside an upload: {ended:?}");
        assert!(matches!(ended[1], Uploaded::Split { .. }), "{ended:?}");
    });
}

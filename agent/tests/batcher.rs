//! Batcher: limits are ceilings, full batches are full, every segment commits once with its own epoch.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use edgepush::batcher::{BatchJob, Batcher, BatcherAction, BatcherEvent, BatcherSettings};
use edgepush::protocol::*;
use edgepush_shard::codec::Run;
use edgepush_shard::room::{BatchLimits, Room};
use edgepush_shard::segment::{Begun, FromShard, Marker, Segment};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const RECORD_BYTES: u32 = 10;

/// Shards that fill slabs of one job and obey seals; a ledger that answers when told to.
struct World {
    now: Now,
    room: Arc<Room>,
    batcher: Batcher,
    shards: Vec<ShardModel>,
    ledger: VecDeque<Commit>,
    rows: HashMap<OpenKey, Batch>,
    closed: Vec<Batch>,
    made: u64,
    finished: bool,
    stopped: bool,
}

#[derive(Default)]
struct ShardModel {
    epoch: u64,
    slab: u32,
    out: VecDeque<FromShard>,
    seals: VecDeque<u64>,
}

#[derive(Clone, Debug, Default)]
struct Batch {
    id: u64,
    records: u64,
    closed_at: Duration,
}

fn job(room: &Arc<Room>, interval: Duration) -> BatchJob {
    BatchJob {
        id: JobId::ENV,
        version: 1,
        group: GroupId::MAIN,
        codec: CodecKind::None,
        container: Container::Members,
        naming: Arc::new(Naming::default()),
        frame: Arc::default(),
        interval,
        room: room.clone(),
    }
}

impl World {
    fn new(shards: usize, limits: BatchLimits, interval: Duration) -> World {
        let room = Arc::new(Room::new(limits, 0, 0));
        let settings = BatcherSettings {
            shards,
            commit_interval: Duration::from_secs(30),
            uncommitted_bytes_max: 1 << 20,
            many: BatcherSettings::MANY,
        };
        let now = Now { mono: Duration::from_secs(1), wall: 1_000 };
        World {
            now,
            batcher: Batcher::new(settings, now, vec![job(&room, interval)], Vec::new()),
            room,
            shards: (0..shards).map(|_| ShardModel { epoch: 1, ..Default::default() }).collect(),
            ledger: VecDeque::new(),
            rows: HashMap::new(),
            closed: Vec::new(),
            made: 0,
            finished: false,
            stopped: false,
        }
    }

    fn step(&mut self, event: BatcherEvent) {
        let mut out = Vec::new();
        self.batcher.step(self.now, event, &mut out);
        for action in out {
            match action {
                BatcherAction::Seal { epoch, .. } => {
                    self.shards.iter_mut().for_each(|s| s.seals.push_back(epoch))
                }
                BatcherAction::Commit(commit) => {
                    assert!(self.ledger.is_empty(), "two commits outstanding");
                    self.ledger.push_back(commit);
                }
                BatcherAction::Finished => self.finished = true,
                BatcherAction::Readers { stop } => self.stopped = stop,
                BatcherAction::Spooled(_)
                | BatcherAction::Durable(_)
                | BatcherAction::Caught(_)
                | BatcherAction::Regroup { .. }
                | BatcherAction::Changed { .. } => {}
            }
        }
    }

    fn write(&mut self, shard: usize, records: u32) {
        let s = &mut self.shards[shard];
        if s.slab == 0 {
            let begun = Begun { epoch: s.epoch, job: Some((JobId::ENV, 1)) };
            s.out.push_back(FromShard::Begun(begun));
        }
        s.slab += records;
        self.made += u64::from(records);
    }

    fn flush(&mut self, shard: usize) {
        let s = &mut self.shards[shard];
        while s.slab > 0 {
            let ends: Vec<u32> = (1..=s.slab).map(|i| i * RECORD_BYTES).collect();
            let bytes = vec![b'x'; ends[ends.len() - 1] as usize];
            let taken = self.room.take(&Run::new(&bytes, &ends));
            s.slab -= taken.records as u32;
            let raw_len = taken.records as u32 * RECORD_BYTES;
            s.out.push_back(FromShard::Segment(Segment {
                job: JobId::ENV,
                version: 1,
                epoch: s.epoch,
                batch: taken.batch,
                shelf: None,
                codec: CodecKind::None,
                body: Bytes::from(vec![b'x'; raw_len as usize]),
                crc32: 0,
                raw_len,
                records: taken.records as u32,
                first: self.now.wall,
                last: self.now.wall,
            }));
        }
    }

    fn obey(&mut self, shard: usize) {
        let Some(epoch) = self.shards[shard].seals.pop_front() else { return };
        self.flush(shard);
        let s = &mut self.shards[shard];
        assert_eq!(s.epoch, epoch);
        s.out.push_back(FromShard::Marker(Marker { shard, epoch, logs: vec![(GroupId::MAIN, Vec::new())] }));
        s.epoch += 1;
    }

    fn deliver(&mut self, shard: usize) {
        if let Some(message) = self.shards[shard].out.pop_front() {
            self.step(BatcherEvent::Shard(message));
        }
    }

    fn answer(&mut self) {
        let Some(commit) = self.ledger.pop_front() else { return };
        let (mut open, mut spooled) = (Vec::new(), Vec::new());
        for change in &commit.batches {
            let bytes: usize = change.piece.iter().map(Bytes::len).sum();
            assert_eq!(bytes as u64, change.raw);
            let next = self.rows.len() as u64 + self.closed.len() as u64 + 1;
            let row =
                self.rows.entry(change.open).or_insert(Batch { id: next, records: 0, ..Default::default() });
            assert_eq!(change.row.is_none(), row.records == 0);
            row.records += u64::from(change.records);
            let id = BatchId(row.id);
            if change.close {
                let mut batch = self.rows.remove(&change.open).unwrap();
                batch.closed_at = self.now.mono;
                spooled.push(as_spooled(change, id));
                self.closed.push(batch);
            } else {
                open.push((change.open, id));
            }
        }
        let committed = Committed {
            epoch: commit.epoch,
            open,
            spooled,
            filled: Vec::new(),
            durable: Vec::new(),
            deleted: (0, 0),
            caught: Vec::new(),
            hot_ahead: false,
        };
        self.step(BatcherEvent::Committed(committed));
    }

    fn run_dry(&mut self) {
        for _ in 0..1000 {
            for shard in 0..self.shards.len() {
                self.obey(shard);
                while !self.shards[shard].out.is_empty() {
                    self.deliver(shard);
                }
            }
            self.answer();
            if self.finished {
                return;
            }
            self.now.mono += Duration::from_millis(50);
            self.step(BatcherEvent::Tick);
        }
        panic!("never finished");
    }
}

fn as_spooled(change: &BatchCommit, id: BatchId) -> Spooled {
    Spooled {
        id,
        job: change.job,
        version: change.version,
        name: "n".into(),
        key: "k".into(),
        codec: change.codec,
        container: change.container,
        records: 0,
        raw: 0,
        first: change.first,
        last: change.last,
        naming: Arc::default(),
        pieces: Vec::new(),
        body: None,
        shelf: None,
    }
}

#[derive(Clone, Debug)]
enum Move {
    Write(usize, u32),
    Flush(usize),
    Obey(usize),
    Deliver(usize),
    Answer,
    Wait(u64),
    SealNow,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..3usize, 1..40u32).prop_map(|(s, n)| Move::Write(s, n)),
        4 => (0..3usize).prop_map(Move::Flush),
        3 => (0..3usize).prop_map(Move::Obey),
        12 => (0..3usize).prop_map(Move::Deliver),
        3 => Just(Move::Answer),
        2 => (1..400u64).prop_map(Move::Wait),
        1 => Just(Move::SealNow),
    ];
    proptest::collection::vec(one, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn limits_hold_and_every_record_commits_once(moves in moves(), interval in 1..60u64) {
        let limits = BatchLimits { records: 50, bytes: 100 * RECORD_BYTES };
        let interval = Duration::from_millis(interval * 100);
        let mut world = World::new(3, limits, interval);
        for m in moves {
            match m {
                Move::Write(shard, records) => world.write(shard, records),
                Move::Flush(shard) => world.flush(shard),
                Move::Obey(shard) => world.obey(shard),
                Move::Deliver(shard) => world.deliver(shard),
                Move::Answer => world.answer(),
                Move::Wait(ms) => { world.now.mono += Duration::from_millis(ms); world.step(BatcherEvent::Tick) }
                Move::SealNow => world.step(BatcherEvent::SealNow),
            }
        }
        world.step(BatcherEvent::Finish { close: true });
        world.run_dry();
        prop_assert!(world.rows.is_empty(), "batches left open: {:?}", world.rows);
        prop_assert_eq!(world.closed.iter().map(|b| b.records).sum::<u64>(), world.made);
        for batch in &world.closed {
            prop_assert!(batch.records <= u64::from(limits.records), "{:?}", batch);
        }
        prop_assert_eq!(world.batcher.uncommitted_bytes(), 0);
    }
}

#[test]
fn under_continuous_input_batches_are_full() {
    let limits = BatchLimits { records: 50, bytes: 1_000_000 };
    let mut world = World::new(3, limits, Duration::from_secs(3600));
    for i in 0..3000 {
        world.write(i % 3, 7);
        if i % 5 == 0 {
            world.flush((i / 5) % 3);
        }
        for shard in 0..3 {
            world.obey(shard);
            world.deliver(shard);
            world.deliver(shard);
        }
        world.answer();
        world.now.mono += Duration::from_millis(1);
        world.step(BatcherEvent::Tick);
    }
    assert!(world.closed.len() > 100);
    assert!(world.closed.iter().all(|b| b.records == 50), "{:?}", world.closed);
}

#[test]
fn a_batch_closes_at_its_interval() {
    let limits = BatchLimits { records: 1000, bytes: 1_000_000 };
    let mut world = World::new(2, limits, Duration::from_secs(5));
    world.write(0, 3);
    world.deliver(0);
    assert_eq!(world.batcher.deadline(), Some(Duration::from_secs(6)));
    world.now.mono = Duration::from_secs(6);
    world.step(BatcherEvent::Tick);
    for shard in 0..2 {
        world.obey(shard);
        while !world.shards[shard].out.is_empty() {
            world.deliver(shard);
        }
    }
    world.answer();
    assert_eq!(world.closed.len(), 1);
    assert_eq!(world.closed[0].records, 3);
}

#[test]
fn a_commit_does_not_close_a_batch() {
    let limits = BatchLimits { records: 1000, bytes: 1_000_000 };
    let mut world = World::new(1, limits, Duration::from_secs(3600));
    for _ in 0..3 {
        world.write(0, 3);
        world.step(BatcherEvent::SealNow);
        world.obey(0);
        while !world.shards[0].out.is_empty() {
            world.deliver(0);
        }
        world.answer();
    }
    assert!(world.closed.is_empty());
    assert_eq!(world.rows.values().map(|b| b.records).collect::<Vec<_>>(), [9]);
}

#[test]
fn too_much_in_memory_stops_the_readers_until_it_is_durable() {
    let limits = BatchLimits { records: 10_000_000, bytes: 1_000_000_000 };
    let mut world = World::new(1, limits, Duration::from_secs(3600));
    world.write(0, 200_000);
    world.flush(0);
    while !world.shards[0].out.is_empty() {
        world.deliver(0);
    }
    assert!(world.stopped);
    world.obey(0);
    world.deliver(0);
    world.answer();
    assert!(!world.stopped);
}

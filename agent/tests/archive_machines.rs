//! Shard loops, batcher and ledger with an archive's job: each record is in exactly one file of its own hour and domain.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use bytes::Bytes;
use edgepush::archive::name;
use edgepush::batcher::{BatchJob, Batcher, BatcherAction, BatcherEvent, BatcherSettings};
use edgepush::ledger::{Ledger, LedgerEvent, LedgerReply, LedgerSettings, OsDisk, SpoolReader, StateDir};
use edgepush::protocol::*;
use edgepush::shard_loop::{PlanJob, PlanOutput, ShardEvent, ShardLoop, ShardPlan};
use edgepush_shard::batch::{Frame, decode, join};
use edgepush_shard::chunk::{Audience, Chunk, ChunkKind};
use edgepush_shard::codec::Level;
use edgepush_shard::dataset::RAW;
use edgepush_shard::plan::{HashKey, OutputOptions, Rule, Sample, Shelving};
use edgepush_shard::ring::Ring;
use edgepush_shard::room::{BatchLimits, Room};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const SHARDS: usize = 2;
const SLAB_BYTES: usize = 4096;
const SECOND: i64 = 1_000_000_000;
/// 2026-11-21T12:30:00Z.
const START: i64 = 1_795_264_200 * SECOND;
const LIMITS: BatchLimits = BatchLimits { records: 40, bytes: 4000 };

fn shelving() -> Arc<Shelving> {
    Arc::new(Shelving {
        domain_fields: ["host".to_owned()].into(),
        time_fields: ["time".to_owned()].into(),
        rule: Rule::Hour,
        since: None,
        late_after: Some(48 * 3600 * SECOND),
        late_kept: true,
        domains_max: 100,
        zones: None,
        domain: name::domain,
        invalid: name::INVALID,
        other: name::OTHER,
    })
}

fn plan_job(id: JobId, room: &Arc<Room>, shelved: bool) -> PlanJob {
    PlanJob {
        id,
        version: 1,
        group: GroupId::MAIN,
        hosts: None,
        filter: None,
        sample: Sample::ALL,
        output: 0,
        delimiter_bytes: 0,
        codec: CodecKind::Gzip,
        level: Level::Fast,
        room: room.clone(),
        shelved,
        matched: Arc::default(),
    }
}

fn batch_job(id: JobId, room: &Arc<Room>) -> BatchJob {
    let naming = Naming { suffix: ".log.gz".into(), job: id.0.to_string(), ..Naming::default() };
    BatchJob {
        id,
        version: 1,
        group: GroupId::MAIN,
        codec: CodecKind::Gzip,
        container: Container::Members,
        naming: Arc::new(naming),
        frame: Arc::new(Frame::default()),
        interval: Duration::from_secs(3600),
        room: room.clone(),
    }
}

struct World {
    state: StateDir,
    dir: tempfile::TempDir,
    shards: Vec<ShardLoop>,
    batcher: Batcher,
    ledger: Option<Ledger<OsDisk>>,
    reader: SpoolReader,
    now: Now,
    offset: u64,
    closed: Vec<Spooled>,
    finished: bool,
}

fn settings() -> LedgerSettings {
    LedgerSettings { new_id: Some(7), publish_after: Duration::from_secs(300), ..LedgerSettings::default() }
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let now = Now { mono: Duration::from_secs(1), wall: START };
        let rooms = [Arc::new(Room::new(REJECTS_LIMITS, 0, 0)), Arc::new(Room::new(LIMITS, 0, 0))];
        let outputs = vec![PlanOutput { options: OutputOptions::all(&RAW), dataset: &RAW }];
        let jobs = vec![plan_job(JobId::ENV, &rooms[1], true)];
        let rejects = plan_job(JobId::REJECTS, &rooms[0], false);
        let plan = ShardPlan::new(rejects, jobs, outputs, HashKey::new(&[0; 32]), Arc::new([]));
        let plan = Arc::new(plan.shelved(shelving()));
        let ring = 4 * Ring::bytes_min(SLAB_BYTES);
        let shards =
            (0..SHARDS).map(|n| ShardLoop::with_slabs(n, (ring, SLAB_BYTES), plan.clone())).collect();
        let batcher_settings = BatcherSettings {
            shards: SHARDS,
            commit_interval: Duration::from_secs(30),
            uncommitted_bytes_max: 1 << 20,
            many: BatcherSettings::MANY,
        };
        let jobs = vec![batch_job(JobId::REJECTS, &rooms[0]), batch_job(JobId::ENV, &rooms[1])];
        let batcher = Batcher::new(batcher_settings, now, jobs, Vec::new());
        let mut world = World {
            reader: state.reader(7),
            state,
            dir,
            shards,
            batcher,
            ledger: None,
            now,
            offset: 0,
            closed: Vec::new(),
            finished: false,
        };
        world.open();
        world
    }

    /// Opens the ledger, as after the end of the process.
    fn open(&mut self) {
        drop(self.ledger.take());
        let conn = self.state.connect().unwrap();
        let (ledger, _) = Ledger::open(conn, self.state.disk(), settings(), self.now).unwrap();
        self.ledger = Some(ledger);
    }

    fn chunk(&mut self, shard: usize, text: String) {
        let (start, end) = (self.offset, self.offset + text.len() as u64);
        self.offset = end;
        let chunk = Chunk {
            source: SourceId(1),
            path: "access.log".into(),
            origin: 0,
            seed: 1,
            start,
            end,
            bytes: Bytes::from(text),
            head: Bytes::new(),
            kind: ChunkKind::Lines,
            audience: Audience::ALL,
            evidence: Evidence::default(),
        };
        let mut push = Vec::new();
        self.shards[shard].step(self.now, ShardEvent::Chunk(chunk), &mut push);
        self.shove(push);
    }

    fn shove(&mut self, push: Vec<edgepush_shard::segment::FromShard>) {
        push.into_iter().for_each(|message| self.batch(BatcherEvent::Shard(message)));
    }

    fn batch(&mut self, event: BatcherEvent) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut actions = Vec::new();
            self.batcher.step(self.now, event, &mut actions);
            for action in actions {
                match action {
                    BatcherAction::Seal { scope, epoch, .. } => {
                        for shard in &mut self.shards {
                            let mut push = Vec::new();
                            shard.step(self.now, ShardEvent::Seal { scope, epoch, plan: None }, &mut push);
                            events.extend(push.into_iter().map(BatcherEvent::Shard));
                        }
                    }
                    BatcherAction::Commit(commit) => {
                        events.push_back(BatcherEvent::Committed(self.commit(commit)));
                    }
                    BatcherAction::Spooled(spooled) => self.closed.extend(spooled),
                    BatcherAction::Finished => self.finished = true,
                    _ => {}
                }
            }
        }
    }

    fn commit(&mut self, commit: Commit) -> Committed {
        // No source is registered: only batches matter here.
        let commit = Commit { logs: Vec::new(), ..commit };
        let replies = self.ledger.as_mut().unwrap().step(self.now, LedgerEvent::Commit(commit)).unwrap();
        let committed = replies.into_iter().find_map(|reply| match reply {
            LedgerReply::Committed(committed) => Some(committed),
            _ => None,
        });
        committed.expect("committed")
    }

    /// One step of publication; answers how many batches are open.
    fn publish(&mut self, all: bool, at_most: usize) -> u64 {
        let event = LedgerEvent::Publish { all, at_most };
        for reply in self.ledger.as_mut().unwrap().step(self.now, event).unwrap() {
            if let LedgerReply::Published { spooled, left, .. } = reply {
                assert!(spooled.len() <= at_most);
                self.closed.extend(spooled);
                return left.batches;
            }
        }
        panic!("no answer")
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall += time.as_nanos() as i64;
        self.batch(BatcherEvent::Tick);
    }

    fn lines(&self, batch: &Spooled) -> Vec<String> {
        let pieces = self.reader.read(batch).unwrap();
        let body = join(batch.container, batch.codec, pieces).unwrap().concat();
        let text = String::from_utf8(decode(CodecKind::Gzip, &body[..]).unwrap()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// Lines: domain, seconds before now (`None`: no time), padding.
    Lines {
        shard: usize,
        lines: Vec<(u8, Option<i64>, usize)>,
    },
    Pass(u64),
    Seal,
    Publish(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let hours = |n: i64| n * 3600;
    let time = prop_oneof![
        8 => (0..hours(3)).prop_map(Some),
        3 => (hours(40)..hours(56)).prop_map(Some),
        1 => (-hours(3)..0).prop_map(Some),
        1 => Just(None),
    ];
    let lines = prop::collection::vec((0_u8..4, time, 0_usize..300), 1..60);
    prop_oneof![
        8 => (0..SHARDS, lines).prop_map(|(shard, lines)| Step::Lines { shard, lines }),
        3 => (1_u64..2400).prop_map(Step::Pass),
        2 => Just(Step::Seal),
        3 => (1_usize..9).prop_map(Step::Publish),
        1 => Just(Step::Restart),
    ]
}

/// Where each line belongs; late ones nowhere.
type Expected = BTreeMap<String, Option<(String, i64)>>;

fn perform(world: &mut World, steps: Vec<Step>) -> Expected {
    let mut expected = Expected::new();
    for step in steps {
        match step {
            Step::Lines { shard, lines } => {
                let mut text = String::new();
                for (domain, ago, pad) in lines {
                    let (n, pad) = (expected.len(), "x".repeat(pad));
                    let now = world.now.wall / SECOND;
                    let time = ago.map(|ago| now - ago);
                    let said = time.map_or(String::new(), |time| format!(",\"time\":{time}"));
                    let line =
                        format!("{{\"host\":\"d{domain}.example\",\"n\":{n}{said},\"pad\":\"{pad}\"}}");
                    let at = time.filter(|time| *time <= now + 3600).unwrap_or(now);
                    let hour = at - at.rem_euclid(3600);
                    let late = now >= hour + 3600 + 48 * 3600;
                    expected.insert(line.clone(), (!late).then(|| (format!("d{domain}.example"), hour)));
                    text += &line;
                    text.push('\n');
                }
                world.chunk(shard, text);
            }
            Step::Pass(seconds) => world.pass(Duration::from_secs(seconds)),
            Step::Seal => world.batch(BatcherEvent::SealNow),
            Step::Publish(at_most) => _ = world.publish(false, at_most),
            Step::Restart => {
                world.batch(BatcherEvent::SealNow);
                world.open();
            }
        }
    }
    world.batch(BatcherEvent::Finish { close: true });
    while !world.finished {
        world.pass(Duration::from_secs(1));
    }
    while world.publish(true, 5) > 0 {}
    expected
}

fn check(world: &World, expected: &Expected) {
    let mut found: BTreeMap<String, (String, i64)> = BTreeMap::new();
    let mut late = BTreeSet::new();
    let mut serials: BTreeMap<(String, i64), Vec<u32>> = BTreeMap::new();
    for batch in &world.closed {
        let lines = world.lines(batch);
        assert_eq!(lines.len() as u64, batch.records);
        if batch.job == JobId::REJECTS {
            for line in lines {
                let reject: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(reject["reason"], "late");
                assert!(late.insert(reject["line"].as_str().unwrap().to_owned()), "rejected twice");
            }
            continue;
        }
        let (domain, start, serial) = name::read_path(&batch.name).expect("a file of the archive");
        serials.entry((domain.to_owned(), start)).or_default().push(serial);
        let within = batch.records <= u64::from(LIMITS.records) && batch.raw <= u64::from(LIMITS.bytes);
        assert!(within, "{} records, {} bytes", batch.records, batch.raw);
        for line in lines {
            let before = found.insert(line, (domain.to_owned(), start));
            assert!(before.is_none(), "delivered twice");
        }
    }
    for (line, place) in expected {
        assert_eq!(found.remove(line).as_ref(), place.as_ref(), "{line}");
        assert_eq!(late.contains(line), place.is_none(), "{line}");
    }
    assert!(found.is_empty(), "{found:?}");
    for ((domain, start), mut all) in serials {
        all.sort_unstable();
        assert_eq!(all, (1..=all.len() as u32).collect::<Vec<_>>(), "serials of {domain} {start}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn each_record_is_in_one_file_of_its_own_hour(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        let expected = perform(&mut world, steps);
        check(&world, &expected);
        prop_assert!(world.dir.path().exists());
    }
}

#[test]
fn an_hour_is_published_once_and_late_records_wait_for_others() {
    let mut world = World::new();
    let line =
        |world: &World, ago: i64| format!("{{\"host\":\"a\",\"time\":{}}}\n", world.now.wall / SECOND - ago);
    let text = line(&world, 0);
    world.chunk(0, text);
    world.batch(BatcherEvent::SealNow);
    assert_eq!((world.publish(false, 9), world.closed.len()), (1, 0), "the hour is not over");
    // 12:30, so the hour is over in 30 minutes and published five later.
    world.pass(Duration::from_secs(34 * 60));
    assert_eq!((world.publish(false, 9), world.closed.len()), (1, 0));
    world.pass(Duration::from_secs(70));
    assert_eq!((world.publish(false, 9), world.closed.len()), (0, 1));
    // A late record: at most every 15 minutes, whoever comes meanwhile is with it.
    for _ in 0..3 {
        let text = line(&world, 40 * 60);
        world.chunk(1, text);
        world.batch(BatcherEvent::SealNow);
        world.pass(Duration::from_secs(240));
        assert_eq!((world.publish(false, 9), world.closed.len()), (1, 1));
    }
    world.pass(Duration::from_secs(240));
    assert_eq!((world.publish(false, 9), world.closed.len()), (0, 2));
    assert_eq!((world.closed[1].records, &*world.closed[1].name), (3, "a/20261121/20261121120000-2.log.gz"));
}

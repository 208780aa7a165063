//! Fairness of the sender under one bound for all jobs: a world of destinations in virtual time.
//!
//! Every destination takes its time and answers as the test says; uploads overlap as the sender's machine asks for them.
#![allow(clippy::unwrap_used)]
mod sender_kit;
use edgepush::destination::{Answer, Verdict};
use edgepush::protocol::{BatchId, JobId, Now, Spooled};
use edgepush::sender::{LaneChange, SendAction, SendEvent, SendJob, Sender, SenderSettings};
use proptest::prelude::*;
use sender_kit::{MS, SEC, batch, retry};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a destination answers: after how long, with what.
type Answers = Box<dyn FnMut(JobId, Duration) -> (Duration, Verdict)>;

struct World {
    sender: Sender,
    now: Duration,
    answers: Answers,
    /// Uploads under way: their end, in order.
    wire: BTreeMap<(Duration, u64), (JobId, Verdict)>,
    on_wire: BTreeMap<JobId, usize>,
    /// What the commits bring, and when.
    commits: BTreeMap<Duration, Vec<Spooled>>,
    /// When the first try of a batch began.
    begun: BTreeMap<u64, Duration>,
    delivered: BTreeMap<u64, Duration>,
    order: Vec<JobId>,
    uploads_max: usize,
    on_wire_max: usize,
}

impl World {
    fn new(jobs: impl IntoIterator<Item = SendJob>, uploads_max: usize, answers: Answers) -> World {
        let settings = SenderSettings { uploads_max, bodies_bytes_max: 1 << 20, seed: 3 };
        let mut world = World {
            sender: Sender::new(jobs.into_iter().collect(), settings),
            now: SEC,
            answers,
            wire: BTreeMap::new(),
            on_wire: BTreeMap::new(),
            commits: BTreeMap::new(),
            begun: BTreeMap::new(),
            delivered: BTreeMap::new(),
            order: Vec::new(),
            uploads_max,
            on_wire_max: 0,
        };
        world.step(SendEvent::Spooled(Vec::new()));
        world
    }

    fn step(&mut self, event: SendEvent) {
        let mut out = Vec::new();
        self.sender.step(Now { mono: self.now, wall: self.now.as_nanos() as i64 }, event, &mut out);
        for action in out {
            match action {
                SendAction::Upload { batch, .. } => {
                    let (takes, verdict) = (self.answers)(batch.job, self.now);
                    self.begun.entry(batch.id.0).or_insert(self.now);
                    self.order.push(batch.job);
                    *self.on_wire.entry(batch.job).or_default() += 1;
                    self.wire.insert((self.now + takes, batch.id.0), (batch.job, verdict));
                    self.on_wire_max = self.on_wire_max.max(self.wire.len());
                    assert!(self.wire.len() <= self.uploads_max, "the bound of all uploads");
                }
                SendAction::Judge(judged) => {
                    let ids = judged.iter().map(|judged| judged.id).collect();
                    self.step(SendEvent::Durable(ids));
                }
                SendAction::Settled { .. } | SendAction::Notice(_) => {}
                other => panic!("not asked for: {other:?}"),
            }
        }
    }

    fn next(&self) -> Option<Duration> {
        let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
        let commit = self.commits.first_key_value().map(|(at, _)| *at);
        [wire, commit, self.sender.deadline()].into_iter().flatten().min()
    }

    /// Lives until then.
    fn run(&mut self, until: Duration) {
        while let Some(at) = self.next().filter(|at| *at <= until) {
            assert!(at >= self.now, "a deadline in the past is a busy loop");
            self.now = at;
            if self.wire.first_key_value().is_some_and(|((end, _), _)| *end <= at) {
                let ((_, id), (job, verdict)) = self.wire.pop_first().unwrap();
                *self.on_wire.get_mut(&job).unwrap() -= 1;
                if verdict == Verdict::Delivered {
                    self.delivered.insert(id, at);
                }
                self.step(SendEvent::Outcome { id: BatchId(id), answer: Answer::from(verdict) });
            } else if self.commits.first_key_value().is_some_and(|(commit, _)| *commit <= at) {
                let (_, batches) = self.commits.pop_first().unwrap();
                self.step(SendEvent::Spooled(batches));
            } else {
                self.step(SendEvent::Tick);
            }
        }
        self.now = self.now.max(until);
    }

    fn commit(&mut self, at: Duration, batches: Vec<Spooled>) {
        self.commits.entry(at).or_default().extend(batches);
    }

    /// Each job has a batch each `every`, at its own moment.
    fn traffic(&mut self, jobs: impl IntoIterator<Item = u64>, every: Duration, until: Duration) {
        for job in jobs {
            let mut at = self.now + (every * (job * 37 % 100) as u32) / 100;
            let mut number = 0;
            while at < until {
                self.commit(at, vec![batch(job * 1_000_000 + number, JobId(job), 10)]);
                (at, number) = (at + every, number + 1);
            }
        }
    }
}

fn jobs(ids: impl IntoIterator<Item = u64>) -> Vec<SendJob> {
    ids.into_iter().map(|id| SendJob::new(JobId(id), 4)).collect()
}

fn of_good(times: &BTreeMap<u64, Duration>, good: &BTreeSet<u64>) -> BTreeMap<u64, Duration> {
    times.iter().filter(|(id, _)| good.contains(&(*id / 1_000_000))).map(|(id, at)| (*id, *at)).collect()
}

fn assert_same(alone: &BTreeMap<u64, Duration>, mixed: &BTreeMap<u64, Duration>) {
    let other = alone.iter().find(|(id, at)| mixed.get(id) != Some(at));
    assert!(other.is_none(), "{other:?} was sent at {:?} beside bad ones", mixed.get(other.unwrap().0));
    assert_eq!(alone.len(), mixed.len());
}

/// Good ones take 80 ms, dead ones fail after a minute or at once, slow ones take their batches after 50 s.
fn answer(job: JobId, _: Duration) -> (Duration, Verdict) {
    match job.0 {
        1..=9999 => (80 * MS, Verdict::Delivered),
        10_000..=19_999 => (60 * SEC, retry()),
        20_000..=29_999 => (50 * SEC, Verdict::Delivered),
        _ => (MS, retry()),
    }
}

fn live(good: &BTreeSet<u64>, bad: &[u64], uploads_max: usize, minutes: u32) -> World {
    let all = good.iter().chain(bad).copied();
    let mut world = World::new(jobs(all.clone()), uploads_max, Box::new(answer));
    world.step(SendEvent::Known(good.iter().map(|job| JobId(*job)).collect()));
    world.traffic(all, 5 * SEC, 60 * SEC * minutes);
    world.run(60 * SEC * minutes);
    world
}

#[test]
fn good_destinations_do_not_notice_a_dead_and_a_slow_one() {
    let good: BTreeSet<u64> = (1..=98).collect();
    let alone = live(&good, &[], 16, 10);
    let mixed = live(&good, &[10_001, 20_001], 16, 10);
    let (want, have) = (of_good(&alone.begun, &good), of_good(&mixed.begun, &good));
    assert!(want.len() > 98 * 118, "{} batches", want.len());
    assert_same(&want, &have);
    let delivered = of_good(&mixed.delivered, &good);
    assert!(delivered.len() > 98 * 118);
    // The slow one gets what its uploads allow: its batches overlap, and it is not asked more than its job allows.
    let slow = mixed.delivered.keys().filter(|id| **id / 1_000_000 == 20_001).count();
    assert!((30..=48).contains(&slow), "{slow} batches of the slow one");
}

#[test]
fn any_number_of_dead_and_slow_destinations_leaves_good_ones_alone() {
    let good: BTreeSet<u64> = (1..=10).collect();
    let bad: Vec<u64> = (10_001..10_101).chain(20_001..20_101).chain(30_001..30_101).collect();
    let alone = live(&good, &[], 64, 10);
    let mixed = live(&good, &bad, 64, 10);
    let (want, have) = (of_good(&alone.begun, &good), of_good(&mixed.begun, &good));
    assert!(want.len() > 1000, "{}", want.len());
    assert_same(&want, &have);
    assert!(mixed.on_wire_max >= 48, "the slots were not short: {}", mixed.on_wire_max);
    // The bad ones have theirs too: nobody is without a try.
    let tried: BTreeSet<u64> = mixed.begun.keys().map(|id| id / 1_000_000).collect();
    assert_eq!(tried.len(), 310);
}

#[test]
fn strangers_never_take_the_slots_of_those_who_are_known() {
    let good: BTreeSet<u64> = (1..=10).collect();
    let strangers: Vec<u64> = (10_001..10_201).collect();
    let run = |with: &[u64]| {
        let all = good.iter().chain(with).copied();
        let mut world = World::new(jobs(all), 16, Box::new(answer));
        world.traffic(good.iter().copied(), 5 * SEC, 200 * SEC);
        world.run(20 * SEC);
        let burst = with.iter().map(|job| batch(job * 1_000_000, JobId(*job), 1)).collect();
        world.commit(21 * SEC, burst);
        world.run(200 * SEC);
        world
    };
    let (alone, mixed) = (run(&[]), run(&strangers));
    assert_same(&of_good(&alone.begun, &good), &of_good(&mixed.begun, &good));
    assert_eq!(mixed.on_wire.len(), 10 + mixed.begun.keys().filter(|id| **id >= 10_000_000_000).count());
}

#[test]
fn everyone_has_one_before_anyone_has_two_and_equals_get_the_same() {
    let mut turn = 0u64;
    let answers = move |_: JobId, _: Duration| {
        turn += 1;
        (MS * (50 + (turn * 7919 % 61) as u32), Verdict::Delivered)
    };
    let mut world = World::new(jobs(1..=5), 4, Box::new(answers));
    world.step(SendEvent::Known((1..=5).map(JobId).collect()));
    // Job 1 has a thousand before the others come.
    world.commit(SEC, (0..1000).map(|n| batch(1_000_000 + n, JobId(1), 1)).collect());
    for job in 2..=5u64 {
        world.commit(2 * SEC, (0..1000).map(|n| batch(job * 1_000_000 + n, JobId(job), 1)).collect());
    }
    world.run(2 * SEC - MS);
    assert!(world.order.iter().all(|job| *job == JobId(1)) && world.order.len() > 40);
    world.order.clear();
    world.run(12 * SEC);
    let first: BTreeSet<JobId> = world.order[..4].iter().copied().collect();
    assert_eq!(first, (2..=5).map(JobId).collect(), "{:?}", &world.order[..8]);
    let count = |job| world.order.iter().filter(|other| **other == JobId(job)).count();
    let counts: Vec<usize> = (1..=5).map(count).collect();
    assert!(counts.iter().all(|count| (85..=115).contains(count)), "{counts:?}");
}

#[test]
fn a_flood_has_its_fair_part_when_others_wait() {
    // One job may have 64 uploads and has a thousand batches; it is slow, but not so that it is doubtful.
    let answers = |job: JobId, _| (if job.0 == 1 { 4 * SEC } else { 3 * SEC }, Verdict::Delivered);
    let flood = SendJob::new(JobId(1), 64);
    let mut world = World::new([flood].into_iter().chain(jobs(2..=9)), 16, Box::new(answers));
    world.commit(SEC, (0..2000).map(|n| batch(1_000_000 + n, JobId(1), 1)).collect());
    world.run(60 * SEC);
    assert_eq!(world.on_wire[&JobId(1)], 16, "alone it has all slots");
    for job in 2..=9 {
        world.commit(60 * SEC, (0..200).map(|n| batch(job * 1_000_000 + n, JobId(job), 1)).collect());
    }
    world.run(70 * SEC);
    for _ in 0..100 {
        let at = world.now + 97 * MS;
        world.run(at);
        assert!(world.on_wire[&JobId(1)] <= 3, "{:?}", world.on_wire);
    }
}

#[test]
fn a_step_looks_at_the_lanes_that_it_concerns() {
    const LANES: u64 = 10_000;
    let mut world = World::new(jobs(1..=LANES), 64, Box::new(answer));
    world.commit(SEC, (1..=LANES).map(|job| batch(job, JobId(job), 1)).collect());
    world.run(SEC);
    // A third of them fails, a third waits for a slot, the others are delivered.
    world.answers = Box::new(|job, _| (80 * MS, if job.0 % 3 == 0 { retry() } else { Verdict::Delivered }));
    world.run(3 * SEC);
    let waiting = world.sender.lanes().filter(|lane| lane.batches > 0).count();
    assert!(waiting > 6_000, "{waiting}");
    let mut before = world.sender.visits();
    let mut check = |world: &World, lanes: u64| {
        let visits = world.sender.visits() - before;
        assert!(visits <= lanes, "{visits} lanes were looked at, {lanes} are concerned");
        before = world.sender.visits();
    };
    for n in 0..500 {
        let begun = world.order.len();
        world.step(SendEvent::Space { used_bytes: 1 << 20, limit_bytes: 1 << 40 });
        check(&world, 0);
        world.step(SendEvent::Spooled(vec![batch(LANES + n + 1, JobId(n * 17 % LANES + 1), 1)]));
        check(&world, 2);
        let (at, _) = *world.wire.first_key_value().unwrap().0;
        let ends = world.wire.range(..=(at, u64::MAX)).count();
        let timers = world.sender.deadline();
        world.run(at);
        let uploads = (world.order.len() - begun) as u64;
        // An end, the upload that takes the slot; and a tick for a lane whose wait was over on the way.
        let ticks = if timers.is_some_and(|timer| timer <= at) { 200 } else { 0 };
        check(&world, ends as u64 + uploads + ticks);
    }
    assert!(world.order.len() > 1000);
    let put = |job| LaneChange::Put(SendJob { hold: true, ..SendJob::new(JobId(job), 4) });
    world.step(SendEvent::Jobs(vec![put(5), put(LANES + 7), LaneChange::Delete(JobId(6))]));
    check(&world, 3);
    assert!(world.sender.changed().count() > 3);
    assert_eq!(world.sender.changed().count(), 0);
    world.step(SendEvent::Jobs(vec![put(5)]));
    assert_eq!(world.sender.changed().map(|lane| lane.job.0).collect::<Vec<_>>(), [5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever destinations say, and whatever slots there are: every lane's turn comes, and once they take batches, all
    /// is delivered.
    #[test]
    fn nobody_starves(
        uploads_max in 1usize..9,
        lanes in 1u64..24,
        batches in 1u64..5,
        script in proptest::collection::vec((0u8..6, 1u64..8_000), 16..64),
    ) {
        let mut at = 0;
        let answers = move |_: JobId, now: Duration| {
            let (what, takes) = script[at % script.len()];
            at += 1;
            let verdict = match what {
                _ if now > 300 * SEC => Verdict::Delivered,
                0..=2 => Verdict::Delivered,
                3 => retry(),
                4 => Verdict::Hold { why: "403".into() },
                _ => Verdict::Refused { why: "400".into() },
            };
            (takes as u32 * MS, verdict)
        };
        let mut world = World::new(jobs(1..=lanes), uploads_max, Box::new(answers));
        let all = (0..batches).flat_map(|n| (1..=lanes).map(move |job| batch(n * 100 + job, JobId(job), 1)));
        world.commit(SEC, all.collect());
        world.run(250 * SEC);
        let had: BTreeSet<JobId> = world.order.iter().copied().collect();
        // 24 lanes of 8 s in one slot.
        prop_assert_eq!(had.len() as u64, lanes, "a lane had no turn in 249 s");
        world.run(3600 * SEC);
        prop_assert_eq!(world.sender.pending(), 0);
        prop_assert_eq!(world.sender.bodies_bytes(), 0);
        prop_assert_eq!(world.sender.spool_bytes(), 0);
        prop_assert_eq!(world.sender.deadline(), None);
    }
}

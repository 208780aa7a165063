//! Shares of the spool (PROTOCOL P6), jobs that change at run time, and memory for bodies: the sender's machine, in virtual time.
#![allow(clippy::unwrap_used)]
mod sender_kit;
use bytes::Bytes;
use edgepush::destination::{Answer, Verdict};
use edgepush::protocol::{BatchId, Fate, JobId, Judged, Now, Spooled};
use edgepush::sender::{LaneChange, LaneState, Mood, SendAction, SendEvent, SendJob, SendNotice};
use edgepush::sender::{Sender, SenderSettings};
use proptest::prelude::*;
use sender_kit::{MS, SEC, retry, sized};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LIMIT: u64 = 1_000_000;
const SIZE: u64 = 1_000;

/// A spool beside the machine: it has what was spooled until a verdict is durable.
struct World {
    sender: Sender,
    now: Duration,
    next: u64,
    spool: BTreeMap<u64, (JobId, u64)>,
    wire: Vec<(u64, JobId)>,
    judging: Vec<Judged>,
    over: BTreeSet<JobId>,
    told: u32,
    dropped: Vec<u64>,
    notices: Vec<SendNotice>,
    settled: BTreeMap<u64, Fate>,
    with_body: usize,
}

impl World {
    fn new(jobs: Vec<SendJob>, bodies_bytes_max: u64) -> World {
        let settings = SenderSettings { uploads_max: 64, bodies_bytes_max, seed: 11 };
        let mut world = World {
            sender: Sender::new(jobs, settings),
            now: SEC,
            next: 1,
            spool: BTreeMap::new(),
            wire: Vec::new(),
            judging: Vec::new(),
            over: BTreeSet::new(),
            told: 0,
            dropped: Vec::new(),
            notices: Vec::new(),
            settled: BTreeMap::new(),
            with_body: 0,
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
                    self.with_body += usize::from(batch.body.is_some());
                    self.wire.push((batch.id.0, batch.job));
                }
                SendAction::Judge(judged) => self.judging.extend(judged),
                SendAction::Split { .. } | SendAction::Pick { .. } | SendAction::Parted { .. } => {}
                SendAction::OverShare { job } => {
                    self.told += 1;
                    assert!(self.over.insert(job), "said twice");
                }
                SendAction::UnderShare { job } => {
                    self.told += 1;
                    assert!(self.over.remove(&job), "never said, or said twice");
                }
                SendAction::Settled { batch, fate } => {
                    assert!(self.settled.insert(batch.id.0, fate).is_none());
                }
                SendAction::Notice(notice) => self.notices.push(notice),
            }
        }
    }

    fn used(&self) -> u64 {
        self.spool.values().map(|(_, len)| len).sum()
    }

    fn of(&self, job: u64) -> u64 {
        self.spool.values().filter(|(of, _)| of.0 == job).map(|(_, len)| len).sum()
    }

    /// A commit brings a batch of this job, unless it is parked.
    fn produce(&mut self, job: u64) {
        if !self.over.contains(&JobId(job)) {
            let id = self.next;
            self.next += 1;
            self.spool.insert(id, (JobId(job), SIZE));
            self.step(SendEvent::Spooled(vec![sized(id, JobId(job), 10, SIZE)]));
        }
    }

    fn ask_space(&mut self) {
        self.step(SendEvent::Space { used_bytes: self.used(), limit_bytes: LIMIT });
    }

    /// Verdicts become durable.
    fn settle(&mut self) {
        let judged = std::mem::take(&mut self.judging);
        for judged in &judged {
            self.spool.remove(&judged.id.0);
            if judged.fate == Fate::Dropped {
                assert_eq!(judged.reason, "dropped");
                self.dropped.push(judged.id.0);
            }
        }
        self.step(SendEvent::Durable(judged.into_iter().map(|judged| judged.id).collect()));
    }

    /// Every upload under way ends; those of dead jobs fail.
    fn answers(&mut self, dead: impl Fn(u64) -> bool) {
        for (id, job) in std::mem::take(&mut self.wire) {
            let verdict = if dead(job.0) { retry() } else { Verdict::Delivered };
            self.step(SendEvent::Outcome { id: BatchId(id), answer: Answer::from(verdict) });
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.step(SendEvent::Tick);
    }

    /// So many turns in which every job has a batch and destinations answer.
    fn live(
        &mut self,
        turns: usize,
        jobs: impl IntoIterator<Item = u64> + Clone,
        dead: impl Fn(u64) -> bool,
    ) {
        for turn in 0..turns {
            jobs.clone().into_iter().for_each(|job| self.produce(job));
            self.answers(&dead);
            self.wait(200 * MS);
            self.settle();
            if turn % 5 == 0 {
                self.ask_space();
            }
            assert!(self.used() <= LIMIT, "the spool is full");
        }
    }

    fn state(&self, job: u64) -> LaneState {
        self.sender.lane(JobId(job)).unwrap()
    }
}

fn jobs(ids: impl IntoIterator<Item = u64>) -> Vec<SendJob> {
    ids.into_iter().map(|id| SendJob::new(JobId(id), 4)).collect()
}

fn near(have: u64, want: u64) {
    assert!(have.abs_diff(want) <= want / 10 + 10 * SIZE, "{have} instead of {want}");
}

#[test]
fn one_dead_job_ends_at_half_of_the_spool() {
    let mut world = World::new(jobs(1..=4), 0);
    world.live(1500, 1..=4, |job| job == 1);
    near(world.of(1), LIMIT / 2);
    assert_eq!((world.over.len(), world.told), (1, 1), "said once");
    assert!(world.state(1).over_share && !world.state(2).over_share);
    assert!((2..=4).all(|job| world.of(job) <= 8 * SIZE));
}

#[test]
fn jobs_that_die_together_have_equal_parts_and_one_part_stays_free() {
    for dead in [2, 3, 9] {
        let mut world = World::new(jobs(1..=12), 0);
        world.live(1200, 1..=12, |job| job <= dead);
        (1..=dead).for_each(|job| near(world.of(job), LIMIT / (dead + 1)));
        near(LIMIT - world.used(), LIMIT / (dead + 1));
        assert_eq!(world.over, (1..=dead).map(JobId).collect());
    }
}

#[test]
fn jobs_that_die_one_after_another_leave_as_much_free() {
    let mut world = World::new(jobs(1..=12), 0);
    for dead in 1..=6 {
        world.live(1200, 1..=12, |job| job <= dead);
        near(world.of(dead), LIMIT / (dead * (dead + 1)));
        near(LIMIT - world.used(), LIMIT / (dead + 1));
    }
    // Nobody else was ever taken for one of them.
    assert_eq!((world.over.len(), world.told), (6, 6));
}

#[test]
fn a_job_comes_back_when_its_destination_does_and_it_is_far_below() {
    let mut world = World::new(jobs(1..=2), 0);
    world.live(1200, 1..=2, |job| job == 1);
    assert_eq!(world.over.len(), 1);
    let (held, before) = (world.of(1), world.settled.len());
    let mut back = None;
    for _ in 0..2000 {
        world.wait(60 * SEC);
        world.answers(|_| false);
        world.settle();
        world.ask_space();
        if world.over.is_empty() {
            back = Some(world.of(1));
            break;
        }
    }
    // x < (limit − x) / 2
    near(back.unwrap(), LIMIT / 3);
    assert!(held > LIMIT * 2 / 5 && world.settled.len() > before);
    world.live(300, 1..=2, |_| false);
    assert_eq!(world.told, 2, "it is not thrown to and fro");
}

#[test]
fn a_flood_is_over_its_share_though_it_is_delivered() {
    let mut world = World::new(jobs(1..=2), 0);
    world.live(20, 1..=2, |_| false);
    for _ in 0..200 {
        (0..20).for_each(|_| world.produce(1));
        world.produce(2);
        world.answers(|_| false);
        world.settle();
        world.ask_space();
        assert!(world.of(1) <= LIMIT * 6 / 10, "{}", world.of(1));
    }
    assert!(world.told > 0 && !world.over.contains(&JobId(2)));
}

#[test]
fn a_job_that_declares_it_loses_its_oldest_batches_and_no_more_than_it_must() {
    let drops = SendJob { drop_oldest: true, ..SendJob::new(JobId(1), 2) };
    let mut world = World::new([drops].into_iter().chain(jobs(2..=3)).collect(), 0);
    world.live(1500, 1..=3, |job| job == 1);
    assert!(world.over.is_empty() && world.told == 0);
    near(world.of(1), LIMIT / 2);
    assert!(world.dropped.len() > 300, "{}", world.dropped.len());
    let kept: BTreeSet<u64> =
        world.spool.iter().filter(|(_, (job, _))| job.0 == 1).map(|(id, _)| *id).collect();
    let oldest = *world.dropped.iter().max().unwrap();
    assert!(kept.iter().filter(|id| **id < oldest).count() <= 2, "not the oldest were dropped");
    let said = world.notices.iter().filter(|notice| matches!(notice, SendNotice::Dropping { .. })).count();
    assert_eq!(said, 1);
    assert!(world.dropped.iter().all(|id| world.settled[id] == Fate::Dropped));
    // As many as did not fit, and none for the room that its own verdicts still hold.
    let made = world.dropped.len() as u64 * SIZE + world.of(1);
    assert!(made - LIMIT / 2 <= world.dropped.len() as u64 * SIZE + 20 * SIZE);
}

#[test]
fn a_job_that_was_parked_stays_so_until_it_has_room() {
    let mut world = World::new(jobs(1..=2), 0);
    (0..300).for_each(|_| world.produce(1));
    world.step(SendEvent::Parked(vec![JobId(1), JobId(9)]));
    assert!(world.over.contains(&JobId(1)) && world.told == 1);
    // It has less than what is free, which would be enough for one that is not parked.
    world.step(SendEvent::Space { used_bytes: 600_000, limit_bytes: LIMIT });
    assert_eq!(world.told, 1);
    world.step(SendEvent::Space { used_bytes: 390_000, limit_bytes: LIMIT });
    assert!(world.over.is_empty());
    let drops = SendJob { drop_oldest: true, ..SendJob::new(JobId(1), 2) };
    let mut world = World::new(vec![drops], 0);
    world.step(SendEvent::Parked(vec![JobId(1)]));
    assert_eq!(world.told, 0, "what drops is never parked");
}

#[test]
fn what_is_under_way_is_not_dropped() {
    let drops = SendJob { drop_oldest: true, ..SendJob::new(JobId(1), 2) };
    let mut world = World::new(vec![drops], 0);
    (0..10).for_each(|_| world.produce(1));
    assert_eq!(world.wire.len(), 2);
    world.step(SendEvent::Space { used_bytes: 2 * LIMIT, limit_bytes: LIMIT });
    world.wait(200 * MS);
    world.settle();
    assert_eq!(world.dropped, (3..=10).collect::<Vec<_>>());
    world.answers(|_| false);
    world.settle();
    assert_eq!(world.sender.pending(), 0);
}

#[test]
fn verdicts_that_are_not_durable_yet_lead_to_no_further_loss() {
    let drops = SendJob { drop_oldest: true, ..SendJob::new(JobId(1), 2) };
    let mut world = World::new(vec![drops], 0);
    (0..100).for_each(|_| world.produce(1));
    // 100,000 bytes are its own; 60,000 are free: 20 have to go.
    let space = || SendEvent::Space { used_bytes: 940_000, limit_bytes: LIMIT };
    for _ in 0..10 {
        world.step(space());
        world.wait(MS);
    }
    world.wait(200 * MS);
    assert_eq!(world.judging.len(), 20);
    // The room is told of once before the verdicts have freed it, once after.
    world.step(space());
    world.settle();
    world.step(SendEvent::Space { used_bytes: 920_000, limit_bytes: LIMIT });
    world.wait(200 * MS);
    assert_eq!((world.judging.len(), world.dropped.len()), (0, 20));
}

#[test]
fn a_disabled_job_waits_and_goes_on_when_it_is_enabled() {
    let mut world = World::new(jobs(1..=2), 0);
    let put = |hold| SendEvent::Jobs(vec![LaneChange::Put(SendJob { hold, ..SendJob::new(JobId(1), 4) })]);
    world.produce(1);
    world.step(put(true));
    (0..3).for_each(|_| world.produce(1));
    assert_eq!(world.wire.len(), 1, "what was under way goes on");
    world.answers(|_| false);
    world.wait(3600 * SEC);
    assert!(world.wire.is_empty() && world.sender.deadline().is_none());
    assert!(world.state(1).held && world.state(1).batches == 3);
    world.step(SendEvent::Space { used_bytes: LIMIT, limit_bytes: LIMIT });
    assert!(world.over.is_empty(), "a job that takes nothing is not parked");
    world.ask_space();
    world.step(put(false));
    assert_eq!(world.wire.len(), 3);
}

#[test]
fn a_changed_job_is_tried_at_once() {
    let mut world = World::new(jobs([1]), 0);
    world.produce(1);
    world.produce(1);
    let hour = Verdict::Retry { after: Some(3600 * SEC), why: "429".into() };
    for (id, _) in std::mem::take(&mut world.wire) {
        world.step(SendEvent::Outcome { id: BatchId(id), answer: Answer::from(hour.clone()) });
    }
    world.wait(60 * SEC);
    assert!(world.wire.is_empty() && world.state(1).failing_since == Some(SEC.as_nanos() as i64));
    world.step(SendEvent::Jobs(vec![LaneChange::Put(SendJob::new(JobId(1), 1))]));
    assert_eq!(world.wire, [(1, JobId(1))], "one probe");
    assert_eq!(world.state(1).failing_since, None);
    world.answers(|_| false);
    assert_eq!(world.wire, [(2, JobId(1))], "and the next: no wish of the former destination is left");
}

#[test]
fn a_deleted_job_leaves_memory_and_nothing_is_heard_of_it() {
    let mut world = World::new(jobs(1..=2), 1 << 20);
    for job in [1, 1, 1, 1, 1, 1, 1, 1, 1, 2] {
        world.produce(job);
    }
    let wire = world.wire.clone();
    assert_eq!(wire.len(), 5);
    let outcome = |id, verdict| SendEvent::Outcome { id: BatchId(id), answer: Answer::from(verdict) };
    world.step(outcome(wire[0].0, Verdict::Delivered));
    world.step(outcome(wire[1].0, Verdict::TooLarge { why: "413".into() }));
    world.step(SendEvent::Jobs(vec![LaneChange::Delete(JobId(1))]));
    assert_eq!((world.sender.pending(), world.sender.in_flight()), (1, 1), "job 2's");
    assert_eq!((world.sender.spool_bytes(), world.sender.bodies_bytes()), (SIZE, 10));
    assert!(world.sender.lane(JobId(1)).is_none());
    assert!(world.sender.changed().all(|lane| lane.job == JobId(2)));
    let children = vec![sized(100, JobId(1), 5, 10), sized(101, JobId(1), 5, 10)];
    world.step(SendEvent::Split { parent: BatchId(wire[1].0), children });
    world.step(outcome(wire[2].0, retry()));
    world.step(SendEvent::Unreadable { id: BatchId(wire[3].0), why: "rotten".into() });
    let late: Vec<u64> = world.wire.iter().map(|(id, _)| *id).filter(|id| *id > wire[4].0).collect();
    late.iter().for_each(|id| world.step(outcome(*id, Verdict::Delivered)));
    world.step(SendEvent::Durable(vec![BatchId(wire[0].0)]));
    world.wait(SEC);
    assert!(world.judging.is_empty() && world.settled.is_empty());
    let two = world.wire.iter().find(|(_, job)| job.0 == 2).unwrap().0;
    world.step(outcome(two, Verdict::Delivered));
    world.settle();
    assert_eq!((world.sender.pending(), world.sender.deadline()), (0, None));
    assert_eq!(world.settled.into_keys().collect::<Vec<_>>(), [two]);
}

#[test]
fn uploads_of_deleted_jobs_keep_their_slots_until_they_end() {
    let settings = SenderSettings { uploads_max: 4, bodies_bytes_max: 0, seed: 1 };
    let mut world = World::new(Vec::new(), 0);
    world.sender = Sender::new(jobs(1..=2), settings);
    (0..4).for_each(|_| world.produce(1));
    world.wait(SEC);
    assert_eq!(world.wire.len(), 3);
    world.step(SendEvent::Jobs(vec![LaneChange::Delete(JobId(1))]));
    world.produce(2);
    assert_eq!(world.wire.len(), 3, "more uploads than the bound");
    let id = world.wire[0].0;
    world.step(SendEvent::Outcome { id: BatchId(id), answer: Answer::from(retry()) });
    assert_eq!(world.wire.len(), 4);
}

#[test]
fn a_parked_job_that_is_deleted_counts_no_more() {
    let mut world = World::new(jobs(1..=3), 0);
    world.live(1200, 1..=3, |job| job == 1);
    assert_eq!(world.over.len(), 1);
    world.step(SendEvent::Jobs(vec![LaneChange::Delete(JobId(1))]));
    world.over.clear();
    world.spool.retain(|_, (job, _)| job.0 != 1);
    world.ask_space();
    world.wire.retain(|(_, job)| job.0 != 1);
    world.live(1200, 2..=3, |job| job == 2);
    near(world.of(2), LIMIT / 2);
}

#[test]
fn a_parked_job_that_declares_to_drop_is_parked_no_more() {
    let mut world = World::new(jobs(1..=2), 0);
    world.live(1200, 1..=2, |job| job == 1);
    assert_eq!(world.over.len(), 1);
    let drops = SendJob { drop_oldest: true, ..SendJob::new(JobId(1), 4) };
    world.step(SendEvent::Jobs(vec![LaneChange::Put(drops)]));
    assert!(world.over.is_empty());
    world.live(500, 1..=2, |job| job == 1);
    assert!(world.dropped.len() > 300);
    near(world.of(1), LIMIT / 2);
}

#[test]
fn a_lane_tells_what_was_delivered_and_since_when_it_fails() {
    let mut world = World::new(jobs([1]), 0);
    world.produce(1);
    world.answers(|_| false);
    let at = |seconds: u64| Some((SEC * seconds as u32).as_nanos() as i64);
    let state = world.state(1);
    assert_eq!((state.uploads, state.records, state.last_complete), (1, 10, Some(1)));
    assert_eq!((state.failing_since, state.last_error, state.bytes), (None, None, 0));
    world.now = 10 * SEC;
    world.produce(1);
    world.answers(|_| true);
    world.wait(SEC);
    world.answers(|_| true);
    let state = world.state(1);
    assert_eq!((state.mood, state.uploads, state.bytes), (Mood::Retrying, 3, SIZE));
    assert_eq!((state.failing_since, state.last_error), (at(10), at(11)));
    world.wait(60 * SEC);
    world.answers(|_| false);
    let state = world.state(1);
    assert_eq!((state.failing_since, state.last_error, state.error), (None, at(11), None));
    assert_eq!((state.records, state.last_complete), (20, Some(2)));
}

fn with_body(id: u64, job: u64, len: usize) -> Spooled {
    Spooled { body: Some(vec![Bytes::from(vec![0; len])]), ..sized(id, JobId(job), 1, 10) }
}

#[test]
fn memory_for_bodies_is_shared() {
    let mut world = World::new(jobs(1..=3), 1000);
    let bytes = |world: &mut World, job, len| {
        let before = world.sender.bodies_bytes();
        let may = world.sender.may_keep(JobId(job), len as u64);
        let id = world.next;
        world.next += 1;
        world.step(SendEvent::Spooled(vec![with_body(id, job, len)]));
        let kept = world.sender.bodies_bytes() - before;
        assert_eq!(kept > 0, may);
        kept
    };
    assert_eq!((0..20).map(|_| bytes(&mut world, 1, 50)).sum::<u64>(), 500);
    assert_eq!((0..20).map(|_| bytes(&mut world, 2, 50)).sum::<u64>(), 250);
    assert_eq!((0..20).map(|_| bytes(&mut world, 3, 25)).sum::<u64>(), 125);
    // A destination that fails twice gives its memory to the others, and gets none.
    for _ in 0..2 {
        let of_one: Vec<u64> = world.wire.iter().filter(|(_, job)| job.0 == 1).map(|(id, _)| *id).collect();
        world.wire.retain(|(_, job)| job.0 != 1);
        for id in of_one {
            world.step(SendEvent::Outcome { id: BatchId(id), answer: Answer::from(retry()) });
        }
        world.wait(2 * SEC);
    }
    assert_eq!(world.sender.bodies_bytes(), 375);
    assert_eq!(bytes(&mut world, 1, 10), 0);
    assert_eq!(bytes(&mut world, 3, 25), 25);
    // One commit's batches count one by one.
    let mut fresh = World::new(jobs([1]), 1000);
    fresh.step(SendEvent::Spooled((1..=20).map(|id| with_body(id, 1, 100)).collect()));
    assert_eq!(fresh.sender.bodies_bytes(), 500);
    assert_eq!(fresh.with_body, 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever happens to jobs, the sums stay those of what is there, and all ends.
    #[test]
    fn sums_are_true_whatever_happens(
        script in proptest::collection::vec((0u8..12, 1u64..6, 0u64..1_200_000), 1..300),
    ) {
        let mut world = World::new(jobs(1..=5), 10_000);
        let mut deleted = BTreeSet::new();
        for (what, job, number) in script {
            let put = |hold, drop_oldest| {
                SendEvent::Jobs(vec![LaneChange::Put(SendJob { hold, drop_oldest, ..SendJob::new(JobId(job), 2) })])
            };
            let alive = !deleted.contains(&job);
            match what {
                0..=3 if alive => world.produce(job),
                4 => world.answers(|job| job % 2 == 0),
                5 => world.answers(|_| false),
                6 => world.wait(Duration::from_micros(number)),
                7 => world.settle(),
                8 => world.step(SendEvent::Space { used_bytes: number, limit_bytes: LIMIT }),
                9 if alive => world.step(put(number % 2 == 0, number % 3 == 0)),
                10 => world.wait(60 * SEC),
                11 if number % 5 == 0 && deleted.insert(job) => {
                    world.step(SendEvent::Jobs(vec![LaneChange::Delete(JobId(job))]));
                    world.over.remove(&JobId(job));
                }
                _ => {}
            }
            let lanes: Vec<LaneState> = world.sender.lanes().collect();
            prop_assert_eq!(world.sender.spool_bytes(), lanes.iter().map(|lane| lane.bytes).sum::<u64>());
            let batches = lanes.iter().map(|lane| lane.batches).sum::<usize>();
            prop_assert!(world.sender.pending() >= batches);
            prop_assert!(world.sender.bodies_bytes() <= 10_000);
            let over: BTreeSet<JobId> = lanes.iter().filter(|lane| lane.over_share).map(|lane| lane.job).collect();
            prop_assert_eq!(&over, &world.over);
            prop_assert!(lanes.iter().all(|lane| !deleted.contains(&lane.job.0)));
        }
        for job in (1..=5).filter(|job| !deleted.contains(job)) {
            world.step(SendEvent::Jobs(vec![LaneChange::Put(SendJob::new(JobId(job), 2))]));
        }
        for _ in 0..100 {
            world.answers(|_| false);
            world.wait(60 * SEC);
            world.settle();
        }
        world.step(SendEvent::Space { used_bytes: 0, limit_bytes: LIMIT });
        prop_assert_eq!((world.sender.pending(), world.sender.in_flight()), (0, 0));
        prop_assert_eq!((world.sender.spool_bytes(), world.sender.bodies_bytes()), (0, 0));
        prop_assert!(world.over.is_empty() && world.sender.deadline().is_none());
    }
}

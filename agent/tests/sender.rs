//! The sender's machine under a clock and destinations of the test's own: order, back-off, holding, refusals, splits.
mod sender_kit;
use edgepush::destination::{Answer, Verdict};
use edgepush::protocol::{BatchId, Fate, JobId, Judged, Now, Spooled};
use edgepush::sender::{Mood, Picks, SendAction, SendEvent, SendJob, SendNotice, Sender, SenderSettings};
use proptest::prelude::*;
use sender_kit::{MS, hold, refused, retry};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const JOB: JobId = JobId::ENV;
const SETTINGS: SenderSettings = SenderSettings { uploads_max: 256, bodies_bytes_max: 1 << 20, seed: 7 };

fn batch(id: u64, records: u64) -> Spooled {
    sender_kit::batch(id, JOB, records)
}

struct Bench {
    sender: Sender,
    now: Duration,
    wire: Vec<(u64, u32)>,
    bodies: usize,
    sent: Vec<u64>,
    judging: Vec<Vec<Judged>>,
    splits: Vec<u64>,
    picks: Vec<(u64, Picks)>,
    parted: Vec<(u64, u64, u64)>,
    notices: Vec<SendNotice>,
    settled: BTreeMap<u64, Fate>,
}

impl Bench {
    fn new(uploads: usize) -> Bench {
        let mut bench = Bench {
            sender: Sender::new(vec![SendJob::new(JOB, uploads)], SETTINGS),
            now: Duration::from_secs(1),
            wire: Vec::new(),
            bodies: 0,
            sent: Vec::new(),
            judging: Vec::new(),
            splits: Vec::new(),
            picks: Vec::new(),
            parted: Vec::new(),
            notices: Vec::new(),
            settled: BTreeMap::new(),
        };
        bench.step(SendEvent::Spooled(Vec::new()));
        bench
    }

    fn step(&mut self, event: SendEvent) -> &mut Bench {
        let mut out = Vec::new();
        self.sender.step(Now { mono: self.now, wall: 0 }, event, &mut out);
        for action in out {
            match action {
                SendAction::Upload { batch, attempt, .. } => {
                    self.bodies += usize::from(batch.body.is_some());
                    self.sent.push(batch.id.0);
                    self.wire.push((batch.id.0, attempt));
                }
                SendAction::Judge(judged) => self.judging.push(judged),
                SendAction::Split { batch } => self.splits.push(batch.id.0),
                SendAction::Pick { batch, picks } => self.picks.push((batch.id.0, picks)),
                SendAction::Parted { batch, taken, refused } => {
                    assert!(batch.body.is_none());
                    self.parted.push((batch.id.0, taken, refused));
                }
                SendAction::Settled { batch, fate } => {
                    assert!(batch.body.is_none());
                    assert_eq!(self.settled.insert(batch.id.0, fate), None, "one verdict a batch");
                }
                SendAction::Notice(notice) => self.notices.push(notice),
                SendAction::OverShare { .. } | SendAction::UnderShare { .. } => {
                    panic!("nobody told of the spool's room")
                }
            }
        }
        self
    }

    fn spooled(&mut self, ids: impl IntoIterator<Item = u64>) -> &mut Bench {
        self.step(SendEvent::Spooled(ids.into_iter().map(|id| batch(id, 10)).collect()))
    }

    fn answer(&mut self, id: u64, verdict: Verdict) -> &mut Bench {
        let at = self.wire.iter().position(|(on, _)| *on == id).expect("the batch is on the wire");
        self.wire.remove(at);
        self.step(SendEvent::Outcome { id: BatchId(id), answer: Answer::from(verdict) })
    }

    /// The clock goes to the machine's deadline.
    fn wait_on(&mut self) -> Duration {
        let at = self.sender.deadline().expect("something is to come");
        assert!(at >= self.now, "a deadline in the past is a busy loop");
        let waited = at - self.now;
        self.now = at;
        self.step(SendEvent::Tick);
        waited
    }

    fn settle(&mut self) -> &mut Bench {
        for judged in std::mem::take(&mut self.judging) {
            self.step(SendEvent::Durable(judged.into_iter().map(|j| j.id).collect()));
        }
        self
    }

    fn wire(&self) -> Vec<u64> {
        self.wire.iter().map(|(id, _)| *id).collect()
    }

    fn mood(&self) -> Mood {
        self.sender.lanes().next().expect("one job").mood
    }
}

#[test]
fn batches_go_oldest_first_and_so_many_at_once() {
    let mut b = Bench::new(2);
    b.spooled(1..=4);
    assert_eq!(b.wire(), [1, 2]);
    b.answer(2, Verdict::Delivered);
    assert_eq!(b.wire(), [1, 3]);
    b.answer(1, Verdict::Delivered).answer(3, Verdict::Delivered).answer(4, Verdict::Delivered);
    assert_eq!((b.sender.pending(), b.sender.in_flight()), (4, 4), "not durable yet");
    b.settle();
    assert_eq!((b.sender.pending(), b.sender.in_flight(), b.sender.deadline()), (0, 0, None));
    assert!(b.settled.values().all(|fate| *fate == Fate::Delivered) && b.settled.len() == 4);
}

#[test]
fn a_wish_of_no_wait_is_none() {
    let mut b = Bench::new(1);
    b.spooled([1]);
    for _ in 0..20 {
        b.answer(1, Verdict::Retry { after: Some(Duration::ZERO), why: "again".into() });
        assert!(b.wire().is_empty(), "it is not sent again in the same moment");
        b.wait_on();
    }
    assert!(b.now > Duration::from_secs(60), "{:?}: it backs off", b.now);
}

#[test]
fn verdicts_do_not_wait_when_jobs_are_about_to_go() {
    let mut b = Bench::new(2);
    b.spooled(1..=2).answer(1, Verdict::Delivered);
    assert!(b.judging.is_empty());
    b.step(SendEvent::Settle);
    assert_eq!(b.judging.len(), 1, "what a destination has is not lost with its job");
    b.step(SendEvent::Settle);
    assert_eq!(b.judging.len(), 1, "nothing twice, nothing empty");
}

#[test]
fn verdicts_are_collected_for_a_tenth_of_a_second_while_others_are_under_way() {
    let mut b = Bench::new(3);
    b.spooled(1..=3).answer(1, Verdict::Delivered);
    assert!(b.judging.is_empty());
    b.now += 60 * MS;
    b.answer(2, Verdict::Delivered);
    assert!(b.judging.is_empty());
    assert_eq!(b.wait_on(), 40 * MS);
    assert_eq!(b.judging[0].iter().map(|j| j.id.0).collect::<Vec<_>>(), [1, 2]);
    b.answer(3, Verdict::Delivered);
    assert_eq!(b.judging.len(), 2, "nothing is under way that could join it");
}

#[test]
fn a_destination_that_fails_sees_its_oldest_batch_alone_until_it_recovers() {
    let mut b = Bench::new(3);
    b.spooled(1..=5);
    for id in [2, 1, 3] {
        b.answer(id, retry());
    }
    assert_eq!((b.wire(), b.mood()), (vec![], Mood::Retrying));
    assert_eq!(b.notices, [SendNotice::Retrying { job: JOB, why: "503 out to lunch".into() }], "said once");
    b.wait_on();
    assert_eq!(b.wire(), [1]);
    b.answer(1, retry());
    b.wait_on();
    assert_eq!(b.wire(), [1]);
    b.answer(1, Verdict::Delivered);
    assert_eq!((b.mood(), b.notices.last()), (Mood::Well, Some(&SendNotice::Well { job: JOB })));
    let mut left: BTreeSet<u64> = [2, 3, 4, 5].into();
    while !left.is_empty() {
        while let Some((id, _)) = b.wire.first().copied() {
            left.remove(&id);
            b.answer(id, Verdict::Delivered);
        }
        if !left.is_empty() {
            b.wait_on();
        }
    }
    assert_eq!(b.settle().settled.len(), 5);
}

#[test]
fn waits_double_up_to_a_minute() {
    let mut b = Bench::new(1);
    b.spooled([1]);
    let mut longest = Duration::ZERO;
    for failures in 1..200u32 {
        b.answer(1, retry());
        let waited = b.wait_on();
        let ceiling = Duration::from_millis(500)
            .saturating_mul(1 << (failures - 1).min(16))
            .min(Duration::from_secs(60));
        assert!(waited <= ceiling && waited >= 10 * MS, "{failures}: {waited:?}");
        longest = longest.max(waited);
    }
    assert!(longest > Duration::from_secs(50));
    assert_eq!(b.wire, [(1, 200)]);
}

#[test]
fn retry_after_is_obeyed_up_to_an_hour() {
    let mut b = Bench::new(1);
    b.spooled([1]);
    let wish = |s| Verdict::Retry { after: Some(Duration::from_secs(s)), why: "429".into() };
    b.answer(1, wish(17));
    assert_eq!(b.wait_on(), Duration::from_secs(17));
    b.answer(1, wish(90_000));
    assert_eq!(b.wait_on(), Duration::from_secs(3600));
}

#[test]
fn a_job_that_holds_probes_with_its_oldest_batch() {
    let mut b = Bench::new(4);
    b.spooled(1..=2).answer(1, hold()).answer(2, hold());
    assert_eq!(b.mood(), Mood::Holding);
    for _ in 0..20 {
        assert!(b.wait_on() <= Duration::from_secs(60));
        assert_eq!(b.wire(), [1]);
        b.answer(1, hold());
    }
    assert_eq!(b.sender.lanes().next().unwrap().error.as_deref(), Some("403 no"));
    b.wait_on();
    b.answer(1, Verdict::Delivered);
    assert_eq!(b.mood(), Mood::Well);
    assert_eq!(b.notices.len(), 2, "{:?}", b.notices);
}

#[test]
fn a_batch_that_is_refused_while_others_pass_is_held_aside() {
    let mut b = Bench::new(2);
    b.spooled(1..=2).answer(2, Verdict::Delivered);
    b.answer(1, refused());
    b.spooled(3..=3).answer(3, Verdict::Delivered);
    b.wait_on();
    b.answer(1, refused());
    b.wait_on();
    b.answer(1, refused());
    b.settle();
    assert_eq!(b.settled[&1], Fate::Aside);
    assert!(
        matches!(&b.notices[..], [SendNotice::Aside { name, .. }] if &**name == "batch-1"),
        "{:?}",
        b.notices
    );
    assert_eq!(b.mood(), Mood::Well);
}

#[test]
fn the_only_batch_that_is_refused_waits_for_a_neighbour() {
    let mut b = Bench::new(1);
    b.spooled([1]);
    for _ in 0..5 {
        b.answer(1, refused());
        b.wait_on();
    }
    b.answer(1, refused());
    assert!(b.settled.is_empty() && b.judging.is_empty(), "nobody knows yet whom to blame");
    assert!(matches!(&b.notices[..], [SendNotice::Suspect { .. }]), "said once: {:?}", b.notices);
    b.spooled([2]);
    assert_eq!(b.wire(), [2], "the next one is tried");
    b.answer(2, Verdict::Delivered).settle();
    assert_eq!(b.settled, BTreeMap::from([(1, Fate::Aside), (2, Fate::Delivered)]));
}

#[test]
fn a_job_whose_batches_are_all_refused_holds_and_loses_none() {
    let mut b = Bench::new(1);
    b.spooled(1..=3);
    for _ in 0..12 {
        let id = b.wire()[0];
        b.answer(id, refused());
        if b.wire.is_empty() {
            b.wait_on();
        }
    }
    assert_eq!(b.mood(), Mood::Holding);
    assert!(b.settled.is_empty() && b.judging.is_empty());
    let id = b.wire()[0];
    assert_eq!(id, 1, "its oldest batch probes");
    b.answer(id, Verdict::Delivered);
    assert_eq!(b.mood(), Mood::Well);
}

#[test]
fn a_batch_that_is_too_large_is_split_and_its_parts_take_its_place() {
    let mut b = Bench::new(1);
    b.spooled(1..=2).answer(1, Verdict::TooLarge { why: "413".into() });
    assert_eq!((b.splits.as_slice(), b.wire()), (&[1][..], vec![2]));
    b.step(SendEvent::Split { parent: BatchId(1), children: vec![batch(8, 1), batch(9, 1)] });
    b.spooled([10]).answer(2, Verdict::Delivered);
    assert_eq!(b.wire(), [8]);
    b.answer(8, Verdict::TooLarge { why: "413 still".into() });
    b.wait_on();
    b.settle();
    assert_eq!(b.settled[&8], Fate::Aside, "one record cannot be split");
    b.answer(9, Verdict::Delivered).answer(10, Verdict::Delivered).settle();
    assert_eq!(b.sender.pending(), 0);
}

fn partly(again: &[u32], refused: &[u32], after: Option<u64>) -> Verdict {
    let refused = refused.iter().map(|place| (*place, format!("no {place}"))).collect();
    Verdict::Partly {
        again: again.to_vec(),
        refused,
        after: after.map(Duration::from_secs),
        why: "some".into(),
    }
}

#[test]
fn what_was_not_taken_of_a_batch_is_sent_again_alone_and_not_before_it_is_wished() {
    let mut b = Bench::new(1);
    b.spooled(1..=2).answer(1, partly(&[3, 4], &[7], Some(30)));
    assert_eq!(b.picks, [(1, Picks { again: vec![3, 4], refused: vec![(7, "no 7".into())] })]);
    assert_eq!((b.wire(), b.mood(), b.sender.pending()), (vec![2], Mood::Well, 2), "the job goes on");
    let lane = b.sender.lane(JOB).unwrap();
    assert_eq!((lane.records, lane.error.as_deref(), lane.last_complete), (7, Some("some"), None));
    assert!(matches!(&b.notices[..], [SendNotice::Partly { again: 2, refused: 1, .. }]), "{:?}", b.notices);
    assert!(b.judging.is_empty() && b.parted.is_empty(), "nothing is durable yet");
    let rejects = sender_kit::batch(9, JobId::REJECTS, 1);
    b.step(SendEvent::Parted { parent: BatchId(1), again: Some(batch(8, 2)), rejects: vec![rejects] });
    assert_eq!(b.parted, [(1, 7, 1)]);
    assert_eq!(b.wire(), [2, 9], "the rejects go out at once");
    b.answer(9, Verdict::Delivered).answer(2, Verdict::Delivered);
    assert!(b.wire.is_empty(), "the wish is the child's own");
    assert_eq!(b.sender.bodies_bytes(), 0, "what waits holds no memory");
    b.settle();
    while b.wire.is_empty() {
        b.wait_on();
        b.settle();
    }
    assert_eq!((b.wire(), b.now), (vec![8], Duration::from_secs(31)));
    b.answer(8, Verdict::Delivered).settle();
    assert_eq!(b.sender.pending(), 0);
    assert_eq!(b.sender.lane(JOB).unwrap().records, 19);
}

#[test]
fn an_answer_without_exceptions_is_a_delivery_and_one_of_all_records_a_retry() {
    let mut b = Bench::new(1);
    b.spooled(1..=2).answer(1, partly(&[], &[], None));
    b.answer(2, partly(&(0..10).collect::<Vec<_>>(), &[], Some(7)));
    assert_eq!((b.picks.len(), b.mood()), (0, Mood::Retrying));
    let mut waited = Duration::ZERO;
    while b.wire.is_empty() {
        waited += b.wait_on();
    }
    assert_eq!((b.wire(), waited), (vec![2], Duration::from_secs(7)));
    // Places that the batch does not have, or in two lists, or out of order: nobody knows what was meant.
    for nonsense in [
        partly(&[10], &[], None),
        partly(&[], &[99], None),
        partly(&[2], &[2], None),
        partly(&[3, 1], &[], None),
    ] {
        b.answer(2, nonsense);
        assert!(b.sender.lane(JOB).unwrap().error.unwrap().contains("the answer names records"));
        while b.wire.is_empty() {
            b.wait_on();
        }
    }
    b.answer(2, Verdict::Delivered).settle();
    assert_eq!(b.settled, BTreeMap::from([(1, Fate::Delivered), (2, Fate::Delivered)]));
}

#[test]
fn records_that_are_refused_blame_no_neighbour_and_hold_no_job() {
    let mut b = Bench::new(1);
    b.spooled(1..=1).answer(1, partly(&[], &(0..10).collect::<Vec<_>>(), None));
    assert_eq!(b.picks[0].1.refused.len(), 10);
    assert_eq!(b.sender.lane(JOB).unwrap().records, 0);
    b.step(SendEvent::Parted {
        parent: BatchId(1),
        again: None,
        rejects: vec![sender_kit::batch(2, JobId::REJECTS, 10)],
    });
    assert_eq!(b.parted, [(1, 0, 10)]);
    b.answer(2, Verdict::Delivered).settle();
    assert_eq!((b.mood(), b.sender.pending()), (Mood::Well, 0));
    // Without a wish a part waits for as long as a first retry.
    b.spooled([3]).answer(3, partly(&[1], &[], None));
    b.step(SendEvent::Parted { parent: BatchId(3), again: Some(batch(4, 1)), rejects: Vec::new() });
    assert!(b.wire.is_empty(), "no busy loop");
    assert!(b.wait_on() <= 500 * MS);
    assert_eq!(b.wire(), [4]);
    b.answer(4, Verdict::Delivered).settle();
    // The batch was gone when its parts were made: its job was deleted meanwhile.
    b.spooled([5]).answer(5, partly(&[1], &[], None));
    b.step(SendEvent::Parted { parent: BatchId(5), again: None, rejects: Vec::new() });
    assert_eq!(b.parted.len(), 2, "nothing is counted of what did not happen");
}

#[test]
fn a_batch_that_cannot_be_read_is_held_aside() {
    let mut b = Bench::new(1);
    b.spooled(1..=2);
    b.wire.clear();
    b.step(SendEvent::Unreadable { id: BatchId(1), why: "piece 0 is rotten".into() });
    b.answer(2, Verdict::TooLarge { why: "413".into() });
    b.step(SendEvent::Unreadable { id: BatchId(2), why: "piece 0 is rotten".into() }).settle();
    assert_eq!(b.settled, BTreeMap::from([(1, Fate::Aside), (2, Fate::Aside)]));
}

#[test]
fn what_waits_for_another_try_holds_no_memory() {
    let mut b = Bench::new(1);
    b.spooled(1..=3);
    assert_eq!(b.sender.bodies_bytes(), 30);
    b.answer(1, retry());
    assert_eq!(b.sender.bodies_bytes(), 20);
    b.wait_on();
    assert_eq!((b.wire(), b.bodies), (vec![1], 1), "the second try reads the spool");
}

#[test]
fn after_stop_nothing_begins_and_verdicts_still_come() {
    let mut b = Bench::new(1);
    b.spooled(1..=2).step(SendEvent::Stop);
    b.answer(1, Verdict::Delivered).settle();
    assert_eq!((b.wire(), b.sender.pending(), b.sender.in_flight()), (vec![], 1, 0));
    assert_eq!(b.sender.deadline(), None);
}

#[test]
fn a_job_of_the_last_run_that_is_gone_is_still_delivered() {
    let mut b = Bench::new(1);
    let mut old = batch(1, 1);
    old.job = JobId(77);
    b.step(SendEvent::Spooled(vec![old]));
    b.answer(1, Verdict::Delivered).settle();
    assert_eq!(b.settled, BTreeMap::from([(1, Fate::Delivered)]));
}

#[test]
fn a_wish_that_was_about_one_batch_does_not_outlive_the_bad_weather() {
    let mut b = Bench::new(2);
    let hour = Verdict::Retry { after: Some(Duration::from_secs(3600)), why: "429".into() };
    b.spooled(1..=2).answer(1, hour).answer(2, Verdict::Delivered);
    b.spooled([3]).answer(3, retry());
    assert!(b.wait_on() <= 500 * MS, "an old wish holds the job");
    assert_eq!(b.wire(), [3], "the batch with the wish waits for its hour");
    b.answer(3, Verdict::Delivered);
    assert!(b.wait_on() > Duration::from_secs(3500));
    assert_eq!(b.wire(), [1]);
}

#[test]
fn uploads_that_fail_together_are_one_failure() {
    let mut b = Bench::new(64);
    b.spooled(1..=64);
    for id in 1..=64 {
        b.answer(id, retry());
    }
    let waited = b.wait_on();
    assert!(waited <= 500 * MS, "{waited:?} after one bad moment");
    assert_eq!(b.wire(), [1]);
}

#[test]
fn a_refusal_after_bad_weather_is_no_busy_loop() {
    let mut b = Bench::new(1);
    b.spooled([1]).answer(1, retry());
    b.wait_on();
    let begun = b.now;
    for _ in 0..20 {
        b.answer(1, refused());
        assert_eq!(b.wire(), [0; 0], "tried again at once");
        assert!(b.wait_on() > Duration::ZERO);
    }
    assert!(b.now - begun > Duration::from_secs(60), "20 tries within {:?}", b.now - begun);
}

#[test]
fn a_refused_batch_whose_neighbours_passed_during_its_first_try_is_held_aside() {
    let mut b = Bench::new(2);
    b.spooled(1..=2).answer(2, Verdict::Delivered);
    for _ in 0..2 {
        b.answer(1, refused()).settle();
        b.wait_on();
    }
    b.answer(1, refused()).settle();
    assert_eq!(b.settled, BTreeMap::from([(1, Fate::Aside), (2, Fate::Delivered)]));
    assert_eq!(b.sender.pending(), 0);
}

#[test]
fn what_a_destination_refused_while_it_refused_all_is_tried_again_once_it_is_mended() {
    let mut b = Bench::new(2);
    b.spooled(1..=6);
    let mut turns = 0;
    while turns < 60 {
        match b.wire().first().copied() {
            Some(id) => {
                b.answer(id, refused());
            }
            None => {
                b.wait_on();
            }
        }
        turns += 1;
    }
    assert_eq!(b.mood(), Mood::Holding);
    while b.sender.pending() > 0 {
        match b.wire().first().copied() {
            Some(id) => {
                b.answer(id, Verdict::Delivered);
            }
            None if b.judging.is_empty() => {
                b.wait_on();
            }
            None => {}
        }
        b.settle();
    }
    assert_eq!(b.settled, (1..=6).map(|id| (id, Fate::Delivered)).collect());
}

#[test]
fn two_poisonous_batches_do_not_hold_the_third() {
    let mut b = Bench::new(1);
    b.spooled(1..=2);
    for _ in 0..40 {
        match b.wire().first().copied() {
            Some(id) => {
                b.answer(id, refused());
            }
            None => {
                b.wait_on();
            }
        }
    }
    assert_eq!(b.mood(), Mood::Holding);
    b.spooled([3]);
    for _ in 0..200 {
        match b.wire().first().copied() {
            Some(3) => {
                b.answer(3, Verdict::Delivered);
            }
            Some(id) => {
                b.answer(id, refused());
            }
            None if b.sender.pending() == 0 => break,
            None => {
                b.wait_on();
            }
        }
        b.settle();
    }
    assert_eq!(b.settled, BTreeMap::from([(1, Fate::Aside), (2, Fate::Aside), (3, Fate::Delivered)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a destination says for a while: once it takes batches, each has one verdict and none is forgotten.
    #[test]
    fn every_batch_has_one_verdict_in_the_end(
        uploads in 1usize..4,
        script in proptest::collection::vec((0u8..8, 0usize..4, any::<bool>()), 0..120),
    ) {
        let mut b = Bench::new(uploads);
        let mut next = 1;
            for (what, at, more) in script {
            if more {
                b.step(SendEvent::Spooled(vec![batch(next, 4)]));
                next += 1;
            }
            prop_assert!(b.wire.len() <= uploads);
            if b.wire.is_empty() {
                if b.sender.deadline().is_some() { b.wait_on(); }
                continue;
            }
            let id = b.wire()[at % b.wire.len()];
            let verdict = match what {
                0 | 1 => Verdict::Delivered,
                2 => retry(),
                3 => hold(),
                4 => refused(),
                // A child has one record: all of it again is a retry, all of it refused its end.
                5 => partly(&[0], &[], None),
                6 => partly(&[], &[0], None),
                _ => Verdict::TooLarge { why: "413".into() },
            };
            b.answer(id, verdict);
            for parent in std::mem::take(&mut b.splits) {
                b.step(SendEvent::Split { parent: BatchId(parent), children: vec![batch(next, 1), batch(next + 1, 1)] });
                next += 2;
            }
            for (parent, picks) in std::mem::take(&mut b.picks) {
                let again = (!picks.again.is_empty()).then(|| batch(next, picks.again.len() as u64));
                next += 1;
                b.step(SendEvent::Parted { parent: BatchId(parent), again, rejects: Vec::new() });
            }
            if more { b.settle(); }
        }
        let mut turns = 0;
        while b.sender.pending() > 0 {
            turns += 1;
            prop_assert!(turns < 2000, "it does not come to an end");
            while let Some((id, _)) = b.wire.first().copied() {
                b.answer(id, Verdict::Delivered);
            }
            b.settle();
            if b.wire.is_empty() && b.sender.pending() > 0 {
                b.wait_on();
            }
        }
        prop_assert_eq!(b.sender.bodies_bytes(), 0);
        prop_assert_eq!(b.sender.deadline(), None);
    }
    /// However a destination fails, it is asked seldom: an outage of an hour costs it some hundred uploads, not millions.
    #[test]
    fn no_trouble_is_a_busy_loop(
        uploads in 1usize..4,
        batches in 1u64..6,
        script in proptest::collection::vec(2u8..5, 1..40),
    ) {
        let mut b = Bench::new(uploads);
        b.spooled(1..=batches);
        let (begun, mut turn) = (b.now, 0);
        while b.now - begun < Duration::from_secs(3600) {
            match b.wire().first().copied() {
                Some(id) => {
                    let verdict = match script[turn.min(script.len() - 1)] {
                        2 => retry(),
                        3 => hold(),
                        _ => refused(),
                    };
                    turn += 1;
                    b.answer(id, verdict);
                }
                None => prop_assert!(b.wait_on() > Duration::ZERO),
            }
            prop_assert!(turn < 600, "{turn} uploads in {:?}", b.now - begun);
        }
        prop_assert!(b.settled.is_empty() && b.judging.is_empty(), "nothing has passed: nobody is to blame");
    }
}

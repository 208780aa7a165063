//! A job's own bytes a second, counted under a clock of the test's own.
#![allow(clippy::unwrap_used)]
mod sender_kit;

use edgepush::destination::{Answer, Verdict};
use edgepush::protocol::{BatchId, JobId, Now, Spooled};
use edgepush::sender::{LaneChange, SendAction, SendEvent, SendJob, Sender, SenderSettings};
use sender_kit::{MS, SEC, retry, sized};
use std::time::Duration;

const PACED: JobId = JobId(1);
const FREE: JobId = JobId(2);

struct Bench {
    sender: Sender,
    now: Duration,
    wire: Vec<(JobId, BatchId, u64, bool)>,
}

impl Bench {
    /// One lane of 1000 bytes a second, one that has no bound.
    fn new(slots: usize) -> Bench {
        let settings = SenderSettings { uploads_max: slots, bodies_bytes_max: 1 << 20, seed: 7 };
        let jobs = vec![paced(Some(1000)), SendJob::new(FREE, 4)];
        let mut bench = Bench { sender: Sender::new(jobs, settings), now: SEC, wire: Vec::new() };
        bench.step(SendEvent::Spooled(Vec::new()));
        bench
    }

    fn step(&mut self, event: SendEvent) {
        let mut out = Vec::new();
        self.sender.step(Now { mono: self.now, wall: 0 }, event, &mut out);
        for action in out {
            match action {
                SendAction::Upload { batch, .. } => {
                    let bytes = batch.pieces.iter().map(|piece| piece.len).sum();
                    self.wire.push((batch.job, batch.id, bytes, batch.body.is_some()));
                }
                SendAction::Judge(judged) => {
                    let ids = judged.into_iter().map(|judged| judged.id).collect();
                    self.step(SendEvent::Durable(ids));
                }
                _ => {}
            }
        }
    }

    fn spool(&mut self, job: JobId, ids: std::ops::Range<u64>, bytes: u64) {
        let batches: Vec<Spooled> = ids.map(|id| sized(id, job, 1, bytes)).collect();
        self.step(SendEvent::Spooled(batches));
    }

    /// Every upload under way ends so, at once; what was sent.
    fn answer(&mut self, verdict: &Verdict) -> Vec<(JobId, u64)> {
        let wire = std::mem::take(&mut self.wire);
        for (_, id, _, _) in &wire {
            self.step(SendEvent::Outcome { id: *id, answer: Answer::from(verdict.clone()) });
        }
        wire.into_iter().map(|(job, _, bytes, _)| (job, bytes)).collect()
    }
}

fn paced(egress_max: Option<u64>) -> SendJob {
    SendJob { egress_max, ..SendJob::new(PACED, 4) }
}

#[test]
fn a_job_sends_its_bytes_a_second_and_no_more() {
    let mut bench = Bench::new(64);
    bench.spool(PACED, 1..41, 500);
    let mut sent = 0;
    while bench.sender.pending() > 0 {
        let at = (bench.now - SEC).as_secs_f64();
        for (_, bytes) in bench.answer(&Verdict::Delivered) {
            sent += bytes;
        }
        // One batch goes at once; what it took is waited for behind it.
        assert!(sent as f64 <= 1000.0 * at + 500.0, "{sent} bytes after {at} s");
        assert!(sent as f64 > 1000.0 * at - 500.0, "only {sent} bytes after {at} s");
        bench.now += 20 * MS;
        assert!(bench.now < 60 * SEC);
        bench.step(SendEvent::Tick);
    }
    assert_eq!(sent, 40 * 500);
}

#[test]
fn a_job_that_waits_for_its_bytes_takes_nothing_from_others() {
    let mut bench = Bench::new(1);
    bench.spool(PACED, 1..9, 5000);
    assert_eq!(bench.answer(&Verdict::Delivered), [(PACED, 5000)]);
    // No slot: the only one is free for the other, again and again.
    bench.spool(FREE, 100..120, 5000);
    let mut others = 0;
    while others < 20 {
        let sent = bench.answer(&Verdict::Delivered);
        assert!(!sent.is_empty(), "nothing goes out beside the job that waits");
        assert!(sent.iter().all(|(job, _)| *job == FREE), "{sent:?}");
        others += sent.len();
    }
    // No memory: what comes behind a queue is read from the spool when its turn comes.
    assert!(!bench.sender.may_keep(PACED, 10) && bench.sender.may_keep(FREE, 10));
    // And it is not forgotten.
    assert_eq!(bench.sender.deadline(), Some(SEC + 5 * SEC));
    bench.now = 6 * SEC;
    bench.step(SendEvent::Tick);
    assert_eq!(bench.answer(&Verdict::Delivered), [(PACED, 5000)]);
}

#[test]
fn retries_take_bytes_as_well_and_a_new_bound_counts_at_once() {
    let mut bench = Bench::new(64);
    bench.spool(PACED, 1..4, 60_000);
    assert_eq!(bench.answer(&retry()).len(), 1);
    // Its back-off would be over, its bytes are not.
    bench.now += 59 * SEC;
    bench.step(SendEvent::Tick);
    assert_eq!(bench.wire.len(), 0);
    bench.step(SendEvent::Jobs(vec![LaneChange::Put(paced(Some(1000)))]));
    assert_eq!(bench.wire.len(), 0, "a change of something else frees nothing");
    bench.step(SendEvent::Jobs(vec![LaneChange::Put(paced(None))]));
    assert_eq!(bench.answer(&Verdict::Delivered).len(), 1);
    assert_eq!(bench.wire.len(), 2, "without a bound all go");
}

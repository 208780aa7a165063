//! Sender: retry, back-off, order and verdicts, once for every kind of destination (PROTOCOL P5, INTERFACE 5).
//!
//! Promises: a batch has one verdict, told once; verdicts are collected for 100 ms at most; a lane's trouble stops no
//! other lane; nothing is tried again in a busy loop. Decides only: [`Uploads`] sends.
//! Must not know: how a batch is sent, the ledger's rows.
mod backoff;
mod lane;
mod uploads;

pub use lane::Mood;
pub use uploads::{Uploaded, Uploads};

use crate::destination::{Answer, Verdict};
use crate::protocol::{BatchId, Fate, JobId, Judged, Now, Spooled};
use backoff::Backoff;
use lane::{Lane, Next};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Verdicts wait so long for others to share their transaction (PROTOCOL P5).
const VERDICTS_WAIT: Duration = Duration::from_millis(100);
/// So many do not wait any longer.
const VERDICTS_MAX: usize = 64;
/// What the last run left goes out over this time: a fleet that restarts together does not knock together.
const RESTART_JITTER: Duration = Duration::from_millis(100);

/// What the sender must know of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendJob {
    /// The job.
    pub job: JobId,
    /// Parallel uploads.
    pub uploads: usize,
}

/// What the sender is told.
#[derive(Debug)]
pub enum SendEvent {
    /// Batches that are durable: those of the last run first, then those of each commit.
    Spooled(Vec<Spooled>),
    /// An upload ended.
    Outcome {
        /// The batch.
        id: BatchId,
        /// What the destination said.
        answer: Answer,
    },
    /// These verdicts are durable.
    Durable(Vec<BatchId>),
    /// A batch was replaced by its parts, durably. No parts: it was gone.
    Split {
        /// The batch that was too large.
        parent: BatchId,
        /// Its parts, in order.
        children: Vec<Spooled>,
    },
    /// A batch could not be split, or read: it is held aside.
    Unreadable {
        /// The batch.
        id: BatchId,
        /// Why.
        why: String,
    },
    /// The time of [`Sender::deadline`] has come.
    Tick,
    /// No upload begins any more.
    Stop,
}

/// What the sender asks for.
#[derive(Debug)]
pub enum SendAction {
    /// Send a batch. The answer is an [`SendEvent::Outcome`].
    Upload {
        /// The batch.
        batch: Arc<Spooled>,
        /// From 1.
        attempt: u32,
    },
    /// Make verdicts durable. The answer is a [`SendEvent::Durable`].
    Judge(Vec<Judged>),
    /// Cut a batch in two. The answer is a [`SendEvent::Split`] or [`SendEvent::Unreadable`].
    Split {
        /// The batch.
        batch: Arc<Spooled>,
    },
    /// A verdict is durable: for the counters.
    Settled {
        /// The batch, without its body.
        batch: Arc<Spooled>,
        /// What became of it.
        fate: Fate,
    },
    /// Something for the log.
    Notice(SendNotice),
}

/// What an operator should know, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendNotice {
    /// The destination fails: batches wait in the spool.
    Retrying {
        /// The job.
        job: JobId,
        /// What it said.
        why: String,
    },
    /// Something concerns every batch.
    Holding {
        /// The job.
        job: JobId,
        /// What it said.
        why: String,
    },
    /// It takes batches again.
    Well {
        /// The job.
        job: JobId,
    },
    /// A batch is held aside.
    Aside {
        /// The job.
        job: JobId,
        /// The batch's name.
        name: Arc<str>,
        /// What the destination said.
        why: String,
    },
}

impl SendNotice {
    /// The job that it is about.
    pub fn job(&self) -> JobId {
        match self {
            SendNotice::Retrying { job, .. }
            | SendNotice::Holding { job, .. }
            | SendNotice::Well { job }
            | SendNotice::Aside { job, .. } => *job,
        }
    }
}

impl fmt::Display for SendNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendNotice::Retrying { why, .. } => {
                write!(f, "the destination fails: {why}; batches wait in the spool and are tried again")
            }
            SendNotice::Holding { why, .. } => write!(
                f,
                "the job holds: {why}; its batches wait in the spool, the oldest is tried at least once a minute"
            ),
            SendNotice::Well { .. } => f.write_str("the destination takes batches again"),
            SendNotice::Aside { name, why, .. } => {
                write!(f, "batch {name} is held aside, since its neighbours pass and it does not: {why}")
            }
        }
    }
}

/// A job's lane, for `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The job.
    pub job: JobId,
    /// What its destination is like.
    pub mood: Mood,
    /// The last error.
    pub error: Option<String>,
    /// Batches that wait or are under way.
    pub batches: usize,
    /// Time of the oldest record among them, ns since the epoch.
    pub oldest: Option<i64>,
}

/// The machine.
#[derive(Debug)]
pub struct Sender {
    lanes: Vec<Lane>,
    backoff: Backoff,
    judged: Vec<Judged>,
    /// When the oldest of them is to be durable (monotonic).
    judge_at: Duration,
    /// Batches with a verdict that is not durable yet.
    unsettled: HashMap<BatchId, (Arc<Spooled>, Fate)>,
    begun: bool,
    stopped: bool,
}

impl Sender {
    /// A sender for these jobs.
    pub fn new(jobs: Vec<SendJob>, seed: u64) -> Sender {
        Sender {
            lanes: jobs.iter().map(|job| Lane::new(job.job, job.uploads)).collect(),
            backoff: Backoff::new(seed),
            judged: Vec::new(),
            judge_at: Duration::ZERO,
            unsettled: HashMap::new(),
            begun: false,
            stopped: false,
        }
    }

    /// Batches whose verdict is not durable.
    pub fn pending(&self) -> usize {
        self.lanes.iter().map(Lane::len).sum::<usize>() + self.unsettled.len()
    }

    /// Batches on the wire, being split, or with a verdict that is not durable yet.
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight).sum::<usize>() + self.unsettled.len()
    }

    /// Bytes of bodies that are held in memory.
    pub fn bodies_bytes(&self) -> u64 {
        self.lanes.iter().map(Lane::bodies_bytes).sum()
    }

    /// When a [`SendEvent::Tick`] is wanted next (monotonic).
    pub fn deadline(&self) -> Option<Duration> {
        let judge = (!self.judged.is_empty()).then_some(self.judge_at);
        let lanes = self.lanes.iter().filter(|_| !self.stopped).filter_map(Lane::deadline).min();
        [judge, lanes].into_iter().flatten().min()
    }

    /// Every job's lane.
    pub fn lanes(&self) -> impl Iterator<Item = LaneState> {
        self.lanes.iter().map(|lane| LaneState {
            job: lane.job,
            mood: lane.mood(),
            error: lane.error().map(str::to_owned),
            batches: lane.len(),
            oldest: lane.oldest(),
        })
    }

    /// Takes one event, appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: SendEvent, out: &mut Vec<SendAction>) {
        match event {
            SendEvent::Spooled(batches) => self.spooled(now, batches),
            SendEvent::Outcome { id, answer } => self.outcome(now, id, answer.verdict, out),
            SendEvent::Durable(ids) => self.durable(&ids, out),
            SendEvent::Split { parent, children } => self.split(parent, children),
            SendEvent::Unreadable { id, why } => self.unreadable(now, id, why, out),
            SendEvent::Tick => {}
            SendEvent::Stop => self.stopped = true,
        }
        self.upload(now, out);
        self.judge(now, out);
    }

    fn lane(&mut self, job: JobId) -> &mut Lane {
        // A job that the settings no longer have keeps what it left, under a lane of its own.
        let at = self.lanes.iter().position(|lane| lane.job == job);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(Lane::new(job, 1));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    fn spooled(&mut self, now: Now, batches: Vec<Spooled>) {
        let restart = !std::mem::replace(&mut self.begun, true);
        for batch in batches {
            let wait = if restart { self.backoff.up_to(RESTART_JITTER) } else { Duration::ZERO };
            self.lane(batch.job).push(batch, now.mono + wait);
        }
    }

    fn outcome(&mut self, now: Now, id: BatchId, verdict: Verdict, out: &mut Vec<SendAction>) {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.has(id)) else {
            debug_assert!(false, "an outcome of batch {id:?}, which is not under way");
            return;
        };
        let (job, before) = (lane.job, lane.mood());
        let next = lane.answer(now.mono, id, verdict, &mut self.backoff);
        let (mood, why) = (lane.mood(), lane.error().unwrap_or_default().to_owned());
        if mood != before {
            out.push(SendAction::Notice(match mood {
                Mood::Well => SendNotice::Well { job },
                Mood::Retrying => SendNotice::Retrying { job, why },
                Mood::Holding => SendNotice::Holding { job, why },
            }));
        }
        for next in next {
            match next {
                Next::Delivered(batch) => self.verdict(now, batch, Fate::Delivered, String::new()),
                Next::Aside(batch, why) => self.aside(now, batch, why, out),
                Next::Split(batch) => out.push(SendAction::Split { batch }),
            }
        }
    }

    fn aside(&mut self, now: Now, batch: Arc<Spooled>, why: String, out: &mut Vec<SendAction>) {
        let (job, name) = (batch.job, batch.name.clone());
        out.push(SendAction::Notice(SendNotice::Aside { job, name, why: why.clone() }));
        self.verdict(now, batch, Fate::Aside, why);
    }

    fn verdict(&mut self, now: Now, batch: Arc<Spooled>, fate: Fate, reason: String) {
        if self.judged.is_empty() {
            self.judge_at = now.mono + VERDICTS_WAIT;
        }
        self.judged.push(Judged { id: batch.id, fate, reason });
        let batch = Arc::new(Spooled { body: None, ..(*batch).clone() });
        let twice = self.unsettled.insert(batch.id, (batch, fate));
        debug_assert!(twice.is_none(), "two verdicts on one batch");
    }

    fn durable(&mut self, ids: &[BatchId], out: &mut Vec<SendAction>) {
        for id in ids {
            if let Some((batch, fate)) = self.unsettled.remove(id) {
                out.push(SendAction::Settled { batch, fate });
            }
        }
    }

    fn split(&mut self, parent: BatchId, mut children: Vec<Spooled>) {
        for lane in &mut self.lanes {
            match lane.split(parent, children) {
                Some(back) => children = back,
                None => return,
            }
        }
        debug_assert!(false, "batch {parent:?} was split and nobody had asked for it");
    }

    fn unreadable(&mut self, now: Now, id: BatchId, why: String, out: &mut Vec<SendAction>) {
        if let Some(batch) = self.lanes.iter_mut().find_map(|lane| lane.take(id)) {
            self.aside(now, batch, why, out);
        }
    }

    fn upload(&mut self, now: Now, out: &mut Vec<SendAction>) {
        if self.stopped {
            return;
        }
        for lane in &mut self.lanes {
            while let Some((batch, attempt)) = lane.pick(now.mono) {
                out.push(SendAction::Upload { batch, attempt });
            }
        }
    }

    /// Gives out verdicts when they have waited long enough, or nothing is under way that could join them.
    fn judge(&mut self, now: Now, out: &mut Vec<SendAction>) {
        let alone = self.lanes.iter().all(|lane| lane.in_flight() == 0);
        let due = alone || now.mono >= self.judge_at || self.judged.len() >= VERDICTS_MAX;
        if due && !self.judged.is_empty() {
            out.push(SendAction::Judge(std::mem::take(&mut self.judged)));
        }
    }
}

//! What the sender is told, what it asks for, and what it tells of itself.
//!
//! Promises: owned values only.
//! Must not know: how anything is decided.
use super::lane::Mood;
use super::picking::Picks;
use super::turns::Standing;
use crate::destination::Answer;
use crate::protocol::{BatchId, Fate, JobId, Judged, Spooled};
use std::fmt;
use std::sync::Arc;

/// What the sender must know of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendJob {
    /// The job.
    pub job: JobId,
    /// Parallel uploads, at least 1.
    pub uploads: usize,
    /// The job is disabled: its batches wait and are not sent.
    pub hold: bool,
    /// Over its share of the spool it loses its oldest batches instead of being parked.
    pub drop_oldest: bool,
    /// Most bytes a second that leave for its destination.
    pub egress_max: Option<u64>,
}

impl SendJob {
    /// An enabled job that is parked when it is over its share.
    pub fn new(job: JobId, uploads: usize) -> SendJob {
        SendJob { job, uploads, hold: false, drop_oldest: false, egress_max: None }
    }
}

/// A job changes while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneChange {
    /// The job is new, or is so from now on. What a former destination wished is forgotten: it is tried at once.
    Put(SendJob),
    /// The job and the rows of its batches are gone, durably. What is said of its batches from now on is not heard.
    Delete(JobId),
}

/// The agent's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderSettings {
    /// Uploads and cuts under way at once, of all jobs.
    pub uploads_max: usize,
    /// Bytes of bodies that stay in memory from their commit to their upload, of all jobs.
    pub bodies_bytes_max: u64,
    /// What back-off is drawn from.
    pub seed: u64,
}

impl SenderSettings {
    /// So many uploads at once, where nothing else is said.
    pub const UPLOADS_MAX: usize = 64;
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
    /// A batch that was answered record by record has ended, durably. Neither child nor rejects: it was gone.
    Parted {
        /// The batch.
        parent: BatchId,
        /// Its records that are sent again.
        again: Option<Spooled>,
        /// Those that were refused, as batches of the rejects.
        rejects: Vec<Spooled>,
    },
    /// A batch could not be split, or read: it is held aside.
    Unreadable {
        /// The batch.
        id: BatchId,
        /// Why.
        why: String,
    },
    /// Jobs come, change or go.
    Jobs(Vec<LaneChange>),
    /// At start: these jobs' last upload of the last run was delivered, so their destinations are no strangers.
    Known(Vec<JobId>),
    /// At start: the last run has left these jobs parked. They are over their share until they have room.
    Parked(Vec<JobId>),
    /// What the spool takes, and what it may take, bytes.
    Space {
        /// All that counts against the limit.
        used_bytes: u64,
        /// Where readers would have to stand still.
        limit_bytes: u64,
    },
    /// The time of [`Sender::deadline`](super::Sender::deadline) has come.
    Tick,
    /// Verdicts are made durable at once: jobs are about to go with what they hold.
    Settle,
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
        /// What its destination is like: [`Uploads`](super::Uploads) shares memory by it.
        standing: Standing,
    },
    /// Make verdicts durable. The answer is a [`SendEvent::Durable`].
    Judge(Vec<Judged>),
    /// Cut a batch in two. The answer is a [`SendEvent::Split`] or [`SendEvent::Unreadable`].
    Split {
        /// The batch.
        batch: Arc<Spooled>,
    },
    /// Pick the records of a batch that its destination has not taken. The answer is a [`SendEvent::Parted`] or
    /// [`SendEvent::Unreadable`].
    Pick {
        /// The batch.
        batch: Arc<Spooled>,
        /// Which.
        picks: Picks,
    },
    /// The job holds more of the spool than its share: it is to take no more records (PROTOCOL P6). Said once.
    OverShare {
        /// The job.
        job: JobId,
    },
    /// The job has room again.
    UnderShare {
        /// The job.
        job: JobId,
    },
    /// A verdict is durable: for the counters.
    Settled {
        /// The batch, without its body.
        batch: Arc<Spooled>,
        /// What became of it.
        fate: Fate,
    },
    /// A batch was taken in part, durably: for the counters.
    Parted {
        /// The batch, without its body.
        batch: Arc<Spooled>,
        /// Records that the destination has.
        taken: u64,
        /// Records that went to the rejects.
        refused: u64,
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
    /// A batch was refused often enough to be suspected; whether it is to blame is known when another one passes.
    Suspect {
        /// The job.
        job: JobId,
        /// The batch's name.
        name: Arc<str>,
        /// What the destination said.
        why: String,
    },
    /// A destination has taken a batch in part.
    Partly {
        /// The job.
        job: JobId,
        /// The batch's name.
        name: Arc<str>,
        /// Records that are sent again.
        again: usize,
        /// Records that go to the rejects.
        refused: usize,
        /// What the destination said.
        why: String,
    },
    /// The job is over its share of the spool and declares `drop_oldest`. Said once until a batch is delivered.
    Dropping {
        /// The job.
        job: JobId,
    },
}

impl SendNotice {
    /// The job that it is about.
    pub fn job(&self) -> JobId {
        match self {
            SendNotice::Retrying { job, .. }
            | SendNotice::Holding { job, .. }
            | SendNotice::Well { job }
            | SendNotice::Dropping { job }
            | SendNotice::Suspect { job, .. }
            | SendNotice::Partly { job, .. }
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
            SendNotice::Dropping { .. } => f.write_str(
                "the job is over its share of the spool: its oldest batches are dropped, as it declares, and counted",
            ),
            SendNotice::Partly { name, again, refused, why, .. } => write!(
                f,
                "batch {name} was taken in part: {again} records are sent again, {refused} are refused and go to the \
                 rejects: {why}"
            ),
            SendNotice::Suspect { name, why, .. } => write!(
                f,
                "batch {name} is refused again and again: {why}; it is tried on, and held aside once another batch passes"
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
    /// What they take of the spool, bytes.
    pub bytes: u64,
    /// The job is disabled.
    pub held: bool,
    /// The job is over its share of the spool.
    pub over_share: bool,
    /// Since when it fails without having delivered anything, ns since the epoch (`EDGEPUSH_JOB_DISABLE_AFTER`).
    pub failing_since: Option<i64>,
    /// Uploads that ended, since the start.
    pub uploads: u64,
    /// Records that were delivered, since the start.
    pub records: u64,
    /// Time of the latest record that was delivered since the start, ns since the epoch.
    pub last_complete: Option<i64>,
    /// When something went wrong last, ns since the epoch.
    pub last_error: Option<i64>,
}

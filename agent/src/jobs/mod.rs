//! jobs: what customers ask for, and the rules by which it changes.
//!
//! [`config`] is one job as it is written, [`book`] the set of all jobs with every rule, [`owner`] whose a job is and
//! where it comes from, [`challenge`] the proof that a destination is its owner's, [`redact`] what is shown of one,
//! [`zones`] which hosts a zone's job sees. [`JobsPort`] is what the API sees of the agent that runs them. [`set`] reads
//! the jobs of files, [`guard`] says whether they may replace those that run, [`files`] and [`poll`] look
//! at them, [`follow`](mod@follow) carries it out.
//!
//! Promises: no clock, no file, no network in any of it but `files`, `poll` and `follow`; what is accepted here can be compiled and run.
//! Must not know: shards, the ledger, HTTP.
pub mod book;
pub mod challenge;
pub mod config;
pub mod files;
pub mod follow;
pub mod guard;
pub mod owner;
pub mod poll;
pub mod redact;
pub mod set;
pub mod testing;
pub mod zones;

pub use book::{Book, BookLimits, Change, Job, JobChange, Life, Refusal};
pub use challenge::Challenges;
pub use config::{Checks, JobConfig, Problem, UploadLimits};
pub use follow::{Follow, JobsFrom, Pace, follow};
pub use guard::GuardState;
pub use owner::{Origin, OriginKind, Owner};
pub use zones::Zones;

use crate::destination::{Boxed, Destination};
use crate::protocol::{AsideWord, BatchId, Spooled};
use edgepush_shard::chunk::JobId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What whoever changes jobs sees of the agent that runs them.
pub trait JobsPort: Send + Sync {
    /// All jobs as they are now.
    fn book(&self) -> Arc<Book>;
    /// Plans a change on the book of that moment and carries it out. Done = the cut is durable (INTERFACE 6: ≤ 1 s).
    fn change(&self, change: Change) -> Boxed<'static, Result<Vec<JobChange>, ChangeError>>;
    /// A destination, opened for a probe. Touches nothing yet.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    fn destination(&self, conf: &str) -> Result<Arc<dyn Destination>, String>;
    /// The figures of a job; all zero when nothing is known.
    fn health(&self, job: JobId) -> JobHealth;
    /// Carries out a word on a batch that is held aside, and tells the batch; `None`: no such batch is. Done = durable.
    fn aside(&self, id: BatchId, word: AsideWord) -> Boxed<'static, Result<Option<Spooled>, ChangeError>> {
        let _ = (id, word);
        Box::pin(async { Err(ChangeError::Unavailable("nobody keeps batches here".into())) })
    }
    /// How the sets stand that come from files; `None`: nobody follows any.
    fn guard(&self) -> Option<Arc<GuardState>> {
        None
    }
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeError {
    /// A rule forbids it.
    Refused(Refusal),
    /// Not now: the agent stops, or its disk is full. In plain words.
    Unavailable(String),
}

/// The figures of one job since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobHealth {
    /// Uploads that were delivered.
    pub uploads: u64,
    /// Records in them.
    pub records: u64,
    /// Uncompressed bytes of those.
    pub bytes: u64,
    /// Bytes that were sent for them.
    pub bytes_compressed: u64,
    /// Uploads that were tried again, by the status that they had got.
    pub retries: BTreeMap<String, u64>,
    /// Age of the oldest record that is not delivered, seconds; 0 when all are.
    pub lag_seconds: u64,
    /// `ok`, `retrying`, `holds`, `parked`, `disabled`.
    pub state: String,
}

//! Destination: how one kind of target takes a batch, and what its answer means.
//!
//! Promises: a destination says what happened in one of the verdicts below and nothing else; retry, back-off, order
//! and durability exist once, in `sender`. A new kind is one file and one row in [`kind::DESTINATIONS`].
//! Must not know: the spool, the ledger, jobs, other destinations.
pub mod archive;
mod body;
pub mod client;
pub mod document;
mod elastic;
pub mod exchange;
pub mod file;
pub mod http;
pub mod kind;
pub mod null;
mod parameter;
pub mod proof;
pub(crate) mod redact;
pub mod store;
pub(crate) mod text;
pub mod url;
mod vendor;

pub use kind::{DESTINATIONS, Opening};
pub(crate) use text::nearest;
pub use url::DestinationUrl;

use bytes::Bytes;
use edgepush_shard::batch::Container;
use edgepush_shard::codec::CodecKind;
use edgepush_shard::segment::Shelf;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// One upload: a whole batch under its final name.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Object name with its path (INTERFACE 4).
    pub name: Arc<str>,
    /// `Idempotency-Key`: equal in every retry and after restarts.
    pub key: Arc<str>,
    /// Codec of the body.
    pub codec: CodecKind,
    /// Container of a gzip body.
    pub container: Container,
    /// Records in it.
    pub records: u64,
    /// Whether they are comma-separated values and no JSON.
    pub csv: bool,
    /// The body, in order; cheap to clone for a retry.
    pub body: Vec<Bytes>,
    /// Where it belongs, of an archive.
    pub shelf: Option<Arc<Shelf>>,
}

impl Outgoing {
    /// Bytes of the body.
    pub fn len(&self) -> u64 {
        self.body.iter().map(|b| b.len() as u64).sum()
    }
    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a destination's answer means (INTERFACE 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the batch.
    Delivered,
    /// Weather: try again, not before `after` when the target said so.
    Retry {
        /// The target's own wish, ≤ 1 h.
        after: Option<Duration>,
        /// In plain words, with the target's text.
        why: String,
    },
    /// The job holds: what is wrong concerns every batch (3xx, 401, 403, 404, other 4xx).
    Hold {
        /// In plain words, with the target's text.
        why: String,
    },
    /// This batch is refused (400, 415, 422).
    Refused {
        /// In plain words, with the target's text.
        why: String,
    },
    /// Too large for the target (413): split.
    TooLarge {
        /// In plain words, with the target's text.
        why: String,
    },
    /// Some of its records were answered one by one; all others are there.
    Partly {
        /// Places in the batch, from 0, ascending, of those to be sent again, alone.
        again: Vec<u32>,
        /// Places, ascending and none of them in `again`, of those that the target will never take, each with the target's
        /// words: they go to the rejects.
        refused: Vec<(u32, String)>,
        /// The target's own wish for those that are sent again, ≤ 1 h.
        after: Option<Duration>,
        /// In plain words, with the target's text.
        why: String,
    },
}

impl Verdict {
    /// Its words; `None`: the batch is delivered.
    pub fn why(self) -> Option<String> {
        match self {
            Verdict::Delivered => None,
            Verdict::Retry { why, .. }
            | Verdict::Hold { why }
            | Verdict::Refused { why }
            | Verdict::TooLarge { why }
            | Verdict::Partly { why, .. } => Some(why),
        }
    }

    /// The same with other words.
    pub fn told(mut self, tell: impl FnOnce(&str) -> String) -> Verdict {
        match &mut self {
            Verdict::Delivered => {}
            Verdict::Retry { why, .. }
            | Verdict::Hold { why }
            | Verdict::Refused { why }
            | Verdict::TooLarge { why }
            | Verdict::Partly { why, .. } => *why = tell(why),
        }
        self
    }

    /// The same of a batch of so many records, said plainly: a [`Verdict::Partly`] without exceptions is a delivery, one in
    /// which all are to be sent again a retry. Places that the batch does not have are weather: who knows what was meant.
    pub fn plain(self, records: u64) -> Verdict {
        let Verdict::Partly { again, refused, after, why } = self else { return self };
        if again.is_empty() && refused.is_empty() {
            return Verdict::Delivered;
        }
        let ascending = again.is_sorted_by(|a, b| a < b) && refused.is_sorted_by(|a, b| a.0 < b.0);
        let last = again.last().max(refused.last().map(|(place, _)| place));
        let within = last.is_some_and(|last| u64::from(*last) < records);
        let disjoint = refused.iter().all(|(place, _)| again.binary_search(place).is_err());
        if !(ascending && within && disjoint) {
            let why = format!(
                "the answer names records that the batch of {records} does not have, or has twice: {why}"
            );
            return Verdict::Retry { after, why };
        }
        if again.len() as u64 == records {
            return Verdict::Retry { after, why };
        }
        Verdict::Partly { again, refused, after, why }
    }
}

/// How an upload ended in the target's own terms: the label `status` of `edgepush_uploads_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// An HTTP status.
    Code(u16),
    /// Where there is none: `ok`, `error`, `timeout`, `refused`, `connect`, `dns`, `proxy`, `tls`, `closed`,
    /// `unreadable`.
    Word(&'static str),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Code(code) => code.fmt(f),
            Status::Word(word) => f.write_str(word),
        }
    }
}

/// What came of one upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it means.
    pub verdict: Verdict,
    /// What was said.
    pub status: Status,
}

impl From<Verdict> for Answer {
    /// The answer of a target that knows no status codes.
    fn from(verdict: Verdict) -> Answer {
        let word = if verdict == Verdict::Delivered { "ok" } else { "error" };
        Answer { verdict, status: Status::Word(word) }
    }
}

impl PartialEq<Verdict> for Answer {
    fn eq(&self, other: &Verdict) -> bool {
        self.verdict == *other
    }
}

/// A boxed future of a destination.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One target.
pub trait Destination: Send + Sync {
    /// Once, at the start of the agent, before anything is delivered.
    fn prepare(&self) -> Boxed<'_, ()> {
        Box::pin(async {})
    }
    /// Delivers one batch and says what the answer means. Never panics on weather.
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer>;
    /// Asks whether the target would take a batch (`check`). With `write` it may write and remove a probe object.
    fn probe(&self, write: bool) -> Boxed<'_, Result<(), String>>;
    /// Puts one small object beside where batches go, as text (the proof of ownership), and says under which name the
    /// target has it.
    ///
    /// # Errors
    /// Why not, in plain words and without secrets.
    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        let _ = (name, body);
        Box::pin(async { Err("this kind of destination takes no single objects".into()) })
    }
    /// Whether what it is given leaves the host (`EDGEPUSH_EGRESS_MAX`).
    fn leaves_host(&self) -> bool {
        false
    }
    /// What an operator should know of it although it works (`check`).
    fn notable(&self) -> Option<String> {
        None
    }
    /// Whether it uses keys of this host that its URL does not hold: not for jobs of customers, who would act with
    /// the operator's rights.
    fn borrows_keys(&self) -> bool {
        false
    }
    /// The URL without its secrets, for logs and APIs.
    fn redacted(&self) -> &str;
}

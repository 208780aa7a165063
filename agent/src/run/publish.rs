//! publish: asks the ledger in small steps which batches of the archive are due, and when to ask again.
//!
//! Promises: at most one step is under way; the next one waits until the sender has nearly sent what came of the last, so
//! that ten thousand files of one hour are neither in memory at once nor in the way of a commit.
//! Must not know: the ledger's rows, files.
use crate::ledger::{LedgerEvent, Left, Space};
use std::time::Duration;

/// Batches that one step closes.
const STEP: usize = 128;
/// So many batches may wait to be sent when the next step is asked for.
const WAITING_MAX: usize = 64;
/// When nothing is due, the next question.
const EVERY: Duration = Duration::from_secs(1);

/// Where publication stands.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    /// There is, or was, a job of the archive.
    active: bool,
    asked: bool,
    /// Everything closes: the run ends.
    all: bool,
    /// What jobs share of the spool, bytes.
    shared_bytes: u64,
    /// The last step of [`Publishing::finish`] has come back.
    done: bool,
    /// Open batches, as told last.
    left: Left,
    next: Duration,
}

impl Publishing {
    /// `left`: batches that the last run left open; `shelved`: whether there is a job of the archive.
    pub(super) fn new(left: u64, shelved: bool) -> Publishing {
        let left = Left { batches: left, bytes: 0 };
        Publishing {
            active: left.batches > 0 || shelved,
            left,
            shared_bytes: u64::MAX,
            ..Publishing::default()
        }
    }

    /// There is a job of the archive from here on.
    pub(super) fn begin(&mut self) {
        self.active = true;
    }

    /// Everything that is open is published: the run ends.
    pub(super) fn finish(&mut self, now: Duration) {
        (self.all, self.done, self.next) = (true, !self.active, now);
    }

    /// Whether all that [`Publishing::finish`] asked for has been closed.
    pub(super) fn is_done(&self) -> bool {
        self.done || !self.all
    }

    /// Batches that are open.
    pub(super) fn left(&self) -> u64 {
        self.left.batches
    }

    /// What the spool has room for.
    pub(super) fn space(&mut self, space: Space) {
        self.shared_bytes = space.shared_bytes;
    }

    /// The next step, if it is time; `waiting`: batches that the sender has.
    pub(super) fn ask(&mut self, now: Duration, waiting: usize) -> Option<LedgerEvent> {
        let due = self.active && !self.asked && !self.done && now >= self.next && waiting <= WAITING_MAX;
        if !due {
            return None;
        }
        self.asked = true;
        // An hour must not fill the spool before it is over: then it has a file more.
        let pressed = self.left.bytes > self.shared_bytes / 2;
        Some(LedgerEvent::Publish { all: self.all || pressed, at_most: STEP })
    }

    /// What came of it.
    pub(super) fn told(&mut self, now: Duration, more: bool, left: Left) {
        (self.asked, self.left) = (false, left);
        self.done |= self.all && left.batches == 0;
        self.next = if more || self.all { now } else { now + EVERY };
    }

    /// When [`Publishing::ask`] is wanted next (monotonic).
    pub(super) fn deadline(&self, waiting: usize) -> Option<Duration> {
        (self.active && !self.asked && !self.done && waiting <= WAITING_MAX).then_some(self.next)
    }
}

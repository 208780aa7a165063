//! Shares: how much of the spool a job's undelivered batches may take (PROTOCOL P6).
//!
//! The rule. What is free bounds what one job may hold: a job that delivers is over its share when it holds more than is
//! free; one that fails, when it holds more than `free / (1 + jobs over their share)`. So one dead job ends at half of
//! the spool; n that die together end at `limit / (n + 1)` each, n that die one after another take `limit / (i · (i + 1))`
//! each, and in both cases `limit / (n + 1)` stays free. A job comes back when it holds less than half of what is free,
//! and its destination takes batches or nothing is left to send.
//!
//! Promises: each question costs a search in a tree, whatever the number of jobs.
//! Must not know: batches, what being over a share leads to.
use crate::protocol::JobId;
use std::collections::BTreeSet;

/// What a lane has in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) bytes: u64,
    /// Judged by the stricter bound.
    pub(super) failing: bool,
    /// Nothing can be done about it now: the job is disabled, or all is under way.
    pub(super) out: bool,
    pub(super) over: bool,
    /// It may come back.
    pub(super) mended: bool,
}

/// Where a lane stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stand {
    #[default]
    Out,
    Below {
        failing: bool,
        bytes: u64,
    },
    Back(u64),
}

#[derive(Clone, Copy, Debug)]
struct Space {
    /// What the spool will take, once the verdicts of that moment are durable.
    used: u64,
    limit: u64,
    /// What undelivered batches took of it at that moment.
    stored: u64,
}

#[derive(Debug, Default)]
pub(super) struct Shares {
    /// As told last.
    space: Option<Space>,
    /// Bytes of batches that are gone by verdicts which are not durable yet.
    leaving: u64,
    /// Jobs over their share.
    over: u64,
    well: BTreeSet<(u64, JobId)>,
    failing: BTreeSet<(u64, JobId)>,
    back: BTreeSet<(u64, JobId)>,
}

impl Shares {
    /// What the spool takes, while undelivered batches take so much of it.
    pub(super) fn space(&mut self, used: u64, limit: u64, stored: u64) {
        // The room that a verdict frees must not be missed twice: what is dropped for it is lost.
        self.space = Some(Space { used: used.saturating_sub(self.leaving), limit, stored });
    }

    /// A verdict frees so much once it is durable.
    pub(super) fn leaves(&mut self, bytes: u64) {
        self.leaving += bytes;
    }

    /// It is.
    pub(super) fn left(&mut self, bytes: u64) {
        self.leaving -= bytes;
    }

    /// One job more, or one less, is over its share.
    pub(super) fn over(&mut self, more: bool) {
        if more { self.over += 1 } else { self.over -= 1 }
    }

    /// Bytes that nobody takes, while undelivered batches take so much.
    fn free(&self, stored: u64) -> Option<u64> {
        let space = self.space?;
        let used = space.used.saturating_add(stored).saturating_sub(space.stored);
        Some(space.limit.saturating_sub(used))
    }

    /// A job that is over its share and was not yet.
    pub(super) fn next_over(&self, stored: u64) -> Option<JobId> {
        let free = self.free(stored)?;
        let over = |largest: Option<&(u64, JobId)>, times: u64| {
            largest.filter(|(bytes, _)| bytes.saturating_mul(times) > free).map(|(_, job)| *job)
        };
        over(self.failing.last(), self.over + 1).or_else(|| over(self.well.last(), 1))
    }

    /// A job that has room again.
    pub(super) fn next_back(&self, stored: u64) -> Option<JobId> {
        let free = self.free(stored)?;
        self.back.first().filter(|(bytes, _)| bytes.saturating_mul(2) < free).map(|(_, job)| *job)
    }

    /// A lane stands elsewhere now.
    pub(super) fn seat(&mut self, job: JobId, stand: &mut Stand, claim: Claim) {
        let next = match claim {
            Claim { out: true, .. } | Claim { over: true, mended: false, .. } => Stand::Out,
            Claim { over: true, bytes, .. } => Stand::Back(bytes),
            Claim { bytes: 0, .. } => Stand::Out,
            Claim { failing, bytes, .. } => Stand::Below { failing, bytes },
        };
        if next == *stand {
            return;
        }
        self.leave(job, stand);
        match next {
            Stand::Out => {}
            Stand::Below { failing: true, bytes } => _ = self.failing.insert((bytes, job)),
            Stand::Below { failing: false, bytes } => _ = self.well.insert((bytes, job)),
            Stand::Back(bytes) => _ = self.back.insert((bytes, job)),
        }
        *stand = next;
    }

    /// A lane stands nowhere.
    pub(super) fn leave(&mut self, job: JobId, stand: &mut Stand) {
        match std::mem::take(stand) {
            Stand::Out => {}
            Stand::Below { failing: true, bytes } => _ = self.failing.remove(&(bytes, job)),
            Stand::Below { failing: false, bytes } => _ = self.well.remove(&(bytes, job)),
            Stand::Back(bytes) => _ = self.back.remove(&(bytes, job)),
        }
    }
}

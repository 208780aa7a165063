//! Turns: whose upload begins next under one bound for all jobs, and whose wait is over when.
//!
//! The rule. There are `uploads_max` slots; an upload or a cut under way takes one.
//! - The lane with the fewest uploads under way goes first; among equals the one whose turn is longest ago. So everyone
//!   has one before anyone has two, a slow destination gets no further slot while a lane with fewer waits, and every
//!   lane's turn comes.
//! - Lanes that fail probe in a quarter of the slots, all together; those and the slow ones have half; those and the
//!   strangers, of which nothing is known yet, three quarters. So a quarter is always left to destinations that took
//!   their last batch quickly, however many others are dead or slow.
//!
//! What the rule cannot do: destinations that were quick, or strangers, and hang all at once keep the slots that they
//! have until their time-outs. A restart makes no strangers of those whose last upload went well
//! ([`SendEvent::Known`](super::SendEvent::Known)).
//!
//! Promises: each question costs a search in a tree, whatever the number of lanes.
//! Must not know: batches.
use crate::protocol::JobId;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a destination may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// It took its last batch, and quickly.
    Good,
    /// Nothing is known of it yet.
    Stranger,
    /// It takes batches, slowly.
    Slow,
    /// It fails.
    Failing,
}

impl Standing {
    pub(super) const COUNT: usize = 4;
}

/// The order among lanes that may go: uploads under way, then the ticket.
type Turn = (usize, u64, JobId);

/// When a lane has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Now,
    /// Later (monotonic).
    At(Duration),
    /// Not before it is told something.
    Never,
}

/// Where a lane stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spot {
    #[default]
    Out,
    Ready(Standing, Turn),
    Timer(Duration),
}

#[derive(Debug)]
pub(super) struct Turns {
    slots: usize,
    taken: [usize; Standing::COUNT],
    ready: [BTreeSet<Turn>; Standing::COUNT],
    timers: BTreeSet<(Duration, JobId)>,
    tickets: u64,
}

impl Turns {
    pub(super) fn new(slots: usize) -> Turns {
        let (taken, ready) = Default::default();
        Turns { slots: slots.max(1), taken, ready, timers: BTreeSet::new(), tickets: 0 }
    }

    /// A lane stands elsewhere now. One that only waits on keeps its turn.
    pub(super) fn seat(
        &mut self,
        job: JobId,
        spot: &mut Spot,
        when: When,
        standing: Standing,
        under_way: usize,
    ) {
        let next = match (when, *spot) {
            (When::Never, _) => Spot::Out,
            (When::At(at), _) => Spot::Timer(at),
            (When::Now, Spot::Ready(_, turn)) if turn.0 == under_way => Spot::Ready(standing, turn),
            (When::Now, _) => {
                self.tickets += 1;
                Spot::Ready(standing, (under_way, self.tickets, job))
            }
        };
        if next == *spot {
            return;
        }
        self.leave(job, spot);
        match next {
            Spot::Out => {}
            Spot::Ready(standing, turn) => {
                self.ready[standing as usize].insert(turn);
            }
            Spot::Timer(at) => {
                self.timers.insert((at, job));
            }
        }
        *spot = next;
    }

    /// A lane stands nowhere.
    pub(super) fn leave(&mut self, job: JobId, spot: &mut Spot) {
        match std::mem::take(spot) {
            Spot::Out => {}
            Spot::Ready(standing, turn) => {
                self.ready[standing as usize].remove(&turn);
            }
            Spot::Timer(at) => {
                self.timers.remove(&(at, job));
            }
        }
    }

    /// A lane whose wait is over by now.
    pub(super) fn due(&self, now: Duration) -> Option<JobId> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, job)| *job)
    }

    /// When the next wait is over.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The lane that may begin an upload now.
    pub(super) fn next(&self) -> Option<JobId> {
        // Where the better ones find no slot, the worse ones find none: each bound is part of the one before it.
        let open = (0..Standing::COUNT).take_while(|kind| self.has_slot(*kind));
        open.filter_map(|kind| self.ready[kind].first()).min().map(|(_, _, job)| *job)
    }

    /// Whether those of a standing and all that are worse leave a slot within their bound.
    fn has_slot(&self, kind: usize) -> bool {
        let taken: usize = self.taken[kind..].iter().sum();
        taken < (self.slots * (Standing::COUNT - kind) / Standing::COUNT).max(1)
    }

    pub(super) fn take(&mut self, standing: Standing) {
        self.taken[standing as usize] += 1;
    }

    pub(super) fn give_back(&mut self, standing: Standing) {
        self.taken[standing as usize] -= 1;
    }
}

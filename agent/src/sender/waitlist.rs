//! Waitlist: a lane's batches that wait, by their place, and by when they may go.
//!
//! Promises: no question about the next batch costs more than a search in a tree, except to name a neighbour of a batch
//! under suspicion.
//! Must not know: moods, other lanes.
use crate::protocol::{BatchId, Spooled};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A batch that is refused so often is held aside when others pass.
pub(super) const REFUSALS: u32 = 3;

/// The place of a batch in its lane: when it came; parts of a split batch take its place.
pub(super) type Place = (u64, BatchId);

const LAST: Place = (u64::MAX, BatchId(u64::MAX));

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: Arc<Spooled>,
    pub(super) tries: u32,
    /// Since its trial began; forgotten when its neighbours are refused like it.
    pub(super) refusals: u32,
    /// Refusals in all.
    pub(super) refusals_ever: u32,
    /// Batches that the destination had taken when its trial began.
    pub(super) passed_before: u64,
    /// Why it was refused last.
    pub(super) why: String,
    /// Not tried again before (monotonic).
    pub(super) not_before: Duration,
}

impl Waiting {
    pub(super) fn new(batch: Arc<Spooled>) -> Waiting {
        Waiting {
            batch,
            tries: 0,
            refusals: 0,
            refusals_ever: 0,
            passed_before: 0,
            why: String::new(),
            not_before: Duration::ZERO,
        }
    }

    pub(super) fn suspect(&self) -> bool {
        self.refusals >= REFUSALS
    }

    pub(super) fn forget_body(&mut self) {
        if self.batch.body.is_some() {
            self.batch = Arc::new(Spooled { body: None, ..(*self.batch).clone() });
        }
    }
}

/// Bytes of the batch in the spool.
pub(super) fn stored(batch: &Spooled) -> u64 {
    batch.pieces.iter().map(|piece| piece.len).sum()
}

/// Bytes of the batch in memory.
pub(super) fn in_memory(batch: &Spooled) -> u64 {
    batch.body.iter().flatten().map(|part| part.len() as u64).sum()
}

#[derive(Debug, Default)]
pub(super) struct Waitlist {
    all: BTreeMap<Place, Waiting>,
    /// Those whose own wait is over, in the order in which they are tried: those under suspicion last.
    due: BTreeSet<(bool, Place)>,
    /// The others, by the end of their wait.
    later: BTreeSet<(Duration, Place)>,
    stored_bytes: u64,
    bodies_bytes: u64,
}

impl Waitlist {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    pub(super) fn bodies_bytes(&self) -> u64 {
        self.bodies_bytes
    }

    /// In the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, &Waiting)> {
        self.all.iter()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Waiting> {
        self.all.get(&place)
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<(&Place, &Waiting)> {
        self.all.first_key_value()
    }

    pub(super) fn insert(&mut self, place: Place, waiting: Waiting) {
        self.stored_bytes += stored(&waiting.batch);
        self.bodies_bytes += in_memory(&waiting.batch);
        if waiting.not_before == Duration::ZERO {
            self.due.insert((waiting.suspect(), place));
        } else {
            self.later.insert((waiting.not_before, place));
        }
        let twice = self.all.insert(place, waiting);
        debug_assert!(twice.is_none(), "two batches in one place");
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Waiting> {
        let waiting = self.all.remove(&place)?;
        self.stored_bytes -= stored(&waiting.batch);
        self.bodies_bytes -= in_memory(&waiting.batch);
        if !self.later.remove(&(waiting.not_before, place)) {
            self.due.remove(&(waiting.suspect(), place));
        }
        Some(waiting)
    }

    /// Waits that are over by now are over.
    pub(super) fn promote(&mut self, now: Duration) {
        while let Some((_, place)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.pop_first();
            self.due.insert((self.all[&place].suspect(), place));
        }
    }

    /// The next that may go now.
    pub(super) fn first_due(&self) -> Option<Place> {
        self.due.first().map(|(_, place)| *place)
    }

    /// When the next wait is over.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The oldest that may go by then, suspected or not; else the one that may go first.
    pub(super) fn oldest_by(&self, then: Duration) -> Option<Place> {
        let suspects = self.due.range((true, (0, BatchId(0)))..).next();
        let due = self.due.first().into_iter().chain(suspects).map(|(_, place)| *place);
        // Those that failed together wait for the same moment: they are few.
        let soon = self.later.range(..=(then, LAST)).map(|(_, place)| *place);
        due.chain(soon).min().or_else(|| self.later.first().map(|(_, place)| *place))
    }

    /// The one beside this that was refused least.
    pub(super) fn neighbour(&self, of: Place) -> Option<Place> {
        let others = || self.all.iter().filter(|(place, _)| **place != of);
        let clean = others().find(|(_, w)| w.refusals_ever == 0);
        clean
            .or_else(|| others().min_by_key(|(place, w)| (w.refusals_ever, **place)))
            .map(|(place, _)| *place)
    }

    /// None of them is under suspicion any more.
    pub(super) fn trust_all(&mut self, passed: u64) {
        for waiting in self.all.values_mut() {
            (waiting.refusals, waiting.passed_before) = (0, passed);
        }
        for (_, place) in self.due.split_off(&(true, (0, BatchId(0)))) {
            self.due.insert((false, place));
        }
    }

    /// None of them waits for its own sake any more.
    pub(super) fn wait_no_more(&mut self) {
        for (_, place) in std::mem::take(&mut self.later) {
            if let Some(waiting) = self.all.get_mut(&place) {
                waiting.not_before = Duration::ZERO;
                self.due.insert((waiting.suspect(), place));
            }
        }
    }

    /// They are read from the spool when they go.
    pub(super) fn forget_bodies(&mut self) {
        if std::mem::take(&mut self.bodies_bytes) > 0 {
            self.all.values_mut().for_each(Waiting::forget_body);
        }
    }
}

//! Lane: one job's batches on their way out, oldest first, and what its destination is like at the moment.
//!
//! Promises: at most `uploads` in flight; a destination that fails sees one batch at a time, its oldest, until one
//! passes; what a destination refuses is held aside only when others pass (RULINGS 12).
//! Must not know: other jobs, how an upload is made.
use super::backoff::{Backoff, WISH_MAX};
use crate::destination::Verdict;
use crate::protocol::{BatchId, JobId, Spooled};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A batch that is refused so often is held aside when others pass.
const REFUSALS: u32 = 3;

/// How a destination behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It takes batches.
    #[default]
    Well,
    /// Weather: its oldest batch is tried again and again.
    Retrying,
    /// Something concerns every batch: its oldest one probes.
    Holding,
}

impl Mood {
    /// The word in `/status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Mood::Well => "ok",
            Mood::Retrying => "retrying",
            Mood::Holding => "holds",
        }
    }
}

/// The place of a batch in its lane: when it came; parts of a split batch take its place.
type Place = (u64, BatchId);

#[derive(Debug)]
struct Waiting {
    batch: Arc<Spooled>,
    tries: u32,
    /// Since its trial began; forgotten when its neighbours are refused like it.
    refusals: u32,
    /// Refusals in all.
    refusals_ever: u32,
    /// Batches that the destination had taken when its trial began.
    passed_before: u64,
    /// Why it was refused last.
    why: String,
    /// Not tried again before (monotonic).
    not_before: Duration,
}

/// What is to be done with a batch after an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// The destination has it.
    Delivered(Arc<Spooled>),
    /// Nobody will take it: held aside, with the reason.
    Aside(Arc<Spooled>, String),
    /// To be split.
    Split(Arc<Spooled>),
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) job: JobId,
    uploads: usize,
    waiting: BTreeMap<Place, Waiting>,
    flight: HashMap<BatchId, (Place, Waiting)>,
    splitting: HashMap<BatchId, (Place, Arc<Spooled>)>,
    mood: Mood,
    /// Bad moments in a row: one for all uploads that failed together, one for each probe.
    failures: u32,
    /// The probe under way, and the last one that ended.
    probe: Option<Place>,
    probed: Option<Place>,
    /// A batch waits that was refused often enough to be held aside.
    suspects: bool,
    passed: u64,
    not_before: Duration,
    error: Option<String>,
    came: u64,
}

impl Lane {
    pub(super) fn new(job: JobId, uploads: usize) -> Lane {
        Lane {
            job,
            uploads: uploads.max(1),
            waiting: BTreeMap::new(),
            flight: HashMap::new(),
            splitting: HashMap::new(),
            mood: Mood::Well,
            failures: 0,
            probe: None,
            probed: None,
            suspects: false,
            passed: 0,
            not_before: Duration::ZERO,
            error: None,
            came: 0,
        }
    }

    pub(super) fn mood(&self) -> Mood {
        self.mood
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Batches that wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.flight.len() + self.splitting.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flight.len() + self.splitting.len()
    }

    /// The time of the oldest record that waits or is under way, ns since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        // Waiting batches lie in their order in time: what waits may be much, and this is asked often.
        let waiting = self.waiting.values().next().into_iter();
        let flight = self.flight.values().map(|(_, waiting)| waiting);
        let splitting = self.splitting.values().map(|(_, batch)| batch.first);
        waiting.chain(flight).map(|waiting| waiting.batch.first).chain(splitting).min()
    }

    pub(super) fn bodies_bytes(&self) -> u64 {
        let flight = self.flight.values().map(|(_, waiting)| waiting);
        let body =
            |waiting: &Waiting| -> u64 { waiting.batch.body.iter().flatten().map(|b| b.len() as u64).sum() };
        self.waiting.values().chain(flight).map(body).sum()
    }

    pub(super) fn push(&mut self, batch: Spooled, not_before: Duration) {
        self.came += 1;
        let place = (self.came, batch.id);
        self.put(place, Arc::new(batch), not_before);
    }

    fn put(&mut self, place: Place, batch: Arc<Spooled>, not_before: Duration) {
        let fresh = Waiting {
            batch,
            tries: 0,
            refusals: 0,
            refusals_ever: 0,
            passed_before: 0,
            why: String::new(),
            not_before,
        };
        self.waiting.insert(place, fresh);
    }

    /// The next batch to be tried now.
    pub(super) fn pick(&mut self, now: Duration) -> Option<(Arc<Spooled>, u32)> {
        let place = self.next_place(now)?;
        let mut picked = self.waiting.remove(&place)?;
        picked.tries += 1;
        if picked.tries == 1 {
            picked.passed_before = self.passed;
        }
        self.probe = (self.mood != Mood::Well).then_some(place);
        let batch = picked.batch.clone();
        let tries = picked.tries;
        self.flight.insert(batch.id, (place, picked));
        Some((batch, tries))
    }

    fn next_place(&self, now: Duration) -> Option<Place> {
        if self.mood == Mood::Well {
            let due = |(_, w): &(&Place, &Waiting)| w.not_before <= now;
            let room = self.flight.len() < self.uploads;
            return self.candidates().find(due).filter(|_| room).map(|(place, _)| *place);
        }
        self.next_probe().filter(|(_, at)| *at <= now).map(|(place, _)| place)
    }

    /// The batch that a failing destination sees next, and when: the oldest that may go by then.
    fn next_probe(&self) -> Option<(Place, Duration)> {
        if self.in_flight() > 0 {
            return None;
        }
        let free = self.waiting.iter().find(|(_, w)| w.not_before <= self.not_before);
        let (place, oldest) = free.or_else(|| self.waiting.iter().min_by_key(|(_, w)| w.not_before))?;
        let (place, waiting) = self.neighbour(*place, oldest).unwrap_or((*place, oldest));
        Some((place, self.not_before.max(waiting.not_before)))
    }

    /// While nobody knows whether the oldest batch or the destination is to blame, every other probe is a neighbour: the
    /// one that was refused least.
    fn neighbour(&self, place: Place, oldest: &Waiting) -> Option<(Place, &Waiting)> {
        if oldest.refusals < REFUSALS || self.probed != Some(place) {
            return None;
        }
        let others = self.waiting.iter().filter(|(other, _)| **other != place);
        others.min_by_key(|(other, w)| (w.refusals_ever, **other)).map(|(other, w)| (*other, w))
    }

    /// Batches of a destination that is well, in the order in which they are tried: those under suspicion last.
    fn candidates(&self) -> impl Iterator<Item = (&Place, &Waiting)> {
        let trusted = self.waiting.iter().filter(|(_, w)| w.refusals < REFUSALS);
        trusted.chain(self.waiting.iter().filter(|(_, w)| w.refusals >= REFUSALS))
    }

    /// When [`Lane::pick`] has something next, if not now.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.mood {
            Mood::Well if self.flight.len() < self.uploads => {
                self.waiting.values().map(|w| w.not_before).min()
            }
            Mood::Well => None,
            _ => self.next_probe().map(|(_, at)| at),
        }
    }

    /// Whether a batch is under way here.
    pub(super) fn has(&self, id: BatchId) -> bool {
        self.flight.contains_key(&id)
    }

    /// What a verdict means for the batch and its neighbours. What is not given back waits.
    pub(super) fn answer(
        &mut self,
        now: Duration,
        id: BatchId,
        verdict: Verdict,
        backoff: &mut Backoff,
    ) -> Vec<Next> {
        let Some((place, mut batch)) = self.flight.remove(&id) else { return Vec::new() };
        let probe = self.probe == Some(place);
        if probe {
            (self.probe, self.probed) = (None, Some(place));
        }
        match verdict {
            Verdict::Delivered => {
                self.passed += 1;
                self.well();
                let mut next = vec![Next::Delivered(batch.batch)];
                next.extend(self.suspects_aside());
                next
            }
            Verdict::Retry { after, why } => {
                self.fails(now, probe, Mood::Retrying, after, why, backoff);
                batch.not_before = self.not_before;
                self.wait_again(place, batch);
                Vec::new()
            }
            Verdict::Hold { why } => {
                self.fails(now, probe, Mood::Holding, None, why, backoff);
                self.wait_again(place, batch);
                Vec::new()
            }
            Verdict::TooLarge { why } if batch.batch.records <= 1 => {
                self.well();
                vec![Next::Aside(batch.batch, why)]
            }
            Verdict::TooLarge { .. } => {
                self.well();
                self.splitting.insert(id, (place, batch.batch.clone()));
                vec![Next::Split(batch.batch)]
            }
            Verdict::Refused { why } => self.refused(now, probe, place, batch, why, backoff),
        }
    }

    fn well(&mut self) {
        self.mood = Mood::Well;
        self.failures = 0;
        // What a target wished for one batch is that batch's own wait.
        self.not_before = Duration::ZERO;
        self.probed = None;
        self.error = None;
    }

    /// The destination fails. A wish holds for it whoever brought it; back-off grows with each bad moment.
    fn fails(
        &mut self,
        now: Duration,
        probe: bool,
        mood: Mood,
        wish: Option<Duration>,
        why: String,
        backoff: &mut Backoff,
    ) {
        let wish = wish.map(|wish| wish.min(WISH_MAX));
        if probe || self.mood == Mood::Well {
            self.failures += 1;
            self.not_before = now + wish.unwrap_or_else(|| backoff.after(self.failures));
        } else if let Some(wish) = wish {
            self.not_before = self.not_before.max(now + wish);
        }
        self.mood = mood;
        self.error = Some(why);
    }

    fn refused(
        &mut self,
        now: Duration,
        probe: bool,
        place: Place,
        mut batch: Waiting,
        why: String,
        backoff: &mut Backoff,
    ) -> Vec<Next> {
        batch.refusals += 1;
        batch.refusals_ever += 1;
        batch.why.clone_from(&why);
        let often = batch.refusals >= REFUSALS;
        if often && self.passed > batch.passed_before {
            return vec![Next::Aside(batch.batch, why)];
        }
        let neighbour = self.suspects && self.waiting.values().any(|w| w.refusals >= REFUSALS);
        self.suspects |= often;
        if neighbour && (often || self.mood != Mood::Well) {
            // It is not the batch, it is the job: none of them is under suspicion any more.
            self.fails(now, probe, Mood::Holding, None, why, backoff);
            let flight = self.flight.values_mut().map(|(_, w)| w);
            for suspect in self.waiting.values_mut().chain(flight).chain([&mut batch]) {
                (suspect.refusals, suspect.passed_before) = (0, self.passed);
            }
            self.suspects = false;
        } else if self.mood == Mood::Well {
            self.error = Some(why);
            batch.not_before = now + backoff.after(batch.refusals);
            self.wait_again(place, batch);
            return Vec::new();
        } else {
            self.fails(now, probe, self.mood, None, why, backoff);
        }
        batch.not_before = self.not_before;
        self.wait_again(place, batch);
        Vec::new()
    }

    /// A neighbour has passed: those that were refused often enough are the ones to blame.
    fn suspects_aside(&mut self) -> Vec<Next> {
        if !std::mem::take(&mut self.suspects) {
            return Vec::new();
        }
        let blamed: Vec<Place> = self
            .waiting
            .iter()
            .filter(|(_, w)| w.refusals >= REFUSALS && self.passed > w.passed_before)
            .map(|(place, _)| *place)
            .collect();
        let aside = blamed.into_iter().filter_map(|place| self.waiting.remove(&place));
        let aside = aside.map(|w| Next::Aside(w.batch, w.why)).collect();
        let mut left = self.waiting.values().chain(self.flight.values().map(|(_, w)| w));
        self.suspects = left.any(|w| w.refusals >= REFUSALS);
        aside
    }

    /// A batch that has to wait is read from the spool when it goes: what waits must not hold memory.
    fn wait_again(&mut self, place: Place, mut batch: Waiting) {
        if batch.batch.body.is_some() {
            batch.batch = Arc::new(Spooled { body: None, ..(*batch.batch).clone() });
        }
        self.waiting.insert(place, batch);
    }

    /// The parts of a batch take its place. Says whether it was split here.
    pub(super) fn split(&mut self, parent: BatchId, children: Vec<Spooled>) -> Option<Vec<Spooled>> {
        let Some(((came, _), _)) = self.splitting.remove(&parent) else { return Some(children) };
        for child in children {
            self.put((came, child.id), Arc::new(child), Duration::ZERO);
        }
        None
    }

    /// A batch that is under way and can neither be sent nor split leaves the lane.
    pub(super) fn take(&mut self, id: BatchId) -> Option<Arc<Spooled>> {
        let split = self.splitting.remove(&id).map(|(_, batch)| batch);
        split.or_else(|| self.flight.remove(&id).map(|(_, waiting)| waiting.batch))
    }
}

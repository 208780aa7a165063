//! Lane: one job's batches on their way out, oldest first, and what its destination is like at the moment.
//!
//! Promises: at most `uploads` in flight; a destination that fails sees one batch at a time, its oldest, until one
//! passes; what a destination refuses is held aside only when others pass (RULINGS 12); a job that is held sends nothing.
//! Must not know: other jobs, how an upload is made.
use super::backoff::{Backoff, WISH_MAX};
use super::events::{LaneState, SendJob};
use super::picking::Picks;
use super::shares::{Claim, Stand};
use super::turns::{Spot, Standing, When};
use super::waitlist::{Place, REFUSALS, Waiting, Waitlist, in_memory, stored};
use crate::destination::Verdict;
use crate::protocol::{BatchId, Now, Spooled};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// A job that fails so often in a row has a destination that is down, not one that stumbled: its share shrinks.
const DOWN: u32 = 4;

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

/// What is to be done with a batch after an answer.
#[derive(Debug)]
pub(super) enum Next {
    /// The destination has it.
    Delivered(Arc<Spooled>),
    /// Nobody will take it: held aside, with the reason.
    Aside(Arc<Spooled>, String),
    /// It waits, and is suspected from now on; why.
    Suspect(Arc<Spooled>, String),
    /// To be split.
    Split(Arc<Spooled>),
    /// Some of its records are to be picked; why.
    Pick(Arc<Spooled>, Picks, String),
}

/// What a lane adds to the sums of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Batches that wait or are under way.
    pub(super) batches: usize,
    /// Batches on the wire or being split.
    pub(super) in_flight: usize,
    pub(super) bodies_bytes: u64,
    pub(super) stored_bytes: u64,
}

/// A batch of which parts are being made.
#[derive(Debug)]
struct Cutting {
    place: Place,
    batch: Arc<Spooled>,
    /// The parts are not tried before (monotonic).
    not_before: Duration,
}

#[derive(Debug)]
pub(super) struct Lane {
    settings: SendJob,
    waiting: Waitlist,
    flight: HashMap<BatchId, (Place, Waiting)>,
    splitting: HashMap<BatchId, Cutting>,
    /// Bytes of those under way.
    flight_bodies_bytes: u64,
    flight_stored_bytes: u64,
    mood: Mood,
    /// Batches in a row that were taken in part.
    parts: u32,
    /// Bad moments in a row: one for all uploads that failed together, one for each probe.
    failures: u32,
    /// The probe under way, and the last one that ended.
    probe: Option<Place>,
    probed: Option<Place>,
    /// A batch waits that was refused often enough to be held aside.
    suspects: bool,
    /// It has taken a batch since it failed last.
    proven: bool,
    /// Its last upload was slow.
    slow: bool,
    passed: u64,
    not_before: Duration,
    /// What went out has taken the job's bytes a second until then (monotonic).
    paid_until: Duration,
    error: Option<String>,
    came: u64,
    failing_since: Option<i64>,
    uploads: u64,
    records: u64,
    last_complete: Option<i64>,
    last_error: Option<i64>,
    /// Its batches whose verdict is not durable yet.
    pub(super) unsettled: HashSet<BatchId>,
    /// Its loss has been told.
    pub(super) dropping: bool,
    pub(super) over_share: bool,
    pub(super) spot: Spot,
    pub(super) stand: Stand,
}

impl Lane {
    pub(super) fn new(settings: SendJob) -> Lane {
        Lane {
            settings: SendJob { uploads: settings.uploads.max(1), ..settings },
            waiting: Waitlist::default(),
            flight: HashMap::new(),
            splitting: HashMap::new(),
            flight_bodies_bytes: 0,
            flight_stored_bytes: 0,
            mood: Mood::Well,
            parts: 0,
            failures: 0,
            probe: None,
            probed: None,
            suspects: false,
            proven: false,
            slow: false,
            passed: 0,
            not_before: Duration::ZERO,
            paid_until: Duration::ZERO,
            error: None,
            came: 0,
            failing_since: None,
            uploads: 0,
            records: 0,
            last_complete: None,
            last_error: None,
            unsettled: HashSet::new(),
            dropping: false,
            over_share: false,
            spot: Spot::Out,
            stand: Stand::Out,
        }
    }

    /// The job is so from now on, perhaps with another destination: what the former one said counts no more.
    pub(super) fn change(&mut self, settings: SendJob) {
        if settings.egress_max != self.settings.egress_max {
            self.paid_until = Duration::ZERO;
        }
        self.settings = SendJob { uploads: settings.uploads.max(1), ..settings };
        self.waiting.wait_no_more();
        (self.failures, self.not_before, self.failing_since) = (0, Duration::ZERO, None);
        (self.proven, self.slow) = (false, false);
    }

    /// Its destination took its last batch, before the restart.
    pub(super) fn known(&mut self) {
        self.proven = true;
    }

    pub(super) fn settings(&self) -> SendJob {
        self.settings
    }

    pub(super) fn mood(&self) -> Mood {
        self.mood
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn load(&self) -> Load {
        let in_flight = self.flight.len() + self.splitting.len();
        Load {
            batches: self.waiting.len() + in_flight,
            in_flight,
            bodies_bytes: self.waiting.bodies_bytes() + self.flight_bodies_bytes,
            stored_bytes: self.waiting.stored_bytes() + self.flight_stored_bytes,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.mood {
            Mood::Well if self.slow => Standing::Slow,
            Mood::Well if self.proven => Standing::Good,
            Mood::Well => Standing::Stranger,
            Mood::Retrying | Mood::Holding => Standing::Failing,
        }
    }

    /// Whether what it commits goes out soon. What waits for its bytes a second does not, and must not hold memory.
    pub(super) fn flows(&self) -> bool {
        let queues = self.settings.egress_max.is_some() && !self.waiting.is_empty();
        self.mood == Mood::Well && !self.settings.hold && !queues
    }

    pub(super) fn claim(&self) -> Claim {
        let load = self.load();
        let drops = self.settings.drop_oldest;
        Claim {
            bytes: load.stored_bytes,
            failing: self.mood != Mood::Well && self.failures >= DOWN && !drops,
            out: self.settings.hold || drops && self.waiting.is_empty(),
            over: self.over_share,
            mended: self.mood == Mood::Well || load.batches == 0,
        }
    }

    pub(super) fn state(&self) -> LaneState {
        let load = self.load();
        LaneState {
            job: self.settings.job,
            mood: self.mood,
            error: self.error.clone(),
            batches: load.batches,
            oldest: self.oldest(),
            bytes: load.stored_bytes,
            held: self.settings.hold,
            over_share: self.over_share,
            failing_since: self.failing_since,
            uploads: self.uploads,
            records: self.records,
            last_complete: self.last_complete,
            last_error: self.last_error,
        }
    }

    /// The time of the oldest record that waits or is under way, ns since the epoch.
    fn oldest(&self) -> Option<i64> {
        // Waiting batches lie in their order in time: what waits may be much, and this is asked often.
        let waiting = self.waiting.first().map(|(_, waiting)| waiting).into_iter();
        let flight = self.flight.values().map(|(_, waiting)| waiting);
        let splitting = self.splitting.values().map(|cutting| cutting.batch.first);
        waiting.chain(flight).map(|waiting| waiting.batch.first).chain(splitting).min()
    }

    /// Its batches under way.
    pub(super) fn under_way(&self) -> impl Iterator<Item = BatchId> {
        self.flight.keys().chain(self.splitting.keys()).copied()
    }

    /// A batch comes, not to be tried before (monotonic; zero: at once).
    pub(super) fn push(&mut self, batch: Spooled, not_before: Duration) {
        self.came += 1;
        let waiting = Waiting { not_before, ..Waiting::new(Arc::new(batch)) };
        self.waiting.insert((self.came, waiting.batch.id), waiting);
    }

    /// When [`Lane::pick`] has something.
    pub(super) fn when(&mut self, now: Duration) -> When {
        if self.settings.hold || self.waiting.is_empty() {
            return When::Never;
        }
        self.waiting.promote(now);
        let at = match self.mood {
            // Cuts take memory: no more of them than uploads, and the one that makes room for the next upload.
            Mood::Well if self.flight.len() >= self.settings.uploads => None,
            Mood::Well if self.splitting.len() > self.settings.uploads => None,
            Mood::Well => {
                let own = match self.waiting.first_due() {
                    Some(_) => Some(Duration::ZERO),
                    None => self.waiting.next_due(),
                };
                own.map(|own| own.max(self.not_before))
            }
            Mood::Retrying | Mood::Holding => self.next_probe(now).map(|(_, at)| at),
        };
        // A lane over its bytes a second waits here, before it has a slot or memory.
        match at.map(|at| at.max(self.paid_until)) {
            Some(at) if at <= now => When::Now,
            Some(at) => When::At(at),
            None => When::Never,
        }
    }

    /// The next batch to be tried now.
    pub(super) fn pick(&mut self, now: Duration) -> Option<(Arc<Spooled>, u32)> {
        if self.when(now) != When::Now {
            return None;
        }
        let place = match self.mood {
            Mood::Well => self.waiting.first_due()?,
            Mood::Retrying | Mood::Holding => self.next_probe(now)?.0,
        };
        let mut picked = self.waiting.remove(place)?;
        picked.tries += 1;
        if picked.tries == 1 {
            picked.passed_before = self.passed;
        }
        self.probe = (self.mood != Mood::Well).then_some(place);
        if let Some(rate) = self.settings.egress_max {
            let takes = Duration::from_secs_f64(stored(&picked.batch) as f64 / rate.max(1) as f64);
            self.paid_until = self.paid_until.max(now) + takes;
        }
        self.flight_stored_bytes += stored(&picked.batch);
        self.flight_bodies_bytes += in_memory(&picked.batch);
        let (batch, tries) = (picked.batch.clone(), picked.tries);
        self.flight.insert(batch.id, (place, picked));
        Some((batch, tries))
    }

    /// The batch that a failing destination sees next, and when: the oldest that may go by then.
    fn next_probe(&self, now: Duration) -> Option<(Place, Duration)> {
        if self.load().in_flight > 0 {
            return None;
        }
        let oldest = self.waiting.oldest_by(self.not_before.max(now))?;
        let place = self.neighbour(oldest).unwrap_or(oldest);
        let own = self.waiting.get(place).map_or(Duration::ZERO, |w| w.not_before);
        Some((place, self.not_before.max(own)))
    }

    /// While nobody knows whether the oldest batch or the destination is to blame, every other probe is a neighbour: the
    /// one that was refused least.
    fn neighbour(&self, oldest: Place) -> Option<Place> {
        let suspect = self.waiting.get(oldest).is_some_and(Waiting::suspect);
        if !suspect || self.probed != Some(oldest) {
            return None;
        }
        self.waiting.neighbour(oldest)
    }

    /// Whether a batch is being split here.
    pub(super) fn is_splitting(&self, id: BatchId) -> bool {
        self.splitting.contains_key(&id)
    }

    /// What a verdict means for the batch and its neighbours. What is not given back waits.
    pub(super) fn answer(
        &mut self,
        now: Now,
        id: BatchId,
        verdict: Verdict,
        slow: bool,
        backoff: &mut Backoff,
    ) -> Vec<Next> {
        let Some((place, batch)) = self.land(id) else { return Vec::new() };
        self.uploads += 1;
        self.slow = slow;
        let probe = self.probe == Some(place);
        if probe {
            (self.probe, self.probed) = (None, Some(place));
        }
        match verdict.plain(batch.batch.records) {
            Verdict::Delivered => {
                self.delivered(&batch.batch);
                let mut next = vec![Next::Delivered(batch.batch)];
                next.extend(self.suspects_aside());
                next
            }
            Verdict::Retry { after, why } => {
                self.fails(now, probe, Mood::Retrying, after, why, backoff);
                self.wait_again(place, Waiting { not_before: self.not_before, ..batch });
                Vec::new()
            }
            Verdict::Hold { why } => {
                self.fails(now, probe, Mood::Holding, None, why, backoff);
                self.wait_again(place, batch);
                Vec::new()
            }
            Verdict::TooLarge { why } if batch.batch.records <= 1 => {
                self.well();
                self.last_error = Some(now.wall);
                vec![Next::Aside(batch.batch, why)]
            }
            Verdict::TooLarge { .. } => {
                self.well();
                self.begin_cut(place, batch.batch.clone(), Duration::ZERO);
                vec![Next::Split(batch.batch)]
            }
            Verdict::Partly { again, refused, after, why } => {
                self.partly(now, place, batch.batch, Picks { again, refused }, (after, why), backoff)
            }
            Verdict::Refused { why } => self.refused(now, probe, place, batch, why, backoff),
        }
    }

    /// An upload has ended.
    fn land(&mut self, id: BatchId) -> Option<(Place, Waiting)> {
        let landed = self.flight.remove(&id)?;
        self.flight_stored_bytes -= stored(&landed.1.batch);
        self.flight_bodies_bytes -= in_memory(&landed.1.batch);
        Some(landed)
    }

    /// Parts of a batch are being made.
    fn begin_cut(&mut self, place: Place, batch: Arc<Spooled>, not_before: Duration) {
        self.flight_stored_bytes += stored(&batch);
        self.flight_bodies_bytes += in_memory(&batch);
        self.splitting.insert(batch.id, Cutting { place, batch, not_before });
    }

    /// A cut has ended.
    fn cut(&mut self, id: BatchId) -> Option<Cutting> {
        let cutting = self.splitting.remove(&id)?;
        self.flight_stored_bytes -= stored(&cutting.batch);
        self.flight_bodies_bytes -= in_memory(&cutting.batch);
        Some(cutting)
    }

    /// A destination that answers record by record is well: only the records that it did not take wait.
    fn partly(
        &mut self,
        now: Now,
        place: Place,
        batch: Arc<Spooled>,
        picks: Picks,
        (wish, why): (Option<Duration>, String),
        backoff: &mut Backoff,
    ) -> Vec<Next> {
        let taken = batch.records - picks.len();
        if taken > 0 {
            self.passed += 1;
            self.records += taken;
            (self.failing_since, self.dropping, self.proven) = (None, false, true);
        }
        self.well();
        (self.error, self.last_error) = (Some(why.clone()), Some(now.wall));
        if picks.again.is_empty() {
            self.last_complete = self.last_complete.max(Some(batch.last));
        } else {
            self.parts += 1;
        }
        let wish = wish.filter(|wish| !wish.is_zero());
        let wait = wish.map_or_else(|| backoff.after(self.parts), |wish| wish.min(WISH_MAX));
        self.begin_cut(place, batch.clone(), now.mono + wait);
        let mut next = vec![Next::Pick(batch, picks, why)];
        if taken > 0 {
            next.extend(self.suspects_aside());
        }
        next
    }

    fn delivered(&mut self, batch: &Spooled) {
        self.passed += 1;
        self.parts = 0;
        self.records += batch.records;
        self.last_complete = self.last_complete.max(Some(batch.last));
        (self.failing_since, self.dropping, self.proven) = (None, false, true);
        self.well();
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
        now: Now,
        probe: bool,
        mood: Mood,
        wish: Option<Duration>,
        why: String,
        backoff: &mut Backoff,
    ) {
        // No wait at all is no wish: nothing is tried again in a busy loop.
        let wish = wish.filter(|wish| !wish.is_zero()).map(|wish| wish.min(WISH_MAX));
        if probe || self.mood == Mood::Well {
            self.failures += 1;
            self.not_before = now.mono + wish.unwrap_or_else(|| backoff.after(self.failures));
        } else if let Some(wish) = wish {
            self.not_before = self.not_before.max(now.mono + wish);
        }
        if self.failures > 1 {
            // It is no mere stumble: what waits for it must not hold memory.
            self.waiting.forget_bodies();
        }
        self.mood = mood;
        self.proven = false;
        self.error = Some(why);
        self.last_error = Some(now.wall);
        self.failing_since.get_or_insert(now.wall);
    }

    fn refused(
        &mut self,
        now: Now,
        probe: bool,
        place: Place,
        mut batch: Waiting,
        why: String,
        backoff: &mut Backoff,
    ) -> Vec<Next> {
        self.last_error = Some(now.wall);
        batch.refusals += 1;
        batch.refusals_ever += 1;
        batch.why.clone_from(&why);
        let often = batch.suspect();
        if often && self.passed > batch.passed_before {
            return vec![Next::Aside(batch.batch, why)];
        }
        let neighbour = self.suspects && self.waiting.iter().any(|(_, w)| w.suspect());
        self.suspects |= often;
        if neighbour && (often || self.mood != Mood::Well) {
            // It is not the batch, it is the job: none of them is under suspicion any more.
            self.fails(now, probe, Mood::Holding, None, why, backoff);
            self.waiting.trust_all(self.passed);
            for suspect in self.flight.values_mut().map(|(_, w)| w).chain([&mut batch]) {
                (suspect.refusals, suspect.passed_before) = (0, self.passed);
            }
            self.suspects = false;
        } else if self.mood == Mood::Well {
            self.error = Some(why.clone());
            batch.not_before = now.mono + backoff.after(batch.refusals);
            let said = (batch.refusals == REFUSALS).then(|| Next::Suspect(batch.batch.clone(), why));
            self.wait_again(place, batch);
            return said.into_iter().collect();
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
        let blamed = self.waiting.iter().filter(|(_, w)| w.suspect() && self.passed > w.passed_before);
        let blamed: Vec<Place> = blamed.map(|(place, _)| *place).collect();
        let aside = blamed.into_iter().filter_map(|place| self.waiting.remove(place));
        let aside = aside.map(|w| Next::Aside(w.batch, w.why)).collect();
        let mut left = self.waiting.iter().map(|(_, w)| w).chain(self.flight.values().map(|(_, w)| w));
        self.suspects = left.any(Waiting::suspect);
        aside
    }

    /// A batch that has to wait is read from the spool when it goes: what waits must not hold memory.
    fn wait_again(&mut self, place: Place, mut batch: Waiting) {
        batch.forget_body();
        self.waiting.insert(place, batch);
    }

    /// The parts of a batch take its place. Answers with the batch.
    pub(super) fn split(&mut self, parent: BatchId, children: Vec<Spooled>) -> Option<Arc<Spooled>> {
        let Cutting { place: (came, _), batch, not_before } = self.cut(parent)?;
        for child in children {
            let place = (came, child.id);
            let child = Waiting { not_before, ..Waiting::new(Arc::new(child)) };
            if not_before > Duration::ZERO {
                self.wait_again(place, child);
            } else {
                self.waiting.insert(place, child);
            }
        }
        Some(batch)
    }

    /// A batch that is under way and can neither be sent nor split leaves the lane.
    pub(super) fn take(&mut self, id: BatchId) -> Option<Arc<Spooled>> {
        let cut = self.cut(id).map(|cutting| cutting.batch);
        cut.or_else(|| self.land(id).map(|(_, waiting)| waiting.batch))
    }

    /// The oldest batch that waits leaves the lane.
    pub(super) fn drop_oldest(&mut self) -> Option<Arc<Spooled>> {
        let place = *self.waiting.first()?.0;
        self.waiting.remove(place).map(|waiting| waiting.batch)
    }
}

//! Sender: retry, back-off, order, verdicts and fairness, once for every kind of destination (PROTOCOL P5, P6,
//! INTERFACE 5, 6).
//!
//! Promises: a batch has one verdict, told once; verdicts are collected for 100 ms at most; a lane's trouble stops no
//! other lane, neither by its slots ([`turns`]), nor by memory, nor by what it leaves in the spool ([`shares`]); nothing
//! is tried again in a busy loop; a step looks at the lanes that it concerns, however many there are. Decides only:
//! [`Uploads`] sends.
//! Must not know: how a batch is sent, the ledger's rows.
mod backoff;
mod events;
mod lane;
mod picking;
mod room;
mod shares;
mod turns;
mod uploads;
mod waitlist;

pub use events::{LaneChange, LaneState, SendAction, SendEvent, SendJob, SendNotice, SenderSettings};
pub use lane::Mood;
pub use picking::{Picked, Picks, RefusedPart, Said, pick};
pub use turns::Standing;
pub use uploads::{Uploaded, Uploads};

use crate::destination::Verdict;
use crate::protocol::{BatchId, Fate, JobId, Judged, Now, Spooled};
use backoff::Backoff;
use lane::{Lane, Load, Next};
use shares::Shares;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use turns::Turns;
use waitlist::{in_memory, stored};

/// Verdicts wait so long for others to share their transaction (PROTOCOL P5).
const VERDICTS_WAIT: Duration = Duration::from_millis(100);
/// So many do not wait any longer.
const VERDICTS_MAX: usize = 64;
/// What the last run left goes out over this time: a fleet that restarts together does not knock together.
const RESTART_JITTER: Duration = Duration::from_millis(100);
/// An upload that takes longer than this, and than a second for each MB more, is slow.
const SLOW: Duration = Duration::from_secs(5);
/// Why a batch was dropped, in its loss row.
const DROPPED: &str = "dropped";

/// An upload or a cut.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// `None`: the job was deleted meanwhile.
    job: Option<JobId>,
    /// The slot that it has.
    standing: Standing,
    /// It is slow from then on (monotonic).
    slow_at: Duration,
}

/// The machine.
#[derive(Debug)]
pub struct Sender {
    settings: SenderSettings,
    lanes: BTreeMap<JobId, Lane>,
    turns: Turns,
    shares: Shares,
    /// Of all lanes.
    load: Load,
    under_way: HashMap<BatchId, UnderWay>,
    backoff: Backoff,
    judged: Vec<Judged>,
    /// When the oldest of them is to be durable (monotonic).
    judge_at: Duration,
    /// Batches with a verdict that is not durable yet.
    unsettled: HashMap<BatchId, (Arc<Spooled>, Fate)>,
    /// Lanes that were touched since [`Sender::changed`] was asked.
    changed: BTreeSet<JobId>,
    visits: u64,
    begun: bool,
    stopped: bool,
}

impl Sender {
    /// A sender for these jobs.
    pub fn new(jobs: Vec<SendJob>, settings: SenderSettings) -> Sender {
        Sender {
            settings,
            lanes: jobs.into_iter().map(|job| (job.job, Lane::new(job))).collect(),
            turns: Turns::new(settings.uploads_max),
            shares: Shares::default(),
            load: Load::default(),
            under_way: HashMap::new(),
            backoff: Backoff::new(settings.seed),
            judged: Vec::new(),
            judge_at: Duration::ZERO,
            unsettled: HashMap::new(),
            changed: BTreeSet::new(),
            visits: 0,
            begun: false,
            stopped: false,
        }
    }

    /// Batches whose verdict is not durable.
    pub fn pending(&self) -> usize {
        self.load.batches + self.unsettled.len()
    }

    /// Of these, the batches that no upload will begin for: those of disabled jobs. Looks at every lane.
    pub fn held(&self) -> usize {
        let held = self.lanes.values().filter(|lane| lane.settings().hold).map(Lane::load);
        held.map(|load| load.batches - load.in_flight).sum()
    }

    /// Batches on the wire, being split, or with a verdict that is not durable yet. Without those of deleted jobs.
    pub fn in_flight(&self) -> usize {
        self.load.in_flight + self.unsettled.len()
    }

    /// Bytes of bodies that are held in memory.
    pub fn bodies_bytes(&self) -> u64 {
        self.load.bodies_bytes
    }

    /// Bytes of the spool that batches take until a destination has them.
    pub fn spool_bytes(&self) -> u64 {
        self.load.stored_bytes
    }

    /// Whether a body of this job may stay in memory from its commit to its upload: a job has half of what the others
    /// leave, and one whose batches do not go out has nothing. [`SendEvent::Spooled`] asks for each of its batches.
    pub fn may_keep(&self, job: JobId, bytes: u64) -> bool {
        let lane = self.lanes.get(&job);
        let own = lane.map_or(0, |lane| lane.load().bodies_bytes);
        let left = self.settings.bodies_bytes_max.saturating_sub(self.load.bodies_bytes - own);
        lane.is_none_or(Lane::flows) && own + bytes <= left / 2
    }

    /// When a [`SendEvent::Tick`] is wanted next (monotonic).
    pub fn deadline(&self) -> Option<Duration> {
        let judge = (!self.judged.is_empty()).then_some(self.judge_at);
        let lanes = self.turns.deadline().filter(|_| !self.stopped);
        [judge, lanes].into_iter().flatten().min()
    }

    /// Every job's lane, by job id.
    pub fn lanes(&self) -> impl Iterator<Item = LaneState> {
        self.lanes.values().map(Lane::state)
    }

    /// A job's lane.
    pub fn lane(&self, job: JobId) -> Option<LaneState> {
        self.lanes.get(&job).map(Lane::state)
    }

    /// The lanes that may have changed since this was asked last, by job id; those of deleted jobs are not among them.
    pub fn changed(&mut self) -> impl Iterator<Item = LaneState> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|job| self.lane(job))
    }

    /// Lanes looked at since the start: what steps cost.
    pub fn visits(&self) -> u64 {
        self.visits
    }

    /// Takes one event, appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: SendEvent, out: &mut Vec<SendAction>) {
        match event {
            SendEvent::Spooled(batches) => self.spooled(now, batches),
            SendEvent::Outcome { id, answer } => self.outcome(now, id, answer.verdict, out),
            SendEvent::Durable(ids) => self.durable(&ids, out),
            SendEvent::Split { parent, children } => self.split(now, parent, children),
            SendEvent::Parted { parent, again, rejects } => self.parted(now, parent, again, rejects, out),
            SendEvent::Unreadable { id, why } => self.unreadable(now, id, why, out),
            SendEvent::Jobs(changes) => {
                changes.into_iter().for_each(|change| self.change(now, change, out));
            }
            SendEvent::Known(jobs) => {
                jobs.into_iter().for_each(|job| _ = self.touch(now, job, |lane, _| lane.known()));
            }
            SendEvent::Parked(jobs) => {
                for job in jobs {
                    let may = |lane: &Lane| !lane.over_share && !lane.settings().drop_oldest;
                    if self.lanes.get(&job).is_some_and(may) {
                        self.set_over(now, job, true, out);
                    }
                }
            }
            SendEvent::Space { used_bytes, limit_bytes } => {
                self.shares.space(used_bytes, limit_bytes, self.load.stored_bytes)
            }
            SendEvent::Settle => self.judge_at = now.mono,
            SendEvent::Tick => {}
            SendEvent::Stop => self.stopped = true,
        }
        self.share(now, out);
        self.upload(now, out);
        self.judge(now, out);
    }

    /// Does something to a lane, and keeps what depends on it true.
    fn touch<T>(
        &mut self,
        now: Now,
        job: JobId,
        work: impl FnOnce(&mut Lane, &mut Backoff) -> T,
    ) -> Option<T> {
        let lane = self.lanes.get_mut(&job)?;
        let before = lane.load();
        let done = work(lane, &mut self.backoff);
        let after = lane.load();
        let moved = |sum: u64, before: u64, after: u64| sum - before + after;
        self.load = Load {
            batches: self.load.batches - before.batches + after.batches,
            in_flight: self.load.in_flight - before.in_flight + after.in_flight,
            bodies_bytes: moved(self.load.bodies_bytes, before.bodies_bytes, after.bodies_bytes),
            stored_bytes: moved(self.load.stored_bytes, before.stored_bytes, after.stored_bytes),
        };
        let (when, standing, claim) = (lane.when(now.mono), lane.standing(), lane.claim());
        self.turns.seat(job, &mut lane.spot, when, standing, after.in_flight);
        self.shares.seat(job, &mut lane.stand, claim);
        self.changed.insert(job);
        self.visits += 1;
        Some(done)
    }

    fn change(&mut self, now: Now, change: LaneChange, out: &mut Vec<SendAction>) {
        match change {
            LaneChange::Put(settings) => {
                let job = settings.job;
                self.lanes.entry(job).or_insert_with(|| Lane::new(settings));
                self.touch(now, job, |lane, _| lane.change(settings));
                // What drops is never parked.
                if settings.drop_oldest && self.lanes[&job].over_share {
                    self.set_over(now, job, false, out);
                }
            }
            LaneChange::Delete(job) => self.delete(job),
        }
    }

    fn delete(&mut self, job: JobId) {
        let Some(mut lane) = self.lanes.remove(&job) else { return };
        self.turns.leave(job, &mut lane.spot);
        self.shares.leave(job, &mut lane.stand);
        if lane.over_share {
            self.shares.over(false);
        }
        let load = lane.load();
        self.load.batches -= load.batches;
        self.load.in_flight -= load.in_flight;
        self.load.bodies_bytes -= load.bodies_bytes;
        self.load.stored_bytes -= load.stored_bytes;
        for id in lane.under_way() {
            if let Some(way) = self.under_way.get_mut(&id) {
                way.job = None;
            }
        }
        for id in &lane.unsettled {
            if let Some((batch, Fate::Delivered | Fate::Dropped)) = self.unsettled.remove(id) {
                self.shares.left(stored(&batch));
            }
        }
        self.judged.retain(|judged| !lane.unsettled.contains(&judged.id));
        self.changed.remove(&job);
        self.visits += 1;
    }

    fn spooled(&mut self, now: Now, batches: Vec<Spooled>) {
        let restart = !std::mem::replace(&mut self.begun, true);
        for mut batch in batches {
            let job = batch.job;
            // A job that the settings no longer have keeps what it left, under a lane of its own.
            self.lanes.entry(job).or_insert_with(|| Lane::new(SendJob::new(job, 1)));
            if !self.may_keep(job, in_memory(&batch)) {
                batch.body = None;
            }
            self.touch(now, job, |lane, backoff| {
                let wait = restart.then(|| now.mono + backoff.up_to(RESTART_JITTER));
                lane.push(batch, wait.unwrap_or_default());
            });
        }
    }

    fn outcome(&mut self, now: Now, id: BatchId, verdict: Verdict, out: &mut Vec<SendAction>) {
        let Some(way) = self.under_way.get(&id).copied() else {
            debug_assert!(false, "an outcome of batch {id:?}, which is not under way");
            return;
        };
        let Some(job) = way.job else { return self.give_back(id) };
        let slow = now.mono > way.slow_at;
        let answered = self.touch(now, job, |lane, backoff| {
            let before = lane.mood();
            let next = lane.answer(now, id, verdict, slow, backoff);
            let why = (lane.mood() != before).then(|| lane.error().unwrap_or_default().to_owned());
            (next, lane.mood(), why, lane.is_splitting(id))
        });
        let Some((next, mood, why, splitting)) = answered else { return };
        if !splitting {
            self.give_back(id);
        }
        if let Some(why) = why {
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
                Next::Suspect(batch, why) => {
                    let name = batch.name.clone();
                    out.push(SendAction::Notice(SendNotice::Suspect { job, name, why }));
                }
                Next::Split(batch) => out.push(SendAction::Split { batch }),
                Next::Pick(batch, picks, why) => {
                    let (again, refused) = (picks.again.len(), picks.refused.len());
                    let name = batch.name.clone();
                    out.push(SendAction::Notice(SendNotice::Partly { job, name, again, refused, why }));
                    out.push(SendAction::Pick { batch, picks });
                }
            }
        }
    }

    /// A slot is free again.
    fn give_back(&mut self, id: BatchId) {
        if let Some(way) = self.under_way.remove(&id) {
            self.turns.give_back(way.standing);
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
        if let Some(lane) = self.lanes.get_mut(&batch.job) {
            lane.unsettled.insert(batch.id);
        }
        if fate != Fate::Aside {
            self.shares.leaves(stored(&batch));
        }
        let batch = Arc::new(Spooled { body: None, ..(*batch).clone() });
        let twice = self.unsettled.insert(batch.id, (batch, fate));
        debug_assert!(twice.is_none(), "two verdicts on one batch");
    }

    fn durable(&mut self, ids: &[BatchId], out: &mut Vec<SendAction>) {
        for id in ids {
            let Some((batch, fate)) = self.unsettled.remove(id) else { continue };
            if let Some(lane) = self.lanes.get_mut(&batch.job) {
                lane.unsettled.remove(id);
            }
            if fate != Fate::Aside {
                self.shares.left(stored(&batch));
            }
            out.push(SendAction::Settled { batch, fate });
        }
    }

    fn split(&mut self, now: Now, parent: BatchId, children: Vec<Spooled>) {
        let way = self.under_way.get(&parent).copied();
        debug_assert!(way.is_some(), "batch {parent:?} was split and nobody had asked for it");
        if let Some(job) = way.and_then(|way| way.job) {
            self.touch(now, job, |lane, _| _ = lane.split(parent, children));
        }
        self.give_back(parent);
    }

    fn parted(
        &mut self,
        now: Now,
        parent: BatchId,
        again: Option<Spooled>,
        rejects: Vec<Spooled>,
        out: &mut Vec<SendAction>,
    ) {
        let way = self.under_way.get(&parent).copied();
        debug_assert!(way.is_some(), "batch {parent:?} was parted and nobody had asked for it");
        let sent_again = again.as_ref().map_or(0, |again| again.records);
        let refused: u64 = rejects.iter().map(|batch| batch.records).sum();
        let batch = way.and_then(|way| way.job).and_then(|job| {
            self.touch(now, job, |lane, _| lane.split(parent, again.into_iter().collect())).flatten()
        });
        if let Some(batch) = batch.filter(|_| sent_again + refused > 0) {
            let batch = Arc::new(Spooled { body: None, ..(*batch).clone() });
            let taken = batch.records - sent_again - refused;
            out.push(SendAction::Parted { batch, taken, refused });
        }
        self.give_back(parent);
        self.spooled(now, rejects);
    }

    fn unreadable(&mut self, now: Now, id: BatchId, why: String, out: &mut Vec<SendAction>) {
        let job = self.under_way.get(&id).and_then(|way| way.job);
        self.give_back(id);
        let batch = job.and_then(|job| self.touch(now, job, |lane, _| lane.take(id)));
        if let Some(batch) = batch.flatten() {
            self.aside(now, batch, why, out);
        }
    }

    fn upload(&mut self, now: Now, out: &mut Vec<SendAction>) {
        if self.stopped {
            return;
        }
        while let Some(job) = self.turns.due(now.mono) {
            self.touch(now, job, |_, _| ());
        }
        while let Some(job) = self.turns.next() {
            let picked = self.touch(now, job, |lane, _| (lane.standing(), lane.pick(now.mono)));
            let Some((standing, Some((batch, attempt)))) = picked else {
                debug_assert!(false, "{job:?} had its turn and nothing to send");
                return;
            };
            let slow_at = now.mono + SLOW + Duration::from_micros(stored(&batch));
            self.under_way.insert(batch.id, UnderWay { job: Some(job), standing, slow_at });
            self.turns.take(standing);
            out.push(SendAction::Upload { batch, attempt, standing });
        }
    }

    /// Who is over its share of the spool, and who is back.
    fn share(&mut self, now: Now, out: &mut Vec<SendAction>) {
        while let Some(job) = self.shares.next_over(self.load.stored_bytes) {
            if self.lanes[&job].settings().drop_oldest {
                self.drop_oldest(now, job, out);
            } else {
                self.set_over(now, job, true, out);
            }
        }
        while let Some(job) = self.shares.next_back(self.load.stored_bytes) {
            self.set_over(now, job, false, out);
        }
    }

    fn set_over(&mut self, now: Now, job: JobId, over: bool, out: &mut Vec<SendAction>) {
        self.shares.over(over);
        self.touch(now, job, |lane, _| lane.over_share = over);
        out.push(if over { SendAction::OverShare { job } } else { SendAction::UnderShare { job } });
    }

    fn drop_oldest(&mut self, now: Now, job: JobId, out: &mut Vec<SendAction>) {
        let dropped = self.touch(now, job, |lane, _| {
            let told = std::mem::replace(&mut lane.dropping, true);
            (told, lane.drop_oldest())
        });
        let Some((told, Some(batch))) = dropped else { return };
        if !told {
            out.push(SendAction::Notice(SendNotice::Dropping { job }));
        }
        self.verdict(now, batch, Fate::Dropped, DROPPED.to_owned());
    }

    /// Gives out verdicts when they have waited long enough, or nothing is under way that could join them.
    fn judge(&mut self, now: Now, out: &mut Vec<SendAction>) {
        let alone = self.load.in_flight == 0;
        let due = alone || now.mono >= self.judge_at || self.judged.len() >= VERDICTS_MAX;
        if due && !self.judged.is_empty() {
            out.push(SendAction::Judge(std::mem::take(&mut self.judged)));
        }
    }
}

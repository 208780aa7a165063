//! Drives the batcher and the sender on the delivery thread's tokio runtime, and performs uploads.
//!
//! Promises: shards' queues are always drained (PROTOCOL P8); nothing here waits for the ledger; a batch is uploaded
//! only after its commit.
use super::asides::Asides;
use super::changes::{self, Ask, Changes, Regroup, Riding};
use super::jobs::Jobs;
use super::port::{JobsShown, ParkedShown, Word};
use super::publish::Publishing;
use super::shared::{FromSource, Outbox, SealWord, Shared, ToLedger, ToSource};
use crate::batcher::{Batcher, BatcherAction, BatcherEvent};
use crate::destination::Verdict;
use crate::jobs::{Change, Origin};
use crate::ledger::{LedgerEvent, LedgerReply, Space};
use crate::metrics::Metrics;
use crate::parking::{Parking, ParkingAction};
use crate::protocol::{AsideWord, Fate, GroupId, JobId, Spooled};
use crate::queue::{Seat, TaskBell};
use crate::sender::{LaneState, SendAction, SendEvent, SendNotice, Sender, Uploaded, Uploads};
use crate::source::CatchUpEvent;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// The API sees what lanes do at most so often.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Batches that stay in the spool.
    pub undelivered: u64,
    /// `--once`: everything that was there has been read.
    pub complete: bool,
}

/// How to end once the source is done.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Close every batch (`--once`, `demo`); else they stay open in the ledger.
    pub close: bool,
    /// How long to go on delivering once everything is durable; `None`: until all is delivered.
    pub grace: Option<Duration>,
    /// The same after a signal.
    pub stop_grace: Duration,
}

pub(super) struct Delivery {
    inbox: Inbox,
    batcher: Batcher,
    sender: Sender,
    uploads: Uploads,
    jobs: Jobs,
    changing: Changing,
    /// Lanes that changed and are not shown yet.
    untold: BTreeMap<JobId, LaneState>,
    told_at: Duration,
    ending: Ending,
    finishing: bool,
    complete: bool,
    /// Everything is durable since (monotonic).
    finished: Option<Duration>,
    publishing: Publishing,
    todo: VecDeque<Todo>,
}

/// Jobs that change.
pub(super) struct Changing {
    /// What waits and what rides.
    pub(super) changes: Changes,
    /// What is asked for.
    pub(super) asked: mpsc::Receiver<Word>,
    /// What is asked for of batches that are aside.
    pub(super) asides: Asides,
    /// The jobs as the API sees them.
    pub(super) told: Arc<JobsShown>,
    /// Numbers of the deliveries.
    pub(super) metrics: Arc<Metrics>,
    /// Jobs without room.
    pub(super) parking: Parking,
    /// What parked groups have still to read, bytes.
    pub(super) behind: BTreeMap<GroupId, u64>,
    /// What they can read no more, bytes.
    pub(super) lost: BTreeMap<GroupId, u64>,
    /// `EDGEPUSH_JOB_DISABLE_AFTER`.
    pub(super) disable_after: Option<Duration>,
}

/// What the thread wakes up for, beside uploads and the clock.
struct Inbox {
    shared: Shared,
    to_ledger: Outbox<ToLedger>,
    to_source: Outbox<ToSource>,
    stopping: bool,
}

impl Inbox {
    fn look(&self) -> Option<()> {
        let shared = &self.shared;
        let something = !shared.replies.is_empty()
            || !shared.from_source.is_empty()
            || shared.up.iter().any(|queue| !queue.is_empty())
            || self.to_ledger.can_flush()
            || self.to_source.can_flush()
            || !self.stopping && shared.words.stop.load(Ordering::Acquire);
        something.then_some(())
    }
}

enum Todo {
    Batch(BatcherEvent),
    Send(SendEvent),
}

impl Delivery {
    #[allow(clippy::too_many_arguments, reason = "the parts of the thread, joined once")]
    pub(super) fn new(
        shared: Shared,
        batcher: Batcher,
        sender: Sender,
        uploads: Uploads,
        jobs: Jobs,
        changing: Changing,
        publishing: Publishing,
        ending: Ending,
    ) -> Delivery {
        let (to_ledger, to_source) =
            (Outbox::new(shared.to_ledger.clone()), Outbox::new(shared.to_source.clone()));
        Delivery {
            inbox: Inbox { shared, to_ledger, to_source, stopping: false },
            batcher,
            sender,
            uploads,
            jobs,
            changing,
            untold: BTreeMap::new(),
            told_at: Duration::ZERO,
            ending,
            finishing: false,
            complete: false,
            finished: None,
            publishing,
            todo: VecDeque::new(),
        }
    }

    /// Runs until the agent has ended; `spooled` is what the last run left in this space, `well` are jobs whose last batch
    /// was delivered.
    pub(super) async fn drive(
        mut self,
        bell: TaskBell,
        (spooled, space): (Vec<Spooled>, Space),
        well: Vec<JobId>,
    ) -> Ended {
        let parked = self.jobs.groups().filter(|(_, group, takes)| *takes && !group.is_live());
        let parked = parked.map(|(job, ..)| job).collect();
        self.todo.push_back(Todo::Send(SendEvent::Spooled(spooled)));
        self.todo.push_back(Todo::Send(SendEvent::Known(well)));
        self.todo.push_back(Todo::Send(SendEvent::Parked(parked)));
        self.space(space);
        self.todo.push_back(Todo::Batch(BatcherEvent::Tick));
        self.work();
        self.park_again();
        loop {
            self.change();
            self.work();
            self.publish();
            self.tell();
            if let Some(ended) = self.ended() {
                return ended;
            }
            let until =
                self.deadline().map(|at| tokio::time::Instant::from_std(self.inbox.shared.clock.instant(at)));
            let timer = async {
                match until {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let (uploads, inbox, asked) = (&mut self.uploads, &self.inbox, &mut self.changing.asked);
            tokio::select! {
                biased;
                uploaded = uploads.next() => self.uploaded(uploaded),
                Some(word) = asked.recv() => self.asked(word),
                () = bell.until(|| inbox.look()) => {}
                () = timer => {
                    self.todo.push_back(Todo::Batch(BatcherEvent::Tick));
                    self.todo.push_back(Todo::Send(SendEvent::Tick));
                }
            }
            self.collect();
        }
    }

    /// Somebody wants something of jobs, or of a batch that is aside.
    fn asked(&mut self, word: Word) {
        match word {
            Word::Jobs(ask) => {
                let now = self.inbox.shared.clock.now().mono;
                self.changing.changes.ask(now, *ask);
            }
            Word::Aside(ask) => {
                let event = self.changing.asides.ask(ask);
                self.inbox.to_ledger.put(ToLedger::Event(event));
            }
        }
    }

    /// What an operator wants of a batch that was aside is durable.
    fn freed(&mut self, word: AsideWord, batch: Spooled) {
        // Where its job has left the settings, the next start has a lane for it.
        let Some(job) = self.jobs.get(batch.job) else { return };
        let (label, name) = (&job.label, &*batch.name);
        match word {
            AsideWord::Drop => {
                tracing::warn!(
                    job = label,
                    records = batch.records,
                    "batch {name}, which was aside, is dropped"
                );
                job.counters.verdict(Fate::Dropped);
            }
            AsideWord::Retry => {
                tracing::info!(job = label, "batch {name}, which was aside, is tried again");
                self.todo.push_back(Todo::Send(SendEvent::Spooled(vec![batch])));
            }
        }
    }

    /// Asks for what is due of the archive.
    fn publish(&mut self) {
        // What a stop leaves open is published by the next run.
        if self.inbox.stopping {
            return;
        }
        let now = self.inbox.shared.clock.now().mono;
        if let Some(event) = self.publishing.ask(now, self.sender.pending()) {
            self.inbox.to_ledger.put(ToLedger::Event(event));
        }
    }

    /// Takes what lies in the queues.
    fn collect(&mut self) {
        self.inbox.to_ledger.flush();
        self.inbox.to_source.flush();
        while let Some(uploaded) = self.uploads.try_next() {
            self.uploaded(uploaded);
        }
        while let Some(reply) = self.inbox.shared.replies.try_pop() {
            self.reply(reply);
        }
        for queue in &*self.inbox.shared.up {
            while let Some(messages) = queue.try_pop() {
                let events = messages.into_iter().map(|message| Todo::Batch(BatcherEvent::Shard(message)));
                self.todo.extend(events);
            }
        }
        while let Some(said) = self.inbox.shared.from_source.try_pop() {
            match said {
                FromSource::SealNow => self.todo.push_back(Todo::Batch(BatcherEvent::SealNow)),
                FromSource::CaughtUp(group) => self.park(|parking, out| parking.caught_up(group, out)),
                FromSource::Behind(behind) => {
                    self.changing.behind = behind.into_iter().collect();
                    self.show_parked();
                }
                FromSource::Done { complete } => {
                    self.complete = complete;
                    self.finish();
                }
            }
        }
        if self.inbox.shared.words.stop.load(Ordering::Acquire)
            && !std::mem::replace(&mut self.inbox.stopping, true)
        {
            self.todo.push_back(Todo::Send(SendEvent::Stop));
        }
    }

    /// Begins the change of jobs that is due.
    fn change(&mut self) {
        let Changing { changes, told, .. } = &mut self.changing;
        if self.finishing || self.inbox.stopping {
            return changes.end();
        }
        if let Some(change) = changes.due(self.inbox.shared.clock.now().mono, &self.jobs, &told.now()) {
            if !change.rows.deleted.is_empty() {
                // What a destination has is not to be counted as lost with its job.
                self.todo.push_back(Todo::Send(SendEvent::Settle));
            }
            self.todo.push_back(Todo::Batch(BatcherEvent::Change(change)));
        }
    }

    /// A change is durable: everybody goes by the new jobs from here on.
    fn changed(&mut self, token: u64, (batches, records): (u64, u64)) {
        let Riding { jobs, book, lanes, deleted, asked } = self.changing.changes.done(token);
        for job in &deleted {
            self.changing.metrics.forget_job(*job);
            self.changing.told.forget(*job);
            self.untold.remove(job);
        }
        if records > 0 {
            tracing::warn!(batches, records, "records of deleted jobs are gone with them, undelivered");
        }
        self.jobs = jobs;
        if self.jobs.are_shelved() {
            self.publishing.begin();
        }
        self.changing.told.book(book);
        // Before anything else that waits for the sender: it must not begin an upload of a job that is gone, nor of one
        // that takes nothing any more.
        self.todo.push_front(Todo::Send(SendEvent::Jobs(lanes)));
        self.park_again();
        changes::answer(asked);
    }

    fn space(&mut self, space: Space) {
        self.publishing.space(space);
        let (used_bytes, limit_bytes) = (space.taken_bytes, space.shared_bytes);
        self.todo.push_back(Todo::Send(SendEvent::Space { used_bytes, limit_bytes }));
    }

    /// Parking sees the jobs as they are now.
    fn park_again(&mut self) {
        let groups: Vec<(JobId, GroupId, bool)> = self.jobs.groups().collect();
        self.park(|parking, out| parking.changed(groups.into_iter(), out));
    }

    /// Something happens to jobs without room: they leave the others, are read from the files, or go on with the others.
    fn park(&mut self, step: impl FnOnce(&mut Parking, &mut Vec<ParkingAction>)) {
        let mut actions = Vec::new();
        step(&mut self.changing.parking, &mut actions);
        let now = self.inbox.shared.clock.now().mono;
        for action in actions {
            let event = match action {
                ParkingAction::Park { job, group } => {
                    let label = self.jobs.get(job).map_or("", |job| &job.label);
                    tracing::warn!(
                        job = label,
                        "the job holds more of the spool than its share: it is parked, and reads on from the files \
                         once there is room"
                    );
                    let groups = BTreeMap::from([(job, group)]);
                    let regroup = Regroup { groups, parked: vec![group], ..Regroup::default() };
                    self.changing.changes.regroup(now, regroup);
                    continue;
                }
                ParkingAction::Merge { job, group } => {
                    let label = self.jobs.get(job).map_or("", |job| &job.label);
                    tracing::info!(job = label, "the parked job has caught up");
                    let groups = BTreeMap::from([(job, GroupId::MAIN)]);
                    let regroup = Regroup { groups, merged: vec![group], ..Regroup::default() };
                    self.changing.changes.regroup(now, regroup);
                    continue;
                }
                ParkingAction::Begin(group) => CatchUpEvent::Begin(group),
                ParkingAction::End(group) => CatchUpEvent::End(group),
            };
            self.inbox.to_source.put(ToSource::CatchUp(event));
        }
        self.show_parked();
    }

    /// The API sees which jobs are parked.
    fn show_parked(&self) {
        let Changing { parking, behind, lost, told, .. } = &self.changing;
        let bytes = |of: &BTreeMap<GroupId, u64>, group| of.get(&group).copied().unwrap_or(0);
        let shown = parking.jobs().map(|parked| {
            let (behind_bytes, lost_bytes) = (bytes(behind, parked.group), bytes(lost, parked.group));
            (parked.job, ParkedShown { behind_bytes, lost_bytes })
        });
        told.park(shown.collect());
    }

    /// Busy jobs commit alone; those that are parked, or about to be, are no concern of it.
    fn regroup(&mut self, hot: Vec<JobId>, cool: Vec<JobId>) {
        let parking = &self.changing.parking;
        let hot = hot.into_iter().map(|job| (job, GroupId::HOT));
        let all = hot.chain(cool.into_iter().map(|job| (job, GroupId::MAIN)));
        let groups = all.filter(|(job, _)| !parking.concerns(*job)).collect();
        let now = self.inbox.shared.clock.now().mono;
        self.changing.changes.regroup(now, Regroup { groups, ..Regroup::default() });
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.finishing, true) {
            // An end that nobody asked for by a signal: of pipes. There may be no later run that closes the batches.
            let words = &self.inbox.shared.words;
            let drained = words.drain.load(Ordering::Acquire) && !words.stop.load(Ordering::Acquire);
            let close = self.ending.close || drained;
            self.todo.push_back(Todo::Batch(BatcherEvent::Finish { close }));
        }
    }

    fn reply(&mut self, reply: LedgerReply) {
        match reply {
            LedgerReply::Committed(committed) => {
                self.todo.push_back(Todo::Batch(BatcherEvent::Committed(committed)))
            }
            LedgerReply::Judged(ids) => self.todo.push_back(Todo::Send(SendEvent::Durable(ids))),
            LedgerReply::Split { parent, children } => {
                self.todo.push_back(Todo::Send(SendEvent::Split { parent, children }));
            }
            LedgerReply::Parted { parent, again, rejects } => {
                self.closed(&rejects);
                self.todo.push_back(Todo::Send(SendEvent::Parted { parent, again, rejects }));
            }
            LedgerReply::Aside { id, word, batch } => {
                self.changing.asides.answer(id, batch.clone());
                batch.into_iter().for_each(|batch| self.freed(word, batch));
            }
            LedgerReply::Lost { group, bytes, .. } => {
                *self.changing.lost.entry(group).or_default() += bytes;
                self.show_parked();
                let job = self.changing.parking.jobs().find(|parked| parked.group == group);
                let job = job.and_then(|parked| self.jobs.get(parked.job)).map_or("", |job| &job.label);
                tracing::warn!(
                    job,
                    bytes,
                    "what the parked job had still to read has left the disk: it is lost"
                );
            }
            LedgerReply::Published { spooled, more, left } => {
                self.publishing.told(self.inbox.shared.clock.now().mono, more, left);
                self.changing.metrics.delivery().archive_open(left.batches);
                self.closed(&spooled);
                self.todo.push_back(Todo::Send(SendEvent::Spooled(spooled)));
            }
            LedgerReply::Space(space) => self.space(space),
            LedgerReply::Registered(_) | LedgerReply::Gaps { .. } | LedgerReply::NoSpace(_) => {
                unreachable!("INVARIANT: the ledger's driver keeps these")
            }
        }
    }

    fn uploaded(&mut self, uploaded: Uploaded) {
        match uploaded {
            Uploaded::Outcome { batch, answer, took, .. } => {
                if let Some(job) = self.jobs.get(batch.job) {
                    job.counters.uploaded(answer.status, took);
                    if answer.verdict != Verdict::Delivered {
                        job.counters.verdict(&answer.verdict);
                    }
                }
                self.todo.push_back(Todo::Send(SendEvent::Outcome { id: batch.id, answer }));
            }
            Uploaded::Unreadable { id, why } => {
                self.todo.push_back(Todo::Send(SendEvent::Unreadable { id, why }))
            }
            Uploaded::Split { parent, children } => {
                self.inbox.to_ledger.put(ToLedger::Event(LedgerEvent::Split { parent, children }));
            }
            Uploaded::Picked { parent, wall, picked } => {
                let part = self.jobs.part(parent, wall, picked);
                self.inbox.to_ledger.put(ToLedger::Event(LedgerEvent::Part(part)));
            }
        }
    }

    /// Steps the machines until nothing is left to do now.
    fn work(&mut self) {
        let (mut batch, mut send) = (Vec::new(), Vec::new());
        while let Some(todo) = self.todo.pop_front() {
            let now = self.inbox.shared.clock.now();
            match todo {
                Todo::Batch(event) => self.batcher.step(now, event, &mut batch),
                Todo::Send(event) => self.sender.step(now, event, &mut send),
            }
            for action in batch.drain(..) {
                self.batcher_action(action);
            }
            for action in send.drain(..) {
                self.sender_action(action);
            }
        }
    }

    fn batcher_action(&mut self, action: BatcherAction) {
        let words = &self.inbox.shared.words;
        match action {
            BatcherAction::Seal { scope, epoch, change } => {
                if let Some(token) = change {
                    let plan = self.changing.changes.riding_jobs(token).plan();
                    self.inbox.shared.change_plan(epoch, &plan);
                }
                words.ask_seal(SealWord { epoch, scope });
                self.inbox.shared.ring_shards();
            }
            BatcherAction::Regroup { hot, cool } => self.regroup(hot, cool),
            BatcherAction::Changed { token, deleted } => self.changed(token, deleted),
            BatcherAction::Commit(commit) => {
                self.inbox.to_ledger.put(ToLedger::Event(LedgerEvent::Commit(commit)))
            }
            BatcherAction::Spooled(spooled) => {
                self.closed(&spooled);
                self.todo.push_back(Todo::Send(SendEvent::Spooled(spooled)));
            }
            BatcherAction::Durable(durable) => self.inbox.to_source.put(ToSource::Durable(durable)),
            BatcherAction::Caught(caught) => {
                for (group, chunks) in caught {
                    let caught = CatchUpEvent::Caught { group, chunks };
                    self.inbox.to_source.put(ToSource::CatchUp(caught));
                }
            }
            BatcherAction::Readers { stop } => {
                words.uncommitted_full.store(stop, Ordering::Release);
                self.inbox.shared.ring_shards();
            }
            BatcherAction::Finished => {
                let now = self.inbox.shared.clock.now().mono;
                self.finished = Some(now);
                if self.ending.close {
                    self.publishing.finish(now);
                }
            }
        }
    }

    fn sender_action(&mut self, action: SendAction) {
        match action {
            SendAction::Upload { batch, standing, .. } => {
                let to = self.jobs.get(batch.job).map(|job| job.destination.clone());
                let to = to.unwrap_or_else(|| panic!("an upload of job {}, which is none", batch.job.0));
                self.uploads.start(to, batch, standing);
            }
            SendAction::Judge(judged) => {
                self.inbox.to_ledger.put(ToLedger::Event(LedgerEvent::Judge(judged)));
            }
            SendAction::Split { batch } => self.uploads.split(batch),
            SendAction::Pick { batch, picks } => {
                let label = self.jobs.get(batch.job).map_or(String::new(), |job| job.label.clone());
                self.uploads.pick(batch, picks, label, self.inbox.shared.clock.now().wall);
            }
            SendAction::Parted { batch, taken, refused } => self.parted(&batch, taken, refused),
            SendAction::OverShare { job } => self.park(|parking, out| parking.over_share(job, out)),
            SendAction::UnderShare { job } => self.park(|parking, out| parking.under_share(job, out)),
            SendAction::Settled { batch, fate } => self.settled(&batch, fate),
            SendAction::Notice(notice) => {
                let job = self.jobs.get(notice.job()).map_or("", |job| &job.label);
                match notice {
                    SendNotice::Well { .. } => tracing::info!(job, "{notice}"),
                    _ => tracing::warn!(job, "{notice}"),
                }
            }
        }
    }

    /// Batches are durable and closed.
    fn closed(&self, spooled: &[Spooled]) {
        for batch in spooled {
            let compressed = batch.pieces.iter().map(|piece| piece.len).sum();
            if let Some(job) = self.jobs.get(batch.job) {
                job.counters.batch_bytes(batch.raw, compressed);
            }
        }
    }

    /// A batch was taken in part, durably.
    fn parted(&self, batch: &Spooled, taken: u64, refused: u64) {
        self.changing.metrics.delivery().records_refused(refused);
        let Some(counters) = self.jobs.get(batch.job).map(|job| &job.counters) else { return };
        if taken > 0 {
            // Its records' share: nobody has asked how long each of them is.
            let share =
                |bytes: u64| (u128::from(bytes) * u128::from(taken) / u128::from(batch.records)) as u64;
            let compressed: u64 = batch.pieces.iter().map(|piece| piece.len).sum();
            let lag = self.inbox.shared.clock.now().wall.saturating_sub(batch.first).max(0);
            counters.delivered(
                taken,
                (share(batch.raw), share(compressed)),
                Duration::from_nanos(lag as u64),
            );
        }
    }

    /// A verdict is durable.
    fn settled(&self, batch: &Spooled, fate: Fate) {
        let Some(counters) = self.jobs.get(batch.job).map(|job| &job.counters) else { return };
        counters.verdict(fate);
        if fate == Fate::Delivered {
            if batch.shelf.is_some() {
                self.changing.metrics.delivery().archived();
            }
            let lag = self.inbox.shared.clock.now().wall.saturating_sub(batch.first).max(0);
            let compressed = batch.pieces.iter().map(|piece| piece.len).sum();
            counters.delivered(batch.records, (batch.raw, compressed), Duration::from_nanos(lag as u64));
        }
    }

    /// What the API and the gauges tell of the jobs.
    fn tell(&mut self) {
        for lane in self.sender.changed() {
            self.untold.insert(lane.job, lane);
        }
        self.changing.metrics.delivery().backpressure(self.inbox.shared.words.readers_stopped());
        let now = self.inbox.shared.clock.now().mono;
        if self.untold.is_empty() || now < self.told_at + TELL_EVERY && self.finished.is_none() {
            return;
        }
        self.told_at = now;
        let lanes: Vec<LaneState> = std::mem::take(&mut self.untold).into_values().collect();
        for lane in &lanes {
            if let Some(job) = self.jobs.get(lane.job) {
                job.counters.spool_batches(lane.batches as u64);
            }
            self.disable(lane);
        }
        self.changing.told.lanes(lanes);
    }

    /// A job of the API that has failed for too long is disabled (INTERFACE 6).
    fn disable(&mut self, lane: &LaneState) {
        let (Some(after), Some(since)) = (self.changing.disable_after, lane.failing_since) else { return };
        let now = self.inbox.shared.clock.now();
        let theirs = |job: &&Arc<crate::jobs::Job>| job.origin == Origin::Api && job.config.enabled;
        let known = self.changing.told.now().get(lane.job).filter(theirs).is_some();
        if !known || u128::try_from(now.wall.saturating_sub(since)).unwrap_or(0) < after.as_nanos() {
            return;
        }
        let job = lane.job.0;
        tracing::warn!(
            job,
            "the job is disabled: its destination has taken nothing for {after:?}; enable it again by the API"
        );
        let patch = serde_json::Map::from_iter([("enabled".to_owned(), false.into())]);
        let change = Change::Update { id: lane.job, owner: None, patch };
        let (answer, _) = tokio::sync::oneshot::channel();
        self.changing.changes.ask(now.mono, Ask { change, answer });
    }

    fn deadline(&self) -> Option<Duration> {
        let tell = (!self.untold.is_empty()).then_some(self.told_at + TELL_EVERY);
        let change = self.changing.changes.deadline();
        let grace = self.finished.and_then(|at| self.grace().map(|grace| at + grace));
        let publish = self.publishing.deadline(self.sender.pending()).filter(|_| !self.inbox.stopping);
        let machines = [self.batcher.deadline(), self.sender.deadline(), publish];
        machines.into_iter().chain([change, tell, grace]).flatten().min()
    }

    fn grace(&self) -> Option<Duration> {
        if self.inbox.stopping { Some(self.ending.stop_grace) } else { self.ending.grace }
    }

    /// Whether the run is over: everything is durable, and delivered or out of time.
    fn ended(&self) -> Option<Ended> {
        let at = self.finished?;
        let pending = self.sender.pending() as u64;
        // Nobody waits for what a disabled job holds.
        let open = if self.publishing.is_done() { 0 } else { self.publishing.left() };
        let done = pending == self.sender.held() as u64 && self.publishing.is_done();
        let late = self.grace().is_some_and(|grace| self.inbox.shared.clock.now().mono >= at + grace);
        let idle = self.inbox.stopping && self.sender.in_flight() == 0;
        (done || late || idle).then_some(Ended { undelivered: pending + open, complete: self.complete })
    }
}

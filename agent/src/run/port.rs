//! port: the running agent as whoever changes jobs sees it.
//!
//! Promises: reading never waits for the delivery thread; a change is answered when it is durable, or cannot be made.
//! Must not know: HTTP, how a change is carried out.
use super::asides::AsideAsk;
use super::changes::Ask;
use super::make::{Maker, label};
use crate::destination::{Boxed, Destination};
use crate::jobs::redact;
use crate::jobs::{Book, Change, ChangeError, GuardState, JobChange, JobHealth, JobsPort, Life};
use crate::metrics::{BatchVerdict, Metrics};
use crate::protocol::{AsideWord, BatchId, JobId, Spooled};
use crate::sender::LaneState;
use crate::status::JobStatus;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Jobs that `/status` tells of.
const STATUS_JOBS_MAX: usize = 500;

/// A job's state in one word. A lane is told of once something happens to it, and a moment later.
fn state_of(lane: Option<&LaneState>, enabled: bool, parked: bool) -> &'static str {
    match lane {
        _ if !enabled => "disabled",
        _ if parked => "parked",
        Some(lane) if lane.held => "disabled",
        Some(lane) if lane.over_share => "parked",
        Some(lane) => lane.mood.as_str(),
        None => "ok",
    }
}

/// What the delivery thread is asked for.
pub(super) enum Word {
    /// Jobs change.
    Jobs(Box<Ask>),
    /// A batch that is aside is tried again, or goes.
    Aside(AsideAsk),
}

/// Asks that wait for the delivery thread.
pub(super) const ASKS: usize = 64;

/// A job that takes no records: it has no room, or catches up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ParkedShown {
    /// What it has still to read, bytes; as far as it is known.
    pub(super) behind_bytes: u64,
    /// What it can read no more, bytes.
    pub(super) lost_bytes: u64,
}

impl ParkedShown {
    fn error(self) -> Option<String> {
        let ParkedShown { lost_bytes, .. } = self;
        (lost_bytes > 0).then(|| format!("{lost_bytes} bytes left the disk before they could be read"))
    }
}

/// What the delivery thread shows of the jobs.
#[derive(Default)]
pub(super) struct JobsShown {
    parked: Mutex<BTreeMap<JobId, ParkedShown>>,
    book: Mutex<Arc<Book>>,
    lanes: Mutex<BTreeMap<JobId, LaneState>>,
}

impl JobsShown {
    /// The jobs from now on. What has become of them meanwhile stays.
    pub(super) fn book(&self, mut book: Book) {
        let mut own = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        for job in own.iter() {
            book.live(job.id, job.life.clone());
        }
        *own = Arc::new(book);
    }

    /// The jobs now.
    pub(super) fn now(&self) -> Arc<Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A job is gone.
    pub(super) fn forget(&self, job: JobId) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    /// The jobs that are parked now.
    pub(super) fn park(&self, parked: BTreeMap<JobId, ParkedShown>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        for (job, error) in parked.iter().filter_map(|(job, shown)| Some((*job, shown.error()?))) {
            let life = book.get(job).map(|known| Life { error_message: Some(error), ..known.life.clone() });
            if let Some(life) = life {
                Arc::make_mut(&mut book).live(job, life);
            }
        }
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = parked;
    }

    fn parked(&self, job: JobId) -> Option<ParkedShown> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).get(&job).copied()
    }

    /// What has become of some jobs' batches.
    pub(super) fn lanes(&self, changed: Vec<LaneState>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in changed {
            if let Some(known) = book.get(lane.job) {
                let life = Life {
                    last_complete: lane.last_complete.or(known.life.last_complete),
                    last_error: lane.error.as_ref().and(lane.last_error),
                    error_message: lane.error.clone(),
                };
                if known.life != life {
                    Arc::make_mut(&mut book).live(lane.job, life);
                }
            }
            lanes.insert(lane.job, lane);
        }
    }

    /// Every job for `/status`, those in trouble first.
    pub(super) fn statuses(&self, metrics: &Metrics, now: i64) -> Vec<JobStatus> {
        let book = self.now();
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = |id: JobId| lanes.get(&id).is_some_and(|lane| lane.error.is_some() || lane.over_share);
        let trouble = |id: JobId| failing(id) || self.parked(id).is_some();
        let mut jobs: Vec<&Arc<crate::jobs::Job>> = book.iter().collect();
        jobs.sort_by_key(|job| (!trouble(job.id), job.id));
        jobs.truncate(STATUS_JOBS_MAX);
        let age = |first: i64| u64::try_from(now.saturating_sub(first) / 1_000_000_000).unwrap_or(0);
        let status = |job: &Arc<crate::jobs::Job>| {
            let (lane, parked) = (lanes.get(&job.id), self.parked(job.id));
            JobStatus {
                name: label(job),
                destination: redact::redacted(job.config.destination_conf.expose()),
                state: state_of(lane, job.config.enabled, parked.is_some()).to_owned(),
                error: lane.and_then(|lane| lane.error.clone()).or(parked.and_then(ParkedShown::error)),
                behind_bytes: parked.map_or(0, |parked| parked.behind_bytes),
                records_delivered: metrics.known_job(job.id).map_or(0, |known| known.records_delivered()),
                spool_batches: lane.map_or(0, |lane| lane.batches as u64),
                oldest_seconds: lane.and_then(|lane| lane.oldest).map(age),
            }
        };
        jobs.into_iter().map(status).collect()
    }

    fn lane(&self, job: JobId) -> Option<LaneState> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }
}

/// The port.
pub(super) struct Port {
    pub(super) shown: Arc<JobsShown>,
    pub(super) asks: mpsc::Sender<Word>,
    pub(super) maker: Arc<Maker>,
    pub(super) metrics: Arc<Metrics>,
    /// How the sets of jobs that come from elsewhere stand.
    pub(super) guard: Arc<GuardState>,
    /// Wall time, ns since the epoch.
    pub(super) clock: Box<dyn Fn() -> i64 + Send + Sync>,
}

impl JobsPort for Port {
    fn book(&self) -> Arc<Book> {
        self.shown.now()
    }

    fn change(&self, change: Change) -> Boxed<'static, Result<Vec<JobChange>, ChangeError>> {
        let asks = self.asks.clone();
        Box::pin(async move {
            let stopping = || ChangeError::Unavailable("the agent is stopping".into());
            let (answer, answered) = oneshot::channel();
            asks.send(Word::Jobs(Box::new(Ask { change, answer }))).await.map_err(|_| stopping())?;
            answered.await.map_err(|_| stopping())?
        })
    }

    fn aside(&self, id: BatchId, word: AsideWord) -> Boxed<'static, Result<Option<Spooled>, ChangeError>> {
        let asks = self.asks.clone();
        Box::pin(async move {
            let stopping = || ChangeError::Unavailable("the agent is stopping".into());
            let (answer, answered) = oneshot::channel();
            asks.send(Word::Aside(AsideAsk { id, word, answer })).await.map_err(|_| stopping())?;
            answered.await.map_err(|_| stopping())?
        })
    }

    fn destination(&self, conf: &str) -> Result<Arc<dyn Destination>, String> {
        self.maker.destination(conf)
    }

    fn guard(&self) -> Option<Arc<GuardState>> {
        Some(self.guard.clone())
    }

    fn health(&self, job: JobId) -> JobHealth {
        let Some(counters) = self.metrics.known_job(job) else { return JobHealth::default() };
        let lane = self.shown.lane(job);
        let enabled = self.book().get(job).is_some_and(|job| job.config.enabled);
        let (raw, compressed) = counters.bytes_delivered();
        let good = |status: &str| status == "ok" || status.starts_with('2');
        let by_status = counters.uploads().into_iter().map(|(status, n)| (status.to_string(), n));
        let age = |first: i64| (self.clock)().saturating_sub(first).max(0) as u64 / 1_000_000_000;
        JobHealth {
            uploads: counters.batches(BatchVerdict::Delivered),
            records: counters.records_delivered(),
            bytes: raw,
            bytes_compressed: compressed,
            retries: by_status.filter(|(status, _)| !good(status)).collect(),
            lag_seconds: lane.as_ref().and_then(|lane| lane.oldest).map_or(0, age),
            state: state_of(lane.as_ref(), enabled, self.shown.parked(job).is_some()).into(),
        }
    }
}

//! follow: looks at the set of jobs that `EDGEPUSH_JOBS` names for as long as the agent runs, and carries out what the
//! guard allows.
//!
//! Promises: a set is changed through [`JobsPort`] only, and only by what the guard lets through; each new reason for a
//! refusal is one WARN; nothing here waits on the thread that it runs on.
//! Must not know: how jobs run, how a change becomes durable.
use super::files::Directory;
use super::guard::{self, GuardState, Ruling, Seen};
use super::poll::Document;
use super::set::Judges;
use super::{Book, Change, ChangeError, Checks, JobChange, JobsPort, OriginKind, Zones};
use crate::config::{Target, choice};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep};

/// What `EDGEPUSH_JOBS` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobsFrom {
    /// A directory of job files.
    Directory(PathBuf),
    /// A URL that is polled; it may carry a header with a secret.
    Url(Target),
}

impl JobsFrom {
    /// Reads the setting: a URL, or else a directory.
    pub fn of(said: &str) -> JobsFrom {
        match choice::is_web(said) {
            true => JobsFrom::Url(Target::new(said)),
            false => JobsFrom::Directory(said.into()),
        }
    }

    /// Which jobs it is about.
    pub fn kind(&self) -> OriginKind {
        match self {
            JobsFrom::Directory(_) => OriginKind::File,
            JobsFrom::Url(_) => OriginKind::Url,
        }
    }
}

/// How often is looked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A directory.
    pub look: Duration,
    /// Between the two looks in which a directory must be the same.
    pub settle: Duration,
    /// A URL, give or take a tenth.
    pub poll: Duration,
    /// A directory that was refused, although nothing changed: what it is refused for may have.
    pub again: Duration,
    /// After a change that could not be made durable.
    pub retry: Duration,
}

impl Default for Pace {
    /// A directory every second, a URL every minute.
    fn default() -> Pace {
        Pace {
            look: Duration::from_secs(1),
            settle: Duration::from_millis(300),
            poll: Duration::from_secs(60),
            again: Duration::from_secs(30),
            retry: Duration::from_secs(5),
        }
    }
}

/// What sets are judged and carried out with.
#[derive(Clone)]
pub struct Follow {
    /// Filters and output options.
    pub checks: Checks,
    /// The zones that exist.
    pub zones: Arc<Zones>,
    /// How the sets stand.
    pub guard: Arc<GuardState>,
    /// How often is looked.
    pub pace: Pace,
}

/// Follows a set until it is dropped. `None`: `EDGEPUSH_JOBS` is not set, and jobs that came from files once wait for the
/// confirmation that they are to go.
pub async fn follow(from: Option<JobsFrom>, port: Arc<dyn JobsPort>, with: Follow) {
    let followed = from.as_ref().map(JobsFrom::kind);
    let left = |kind| followed != Some(kind) && guard::of_kind(&port.book(), kind).next().is_some();
    let one = async |place: Option<Place>| {
        if let Some(place) = place {
            with.follow(place, &port).await;
        }
    };
    let place = from.map(|from| Place::of(from, with.pace));
    let gone = |kind| left(kind).then_some(Place::Gone(kind));
    tokio::join!(one(place), one(gone(OriginKind::File)), one(gone(OriginKind::Url)));
}

/// The set as it is before anything runs: what has to be changed on this book first, so that jobs which are known at the
/// very first start begin where `EDGEPUSH_START` says. Takes as long as a server needs to answer, 20 s at most.
pub async fn first(from: &JobsFrom, book: &Arc<Book>, with: &Follow) -> Option<Change> {
    let mut place = Place::of(from.clone(), with.pace);
    with.guard.follows(place.kind(), place.shown(), guard::of_kind(book, place.kind()).count());
    for _ in 0..FIRST_LOOKS {
        if let Some(seen) = place.look(true).await {
            return with.rule(place.kind(), seen, book.clone()).await;
        }
    }
    None
}

/// A set that somebody writes at the start is left to [`follow`] after so many looks.
const FIRST_LOOKS: usize = 5;

/// Where a set is looked at.
enum Place {
    Directory(Directory),
    Url(Box<Document>),
    /// Nowhere any more.
    Gone(OriginKind),
}

impl Place {
    fn of(from: JobsFrom, pace: Pace) -> Place {
        match from {
            JobsFrom::Directory(path) => Place::Directory(Directory::new(path, pace.settle)),
            JobsFrom::Url(url) => Place::Url(Box::new(Document::new(url, pace.poll))),
        }
    }

    fn kind(&self) -> OriginKind {
        match self {
            Place::Directory(_) => OriginKind::File,
            Place::Url(_) => OriginKind::Url,
            Place::Gone(kind) => *kind,
        }
    }

    /// Without secrets.
    fn shown(&self) -> String {
        match self {
            Place::Directory(directory) => directory.path().display().to_string(),
            Place::Url(document) => document.shown(),
            Place::Gone(OriginKind::File) => "files that EDGEPUSH_JOBS does not name any more".into(),
            Place::Gone(OriginKind::Url) => "a URL that EDGEPUSH_JOBS does not name any more".into(),
        }
    }

    /// The set, or why it cannot be seen; `None`: it is as it was, or not to be judged yet. `whole`: also when it is as
    /// it was.
    async fn look(&mut self, whole: bool) -> Option<Result<Seen, String>> {
        match self {
            Place::Directory(directory) => directory.look(whole).await,
            Place::Url(document) => document.look(whole).await,
            Place::Gone(_) => whole.then(|| Ok(Seen::default())),
        }
    }

    /// The set was refused: after what time it is judged again although it is as it was. A URL is polled in any case.
    fn not_taken(&mut self, pace: Pace) -> Option<Duration> {
        match self {
            Place::Directory(_) | Place::Gone(_) => Some(pace.again),
            Place::Url(document) => {
                document.forget();
                None
            }
        }
    }
}

impl Follow {
    async fn follow(&self, mut place: Place, port: &Arc<dyn JobsPort>) {
        let kind = place.kind();
        self.guard.follows(kind, place.shown(), guard::of_kind(&port.book(), kind).count());
        let mut again = Some(Instant::now());
        loop {
            let due = again.is_some_and(|at| Instant::now() >= at);
            if let Some(seen) = place.look(due || self.guard.confirmed(kind).is_some()).await {
                again = match self.carry_out(kind, seen, port).await {
                    Outcome::Good => None,
                    Outcome::Refused => place.not_taken(self.pace),
                    Outcome::NotNow => Some(self.pace.retry),
                }
                .map(|pause| Instant::now() + pause);
            }
            sleep(self.pace.look).await;
        }
    }

    /// Judges a set, and has it carried out when it is good.
    async fn carry_out(
        &self,
        kind: OriginKind,
        seen: Result<Seen, String>,
        port: &Arc<dyn JobsPort>,
    ) -> Outcome {
        let Some(change) = self.rule(kind, seen, port.book()).await else {
            let refused = self.guard.is_refused(kind);
            return if refused { Outcome::Refused } else { Outcome::Good };
        };
        match port.change(change).await {
            Ok(changes) => {
                let count = |wanted: fn(&JobChange) -> bool| changes.iter().filter(|c| wanted(c)).count();
                let new = count(|change| matches!(change, JobChange::Put(job) if job.version == 1));
                let changed = count(|change| matches!(change, JobChange::Put(job) if job.version > 1));
                let ended = count(|change| matches!(change, JobChange::Delete(_)));
                let jobs = guard::of_kind(&port.book(), kind).count();
                tracing::info!(new, changed, ended, jobs, "the set of jobs changed");
                self.guard.good(kind, jobs, now());
                Outcome::Good
            }
            Err(ChangeError::Refused(refusal)) => {
                self.refuse(kind, guard::reasons(refusal), None);
                Outcome::Refused
            }
            Err(ChangeError::Unavailable(why)) => {
                crate::once_a_minute!(warn, %why, "the set of jobs cannot be changed now: it is tried again");
                Outcome::NotNow
            }
        }
    }

    /// Judges a set, and says how it stands; gives what is to be changed.
    async fn rule(&self, kind: OriginKind, seen: Result<Seen, String>, book: Arc<Book>) -> Option<Change> {
        let jobs = guard::of_kind(&book, kind).count();
        let (checks, zones, confirmed) = (self.checks, self.zones.clone(), self.guard.confirmed(kind));
        // Ten thousand filters take their time, and this thread delivers.
        let ruling = tokio::task::spawn_blocking(move || {
            let judges = Judges { checks: &checks, zones: &zones };
            guard::judge(&book, kind, &seen, confirmed.as_deref(), judges)
        });
        match ruling.await.expect("INVARIANT: the guard does not panic") {
            Ruling::Same => {
                if self.guard.good(kind, jobs, now()) {
                    tracing::info!(jobs, "the set of jobs is good again, and what runs already");
                }
                None
            }
            Ruling::Replace(jobs) => Some(Change::Replace { origin_kind: kind, jobs }),
            Ruling::Refused { reasons, digest } => {
                self.refuse(kind, reasons, digest);
                None
            }
        }
    }

    fn refuse(&self, kind: OriginKind, reasons: Vec<String>, digest: Option<String>) {
        if self.guard.refuse(kind, reasons, digest, now()) {
            let standings = self.guard.standings();
            let set = standings.iter().find(|set| set.kind == kind);
            tracing::warn!("{}", set.and_then(|set| set.refusal()).unwrap_or_default());
        }
    }
}

/// What came of a look.
enum Outcome {
    Good,
    Refused,
    /// The agent cannot change anything at present.
    NotNow,
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

//! book: the set of all jobs, and every rule by which it changes.
//!
//! A change is planned ([`Book::plan`]: what would be, or all that forbids it) and then applied ([`Book::apply`]), so
//! that what was planned can be made durable between the two.
//! Promises: no clock, no I/O; an id is never given twice; every change of a job is a new version; `dataset` and `kind`
//! never change; a job is changed only by where it comes from.
//! Must not know: who asks, how jobs run, how they are kept.
use super::config::{Checks, JobConfig, Problem, READ_ONLY_KEYS};
use super::redact;
use super::{Origin, OriginKind, Owner};
use crate::config::Target;
use edgepush_shard::chunk::JobId;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Never given twice.
    pub id: JobId,
    /// From 1, one more with each change.
    pub version: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Where it is changed.
    pub origin: Origin,
    /// What it is.
    pub config: JobConfig,
    /// What has become of it.
    pub life: Life,
}

/// What has become of a job: no version changes by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// End of the last time range that was delivered, ns since the epoch.
    pub last_complete: Option<i64>,
    /// When it failed last, ns since the epoch; none after a success.
    pub last_error: Option<i64>,
    /// Why, in plain words.
    pub error_message: Option<String>,
}

/// What somebody wants changed.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, by hand: its size costs nothing")]
pub enum Change {
    /// A new job.
    Create {
        /// Whose.
        owner: Owner,
        /// Where it comes from.
        origin: Origin,
        /// What it is.
        config: JobConfig,
    },
    /// Some keys of a job that the API owns; `null` takes a key back.
    Update {
        /// Which.
        id: JobId,
        /// Only if it is theirs; `None`: whosever it is.
        owner: Option<Owner>,
        /// The keys.
        patch: Map<String, Value>,
    },
    /// A job that the API owns goes.
    Delete {
        /// Which.
        id: JobId,
        /// Only if it is theirs; `None`: whosever it is.
        owner: Option<Owner>,
    },
    /// The whole set of one origin: what is not in it goes.
    Replace {
        /// Which origin.
        origin_kind: OriginKind,
        /// Its jobs by their keys, which are unique.
        jobs: Vec<(String, Owner, JobConfig)>,
    },
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no such job, or it is somebody else's.
    NotFound,
    /// It is changed elsewhere: where, in plain words.
    ReadOnly(String),
    /// All that is wrong with it. In a set, pointers begin with the job's key.
    Invalid(Vec<Problem>),
    /// There are as many jobs as may be.
    TooMany {
        /// How many.
        max: usize,
    },
    /// This key never changes.
    Immutable(&'static str),
}

/// A step that carries out a change.
#[derive(Clone, Debug, PartialEq)]
pub enum JobChange {
    /// A new job, or a new version of one.
    Put(Arc<Job>),
    /// It goes.
    Delete(JobId),
}

/// Bounds of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Most jobs beside the environment job and the rejects.
    pub jobs_max: usize,
}

impl Default for BookLimits {
    /// 10,000.
    fn default() -> BookLimits {
        BookLimits { jobs_max: 10_000 }
    }
}

/// All jobs. Cloning costs a pointer a job.
#[derive(Clone, Debug, Default)]
pub struct Book {
    jobs: BTreeMap<JobId, Arc<Job>>,
    next_id: u64,
    limits: BookLimits,
}

impl Book {
    /// A book as it was kept; `next_id` is above every id that was ever given.
    pub fn new(jobs: Vec<Job>, next_id: u64, limits: BookLimits) -> Book {
        let mut book = Book { jobs: BTreeMap::new(), next_id: next_id.max(JobId::ENV.0 + 1), limits };
        for job in jobs {
            book.put(Arc::new(job));
        }
        book
    }

    /// The id that the next job gets: must be kept with the jobs.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// One job; the rejects are none.
    pub fn get(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&id).filter(|job| job.id != JobId::REJECTS)
    }

    /// One job, if it is `owner`'s; `None`: whosever it is.
    pub fn get_of(&self, id: JobId, owner: Option<&Owner>) -> Option<&Arc<Job>> {
        self.get(id).filter(|job| owner.is_none_or(|owner| job.owner == *owner))
    }

    /// All jobs by their ids, without the rejects.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.values().filter(|job| job.id != JobId::REJECTS)
    }

    /// The jobs of an owner; `None`: of everyone.
    pub fn list<'a>(&'a self, owner: Option<&'a Owner>) -> impl Iterator<Item = &'a Arc<Job>> {
        self.iter().filter(move |job| owner.is_none_or(|owner| job.owner == *owner))
    }

    /// The jobs of a data set.
    pub fn by_dataset<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = &'a Arc<Job>> {
        self.iter().filter(move |job| job.config.dataset == dataset)
    }

    /// Whether a job of the owner (`None`: of anyone) goes to the same place, whatever its parameters are.
    pub fn goes_to(&self, conf: &str, owner: Option<&Owner>) -> bool {
        let place = redact::place(conf);
        self.list(owner).any(|job| redact::place(job.config.destination_conf.expose()) == place)
    }

    /// What a change would do; nothing when everything is already so.
    ///
    /// # Errors
    /// Which rule forbids it; of mistakes, all.
    pub fn plan(&self, change: &Change, checks: &Checks) -> Result<Vec<JobChange>, Refusal> {
        match change {
            Change::Create { owner, origin, config } => {
                self.room_for(1)?;
                valid(config.check(checks))?;
                let (owner, origin, config) = (owner.clone(), origin.clone(), config.clone());
                Ok(vec![put(JobId(self.next_id), 1, owner, origin, config, Life::default())])
            }
            Change::Update { id, owner, patch } => self.plan_update(*id, owner.as_ref(), patch, checks),
            Change::Delete { id, owner } => {
                self.writable(*id, owner.as_ref())?;
                Ok(vec![JobChange::Delete(*id)])
            }
            Change::Replace { origin_kind, jobs } => self.plan_set(*origin_kind, jobs, checks),
        }
    }

    /// Carries out what was planned on this book.
    pub fn apply(&mut self, changes: &[JobChange]) {
        for change in changes {
            match change {
                JobChange::Put(job) => self.put(job.clone()),
                JobChange::Delete(id) => drop(self.jobs.remove(id)),
            }
        }
    }

    /// Notes what has become of a job; one that has gone meanwhile is passed over.
    pub fn live(&mut self, id: JobId, life: Life) {
        if let Some(job) = self.jobs.get_mut(&id)
            && job.life != life
        {
            Arc::make_mut(job).life = life;
        }
    }

    fn put(&mut self, job: Arc<Job>) {
        self.next_id = self.next_id.max(job.id.0 + 1);
        self.jobs.insert(job.id, job);
    }

    fn room_for(&self, more: usize) -> Result<(), Refusal> {
        let max = self.limits.jobs_max;
        let there = self.iter().filter(|job| job.origin != Origin::Environment).count();
        if there + more > max { Err(Refusal::TooMany { max }) } else { Ok(()) }
    }

    fn writable(&self, id: JobId, owner: Option<&Owner>) -> Result<&Arc<Job>, Refusal> {
        let job = self.get_of(id, owner).ok_or(Refusal::NotFound)?;
        job.origin.read_only().map_or(Ok(job), |why| Err(Refusal::ReadOnly(why)))
    }

    fn plan_update(
        &self,
        id: JobId,
        owner: Option<&Owner>,
        patch: &Map<String, Value>,
        checks: &Checks,
    ) -> Result<Vec<JobChange>, Refusal> {
        let job = self.writable(id, owner)?;
        let config = merged(&job.config, patch)?;
        if config.dataset != job.config.dataset {
            return Err(Refusal::Immutable("dataset"));
        }
        if config.kind != job.config.kind {
            return Err(Refusal::Immutable("kind"));
        }
        if config == job.config {
            return Ok(Vec::new());
        }
        // A job that an older version accepted can be stopped, whatever this one thinks of it.
        if config != (JobConfig { enabled: false, ..job.config.clone() }) {
            valid(config.check(checks))?;
        }
        Ok(vec![next(job, config)])
    }

    fn plan_set(
        &self,
        kind: OriginKind,
        jobs: &[(String, Owner, JobConfig)],
        checks: &Checks,
    ) -> Result<Vec<JobChange>, Refusal> {
        let mut old: BTreeMap<&str, &Arc<Job>> =
            self.iter().filter_map(|job| Some((job.origin.key_in(kind)?, job))).collect();
        let (mut seen, mut problems, mut changes, mut new) = (BTreeSet::new(), Vec::new(), Vec::new(), 0);
        for (key, owner, config) in jobs {
            if !seen.insert(key) {
                problems.push(Problem::at(key, "is there twice: each job needs a key of its own"));
                continue;
            }
            let wrong = config.check(checks).into_iter();
            problems.extend(
                wrong.map(|problem| Problem::at(format!("{key}{}", problem.pointer), problem.message)),
            );
            match old.remove(key.as_str()) {
                Some(job) if same_job(job, owner, config) => {
                    changes.extend((job.config != *config).then(|| next(job, config.clone())));
                }
                other => {
                    changes.extend(other.map(|job| JobChange::Delete(job.id)));
                    let (id, origin) = (JobId(self.next_id + new), Origin::of(kind, key));
                    changes.push(put(id, 1, owner.clone(), origin, config.clone(), Life::default()));
                    new += 1;
                }
            }
        }
        changes.extend(old.values().map(|job| JobChange::Delete(job.id)));
        valid(problems)?;
        let gone = changes.iter().filter(|change| matches!(change, JobChange::Delete(_))).count();
        self.room_for((new as usize).saturating_sub(gone))?;
        Ok(changes)
    }
}

/// Whether it can be a version of the job: what never changes is the same.
fn same_job(job: &Job, owner: &Owner, config: &JobConfig) -> bool {
    job.owner == *owner && job.config.dataset == config.dataset && job.config.kind == config.kind
}

fn valid(problems: Vec<Problem>) -> Result<(), Refusal> {
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(problems)) }
}

fn put(id: JobId, version: u32, owner: Owner, origin: Origin, config: JobConfig, life: Life) -> JobChange {
    JobChange::Put(Arc::new(Job { id, version, owner, origin, config, life }))
}

fn next(job: &Job, config: JobConfig) -> JobChange {
    let (owner, origin) = (job.owner.clone(), job.origin.clone());
    put(job.id, job.version + 1, owner, origin, config, job.life.clone())
}

/// The keys that a job cannot be without: their `null` says nothing.
const KEPT_KEYS: [&str; 4] = ["dataset", "kind", "destination_conf", "enabled"];

/// A job with some keys changed.
fn merged(old: &JobConfig, patch: &Map<String, Value>) -> Result<JobConfig, Refusal> {
    let mut all = old.to_json();
    for (key, value) in patch.iter().filter(|(key, _)| !READ_ONLY_KEYS.contains(&key.as_str())) {
        match value {
            Value::Null if KEPT_KEYS.contains(&key.as_str()) => {}
            value => drop(all.insert(key.clone(), value.clone())),
        }
    }
    let mut config = JobConfig::from_json(&all).map_err(Refusal::Invalid)?;
    let (said, had) = (config.destination_conf.expose(), old.destination_conf.expose());
    if said != had && said == redact::redacted(had) {
        config.destination_conf = Target::new(had);
    }
    Ok(config)
}

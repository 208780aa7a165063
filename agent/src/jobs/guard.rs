//! guard: whether a set of jobs may replace the one that runs, and how that stands.
//!
//! Promises: an empty, unreadable, truncated or half-valid set replaces nothing; one that takes away more than half of
//! the jobs, or all, does so only when exactly this step was confirmed, and a confirmation is good for one time: it names
//! the content of the new set and the ids and versions of the jobs that run, which never come back.
//! Must not know: where sets are looked at, what time it is.
use super::set::{self, Judges, Mistake, SetFile, SetJob};
use super::{Book, Change, Job, JobChange, OriginKind, Refusal};
use crate::destination::text::hex;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many mistakes are told; a broken set of a thousand jobs has as many.
const TOLD_MAX: usize = 20;
/// Hexadecimal characters of a digest: it is typed by people, and guards against accidents.
const DIGEST_CHARS: usize = 16;

/// A set as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its files, by name.
    pub files: Vec<SetFile>,
    /// The digest that stands beside them as a confirmation.
    pub confirmed: Option<String>,
}

/// What is to be done about a set.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// Nothing: it is what runs already.
    Same,
    /// It replaces what runs.
    Replace(Vec<SetJob>),
    /// What runs stays.
    Refused {
        /// Why; all reasons.
        reasons: Vec<String>,
        /// What to confirm, when the set itself is right.
        digest: Option<String>,
    },
}

/// Judges a set, or why it could not be seen, against the jobs that run. `confirmed`: what somebody confirmed by the API.
pub fn judge(
    book: &Book,
    kind: OriginKind,
    seen: &Result<Seen, String>,
    confirmed: Option<&str>,
    judges: Judges<'_>,
) -> Ruling {
    let refused = |reasons| Ruling::Refused { reasons, digest: None };
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => return refused(vec![why.clone()]),
    };
    let jobs = match set::read(&seen.files, judges) {
        Ok(jobs) => jobs,
        Err(mistakes) => return refused(told(mistakes.iter().map(Mistake::to_string))),
    };
    let change = Change::Replace { origin_kind: kind, jobs };
    let changes = match book.plan(&change, judges.checks) {
        Ok(changes) => changes,
        Err(refusal) => return refused(reasons(refusal)),
    };
    let Change::Replace { jobs, .. } = change else { unreachable!("INVARIANT: made above") };
    if changes.is_empty() {
        return Ruling::Same;
    }
    let had: Vec<&Arc<Job>> = of_kind(book, kind).collect();
    let lost = changes.iter().filter(|change| takes_away(book, change)).count();
    let all = jobs.is_empty() && !had.is_empty();
    if !all && (had.len() < 2 || lost * 2 <= had.len()) {
        return Ruling::Replace(jobs);
    }
    let digest = digest(&had, &seen.files);
    if [confirmed, seen.confirmed.as_deref()].contains(&Some(digest.as_str())) {
        return Ruling::Replace(jobs);
    }
    let what = match all {
        true => format!("has no job and would end all {} that run", had.len()),
        false => format!("would end or switch off {lost} of the {} jobs that run", had.len()),
    };
    Ruling::Refused { reasons: vec![format!("the set {what}")], digest: Some(digest) }
}

/// Why the book does not take a set, in plain words.
pub fn reasons(refusal: Refusal) -> Vec<String> {
    match refusal {
        Refusal::Invalid(problems) => {
            told(problems.into_iter().map(|problem| format!("{} {}", problem.pointer, problem.message)))
        }
        Refusal::TooMany { max } => {
            vec![format!(
                "has more jobs than EDGEPUSH_JOBS_MAX allows, which is {max}: raise it, or remove jobs"
            )]
        }
        Refusal::ReadOnly(why) => vec![why],
        Refusal::Immutable(key) => vec![format!("{key} of a job never changes")],
        Refusal::NotFound => vec!["names a job that is gone".into()],
    }
}

/// The jobs of an origin.
pub fn of_kind(book: &Book, kind: OriginKind) -> impl Iterator<Item = &Arc<Job>> {
    book.iter().filter(move |job| job.origin.key_in(kind).is_some())
}

/// Whether a step ends a job, or switches one off that took records.
fn takes_away(book: &Book, change: &JobChange) -> bool {
    match change {
        JobChange::Delete(_) => true,
        JobChange::Put(job) => !job.config.enabled && book.get(job.id).is_some_and(|old| old.config.enabled),
    }
}

fn told(mistakes: impl Iterator<Item = String>) -> Vec<String> {
    let mut told: Vec<String> = mistakes.collect();
    let more = told.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        told.truncate(TOLD_MAX);
        told.push(format!("and {more} more mistakes"));
    }
    told
}

/// Names one step: from these jobs to these files.
fn digest(had: &[&Arc<Job>], files: &[SetFile]) -> String {
    let mut sum = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        sum.update(&(bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    };
    for job in had {
        add(&job.id.0.to_le_bytes());
        add(&job.version.to_le_bytes());
    }
    for (name, bytes) in files {
        add(name.as_bytes());
        add(bytes);
    }
    hex(&sum.finish().as_ref()[..DIGEST_CHARS / 2])
}

/// How one set stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Which jobs it is about.
    pub kind: OriginKind,
    /// Where it comes from, without secrets.
    pub from: String,
    /// Jobs of it that run.
    pub jobs: usize,
    /// When it was last found good, Unix seconds.
    pub good_at: Option<i64>,
    /// When it was first refused for what it is refused now, Unix seconds; `None`: it is good, or was not seen yet.
    pub refused_at: Option<i64>,
    /// Why; all reasons.
    pub reasons: Vec<String>,
    /// What to confirm to have it all the same.
    pub digest: Option<String>,
    /// What somebody confirmed.
    confirmed: Option<String>,
}

/// Why a confirmation is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotConfirmed {
    /// No set waits for one.
    NothingWaits,
    /// One waits, for another digest.
    Other,
}

/// How all sets stand: written by who follows them, read by the API.
#[derive(Debug, Default)]
pub struct GuardState {
    sets: Mutex<Vec<Standing>>,
    /// Sets that are refused now, for the metrics.
    refused: Arc<AtomicU64>,
}

impl GuardState {
    /// Nothing is known yet. `refused` counts the sets that are refused at present.
    pub fn new(refused: Arc<AtomicU64>) -> GuardState {
        GuardState { sets: Mutex::default(), refused }
    }

    /// A set is followed from here on; one that is followed already goes on as it stands.
    pub fn follows(&self, kind: OriginKind, from: String, jobs: usize) {
        let mut sets = self.lock();
        if let Some(set) = sets.iter_mut().find(|set| set.kind == kind) {
            return set.jobs = jobs;
        }
        sets.push(Standing {
            kind,
            from,
            jobs,
            good_at: None,
            refused_at: None,
            reasons: Vec::new(),
            digest: None,
            confirmed: None,
        });
    }

    /// The set is good, and so many jobs of it run. Whether it had been refused.
    pub fn good(&self, kind: OriginKind, jobs: usize, now: i64) -> bool {
        self.change(kind, |set| {
            let mended = set.refused_at.is_some();
            *set = Standing {
                jobs,
                good_at: Some(now),
                refused_at: None,
                reasons: Vec::new(),
                digest: None,
                confirmed: None,
                ..set.clone()
            };
            mended
        })
    }

    /// The set is refused. Whether that is new.
    pub fn refuse(&self, kind: OriginKind, reasons: Vec<String>, digest: Option<String>, now: i64) -> bool {
        self.change(kind, |set| {
            let news = set.reasons != reasons || set.digest != digest;
            if news {
                *set = Standing { reasons, digest, refused_at: Some(now), confirmed: None, ..set.clone() };
            }
            news
        })
    }

    /// Somebody confirms what waits.
    ///
    /// # Errors
    /// Nothing waits, or for another digest.
    pub fn confirm(&self, digest: &str) -> Result<(), NotConfirmed> {
        let mut sets = self.lock();
        let waiting: Vec<&mut Standing> = sets.iter_mut().filter(|set| set.digest.is_some()).collect();
        if waiting.is_empty() {
            return Err(NotConfirmed::NothingWaits);
        }
        let mut meant = waiting.into_iter().filter(|set| set.digest.as_deref() == Some(digest));
        let set = meant.next().ok_or(NotConfirmed::Other)?;
        set.confirmed = Some(digest.to_owned());
        Ok(())
    }

    /// What somebody confirmed of a set.
    pub fn confirmed(&self, kind: OriginKind) -> Option<String> {
        self.lock().iter().find(|set| set.kind == kind)?.confirmed.clone()
    }

    /// Whether a set is refused.
    pub fn is_refused(&self, kind: OriginKind) -> bool {
        self.lock().iter().any(|set| set.kind == kind && set.refused_at.is_some())
    }

    /// How all sets stand.
    pub fn standings(&self) -> Vec<Standing> {
        self.lock().clone()
    }

    /// What is refused, in one line a set; `None`: nothing is.
    pub fn refused(&self) -> Option<String> {
        let told: Vec<String> = self.lock().iter().filter_map(Standing::refusal).collect();
        (!told.is_empty()).then(|| told.join("\n"))
    }

    fn change<T>(&self, kind: OriginKind, change: impl FnOnce(&mut Standing) -> T) -> T {
        let mut sets = self.lock();
        let set = sets.iter_mut().find(|set| set.kind == kind);
        let done = change(set.expect("INVARIANT: follows() is said before a set is judged"));
        self.refused.store(sets.iter().filter(|set| set.refused_at.is_some()).count() as u64, Relaxed);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// `good`, `waits` (for a confirmation), `refused`, or `unknown` until it was seen.
    pub fn state(&self) -> &'static str {
        match (self.refused_at, &self.digest) {
            (Some(_), Some(_)) => "waits",
            (Some(_), None) => "refused",
            (None, _) if self.good_at.is_some() => "good",
            (None, _) => "unknown",
        }
    }

    /// Why it is refused and what to do, for an operator; `None`: it is not.
    pub fn refusal(&self) -> Option<String> {
        self.refused_at?;
        let (from, jobs, why) = (&self.from, self.jobs, self.reasons.join("; "));
        let remedy = match &self.digest {
            Some(digest) => format!(
                "if that is meant: `edgepush jobs confirm {digest}`{}",
                match self.kind {
                    OriginKind::File if std::path::Path::new(from).is_absolute() =>
                        format!(", or write {digest} into {from}/CONFIRM"),
                    _ => String::new(),
                }
            ),
            None => "mend it".into(),
        };
        Some(format!(
            "the jobs of {from} are refused, the last good set stays (jobs that run: {jobs}): {why}; {remedy}"
        ))
    }

    /// As the API tells it.
    pub fn to_json(&self) -> Value {
        let time = |at: Option<i64>| {
            let at = at.and_then(|at| jiff::Timestamp::from_second(at).ok());
            at.map_or(Value::Null, |at| at.to_string().into())
        };
        json!({
            "kind": match self.kind { OriginKind::File => "file", OriginKind::Url => "url" },
            "from": self.from,
            "state": self.state(),
            "jobs": self.jobs,
            "good_at": time(self.good_at),
            "refused_at": time(self.refused_at),
            "reasons": self.reasons,
            "digest": self.digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BookLimits, Checks, JobConfig, Origin, Owner, Zones};
    use super::*;

    const KIND: OriginKind = OriginKind::File;
    const CHECKS: Checks = Checks { filter: |_, _| Ok(()), output: |_, _| Ok(()), logpull: |_, _| Ok(()) };

    /// A book with one job of the API, and rulings over it.
    struct Bench {
        book: Book,
        zones: Zones,
    }

    impl Bench {
        fn new() -> Bench {
            let mut book = Book::new(Vec::new(), 2, BookLimits { jobs_max: 9 });
            let config = JobConfig { dataset: "raw".into(), ..JobConfig::default() };
            let config = JobConfig { destination_conf: crate::config::Target::new("null:"), ..config };
            let create = Change::Create { owner: Owner::local(), origin: Origin::Api, config };
            book.apply(&book.clone().plan(&create, &CHECKS).unwrap());
            Bench { book, zones: Zones::new(None) }
        }

        fn ruled(&self, seen: Result<Seen, String>, confirmed: Option<&str>) -> Ruling {
            judge(&self.book, KIND, &seen, confirmed, Judges { checks: &CHECKS, zones: &self.zones })
        }

        fn ruling(&self, files: &[(&str, &str)]) -> Ruling {
            self.ruled(Ok(seen(files)), None)
        }

        /// The digest that a set waits for; panics when it does not wait.
        fn waits(&self, files: &[(&str, &str)]) -> String {
            match self.ruling(files) {
                Ruling::Refused { digest: Some(digest), .. } => digest,
                other => panic!("{other:?}"),
            }
        }

        /// Carries a set out, confirmed or not.
        fn put(&mut self, files: &[(&str, &str)], confirmed: Option<&str>) {
            let Ruling::Replace(jobs) = self.ruled(Ok(seen(files)), confirmed) else { panic!() };
            let change = Change::Replace { origin_kind: KIND, jobs };
            self.book.apply(&self.book.clone().plan(&change, &CHECKS).unwrap());
        }
    }

    fn seen(files: &[(&str, &str)]) -> Seen {
        let file = |(name, text): &(&str, &str)| (name.to_string(), text.as_bytes().to_vec());
        Seen { files: files.iter().map(file).collect(), confirmed: None }
    }

    fn list(names: &[&str]) -> String {
        let job = |name: &&str| serde_json::json!({ "dataset": "raw", "destination_conf": "null:", "name": name, "enabled": true });
        Value::from(names.iter().map(job).collect::<Vec<_>>()).to_string()
    }

    fn refused_outright(ruling: &Ruling) -> bool {
        matches!(ruling, Ruling::Refused { digest: None, reasons } if !reasons.is_empty())
    }

    #[test]
    fn nothing_replaces_nothing() {
        let bench = Bench::new();
        assert_eq!(bench.ruling(&[]), Ruling::Same, "an empty directory, and no job of it runs");
        assert_eq!(bench.ruling(&[("a.json", "[]")]), Ruling::Same);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let mut bench = Bench::new();
        let four = list(&["a", "b", "c", "d"]);
        bench.put(&[("a.json", &four)], None);
        assert_eq!(bench.ruling(&[("a.json", &four)]), Ruling::Same);
        assert!(refused_outright(&bench.ruled(Err("no such directory".into()), None)));
        for bad in ["", " \n", "[", &four[..four.len() / 2], "null", "{}", "[{}]"] {
            assert!(refused_outright(&bench.ruling(&[("a.json", bad)])), "{bad}");
            let half = [("a.json", four.as_str()), ("b.json", bad)];
            assert!(refused_outright(&bench.ruling(&half)), "one bad file spoils the set: {bad}");
        }
        let forms =
            [four.clone(), format!("{{\"jobs\":{four}}}"), four[1..four.find("},").unwrap() + 1].into()];
        for whole in &forms {
            assert!(!refused_outright(&bench.ruling(&[("a.json", whole)])), "{whole}");
            for cut in 0..whole.len() {
                assert!(refused_outright(&bench.ruling(&[("a.json", &whole[..cut])])), "{}", &whole[..cut]);
            }
        }
        let ten = list(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let many = bench.ruling(&[("a.json", &ten)]);
        assert!(refused_outright(&many) && format!("{many:?}").contains("EDGEPUSH_JOBS_MAX"), "{many:?}");
    }

    #[test]
    fn a_set_that_is_empty_waits_also_when_one_job_ran() {
        let mut bench = Bench::new();
        bench.put(&[("a.json", &list(&["a"]))], None);
        let digest = bench.waits(&[]);
        assert_ne!(digest, bench.waits(&[("a.json", "[]")]), "another set, another digest");
        bench.put(&[], Some(&digest));
        assert_eq!(of_kind(&bench.book, KIND).count(), 0);
        assert_eq!(bench.book.iter().count(), 1, "the job of the API is untouched");
    }

    #[test]
    fn more_than_half_waits_and_half_does_not() {
        let mut bench = Bench::new();
        let [four, two, one] = [&["a", "b", "c", "d"][..], &["a", "b"], &["a"]].map(list);
        bench.put(&[("a.json", &four)], None);
        bench.waits(&[("a.json", &one)]);
        bench.waits(&[("renamed.json", &four)]);
        let switched_off = four.replace("true", "false");
        bench.waits(&[("a.json", &switched_off)]);
        bench.put(&[("a.json", &two)], None);
        bench.put(&[("a.json", &one)], None);
        let other = list(&["z"]);
        bench.put(&[("a.json", &other)], None);
        assert_eq!(of_kind(&bench.book, KIND).count(), 1, "of one job, another one may take the place");
    }

    #[test]
    fn a_confirmation_is_for_one_step_and_one_time() {
        let mut bench = Bench::new();
        let [four, one] = [&["a", "b", "c", "d"][..], &["a"]].map(list);
        bench.put(&[("a.json", &four)], None);
        let digest = bench.waits(&[("a.json", &one)]);
        assert_eq!(digest.len(), DIGEST_CHARS);
        let changed = four.replacen("true", "false", 1);
        let mut later = Bench { book: bench.book.clone(), zones: Zones::new(None) };
        later.put(&[("a.json", &changed)], None);
        assert_ne!(later.waits(&[("a.json", &one)]), digest, "the jobs that run have changed meanwhile");
        let other = list(&["b"]);
        let mut beside = seen(&[("a.json", &other)]);
        beside.confirmed = Some(digest.clone());
        assert!(
            matches!(bench.ruled(Ok(beside.clone()), Some(&digest)), Ruling::Refused { .. }),
            "another set"
        );
        beside.files = seen(&[("a.json", &one)]).files;
        assert!(matches!(bench.ruled(Ok(beside), None), Ruling::Replace(_)), "the file CONFIRM will do");
        bench.put(&[("a.json", &one)], Some(&digest));
        bench.put(&[("a.json", &four)], None);
        assert!(
            matches!(bench.ruled(Ok(seen(&[("a.json", &one)])), Some(&digest)), Ruling::Refused { .. }),
            "the same accident a second time is not confirmed"
        );
    }

    #[test]
    fn a_refusal_is_told_once_and_counted() {
        let refused = Arc::new(AtomicU64::new(0));
        let state = GuardState::new(refused.clone());
        state.follows(KIND, "/j".into(), 3);
        assert_eq!(state.standings()[0].state(), "unknown");
        assert_eq!(state.confirm("x"), Err(NotConfirmed::NothingWaits));
        assert!(state.refuse(KIND, vec!["is bad".into()], None, 7));
        assert!(!state.refuse(KIND, vec!["is bad".into()], None, 8), "no news");
        assert_eq!((refused.load(Relaxed), state.standings()[0].refused_at), (1, Some(7)));
        assert!(state.refused().unwrap().ends_with("stays (jobs that run: 3): is bad; mend it"));
        assert!(state.refuse(KIND, vec!["is small".into()], Some("d1".into()), 9));
        assert!(state.refused().unwrap().contains("`edgepush jobs confirm d1`, or write d1 into /j/CONFIRM"));
        assert_eq!(state.confirm("d2"), Err(NotConfirmed::Other));
        assert_eq!(state.confirm("d1"), Ok(()));
        assert_eq!(state.confirmed(KIND).as_deref(), Some("d1"));
        assert!(state.refuse(KIND, vec!["is small".into()], Some("d3".into()), 10), "it changed meanwhile");
        assert_eq!(state.confirmed(KIND), None, "and what was confirmed is not it");
        assert!(state.good(KIND, 4, 11));
        assert_eq!((refused.load(Relaxed), state.refused(), state.standings()[0].state()), (0, None, "good"));
    }
}

//! testing: what must hold of any job that anybody sends; shared by proptest and fuzzing.
//!
//! Promises: a property that does not hold panics with the input in its message.
//! Must not know: where inputs come from.
use super::config::{Checks, JobConfig, Problem};
use super::{Book, BookLimits, Change, JobChange, Origin, Owner, Refusal, redact};
use edgepush_shard::chunk::JobId;
use serde_json::{Map, Value};

/// Judges nothing: the parts that others compile have properties of their own.
const CHECKS: Checks = Checks { filter: |_, _| Ok(()), output: |_, _| Ok(()), logpull: |_, _| Ok(()) };

/// Any bytes are no JSON object, or a job with mistakes that are told with their places, or a job that is read back as
/// it was written, is kept once, and keeps its secrets when it is sent back as it is shown.
pub fn job_json_is_told_or_kept(bytes: &[u8]) {
    let Ok(Value::Object(said)) = serde_json::from_slice::<Value>(bytes) else { return };
    let told = |problems: &[Problem]| {
        assert!(!problems.is_empty(), "{said:?}");
        for problem in problems {
            assert!(
                problem.pointer.starts_with('/') && !problem.message.is_empty(),
                "{problem:?} of {said:?}"
            );
        }
    };
    let config = match JobConfig::from_json(&said) {
        Ok(config) => config,
        Err(problems) => return told(&problems),
    };
    let again = JobConfig::from_json(&config.to_json());
    assert_eq!(again.as_ref(), Ok(&config), "read back: {said:?}");
    let mut book = Book::new(Vec::new(), 2, BookLimits::default());
    let create = Change::Create { owner: Owner::local(), origin: Origin::Api, config: config.clone() };
    let changes = match book.plan(&create, &CHECKS) {
        Ok(changes) => changes,
        Err(Refusal::Invalid(problems)) => return told(&problems),
        Err(other) => panic!("{other:?} of {said:?}"),
    };
    assert!(matches!(&changes[..], [JobChange::Put(job)] if job.id == JobId(2) && job.config == config));
    book.apply(&changes);
    let mut shown = config.to_json();
    let conf = redact::redacted(config.destination_conf.expose());
    shown.insert("destination_conf".into(), conf.into());
    let update = |patch: Map<String, Value>| Change::Update { id: JobId(2), owner: None, patch };
    assert_eq!(book.plan(&update(shown), &CHECKS), Ok(Vec::new()), "sent back: {said:?}");
    let Ok(changed) =
        book.plan(&update(Map::from_iter([("enabled".into(), (!config.enabled).into())])), &CHECKS)
    else {
        panic!("a valid job can be switched: {said:?}")
    };
    let other = JobConfig { enabled: !config.enabled, ..config };
    assert!(
        matches!(&changed[..], [JobChange::Put(job)] if job.version == 2 && job.config == other),
        "{said:?}"
    );
}

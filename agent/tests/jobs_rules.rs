//! The rules by which jobs change, on the book itself.
#![allow(clippy::unwrap_used)]
use edgepush::jobs::testing::job_json_is_told_or_kept;
use edgepush::jobs::{
    Book, BookLimits, Change, Checks, Job, JobChange, JobConfig, Life, Origin, OriginKind, Owner, Refusal,
    UploadLimits,
};
use edgepush_shard::chunk::JobId;
use edgepush_shard::codec::{CodecKind, Level};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

const CHECKS: Checks = Checks { filter: |_, _| Ok(()), output: |_, _| Ok(()), logpull: |_, _| Ok(()) };

fn config(json: Value) -> JobConfig {
    let mut all = json!({ "destination_conf": "null:", "dataset": "raw" });
    all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    JobConfig::from_json(all.as_object().unwrap()).unwrap()
}

fn named(name: &str) -> JobConfig {
    config(json!({ "name": name }))
}

fn empty() -> Book {
    Book::new(Vec::new(), 2, BookLimits::default())
}

fn done(book: &mut Book, change: &Change) -> Vec<JobChange> {
    let changes = book.plan(change, &CHECKS).unwrap();
    book.apply(&changes);
    changes
}

fn create(book: &mut Book, owner: Owner, config: JobConfig) -> JobId {
    let changes = done(book, &Change::Create { owner, origin: Origin::Api, config });
    let [JobChange::Put(job)] = &changes[..] else { panic!("{changes:?}") };
    job.id
}

fn set(jobs: &[(&str, JobConfig)]) -> Change {
    let jobs = jobs.iter().map(|(key, config)| ((*key).to_owned(), Owner::local(), config.clone())).collect();
    Change::Replace { origin_kind: OriginKind::File, jobs }
}

/// Key, id, version and name of each job of the files, by key.
fn files(book: &Book) -> Vec<(String, u64, u32, String)> {
    let row = |job: &std::sync::Arc<Job>| {
        let key = job.origin.key_in(OriginKind::File)?.to_owned();
        Some((key, job.id.0, job.version, job.config.name.clone()))
    };
    let mut rows: Vec<_> = book.iter().filter_map(row).collect();
    rows.sort();
    rows
}

#[test]
fn ids_are_never_given_twice() {
    let mut book = empty();
    let first = create(&mut book, Owner::local(), named("a"));
    assert_eq!(first, JobId(2), "0 and 1 are the rejects and the environment job");
    done(&mut book, &Change::Delete { id: first, owner: None });
    assert_eq!((book.iter().count(), book.next_id()), (0, 3));
    assert_eq!(create(&mut book, Owner::local(), named("a")), JobId(3));
    let kept: Vec<Job> = book.iter().map(|job| (**job).clone()).collect();
    assert_eq!(Book::new(kept.clone(), 7, BookLimits::default()).next_id(), 7);
    assert_eq!(Book::new(kept, 0, BookLimits::default()).next_id(), 4, "above every job, whatever was kept");
    assert_eq!(Book::new(Vec::new(), 0, BookLimits::default()).next_id(), 2);
}

#[test]
fn planning_changes_nothing() {
    let mut book = empty();
    let id = create(&mut book, Owner::local(), named("a"));
    let patch = json!({ "name": "b" }).as_object().unwrap().clone();
    let changes = book.plan(&Change::Update { id, owner: None, patch }, &CHECKS).unwrap();
    let [JobChange::Put(next)] = &changes[..] else { panic!() };
    assert_eq!((next.version, next.config.name.as_str()), (2, "b"));
    let now = book.get(id).unwrap();
    assert_eq!((now.version, now.config.name.as_str(), book.next_id()), (1, "a", 3));
}

#[test]
fn a_set_replaces_the_jobs_of_its_origin_and_no_others() {
    let mut book = empty();
    let own = create(&mut book, Owner::local(), named("api"));
    done(&mut book, &set(&[("a", named("a")), ("b", named("b")), ("c", named("c"))]));
    let row = |key: &str, id, version, name: &str| (key.to_owned(), id, version, name.to_owned());
    assert_eq!(files(&book), [row("a", 3, 1, "a"), row("b", 4, 1, "b"), row("c", 5, 1, "c")]);
    let same = set(&[("c", named("c")), ("a", named("a")), ("b", named("b"))]);
    assert_eq!(book.plan(&same, &CHECKS), Ok(Vec::new()), "the same set in another order changes nothing");
    // a is changed, b is as it was, c goes, d is new; e becomes another job, because its data set never changes.
    done(&mut book, &set(&[("a", named("x")), ("b", named("b")), ("d", named("d"))]));
    assert_eq!(files(&book), [row("a", 3, 2, "x"), row("b", 4, 1, "b"), row("d", 6, 1, "d")]);
    done(
        &mut book,
        &set(&[("a", config(json!({ "name": "x", "dataset": "http_requests" }))), ("b", named("b"))]),
    );
    assert_eq!(files(&book), [row("a", 7, 1, "x"), row("b", 4, 1, "b")]);
    done(&mut book, &Change::Replace { origin_kind: OriginKind::Url, jobs: Vec::new() });
    assert_eq!(files(&book).len(), 2, "another origin's set");
    done(&mut book, &set(&[]));
    assert!(files(&book).is_empty() && book.get(own).is_some());
}

#[test]
fn a_set_with_mistakes_changes_nothing_and_tells_all() {
    let mut book = empty();
    done(&mut book, &set(&[("a", named("a"))]));
    let bad =
        set(&[("a", named("_")), ("b", config(json!({ "codec": "x", "level": "y" }))), ("b", named("b"))]);
    let Err(Refusal::Invalid(problems)) = book.plan(&bad, &CHECKS) else { panic!() };
    let places: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(places, ["a/name", "b/codec", "b/level", "b"]);
}

#[test]
fn a_set_needs_room() {
    let mut book = Book::new(Vec::new(), 2, BookLimits { jobs_max: 2 });
    create(&mut book, Owner::local(), named("api"));
    assert_eq!(
        book.plan(&set(&[("a", named("a")), ("b", named("b"))]), &CHECKS),
        Err(Refusal::TooMany { max: 2 })
    );
    done(&mut book, &set(&[("a", named("a"))]));
    done(&mut book, &set(&[("b", named("b"))]));
    assert_eq!(files(&book).len(), 1, "one goes and one comes");
}

#[test]
fn what_has_become_of_a_job_stays_with_it() {
    let mut book = empty();
    let id = create(&mut book, Owner::local(), named("a"));
    let life = Life { last_complete: Some(7), last_error: None, error_message: None };
    book.live(id, life.clone());
    book.live(JobId(99), life.clone());
    let patch = json!({ "name": "b" }).as_object().unwrap().clone();
    done(&mut book, &Change::Update { id, owner: None, patch });
    let job = book.get(id).unwrap();
    assert_eq!((&job.life, job.version), (&life, 2));
}

#[test]
fn a_job_that_is_no_longer_valid_can_be_stopped() {
    let old = JobConfig { enabled: true, codec: "lzma".into(), ..named("a") };
    let (id, origin) = (JobId(2), Origin::Api);
    let job = Job { id, version: 3, owner: Owner::local(), origin, config: old, life: Life::default() };
    let mut book = Book::new(vec![job], 3, BookLimits::default());
    let update = |patch: Value| Change::Update { id, owner: None, patch: patch.as_object().unwrap().clone() };
    assert!(matches!(book.plan(&update(json!({ "name": "b" })), &CHECKS), Err(Refusal::Invalid(_))));
    done(&mut book, &update(json!({ "enabled": false })));
    assert!(matches!(book.plan(&update(json!({ "enabled": true })), &CHECKS), Err(Refusal::Invalid(_))));
    done(&mut book, &update(json!({ "enabled": true, "codec": "zstd" })));
    assert_eq!(book.get(id).unwrap().version, 5);
}

#[test]
fn jobs_are_found_by_owner_data_set_and_place() {
    let mut book = empty();
    let zone = Owner::Zone("z".into());
    let to = |conf: &str| config(json!({ "destination_conf": conf }));
    let a = create(&mut book, zone.clone(), to("https://u:p@h/in?tag=1"));
    let b = create(&mut book, Owner::local(), config(json!({ "dataset": "http_requests" })));
    let ids = |jobs: Vec<&std::sync::Arc<Job>>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(book.list(Some(&zone)).collect()), [a]);
    assert_eq!(ids(book.list(None).collect()), [a, b]);
    assert_eq!(ids(book.by_dataset("http_requests").collect()), [b]);
    assert!(book.get_of(a, Some(&Owner::local())).is_none() && book.get_of(a, None).is_some());
    assert!(
        book.goes_to("https://h/in", Some(&zone)) && !book.goes_to("https://h/in", Some(&Owner::local()))
    );
    assert!(!book.goes_to("https://h/other", None));
}

#[test]
fn limits_come_from_the_job_or_from_its_frequency() {
    let limits = |json: Value| config(json).limits();
    let of =
        |records, bytes, seconds| UploadLimits { records, bytes, interval: Duration::from_secs(seconds) };
    assert_eq!(limits(json!({})), of(100_000, None, 30));
    assert_eq!(limits(json!({ "frequency": "high" })), of(100_000, None, 30));
    assert_eq!(limits(json!({ "frequency": "low" })), of(1_000_000, None, 300));
    let own = json!({ "frequency": "low", "max_upload_records": 1000, "max_upload_bytes": 5_000_000 });
    assert_eq!(limits(own), of(1000, Some(5_000_000), 300));
    assert_eq!(limits(json!({ "max_upload_interval_seconds": 60 })), of(100_000, None, 60));
    let ours = config(json!({ "codec": "zstd", "level": "small", "over_share": "drop_oldest" }));
    assert_eq!(
        (ours.codec(), ours.level(), ours.drops_oldest()),
        (Some(CodecKind::Zstd), Some(Level::Small), true)
    );
    let paced = config(json!({ "max_egress_bytes_per_second": 10_000 }));
    assert_eq!((paced.egress_max(), ours.egress_max()), (Some(10_000), None));
    let plain = config(json!({ "over_share": "wait" }));
    assert_eq!((plain.codec(), plain.level(), plain.drops_oldest()), (None, None, false));
}

#[test]
fn no_secret_is_shown_by_debug() {
    let job = config(json!({ "destination_conf": "https://u:hunter22@h/in?header_X=hunter22" }));
    assert!(!format!("{job:?}").contains("hunter22"));
}

#[test]
fn ten_thousand_jobs_are_planned_in_a_moment() {
    let mut book = empty();
    let jobs: Vec<(String, JobConfig)> =
        (0..10_000).map(|i| (format!("k{i}"), named(&format!("j{i}")))).collect();
    let refs: Vec<(&str, JobConfig)> =
        jobs.iter().map(|(key, config)| (key.as_str(), config.clone())).collect();
    let begun = std::time::Instant::now();
    done(&mut book, &set(&refs));
    assert_eq!(book.plan(&set(&refs), &CHECKS), Ok(Vec::new()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Values that keys of jobs have, rightly and wrongly.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![0, 1, 30, 1000, 5_000_000, 1_000_000_001]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "edge",
            "low",
            "high",
            "raw",
            "http_requests",
            "gzip",
            "zstd",
            "fast",
            "wait",
            "null:",
            "archive:",
            "file:///x/{DATE}",
            "https://u:secret1@h/in?header_X=secret2",
            "https://h/?token=…",
            "{\"where\":{}}",
        ])
        .prop_map(Value::from),
        Just(json!({ "field_names": ["a"] })),
        Just(json!([])),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let known = edgepush::jobs::config::KEYS.map(|(key, _)| key.to_owned()).to_vec();
    prop_oneof![9 => prop::sample::select(known), 1 => ".{0,8}"]
}

proptest! {
    #[test]
    fn any_job_is_told_or_kept(pairs in prop::collection::vec((key(), value()), 0..8), works: bool) {
        let mut job = serde_json::Map::from_iter(pairs);
        if works {
            job.insert("destination_conf".into(), "https://u:secret1@h/in?header_X=secret2".into());
        }
        job_json_is_told_or_kept(Value::Object(job).to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_told_or_kept(bytes: Vec<u8>) {
        job_json_is_told_or_kept(&bytes);
    }
}

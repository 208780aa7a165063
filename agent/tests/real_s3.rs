//! `s3://` into two real servers that verify signatures, read back with boto3 and DuckDB: every line once, whatever happens
//! on the way.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::delivery::{self, Store, encoded};
use common::servers::s3::{ACCESS_KEY, SECRET_KEY};
use common::servers::{BUCKET, JuiceFs, S3, Weed};
use common::*;

fn url_with(secret: &str, port: u16, path: &str) -> String {
    format!(
        "s3://{BUCKET}/{path}?region=us-east-1&endpoint=http://127.0.0.1:{port}&access-key-id={ACCESS_KEY}&secret-access-key={}",
        encoded(secret)
    )
}

fn url(port: u16, path: &str) -> String {
    url_with(SECRET_KEY, port, path)
}

fn each_line_once(s3: &S3) {
    let read_back = |path: &str| s3.read_back_of(BUCKET, path);
    let store = Store { port: s3.port, url: &url, read_back: &read_back };
    store.takes_each_line_once();
    store.takes_each_line_once_through_faults();
    store.takes_each_line_once_with_kills();
    store.believes_no_portal();
    let wrong = url_with("a-wrong-one-0123456789", s3.port, "waited/{DATE}");
    store.takes_what_waited_for_the_right_url(&wrong, "a-wrong-one");
    clock_is_wrong(s3);
}

/// Each fault in its place among the requests of an upload in parts: two parts, then parts that reach the store though
/// the agent is told otherwise, then its completion, which has a body, too.
fn large(s3: &S3, path: &str) {
    use Fault::{AnswerInstead, Clean, ResetBeforeAnswer, ResetInBody};
    // 60 MB are eight parts.
    let parts = |n: usize| vec![Clean; n];
    let plan = [
        vec![Clean, ResetInBody],
        vec![Clean, Clean, ResetBeforeAnswer],
        [parts(8), vec![ResetBeforeAnswer]].concat(),
        [parts(8), vec![AnswerInstead(500)]].concat(),
    ];
    for (number, faults) in plan.iter().enumerate() {
        let below = |port: u16, of: &str| url(port, &format!("{path}-{number}/{of}"));
        let read_back = |of: &str| s3.read_back_of(BUCKET, &format!("{path}-{number}/{of}"));
        Store { port: s3.port, url: &below, read_back: &read_back }.takes_a_large_batch_once(faults);
    }
}

/// An agent whose clock is wrong by more than a store allows.
fn clock_is_wrong(s3: &S3) {
    let libraries = ["/usr/lib", "/usr/lib64"].map(std::path::Path::new);
    let found = libraries.iter().flat_map(|dir| files_below_named(dir, "libfaketime.so.1")).next();
    let Some(library) = found else {
        return skipped("a wrong clock", "faketime is not installed; .ci/install does it");
    };
    for (number, offset) in ["+30m", "-30m", "-3d"].iter().enumerate() {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..delivery::LINES);
        let path = format!("clock-{number}");
        let done = delivery::to(&place, &url(s3.port, &path))
            .env("LD_PRELOAD", &library.display().to_string())
            .env("FAKETIME", offset)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .once()
            .exits(0);
        assert!(done.stderr.contains("clock"), "{offset}: {}", done.stderr);
        s3.read_back_of(BUCKET, &path).assert_exactly_once("r", delivery::LINES);
    }
}

fn files_below_named(dir: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.map(|path| path.join("faketime").join(name)).filter(|path| path.exists()).collect()
}

fn heavy(s3: &S3) {
    let read_back = |path: &str| s3.read_back_of(BUCKET, path);
    let store = Store { port: s3.port, url: &url, read_back: &read_back };
    store.takes_each_line_once_through_silence();
    store.takes_each_line_once_in_a_storm(60, 0x5eed);
    large(s3, "large");
}

#[test]
fn seaweedfs_has_each_line_once() {
    let Some(weed) = Weed::start() else { return };
    each_line_once(&weed);
}

#[test]
fn juicefs_has_each_line_once() {
    let Some(juice) = JuiceFs::start() else { return };
    each_line_once(&juice);
}

#[test]
fn seaweedfs_has_each_line_once_whatever_it_takes() {
    if !delivery::heavy() {
        return;
    }
    let Some(weed) = Weed::start() else { return };
    heavy(&weed);
}

#[test]
fn juicefs_has_each_line_once_whatever_it_takes() {
    if !delivery::heavy() {
        return;
    }
    let Some(juice) = JuiceFs::start() else { return };
    heavy(&juice);
}

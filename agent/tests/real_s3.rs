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
}

/// A wrong secret holds the job, says so without saying the secret, and leaves nothing.
fn wrong_secret_is_refused(s3: &S3) {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10);
    let url = url_with("a-wrong-one-0123456789", s3.port, "wrong");
    let done = delivery::to(&place, &url).env("EDGEPUSH_ONCE_TIMEOUT", "3s").once().exits(1);
    assert!(done.stderr.contains("403"), "{}", done.stderr);
    assert!(!done.stderr.contains("a-wrong-one"), "{}", done.stderr);
    assert_eq!(s3.read_back_of(BUCKET, "wrong").count("objects"), 0);
}

#[test]
fn seaweedfs_has_each_line_once() {
    let Some(weed) = Weed::start() else { return };
    each_line_once(&weed);
    wrong_secret_is_refused(&weed);
}

#[test]
fn juicefs_has_each_line_once() {
    let Some(juice) = JuiceFs::start() else { return };
    each_line_once(&juice);
    wrong_secret_is_refused(&juice);
}

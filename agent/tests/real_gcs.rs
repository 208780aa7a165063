//! `gs://` into fake-gcs-server, read back with google-cloud-storage and DuckDB: every line once, whatever happens on the
//! way. That server asks for no token: who may write is not proved here.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::delivery::Store;
use common::servers::{BUCKET, FakeGcs};

#[test]
fn fake_gcs_has_each_line_once() {
    let Some(gcs) = FakeGcs::start() else { return };
    let url = |port: u16, path: &str| format!("gs://{BUCKET}/{path}?endpoint=http://127.0.0.1:{port}");
    let read_back = |path: &str| gcs.read_back_of(path);
    let store = Store { port: gcs.port, url: &url, read_back: &read_back };
    store.takes_each_line_once();
    store.takes_each_line_once_through_faults();
    store.takes_each_line_once_with_kills();
}

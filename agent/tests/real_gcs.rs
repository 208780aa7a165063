//! `gs://` into fake-gcs-server, read back with google-cloud-storage and DuckDB: every line once, whatever happens on the
//! way. That server asks for no token: who may write is not proved here.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::Fault;
use common::delivery::{self, Store};
use common::servers::{BUCKET, FakeGcs};

fn url(port: u16, path: &str) -> String {
    format!("gs://{BUCKET}/{path}?endpoint=http://127.0.0.1:{port}")
}

#[test]
fn fake_gcs_has_each_line_once() {
    let Some(gcs) = FakeGcs::start() else { return };
    let read_back = |path: &str| gcs.read_back_of(path);
    let store = Store { port: gcs.port, url: &url, read_back: &read_back };
    store.takes_each_line_once();
    store.takes_each_line_once_through_faults();
    store.takes_each_line_once_with_kills();
    store.believes_no_portal();
}

#[test]
fn fake_gcs_has_each_line_once_whatever_it_takes() {
    if !delivery::heavy() {
        return;
    }
    let Some(gcs) = FakeGcs::start() else { return };
    let read_back = |path: &str| gcs.read_back_of(path);
    let store = Store { port: gcs.port, url: &url, read_back: &read_back };
    store.takes_each_line_once_through_silence();
    store.takes_each_line_once_in_a_storm(60, 0x5eed);
    // The last of four pieces: where an upload stands, this server tells no one who asks before; it ends the upload.
    let last = [vec![Fault::Clean; 4], vec![Fault::ResetBeforeAnswer]].concat();
    store.takes_a_large_batch_once(&last);
}

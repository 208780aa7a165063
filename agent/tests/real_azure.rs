//! `azure://` into azurite, which verifies shared keys and SAS tokens, read back with azure-storage-blob and DuckDB: every
//! line once, whatever happens on the way.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::delivery::{self, Store, encoded};
use common::servers::azurite::{ACCOUNT, ACCOUNT_KEY};
use common::servers::{Azurite, BUCKET};
use common::*;

fn url(port: u16, path: &str) -> String {
    with_login(port, path, &format!("account-key={}", encoded(ACCOUNT_KEY)))
}

fn with_login(port: u16, path: &str, login: &str) -> String {
    format!("azure://{ACCOUNT}/{BUCKET}/{path}?endpoint=http://127.0.0.1:{port}/{ACCOUNT}&{login}")
}

#[test]
fn azurite_has_each_line_once() {
    let Some(azurite) = Azurite::start() else { return };
    let read_back = |path: &str| azurite.read_back_of(path);
    let store = Store { port: azurite.port, url: &url, read_back: &read_back };
    store.takes_each_line_once();
    store.takes_each_line_once_through_faults();
    store.takes_each_line_once_with_kills();
    store.believes_no_portal();
    // The same with a SAS token that may only create and write, after one that has ended.
    let (ended, sas) = (azurite.sas("cw", -60), azurite.sas("cw", 3600));
    let signed = |port: u16, path: &str| with_login(port, &format!("sas/{path}"), &sas);
    let read_back = |path: &str| azurite.read_back_of(&format!("sas/{path}"));
    let store = Store { port: azurite.port, url: &signed, read_back: &read_back };
    store.takes_each_line_once();
    let wrong = with_login(azurite.port, "sas/waited/{DATE}", &ended);
    store.takes_what_waited_for_the_right_url(&wrong, ended.rsplit("sig=").next().unwrap());
}

#[test]
fn azurite_has_each_line_once_whatever_it_takes() {
    if !delivery::heavy() {
        return;
    }
    let Some(azurite) = Azurite::start() else { return };
    let read_back = |path: &str| azurite.read_back_of(path);
    let store = Store { port: azurite.port, url: &url, read_back: &read_back };
    store.takes_each_line_once_through_silence();
    store.takes_each_line_once_in_a_storm(60, 0x5eed);
    store.takes_a_large_batch_once(&[Fault::Clean, Fault::ResetBeforeAnswer]);
}

#[test]
fn what_may_not_write_holds_and_leaves_nothing() {
    let Some(azurite) = Azurite::start() else { return };
    let wrong = format!("account-key={}", encoded(&ACCOUNT_KEY.replace("Eby8", "AAAA")));
    for login in [wrong, azurite.sas("r", 3600), azurite.sas("cw", -60)] {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..10);
        let url = with_login(azurite.port, "wrong", &login);
        let done = delivery::to(&place, &url).env("EDGEPUSH_ONCE_TIMEOUT", "3s").once().exits(1);
        assert!(done.stderr.contains("403"), "{}", done.stderr);
        let secret = login.rsplit(['=', '&']).next().unwrap();
        assert!(!done.stderr.contains(secret) || secret.len() < 8, "{}", done.stderr);
        assert_eq!(azurite.read_back_of("wrong").count("objects"), 0);
    }
}

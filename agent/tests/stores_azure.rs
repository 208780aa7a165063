//! `azure://` against azurite, which verifies shared keys and signatures, and read back with Microsoft's own client.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod cloud_kit;
mod common;
#[path = "common/contract.rs"]
mod contract;

use cloud_kit::{Do, Front, large, why};
use common::servers::azurite::{ACCOUNT, ACCOUNT_KEY};
use common::servers::*;
use contract::{batch, contract, run};
use edgepush::config::Reserve;
use edgepush::destination::client::Clients;
use edgepush::destination::store::azure;
use edgepush::destination::{Destination, DestinationUrl, Opening, Status, Verdict};
use std::path::Path;
use std::sync::Arc;

/// The key as a parameter.
fn key() -> String {
    format!("account-key={}", ACCOUNT_KEY.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))
}

fn url_of(azurite: &Azurite, with: &str) -> String {
    format!("azure://{ACCOUNT}/{BUCKET}?endpoint={}&{with}", azurite.endpoint())
}

fn open_with(url: &str, environment: &[(&str, &str)]) -> Result<Arc<dyn Destination>, String> {
    let url = DestinationUrl::parse(url).unwrap();
    let clients = Clients::default();
    let with = Opening { state: Path::new("/nowhere"), clients: &clients, keep_free: Reserve::Percent(0) };
    let environment =
        |name: &str| environment.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
    azure::open(&url, &with, jiff::Timestamp::now, &environment)
}

fn open(url: &str) -> Arc<dyn Destination> {
    open_with(url, &[]).unwrap()
}

#[test]
fn azure_with_a_shared_key_keeps_the_contract() {
    let Some(azurite) = Azurite::start() else { return };
    let to = open(&url_of(&azurite, &key()));
    run(async {
        let azurite = Arc::new(azurite);
        let held = {
            let azurite = azurite.clone();
            move || azurite.read_back().objects()
        };
        contract(to.clone(), Some(Box::new(held)), &ACCOUNT_KEY[..10]).await;
        // While the read-back held this thread, azurite closed what was idle: let the client see it.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let again = to.deliver(batch(1, &[b"one\n"])).await;
        assert_eq!((again.verdict, again.status), (Verdict::Delivered, Status::Code(409)));
        let other = to.deliver(batch(1, &[b"another\n"])).await;
        assert_eq!(other.verdict, Verdict::Delivered);
        let back = azurite.read_back();
        assert_eq!(back.objects()[&*batch(1, &[]).name], b"one\n", "nothing is ever replaced");
        assert_eq!(back.said["heads"][&*batch(1, &[]).name]["type"], "application/x-ndjson");
    });
}

#[test]
fn a_large_blob_is_created_of_blocks_and_never_replaced() {
    let Some(azurite) = Azurite::start() else { return };
    let to = open(&url_of(&azurite, &key()));
    run(async {
        let first = large(1, 54_000_000, 1);
        assert_eq!(to.deliver(first.clone()).await, Verdict::Delivered);
        let again = to.deliver(first.clone()).await;
        assert_eq!((again.verdict, again.status), (Verdict::Delivered, Status::Code(409)));
        assert_eq!(to.deliver(large(1, 51_000_000, 2)).await, Verdict::Delivered);
        assert_eq!(to.deliver(large(2, 12_000_000, 3)).await, Verdict::Delivered);
        let held = azurite.read_back().objects();
        assert_eq!(held.len(), 2);
        assert!(held[&*first.name] == first.body.concat(), "the blob is not what was sent first");
        assert!(held[&*large(2, 0, 3).name] == large(2, 12_000_000, 3).body.concat());
    });
}

#[test]
fn a_signature_that_may_only_create_or_only_write_is_enough() {
    let Some(azurite) = Azurite::start() else { return };
    // To a right that only creates, the emulator refuses what exists in other words than Azure: those are Azure's.
    let puts = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let front = Front::start(0, move |seen, _| {
        let (blob, query) = seen.target.split_once('?').unwrap();
        let known = seen.method == "PUT" && !puts.lock().unwrap().insert(seen.target.clone());
        assert!(!query.contains("sp=c&") || !query.contains("comp="), "blocks want the right to write");
        if known && query.contains("sp=c&") {
            let text = "<Error><Code>UnauthorizedBlobOverwrite</Code><Message>This request is not authorized to perform \
                        blob overwrites.</Message></Error>";
            return Do::Say(403, "application/xml", text.into());
        }
        assert!(blob.contains(BUCKET));
        Do::Pass
    });
    front.before(azurite.port);
    for (number, permissions) in [(1, "c"), (2, "w"), (3, "cw")] {
        let sas = azurite.sas(permissions, 3600);
        let to =
            open(&format!("azure://{ACCOUNT}/{BUCKET}?endpoint=http://{}/{ACCOUNT}&{sas}", front.address));
        run(async {
            assert_eq!(to.probe(false).await, Ok(()), "{permissions}: a look");
            assert_eq!(to.probe(true).await, Ok(()), "{permissions}: a probe");
            for _ in 0..2 {
                assert_eq!(to.deliver(batch(number, &[b"x\n"])).await, Verdict::Delivered, "{permissions}");
                if permissions == "c" {
                    assert_eq!(to.deliver(large(10, 51_000_000, 1)).await, Verdict::Delivered, "51 MB");
                }
            }
        });
        let signature = sas.split("sig=").nth(1).unwrap();
        assert!(!to.redacted().contains(signature), "{} shows it", to.redacted());
    }
    assert_eq!(
        azurite.read_back().objects().len(),
        5,
        "four batches and the probe, which may not be removed"
    );
}

#[test]
fn what_azure_refuses_holds_in_plain_words() {
    let Some(azurite) = Azurite::start() else { return };
    let refused = |with: &str| {
        let to = open(&url_of(&azurite, with));
        run(async {
            let answer = to.deliver(batch(1, &[b"x\n"])).await;
            let (status, words) = (answer.status, why(answer.verdict));
            assert!(to.probe(true).await.is_err_and(|why| !why.is_empty()), "{with}: a probe");
            (status, words)
        })
    };
    let ended = refused(&azurite.sas("cw", -60));
    assert_eq!(ended.0, Status::Code(403));
    let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 60).unwrap();
    let day = end.strftime("the SAS ended on %Y-%m-%d").to_string();
    assert!(ended.1.contains(&day) && ended.1.contains("make a new one"), "{}", ended.1);
    let reads = refused(&azurite.sas("rl", 3600));
    assert_eq!(reads.0, Status::Code(403));
    assert!(reads.1.contains("allows only `sp=rl`"), "{}", reads.1);
    let good = azurite.sas("cw", 3600);
    let bad = refused(&good.replace("sig=", "sig=AAAA"));
    assert_eq!(bad.0, Status::Code(403));
    assert!(bad.1.contains("AuthenticationFailed") || bad.1.contains("AuthorizationFailure"), "{}", bad.1);
    assert!(bad.1.contains("does not fit") && !bad.1.contains("AAAA"), "{}", bad.1);
    let wrong = refused("account-key=AAAABBBB");
    assert_eq!(wrong.0, Status::Code(403));
    let to = open(&url_of(&azurite, &key()).replace(BUCKET, "no-such-container"));
    run(async {
        let answer = to.deliver(batch(1, &[b"x\n"])).await;
        assert_eq!(answer.status, Status::Code(404));
        assert!(why(answer.verdict).contains("ContainerNotFound"));
        assert!(to.probe(false).await.is_err_and(|why| why.contains("ContainerNotFound")), "a look");
    });
    assert_eq!(azurite.read_back().objects().len(), 0);
}

#[test]
fn a_wrong_clock_is_corrected_by_azures_own() {
    let Some(azurite) = Azurite::start() else { return };
    const AHEAD: i64 = 2 * 3600;
    let front = Front::start(AHEAD, |seen, _| {
        let said = jiff::fmt::rfc2822::parse(seen.header("x-ms-date")).unwrap().timestamp().as_second();
        if (said - AHEAD - jiff::Timestamp::now().as_second()).abs() < 15 * 60 {
            return Do::Pass;
        }
        // As Azure documents it; azurite takes any date.
        let text = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code><Message>Server \
                    failed to authenticate the request.</Message><AuthenticationErrorDetail>Request date header too \
                    old</AuthenticationErrorDetail></Error>";
        Do::Say(403, "application/xml", text.into())
    });
    front.before(azurite.port);
    let to =
        open(&format!("azure://{ACCOUNT}/{BUCKET}?endpoint=http://{}/{ACCOUNT}&{}", front.address, key()));
    run(async {
        assert_eq!(to.deliver(batch(1, &[b"x\n"])).await, Verdict::Delivered);
        assert_eq!(
            front.take().iter().map(|seen| seen.status).collect::<Vec<_>>(),
            [403, 201],
            "one more try"
        );
        assert_eq!(to.deliver(batch(2, &[b"y\n"])).await, Verdict::Delivered);
        assert_eq!(
            front.take().iter().map(|seen| seen.status).collect::<Vec<_>>(),
            [201],
            "it is remembered"
        );
    });
    assert_eq!(azurite.read_back().objects().len(), 2);
}

/// An Entra of the tests, and a store that takes only its newest token.
fn entra(taken: &'static str) -> Front {
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    Front::start(0, move |seen, _| {
        if seen.target.contains(taken) {
            let number = tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let token = format!(
                r#"{{"access_token":"token-{number}","expires_in":"3600","token_type":"Bearer",
                "expires_on":"4102444800","resource":"https://storage.azure.com"}}"#
            );
            return Do::Say(
                200,
                "application/json",
                token.replace("\"3600\"", if taken.contains("oauth2") { "3600" } else { "\"3600\"" }),
            );
        }
        // The first token is taken back after the first batch.
        let good = match seen.header("authorization") {
            "Bearer token-0" => seen.target.contains("0000000000000001"),
            "Bearer token-1" => true,
            _ => false,
        };
        if good && seen.header("if-none-match") == "*" {
            return Do::Say(201, "text/plain", String::new());
        }
        let text =
            "<Error><Code>InvalidAuthenticationInfo</Code><Message>The token is expired.</Message></Error>";
        Do::Say(401, "application/xml", text.into())
    })
}

#[test]
fn the_identity_of_the_machine_or_of_its_workload_is_used_and_a_refused_token_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "the-statement-of-the-cluster").unwrap();
    for taken in ["/msi", "/oauth2/"] {
        let front = entra(taken);
        let host = format!("http://{}", front.address);
        let msi = format!("{host}/msi");
        let workload = [
            ("AZURE_CLIENT_ID", "the-client"),
            ("AZURE_TENANT_ID", "the-tenant"),
            ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
            ("AZURE_AUTHORITY_HOST", host.as_str()),
        ];
        let machine = [("IDENTITY_ENDPOINT", msi.as_str())];
        let environment = if taken == "/msi" { &machine[..] } else { &workload[..] };
        let to = open_with(&format!("azure://acct.blob.example/logs?endpoint={host}"), environment).unwrap();
        run(async {
            for number in 1..4 {
                assert_eq!(
                    to.deliver(batch(number, &[b"x\n"])).await,
                    Verdict::Delivered,
                    "{taken} {number}"
                );
            }
        });
        let seen = front.seen();
        let asked: Vec<_> = seen.iter().filter(|seen| seen.target.contains(taken)).collect();
        assert_eq!(asked.len(), 2, "one token, and one for the refused one");
        if taken == "/oauth2/" {
            let form = String::from_utf8_lossy(&asked[0].body);
            assert!(form.contains("the-statement-of-the-cluster") && form.contains("the-client"), "{form}");
        }
        assert_eq!(seen.iter().filter(|seen| seen.status == 401).count(), 1);
    }
}

#[test]
fn what_is_not_in_the_url_is_the_hosts_own() {
    let borrows = |with: &str, environment: &[(&str, &str)]| {
        let url = format!("azure://acct.blob.example/logs?endpoint=http://127.0.0.1:1&{with}");
        open_with(&url, environment).unwrap().borrows_keys()
    };
    assert!(!borrows("sv=1&sp=c&sig=x", &[]));
    assert!(!borrows("account-key=AAAA", &[]));
    assert!(borrows("", &[("AZURE_STORAGE_SAS_TOKEN", "sv=1&sp=c&sig=x")]));
    assert!(borrows("", &[("AZURE_STORAGE_KEY", "AAAA")]));
    assert!(borrows("", &[("IDENTITY_ENDPOINT", "http://127.0.0.1:1")]));
}

#[test]
fn what_says_nobody_who_asks_is_told_at_once() {
    let wrong = |url: &str| open_with(url, &[]).err().unwrap_or_default();
    let plain = wrong("azure://acct/logs?endpoint=http://127.0.0.1:1/acct");
    assert!(plain.contains("no SAS and no account-key"), "{plain}");
    assert!(wrong("azure://acct.blob.core.windows.net/?sv=1&sig=x").contains("names no container"));
    assert!(wrong("azure://acct.blob.core.windows.net/{DATE}/x?sv=1&sig=x").contains("names no container"));
    assert!(wrong("azure://My_Account/logs?sv=1&sig=x").contains("lower-case"));
    assert!(wrong("azure://acct/logs?sp=c&sv=1").contains("only a part of a SAS"));
}

#[test]
fn the_agent_delivers_each_line_once_and_check_says_when_the_signature_ends() {
    let Some(azurite) = Azurite::start() else { return };
    let place = common::Place::new();
    common::writer::append(&place.log(), "azure", 0..5000);
    let url = |seconds| {
        let sas = azurite.sas("cw", seconds);
        format!("azure://{ACCOUNT}/{BUCKET}/edge/{{DATE}}?endpoint={}&{sas}", azurite.endpoint())
    };
    let with = |url: &str| place.setup().env("EDGEPUSH_DESTINATION", url).env("EDGEPUSH_DISK_RESERVE", "0%");
    let setup = with(&url(3600));
    let checked = setup.finish(&["check", "--no-probe"]).exits(0).stdout;
    assert!(checked.contains("the SAS ends on") && checked.contains("in less than a day"), "{checked}");
    let later = with(&url(40 * 86_400)).finish(&["check", "--no-probe"]).exits(0).stdout;
    assert!(!later.contains("the SAS ends"), "{later}");
    let ended = with(&url(-5)).finish(&["check"]).exits(1).stdout;
    assert!(ended.contains("the SAS ended on"), "{ended}");
    let done = setup.once().exits(0);
    assert!(done.stderr.contains("the SAS ends on"), "{}", done.stderr);
    let back = azurite.read_back();
    back.assert_exactly_once("azure", 5000);
    let today = jiff::Timestamp::now().strftime("edge/%Y%m%d/").to_string();
    assert!(back.objects().keys().all(|name| name.starts_with(&today)), "{:?}", back.objects().keys());
    let heads = back.said["heads"].as_object().unwrap();
    assert!(
        heads.values().all(|head| head["type"] == "application/gzip" && head["encoding"].is_null()),
        "{heads:?}"
    );
}

//! `gs://` against fake-gcs-server, read back with Google's own client. It takes any token: what a token must be, a front
//! before it checks, and a token server of the tests checks the signature of every statement with the account's key.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod cloud_kit;
mod common;
#[path = "common/contract.rs"]
mod contract;

use cloud_kit::{Do, Front, Seen, large, why};
use common::servers::*;
use contract::{batch, contract, run};
use edgepush::config::Reserve;
use edgepush::destination::client::Clients;
use edgepush::destination::store::gcs;
use edgepush::destination::{Destination, DestinationUrl, Opening, Status, Verdict};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn open_at(
    url: &str,
    environment: &[(&str, &str)],
    clock: fn() -> jiff::Timestamp,
) -> Result<Arc<dyn Destination>, String> {
    let url = DestinationUrl::parse(url).unwrap();
    let clients = Clients::default();
    let with = Opening { state: Path::new("/nowhere"), clients: &clients, keep_free: Reserve::Percent(0) };
    let environment =
        |name: &str| environment.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
    gcs::open(&url, &with, clock, &environment)
}

fn open(url: &str) -> Arc<dyn Destination> {
    open_at(url, &[], jiff::Timestamp::now).unwrap()
}

#[test]
fn gs_keeps_the_contract() {
    let Some(gcs) = FakeGcs::start() else { return };
    let to = open(&format!("gs://{BUCKET}/?endpoint={}", gcs.endpoint()));
    let gcs = Arc::new(gcs);
    run(async {
        let held = {
            let gcs = gcs.clone();
            move || gcs.read_back().objects()
        };
        contract(to.clone(), Some(Box::new(held)), "").await;
        let again = to.deliver(batch(1, &[b"one\n"])).await;
        assert_eq!((again.verdict, again.status), (Verdict::Delivered, Status::Code(412)));
        assert_eq!(to.deliver(batch(1, &[b"another\n"])).await, Verdict::Delivered);
        assert_eq!(gcs.read_back().objects()[&*batch(1, &[]).name], b"one\n", "nothing is ever replaced");
    });
}

#[test]
fn a_bucket_that_is_not_there_holds() {
    let Some(gcs) = FakeGcs::start() else { return };
    let to = open(&format!("gs://no-such-bucket/?endpoint={}", gcs.endpoint()));
    run(async {
        let answer = to.deliver(batch(1, &[b"x\n"])).await;
        assert_eq!(answer.status, Status::Code(404));
        assert!(why(answer.verdict).contains("404"));
        assert!(to.probe(true).await.is_err(), "a probe");
        assert!(to.probe(false).await.is_err_and(|why| why.contains("404")), "a look");
        let answer = to.deliver(large(2, 51_000_000, 1)).await;
        assert_eq!(answer.status, Status::Code(404), "in pieces");
    });
}

#[test]
fn a_large_object_goes_in_pieces_and_goes_on_after_a_cut() {
    // The second piece is cut off once, the third fails once, and the upload is asked where it stands each time.
    let (cuts, begun) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let front = Front::start(0, move |seen, _| {
        let range = seen.header("content-range");
        let first =
            |at: usize| cuts.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if range.starts_with("bytes 16777216-") && first(0) {
            return Do::Cut;
        }
        if range.starts_with("bytes 33554432-") && first(1) {
            return Do::Say(503, "text/plain", "busy".into());
        }
        // The server of the tests forgets the condition of uploads in pieces.
        if seen.method == "POST" && begun.fetch_add(1, Ordering::Relaxed) == 1 {
            let text = r#"{"error":{"code":412,"message":"At least one of the pre-conditions you specified did not hold.","errors":[{"reason":"conditionNotMet"}]}}"#;
            return Do::Say(412, "application/json", text.into());
        }
        // Nor does it know this question: it is answered as Google documents it.
        if range == "bytes */60000000" {
            let kept = if cuts.load(Ordering::Relaxed) == 1 { 16_777_215 } else { 33_554_431 };
            return Do::Resume(kept);
        }
        Do::Pass
    });
    let Some(gcs) = FakeGcs::start_behind(Some(front.address)) else { return };
    front.before(gcs.port);
    let to = open(&format!("gs://{BUCKET}/?endpoint=http://{}", front.address));
    run(async {
        let batch = large(1, 60_000_000, 1);
        assert_eq!(to.deliver(batch.clone()).await, Verdict::Delivered);
        let seen = front.take();
        assert!(
            seen[0].target.contains("uploadType=resumable") && seen[0].target.contains("ifGenerationMatch=0")
        );
        let sent: usize = seen
            .iter()
            .filter(|seen| seen.status == 308 || seen.status == 200)
            .map(|seen| seen.body.len())
            .sum();
        assert!(sent < 60_000_100, "{sent} bytes: what arrived is not sent again");
        assert_eq!(
            seen.iter().filter(|seen| seen.header("content-range").starts_with("bytes */")).count(),
            2
        );
        let held = gcs.read_back().objects();
        assert!(held[&*batch.name] == batch.body.concat(), "the object is not what was sent");
        assert_eq!(held.len(), 1);
        // Again: it is asked before a piece is sent, and nothing is.
        let again = to.deliver(batch.clone()).await;
        assert_eq!((again.verdict, again.status), (Verdict::Delivered, Status::Code(412)));
        assert_eq!(front.take().len(), 1);
    });
}

/// A service account of Google as its file says it, with a fresh RSA key, and what checks its signatures.
struct Account {
    dir: tempfile::TempDir,
    public: Vec<u8>,
}

impl Account {
    /// `None`: there is no openssl on this host.
    fn new(token_uri: &str) -> Option<Account> {
        let dir = tempfile::tempdir().unwrap();
        let pem = dir.path().join("key.pem");
        let openssl = |args: &[&str]| {
            Command::new("openssl").args(args).output().ok().filter(|out| out.status.success())
        };
        let made = openssl(&[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            pem.to_str().unwrap(),
        ]);
        let Some(_) = made else {
            common::skipped("service account", "there is no openssl");
            return None;
        };
        let public = openssl(&["rsa", "-in", pem.to_str().unwrap(), "-RSAPublicKey_out", "-outform", "DER"])
            .unwrap()
            .stdout;
        let file = serde_json::json!({
            "type": "service_account", "project_id": "tests", "private_key_id": "key-1",
            "private_key": std::fs::read_to_string(&pem).unwrap(), "client_email": "edge@tests.example",
            "client_id": "1", "token_uri": token_uri,
        });
        std::fs::write(dir.path().join("account.json"), file.to_string()).unwrap();
        Some(Account { dir, public })
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("account.json")
    }
}

/// Base64 for URLs.
fn unletters(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut have, mut out) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        bits = bits << 6 | alphabet.iter().position(|b| *b == letter).expect("a letter") as u32;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    out
}

/// What a token server says to a statement: whether it is signed by this key, for this server, and of now.
fn judged(seen: &Seen, public: &[u8], uri: &str, now: i64) -> Result<(), String> {
    let form = String::from_utf8_lossy(&seen.body).into_owned();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let statement = form.strip_prefix(grant).ok_or("invalid_request")?;
    let (said, signature) = statement.rsplit_once('.').ok_or("invalid_request")?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    key.verify(said.as_bytes(), &unletters(signature)).map_err(|_| "invalid_signature")?;
    let (head, claims) = said.split_once('.').ok_or("invalid_request")?;
    let json = |part: &str| serde_json::from_slice::<serde_json::Value>(&unletters(part)).unwrap();
    let (head, claims) = (json(head), json(claims));
    assert_eq!((&head["alg"], &head["kid"]), (&"RS256".into(), &"key-1".into()));
    assert_eq!((&claims["iss"], &claims["aud"]), (&"edge@tests.example".into(), &uri.into()));
    assert!(claims["scope"].as_str().unwrap().ends_with("devstorage.read_write"));
    let (from, to) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(to - from, 3600);
    if (from - now).abs() > 300 { Err("invalid_grant".into()) } else { Ok(()) }
}

/// A token server that checks every statement; its tokens, `token-0` and so on, are good for so many seconds.
fn token_server(seconds: u64, clock: i64) -> Option<(Front, Account)> {
    let known: Arc<std::sync::OnceLock<(Vec<u8>, String)>> = Arc::default();
    let knows = known.clone();
    let front = Front::start(clock, move |seen, number| {
        let (public, uri) = knows.get().unwrap();
        match judged(seen, public, uri, jiff::Timestamp::now().as_second() + clock) {
            Ok(()) => {
                let text = format!(
                    r#"{{"access_token":"token-{number}","expires_in":{seconds},"token_type":"Bearer"}}"#
                );
                Do::Say(200, "application/json", text)
            }
            Err(why) => {
                let text = format!(
                    r#"{{"error":"{why}","error_description":"Invalid JWT: {}"}}"#,
                    String::from_utf8_lossy(&seen.body)
                );
                Do::Say(400, "application/json", text)
            }
        }
    });
    let uri = format!("http://{}/token", front.address);
    let account = Account::new(&uri)?;
    known.set((account.public.clone(), uri)).unwrap();
    Some((front, account))
}

/// A store that takes only these tokens.
fn guarded(taken: impl Fn(&str) -> bool + Send + Sync + 'static) -> Option<(FakeGcs, Front)> {
    let front = Front::start(0, move |seen, _| match seen.header("authorization").strip_prefix("Bearer ") {
        Some(token) if taken(token) => Do::Pass,
        _ => Do::Say(
            401,
            "application/json",
            r#"{"error":{"code":401,"message":"Invalid Credentials","errors":[{"reason":"authError"}]}}"#
                .into(),
        ),
    });
    let gcs = FakeGcs::start_behind(Some(front.address))?;
    front.before(gcs.port);
    Some((gcs, front))
}

#[test]
fn a_service_account_signs_for_its_tokens_and_a_refused_one_is_replaced() {
    let Some((tokens, account)) = token_server(3600, 0) else { return };
    // The first token is taken back after two uploads.
    let uses = AtomicUsize::new(0);
    let taken = move |token: &str| {
        token == "token-1" || token == "token-0" && uses.fetch_add(1, Ordering::Relaxed) < 2
    };
    let Some((gcs, front)) = guarded(taken) else { return };
    let to = open(&format!(
        "gs://{BUCKET}/?endpoint=http://{}&service-account={}",
        front.address,
        account.file().display()
    ));
    run(async {
        for number in 1..6 {
            assert_eq!(to.deliver(batch(number, &[b"x\n"])).await, Verdict::Delivered, "{number}");
        }
        assert_eq!(tokens.take().len(), 2, "one token for all, and one for the refused one");
        assert_eq!(front.take().iter().filter(|seen| seen.status == 401).count(), 1);
    });
    assert_eq!(gcs.read_back().objects().len(), 5);
}

#[test]
fn a_token_that_ends_in_mid_run_is_fetched_anew_before_it_is_refused() {
    let Some((tokens, account)) = token_server(2, 0) else { return };
    let Some((_gcs, front)) = guarded(|_| true) else { return };
    let to = open_at(
        &format!("gs://{BUCKET}/?endpoint=http://{}", front.address),
        &[("GOOGLE_APPLICATION_CREDENTIALS", account.file().to_str().unwrap())],
        jiff::Timestamp::now,
    );
    let to = to.unwrap();
    run(async {
        assert_eq!(to.deliver(batch(1, &[b"x\n"])).await, Verdict::Delivered);
        assert_eq!(to.deliver(batch(2, &[b"x\n"])).await, Verdict::Delivered);
        assert_eq!(tokens.seen().len(), 1);
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(to.deliver(batch(3, &[b"x\n"])).await, Verdict::Delivered);
        assert_eq!(tokens.seen().len(), 2);
        let used: Vec<_> = front.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
        assert_eq!(used, ["Bearer token-0", "Bearer token-0", "Bearer token-1"]);
    });
}

#[test]
fn a_token_that_nobody_gives_holds_or_waits_as_it_should_and_says_no_secret() {
    let Some((_tokens, account)) = token_server(3600, 0) else { return };
    let other = Account::new("http://127.0.0.1:1/token").unwrap();
    let Some((gcs, front)) = guarded(|_| false) else { return };
    let at = |file: &Path| {
        let to = open(&format!(
            "gs://{BUCKET}/?endpoint=http://{}&service-account={}",
            front.address,
            file.display()
        ));
        run(async { to.deliver(batch(1, &[b"x\n"])).await })
    };
    // A store that takes no token, however fresh.
    let refused = at(&account.file());
    assert_eq!(refused.status, Status::Code(401));
    assert!(why(refused.verdict).contains("Invalid Credentials"));
    // A key that the token server does not know.
    let mut file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(account.file()).unwrap()).unwrap();
    let foreign: serde_json::Value = serde_json::from_slice(&std::fs::read(other.file()).unwrap()).unwrap();
    file["private_key"] = foreign["private_key"].clone();
    let wrong = account.dir.path().join("wrong.json");
    std::fs::write(&wrong, file.to_string()).unwrap();
    let words = why(at(&wrong).verdict);
    assert!(words.contains("invalid_signature") && words.contains("HTTP 400"), "{words}");
    assert!(!words.contains("eyJ"), "the statement is said: {words}");
    // A token server that does not answer is weather.
    let silent = at(&other.file());
    assert!(
        matches!(&silent.verdict, Verdict::Retry { why, .. } if why.contains("no token from")),
        "{silent:?}"
    );
    assert_eq!(gcs.read_back().objects().len(), 0);
    for (text, says) in [
        ("{}", "none that edgepush knows"),
        (r#"{"type":"service_account","client_email":"e","private_key":"hunter22"}"#, "no RSA key"),
    ] {
        std::fs::write(&wrong, text).unwrap();
        let error =
            open_at(&format!("gs://b/?service-account={}", wrong.display()), &[], jiff::Timestamp::now)
                .err()
                .unwrap();
        assert!(error.contains(says) && !error.contains("hunter22"), "{error}");
    }
    let missing = open_at("gs://b/?service-account=/no/such.json", &[], jiff::Timestamp::now).err().unwrap();
    assert!(missing.contains("/no/such.json"), "{missing}");
}

#[test]
fn a_wrong_clock_signs_with_the_token_servers() {
    let Some((tokens, account)) = token_server(3600, 0) else { return };
    let Some((_gcs, front)) = guarded(|token| token.starts_with("token-")) else { return };
    let late = || jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 7200).unwrap();
    let to = open_at(
        &format!(
            "gs://{BUCKET}/?endpoint=http://{}&service-account={}",
            front.address,
            account.file().display()
        ),
        &[],
        late,
    );
    let to = to.unwrap();
    run(async {
        assert_eq!(to.deliver(batch(1, &[b"x\n"])).await, Verdict::Delivered);
        assert_eq!(tokens.take().iter().map(|seen| seen.status).collect::<Vec<_>>(), [400, 200]);
    });
}

#[test]
fn a_user_and_a_machine_get_their_tokens_too() {
    let dir = tempfile::tempdir().unwrap();
    let token = |text: &str| {
        Do::Say(
            200,
            "application/json",
            format!(r#"{{"access_token":"{text}","expires_in":3599,"token_type":"Bearer"}}"#),
        )
    };
    let tokens = Front::start(0, move |seen, _| {
        let form = String::from_utf8_lossy(&seen.body);
        match seen.target.as_str() {
            "/token"
                if form
                    == "grant_type=refresh_token&client_id=c&client_secret=s%2Fx&refresh_token=1%2F%2Frefresh" =>
            {
                token("user")
            }
            "/computeMetadata/v1/instance/service-accounts/default/token"
                if seen.header("metadata-flavor") == "Google" =>
            {
                token("machine")
            }
            _ => Do::Say(400, "application/json", r#"{"error":"invalid_grant"}"#.into()),
        }
    });
    let Some((gcs, front)) = guarded(|token| token == "user" || token == "machine") else { return };
    let file = dir.path().join("user.json");
    let text = serde_json::json!({"type": "authorized_user", "client_id": "c", "client_secret": "s/x",
        "refresh_token": "1//refresh", "token_uri": format!("http://{}/token", tokens.address)});
    std::fs::write(&file, text.to_string()).unwrap();
    let user =
        open(&format!("gs://{BUCKET}/?endpoint=http://{}&service-account={}", front.address, file.display()));
    run(async { assert_eq!(user.deliver(batch(1, &[b"x\n"])).await, Verdict::Delivered) });
    assert_eq!(tokens.seen().len(), 1);
    assert_eq!(gcs.read_back().objects().len(), 1);
}

#[test]
fn hmac_keys_speak_the_protocol_that_google_shares_with_s3() {
    use common::servers::s3::{ACCESS_KEY, SECRET_KEY};
    let Some(weed) = Weed::start() else { return };
    let url = |secret: &str| {
        format!(
            "gs://{BUCKET}/?endpoint={}&access-key-id={ACCESS_KEY}&secret-access-key={secret}",
            weed.endpoint()
        )
    };
    let (to, wrong) = (open(&url(SECRET_KEY)), open(&url("another-secret")));
    run(async {
        for _ in 0..2 {
            assert_eq!(to.deliver(batch(1, &[b"x\n"])).await, Verdict::Delivered);
        }
        assert_eq!(to.deliver(large(2, 51_000_000, 1)).await, Verdict::Delivered);
        let answer = wrong.deliver(batch(3, &[b"x\n"])).await;
        assert_eq!(answer.status, Status::Code(403));
        assert!(!why(answer.verdict).contains("another-secret"));
    });
    let held = weed.read_back().objects();
    assert_eq!(held.len(), 2);
    assert!(held[&*large(2, 0, 1).name] == large(2, 51_000_000, 1).body.concat());
    let half = open_at("gs://bucket/?access-key-id=a", &[], jiff::Timestamp::now).err().unwrap();
    assert!(half.contains("without secret-access-key="), "{half}");
}

#[test]
fn the_agent_delivers_each_line_once() {
    let Some(gcs) = FakeGcs::start() else { return };
    let place = common::Place::new();
    common::writer::append(&place.log(), "gs", 0..5000);
    let url = format!("gs://{BUCKET}/edge/{{DATE}}?content-encoding=gzip&endpoint={}", gcs.endpoint());
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &url).env("EDGEPUSH_DISK_RESERVE", "0%");
    setup.finish(&["check"]).exits(0);
    assert_eq!(gcs.read_back().count("objects"), 0, "a probe leaves nothing");
    setup.once().exits(0);
    let back = gcs.read_back();
    back.assert_exactly_once("gs", 5000);
    let today = jiff::Timestamp::now().strftime("edge/%Y%m%d/").to_string();
    assert!(back.objects().keys().all(|name| name.starts_with(&today)), "{:?}", back.objects().keys());
    let heads = back.said["heads"].as_object().unwrap();
    assert!(
        heads.values().all(|head| head["encoding"] == "gzip" && head["type"] == "application/x-ndjson"),
        "{heads:?}"
    );
}

#[test]
fn what_is_not_in_the_url_is_the_hosts_own() {
    let Some(account) = Account::new("http://127.0.0.1:1/token") else { return };
    let borrows = |with: &str, environment: &[(&str, &str)]| {
        open_at(&format!("gs://{BUCKET}/?{with}"), environment, jiff::Timestamp::now).unwrap().borrows_keys()
    };
    assert!(!borrows("endpoint=http://127.0.0.1:1&access-key-id=a&secret-access-key=b", &[]));
    assert!(!borrows("endpoint=http://127.0.0.1:1", &[]), "nobody");
    let file = account.file().display().to_string();
    assert!(borrows(&format!("endpoint=http://127.0.0.1:1&service-account={file}"), &[]));
    assert!(borrows("endpoint=http://127.0.0.1:1", &[("GOOGLE_SERVICE_ACCOUNT", &file)]));
}

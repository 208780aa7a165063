//! The contract that every destination must pass, and what is particular to each kind.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
#[path = "common/contract.rs"]
mod contract;

use bytes::Bytes;
use common::recorder::{Answer, Recorder};
use contract::{batch, contract, files, open, run};
use edgepush::config::Reserve;
use edgepush::destination::client::Clients;
use edgepush::destination::{DestinationUrl, Opening, Status, Verdict};
use edgepush::protocol::Container;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[test]
fn file_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b");
    let to = open(&format!("file://{}", root.display()), dir.path());
    run(contract(to, Some(files(root)), ""));
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a"], "nothing else is written");
}

#[test]
fn archive_keeps_the_contract() {
    let state = tempfile::tempdir().unwrap();
    let to = open("archive:", state.path());
    run(contract(to, Some(files(state.path().join("archive"))), ""));
}

#[test]
fn null_keeps_the_contract() {
    run(contract(open("null:", Path::new("/nowhere")), None, ""));
}

#[test]
fn http_keeps_the_contract() {
    let recorder = Arc::new(Recorder::start());
    let url =
        format!("{}?api-key=hunter22hunter22&header_Authorization=Bearer%20open-sesame", recorder.url());
    let to = open(&url, Path::new("/nowhere"));
    let posts = {
        let recorder = recorder.clone();
        move || {
            let posts = recorder.requests().into_iter().filter(|r| r.method == "POST");
            posts.map(|r| (r.header("x-edgepush-batch").to_owned(), r.body.to_vec())).collect()
        }
    };
    run(contract(to.clone(), Some(Box::new(posts)), "hunter22"));
    assert!(!to.redacted().contains("sesame"));
}

/// An HTTPS server with a certificate of its own, and what it was sent.
struct Secure {
    url: String,
    ca: PathBuf,
    held: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    _dir: tempfile::TempDir,
}

async fn secure() -> Secure {
    use http_body_util::{BodyExt as _, Empty};
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/in", listener.local_addr().unwrap().port());
    let held = Arc::new(Mutex::new(BTreeMap::new()));
    let keeps = held.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, held) = (acceptor.clone(), keeps.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service =
                    hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let held = held.clone();
                        async move {
                            let name = request
                                .headers()
                                .get("x-edgepush-batch")
                                .map(|v| v.to_str().unwrap().to_owned());
                            let body = request.into_body().collect().await?.to_bytes();
                            if let Some(name) = name {
                                held.lock().unwrap().insert(name, body.to_vec());
                            }
                            Ok::<_, hyper::Error>(hyper::Response::new(Empty::<Bytes>::new()))
                        }
                    });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Secure { url, ca, held, _dir: dir }
}

#[test]
fn https_keeps_the_contract_and_trusts_only_whom_it_is_told_to() {
    run(async {
        let server = secure().await;
        let url = format!("{}?ca={}", server.url, server.ca.display());
        let held = server.held.clone();
        contract(open(&url, Path::new("/nowhere")), Some(Box::new(move || held.lock().unwrap().clone())), "")
            .await;
        // Whose certificate is trusted is not this server's: another authority's file.
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let ca = server.ca.with_file_name("other.pem");
        std::fs::write(&ca, other.cert.pem()).unwrap();
        let to = open(&format!("{}?ca={}", server.url, ca.display()), Path::new("/nowhere"));
        let answer = to.deliver(batch(1, &[b"x\n"])).await;
        assert_eq!(answer.status, Status::Word("tls"), "{answer:?}");
        assert!(matches!(answer.verdict, Verdict::Retry { .. }));
    });
}

#[test]
fn certificates_that_cannot_be_read_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (file, word) in [(dir.path().join("missing.pem"), "missing.pem"), (empty, "holds no certificate")] {
        let url = DestinationUrl::parse(&format!("https://localhost/in?ca={}", file.display())).unwrap();
        let error = url
            .open(&Opening {
                state: dir.path(),
                clients: &Clients::default(),
                keep_free: Reserve::Percent(0),
            })
            .err()
            .unwrap();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn each_status_has_its_meaning() {
    let recorder = Recorder::with(|_| Answer::Status(200));
    let to = open(&recorder.url(), Path::new("/nowhere"));
    let ask = |status: u16| {
        recorder.script(move |_| Answer::Text(status, "  the server's\n own\u{7} words  "));
        run(to.deliver(batch(1, &[b"x\n"])))
    };
    for status in [200, 201, 202, 204] {
        assert_eq!(ask(status), Verdict::Delivered, "{status}");
    }
    for status in [300, 301, 307, 401, 402, 403, 404, 405, 409, 410, 418, 431, 451] {
        let answer = ask(status);
        let Verdict::Hold { why } = &answer.verdict else { panic!("{status}: {answer:?}") };
        assert!(why.contains(&status.to_string()) && why.contains("the server's own words"), "{why}");
        assert_eq!(answer.status, Status::Code(status));
    }
    for status in [400, 415, 422] {
        assert!(matches!(ask(status).verdict, Verdict::Refused { .. }), "{status}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        assert!(matches!(ask(status).verdict, Verdict::Retry { after: None, .. }), "{status}");
    }
    assert!(matches!(ask(413).verdict, Verdict::TooLarge { .. }));
}

#[test]
fn a_port_where_nobody_listens_and_a_name_that_does_not_resolve_are_weather() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, word) in
        [(format!("http://127.0.0.1:{free}/"), "refused"), ("http://no-such-host.invalid/".to_owned(), "dns")]
    {
        let to = open(&url, Path::new("/nowhere"));
        let answer = run(to.deliver(batch(1, &[b"x\n"])));
        assert_eq!(answer.status, Status::Word(word), "{answer:?}");
        assert!(matches!(answer.verdict, Verdict::Retry { after: None, .. }));
        assert!(run(to.probe(true)).is_err());
    }
}

#[test]
fn a_secret_that_the_server_repeats_is_not_said() {
    let recorder =
        Recorder::with(|_| Answer::Text(403, "key s3cr3ts3cr3t is not known, nor Bearer t0ps3cret"));
    let url = format!("{}?token=s3cr3ts3cr3t&header_Authorization=Bearer%20t0ps3cret", recorder.url());
    let to = open(&url, Path::new("/nowhere"));
    let Verdict::Hold { why } = run(to.deliver(batch(1, &[b"x\n"]))).verdict else { panic!() };
    assert!(!why.contains("s3cr3t") && !why.contains("t0ps3cret"), "{why}");
}

#[test]
fn a_directory_that_cannot_be_written_is_weather() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let to = open(&format!("file://{}/below", file.display()), dir.path());
    let answer = run(to.deliver(batch(1, &[b"x\n"])));
    assert!(matches!(&answer.verdict, Verdict::Retry { why, .. } if why.contains("a-file")), "{answer:?}");
    assert!(run(to.probe(false)).is_err() && run(to.probe(true)).is_err());
}

#[test]
fn the_archive_leaves_the_disk_its_reserve() {
    let state = tempfile::tempdir().unwrap();
    let url = DestinationUrl::parse("archive:").unwrap();
    let keep_free = Reserve::Bytes(edgepush::config::Bytes(u64::MAX));
    let to = url.open(&Opening { state: state.path(), clients: &Clients::default(), keep_free }).unwrap();
    let answer = run(to.deliver(batch(1, &[b"x\n"])));
    assert!(
        matches!(&answer.verdict, Verdict::Retry { why, .. } if why.contains("EDGEPUSH_DISK_RESERVE")),
        "{answer:?}"
    );
    assert!(!state.path().join("archive").exists());
}

mod url {
    use super::*;

    fn wrong(url: &str) -> String {
        DestinationUrl::parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"))
    }

    #[test]
    fn what_is_wrong_is_told_with_the_remedy() {
        for (url, words) in [
            ("", &["no scheme", "https://", "file:///", "archive:"][..]),
            ("htps://h/", &["`htps:`", "nearest is"]),
            ("kafka://h/", &["`kafka:` is no destination"]),
            ("http:/h", &["http://host/path"]),
            ("http:///x", &["names no host"]),
            ("http://h:99999/", &["port"]),
            ("http://::1/", &["brackets"]),
            ("http://h/#x", &["%23"]),
            ("http://h/?gzip=both", &["`gzip`", "members"]),
            ("http://h/?header_Bad%20Name=x", &["header"]),
            ("http://h/?header_Content-Length=1", &["cannot be set"]),
            ("http://h/?header_X=a%zz", &["%25"]),
            ("http://u:p@h/?header_Authorization=x", &["user part"]),
            ("file://relative/x", &["three slashes"]),
            ("file:///a/../b", &[".."]),
            ("file:///{DATE}", &["fixed directory"]),
            ("file:///a/{DAT}", &["{DAT}", "nearest is {DATE}"]),
            ("file:///a/{DATE", &["brace"]),
            ("file:///a?sufix=.txt", &["`sufix`", "nearest is `suffix`"]),
            ("file:///a?suffix=txt", &["suffix"]),
            ("file:///a?header_X=1", &["no headers"]),
            ("archive:/x", &["just `archive:`"]),
            ("null:x", &["just `null:`"]),
        ] {
            let said = wrong(url);
            assert!(words.iter().all(|word| said.contains(word)), "{url}: {said}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let url = "https://bob:pa55word@h.example/v1/0123456789abcdefABCDEF/in?api_key=k3yk3y&x=1&header_X-Token=t0k3n";
        let parsed = DestinationUrl::parse(url).unwrap();
        let shown = format!("{parsed} {parsed:?}");
        for secret in ["bob", "pa55word", "0123456789abcdefABCDEF", "k3yk3y", "t0k3n"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(parsed.exposed(), "https://h.example/v1/0123456789abcdefABCDEF/in?api_key=k3yk3y&x=1");
        for wrong_url in
            ["https://bob:pa55word@/x", "https://h/?header_X=pa55word%zz", "https://bob:pa55word@h:0/"]
        {
            assert!(!wrong(wrong_url).contains("pa55word"), "{}", wrong(wrong_url));
        }
    }

    #[test]
    fn the_container_is_the_urls_or_the_settings_or_the_kinds() {
        let container = |url: &str, setting| DestinationUrl::parse(url).unwrap().container(setting);
        assert_eq!(container("http://h/", None), Container::Single);
        assert_eq!(container("file:///d", None), Container::Members);
        assert_eq!(container("file:///d?content-encoding=gzip", None), Container::Single);
        assert_eq!(container("file:///d", Some(Container::Single)), Container::Single);
        assert_eq!(container("file:///d?gzip=members", Some(Container::Single)), Container::Members);
        let warning = |url: &str| DestinationUrl::parse(url).unwrap().warning(None);
        assert!(warning("http://h/?gzip=members").is_some_and(|text| text.contains("curl --compressed")));
        assert!(warning("http://h/").is_none() && warning("file:///d").is_none());
    }

    #[test]
    fn a_directory_has_a_fixed_and_a_templated_part() {
        let url = DestinationUrl::parse("file:///var/logs/{HOST}/{DATE}/x?suffix=.txt").unwrap();
        assert_eq!((url.root(), url.naming_path()), (Path::new("/var/logs"), "{HOST}/{DATE}/x"));
        assert_eq!(url.suffix(), Some(".txt"));
    }
}

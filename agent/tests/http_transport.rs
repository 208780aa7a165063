//! The transport below every destination that speaks HTTP: who is trusted, who we are, through whom, to which address,
//! for how long.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
mod transport_kit;

use edgepush::destination::client::{Clients, Network, ProxyVariables};
use edgepush::destination::{DestinationUrl, Status, Verdict};
use hyper::Version;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use transport_kit::proxy::Proxy;
use transport_kit::*;

const HERE: &str = "127.0.0.1:0";

fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Retry { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

/// A network that makes a connection for each request.
fn restless(names: &Names) -> Network {
    Network { connection_age_max: Duration::ZERO, ..network(names) }
}

#[test]
fn a_receiver_that_asks_for_a_certificate_gets_it_and_one_that_misses_it_is_understood() {
    run(async {
        let (servers, people) = (Authority::new("servers"), Authority::new("people"));
        let wants = Wants { client_of: Some(&people), ..Wants::default() };
        let server = Server::tls(HERE, &servers.issue("localhost"), wants).await;
        let url = format!("https://localhost:{}/in?ca={}", server.port(), servers.ca().display());
        let names = Names::default();
        names.say("localhost", &["127.0.0.1"]);
        let clients = Clients::new(network(&names));
        let to = |own: &Issued| {
            open(&clients, &format!("{url}&cert={}&cert-key={}", own.cert.display(), own.key.display()))
        };
        let ours = to(&people.issue("edge-1"));
        assert_eq!(ours.probe(false).await, Ok(()));
        assert_eq!(deliver(&ours).await, Verdict::Delivered);
        assert_eq!(server.got().len(), 2);

        let answer = deliver(&open(&clients, &url)).await;
        assert_eq!(answer.status, Status::Word("tls"), "{answer:?}");
        assert!(why(&answer.verdict).contains("asks for a client certificate"), "{answer:?}");

        let answer = deliver(&to(&servers.issue("edge-2"))).await;
        assert_eq!(answer.status, Status::Word("tls"), "{answer:?}");
        assert!(why(&answer.verdict).contains("does not accept the client certificate"), "{answer:?}");
        assert_eq!(server.got().len(), 2, "nobody else was let in");
    });
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_told_at_start() {
    let authority = Authority::new("a");
    let (one, other) = (authority.issue("one"), authority.issue("other"));
    let clients = Clients::new(network(&Names::default()));
    let told = |cert: &std::path::Path, key: &std::path::Path| {
        let url = format!("https://h.test/?cert={}&cert-key={}", cert.display(), key.display());
        try_open(&clients, &url).err().unwrap()
    };
    assert!(told(&one.cert, &other.key).contains("do not belong together"));
    let missing = authority.dir.path().join("missing.key");
    assert!(told(&one.cert, &missing).contains("missing.key"), "{}", told(&one.cert, &missing));
    assert!(told(&one.cert, &one.cert).contains("no private key"), "{}", told(&one.cert, &one.cert));
    assert!(told(&one.key, &one.key).contains("holds no certificate"));
    for (query, word) in [("bearer-file", "bearer-file="), ("sign-key-file", "sign-key-file=")] {
        let url = format!("https://h.test/?{query}={}", missing.display());
        let error = try_open(&clients, &url).err().unwrap();
        assert!(error.contains(word) && error.contains("missing.key"), "{error}");
    }
}

#[test]
fn nobody_is_trusted_by_accident() {
    run(async {
        let (authority, other) = (Authority::new("one"), Authority::new("other"));
        let server = Server::tls(HERE, &authority.issue("collector.test"), Wants::default()).await;
        let names = Names::default();
        names.say("collector.test", &["127.0.0.1"]);
        names.say("impostor.test", &["127.0.0.1"]);
        let clients = Clients::new(network(&names));
        let at =
            |host: &str, query: &str| open(&clients, &format!("https://{host}:{}/in?{query}", server.port()));
        let (own, strange) =
            (format!("ca={}", authority.ca().display()), format!("ca={}", other.ca().display()));
        assert_eq!(deliver(&at("collector.test", &own)).await, Verdict::Delivered);
        for (host, query) in [("collector.test", ""), ("collector.test", &strange), ("impostor.test", &own)] {
            let answer = deliver(&at(host, query)).await;
            assert_eq!(answer.status, Status::Word("tls"), "{host} {query} {answer:?}");
            assert!(why(&answer.verdict).contains("not trusted"), "{answer:?}");
        }
        assert_eq!(server.got().len(), 1, "nothing was sent to those");
        let blind = at("impostor.test", "insecure-skip-verify=true");
        assert_eq!(deliver(&blind).await, Verdict::Delivered);
        assert!(blind.redacted().ends_with("?insecure-skip-verify=true"), "{}", blind.redacted());
    });
}

#[test]
fn to_trust_blindly_is_spelled_out_and_warned_of() {
    let url = |query: &str| DestinationUrl::parse(&format!("https://h/in?{query}"));
    for half in ["insecure-skip-verify", "insecure-skip-verify=1", "insecure-skip-verify=false"] {
        assert!(url(half).err().unwrap().contains("`true`"), "{half}");
    }
    let blind = url("insecure-skip-verify=true").unwrap();
    assert!(blind.warning(None).unwrap().contains("not verified"));
    assert_eq!(blind.exposed(), "https://h/in", "it is not sent");
    assert!(url("ca=/x").unwrap().warning(None).is_none());
}

#[test]
fn certificates_that_change_on_disk_are_used_without_a_restart() {
    run(async {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let server = Server::tls(HERE, &new.issue("collector.test"), Wants::default()).await;
        let names = Names::default();
        names.say("collector.test", &["127.0.0.1"]);
        let clients = Clients::new(Network { files_again: Duration::ZERO, ..network(&names) });
        let to =
            open(&clients, &format!("https://collector.test:{}/?ca={}", server.port(), old.ca().display()));
        assert_eq!(deliver(&to).await.status, Status::Word("tls"));
        // A file that is half written changes nothing, and what comes after it does.
        std::fs::write(old.ca(), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
        assert_eq!(deliver(&to).await.status, Status::Word("tls"));
        std::fs::write(old.ca(), new.pem()).unwrap();
        assert_eq!(deliver(&to).await, Verdict::Delivered);
    });
}

#[test]
fn http_2_is_spoken_where_it_is_asked_for_and_agreed_on() {
    run(async {
        let authority = Authority::new("a");
        let issued = authority.issue("collector.test");
        let names = Names::default();
        names.say("collector.test", &["127.0.0.1"]);
        let clients = Clients::new(network(&names));
        let both = Server::tls(HERE, &issued, Wants { two: true, ..Wants::default() }).await;
        let one = Server::tls(HERE, &issued, Wants::default()).await;
        let plain = Server::plain(HERE, true).await;
        let secure = |server: &Server, query: &str| {
            format!("https://collector.test:{}/?ca={}{query}", server.port(), authority.ca().display())
        };
        for (server, url, version) in [
            (&both, secure(&both, ""), Version::HTTP_11),
            (&both, secure(&both, "&http-version=1.1"), Version::HTTP_11),
            (&both, secure(&both, "&http-version=2"), Version::HTTP_2),
            (&one, secure(&one, "&http-version=2"), Version::HTTP_11),
            (&plain, format!("http://{}/?http-version=2", plain.address), Version::HTTP_2),
        ] {
            assert_eq!(deliver(&open(&clients, &url)).await, Verdict::Delivered, "{url}");
            assert_eq!(server.got().last().unwrap().version, version, "{url}");
        }
        // Many at once share the one connection, and none loses a byte.
        let (before, to) = (both.connections(), open(&clients, &secure(&both, "&http-version=2")));
        let large = vec![b'x'; 300_000];
        let all = (0..8).map(|number| {
            let (to, batch) = (to.clone(), batch(number, &[&large, b"\n"]));
            tokio::spawn(async move { to.deliver(batch).await })
        });
        for upload in all.collect::<Vec<_>>() {
            assert_eq!(upload.await.unwrap(), Verdict::Delivered);
        }
        assert_eq!(both.connections(), before);
        let whole = both.got().iter().filter(|got| got.body.len() == 300_001).count();
        assert_eq!(whole, 8);
    });
}

#[test]
fn proxies_of_the_environment_are_asked_and_no_proxy_is_not() {
    run(async {
        let authority = Authority::new("a");
        let server = Server::tls(HERE, &authority.issue("collector.test"), Wants::default()).await;
        let plain = Server::plain(HERE, false).await;
        // "edge:s3cret"
        let basic = "Basic ZWRnZTpzM2NyZXQ=";
        let (tunnels, forwards) =
            (Proxy::start(&server, Some(basic)).await, Proxy::start(&plain, Some(basic)).await);
        let names = Names::default();
        names.say("near.test", &["127.0.0.1"]);
        let proxies = ProxyVariables {
            https: format!("http://edge:s3cret@{}", tunnels.address),
            http: format!("http://edge:s3cret@{}", forwards.address),
            no: "near.test".into(),
            ..ProxyVariables::default()
        };
        let clients = Clients::new(Network { proxies, ..network(&names) });
        let secure = |host: &str, query: &str| {
            let port = server.port();
            open(&clients, &format!("https://{host}:{port}/in?ca={}{query}", authority.ca().display()))
        };
        // Only the proxy can find this name: nobody here resolves it.
        assert_eq!(deliver(&secure("collector.test", "")).await, Verdict::Delivered);
        let line = format!("CONNECT collector.test:{} HTTP/1.1", server.port());
        assert_eq!(tunnels.asked(), [(line, basic.to_owned())]);
        assert_eq!(names.asked(), 0);
        // Plain HTTP has the whole URL in its first line, and the credentials in each request.
        let to = open(&clients, "http://collector.test/in?x=1");
        assert_eq!((deliver(&to).await, deliver(&to).await).1, Verdict::Delivered);
        assert_eq!(forwards.asked()[0].0, "POST http://collector.test/in?x=1 HTTP/1.1");
        assert_eq!(plain.got()[1].header("proxy-authorization"), basic);
        // Spared: what NO_PROXY names, this host itself, what the URL says.
        assert_eq!(
            deliver(&secure("near.test", "")).await.status,
            Status::Word("tls"),
            "its name is another"
        );
        let here = open(&clients, &format!("http://{}/", plain.address));
        assert_eq!(deliver(&here).await, Verdict::Delivered);
        let off = deliver(&secure("collector.test", "&proxy=off")).await;
        assert_eq!(off.status, Status::Word("dns"), "{off:?}");
        assert_eq!((tunnels.asked().len(), forwards.asked().len()), (1, 1));
    });
}

#[test]
fn a_proxy_of_the_url_is_asked_and_its_trouble_is_told_without_credentials() {
    run(async {
        let authority = Authority::new("a");
        let server = Server::tls(HERE, &authority.issue("collector.test"), Wants::default()).await;
        let proxy = Proxy::start(&server, Some("Basic ZWRnZTpzM2NyZXQ=")).await;
        let clients = Clients::new(network(&Names::default()));
        let through = |proxy: &str| {
            let ca = authority.ca();
            open(&clients, &format!("https://collector.test/in?ca={}&proxy={proxy}", ca.display()))
        };
        let good = through(&format!("http://edge:s3cret@{}", proxy.address));
        assert_eq!(deliver(&good).await, Verdict::Delivered);
        assert_eq!(proxy.asked()[0].0, "CONNECT collector.test:443 HTTP/1.1");
        assert!(!good.redacted().contains("s3cret"));
        let answer = deliver(&through(&format!("http://edge:wrongly@{}", proxy.address))).await;
        assert_eq!(answer.status, Status::Word("proxy"));
        let said = why(&answer.verdict);
        assert!(said.contains("credentials (407)") && !said.contains("wrongly"), "{said}");
        let free = std::net::TcpListener::bind(HERE).unwrap().local_addr().unwrap();
        let answer = deliver(&through(&format!("http://{free}"))).await;
        assert_eq!(answer.status, Status::Word("refused"), "{answer:?}");
        assert!(why(&answer.verdict).contains(&format!("proxy {free}")), "{answer:?}");
        let socks = through(&format!("socks5h://edge:s3cret@{}", proxy.address));
        assert_eq!(deliver(&socks).await, Verdict::Delivered);
        assert_eq!(proxy.asked().last().unwrap(), &("SOCKS collector.test:443".into(), "edge:s3cret".into()));
    });
}

#[test]
fn socks5_resolves_here() {
    run(async {
        let plain = Server::plain(HERE, false).await;
        let proxy = Proxy::start(&plain, None).await;
        let names = Names::default();
        names.say("collector.test", &["127.0.0.9"]);
        let clients = Clients::new(network(&names));
        let to = open(&clients, &format!("http://collector.test:81/?proxy=socks5://{}", proxy.address));
        assert_eq!(deliver(&to).await, Verdict::Delivered);
        assert_eq!(proxy.asked(), [("SOCKS 127.0.0.9:81".to_owned(), String::new())]);
    });
}

#[test]
fn what_is_no_proxy_is_told_and_never_gone_around() {
    let proxies = ProxyVariables { all: "htp://u:hunter22@p:1".into(), ..ProxyVariables::default() };
    let clients = Clients::new(Network { proxies, ..network(&Names::default()) });
    let error = try_open(&clients, "https://h.test/").err().unwrap();
    assert!(error.contains("ALL_PROXY") && !error.contains("hunter22"), "{error}");
    let error = try_open(&clients, "https://h.test/?proxy=ftp://u:hunter22@p:1").err().unwrap();
    assert!(error.contains("`proxy`") && !error.contains("hunter22"), "{error}");
}

#[test]
fn a_receiver_can_verify_what_is_signed() {
    run(async {
        let server = Server::plain(HERE, false).await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "another-secret-of-us\n").unwrap();
        let clients = Clients::new(network(&Names::default()));
        for (query, key) in [
            ("sign-key=a%20secret-of-both%21".to_owned(), "a secret-of-both!"),
            (format!("sign-key-file={}", file.display()), "another-secret-of-us"),
        ] {
            let to = open(&clients, &format!("http://{}/in?{query}", server.address));
            assert_eq!(to.deliver(batch(1, &[b"one\n", b"", b"two\n"])).await, Verdict::Delivered);
            let got = server.got().pop().unwrap();
            assert_eq!(&got.body[..], b"one\ntwo\n");
            let seconds: u64 = got.header("x-edgepush-timestamp").parse().unwrap();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            assert!(now.abs_diff(seconds) < 60);
            let hex = got.header("x-edgepush-signature").strip_prefix("v1=").unwrap().to_owned();
            let mac: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let mut signed = format!("{seconds}.").into_bytes();
            signed.extend_from_slice(&got.body);
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
            ring::hmac::verify(&key, &signed, &mac).expect("the signature is another's");
        }
        let short = try_open(&clients, "http://h.test/?sign-key=short").err().unwrap();
        assert!(short.contains("16 characters"), "{short}");
    });
}

#[test]
fn a_token_is_read_again_when_its_file_changes() {
    run(async {
        let server = Server::plain(HERE, false).await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "first-token\n").unwrap();
        let clients = Clients::new(network(&Names::default()));
        let to = open(&clients, &format!("http://{}/in?bearer-file={}", server.address, file.display()));
        let sent = || server.got().pop().unwrap().header("authorization").to_owned();
        deliver(&to).await;
        assert_eq!(sent(), "Bearer first-token");
        std::fs::write(&file, "second-token-which-is-longer").unwrap();
        deliver(&to).await;
        assert_eq!(sent(), "Bearer second-token-which-is-longer");
        std::fs::remove_file(&file).unwrap();
        deliver(&to).await;
        assert_eq!(sent(), "Bearer second-token-which-is-longer", "the last one is better than none");
    });
}

#[test]
fn a_dead_address_costs_one_attempt_and_then_none() {
    run(async {
        let server = Server::plain(HERE, false).await;
        let names = Names::default();
        names.say("collector.test", &["127.0.0.2", "::1", "127.0.0.1"]);
        let to = open(&Clients::new(restless(&names)), &format!("http://collector.test:{}/", server.port()));
        assert_eq!(deliver(&to).await, Verdict::Delivered);
        // Somebody is there now, and is not asked for a while.
        let dead = Server::plain(&format!("127.0.0.2:{}", server.port()), false).await;
        for round in 2..5 {
            assert_eq!(deliver(&to).await, Verdict::Delivered);
            assert_eq!(server.connections(), round);
        }
        assert_eq!((dead.connections(), names.asked()), (0, 4), "each connection asks for the addresses");
    });
}

#[test]
fn an_address_that_says_nothing_is_overtaken_and_then_left_alone() {
    run(async {
        let server = Server::plain(HERE, false).await;
        let hole = TcpSocket::new_v4().unwrap();
        hole.bind(format!("127.0.0.2:{}", server.port()).parse().unwrap()).unwrap();
        let hole = hole.listen(0).unwrap();
        let fillers = fill(&hole).await;
        let names = Names::default();
        names.say("collector.test", &["127.0.0.2", "127.0.0.1"]);
        let to = open(&Clients::new(restless(&names)), &format!("http://collector.test:{}/", server.port()));
        assert_eq!(deliver(&to).await, Verdict::Delivered);
        for _ in 0..fillers.len() {
            drop(hole.accept().await.unwrap());
        }
        assert_eq!(deliver(&to).await, Verdict::Delivered);
        let asked = tokio::time::timeout(Duration::from_millis(300), hole.accept()).await;
        assert!(asked.is_err(), "the address that was silent was asked again");
    });
}

/// Takes all places in a listener's queue, so that it answers nobody.
async fn fill(hole: &TcpListener) -> Vec<TcpStream> {
    let mut fillers = Vec::new();
    while let Ok(filler) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(hole.local_addr().unwrap())).await
    {
        fillers.push(filler.unwrap());
        assert!(fillers.len() < 10, "this listener's queue has no end");
    }
    fillers
}

#[test]
fn an_address_whose_tls_fails_comes_last() {
    run(async {
        let authority = Authority::new("a");
        let server = Server::tls(HERE, &authority.issue("collector.test"), Wants::default()).await;
        let broken = Server::closing(&format!("127.0.0.2:{}", server.port())).await;
        let names = Names::default();
        names.say("collector.test", &["127.0.0.2", "127.0.0.1"]);
        let url = format!("https://collector.test:{}/?ca={}", server.port(), authority.ca().display());
        let to = open(&Clients::new(restless(&names)), &url);
        let answer = deliver(&to).await;
        assert!(why(&answer.verdict).contains("TLS handshake"), "{answer:?}");
        assert_eq!((deliver(&to).await, deliver(&to).await).1, Verdict::Delivered);
        assert_eq!((broken.connections(), server.connections()), (1, 2));
    });
}

#[test]
fn a_connection_is_kept_and_not_for_ever() {
    run(async {
        let (old, new) = (Server::plain(HERE, false).await, Server::plain(HERE, false).await);
        let names = Names::default();
        names.say("collector.test", &["127.0.0.1"]);
        // A connection may lie in the pool for 30 s, so it is given up as much earlier.
        let age = Duration::from_secs(30) + Duration::from_millis(500);
        let clients = Clients::new(Network { connection_age_max: age, ..network(&names) });
        let to = open(&clients, &format!("http://collector.test:{}/", old.port()));
        for _ in 0..3 {
            assert_eq!(deliver(&to).await, Verdict::Delivered);
        }
        assert_eq!((old.connections(), names.asked()), (1, 1), "it is used again");
        tokio::time::sleep(Duration::from_millis(600)).await;
        deliver(&to).await;
        assert_eq!(old.connections(), 1);
        // The name leads elsewhere now.
        names.say("collector.test", &["127.0.0.3"]);
        let moved = Server::plain(&format!("127.0.0.3:{}", old.port()), false).await;
        assert_eq!(deliver(&to).await, Verdict::Delivered);
        assert_eq!((old.got().len(), moved.got().len(), new.connections()), (4, 1, 0));
    });
}

#[test]
fn parameters_that_do_not_go_together_are_told_with_the_remedy() {
    for (query, words) in [
        ("cert=/a.pem", &["cert-key=", "give both"][..]),
        ("cert-key=/a.pem", &["cert=", "give both"]),
        ("cert=a.pem&cert-key=/b", &["`cert`", "absolute path"]),
        ("http-version=3", &["`http-version`", "`1.1` or `2`"]),
        ("ca=/a&insecure-skip-verify=true", &["leave one out"]),
        ("sign-key=0123456789abcdef&sign-key-file=/k", &["sign-key-file=", "leave one out"]),
        ("bearer-file=/t&header_Authorization=x", &["bearer-file=", "leave one out"]),
        ("proxy=p:3128x", &["`proxy`", "socks5://"]),
    ] {
        let said = DestinationUrl::parse(&format!("https://h/in?{query}")).err().unwrap();
        assert!(words.iter().all(|word| said.contains(word)), "{query}: {said}");
    }
    let file = DestinationUrl::parse("file:///d?cert=/x").err().unwrap();
    assert!(file.contains("does not know"), "{file}");
    let url = "https://h/in?sign-key=0123456789abcdef&proxy=http%3A%2F%2Fu%3Ahunter22%40p&x=1&http-version=2";
    let parsed = DestinationUrl::parse(url).unwrap();
    assert_eq!(parsed.exposed(), "https://h/in?x=1");
    let shown = format!("{parsed} {parsed:?}");
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("hunter22"), "{shown}");
}

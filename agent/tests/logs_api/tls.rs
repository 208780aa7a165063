//! TLS of both listeners, and certificates that change.
use crate::common::Place;
use crate::kit::{HOUR, Logs, MAY, lines, nonce, publish, settings, signed, stamp};
use crate::python::{logs_addr, setup};
use edgepush::api::bind;
use edgepush::api::tls::Tls;
use edgepush::archive::Leases;
use edgepush::logs_api::{LogsApi, start};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// Writes a new certificate for `localhost` and its key; gives the certificate.
fn certificate(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

/// What comes back over TLS from who has this certificate.
fn ask(addr: &str, trusted: &CertificateDer<'static>, request: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(addr).unwrap());
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let first = certificate(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let tls = Arc::new(Tls::open(&cert, &key).unwrap());
    let bound = bind::bind_logs("127.0.0.1:0".parse().unwrap(), dir.path()).unwrap();
    let api = LogsApi::new(dir.path(), settings(MAY), (Leases::default(), Arc::default()));
    let server = start(bound, Arc::new(api), Some(tls)).unwrap();
    let get = |trusted| {
        ask(&server.addr().to_string(), trusted, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    };
    assert!(get(&first).unwrap().starts_with("HTTP/1.1 404"));
    let second = certificate(dir.path());
    assert!(get(&second).unwrap().starts_with("HTTP/1.1 404"));
    assert!(get(&first).is_err(), "the old one is not used any more");
    std::fs::write(&key, "no key").unwrap();
    assert!(get(&second).unwrap().starts_with("HTTP/1.1 404"), "what was good is used on");
    drop(server);
    let told = Tls::open(&cert, &key).unwrap_err();
    assert!(told.starts_with("EDGEPUSH_TLS_KEY: ") && !told.contains("no key,"), "{told}");
    certificate(dir.path());
    let stranger = tempfile::tempdir().unwrap();
    certificate(stranger.path());
    let told = Tls::open(&cert, &stranger.path().join("key.pem")).unwrap_err();
    assert!(told.contains("does not belong to the key"), "{told}");
}

#[test]
fn both_listeners_of_the_agent() {
    let place = Place::new();
    let trusted = certificate(&place.path("out"));
    publish(&place.state(), "a.example", HOUR, 1, &[lines("a.example", HOUR, 3)]);
    let (cert, key) = (place.path("out/cert.pem"), place.path("out/key.pem"));
    let setup = setup(&place)
        .env("EDGEPUSH_TLS_CERT", cert.to_str().unwrap())
        .env("EDGEPUSH_TLS_KEY", key.to_str().unwrap());
    // Our own commands go over loopback, and may do without.
    let agent = setup.start_ready();
    let (id, secret) = crate::python::key(&setup, "*");
    std::thread::sleep(std::time::Duration::from_millis(600));
    let key = edgepush::logs_api::keys::Key {
        id,
        name: String::new(),
        secret: edgepush::config::Secret::new(secret),
        domains: edgepush::logs_api::keys::Domains::All,
        disabled: false,
        made: 0,
    };
    let body =
        r#"{"domains":["a.example"],"startTime":"2022-09-01T00:00:00Z","endTime":"2022-09-02T00:00:00Z"}"#;
    let request = signed(&key, "POST", "/v1.1/log/list", body, &stamp(0), &nonce());
    let listed = ask(&logs_addr(&setup), &trusted, &request).unwrap();
    assert!(
        listed.starts_with("HTTP/1.1 200") && listed.contains("https://logs.example:9601/a.example/"),
        "{listed}"
    );
    let admin = agent.api().unwrap().to_string();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(ask(&admin, &trusted, &get("/healthz")).unwrap().starts_with("HTTP/1.1 200"));
    let file = "/a.example/20220901/20220901010000-1.log.gz";
    for path in ["/v1.1/log/list", file] {
        assert!(
            ask(&admin, &trusted, &get(path)).unwrap().starts_with("HTTP/1.1 404"),
            "{path} is not the admin's"
        );
    }
    agent.terminate().exits(0);
    let wrong = setup.env("EDGEPUSH_TLS_CERT", "/nowhere/cert.pem").finish(&["run"]).exits(2);
    assert!(wrong.stderr.contains("EDGEPUSH_TLS_CERT=/nowhere/cert.pem"), "{}", wrong.stderr);
}

#[test]
fn without_tls_a_plain_listener() {
    let logs = Logs::new();
    assert_eq!(logs.get("/", "").status, 404);
}

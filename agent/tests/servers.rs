//! The kit of real servers itself: each starts, takes what its own client gives it, refuses wrong credentials where it
//! knows them, and is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::servers::*;
use common::*;

fn gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn both_s3_servers_start_and_end() {
    fn check(s3: &S3) {
        assert_eq!(status_of(s3.port, &format!("/{BUCKET}")), Some(403), "without credentials");
        let found = s3.read_back();
        assert_eq!((found.count("objects"), found.objects().len()), (0, 0), "{found:?}");
    }
    if let Some(weed) = Weed::start() {
        check(&weed);
        let (pid, dir) = (weed.server.pid(), weed.server.dir().to_owned());
        drop(weed);
        assert!(gone(pid) && !dir.exists());
    }
    if let Some(juice) = JuiceFs::start() {
        check(&juice);
        let pid = juice.server.pid();
        drop(juice);
        assert!(gone(pid));
    }
}

#[test]
fn azurite_starts_and_ends() {
    let Some(azurite) = Azurite::start() else { return };
    assert_eq!(status_of(azurite.port, &format!("/devstoreaccount1/{BUCKET}/x")), Some(403));
    let list = format!("/devstoreaccount1/{BUCKET}?restype=container&comp=list&");
    assert_eq!(status_of(azurite.port, &(list.clone() + &azurite.sas("rl", 60))), Some(200));
    assert_eq!(status_of(azurite.port, &(list + &azurite.sas("rl", -60))), Some(403), "expired");
    assert_eq!(azurite.read_back().count("objects"), 0);
    let pid = azurite.server.pid();
    drop(azurite);
    assert!(gone(pid));
}

#[test]
fn fake_gcs_and_osmem_start_and_end() {
    let Some(gcs) = FakeGcs::start() else { return };
    assert_eq!(gcs.read_back().count("objects"), 0);
    let Some(osmem) = Osmem::start() else { return };
    osmem.make_index("one", r#"{"mappings": {"properties": {"seq": {"type": "long"}}}}"#);
    let found = osmem.read_back("*");
    assert_eq!((found.count("documents"), &found.said["indexes"]), (0, &serde_json::json!(["one"])));
    let pids = [gcs.server.pid(), osmem.server.pid()];
    drop((gcs, osmem));
    assert!(pids.into_iter().all(gone));
}

#[test]
fn nginx_keeps_bodies_and_knows_its_clients() {
    let Some(nginx) = Nginx::start(nginx::KEEPS_OF_CLIENTS) else { return };
    let text = writer::text("r", 0..100);
    let post = |more: &[&str]| {
        let mut command = std::process::Command::new("curl");
        command.args([
            "-sS",
            "--max-time",
            "20",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--data-binary",
            &text,
        ]);
        command.args(["--cacert", &nginx.file("ca.pem").display().to_string(), "-H", "Idempotency-Key: 1"]);
        let out = command.args(more).arg(nginx.https()).output().unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let file = |name: &str| nginx.file(name).display().to_string();
    assert_eq!(post(&[]).0, "400", "no certificate");
    assert_eq!(post(&["--cert", &file("other.pem"), "--key", &file("other.key")]).0, "400", "not ours");
    assert_eq!(post(&["--cert", &file("client.pem"), "--key", &file("client.key"), "--http2"]).0, "200");
    let kept = nginx.kept();
    assert_eq!((kept.len(), kept[0].protocol.as_str(), kept[0].tls.as_str()), (1, "HTTP/2.0", "TLSv1.3"));
    assert_eq!(kept[0].client, "CN=client");
    assert_exactly_once("r", 100, &nginx.lines());
    let pid = nginx.server.pid();
    drop(nginx);
    assert!(gone(pid));
}

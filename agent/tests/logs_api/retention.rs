//! Retention against a download that is under way, with the whole agent. It waits for sweeps, which come once a minute.
use crate::common::{Place, wait_until};
use crate::kit::{HOUR, large};
use crate::python::{key, logs_addr, setup};
use edgepush::logs_api::sign;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
#[ignore = "waits two minutes for sweeps; .ci/deep runs it"]
fn what_is_downloaded_stays_until_it_has_come() {
    let place = Place::new();
    let first = large(&place.state(), "a.example", HOUR, 50_000_000);
    let second = large(&place.state(), "a.example", HOUR + 3600, 50_000_000);
    let setup = setup(&place).env("EDGEPUSH_ARCHIVE_MAX", &(2 * first.bytes + 4096).to_string());
    let agent = setup.start_ready();
    let (id, secret) = key(&setup, "a.example");
    std::thread::sleep(Duration::from_millis(600));
    let expire = jiff::Timestamp::now().as_second() + 600;
    let target = |path: &str| {
        format!("/{path}?expire={expire}&key={id}&sign={}", sign::url(&secret, path, expire, &id))
    };
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(logs_addr(&setup)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target(path)).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, head[9..] == *b"200")
    };
    let (mut download, is_there) = ask(&first.path());
    assert!(is_there);
    // Over the bound now: the oldest hour would have to go.
    let third = large(&place.state(), "a.example", HOUR + 7200, 50_000_000);
    let root = place.state().join("archive");
    let mut body = Vec::new();
    wait_until("a sweep", Duration::from_secs(90), || {
        // Slow, but not gone.
        let mut some = [0; 16_384];
        let read = download.read(&mut some).unwrap();
        body.extend_from_slice(&some[..read]);
        std::thread::sleep(Duration::from_millis(80));
        !root.join(second.path()).exists()
    });
    assert!(root.join(first.path()).exists() && root.join(third.path()).exists());
    let file = std::fs::read(root.join(first.path())).unwrap();
    assert!(body.len() < file.len() / 2, "it is still under way");
    download.read_to_end(&mut body).unwrap();
    assert!(body.ends_with(&file), "it comes to its end, and as it was");
    let removed = agent.metrics().unwrap().sum_where("edgepush_archive_removed_total", "reason=\"bound\"");
    assert_eq!(removed as u64, 1);
    // Nobody reads it any more: it is the oldest, and the next one that is too much takes its place.
    let fourth = large(&place.state(), "a.example", HOUR + 10_800, 50_000_000);
    wait_until("another sweep", Duration::from_secs(90), || !root.join(first.path()).exists());
    assert!(!ask(&first.path()).1 && ask(&fourth.path()).1);
    let ended = agent.terminate().exits(0);
    assert!(ended.stderr.contains("EDGEPUSH_ARCHIVE_MAX is reached"), "{}", ended.stderr);
}

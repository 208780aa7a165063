//! Downloads: by a signed URL and in no other way; ranges, validators, slices, limits.
use crate::kit::*;
use edgepush::logs_api::keys::{Domains, KeyStore};
use edgepush::logs_api::sign;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

#[test]
fn a_file_comes_as_it_is() {
    let logs = Logs::new();
    let entry =
        logs.publish("a.example", HOUR, 1, &[lines("a.example", HOUR, 50), lines("a.example", HOUR, 9)]);
    let key = logs.key("a.example");
    let (target, file) = (logs.target(&key, &entry), std::fs::read(logs.path(&entry)).unwrap());
    let whole = logs.get(&target, "Accept-Encoding: gzip\r\n");
    assert_eq!((whole.status, &whole.body), (200, &file));
    assert_eq!(whole.header("content-type"), "application/gzip");
    assert_eq!(whole.header("content-encoding"), "");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-length"), file.len().to_string());
    assert_eq!(whole.header("last-modified"), "Thu, 01 Sep 2022 02:05:00 GMT");
    let tag = whole.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
    let head = logs
        .send(&format!("HEAD {target} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n"));
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, &*file.len().to_string())
    );
    let n = file.len();
    for (range, status, body, said) in [
        ("bytes=0-9", 206, &file[..10], format!("bytes 0-9/{n}")),
        ("bytes=10-", 206, &file[10..], format!("bytes 10-{}/{n}", n - 1)),
        ("bytes=-5", 206, &file[n - 5..], format!("bytes {}-{}/{n}", n - 5, n - 1)),
        ("bytes=0-1,5-6", 200, &file[..], String::new()),
        ("lines=0-1", 200, &file[..], String::new()),
        ("bytes=99999999-", 416, &[][..], format!("bytes */{n}")),
    ] {
        let part = logs.get(&target, &format!("Range: {range}\r\n"));
        assert_eq!(
            (part.status, &part.body[..], part.header("content-range")),
            (status, body, &*said),
            "{range}"
        );
    }
    for (headers, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: W/{tag}, \"x\"\r\n"), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        ("If-Modified-Since: Thu, 01 Sep 2022 02:05:00 GMT\r\n".into(), 304),
        (format!("If-Range: {tag}\r\nRange: bytes=0-1\r\n"), 206),
        ("If-Range: Thu, 01 Sep 2022 02:05:00 GMT\r\nRange: bytes=0-1\r\n".into(), 206),
        ("If-Range: \"x\"\r\nRange: bytes=0-1\r\n".into(), 200),
        (format!("If-Range: W/{tag}\r\nRange: bytes=0-1\r\n"), 200),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Match: {tag}\r\n"), 200),
    ] {
        assert_eq!(logs.get(&target, &headers).status, status, "{headers}");
    }
    let post = logs.send(&format!("POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    assert!(!logs.leases.is_leased(&entry.path()), "nothing is left of them");
    assert!(logs.counters.bytes.load(Relaxed) > n as u64);
}

#[test]
fn no_other_way_in() {
    let logs = Logs::new();
    let entry = logs.publish("a.example", HOUR, 1, &[lines("a.example", HOUR, 5)]);
    let foreign = logs.publish("b.example", HOUR, 1, &[lines("b.example", HOUR, 5)]);
    std::fs::write(logs.state().join("archive/a.example/20220901/20220901010000-2.log.gz"), "not listed")
        .unwrap();
    let key = logs.key("a.example");
    let target = logs.target(&key, &entry);
    let status = |target: &str| logs.get(target, "").status;
    assert_eq!(status(&target), 200);
    let (path, query) = target.split_once('?').unwrap();
    let sign = |path: &str, expire: i64| {
        let sign = sign::url(key.secret.expose(), path, expire, &key.id);
        format!("/{path}?expire={expire}&key={}&sign={sign}", key.id)
    };
    let soon = jiff::Timestamp::now().as_second() + 60;
    assert_eq!(status(path), 403, "no parameters");
    assert_eq!(status(&format!("{path}?{}", query.replace("expire=", "expire=1"))), 403, "a later end");
    assert_eq!(status(&format!("{target}0")), 403);
    assert_eq!(status(&format!("{target}&expire={soon}")), 403);
    assert_eq!(status(&format!("{target}&x=1")), 403);
    let late = logs.get(&sign(&entry.path(), soon - 120), "");
    assert_eq!((late.status, &*late.code()), (403, "Url.Expired"));
    assert_eq!(status(&sign(&foreign.path(), soon)), 403, "a foreign domain, though signed");
    assert_eq!(status(&sign("a.example/20220901/20220901010000-2.log.gz", soon)), 404, "not in the index");
    assert_eq!(status(&format!("/{}?{query}", foreign.path())), 403);
    // Whatever the path: without a good signature nobody learns whether a file is there.
    assert_eq!(status(&format!("/a.example/20220901/20220901010000-7.log.gz?{query}")), 403);
    for path in [
        "a.example/20220901/../20220901/20220901010000-1.log.gz",
        "a.example/20220901/%2e%2e/20220901/20220901010000-1.log.gz",
        "a.example%2f20220901%2f20220901010000-1.log.gz",
        "a.example/20220901/..%2f..%2f..%2fkeys.db",
        "../keys.db",
        "..%2fkeys.db",
        "/a.example/20220901/20220901010000-1.log.gz",
        "a.example/20220901/20220901010000-1.log.gz%00",
        "a.example\\20220901\\20220901010000-1.log.gz",
        "A.example/20220901/20220901010000-1.log.gz",
        "a.example/20220901/20220901010000-01.log.gz",
        "keys.db",
        "archive.db",
    ] {
        let reply = logs.get(&sign(path, soon), "");
        assert_eq!((reply.status, &*reply.code()), (404, "NotFound"), "{path}");
    }
    let store = KeyStore::open(logs.state()).unwrap();
    let lost = |change: &dyn Fn()| {
        change();
        std::thread::sleep(Duration::from_millis(520));
        status(&target)
    };
    assert_eq!(
        lost(&|| assert!(store.set_domains(&key.id, &Domains::read("b.example").unwrap()).unwrap())),
        403
    );
    assert_eq!(lost(&|| assert!(store.set_domains(&key.id, &Domains::All).unwrap())), 200);
    assert_eq!(lost(&|| assert!(store.disable(&key.id, true).unwrap())), 403);
    assert_eq!(lost(&|| assert!(store.disable(&key.id, false).unwrap())), 200);
    assert_eq!(lost(&|| assert!(store.remove(&key.id).unwrap())), 403);
}

#[test]
fn a_file_that_is_not_as_listed_is_not_sent() {
    let logs = Logs::new();
    let entry = logs.publish("a.example", HOUR, 1, &[lines("a.example", HOUR, 50)]);
    let key = logs.key("*");
    let target = logs.target(&key, &entry);
    let file = std::fs::read(logs.path(&entry)).unwrap();
    std::fs::write(logs.path(&entry), &file[..file.len() - 1]).unwrap();
    assert_eq!(logs.get(&target, "").status, 500);
    std::fs::remove_file(logs.path(&entry)).unwrap();
    assert_eq!(logs.get(&target, "").status, 404);
}

#[test]
fn slices_are_whole_members_of_a_range_of_time() {
    let logs = Logs::new();
    let parts: Vec<Vec<(i64, String)>> = (0..6).map(|n| lines("a.example", HOUR + n * 600, 600)).collect();
    let entry = logs.publish("a.example", HOUR, 1, &parts);
    let key = logs.key("*");
    let target = logs.target(&key, &entry);
    let text = |from: usize, to: usize| -> String {
        parts[from..to].iter().flatten().map(|(_, line)| format!("{line}\n")).collect()
    };
    let whole = logs.get(&target, "");
    for (slice, from, to) in [
        (format!("&from={}&to={}", HOUR + 600, HOUR + 1200), 1, 2),
        (format!("&from={}&to={}", HOUR + 599, HOUR + 1201), 0, 3),
        (format!("&from={}", HOUR + 3000), 5, 6),
        ("&to=2022-09-01T01:10:00Z".to_owned(), 0, 1),
        ("&from=2022-09-01T00%3A00:00Z&to=2022-09-01T02:00:00Z".to_owned(), 0, 6),
    ] {
        let reply = logs.get(&(target.clone() + &slice), "");
        assert_eq!(reply.status, 200, "{slice}");
        assert_eq!(reply.unpacked(), text(from, to), "{slice}");
        assert_ne!(reply.header("etag"), whole.header("etag"), "{slice}");
        let part = logs.get(&(target.clone() + &slice), "Range: bytes=7-1006\r\n");
        assert_eq!((part.status, &part.body[..]), (206, &reply.body[7..1007]), "{slice}");
    }
    assert_eq!(logs.get(&format!("{target}&to={HOUR}"), "").status, 204);
    assert_eq!(logs.get(&format!("{target}&from=x"), "").status, 403);
}

/// Opens a download and reads its head only.
fn begin(logs: &Logs, target: &str) -> (TcpStream, u16) {
    let mut stream = TcpStream::connect(logs.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    (stream, String::from_utf8_lossy(&head[9..]).parse().unwrap())
}

#[test]
fn two_open_downloads_and_no_third() {
    let logs = Logs::new();
    let entry = large(logs.state(), "large.example", HOUR, 32_000_000);
    let (key, other) = (logs.key("*"), logs.key("*"));
    let target = logs.target(&key, &entry);
    let (mut first, second) = (begin(&logs, &target), begin(&logs, &target));
    assert_eq!((first.1, second.1), (200, 200));
    let third = logs.get(&target, "");
    assert_eq!((third.status, third.header("retry-after")), (429, "1"));
    assert_eq!(begin(&logs, &logs.target(&other, &entry)).1, 200, "another key has its own");
    assert!(logs.leases.is_leased(&entry.path()));
    let mut rest = Vec::new();
    first.0.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&std::fs::read(logs.path(&entry)).unwrap()), "the first comes to its end");
    assert_eq!(begin(&logs, &target).1, 200, "its place is free");
    second.0.shutdown(std::net::Shutdown::Both).unwrap();
    drop((first, second));
    let end = Instant::now() + Duration::from_secs(10);
    while logs.leases.is_leased(&entry.path()) {
        assert!(Instant::now() < end, "who goes away leaves nothing behind");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(logs.counters.open.load(Relaxed), 0);
}

/// `cargo test … -- --ignored --nocapture` prints the figure of docs/archive.md.
#[test]
#[ignore = "prints a figure; only an optimised build says something"]
fn how_fast_a_file_comes_from_the_page_cache() {
    let logs = Logs::new();
    let entry = large(logs.state(), "large.example", HOUR, 400_000_000);
    let key = logs.key("*");
    let mut best = f64::MAX;
    for _ in 0..5 {
        let before = thread_seconds("logs");
        let (mut stream, status) = begin(&logs, &logs.target(&key, &entry));
        assert_eq!(status, 200);
        let (begun, mut bytes, mut buffer) = (Instant::now(), 0u64, vec![0; 1 << 20]);
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                n => bytes += n as u64,
            }
        }
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), thread_seconds("logs") - before);
        best = best.min(cpu);
        println!(
            "{bytes} bytes: {:.2} GB/s of wall time, {:.2} GB/s of the thread's CPU time",
            bytes as f64 / wall / 1e9,
            bytes as f64 / cpu / 1e9
        );
    }
    println!("best: {:.2} GB/s per core", entry.bytes as f64 / best / 1e9);
}

/// CPU time of the thread of a name, s.
fn thread_seconds(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let own =
        tasks.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    own.map(|task| {
        let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
    })
    .sum()
}

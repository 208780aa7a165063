//! A real nginx under load, rotated with USR1, followed by the agent into a real HTTP server: every request id once.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    path.split(':').map(|dir| Path::new(dir).join(program)).find(|p| p.is_file())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An nginx of its own below `place`, ended with its value.
struct Nginx(Child);

impl Nginx {
    fn start(program: &Path, place: &Place, port: u16) -> Nginx {
        Nginx::start_with(program, place, port, "")
    }
    /// With more directives of `http`.
    fn start_with(program: &Path, place: &Place, port: u16, more: &str) -> Nginx {
        let dir = place.path("nginx");
        std::fs::create_dir(&dir).unwrap();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            r#"daemon off; worker_processes 1; {user} pid {dir}/pid; error_log {dir}/error.log warn;
events {{ worker_connections 256; }}
http {{
  log_format edge escape=json '{{"request_id":"$request_id","time":"$time_iso8601","remote_addr":"$remote_addr",'
    '"host":"$host","method":"$request_method","uri":"$request_uri","status":$status,"bytes_sent":$bytes_sent,'
    '"request_time":$request_time,"referer":"$http_referer","user_agent":"$http_user_agent"}}';
  access_log {log} edge;
  {more}
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "edge\n"; }} location /gone {{ return 404; }} }}
}}
"#,
            dir = dir.display(),
            log = place.log().display(),
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let error_log = dir.join("error.log").display().to_string();
        let child = Command::new(program)
            .args(["-p", &dir.display().to_string(), "-c", &file.display().to_string(), "-e", &error_log])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Nginx(child);
        wait_until("nginx listens", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        nginx
    }
    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }
    /// Graceful end: every line is written.
    fn quit(mut self) {
        self.signal(Signal::QUIT);
        self.0.wait().unwrap();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

fn wrk(program: &Path, place: &Place, port: u16, seconds: u32) -> Child {
    let script = place.path("load.lua");
    let lua = r#"local n = 0
request = function()
  n = n + 1
  local path = ({"/", "/gone/" .. n, "/a/b.js?v=" .. n, "/q?s=%22x%22"})[n % 4 + 1]
  wrk.headers["User-Agent"] = ({"curl/8.5.0", 'quote"back\\slash', "\195\156nic\195\182de"})[n % 3 + 1]
  wrk.headers["Referer"] = "https://example.com/" .. (n % 50)
  return wrk.format("GET", path)
end
"#;
    std::fs::write(&script, lua).unwrap();
    Command::new(program)
        .args([
            "-t1",
            "-c4",
            &format!("-d{seconds}s"),
            "-s",
            &script.display().to_string(),
            &format!("http://127.0.0.1:{port}/"),
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn followed_under_load(nginx: &Path, load: &Path, backend: &str) {
    let place = Place::new();
    let recorder = Recorder::start();
    let port = free_port();
    let server = Nginx::start(nginx, &place, port);
    let agent = place
        .setup()
        .env("EDGEPUSH_RUNTIME", backend)
        .env("EDGEPUSH_DESTINATION", &recorder.url())
        .env("EDGEPUSH_BATCH_INTERVAL", "500ms")
        .start_ready();
    let mut client = wrk(load, &place, port, 5);
    let start = Instant::now();
    let mut rotations = 0;
    while start.elapsed() < Duration::from_secs(4) {
        std::thread::sleep(Duration::from_millis(700));
        rotations += 1;
        writer::rotate_by_rename(&place.log(), 30);
        server.signal(Signal::USR1);
        wait_until("nginx has opened its new log", Duration::from_secs(5), || place.log().exists());
    }
    assert!(client.wait().unwrap().success());
    server.quit();
    let mut written = lines_in_dir(&place.path("log"));
    let count = written.len() as u64;
    wait_until("all is delivered", Duration::from_secs(30), || recorder.records() >= count);
    agent.terminate().exits(0);
    let mut delivered = recorder.lines();
    say(&format!("nginx, {backend}: {count} requests, {rotations} rotations, {} delivered", delivered.len()));
    assert!(count > 1000, "wrk made only {count} requests");
    let id = |line: &Vec<u8>| {
        let text = String::from_utf8_lossy(line).into_owned();
        text.split_once("\"request_id\":\"").expect("a request id").1[..32].to_owned()
    };
    let mut ids: Vec<String> = delivered.iter().map(id).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|w| w[0] != w[1]), "a request id came twice");
    written.sort_unstable();
    delivered.sort_unstable();
    assert_eq!(written.len(), delivered.len());
    assert!(written == delivered, "every line comes as nginx wrote it");
}

#[test]
fn every_request_id_once_through_rotations_under_load() {
    let (Some(nginx), Some(load)) = (find("nginx"), find("wrk")) else {
        return skipped("nginx", "nginx or wrk is not installed (`.ci/install` installs them)");
    };
    for backend in backends("nginx") {
        followed_under_load(&nginx, &load, backend);
    }
}

/// A log_format over several lines, as people have them.
const MINE: &str = r#"log_format mine '$request_id $remote_addr - $remote_user [$time_local] '
    '"$request" $status $body_bytes_sent $bytes_sent '   # bytes
    'rt=$request_time ut="$upstream_response_time" "$http_referer" "$http_user_agent" $msec';"#;

/// nginx writes each request as JSON, as combined and in a format of one's own: what is read of the three is the same.
#[test]
fn text_formats_say_what_json_says() {
    let (Some(nginx), Some(load)) = (find("nginx"), find("wrk")) else {
        return skipped("nginx", "nginx or wrk is not installed (`.ci/install` installs them)");
    };
    let place = Place::new();
    let port = free_port();
    let log = |name: &str| place.path(&format!("log/{name}.log")).display().to_string();
    let more = format!("{MINE}\n  access_log {} combined; access_log {} mine;", log("combined"), log("mine"));
    let server = Nginx::start_with(&nginx, &place, port, &more);
    assert!(wrk(&load, &place, port, 2).wait().unwrap().success());
    server.quit();
    let count = lines_of(&std::fs::read(place.log()).unwrap()).len() as u64;
    assert!(count > 500, "wrk made only {count} requests");
    let done = place
        .setup()
        .without("EDGEPUSH_SOURCES")
        .env("EDGEPUSH_SOURCE_JSON", &format!("file:{}", place.log().display()))
        .env("EDGEPUSH_SOURCE_COMBINED", &format!("file:{}", log("combined")))
        .env("EDGEPUSH_SOURCE_MINE", &format!("file:{}", log("mine")))
        .env("EDGEPUSH_FORMAT_MINE", &format!("nginx:{MINE}"))
        .once()
        .exits(0);
    assert_eq!((done.count("lines_read"), done.count("records_delivered")), (3 * count, 3 * count));
    assert_eq!((done.count("rejected"), done.count("repaired")), (0, 0));
    assert!(done.stderr.contains("are read as combined"), "{}", done.stderr);
    let (mut json, mut mine) = (std::collections::BTreeMap::new(), Vec::new());
    let mut combined = 0;
    for line in lines_in_dir(&place.out()) {
        let record: serde_json::Value = serde_json::from_slice(&line).expect("a record is JSON");
        match (record.get("uri"), record.get("request_id")) {
            (Some(_), Some(id)) => _ = json.insert(id.to_string(), record.clone()),
            (None, Some(_)) => mine.push(record),
            _ => combined += 1,
        }
    }
    assert_eq!((json.len() as u64, mine.len() as u64, combined), (count, count, count));
    for record in &mine {
        let same = &json[&record["request_id"].to_string()];
        for (ours, theirs) in [
            ("remote_addr", "remote_addr"),
            ("status", "status"),
            ("bytes_sent", "bytes_sent"),
            ("request_time", "request_time"),
            ("http_referer", "referer"),
            ("http_user_agent", "user_agent"),
            ("request_method", "method"),
        ] {
            assert_eq!(record[ours], same[theirs], "{ours}: {record}");
        }
        assert!(
            record["request_uri"].as_str().unwrap().starts_with(same["uri"].as_str().unwrap()),
            "{record}"
        );
        assert!(record["upstream_response_time"].is_null() && record["msec"].is_number(), "{record}");
    }
    say(&format!("nginx in three formats: {count} requests, three times the same"));
}

#[test]
fn the_load_itself_is_sound() {
    let (Some(nginx), Some(load)) = (find("nginx"), find("wrk")) else {
        return skipped("nginx", "nginx or wrk is not installed (`.ci/install` installs them)");
    };
    let place = Place::new();
    let port = free_port();
    let server = Nginx::start(&nginx, &place, port);
    let mut client = wrk(&load, &place, port, 2);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(600));
        writer::rotate_by_rename(&place.log(), 30);
        server.signal(Signal::USR1);
    }
    assert!(client.wait().unwrap().success());
    server.quit();
    assert!(files_below(&place.path("log")).len() >= 3, "nginx opened a new log at each USR1");
    let mut ids = std::collections::BTreeSet::new();
    for line in lines_in_dir(&place.path("log")) {
        let line: serde_json::Value = serde_json::from_slice(&line).expect("nginx writes JSON");
        assert!(ids.insert(line["request_id"].as_str().unwrap().to_owned()), "an id is distinct");
    }
    say(&format!("nginx under wrk: {} requests in 2 s", ids.len()));
    assert!(ids.len() > 500, "{} requests", ids.len());
}

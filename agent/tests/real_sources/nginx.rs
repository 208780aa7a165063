//! nginx: JSON and combined, each into a file, to a unix socket and over UDP, at once.
use crate::common::servers::{Server, free_ports, program, tries};
use crate::common::*;
use crate::kit::*;
use std::path::Path;
use std::process::Command;

/// What nginx's datagrams need to get through at full speed (docs/operating.md).
const QUEUE: u32 = 4096;
const FULL_SPEED_SECONDS: u32 = 10;

struct Nginx {
    server: Server,
    port: u16,
}

impl Nginx {
    /// With these `access_log` directives.
    fn start(logs: &str) -> Option<Nginx> {
        let nginx = program("nginx", "nginx")?;
        Some(tries("nginx", || {
            let dir = Server::folder("nginx");
            let [port] = free_ports();
            let at = dir.path().display().to_string();
            let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
            let config = format!(
                r#"daemon off; worker_processes 1; {user} pid {at}/pid; error_log {at}/error.log warn;
events {{ worker_connections 256; }}
http {{
  log_format edge escape=json '{{"server":"nginx","time":"$time_iso8601","client":"$remote_addr","host":"$host",'
    '"method":"$request_method","uri":"$request_uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,'
    '"referer":"$http_referer","user_agent":"$http_user_agent"}}';
  {logs}
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
  uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "edge\n"; }}
    location /gone {{ return 404; }}
    location = /status {{ access_log off; stub_status; }}
  }}
}}
"#
            );
            std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
            let mut command = Command::new(&nginx);
            command.args(["-p", &at, "-c", &format!("{at}/nginx.conf"), "-e", &format!("{at}/error.log")]);
            command.env("TZ", "UTC");
            let ready = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            Some(Nginx { server: Server::start("nginx", dir, &mut command, ready)?, port })
        }))
    }
    /// Requests that it counts, without the one that asks.
    fn requests(&self) -> u64 {
        let status = get(self.port, "/status");
        let counts = status.lines().nth(2).unwrap_or_else(|| panic!("{status}"));
        counts.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() - 1
    }
    /// Datagrams that it could not send: each is a line of its error log.
    fn dropped(&self) -> u64 {
        let errors = std::fs::read_to_string(self.server.dir().join("error.log")).unwrap_or_default();
        let mine = errors.lines().filter(|line| line.contains("syslog")).count() as u64;
        let others: Vec<&str> = errors.lines().filter(|line| !line.contains("syslog")).collect();
        assert!(others.is_empty(), "{others:#?}");
        mine
    }
}

fn access_log(path: &Path, format: &str) -> String {
    format!("access_log {} {format};", path.display())
}

fn syslog(to: &str, tag: &str, format: &str) -> String {
    format!("access_log syslog:server={to},facility=local7,tag={tag} {format};")
}

#[test]
fn nginx_by_file_and_by_syslog() {
    let _alone = alone();
    let queue = DatagramQueue::of(QUEUE);
    let mut site = Site::new();
    let json = site.file("JSON", "json");
    let logs = [
        access_log(&json, "edge"),
        syslog(&format!("unix:{}", site.unixgram("JSON_UNIX", "json").display()), "json_unix", "edge"),
        syslog(&format!("{},nohostname", site.udp("JSON_UDP", "json")), "json_udp", "edge"),
        access_log(&site.file("TEXT", "combined"), "combined"),
        syslog(
            &format!("unix:{}", site.unixgram("TEXT_UNIX", "combined").display()),
            "text_unix",
            "combined",
        ),
        syslog(&site.udp("TEXT_UDP", "combined"), "text_udp", "combined"),
    ];
    let agent = site.setup().start_ready();
    let Some(nginx) = Nginx::start(&logs.join("\n  ")) else { return };
    let Some(()) = load(nginx.port, seconds()) else { return };
    let requests = settled(1, || nginx.requests());
    let refused = nginx.dropped();
    let came = site.came(agent, requests * 6 - refused);
    let (json_copies, text) = (came.copies(true), came.copies(false));
    let lost = json_copies.missing(requests, 3) + text.missing(requests, 3);
    say(&format!(
        "nginx: {requests} requests, six times; nginx dropped {refused}, the kernel {} (queue set: {})",
        came.dropped(),
        queue.is_some()
    ));
    assert!(requests > 500, "{requests} requests");
    assert_eq!(lost, refused + came.dropped(), "what is missing, nginx and the kernel say that they dropped");
    json_copies.assert_as_written(&json);
    json_copies.assert_values("user_agent", &agents());
    let same = [
        ("remote_addr", "client"),
        ("request_method", "method"),
        ("request_uri", "uri"),
        ("status", "status"),
        ("body_bytes_sent", "bytes"),
        ("http_referer", "referer"),
        ("http_user_agent", "user_agent"),
    ];
    text.assert_same(&json_copies, &same);
    let tags = came.tags();
    assert_eq!(tags.keys().collect::<Vec<_>>(), ["json_udp", "json_unix", "text_udp", "text_unix"]);
    assert_eq!(tags.values().sum::<u64>() + lost, 4 * requests, "{tags:?}");
    let hosts = came.records.iter().filter(|r| r.get("syslog_host").is_some());
    assert!(hosts.clone().all(|r| r["syslog_tag"] != "json_udp"), "nohostname");
    assert!(hosts.count() > 0);
}

/// nginx on one core, as fast as it can, into a unix socket of the recommended queue.
#[test]
fn nginx_at_full_speed_loses_no_datagram() {
    if !long() || cfg!(debug_assertions) {
        return say("not run: a release build and EDGEPUSH_TEST_REAL=all want it");
    }
    let _alone = alone();
    let Some(_queue) = DatagramQueue::of(QUEUE) else {
        return skipped("nginx at full speed", "this process may not set net.unix.max_dgram_qlen");
    };
    let mut site = Site::new();
    let socket = site.unixgram("EDGE", "json");
    let agent = site.setup().start_ready();
    let log = syslog(&format!("unix:{}", socket.display()), "edge", "edge");
    let Some(nginx) = Nginx::start(&log) else { return };
    let Some(()) = load(nginx.port, FULL_SPEED_SECONDS) else { return };
    let requests = settled(1, || nginx.requests());
    let refused = nginx.dropped();
    let came = site.came(agent, requests - refused);
    say(&format!(
        "nginx at full speed: {} requests a second, {refused} dropped",
        requests / u64::from(FULL_SPEED_SECONDS)
    ));
    assert_eq!((came.copies(true).missing(requests, 1), refused), (0, 0));
}

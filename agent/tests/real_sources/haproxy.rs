//! HAProxy: JSON and `option httplog`, each to its standard output, to a unix socket and over UDP, with heads of both
//! RFCs.
use crate::common::servers::{Server, free_ports, program, tries};
use crate::common::*;
use crate::kit::*;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

/// Captures of a frontend, and its answers.
const RULES: &str = r#"
    http-request capture req.hdr(Host) len 64
    http-request capture req.hdr(User-Agent) len 200
    http-request capture req.hdr(Referer) len 200
    http-request return status 404 content-type text/plain string "gone" if { path_beg /gone }
    http-request return status 200 content-type text/plain string "edge"
"#;
const JSON: &str = concat!(
    r#"    log-format '{"server":"haproxy","time":"%T","client":"%ci","port":%cp,"method":"%HM","#,
    r#""uri":"%[capture.req.uri,json(utf8s)]","status":%ST,"bytes":%B,"ms":%Ta,"host":"%[capture.req.hdr(0),json(utf8s)]","#,
    r#""user_agent":"%[capture.req.hdr(1),json(utf8s)]","referer":"%[capture.req.hdr(2),json(utf8s)]"}'"#,
);

struct HaProxy {
    server: Server,
    json: u16,
    text: u16,
}

impl HaProxy {
    /// With the `log` lines of each frontend; standard output and error go into these files.
    fn start(json_logs: &str, text_logs: &str, out: &Path, err: &Path) -> Option<HaProxy> {
        let haproxy = program("HAProxy", "haproxy")?;
        Some(tries("HAProxy", || {
            let dir = Server::folder("haproxy");
            let [json, text] = free_ports();
            let at = dir.path().display().to_string();
            let config = format!(
                "global\n    nbthread 1\n    maxconn 200\n    stats socket {at}/stats mode 600\n\
                 defaults\n    mode http\n    timeout connect 5s\n    timeout client 10s\n    timeout server 10s\n    \
                 option dontlognull\n\
                 frontend json\n    bind 127.0.0.1:{json}\n    log-tag json\n{json_logs}\n{JSON}{RULES}\n\
                 frontend text\n    bind 127.0.0.1:{text}\n    log-tag text\n{text_logs}\n    option httplog{RULES}\n"
            );
            std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
            let mut command = Command::new("sh");
            let script = "exec \"$0\" -db -f haproxy.cfg >\"$1\" 2>\"$2\"";
            command.arg("-c").arg(script).arg(&haproxy).args([out, err]).env("TZ", "UTC");
            let ready =
                || [json, text].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok());
            let server = Server::start("HAProxy", dir, &mut command, ready);
            Some(HaProxy { server: server?, json, text })
        }))
    }
    fn ask(&self, what: &str) -> String {
        let mut stats = std::os::unix::net::UnixStream::connect(self.server.dir().join("stats")).unwrap();
        writeln!(stats, "{what}").unwrap();
        let mut said = String::new();
        stats.read_to_string(&mut said).unwrap();
        said
    }
    /// Requests that a frontend counts, without those that the client cut off.
    fn requests(&self, frontend: &str) -> u64 {
        let csv = self.ask("show stat");
        let mut rows = csv.trim_start_matches("# ").lines().map(|row| row.split(',').collect::<Vec<_>>());
        let names = rows.next().unwrap();
        let row = rows.find(|row| row.len() > 2 && row[0] == frontend && row[1] == "FRONTEND").unwrap();
        let column = |name: &str| {
            let at = names.iter().position(|column| *column == name).unwrap();
            row[at].parse::<u64>().unwrap()
        };
        column("req_tot") - column("ereq")
    }
    /// Lines that it could not write or send.
    fn dropped(&self) -> u64 {
        let said = self.ask("show info");
        let line = said.lines().find_map(|line| line.strip_prefix("DroppedLogs: "));
        line.unwrap().trim().parse().unwrap()
    }
}

#[test]
fn haproxy_by_file_and_by_syslog() {
    let _alone = alone();
    let _queue = DatagramQueue::of(4096);
    let mut site = Site::new();
    let (out, err) = (site.file("JSON", "json"), site.file("TEXT", "haproxy"));
    let log = |to: &str, form: &str| format!("    log {to} len 8192 format {form} local0 info");
    let json_logs = [
        log("stdout", "raw"),
        log(&site.unixgram("JSON_UNIX", "json").display().to_string(), "rfc5424"),
        log(&site.udp("JSON_UDP", "json"), "rfc3164"),
    ];
    let text_logs = [
        log("stderr", "raw"),
        log(&site.unixgram("TEXT_UNIX", "haproxy").display().to_string(), "rfc3164"),
        log(&site.udp("TEXT_UDP", "haproxy"), "rfc5424"),
    ];
    let agent = site.setup().start_ready();
    let Some(haproxy) = HaProxy::start(&json_logs.join("\n"), &text_logs.join("\n"), &out, &err) else {
        return;
    };
    let (Some(()), Some(())) = (load(haproxy.json, seconds()), load(haproxy.text, seconds())) else { return };
    let [json, text] = ["json", "text"].map(|name| settled(0, || haproxy.requests(name)));
    let refused = haproxy.dropped();
    let came = site.came(agent, (json + text) * 3 - refused);
    let (json_copies, text_copies) = (came.copies(true), came.copies(false));
    let lost = json_copies.missing(json, 3) + text_copies.missing(text, 3);
    say(&format!(
        "HAProxy: {json} and {text} requests, three times; HAProxy dropped {refused}, the kernel {}",
        came.dropped()
    ));
    assert!(json > 500 && text > 500, "{json} and {text} requests");
    assert_eq!(
        lost,
        refused + came.dropped(),
        "what is missing, HAProxy and the kernel say that they dropped"
    );
    json_copies.assert_as_written(&out);
    json_copies.assert_values("user_agent", &agents());
    // The ids of both frontends begin at 1: what is common to a request of an id is the same in both formats.
    text_copies.assert_values("status_code", &[200.into(), 404.into()]);
    text_copies.assert_values("frontend_name", &["text".into()]);
    let tags = came.tags();
    assert_eq!(tags.values().sum::<u64>() + lost, 2 * (json + text), "{tags:?}");
    assert!(tags.keys().all(|tag| tag.starts_with("json") || tag.starts_with("text")), "{tags:?}");
}

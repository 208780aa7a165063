//! Varnish: varnishncsa with a JSON format and with its own, into files, and through a pipe straight into the agent.
use crate::common::servers::{Server, free_ports, program, tries};
use crate::common::*;
use crate::kit::*;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const VCL: &str = r#"vcl 4.1;
backend none none;
sub vcl_recv { return (synth(200)); }
sub vcl_synth {
  if (req.url ~ "^/gone") { set resp.status = 404; }
  set resp.body = "edge";
  return (deliver);
}
"#;
const JSON: &str = concat!(
    r#"{"server":"varnish","time":"%{%Y-%m-%dT%H:%M:%S}tZ","client":"%h","method":"%m","uri":"%U%q","status":%s,"#,
    r#""bytes":%b,"us":%D,"host":"%{Host}i","user_agent":"%{User-Agent}i","referer":"%{Referer}i","#,
    r#""hit":"%{Varnish:hitmiss}x"}"#,
);
const TEXT: &str = "%h %l %u %t \"%r\" %s %b \"%{Referer}i\" \"%{User-agent}i\"";

struct Varnish {
    server: Server,
    port: u16,
    programs: [PathBuf; 3],
}

impl Varnish {
    fn start() -> Option<Varnish> {
        let programs = ["varnishd", "varnishncsa", "varnishstat"].map(|name| program("Varnish", name));
        let [Some(daemon), Some(ncsa), Some(stat)] = programs else { return None };
        Some(tries("Varnish", || {
            let dir = Server::folder("varnish");
            let [port] = free_ports();
            std::fs::write(dir.path().join("edge.vcl"), VCL).unwrap();
            let at = dir.path().display().to_string();
            let mut command = Command::new(&daemon);
            command.args(["-j", "none", "-F", "-T", "none", "-s", "default,20M", "-n", &format!("{at}/n")]);
            command.args(["-a", &format!("127.0.0.1:{port}"), "-f", &format!("{at}/edge.vcl")]);
            let ready = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            let server = Server::start("Varnish", dir, &mut command, ready)?;
            Some(Varnish { server, port, programs: [daemon.clone(), ncsa.clone(), stat.clone()] })
        }))
    }
    fn name(&self) -> String {
        self.server.dir().join("n").display().to_string()
    }
    /// The command of a varnishncsa.
    fn ncsa(&self, format: &[&str]) -> Command {
        let mut command = Command::new(&self.programs[1]);
        command.args(["-n", &self.name()]).args(format);
        command
    }
    /// A varnishncsa that appends to a file.
    fn writes(&self, format: &[&str], to: &Path) -> Server {
        let mut command = self.ncsa(format);
        command.arg("-a").arg("-w").arg(to);
        let ready = || to.exists();
        Server::start("varnishncsa", Server::folder("ncsa"), &mut command, ready).expect("varnishncsa starts")
    }
    fn requests(&self) -> u64 {
        let out = Command::new(&self.programs[2])
            .args(["-n", &self.name(), "-1", "-f", "MAIN.client_req"])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_whitespace().nth(1).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }
}

#[test]
fn varnishncsa_by_file_and_through_a_pipe() {
    let _alone = alone();
    let Some(varnish) = Varnish::start() else { return };
    let mut site = Site::new();
    let (json, text) = (site.file("JSON", "json"), site.file("TEXT", &format!("varnish:{TEXT}")));
    let agent = site.setup().start_ready();
    let mut writers = [varnish.writes(&["-j", "-F", JSON], &json), varnish.writes(&["-F", TEXT], &text)];
    let mut piped = Site::new();
    piped.stdin("PIPE", "json");
    let kept = piped.place.path("kept.log");
    let script = piped.place.path("pipe.sh");
    let pipe = format!(
        "#!/bin/sh\n'{}' -n '{}' -P '{}' -j -F '{JSON}' | tee '{}' | '{}' \"$@\"\n",
        varnish.programs[1].display(),
        varnish.name(),
        piped.place.path("pid").display(),
        kept.display(),
        agent::binary().display()
    );
    agent::script(&script, &pipe);
    let reader = piped.setup().program(&script).start_ready();
    // A varnishncsa looks into shared memory from where it is when it has found it.
    std::thread::sleep(Duration::from_secs(1));
    let Some(()) = load(varnish.port, seconds()) else { return };
    let requests = settled(0, || varnish.requests());
    std::thread::sleep(Duration::from_millis(500));
    writers.iter_mut().for_each(|writer| writer.quit(Signal::TERM));
    let came = site.came(agent, requests * 2);
    let (json_copies, text_copies) = (came.copies(true), came.copies(false));
    say(&format!("Varnish: {requests} requests, in two files and through a pipe"));
    assert!(requests > 500, "{requests} requests");
    assert_eq!((json_copies.missing(requests, 1), text_copies.missing(requests, 1)), (0, 0));
    json_copies.assert_as_written(&json);
    json_copies.assert_values("user_agent", &agents());
    let same = [
        ("remote_addr", "client"),
        ("request_method", "method"),
        ("status", "status"),
        ("http_referer", "referer"),
        ("http_user_agent", "user_agent"),
    ];
    text_copies.assert_same(&json_copies, &same);
    // The end of varnishncsa is the end of the pipe, and that is a clean stop.
    let pid = std::fs::read_to_string(piped.place.path("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let done = reader.wait(Duration::from_secs(20)).exits(0);
    let written = lines_of(&std::fs::read(&kept).unwrap());
    let through =
        Came { metrics: Metrics::default(), records: records(&piped.place.out()), stderr: done.stderr };
    let through_copies = through.copies(true);
    assert_eq!((written.len() as u64, through_copies.missing(requests, 1)), (requests, 0));
    through_copies.assert_as_written(&kept);
    through_copies.assert_same(&json_copies, &[("uri", "uri"), ("host", "host"), ("us", "us")]);
}

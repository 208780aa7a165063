//! Apache httpd: JSON and combined into files, and a `CustomLog "|…"` that is the agent itself.
use crate::common::servers::{Server, free_ports, program, tries};
use crate::common::*;
use crate::kit::*;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MODULES: &str = "/usr/lib/apache2/modules";
/// httpd writes `\xhh` in its values, which is no JSON: the repair of these lines is part of the test.
const FORMATS: &str = r#"LogFormat "{\"server\":\"httpd\",\"time\":\"%{%Y-%m-%dT%H:%M:%S}t.%{usec_frac}t%{%z}t\",\"client\":\"%a\",\"method\":\"%m\",\"uri\":\"%U%q\",\"status\":%>s,\"bytes\":%B,\"us\":%D,\"host\":\"%{Host}i\",\"user_agent\":\"%{User-Agent}i\",\"referer\":\"%{Referer}i\"}" edge
LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined"#;

struct Apache {
    server: Server,
    port: u16,
}

impl Apache {
    /// With these `CustomLog` directives.
    fn start(logs: &str) -> Option<Apache> {
        let httpd = program("Apache httpd", "apache2")?;
        Some(tries("Apache httpd", || {
            let dir = Server::folder("httpd");
            let [port] = free_ports();
            let at = dir.path().display().to_string();
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path(), open.clone()).unwrap();
            std::fs::write(dir.path().join("index.html"), "edge\n").unwrap();
            let file = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(dir.path().join("index.html"), file).unwrap();
            // It refuses to serve as root.
            let root = rustix::process::geteuid().is_root();
            let user = if root { "User nobody\nGroup nogroup" } else { "" };
            let modules = ["mpm_event", "authz_core", "rewrite", "status", "setenvif"]
                .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so"))
                .join("\n");
            let config = format!(
                "ServerRoot {at}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {at}/pid\n\
                 DefaultRuntimeDir {at}\nMutex file:{at} default\n{user}\n{modules}\nErrorLog {at}/error.log\n\
                 DocumentRoot {at}\nMaxKeepAliveRequests 0\nExtendedStatus On\nRewriteEngine On\n\
                 RewriteRule ^/status - [L]\nRewriteRule ^/gone - [R=404,L]\nRewriteRule . /index.html [L]\n\
                 <Location /status>\nSetHandler server-status\n</Location>\nSetEnvIf Request_URI ^/status quiet\n\
                 {FORMATS}\n{logs}\n"
            );
            std::fs::write(dir.path().join("httpd.conf"), config).unwrap();
            let mut command = Command::new(&httpd);
            command.args(["-f", &format!("{at}/httpd.conf"), "-DFOREGROUND"]);
            let ready = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            Some(Apache { server: Server::start("Apache httpd", dir, &mut command, ready)?, port })
        }))
    }
    fn requests(&self) -> u64 {
        let status = get(self.port, "/status?auto");
        let line = status.lines().find_map(|line| line.strip_prefix("Total Accesses: "));
        line.unwrap_or_else(|| panic!("{status}")).parse().unwrap()
    }
}

/// A script that runs the agent of a site, for programs that start their own logger.
fn logger(site: &Site, path: &Path) {
    let state = site.place.state();
    let text = format!(
        "#!/bin/sh\nexport EDGEPUSH_SOURCE_PIPE=stdin: EDGEPUSH_FORMAT_PIPE=combined EDGEPUSH_STATE_DIR='{}' \
         EDGEPUSH_DESTINATION='{}' EDGEPUSH_BATCH_INTERVAL=300ms EDGEPUSH_SPOOL_MAX=256MB EDGEPUSH_API=off \
         EDGEPUSH_DISK_RESERVE=1%\nexec '{}' run 2>'{}'\n",
        state.display(),
        site.place.to_files(),
        agent::binary().display(),
        site.place.path("stderr").display(),
    );
    agent::script(path, &text);
}

#[test]
fn apache_by_file_and_through_its_own_pipe() {
    let _alone = alone();
    let (mut site, piped) = (Site::new(), Site::new());
    let (json, text) = (site.file("JSON", "json"), site.file("TEXT", "combined"));
    let script = piped.place.path("logger.sh");
    logger(&piped, &script);
    let agent = site.setup().start_ready();
    let log = |to: String, format: &str| format!("CustomLog {to} {format} env=!quiet");
    let logs = [
        log(json.display().to_string(), "edge"),
        log(text.display().to_string(), "combined"),
        log(format!("\"|{}\"", script.display()), "combined"),
    ];
    let Some(mut apache) = Apache::start(&logs.join("\n")) else { return };
    let Some(()) = load(apache.port, seconds()) else { return };
    let requests = settled(1, || apache.requests());
    let came = site.came(agent, requests * 2);
    let (json_copies, text_copies) = (came.copies(true), came.copies(false));
    say(&format!("Apache httpd: {requests} requests, in two files and through its pipe"));
    assert!(requests > 500, "{requests} requests");
    assert_eq!((json_copies.missing(requests, 1), text_copies.missing(requests, 1)), (0, 0));
    json_copies.assert_values("user_agent", &agents());
    text_copies.assert_values("http_user_agent", &agents());
    let same = [
        ("remote_addr", "client"),
        ("request_method", "method"),
        ("status", "status"),
        ("body_bytes_sent", "bytes"),
        ("http_referer", "referer"),
        ("http_user_agent", "user_agent"),
    ];
    text_copies.assert_same(&json_copies, &same);
    let repaired = came.metrics.sum("edgepush_records_repaired_total") as u64;
    let written = lines_of(&std::fs::read(&json).unwrap()).into_iter();
    let escaped = written.filter(|line| String::from_utf8_lossy(line).contains("\\x")).count() as u64;
    assert_eq!((repaired, repaired > 0), (escaped, true), "of the lines with \\x each is repaired");
    through_the_pipe(&mut apache, &piped, requests, &text_copies);
}

/// httpd's end is the end of its pipe: the agent stops, and everything has come.
fn through_the_pipe(apache: &mut Apache, piped: &Site, requests: u64, same: &Copies) {
    wait_until("the pipe's lines are delivered", Duration::from_secs(30), || {
        lines_in_dir(&piped.place.out()).len() as u64 >= requests
    });
    apache.server.quit(Signal::WINCH);
    let stderr = || std::fs::read_to_string(piped.place.path("stderr")).unwrap_or_default();
    let locked = || piped.place.setup().env("EDGEPUSH_SOURCES", "stdin:").once().code;
    wait_until("the agent has left its state directory", Duration::from_secs(20), || locked() == Some(0));
    let came = Came { metrics: Metrics::default(), records: records(&piped.place.out()), stderr: stderr() };
    let copies = came.copies(false);
    assert_eq!(copies.missing(requests, 1), 0, "{}", came.stderr);
    let all = ["remote_addr", "time_local", "request", "status", "http_user_agent"];
    copies.assert_same(same, &all.map(|name| (name, name)));
}

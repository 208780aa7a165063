//! A real nginx in front of what Splunk and Datadog would be: it looks at tokens, refuses what is too large, and keeps
//! every body as it came.
use super::clickhouse_server::{find, free_port};
use crate::common::{Place, assert_exactly_once, gunzip_members, lines_of, skipped, wait_until, writer};
use crate::contract::{batch, open, run};
use edgepush::destination::Verdict;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An nginx that gives Splunk's and Datadog's answers to who has the token.
fn nginx(test: &str, place: &Place) -> Option<(Nginx, u16)> {
    let Some(program) = find("nginx") else {
        skipped(test, "nginx is not installed; .ci/install does it");
        return None;
    };
    let (dir, port) = (place.path("nginx"), free_port());
    std::fs::create_dir_all(dir.join("body")).unwrap();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        r#"daemon off; master_process off; {user} pid {dir}/pid; error_log {dir}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi; client_max_body_size 100k; default_type application/json;
  map $http_authorization $splunk {{ default 0; "Splunk nginx-t0ken-1" 1; }}
  map $http_dd_api_key $datadog {{ default 0; "nginx-k3y-1" 1; }}
  server {{ listen 127.0.0.1:{port};
    location = /services/collector/raw {{
      if ($splunk = 0) {{ return 403 '{{"text":"Invalid token","code":4}}'; }}
      client_body_in_file_only on; proxy_pass http://127.0.0.1:{port}/taken; }}
    location = /taken {{ return 200 '{{"text":"Success","code":0}}'; }}
    location = /api/v2/logs {{
      if ($datadog = 0) {{ return 403 '{{"errors":[{{"status":"403","title":"Forbidden"}}]}}'; }}
      client_body_in_file_only on; proxy_pass http://127.0.0.1:{port}/accepted; }}
    location = /accepted {{ return 202 '{{}}'; }}
  }}
}}
"#,
        dir = dir.display(),
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let child = Command::new(program)
        .arg("-p")
        .arg(&dir)
        .arg("-c")
        .arg(&file)
        .arg("-e")
        .arg(dir.join("error.log"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let nginx = Nginx(child);
    wait_until("nginx listens", Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Some((nginx, port))
}

/// Every body that nginx was given and kept, as text.
fn bodies(place: &Place) -> Vec<Vec<u8>> {
    let files = crate::common::files_below(&place.path("nginx/body"));
    let bodies = files.iter().map(|file| std::fs::read(file).unwrap()).filter(|body| !body.is_empty());
    bodies
        .map(|body| if body.starts_with(&[0x1f, 0x8b]) { gunzip_members(&body).concat() } else { body })
        .collect()
}

#[test]
fn splunks_lines_pass_nginx_with_the_token_only() {
    let place = Place::new();
    let Some((_nginx, port)) = nginx("splunks_lines_pass_nginx_with_the_token_only", &place) else { return };
    let url = |token: &str| {
        format!("splunk+http://127.0.0.1:{port}/services/collector/raw?header_Authorization=Splunk%20{token}")
    };
    let verdict =
        run(open(&url("nginx-t0ken-2"), Path::new("/nowhere")).deliver(batch(1, &[b"x\n"]))).verdict;
    assert!(
        matches!(&verdict, Verdict::Hold { why } if why.contains("Invalid token") && !why.contains("t0ken")),
        "{verdict:?}"
    );
    assert_eq!(bodies(&place).len(), 0);
    writer::append(&place.log(), "r", 0..10_000);
    // What is above 100 kB is split until it passes.
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &url("nginx-t0ken-1"));
    setup.env("EDGEPUSH_ONCE_TIMEOUT", "40s").once().exits(0);
    let lines: Vec<_> = bodies(&place).iter().flat_map(|body| lines_of(body)).collect();
    assert_exactly_once("r", 10_000, &lines);
}

#[test]
fn datadogs_arrays_pass_nginx_with_the_key_only() {
    let place = Place::new();
    let Some((_nginx, port)) = nginx("datadogs_arrays_pass_nginx_with_the_key_only", &place) else { return };
    let url = |key: &str| format!("datadog+http://127.0.0.1:{port}/api/v2/logs?header_DD-API-KEY={key}");
    let wrong = open(&url("nginx-k3y-2"), Path::new("/nowhere"));
    assert!(matches!(run(wrong.deliver(batch(1, &[b"[]"]))).verdict, Verdict::Hold { .. }));
    assert!(run(wrong.probe(false)).unwrap_err().contains("403"));
    writer::append(&place.log(), "r", 0..3000);
    place.setup().env("EDGEPUSH_DESTINATION", &url("nginx-k3y-1")).once().exits(0);
    // The looks of `check` hold no record.
    let arrays = bodies(&place).into_iter().filter(|body| body != b"[]");
    let lines: Vec<_> = arrays.flat_map(|body| super::records(&body)).collect();
    assert_exactly_once("r", 3000, &lines);
}

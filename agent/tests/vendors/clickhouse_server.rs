//! The real ClickHouse of Debian (18.16): rows arrive, wrong users, tables and records are told apart. It knows no token
//! of deduplication and no zstd.
use crate::common::{Place, skipped, wait_until, writer};
use crate::contract::{batch, open, run};
use edgepush::destination::{Destination, Outgoing, Verdict};
use edgepush::protocol::CodecKind;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    path.split(':').map(|dir| Path::new(dir).join(program)).find(|p| p.is_file())
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server with a user `edge` and the password `s3same`, ended with its value.
struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(test: &str) -> Option<Server> {
    let Some(program) = find("clickhouse-server") else {
        skipped(test, "clickhouse-server is not installed; .ci/servers does it");
        return None;
    };
    let dir = tempfile::Builder::new().prefix("edgepush-test-").tempdir().unwrap();
    let (port, tcp) = (free_port(), free_port());
    let path = dir.path().display();
    let config = format!(
        "<yandex><logger><level>warning</level><log>{path}/log</log><errorlog>{path}/errors</errorlog></logger>\
         <http_port>{port}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>\
         <path>{path}/data/</path><tmp_path>{path}/tmp/</tmp_path><users_config>{path}/users.xml</users_config>\
         <default_profile>default</default_profile><default_database>default</default_database>\
         <mark_cache_size>10000000</mark_cache_size></yandex>"
    );
    let users = "<yandex><profiles><default><max_memory_usage>1000000000</max_memory_usage></default></profiles>\
         <users><edge><password>s3same</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>\
         <quota>default</quota></edge></users><quotas><default/></quotas></yandex>";
    std::fs::write(dir.path().join("config.xml"), config).unwrap();
    std::fs::write(dir.path().join("users.xml"), users).unwrap();
    let child = Command::new(program)
        .arg(format!("--config-file={path}/config.xml"))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server { child, port, _dir: dir };
    wait_until("ClickHouse answers", Duration::from_secs(30), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() && server.query("SELECT 1") == "1\n"
    });
    server.query("CREATE TABLE edge (run String, seq UInt64, t DateTime) ENGINE = MergeTree() ORDER BY seq");
    Some(server)
}

impl Server {
    /// What the server answers to a statement, over a connection of its own.
    fn query(&self, statement: &str) -> String {
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else {
            return String::new();
        };
        let head = "POST /?user=edge&password=s3same HTTP/1.0";
        let length = statement.len();
        write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{statement}").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        body.to_owned()
    }

    fn url(&self, rest: &str) -> String {
        format!("clickhouse+http://edge:s3same@127.0.0.1:{}{rest}", self.port)
    }

    fn to(&self, rest: &str) -> Arc<dyn Destination> {
        open(&self.url(rest), Path::new("/nowhere"))
    }
}

/// The server is too old for tokens, and its table takes only what its columns are.
const EDGE: &str = "/?table=edge&deduplicate=false&input_format_skip_unknown_fields=1";

#[test]
fn rows_of_a_run_arrive_once_each() {
    let Some(server) = server("rows_of_a_run_arrive_once_each") else { return };
    let place = Place::new();
    writer::append(&place.log(), "r", 0..20_000);
    for codec in ["gzip", "none"] {
        let place = if codec == "gzip" { &place } else { &Place::new() };
        if codec == "none" {
            writer::append(&place.log(), "r", 20_000..40_000);
        }
        let setup = place.setup().env("EDGEPUSH_DESTINATION", &server.url(EDGE)).env("EDGEPUSH_CODEC", codec);
        setup.once().exits(0);
    }
    assert_eq!(
        server.query("SELECT count(), uniqExact(seq), min(seq), max(seq) FROM edge"),
        "40000\t40000\t0\t39999\n"
    );
}

#[test]
fn what_the_server_refuses_has_its_meaning() {
    let Some(server) = server("what_the_server_refuses_has_its_meaning") else { return };
    let deliver = |rest: &str, body: &[u8]| run(server.to(rest).deliver(batch(1, &[body]))).verdict;
    let good = b"{\"run\":\"r\",\"seq\":1,\"t\":\"2026-11-21T10:11:12Z\"}\n";
    // RFC 3339, because we say so.
    assert_eq!(deliver(EDGE, good), Verdict::Delivered);
    assert_eq!(server.query("SELECT t FROM edge"), "2026-11-21 10:11:12\n");
    let held = |verdict: Verdict, word: &str| {
        assert!(matches!(&verdict, Verdict::Hold { why } if why.contains(word)), "{verdict:?}");
    };
    held(deliver("/?table=nosuch&deduplicate=false", good), "Code: 60");
    held(deliver("/nosuch/edge?deduplicate=false", good), "Code: 81");
    held(deliver("/?table=edge", good), "deduplicate=false");
    let refused = |verdict: Verdict, word: &str| {
        assert!(matches!(&verdict, Verdict::Refused { why } if why.contains(word)), "{verdict:?}");
    };
    refused(deliver("/?table=edge&deduplicate=false", b"{\"seq\":1,\"new\":2}\n"), "skip_unknown_fields");
    refused(deliver(EDGE, b"{\"seq\":\"x\"}\n"), "Code: ");
    let zstd = Outgoing { codec: CodecKind::Zstd, ..batch(1, &[good]) };
    held(run(server.to(EDGE).deliver(zstd)).verdict, "EDGEPUSH_CODEC=gzip");
    let stranger = format!("clickhouse+http://edge:wr0ngwr0ng@127.0.0.1:{}{EDGE}", server.port);
    let verdict = run(open(&stranger, Path::new("/nowhere")).deliver(batch(1, &[good]))).verdict;
    held(verdict.clone(), "401");
    assert!(!format!("{verdict:?}").contains("wr0ng"));
    assert_eq!(server.query("SELECT count() FROM edge"), "1\n", "what is refused leaves nothing");
}

#[test]
fn a_look_inserts_nothing_and_tells_a_wrong_user_and_table() {
    let Some(server) = server("a_look_inserts_nothing_and_tells_a_wrong_user_and_table") else { return };
    assert_eq!(run(server.to(EDGE).probe(true)), Ok(()));
    assert_eq!(server.query("SELECT count() FROM edge"), "0\n");
    assert!(run(server.to("/?table=nosuch&deduplicate=false").probe(true)).unwrap_err().contains("nosuch"));
    let stranger = format!("clickhouse+http://edge:wr0ngwr0ng@127.0.0.1:{}{EDGE}", server.port);
    assert!(run(open(&stranger, Path::new("/nowhere")).probe(true)).is_err());
}

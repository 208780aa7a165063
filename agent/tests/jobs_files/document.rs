//! A document of jobs behind a URL: ETag, and the guards against what a server may say.
use super::kit::{Agent, list};
use edgepush::config::Target;
use edgepush::destination::client::Clients;
use edgepush::destination::document::Fetch;
use edgepush::jobs::JobsFrom;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// What the server says next, and what it was asked.
#[derive(Default)]
struct Script {
    status: &'static str,
    etag: &'static str,
    body: String,
    /// More than the body has: the connection ends early.
    length_more: usize,
    asked: Vec<String>,
}

struct Server {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = script.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let mut script = shared.lock().unwrap();
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let same =
                    !script.etag.is_empty() && head.contains(&format!("if-none-match: {}", script.etag));
                script.asked.push(head);
                let (status, body) = match same {
                    true => ("304 Not Modified", ""),
                    false => (script.status, script.body.as_str()),
                };
                let length = body.len() + if same { 0 } else { script.length_more };
                let etag =
                    if script.etag.is_empty() { String::new() } else { format!("ETag: {}\r\n", script.etag) };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\n{etag}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        let server = Server { addr, script };
        server.says("200 OK", "", "");
        server
    }

    fn says(&self, status: &'static str, etag: &'static str, body: &str) {
        let mut script = self.script.lock().unwrap();
        let asked = std::mem::take(&mut script.asked);
        *script = Script { status, etag, body: body.into(), length_more: 0, asked };
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }

    fn url(&self) -> String {
        format!("http://{}/jobs?team=a&header_Authorization=Bearer%20hunter22", self.addr)
    }

    fn agent(&self) -> Agent {
        Agent::start(Some(JobsFrom::Url(Target::new(self.url()))))
    }
}

fn keys(agent: &Agent) -> Vec<String> {
    agent.jobs().into_iter().map(|(key, ..)| key).collect()
}

#[test]
fn a_document_is_polled_with_its_etag() {
    let server = Server::start();
    server.says("200 OK", "\"v1\"", &list(&["a", "b"]));
    let agent = server.agent();
    agent.until_state("good");
    assert_eq!(keys(&agent), ["url:jobs#a", "url:jobs#b"]);
    let asked = server.asked();
    assert!(
        asked[0].starts_with("get /jobs?team=a http/1.1") && !asked[0].contains("if-none-match"),
        "{asked:?}"
    );
    assert!(asked[0].contains("authorization: bearer hunter22"), "{asked:?}");
    agent.until("polls", |_| server.script.lock().unwrap().asked.len() > 3);
    assert!(server.asked()[1..].iter().all(|head| head.contains("if-none-match: \"v1\"")));
    server.says("200 OK", "\"v2\"", &list(&["a", "b", "c"]));
    agent.until("the next version", |agent| keys(agent).len() == 3);
    assert_eq!(agent.changes(), 2, "what did not change was not sent");
}

#[test]
fn nothing_but_a_whole_good_document_replaces_a_set() {
    let server = Server::start();
    let whole = list(&["a", "b", "c", "d"]);
    server.says("200 OK", "\"v1\"", &whole);
    let agent = server.agent();
    agent.until_state("good");
    let before = agent.jobs();
    let accidents = [
        ("404 Not Found", "[]", 0, "HTTP 404"),
        ("503 Service Unavailable", whole.as_str(), 0, "HTTP 503"),
        ("302 Found", "", 0, "HTTP 302"),
        ("204 No Content", "", 0, "HTTP 204"),
        ("200 OK", "", 0, "it is empty"),
        ("200 OK", &whole[..whole.len() / 2], 0, "jobs is not JSON"),
        ("200 OK", &list(&["a"]), 9, "it ended early"),
        ("200 OK", "[]", 0, "has no job and would end all 4"),
        ("200 OK", &list(&["a"]), 0, "end or switch off 3 of the 4"),
    ];
    for (status, body, length_more, told) in accidents {
        server.says(status, "\"bad\"", body);
        server.script.lock().unwrap().length_more = length_more;
        agent.until(told, |agent| agent.refusal().contains(told));
        assert!(!agent.refusal().contains("hunter22"), "{}", agent.refusal());
        server.asked();
        agent.until("it is asked again", |_| server.script.lock().unwrap().asked.len() > 2);
        let asked = server.asked();
        assert!(
            !asked.last().unwrap().contains("if-none-match"),
            "what was not taken is told again: {asked:?}"
        );
        assert_eq!((agent.jobs(), agent.changes()), (before.clone(), 1), "{told}");
        server.says("200 OK", "\"v1\"", &whole);
        agent.until_state("good");
    }
    server.says("200 OK", "\"v3\"", &list(&["a"]));
    agent.until_state("waits");
    let digest = agent.guard.standings()[0].digest.clone().unwrap();
    agent.guard.confirm(&digest).unwrap();
    agent.until("confirmed", |agent| keys(agent) == ["url:jobs#a"]);
}

#[test]
fn a_server_that_is_away_changes_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = Agent::start(Some(JobsFrom::Url(Target::new(format!("http://{free}/")))));
    agent.until_state("refused");
    assert!(agent.refusal().contains("was not given"), "{}", agent.refusal());
}

#[test]
fn a_document_has_a_bound() {
    let server = Server::start();
    server.says("200 OK", "", &"x".repeat(1000));
    let fetch = Fetch::new(&server.url(), &Clients::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(fetch.get(None, 1000)).is_ok());
    let why = runtime.block_on(fetch.get(None, 999)).unwrap_err();
    assert!(why.ends_with("it is larger than 999 bytes"), "{why}");
    assert!(Fetch::new("file:///x", &Clients::default()).is_err());
}

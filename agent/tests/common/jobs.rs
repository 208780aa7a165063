//! The jobs API of a running agent, as a program with a plain HTTP client sees it.
//!
//! Promises: an address is looked up at each request, so that the same `Api` goes on with the agent after the next one;
//! an answer that did not come whole is none.
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The jobs of the account `local`.
pub const JOBS: &str = "/accounts/local/logpush/jobs";

#[derive(Clone)]
pub struct Api {
    state: PathBuf,
}

/// An answer in Cloudflare's envelope.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub json: Value,
}

impl Reply {
    /// The result of a success.
    #[track_caller]
    pub fn result(self) -> Value {
        assert_eq!((self.status, &self.json["success"]), (200, &json!(true)), "{self:?}");
        self.json["result"].clone()
    }
    /// Status and code of a failure.
    #[track_caller]
    pub fn failure(&self) -> (u16, u64) {
        assert_eq!(self.json["success"], json!(false), "{self:?}");
        (self.status, self.json["errors"][0]["code"].as_u64().unwrap_or_else(|| panic!("{self:?}")))
    }
}

impl Api {
    /// The API of whichever agent has this state directory.
    pub fn of(state: &Path) -> Api {
        Api { state: state.into() }
    }
    /// Asks below `/client/v4`; `None`: no agent, or it went away before it had answered.
    pub fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Reply> {
        let text = std::fs::read_to_string(self.state.join("api.addr")).ok()?;
        let address = text.strip_suffix('\n')?.parse().ok()?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        write!(
            stream,
            "{method} /client/v4{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Reply { status: head.split(' ').nth(1)?.parse().ok()?, json: serde_json::from_str(body).ok()? })
    }
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.try_ask(method, path, body).unwrap_or_else(|| panic!("{method} {path} had no answer"))
    }
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).result()
    }
    /// Makes an enabled job of the account `local` with one open data set and small batches, and what `more` says.
    #[track_caller]
    pub fn create(&self, name: &str, destination: &str, more: Value) -> u64 {
        self.create_at(JOBS, name, destination, more)
    }
    /// The same at another path.
    #[track_caller]
    pub fn create_at(&self, jobs: &str, name: &str, destination: &str, more: Value) -> u64 {
        let job = job(name, destination, more);
        self.ask("POST", jobs, Some(&job)).result()["id"].as_u64().expect("a job has an id")
    }
    /// Changes a job of the account `local`.
    #[track_caller]
    pub fn put(&self, id: u64, patch: Value) -> Value {
        self.ask("PUT", &format!("{JOBS}/{id}"), Some(&patch)).result()
    }
    #[track_caller]
    pub fn delete(&self, id: u64) {
        assert_eq!(self.ask("DELETE", &format!("{JOBS}/{id}"), None).result(), json!({ "id": id }));
    }
    #[track_caller]
    pub fn job(&self, id: u64) -> Value {
        self.get(&format!("{JOBS}/{id}"))
    }
    #[track_caller]
    pub fn health(&self, id: u64) -> Value {
        self.get(&format!("{JOBS}/{id}/health"))
    }
}

/// A job as it is written: enabled, of the open data set, with batches as small as a job may ask for.
pub fn job(name: &str, destination: &str, more: Value) -> Value {
    let mut job = json!({
        "name": name, "destination_conf": destination, "dataset": "raw", "enabled": true,
        "max_upload_records": 1000,
    });
    job.as_object_mut().unwrap().extend(more.as_object().expect("an object").clone());
    job
}

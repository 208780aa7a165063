//! status: what the running agent says about itself, and `edgepush status`, which asks it.
//!
//! Promises: the JSON of `/status` only gains fields; asking never takes longer than [`ASK_TIMEOUT`].
//! Must not know: how the agent works.
use crate::api::bind;
use crate::cli::{Exit, StatusArgs, complain, print};
use crate::config::Config;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// Longest time that asking may take.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read: some thousand sources.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What the agent does at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The runtime in use: `uring` or `threads`.
    pub runtime: String,
    /// The vector instructions in use.
    pub simd: String,
    /// Whether ledger and sources are open.
    pub ready: bool,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Shards that have not ticked within 10 s.
    pub shards_stuck: Vec<usize>,
    /// Every followed file.
    pub sources: Vec<SourceStatus>,
    /// Every job.
    pub jobs: Vec<JobStatus>,
    /// What is durable and not delivered.
    pub spool: SpoolStatus,
    /// Whether the readers wait because nothing has room.
    pub backpressure: bool,
}

/// One followed file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// The configured name or glob.
    pub name: String,
    /// The file.
    pub path: String,
    /// Everything before is read, bytes.
    pub read: u64,
    /// Everything before is durable, bytes.
    pub durable: u64,
    /// Size seen last, bytes.
    pub size: u64,
    /// Bytes that are there and not read.
    pub lag_bytes: u64,
    /// Why it cannot be read, with the remedy.
    pub error: Option<String>,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// Its destination, without secrets.
    pub destination: String,
    /// `ok`, `retrying`, `holds`.
    pub state: String,
    /// The last error in plain words.
    pub error: Option<String>,
    /// Records that its destination has.
    pub records_delivered: u64,
    /// Batches in the spool.
    pub spool_batches: u64,
    /// Age of the oldest of them, seconds.
    pub oldest_seconds: Option<u64>,
}

/// The spool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold now.
    pub limit_bytes: u64,
    /// Batches that it holds.
    pub batches: u64,
}

/// `edgepush status`.
pub fn status(config: &Config, flags: StatusArgs) -> Exit {
    let known = bind::read(&config.state_dir);
    let said = config.api.filter(|addr| addr.port() != 0);
    // An agent of another state directory may listen at the default address: an address that was said comes first.
    let addr = if config.api_said { said.or(known) } else { known.or(said) };
    let Some(addr) = addr else {
        complain(&format!(
            "edgepush: no agent answers: {} does not exist and EDGEPUSH_API gives no address\n",
            config.state_dir.join(bind::ADDR_FILE).display()
        ));
        return Exit::Held;
    };
    let addr = bind::reach(addr);
    match ask(addr, config.own_token(false).map(|token| token.expose())) {
        Ok((200, body)) if flags.json => print(&body, Exit::Done),
        Ok((200, body)) => match serde_json::from_str::<Status>(&body) {
            Ok(status) => print(&show(&status), Exit::Done),
            Err(error) => {
                complain(&format!("edgepush: {addr} does not answer like an agent: {error}\n"));
                Exit::Held
            }
        },
        Ok((401, _)) => {
            complain(&format!(
                "edgepush: {addr} asks for its token: set EDGEPUSH_API_TOKEN as the agent has it\n"
            ));
            Exit::Operator
        }
        Ok((code, body)) => {
            complain(&format!("edgepush: {addr} does not answer like an agent: {code} {}\n", body.trim()));
            Exit::Held
        }
        Err(error) => {
            complain(&format!("edgepush: no agent answers at {addr}: {error}\n"));
            Exit::Held
        }
    }
}

/// Asks for `/status`: the HTTP status and the body.
fn ask(addr: SocketAddr, token: Option<&str>) -> Result<(u16, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let asking = async {
        let stream = tokio::net::TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let mut request = hyper::Request::get("/status").header(HOST, addr.to_string());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    };
    runtime
        .block_on(async { tokio::time::timeout(ASK_TIMEOUT, asking).await })
        .unwrap_or_else(|_| Err(format!("nothing came within {} s", ASK_TIMEOUT.as_secs())))
}

/// The answer for people.
pub fn show(status: &Status) -> String {
    let mut out = String::new();
    let state = match (status.stopping, status.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "starting",
    };
    let _ = writeln!(
        out,
        "edgepush {} pid {} {state}, up {} s, runtime {}, simd {}",
        status.version, status.pid, status.uptime_seconds, status.runtime, status.simd
    );
    if !status.shards_stuck.is_empty() {
        let _ = writeln!(out, "stuck shards: {:?}", status.shards_stuck);
    }
    let (bytes, limit) = (mega(status.spool.bytes), mega(status.spool.limit_bytes));
    let _ = writeln!(out, "spool  {} batches, {bytes} of {limit}", status.spool.batches);
    if status.backpressure {
        let _ = writeln!(out, "back-pressure: files wait unread until there is room");
    }
    for job in &status.jobs {
        let waiting = match (job.spool_batches, job.oldest_seconds) {
            (0, _) => String::new(),
            (n, Some(age)) => format!(", {n} batches wait, the oldest for {age} s"),
            (n, None) => format!(", {n} batches wait"),
        };
        let _ = writeln!(
            out,
            "job    {} {} -> {}, {} records delivered{waiting}",
            job.name, job.state, job.destination, job.records_delivered
        );
        if let Some(error) = &job.error {
            let _ = writeln!(out, "       {error}");
        }
    }
    for source in &status.sources {
        let _ = writeln!(
            out,
            "source {} read {} of {}, durable to {}, lag {}",
            source.path,
            source.read,
            source.size,
            source.durable,
            mega(source.lag_bytes)
        );
        if let Some(error) = &source.error {
            let _ = writeln!(out, "       {error}");
        }
    }
    out
}

/// Bytes as people read them.
fn mega(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{}kB", bytes / 1000),
        _ => format!("{:.1}MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_shown_for_people() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            ready: true,
            runtime: "uring".into(),
            simd: "avx2".into(),
            backpressure: true,
            spool: SpoolStatus { bytes: 1_500_000, limit_bytes: 10_000_000_000, batches: 2 },
            jobs: vec![JobStatus {
                name: "env".into(),
                destination: "https://h/in".into(),
                state: "retrying".into(),
                error: Some("503 busy".into()),
                records_delivered: 10,
                spool_batches: 2,
                oldest_seconds: Some(31),
            }],
            sources: vec![SourceStatus {
                path: "/var/log/a.log".into(),
                read: 100,
                size: 200,
                durable: 50,
                lag_bytes: 100,
                ..SourceStatus::default()
            }],
            ..Status::default()
        };
        let text = show(&status);
        for wanted in [
            "edgepush 0.1.0 pid 7 ready, up 0 s, runtime uring, simd avx2\n",
            "spool  2 batches, 1.5MB of 10000.0MB\n",
            "back-pressure: files wait unread",
            "job    env retrying -> https://h/in, 10 records delivered, 2 batches wait, the oldest for 31 s\n",
            "       503 busy\n",
            "source /var/log/a.log read 100 of 200, durable to 50, lag 100 bytes\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        let back: Status = serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
        assert_eq!(back, status);
        let older: Status = serde_json::from_str("{\"version\":\"9\",\"new\":1}").unwrap();
        assert_eq!(older.version, "9");
    }
}

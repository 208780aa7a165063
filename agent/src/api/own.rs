//! own: what the jobs API of Logpush does not have: how the sets of job files stand, all jobs' figures at once, and a
//! try of a job that changes nothing.
//!
//! | method and path below [`ROOT`] | says | needs |
//! |---|---|---|
//! | `GET jobs-source` | how the sets of job files stand | read over all |
//! | `POST jobs-source/confirm` `{"digest"}` | the set that waits may replace what runs | write over all |
//! | `GET jobs-health` | every job's figures, by its id | read over all |
//! | `POST spool-retry` `{"id"}` | a batch that is held aside is sent again | write over all |
//! | `POST spool-drop` `{"id"}` | a batch that is held aside goes, as a loss | write over all |
//! | `POST jobs-test` `{"id"}` or `{"job"}` | everything wrong with a job, its destination asked | write over all |
//!
//! Promises: the envelope, the codes and the tokens of [`super::logpush`]; no destination's secret is ever in an answer.
//! Must not know: shards, the ledger, where sets are looked at.
use super::Answer;
use super::auth::{Auth, Denied};
use super::logpush::answer::{
    FORBIDDEN, Failure, INVALID, METHOD, NO_JOB, NO_ROUTE, TOO_LARGE, UNKNOWN_TOKEN, enveloped,
};
use super::logpush::{BODY_BYTES_MAX, Logpush};
use crate::jobs::guard::NotConfirmed;
use crate::jobs::{JobConfig, Owner, Problem, redact, set};
use crate::protocol::{AsideWord, BatchId};
use bytes::Buf as _;
use edgepush_shard::chunk::JobId;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What every path begins with.
pub const ROOT: &str = "/client/v4/edgepush/";
/// Longest time for a destination's answer.
const TRY: Duration = Duration::from_secs(20);

/// Answers a request below [`ROOT`].
pub(super) async fn respond<B: Body + Unpin>(request: Request<B>, auth: &Auth, logpush: &Logpush) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let path = path.strip_prefix(ROOT).unwrap_or(path);
    let allow = match path {
        "jobs-source" | "jobs-health" => "GET",
        "jobs-source/confirm" | "jobs-test" | "spool-retry" | "spool-drop" => "POST",
        _ => return enveloped(Err(Failure::new(&NO_ROUTE, format!("there is nothing at {ROOT}{path}")))),
    };
    // hyper leaves the body of an answer to HEAD out.
    let method = if head.method == Method::HEAD { "GET" } else { head.method.as_str() };
    if method != allow {
        let why = format!("{method} is not for this path; use {allow}");
        let mut answer = enveloped(Err(Failure::new(&METHOD, why)));
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        return answer;
    }
    let result = async {
        admit(auth, &head.method, &head.headers, allow == "POST")?;
        match path {
            "jobs-source" => Ok(source(logpush)),
            "jobs-health" => Ok(health(logpush)),
            "jobs-source/confirm" => confirm(logpush, &read(body).await?),
            "spool-retry" => aside(logpush, &read(body).await?, AsideWord::Retry).await,
            "spool-drop" => aside(logpush, &read(body).await?, AsideWord::Drop).await,
            _ => try_job(logpush, read(body).await?).await,
        }
    };
    enveloped(result.await)
}

/// Lets those in whose rights are over all jobs.
fn admit(auth: &Auth, method: &Method, headers: &hyper::HeaderMap, write: bool) -> Result<(), Failure> {
    let rights = auth.admit(method, headers).map_err(|denied| match denied {
        Denied::Unknown => {
            Failure::new(&UNKNOWN_TOKEN, "Authentication error: send a token of EDGEPUSH_API_TOKEN")
        }
        Denied::Page => {
            Failure::new(&FORBIDDEN, "a page in a browser may not ask while no EDGEPUSH_API_TOKEN is set")
        }
    })?;
    let scope = if write { rights.write } else { rights.read };
    match (scope, rights.are_restricted()) {
        (true, false) => Ok(()),
        (false, _) => Err(Failure::new(&FORBIDDEN, "the token lacks the scope")),
        (true, true) => Err(Failure::new(&FORBIDDEN, "the token is not for all zones and accounts")),
    }
}

async fn read<B: Body + Unpin>(mut body: B) -> Result<Map<String, Value>, Failure> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::new(&INVALID, "the body ended early"))?;
        let Ok(mut bytes) = frame.into_data() else { continue };
        if kept.len() + bytes.remaining() > BODY_BYTES_MAX {
            return Err(Failure::new(&TOO_LARGE, format!("the body is larger than {BODY_BYTES_MAX} bytes")));
        }
        kept.extend_from_slice(&bytes.copy_to_bytes(bytes.remaining()));
    }
    match serde_json::from_slice(&kept) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Failure::new(&INVALID, "the body must be a JSON object")),
        Err(error) => Err(Failure::new(&INVALID, format!("the body is not JSON: {error}"))),
    }
}

fn source(logpush: &Logpush) -> Value {
    let standings = logpush.port.guard().map(|guard| guard.standings()).unwrap_or_default();
    let sets: Vec<Value> = standings
        .iter()
        .map(|standing| {
            let mut set = standing.to_json();
            set["message"] = standing.refusal().into();
            set
        })
        .collect();
    json!({ "sets": sets })
}

fn confirm(logpush: &Logpush, body: &Map<String, Value>) -> Result<Value, Failure> {
    let Some(digest) = body.get("digest").and_then(Value::as_str) else {
        return Err(Failure::at(&INVALID, "/digest", "digest must be the text that jobs-source gives"));
    };
    let guard = logpush.port.guard();
    match guard.map_or(Err(NotConfirmed::NothingWaits), |guard| guard.confirm(digest)) {
        Ok(()) => {
            tracing::info!(digest, "a set of jobs was confirmed through the API");
            Ok(source(logpush))
        }
        Err(NotConfirmed::NothingWaits) => {
            Err(Failure::at(&INVALID, "/digest", "no set of jobs waits for a confirmation"))
        }
        Err(NotConfirmed::Other) => {
            let why = "the set that waits has another digest: look at it again, then confirm that one";
            Err(Failure::at(&INVALID, "/digest", why))
        }
    }
}

async fn aside(logpush: &Logpush, body: &Map<String, Value>, word: AsideWord) -> Result<Value, Failure> {
    let Some(id) = body.get("id").and_then(Value::as_u64) else {
        return Err(Failure::at(&INVALID, "/id", "id must be the number of a batch"));
    };
    match logpush.port.aside(BatchId(id), word).await? {
        Some(batch) => Ok(json!({
            "id": id, "job": batch.job.0, "name": &*batch.name, "records": batch.records,
        })),
        None => Err(Failure::at(&INVALID, "/id", "no batch with this id is held aside")),
    }
}

fn health(logpush: &Logpush) -> Value {
    let book = logpush.port.book();
    let figures = |id| serde_json::to_value(logpush.port.health(id)).expect("INVARIANT: numbers and texts");
    Value::Object(book.iter().map(|job| (job.id.0.to_string(), figures(job.id))).collect())
}

/// Everything that is wrong with a job, one that runs or one that does not exist.
async fn try_job(logpush: &Logpush, mut body: Map<String, Value>) -> Result<Value, Failure> {
    let read = match (body.remove("id"), body.remove("job")) {
        (Some(id), None) => {
            let book = logpush.port.book();
            let job = id.as_u64().and_then(|id| book.get(JobId(id)));
            let job = job.ok_or_else(|| Failure::new(&NO_JOB, "job not found"))?;
            Ok((job.owner.clone(), job.config.clone()))
        }
        (None, Some(Value::Object(mut job))) => {
            let owner = set::take_owner(&mut job).map(|owner| owner.unwrap_or_else(Owner::local));
            match (owner, JobConfig::from_json(&job)) {
                (Ok(owner), Ok(config)) => Ok((owner, config)),
                (owner, config) => Err([owner.err(), config.err()].into_iter().flatten().flatten().collect()),
            }
        }
        _ => return Err(Failure::new(&INVALID, "the body must have id, a number, or job, an object")),
    };
    let (owner, config) = match read {
        Ok(read) => read,
        Err(problems) => return Ok(verdict(problems, "", None)),
    };
    let mut problems = config.check(&logpush.checks);
    if let Owner::Zone(id) = &owner
        && !logpush.zones.knows(id)
    {
        problems.push(Problem::at("/zone", format!("is {id}, which EDGEPUSH_ZONES does not name")));
    }
    let conf = config.destination_conf.expose();
    let asked = match problems.iter().any(|problem| problem.pointer == "/destination_conf") {
        true => None,
        false => Some(ask_destination(logpush, conf).await),
    };
    Ok(verdict(problems, &redact::redacted(conf), asked))
}

async fn ask_destination(logpush: &Logpush, conf: &str) -> Result<(), String> {
    let asked = async { logpush.port.destination(conf)?.probe(true).await };
    let late = || Err(format!("no answer within {} s", TRY.as_secs()));
    tokio::time::timeout(TRY, asked).await.unwrap_or_else(|_| late())
}

/// `destination` is whether it takes batches; `null` when it could not be asked.
fn verdict(problems: Vec<Problem>, conf: &str, asked: Option<Result<(), String>>) -> Value {
    let told = |problem: Problem| json!({ "pointer": problem.pointer, "message": problem.message });
    json!({
        "valid": problems.is_empty() && matches!(asked, Some(Ok(()))),
        "problems": problems.into_iter().map(told).collect::<Vec<_>>(),
        "destination_conf": conf,
        "destination": asked.map(|asked| {
            json!({ "valid": asked.is_ok(), "message": asked.err().unwrap_or_default() })
        }),
    })
}

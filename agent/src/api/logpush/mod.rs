//! logpush: the jobs API, as programs that know Cloudflare's Logpush expect it (LOGPUSH 1.2-1.10).
//!
//! `routes` is the table of paths, `answer` the envelope and the table of error codes, `openapi` the document of both;
//! `jobs`, `tries` and `datasets` are what the rows do.
//!
//! Promises: a body costs at most [`BODY_BYTES_MAX`]; no destination's secret leaves without the scope for it; a
//! change is answered when it is durable.
//! Must not know: shards, the ledger; everything goes through [`JobsPort`].
pub mod answer;
mod datasets;
mod jobs;
pub mod openapi;
pub mod routes;
mod tries;

use super::auth::{Auth, Denied};
use super::{Answer, json};
use crate::config::Rights;
use crate::jobs::{Challenges, Checks, JobsPort, Owner, Zones};
use answer::{FORBIDDEN, Failure, INVALID, METHOD, NO_ROUTE, TOO_LARGE, UNKNOWN, UNKNOWN_TOKEN, enveloped};
use bytes::Buf as _;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use routes::{Ask, Found, Needs, Route};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Largest body of a request.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// So much of a larger one is read and thrown away, so that its sender can read why it was refused.
const DRAIN_BYTES_MAX: usize = 4 << 20;

/// What the jobs API works with.
pub struct Logpush {
    /// The agent that runs the jobs.
    pub port: Arc<dyn JobsPort>,
    /// How filters and output options are judged.
    pub checks: Checks,
    /// The zones that exist.
    pub zones: Arc<Zones>,
    /// Makes and judges ownership challenges.
    pub challenges: Challenges,
    /// Whether destinations of this scheme need a challenge: no keys of theirs prove whose they are. Of today's kinds
    /// none does, see [`no_scheme`].
    pub challenged: fn(&str) -> bool,
    /// Wall time, Unix seconds.
    pub clock: Box<dyn Fn() -> i64 + Send + Sync>,
}

/// No kind of destination needs a challenge.
pub fn no_scheme(_: &str) -> bool {
    false
}

/// One admitted request.
struct Call<'a> {
    logpush: &'a Logpush,
    rights: Rights,
    /// Whose part of the API; `None`: over all.
    owner: Option<Owner>,
    /// What stands for the row's `{…_id}`.
    id: &'a str,
    /// Empty when the row takes none.
    body: Map<String, Value>,
}

/// Answers a request below [`routes::ROOT`].
pub(super) async fn respond<B>(request: Request<B>, auth: &Auth, logpush: &Logpush) -> Answer
where
    B: Body + Unpin,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if path == openapi::PATH {
        return json(StatusCode::OK, &openapi::document());
    }
    let Some(found) = routes::find(path) else {
        let why = format!("could not route to {path}, perhaps your object identifier is invalid?");
        return enveloped(Err(Failure::new(&NO_ROUTE, why)));
    };
    // hyper leaves the body of an answer to HEAD out.
    let method = if head.method == Method::HEAD { "GET" } else { head.method.as_str() };
    let Some(row) = found.rows.iter().find(|row| row.method == method) else {
        return wrong_method(&head.method, &found);
    };
    let result = async {
        let rights = auth.admit(&head.method, &head.headers).map_err(denied)?;
        allowed(row, &rights, found.owner.as_ref())?;
        zone_exists(&logpush.zones, found.owner.as_ref())?;
        let body = if row.body.is_some() { read(body).await? } else { Map::new() };
        let owner = found.owner.clone();
        Call { logpush, rights, owner, id: found.id, body }.answer(row.ask).await
    };
    enveloped(result.await)
}

impl Call<'_> {
    async fn answer(self, ask: Ask) -> Result<Value, Failure> {
        match ask {
            Ask::ListJobs => Ok(self.list_jobs(None)),
            Ask::CreateJob => self.create_job().await,
            Ask::GetJob => self.get_job(),
            Ask::UpdateJob => self.update_job().await,
            Ask::DeleteJob => self.delete_job().await,
            Ask::Health => self.health(),
            Ask::DatasetJobs => self.dataset_jobs(),
            Ask::Fields | Ask::DefaultFields => self.fields(),
            Ask::Challenge => self.challenge().await,
            Ask::ValidateChallenge => self.validate_challenge(),
            Ask::ValidateDestination => self.validate_destination().await,
            Ask::DestinationExists => self.destination_exists(),
            Ask::ValidateOrigin => self.validate_origin(),
        }
    }

    /// A text of the body that must be there.
    fn text(&self, key: &str) -> Result<&str, Failure> {
        match self.body.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            Some(Value::String(_)) | Some(Value::Null) | None => {
                Err(Failure::at(&INVALID, &format!("/{key}"), format!("{key} is missing")))
            }
            Some(_) => Err(Failure::at(&INVALID, &format!("/{key}"), format!("{key} must be a string"))),
        }
    }

    /// Whose job a new one is: without a zone or an account the operator's.
    fn new_owner(&self) -> Owner {
        self.owner.clone().unwrap_or_else(Owner::local)
    }
}

fn denied(denied: Denied) -> Failure {
    match denied {
        Denied::Unknown => Failure::new(
            &UNKNOWN_TOKEN,
            "Authentication error: send a token of EDGEPUSH_API_TOKEN or EDGEPUSH_API_TOKENS as Authorization: \
             Bearer, or as X-Auth-Key beside X-Auth-Email",
        ),
        Denied::Page => Failure::new(
            &FORBIDDEN,
            "a page in a browser may not ask while no EDGEPUSH_API_TOKEN is set; programs ask as 127.0.0.1 or localhost",
        ),
    }
}

/// Whether the rights are enough for a row of this part of the API.
fn allowed(row: &Route, rights: &Rights, owner: Option<&Owner>) -> Result<(), Failure> {
    let scope = match row.needs {
        Needs::Read => rights.read,
        Needs::Write => rights.write,
    };
    let there = match owner {
        _ if !rights.are_restricted() => true,
        Some(Owner::Zone(id)) => rights.zones.contains(id),
        Some(Owner::Account(id)) => rights.accounts.contains(id),
        None => false,
    };
    if scope && there {
        return Ok(());
    }
    let doing = match row.ask {
        Ask::CreateJob => "creating",
        Ask::UpdateJob => "updating",
        Ask::DeleteJob => "deleting",
        _ => "reading",
    };
    let lacks = match row.needs {
        Needs::Write if !scope => "the token lacks the scope write",
        _ => "the token is for other zones or accounts",
    };
    Err(Failure::new(&FORBIDDEN, format!("{doing} job for product 'logpush' is not allowed: {lacks}")))
}

fn zone_exists(zones: &Zones, owner: Option<&Owner>) -> Result<(), Failure> {
    match owner {
        Some(Owner::Zone(id)) if !zones.knows(id) => {
            Err(Failure::new(&UNKNOWN, format!("there is no zone {id}: EDGEPUSH_ZONES does not name it")))
        }
        _ => Ok(()),
    }
}

fn wrong_method(method: &Method, found: &Found<'_>) -> Answer {
    let known: Vec<&str> = found.rows.iter().map(|row| row.method).collect();
    let known = known.join(", ");
    let why = format!("{method} is not for this path; use {known}");
    let mut answer = enveloped(Err(Failure::new(&METHOD, why)));
    let allow = HeaderValue::try_from(known).expect("INVARIANT: methods of our table");
    answer.headers_mut().insert(ALLOW, allow);
    answer
}

/// Reads a body that must be one JSON object; an empty one is `{}`.
async fn read<B: Body + Unpin>(mut body: B) -> Result<Map<String, Value>, Failure> {
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Failure::new(&INVALID, "the body ended early"));
        };
        let Ok(mut bytes) = frame.into_data() else { continue };
        seen += bytes.remaining();
        if seen > DRAIN_BYTES_MAX {
            break;
        }
        while seen <= BODY_BYTES_MAX && bytes.has_remaining() {
            let chunk = bytes.chunk();
            kept.extend_from_slice(chunk);
            let len = chunk.len();
            bytes.advance(len);
        }
    }
    if seen > BODY_BYTES_MAX {
        return Err(Failure::new(&TOO_LARGE, format!("the body is larger than {BODY_BYTES_MAX} bytes")));
    }
    if kept.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&kept) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Failure::new(&INVALID, "the body must be a JSON object")),
        // serde_json says where and what it expected, and repeats nothing of the body.
        Err(error) => Err(Failure::new(&INVALID, format!("the body is not JSON: {error}"))),
    }
}

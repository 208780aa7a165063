//! answer: Cloudflare's envelope, and every way in which a request can fail (LOGPUSH 1.3, 1.4).
//!
//! Promises: a code means one thing and never another; whatever happens is told in the envelope.
//! Must not know: what was asked.
use super::super::{Answer, json};
use crate::jobs::{ChangeError, Problem, Refusal};
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

/// One way to fail.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// What programs look at.
    pub code: u32,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// When, for the documentation.
    pub when: &'static str,
}

/// What was sent is not right: every mistake has an error with its pointer.
pub static INVALID: Code = Code {
    code: 1001,
    status: 400,
    when: "the body or the job in it is not right; one error for each mistake",
};
/// The token does not prove ownership.
pub static CHALLENGE: Code =
    Code { code: 1002, status: 400, when: "incorrect ownership challenge, or none where one is needed" };
/// The path names what is not there.
pub static UNKNOWN: Code = Code { code: 1003, status: 404, when: "there is no such zone or data set" };
/// The token does not allow it.
pub static FORBIDDEN: Code = Code { code: 1004, status: 403, when: "the token lacks the scope" };
/// There is no room.
pub static TOO_MANY: Code = Code { code: 1004, status: 400, when: "there are `EDGEPUSH_JOBS_MAX` jobs" };
/// The destination does not take it.
pub static DESTINATION: Code = Code { code: 1005, status: 400, when: "error validating destination" };
/// The path names no job of this owner.
pub static NO_JOB: Code =
    Code { code: 1006, status: 404, when: "there is no such job of this zone or account" };
/// It is changed elsewhere.
pub static READ_ONLY: Code =
    Code { code: 1007, status: 409, when: "the job is kept by the settings, a job file or a document" };
/// It never changes.
pub static IMMUTABLE: Code = Code { code: 1008, status: 400, when: "`dataset` or `kind` would change" };
/// Not now.
pub static UNAVAILABLE: Code =
    Code { code: 1009, status: 503, when: "the change cannot be made durable now; nothing has changed" };
/// Too much.
pub static TOO_LARGE: Code = Code { code: 1010, status: 413, when: "the body is larger than 256 KiB" };
/// No such path.
pub static NO_ROUTE: Code = Code { code: 7003, status: 404, when: "there is nothing at this path" };
/// Nobody we know.
pub static UNKNOWN_TOKEN: Code = Code { code: 10000, status: 401, when: "no token, or an unknown one" };
/// Another method.
pub static METHOD: Code = Code { code: 10405, status: 405, when: "the path has no such method" };

/// All of them.
pub static CODES: [&Code; 14] = [
    &INVALID,
    &CHALLENGE,
    &UNKNOWN,
    &FORBIDDEN,
    &TOO_MANY,
    &DESTINATION,
    &NO_JOB,
    &READ_ONLY,
    &IMMUTABLE,
    &UNAVAILABLE,
    &TOO_LARGE,
    &NO_ROUTE,
    &UNKNOWN_TOKEN,
    &METHOD,
];

/// A request that failed.
#[derive(Debug, PartialEq)]
pub struct Failure {
    code: &'static Code,
    told: Vec<(String, Option<String>)>,
}

impl Failure {
    /// One error.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Failure {
        Failure { code, told: vec![(message.into(), None)] }
    }

    /// One error at a place of the body.
    pub fn at(code: &'static Code, pointer: &str, message: impl Into<String>) -> Failure {
        Failure { code, told: vec![(message.into(), Some(pointer.into()))] }
    }

    /// Every mistake of a job.
    pub fn invalid(problems: Vec<Problem>) -> Failure {
        let told = problems.into_iter().map(|problem| {
            let key = problem.pointer.trim_start_matches('/').replace('/', ".");
            (format!("{key} {}", problem.message), Some(problem.pointer))
        });
        Failure { code: &INVALID, told: told.collect() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::NotFound => Failure::new(&NO_JOB, "job not found"),
            Refusal::ReadOnly(why) => Failure::new(&READ_ONLY, why),
            Refusal::Invalid(problems) => Failure::invalid(problems),
            Refusal::TooMany { max } => Failure::new(
                &TOO_MANY,
                format!("creating a new job is not allowed: exceeded max jobs allowed ({max})"),
            ),
            Refusal::Immutable(key) => Failure::at(
                &IMMUTABLE,
                &format!("/{key}"),
                format!("{key} cannot be changed: delete the job and create another one"),
            ),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Failure {
        match error {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Unavailable(why) => Failure::new(&UNAVAILABLE, why),
        }
    }
}

/// The answer in its envelope.
pub fn enveloped(result: Result<Value, Failure>) -> Answer {
    match result {
        Ok(result) => {
            json(StatusCode::OK, &json!({ "errors": [], "messages": [], "success": true, "result": result }))
        }
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> Answer {
    let error = |(message, pointer): &(String, Option<String>)| match pointer {
        Some(pointer) => {
            json!({ "code": failure.code.code, "message": message, "source": { "pointer": pointer } })
        }
        None => json!({ "code": failure.code.code, "message": message }),
    };
    let errors: Vec<Value> = failure.told.iter().map(error).collect();
    let status = StatusCode::from_u16(failure.code.status).expect("INVARIANT: the table has HTTP statuses");
    let mut answer =
        json(status, &json!({ "errors": errors, "messages": [], "success": false, "result": null }));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, "Bearer".parse().expect("INVARIANT: a header value"));
    }
    answer
}

/// The table of codes for the documentation.
pub fn markdown() -> String {
    let row = |code: &&Code| format!("| {} | {} | {} |\n", code.code, code.status, code.when);
    "| code | HTTP | when |\n|---|---|---|\n".to_owned() + &CODES.iter().map(row).collect::<String>()
}

//! Answer: what the Logs API says, and how it says what is wrong (LOGPUSH 3.2).
//!
//! An error's body is `{"code": "…", "message": "…"}`; codes are the documented ones, and a few of ours where there are
//! none.
//!
//! Promises: no answer tells whether a domain, a file or a key exists that the asker may not see.
//! Must not know: how requests are judged.
use super::body::LogsBody;
use super::turnstile::Refused;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use std::borrow::Cow;

/// An answer on its way.
pub type Answer = Response<LogsBody>;

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
    /// The methods that the path has, when it has not this one.
    pub allow: Option<&'static str>,
    /// When to come again, seconds.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem with its status.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Problem {
        Problem { status, code, message: message.into(), allow: None, retry_after: None }
    }

    /// 400.
    pub fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 401.
    pub fn unauthorized(message: &'static str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "AccessCredential.Unauthorized", message)
    }

    /// 404: nothing is here, whatever was asked for.
    pub fn nothing() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "NotFound", "there is nothing here")
    }

    /// 405.
    pub fn method(allow: &'static str) -> Problem {
        let message = format!("use {allow}");
        Problem {
            allow: Some(allow),
            ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method.NotAllowed", message)
        }
    }

    /// 500: it is said in the agent's log.
    pub fn failed() -> Problem {
        let message = "the log files cannot be read at present; try again later";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "GetListLogFiles.OperationFailed", message)
    }

    /// The answer.
    pub fn answer(self) -> Answer {
        let text = serde_json::json!({ "code": self.code, "message": self.message }).to_string() + "\n";
        let mut answer = json(self.status, text);
        let headers = answer.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(super::sign::SCHEME));
        }
        answer
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let (seconds, message) = match refused {
            Refused::Replay => {
                return Problem::unauthorized("this request came before: send another X-SFD-Nonce");
            }
            Refused::Wait(seconds) => (seconds, "too many requests of this key"),
            Refused::Downloads => (1, "this key has as many open downloads as it may"),
            Refused::Unknown => {
                let message = "nonces cannot be kept now: the same signed request may come again";
                let problem =
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "GetListLogFiles.OperationFailed", message);
                return Problem { retry_after: Some(10), ..problem };
            }
        };
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Request.TooMany", message);
        Problem { retry_after: Some(seconds), ..problem }
    }
}

/// An answer of JSON.
pub fn json(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(LogsBody::text(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

//! said: what a vendor says inside its answers.
//!
//! Promises: pure.
//! Must not know: which vendor, connections.
use serde_json::Value;

/// What an answer means beyond its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// What its status says (INTERFACE 5).
    Status,
    /// The vendor has the batch.
    Delivered,
    /// Weather.
    Retry,
    /// It concerns every batch.
    Hold,
    /// It concerns this batch.
    Refused,
    /// The batch must be split.
    TooLarge,
}

/// What an answer means, and why in our words: what the vendor's words leave open, or the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it means.
    pub means: Means,
    /// Empty where the vendor's words are enough.
    pub note: &'static str,
}

impl Said {
    /// With a note.
    pub const fn new(means: Means, note: &'static str) -> Said {
        Said { means, note }
    }
}

impl From<Means> for Said {
    fn from(means: Means) -> Said {
        Said { means, note: "" }
    }
}

/// A body as it stands in an answer.
pub enum Body {
    /// Nothing, or white space.
    Empty,
    /// JSON.
    Json(Value),
    /// Something else.
    Text,
}

impl Body {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Body {
        if bytes.trim_ascii().is_empty() {
            return Body::Empty;
        }
        serde_json::from_slice(bytes).map_or(Body::Text, Body::Json)
    }
}

/// Whether a status is a success.
pub fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// A success from something that is not the vendor: a proxy's page, a portal's.
pub const STRANGER: Said =
    Said::new(Means::Hold, "this is not how the vendor answers: look at the host and the path");

/// What a status inside a body means: many vendors give one for each error.
pub fn inner_status(status: u64) -> Means {
    match status {
        413 => Means::TooLarge,
        408 | 425 | 429 | 500..=599 => Means::Retry,
        401 | 403 | 404 => Means::Hold,
        _ => Means::Refused,
    }
}

/// Whether a member is there and says something.
pub fn says(value: &Value, member: &str) -> bool {
    match &value[member] {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// A probe's answer that says who may not, says no; many receivers have no other way to answer it.
pub fn not_forbidden(status: u16, _: &[u8]) -> Result<(), String> {
    match status {
        401 | 403 | 407 => Err("the key or token is not accepted".into()),
        _ => Ok(()),
    }
}

/// A probe's answer to a batch without records: that there are none may be told as a fault of it.
pub fn takes_nothing(status: u16, body: &[u8]) -> Result<(), String> {
    match status {
        200..=299 | 400 | 422 => Ok(()),
        401 | 403 | 407 => not_forbidden(status, body),
        404 | 405 => Err("look at the host and the path".into()),
        _ => Err("it takes nothing now".into()),
    }
}

//! bulk: what the answer to a `_bulk` request says of each of its records.
//!
//! Promises: a record counts as delivered only where its own item says so; what is no bulk answer, was broken off, or
//! speaks of another number of records is an error, never a success; what concerns every record never becomes a reject.
//! Must not know: connections, bodies of requests, which receiver.
use super::super::Verdict;
use super::super::exchange::words;
use serde::Deserialize;
use std::time::Duration;

/// What is asked for of an answer: without it each record costs 200 bytes.
pub(super) const FILTER: &str = "errors,items.*.status,items.*.error.type,items.*.error.reason";

#[derive(Deserialize)]
struct Answered {
    /// Only a bulk answer has it.
    #[allow(dead_code, reason = "each item says more")]
    errors: bool,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Trouble>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Trouble {
    Said {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        reason: Option<String>,
    },
    Text(String),
}

/// The answer to a request that was refused whole.
#[derive(Deserialize)]
struct Failed {
    error: Trouble,
}

impl Trouble {
    fn kind(&self) -> &str {
        match self {
            Trouble::Said { kind, .. } => kind,
            Trouble::Text(_) => "",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Trouble::Said { reason, .. } => reason.as_deref().unwrap_or_default(),
            Trouble::Text(text) => text,
        }
    }

    /// In the receiver's words, on one line.
    fn told(&self) -> String {
        let (kind, reason) = (self.kind(), self.reason());
        let between = if kind.is_empty() || reason.is_empty() { "" } else { ": " };
        words([kind, between, reason].concat().as_bytes())
    }
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Again,
    Refused,
    /// No record can be taken now, and nobody must do anything about it.
    NoneNow,
    /// No record can be taken until somebody mends it.
    NoneEver,
}

/// What concerns an index, or all of them, although it is said of a record and with 400.
const OF_ALL: [&str; 5] = [
    "index_closed_exception",
    "index_not_found_exception",
    "invalid_index_name_exception",
    "security_exception",
    // Too many shards for one index more.
    "validation_exception",
];

/// The same where only the reason tells it.
const OF_ALL_REASONS: [&str; 2] = ["pipeline with id [", "no write index is defined for alias ["];

fn fate(outcome: &Outcome) -> Fate {
    let (kind, reason) = outcome.error.as_ref().map_or(("", ""), |error| (error.kind(), error.reason()));
    match outcome.status {
        200..=299 if outcome.error.is_none() => Fate::There,
        // The same line under the same id.
        409 if kind.is_empty() || kind == "version_conflict_engine_exception" => Fate::There,
        408 | 409 | 425 | 429 | 500.. => match kind {
            "cluster_block_exception" => Fate::NoneNow,
            _ => Fate::Again,
        },
        401 | 403 | 404 => Fate::NoneEver,
        400..=499 => {
            let all = OF_ALL.contains(&kind) || OF_ALL_REASONS.iter().any(|known| reason.starts_with(known));
            if all { Fate::NoneEver } else { Fate::Refused }
        }
        _ => Fate::Again,
    }
}

/// What an answer to a batch of so many records means; `after`: its own wish when to send again.
///
/// # Errors
/// Nothing can be concluded from it: why, in plain words.
pub(super) fn verdict(body: &[u8], records: u64, after: Option<Duration>) -> Result<Verdict, String> {
    let answered: Answered = serde_json::from_slice(body).map_err(|error| {
        format!("what was answered is no answer to a bulk request ({error}): {}", words(body))
    })?;
    if answered.items.len() as u64 != records {
        let items = answered.items.len();
        return Err(format!("{items} records were answered of the {records} that were sent"));
    }
    let mut sums = Sums::default();
    for (place, item) in (0..).zip(&answered.items) {
        let fate = fate(&item.create);
        let told = || match &item.create.error {
            Some(error) => format!("{} {}", item.create.status, error.told()),
            None => item.create.status.to_string(),
        };
        match fate {
            Fate::There => sums.there += 1,
            Fate::Again => {
                sums.again.push(place);
                sums.why_again.get_or_insert_with(told);
            }
            Fate::Refused => sums.refused.push((place, told())),
            Fate::NoneNow => drop(sums.none_now.get_or_insert_with(told)),
            Fate::NoneEver => drop(sums.none_ever.get_or_insert_with(told)),
        }
    }
    Ok(sums.verdict(records, after))
}

#[derive(Default)]
struct Sums {
    there: u64,
    again: Vec<u32>,
    refused: Vec<(u32, String)>,
    why_again: Option<String>,
    none_now: Option<String>,
    none_ever: Option<String>,
}

impl Sums {
    /// What holds for the batch. Where it is sent again whole, those that are there answer 409 then.
    fn verdict(self, records: u64, after: Option<Duration>) -> Verdict {
        let Sums { there, again, refused, why_again, none_now, none_ever } = self;
        if let Some(why) = none_ever {
            return Verdict::Hold { why };
        }
        if let Some(why) = none_now {
            return Verdict::Retry { after, why };
        }
        if there == records {
            return Verdict::Delivered;
        }
        if again.len() as u64 == records {
            return Verdict::Retry { after, why: why_again.unwrap_or_default() };
        }
        // What no record passes is wrong with the index or the job before it is wrong with the records: the sender finds
        // out, by the next batches, and meanwhile keeps them.
        if refused.len() as u64 == records {
            let first = refused.into_iter().next().map_or(String::new(), |(_, why)| why);
            return Verdict::Refused { why: format!("none of {records} records was taken: {first}") };
        }
        let mut why = Vec::new();
        if let Some((_, first)) = refused.first() {
            why.push(format!("{} of {records} records were refused: {first}", refused.len()));
        }
        if let Some(first) = why_again {
            why.push(format!("{} of {records} records are sent again: {first}", again.len()));
        }
        Verdict::Partly { again, refused, after, why: why.join("; ") }
    }
}

/// What the answer to a request that was refused whole says, in the receiver's words; `None`: it is of somebody else.
pub(super) fn trouble(body: &[u8]) -> Option<String> {
    let failed: Failed = serde_json::from_slice(body).ok()?;
    Some(failed.error.told()).filter(|told| !told.is_empty())
}

#[cfg(test)]
mod tests;

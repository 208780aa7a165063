//! Logpull options: the older way to say a few of the output options, as a query string.
//!
//! Promises: they mean what the same output options mean; a whole Logpull URL is taken too.
//! Must not know: what the options do.
use super::nearest::hint;
use super::options::{OptionError, OutputOptions};
use crate::dataset::Dataset;
use serde_json::{Map, Value};

const POINTER: &str = "/logpull_options";
/// Each parameter, and the output option that it is.
const PARAMETERS: [(&str, &str); 4] = [
    ("fields", "field_names"),
    ("timestamps", "timestamp_format"),
    ("sample", "sample_rate"),
    ("CVE-2021-44228", "CVE-2021-44228"),
];
/// What else stands in the URL of a Logpull request: which records it is for, not how they look.
const IGNORED: [&str; 3] = ["start", "end", "count"];

impl OutputOptions {
    /// Reads `logpull_options`: `fields=…&timestamps=…&sample=…&CVE-2021-44228=true`, with a `?` or a whole URL before
    /// it if need be; all problems at once.
    pub fn from_logpull(text: &str, dataset: &Dataset) -> Result<OutputOptions, Vec<OptionError>> {
        let mut object = Map::new();
        let mut problems = Vec::new();
        let mut problem = |message: String| problems.push(OptionError { pointer: POINTER.into(), message });
        for (name, value) in pairs(text) {
            let Some((_, key)) = PARAMETERS.iter().find(|(parameter, _)| *parameter == name) else {
                if !IGNORED.contains(&name.as_str()) {
                    let near = hint(&name, PARAMETERS.map(|(parameter, _)| parameter));
                    problem(format!("`{name}` is no Logpull option{near}"));
                }
                continue;
            };
            if object.insert((*key).to_owned(), typed(key, value)).is_some() {
                problem(format!("`{name}` stands there twice; keep one"));
            }
        }
        let options = OutputOptions::from_json(&Value::Object(object), dataset);
        if let Err(said) = &options {
            problems.extend(said.iter().map(|problem| {
                let key = problem.pointer.split('/').nth(2).unwrap_or_default();
                let of_key = PARAMETERS.iter().find(|(_, option)| *option == key);
                let name = of_key.map_or(key, |(name, _)| name);
                OptionError { pointer: POINTER.into(), message: format!("{name}: {}", problem.message) }
            }));
        }
        match options {
            Ok(options) if problems.is_empty() => Ok(options),
            _ => Err(problems),
        }
    }
}

/// A parameter's value as the output option has it; what cannot be is left for the reader to refuse.
fn typed(key: &str, value: String) -> Value {
    match (key, value.as_str()) {
        ("field_names", list) => list.split(',').filter(|name| !name.trim().is_empty()).collect(),
        ("CVE-2021-44228", "true") => Value::Bool(true),
        ("CVE-2021-44228", "false") => Value::Bool(false),
        ("sample_rate", number) => {
            let rate = number.parse().ok().and_then(serde_json::Number::from_f64);
            rate.map_or(Value::String(value), Value::Number)
        }
        _ => Value::String(value),
    }
}

/// The names and values of a query string, decoded.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let query = text.trim().split_once('?').map_or(text.trim(), |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// `%41` and `+` are what they stand for; what is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let hex = more.first_chunk().and_then(|digits: &[u8; 2]| {
            let plain = first == b'%' && digits.iter().all(u8::is_ascii_hexdigit);
            plain.then(|| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
        });
        match hex {
            Some(byte) => bytes.push(byte),
            None => bytes.push(if first == b'+' { b' ' } else { first }),
        }
        rest = &more[if hex.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! filter: a second opinion on filters and routes, in the plainest way; and the properties that hold ours against it.
//!
//! Promises: shares no code with what it judges but the tables of fields; works on `serde_json`'s values.
//! Must not know: speed, how filters are compiled and jobs are found.
use crate::dataset::{Dataset, FieldType};
use crate::parse::Parser;
use crate::plan::{Compiled, FieldTable, Filter, RouteJob, Router, Sample};
use serde_json::Value;
use std::cmp::Ordering;

/// Whether a record passes a filter that is right, as it stands under `where`. `None`: a number is too wide to judge.
pub fn naive_passes(node: &Value, record: &Value, dataset: &Dataset) -> Option<bool> {
    let all = |list: &Value| -> Option<Vec<bool>> {
        list.as_array()?.iter().map(|node| naive_passes(node, record, dataset)).collect()
    };
    if let Some(list) = node.get("and") {
        return Some(all(list)?.into_iter().all(|passes| passes));
    }
    if let Some(list) = node.get("or") {
        return Some(all(list)?.into_iter().any(|passes| passes));
    }
    let (key, operator) = (node["key"].as_str()?, node["operator"].as_str()?);
    let field = dataset.fields.iter().find(|field| field.name == key).map(|field| field.field_type);
    let said = field_of(record, key).filter(|said| !said.is_null());
    let ask = |operator| match said {
        None => Some(false),
        Some(said) => leaf(operator, said, &node["value"], field),
    };
    match operator.strip_prefix('!') {
        Some(positive) => ask(positive).map(|holds| !holds),
        None => ask(operator),
    }
}

/// A key of that name, else a path.
fn field_of<'a>(record: &'a Value, key: &str) -> Option<&'a Value> {
    record.get(key).or_else(|| {
        key.split('.').try_fold(record, |at, part| match at {
            Value::Array(items) => {
                let index: usize = part.parse().ok()?;
                items.get(index).filter(|_| index.to_string() == part)
            }
            other => other.get(part),
        })
    })
}

fn leaf(operator: &str, said: &Value, wanted: &Value, field: Option<FieldType>) -> Option<bool> {
    let text = |holds: fn(&str, &str) -> bool| {
        Some(said.as_str().zip(wanted.as_str()).is_some_and(|(said, wanted)| holds(said, wanted)))
    };
    let order = |holds: fn(Ordering) -> bool| {
        Some(order(said, wanted, field == Some(FieldType::Time))?.is_some_and(holds))
    };
    match operator {
        "eq" => equal(said, wanted, field),
        "in" => wanted.as_array()?.iter().try_fold(false, |any, one| Some(any | equal(said, one, field)?)),
        "lt" => order(Ordering::is_lt),
        "leq" => order(Ordering::is_le),
        "gt" => order(Ordering::is_gt),
        "geq" => order(Ordering::is_ge),
        "startsWith" => text(|said, wanted| said.starts_with(wanted)),
        "endsWith" => text(|said, wanted| said.ends_with(wanted)),
        "contains" => match (field, said) {
            (Some(FieldType::String), _) | (None, Value::String(_)) => {
                text(|said, wanted| said.contains(wanted))
            }
            (_, Value::Array(items)) => {
                let of = match field {
                    Some(FieldType::StringArray) => Some(FieldType::String),
                    Some(FieldType::IntArray) => Some(FieldType::Int),
                    _ => None,
                };
                items.iter().try_fold(false, |any, one| Some(any | equal(one, wanted, of)?))
            }
            _ => Some(false),
        },
        other => panic!("no operator: {other}"),
    }
}

fn equal(said: &Value, wanted: &Value, field: Option<FieldType>) -> Option<bool> {
    let spelled = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_bool = |value: &Value| ["true", "false"].contains(&spelled(value).as_str());
    match field {
        Some(FieldType::String) => Some(said.is_string() && said == wanted),
        Some(FieldType::Bool) => Some(is_bool(said) && spelled(said) == spelled(wanted)),
        Some(FieldType::Int | FieldType::Float) => {
            Some(order(said, wanted, false)?.is_some_and(Ordering::is_eq))
        }
        Some(FieldType::Time) => Some(order(said, wanted, true)?.is_some_and(Ordering::is_eq)),
        Some(_) => Some(false),
        None if said.is_string() && wanted.is_string() => Some(said == wanted),
        None if said.is_boolean() || wanted.is_boolean() => {
            Some(is_bool(said) && is_bool(wanted) && spelled(said) == spelled(wanted))
        }
        None => Some(order(said, wanted, false)?.is_some_and(Ordering::is_eq)),
    }
}

/// How two values compare as numbers or times; the inner `None`: they do not. The outer one: nobody knows here.
fn order(said: &Value, wanted: &Value, time: bool) -> Option<Option<Ordering>> {
    let (said, wanted) = (Plain::of(said, time)?, Plain::of(wanted, time)?);
    Some(match (said, wanted) {
        (Plain::Number(said), Plain::Number(wanted)) => Some(said.order(&wanted)),
        _ => None,
    })
}

enum Plain {
    Number(Wide),
    Nothing,
}

/// A number written out: digits before and after the point.
#[derive(Debug, PartialEq, Eq)]
struct Wide {
    negative: bool,
    whole: String,
    fraction: String,
}

const PLACES_MAX: usize = 400;

impl Plain {
    /// `None`: an exponent that is not worth writing out.
    fn of(value: &Value, time: bool) -> Option<Plain> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Some(Plain::Nothing),
        };
        let number = match Wide::read(&text) {
            Some(number) => number?,
            None if time => return Some(nanos_of_date(&text).map_or(Plain::Nothing, Plain::Number)),
            None => return Some(Plain::Nothing),
        };
        if !time {
            return Some(Plain::Number(number));
        }
        let scale =
            [(11, 9), (14, 6), (17, 3), (usize::MAX, 0)].iter().find(|row| number.whole.len() <= row.0)?.1;
        let digits = number.fraction.clone() + &"0".repeat(scale);
        let whole = number.whole + &digits[..scale];
        // Beyond the years that are told here, ours differs on purpose.
        (whole.len() <= 24).then(|| Plain::Number(Wide::new(number.negative, &whole, "")))
    }
}

impl Wide {
    fn new(negative: bool, whole: &str, fraction: &str) -> Wide {
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        Wide { negative: negative && !zero, whole: whole.to_owned(), fraction: fraction.to_owned() }
    }

    /// The outer `None`: no number; the inner: too wide.
    fn read(text: &str) -> Option<Option<Wide>> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
                (mantissa, exponent)
            }
            None => (unsigned, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        for part in [whole, fraction] {
            (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
        }
        let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
        if exponent.unsigned_abs() > PLACES_MAX as u64 {
            return Some(None);
        }
        let zeros = "0".repeat(PLACES_MAX);
        let all = [&zeros, whole, fraction, &zeros].concat();
        let point = (PLACES_MAX + whole.len()) as i64 + exponent;
        let (whole, fraction) = all.split_at(point as usize);
        Some(Some(Wide::new(unsigned.len() < text.len(), whole, fraction)))
    }

    fn order(&self, other: &Wide) -> Ordering {
        let size = |a: &Wide, b: &Wide| {
            a.whole.len().cmp(&b.whole.len()).then(a.whole.cmp(&b.whole)).then(a.fraction.cmp(&b.fraction))
        };
        match (self.negative, other.negative) {
            (false, false) => size(self, other),
            (true, true) => size(other, self),
            (ours, _) => {
                if ours {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

/// Nanoseconds of an RFC 3339 time, by counting days one by one.
fn nanos_of_date(text: &str) -> Option<Wide> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, of: &str| text.get(at..at + 1).is_some_and(|mark| of.contains(mark));
    (mark(4, "-") && mark(7, "-") && mark(10, "Tt ") && mark(13, ":") && mark(16, ":")).then_some(())?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = |year: i64| year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let months = |year: i64| [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *months(year).get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    ((1..=length).contains(&day) && hour < 24 && minute < 60 && second < 61).then_some(())?;
    let year_days = |year: i64| if leap(year) { 366 } else { 365 };
    let mut days: i64 = (1970..year).map(year_days).sum::<i64>() - (year..1970).map(year_days).sum::<i64>();
    days += months(year)[..month as usize - 1].iter().sum::<i64>() + day - 1;
    let mut rest = &text[19..];
    let mut fraction = String::new();
    if let Some(after) = rest.strip_prefix('.') {
        fraction = after.chars().take_while(char::is_ascii_digit).collect();
        (!fraction.is_empty()).then_some(())?;
        rest = &after[fraction.len()..];
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let from = text.len().checked_sub(6)?;
            (rest.len() == 6 && mark(from, "+-") && mark(from + 3, ":")).then_some(())?;
            let (hours, minutes) = (number(from + 1, from + 3)?, number(from + 4, from + 6)?);
            (hours < 24 && minutes < 60).then_some(())?;
            (hours * 60 + minutes) * if mark(from, "+") { 60 } else { -60 }
        }
    };
    let seconds = i128::from(days * 86_400 + hour * 3_600 + minute * 60 + second - offset);
    let nanos: i128 = (fraction + "000000000")[..9].parse().ok()?;
    let all = seconds * 1_000_000_000 + nanos;
    Some(Wide::new(all < 0, &all.unsigned_abs().to_string(), ""))
}

/// What both say of a line: `None` when it is no unrepaired record or the plain way cannot judge it.
fn naive_of(filter: &str, line: &str, dataset: &Dataset) -> Option<bool> {
    let tree: Value = serde_json::from_str(filter).ok()?;
    let record: Value = serde_json::from_str(line).ok()?;
    naive_passes(&tree["where"], &record, dataset)
}

/// A filter that is taken passes what the plain way passes, and a record that passes has what the filter requires.
/// Whether the filter was taken.
pub fn filter_is_naive(filter: &str, lines: &[&str], dataset: &Dataset) -> bool {
    let Ok(parsed) = Filter::parse_all(filter, dataset).map_err(|errors| assert!(!errors.is_empty())) else {
        return false;
    };
    let Some(parsed) = parsed else { return filter.trim().is_empty() };
    let (mut table, mut parser) = (FieldTable::new(), Parser::new());
    let compiled = Compiled::new(&parsed, &mut table);
    let jobs = [RouteJob { hosts: None, filter: Some(&parsed), sample: Sample::ALL }];
    let (mut router, mut wants) = (Router::new(&["host"], &jobs), Vec::new());
    // The second time the shapes are known.
    for line in lines.iter().chain(lines) {
        let Ok(record) = parser.parse(line.as_bytes()) else { continue };
        let passes = compiled.matches(&table.resolve(&record));
        router.wants(&record, 0, 0, &mut wants);
        assert_eq!(!wants.is_empty(), passes, "the router of {filter} on {line}");
        if record.repairs.is_empty()
            && let Some(expected) = naive_of(filter, line, dataset)
        {
            assert_eq!(passes, expected, "{filter} on {line}");
        }
    }
    true
}

/// A job as [`router_is_brute`] has it: hosts, filter, sample.
pub type NaiveJob = (Option<Vec<String>>, Option<Filter>, Sample);

/// A host as the plain way compares it.
fn naive_host(host: &str) -> String {
    let lower = host.trim().to_ascii_lowercase();
    if let Some((inside, _)) = lower.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside.to_owned();
    }
    let (name, port) = lower.split_once(':').unwrap_or((&lower, ""));
    let name = if port.bytes().all(|b| b.is_ascii_digit()) { name } else { &lower };
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

fn naive_in_zone(host: &str, zone: &str) -> bool {
    let host = naive_host(host);
    match zone.strip_prefix("*.") {
        Some(name) if naive_host(name).is_empty() => false,
        Some(name) => {
            host.strip_suffix(&format!(".{}", naive_host(name))).is_some_and(|label| !label.is_empty())
        }
        None => !host.is_empty() && host == naive_host(zone),
    }
}

/// A router wants what asking every job about every record gives.
pub fn router_is_brute(host_fields: &[&str], jobs: &[NaiveJob], lines: &[String], seed: u64) {
    let routed: Vec<_> = jobs
        .iter()
        .map(|(hosts, filter, sample)| RouteJob {
            hosts: hosts.as_deref(),
            filter: filter.as_ref(),
            sample: *sample,
        })
        .collect();
    let mut router = Router::new(host_fields, &routed);
    let (mut parser, mut wants) = (Parser::new(), Vec::new());
    let mut tables: Vec<FieldTable> = jobs.iter().map(|_| FieldTable::new()).collect();
    for (offset, line) in (0..).step_by(700).zip(lines.iter().chain(lines)) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let record = parser.parse(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}: {line}"));
        let host = host_fields.iter().map(|name| &value[*name]).find(|host| !host.is_null());
        let host = host.and_then(Value::as_str);
        let wanted = jobs.iter().zip(&mut tables).map(|((hosts, filter, sample), table)| {
            let zone = hosts
                .as_ref()
                .is_none_or(|zone| host.is_some_and(|host| zone.iter().any(|of| naive_in_zone(host, of))));
            let passes = filter.as_ref().is_none_or(|filter| {
                let compiled = Compiled::new(filter, table);
                compiled.matches(&table.resolve(&record))
            });
            zone && passes && sample.takes(seed, offset)
        });
        let expected: Vec<u32> =
            (0..).zip(wanted).filter(|(_, wanted)| *wanted).map(|(position, _)| position).collect();
        router.wants(&record, seed, offset, &mut wants);
        assert_eq!(wants, expected, "{jobs:?} on {line}");
    }
}

const KEYS: [&str; 16] = [
    "host",
    "a",
    "a.0",
    "a.b",
    "b",
    "status",
    "timestamp",
    "request_time",
    "ClientRequestHost",
    "EdgeResponseStatus",
    "EdgeResponseCompressionRatio",
    "CacheReserveUsed",
    "EdgeStartTimestamp",
    "BotDetectionIDs",
    "BotTags",
    "Cookies",
];
const OPERATORS: [&str; 14] = [
    "eq",
    "!eq",
    "lt",
    "leq",
    "gt",
    "geq",
    "startsWith",
    "!startsWith",
    "endsWith",
    "!endsWith",
    "contains",
    "!contains",
    "in",
    "!in",
];

/// A text as it stands when it is JSON, else as a JSON string.
fn json_of(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(_) => text.to_owned(),
        Err(_) => Value::from(text).to_string(),
    }
}

/// A filter from arbitrary leaves: key, operator, value. What the numbers have beyond the names makes the tree.
pub fn filter_of(leaves: &[(u8, u8, &str)]) -> String {
    let node = leaves.iter().fold(String::new(), |tree, &(key, operator, value)| {
        let (key_name, operator_name) = (KEYS[key as usize % 16], OPERATORS[operator as usize % 14]);
        let value = json_of(value);
        let leaf = format!(r#"{{"key":"{key_name}","operator":"{operator_name}","value":{value}}}"#);
        match (tree.is_empty(), key / 16 % 2, operator / 14 % 2) {
            (true, ..) => leaf,
            (_, 0, 0) => format!(r#"{{"and":[{tree},{leaf}]}}"#),
            (_, 0, _) => format!(r#"{{"or":[{tree},{leaf}]}}"#),
            (_, _, 0) => format!(r#"{{"and":[{leaf},{tree}]}}"#),
            _ => format!(r#"{{"or":[{leaf},{tree}]}}"#),
        }
    });
    format!(r#"{{"where":{node}}}"#)
}

/// A line from arbitrary members: key, value.
pub fn line_of(members: &[(u8, &str)]) -> String {
    let members =
        members.iter().map(|&(key, value)| format!("\"{}\":{}", KEYS[key as usize % 16], json_of(value)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

//! List: the log files of domains by slot of time, in three spellings (LOGPUSH 3.2).
//!
//! | spelling | request | domains | keys of a file | empty slots |
//! |---|---|---|---|---|
//! | CDN | `POST /v1.1/log/list` | ≤ 10 | `name`, `url`, `size` | with `fillFixedTime` |
//! | WAAP | `POST /waap/v1.0/logs/list` | ≤ 50 | `fileName`, `fileUrl`, `fileSize` (text) | never |
//! | LLS | `GET /lls/v1.0/logs/delivery` | ≤ 50 | `name`, `url`, `size` | always |
//!
//! Promises: a bare array, in the order of the request; a slot is listed when its start lies in [start, end); what is
//! listed once is listed until retention takes it; `final` says that nothing can be added to a slot any more.
//! Must not know: keys' secrets, connections.
use super::answer::Problem;
use super::times;
use crate::archive::{Entry, Slot, name};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

/// Longest span of a list, seconds.
const SPAN_MAX: i64 = 24 * 3600;

/// How a list is asked for and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// CDN v1.1.
    Cdn,
    /// SCDN and WAAP v1.0.
    Waap,
    /// Live v1.0.
    Lls,
}

impl Spelling {
    /// The spelling of a path, and its method.
    pub fn of(path: &str) -> Option<(Spelling, &'static str)> {
        match path {
            "/v1.1/log/list" => Some((Spelling::Cdn, "POST")),
            "/waap/v1.0/logs/list" => Some((Spelling::Waap, "POST")),
            "/lls/v1.0/logs/delivery" => Some((Spelling::Lls, "GET")),
            _ => None,
        }
    }

    fn domains_max(self) -> usize {
        if self == Spelling::Cdn { 10 } else { 50 }
    }

    /// What is said of a domain that the key does not see: the same whether there is one.
    pub fn not_found(self, domain: &str) -> Problem {
        let message = format!("domain {domain} is not found");
        match self {
            Spelling::Lls => Problem::bad("LLS.Domain.NotFound", message),
            _ => Problem::new(StatusCode::NOT_FOUND, "Domain.NotFound", message),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAsked {
    /// As they were said, and as [`name::domain`] spells them.
    pub domains: Vec<(String, String)>,
    /// Starts of slots, s since the epoch.
    pub starts: Range<i64>,
    /// Whether slots without a file are told.
    pub fill: bool,
    spelling: Spelling,
}

impl ListAsked {
    /// Reads a body, or the parameters of a GET.
    ///
    /// # Errors
    /// The documented codes.
    pub fn read(spelling: Spelling, query: Option<&str>, body: &[u8]) -> Result<ListAsked, Problem> {
        if spelling == Spelling::Lls {
            return of_query(query.unwrap_or_default());
        }
        let read: Result<Map<String, Value>, _> = serde_json::from_slice(body);
        let body = read.map_err(|error| {
            Problem::bad("Request.BadRequest", format!("the body must be a JSON object: {error}"))
        })?;
        let domains = match body.get("domains") {
            Some(Value::Array(all)) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let domains = domains
            .ok_or_else(|| Problem::bad("Domains.Invalid", "domains must be an array of texts"))
            .and_then(|said| domains_of(spelling, said))?;
        let time = |key, code| match body.get(key) {
            Some(Value::String(text)) => read_time(key, text, times::read(text)),
            _ => Err(Problem::bad(code, format!("{key} must be a text like 2022-09-01T08:00:00Z"))),
        };
        let starts = span(time("startTime", "StartTime.Invalid")?, time("endTime", "EndTime.Invalid")?)?;
        let fill = match body.get("fillFixedTime") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => spelling == Spelling::Cdn,
            Some(_) => return Err(Problem::bad("Request.BadRequest", "fillFixedTime must be true or false")),
        };
        Ok(ListAsked { domains, starts, fill, spelling })
    }
}

fn of_query(query: &str) -> Result<ListAsked, Problem> {
    let (mut domains, mut started, mut ended) = (Vec::new(), None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Neither a domain nor a time has a letter that needs an escape.
        let twice = match key {
            "domain" => {
                domains.push(value.to_owned());
                false
            }
            "started" => started.replace(value).is_some(),
            "ended" => ended.replace(value).is_some(),
            _ => return Err(Problem::bad("Request.BadRequest", "use domain, started and ended")),
        };
        if twice {
            return Err(Problem::bad("Request.BadRequest", format!("{key} stands twice")));
        }
    }
    let domains = domains_of(Spelling::Lls, domains)?;
    let time = |key, code, said: Option<&str>| match said {
        Some(text) => read_time(key, text, times::read_compact(text)),
        None => Err(Problem::bad(code, format!("{key} must be like 20220901T080000Z"))),
    };
    let starts =
        span(time("started", "StartTime.Invalid", started)?, time("ended", "EndTime.Invalid", ended)?)?;
    Ok(ListAsked { domains, starts, fill: true, spelling: Spelling::Lls })
}

fn read_time(key: &str, text: &str, read: Option<i64>) -> Result<i64, Problem> {
    let shown: String = text.escape_debug().take(40).collect();
    read.ok_or_else(|| {
        let message = format!("{key} {shown} is no time like 2022-09-01T08:00:00Z (LLS: 20220901T080000Z)");
        Problem::bad("TimeFormat.Invalid", message)
    })
}

fn span(start: i64, end: i64) -> Result<Range<i64>, Problem> {
    if end < start {
        return Err(Problem::bad("TimeRange.EndBeforeStart", "the end lies before the start"));
    }
    if end - start > SPAN_MAX {
        return Err(Problem::bad("TimeRange.Exceeded", "ask for 24 hours at most"));
    }
    Ok(start..end)
}

fn domains_of(spelling: Spelling, said: Vec<String>) -> Result<Vec<(String, String)>, Problem> {
    let most = spelling.domains_max();
    if said.is_empty() || said.len() > most {
        return Err(Problem::bad("Domains.Invalid", format!("name 1 to {most} domains")));
    }
    let mut domains: Vec<(String, String)> = Vec::new();
    for said in said {
        let own = match name::is_domain(&said) {
            true => said.clone(),
            false => name::domain(said.as_bytes()).into_owned(),
        };
        if own == name::INVALID && said != name::INVALID {
            let shown: String = said.escape_debug().take(80).collect();
            return Err(Problem::bad("Domains.Invalid", format!("{shown} is no domain")));
        }
        if domains.iter().any(|(_, other)| *other == own) {
            return Err(Problem::bad(
                "Domains.Invalid",
                format!("{own} stands twice: domains must be unique"),
            ));
        }
        domains.push((said, own));
    }
    Ok(domains)
}

/// The answer's text: the files of each asked domain, in its order. `url` makes a file's URL; slots that ended by
/// `final_until` (s since the epoch) take no more.
pub fn text(
    asked: &ListAsked,
    found: &[Vec<Entry>],
    url: impl Fn(&Entry) -> String,
    final_until: i64,
) -> String {
    let of = |((said, _), files): (&(String, String), &Vec<Entry>)| {
        let slots: Vec<Value> = slots(asked, files)
            .iter()
            .map(|(start, slot)| told(asked.spelling, *start, slot, &url, final_until))
            .collect();
        json!({ "domain": said, "logs": slots })
    };
    Value::Array(asked.domains.iter().zip(found).map(of).collect()).to_string()
}

type Slots<'a> = BTreeMap<i64, (Slot, Vec<&'a Entry>)>;

/// Files by the start of their slot, with the empty hours that are wanted.
fn slots<'a>(asked: &ListAsked, files: &'a [Entry]) -> Slots<'a> {
    let mut slots = Slots::new();
    for file in files {
        slots.entry(file.start).or_insert((file.slot, Vec::new())).1.push(file);
    }
    if asked.fill {
        let first = Slot::Hour.start_of(asked.starts.start + Slot::Hour.seconds() - 1);
        for start in (first..asked.starts.end).step_by(Slot::Hour.seconds() as usize) {
            // Five minutes of the older rule stand for their hour.
            if slots.range(start..start + Slot::Hour.seconds()).next().is_none() {
                slots.insert(start, (Slot::Hour, Vec::new()));
            }
        }
    }
    slots
}

fn told(
    spelling: Spelling,
    start: i64,
    (slot, files): &(Slot, Vec<&Entry>),
    url: impl Fn(&Entry) -> String,
    final_until: i64,
) -> Value {
    let values: Vec<Value> = files
        .iter()
        .map(|file| {
            let name = name::file(file.start, file.serial);
            match spelling {
                Spelling::Waap => {
                    json!({ "fileName": name, "fileUrl": url(file), "fileSize": file.bytes.to_string() })
                }
                _ => json!({ "name": name, "url": url(file), "size": file.bytes }),
            }
        })
        .collect();
    let is_final = final_until >= start + slot.seconds();
    json!({ "timestamp": times::write(start), "values": values, "final": is_final })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cdn(body: Value) -> Result<ListAsked, &'static str> {
        ListAsked::read(Spelling::Cdn, None, body.to_string().as_bytes()).map_err(|problem| problem.code)
    }

    fn body(domains: Value, start: &str, end: &str) -> Value {
        json!({ "domains": domains, "startTime": start, "endTime": end })
    }

    const DAY: (&str, &str) = ("2022-09-01T00:00:00Z", "2022-09-02T00:00:00Z");

    fn entry(start: i64, serial: u32, slot: Slot) -> Entry {
        let (domain, start) = ("a".to_owned(), start);
        let (bytes, raw_bytes, records, crc32) = (9, 10, 1, 7);
        Entry {
            domain,
            start,
            serial,
            slot,
            bytes,
            raw_bytes,
            records,
            crc32,
            first: 0,
            last: 0,
            published: 0,
        }
    }

    #[test]
    fn mistakes_have_the_documented_codes() {
        assert!(cdn(body(json!(["a"]), DAY.0, DAY.1)).is_ok());
        let many: Vec<String> = (0..11).map(|n| format!("d{n}")).collect();
        assert!(cdn(body(json!(many[..10]), DAY.0, DAY.1)).is_ok());
        let waap = body(json!(many), DAY.0, DAY.1).to_string();
        assert!(ListAsked::read(Spelling::Waap, None, waap.as_bytes()).is_ok());
        for domains in [
            json!([]),
            json!("a"),
            json!([1]),
            json!(["a", "A:80"]),
            json!(["a/b"]),
            json!(many),
            json!([""]),
        ] {
            assert_eq!(cdn(body(domains.clone(), DAY.0, DAY.1)), Err("Domains.Invalid"), "{domains}");
        }
        for (start, end, code) in [
            ("2022-09-01", DAY.1, "TimeFormat.Invalid"),
            (DAY.0, "x", "TimeFormat.Invalid"),
            (DAY.1, DAY.0, "TimeRange.EndBeforeStart"),
            (DAY.0, "2022-09-02T00:00:01Z", "TimeRange.Exceeded"),
        ] {
            assert_eq!(cdn(body(json!(["a"]), start, end)), Err(code), "{start} {end}");
        }
        assert_eq!(cdn(json!({ "domains": ["a"], "endTime": DAY.1 })), Err("StartTime.Invalid"));
        assert_eq!(
            cdn(json!({ "domains": ["a"], "startTime": DAY.0, "endTime": 1 })),
            Err("EndTime.Invalid")
        );
        assert_eq!(cdn(json!({ "startTime": DAY.0, "endTime": DAY.1 })), Err("Domains.Invalid"));
        assert_eq!(cdn(json!([])), Err("Request.BadRequest"));
        let read = ListAsked::read(Spelling::Cdn, None, b"{").map_err(|problem| problem.code);
        assert_eq!(read, Err("Request.BadRequest"));
        let offset =
            cdn(body(json!(["a"]), "2022-09-01T08:00:00+08:00", "2022-09-01T09:00:00+0800")).unwrap();
        assert_eq!(offset.starts, 1_661_990_400..1_661_994_000);
    }

    #[test]
    fn lls_is_asked_by_parameters() {
        let read =
            |query: &str| ListAsked::read(Spelling::Lls, Some(query), b"").map_err(|problem| problem.code);
        let asked = read("domain=a&domain=b&started=20220901T000000Z&ended=20220901T020000Z").unwrap();
        assert_eq!((asked.domains.len(), asked.fill), (2, true));
        assert_eq!(asked.starts, 1_661_990_400..1_661_997_600);
        assert_eq!(read("domain=a&started=20220901T000000Z"), Err("EndTime.Invalid"));
        assert_eq!(read("started=20220901T000000Z&ended=20220901T020000Z"), Err("Domains.Invalid"));
        assert_eq!(read("domain=a&started=x&ended=20220901T020000Z"), Err("TimeFormat.Invalid"));
        assert_eq!(read("domain=a&started=x&started=y"), Err("Request.BadRequest"));
        assert_eq!(read("domains=a"), Err("Request.BadRequest"));
    }

    #[test]
    fn slots_are_told_in_order_and_filled_when_asked() {
        let hour = 1_661_990_400;
        let files = [
            entry(hour, 1, Slot::Hour),
            entry(hour, 2, Slot::Hour),
            entry(hour + 7200 + 300, 1, Slot::FiveMinutes),
        ];
        let mut asked = cdn(body(json!(["a"]), "2022-09-01T00:00:00Z", "2022-09-01T04:00:00Z")).unwrap();
        let tell = |asked: &ListAsked, now| -> Value {
            serde_json::from_str(&text(asked, &[files.to_vec()], |file| file.path(), now)).unwrap()
        };
        let end = hour + 3600;
        let all = tell(&asked, end);
        assert_eq!(
            all,
            json!([{ "domain": "a", "logs": [
                { "timestamp": "2022-09-01T00:00:00Z", "final": true, "values": [
                    { "name": "20220901000000-1.log.gz", "url": "a/20220901/20220901000000-1.log.gz", "size": 9 },
                    { "name": "20220901000000-2.log.gz", "url": "a/20220901/20220901000000-2.log.gz", "size": 9 } ] },
                { "timestamp": "2022-09-01T02:05:00Z", "final": false, "values": [
                    { "name": "20220901020500-1.log.gz", "url": "a/20220901/20220901020500-1.log.gz", "size": 9 } ] }
            ] }])
        );
        assert_eq!(tell(&asked, end - 1)[0]["logs"][0]["final"], false);
        asked.fill = true;
        let stamps = |all: &Value| -> Vec<String> {
            let slots = all[0]["logs"].as_array().unwrap();
            slots.iter().map(|slot| slot["timestamp"].as_str().unwrap()[11..16].to_owned()).collect()
        };
        let filled = tell(&asked, end);
        assert_eq!(stamps(&filled), ["00:00", "01:00", "02:05", "03:00"]);
        assert_eq!(filled[0]["logs"][1]["values"], json!([]));
        asked.starts.start += 1;
        assert_eq!(
            slots(&asked, &[]).keys().copied().collect::<Vec<_>>(),
            [hour + 3600, hour + 7200, hour + 10800]
        );
        asked.spelling = Spelling::Waap;
        let waap = tell(&asked, end);
        assert_eq!(waap[0]["logs"][0]["values"][0]["fileSize"], "9");
    }
}

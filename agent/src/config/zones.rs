//! Zones: which hosts belong to which zone, as an operator writes it (`EDGEPUSH_ZONES`).
//!
//! Promises: an accepted list has at least one zone, each with at least one host, and no host in two zones; all that
//! is wrong is said at once, each with its zone.
//! Must not know: jobs, records, how a host is looked up.
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

/// The hosts of each zone: lower-cased, each once; `*.x` is every host below x, and not x itself.
pub type ZoneHosts = BTreeMap<String, Vec<String>>;

/// Longest id of a zone or an account, characters.
pub const ID_CHARS_MAX: usize = 64;
/// So many mistakes are told; a broken file of a thousand zones has as many.
const TOLD_MAX: usize = 20;

/// Whether a text can be the id of a zone or an account: it stands in paths, labels and tokens.
pub fn id_fits(id: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(letter)
}

/// Reads `zone=host host;zone2=…`, a JSON object of lists, or the path of a file with either.
///
/// # Errors
/// All that is wrong, in plain words.
pub fn zone_hosts(text: &str, read: &dyn Fn(&Path) -> io::Result<String>) -> Result<ZoneHosts, String> {
    let file = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
    let text = match file {
        true => {
            read(Path::new(text)).map_err(|error| format!("names a file that cannot be read: {error}"))?
        }
        false => text.to_owned(),
    };
    let (pairs, mut wrong) = match text.trim_start().starts_with('{') {
        true => {
            let pairs: Pairs = serde_json::from_str(&text).map_err(|error| {
                format!("is no JSON object of lists of hosts, like {{\"zone\":[\"host\"]}}: {error}")
            })?;
            (pairs.0, Vec::new())
        }
        false => inline(&text),
    };
    let hosts = collect(pairs, &mut wrong);
    if hosts.is_empty() && wrong.is_empty() {
        wrong.push("has no zone; remove it to have none".into());
    }
    match wrong.len() {
        0 => Ok(hosts),
        n => {
            let more = n.saturating_sub(TOLD_MAX);
            wrong.truncate(TOLD_MAX);
            let rest = if more > 0 { format!("; and {more} more mistakes") } else { String::new() };
            Err(wrong.join("; ") + &rest)
        }
    }
}

fn inline(text: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (mut pairs, mut wrong) = (Vec::new(), Vec::new());
    for part in text.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((zone, hosts)) => {
                let hosts = hosts.split_whitespace().map(str::to_owned).collect();
                pairs.push((zone.trim().to_owned(), hosts));
            }
            None => wrong.push(format!("has `{}`, which is not written zone=host host", short(part))),
        }
    }
    (pairs, wrong)
}

fn collect(pairs: Vec<(String, Vec<String>)>, wrong: &mut Vec<String>) -> ZoneHosts {
    let mut zones = ZoneHosts::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (zone, said) in pairs {
        if !id_fits(&zone) {
            let shown = short(&zone);
            wrong.push(format!("has the zone `{shown}`; an id is 1 to {ID_CHARS_MAX} of A-Z a-z 0-9 - _"));
            continue;
        }
        if zones.contains_key(&zone) {
            wrong.push(format!("has the zone {zone} twice; join its hosts"));
            continue;
        }
        let mut hosts = BTreeSet::new();
        for text in &said {
            let Some(host) = host(text) else {
                let shown = short(text);
                wrong.push(format!(
                    "has in zone {zone} `{shown}`, which is no host name (a.example or *.a.example)"
                ));
                continue;
            };
            match owners.get(&host) {
                Some(other) if *other != zone => {
                    wrong.push(format!("has {host} in the zones {other} and {zone}; a host belongs to one"));
                }
                _ => {
                    owners.insert(host.clone(), zone.clone());
                    hosts.insert(host);
                }
            }
        }
        if said.is_empty() {
            wrong.push(format!("has the zone {zone} without a host"));
        }
        zones.insert(zone, hosts.into_iter().collect());
    }
    zones
}

/// A host name or `*.name`, lower-cased, without its trailing dot.
fn host(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    let name = lower.strip_prefix("*.").unwrap_or(lower);
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let fits = name.len() <= 253
        && edge(name.bytes().next())
        && edge(name.bytes().next_back())
        && name.bytes().all(inner)
        && !name.contains("..");
    fits.then(|| lower.to_owned())
}

fn short(text: &str) -> String {
    text.escape_debug().take(60).collect()
}

/// A JSON object whose repeated keys are not lost: the second would silently take the first one's hosts away.
struct Pairs(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of lists")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ZoneHosts, String> {
        zone_hosts(text, &|path| match path.to_str() {
            Some("/z.json") => Ok("{\"a\": [\"x.example\"]}".into()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        })
    }

    #[test]
    fn all_three_ways_of_writing_are_read() {
        let wanted = ZoneHosts::from([
            ("023e".into(), vec!["*.a.example".into(), "a.example".into()]),
            ("z2".into(), vec!["b.example".into()]),
        ]);
        assert_eq!(read("023e=A.example. *.a.example a.example; z2=b.example;"), Ok(wanted.clone()));
        assert_eq!(read(r#"{"023e":["a.example","*.a.example"],"z2":["b.example"]}"#), Ok(wanted));
        assert_eq!(read("/z.json"), Ok(ZoneHosts::from([("a".into(), vec!["x.example".into()])])));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let said = read("a b=x.example;z1=;z2=-x *;z3=x.example;z4=x.example;z3=y.example;what").unwrap_err();
        for wanted in [
            "the zone `a b`; an id is",
            "the zone z1 without a host",
            "in zone z2 `-x`, which is no host name",
            "in zone z2 `*`",
            "x.example in the zones z3 and z4",
            "the zone z3 twice",
            "`what`, which is not written",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(read(r#"{"z":["a.example"],"z":["b.example"]}"#).unwrap_err().contains("the zone z twice"));
        assert!(read(r#"{"z":"a.example"}"#).unwrap_err().contains("no JSON object of lists"));
        assert!(read("/none").unwrap_err().contains("cannot be read"));
        assert!(read("{}").unwrap_err().contains("has no zone"));
        let many: String = (0..100).map(|i| format!("z{i}=;")).collect();
        assert!(read(&many).unwrap_err().ends_with("; and 80 more mistakes"));
    }
}

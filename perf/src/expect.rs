//! What must arrive: one hash for each line that a right agent delivers, made from the corpus itself.
//!
//! Promises: the reference projection is serde_json's, with the values' own bytes; nothing of the agent is used.
//! Must not know: how an answer came.
use crate::case::Keep;
use crate::corpus::{Corpus, Fate, Kind, sequence};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::hash::Hasher;

/// By what a line is known again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// All of its bytes: what the agent promises.
    Bytes,
    /// Its id only: for peers that write every line anew.
    Id,
}

/// The lines that must arrive.
pub struct Expected {
    /// One hash a line, ascending.
    pub lines: Vec<u64>,
    /// Bytes of these lines with a newline each; 0 when they are known by id only.
    pub bytes: u64,
    /// How many lines are rejects.
    pub rejects: u64,
    /// How many lines are repaired.
    pub repairs: u64,
    /// By what lines are known.
    pub by: By,
}

impl Expected {
    /// Nothing yet.
    pub fn new(by: By) -> Expected {
        Expected { lines: Vec::new(), bytes: 0, rejects: 0, repairs: 0, by }
    }

    /// What becomes of the first `count` lines of a corpus.
    pub fn of(kind: Kind, count: u64, fields: &[String], keep: Option<&Keep>, by: By) -> Expected {
        let (mut corpus, mut expected, mut line) = (Corpus::new(kind, 1), Expected::new(by), Vec::new());
        for _ in 0..count {
            line.clear();
            let fate = corpus.line(&mut line, None);
            line.pop();
            match fate {
                Fate::Record => expected.record(&line, fields, keep),
                Fate::Repaired(right) => {
                    expected.repairs += 1;
                    expected.record(&right, fields, keep);
                }
                Fate::Reject => expected.rejects += 1,
                Fate::Blank => {}
            }
        }
        expected.lines.sort_unstable();
        expected
    }

    fn record(&mut self, line: &[u8], fields: &[String], keep: Option<&Keep>) {
        if keep.is_some_and(|keep| !keep.keeps(line)) {
            return;
        }
        if fields.is_empty() {
            self.push(line);
        } else {
            self.push(&project(line, fields));
        }
    }

    /// One more line, without its newline. `lines` must be sorted before it is used.
    pub fn push(&mut self, line: &[u8]) {
        self.lines.push(hash(line, self.by));
        if self.by == By::Bytes {
            self.bytes += line.len() as u64 + 1;
        }
    }
}

/// The hash by which a line is known.
pub fn hash(line: &[u8], by: By) -> u64 {
    // SipHash with fixed keys: a changed line passes once in 2^64.
    let mut hasher = std::hash::DefaultHasher::new();
    match by {
        By::Bytes => hasher.write(line),
        By::Id => hasher.write_u64(sequence(line).unwrap_or(u64::MAX)),
    }
    hasher.finish()
}

/// The object with these fields, in this order, without added white space. What is missing is left out.
fn project(line: &[u8], fields: &[String]) -> Vec<u8> {
    let Ok(members) = serde_json::from_slice::<Members>(line) else { return line.to_vec() };
    let mut out = vec![b'{'];
    for field in fields {
        // The last of repeated keys wins.
        let Some((_, value)) = members.0.iter().rev().find(|(key, _)| key == field) else { continue };
        if out.len() > 1 {
            out.push(b',');
        }
        let key = serde_json::Value::from(field.as_str()).to_string();
        out.extend_from_slice(key.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
    out
}

/// The value of a top-level field, as it is written.
pub fn field(line: &[u8], name: &str) -> Option<String> {
    let members: Members = serde_json::from_slice(line).ok()?;
    members.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.get().to_owned())
}

/// An object's members in their order, values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(64);
                while let Some((key, value)) = map.next_entry::<Key, &RawValue>()? {
                    members.push((key.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Walk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_projection_keeps_the_bytes_of_values() {
        let check = |line: &str, fields: &[&str], expected: &str| {
            let fields: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
            assert_eq!(String::from_utf8(project(line.as_bytes(), &fields)).unwrap(), expected);
        };
        check(
            r#"{"a": 1e-7 ,"b":"\/\u00e9","c":[1, 2]}"#,
            &["c", "a", "b"],
            r#"{"c":[1, 2],"a":1e-7,"b":"\/\u00e9"}"#,
        );
        check(r#"{"a":1,"a":2,"b\u0063":3}"#, &["a", "bc", "missing"], r#"{"a":2,"bc":3}"#);
        check(r#"{"a":1}"#, &["x"], "{}");
    }

    #[test]
    fn a_filter_keeps_about_what_it_says() {
        let keep = Keep { field: "query".into(), contains: "&q=37".into() };
        let all = Expected::of(Kind::Edge26, 20_000, &[], None, By::Bytes);
        let kept = Expected::of(Kind::Edge26, 20_000, &[], Some(&keep), By::Bytes);
        assert_eq!(all.lines.len(), 20_000);
        assert!((150..250).contains(&kept.lines.len()), "{}", kept.lines.len());
    }
}

//! Said: the settings as they were written, before they mean anything.
//!
//! Promises: every `EDGEPUSH_*` name is either taken by a row of the table or a problem with the nearest name; an
//! empty value is unset; values of unknown names are never repeated (one may be a secret with a typing error).
//! Must not know: what a value means.
use super::keys::{KEYS, Key, Parse};
use super::{Origin, Problem, VERSION};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What every name of ours begins with.
const PREFIX: &str = "EDGEPUSH_";
/// What ends the name of a variable that names a file with the value.
const FILE: &str = "_FILE";

/// One value and where it was said.
pub struct Value {
    /// As written.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// All that was said, by name.
pub struct Said {
    values: BTreeMap<String, Value>,
    /// What was wrong before any meaning.
    pub problems: Vec<Problem>,
}

impl Said {
    /// Sorts out the pairs of an environment; reads files through `read`.
    pub fn collect(
        pairs: impl IntoIterator<Item = (OsString, OsString)>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Said {
        let mut said = Said { values: BTreeMap::new(), problems: Vec::new() };
        let mut pairs: Vec<(String, OsString)> = pairs
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        // Sorted, so that the same mistakes always give the same report; a name comes before its _FILE.
        pairs.sort();
        for (name, value) in pairs {
            if let Err(why) = said.put(&name, value, read) {
                said.problems.push(Problem { subject: name, why });
            }
        }
        said
    }

    fn put(
        &mut self,
        name: &str,
        value: OsString,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<(), String> {
        if let Some(stem) = name.strip_suffix(FILE).filter(|stem| row_of(stem).is_some()) {
            if self.values.contains_key(stem) {
                return Err(format!("and {stem} are both set; remove one"));
            }
            let path = PathBuf::from(value);
            let text = read(&path).map_err(|error| match path.to_str() {
                Some(path) if path.starts_with("file:") => {
                    format!(
                        "reads the value from a file, and a source's name cannot end in {FILE}; rename it"
                    )
                }
                _ => format!("names {}, which cannot be read: {error}", path.display()),
            })?;
            let text = text.trim().to_string();
            if !text.is_empty() {
                self.values.insert(stem.into(), Value { text, origin: Origin::File(path) });
            }
            return Ok(());
        }
        let Some(_) = row_of(name) else { return Err(unknown(name)) };
        let text = value.into_string().map_err(|_| "is not UTF-8".to_string())?;
        let text = text.trim().to_string();
        if !text.is_empty() {
            self.values.insert(name.into(), Value { text, origin: Origin::Environment });
        }
        Ok(())
    }

    /// Takes the value of one name.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name)
    }

    /// Takes all values of a row whose name has a part that the operator chooses.
    pub fn take_named(&mut self, key: &Key) -> Vec<(String, Value)> {
        let Parse::Named(_) = key.parse else { return Vec::new() };
        let names: Vec<String> = self.values.keys().filter(|n| is_named(key, n)).cloned().collect();
        names.into_iter().filter_map(|n| self.values.remove(&n).map(|v| (n, v))).collect()
    }
}

fn is_named(key: &Key, name: &str) -> bool {
    matches!(key.parse, Parse::Named(_)) && name.starts_with(key.stem()) && name.len() > key.stem().len()
}

/// The row that a name belongs to: the exact one, else one with a chosen part.
fn row_of(name: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|key| key.name == name && !matches!(key.parse, Parse::Named(_)));
    exact.or_else(|| KEYS.iter().find(|key| is_named(key, name)))
}

fn unknown(name: &str) -> String {
    match nearest(name) {
        Some(near) => format!("is no setting of edgepush {VERSION}; did you mean {near}? Else remove it"),
        None => format!("is no setting of edgepush {VERSION}; remove it (`edgepush env` shows all)"),
    }
}

/// The known name that is written most like `name`, if one is near enough to be meant.
fn nearest(name: &str) -> Option<String> {
    let (name, file) = name.strip_suffix(FILE).map_or((name, ""), |stem| (stem, FILE));
    let own = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_uppercase();
    let known = KEYS.iter().filter(|key| !matches!(key.parse, Parse::Named(_)));
    let near = known.map(|key| (distance(&own, &key.name[PREFIX.len()..]), key.name)).min()?;
    (near.0 <= 1 + own.len() / 4).then(|| format!("{}{file}", near.1))
}

/// Edits between two names: a letter put in, left out, changed, or two neighbours swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("A", "", 1), ("FIELDS", "FEILDS", 1), ("CODEC", "CODE", 1), ("LOG", "TZ", 3)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
            assert_eq!(distance(b, a), d, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        let cases = [
            ("EDGEPUSH_BATCH_BYTE", Some("EDGEPUSH_BATCH_BYTES")),
            ("EDGEPUSH_SOURCE", Some("EDGEPUSH_SOURCES")),
            ("EDGEPUSH_FEILDS", Some("EDGEPUSH_FIELDS")),
            ("EDGEPUSH_API_TOKN_FILE", Some("EDGEPUSH_API_TOKEN_FILE")),
            ("EDGEPUSH_batch_records", Some("EDGEPUSH_BATCH_RECORDS")),
            ("EDGEPUSH_KAFKA_BROKERS", None),
        ];
        for (name, near) in cases {
            assert_eq!(nearest(name).as_deref(), near, "{name}");
        }
    }
}

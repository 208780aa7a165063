//! found: what the lines of a sample give a data set.
//!
//! Must not know: how it is shown.
use edgepush_shard::dataset::mapping::{Choices, Filled, Mapper};
use edgepush_shard::dataset::{Dataset, Field};
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::limits::HEAD_BYTES_MAX;
use edgepush_shard::record::{Record, ValueKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lines of a reason that are told.
const SHOWN_MAX: usize = 3;

/// What the lines of a sample give a data set.
pub(super) struct Found {
    pub(super) dataset: &'static Dataset,
    /// As what the lines were read.
    pub(super) format: String,
    pub(super) lines: u64,
    pub(super) records: u64,
    pub(super) blank: u64,
    /// Records by the mapping that knew them; no name: none did.
    pub(super) mappings: BTreeMap<Option<String>, u64>,
    /// By name.
    fields: BTreeMap<&'static str, OfField>,
    /// All fields of the source, nested ones as paths.
    source: BTreeSet<String>,
    used: BTreeSet<String>,
    pub(super) rejects: BTreeMap<&'static str, Rejects>,
}

/// What fills one field.
pub(super) struct OfField {
    pub(super) field: Field,
    /// Each way, with the records that it filled, in the order of their first.
    pub(super) ways: Vec<(String, u64)>,
    pub(super) filled: u64,
    /// The first value that there was.
    pub(super) example: String,
}

/// Lines that are no records for one reason.
#[derive(Default)]
pub(super) struct Rejects {
    pub(super) lines: u64,
    /// Line and column of the first ones.
    pub(super) shown: Vec<(usize, u32)>,
}

impl Found {
    /// Reads and maps the lines.
    pub(super) fn of(
        format: &Format,
        dataset: &'static Dataset,
        choices: Arc<Choices>,
        lines: &[u8],
        most: usize,
    ) -> Found {
        let mut found = Found {
            dataset,
            format: format.name().to_owned(),
            lines: 0,
            records: 0,
            blank: 0,
            mappings: BTreeMap::new(),
            fields: BTreeMap::new(),
            source: BTreeSet::new(),
            used: BTreeSet::new(),
            rejects: BTreeMap::new(),
        };
        let (mut reader, mut mapper) = (Reader::new(), Mapper::new(dataset, choices));
        let stand = Stand { head: &lines[..lines.len().min(HEAD_BYTES_MAX)], start: 0 };
        let told = reader.lines(format, stand, lines, |frame, parsed| match parsed {
            Ok(record) => found.record(&record, &mut mapper),
            Err(fault) => {
                let reject = found.rejects.entry(fault.reason.as_str()).or_default();
                reject.lines += 1;
                if reject.shown.len() < SHOWN_MAX {
                    let line = memchr::memchr_iter(b'\n', &lines[..frame.offset]).count() + 1;
                    reject.shown.push((line, fault.column));
                }
            }
        });
        debug_assert!(told.lines.all <= most as u64);
        (found.lines, found.blank) = (told.lines.all, told.lines.blank);
        if let Some(decided) = told.decided {
            decided.clone_into(&mut found.format);
        }
        found
    }

    fn record(&mut self, record: &Record<'_>, mapper: &mut Mapper) {
        self.records += 1;
        let value = serde_json::from_slice(record.text).unwrap_or_default();
        leaves("", &value, &mut self.source);
        let explained = mapper.explain(record, 0);
        let name = explained.as_ref().map(|(mapping, _)| mapping.name.clone());
        *self.mappings.entry(name).or_default() += 1;
        match explained {
            Some((_, filled)) => filled.iter().for_each(|filled| self.filled(filled)),
            None => self.as_it_is(record),
        }
    }

    fn filled(&mut self, filled: &Filled) {
        if filled.value == b"null" {
            return;
        }
        let way = match &filled.origin {
            None => {
                self.used.insert(filled.field.name.to_owned());
                format!("`{}`", filled.field.name)
            }
            Some(origin) => {
                let named = [&origin.from, &origin.query, &origin.when].into_iter().flatten();
                let others = origin.plus.iter().chain(&origin.minus).map(|(name, _)| name);
                self.used.extend(named.chain(others).cloned());
                origin.to_string()
            }
        };
        let example = String::from_utf8_lossy(&filled.value).into_owned();
        let of = self.fields.entry(filled.field.name).or_insert_with(|| OfField {
            field: filled.field,
            ways: Vec::new(),
            filled: 0,
            example,
        });
        of.filled += 1;
        match of.ways.iter_mut().find(|(known, _)| *known == way) {
            Some((_, records)) => *records += 1,
            None => of.ways.push((way, 1)),
        }
    }

    /// A record that no mapping knows: what it has under the data set's names.
    fn as_it_is(&mut self, record: &Record<'_>) {
        for field in self.dataset.fields {
            let named = |key: &[u8]| key == field.name.as_bytes();
            let own = record.members.iter().rfind(|member| named(member.key.of(record.text)));
            if let Some(own) = own.filter(|member| member.kind != ValueKind::Null) {
                let value = own.value.of(record.text).to_vec();
                self.filled(&Filled { field: *field, origin: None, value });
            }
        }
    }

    /// The fields that are filled in at least one record.
    pub(super) fn fields(&self) -> impl Iterator<Item = &OfField> {
        self.fields.values()
    }

    /// The data set's fields that no record fills.
    pub(super) fn empty(&self) -> Vec<&'static str> {
        let names = self.dataset.fields.iter().map(|field| field.name);
        names.filter(|name| !self.fields.contains_key(name)).collect()
    }

    /// The source's fields from which nothing comes.
    pub(super) fn unused(&self) -> Vec<&str> {
        let within = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let unused = |name: &&String| !self.used.iter().any(|used| within(used, name) || within(name, used));
        self.source.iter().filter(unused).map(String::as_str).collect()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let fields: Vec<Value> = self
            .fields()
            .map(|of| {
                let example: Value = serde_json::from_str(&of.example).unwrap_or_default();
                let from: Vec<Value> =
                    of.ways.iter().map(|(way, records)| json!({ "source": way.replace('`', ""), "records": records })).collect();
                json!({ "name": of.field.name, "type": of.field.field_type.word(), "from": from, "example": example, "filled": of.filled })
            })
            .collect();
        let mapping =
            |(name, records): (&Option<String>, &u64)| json!({ "mapping": name, "records": records });
        let rejected: Vec<Value> = self
            .rejects
            .iter()
            .map(|(reason, rejects)| {
                let (line, column) = rejects.shown.first().copied().unwrap_or_default();
                json!({ "reason": reason, "lines": rejects.lines, "line": line, "column": column })
            })
            .collect();
        json!({
            "dataset": self.dataset.name,
            "format": self.format,
            "lines": self.lines,
            "records": self.records,
            "blank": self.blank,
            "rejected": rejected,
            "mappings": self.mappings.iter().map(mapping).collect::<Vec<_>>(),
            "fields": fields,
            "empty": self.empty(),
            "unused": self.unused(),
        })
    }
}

/// The paths of all values that are no objects.
fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if !members.is_empty() || path.is_empty() => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, found);
            }
        }
        _ => _ = found.insert(path.to_owned()),
    }
}

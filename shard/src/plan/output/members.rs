//! Members: every member of a record, in its order, some under another name, treated or left out.
//!
//! Promises: keys are the record's bytes where they are not renamed; duplicates stay duplicates, and each is treated.
//! Must not know: the sink, the job.
use super::options::{OutputOptions, TIME_FIELDS};
use super::privacy::HashKey;
use super::shapes::Shapes;
use super::text::json_string;
use super::treat::{Rule, Treatment};
use crate::dataset::{Dataset, FieldType};
use crate::plan::path::key_is;
use crate::record::{Record, Span};
use crate::ring::RecordSink;
use std::collections::BTreeSet;

struct Ruled {
    name: String,
    /// `"new name":`, if it has one.
    key: Option<Vec<u8>>,
    rule: Rule,
}

pub(in crate::plan) struct Members {
    /// Sorted by name; the last one is for every other member, and has none.
    ruled: Vec<Ruled>,
    /// Which of them each member has, by shape.
    shapes: Shapes<usize>,
    head: Vec<u8>,
    delimiter: Vec<u8>,
    tail: Vec<u8>,
    treatment: Treatment,
}

impl Members {
    pub(in crate::plan) fn new(options: &OutputOptions, dataset: &Dataset, key: &HashKey) -> Members {
        let typed = dataset.fields.iter();
        let typed =
            typed.filter(|f| matches!(f.field_type, FieldType::Time | FieldType::Int | FieldType::Float));
        let times = TIME_FIELDS.into_iter().filter(|_| dataset.open);
        let names: BTreeSet<&str> =
            options.renames().chain(options.private()).chain(times).chain(typed.map(|f| f.name)).collect();
        let ruled = |name: &str| {
            let key = Some(options.renamed(name)).filter(|new| *new != name).map(|new| {
                let mut key = Vec::new();
                json_string(new.as_bytes(), &mut key);
                key.push(b':');
                key
            });
            Ruled { name: name.to_owned(), key, rule: Rule::new(options, dataset, name) }
        };
        let others = Rule::new(options, &crate::dataset::RAW, "");
        let others = Ruled { name: String::new(), key: None, rule: others };
        Members {
            ruled: names.into_iter().map(ruled).chain([others]).collect(),
            shapes: Shapes::new(0),
            head: options.head().into_bytes(),
            delimiter: options.field_delimiter().as_bytes().to_vec(),
            tail: options.tail().as_bytes().to_vec(),
            treatment: Treatment::new(key),
        }
    }

    #[inline(never)]
    pub(in crate::plan) fn bytes_max(&mut self, record: &Record<'_>) -> usize {
        let rules = resolve(&mut self.shapes, &self.ruled, record);
        let member_bytes = rules.iter().zip(record.members).map(|(&rule, member)| {
            let ruled = &self.ruled[rule];
            let key = ruled.key.as_ref().map_or(member.key.len() + 3, Vec::len);
            // A string's quotes are in its value's length, and in what it becomes.
            self.delimiter.len() + key + ruled.rule.bytes_max(member.value.len())
        });
        self.head.len() + self.tail.len() + member_bytes.sum::<usize>()
    }

    #[inline(never)]
    pub(in crate::plan) fn write<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        let rules = resolve(&mut self.shapes, &self.ruled, record);
        sink.put(&self.head);
        let mut first = true;
        for (&rule, member) in rules.iter().zip(record.members) {
            let ruled = &self.ruled[rule];
            if ruled.rule.drop {
                continue;
            }
            if !std::mem::take(&mut first) {
                sink.put(&self.delimiter);
            }
            match &ruled.key {
                Some(key) => sink.put(key),
                None => {
                    let Span { start, end } = member.key;
                    sink.put(Span { start: start - 1, end: end + 1 }.of(record.text));
                    sink.put(b":");
                }
            }
            self.treatment.value(&ruled.rule, record.text, *member).write(sink);
        }
        sink.put(&self.tail);
    }
}

/// Which rule each member of this record has.
fn resolve<'a>(shapes: &'a mut Shapes<usize>, ruled: &[Ruled], record: &Record<'_>) -> &'a [usize] {
    let (named, others) = (&ruled[..ruled.len() - 1], ruled.len() - 1);
    let rule = |key: &[u8]| {
        let found = match memchr::memchr(b'\\', key) {
            None => named.binary_search_by(|ruled| ruled.name.as_bytes().cmp(key)).ok(),
            Some(_) => named.iter().position(|ruled| key_is(key, &ruled.name)),
        };
        found.unwrap_or(others)
    };
    shapes.of(record, |rules| {
        rules.extend(record.members.iter().map(|member| rule(member.key.of(record.text))))
    })
}

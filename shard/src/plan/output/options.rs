//! Output options: what was asked for, checked, and what follows from it.
//!
//! Promises: what is unset stays unset, and is not written; [`OutputOptions::to_json`] of accepted options is accepted
//! and means the same.
//! Must not know: how records are written.
use super::envelope::Around;
use super::privacy::Privacy;
use super::template::{Template, Token};
use crate::batch::{Framing, ID_OPEN};
use crate::dataset::{Dataset, FieldType};
use crate::time::TimeFormat;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The fields of open data sets that `timestamp_format` is for: where their records have their time.
pub(super) const TIME_FIELDS: [&str; 10] = [
    "EdgeStartTimestamp",
    "EdgeEndTimestamp",
    "timestamp",
    "time",
    "ts",
    "msec",
    "@timestamp",
    "time_local",
    "time_iso8601",
    "request_date",
];

/// What records are (`output_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputType {
    /// JSON objects.
    Ndjson,
    /// Comma-separated values, or separated by something else.
    Csv,
}

impl OutputType {
    /// Both.
    pub const ALL: [OutputType; 2] = [OutputType::Ndjson, OutputType::Csv];

    /// Its name in a job.
    pub const fn as_str(self) -> &'static str {
        match self {
            OutputType::Ndjson => "ndjson",
            OutputType::Csv => "csv",
        }
    }
}

/// What is wrong with one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// JSON pointer into the job: `/output_options/sample_rate`.
    pub pointer: String,
    /// What is wrong and what to do, in plain words.
    pub message: String,
}

impl std::fmt::Display for OptionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

impl std::error::Error for OptionError {}

/// What a job's records look like. The default is every field, one JSON object a line, as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputOptions {
    /// The data set is closed: its fields have types, so records are never passed through unseen.
    pub(super) typed: bool,
    pub(super) field_names: Option<Vec<String>>,
    pub(super) all_fields: Option<bool>,
    pub(super) output_type: Option<OutputType>,
    pub(super) batch_prefix: Option<String>,
    pub(super) batch_suffix: Option<String>,
    pub(super) record_prefix: Option<String>,
    pub(super) record_suffix: Option<String>,
    pub(super) record_delimiter: Option<String>,
    pub(super) field_delimiter: Option<String>,
    pub(super) record_template: Option<Template>,
    pub(super) timestamp_format: Option<TimeFormat>,
    pub(super) sample_rate: Option<f64>,
    pub(super) cve: Option<bool>,
    pub(super) merge_subrequests: Option<bool>,
    pub(super) stringify_object: Option<bool>,
    pub(super) rename: BTreeMap<String, String>,
    pub(super) privacy: BTreeMap<String, Privacy>,
    /// What the receiver wants around each record; no part of what a job says.
    pub(super) around: Around,
}

impl OutputOptions {
    /// Every field of a data set, one JSON object a line: what a job gets that asks for nothing.
    pub fn all(dataset: &Dataset) -> OutputOptions {
        OutputOptions { typed: !dataset.open, ..OutputOptions::default() }
    }

    /// These fields, in this order, one JSON object a line (`EDGEPUSH_FIELDS`). Names are trimmed; empty and repeated
    /// ones are left out; nothing else is checked.
    pub fn fields<'a>(dataset: &Dataset, names: impl IntoIterator<Item = &'a str>) -> OutputOptions {
        let mut kept: Vec<String> = Vec::new();
        for name in names.into_iter().map(str::trim) {
            if !name.is_empty() && kept.iter().all(|kept| kept != name) {
                kept.push(name.to_owned());
            }
        }
        OutputOptions { field_names: Some(kept), ..OutputOptions::all(dataset) }
    }

    /// With Cloudflare's keys and ours, in a job's JSON. What is unset is left out.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        };
        put("field_names", self.field_names.as_ref().map(|names| json!(names)));
        put("all_fields", self.all_fields.map(Value::from));
        put("output_type", self.output_type.map(|kind| json!(kind.as_str())));
        for (key, text) in self.texts() {
            put(key, text.map(Value::from));
        }
        put("timestamp_format", self.timestamp_format.map(|format| json!(format.as_str())));
        put("sample_rate", self.sample_rate.map(Value::from));
        put("CVE-2021-44228", self.cve.map(Value::from));
        put("merge_subrequests", self.merge_subrequests.map(Value::from));
        put("stringify_object", self.stringify_object.map(Value::from));
        put("rename", (!self.rename.is_empty()).then(|| json!(self.rename)));
        let privacy: BTreeMap<&str, &str> =
            self.privacy.iter().map(|(name, privacy)| (name.as_str(), privacy.as_str())).collect();
        put("privacy", (!privacy.is_empty()).then(|| json!(privacy)));
        Value::Object(object)
    }

    /// Equal for options that make the same of every record: their JSON, and the envelope that they are within.
    pub fn key(&self) -> String {
        let said = self.to_json().to_string();
        match self.around == Around::default() {
            true => said,
            false => format!("{said} {:?}", self.around),
        }
    }

    fn texts(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("batch_prefix", self.batch_prefix.as_deref()),
            ("batch_suffix", self.batch_suffix.as_deref()),
            ("record_prefix", self.record_prefix.as_deref()),
            ("record_suffix", self.record_suffix.as_deref()),
            ("record_delimiter", self.record_delimiter.as_deref()),
            ("field_delimiter", self.field_delimiter.as_deref()),
            ("record_template", self.record_template.as_ref().map(|template| template.source.as_str())),
        ]
    }

    /// How many of the records are sent: above 0, at most 1, which it is when unset.
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate.unwrap_or(1.0)
    }

    /// The fields that were asked for, in order; `None`: all.
    pub fn field_names(&self) -> Option<&[String]> {
        self.field_names.as_deref()
    }

    /// The fields that a record must be asked for to be written; `None`: all that it has.
    pub fn asked(&self) -> Option<Vec<&str>> {
        match (&self.record_template, &self.field_names) {
            (Some(template), _) => Some(template.fields().collect()),
            (None, names) => names.as_ref().map(|names| names.iter().map(String::as_str).collect()),
        }
    }

    /// What records are.
    pub fn output_type(&self) -> OutputType {
        self.output_type.unwrap_or(OutputType::Ndjson)
    }

    /// The constant parts around a batch's records and around each of them.
    pub fn framing(&self) -> Framing {
        let bytes = |text: &str| text.as_bytes().to_vec();
        // A record that leaves as it was read has its own braces, and may have spaces before them.
        let prefix = if self.is_text() { "" } else { self.record_prefix() };
        Framing {
            prefix: bytes(self.batch_prefix.as_deref().unwrap_or_default()),
            delimiter: bytes(self.record_delimiter()),
            suffix: bytes(self.batch_suffix.as_deref().unwrap_or_default()),
            record_prefix: bytes(&self.around.begin(prefix)),
            record_suffix: bytes(&self.tail()),
        }
    }

    /// Whether every record leaves byte for byte as it was read, with a line end. A batch's prefix and suffix do not
    /// change that, and neither does a sample rate.
    pub fn is_pass_through(&self) -> bool {
        let bare = self.around == Around::default() && self.record_delimiter().is_empty();
        self.is_text() && !self.defuses() && bare
    }

    /// Whether a record's text is written whole, inside of whatever its receiver wants around it.
    pub(in crate::plan) fn is_text(&self) -> bool {
        !self.typed
            && self.field_names.is_none()
            && self.record_template.is_none()
            && self.output_type() == OutputType::Ndjson
            && (self.record_prefix(), self.record_suffix(), self.field_delimiter()) == ("{", "}\n", ",")
            && self.timestamp_format.is_none()
            && !self.stringifies()
            && self.rename.is_empty()
            && self.privacy.is_empty()
    }

    /// Whether `${` becomes `x{`.
    pub(in crate::plan) fn defuses(&self) -> bool {
        self.cve == Some(true)
    }

    pub(in crate::plan) fn stringifies(&self) -> bool {
        self.stringify_object == Some(true)
    }

    pub(in crate::plan) fn record_prefix(&self) -> &str {
        let default = match self.output_type() {
            OutputType::Ndjson => "{",
            OutputType::Csv => "",
        };
        self.record_prefix.as_deref().unwrap_or(default)
    }

    pub(in crate::plan) fn record_suffix(&self) -> &str {
        let default = match self.output_type() {
            OutputType::Ndjson => "}\n",
            OutputType::Csv => "\n",
        };
        self.record_suffix.as_deref().unwrap_or(default)
    }

    pub(in crate::plan) fn record_delimiter(&self) -> &str {
        self.record_delimiter.as_deref().unwrap_or_default()
    }

    pub(in crate::plan) fn field_delimiter(&self) -> &str {
        self.field_delimiter.as_deref().unwrap_or(",")
    }

    pub(in crate::plan) fn template(&self) -> Option<&Template> {
        self.record_template.as_ref()
    }

    /// What stands before each record: the delimiter belongs to the record behind it, so that a segment's first one
    /// can lose it. A record that is written whole has its own braces. What an id stands in comes before all that
    /// ([`OutputOptions::id_head`]).
    pub(in crate::plan) fn head(&self) -> String {
        let delimiter = if self.around.id { "" } else { self.record_delimiter() };
        let prefix = if self.is_text() { "" } else { self.record_prefix() };
        [delimiter, &self.around.before, prefix].concat()
    }

    /// What ends each record.
    pub(in crate::plan) fn tail(&self) -> String {
        self.around.end(if self.is_text() { "\n" } else { self.record_suffix() })
    }

    /// What begins the line with a record's id; `None`: records have none.
    pub(in crate::plan) fn id_head(&self) -> Option<String> {
        self.around.id.then(|| [self.record_delimiter(), ID_OPEN].concat())
    }

    /// What is done for a field's privacy, or for that of a value which it lies in: `a.b` is as private as `a`.
    pub(in crate::plan) fn privacy(&self, name: &str) -> Option<Privacy> {
        let mut part = Some(name);
        while let Some(name) = part {
            if let Some(privacy) = self.privacy.get(name) {
                return Some(*privacy);
            }
            part = name.rsplit_once('.').map(|(before, _)| before);
        }
        None
    }

    /// A field's name in the output.
    pub(in crate::plan) fn renamed<'a>(&'a self, name: &'a str) -> &'a str {
        self.rename.get(name).map_or(name, String::as_str)
    }

    pub(in crate::plan) fn renames(&self) -> impl Iterator<Item = &str> {
        self.rename.keys().map(String::as_str)
    }

    pub(in crate::plan) fn private(&self) -> impl Iterator<Item = &str> {
        self.privacy.keys().map(String::as_str)
    }

    /// How a field's times are written; `None`: its values are no times, or leave as they are.
    pub(in crate::plan) fn time_format(&self, dataset: &Dataset, name: &str) -> Option<TimeFormat> {
        match dataset.open {
            true => self.timestamp_format.filter(|_| TIME_FIELDS.contains(&name)),
            false if dataset.field_type(name) != Some(FieldType::Time) => None,
            false => Some(self.timestamp_format.unwrap_or(TimeFormat::UnixNano)),
        }
    }

    /// The least bytes that a record has, its delimiter not counted: none may be empty.
    pub(super) fn record_bytes_min(&self) -> usize {
        let around = self.record_prefix().len() + self.record_suffix().len();
        let csv = self.output_type() == OutputType::Csv;
        let names = self.field_names.as_deref().unwrap_or_default();
        around
            + match &self.record_template {
                Some(template) => template
                    .tokens
                    .iter()
                    .map(|token| match token {
                        Token::Text(text) => text.len(),
                        Token::Field(_) => usize::from(!csv),
                    })
                    .sum(),
                None if csv => {
                    let columns = names.iter().filter(|name| self.privacy(name) != Some(Privacy::Drop));
                    columns.count().saturating_sub(1) * self.field_delimiter().len()
                }
                // In a closed data set a missing field is written too.
                None => usize::from(
                    self.typed && names.iter().any(|name| self.privacy(name) != Some(Privacy::Drop)),
                ),
            }
    }
}

//! Formatter: writes a record as one job wants it.
//!
//! Promises: pass-through output is the record's text, byte for byte. Values go through [`RecordSink::value`], strings
//! without their quotes (a schema-aware encoder wants the constant parts whole); everything else goes through
//! [`RecordSink::put`]. The record delimiter stands before every record, also the first; then a line with its id, where
//! the receiver wants one.
//! Must not know: the sink, the job.
use super::output::id::Ids;
use super::output::members::Members;
use super::output::pattern::Pattern;
use super::output::projection::{Fields, bare};
use super::output::scratch::Scratch;
use super::output::{HashKey, OutputOptions, OutputType};
use crate::dataset::{Dataset, RAW};
use crate::record::Record;
use crate::ring::RecordSink;

/// What a job's records look like (`EDGEPUSH_FIELDS`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The record as it was read, or as it was repaired to.
    PassThrough,
    /// These fields, in this order. Names are trimmed; empty and repeated ones are left out.
    Fields(Vec<String>),
}

impl From<&Output> for OutputOptions {
    fn from(output: &Output) -> OutputOptions {
        match output {
            Output::PassThrough => OutputOptions::all(&RAW),
            Output::Fields(names) => OutputOptions::fields(&RAW, names.iter().map(String::as_str)),
        }
    }
}

/// Writes records as one job wants them; one per job and shard.
pub struct Formatter {
    form: Form,
    /// Where each record has a line with its id before it.
    ids: Option<Ids>,
    /// Where records are defused, if the job asks for it.
    scratch: Option<Scratch>,
}

#[allow(clippy::large_enum_variant, reason = "one per job and shard, and the way to it costs every record")]
enum Form {
    /// As it was read, between these.
    Text(Vec<u8>, Vec<u8>),
    Fields(Fields),
    Members(Members),
    Pattern(Pattern),
}

impl From<&Output> for Formatter {
    /// A formatter of records of [`RAW`].
    fn from(output: &Output) -> Formatter {
        Formatter::new(&output.into(), &RAW, &HashKey::new(&[0; 32]))
    }
}

impl Formatter {
    /// A formatter for one job on one shard; `key` is for hashed fields.
    pub fn new(options: &OutputOptions, dataset: &Dataset, key: &HashKey) -> Formatter {
        let csv = options.output_type() == OutputType::Csv;
        let form = match (options.template(), options.field_names()) {
            (Some(template), names) => {
                Form::Pattern(Pattern::template(options, template, names, dataset, key))
            }
            (None, Some(names)) if csv => Form::Pattern(Pattern::csv(options, names, dataset, key)),
            (None, Some(names)) => Form::Fields(Fields::new(options, names, dataset, key)),
            (None, None) if options.is_text() && dataset.open => {
                Form::Text(options.head().into_bytes(), options.tail().into_bytes())
            }
            (None, None) => Form::Members(Members::new(options, dataset, key)),
        };
        let ids = options.id_head().map(|head| Ids::new(&head, key));
        Formatter { form, ids, scratch: options.defuses().then(Scratch::default) }
    }

    /// Whether it writes whatever a record has, and not only what the job names.
    pub fn takes_all(&self) -> bool {
        matches!(self.form, Form::Text(..) | Form::Members(_))
    }

    /// At least as many bytes as [`Formatter::write`] writes.
    #[inline]
    pub fn bytes_max(&mut self, record: &Record<'_>) -> usize {
        let before = self.ids.as_ref().map_or(0, Ids::bytes);
        before
            + match &mut self.form {
                Form::Text(head, tail) => head.len() + record.text.len() + tail.len(),
                Form::Fields(fields) => fields.bytes_max(record),
                Form::Members(members) => members.bytes_max(record),
                Form::Pattern(pattern) => pattern.bytes_max(record),
            }
    }

    /// At least as many values as [`Formatter::write`] writes.
    #[inline]
    pub fn fields_max(&mut self, record: &Record<'_>) -> usize {
        let before = usize::from(self.ids.is_some());
        before
            + match &self.form {
                Form::Text(..) | Form::Members(_) => record.members.len(),
                Form::Fields(fields) => fields.fields_max(),
                Form::Pattern(pattern) => pattern.fields_max(),
            }
    }

    /// Writes the record and what ends it. `line`: its source's seed, and its offset there.
    #[inline]
    pub fn write<S: RecordSink>(&mut self, record: &Record<'_>, line: (u64, u64), sink: &mut S) {
        if let Some(ids) = &self.ids {
            ids.write(line, sink);
        }
        match &mut self.scratch {
            None => self.form.write(record, sink),
            Some(scratch) => {
                self.form.write_defused(record, scratch);
                scratch.write(sink);
            }
        }
    }
}

impl Form {
    /// Out of the others' way, who need not make room for it.
    #[inline(never)]
    fn write_defused(&mut self, record: &Record<'_>, scratch: &mut Scratch) {
        scratch.clear();
        self.write(record, scratch);
        scratch.defuse();
    }

    #[inline]
    fn write<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        match self {
            Form::Text(head, tail) => {
                if !head.is_empty() {
                    sink.put(head);
                }
                sink.text(record.text, record.members.iter().map(bare));
                match tail.len() {
                    // Nearly always, and then no loop is worth it.
                    1 => sink.put(b"\n"),
                    _ => sink.put(tail),
                }
            }
            Form::Fields(fields) => fields.write(record, sink),
            Form::Members(members) => members.write(record, sink),
            Form::Pattern(pattern) => pattern.write(record, sink),
        }
    }
}

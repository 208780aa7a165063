//! Pattern: constant text with values in it: csv, and templates.
//!
//! Promises: every record has every column. In csv strings are quoted and their quotes doubled (RFC 4180), numbers are
//! bare, `null` and missing is empty, arrays and objects are quoted JSON; else values are JSON, and missing is `null`.
//! Must not know: the sink, the job.
use super::options::{OutputOptions, OutputType};
use super::privacy::HashKey;
use super::projection::member_of;
use super::shapes::Shapes;
use super::template::{Template, Token};
use super::text::{decode, doubled};
use super::treat::{Rule, Treatment, Value};
use crate::dataset::Dataset;
use crate::limits::PARSE_BYTES_KEPT;
use crate::plan::path::{Found, find};
use crate::record::{Record, ValueKind};
use crate::ring::RecordSink;

struct Column {
    name: String,
    rule: Rule,
}

enum Piece {
    Text(Vec<u8>),
    Column(usize),
}

pub(in crate::plan) struct Pattern {
    pieces: Vec<Piece>,
    columns: Vec<Column>,
    shapes: Shapes<Found>,
    csv: bool,
    treatment: Treatment,
    cell: Vec<u8>,
    said: Vec<u8>,
}

impl Pattern {
    fn new(options: &OutputOptions, key: &HashKey) -> Pattern {
        Pattern {
            pieces: Vec::new(),
            columns: Vec::new(),
            shapes: Shapes::new(0),
            csv: options.output_type() == OutputType::Csv,
            treatment: Treatment::new(key),
            cell: Vec::new(),
            said: Vec::new(),
        }
    }

    /// These columns, with the field delimiter between them.
    pub(in crate::plan) fn csv(
        options: &OutputOptions,
        names: &[String],
        dataset: &Dataset,
        key: &HashKey,
    ) -> Pattern {
        let mut pattern = Pattern::new(options, key);
        pattern.text(options.head().as_bytes());
        for name in names {
            let rule = Rule::new(options, dataset, name);
            if !rule.drop {
                if !pattern.columns.is_empty() {
                    pattern.text(options.field_delimiter().as_bytes());
                }
                pattern.column(name, rule);
            }
        }
        pattern.text(options.tail().as_bytes());
        pattern
    }

    /// A template. A field that is not among `names`, if there are any, is as if it were missing.
    pub(in crate::plan) fn template(
        options: &OutputOptions,
        template: &Template,
        names: Option<&[String]>,
        dataset: &Dataset,
        key: &HashKey,
    ) -> Pattern {
        let mut pattern = Pattern::new(options, key);
        pattern.text(options.head().as_bytes());
        for token in &template.tokens {
            match token {
                Token::Text(text) => pattern.text(text.as_bytes()),
                Token::Field(name) => {
                    let rule = Rule::new(options, dataset, name);
                    match !rule.drop && names.is_none_or(|names| names.contains(name)) {
                        true => pattern.column(name, rule),
                        false if pattern.csv => {}
                        false => pattern.text(b"null"),
                    }
                }
            }
        }
        pattern.text(options.tail().as_bytes());
        pattern
    }

    fn text(&mut self, more: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.extend_from_slice(more),
            _ => self.pieces.push(Piece::Text(more.to_vec())),
        }
    }

    fn column(&mut self, name: &str, rule: Rule) {
        let known = self.columns.iter().position(|column| column.name == name);
        let at = known.unwrap_or_else(|| {
            self.columns.push(Column { name: name.to_owned(), rule });
            self.columns.len() - 1
        });
        self.pieces.push(Piece::Column(at));
    }

    pub(in crate::plan) fn fields_max(&self) -> usize {
        self.pieces.iter().filter(|piece| matches!(piece, Piece::Column(_))).count()
    }

    #[inline(never)]
    pub(in crate::plan) fn bytes_max(&mut self, record: &Record<'_>) -> usize {
        let Pattern { pieces, columns, shapes, .. } = self;
        let found = resolve(shapes, columns, record);
        let piece_bytes = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Column(at) => match found[*at] {
                Found::Nothing => Value::NULL.bare().len(),
                Found::Member(index) | Found::Below(index) => {
                    let len = columns[*at].rule.bytes_max(record.members[index as usize].value.len());
                    // Every byte may be a quote to double, and two go around.
                    if self.csv { 2 * len + 2 } else { len }
                }
            },
        };
        pieces.iter().map(piece_bytes).sum()
    }

    #[inline(never)]
    pub(in crate::plan) fn write<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        let Pattern { pieces, columns, shapes, csv, treatment, cell, said } = self;
        let found = resolve(shapes, columns, record);
        for piece in &*pieces {
            let at = match piece {
                Piece::Text(text) => {
                    sink.put(text);
                    continue;
                }
                Piece::Column(at) => *at,
            };
            let Column { name, rule } = &columns[at];
            let value = match member_of(record, found[at], name) {
                Some(member) => treatment.value(rule, record.text, member),
                None => Value::NULL,
            };
            match csv {
                true => write_cell(&value, [cell, said], sink),
                false => value.write(sink),
            }
        }
    }
}

/// Writes a value as csv has it.
fn write_cell<S: RecordSink>(value: &Value<'_>, [cell, said]: [&mut Vec<u8>; 2], sink: &mut S) {
    for buffer in [&mut *cell, &mut *said] {
        buffer.clear();
        buffer.shrink_to(PARSE_BYTES_KEPT);
    }
    let body = value.bare();
    match value.kind {
        ValueKind::Null => return sink.value(b""),
        ValueKind::Number | ValueKind::Bool => return value.write_bare(sink),
        ValueKind::String if memchr::memchr(b'\\', body).is_none() => {
            return value.write(sink);
        }
        ValueKind::String => {
            decode(body, said);
            doubled(said, cell);
        }
        ValueKind::Object | ValueKind::Array => doubled(body, cell),
    }
    sink.put(b"\"");
    sink.value(cell);
    sink.put(b"\"");
}

fn resolve<'a>(shapes: &'a mut Shapes<Found>, columns: &[Column], record: &Record<'_>) -> &'a [Found] {
    shapes.of(record, |found| found.extend(columns.iter().map(|column| find(record, &column.name))))
}

//! Projection: the fields that a job names, as members of a JSON object.
//!
//! Promises: the requested fields in their order, each with its value; missing ones left out in open data sets,
//! `null` in closed ones. Values are handed over without their strings' quotes: a schema-aware encoder wants the
//! constant parts whole.
//! Must not know: the sink, the job.
use super::options::OutputOptions;
use super::privacy::HashKey;
use super::shapes::Shapes;
use super::text::json_string;
use super::treat::{Rule, Treatment, Value};
use crate::dataset::Dataset;
use crate::plan::path::{Found, find, walk};
use crate::record::{Member, Record, Span, ValueKind};
use crate::ring::{COPY_BYTES, RecordSink};

const NULL_BYTES: usize = 4;

struct Field {
    name: String,
    /// `","name":"`: cut by one byte on either side where a neighbouring value is no string.
    piece: Vec<u8>,
    /// The first bytes of the piece, and of the piece without its first byte.
    blocks: [[u8; COPY_BYTES]; 2],
    rule: Rule,
}

pub(in crate::plan) struct Fields {
    fields: Vec<Field>,
    /// What each field means, by shape.
    shapes: Shapes<Found>,
    /// What begins a record.
    head: Vec<u8>,
    /// `"` and what ends a record.
    tail: Vec<u8>,
    /// Bytes of a piece before the field's own: `",`.
    before: usize,
    /// Something is done to values, or to missing ones.
    treatment: Option<Treatment>,
    /// Missing fields are `null`.
    whole: bool,
}

/// Where a value's bytes stand, without a string's quotes.
#[inline(always)]
pub(in crate::plan) fn bare(member: &Member) -> Span {
    let quote = u32::from(member.kind == ValueKind::String);
    Span { start: member.value.start + quote, end: member.value.end - quote }
}

/// The first bytes, filled up.
fn block(bytes: &[u8]) -> [u8; COPY_BYTES] {
    let mut block = [0; COPY_BYTES];
    let len = bytes.len().min(COPY_BYTES);
    block[..len].copy_from_slice(&bytes[..len]);
    block
}

/// A field's member in a record.
pub(super) fn member_of(record: &Record<'_>, found: Found, name: &str) -> Option<Member> {
    match found {
        Found::Nothing => None,
        Found::Member(index) => Some(record.members[index as usize]),
        Found::Below(index) => walk(record.text, record.members[index as usize], name),
    }
}

impl Fields {
    pub(in crate::plan) fn new(
        options: &OutputOptions,
        names: &[String],
        dataset: &Dataset,
        key: &HashKey,
    ) -> Fields {
        let delimiter = options.field_delimiter().as_bytes();
        let field = |name: &String| {
            let rule = Rule::new(options, dataset, name);
            let mut piece = [b"\"", delimiter].concat();
            json_string(options.renamed(name).as_bytes(), &mut piece);
            piece.extend(b":\"");
            let blocks = [block(&piece), block(&piece[1..])];
            (!rule.drop).then(|| Field { name: name.clone(), piece, blocks, rule })
        };
        let fields: Vec<Field> = names.iter().filter_map(field).collect();
        let treated = !dataset.open || fields.iter().any(|field| !field.rule.is_plain());
        Fields {
            shapes: Shapes::new(fields.len()),
            fields,
            head: options.head().into_bytes(),
            tail: [b"\"", options.tail().as_bytes()].concat(),
            before: 1 + delimiter.len(),
            treatment: treated.then(|| Treatment::new(key)),
            whole: !dataset.open,
        }
    }

    pub(in crate::plan) fn fields_max(&self) -> usize {
        self.fields.len()
    }

    #[inline(never)]
    pub(in crate::plan) fn bytes_max(&mut self, record: &Record<'_>) -> usize {
        let Fields { fields, shapes, .. } = self;
        let found = resolve(shapes, fields, record);
        let each = fields.iter().zip(found);
        let bytes: usize = match (&self.treatment, self.whole) {
            (None, _) => each.map(|(field, found)| field_bytes(record, field, found, 0, |len| len)).sum(),
            (Some(_), whole) => {
                let absent = |field: &Field| if whole { field.piece.len() + NULL_BYTES } else { 0 };
                let treated = |(field, found): (&Field, &Found)| {
                    field_bytes(record, field, found, absent(field), |len| field.rule.bytes_max(len))
                };
                each.map(treated).sum()
            }
        };
        // The last pieces are copied by blocks too.
        self.head.len() + self.tail.len() + COPY_BYTES + bytes
    }

    pub(in crate::plan) fn write<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        if self.treatment.is_some() {
            return self.write_treated(record, sink);
        }
        let Fields { fields, shapes, .. } = self;
        let found = resolve(shapes, fields, record);
        let mut before: Option<ValueKind> = None;
        for (field, found) in fields.iter().zip(found) {
            let member = match *found {
                Found::Nothing => continue,
                Found::Member(index) => record.members[index as usize],
                Found::Below(index) => match walk(record.text, record.members[index as usize], &field.name) {
                    Some(member) => member,
                    None => continue,
                },
            };
            let end = field.piece.len() - usize::from(member.kind != ValueKind::String);
            match before {
                None => {
                    sink.put(&self.head);
                    sink.put(&field.piece[self.before..end]);
                }
                Some(kind) => {
                    let first = usize::from(kind != ValueKind::String);
                    match &field.piece[first..end] {
                        piece if piece.len() <= COPY_BYTES => {
                            sink.put_block(&field.blocks[first], piece.len())
                        }
                        piece => sink.put(piece),
                    }
                }
            }
            sink.value_of(record.text, bare(&member));
            before = Some(member.kind);
        }
        end(&self.head, &self.tail, before, sink);
    }

    /// The same where something is done to values.
    #[inline(never)]
    fn write_treated<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        let Fields { fields, shapes, treatment: Some(treatment), .. } = self else { return };
        let found = resolve(shapes, fields, record);
        let mut before: Option<ValueKind> = None;
        for (field, found) in fields.iter().zip(found) {
            let value = match member_of(record, *found, &field.name) {
                Some(member) => treatment.value(&field.rule, record.text, member),
                None if self.whole => Value::NULL,
                None => continue,
            };
            let end = field.piece.len() - usize::from(value.kind != ValueKind::String);
            match before {
                None => {
                    sink.put(&self.head);
                    sink.put(&field.piece[self.before..end]);
                }
                Some(kind) => sink.put(&field.piece[usize::from(kind != ValueKind::String)..end]),
            }
            value.write_bare(sink);
            before = Some(value.kind);
        }
        end(&self.head, &self.tail, before, sink);
    }
}

/// Ends a record whose last value was of that kind; `None`: it had none, and has not begun.
fn end<S: RecordSink>(head: &[u8], tail: &[u8], before: Option<ValueKind>, sink: &mut S) {
    match before {
        None => {
            sink.put(head);
            sink.put(&tail[1..]);
        }
        Some(ValueKind::String) => sink.put(tail),
        Some(_) => sink.put(&tail[1..]),
    }
}

/// The most bytes that a field takes; `absent` where it is missing.
#[inline(always)]
fn field_bytes(
    record: &Record<'_>,
    field: &Field,
    found: &Found,
    absent: usize,
    value: impl Fn(usize) -> usize,
) -> usize {
    match *found {
        Found::Nothing => absent,
        Found::Member(index) | Found::Below(index) => {
            field.piece.len() + value(record.members[index as usize].value.len())
        }
    }
}

/// What each field means in this record.
#[inline]
fn resolve<'a>(shapes: &'a mut Shapes<Found>, fields: &[Field], record: &Record<'_>) -> &'a [Found] {
    shapes.of(record, |found| found.extend(fields.iter().map(|field| find(record, &field.name))))
}

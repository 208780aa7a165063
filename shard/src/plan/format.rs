//! Formatter: writes a record as one job wants it.
//!
//! Promises: pass-through output is the record's text, byte for byte. With fields, the output is the requested ones
//! in their order, `{"a":<raw>,"b":<raw>}` without added space, `{}` when none is there. Values go through
//! [`RecordSink::value`], strings without their quotes (a schema-aware encoder wants the constant parts whole);
//! everything else goes through [`RecordSink::put`].
//! Must not know: the sink, the job.
use super::path::{Found, find, walk};
use crate::limits::SHAPES_MAX;
use crate::record::{Member, Record, ShapeId, Span, ValueKind};
use crate::ring::{COPY_BYTES, RecordSink};

/// What a job's records look like (`EDGEPUSH_FIELDS`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The record as it was read, or as it was repaired to.
    PassThrough,
    /// These fields, in this order. Names are trimmed; empty and repeated ones are left out.
    Fields(Vec<String>),
}

/// Writes records as one job wants them; one per job and shard.
pub struct Formatter {
    fields: Option<Fields>,
}

struct Field {
    name: String,
    /// `","name":"`: cut by one byte on either side where a neighbouring value is no string.
    piece: Vec<u8>,
    /// The first bytes of the piece, and of the piece without its first byte.
    blocks: [[u8; COPY_BYTES]; 2],
}

struct Fields {
    fields: Vec<Field>,
    /// What each field means, by shape; overwritten in turn.
    known: Vec<Known>,
    next: usize,
}

struct Known {
    shape: ShapeId,
    found: Vec<Found>,
}

impl Formatter {
    /// A formatter for one job on one shard.
    pub fn new(output: &Output) -> Formatter {
        let names = match output {
            Output::PassThrough => return Formatter { fields: None },
            Output::Fields(names) => names,
        };
        let mut fields: Vec<Field> = Vec::new();
        for name in names.iter().map(|name| name.trim()) {
            if !name.is_empty() && fields.iter().all(|field| field.name != name) {
                let piece = piece(name);
                let blocks = [block(&piece), block(&piece[1..])];
                fields.push(Field { name: name.to_owned(), piece, blocks });
            }
        }
        let known = |_| Known { shape: ShapeId::UNKNOWN, found: Vec::with_capacity(fields.len()) };
        let known = (0..SHAPES_MAX + 1).map(known).collect();
        Formatter { fields: Some(Fields { fields, known, next: 0 }) }
    }

    /// At least as many bytes as [`Formatter::write`] writes.
    pub fn bytes_max(&mut self, record: &Record<'_>) -> usize {
        let Some(fields) = &mut self.fields else { return record.text.len() + 1 };
        let (fields, found) = fields.resolve(record);
        let field_bytes = |(field, found): (&Field, &Found)| match *found {
            Found::Nothing => 0,
            Found::Member(index) | Found::Below(index) => {
                field.piece.len() + record.members[index as usize].value.len()
            }
        };
        // The last pieces are copied by blocks too.
        3 + COPY_BYTES + fields.iter().zip(found).map(field_bytes).sum::<usize>()
    }

    /// At least as many values as [`Formatter::write`] writes.
    pub fn fields_max(&mut self, record: &Record<'_>) -> usize {
        match &self.fields {
            None => record.members.len(),
            Some(fields) => fields.fields.len(),
        }
    }

    /// Writes the record and a line end.
    pub fn write<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        match &mut self.fields {
            None => pass_through(record, sink),
            Some(fields) => fields.write(record, sink),
        }
    }
}

/// Where a value's bytes stand, without a string's quotes.
fn bare(member: &Member) -> Span {
    let quote = u32::from(member.kind == ValueKind::String);
    Span { start: member.value.start + quote, end: member.value.end - quote }
}

fn pass_through<S: RecordSink>(record: &Record<'_>, sink: &mut S) {
    sink.text(record.text, record.members.iter().map(bare));
    sink.put(b"\n");
}

/// The first bytes, filled up.
fn block(bytes: &[u8]) -> [u8; COPY_BYTES] {
    let mut block = [0; COPY_BYTES];
    let len = bytes.len().min(COPY_BYTES);
    block[..len].copy_from_slice(&bytes[..len]);
    block
}

impl Fields {
    /// The fields, and what each means in this record.
    fn resolve(&mut self, record: &Record<'_>) -> (&[Field], &[Found]) {
        let known = self.known.iter().position(|known| known.shape == record.shape);
        let index = match known {
            Some(index) if record.shape != ShapeId::UNKNOWN => index,
            _ => {
                let index = self.next;
                self.next = (self.next + 1) % self.known.len();
                let known = &mut self.known[index];
                known.shape = record.shape;
                known.found.clear();
                known.found.extend(self.fields.iter().map(|field| find(record, &field.name)));
                index
            }
        };
        (&self.fields, &self.known[index].found)
    }

    fn write<S: RecordSink>(&mut self, record: &Record<'_>, sink: &mut S) {
        let (fields, found) = self.resolve(record);
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
                    sink.put(b"{");
                    sink.put(&field.piece[2..end]);
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
        sink.put(match before {
            None => b"{}\n",
            Some(ValueKind::String) => b"\"}\n",
            Some(_) => b"}\n",
        });
    }
}

/// `","name":"`, the name written as a JSON string.
fn piece(name: &str) -> Vec<u8> {
    let mut piece = b"\",\"".to_vec();
    for c in name.chars() {
        match c {
            '"' | '\\' => piece.extend([b'\\', c as u8]),
            '\0'..' ' => piece.extend(format!("\\u{:04x}", c as u32).bytes()),
            _ => piece.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    piece.extend(b"\":\"");
    piece
}

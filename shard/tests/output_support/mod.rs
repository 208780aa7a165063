//! From lines to a batch, as shard and batcher do it: ring, runs without their head, constant segments, container.
#![allow(dead_code, reason = "each test takes what it needs")]
use edgepush_shard::batch::{Container, Frame, Part, piece_of};
use edgepush_shard::codec::{CodecKind, Level, Run, Span, codec};
use edgepush_shard::dataset::Dataset;
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Formatter, HashKey, OutputOptions};

/// The key of all tests.
pub fn key() -> HashKey {
    HashKey::new(&std::array::from_fn(|at| at as u8))
}

/// The seed of all lines; their offsets are their own.
pub const SEED: u64 = 11;

/// One record as the formatter wrote it.
pub type Made = edgepush_shard::ring::Flat;

/// The records that options make of lines; what was announced is checked.
pub fn records(options: &OutputOptions, dataset: &Dataset, lines: &[u8]) -> Vec<Made> {
    let mut formatter = Formatter::new(options, dataset, &key());
    let mut parser = Parser::new();
    let mut all = Vec::new();
    parser.lines(lines, 0, |frame, parsed| {
        let shown = frame.line.escape_ascii().to_string();
        let record = parsed.unwrap_or_else(|fault| panic!("{fault:?} in {shown}"));
        let mut made = Made::default();
        let (bytes_max, fields_max) = (formatter.bytes_max(&record), formatter.fields_max(&record));
        formatter.write(&record, (SEED, frame.offset as u64), &mut made);
        assert!(made.bytes.len() <= bytes_max, "{} bytes, not {bytes_max}, of {shown}", made.bytes.len());
        assert!(
            made.values.len() <= fields_max,
            "{} values, not {fields_max}, of {shown}",
            made.values.len()
        );
        all.push(made);
    });
    all
}

/// A batch: segments of at most so many records each.
pub struct Batch {
    options: OutputOptions,
    segments: Vec<Segment>,
}

#[derive(Default)]
struct Segment {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    fields: Vec<Span>,
    field_ends: Vec<u32>,
}

impl Segment {
    fn run(&self) -> Run<'_> {
        match self.fields.is_empty() {
            true => Run::new(&self.bytes, &self.ends),
            false => Run::with_fields(&self.bytes, &self.ends, &self.fields, &self.field_ends),
        }
    }
}

pub fn batch(records: &[Made], options: &OutputOptions, per_segment: usize) -> Batch {
    let segment = |records: &[Made]| {
        let mut segment = Segment::default();
        for record in records {
            let at = segment.bytes.len() as u32;
            segment.bytes.extend_from_slice(&record.bytes);
            let moved = |span: &Span| Span { start: span.start + at, end: span.end + at };
            segment.fields.extend(record.values.iter().map(moved));
            segment.ends.push(segment.bytes.len() as u32);
            segment.field_ends.push(segment.fields.len() as u32);
        }
        segment
    };
    Batch { options: options.clone(), segments: records.chunks(per_segment).map(segment).collect() }
}

impl Batch {
    /// The uncompressed bytes.
    pub fn text(&self) -> Vec<u8> {
        let framing = self.options.framing();
        let cut = |segment: &Segment| segment.run().without_head(framing.delimiter.len()).bytes.to_vec();
        let records: Vec<Vec<u8>> = self.segments.iter().map(cut).collect();
        [framing.prefix, records.join(&framing.delimiter[..]), framing.suffix].concat()
    }

    /// The body, from encoded segments and constant ones.
    pub fn body(&self, kind: CodecKind, level: Level) -> Vec<bytes::Bytes> {
        let framing = self.options.framing();
        let frame = Frame::new(&framing, kind);
        let mut codec = codec(kind, level);
        let mut parts = Vec::from_iter(frame.prefix);
        for (at, segment) in self.segments.iter().enumerate() {
            parts.extend(frame.delimiter.clone().filter(|_| at > 0));
            parts.push(Part::encode(&mut *codec, &segment.run().without_head(framing.delimiter.len())));
        }
        parts.extend(frame.suffix);
        piece_of(Container::Members, kind, &parts)
    }
}

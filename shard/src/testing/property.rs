//! property: what must hold on every input; shared by proptest and fuzzing.
//!
//! Promises: a property that does not hold panics with the input in its message.
//! Must not know: where inputs come from.
use super::oracle::{naive_lines, naive_object};
use crate::codec::{Run, Span};
use crate::deflate::{Effort, SchemaEncoder};
use crate::frame::frames;
use crate::parse::{Fault, Parser};
use crate::plan::{Formatter, Output};
use crate::record::{Member, Record, Repairs, ShapeId, ValueKind};
use crate::ring::RecordSink;
use crate::scan::Simd;
use std::collections::HashMap;

/// Frames are the plain way's lines, and the same when a chunk is split at the line end before `cut`.
pub fn frames_do_not_depend_on_chunks(bytes: &[u8], cut: usize) {
    let whole: Vec<_> = frames(bytes, 0).map(|frame| (frame.offset, frame.line)).collect();
    assert_eq!(whole, naive_lines(bytes), "frames of {:?}", bytes.escape_ascii().to_string());
    let cut = cut.min(bytes.len());
    let middle = bytes[..cut].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let (head, tail) = bytes.split_at(middle);
    let mut split: Vec<_> = frames(head, 0).map(|frame| (frame.offset, frame.line)).collect();
    split.extend(frames(tail, middle as u64).map(|frame| (middle + frame.offset, frame.line)));
    assert_eq!(whole, split, "cut at {middle} of {:?}", bytes.escape_ascii().to_string());
}

/// What a parser says of a line, owned.
type Said = Result<(Vec<u8>, Vec<Member>, Repairs), Fault>;

fn said(result: Result<Record<'_>, Fault>) -> Said {
    result.map(|record| (record.text.to_vec(), record.members.to_vec(), record.repairs))
}

/// One parser that learns from `lines` says of each what a parser that never compares says, and records of one shape
/// have the same keys.
pub fn learned_is_general<'a>(lines: impl Iterator<Item = &'a [u8]>) {
    let (mut learning, mut general) = (Parser::new(), Parser::new());
    let mut shapes: HashMap<ShapeId, Vec<Vec<u8>>> = HashMap::new();
    for line in lines {
        let expected = said(general.parse_general(line));
        for round in 0..2 {
            let parsed = learning.parse(line);
            if let Ok(record) = parsed
                && record.shape != ShapeId::UNKNOWN
            {
                let keys: Vec<_> = record.members.iter().map(|m| m.key.of(record.text).to_vec()).collect();
                let known = shapes.entry(record.shape).or_insert_with(|| keys.clone());
                assert_eq!(*known, keys, "{:?}", record.shape);
            }
            let got = said(parsed);
            assert_eq!(got, expected, "round {round} of {:?}", line.escape_ascii().to_string());
        }
    }
}

/// A valid line is its own record, with the plain way's members; any other one is repaired to a valid one, or is a
/// reject whose place lies in the line. Repairs are idempotent, pass-through is byte for byte.
pub fn records_are_valid(line: &[u8]) {
    let shown = || line.escape_ascii().to_string();
    let mut parser = Parser::new();
    let valid = naive_object(line);
    let record = match parser.parse(line) {
        Ok(record) => record,
        Err(fault) => {
            assert!(valid.is_none(), "{fault:?} in a valid line: {}", shown());
            assert!((1..=line.len() + 1).contains(&(fault.column as usize)), "{fault:?} in {}", shown());
            return;
        }
    };
    assert_eq!(record.repairs.is_empty(), valid.is_some(), "{:?} in {}", record.repairs, shown());
    assert_eq!(record.repairs.is_empty(), record.text == line, "{}", shown());
    let members = naive_object(record.text).unwrap_or_else(|| panic!("not valid once parsed: {}", shown()));
    assert_eq!(record.members.len(), members.len(), "{}", shown());
    for (member, (key, value)) in record.members.iter().zip(members) {
        let text = record.text;
        assert_eq!((member.key.of(text), member.value.of(text)), (&text[key], &text[value.clone()]));
        assert_eq!(member.kind, kind_of(text[value.start]), "{}", shown());
    }
    let mut sink = Sink { bytes: Vec::new(), values: 0 };
    let mut formatter = Formatter::from(&Output::PassThrough);
    let (bytes_max, fields_max) = (formatter.bytes_max(&record), formatter.fields_max(&record));
    formatter.write(&record, (0, 0), &mut sink);
    assert!(sink.bytes.len() <= bytes_max && sink.values <= fields_max, "bounds of {}", shown());
    assert_eq!(sink.bytes, [record.text, b"\n"].concat(), "{}", shown());
    let text = record.text.to_vec();
    let again = Parser::new().parse(&text).map(|again| again.repairs);
    assert_eq!(again, Ok(Repairs::NONE), "not idempotent: {}", shown());
}

fn kind_of(first: u8) -> ValueKind {
    match first {
        b'"' => ValueKind::String,
        b'{' => ValueKind::Object,
        b'[' => ValueKind::Array,
        b't' | b'f' => ValueKind::Bool,
        b'n' => ValueKind::Null,
        _ => ValueKind::Number,
    }
}

struct Sink {
    bytes: Vec<u8>,
    values: usize,
}

impl RecordSink for Sink {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.values += 1;
    }
}

/// A text's lines are given as framing and the general way give them, at every level and whichever lines came before.
pub fn lines_are_frames(bytes: &[u8], start: u64) {
    let mut general = Parser::new();
    let expected: Vec<(usize, Vec<u8>, Said)> = frames(bytes, start)
        .filter(|frame| !frame.line.is_empty())
        .map(|frame| (frame.offset, frame.line.to_vec(), said(general.parse_general(frame.line))))
        .collect();
    let all = frames(bytes, start).count() as u64;
    for level in Simd::all() {
        let mut parser = Parser::with_level(level);
        // The second time all shapes are known.
        for round in 0..2 {
            let mut got = Vec::new();
            let lines = parser.lines(bytes, start, |frame, parsed| {
                got.push((frame.offset, frame.line.to_vec(), said(parsed)));
            });
            let shown = || bytes.escape_ascii().to_string();
            assert!(got == expected, "{level:?}, round {round}: {got:?}\nnot {expected:?}\nof {:?}", shown());
            let blank = all - expected.len() as u64;
            assert_eq!((lines.all, lines.blank), (all, blank), "{level:?} of {:?}", shown());
        }
    }
}

/// Any bytes with any values marked in them are encoded to what decodes to them, at every level; `cuts` are where
/// records and values begin and end.
pub fn runs_are_encoded(bytes: &[u8], cuts: &[(u16, u16)]) {
    let (mut ends, mut fields, mut field_ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    for &(gap, len) in cuts {
        let start = (at + u32::from(gap) / 2).min(bytes.len() as u32);
        let end = (start + u32::from(len)).min(bytes.len() as u32);
        fields.push(Span { start, end });
        at = end;
        // An odd gap ends a record.
        if gap % 2 == 1 {
            at = (at + 1).min(bytes.len() as u32);
            ends.push(at);
            field_ends.push(fields.len() as u32);
        }
    }
    if ends.last() != Some(&(bytes.len() as u32)) {
        ends.push(bytes.len() as u32);
        field_ends.push(0);
    }
    if let Some(last) = field_ends.last_mut() {
        *last = fields.len() as u32;
    }
    let run = Run::with_fields(bytes, &ends, &fields, &field_ends);
    if bytes.is_empty() {
        return;
    }
    for (level, effort) in efforts() {
        let mut encoder = SchemaEncoder::new(level, effort);
        for _ in 0..2 {
            // The second run has the first one's codes; its offsets count from an earlier place.
            let (head, rest) = run.split_at(run.records() / 2);
            for run in [run, head, rest].into_iter().filter(|run| !run.is_empty() && !run.bytes.is_empty()) {
                encoder.check(&run);
            }
        }
    }
}

/// Every way in which this machine may look for matches.
pub fn efforts() -> impl Iterator<Item = (Simd, Effort)> {
    Simd::all().flat_map(|level| [(level, Effort::Least), (level, Effort::More)])
}

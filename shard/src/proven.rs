//! Proven: the widest vector instructions that do on a sample what plain Rust does.
//!
//! A level that a machine says it has may never have run anywhere before. It is tried once at start, in about a
//! millisecond, on the two stages that use vectors.
//! Promises: a level that errs is not used. Must not know: what to do about it; its caller says it.
use crate::codec::{Run, Span};
use crate::deflate::{Effort, SchemaEncoder};
use crate::parse::Parser;
use crate::record::ValueKind;
use crate::scan::Simd;
use std::fmt::Write;

/// The best of the machine's levels up to `wanted` that proves itself, and those that did not.
pub fn proven(wanted: Simd) -> (Simd, Vec<Simd>) {
    let mut levels: Vec<Simd> =
        Simd::all().filter(|&level| level <= wanted || level == Simd::Scalar).collect();
    levels.sort_unstable_by(|a, b| b.cmp(a));
    let sample = sample();
    let expected = said(Simd::Scalar, &sample);
    let mut failed = Vec::new();
    for level in levels {
        if level == Simd::Scalar || said(level, &sample) == expected {
            return (level, failed);
        }
        failed.push(level);
    }
    (Simd::Scalar, failed)
}

/// Lines with what makes stages take their special ways: escapes, text that is no ASCII, long and short values, nesting.
fn sample() -> String {
    let mut sample = String::from("\n");
    for n in 0..40 {
        let (long, path) = ("x".repeat(n * 7 % 90), n % 3);
        let _ = writeln!(
            sample,
            "{{\"time\":{n},\"host\":\"h{path}.example\",\"note\":\"é\\\"{long}\",\"nested\":{{\"a\":[{n}]}},\
             \"empty\":\"\",\"a key that is longer than one block of bytes\":-{n}.5e3,\"agent\":\"{long}{path}\"}}"
        );
    }
    sample
}

/// Records with their values' places, and the body that they make.
fn said(level: Simd, sample: &str) -> (Vec<(usize, Vec<Span>)>, Vec<u8>) {
    let mut parser = Parser::with_level(level);
    let (mut records, mut bytes, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fields, mut field_ends) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        parser.lines(sample.as_bytes(), 1, |frame, parsed| {
            let Ok(record) = parsed else { return };
            let at = bytes.len() as u32;
            for member in record.members {
                let quote = u32::from(member.kind == ValueKind::String);
                let value =
                    Span { start: at + member.value.start + quote, end: at + member.value.end - quote };
                fields.push(value);
            }
            records.push((frame.offset, record.members.iter().map(|member| member.value).collect()));
            bytes.extend_from_slice(record.text);
            bytes.push(b'\n');
            ends.push(bytes.len() as u32);
            field_ends.push(fields.len() as u32);
        });
    }
    let run = Run::with_fields(&bytes, &ends, &fields, &field_ends);
    (records, SchemaEncoder::new(level, Effort::More).body(&run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_this_machine_proves_itself() {
        for wanted in Simd::all() {
            assert_eq!(proven(wanted), (wanted, Vec::new()));
        }
        let (records, body) = said(Simd::Scalar, &sample());
        assert_eq!(records.len(), 80, "the sample is parsed");
        assert!(body.len() > 500, "the sample is encoded");
    }
}

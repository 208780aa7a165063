//! Framing: the constant parts of a batch.
//!
//! ```text
//! batch = prefix, records with the delimiter between them, suffix
//! ```
//! Promises: a part that is empty makes no segment.
//! Must not know: what a record is.
use super::{Part, const_segment};
use crate::codec::CodecKind;

/// What a record begins with before which a line with its id stands.
pub const ID_OPEN: &str = r#"{"create":{"_id":""#;

/// The constant parts around a batch's records, and what every record begins and ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Framing {
    /// Before all records.
    pub prefix: Vec<u8>,
    /// Between two records.
    pub delimiter: Vec<u8>,
    /// Behind all records.
    pub suffix: Vec<u8>,
    /// What each record begins with: part of the record, and named here because a split looks for it.
    pub record_prefix: Vec<u8>,
    /// What each record ends with, likewise. When nothing at all stands between records, a newline ends each.
    pub record_suffix: Vec<u8>,
}

/// A framing's parts as segments of one codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Before the batch's first record.
    pub prefix: Option<Part>,
    /// Between two segments of records. Inside a segment the formatter wrote it before each record, and the first
    /// record of each segment has lost it ([`crate::codec::Run::without_head`]).
    pub delimiter: Option<Part>,
    /// Behind the batch's last record.
    pub suffix: Option<Part>,
}

impl Frame {
    /// Encodes the parts of a framing once for all batches.
    pub fn new(framing: &Framing, kind: CodecKind) -> Frame {
        let part = |bytes: &[u8]| (!bytes.is_empty()).then(|| const_segment(kind, bytes));
        Frame {
            prefix: part(&framing.prefix),
            delimiter: part(&framing.delimiter),
            suffix: part(&framing.suffix),
        }
    }
}

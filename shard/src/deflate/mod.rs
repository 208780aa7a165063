//! deflate: raw DEFLATE by an encoder that is told where a record's fields are.
//!
//! It does not search for repetitions, it looks where the schema says that they are: a value that was seen before in
//! its own field, and the bytes between the values. See `docs/compression.md`.
//!
//! Promises: any run of any bytes is encoded; what suits no schema goes to a general encoder, by itself.
//! Must not know: gzip's headers, batches, jobs.
mod bits;
mod compare;
mod emit;
mod huffman;
mod segment;
mod tables;
mod tokens;

use crate::codec::{Codec, CodecKind, Encoded, Run};
use crate::scan::{self, Simd};
pub use segment::Effort;
use segment::SegmentEncoder;

/// A run shorter than this is not worth a table of codes.
const SCHEMA_BYTES_MIN: usize = 4096;
/// What both encoders are tried on.
const TRIAL_BYTES: usize = 64 * 1024;
/// Runs between two trials.
const TRIAL_EVERY: u32 = 64;
/// One run in so many is decoded and compared; in debug builds every one.
const VERIFY_EVERY: u32 = if cfg!(debug_assertions) { 1 } else { 256 };

/// The schema-aware encoder, and the general one for what has no schema.
pub struct SchemaDeflate {
    schema: SegmentEncoder,
    general: Box<dyn Codec + Send>,
    /// Runs until both are tried again.
    until_trial: u32,
    until_verify: u32,
    /// Which one the last trial preferred.
    prefer_general: bool,
    /// The schema-aware encoder was wrong once: it is not asked again.
    broken: bool,
    encoded: Encoded,
    scratch: Vec<u8>,
}

impl SchemaDeflate {
    /// With a general encoder for what has no schema.
    pub fn new(effort: Effort, general: Box<dyn Codec + Send>) -> SchemaDeflate {
        SchemaDeflate::with_level(scan::level(), effort, general)
    }

    /// The same with these vector instructions, which the machine has.
    pub fn with_level(level: Simd, effort: Effort, general: Box<dyn Codec + Send>) -> SchemaDeflate {
        SchemaDeflate {
            schema: SegmentEncoder::new(level, effort),
            general,
            until_trial: 0,
            until_verify: 0,
            prefer_general: false,
            broken: false,
            encoded: Encoded::default(),
            scratch: Vec::new(),
        }
    }

    /// Encodes the head of a run both ways and prefers what is a tenth shorter.
    fn try_both(&mut self, run: &Run<'_>) {
        let records = run.ends.partition_point(|&end| (end - run.base) as usize <= TRIAL_BYTES).max(1);
        let (head, _) = run.split_at(records);
        self.scratch.clear();
        self.schema.encode(&head, &mut self.scratch);
        let schema = self.scratch.len();
        self.scratch.clear();
        self.general.encode(&head, &mut self.scratch);
        self.prefer_general = self.scratch.len() * 10 < schema * 9;
    }

    fn suits(&mut self, run: &Run<'_>) -> bool {
        if self.broken || run.fields.is_empty() || run.bytes.len() < SCHEMA_BYTES_MIN {
            return false;
        }
        if self.until_trial == 0 {
            self.until_trial = TRIAL_EVERY;
            self.try_both(run);
        }
        self.until_trial -= 1;
        !self.prefer_general
    }

    /// Whether a body decodes to the run; asked now and then.
    fn is_right(&mut self, run: &Run<'_>, body: &[u8]) -> bool {
        if self.until_verify > 0 {
            self.until_verify -= 1;
            return true;
        }
        self.until_verify = VERIFY_EVERY - 1;
        self.encoded.verified += 1;
        crate::codec::decodes_to(body, run.bytes, &mut self.scratch)
    }
}

/// The schema-aware encoder alone, for whoever holds it against something else.
pub struct SchemaEncoder {
    level: Simd,
    encoder: SegmentEncoder,
}

impl SchemaEncoder {
    /// With these vector instructions, which the machine has.
    pub fn new(level: Simd, effort: Effort) -> SchemaEncoder {
        SchemaEncoder { level, encoder: SegmentEncoder::new(level, effort) }
    }

    /// The body of a run, unchecked.
    pub fn body(&mut self, run: &Run<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        self.encoder.encode(run, &mut body);
        body
    }

    /// The body of a run. Panics when it does not decode to the run, or is longer than the run stored.
    pub fn check(&mut self, run: &Run<'_>) -> Vec<u8> {
        let body = self.body(run);
        let most = run.bytes.len() + 5 * run.bytes.len().div_ceil(65_535) + 5;
        assert!(body.len() <= most, "{:?}: {} bytes became {}", self.level, run.bytes.len(), body.len());
        let right = crate::codec::decodes_to(&body, run.bytes, &mut Vec::new());
        assert!(right, "{:?}: a wrong body of {:?}", self.level, run.bytes.escape_ascii().to_string());
        body
    }
}

impl Codec for SchemaDeflate {
    fn kind(&self) -> CodecKind {
        CodecKind::Gzip
    }

    fn encode(&mut self, run: &Run<'_>, out: &mut Vec<u8>) {
        crate::codec::assert_not_empty(run);
        let start = out.len();
        if self.suits(run) {
            self.schema.encode(run, out);
            if self.is_right(run, &out[start..]) {
                self.encoded.schema += 1;
                return;
            }
            debug_assert!(false, "the schema-aware encoder was wrong");
            out.truncate(start);
            self.broken = true;
            self.encoded.wrong += 1;
        }
        self.general.encode(run, out);
        self.encoded.general += 1;
    }

    fn encoded(&self) -> Encoded {
        self.encoded
    }
}

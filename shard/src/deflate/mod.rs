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
mod forms;
mod huffman;
mod learned;
mod segment;
mod tables;
mod tokens;

use crate::codec::{Codec, CodecKind, Encoded, Form, Run};
use crate::scan::{self, Simd};
use forms::{Forms, Known, Trial};
use learned::Learned;
pub use segment::Effort;
use segment::SegmentEncoder;

/// A run shorter than this is not worth trying on both encoders: too little to judge by.
const TRIAL_BYTES_MIN: usize = 4096;
/// A run of so many bytes goes to the general encoder when that makes it a tenth shorter. A shorter one must become a
/// third shorter: to begin a run costs the general encoder as much as 30 KiB of it.
const LONG_BYTES: usize = 32 * 1024;
/// What both encoders are tried on, at most.
const TRIAL_BYTES: usize = 64 * 1024;
/// Bytes of a form between two trials, for each byte of the first: trials are a three-hundredth of the work.
const TRIAL_EVERY: usize = 1024;
/// One run of a form in so many is decoded and compared; in debug builds every one.
const VERIFY_EVERY: u32 = if cfg!(debug_assertions) { 1 } else { 256 };

/// The schema-aware encoder, and the general one for what has no schema. One serves any number of jobs in turn: what it
/// learns is kept by [`Form`].
pub struct SchemaDeflate {
    forms: Forms,
    encoders: Encoders,
    encoded: Encoded,
}

struct Encoders {
    schema: SegmentEncoder,
    general: Box<dyn Codec + Send>,
    scratch: Vec<u8>,
}

impl SchemaDeflate {
    /// With a general encoder for what has no schema.
    pub fn new(effort: Effort, general: Box<dyn Codec + Send>) -> SchemaDeflate {
        SchemaDeflate::with_level(scan::level(), effort, general)
    }

    /// The same with these vector instructions, which the machine has.
    pub fn with_level(level: Simd, effort: Effort, general: Box<dyn Codec + Send>) -> SchemaDeflate {
        let schema = SegmentEncoder::new(level, effort);
        SchemaDeflate {
            forms: Forms::new(),
            encoders: Encoders { schema, general, scratch: Vec::new() },
            encoded: Encoded::default(),
        }
    }
}

impl Encoders {
    /// Whether the schema-aware encoder is the one for a run of a form.
    fn suits(&mut self, known: &mut Known, run: &Run<'_>) -> bool {
        if known.broken || run.fields.is_empty() {
            return false;
        }
        let bytes = run.bytes.len();
        let long = usize::from(bytes >= LONG_BYTES);
        if known.trials[long].until == 0 && bytes >= TRIAL_BYTES_MIN {
            known.trials[long] = self.try_both(&mut known.learned, run);
        }
        let trial = &mut known.trials[long];
        trial.until = trial.until.saturating_sub(bytes);
        !trial.prefer_general
    }

    /// Encodes the head of a run both ways.
    fn try_both(&mut self, learned: &mut Learned, run: &Run<'_>) -> Trial {
        let records = run.ends.partition_point(|&end| (end - run.base) as usize <= TRIAL_BYTES).max(1);
        let (head, _) = run.split_at(records);
        self.scratch.clear();
        self.schema.encode(learned, &head, &mut self.scratch);
        let schema = self.scratch.len();
        self.scratch.clear();
        self.general.encode(Form::ONLY, &head, &mut self.scratch);
        let general = self.scratch.len();
        let prefer_general =
            if run.bytes.len() >= LONG_BYTES { general * 10 < schema * 9 } else { general * 3 < schema * 2 };
        Trial { until: TRIAL_EVERY * head.bytes.len().min(TRIAL_BYTES), prefer_general }
    }

    /// Whether a body decodes to the run.
    fn is_right(&mut self, run: &Run<'_>, body: &[u8]) -> bool {
        crate::codec::decodes_to(body, run.bytes, &mut self.scratch)
    }
}

/// The schema-aware encoder alone, for whoever holds it against something else.
pub struct SchemaEncoder {
    level: Simd,
    encoder: SegmentEncoder,
    learned: Learned,
}

impl SchemaEncoder {
    /// With these vector instructions, which the machine has.
    pub fn new(level: Simd, effort: Effort) -> SchemaEncoder {
        SchemaEncoder { level, encoder: SegmentEncoder::new(level, effort), learned: Learned::new() }
    }

    /// The body of a run, unchecked.
    pub fn body(&mut self, run: &Run<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        self.encoder.encode(&mut self.learned, run, &mut body);
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

    fn encode(&mut self, form: Form, run: &Run<'_>, out: &mut Vec<u8>) {
        crate::codec::assert_not_empty(run);
        let SchemaDeflate { forms, encoders, encoded } = self;
        let (start, known) = (out.len(), forms.get(form));
        if encoders.suits(known, run) {
            encoders.schema.encode(&mut known.learned, run, out);
            let verify = known.until_verify == 0;
            known.until_verify = if verify { VERIFY_EVERY - 1 } else { known.until_verify - 1 };
            encoded.verified += u64::from(verify);
            if !verify || encoders.is_right(run, &out[start..]) {
                encoded.schema += 1;
                return;
            }
            debug_assert!(false, "the schema-aware encoder was wrong");
            out.truncate(start);
            known.broken = true;
            encoded.wrong += 1;
        }
        encoders.general.encode(form, run, out);
        encoded.general += 1;
    }

    fn encoded(&self) -> Encoded {
        self.encoded
    }
}

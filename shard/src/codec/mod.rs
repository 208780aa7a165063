//! Codec: how a run of records becomes a segment's body.
//!
//! Promises: [`Codec::encode`] makes one complete, independent body from a whole run; it cannot fail and does not
//! allocate once its output buffer has grown to its working size.
//! Must not know: batches, containers, jobs.
mod general;
#[cfg(feature = "isal")]
mod igzip;
#[cfg(feature = "isal")]
mod isal;
mod run;
mod zstandard;

#[cfg(feature = "isal")]
use general::BODY_END;
pub use general::Deflate;
pub(crate) use general::decodes_to;
#[cfg(feature = "isal")]
pub use isal::Isal;
pub use run::{Run, Span};
pub(crate) use zstandard::FRAME_START;
pub use zstandard::Zstd;

use crate::deflate::{Effort, SchemaDeflate};

/// Which codec (`EDGEPUSH_CODEC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// DEFLATE, in one of two gzip containers.
    Gzip,
    /// Independent zstd frames.
    Zstd,
    /// Uncompressed.
    None,
}

/// What an operator trades (`EDGEPUSH_LEVEL`): CPU for bytes on the wire. Figures: `docs/compression.md`, lines of
/// 26 fields in segments of 1 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// The least CPU per byte.
    #[default]
    Fast,
    /// gzip: 25 % fewer bytes for 1.5 × the CPU of `Fast`. zstd: 7 % fewer for 4 ×.
    Balanced,
    /// gzip: 41 % fewer bytes for 3.5 × the CPU of `Fast`. zstd: 16 % fewer for 7 ×.
    Small,
}

impl Level {
    /// All levels, the fastest first.
    pub const ALL: [Level; 3] = [Level::Fast, Level::Balanced, Level::Small];

    /// The level of a name, as it stands in the configuration.
    pub fn parse(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == name)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Fast => "fast",
            Level::Balanced => "balanced",
            Level::Small => "small",
        }
    }

    /// zlib's scale.
    const fn deflate(self) -> u32 {
        match self {
            Level::Fast => 1,
            Level::Balanced => 2,
            Level::Small => 6,
        }
    }
}

impl Encoded {
    /// Adds what came since `before`.
    pub fn add(&mut self, now: Encoded, before: Encoded) {
        self.schema += now.schema - before.schema;
        self.general += now.general - before.general;
        self.verified += now.verified - before.verified;
        self.wrong += now.wrong - before.wrong;
    }
}

/// What the records of a run look like: the number of an output in the plan. Runs of jobs with equal outputs have one
/// form, so a codec serves them all with what it learnt of any. A wrong form costs speed and ratio, never content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form(pub u32);

impl Form {
    /// For whoever has only one, or does not know.
    pub const ONLY: Form = Form(0);
}

/// Makes bodies of segments: one a kind and level for all jobs of a shard, in turn.
pub trait Codec {
    /// What the bodies are.
    fn kind(&self) -> CodecKind;
    /// Appends the body of one run to `out`. Panics on an empty run: an empty body is no segment (DESIGN 4).
    fn encode(&mut self, form: Form, run: &Run<'_>, out: &mut Vec<u8>);
    /// How the bodies so far were made.
    fn encoded(&self) -> Encoded {
        Encoded::default()
    }
}

/// How many bodies were made how (metric `edgepush_segments_encoded_total`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// By the schema-aware encoder.
    pub schema: u64,
    /// By the general encoder.
    pub general: u64,
    /// Of the schema-aware encoder's, decoded and compared.
    pub verified: u64,
    /// Of these, found wrong: encoded again by the general encoder, which has had them all since.
    pub wrong: u64,
}

/// The codec of a kind at a level, with its working memory.
pub fn codec(kind: CodecKind, level: Level) -> Box<dyn Codec + Send> {
    match kind {
        CodecKind::Gzip => {
            let general = general_deflate(level);
            match level {
                Level::Fast => Box::new(SchemaDeflate::new(Effort::Least, general)),
                Level::Balanced => Box::new(SchemaDeflate::new(Effort::More, general)),
                Level::Small => general,
            }
        }
        CodecKind::Zstd => Box::new(Zstd::new(level)),
        CodecKind::None => Box::new(Plain),
    }
}

/// DEFLATE of bytes of which nothing is known.
fn general_deflate(level: Level) -> Box<dyn Codec + Send> {
    match level {
        #[cfg(feature = "isal")]
        Level::Fast => Box::new(Isal::new(1)),
        _ => Box::new(Deflate::new(level.deflate())),
    }
}

/// No compression: the body is the records.
#[derive(Debug)]
pub struct Plain;

impl Codec for Plain {
    fn kind(&self) -> CodecKind {
        CodecKind::None
    }

    fn encode(&mut self, _form: Form, run: &Run<'_>, out: &mut Vec<u8>) {
        assert_not_empty(run);
        out.extend_from_slice(run.bytes);
    }
}

pub(crate) fn assert_not_empty(run: &Run<'_>) {
    assert!(!run.bytes.is_empty(), "an empty run was given to a codec");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names() {
        assert_eq!(Level::ALL.map(Level::as_str), ["fast", "balanced", "small"]);
        assert!(Level::ALL.into_iter().all(|level| Level::parse(level.as_str()) == Some(level)));
        assert_eq!((Level::parse("Fast"), Level::parse(""), Level::default()), (None, None, Level::Fast));
    }

    #[test]
    fn no_codec_takes_an_empty_run() {
        for kind in [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None] {
            let mut codec = codec(kind, Level::Fast);
            assert_eq!(codec.kind(), kind);
            let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                codec.encode(Form::ONLY, &Run::new(b"", &[]), &mut Vec::new());
            }));
            assert!(taken.is_err(), "{kind:?}");
        }
    }
}

//! Codec: how a run of records becomes a segment's body.
//!
//! Promises: [`Codec::encode`] makes one complete, independent body from a whole run; it cannot fail and does not
//! allocate once its output buffer has grown to its working size.
//! Must not know: batches, containers, jobs.
use flate2::{Compress, Compression, FlushCompress, Status};

/// A half-open byte range inside a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// After the last byte.
    pub end: u32,
}

/// Records as the formatter wrote them, with what it knows of them: a schema-aware encoder need not search.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The records' bytes, one after the other, each with its line end.
    pub bytes: &'a [u8],
    /// Offset after each record.
    pub ends: &'a [u32],
    /// The spans of all records' field values, in order, relative to `bytes`; empty when they are not known.
    pub fields: &'a [Span],
    /// For each record the number of spans up to and including it; empty when `fields` is.
    pub field_ends: &'a [u32],
}

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

/// Makes bodies of segments.
pub trait Codec {
    /// What the bodies are.
    fn kind(&self) -> CodecKind;
    /// Appends the body of one run to `out`.
    fn encode(&mut self, run: &Run<'_>, out: &mut Vec<u8>);
}

/// DEFLATE by flate2 (zlib-rs).
pub struct Deflate {
    state: Compress,
}

impl Deflate {
    /// A general encoder at a zlib level.
    pub fn new(level: u32) -> Deflate {
        Deflate { state: Compress::new(Compression::new(level), false) }
    }
}

impl Codec for Deflate {
    fn kind(&self) -> CodecKind {
        CodecKind::Gzip
    }

    fn encode(&mut self, run: &Run<'_>, out: &mut Vec<u8>) {
        self.state.reset();
        let mut input = run.bytes;
        out.reserve(input.len() / 3 + 64);
        loop {
            let before = self.state.total_in();
            let status = self
                .state
                .compress_vec(input, out, FlushCompress::Sync)
                .expect("INVARIANT: deflate of a slice");
            input = &input[(self.state.total_in() - before) as usize..];
            if input.is_empty() && status == Status::Ok && out.len() < out.capacity() {
                return;
            }
            out.reserve(out.capacity().max(64));
        }
    }
}

//! Batch containers: how segments' bodies become one object.
//!
//! A **piece** is what one commit adds to a batch; a batch is its pieces, one after the other (RULINGS 2).
//!
//! Promises: every piece decompresses alone (`zcat` reads a pack of them); data bytes are moved, never re-encoded;
//! there is no empty member, no padding, and nothing after the end (DESIGN 4).
//! Must not know: where pieces are kept.
mod decode;
mod framing;
mod join;
mod pick;
pub mod span;
mod split;

pub use decode::{decode, reader};
pub use framing::{Frame, Framing, ID_OPEN};
pub use join::{Malformed, join};
pub use pick::Records;
pub use split::{Half, SplitError, split};

use crate::codec::{Codec, CodecKind, Form, Level, Run, codec};
use crate::segment::Segment;
use bytes::Bytes;
use crc32fast::Hasher;

/// The 10 bytes that open a gzip member (RFC 1952: no name, no time, unknown system).
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty final DEFLATE block, which ends a stream of blocks with BFINAL=0.
pub const DEFLATE_END: [u8; 2] = [3, 0];
/// What ends a gzip member: [`DEFLATE_END`], CRC-32, length.
const TRAILER_BYTES: usize = 10;

/// How gzip segments are joined (DESIGN 4, INTERFACE 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// Each segment is a gzip member of its own.
    Members,
    /// One gzip member holds all segments.
    Single,
}

/// The body of a segment with what a container must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As [`Segment::body`].
    pub body: Bytes,
    /// CRC-32 of the uncompressed bytes.
    pub crc32: u32,
    /// Uncompressed bytes, ≥ 1.
    pub raw_len: u32,
}

impl Part {
    /// Encodes a run.
    pub fn encode(codec: &mut dyn Codec, run: &Run<'_>) -> Part {
        let mut body = Vec::new();
        codec.encode(Form::ONLY, run, &mut body);
        Part { body: body.into(), crc32: crc32fast::hash(run.bytes), raw_len: run.bytes.len() as u32 }
    }
}

impl From<&Segment> for Part {
    fn from(segment: &Segment) -> Part {
        Part { body: segment.body.clone(), crc32: segment.crc32, raw_len: segment.raw_len }
    }
}

/// A precomputed segment of bytes that never change: a batch's prefix, suffix or delimiter. Panics when there are none.
pub fn const_segment(kind: CodecKind, bytes: &[u8]) -> Part {
    let ends = [bytes.len() as u32];
    Part::encode(&mut *codec(kind, Level::Small), &Run::new(bytes, &ends))
}

/// The piece that `segments` make: their bodies, not copied, between headers and trailers. No segment, no bytes.
/// Panics when they are not of one codec (a batch never mixes codecs).
pub fn piece(container: Container, segments: &[Segment]) -> Vec<Bytes> {
    let Some(first) = segments.first() else { return Vec::new() };
    assert!(segments.iter().all(|segment| segment.codec == first.codec), "a piece of several codecs");
    let parts: Vec<Part> = segments.iter().map(Part::from).collect();
    piece_of(container, first.codec, &parts)
}

/// The piece that `parts` make, as [`piece`].
pub fn piece_of(container: Container, kind: CodecKind, parts: &[Part]) -> Vec<Bytes> {
    assert!(parts.iter().all(|part| part.raw_len > 0), "an empty segment");
    match (kind, container) {
        (_, _) if parts.is_empty() => Vec::new(),
        (CodecKind::Zstd | CodecKind::None, _) => parts.iter().map(|part| part.body.clone()).collect(),
        (CodecKind::Gzip, Container::Members) => members(parts),
        (CodecKind::Gzip, Container::Single) => single(parts),
    }
}

/// A gzip member that says its span (`records`, and the times of the first and the last one): header, body, trailer.
pub fn member(part: &Part, records: u32, (first, last): (i64, i64)) -> [Bytes; 3] {
    let member_bytes = (span::HEADER_BYTES + part.body.len() + TRAILER_BYTES) as u32;
    let mut ends = Vec::with_capacity(span::HEADER_BYTES + TRAILER_BYTES);
    span::write(&span::Span { member_bytes, records, raw_bytes: part.raw_len, first, last }, &mut ends);
    ends.extend_from_slice(&trailer(part.crc32, part.raw_len));
    let mut header = Bytes::from(ends);
    let trailer = header.split_off(span::HEADER_BYTES);
    [header, part.body.clone(), trailer]
}

fn members(parts: &[Part]) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(2 * parts.len() + 1);
    out.push(Bytes::from_static(&GZIP_HEADER));
    for (i, part) in parts.iter().enumerate() {
        out.push(part.body.clone());
        let mut between = trailer(part.crc32, part.raw_len).to_vec();
        if i + 1 < parts.len() {
            between.extend_from_slice(&GZIP_HEADER);
        }
        out.push(between.into());
    }
    out
}

fn single(parts: &[Part]) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(parts.len() + 2);
    out.push(Bytes::from_static(&GZIP_HEADER));
    let mut sum = Checksum::default();
    for part in parts {
        out.push(part.body.clone());
        sum.add(part.crc32, part.raw_len);
    }
    out.push(sum.trailer());
    out
}

fn trailer(crc32: u32, raw_len: u32) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..2].copy_from_slice(&DEFLATE_END);
    trailer[2..6].copy_from_slice(&crc32.to_le_bytes());
    trailer[6..].copy_from_slice(&raw_len.to_le_bytes());
    trailer
}

/// CRC-32 and length of what follows one another, from its parts' own: the bytes are not looked at again.
#[derive(Default)]
struct Checksum {
    crc32: Hasher,
    /// As gzip has it: mod 2^32.
    raw_len: u32,
}

impl Checksum {
    fn add(&mut self, crc32: u32, raw_len: u32) {
        self.crc32.combine(&Hasher::new_with_initial_len(crc32, u64::from(raw_len)));
        self.raw_len = self.raw_len.wrapping_add(raw_len);
    }

    fn trailer(self) -> Bytes {
        Bytes::copy_from_slice(&trailer(self.crc32.finalize(), self.raw_len))
    }
}

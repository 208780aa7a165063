//! Batch containers: how segments' bodies become one object.
//!
//! A **piece** is what one commit adds to a batch; a batch is its pieces, one after the other (RULINGS 2).
//!
//! Promises: every piece decompresses alone (`zcat` reads a pack of them); data bytes are moved, never re-encoded.
//! Must not know: where pieces are kept.
use crate::codec::CodecKind;
use crate::segment::Segment;

/// The 10 bytes that open a gzip member (RFC 1952: no name, no time, unknown system).
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty final DEFLATE block, which ends a stream of blocks with BFINAL=0.
pub const DEFLATE_END: [u8; 2] = [3, 0];

/// How gzip segments are joined (DESIGN 4, INTERFACE 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// Each segment is a gzip member of its own.
    Members,
    /// One gzip member holds all segments.
    Single,
}

/// The piece that `segments` make.
pub fn piece(container: Container, segments: &[Segment]) -> Vec<bytes::Bytes> {
    let mut out = Vec::new();
    for segment in segments {
        match (segment.codec, container) {
            (CodecKind::Gzip, Container::Members | Container::Single) => {
                out.extend_from_slice(&GZIP_HEADER);
                out.extend_from_slice(&segment.body);
                out.extend_from_slice(&DEFLATE_END);
                out.extend_from_slice(&segment.crc32.to_le_bytes());
                out.extend_from_slice(&segment.raw_len.to_le_bytes());
            }
            (CodecKind::Zstd | CodecKind::None, _) => out.extend_from_slice(&segment.body),
        }
    }
    vec![out.into()]
}

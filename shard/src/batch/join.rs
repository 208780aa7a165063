//! Join: an object's body from its pieces.
//!
//! Promises: bodies are sliced, not copied; a piece may come in any number of cuts (as committed, or as one block
//! read back from a pack); a piece that is not one of ours is an error that names it, never a panic: it comes from
//! a disk.
//! Must not know: where the pieces were kept.
use super::{Checksum, Container, DEFLATE_END, GZIP_HEADER, TRAILER_BYTES, span};
use crate::codec::{CodecKind, FRAME_START};
use bytes::Bytes;
use std::fmt;

/// The least that a gzip piece can be: header, one body of one byte, trailer.
const GZIP_BYTES_MIN: usize = GZIP_HEADER.len() + 1 + TRAILER_BYTES;

/// Why pieces do not make a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// There is no piece with any bytes.
    Empty,
    /// The piece is shorter than any piece can be.
    Short {
        /// Which, from 0.
        piece: usize,
        /// Its length, bytes.
        bytes: usize,
    },
    /// The piece does not begin as its codec demands.
    Start {
        /// Which, from 0.
        piece: usize,
    },
    /// The piece does not end as its codec demands.
    End {
        /// Which, from 0.
        piece: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Empty => write!(f, "the batch has no bytes"),
            Malformed::Short { piece, bytes } => {
                write!(f, "piece {piece} of the batch is cut: {bytes} bytes")
            }
            Malformed::Start { piece } => {
                write!(f, "piece {piece} of the batch does not begin with its header")
            }
            Malformed::End { piece } => write!(f, "piece {piece} of the batch does not end with its trailer"),
        }
    }
}

impl std::error::Error for Malformed {}

/// The body that `pieces` make, in order. Pieces without bytes (a commit that only closes the batch) are passed over.
pub fn join(container: Container, kind: CodecKind, pieces: Vec<Vec<Bytes>>) -> Result<Vec<Bytes>, Malformed> {
    let single = (kind, container) == (CodecKind::Gzip, Container::Single);
    let mut body = Vec::with_capacity(pieces.iter().map(Vec::len).sum::<usize>() + 2);
    let mut sum = Checksum::default();
    for (number, mut piece) in pieces.into_iter().enumerate() {
        piece.retain(|part| !part.is_empty());
        if piece.is_empty() {
            continue;
        }
        check(kind, single, number, &piece)?;
        if single {
            let (crc32, raw_len) = strip(number, &mut piece)?;
            if body.is_empty() {
                body.push(Bytes::from_static(&GZIP_HEADER));
            }
            sum.add(crc32, raw_len);
        }
        body.append(&mut piece);
    }
    if body.is_empty() {
        return Err(Malformed::Empty);
    }
    if single {
        body.push(sum.trailer());
    }
    Ok(body)
}

/// What is cheap to see: that a piece is no torn or foreign block.
fn check(kind: CodecKind, single: bool, number: usize, piece: &[Bytes]) -> Result<(), Malformed> {
    let (least, start) = match kind {
        CodecKind::Gzip => (GZIP_BYTES_MIN, &GZIP_HEADER[..]),
        CodecKind::Zstd => (FRAME_START.len() + 1, &FRAME_START[..]),
        CodecKind::None => return Ok(()),
    };
    let bytes = piece.iter().map(Bytes::len).sum();
    if bytes < least {
        return Err(Malformed::Short { piece: number, bytes });
    }
    let begins = |with: &[u8]| piece.iter().flatten().take(with.len()).eq(with);
    let spanned = kind == CodecKind::Gzip && !single && begins(&span::FIXED);
    if spanned || begins(start) { Ok(()) } else { Err(Malformed::Start { piece: number }) }
}

/// Takes header and trailer off a piece of the single container; the CRC-32 and the length that stood in it.
fn strip(number: usize, piece: &mut Vec<Bytes>) -> Result<(u32, u32), Malformed> {
    let mut left = GZIP_HEADER.len();
    for part in piece.iter_mut() {
        let cut = left.min(part.len());
        *part = part.slice(cut..);
        left -= cut;
    }
    let mut trailer = [0; TRAILER_BYTES];
    let mut left = TRAILER_BYTES;
    for part in piece.iter_mut().rev() {
        let cut = left.min(part.len());
        let end = part.split_off(part.len() - cut);
        trailer[left - cut..left].copy_from_slice(&end);
        left -= cut;
    }
    piece.retain(|part| !part.is_empty());
    let [end_0, end_1, c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
    let raw_len = u32::from_le_bytes([l0, l1, l2, l3]);
    if [end_0, end_1] != DEFLATE_END || raw_len == 0 {
        return Err(Malformed::End { piece: number });
    }
    Ok((u32::from_le_bytes([c0, c1, c2, c3]), raw_len))
}

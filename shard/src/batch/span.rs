//! Span: a gzip header that says how long its member is, and which time its records are of.
//!
//! ```text
//! 1f 8b 08 04 00000000 00 ff | 20 00 | 'E' 'P' 1c 00 | member_bytes records raw_bytes first last
//! ```
//! All numbers are little-endian. The field is an extra field as RFC 1952 has it, so every reader of gzip passes over it,
//! and whoever knows it goes from member to member without decompressing any.
//!
//! Promises: [`read`] takes what [`write`] wrote and nothing else; bytes from a disk never make it panic.
//! Must not know: what a member's body holds, where files lie.
use super::TRAILER_BYTES;

/// Length of the whole header, bytes.
pub const HEADER_BYTES: usize = FIXED.len() + FIELD_BYTES;
/// The header up to the field: FEXTRA set, no time, unknown system; the extra field's length; the field's name and length.
pub(super) const FIXED: [u8; 16] =
    [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, FIELD_BYTES as u8 + 4, 0, b'E', b'P', FIELD_BYTES as u8, 0];
/// Length of the field's own bytes.
const FIELD_BYTES: usize = 28;
/// No member is shorter: header, one byte of a body, trailer.
const MEMBER_BYTES_MIN: usize = HEADER_BYTES + 1 + TRAILER_BYTES;

/// What a member's header says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Length of the whole member, header and trailer included, bytes.
    pub member_bytes: u32,
    /// Records in it.
    pub records: u32,
    /// Uncompressed bytes.
    pub raw_bytes: u32,
    /// Request time of the earliest of its records, ns since the epoch.
    pub first: i64,
    /// Request time of the latest.
    pub last: i64,
}

/// Appends the whole gzip header of a member.
pub fn write(span: &Span, out: &mut Vec<u8>) {
    out.extend_from_slice(&FIXED);
    out.extend_from_slice(&span.member_bytes.to_le_bytes());
    out.extend_from_slice(&span.records.to_le_bytes());
    out.extend_from_slice(&span.raw_bytes.to_le_bytes());
    out.extend_from_slice(&span.first.to_le_bytes());
    out.extend_from_slice(&span.last.to_le_bytes());
}

/// What the header at the start of `bytes` says. `None`: there is no such header, or it makes no sense.
pub fn read(bytes: &[u8]) -> Option<Span> {
    let (first, rest) = bytes.strip_prefix(&FIXED)?.split_first_chunk::<4>()?;
    let (records, rest) = rest.split_first_chunk::<4>()?;
    let (raw_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (from, rest) = rest.split_first_chunk::<8>()?;
    let (to, _) = rest.split_first_chunk::<8>()?;
    let span = Span {
        member_bytes: u32::from_le_bytes(*first),
        records: u32::from_le_bytes(*records),
        raw_bytes: u32::from_le_bytes(*raw_bytes),
        first: i64::from_le_bytes(*from),
        last: i64::from_le_bytes(*to),
    };
    (span.member_bytes as usize >= MEMBER_BYTES_MIN && span.first <= span.last).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{const_segment, decode, trailer};
    use crate::codec::CodecKind;

    const SPAN: Span = Span { member_bytes: 100, records: 3, raw_bytes: 70_000, first: -5, last: 7 };

    fn written(span: &Span) -> Vec<u8> {
        let mut out = Vec::new();
        write(span, &mut out);
        out
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = written(&SPAN);
        assert_eq!((bytes.len(), HEADER_BYTES), (44, 44));
        assert_eq!(read(&bytes), Some(SPAN));
        let more = [&bytes[..], b"body"].concat();
        assert_eq!(read(&more), Some(SPAN));
    }

    #[test]
    fn what_is_cut_or_strange_is_no_span() {
        let bytes = written(&SPAN);
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len]), None, "{len} bytes");
        }
        for at in 0..FIXED.len() {
            let mut strange = bytes.clone();
            strange[at] ^= 1;
            assert_eq!(read(&strange), None, "byte {at}");
        }
        assert_eq!(read(&written(&Span { member_bytes: 54, ..SPAN })), None);
        assert_eq!(read(&written(&Span { first: 8, ..SPAN })), None);
    }

    #[test]
    fn a_member_with_a_span_is_gzip_to_everyone() {
        let part = const_segment(CodecKind::Gzip, b"one line\n");
        let member_bytes = (HEADER_BYTES + part.body.len() + TRAILER_BYTES) as u32;
        let mut member = written(&Span { member_bytes, records: 1, raw_bytes: 9, first: 1, last: 1 });
        member.extend_from_slice(&part.body);
        member.extend_from_slice(&trailer(part.crc32, part.raw_len));
        assert_eq!(member.len(), member_bytes as usize);
        let two = [&member[..], &member[..]].concat();
        assert_eq!(decode(CodecKind::Gzip, &two[..]).expect("gzip"), b"one line\none line\n");
    }
}

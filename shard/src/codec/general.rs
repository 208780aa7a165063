//! General: raw DEFLATE by flate2 (zlib-rs), for bytes of which nothing is known.
//!
//! Promises: a body ends with exactly one empty stored block (BFINAL=0), on a byte boundary, so bodies are joined by
//! concatenation; it refers to nothing before its own first byte.
//! Must not know: gzip's headers.
use super::{Codec, CodecKind, Form, Run, assert_not_empty};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// How every body ends: the length and its complement of an empty stored block.
pub(crate) const BODY_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// A general DEFLATE encoder.
#[derive(Debug)]
pub struct Deflate {
    state: Compress,
}

impl Deflate {
    /// An encoder at a zlib level, 1..=9.
    pub fn new(level: u32) -> Deflate {
        Deflate { state: Compress::new(Compression::new(level), false) }
    }

    /// The most that a body of `len` bytes takes, and room to spare: level 1 writes literals of 9 bits.
    fn bound(len: usize) -> usize {
        len + len / 8 + len / 64 + 64
    }

    /// Encodes everything with one call into the free capacity of `out`; false when that was too small.
    fn encode_once(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        self.state.reset();
        let status = self.state.compress_vec(bytes, out, FlushCompress::Sync);
        let status = status.expect("INVARIANT: raw DEFLATE of a slice has no error to report");
        // A flush is only known to be complete when it left room over (zlib's manual).
        status == Status::Ok && self.state.total_in() == bytes.len() as u64 && out.len() < out.capacity()
    }
}

impl Codec for Deflate {
    fn kind(&self) -> CodecKind {
        CodecKind::Gzip
    }

    fn encode(&mut self, _form: Form, run: &Run<'_>, out: &mut Vec<u8>) {
        assert_not_empty(run);
        let start = out.len();
        let mut room = Deflate::bound(run.bytes.len());
        loop {
            out.reserve(room);
            if self.encode_once(run.bytes, out) {
                break;
            }
            // To go on with a flush that was cut off could write a second empty block: begin again with more room.
            out.truncate(start);
            room *= 2;
        }
        debug_assert!(out.ends_with(&BODY_END));
    }
}

/// Whether a body is whole and decodes to `bytes`. `scratch` is for the decoded bytes.
pub(crate) fn decodes_to(body: &[u8], bytes: &[u8], scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    scratch.reserve(bytes.len() + 64);
    let mut state = Decompress::new(false);
    let status = state.decompress_vec(body, scratch, FlushDecompress::Sync);
    matches!(status, Ok(Status::Ok))
        && state.total_in() == body.len() as u64
        && scratch == bytes
        && body.ends_with(&BODY_END)
}

/// What holds for the bodies of every DEFLATE encoder.
#[cfg(test)]
pub(super) mod contract {
    use super::*;

    /// What level 1 compresses worst.
    pub(crate) fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn inflate(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 << 20);
        let mut state = Decompress::new(false);
        let status = state.decompress_vec(body, &mut out, FlushDecompress::Sync).expect("valid DEFLATE");
        assert_eq!(
            (status, state.total_in()),
            (Status::Ok, body.len() as u64),
            "the last block is not final"
        );
        out
    }

    pub(crate) fn ends_with_one_empty_stored_block(codec: &mut dyn Codec, bound: fn(usize) -> usize) {
        for len in [1, 2, 63, 1000, 65_535, 65_536, 300_000, 1 << 20] {
            for bytes in [noise(len), vec![b'a'; len], b"{\"a\":1}\n".repeat(len.div_ceil(8))] {
                let mut body = b"before".to_vec();
                codec.encode(Form::ONLY, &Run::new(&bytes, &[bytes.len() as u32]), &mut body);
                let body = &body[6..];
                assert!(inflate(body) == bytes, "{len} bytes");
                assert!(body.ends_with(&BODY_END));
                // Without its end the body must still hold all data, but not end on another empty block.
                let cut = &body[..body.len() - BODY_END.len()];
                assert!(!cut[..cut.len() - 1].ends_with(&BODY_END), "{len} bytes");
                assert!(body.len() <= bound(len.max(8) + 8), "{len} bytes");
            }
        }
    }

    pub(crate) fn does_not_depend_on_what_was_before(codec: &mut dyn Codec) {
        let bytes = b"{\"host\":\"a.example\",\"status\":200}\n".repeat(50);
        let ends = [bytes.len() as u32];
        let run = Run::new(&bytes, &ends);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        codec.encode(Form::ONLY, &run, &mut first);
        codec.encode(Form::ONLY, &run, &mut second);
        assert_eq!(first, second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_with_exactly_one_empty_stored_block() {
        (1..=9).for_each(|level| {
            contract::ends_with_one_empty_stored_block(&mut Deflate::new(level), Deflate::bound)
        });
    }

    #[test]
    fn a_body_does_not_depend_on_what_was_encoded_before() {
        contract::does_not_depend_on_what_was_before(&mut Deflate::new(1));
    }

    #[test]
    fn too_little_room_is_noticed() {
        let bytes = contract::noise(10_000);
        let mut codec = Deflate::new(1);
        let mut whole = Vec::new();
        codec.encode(Form::ONLY, &Run::new(&bytes, &[10_000]), &mut whole);
        for room in [0, 1, whole.len() - 6, whole.len() - 1, whole.len()] {
            let mut out = Vec::with_capacity(room);
            if out.capacity() == room {
                assert!(!codec.encode_once(&bytes, &mut out), "{room} of {} bytes", whole.len());
            }
        }
        let mut out = Vec::with_capacity(whole.len() + 1);
        assert!(codec.encode_once(&bytes, &mut out));
        assert_eq!(out, whole);
    }
}

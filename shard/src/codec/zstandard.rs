//! Zstandard: one frame a segment.
//!
//! Promises: a frame names its content's size and carries its checksum, and is read without any other frame.
//! Must not know: how frames are joined.
use super::{Codec, CodecKind, Run, assert_not_empty};
use std::io::Cursor;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

/// The magic number that opens a frame.
pub(crate) const FRAME_START: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A zstd encoder.
pub struct Zstd {
    state: Compressor<'static>,
}

impl Zstd {
    /// An encoder at a zstd level, 1..=22.
    pub fn new(level: i32) -> Zstd {
        let ready = Compressor::new(level).and_then(|mut state| {
            state.set_parameter(CParameter::ContentSizeFlag(true))?;
            state.set_parameter(CParameter::ChecksumFlag(true))?;
            Ok(state)
        });
        Zstd { state: ready.expect("INVARIANT: zstd takes its own levels and flags") }
    }
}

impl Codec for Zstd {
    fn kind(&self) -> CodecKind {
        CodecKind::Zstd
    }

    fn encode(&mut self, run: &Run<'_>, out: &mut Vec<u8>) {
        assert_not_empty(run);
        out.reserve(compress_bound(run.bytes.len()));
        let mut tail = Cursor::new(&mut *out);
        tail.set_position(tail.get_ref().len() as u64);
        let written = self.state.compress_to_buffer(run.bytes, &mut tail);
        written.expect("INVARIANT: the bound is reserved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_appended_and_names_its_size() {
        let mut codec = Zstd::new(1);
        let bytes = b"{\"host\":\"a.example\",\"status\":200}\n".repeat(5000);
        let ends = [bytes.len() as u32];
        let run = Run::new(&bytes, &ends);
        let mut out = b"before".to_vec();
        codec.encode(&run, &mut out);
        let one = out.len();
        codec.encode(&run, &mut out);
        assert_eq!(&out[..6], b"before");
        for frame in [&out[6..one], &out[one..]] {
            assert!(frame.starts_with(&FRAME_START));
            let size = zstd::zstd_safe::get_frame_content_size(frame).expect("a frame");
            assert_eq!(size, Some(bytes.len() as u64));
            assert!(zstd::bulk::decompress(frame, bytes.len()).expect("valid") == bytes);
            // The checksum is there: a changed last byte is noticed.
            let mut rotten = frame.to_vec();
            *rotten.last_mut().expect("not empty") ^= 1;
            assert!(zstd::bulk::decompress(&rotten, bytes.len()).is_err());
        }
    }
}

//! Zstandard: one frame a segment.
//!
//! Promises: a frame names its content's size and carries its checksum, and is read without any other frame.
//! Must not know: how frames are joined.
use super::{Codec, CodecKind, Form, Level, Run, assert_not_empty};
use std::io::Cursor;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, Strategy, compress_bound};

/// The magic number that opens a frame.
pub(crate) const FRAME_START: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How zstd looks for matches. Its own levels are made for any kind of data; these are the best found for lines of
/// logs at segments of 32 KiB to 1 MiB (`bench/src/bin/zstd-points.rs`, figures in `docs/compression.md`).
struct Search {
    strategy: Strategy,
    /// Of the table of positions, and of the chains or rows. Tables that leave the L2 cache cost more than they find.
    hash_log: u32,
    /// 2 to this many places are looked at.
    search_log: u32,
    /// Matches of log lines are long: to look for shorter ones costs ratio, not only time.
    match_min: u32,
    /// A match of this length is taken without looking for a longer one; 0: `fast` passes over no position.
    enough: u32,
}

/// A segment is at most 1 MiB in the common case, and a larger window is more memory for whoever reads it.
const WINDOW_LOG: u32 = 20;

impl Search {
    const fn of(level: Level) -> Search {
        match level {
            // zstd 1 at 1 MiB but for the window; below 256 KiB it matches 6 bytes, which is slower and not denser.
            // A hash of 13 is 8 % faster for 0.5 % more bytes, and more than zstd 1 makes.
            Level::Fast => {
                Search { strategy: Strategy::ZSTD_fast, hash_log: 14, search_log: 1, match_min: 7, enough: 0 }
            }
            // zstd 2..=4 are slower than 1 and give more bytes on logs; 5 is slower than this and gives more.
            Level::Balanced => Search {
                strategy: Strategy::ZSTD_greedy,
                hash_log: 15,
                search_log: 4,
                match_min: 6,
                enough: 8,
            },
            // Denser and faster than zstd 7 and 8.
            Level::Small => Search {
                strategy: Strategy::ZSTD_lazy2,
                hash_log: 17,
                search_log: 4,
                match_min: 6,
                enough: 8,
            },
        }
    }

    fn parameters(&self) -> [CParameter; 9] {
        [
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::HashLog(self.hash_log),
            CParameter::ChainLog(self.hash_log),
            CParameter::SearchLog(self.search_log),
            CParameter::MinMatch(self.match_min),
            CParameter::TargetLength(self.enough),
            CParameter::Strategy(self.strategy),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(true),
        ]
    }
}

/// A zstd encoder.
pub struct Zstd {
    state: Compressor<'static>,
}

impl Zstd {
    /// An encoder at a level.
    pub fn new(level: Level) -> Zstd {
        let ready = Compressor::new(1).and_then(|mut state| {
            for parameter in Search::of(level).parameters() {
                state.set_parameter(parameter)?;
            }
            Ok(state)
        });
        Zstd { state: ready.expect("INVARIANT: zstd takes parameters within its bounds") }
    }
}

impl Codec for Zstd {
    fn kind(&self) -> CodecKind {
        CodecKind::Zstd
    }

    fn encode(&mut self, _form: Form, run: &Run<'_>, out: &mut Vec<u8>) {
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
        for level in Level::ALL {
            check(&mut Zstd::new(level), &b"{\"host\":\"a.example\",\"status\":200}\n".repeat(5000));
            check(&mut Zstd::new(level), b"{}\n");
        }
    }

    fn check(codec: &mut Zstd, bytes: &[u8]) {
        let ends = [bytes.len() as u32];
        let run = Run::new(bytes, &ends);
        let mut out = b"before".to_vec();
        codec.encode(Form::ONLY, &run, &mut out);
        let one = out.len();
        codec.encode(Form::ONLY, &run, &mut out);
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

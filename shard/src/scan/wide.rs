//! Wide: work on blocks of 32 bytes, compiled once for every level of instructions that helps it.
//!
//! Promises: every level finds what [`super::scalar`] finds. Must not know: what is looked for.
use super::level::Simd;

/// Bytes of a block.
pub(crate) const WIDE: usize = 32;

/// Looks at a block at once.
pub(crate) trait Wide: Copy {
    /// Where a block has this byte, one bit each, the first byte's lowest.
    fn equal(self, block: &[u8; WIDE], byte: u8) -> u32;
}

/// What is done with blocks. `run` has to be inlined always: it is compiled anew with each level's instructions.
pub(crate) trait Work {
    /// What comes of it.
    type Made;

    /// Does it.
    fn run(self, wide: impl Wide) -> Self::Made;
}

/// Does some work with the instructions of a level, which the machine has.
#[inline]
pub(crate) fn widest<W: Work>(level: Simd, work: W) -> W::Made {
    match level {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 | Simd::Avx512 => super::avx2::run(work),
        #[cfg(target_arch = "x86_64")]
        Simd::Baseline => super::sse2::run(work),
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => super::neon::run(work),
        _ => super::scalar::run(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Equal<'a>(&'a [u8; WIDE], u8);

    impl Work for Equal<'_> {
        type Made = u32;

        #[inline(always)]
        fn run(self, wide: impl Wide) -> u32 {
            wide.equal(self.0, self.1)
        }
    }

    #[test]
    fn every_level_finds_every_byte_at_every_place() {
        for level in Simd::all() {
            for byte in 0..=255u8 {
                for place in 0..WIDE {
                    // Neighbours that differ by one bit or by one.
                    let mut block: [u8; WIDE] =
                        std::array::from_fn(|at| byte ^ [1, 0x80, 0xff, 0x20][(at + place) % 4]);
                    block[place] = byte;
                    block[31] = byte;
                    assert_eq!(
                        widest(level, Equal(&block, byte)),
                        1 << place | 1 << 31,
                        "{level:?}: {block:?}"
                    );
                }
            }
        }
    }
}

//! Thirty-two bytes at a time: AVX2.
//!
//! Promises: as [`super::scalar`]. Must not know: whether the machine has AVX2; its callers do.
#![allow(unsafe_code)]
use super::marks::{BLOCK, Finder, Marks, Masks};
use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
};

#[derive(Clone, Copy)]
struct Avx2;

impl Finder for Avx2 {
    #[inline(always)]
    unsafe fn masks(self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: the block has 64 bytes; the caller has AVX2.
        unsafe {
            let low = _mm256_loadu_si256(block.as_ptr().cast());
            let high = _mm256_loadu_si256(block.as_ptr().add(32).cast());
            let most = _mm256_set1_epi8(0x1f);
            let controls = both(
                _mm256_cmpeq_epi8(_mm256_min_epu8(low, most), low),
                _mm256_cmpeq_epi8(_mm256_min_epu8(high, most), high),
            );
            Masks {
                quotes: is(low, high, b'"'),
                ends: is(low, high, b'\n'),
                backslashes: is(low, high, b'\\'),
                controls,
                high: both(low, high),
            }
        }
    }
}

/// Where 64 bytes are one byte.
#[inline(always)]
unsafe fn is(low: __m256i, high: __m256i, byte: u8) -> u64 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let wanted = _mm256_set1_epi8(byte as i8);
        both(_mm256_cmpeq_epi8(low, wanted), _mm256_cmpeq_epi8(high, wanted))
    }
}

/// The highest bits of 64 bytes.
#[inline(always)]
unsafe fn both(low: __m256i, high: __m256i) -> u64 {
    // SAFETY: the caller has AVX2.
    unsafe {
        u64::from(_mm256_movemask_epi8(low) as u32) | u64::from(_mm256_movemask_epi8(high) as u32) << 32
    }
}

/// See [`Marks::find`].
///
/// # Safety
/// The machine has these instructions.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn find(marks: &mut Marks, text: &[u8]) {
    // SAFETY: they are enabled here.
    unsafe { marks.find_with(Avx2, text) }
}

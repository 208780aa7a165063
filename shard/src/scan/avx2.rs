//! Thirty-two bytes at a time: AVX2.
//!
//! Promises: as [`super::scalar`]. Must not know: whether the machine has AVX2; its callers do.
#![allow(unsafe_code)]
use super::marks::{BLOCK, Finder, Marks, Masks, Quick};
use super::wide::{WIDE, Wide, Work};
use std::arch::x86_64::{
    __m256i, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8,
    _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
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
            Masks {
                quotes: is(low, high, b'"'),
                ends: is(low, high, b'\n'),
                backslashes: is(low, high, b'\\'),
                controls: both(controls(low), controls(high)),
                high: both(low, high),
            }
        }
    }

    #[inline(always)]
    unsafe fn quick(self, block: &[u8; BLOCK]) -> Quick {
        // SAFETY: the block has 64 bytes; the caller has AVX2.
        unsafe {
            let low = _mm256_loadu_si256(block.as_ptr().cast());
            let high = _mm256_loadu_si256(block.as_ptr().add(32).cast());
            let (ends_low, ends_high) = (equal(low, b'\n'), equal(high, b'\n'));
            let marks_low = _mm256_or_si256(equal(low, b'"'), ends_low);
            let marks_high = _mm256_or_si256(equal(high, b'"'), ends_high);
            let strange = _mm256_or_si256(
                _mm256_or_si256(equal(low, b'\\'), _mm256_andnot_si256(ends_low, controls(low))),
                _mm256_or_si256(equal(high, b'\\'), _mm256_andnot_si256(ends_high, controls(high))),
            );
            Quick {
                marks: both(marks_low, marks_high),
                strange: _mm256_movemask_epi8(strange) != 0,
                high: u64::from(_mm256_movemask_epi8(_mm256_or_si256(low, high)) as u32),
            }
        }
    }
}

/// Where 32 bytes are control characters.
#[inline(always)]
unsafe fn controls(bytes: __m256i) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes) }
}

/// Where 32 bytes are one byte.
#[inline(always)]
unsafe fn equal(bytes: __m256i, byte: u8) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)) }
}

/// Where 64 bytes are one byte.
#[inline(always)]
unsafe fn is(low: __m256i, high: __m256i, byte: u8) -> u64 {
    // SAFETY: the caller has AVX2.
    unsafe { both(equal(low, byte), equal(high, byte)) }
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
pub(super) unsafe fn find<const STEP: usize>(marks: &mut Marks, text: &[u8]) {
    // SAFETY: they are enabled here.
    unsafe { marks.find_with::<_, STEP>(Avx2, text) }
}

impl Wide for Avx2 {
    #[inline(always)]
    fn equal(self, block: &[u8; WIDE], byte: u8) -> u32 {
        // SAFETY: the block has 32 bytes; only `run_with` gives an `Avx2` to work, where AVX2 is enabled.
        unsafe { _mm256_movemask_epi8(equal(_mm256_loadu_si256(block.as_ptr().cast()), byte)) as u32 }
    }
}

/// See [`super::wide::widest`].
#[inline]
pub(super) fn run<W: Work>(work: W) -> W::Made {
    // SAFETY: a level is only in use where the machine has it.
    unsafe { run_with(work) }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn run_with<W: Work>(work: W) -> W::Made {
    work.run(Avx2)
}

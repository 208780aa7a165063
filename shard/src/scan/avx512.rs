//! Sixty-four bytes at a time: AVX-512.
//!
//! Promises: as [`super::scalar`]. Must not know: whether the machine has AVX-512; its callers do.
#![allow(unsafe_code)]
use super::marks::{BLOCK, Finder, Marks, Masks};
use std::arch::x86_64::{
    __m512i, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_movepi8_mask,
    _mm512_set1_epi8,
};

#[derive(Clone, Copy)]
struct Avx512;

impl Finder for Avx512 {
    #[inline(always)]
    unsafe fn masks(self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: the block has 64 bytes; the caller has AVX-512 F and BW.
        unsafe {
            let bytes = _mm512_loadu_si512(block.as_ptr().cast());
            Masks {
                quotes: is(bytes, b'"'),
                ends: is(bytes, b'\n'),
                backslashes: is(bytes, b'\\'),
                controls: _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20)),
                high: _mm512_movepi8_mask(bytes),
            }
        }
    }
}

/// Where 64 bytes are one byte.
#[inline(always)]
unsafe fn is(bytes: __m512i, byte: u8) -> u64 {
    // SAFETY: the caller has AVX-512 BW.
    unsafe { _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte as i8)) }
}

/// See [`Marks::find`].
///
/// # Safety
/// The machine has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) unsafe fn find<const STEP: usize>(marks: &mut Marks, text: &[u8]) {
    // SAFETY: they are enabled here.
    unsafe { marks.find_with::<_, STEP>(Avx512, text) }
}

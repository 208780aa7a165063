//! Sixteen bytes at a time: what every x86-64 has.
//!
//! Promises: as [`super::scalar`].
//! Must not know: text shorter than a block; that is the scalar way's.
#![allow(unsafe_code)]
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
};

/// See [`super::string_stop`].
#[inline]
pub fn string_stop(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        // SAFETY: SSE2 is part of the x86-64 baseline, and `stops` touches no memory but its argument.
        let stops = unsafe { stops(block) };
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += 16;
    }
    super::scalar::string_stop(text, at)
}

#[inline]
#[target_feature(enable = "sse2")]
fn stops(block: &[u8; 16]) -> u32 {
    let block = load(block);
    let quote = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'"' as i8));
    let backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\\' as i8));
    let control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(block: &[u8; 16]) -> __m128i {
    let whole = u128::from_le_bytes(*block);
    _mm_set_epi64x((whole >> 64) as i64, whole as i64)
}

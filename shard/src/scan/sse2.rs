//! Sixteen bytes at a time: what every x86-64 has.
//!
//! Promises: as [`super::scalar`].
//! Must not know: text shorter than a block; that is the scalar way's.
#![allow(unsafe_code)]
use super::wide::{WIDE, Wide, Work};
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
};

/// See [`super::string_stop`].
#[inline]
pub fn string_stop(text: &[u8], from: usize) -> usize {
    let mut at = from;
    // Two blocks at once: most values end within 32 bytes, so the loop's branch is foreseen.
    while let Some(two) = text.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        let (low, high) = halves(two);
        // SAFETY: SSE2 is part of the x86-64 baseline, and `stops` touches no memory but its argument.
        let stops = unsafe { stops(low) | stops(high) << 16 };
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += 32;
    }
    super::scalar::string_stop(text, at)
}

/// See [`super::field_stop`].
#[inline]
pub fn field_stop(text: &[u8], from: usize, end: u8) -> usize {
    let mut at = from;
    while let Some(two) = text.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        let (low, high) = halves(two);
        // SAFETY: as above.
        let found = unsafe {
            let low = stops(low) | equals(low, end);
            low | (stops(high) | equals(high, end)) << 16
        };
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 32;
    }
    super::scalar::field_stop(text, at, end)
}

/// See [`super::differences`].
#[inline]
pub fn differences(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    let ((a_low, a_high), (b_low, b_high)) = (halves(a), halves(b));
    // SAFETY: as above.
    unsafe { !(same(a_low, b_low) | same(a_high, b_high) << 16) }
}

#[inline]
fn halves(two: &[u8; 32]) -> (&[u8; 16], &[u8; 16]) {
    let ([low, high], _) = two.as_chunks::<16>() else { unreachable!("32 bytes are two blocks of 16") };
    (low, high)
}

#[inline]
#[target_feature(enable = "sse2")]
fn same(a: &[u8; 16], b: &[u8; 16]) -> u32 {
    _mm_movemask_epi8(_mm_cmpeq_epi8(load(a), load(b))) as u32
}

#[inline]
#[target_feature(enable = "sse2")]
fn equals(block: &[u8; 16], byte: u8) -> u32 {
    _mm_movemask_epi8(_mm_cmpeq_epi8(load(block), _mm_set1_epi8(byte as i8))) as u32
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

#[derive(Clone, Copy)]
struct Sse2;

impl super::marks::Finder for Sse2 {
    #[inline(always)]
    unsafe fn masks(self, block: &[u8; super::marks::BLOCK]) -> super::marks::Masks {
        let mut masks = super::marks::Masks::default();
        let (parts, _) = block.as_chunks::<16>();
        for (number, part) in parts.iter().enumerate() {
            // SAFETY: SSE2 is part of the x86-64 baseline.
            unsafe {
                let bytes = load(part);
                let bits = |equal: __m128i| u64::from(_mm_movemask_epi8(equal) as u32) << (16 * number);
                let is = |byte: u8| bits(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8)));
                masks.quotes |= is(b'"');
                masks.ends |= is(b'\n');
                masks.backslashes |= is(b'\\');
                masks.controls |= bits(_mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes));
                masks.high |= bits(bytes);
            }
        }
        masks
    }
}

/// See [`super::Marks::find`].
pub(super) fn find<const STEP: usize>(marks: &mut super::Marks, text: &[u8]) {
    // SAFETY: SSE2 is part of the x86-64 baseline.
    unsafe { marks.find_with::<_, STEP>(Sse2, text) }
}

impl Wide for Sse2 {
    #[inline(always)]
    fn equal(self, block: &[u8; WIDE], byte: u8) -> u32 {
        let (low, high) = halves(block);
        // SAFETY: SSE2 is part of the x86-64 baseline.
        unsafe { equals(low, byte) | equals(high, byte) << 16 }
    }
}

/// See [`super::wide::widest`].
pub(super) fn run<W: Work>(work: W) -> W::Made {
    work.run(Sse2)
}

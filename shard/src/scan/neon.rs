//! Sixteen bytes at a time: NEON.
//!
//! Promises: as [`super::scalar`]. Must not know: whether the machine has NEON; its callers do.
#![allow(unsafe_code)]
use super::marks::{BLOCK, Finder, Marks, Masks};
use super::wide::{WIDE, Wide, Work};
use std::arch::aarch64::{
    uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcgeq_u8, vcltq_u8, vdupq_n_u8, vget_high_u8, vget_low_u8,
    vld1q_u8,
};

#[derive(Clone, Copy)]
struct Neon;

impl Finder for Neon {
    #[inline(always)]
    unsafe fn masks(self, block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks::default();
        for part in 0..4 {
            // SAFETY: the block has 64 bytes; the caller has NEON.
            unsafe {
                let bytes = vld1q_u8(block.as_ptr().add(16 * part));
                masks.quotes |= is(bytes, b'"') << (16 * part);
                masks.ends |= is(bytes, b'\n') << (16 * part);
                masks.backslashes |= is(bytes, b'\\') << (16 * part);
                masks.controls |= bits(vcltq_u8(bytes, vdupq_n_u8(0x20))) << (16 * part);
                masks.high |= bits(vcgeq_u8(bytes, vdupq_n_u8(0x80))) << (16 * part);
            }
        }
        masks
    }
}

/// Where sixteen bytes are one byte.
#[inline(always)]
unsafe fn is(bytes: uint8x16_t, byte: u8) -> u64 {
    // SAFETY: the caller has NEON.
    unsafe { bits(vceqq_u8(bytes, vdupq_n_u8(byte))) }
}

/// One bit of each byte, all ones or all zeros.
#[inline(always)]
unsafe fn bits(bytes: uint8x16_t) -> u64 {
    const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: the constant has 16 bytes; the caller has NEON.
    unsafe {
        let places = vandq_u8(bytes, vld1q_u8(PLACES.as_ptr()));
        u64::from(vaddv_u8(vget_low_u8(places))) | u64::from(vaddv_u8(vget_high_u8(places))) << 8
    }
}

/// See [`Marks::find`].
///
/// # Safety
/// The machine has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn find<const STEP: usize>(marks: &mut Marks, text: &[u8]) {
    // SAFETY: it is enabled here.
    unsafe { marks.find_with::<_, STEP>(Neon, text) }
}

impl Wide for Neon {
    #[inline(always)]
    fn equal(self, block: &[u8; WIDE], byte: u8) -> u32 {
        // SAFETY: the block has 32 bytes; only `run` gives a `Neon` to work, and a level is only in use where the
        // machine has it.
        unsafe {
            let (low, high) = (vld1q_u8(block.as_ptr()), vld1q_u8(block.as_ptr().add(16)));
            (is(low, byte) | is(high, byte) << 16) as u32
        }
    }
}

/// See [`super::wide::widest`].
pub(super) fn run<W: Work>(work: W) -> W::Made {
    work.run(Neon)
}

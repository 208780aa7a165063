//! Compare: how far two places of a text are equal.
//!
//! Promises: every implementation answers as [`Safe`], the oracle, within the margins that its caller keeps.
//! Must not know: what is compared.
#![allow(unsafe_code)]

/// The most that one comparison looks at.
pub(super) const AHEAD: u32 = 64;
/// The most that a comparison backwards looks at.
pub(super) const BACK: u32 = 32;

/// Compares places of one text.
pub(super) trait Compare: Copy {
    /// Bytes equal from `a` and `b` on, at most [`AHEAD`].
    ///
    /// # Safety
    /// [`AHEAD`] bytes from `a` and from `b` on lie within the text.
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32) -> u32;

    /// Bytes equal before `a` and `b`, at most [`BACK`].
    ///
    /// # Safety
    /// [`BACK`] bytes before `a` and before `b` lie within the text.
    unsafe fn back(self, text: &[u8], a: u32, b: u32) -> u32;

    /// The eight bytes from `at` on.
    ///
    /// # Safety
    /// Eight bytes from `at` on lie within the text.
    unsafe fn eight(self, text: &[u8], at: u32) -> u64;
}

/// Plain Rust; ends of the text need no margin.
#[derive(Clone, Copy)]
pub(super) struct Safe;

impl Compare for Safe {
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32) -> u32 {
        let (a, b) = (text.get(a as usize..).unwrap_or(&[]), text.get(b as usize..).unwrap_or(&[]));
        a.iter().zip(b).take(AHEAD as usize).take_while(|(a, b)| a == b).count() as u32
    }

    unsafe fn back(self, text: &[u8], a: u32, b: u32) -> u32 {
        let (a, b) = (text.get(..a as usize).unwrap_or(&[]), text.get(..b as usize).unwrap_or(&[]));
        a.iter().rev().zip(b.iter().rev()).take(BACK as usize).take_while(|(a, b)| a == b).count() as u32
    }

    unsafe fn eight(self, text: &[u8], at: u32) -> u64 {
        let mut eight = [0; 8];
        let rest = text.get(at as usize..).unwrap_or(&[]);
        let len = rest.len().min(8);
        eight[..len].copy_from_slice(&rest[..len]);
        u64::from_le_bytes(eight)
    }
}

/// Eight bytes at a time, on every machine.
#[derive(Clone, Copy)]
pub(super) struct Words;

impl Compare for Words {
    #[inline(always)]
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32) -> u32 {
        let mut done = 0;
        while done < AHEAD {
            // SAFETY: the caller keeps 64 bytes readable.
            let differ = unsafe { self.eight(text, a + done) ^ self.eight(text, b + done) };
            if differ != 0 {
                return done + differ.trailing_zeros() / 8;
            }
            done += 8;
        }
        AHEAD
    }

    #[inline(always)]
    unsafe fn back(self, text: &[u8], a: u32, b: u32) -> u32 {
        let mut done = 0;
        while done < BACK {
            // SAFETY: the caller keeps 32 bytes readable.
            let differ = unsafe { self.eight(text, a - done - 8) ^ self.eight(text, b - done - 8) };
            if differ != 0 {
                return done + differ.leading_zeros() / 8;
            }
            done += 8;
        }
        BACK
    }

    #[inline(always)]
    unsafe fn eight(self, text: &[u8], at: u32) -> u64 {
        debug_assert!(at as usize + 8 <= text.len());
        // SAFETY: the caller keeps eight bytes readable.
        u64::from_le(unsafe { text.as_ptr().add(at as usize).cast::<u64>().read_unaligned() })
    }
}

/// AVX2; to be used inside of a function that has that target feature only.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Compare for Avx2 {
    #[inline(always)]
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32) -> u32 {
        debug_assert!(a.max(b) as usize + 64 <= text.len());
        // SAFETY: the caller keeps 64 bytes readable, and runs where AVX2 is.
        let equal = unsafe {
            let (a, b) = (text.as_ptr().add(a as usize), text.as_ptr().add(b as usize));
            u64::from(equal(a, b)) | u64::from(equal(a.add(32), b.add(32))) << 32
        };
        (!equal).trailing_zeros()
    }

    #[inline(always)]
    unsafe fn back(self, text: &[u8], a: u32, b: u32) -> u32 {
        debug_assert!(a.min(b) >= BACK);
        // SAFETY: the caller keeps 32 bytes readable, and runs where AVX2 is.
        let equal = unsafe { equal(text.as_ptr().add(a as usize - 32), text.as_ptr().add(b as usize - 32)) };
        (!equal).leading_zeros()
    }

    #[inline(always)]
    unsafe fn eight(self, text: &[u8], at: u32) -> u64 {
        // SAFETY: the same margin.
        unsafe { Words.eight(text, at) }
    }
}

/// AVX-512; to be used inside of a function that has that target feature only.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Compare for Avx512 {
    #[inline(always)]
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32) -> u32 {
        use std::arch::x86_64::{_mm512_cmpneq_epi8_mask, _mm512_loadu_si512};
        debug_assert!(a.max(b) as usize + 64 <= text.len());
        // SAFETY: the caller keeps 64 bytes readable, and runs where AVX-512 is.
        let differ = unsafe {
            let a = _mm512_loadu_si512(text.as_ptr().add(a as usize).cast());
            let b = _mm512_loadu_si512(text.as_ptr().add(b as usize).cast());
            _mm512_cmpneq_epi8_mask(a, b)
        };
        differ.trailing_zeros()
    }

    #[inline(always)]
    unsafe fn back(self, text: &[u8], a: u32, b: u32) -> u32 {
        // SAFETY: where AVX-512 is, AVX2 is.
        unsafe { Avx2.back(text, a, b) }
    }

    #[inline(always)]
    unsafe fn eight(self, text: &[u8], at: u32) -> u64 {
        // SAFETY: the same margin.
        unsafe { Words.eight(text, at) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn equal(a: *const u8, b: *const u8) -> u32 {
    use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8};
    // SAFETY: the callers' margins.
    unsafe {
        let (a, b) = (_mm256_loadu_si256(a.cast()), _mm256_loadu_si256(b.cast()));
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b)) as u32
    }
}

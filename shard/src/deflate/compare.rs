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
    /// Bytes equal from `a` and `b` on, at most `most`, which is at most [`AHEAD`].
    ///
    /// # Safety
    /// [`AHEAD`] bytes from `a` and from `b` on lie within the text.
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32, most: u32) -> u32;

    /// As `ahead` from `at` and from `dist` before it on, of which [`AHEAD`] bytes are known to be equal, up to `whole` or a little more.
    ///
    /// # Safety
    /// [`AHEAD`] bytes behind `at + whole` lie within the text.
    #[inline(always)]
    unsafe fn longer(self, text: &[u8], at: u32, dist: u32, whole: u32) -> u32 {
        // SAFETY: the caller's.
        unsafe { longer(text, at, dist, whole) }
    }

    /// Bytes equal before `a` and `b`, at most `most` and [`BACK`].
    ///
    /// # Safety
    /// [`BACK`] bytes before `a` and before `b` lie within the text.
    unsafe fn back(self, text: &[u8], a: u32, b: u32, most: u32) -> u32;

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
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        let (a, b) = (text.get(a as usize..).unwrap_or(&[]), text.get(b as usize..).unwrap_or(&[]));
        a.iter().zip(b).take(most as usize).take_while(|(a, b)| a == b).count() as u32
    }

    unsafe fn longer(self, text: &[u8], at: u32, dist: u32, whole: u32) -> u32 {
        let (a, b) = (&text[at as usize..], &text[(at - dist) as usize..]);
        a.iter().zip(b).take(whole as usize).take_while(|(a, b)| a == b).count() as u32
    }

    unsafe fn back(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        let (a, b) = (text.get(..a as usize).unwrap_or(&[]), text.get(..b as usize).unwrap_or(&[]));
        a.iter().rev().zip(b.iter().rev()).take(most.min(BACK) as usize).take_while(|(a, b)| a == b).count()
            as u32
    }

    unsafe fn eight(self, text: &[u8], at: u32) -> u64 {
        let mut eight = [0; 8];
        let rest = text.get(at as usize..).unwrap_or(&[]);
        let len = rest.len().min(8);
        eight[..len].copy_from_slice(&rest[..len]);
        u64::from_le_bytes(eight)
    }
}

/// By words: a call is compiled without its caller's vectors.
#[inline(never)]
unsafe fn longer(text: &[u8], at: u32, dist: u32, whole: u32) -> u32 {
    let mut len = AHEAD;
    while len < whole {
        // SAFETY: the place lies within the value, and behind that are the caller's bytes.
        let differ = unsafe { Words.eight(text, at + len) ^ Words.eight(text, at + len - dist) };
        if differ != 0 {
            return len + differ.trailing_zeros() / 8;
        }
        len += 8;
    }
    len
}

/// Eight bytes at a time, on every machine.
#[derive(Clone, Copy)]
pub(super) struct Words;

impl Compare for Words {
    #[inline(always)]
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        let mut done = 0;
        while done < AHEAD {
            // SAFETY: the caller keeps 64 bytes readable.
            let differ = unsafe { self.eight(text, a + done) ^ self.eight(text, b + done) };
            if differ != 0 {
                return most.min(done + differ.trailing_zeros() / 8);
            }
            done += 8;
        }
        most
    }

    #[inline(always)]
    unsafe fn back(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        let mut done = 0;
        while done < BACK {
            // SAFETY: the caller keeps 32 bytes readable.
            let differ = unsafe { self.eight(text, a - done - 8) ^ self.eight(text, b - done - 8) };
            if differ != 0 {
                return most.min(done + differ.leading_zeros() / 8);
            }
            done += 8;
        }
        most.min(BACK)
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
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        debug_assert!(a.max(b) as usize + 64 <= text.len());
        // SAFETY: the caller keeps 64 bytes readable, and runs where AVX2 is.
        let equal = unsafe {
            let (a, b) = (text.as_ptr().add(a as usize), text.as_ptr().add(b as usize));
            u64::from(equal(a, b)) | u64::from(equal(a.add(32), b.add(32))) << 32
        };
        equal_below(equal, most)
    }

    #[inline(always)]
    unsafe fn back(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        debug_assert!(a.min(b) >= BACK);
        // SAFETY: the caller keeps 32 bytes readable, and runs where AVX2 is.
        let equal = unsafe { equal(text.as_ptr().add(a as usize - 32), text.as_ptr().add(b as usize - 32)) };
        // The bytes beyond are made different: a `min` here would become a branch that no one can foresee.
        let most = most | (u32::from(most < BACK).wrapping_sub(1) & 63);
        let beyond = (u64::from(u32::MAX) >> (most & 63)) as u32;
        (!equal | beyond).leading_zeros()
    }

    #[inline(always)]
    unsafe fn eight(self, text: &[u8], at: u32) -> u64 {
        // SAFETY: the same margin.
        unsafe { Words.eight(text, at) }
    }
}

/// How many of the lowest bits are ones, at most `most`, which is at most 64.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn equal_below(equal: u64, most: u32) -> u32 {
    // SAFETY: only used where BMI2 is. The bits beyond are cleared for the same reason as above.
    (!unsafe { std::arch::x86_64::_bzhi_u64(equal, most) }).trailing_zeros()
}

/// AVX-512; to be used inside of a function that has that target feature only.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Compare for Avx512 {
    #[inline(always)]
    unsafe fn ahead(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        use std::arch::x86_64::{_mm512_cmpeq_epi8_mask, _mm512_loadu_si512};
        debug_assert!(a.max(b) as usize + 64 <= text.len());
        // SAFETY: the caller keeps 64 bytes readable, and runs where AVX-512 is.
        let equal = unsafe {
            let a = _mm512_loadu_si512(text.as_ptr().add(a as usize).cast());
            let b = _mm512_loadu_si512(text.as_ptr().add(b as usize).cast());
            _mm512_cmpeq_epi8_mask(a, b)
        };
        equal_below(equal, most)
    }

    #[inline(always)]
    unsafe fn back(self, text: &[u8], a: u32, b: u32, most: u32) -> u32 {
        // SAFETY: where AVX-512 is, AVX2 is.
        unsafe { Avx2.back(text, a, b, most) }
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

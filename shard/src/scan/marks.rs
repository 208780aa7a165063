//! Marks: where the quotes and line ends of a text are, all of them, in one pass.
//!
//! A quote behind a backslash is no mark. Backslashes and control characters are listed apart: a line that has one
//! is looked at more closely by whoever reads the marks.
//!
//! Promises: every level gives what [`Simd::Scalar`] gives, on every text. Must not know: JSON beyond that.
#![allow(unsafe_code)]
use super::level::Simd;
use crate::limits::MARKED_BYTES_MAX;

/// Bytes that are looked at at once.
pub(super) const BLOCK: usize = 64;

/// What stands where in a block: bit i is byte i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    /// Quotes.
    pub quotes: u64,
    /// Line ends.
    pub ends: u64,
    /// Backslashes.
    pub backslashes: u64,
    /// Control characters below 0x20, line ends among them.
    pub controls: u64,
    /// Bytes from 0x80 on.
    pub high: u64,
}

/// What is enough of most blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    /// Quotes and line ends.
    pub marks: u64,
    /// Whether there is a backslash, or a control character that is no line end.
    pub strange: bool,
    /// Not 0: there is a byte from 0x80 on.
    pub high: u64,
}

/// Finds masks in whole blocks; see the files named like the levels.
pub(super) trait Finder: Copy {
    /// The masks of a block.
    ///
    /// # Safety
    /// The machine has the level's instructions.
    unsafe fn masks(self, block: &[u8; BLOCK]) -> Masks;

    /// The same in short, where that is cheaper.
    ///
    /// # Safety
    /// As [`Finder::masks`].
    #[inline(always)]
    unsafe fn quick(self, block: &[u8; BLOCK]) -> Quick {
        // SAFETY: the caller's.
        let masks = unsafe { self.masks(block) };
        let strange = masks.backslashes | (masks.controls & !masks.ends);
        Quick { marks: masks.quotes | masks.ends, strange: strange != 0, high: masks.high }
    }
}

/// The marks of a text.
#[derive(Debug)]
pub struct Marks {
    /// Offsets of quotes and line ends, ascending.
    marks: Vec<u32>,
    used: usize,
    /// Offsets of backslashes and of control characters other than line ends, ascending.
    odd: Vec<u32>,
    /// Whether any byte is no ASCII.
    high: bool,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks::new()
    }
}

/// Marks that are written at once: few blocks of a line of JSON have more, so that the loop's end is foreseen.
const STEP: usize = 12;
/// The same of a line of a text format.
const FEW: usize = 4;
/// Marks that a block writes beyond those it has.
const SPARE: usize = STEP;

impl Marks {
    /// Room for the marks of a text of [`MARKED_BYTES_MAX`] bytes.
    pub fn new() -> Marks {
        Marks { marks: vec![0; MARKED_BYTES_MAX + BLOCK + SPARE], used: 0, odd: Vec::new(), high: false }
    }

    /// Quotes and line ends.
    #[inline]
    pub fn all(&self) -> &[u32] {
        &self.marks[..self.used]
    }

    /// Backslashes and control characters.
    #[inline]
    pub fn odd(&self) -> &[u32] {
        &self.odd
    }

    /// Whether the text has bytes that are no ASCII.
    #[inline]
    pub fn has_high(&self) -> bool {
        self.high
    }

    /// Finds the marks of `text`, which begins at a line's start. Panics when it is longer than
    /// [`MARKED_BYTES_MAX`].
    pub fn find(&mut self, level: Simd, text: &[u8]) {
        self.find_by::<STEP>(level, text);
    }

    /// The same, quicker where marks are few.
    pub fn find_few(&mut self, level: Simd, text: &[u8]) {
        self.find_by::<FEW>(level, text);
    }

    #[inline(always)]
    fn find_by<const STEP: usize>(&mut self, level: Simd, text: &[u8]) {
        assert!(text.len() <= MARKED_BYTES_MAX, "{} bytes are marked at once", text.len());
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only given where the machine has it.
            Simd::Avx2 => unsafe { super::avx2::find::<STEP>(self, text) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Simd::Avx512 => unsafe { super::avx512::find::<STEP>(self, text) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Simd::Neon => unsafe { super::neon::find::<STEP>(self, text) },
            #[cfg(target_arch = "x86_64")]
            Simd::Baseline => super::sse2::find::<STEP>(self, text),
            _ => super::scalar::find::<STEP>(self, text),
        }
    }

    /// As [`Marks::find`], with a finder whose instructions the caller has made available.
    ///
    /// # Safety
    /// As [`Finder::masks`].
    #[inline(always)]
    pub(super) unsafe fn find_with<F: Finder, const STEP: usize>(&mut self, finder: F, text: &[u8]) {
        self.odd.clear();
        let mut state = State { used: 0, high: 0, carry: 0 };
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        for (number, block) in blocks.iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { state.put::<F, STEP>(finder, &mut self.marks, &mut self.odd, number * BLOCK, block) };
        }
        if !rest.is_empty() {
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            let start = text.len() - rest.len();
            // SAFETY: the caller's.
            unsafe { state.put::<F, STEP>(finder, &mut self.marks, &mut self.odd, start, &block) };
        }
        (self.used, self.high) = (state.used, state.high != 0);
    }
}

/// Between two blocks.
struct State {
    used: usize,
    high: u64,
    /// Bit 0: the next block's first byte stands behind a backslash.
    carry: u64,
}

impl State {
    /// # Safety
    /// As [`Finder::masks`].
    #[inline(always)]
    unsafe fn put<F: Finder, const STEP: usize>(
        &mut self,
        finder: F,
        marks: &mut [u32],
        odd: &mut Vec<u32>,
        start: usize,
        block: &[u8; BLOCK],
    ) {
        // SAFETY: the caller's.
        let quick = unsafe { finder.quick(block) };
        let mut bits = quick.marks;
        if quick.strange | (self.carry != 0) {
            // SAFETY: the caller's.
            let masks = unsafe { finder.masks(block) };
            let escaped = escaped(masks.backslashes, &mut self.carry);
            bits = masks.quotes & !escaped | masks.ends;
            list(masks.backslashes | (masks.controls & !masks.ends), start, odd);
        }
        self.high |= quick.high;
        self.used += extract::<STEP>(bits, start as u32, &mut marks[self.used..]);
    }
}

/// The bytes behind a backslash that is not behind one itself; `carry` goes from block to block.
fn escaped(mut backslashes: u64, carry: &mut u64) -> u64 {
    let mut escaped = *carry;
    backslashes &= !escaped;
    *carry = 0;
    while backslashes != 0 {
        let at = backslashes.trailing_zeros();
        let behind = (1 << at) << 1;
        escaped |= behind;
        if at == 63 {
            *carry = 1;
        }
        backslashes &= !(behind | 1 << at);
    }
    escaped
}

#[cold]
fn list(mut bits: u64, start: usize, odd: &mut Vec<u32>) {
    while bits != 0 {
        odd.push(start as u32 + bits.trailing_zeros());
        bits &= bits - 1;
    }
}

/// Writes the offsets of the set bits, `STEP` at a time: what is too much is overwritten by the next block.
#[inline(always)]
fn extract<const STEP: usize>(mut bits: u64, start: u32, out: &mut [u32]) -> usize {
    let count = bits.count_ones() as usize;
    let mut done = 0;
    loop {
        let Some(places) = out.get_mut(done..).and_then(<[u32]>::first_chunk_mut::<STEP>) else {
            unreachable!("INVARIANT: room for one mark a byte and some to spare");
        };
        for place in places {
            *place = start.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
        }
        done += STEP;
        if done >= count {
            return count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Byte by byte.
    fn naive(text: &[u8]) -> (Vec<u32>, Vec<u32>, bool) {
        let (mut marks, mut odd, mut behind) = (Vec::new(), Vec::new(), false);
        for (at, &byte) in text.iter().enumerate() {
            if byte == b'\n' || byte == b'"' && !behind {
                marks.push(at as u32);
            }
            if byte == b'\\' || byte < 0x20 && byte != b'\n' {
                odd.push(at as u32);
            }
            behind = byte == b'\\' && !behind;
        }
        (marks, odd, !text.is_ascii())
    }

    fn check(text: &[u8]) {
        let mut marks = Marks::new();
        for level in Simd::all() {
            for few in [false, true] {
                if few {
                    marks.find_few(level, text)
                } else {
                    marks.find(level, text)
                }
                let got = (marks.all().to_vec(), marks.odd().to_vec(), marks.has_high());
                assert_eq!(got, naive(text), "{level:?}, {few}: {:?}", text.escape_ascii().to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn every_level_finds_what_the_naive_way_finds(
            text in prop::collection::vec(
                prop_oneof![4 => Just(b'a'), 2 => Just(b'"'), 2 => Just(b'\\'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..400)
        ) {
            check(&text);
        }
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=255 {
            for len in [1, 63, 64, 65, 130] {
                for at in [0, 31, 32, 62, 63, 64, 127, 129] {
                    let mut text = vec![b'x'; len];
                    if at < len {
                        text[at] = byte;
                        check(&text);
                    }
                }
            }
        }
        check(&[b'"'; 300]);
        check(&[b'\n'; 300]);
        check(&[b'\\'; 301]);
    }
}

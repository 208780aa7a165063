//! Eight bytes at a time in a general-purpose register: every machine, and the oracle of the others.
//!
//! Promises: exact for all byte values.
//! Must not know: the machine.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// See [`super::string_stop`].
#[inline]
pub fn string_stop(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(&eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(eight);
        // A borrow may mark a byte above a true mark, never below it: the lowest mark is exact.
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let marks = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let marks = marks & HIGHS;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// See [`super::field_stop`].
#[inline]
pub fn field_stop(text: &[u8], from: usize, end: u8) -> usize {
    let mut at = from;
    while let Some(&eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(eight);
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
        let marks = zeros(word ^ (ONES * u64::from(end)))
            | zeros(word ^ (ONES * b'"' as u64))
            | zeros(word ^ (ONES * b'\\' as u64))
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if marks & HIGHS != 0 {
            return at + ((marks & HIGHS).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let stops = |byte: &u8| *byte == end || *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    text.get(at..).and_then(|rest| rest.iter().position(stops)).map_or(text.len(), |stop| at + stop)
}

/// See [`super::differences`].
#[inline]
pub fn differences(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    (0..32).fold(0, |bits, at| bits | u32::from(a[at] != b[at]) << at)
}

/// See [`super::digits`].
#[inline]
pub fn digits(eight: &[u8; 8]) -> usize {
    let word = u64::from_le_bytes(*eight) ^ (ONES * b'0' as u64);
    // A digit is now 0..=9: adding 0x76 reaches the high bit from 10 on. The carry out of a byte is kept off by
    // clearing high bits first; bytes that had one are no digits either.
    let others = ((word & !HIGHS).wrapping_add(ONES * 0x76) | word) & HIGHS;
    (others.trailing_zeros() / 8) as usize
}

/// The masks of a block, byte by byte.
#[derive(Clone, Copy)]
struct Bytes;

impl super::marks::Finder for Bytes {
    #[allow(unsafe_code)]
    unsafe fn masks(self, block: &[u8; super::marks::BLOCK]) -> super::marks::Masks {
        let is = |wanted: &dyn Fn(u8) -> bool| {
            block.iter().enumerate().fold(0, |bits, (at, &byte)| bits | u64::from(wanted(byte)) << at)
        };
        super::marks::Masks {
            quotes: is(&|byte| byte == b'"'),
            ends: is(&|byte| byte == b'\n'),
            backslashes: is(&|byte| byte == b'\\'),
            controls: is(&|byte| byte < 0x20),
            high: is(&|byte| byte >= 0x80),
        }
    }
}

impl super::wide::Wide for Bytes {
    #[inline(always)]
    fn equal(self, block: &[u8; super::wide::WIDE], byte: u8) -> u32 {
        block.iter().enumerate().fold(0, |bits, (at, &found)| bits | u32::from(found == byte) << at)
    }
}

/// See [`super::wide::widest`].
pub(super) fn run<W: super::wide::Work>(work: W) -> W::Made {
    work.run(Bytes)
}

/// See [`super::Marks::find`].
#[allow(unsafe_code)]
pub(super) fn find<const STEP: usize>(marks: &mut super::Marks, text: &[u8]) {
    // SAFETY: no instructions are needed.
    unsafe { marks.find_with::<_, STEP>(Bytes, text) }
}

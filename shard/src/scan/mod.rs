//! scan: finds bytes that matter in text, many at a time.
//!
//! Promises: every implementation gives the same positions as [`scalar`], which is the oracle.
//! Must not know: JSON beyond the three kinds of bytes that a string's body cannot hold as they are.
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod level;
mod marks;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod scalar;
#[cfg(target_arch = "x86_64")]
pub mod sse2;
mod stretches;
mod wide;

pub use level::{Simd, get as level, set as set_level};
pub use marks::Marks;
pub(crate) use stretches::{Stretch, stretch};
pub(crate) use wide::{WIDE, Wide, Work, widest};

/// Position of the first `"`, `\` or control character at or after `from`; `text.len()` when there is none.
#[inline]
pub fn string_stop(text: &[u8], from: usize) -> usize {
    // SSE2 belongs to every x86-64: only the operator's wish is asked for.
    #[cfg(target_arch = "x86_64")]
    if level() != Simd::Scalar {
        return sse2::string_stop(text, from);
    }
    scalar::string_stop(text, from)
}

/// Position of the first byte at or after `from` that is `end`, `"`, `\\` or a control character; `text.len()` when there
/// is none.
#[inline]
pub fn field_stop(text: &[u8], from: usize, end: u8) -> usize {
    #[cfg(target_arch = "x86_64")]
    if level() != Simd::Scalar {
        return sse2::field_stop(text, from, end);
    }
    scalar::field_stop(text, from, end)
}

/// The positions at which two blocks differ, one bit each, the first byte's lowest.
#[inline]
pub fn differences(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if level() != Simd::Scalar {
        return sse2::differences(a, b);
    }
    scalar::differences(a, b)
}

/// How many of the first bytes are decimal digits; 8 when all are.
#[inline]
pub fn digits(eight: &[u8; 8]) -> usize {
    scalar::digits(eight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(text: &[u8], from: usize) -> usize {
        let stop = text[from..].iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
        stop.map_or(text.len(), |at| from + at)
    }

    #[test]
    fn every_byte_at_every_place() {
        for len in 0..70 {
            for place in 0..len {
                for byte in 0..=255u8 {
                    let mut text = vec![b'a'; len];
                    text[place] = byte;
                    let expected = naive(&text, 0);
                    assert_eq!(scalar::string_stop(&text, 0), expected, "{byte:#x} at {place} of {len}");
                    assert_eq!(string_stop(&text, 0), expected, "{byte:#x} at {place} of {len}");
                }
            }
        }
    }

    #[test]
    fn a_field_also_stops_at_its_own_end() {
        for end in [b' ', b'"', b'|', 0, 0xff] {
            for len in 0..70 {
                for place in 0..len {
                    for byte in 0..=255u8 {
                        let mut text = vec![b'a'; len];
                        text[place] = byte;
                        let stops = byte == end || naive(&[byte], 0) == 0;
                        let expected = if stops { place } else { len };
                        assert_eq!(
                            scalar::field_stop(&text, 0, end),
                            expected,
                            "{byte:#x} at {place} of {len}"
                        );
                        assert_eq!(field_stop(&text, 0, end), expected, "{byte:#x} at {place} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn differences_are_found_at_every_place() {
        let block: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        assert_eq!((differences(&block, &block), scalar::differences(&block, &block)), (0, 0));
        for place in 0..32 {
            let mut other = block;
            other[place] ^= 0x80;
            other[31] = 1;
            let expected = 1 << place | 1 << 31;
            assert_eq!(differences(&block, &other), expected);
            assert_eq!(scalar::differences(&block, &other), expected);
        }
    }

    #[test]
    fn digits_end_at_every_other_byte() {
        for place in 0..8 {
            for byte in 0..=255u8 {
                for after in [b'0', 0xff, b'/', b':'] {
                    let mut eight = *b"90123456";
                    eight[place] = byte;
                    eight[place + 1..].fill(after);
                    let expected = eight.iter().take_while(|b| b.is_ascii_digit()).count();
                    assert_eq!(digits(&eight), expected, "{eight:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_counts() {
        let text = b"\x7f\x80\xff!#[]^ 0\"\"\\\x1f\x00abcdefgh\"ijklmnopqrstuvwxyz\\";
        for from in 0..=text.len() {
            assert_eq!(scalar::string_stop(text, from), naive(text, from));
            assert_eq!(string_stop(text, from), naive(text, from));
        }
    }
}

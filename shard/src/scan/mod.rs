//! scan: finds bytes that matter in text, many at a time.
//!
//! Promises: every implementation gives the same positions as [`scalar`], which is the oracle.
//! Must not know: JSON beyond the three kinds of bytes that a string's body cannot hold as they are.
pub mod scalar;
#[cfg(target_arch = "x86_64")]
pub mod sse2;

/// Position of the first `"`, `\` or control character at or after `from`; `text.len()` when there is none.
#[inline]
pub fn string_stop(text: &[u8], from: usize) -> usize {
    // SSE2 belongs to every x86-64: no run-time dispatch is needed for it.
    #[cfg(target_arch = "x86_64")]
    return sse2::string_stop(text, from);
    #[cfg(not(target_arch = "x86_64"))]
    return scalar::string_stop(text, from);
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
        for len in 0..40 {
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
    fn the_first_of_several_counts() {
        let text = b"\x7f\x80\xff!#[]^ 0\"\"\\\x1f\x00abcdefgh\"ijklmnopqrstuvwxyz\\";
        for from in 0..=text.len() {
            assert_eq!(scalar::string_stop(text, from), naive(text, from));
            assert_eq!(string_stop(text, from), naive(text, from));
        }
    }
}

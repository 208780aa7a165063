//! Cell: values that end at the next of some bytes, found 32 bytes at once with what in them has to be escaped.
//!
//! Promises: a cell ends within its line. Must not know: what a value is.
use crate::scan::{WIDE, Wide};

/// Where a value ends, and whether it stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) end: usize,
    /// It has no quote, no backslash and no control character.
    pub(super) plain: bool,
}

/// The value from `from` to the next byte that `stops` finds, at most to `end`.
#[inline(always)]
pub(super) fn cell<W: Wide>(
    wide: W,
    text: &[u8],
    (from, end): (usize, usize),
    stops: impl Fn(W, &[u8; WIDE]) -> u32,
) -> Cell {
    let (mut at, mut odd) = (from, 0);
    while at < end {
        let padded;
        let block = match text[at..].first_chunk::<WIDE>() {
            Some(block) => block,
            None => {
                padded = pad(&text[at..]);
                &padded
            }
        };
        let len = (stops(wide, block).trailing_zeros() as usize).min(end - at);
        let strange = wide.below(block, 0x20) | wide.equal(block, b'"') | wide.equal(block, b'\\');
        odd |= u64::from(strange) & ((1 << len) - 1);
        at += len;
        if len < WIDE {
            break;
        }
    }
    Cell { end: at, plain: odd == 0 }
}

/// The last bytes of a text as a block.
#[cold]
fn pad(rest: &[u8]) -> [u8; WIDE] {
    let mut block = [0; WIDE];
    block[..rest.len()].copy_from_slice(rest);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Simd, Work, widest};

    struct Commas<'a>(&'a [u8], usize, usize);

    impl Work for Commas<'_> {
        type Made = Cell;

        #[inline(always)]
        fn run(self, wide: impl Wide) -> Cell {
            cell(wide, self.0, (self.1, self.2), |wide, block| wide.equal(block, b','))
        }
    }

    #[test]
    fn a_cell_ends_at_its_stop_or_with_its_line() {
        for len in 0..70 {
            for place in 0..=len {
                for odd in [b'x', b'"', b'\\', 0, 0x1f, b'\t'] {
                    for end in [len, len / 2] {
                        let mut text = vec![b'a'; len];
                        if let Some(byte) = text.get_mut(place) {
                            *byte = b',';
                        }
                        if let Some(byte) = text.get_mut(len / 3).filter(|_| len / 3 != place) {
                            *byte = odd;
                        }
                        let expected = text[..end].iter().position(|byte| *byte == b',').unwrap_or(end);
                        let plain = odd == b'x' || !text[..expected].contains(&odd);
                        for level in Simd::all() {
                            let got = widest(level, Commas(&text, 0, end));
                            assert_eq!(
                                got,
                                Cell { end: expected, plain },
                                "{level:?} {}",
                                text.escape_ascii()
                            );
                        }
                    }
                }
            }
        }
    }
}

//! Stretches: a text's lines, cut into what is worth looking for marks in at once and what is not.
//!
//! Promises: the stretches of a text are all of it, in order, each of whole lines; one with marks is no longer than
//! [`MARKED_BYTES_MAX`].
//! Must not know: what a line means.
use super::Simd;
use crate::limits::MARKED_BYTES_MAX;
use memchr::{memchr, memrchr};

/// A text shorter than this is not worth marks.
const MARKED_BYTES_MIN: usize = 512;

/// Whole lines, and how they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// As many as fit, by their marks: bytes.
    Marked(usize),
    /// One, the plain way: bytes.
    Plain(usize),
}

/// The first stretch of `rest`, which stands at `start` in its source and has a byte.
#[inline]
pub(crate) fn stretch(level: Simd, rest: &[u8], start: u64) -> Stretch {
    // A byte order mark, and a line that is too long for marks, are the plain way's.
    if level != Simd::Scalar && start > 0 && rest.len() >= MARKED_BYTES_MIN {
        if rest.len() <= MARKED_BYTES_MAX {
            return Stretch::Marked(rest.len());
        }
        if let Some(end) = memrchr(b'\n', &rest[..MARKED_BYTES_MAX]) {
            return Stretch::Marked(end + 1);
        }
    }
    Stretch::Plain(memchr(b'\n', rest).map_or(rest.len(), |end| end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_whole_lines_and_nothing_is_left() {
        let long = "x".repeat(MARKED_BYTES_MAX + 5) + "\n";
        let text = ["first\n", &"a line\n".repeat(MARKED_BYTES_MAX / 3), &long, "end\n"].concat();
        for level in [Simd::Scalar, Simd::best()] {
            let (mut at, mut marked) = (0, 0);
            while at < text.len() {
                let rest = &text.as_bytes()[at..];
                at += match stretch(level, rest, at as u64) {
                    Stretch::Marked(len) => {
                        assert!(at > 0 && len <= MARKED_BYTES_MAX && rest.len() >= MARKED_BYTES_MIN);
                        marked += 1;
                        len
                    }
                    Stretch::Plain(len) => {
                        assert_eq!(rest[..len].iter().position(|b| *b == b'\n'), Some(len - 1));
                        len
                    }
                };
                assert_eq!(text.as_bytes()[at - 1], b'\n');
            }
            assert_eq!((at, marked > 1), (text.len(), level != Simd::Scalar));
        }
    }
}

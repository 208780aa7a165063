//! Lines: whole lines of a stream of bytes that nobody frames: a pipe.
//!
//! Promises: split anywhere, the same lines come; a line above the maximum is skipped to its end without being kept
//! whole; at most one line's bytes are held here.
//! Must not know: what a line means.
use edgepush_shard::limits::TOO_LONG_KEPT_BYTES;

/// What has been read behind the last line end.
#[derive(Debug)]
pub struct Lines {
    rest: Vec<u8>,
    /// The line in `rest` is too long: no more of it is kept.
    skipping: bool,
    /// Bytes of it beyond those in `rest`.
    skipped: u64,
    line_max: usize,
}

/// What [`Lines`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Whole lines, each with its `\n`; but for the last one of a stream that ended.
    Lines(&'a [u8]),
    /// The first bytes of a line that is too long, and the length of the whole line.
    TooLong(&'a [u8], u64),
}

impl Lines {
    /// For lines of at most so many bytes without their end.
    pub fn new(line_max: usize) -> Lines {
        Lines { rest: Vec::new(), skipping: false, skipped: 0, line_max }
    }

    /// More bytes; what is whole with them is told in order.
    pub fn push(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Found<'_>)) {
        if !self.rest.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return self.keep(bytes) };
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.finish(true, &mut tell);
        }
        let Some(last) = memchr::memrchr(b'\n', bytes) else { return self.keep(bytes) };
        let (whole, rest) = bytes.split_at(last + 1);
        self.whole(whole, &mut tell);
        self.keep(rest);
    }

    /// The stream has ended: its last line may lack its end.
    pub fn end(&mut self, mut tell: impl FnMut(Found<'_>)) {
        if !self.rest.is_empty() {
            self.finish(false, &mut tell);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = if self.skipping { 0 } else { self.line_max + 1 - self.rest.len() };
        let kept = bytes.len().min(room);
        self.rest.extend_from_slice(&bytes[..kept]);
        self.skipped += (bytes.len() - kept) as u64;
        if self.rest.len() > self.line_max && !self.skipping {
            // No more of it is needed than is shown.
            self.skipping = true;
            self.skipped += self.rest.len().saturating_sub(TOO_LONG_KEPT_BYTES) as u64;
            self.rest.truncate(TOO_LONG_KEPT_BYTES);
        }
    }

    fn finish(&mut self, ended: bool, tell: &mut impl FnMut(Found<'_>)) {
        if self.skipping {
            tell(Found::TooLong(&self.rest, self.rest.len() as u64 + self.skipped));
        } else {
            if ended {
                self.rest.push(b'\n');
            }
            tell(Found::Lines(&self.rest));
        }
        self.rest.clear();
        self.rest.shrink_to(TOO_LONG_KEPT_BYTES);
        (self.skipping, self.skipped) = (false, 0);
    }

    /// Whole lines; those that are too long stand alone.
    fn whole(&mut self, mut whole: &[u8], tell: &mut impl FnMut(Found<'_>)) {
        // A line that is too long cannot be in fewer bytes.
        if whole.len() <= self.line_max {
            return tell(Found::Lines(whole));
        }
        let mut at = 0;
        while at < whole.len() {
            let end = memchr::memchr(b'\n', &whole[at..]).map_or(whole.len(), |end| at + end + 1);
            if end - at > self.line_max + 1 {
                if at > 0 {
                    tell(Found::Lines(&whole[..at]));
                }
                tell(Found::TooLong(
                    &whole[at..(at + TOO_LONG_KEPT_BYTES).min(end - 1)],
                    (end - at - 1) as u64,
                ));
                whole = &whole[end..];
                at = 0;
            } else {
                at = end;
            }
        }
        if !whole.is_empty() {
            tell(Found::Lines(whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines as they come, each alone, with the lengths of those that are too long.
    fn all(parts: &[&[u8]], line_max: usize, ended: bool) -> (Vec<Vec<u8>>, Vec<u64>) {
        let (mut lines, mut found, mut long) = (Lines::new(line_max), Vec::new(), Vec::new());
        let mut tell = |what: Found<'_>| match what {
            Found::Lines(text) => {
                found.extend(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec))
            }
            Found::TooLong(kept, length) => {
                assert!(kept.len() as u64 <= length && kept.len() <= TOO_LONG_KEPT_BYTES);
                long.push(length);
            }
        };
        for part in parts {
            lines.push(part, &mut tell);
        }
        if ended {
            lines.end(&mut tell);
        }
        (found, long)
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        let (found, long) = all(&[b"a\nb", b"c\n\nlast"], 100, true);
        assert_eq!(found, [b"a\n".to_vec(), b"bc\n".into(), b"\n".into(), b"last".into()]);
        assert!(long.is_empty());
        assert_eq!(all(&[b"a\nb"], 100, false).0, [b"a\n".to_vec()]);
    }

    #[test]
    fn a_line_above_the_maximum_is_skipped_to_its_end() {
        let long = [vec![b'x'; 200_000], b"\n".to_vec()].concat();
        let text = [b"a\n".to_vec(), long.clone(), b"b\n".to_vec()].concat();
        for size in [1000, 65_536, 70_000, 400_000] {
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            let (found, lengths) = all(&parts, 100_000, true);
            assert_eq!((found, lengths), (vec![b"a\n".to_vec(), b"b\n".into()], vec![200_000]), "{size}");
        }
        assert_eq!(all(&[&long[..200_000]], 100_000, true).1, [200_000]);
    }

    #[test]
    fn a_line_of_exactly_the_maximum_is_a_line() {
        for size in [1, 7, 30] {
            let text = b"0123456789\n01234567890\n0123456789\n";
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(all(&parts, 10, true), (vec![b"0123456789\n".to_vec(); 2], vec![11]), "{size}");
        }
    }

    proptest! {
        #[test]
        fn split_anywhere_gives_the_same(text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300), cuts in prop::collection::vec(0..300usize, 0..9), line_max in 1..40usize) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let (split, whole) = (all(&parts, line_max, true), all(&[&text], line_max, true));
            prop_assert_eq!(&split, &whole);
            let lengths = text.split_inclusive(|b| *b == b'\n').map(|l| l.strip_suffix(b"\n").unwrap_or(l).len());
            let (short, long): (Vec<usize>, Vec<usize>) = lengths.partition(|length| *length <= line_max);
            prop_assert_eq!(split.0.len(), short.len());
            prop_assert_eq!(split.1, long.into_iter().map(|l| l as u64).collect::<Vec<_>>());
        }
    }
}

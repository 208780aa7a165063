//! Cut: where a chunk ends in the bytes that were read (PROTOCOL P1, S7, S8).
//!
//! Promises: a cut is a function of the bytes; a chunk ends after a newline, or where the caller says that nothing will
//! follow; no line in it is longer than the limit; a run of NUL at a line's start is cut out (RULINGS 13).
//! Must not know: offsets, files.
use edgepush_shard::limits::CHUNK_BYTES_MAX;
use memchr::{memchr, memrchr};

/// What to do with bytes that begin at a line's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Cut {
    /// The first so many bytes are whole lines.
    Lines(usize),
    /// The bytes begin with a run of NUL of this length, and something follows it.
    Nul(usize),
    /// Nothing but NUL.
    AllNul,
    /// The bytes begin with a line above the limit: its length, where its newline is among the bytes.
    TooLong(Option<usize>),
    /// The beginning of a line: more is needed.
    Partial,
}

/// Cuts `bytes`. `last`: nothing will ever follow them, what has no newline is a line.
pub(in crate::source) fn cut(bytes: &[u8], line_max: usize, last: bool) -> Cut {
    if bytes.is_empty() {
        return Cut::Partial;
    }
    if bytes[0] == 0 {
        return match bytes.iter().position(|byte| *byte != 0) {
            Some(run) => Cut::Nul(run),
            None if last => Cut::Nul(bytes.len()),
            None => Cut::AllNul,
        };
    }
    let mut end = match memrchr(b'\n', &bytes[..bytes.len().min(CHUNK_BYTES_MAX)]) {
        _ if last && bytes.len() <= CHUNK_BYTES_MAX => bytes.len(),
        Some(newline) => newline + 1,
        // One longer line alone (RULINGS 3).
        None => match memchr(b'\n', bytes) {
            Some(newline) => newline + 1,
            None if last => bytes.len(),
            None if bytes.len() > line_max => return Cut::TooLong(None),
            None => return Cut::Partial,
        },
    };
    if let Some(start) = long_line(&bytes[..end], line_max) {
        if start == 0 {
            return Cut::TooLong(memchr(b'\n', bytes).or(last.then_some(bytes.len())));
        }
        end = start;
    }
    Cut::Lines(nul_run(&bytes[..end]).unwrap_or(end))
}

/// Where the first line longer than `line_max` begins. Looks at one byte in `line_max`, mostly.
fn long_line(bytes: &[u8], line_max: usize) -> Option<usize> {
    let mut start = 0;
    while bytes.len() - start > line_max {
        // Newlines of a window this long that begins at a line's start: all lines up to its last one are short.
        let newline = memrchr(b'\n', &bytes[start..=start + line_max]);
        match newline {
            Some(newline) => start += newline + 1,
            None => return Some(start),
        }
    }
    None
}

/// Where the first NUL at a line's start is.
fn nul_run(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(nul) = memchr(0, &bytes[from..]) {
        let at = from + nul;
        if at > 0 && bytes[at - 1] == b'\n' {
            return Some(at);
        }
        from = at + memchr(b'\n', &bytes[at..])?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chunk_ends_after_its_last_newline() {
        assert_eq!(cut(b"", 100, false), Cut::Partial);
        assert_eq!(cut(b"abc", 100, false), Cut::Partial);
        assert_eq!(cut(b"abc", 100, true), Cut::Lines(3));
        assert_eq!(cut(b"a\nb\ncd", 100, false), Cut::Lines(4));
        assert_eq!(cut(b"a\nb\ncd", 100, true), Cut::Lines(6));
        assert_eq!(cut(b"\n", 100, false), Cut::Lines(1));
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_above_is_cut_out() {
        assert_eq!(cut(b"abcd\n", 4, false), Cut::Lines(5));
        assert_eq!(cut(b"abcde\n", 4, false), Cut::TooLong(Some(5)));
        assert_eq!(cut(b"abcde\nf\n", 4, false), Cut::TooLong(Some(5)));
        assert_eq!(cut(b"abcde", 4, false), Cut::TooLong(None));
        assert_eq!(cut(b"abcde", 4, true), Cut::TooLong(Some(5)));
        assert_eq!(cut(b"abcd", 4, false), Cut::Partial);
        assert_eq!(cut(b"a\nb\nabcde\nf\n", 4, false), Cut::Lines(4));
        assert_eq!(cut(b"a\nb\nabcde", 4, false), Cut::Lines(4));
    }

    #[test]
    fn nul_runs_at_a_lines_start_are_cut_out_and_others_stay() {
        assert_eq!(cut(b"\0\0\0", 9, false), Cut::AllNul);
        assert_eq!(cut(b"\0\0\0", 9, true), Cut::Nul(3));
        assert_eq!(cut(b"\0\0\0a\n", 9, false), Cut::Nul(3));
        assert_eq!(cut(b"a\n\0\0b\n", 9, false), Cut::Lines(2));
        assert_eq!(cut(b"a\0\0b\nc\n", 9, false), Cut::Lines(7));
        assert_eq!(cut(b"a\0\0b\n\0c\n", 9, false), Cut::Lines(5));
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_alone() {
        let mut bytes = vec![b'x'; CHUNK_BYTES_MAX + 10];
        bytes.extend_from_slice(b"\nshort\n");
        assert_eq!(cut(&bytes, 2 * CHUNK_BYTES_MAX, false), Cut::Lines(CHUNK_BYTES_MAX + 11));
        let mut bytes = b"short\n".to_vec();
        bytes.resize(CHUNK_BYTES_MAX + 10, b'x');
        bytes.push(b'\n');
        assert_eq!(cut(&bytes, 2 * CHUNK_BYTES_MAX, false), Cut::Lines(6));
    }

    proptest! {
        #[test]
        fn cuts_follow_one_another_to_the_end(bytes in proptest::collection::vec(prop_oneof![
            3 => Just(b'a'), 1 => Just(b'\n'), 1 => Just(0u8)], 0..200), line_max in 1usize..20) {
            let mut at = 0;
            loop {
                let rest = &bytes[at..];
                if rest.is_empty() { break }
                at += match cut(rest, line_max, true) {
                    Cut::Lines(end) => {
                        prop_assert!(end > 0);
                        for line in rest[..end].split(|b| *b == b'\n') {
                            prop_assert!(line.len() <= line_max);
                            prop_assert!(line.first() != Some(&0));
                        }
                        prop_assert!(end == rest.len() || rest[end - 1] == b'\n');
                        end
                    }
                    Cut::Nul(run) => { prop_assert!(rest[..run].iter().all(|b| *b == 0)); run }
                    Cut::TooLong(Some(len)) => {
                        prop_assert!(len > line_max && !rest[..len].contains(&b'\n'));
                        (len + 1).min(rest.len())
                    }
                    other => { prop_assert!(false, "{other:?} at the end"); 0 }
                };
            }
        }
    }
}

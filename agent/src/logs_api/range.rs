//! Range: which bytes of a file are asked for (RFC 9110, 14).
//!
//! Promises: one range is obeyed; several, and what is no range, are answered with the whole file, as the RFC allows.
//! Must not know: files, headers other than the one.
use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it.
    Whole,
    /// These bytes, which are there.
    Part(Range<u64>),
    /// Bytes that are not there.
    Beyond,
}

/// Reads the header's value for something of so many bytes.
pub fn read(value: &str, bytes: u64) -> Asked {
    let Some(range) = value.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes")) else {
        return Asked::Whole;
    };
    let Some((first, last)) = range.1.trim().split_once('-') else { return Asked::Whole };
    let (Some(first), Some(last)) = (number(first), number(last)) else { return Asked::Whole };
    match (first, last) {
        (None, None) => Asked::Whole,
        (None, Some(0)) => Asked::Beyond,
        (None, Some(last)) if bytes > 0 => Asked::Part(bytes.saturating_sub(last)..bytes),
        (Some(first), Some(last)) if last < first => Asked::Whole,
        (Some(first), last) if first < bytes => {
            Asked::Part(first..last.map_or(bytes, |last| bytes.min(last.saturating_add(1))))
        }
        _ => Asked::Beyond,
    }
}

/// `Some(None)`: there is none. A number that is too large is as good as the largest.
fn number(text: &str) -> Option<Option<u64>> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true if text.is_empty() => Some(None),
        true => Some(Some(text.parse().unwrap_or(u64::MAX))),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (value, expected) in [
            ("bytes=0-499", Asked::Part(0..500)),
            ("bytes=500-999", Asked::Part(500..1000)),
            ("bytes=500-", Asked::Part(500..1000)),
            ("bytes=-300", Asked::Part(700..1000)),
            ("bytes=-3000", Asked::Part(0..1000)),
            ("Bytes=999-5000", Asked::Part(999..1000)),
            ("bytes=0-18446744073709551616", Asked::Part(0..1000)),
            ("bytes=1000-", Asked::Beyond),
            ("bytes=99999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-4", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(read(value, 1000), expected, "{value}");
        }
        assert_eq!(read("bytes=0-", 0), Asked::Beyond);
        assert_eq!(read("bytes=-1", 0), Asked::Beyond);
    }

    proptest! {
        #[test]
        fn a_part_lies_within(value in "bytes=[0-9]{0,20}-[0-9]{0,20}|\\PC*", bytes: u64) {
            if let Asked::Part(part) = read(&value, bytes) {
                prop_assert!(part.start < part.end && part.end <= bytes);
            }
        }
    }
}

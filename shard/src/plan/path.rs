//! Field names: which member or nested value a name means (INTERFACE 3).
//!
//! Promises: keys compare by their decoded text; of duplicates the last one wins, at every level.
//! Must not know: output.
use crate::parse::strict::children;
use crate::record::{Member, Record};

/// What a requested field means in records of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No member has the name or its first part.
    Nothing,
    /// The member with exactly this name.
    Member(u32),
    /// The member with the name's first part: the rest is walked.
    Below(u32),
}

/// Looks a name up among a record's members.
pub(crate) fn find(record: &Record<'_>, name: &str) -> Found {
    let last = |wanted: &str| {
        let same = |member: &Member| key_is(member.key.of(record.text), wanted);
        record.members.iter().rposition(same).map(|index| index as u32)
    };
    if let Some(index) = last(name) {
        return Found::Member(index);
    }
    match name.split_once('.').and_then(|(first, _)| last(first)) {
        Some(index) => Found::Below(index),
        None => Found::Nothing,
    }
}

/// Walks from a member's value down the parts of `name` after its first.
pub(crate) fn walk(text: &[u8], from: Member, name: &str) -> Option<Member> {
    let mut at = from;
    for part in name.split('.').skip(1) {
        let start = at.value.start as usize;
        at = match text[start] {
            b'{' => children(text, start).filter(|child| key_is(child.key.of(text), part)).last()?,
            b'[' => children(text, start).nth(index(part)?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// An array index as it is written: no sign, no leading zero.
fn index(part: &str) -> Option<usize> {
    let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| part.parse().ok())?
}

/// Whether a key's raw bytes decode to `wanted`.
pub(crate) fn key_is(raw: &[u8], wanted: &str) -> bool {
    if memchr::memchr(b'\\', raw).is_none() {
        return raw == wanted.as_bytes();
    }
    let mut rest = raw;
    wanted.chars().all(|c| next_char(&mut rest) == Some(c)) && rest.is_empty()
}

/// Takes the next character off a valid string's body. A lone surrogate is no character: it equals nothing.
pub(super) fn next_char(rest: &mut &[u8]) -> Option<char> {
    let raw = *rest;
    let (c, len) = match *raw.first()? {
        b'\\' => match *raw.get(1)? {
            b'u' => code_point(raw)?,
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            same => (same as char, 2),
        },
        ascii @ 0..0x80 => (ascii as char, 1),
        _ => {
            let four = &raw[..raw.len().min(4)];
            let c = four.utf8_chunks().next()?.valid().chars().next()?;
            (c, c.len_utf8())
        }
    };
    *rest = &raw[len..];
    Some(c)
}

fn code_point(raw: &[u8]) -> Option<(char, usize)> {
    let high = unit(raw)?;
    if let Some(c) = char::from_u32(high) {
        return Some((c, 6));
    }
    let low = unit(raw.get(6..)?)?;
    let pair = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    let c = pair.then(|| char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)))??;
    Some((c, 12))
}

/// The value of the `\uNNNN` that `raw` starts with.
pub(super) fn unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_by_their_decoded_text() {
        assert!(key_is(br"host", "host"));
        assert!(key_is(br"\u0068ost", "host"));
        assert!(key_is(br"h\u00F6st", "höst"));
        assert!(key_is(r"h\/ö\\".as_bytes(), r"h/ö\"));
        assert!(key_is(br#"\"\b\f\n\r\t"#, "\"\u{8}\u{c}\n\r\t"));
        assert!(key_is(br"\ud83d\ude00!", "\u{1f600}!"));
        assert!(!key_is(br"\ud83d", "\u{fffd}"));
        assert!(!key_is(br"\ud83d\u0041", "A"));
        assert!(!key_is(br"host\u0073", "host"));
        assert!(!key_is(br"\u0068os", "host"));
        assert!(!key_is(b"Host", "host"));
    }

    #[test]
    fn indexes_are_plain() {
        assert_eq!(["0", "10", "01", "+1", "", "x"].map(index), [Some(0), Some(10), None, None, None, None]);
    }
}

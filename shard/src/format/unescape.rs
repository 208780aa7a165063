//! Unescape: the bytes that a server meant, of those that it wrote.
//!
//! Promises: what is no escape of the server stays as it is; the result is never longer than the value.
//! Must not know: UTF-8, JSON's syntax beyond its escapes.
use super::field::Escape;
use memchr::memchr;

/// Appends what an escape behind its mark means; how many bytes belong to it, 0 when it is none.
type Read = fn(&[u8], &mut Vec<u8>) -> usize;

/// Appends a value's bytes without its escapes.
pub(super) fn unescape(value: &[u8], escape: Escape, out: &mut Vec<u8>) {
    let (mark, read): (u8, Read) = match escape {
        Escape::None => return out.extend_from_slice(value),
        Escape::C => (b'\\', c_escape),
        Escape::Json => (b'\\', json_escape),
        Escape::Hash => (b'#', hash_escape),
    };
    let mut rest = value;
    while let Some(at) = memchr(mark, rest) {
        out.extend_from_slice(&rest[..at]);
        let len = match read(&rest[at + 1..], out) {
            0 => {
                out.push(mark);
                0
            }
            len => len,
        };
        rest = &rest[at + 1 + len..];
    }
    out.extend_from_slice(rest);
}

/// The byte of two hexadecimal digits.
fn hex(text: &[u8]) -> Option<u8> {
    let &[high, low] = text.first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// Behind a backslash: how many bytes belong to the escape, 0 when it is none.
fn c_escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    let byte = match text.first() {
        Some(b'x') => {
            let Some(byte) = hex(&text[1..]) else { return 0 };
            out.push(byte);
            return 3;
        }
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'v') => 11,
        Some(&byte @ (b'"' | b'\\')) => byte,
        _ => return 0,
    };
    out.push(byte);
    1
}

fn json_escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    let byte = match text.first() {
        Some(b'u') => return unicode_escape(text, out),
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
        _ => return 0,
    };
    out.push(byte);
    1
}

/// `uXXXX`, or two of them that make one character.
fn unicode_escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = |text: &[u8]| match text.split_first() {
        Some((b'u', digits)) => {
            Some(u32::from(hex(digits)?) << 8 | u32::from(hex(digits.get(2..).unwrap_or_default())?))
        }
        _ => None,
    };
    let Some(first) = unit(text) else { return 0 };
    let (code, len) = match (first, text.get(5)) {
        (0xd800..0xdc00, Some(b'\\')) => match unit(&text[6..]) {
            Some(second @ 0xdc00..0xe000) => (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 11),
            _ => (first, 5),
        },
        _ => (first, 5),
    };
    let Some(char) = char::from_u32(code) else { return 0 };
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    len
}

fn hash_escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    match hex(text) {
        Some(byte) => {
            out.push(byte);
            2
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, escape: Escape, expected: &[u8]) {
        let mut out = Vec::new();
        unescape(value.as_bytes(), escape, &mut out);
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{value}");
    }

    #[test]
    fn every_server_has_its_own() {
        check(r#"a\x22\x5C\xC3\xA9\n\t\r\b\v\f\"\\z"#, Escape::C, b"a\"\\\xc3\xa9\n\t\r\x08\x0b\x0c\"\\z");
        check(r#"\u00e9\ud83d\ude00\/\"\\\n\u0001"#, Escape::Json, "é😀/\"\\\n\u{1}".as_bytes());
        check("a#22#7Cb#c3", Escape::Hash, b"a\"|b\xc3");
        check(r"a\x22", Escape::None, br"a\x22");
    }

    #[test]
    fn what_is_no_escape_stays() {
        check(r"\q\x2\xzz\", Escape::C, br"\q\x2\xzz\");
        check(r"\q\u12\ud800x\ud800\u0041\x22\", Escape::Json, br"\q\u12\ud800x\ud800A\x22\");
        check("#2#zz#", Escape::Hash, b"#2#zz#");
    }
}

//! Text: JSON strings and what they say, and csv's quotes.
//!
//! Promises: input is valid JSON in UTF-8, and so is what is written as JSON.
//! Must not know: what a text means.
use crate::plan::path::next_char;

/// Appends what a string's body (inside its quotes) says. A lone surrogate, which is no character, is U+FFFD.
pub(crate) fn decode(body: &[u8], out: &mut Vec<u8>) {
    let mut rest = body;
    while let Some(plain) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        match next_char(&mut rest) {
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {
                out.extend_from_slice("\u{fffd}".as_bytes());
                // `\uNNNN`
                rest = rest.get(6..).unwrap_or_default();
            }
        }
    }
    out.extend_from_slice(rest);
}

/// Appends a text as a JSON string, with its quotes.
pub(crate) fn json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if !text.iter().any(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(text);
        return out.push(b'"');
    }
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                let digit = |half: u8| b"0123456789abcdef"[half as usize];
                out.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends a text as it stands between csv's quotes: its own ones are doubled (RFC 4180).
pub(super) fn doubled(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=quote]);
        out.push(b'"');
        rest = &rest[quote + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(of: fn(&[u8], &mut Vec<u8>), from: &str) -> String {
        let mut out = b"<".to_vec();
        of(from.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_say_what_serde_reads() {
        for body in ["", "a", r#"\"\\\/\b\f\n\r\t"#, r"a\u00e9b", "é\u{1f600}", r"\ud83d\ude00x"] {
            let expected: String = serde_json::from_str(&format!("\"{body}\"")).expect("a JSON string");
            assert_eq!(text(decode, body), format!("<{expected}"), "{body}");
        }
        assert_eq!(text(decode, r"a\ud800b"), "<a\u{fffd}b");
        assert_eq!(text(decode, r"\ud800\u0041\ude00"), "<\u{fffd}A\u{fffd}");
    }

    #[test]
    fn written_strings_are_read_again() {
        for said in ["", "a\"b\\c/", "\n\r\t\u{1}\u{8}\u{1f}", "é\u{1f600}"] {
            let written = text(json_string, said);
            assert_eq!(serde_json::from_str::<String>(&written[1..]).expect("a JSON string"), said);
        }
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(text(doubled, r#""a"","#), r#"<""a"""","#);
    }
}

//! Texts as records hold them: JSON strings, decoded only where an escape stands in them.
//!
//! Promises: decoding allocates nothing once its buffer has grown. A lone surrogate becomes the three bytes that no
//! valid text has, so it equals nothing and what stands around it still can.
//! Must not know: fields, operators.
use super::super::path::unit;

/// A valid string's body (no quotes) as text: itself, or decoded into `buffer`.
pub(crate) fn decoded<'a>(body: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    match memchr::memchr(b'\\', body) {
        None => body,
        Some(first) => {
            buffer.clear();
            decode(body, first, buffer);
            buffer
        }
    }
}

#[cold]
fn decode(body: &[u8], first: usize, out: &mut Vec<u8>) {
    let (mut rest, mut next) = (body, Some(first));
    while let Some(at) = next {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[escape(rest, out)..];
        next = memchr::memchr(b'\\', rest);
    }
    out.extend_from_slice(rest);
}

/// Appends what the escape at the start of `raw` means; its length.
fn escape(raw: &[u8], out: &mut Vec<u8>) -> usize {
    let plain = match raw[1] {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return code_point(raw, out),
        same => same,
    };
    out.push(plain);
    2
}

fn code_point(raw: &[u8], out: &mut Vec<u8>) -> usize {
    let high = unit(raw).unwrap_or(0xfffd);
    let low = raw.get(6..).and_then(unit).unwrap_or(0);
    let paired = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    let code = if paired { 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) } else { high };
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            out.extend([0xe0 | (code >> 12) as u8, 0x80 | (code >> 6 & 63) as u8, 0x80 | (code & 63) as u8])
        }
    }
    if paired { 12 } else { 6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        let text = |body: &str| decoded(body.as_bytes(), &mut Vec::new()).to_vec();
        assert_eq!(text("plain ö"), "plain ö".as_bytes());
        assert_eq!(text(r#"a\"\\\/\b\f\n\r\tz"#), b"a\"\\/\x08\x0c\n\r\tz");
        assert_eq!(text(r"\u0041\u00e9\u20AC\ud83d\ude00!"), "Aé€😀!".as_bytes());
        assert_eq!(text(r"a\ud83d\u0041"), b"a\xed\xa0\xbdA");
        assert_eq!(text(r"\ude00"), b"\xed\xb8\x80");
    }
}

//! Text of URLs and headers: percent-encoding, hexadecimal digits, base64, the nearest word.
//!
//! Promises: pure; what is already encoded stays as it is.
//! Must not know: what the text is for.
use edgepush_shard::nearest::distance;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Percent-encodes what may not stand in a URL at all; everything else, also an existing `%41`, stays.
pub fn encode_specials(url: &str) -> String {
    let allowed = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
    encode(url.as_bytes(), allowed)
}

/// Percent-encodes what is not printable ASCII: a header's value.
pub fn encode_header(value: &str) -> String {
    encode(value.as_bytes(), |b| b.is_ascii_graphic())
}

/// Percent-encodes all but letters, digits and `-._~`: one value in a query, one segment of a path.
pub fn encode_all(value: &str) -> String {
    encode_but(value.as_bytes(), |_| false)
}

/// The same, but for what is `kept`.
pub fn encode_but(value: &[u8], kept: impl Fn(u8) -> bool) -> String {
    encode(value, |b| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || kept(b))
}

fn encode(text: &[u8], allowed: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &b in text {
        if allowed(b) {
            out.push(char::from(b));
        } else {
            out.extend(['%', char::from(HEX[usize::from(b >> 4)]), char::from(HEX[usize::from(b & 15)])]);
        }
    }
    out
}

/// Undoes percent-encoding.
///
/// # Errors
/// A `%` without two hexadecimal digits; bytes that are no UTF-8.
pub fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
        match (digit(tail.first()), digit(tail.get(1))) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err("has a % without two hexadecimal digits; write %25 for the sign itself".into()),
        }
        rest = &tail[2..];
    }
    String::from_utf8(out).map_err(|_| "has percent-encoded bytes that are not UTF-8".into())
}

/// Hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(HEX[usize::from(n & 15)].to_ascii_lowercase());
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]).collect()
}

/// Base64 with padding (RFC 4648).
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Undoes base64 with padding; `None`: it is none.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let value = |b: &u8| match b {
        b'A'..=b'Z' => Some(u32::from(b - b'A')),
        b'a'..=b'z' => Some(u32::from(b - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(b - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        let bits = four.iter().try_fold(0, |bits, b| Some(bits << 6 | value(b)?))? << (6 * (4 - four.len()));
        let bytes = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        out.extend(&bytes[..four.len().checked_sub(1).filter(|bytes| *bytes > 0)?]);
    }
    Some(out)
}

/// The word that is nearest to `text`, if one is near: at most a third of its letters are wrong.
pub fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = words.map(|word| (distance(text.chars(), word.chars()), word)).min()?;
    (near.0 <= (text.len().max(near.1.len()) / 3).max(1)).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_in_lower_case() {
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }

    #[test]
    fn base64_goes_and_comes_back() {
        for len in 0..9 {
            let bytes: Vec<u8> = (0..len).map(|i| 255 - i * 29).collect();
            assert_eq!(unbase64(&base64(&bytes)), Some(bytes));
        }
        assert_eq!((unbase64("A"), unbase64("a b="), unbase64("ü===")), (None, None, None));
    }

    #[test]
    fn specials_are_encoded_and_what_is_encoded_stays() {
        assert_eq!(encode_specials("http://h/a b?q=%20{x}é&y=1"), "http://h/a%20b?q=%20%7Bx%7D%C3%A9&y=1");
        assert_eq!(encode_header("a/ü b"), "a/%C3%BC%20b");
        assert_eq!(encode_all("INTO `a`&b=c/d"), "INTO%20%60a%60%26b%3Dc%2Fd");
    }

    #[test]
    fn decoding_undoes_encoding_or_says_what_is_wrong() {
        assert_eq!(decode("Bearer%20a%2Bb+c").as_deref(), Ok("Bearer a+b+c"));
        assert_eq!(decode("%c3%A9").as_deref(), Ok("é"));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, encoded) in known {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn the_nearest_word_is_near() {
        let words = ["https", "http", "file", "archive", "null"];
        assert_eq!(nearest("htps", words.into_iter()), Some("https"));
        assert_eq!(nearest("flie", words.into_iter()), None);
        assert_eq!(nearest("fil", words.into_iter()), Some("file"));
        assert_eq!(nearest("archiv", words.into_iter()), Some("archive"));
        assert_eq!(nearest("kafka", words.into_iter()), None);
    }
}

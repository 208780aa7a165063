//! Write: values of a line become one JSON object with the spans of its members.
//!
//! Promises: what is written is valid JSON and UTF-8 whatever the values are; numbers keep their spelling; nothing is
//! allocated once the buffers have grown.
//! Must not know: how values were found.
use super::field::{Absent, Escape, Field, Kind};
use super::unescape::unescape;
use crate::limits::PARSE_BYTES_KEPT;
use crate::parse::strict::number_end;
use crate::record::{Member, Record, RepairKind, Repairs, ShapeId, Span, ValueKind, Way};

/// What a member's key is, with what stands before it: `{"a":` or `,"b":`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    bytes: Box<[u8]>,
    /// Where the name stands in it.
    name: Span,
}

impl Key {
    /// The key of a record's first member, or of another one.
    pub(super) fn new(name: &str, first: bool) -> Key {
        let mut bytes = vec![if first { b'{' } else { b',' }, b'"'];
        push_text(name.as_bytes(), &mut bytes);
        let name = Span::new(2, bytes.len());
        bytes.extend_from_slice(b"\":");
        Key { bytes: bytes.into(), name }
    }
}

/// The fields that a request's parts become.
pub(super) const REQUEST_PARTS: [&str; 3] = ["request_method", "request_uri", "server_protocol"];

/// A record in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: Vec<u8>,
    members: Vec<Member>,
    /// Bytes of a value without escapes.
    bare: Vec<u8>,
    repairs: Repairs,
}

impl Writer {
    /// Begins a record.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.text.capacity() > PARSE_BYTES_KEPT {
            self.text = Vec::new();
        }
        if self.bare.capacity() > PARSE_BYTES_KEPT {
            self.bare = Vec::new();
        }
        self.text.clear();
        self.members.clear();
        self.repairs = Repairs::NONE;
    }

    /// Ends the record, which has a member.
    #[inline]
    pub(super) fn end(&mut self, shape: ShapeId) -> Record<'_> {
        self.text.push(b'}');
        let way = if shape == ShapeId::UNKNOWN { Way::General } else { Way::Learned };
        Record { text: &self.text, members: &self.members, shape, way, repairs: self.repairs }
    }

    /// A field's value as it stands in the line; `plain`: nothing in it is escaped, and it is UTF-8.
    #[inline]
    pub(super) fn value(&mut self, key: &Key, field: &Field, value: &[u8], plain: bool) {
        let number = field.kind.is_number();
        if value.len() <= 1 && field.absent.is(value, number) {
            return self.token(key, b"null", ValueKind::Null);
        }
        if number && is_number(value) {
            return self.token(key, value, ValueKind::Number);
        }
        self.string(key, value, field.escape, plain);
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self, key: &Key, value: &[u8], escape: Escape, plain: bool) {
        if !plain {
            return self.odd_string(key, value, escape);
        }
        let at = self.key(key);
        self.text.push(b'"');
        self.text.extend_from_slice(value);
        self.text.push(b'"');
        self.member(key, at, ValueKind::String);
    }

    /// The parts of a request line, as members of these keys; nulls when it is none.
    pub(super) fn request_parts(&mut self, keys: &[Key; 3], value: &[u8], escape: Escape, plain: bool) {
        let parts = request_parts(value);
        for (key, part) in keys.iter().zip(parts) {
            match part {
                Some(part) => self.string(key, part, escape, plain),
                None => self.token(key, b"null", ValueKind::Null),
            }
        }
    }

    /// A value as JSON has it.
    #[inline]
    pub(super) fn token(&mut self, key: &Key, token: &[u8], kind: ValueKind) {
        let at = self.key(key);
        self.text.extend_from_slice(token);
        self.member(key, at, kind);
    }

    #[inline]
    fn key(&mut self, key: &Key) -> usize {
        let at = self.text.len();
        self.text.extend_from_slice(&key.bytes);
        at
    }

    #[inline]
    fn member(&mut self, key: &Key, at: usize, kind: ValueKind) {
        let name = Span { start: at as u32 + key.name.start, end: at as u32 + key.name.end };
        let value = Span::new(at + key.bytes.len(), self.text.len());
        self.members.push(Member { key: name, value, kind });
    }

    /// A string with bytes that have to be unescaped or escaped, or that may be no UTF-8.
    #[cold]
    fn odd_string(&mut self, key: &Key, value: &[u8], escape: Escape) {
        self.bare.clear();
        unescape(value, escape, &mut self.bare);
        let at = self.key(key);
        self.push_bare();
        self.member(key, at, ValueKind::String);
    }

    /// A quoted value of csv, in which every quote stands twice.
    #[cold]
    pub(super) fn doubled(&mut self, key: &Key, value: &[u8]) {
        self.bare.clear();
        let mut quote = false;
        for &byte in value {
            quote = byte == b'"' && !quote;
            if !quote {
                self.bare.push(byte);
            }
        }
        let at = self.key(key);
        self.push_bare();
        self.member(key, at, ValueKind::String);
    }

    /// The bare bytes as a string.
    fn push_bare(&mut self) {
        self.text.push(b'"');
        self.push_text_of_bare();
        self.text.push(b'"');
    }

    fn push_text_of_bare(&mut self) {
        for chunk in self.bare.utf8_chunks() {
            push_text(chunk.valid().as_bytes(), &mut self.text);
            if !chunk.invalid().is_empty() {
                self.text.extend_from_slice("\u{fffd}".as_bytes());
                self.repairs.insert(RepairKind::InvalidUtf8);
            }
        }
    }

    /// A member whose name stands in the line, `first` of its record or not; `token` is JSON.
    pub(super) fn named(&mut self, name: (&[u8], bool), token: &[u8], kind: ValueKind, utf8: bool) {
        let (start, end) = self.name(name, utf8);
        let from = self.text.len();
        self.text.extend_from_slice(token);
        let (key, value) = (Span::new(start, end), Span::new(from, self.text.len()));
        self.members.push(Member { key, value, kind });
    }

    /// The same with a string.
    pub(super) fn named_string(&mut self, name: (&[u8], bool), value: &[u8], escape: Escape, plain: bool) {
        let (start, end) = self.name(name, plain);
        let from = self.text.len();
        self.bare.clear();
        match plain {
            true => self.bare.extend_from_slice(value),
            false => unescape(value, escape, &mut self.bare),
        }
        self.push_bare();
        let (key, value) = (Span::new(start, end), Span::new(from, self.text.len()));
        self.members.push(Member { key, value, kind: ValueKind::String });
    }

    fn name(&mut self, (name, first): (&[u8], bool), utf8: bool) -> (usize, usize) {
        self.text.extend_from_slice(if first { b"{\"" } else { b",\"" });
        let start = self.text.len();
        if utf8 {
            push_text(name, &mut self.text);
        } else {
            self.bare.clear();
            self.bare.extend_from_slice(name);
            self.push_text_of_bare();
        }
        let end = self.text.len();
        self.text.extend_from_slice(b"\":");
        (start, end)
    }
}

/// Whether a value is one JSON number.
#[inline]
pub(super) fn is_number(value: &[u8]) -> bool {
    number_end(value, 0) == Ok(value.len())
}

/// Method, target and protocol of `GET /path HTTP/1.1`; a request of HTTP/0.9 has no protocol.
fn request_parts(value: &[u8]) -> [Option<&[u8]>; 3] {
    let Some(space) = memchr::memchr(b' ', value) else { return [None; 3] };
    let (method, rest) = (&value[..space], &value[space + 1..]);
    let is_method = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    if method.is_empty() || rest.is_empty() || !method.iter().all(is_method) {
        return [None; 3];
    }
    match memchr::memrchr(b' ', rest) {
        Some(last) if rest[last + 1..].starts_with(b"HTTP/") => {
            [Some(method), Some(&rest[..last]), Some(&rest[last + 1..])]
        }
        _ => [Some(method), Some(rest), None],
    }
}

/// Appends text as the body of a JSON string.
pub(super) fn push_text(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut at = 0;
    loop {
        let stop = crate::scan::string_stop(text, at);
        out.extend_from_slice(&text[at..stop]);
        match text.get(stop) {
            None => return,
            Some(&byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
            Some(&byte) => {
                let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        at = stop + 1;
    }
}

/// A field of a table or a list of pairs, whose values are text unless their name says otherwise.
pub(super) fn plain_field(name: &str, kind: Kind) -> Field {
    let (name, spelled) = (name.to_owned(), name.to_owned());
    Field { name, spelled, kind, escape: Escape::None, absent: Absent::Either, padded: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_parts_or_none() {
        let parts = |text: &'static str| {
            request_parts(text.as_bytes()).map(|part| part.map(|p| std::str::from_utf8(p).unwrap()))
        };
        assert_eq!(parts("GET /a?b=c HTTP/1.1"), [Some("GET"), Some("/a?b=c"), Some("HTTP/1.1")]);
        assert_eq!(parts("GET /a b c HTTP/1.1"), [Some("GET"), Some("/a b c"), Some("HTTP/1.1")]);
        assert_eq!(parts("GET /"), [Some("GET"), Some("/"), None]);
        assert_eq!(parts("M-SEARCH * HTTP/1.1"), [Some("M-SEARCH"), Some("*"), Some("HTTP/1.1")]);
        for none in ["", "-", "<BADREQ>", "\\x16\\x03 x", " /", "GET "] {
            assert_eq!(request_parts(none.as_bytes()), [None; 3], "{none}");
        }
    }
}

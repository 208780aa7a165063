//! Write: values of a line become one JSON object with the spans of its members.
//!
//! Promises: what is written is valid JSON and UTF-8 whatever the values are; numbers keep their spelling; nothing is
//! allocated once the buffers have grown.
//! Must not know: how values were found.
use super::field::{Absent, Escape, Field, Kind};
use super::straight::{Done, Pen};
use super::unescape::unescape;
use crate::limits::PARSE_BYTES_KEPT;
use crate::parse::strict::number_end;
use crate::record::{Member, Record, RepairKind, Repairs, ShapeId, Span, ValueKind, Way};
use crate::syslog::heads::{Added, own_names};

/// Bytes that are copied at once: a copy of a fixed length is two instructions, one of another length a call.
const BLOCK: usize = 32;

/// What a member's key is, with what stands before it: `{"a":` or `,"b":`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    bytes: Box<[u8]>,
    /// The first of them and a string's opening quote, filled up.
    block: [u8; BLOCK],
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
        let (mut block, len) = ([b'"'; BLOCK], bytes.len().min(BLOCK));
        block[..len].copy_from_slice(&bytes[..len]);
        Key { bytes: bytes.into(), block, name }
    }

    /// Its first bytes; a quote behind it, if that has room.
    pub(super) fn block(&self) -> &[u8; BLOCK] {
        &self.block
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The fields that a request's parts become.
pub(super) const REQUEST_PARTS: [&str; 3] = ["request_method", "request_uri", "server_protocol"];

/// A value in the text that it stands in, which may go on behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'t> {
    pub(super) text: &'t [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    /// Nothing in it is escaped or has to be, and it is UTF-8.
    pub(super) plain: bool,
}

impl<'t> Raw<'t> {
    /// A value of its own.
    pub(super) fn of(value: &'t [u8], plain: bool) -> Raw<'t> {
        Raw { text: value, start: 0, end: value.len(), plain }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &'t [u8] {
        &self.text[self.start..self.end]
    }
}

/// A record in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// What is written, and room behind it.
    text: Vec<u8>,
    /// How much is written.
    at: usize,
    members: Vec<Member>,
    /// Bytes of a value without escapes.
    bare: Vec<u8>,
    /// A value as JSON spells it.
    spelled: Vec<u8>,
    repairs: Repairs,
}

impl Writer {
    /// Begins a record.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.begin_over();
        self.members.clear();
    }

    /// Begins a record whose members will be written over those of the one before it.
    #[inline]
    fn begin_over(&mut self) {
        if self.text.capacity() > PARSE_BYTES_KEPT {
            self.text = Vec::new();
        }
        for buffer in [&mut self.bare, &mut self.spelled] {
            if buffer.capacity() > PARSE_BYTES_KEPT {
                *buffer = Vec::new();
            }
        }
        self.at = 0;
        self.repairs = Repairs::NONE;
    }

    /// Ends the record, which has a member.
    #[inline]
    pub(super) fn end(&mut self, shape: ShapeId) -> Record<'_> {
        self.room(1);
        self.text[self.at] = b'}';
        self.ended(shape)
    }

    #[inline(always)]
    fn ended(&self, shape: ShapeId) -> Record<'_> {
        let way = if shape == ShapeId::UNKNOWN { Way::General } else { Way::Learned };
        let text = &self.text[..=self.at];
        Record { text, members: &self.members, shape, way, repairs: self.repairs }
    }

    /// The record that was ended last, with what a head adds; names that it has itself stay its own.
    #[inline]
    pub(super) fn behind(&mut self, shape: ShapeId, added: Option<&Added>) -> Record<'_> {
        let Some(added) = added else { return self.ended(shape) };
        let own = own_names(&self.text, &self.members);
        let mut mask = 0;
        for part in added.parts().filter(|(name, _)| own >> name & 1 == 0) {
            mask |= 1 << part.0;
            self.members.push(Added::member(part, self.at));
            self.append(|text| text.extend_from_slice(part.1));
        }
        // Each set of names that may be added is a shape of its own.
        self.end(if shape == ShapeId::UNKNOWN { shape } else { ShapeId(shape.0 + mask) })
    }

    /// Makes room for so many bytes and blocks behind them.
    #[inline(always)]
    pub(super) fn room(&mut self, bytes: usize) {
        if self.text.len() < self.at + bytes + 2 * BLOCK {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        const LEAST: usize = 4096;
        let len = self.at + bytes + 2 * BLOCK;
        self.text.resize(len.max(self.text.len() * 2).max(LEAST), 0);
    }

    /// A pen for a new record with room for so many bytes and members.
    #[inline(always)]
    pub(super) fn pen(&mut self, bytes: usize, members: usize) -> Pen<'_> {
        self.begin_over();
        self.room(bytes);
        self.resize(members);
        Pen { text: &mut self.text, members: &mut self.members, done: Done { bytes: 0, members: 0 } }
    }

    #[inline(always)]
    fn resize(&mut self, members: usize) {
        let nothing = Member { key: Span::default(), value: Span::default(), kind: ValueKind::Null };
        // They are written over: those of the line before will do.
        if self.members.len() != members {
            self.members.resize(members, nothing);
        }
    }

    /// A pen that goes on with the record, which will have so many members.
    #[inline(always)]
    pub(super) fn pen_on(&mut self, bytes: usize, members: usize) -> Pen<'_> {
        self.room(bytes);
        let done = Done { bytes: self.at, members: self.members.len() };
        self.resize(members);
        Pen { text: &mut self.text, members: &mut self.members, done }
    }

    /// What a pen has written.
    #[inline(always)]
    pub(super) fn wrote(&mut self, done: Done) {
        self.at = done.bytes;
        self.members.truncate(done.members);
    }

    /// A field's value as it stands in the line.
    #[inline]
    pub(super) fn value(&mut self, key: &Key, field: &Field, raw: Raw<'_>) {
        let number = field.kind.is_number();
        let value = raw.bytes();
        if value.len() <= 1 && field.absent.is(value, number) {
            return self.token(key, b"null", ValueKind::Null);
        }
        if number && is_number(value) {
            return self.token(key, value, ValueKind::Number);
        }
        self.string(key, raw, field.escape);
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self, key: &Key, raw: Raw<'_>, escape: Escape) {
        if !raw.plain {
            return self.odd_string(key, raw.bytes(), escape);
        }
        let len = raw.end - raw.start;
        self.room(key.bytes.len() + len + 2);
        let at = self.key(key);
        self.text[self.at] = b'"';
        let from = self.at + 1;
        match raw.text.get(raw.start..).and_then(<[u8]>::first_chunk::<BLOCK>) {
            Some(block) if len <= BLOCK => self.text[from..from + BLOCK].copy_from_slice(block),
            _ => self.text[from..from + len].copy_from_slice(raw.bytes()),
        }
        self.text[from + len] = b'"';
        self.at = from + len + 1;
        self.member(key, at, ValueKind::String);
    }

    /// The parts of a request line, as members of these keys; nulls when it is none.
    #[inline]
    pub(super) fn request_parts(&mut self, keys: &[Key; 3], raw: Raw<'_>, escape: Escape) {
        let mut from = raw.start;
        for (key, part) in keys.iter().zip(request_parts(raw.bytes())) {
            match part {
                Some(len) => {
                    self.string(key, Raw { start: from, end: from + len, ..raw }, escape);
                    from += len + 1;
                }
                None => self.token(key, b"null", ValueKind::Null),
            }
        }
    }

    /// A value as JSON has it.
    #[inline]
    pub(super) fn token(&mut self, key: &Key, token: &[u8], kind: ValueKind) {
        self.room(key.bytes.len() + token.len());
        let at = self.key(key);
        self.text[self.at..self.at + token.len()].copy_from_slice(token);
        self.at += token.len();
        self.member(key, at, kind);
    }

    /// Writes a key, for which there is room.
    #[inline(always)]
    fn key(&mut self, key: &Key) -> usize {
        let (at, len) = (self.at, key.bytes.len());
        if len <= BLOCK {
            self.text[at..at + BLOCK].copy_from_slice(&key.block);
        } else {
            self.text[at..at + len].copy_from_slice(&key.bytes);
        }
        self.at += len;
        at
    }

    #[inline(always)]
    fn member(&mut self, key: &Key, at: usize, kind: ValueKind) {
        let name = Span { start: at as u32 + key.name.start, end: at as u32 + key.name.end };
        let value = Span { start: (at + key.bytes.len()) as u32, end: self.at as u32 };
        self.members.push(Member { key: name, value, kind });
    }

    /// Bytes of any length.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len());
        let from = self.at;
        self.text[from..from + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Text as the body of a JSON string.
    fn put_text(&mut self, text: &[u8]) {
        self.spelled.clear();
        push_text(text, &mut self.spelled);
        let spelled = std::mem::take(&mut self.spelled);
        self.put(&spelled);
        self.spelled = spelled;
    }

    /// A string with bytes that have to be unescaped or escaped, or that may be no UTF-8.
    #[cold]
    fn odd_string(&mut self, key: &Key, value: &[u8], escape: Escape) {
        self.bare.clear();
        unescape(value, escape, &mut self.bare);
        self.bare_string(key);
    }

    fn bare_string(&mut self, key: &Key) {
        self.room(key.bytes.len());
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
        self.bare_string(key);
    }

    /// The bare bytes as a string.
    fn push_bare(&mut self) {
        self.put(b"\"");
        self.push_text_of_bare();
        self.put(b"\"");
    }

    fn push_text_of_bare(&mut self) {
        let bare = std::mem::take(&mut self.bare);
        for chunk in bare.utf8_chunks() {
            self.put_text(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.put("\u{fffd}".as_bytes());
                self.repairs.insert(RepairKind::InvalidUtf8);
            }
        }
        self.bare = bare;
    }

    /// A member whose name stands in the line, `first` of its record or not; `token` is JSON.
    pub(super) fn named(&mut self, name: (&[u8], bool), token: &[u8], kind: ValueKind, utf8: bool) {
        let key = self.name(name, utf8);
        let from = self.at;
        self.put(token);
        self.members.push(Member { key, value: Span::new(from, self.at), kind });
    }

    /// The same with a string.
    pub(super) fn named_string(&mut self, name: (&[u8], bool), value: &[u8], escape: Escape, plain: bool) {
        let key = self.name(name, plain);
        let from = self.at;
        if plain {
            self.put(b"\"");
            self.put(value);
            self.put(b"\"");
        } else {
            self.bare.clear();
            unescape(value, escape, &mut self.bare);
            self.push_bare();
        }
        self.members.push(Member { key, value: Span::new(from, self.at), kind: ValueKind::String });
    }

    fn name(&mut self, (name, first): (&[u8], bool), utf8: bool) -> Span {
        self.put(if first { b"{\"" } else { b",\"" });
        let start = self.at;
        if utf8 && crate::scan::string_stop(name, 0) == name.len() {
            self.put(name);
        } else {
            self.bare.clear();
            self.bare.extend_from_slice(name);
            self.push_text_of_bare();
        }
        let name = Span::new(start, self.at);
        self.put(b"\":");
        name
    }
}

/// Whether a value is one JSON number.
#[inline]
pub(super) fn is_number(value: &[u8]) -> bool {
    number_end(value, 0) == Ok(value.len())
}

/// The lengths of method, target and protocol of `GET /path HTTP/1.1`, with a space between them; a request of HTTP/0.9
/// has no protocol.
#[inline]
pub(super) fn request_parts(value: &[u8]) -> [Option<usize>; 3] {
    let is_method = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    let method = value.iter().take_while(|byte| is_method(byte)).count();
    if method == 0 || value.get(method) != Some(&b' ') || value.len() == method + 1 {
        return [None; 3];
    }
    let rest = &value[method + 1..];
    // `HTTP/1.1` is eight bytes, whatever the digits are.
    let usual = rest
        .len()
        .checked_sub(9)
        .filter(|&at| rest[at..].starts_with(b" HTTP/") && !rest[at + 1..].contains(&b' '));
    match usual.or_else(|| memchr::memrchr(b' ', rest)) {
        Some(last) if rest[last + 1..].starts_with(b"HTTP/") => {
            [Some(method), Some(last), Some(rest.len() - last - 1)]
        }
        _ => [Some(method), Some(rest.len()), None],
    }
}

/// Appends text as the body of a JSON string.
pub(crate) fn push_text(text: &[u8], out: &mut Vec<u8>) {
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
        let parts = |text: &str| request_parts(text.as_bytes());
        assert_eq!(parts("GET /a?b=c HTTP/1.1"), [Some(3), Some(6), Some(8)]);
        assert_eq!(parts("GET /a b c HTTP/1.1"), [Some(3), Some(6), Some(8)]);
        assert_eq!(parts("GET /a HTTP/3"), [Some(3), Some(2), Some(6)]);
        assert_eq!(parts("GET /a HTTP/1 1"), [Some(3), Some(11), None]);
        assert_eq!(parts("GET  HTTP/1.1"), [Some(3), Some(0), Some(8)]);
        assert_eq!(parts("GET /"), [Some(3), Some(1), None]);
        assert_eq!(parts("M-SEARCH * HTTP/1.1"), [Some(8), Some(1), Some(8)]);
        for none in ["", "-", "<BADREQ>", "\\x16\\x03 x", " /", "GET ", "GET"] {
            assert_eq!(parts(none), [None; 3], "{none}");
        }
    }
}

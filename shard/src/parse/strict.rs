//! The strict scanner: decides what is JSON (RFC 8259, to the letter) and where its tokens are.
//!
//! Promises: validity is decided here and nowhere else (RULINGS 15): strings without raw control characters and with
//! known escapes only, the full number grammar, at most 128 levels. Nothing is copied, nothing recurses.
//! Must not know: UTF-8 (a line is checked as a whole), repairs, shapes.
use super::{Fault, Reason};
use crate::limits::JSON_DEPTH_MAX;
use crate::record::{Member, Span, ValueKind};
use crate::scan::{digits, string_stop};

const _: () = assert!(JSON_DEPTH_MAX <= 128, "open levels are bits of a u128");

pub(super) fn fault(reason: Reason, at: usize) -> Fault {
    Fault { reason, column: at as u32 + 1 }
}

/// `reason` at `at`, or `Cut` when the text ends there.
fn fault_in(text: &[u8], at: usize, reason: Reason) -> Fault {
    fault(if at >= text.len() { Reason::Cut } else { reason }, at.min(text.len()))
}

#[inline]
pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = text.get(at) {
        at += 1;
    }
    at
}

/// Position after the closing quote of the string whose body starts at `at`.
#[inline]
pub(super) fn string_end(text: &[u8], mut at: usize) -> Result<usize, Fault> {
    loop {
        at = string_stop(text, at);
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape_end(text, at)?,
            Some(_) => return Err(fault(Reason::Control, at)),
            None => return Err(fault(Reason::Cut, text.len())),
        }
    }
}

/// Position after the escape whose backslash is at `at`.
pub(super) fn escape_end(text: &[u8], at: usize) -> Result<usize, Fault> {
    match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = text[at + 2..].iter().take(4).take_while(|b| b.is_ascii_hexdigit()).count();
            if digits == 4 { Ok(at + 6) } else { Err(fault_in(text, at + 2 + digits, Reason::Escape)) }
        }
        Some(_) => Err(fault(Reason::Escape, at)),
        None => Err(fault(Reason::Cut, text.len())),
    }
}

#[inline]
fn digits_end(text: &[u8], mut at: usize) -> usize {
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let count = digits(eight);
        at += count;
        if count < 8 {
            return at;
        }
    }
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Position after the number that starts at `from`.
#[inline]
pub(crate) fn number_end(text: &[u8], from: usize) -> Result<usize, Fault> {
    let whole = from + usize::from(text.get(from) == Some(&b'-'));
    let mut at = match text.get(whole) {
        Some(b'0') => whole + 1,
        Some(b'1'..=b'9') => digits_end(text, whole + 1),
        _ => return Err(fault_in(text, whole, Reason::Number)),
    };
    if text.get(at) == Some(&b'.') {
        let end = digits_end(text, at + 1);
        if end == at + 1 {
            return Err(fault_in(text, end, Reason::Number));
        }
        at = end;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let end = digits_end(text, at + 1 + sign);
        if end == at + 1 + sign {
            return Err(fault_in(text, end, Reason::Number));
        }
        at = end;
    }
    Ok(at)
}

fn word_end(text: &[u8], at: usize, word: &[u8]) -> Result<usize, Fault> {
    let rest = &text[at..];
    if rest.starts_with(word) {
        return Ok(at + word.len());
    }
    let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
    Err(fault_in(text, at + same, Reason::Syntax))
}

/// The value that starts at `at` (no space before it): position after it, and its kind. `depth` levels are open.
#[inline]
pub(super) fn value_end(text: &[u8], at: usize, depth: usize) -> Result<(usize, ValueKind), Fault> {
    Ok(match text.get(at) {
        Some(b'"') => (string_end(text, at + 1)?, ValueKind::String),
        Some(b'-' | b'0'..=b'9') => (number_end(text, at)?, ValueKind::Number),
        Some(b't') => (word_end(text, at, b"true")?, ValueKind::Bool),
        Some(b'f') => (word_end(text, at, b"false")?, ValueKind::Bool),
        Some(b'n') => (word_end(text, at, b"null")?, ValueKind::Null),
        Some(b'{') => (nested_end(text, at, depth)?, ValueKind::Object),
        Some(b'[') => (nested_end(text, at, depth)?, ValueKind::Array),
        _ => return Err(fault_in(text, at, Reason::Syntax)),
    })
}

/// Levels that are open: which of them are objects.
pub(super) struct Levels {
    objects: u128,
    open: usize,
    above: usize,
}

impl Levels {
    /// None open, but `above` around them.
    pub(super) fn under(above: usize) -> Levels {
        Levels { objects: 0, open: 0, above }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }
    pub(super) fn push(&mut self, object: bool, at: usize) -> Result<(), Fault> {
        if self.above + self.open >= JSON_DEPTH_MAX {
            return Err(fault(Reason::Depth, at));
        }
        self.objects = self.objects << 1 | u128::from(object);
        self.open += 1;
        Ok(())
    }
    pub(super) fn pop(&mut self) {
        self.objects >>= 1;
        self.open -= 1;
    }
    pub(super) fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Position after the object or array that starts at `from`; `above` levels are open around it.
fn nested_end(text: &[u8], from: usize, above: usize) -> Result<usize, Fault> {
    let mut levels = Levels::under(above);
    let mut at = from;
    loop {
        // Here a value starts.
        match text.get(at) {
            Some(&open @ (b'{' | b'[')) => {
                levels.push(open == b'{', at)?;
                at = skip_space(text, at + 1);
                let empty = text.get(at) == Some(if open == b'{' { &b'}' } else { &b']' });
                if !empty {
                    if open == b'{' {
                        at = key_end(text, at)?.1;
                    }
                    continue;
                }
            }
            _ => at = value_end(text, at, 0)?.0,
        }
        // Here a value, or an empty level's inside, has ended.
        loop {
            at = skip_space(text, at);
            match (text.get(at), levels.in_object()) {
                (Some(b'}'), true) | (Some(b']'), false) => {
                    levels.pop();
                    at += 1;
                    if levels.is_empty() {
                        return Ok(at);
                    }
                }
                (Some(b','), object) => {
                    at = skip_space(text, at + 1);
                    if object {
                        at = key_end(text, at)?.1;
                    }
                    break;
                }
                _ => return Err(fault_in(text, at, Reason::Syntax)),
            }
        }
    }
}

/// The key that starts at `at`: its span inside the quotes, and where its value starts.
fn key_end(text: &[u8], at: usize) -> Result<(Span, usize), Fault> {
    if text.get(at) != Some(&b'"') {
        return Err(fault_in(text, at, Reason::Syntax));
    }
    let end = string_end(text, at + 1)?;
    let colon = skip_space(text, end);
    if text.get(colon) != Some(&b':') {
        return Err(fault_in(text, colon, Reason::Syntax));
    }
    Ok((Span::new(at + 1, end - 1), skip_space(text, colon + 1)))
}

/// Scans a whole line, which is UTF-8: one object. Its members are left in `members`.
pub(crate) fn scan(text: &[u8], members: &mut Vec<Member>) -> Result<(), Fault> {
    members.clear();
    let mut at = skip_space(text, 0);
    if text.get(at) != Some(&b'{') {
        return Err(fault(Reason::NotAnObject, at));
    }
    at = skip_space(text, at + 1);
    if text.get(at) == Some(&b'}') {
        return end(text, at + 1);
    }
    loop {
        let (key, from) = key_end(text, at)?;
        let (to, kind) = value_end(text, from, 1)?;
        members.push(Member { key, value: Span::new(from, to), kind });
        at = skip_space(text, to);
        match text.get(at) {
            Some(b',') => at = skip_space(text, at + 1),
            Some(b'}') => return end(text, at + 1),
            _ => return Err(fault_in(text, at, Reason::Syntax)),
        }
    }
}

fn end(text: &[u8], at: usize) -> Result<(), Fault> {
    let at = skip_space(text, at);
    if at == text.len() { Ok(()) } else { Err(fault(Reason::Trailing, at)) }
}

/// Iterates over the members of a valid object, or the elements of a valid array (whose keys are empty), in their
/// order. `from` is where it opens.
pub(crate) fn children(text: &[u8], from: usize) -> Children<'_> {
    Children { text, at: skip_space(text, from + 1), object: text[from] == b'{' }
}

/// See [`children`].
pub(crate) struct Children<'a> {
    text: &'a [u8],
    at: usize,
    object: bool,
}

impl Iterator for Children<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        if let Some(b'}' | b']') | None = self.text.get(self.at) {
            return None;
        }
        let mut key = Span::new(self.at, self.at);
        if self.object {
            (key, self.at) = key_end(self.text, self.at).ok()?;
        }
        // The text was scanned before: what is open around it cannot matter any more.
        let (to, kind) = value_end(self.text, self.at, 0).ok()?;
        let value = Span::new(self.at, to);
        self.at = skip_space(self.text, to);
        if self.text.get(self.at) == Some(&b',') {
            self.at = skip_space(self.text, self.at + 1);
        }
        Some(Member { key, value, kind })
    }
}

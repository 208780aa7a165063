//! Repairs: what servers write that is no JSON but has one meaning (the table of INTERFACE 3).
//!
//! Promises: only what a row of the table names is changed, every other byte is kept; what comes out is valid, so a
//! second repair would change nothing. One pass, in time proportional to the line.
//! Must not know: shapes, plans, what is counted where.
use super::strict::{Levels, escape_end, fault, skip_space, value_end};
use super::{Fault, Reason};
use crate::record::{RepairKind, Repairs};
use crate::scan::string_stop;

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Repairs `line` into `out`. `unescaped` is room for the bytes of `\xNN` runs.
pub(super) fn repair(
    line: &[u8],
    utf8: bool,
    out: &mut Vec<u8>,
    unescaped: &mut Vec<u8>,
) -> Result<Repairs, Fault> {
    out.clear();
    let mut pass = Pass { text: line, at: 0, kept: 0, utf8, out, unescaped, repairs: Repairs::NONE };
    pass.line()?;
    Ok(pass.repairs)
}

/// One pass over a line: `at` is the next byte to look at, `kept` the first byte that is not in `out` yet.
struct Pass<'a> {
    text: &'a [u8],
    at: usize,
    kept: usize,
    utf8: bool,
    out: &'a mut Vec<u8>,
    unescaped: &'a mut Vec<u8>,
    repairs: Repairs,
}

impl Pass<'_> {
    fn line(&mut self) -> Result<(), Fault> {
        self.space();
        if self.peek() != Some(b'{') {
            return Err(fault(Reason::NotAnObject, self.at));
        }
        self.object()?;
        self.space();
        if self.at < self.text.len() {
            return Err(fault(Reason::Trailing, self.at));
        }
        self.keep_to(self.at);
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        self.at = skip_space(self.text, self.at);
    }

    fn unexpected(&self) -> Fault {
        let reason = if self.at >= self.text.len() { Reason::Cut } else { Reason::Syntax };
        fault(reason, self.at)
    }

    /// Copies what is unchanged before `end`.
    fn keep_to(&mut self, end: usize) {
        self.out.extend_from_slice(&self.text[self.kept..end]);
        self.kept = end;
    }

    /// Leaves out what lies before `end`; something else stands for it.
    fn replace_to(&mut self, end: usize, kind: RepairKind) {
        self.kept = end;
        self.repairs.insert(kind);
    }

    fn object(&mut self) -> Result<(), Fault> {
        let mut levels = Levels::under(0);
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    levels.push(open == b'{', self.at)?;
                    self.at += 1;
                    self.space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek() != Some(close) {
                        self.key_if(open == b'{')?;
                        continue;
                    }
                }
                _ => self.scalar(levels.in_object())?,
            }
            loop {
                self.space();
                match (self.peek(), levels.in_object()) {
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        levels.pop();
                        if levels.is_empty() {
                            return Ok(());
                        }
                    }
                    (Some(b','), object) => {
                        self.at += 1;
                        self.space();
                        self.key_if(object)?;
                        break;
                    }
                    _ => return Err(self.unexpected()),
                }
            }
        }
    }

    /// In an object: a key, and on to its value.
    fn key_if(&mut self, object: bool) -> Result<(), Fault> {
        if !object {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn scalar(&mut self, in_object: bool) -> Result<(), Fault> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        if in_object {
            return self.bare();
        }
        // No row of the table covers an array's elements.
        self.at = value_end(self.text, self.at, 0)?.0;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        self.string_body(self.text.len())?;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// A member's value without quotes: a number or word of JSON, or what becomes a string or null.
    fn bare(&mut self) -> Result<(), Fault> {
        let from = self.at;
        let end = self.bare_end(from)?;
        let to = from + self.text[from..end].trim_ascii_end().len();
        if self.text[from..to].ends_with(b",") {
            // `1,}` is no list but a comma too many: no row covers it.
            return Err(fault(Reason::Syntax, end));
        }
        if to == from {
            self.keep_to(from);
            self.out.extend_from_slice(b"null");
            self.repairs.insert(RepairKind::MissingValue);
            return Ok(());
        }
        if value_end(self.text, from, 0).is_ok_and(|(valid, _)| valid == to) {
            self.at = to;
            return Ok(());
        }
        self.repairs.insert(bare_kind(&self.text[from..to]));
        self.keep_to(from);
        self.out.push(b'"');
        self.string_body(to)?;
        if self.at != to {
            return Err(self.unexpected());
        }
        self.keep_to(to);
        self.out.push(b'"');
        Ok(())
    }

    /// Where the bare value that starts at `from` ends: before `,"key":` or the closing brace.
    fn bare_end(&self, from: usize) -> Result<usize, Fault> {
        let mut at = from;
        loop {
            match self.text.get(at) {
                Some(b'}') => return Ok(at),
                Some(b',') if self.key_follows(at + 1)? => return Ok(at),
                // Nothing before the comma and no key after it: neither a missing value nor a list.
                Some(b',') if at == from => return Err(fault(Reason::Syntax, at + 1)),
                Some(b'"') => return Err(fault(Reason::Syntax, at)),
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(fault(Reason::Cut, self.text.len())),
            }
        }
    }

    /// Whether `"key":` follows: a line that ends before that can be told is cut.
    fn key_follows(&self, from: usize) -> Result<bool, Fault> {
        let cut = fault(Reason::Cut, self.text.len());
        let quote = skip_space(self.text, from);
        if *self.text.get(quote).ok_or(cut)? != b'"' {
            return Ok(false);
        }
        let mut at = quote + 1;
        loop {
            at = string_stop(self.text, at);
            match self.text.get(at).ok_or(cut)? {
                b'"' => break,
                b'\\' => at = (at + 2).min(self.text.len()),
                _ => at += 1,
            }
        }
        Ok(*self.text.get(skip_space(self.text, at + 1)).ok_or(cut)? == b':')
    }

    /// A string's body, up to its closing quote or `limit`.
    fn string_body(&mut self, limit: usize) -> Result<(), Fault> {
        let text = &self.text[..limit];
        loop {
            let stop = string_stop(text, self.at);
            if !self.utf8 {
                self.replace_invalid(self.at, stop);
            }
            self.at = stop;
            match text.get(stop) {
                None | Some(b'"') => return Ok(()),
                Some(b'\\') if hex_escape(text, stop).is_some() => self.hex_escapes(text),
                Some(b'\\') => {
                    self.at = escape_end(text, stop).map_err(|fault| self.cut_or_not(stop, fault))?
                }
                Some(&control) => {
                    self.keep_to(stop);
                    push_control(control, self.out);
                    self.at += 1;
                    self.replace_to(self.at, RepairKind::ControlCharacter);
                }
            }
        }
    }

    /// The fault of the escape at `at`: the end of the line cuts an escape, the end of a bare value does not.
    fn cut_or_not(&self, at: usize, found: Fault) -> Fault {
        let rest = &self.text[at..];
        let hex_cut =
            rest.len() < 4 && rest.starts_with(b"\\x") && rest[2..].iter().all(u8::is_ascii_hexdigit);
        let cut = hex_cut || (found.reason == Reason::Cut && found.column as usize > self.text.len());
        match found.reason {
            _ if cut => fault(Reason::Cut, self.text.len()),
            _ => Fault { reason: Reason::Escape, ..found },
        }
    }

    /// Replaces what is no UTF-8 between two positions, as `String::from_utf8_lossy` does.
    fn replace_invalid(&mut self, from: usize, to: usize) {
        let text = self.text;
        let mut at = from;
        for chunk in text[from..to].utf8_chunks() {
            at += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                self.keep_to(at);
                self.out.extend_from_slice(REPLACEMENT);
                at += chunk.invalid().len();
                self.replace_to(at, RepairKind::InvalidUtf8);
            }
        }
    }

    /// A run of `\xNN`: its bytes are text, control characters, or no UTF-8.
    fn hex_escapes(&mut self, text: &[u8]) {
        self.keep_to(self.at);
        self.unescaped.clear();
        while let Some(byte) = hex_escape(text, self.at) {
            self.unescaped.push(byte);
            self.at += 4;
        }
        self.replace_to(self.at, RepairKind::HexEscape);
        for chunk in self.unescaped.utf8_chunks() {
            for byte in chunk.valid().bytes() {
                match byte {
                    b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                    0..0x20 => push_control(byte, self.out),
                    _ => self.out.push(byte),
                }
            }
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice(REPLACEMENT);
            }
        }
    }
}

/// The byte of the `\xNN` that starts at `at`.
fn hex_escape(text: &[u8], at: usize) -> Option<u8> {
    let [b'\\', b'x', high, low] = *text.get(at..)?.first_chunk::<4>()? else { return None };
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

fn push_control(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
}

fn bare_kind(word: &[u8]) -> RepairKind {
    let unsigned = word.strip_prefix(b"-").or(word.strip_prefix(b"+")).unwrap_or(word);
    let unsigned = unsigned.strip_prefix(b".").unwrap_or(unsigned);
    if word.contains(&b',') {
        RepairKind::BareList
    } else if unsigned.first().is_some_and(u8::is_ascii_digit) {
        RepairKind::BareNumber
    } else {
        RepairKind::BareWord
    }
}

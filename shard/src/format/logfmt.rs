//! logfmt: `key=value` pairs with spaces between them; a value with spaces stands in quotes.
//!
//! Promises: a line that is a record has a pair; nothing is allocated once the buffers have grown.
//! Must not know: which keys a program writes.
use super::field::Escape;
use super::known::column_kind;
use super::write::{Writer, is_number};
use crate::parse::{Fault, Reason};
use crate::record::{Record, ShapeId, ValueKind};
use crate::scan::string_stop;
use memchr::memchr;

/// Makes a record of a line.
///
/// # Errors
/// Something in it is no pair.
pub(super) fn read<'w>(line: &[u8], utf8: bool, writer: &'w mut Writer) -> Result<Record<'w>, Fault> {
    writer.begin();
    let (mut at, mut pairs) = (0, 0);
    loop {
        at += line[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if at >= line.len() {
            break;
        }
        let name = key(&line[at..]);
        if name == 0 {
            return Err(fault(at));
        }
        let (from, to) = (at, at + name);
        at = to;
        let key = (&line[from..to], pairs == 0);
        match line.get(at) {
            Some(b'=') => at = value(line, at + 1, key, utf8, writer)?,
            Some(b' ' | b'\t') | None => writer.named(key, b"true", ValueKind::Bool, utf8),
            Some(_) => return Err(fault(at)),
        }
        pairs += 1;
    }
    if pairs == 0 || memchr(b'=', line).is_none() {
        return Err(fault(0));
    }
    Ok(writer.end(ShapeId::UNKNOWN))
}

fn fault(at: usize) -> Fault {
    Fault { reason: Reason::Format, column: at as u32 + 1 }
}

/// How many bytes of a key a text begins with.
fn key(text: &[u8]) -> usize {
    text.iter().take_while(|byte| **byte > b' ' && !matches!(byte, b'=' | b'"')).count()
}

fn value(
    line: &[u8],
    at: usize,
    key: (&[u8], bool),
    utf8: bool,
    writer: &mut Writer,
) -> Result<usize, Fault> {
    if line.get(at) == Some(&b'"') {
        let end = closing_quote(line, at + 1).ok_or_else(|| fault(line.len()))?;
        if !matches!(line.get(end + 1), None | Some(b' ' | b'\t')) {
            return Err(fault(end + 1));
        }
        let value = &line[at + 1..end];
        let plain = utf8 && string_stop(value, 0) == value.len();
        writer.named_string(key, value, Escape::Json, plain);
        return Ok(end + 1);
    }
    let len = line[at..].iter().take_while(|byte| !matches!(byte, b' ' | b'\t')).count();
    let value = &line[at..at + len];
    let number = || std::str::from_utf8(key.0).is_ok_and(|name| column_kind(name).is_number());
    match value {
        b"" => writer.named(key, b"null", ValueKind::Null, utf8),
        _ if is_number(value) && number() => writer.named(key, value, ValueKind::Number, utf8),
        _ => {
            let plain = utf8 && string_stop(value, 0) == value.len();
            writer.named_string(key, value, Escape::None, plain);
        }
    }
    Ok(at + len)
}

fn closing_quote(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match line.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

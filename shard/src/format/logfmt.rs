//! logfmt: `key=value` pairs with spaces between them; a value with spaces stands in quotes.
//!
//! Promises: a line that is a record has a pair; nothing is allocated once the buffers have grown.
//! Must not know: which keys a program writes.
use super::cell::{Cell, cell};
use super::field::Escape;
use super::known::column_kind;
use super::write::{Writer, is_number};
use crate::parse::{Fault, Reason};
use crate::record::{Record, ShapeId, ValueKind};
use crate::scan::{Simd, Wide, Work, widest};
use memchr::memchr;

/// Makes a record of the line `start..end` of `text`, which is UTF-8 or not.
///
/// # Errors
/// Something in it is no pair.
pub(super) fn read<'w>(
    level: Simd,
    text: &[u8],
    (start, end): (usize, usize),
    utf8: bool,
    writer: &'w mut Writer,
) -> Result<Record<'w>, Fault> {
    let pairs = Pairs { text, start, end, utf8, writer: &mut *writer };
    widest(level, pairs).map_err(|at| Fault { reason: Reason::Format, column: (at - start) as u32 + 1 })?;
    Ok(writer.end(ShapeId::UNKNOWN))
}

/// The reading of a line; an error is a place.
struct Pairs<'a, 'w> {
    text: &'a [u8],
    start: usize,
    end: usize,
    utf8: bool,
    writer: &'w mut Writer,
}

impl Work for Pairs<'_, '_> {
    type Made = Result<(), usize>;

    #[inline(always)]
    fn run(mut self, wide: impl Wide) -> Result<(), usize> {
        self.writer.begin();
        let line = &self.text[..self.end];
        let (mut at, mut first) = (self.start, true);
        loop {
            while matches!(line.get(at), Some(b' ' | b'\t')) {
                at += 1;
            }
            if at >= line.len() {
                break;
            }
            let name = cell(wide, self.text, (at, self.end), |wide, block| {
                wide.below(block, b' ' + 1) | wide.equal(block, b'=') | wide.equal(block, b'"')
            });
            if name.end == at {
                return Err(at);
            }
            let key = (&line[at..name.end], first);
            at = match line.get(name.end) {
                Some(b'=') => self.value(wide, name.end + 1, key)?,
                Some(b' ' | b'\t') | None => {
                    self.writer.named(key, b"true", ValueKind::Bool, self.utf8);
                    name.end
                }
                Some(_) => return Err(name.end),
            };
            first = false;
        }
        if first || memchr(b'=', &line[self.start..]).is_none() { Err(self.start) } else { Ok(()) }
    }
}

impl Pairs<'_, '_> {
    /// The value that begins at `at`; the position behind it.
    #[inline(always)]
    fn value<W: Wide>(&mut self, wide: W, at: usize, key: (&[u8], bool)) -> Result<usize, usize> {
        let Pairs { text, end, utf8, .. } = *self;
        let line = &text[..end];
        if line.get(at) == Some(&b'"') {
            let stop = cell(wide, text, (at + 1, end), |wide, block| wide.equal(block, b'"'));
            let close = match stop.plain {
                true => Some(stop.end).filter(|close| *close < end),
                false => closing_quote(line, at + 1),
            };
            let close = close.ok_or(end)?;
            if !matches!(line.get(close + 1), None | Some(b' ' | b'\t')) {
                return Err(close + 1);
            }
            self.writer.named_string(key, &line[at + 1..close], Escape::Json, utf8 && stop.plain);
            return Ok(close + 1);
        }
        let Cell { end, plain } =
            cell(wide, text, (at, end), |wide, block| wide.equal(block, b' ') | wide.equal(block, b'\t'));
        let value = &line[at..end];
        let number = || std::str::from_utf8(key.0).is_ok_and(|name| column_kind(name).is_number());
        match value {
            b"" => self.writer.named(key, b"null", ValueKind::Null, utf8),
            _ if is_number(value) && number() => self.writer.named(key, value, ValueKind::Number, utf8),
            _ => self.writer.named_string(key, value, Escape::None, utf8 && plain),
        }
        Ok(end)
    }
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

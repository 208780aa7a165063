//! Table: lines of values in columns, whose names a head line or an operator gives: csv, tsv, W3C extended logs.
//!
//! Promises: a line with another number of columns is no record; a quoted value of csv is text, whatever stands in it.
//! Must not know: files; where the head line was found.
use super::cell::{Cell, cell};
use super::field::{Field, Kind, plain_name};
use super::known::column_kind;
use super::layout::new_shape;
use super::write::{Key, Raw, Writer, is_number, plain_field};
use crate::parse::{Fault, Reason};
use crate::record::{Record, ShapeId, ValueKind};
use crate::scan::{Simd, Wide, Work, widest};
use memchr::memchr;

/// How columns are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// By commas; quotes as RFC 4180 has them.
    Csv,
    /// By tabs, without quotes.
    Tsv,
    /// By tabs, or by spaces with quotes; lines that begin with `#` are about the log.
    W3c,
}

/// A table's columns.
#[derive(Debug)]
pub(super) struct Table {
    columns: Columns,
    fields: Box<[(Key, Field)]>,
    shape: ShapeId,
}

impl Columns {
    /// The names of a head line.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn names(self, head: &[u8]) -> Result<Vec<String>, String> {
        let head = match self {
            Columns::W3c => head.strip_prefix(b"#Fields:").ok_or("is no line that begins with #Fields:")?,
            Columns::Csv | Columns::Tsv => head,
        };
        let text = std::str::from_utf8(head).map_err(|_| "is not UTF-8")?.trim();
        let names: Vec<String> = match self {
            Columns::Csv => text.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect(),
            Columns::Tsv => text.split('\t').map(|name| name.trim().to_owned()).collect(),
            Columns::W3c => {
                text.split_whitespace().map(|name| plain_name(name.trim_end_matches(')'))).collect()
            }
        };
        match names.iter().any(String::is_empty) {
            true => Err("names a column with nothing".into()),
            false => Ok(names),
        }
    }
}

impl Table {
    pub(super) fn new(columns: Columns, names: &[String]) -> Table {
        let field = |(at, name): (usize, &String)| {
            (Key::new(name, at == 0), plain_field(name, column_kind(&name.to_ascii_lowercase())))
        };
        Table { columns, fields: names.iter().enumerate().map(field).collect(), shape: new_shape() }
    }

    /// Whether some of its lines are about the log.
    pub(super) fn is_w3c(&self) -> bool {
        self.columns == Columns::W3c
    }

    /// Makes a record of the line `start..end` of `text`, which is UTF-8 or not.
    ///
    /// # Errors
    /// It has more or fewer columns, or something behind a closing quote.
    pub(super) fn read<'w>(
        &self,
        level: Simd,
        text: &[u8],
        (start, end): (usize, usize),
        utf8: bool,
        writer: &'w mut Writer,
    ) -> Result<Record<'w>, Fault> {
        let (delimiter, quotes) = match self.columns {
            Columns::Csv => (b',', true),
            Columns::Tsv => (b'\t', false),
            Columns::W3c if memchr(b'\t', &text[start..end]).is_some() => (b'\t', false),
            Columns::W3c => (b' ', true),
        };
        widest(level, Row { table: self, text, start, end, delimiter, quotes, utf8, writer: &mut *writer })?;
        Ok(writer.end(self.shape))
    }
}

/// The reading of a line.
struct Row<'a, 'w> {
    table: &'a Table,
    text: &'a [u8],
    start: usize,
    end: usize,
    delimiter: u8,
    quotes: bool,
    utf8: bool,
    writer: &'w mut Writer,
}

impl Work for Row<'_, '_> {
    type Made = Result<(), Fault>;

    #[inline(always)]
    fn run(self, wide: impl Wide) -> Result<(), Fault> {
        let Row { table, text, start, end, delimiter, quotes, utf8, writer } = self;
        let fault = |at: usize| Fault { reason: Reason::Format, column: (at - start) as u32 + 1 };
        let line = &text[..end];
        writer.begin();
        let mut at = start;
        for (number, (key, field)) in table.fields.iter().enumerate() {
            if number > 0 {
                match line.get(at) {
                    Some(byte) if *byte == delimiter => at += 1,
                    _ => return Err(fault(at)),
                }
            }
            if quotes && line.get(at) == Some(&b'"') {
                at = quoted(line, at, key, utf8, writer).ok_or(fault(end))?;
                continue;
            }
            let Cell { end, plain } = cell(wide, text, (at, end), |wide, block| wide.equal(block, delimiter));
            let value = &text[at..end];
            match value {
                b"" | b"-" => writer.token(key, b"null", ValueKind::Null),
                _ if field.kind != Kind::Text && is_number(value) => {
                    writer.token(key, value, ValueKind::Number);
                }
                _ => writer.string(key, Raw { text, start: at, end, plain: plain && utf8 }, field.escape),
            }
            at = end;
        }
        if at < end { Err(fault(at)) } else { Ok(()) }
    }
}

/// A quoted value that begins at `at`; the position after its closing quote; none when it has none.
fn quoted(line: &[u8], at: usize, key: &Key, utf8: bool, writer: &mut Writer) -> Option<usize> {
    let begin = at + 1;
    let (mut end, mut doubled) = (begin, false);
    loop {
        end += memchr(b'"', &line[end..])?;
        if line.get(end + 1) != Some(&b'"') {
            break;
        }
        doubled = true;
        end += 2;
    }
    let value = &line[begin..end];
    if doubled {
        writer.doubled(key, value);
    } else {
        let plain = utf8 && crate::scan::string_stop(value, 0) == value.len();
        writer.string(key, Raw { text: line, start: begin, end, plain }, super::Escape::None);
    }
    Some(end + 1)
}

/// Tables of the head lines seen last.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known: Vec<(Columns, Vec<u8>, Result<Table, String>)>,
    next: usize,
}

/// Tables that are remembered: more than one host's files have heads.
const TABLES_MAX: usize = 64;

impl Tables {
    /// The table of a head line.
    pub(super) fn of(&mut self, columns: Columns, head: &[u8]) -> &Result<Table, String> {
        let known = self.known.iter().position(|(of, line, _)| *of == columns && line == head);
        let at = known.unwrap_or_else(|| {
            let made = (columns, head.to_vec(), columns.names(head).map(|names| Table::new(columns, &names)));
            if self.known.len() < TABLES_MAX {
                self.known.push(made);
                return self.known.len() - 1;
            }
            let at = self.next;
            self.known[at] = made;
            self.next = (at + 1) % TABLES_MAX;
            at
        });
        &self.known[at].2
    }
}

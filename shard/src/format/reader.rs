//! Reader: the lines of a chunk, each given to someone as a record or a fault, whatever their format is.
//!
//! Promises: lines of JSON are read as [`crate::parse::Parser`] reads them; what a format skips (blank lines, head lines)
//! is counted. Nothing is allocated per line after warm-up.
//! Must not know: which source a chunk is of, what becomes of records.
use super::layout::Hands;
use super::table::{Columns, Table, Tables};
use super::{Format, How, auto, logfmt, marked};
use crate::frame::{Frame, frames};
use crate::parse::{Fault, Lines, Parsed, Parser, Reason};
use crate::scan::{self, Simd};

/// What was found out about a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How many lines it had.
    pub lines: Lines,
    /// What `auto` decided; none: nothing yet, or there was nothing to decide.
    pub decided: Option<&'static str>,
    /// A line that is no record is of this other format.
    pub contrary: Option<&'static str>,
    /// The table's head line is not among the bytes that are known of the source's beginning.
    pub headless: bool,
}

/// Where a chunk stands in its source.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    /// The source's first bytes, at most [`crate::limits::HEAD_BYTES_MAX`] of them.
    pub head: &'a [u8],
    /// Offset of the chunk's first byte.
    pub start: u64,
}

/// Reads the lines of one shard; owns every buffer that takes.
pub struct Reader {
    json: Parser,
    hands: Hands,
    /// For lines that are only looked at.
    probe: Hands,
    tables: Tables,
    /// The table of names that an operator gave, by those names.
    named: Vec<(Columns, Vec<String>, Table)>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::new()
    }
}

impl Reader {
    /// A reader that has seen nothing.
    pub fn new() -> Reader {
        Reader::with_level(scan::level())
    }

    /// The same with these vector instructions, which the machine has.
    pub fn with_level(level: Simd) -> Reader {
        Reader {
            json: Parser::with_level(level),
            hands: Hands::new(level),
            probe: Hands::new(level),
            tables: Tables::default(),
            named: Vec::new(),
        }
    }

    /// Reads the lines of `bytes` and gives each one that is not skipped to `take`.
    pub fn lines(
        &mut self,
        format: &Format,
        stand: Stand<'_>,
        bytes: &[u8],
        take: impl FnMut(Frame<'_>, Parsed<'_>),
    ) -> Told {
        match &format.how {
            How::Auto => {
                let decided = self.decide(stand, bytes);
                let mut told = self.lines_of(decided.as_ref().unwrap_or(&How::Json), stand, bytes, take);
                told.decided = decided.map(|how| how.name());
                told
            }
            how => self.lines_of(how, stand, bytes, take),
        }
    }

    /// By the source's first lines; where they say nothing, by those of the chunk.
    fn decide(&mut self, stand: Stand<'_>, bytes: &[u8]) -> Option<How> {
        let head = auto::decide(stand.head, 0, false, &mut self.probe);
        head.or_else(|| auto::decide(bytes, stand.start, true, &mut self.probe))
    }

    fn lines_of(
        &mut self,
        how: &How,
        stand: Stand<'_>,
        bytes: &[u8],
        mut take: impl FnMut(Frame<'_>, Parsed<'_>),
    ) -> Told {
        let Reader { json, hands, probe, tables, named } = self;
        let mut told = Told::default();
        match how {
            How::Auto | How::Json => {
                told.lines = json.lines(bytes, stand.start, |frame, parsed| {
                    if let Err(Fault { reason: Reason::NotAnObject, .. }) = parsed {
                        told.note_contrary(true, frame.line, probe);
                    }
                    take(frame, parsed);
                });
            }
            How::Lines(_, layout) => {
                told.lines = marked::lines(layout, (bytes, stand.start), hands, |frame, parsed| {
                    if parsed.is_err() {
                        told.note_contrary(false, frame.line, probe);
                    }
                    take(frame, parsed);
                });
            }
            How::Logfmt => {
                let take = |place, utf8, frame: Frame<'_>, told: &mut Told| {
                    let read = logfmt::read(hands.level, bytes, place, utf8, &mut hands.writer);
                    if read.is_err() {
                        told.note_contrary(false, frame.line, probe);
                    }
                    take(frame, read);
                };
                each(stand, bytes, &mut told, |_| false, take);
            }
            How::Named(_, columns, names) => {
                let known = named.iter().position(|(of, known, _)| of == columns && known == names);
                let at = known.unwrap_or_else(|| {
                    named.push((*columns, names.clone(), Table::new(*columns, names)));
                    named.len() - 1
                });
                rows(&named[at].2, (hands, probe), None, (stand, bytes), &mut told, &mut take);
            }
            How::Headed(_, columns) => {
                headed(*columns, tables, (hands, probe), (stand, bytes), &mut told, &mut take)
            }
            How::W3c => headed(Columns::W3c, tables, (hands, probe), (stand, bytes), &mut told, &mut take),
        }
        told
    }
}

/// A mark that is no part of a source's first line.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Gives each line that is not skipped to `take`, with its place and whether it is UTF-8.
fn each<'b>(
    stand: Stand<'_>,
    bytes: &'b [u8],
    told: &mut Told,
    skip: impl Fn(&[u8]) -> bool,
    mut take: impl FnMut((usize, usize), bool, Frame<'b>, &mut Told),
) {
    let ascii = bytes.is_ascii();
    let mut mark = if stand.start == 0 && bytes.starts_with(BOM) { BOM.len() } else { 0 };
    for frame in frames(bytes, stand.start) {
        let start = frame.offset + std::mem::take(&mut mark);
        told.lines.all += 1;
        if frame.line.is_empty() || skip(frame.line) {
            told.lines.blank += 1;
            continue;
        }
        let utf8 = ascii || std::str::from_utf8(frame.line).is_ok();
        take((start, start + frame.line.len()), utf8, frame, told);
    }
}

/// The rows of a table; `head` is the line that names its columns.
fn rows(
    table: &Table,
    (hands, probe): (&mut Hands, &mut Hands),
    head: Option<&[u8]>,
    (stand, bytes): (Stand<'_>, &[u8]),
    told: &mut Told,
    take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
) {
    let w3c = table.is_w3c();
    let skip = |line: &[u8]| head == Some(line) || w3c && line.starts_with(b"#");
    each(stand, bytes, told, skip, |place, utf8, frame, told| {
        let read = table.read(hands.level, bytes, place, utf8, &mut hands.writer);
        if read.is_err() {
            told.note_contrary(false, frame.line, probe);
        }
        take(frame, read);
    });
}

/// A table whose columns a head line names.
fn headed(
    columns: Columns,
    tables: &mut Tables,
    hands: (&mut Hands, &mut Hands),
    (stand, bytes): (Stand<'_>, &[u8]),
    told: &mut Told,
    take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
) {
    let is_head = |line: &&[u8]| match columns {
        Columns::W3c => line.starts_with(b"#Fields:"),
        Columns::Csv | Columns::Tsv => !line.is_empty(),
    };
    // The last line of what is known may be cut.
    let ended = |frame: &Frame<'_>| frame.offset + frame.line.len() < stand.head.len();
    let known = frames(stand.head, 0).filter(ended).map(|frame| frame.line).find(is_head);
    let here = || frames(bytes, stand.start).map(|frame| frame.line).find(is_head);
    let head = known.or_else(|| if stand.start == 0 { here() } else { None });
    match head.map(|head| (head, tables.of(columns, head))) {
        Some((head, Ok(table))) => rows(table, hands, Some(head), (stand, bytes), told, take),
        _ => {
            told.headless = true;
            each(
                stand,
                bytes,
                told,
                |_| false,
                |_, _, frame, _| {
                    take(frame, Err(Fault { reason: Reason::Format, column: 1 }));
                },
            );
        }
    }
}

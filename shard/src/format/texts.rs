//! Texts: the lines of a chunk that are of a text format, behind syslog heads or not.
//!
//! Promises: what a format skips is counted; a fault's column is that of the line, its head included. Nothing is allocated
//! per line after warm-up.
//! Must not know: which source a chunk is of, what becomes of records.
use super::behind::behind;
use super::layout::{Hands, Layout};
use super::logfmt;
use super::reader::{Stand, Told, message};
use super::table::{Columns, Table, Tables};
use crate::frame::{Frame, bom_bytes, frames};
use crate::limits::LINE_BYTES_MAX;
use crate::parse::{Fault, Parsed, Reason};
use crate::record::ShapeId;
use crate::syslog::heads::Heads;

/// A line of a text format that is to be read.
struct Line<'b> {
    /// Without its head.
    text: &'b [u8],
    /// Its place in the chunk.
    at: usize,
    utf8: bool,
}

/// A chunk's lines, and what they are read with.
pub(super) struct Texts<'a, 'b> {
    pub(super) hands: &'a mut Hands,
    /// For lines that are only looked at.
    pub(super) probe: &'a mut Hands,
    /// None: lines have no heads.
    pub(super) heads: Option<&'a mut Heads>,
    pub(super) stand: Stand<'b>,
    pub(super) bytes: &'b [u8],
    pub(super) told: &'a mut Told,
}

impl Texts<'_, '_> {
    /// Gives each line that is not skipped to `take`, as the record that `read` has left in the writer.
    #[inline]
    fn each(
        self,
        skip: impl Fn(&[u8]) -> bool,
        mut read: impl FnMut(Line<'_>, &mut Hands) -> Result<ShapeId, Fault>,
        mut take: impl FnMut(Frame<'_>, Parsed<'_>),
    ) {
        let Texts { hands, probe, mut heads, stand, bytes, told } = self;
        let ascii = bytes.is_ascii();
        let mark = bom_bytes(bytes, stand.start);
        for frame in frames(bytes, stand.start) {
            told.lines.all += 1;
            let head = heads.as_mut().and_then(|heads| heads.strip(frame.line));
            let before = head.unwrap_or(0);
            let text = &frame.line[before..];
            if text.is_empty() || skip(text) {
                told.lines.blank += 1;
                continue;
            }
            let utf8 = ascii || std::str::from_utf8(text).is_ok();
            let at = frame.offset + before + if frame.offset == 0 { mark } else { 0 };
            match read(Line { text, at, utf8 }, hands) {
                Ok(shape) => {
                    let added = heads.as_ref().filter(|_| head.is_some()).map(|heads| heads.added());
                    take(frame, Ok(hands.writer.behind(shape, added)));
                }
                Err(fault) => {
                    told.note_contrary(false, text, probe);
                    take(frame, Err(behind(fault, before)));
                }
            }
        }
    }

    /// Lines of patterns.
    pub(super) fn patterns(self, layout: &Layout, take: impl FnMut(Frame<'_>, Parsed<'_>)) {
        let bytes = self.bytes;
        let read = |line: Line<'_>, hands: &mut Hands| {
            let Line { text, at, utf8 } = line;
            if text.len() > LINE_BYTES_MAX {
                return Err(Fault { reason: Reason::TooLong, column: LINE_BYTES_MAX as u32 + 1 });
            }
            // In the whole chunk: what stands behind a line may be read with it, which is quicker.
            layout.read(bytes, (at, at + text.len()), utf8, hands).map(|record| record.shape)
        };
        self.each(|_| false, read, take);
    }

    /// Lines of pairs.
    pub(super) fn logfmt(self, take: impl FnMut(Frame<'_>, Parsed<'_>)) {
        let bytes = self.bytes;
        let read = |line: Line<'_>, hands: &mut Hands| {
            let place = (line.at, line.at + line.text.len());
            logfmt::read(hands.level, bytes, place, line.utf8, &mut hands.writer).map(|record| record.shape)
        };
        self.each(|_| false, read, take);
    }

    /// The rows of a table; `names` is the line that names its columns.
    pub(super) fn rows(self, table: &Table, names: Option<&[u8]>, take: impl FnMut(Frame<'_>, Parsed<'_>)) {
        let w3c = table.is_w3c();
        let skip = |line: &[u8]| names == Some(line) || w3c && line.starts_with(b"#");
        let bytes = self.bytes;
        let read = |line: Line<'_>, hands: &mut Hands| {
            let place = (line.at, line.at + line.text.len());
            table.read(hands.level, bytes, place, line.utf8, &mut hands.writer).map(|record| record.shape)
        };
        self.each(skip, read, take);
    }

    /// A table whose columns a line names.
    pub(super) fn headed(
        self,
        columns: Columns,
        tables: &mut Tables,
        take: impl FnMut(Frame<'_>, Parsed<'_>),
    ) {
        let (stand, bytes, behind_heads) = (self.stand, self.bytes, self.heads.is_some());
        let message = |line| message(line, behind_heads);
        let is_names = |line: &&[u8]| match columns {
            Columns::W3c => line.starts_with(b"#Fields:"),
            Columns::Csv | Columns::Tsv => !line.is_empty(),
        };
        // The last line of what is known may be cut.
        let ended = |frame: &Frame<'_>| frame.offset + frame.line.len() < stand.head.len();
        let known = frames(stand.head, 0).filter(ended).map(|frame| message(frame.line)).find(is_names);
        let here = || frames(bytes, stand.start).map(|frame| message(frame.line)).find(is_names);
        let names = known.or_else(|| if stand.start == 0 { here() } else { None });
        match names.map(|names| (names, tables.of(columns, names))) {
            Some((names, Ok(table))) => self.rows(table, Some(names), take),
            _ => {
                self.told.headless = true;
                self.each(|_| false, |_, _| Err(Fault { reason: Reason::Format, column: 1 }), take);
            }
        }
    }
}

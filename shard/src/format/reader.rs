//! Reader: the lines of a chunk, each given to someone as a record or a fault, whatever their format is.
//!
//! Promises: lines of JSON are read as [`crate::parse::Parser`] reads them; what a format skips (blank lines, head lines)
//! is counted. Nothing is allocated per line after warm-up.
//! Must not know: which source a chunk is of, what becomes of records.
use super::behind::{self, Behind};
use super::layout::Hands;
use super::table::{Columns, Table, Tables};
use super::texts::Texts;
use super::{Format, How, auto, marked};
use crate::frame::Frame;
use crate::parse::{Fault, Lines, Parsed, Parser, Reason};
use crate::scan::{self, Simd};
use crate::syslog::head;
use crate::syslog::heads::Heads;

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

/// Where and when a chunk stands in its source.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    /// The source's first bytes, at most [`crate::limits::HEAD_BYTES_MAX`] of them.
    pub head: &'a [u8],
    /// Offset of the chunk's first byte.
    pub start: u64,
    /// When it is read: wall clock, ns since the epoch. A syslog time without a year is of the year nearest to it.
    pub wall: i64,
}

impl<'a> Stand<'a> {
    /// In a source that begins with `head`, at the epoch.
    pub const fn of(head: &'a [u8], start: u64) -> Stand<'a> {
        Stand { head, start, wall: 0 }
    }
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
    heads: Heads,
    behind: Behind,
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
            heads: Heads::default(),
            behind: Behind::default(),
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
        let decided = match &format.how {
            How::Auto => self.decide(stand, bytes, format.behind_heads),
            _ => None,
        };
        let how = if let (How::Auto, Some(how)) = (&format.how, &decided) { how } else { &format.how };
        let mut told = self.lines_of((how, format.behind_heads), stand, bytes, take);
        told.decided = decided.map(|how| how.name());
        told
    }

    /// By the source's first lines; where they say nothing, by those of the chunk.
    fn decide(&mut self, stand: Stand<'_>, bytes: &[u8], behind_heads: bool) -> Option<How> {
        let decided = auto::decide(stand.head, (0, false), behind_heads, &mut self.probe);
        decided.or_else(|| auto::decide(bytes, (stand.start, true), behind_heads, &mut self.probe))
    }

    fn lines_of(
        &mut self,
        (how, behind_heads): (&How, bool),
        stand: Stand<'_>,
        bytes: &[u8],
        mut take: impl FnMut(Frame<'_>, Parsed<'_>),
    ) -> Told {
        let Reader { json, hands, probe, tables, named, heads, behind } = self;
        heads.begin(stand.wall);
        let mut told = Told::default();
        if let How::Auto | How::Json = how {
            let take = |frame: Frame<'_>, parsed: Parsed<'_>| {
                if let Err(Fault { reason: Reason::NotAnObject, .. }) = parsed {
                    told.note_contrary(true, message(frame.line, behind_heads), probe);
                }
                take(frame, parsed);
            };
            told.lines = match behind_heads {
                true => behind::lines((json, heads, behind), (bytes, stand.start), take),
                false => json.lines(bytes, stand.start, take),
            };
            return told;
        }
        let texts =
            Texts { hands, probe, heads: behind_heads.then_some(heads), stand, bytes, told: &mut told };
        match how {
            How::Lines(_, layout) if !behind_heads => {
                told.lines = marked::lines(layout, (bytes, stand.start), hands, |frame, parsed| {
                    if parsed.is_err() {
                        told.note_contrary(false, frame.line, probe);
                    }
                    take(frame, parsed);
                });
            }
            How::Lines(_, layout) => texts.patterns(layout, take),
            How::Logfmt => texts.logfmt(take),
            How::Named(_, columns, names) => {
                let known = named.iter().position(|(of, known, _)| of == columns && known == names);
                let at = known.unwrap_or_else(|| {
                    named.push((*columns, names.clone(), Table::new(*columns, names)));
                    named.len() - 1
                });
                texts.rows(&named[at].2, None, take);
            }
            How::Headed(_, columns) => texts.headed(*columns, tables, take),
            How::Auto | How::Json | How::W3c => texts.headed(Columns::W3c, tables, take),
        }
        told
    }
}

/// A line without its head.
pub(super) fn message(line: &[u8], behind_heads: bool) -> &[u8] {
    match head::read(line) {
        Some(head) if behind_heads => head.message,
        _ => line,
    }
}

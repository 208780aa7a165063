//! Behind: lines of JSON behind syslog heads, as many at once as lines without them.
//!
//! The messages of a run of lines are written one after the other into one text, each with what its head says as its
//! last members; the parser reads that text as it reads any other, and what it finds is given on with the place of the
//! line that it came from. A run of lines without heads is read where it stands.
//!
//! Promises: a line without a head stays byte for byte. A line that is no record has the fault that its message has, at
//! its place in the line. Nothing is allocated per line after warm-up.
//! Must not know: what becomes of records.
use crate::frame::{Frame, bom_bytes, frames};
use crate::limits::{MARKED_BYTES_MAX, PARSE_BYTES_KEPT, SHAPES_MAX};
use crate::parse::{Fault, Lines, Parsed, Parser};
use crate::record::{Member, Record, ShapeId};
use crate::syslog::heads::{Added, Heads, own_names};

/// Buffers for lines behind heads.
#[derive(Default)]
pub(super) struct Behind {
    /// Messages with what their heads add.
    text: Vec<u8>,
    /// Where each line of the text comes from.
    from: Vec<Origin>,
    /// A line that has to be looked at once more.
    again: Again,
}

/// A line of the text.
#[derive(Clone, Copy)]
struct Origin {
    /// Its place in the text.
    at: usize,
    /// Its line's place in the chunk, the length of a byte order mark there, and its own length.
    offset: usize,
    mark: usize,
    len: usize,
    /// Bytes of the line before its message.
    head: usize,
    /// What was added, by name; 0: nothing.
    added: u8,
}

/// Shapes of which is remembered that no name stands twice in them: all that a parser knows at once, mostly.
const SHAPES_KNOWN: usize = 32;
const _: () = assert!(SHAPES_KNOWN > SHAPES_MAX);

/// Looks at single lines again, which is for the few.
#[derive(Default)]
struct Again {
    parser: Parser,
    text: Vec<u8>,
    /// Shapes, and what was added, that had no name twice when they were looked at, each at its number's place.
    apart: [(u64, u8); SHAPES_KNOWN],
}

/// Reads the lines of `bytes`, which stand at `start` in their source, each behind a head or not.
pub(super) fn lines(
    (json, heads, behind): (&mut Parser, &mut Heads, &mut Behind),
    (bytes, start): (&[u8], u64),
    mut take: impl FnMut(Frame<'_>, Parsed<'_>),
) -> Lines {
    let mut lines = Lines::default();
    let mark = bom_bytes(bytes, start);
    let mut at = 0;
    let mut rest = frames(bytes, start).peekable();
    while let Some(frame) = rest.peek() {
        if heads.strip(frame.line).is_none() {
            rest.next();
            continue;
        }
        lines.add(bare(json, (at, frame.offset), (bytes, start), &mut take));
        behind.begin();
        while let Some(frame) = rest.next_if(|frame| behind.has_room(frame.line.len())) {
            let head = heads.strip(frame.line);
            let mark = if frame.offset == 0 { mark } else { 0 };
            behind.push(frame, mark, head.map(|len| (len, heads.added())));
        }
        lines.add(behind.parse(json, bytes, &mut take));
        at = rest.peek().map_or(bytes.len(), |next| next.offset);
    }
    lines.add(bare(json, (at, bytes.len()), (bytes, start), &mut take));
    lines
}

/// Reads the lines `from..to`, none of which has a head.
fn bare(
    json: &mut Parser,
    (from, to): (usize, usize),
    (bytes, start): (&[u8], u64),
    take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
) -> Lines {
    json.lines(&bytes[from..to], start + from as u64, |frame, parsed| {
        take(Frame { offset: from + frame.offset, ..frame }, parsed);
    })
}

impl Behind {
    fn begin(&mut self) {
        if self.text.capacity() > PARSE_BYTES_KEPT {
            self.text = Vec::new();
        }
        self.text.clear();
        self.from.clear();
    }

    /// Whether a line of this length belongs to the same text: what is parsed at once stays in L2.
    fn has_room(&self, len: usize) -> bool {
        self.text.is_empty() || self.text.len() + len < MARKED_BYTES_MAX
    }

    /// Appends a line's message, with what its head adds when it may be an object.
    #[inline]
    fn push(&mut self, frame: Frame<'_>, mark: usize, head: Option<(usize, &Added)>) {
        let (at, len) = (self.text.len(), frame.line.len());
        let mut origin = Origin { at, offset: frame.offset, mark, len, head: 0, added: 0 };
        let (skipped, added) = head.map_or((0, None), |(len, added)| (len, Some(added)));
        let message = &frame.line[skipped..];
        origin.head = skipped;
        match added.filter(|added| added.mask() != 0).and_then(|added| Some((added, open_object(message)?))) {
            Some((added, open)) => {
                self.text.extend_from_slice(open);
                // An empty object needs no comma.
                let comma = usize::from(open.trim_ascii() == b"{");
                self.text.extend_from_slice(&added.text()[comma..]);
                self.text.extend_from_slice(b"}\n");
                origin.added = added.mask();
            }
            None => {
                self.text.extend_from_slice(message);
                // One carriage return goes with a line's end; this one had another.
                self.text.extend_from_slice(if message.ends_with(b"\r") { b"\r\n" } else { b"\n" });
            }
        }
        self.from.push(origin);
    }

    fn parse(
        &mut self,
        json: &mut Parser,
        bytes: &[u8],
        take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
    ) -> Lines {
        let Behind { text, from, again } = self;
        let mut from = from.iter();
        // Not at a source's start: a mark there is gone.
        json.lines(text, 1, |frame, parsed| {
            let origin = from.find(|origin| origin.at == frame.offset);
            let origin = origin.expect("INVARIANT: every line of the text was pushed");
            let start = origin.offset + origin.mark;
            let line = &bytes[start..start + origin.len];
            let given = Frame { offset: origin.offset, line };
            match parsed {
                Ok(record) if origin.added == 0 || again.is_apart(&record, origin.added) => {
                    take(given, Ok(record));
                }
                Ok(record) => take(given, again.without_own(&record, origin.added)),
                Err(fault) if origin.added == 0 => take(given, Err(behind(fault, origin.head))),
                Err(_) => take(given, again.message(line, origin.head)),
            }
        })
    }
}

impl Again {
    /// Whether a record has none of the names itself that were added.
    #[inline]
    fn is_apart(&mut self, record: &Record<'_>, added: u8) -> bool {
        let known = &mut self.apart[record.shape.0 as usize % SHAPES_KNOWN];
        let here = (record.shape.0, added);
        if *known == here && record.shape != ShapeId::UNKNOWN {
            return true;
        }
        let apart = own(record, added) == 0;
        if apart {
            *known = here;
        }
        apart
    }

    /// The record without what was added under names that it has itself.
    #[cold]
    fn without_own<'a>(&'a mut self, record: &Record<'_>, added: u8) -> Parsed<'a> {
        let own = own(record, added);
        let (_, tail) = record.members.split_at(record.members.len() - added.count_ones() as usize);
        let before = |member: &Member| member.key.start as usize - 2;
        self.text.clear();
        self.text.extend_from_slice(&record.text[..tail.first().map_or(0, before)]);
        for member in tail {
            if own_names(record.text, std::slice::from_ref(member)) & own == 0 {
                self.text.extend_from_slice(&record.text[before(member)..member.value.end as usize]);
            }
        }
        self.text.push(b'}');
        let again = self.parser.parse(&self.text)?;
        Ok(Record { repairs: record.repairs, ..unknown(again) })
    }

    /// What a message is without what was added to it.
    #[cold]
    fn message<'a>(&'a mut self, line: &'a [u8], head: usize) -> Parsed<'a> {
        self.parser.parse(&line[head..]).map(unknown).map_err(|fault| behind(fault, head))
    }
}

/// Of the names that were added, those that a record has itself.
fn own(record: &Record<'_>, added: u8) -> u8 {
    let members = &record.members[..record.members.len() - added.count_ones() as usize];
    own_names(record.text, members) & added
}

/// Another parser's ids mean nothing here.
fn unknown(record: Record<'_>) -> Record<'_> {
    Record { shape: ShapeId::UNKNOWN, ..record }
}

/// A fault of a message, in its line.
pub(super) fn behind(fault: Fault, head: usize) -> Fault {
    Fault { column: fault.column + head as u32, ..fault }
}

/// A message that may be an object, without its last brace.
fn open_object(message: &[u8]) -> Option<&[u8]> {
    let begins = message.first() == Some(&b'{') || message.trim_ascii_start().starts_with(b"{");
    if begins { message.trim_ascii_end().strip_suffix(b"}") } else { None }
}

//! Layout: the ways in which lines of one format may be written, each compiled with the keys of its records.
//!
//! Promises: records of one pattern have one shape, whose id no other pattern or parser of this process has.
//! Must not know: files, which lines come first.
use super::field::{Escape, Kind, Piece};
use super::pattern::{Found, Pattern};
use super::search::Search;
use super::straight::{Line, Read, Straight};
use super::write::{Key, REQUEST_PARTS, Raw, Writer};
use crate::parse::{Fault, Reason};
use crate::record::{Record, ShapeId};
use crate::scan::{Marks, Simd, widest};
use crate::syslog::head;
use crate::syslog::heads::NAMES;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ids of text formats' shapes begin here: a parser of JSON counts from 1.
const FIRST_SHAPE: u64 = 1 << 63;

/// Shapes that a shape becomes with what syslog heads may add.
const SHAPES_BEHIND_HEADS: u64 = 1 << NAMES.len();

/// A shape's id that nobody has, nor those that follow for what heads may add.
pub(super) fn new_shape() -> ShapeId {
    static NEXT: AtomicU64 = AtomicU64::new(FIRST_SHAPE);
    ShapeId(NEXT.fetch_add(SHAPES_BEHIND_HEADS, Ordering::Relaxed))
}

/// What may stand before a line's first byte of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// Nothing.
    Nothing,
    /// A syslog head, or nothing: HAProxy knows no other way to a file.
    Syslog,
}

/// The patterns of one format, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct Layout {
    lead: Lead,
    ways: Box<[OneWay]>,
}

#[derive(Clone, Debug)]
struct OneWay {
    pattern: Pattern,
    shape: ShapeId,
    keys: Box<[Keys]>,
    straight: Option<Straight>,
}

/// The keys of a field.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) own: Key,
    /// Of the parts of a request, unless the format has them itself.
    pub(super) parts: Option<Box<[Key; 3]>>,
}

impl Keys {
    /// What they, and what stands around their values, take at most.
    pub(super) fn bytes(&self) -> usize {
        const AROUND: usize = "null".len();
        let own = self.own.len() + AROUND;
        self.parts.iter().flat_map(|parts| parts.iter()).fold(own, |sum, key| sum + key.len() + AROUND)
    }
}

/// Buffers for reading lines.
#[derive(Debug)]
pub(super) struct Hands {
    /// The vector instructions that may be used.
    pub(super) level: Simd,
    found: Vec<Found>,
    search: Search,
    pub(super) writer: Writer,
    pub(super) marks: Option<Box<Marks>>,
    /// The way that fitted last.
    likely: usize,
}

impl Hands {
    /// Empty ones.
    pub(super) fn new(level: Simd) -> Hands {
        let (search, writer) = (Search::default(), Writer::default());
        Hands { level, found: Vec::new(), search, writer, marks: None, likely: 0 }
    }
}

impl Layout {
    /// Compiles the ways of a format.
    ///
    /// # Errors
    /// The mistakes of the first one that has some.
    pub(super) fn new(lead: Lead, ways: Vec<Vec<Piece>>) -> Result<Layout, String> {
        let ways: Result<Box<[OneWay]>, String> = ways.into_iter().map(OneWay::new).collect();
        Ok(Layout { lead, ways: ways? })
    }

    /// Makes a record of the line `start..end` of `text`, which is UTF-8 or not.
    ///
    /// # Errors
    /// It is not of this format.
    #[inline]
    pub(super) fn read<'h>(
        &self,
        text: &[u8],
        (start, end): (usize, usize),
        utf8: bool,
        hands: &'h mut Hands,
    ) -> Result<Record<'h>, Fault> {
        let led = start + self.lead.len(&text[start..end]);
        let likely = self.likely(hands);
        let order = || std::iter::once(likely).chain((0..self.ways.len()).filter(|way| *way != likely));
        let mut shows = start;
        for at in order() {
            match self.ways[at].pattern.quick(text, (led, end), &mut hands.found) {
                Ok(()) => {
                    hands.likely = at;
                    return Ok(self.ways[at].write(text, utf8, &hands.found, &mut hands.writer));
                }
                Err(at) => shows = shows.max(at),
            }
        }
        for at in order() {
            if hands.search.find(&self.ways[at].pattern, &text[..end], led, &mut hands.found) {
                return Ok(self.ways[at].write(text, utf8, &hands.found, &mut hands.writer));
            }
        }
        Err(Fault { reason: Reason::Format, column: (shows - start) as u32 + 1 })
    }

    /// Where a line can be of one way only, the way of the line before it is the likeliest.
    #[inline]
    fn likely(&self, hands: &Hands) -> usize {
        if self.lead == Lead::Syslog { hands.likely.min(self.ways.len() - 1) } else { 0 }
    }

    /// How many marks the likeliest way's lines have before their end; none: it cannot read by marks.
    #[inline]
    pub(super) fn likely_marks(&self, hands: &Hands) -> Option<usize> {
        self.ways[self.likely(hands)].straight.as_ref().map(Straight::marks)
    }

    /// Makes a record of a line by its marks, the likeliest way; false: the line is not for that.
    #[inline]
    pub(super) fn straight(&self, line: Line<'_>, hands: &mut Hands) -> bool {
        let OneWay { pattern, keys, straight, .. } = &self.ways[self.likely(hands)];
        let Some(straight) = straight else { return false };
        let lead = self.lead.len(&line.text[..line.len]);
        let line = Line { text: &line.text[lead..], start: line.start + lead, len: line.len - lead, ..line };
        widest(hands.level, Read { straight, pattern, keys, line, writer: &mut hands.writer })
    }

    /// The record that [`Layout::straight`] has made.
    #[inline]
    pub(super) fn written<'h>(&self, hands: &'h mut Hands) -> Record<'h> {
        let shape = self.ways[self.likely(hands)].shape;
        hands.writer.end(shape)
    }

    /// The fields' names, of all ways; an operator may ask for them.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for slot in self.ways.iter().flat_map(|way| way.pattern.slots.iter()) {
            if !names.contains(&slot.field.name.as_str()) {
                names.push(&slot.field.name);
            }
        }
        names
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.ways.iter().map(|way| &way.pattern)
    }
}

impl OneWay {
    fn new(pieces: Vec<Piece>) -> Result<OneWay, String> {
        let pattern = Pattern::new(pieces)?;
        let taken = |name: &str| pattern.slots.iter().any(|slot| slot.field.name == name);
        let first = match REQUEST_PARTS.iter().any(|part| taken(part)) {
            true => None,
            false => pattern.slots.iter().position(|slot| slot.field.kind == Kind::Request),
        };
        let keys = pattern.slots.iter().enumerate().map(|(at, slot)| Keys {
            own: Key::new(&slot.field.name, at == 0),
            parts: (first == Some(at)).then(|| Box::new(REQUEST_PARTS.map(|part| Key::new(part, false)))),
        });
        let keys: Box<[Keys]> = keys.collect();
        let straight = Straight::new(&pattern, &keys);
        Ok(OneWay { keys, shape: new_shape(), pattern, straight })
    }

    #[inline]
    fn write<'h>(&self, text: &[u8], utf8: bool, found: &[Found], writer: &'h mut Writer) -> Record<'h> {
        writer.begin();
        for ((slot, keys), found) in self.pattern.slots.iter().zip(&self.keys).zip(found) {
            let field = &slot.field;
            let Found { start, end, plain } = *found;
            let hashed = field.escape == Escape::Hash && text[start..end].contains(&b'#');
            let raw = Raw { text, start, end, plain: plain && utf8 && !hashed };
            writer.value(&keys.own, field, raw);
            if let Some(parts) = &keys.parts {
                writer.request_parts(parts, raw, field.escape);
            }
        }
        writer.end(self.shape)
    }
}

impl Lead {
    /// How many bytes of the line belong to it.
    #[inline]
    fn len(self, line: &[u8]) -> usize {
        match self {
            Lead::Nothing => 0,
            Lead::Syslog => head::read(line).map_or(0, |head| line.len() - head.message.len()),
        }
    }
}

//! Pattern: a format of literals and fields in turn, compiled; finds the fields of a line.
//!
//! What a line means: literals and values follow one another from its first byte to its last; each value is as short as
//! the rest of the line lets it be, the first values first. A value in quotes ends at the first quote that its server
//! did not escape; words have no spaces, times look like times. The quick way takes the first end of each value; where
//! that leads nowhere, [`super::search`] looks for another.
//!
//! Promises: time in proportion to the line, or to a fixed bound where it has to be searched; nothing is allocated once
//! the buffers have grown.
//! Must not know: JSON, what becomes of values.
use super::field::{Escape, Field, Piece};
use super::search::Search;
use crate::scan::field_stop;

/// A compiled format.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) head: Box<[u8]>,
    pub(super) slots: Box<[Slot]>,
}

/// A field, and what follows it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) field: Field,
    /// The bytes behind it; none behind the last one of some formats.
    pub(super) literal: Box<[u8]>,
    /// The literal's first byte; a line end behind the last field.
    first: u8,
    /// Values have no space.
    spaceless: bool,
    /// Values have to be asked for bytes that they cannot have.
    pub(super) asked: bool,
    /// Ends at the first quote that is not escaped.
    pub(super) quoted: bool,
}

/// Where a value stands in its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its first byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
    /// Nothing in it has to be escaped or unescaped.
    pub plain: bool,
}

impl Pattern {
    /// Compiles the pieces of a format.
    ///
    /// # Errors
    /// All mistakes, each with its place and the remedy.
    pub fn new(pieces: Vec<Piece>) -> Result<Pattern, String> {
        let (mut head, mut slots, mut wrong) = (Vec::new(), Vec::<Slot>::new(), Vec::new());
        let mut apart = true;
        for piece in pieces {
            match (piece, slots.last_mut()) {
                (Piece::Literal(bytes), None) => head.extend(bytes),
                (Piece::Literal(bytes), Some(slot)) => {
                    slot.literal = [&slot.literal, &bytes[..]].concat().into();
                    apart = true;
                }
                (Piece::Field(field), before) => {
                    if let (false, Some(before)) = (apart, before) {
                        let (a, b) = (&before.field.spelled, &field.spelled);
                        wrong.push(format!(
                            "has {a}{b}, which have nothing between them and cannot be told apart: write a space or \
                             quotes between them in the server's configuration, too"
                        ));
                    }
                    slots.push(Slot {
                        field,
                        literal: Box::default(),
                        first: b'\n',
                        spaceless: false,
                        asked: false,
                        quoted: false,
                    });
                    apart = false;
                }
            }
        }
        if slots.is_empty() {
            wrong.push("has no field: nothing of a line would be kept".to_owned());
        }
        let ends = slots.iter().flat_map(|slot| slot.literal.iter()).chain(&head).any(|byte| *byte == b'\n');
        if ends {
            wrong.push("has a line end in it: a record is one line".to_owned());
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        slots.iter_mut().for_each(Slot::complete);
        name_apart(&mut slots);
        Ok(Pattern { head: head.into(), slots: slots.into() })
    }

    /// The values of a line, without anything reused: for tests, and for whoever looks at one line.
    pub fn values<'l>(&self, line: &'l [u8]) -> Option<Vec<&'l [u8]>> {
        let mut found = Vec::new();
        let fits = self.quick(line, (0, line.len()), &mut found).is_ok()
            || Search::default().find(self, line, 0, &mut found);
        fits.then(|| found.iter().map(|value| &line[value.start..value.end]).collect())
    }

    /// Finds the values of the line `start..end` of `text`, which ends there or goes on with a line end: each ends as
    /// early as it can. An error is the place where it shows that the line is not so.
    #[inline]
    pub(super) fn quick(
        &self,
        text: &[u8],
        (start, end): (usize, usize),
        found: &mut Vec<Found>,
    ) -> Result<(), usize> {
        found.clear();
        if !text[start..end].starts_with(&self.head) {
            let same = self.head.iter().zip(&text[start..end]).take_while(|(a, b)| a == b).count();
            return Err(start + same);
        }
        let mut at = start + self.head.len();
        for slot in &self.slots {
            let value = slot.first_end(text, slot.begin(text, at, end), end)?;
            at = value.end + slot.literal.len();
            found.push(value);
        }
        if at == end { Ok(()) } else { Err(at) }
    }
}

impl Slot {
    fn complete(&mut self) {
        self.first = self.literal.first().copied().unwrap_or(b'\n');
        self.spaceless = self.field.kind.has_no_space();
        self.asked = self.field.kind.is_asked(&self.literal);
        self.quoted = self.first == b'"' && matches!(self.field.escape, Escape::C | Escape::Json);
    }

    /// Where the value begins.
    #[inline]
    pub(super) fn begin(&self, text: &[u8], at: usize, end: usize) -> usize {
        if !self.field.padded {
            return at;
        }
        at + text[at..end].iter().take_while(|byte| **byte == b' ').count()
    }

    /// The shortest value that begins at `from`; where it shows that there is none.
    #[inline]
    fn first_end(&self, text: &[u8], from: usize, end: usize) -> Result<Found, usize> {
        let (mut at, mut plain) = (from, true);
        loop {
            at = field_stop(text, at, self.first);
            if at >= end {
                // Only the last value of a line may end with it.
                return if self.literal.is_empty() { self.checked(text, from, end, plain) } else { Err(end) };
            }
            let byte = text[at];
            if byte == self.first && self.stands_at(text, at, end) {
                return self.checked(text, from, at, plain);
            }
            match byte {
                b'"' if self.quoted => return Err(at),
                b'\\' if self.quoted => at += 1,
                b' ' if self.spaceless => return Err(at),
                _ => {}
            }
            plain &= byte == self.first && !matches!(byte, b'"' | b'\\' | 0..0x20);
            at += 1;
        }
    }

    /// Whether the literal stands at `at`, where its first byte does.
    #[inline(always)]
    fn stands_at(&self, text: &[u8], at: usize, end: usize) -> bool {
        match self.literal.len() {
            0 => false,
            1 => true,
            2 => at + 1 < end && text[at + 1] == self.literal[1],
            _ => text[at..end].starts_with(&self.literal),
        }
    }

    #[inline]
    fn checked(&self, text: &[u8], start: usize, end: usize, plain: bool) -> Result<Found, usize> {
        match self.asked.then(|| self.field.kind.intruder(&text[start..end])).flatten() {
            None => Ok(Found { start, end, plain }),
            Some(at) => Err(start + at),
        }
    }
}

/// A field that stands twice in a format gets a number behind its name: a record has no key twice.
fn name_apart(slots: &mut [Slot]) {
    for at in 1..slots.len() {
        let (before, rest) = slots.split_at_mut(at);
        let taken = |name: &str| before.iter().any(|slot| slot.field.name == name);
        let name = rest[0].field.name.clone();
        let mut number = 1;
        while taken(&rest[0].field.name) {
            number += 1;
            rest[0].field.name = format!("{name}_{number}");
        }
    }
}

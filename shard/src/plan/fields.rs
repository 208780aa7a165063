//! Field names that filters and routes ask for: what each means in a record, found once per shape for all of them.
//!
//! Promises: a name means what it means in a job's output (`path`). Names that nobody asks for in a record cost nothing
//! there; nothing is allocated once each shape's row has been filled.
//! Must not know: who asks, and why.
use super::filter::text::decoded;
use super::path::{Found, find, walk};
use crate::limits::SHAPES_MAX;
use crate::record::{Member, Record, ShapeId, ValueKind};
use std::cell::Cell;
use std::collections::HashMap;

/// One interned name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldSlot(u32);

/// The names, and what they mean in records of the shapes seen last.
pub struct FieldTable {
    names: Vec<Box<str>>,
    slots: HashMap<Box<str>, FieldSlot>,
    /// The first is for records whose shape is not known; the others are overwritten in turn.
    known: Vec<Known>,
    next: usize,
    last: usize,
    /// Texts with escapes are decoded into it.
    buffer: Cell<Vec<u8>>,
}

struct Known {
    shape: ShapeId,
    /// By slot; `None` = not asked yet.
    found: Vec<Cell<Option<Found>>>,
}

impl std::fmt::Debug for FieldTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldTable").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Default for FieldTable {
    fn default() -> FieldTable {
        FieldTable::new()
    }
}

impl FieldTable {
    /// A table without names.
    pub fn new() -> FieldTable {
        let known = |_| Known { shape: ShapeId::UNKNOWN, found: Vec::new() };
        FieldTable {
            names: Vec::new(),
            slots: HashMap::new(),
            known: (0..SHAPES_MAX + 2).map(known).collect(),
            next: 1,
            last: 0,
            buffer: Cell::new(Vec::new()),
        }
    }

    /// The slot of a name; equal names have one.
    pub fn intern(&mut self, name: &str) -> FieldSlot {
        if let Some(&slot) = self.slots.get(name) {
            return slot;
        }
        let slot = FieldSlot(self.names.len() as u32);
        self.names.push(name.into());
        self.slots.insert(name.into(), slot);
        for known in &mut self.known {
            known.shape = ShapeId::UNKNOWN;
        }
        slot
    }

    /// A record, to be asked for fields. All records of a table come from one parser: shapes are told apart by its ids.
    pub fn resolve<'a>(&'a mut self, record: &'a Record<'a>) -> Resolved<'a> {
        let index = self.row(record.shape);
        self.last = index;
        Resolved { record, names: &self.names, found: &self.known[index].found, buffer: &self.buffer }
    }

    /// The row of a shape, empty when the shape is new here.
    fn row(&mut self, shape: ShapeId) -> usize {
        if shape != ShapeId::UNKNOWN {
            if self.known[self.last].shape == shape {
                return self.last;
            }
            if let Some(index) = self.known.iter().position(|known| known.shape == shape) {
                return index;
            }
        }
        let index = if shape == ShapeId::UNKNOWN { 0 } else { self.next };
        if index == self.next {
            self.next = 1 + self.next % (self.known.len() - 1);
        }
        if self.known[index].found.capacity() < self.names.len() {
            // All rows at once, so that a rare shape does not allocate late.
            for known in &mut self.known {
                known.found.reserve_exact(self.names.len() - known.found.len());
            }
        }
        let known = &mut self.known[index];
        known.shape = shape;
        known.found.clear();
        known.found.resize(self.names.len(), Cell::new(None));
        index
    }
}

/// A record whose fields can be asked for by slot.
#[derive(Clone, Copy)]
pub struct Resolved<'a> {
    record: &'a Record<'a>,
    names: &'a [Box<str>],
    found: &'a [Cell<Option<Found>>],
    buffer: &'a Cell<Vec<u8>>,
}

impl<'a> Resolved<'a> {
    /// The member that a slot's name means, or the value below one; `None`: it is not there, or it is `null`.
    pub fn get(&self, slot: FieldSlot) -> Option<Member> {
        let index = slot.0 as usize;
        let found = self.found[index].get().unwrap_or_else(|| {
            let found = find(self.record, &self.names[index]);
            self.found[index].set(Some(found));
            found
        });
        let member = match found {
            Found::Nothing => return None,
            Found::Member(at) => self.record.members[at as usize],
            Found::Below(at) => walk(self.record.text, self.record.members[at as usize], &self.names[index])?,
        };
        (member.kind != ValueKind::Null).then_some(member)
    }

    /// The record's text.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.record.text
    }

    /// Calls `ask` with a string member's decoded text, or with any other value's bytes as they stand.
    #[inline]
    pub(crate) fn with_value<T>(&self, member: Member, ask: impl FnOnce(&[u8]) -> T) -> T {
        let raw = member.value.of(self.record.text);
        if member.kind != ValueKind::String {
            return ask(raw);
        }
        let mut buffer = self.buffer.take();
        let answer = ask(decoded(&raw[1..raw.len() - 1], &mut buffer));
        self.buffer.set(buffer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Parser;

    fn value(table: &mut FieldTable, parser: &mut Parser, line: &str, name: &str) -> Option<String> {
        let slot = table.intern(name);
        let record = parser.parse(line.as_bytes()).expect("a record");
        let resolved = table.resolve(&record);
        let member = resolved.get(slot)?;
        Some(resolved.with_value(member, |value| String::from_utf8_lossy(value).into_owned()))
    }

    #[test]
    fn names_mean_what_they_mean_in_outputs() {
        let (mut table, mut parser) = (FieldTable::new(), Parser::new());
        let mut ask = |line: &str, name: &str| value(&mut table, &mut parser, line, name);
        let line = r#"{"a.b":1,"a":{"b":2,"c":["x","\u0079"]},"n":null,"d":1,"d":2}"#;
        for _ in 0..3 {
            assert_eq!(ask(line, "a.b").as_deref(), Some("1"));
            assert_eq!(ask(line, "a.c.1").as_deref(), Some("y"));
            assert_eq!(ask(line, "d").as_deref(), Some("2"));
            assert_eq!(ask(line, "n"), None);
            assert_eq!(ask(line, "a.x"), None);
            assert_eq!(ask(line, "x"), None);
            assert_eq!(ask(r#"{"x":{"b":1}}"#, "x.b").as_deref(), Some("1"));
        }
    }

    #[test]
    fn shapes_beyond_the_table_push_one_another_out() {
        let (mut table, mut parser) = (FieldTable::new(), Parser::new());
        for round in 0..3 {
            for shape in 0..40 {
                let line = format!(r#"{{"k{shape}":0,"x":{round}}}"#);
                assert_eq!(value(&mut table, &mut parser, &line, "x"), Some(round.to_string()));
                let key = format!("k{}", 39 - shape);
                assert_eq!(value(&mut table, &mut parser, &line, &key).is_some(), shape * 2 == 39);
            }
        }
    }
}

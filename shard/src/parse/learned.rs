//! The learned way: lines of one server have the same keys in the same order, so what stands between the values is
//! compared with an earlier line instead of being discovered.
//!
//! A **shape** is the bytes between the values of a valid line: one *piece* before each value, one after the last.
//! Pieces come from lines that the strict scanner accepted, and values are scanned by the strict scanner's own
//! functions: a line that matches is valid, and its members are those that the strict scanner would find.
//!
//! Promises: memory is bounded (limits `SHAPES_MAX`, `SHAPE_*_MAX`) and reused; a shape's id is never given again.
//! Must not know: types beyond a value's first byte, repairs, UTF-8.
use super::strict::value_end;
use super::template::{Candidate, Template};
use crate::limits::{SHAPE_BYTES_MAX, SHAPE_MEMBERS_MAX, SHAPES_MAX};
use crate::record::{Member, ShapeId, Span, ValueKind};
use crate::scan::{Simd, differences, string_stop};

const _: () = assert!(SHAPES_MAX <= 32, "shapes are bits of a u32");

/// Bytes that are compared at once.
const BLOCK: usize = 32;

/// The bytes before a value, or after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Where it stands in the shape's bytes.
    bytes: Span,
    /// Where the key stands in the piece.
    key: Span,
    /// Whether a string follows: what a job's record looks like depends on it.
    string: bool,
}

struct Shape {
    id: ShapeId,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    template: Template,
    /// For each shape of the parser, how many leading pieces are equal.
    shared: [usize; SHAPES_MAX],
    /// When it was last met, in lines that changed the shape.
    met: u64,
}

/// The shapes that a parser remembers.
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    latest: usize,
    clock: u64,
    ids: u64,
}

impl Shapes {
    pub(super) fn new() -> Shapes {
        Shapes { shapes: Vec::with_capacity(SHAPES_MAX), latest: 0, clock: 0, ids: 0 }
    }

    /// Compares a line, which is UTF-8, with the shapes. When one fits, its members are left in `members`.
    #[inline]
    pub(super) fn compare(&mut self, text: &[u8], members: &mut Vec<Member>) -> Option<ShapeId> {
        members.clear();
        let mut shape = self.shapes.get(self.latest)?;
        if shape.walk(text, 0, members) {
            return Some(shape.id);
        }
        let mut index = self.latest;
        let mut tried = 1u32 << index;
        loop {
            // The pieces that were met are kept: only a shape that differs in exactly the next one can fit.
            let met = members.len();
            let fits = |&other: &usize| tried >> other & 1 == 0 && shape.shared[other] == met;
            index = (0..self.shapes.len()).find(fits)?;
            tried |= 1 << index;
            shape = &self.shapes[index];
            let from = members.last().map_or(0, |member| member.value.end as usize);
            if shape.walk(text, from, members) {
                let id = shape.id;
                self.meet(index);
                return Some(id);
            }
        }
    }

    /// Compares a line, which has `marks` marks before its end, with the template of the shape that was met last, or
    /// with those of all. As [`Shapes::compare`], but for UTF-8 and what strings hold: that is for the caller to look at.
    #[inline]
    pub(super) fn compare_marked(
        &mut self,
        level: Simd,
        line: Candidate<'_>,
        marks: usize,
        latest: bool,
        members: &mut Vec<Member>,
    ) -> Option<(ShapeId, &Template)> {
        let fits = |shape: &Shape, members: &mut Vec<Member>| {
            shape.template.marks() == marks && shape.template.fits(level, line, members)
        };
        if !latest {
            let index = (0..self.shapes.len()).find(|&other| fits(&self.shapes[other], members))?;
            self.meet(index);
        } else if !fits(self.shapes.get(self.latest)?, members) {
            return None;
        }
        let shape = &self.shapes[self.latest];
        Some((shape.id, &shape.template))
    }

    /// How many marks a line of the latest shape has before its end.
    #[inline]
    pub(super) fn latest_marks(&self) -> usize {
        self.shapes.get(self.latest).map_or(usize::MAX, |shape| shape.template.marks())
    }

    /// The shape of a valid line that was scanned: a known one, or a new one in the place of the one that was not met
    /// for longest.
    pub(super) fn learn(&mut self, text: &[u8], members: &[Member]) -> ShapeId {
        if let Some(index) = self.shapes.iter().position(|shape| shape.is_of(text, members)) {
            self.meet(index);
            return self.shapes[index].id;
        }
        let between: usize = text.len() - members.iter().map(|member| member.value.len()).sum::<usize>();
        if members.len() > SHAPE_MEMBERS_MAX || between > SHAPE_BYTES_MAX {
            return ShapeId::UNKNOWN;
        }
        let index = self.vacate();
        self.ids += 1;
        self.shapes[index].become_shape_of(text, members, ShapeId(self.ids));
        self.share(index);
        self.meet(index);
        ShapeId(self.ids)
    }

    fn meet(&mut self, index: usize) {
        self.clock += 1;
        self.shapes[index].met = self.clock;
        self.latest = index;
    }

    /// A place for a new shape.
    fn vacate(&mut self) -> usize {
        if self.shapes.len() < SHAPES_MAX {
            let (bytes, pieces) = (Vec::new(), Vec::new());
            let (id, template) = (ShapeId::UNKNOWN, Template::new());
            self.shapes.push(Shape { id, bytes, pieces, template, shared: [0; SHAPES_MAX], met: 0 });
            return self.shapes.len() - 1;
        }
        let oldest = (0..self.shapes.len()).min_by_key(|&index| self.shapes[index].met);
        oldest.expect("INVARIANT: SHAPES_MAX is not 0")
    }

    /// Counts anew how many leading pieces the shape at `index` has in common with each other one.
    fn share(&mut self, index: usize) {
        for other in 0..self.shapes.len() {
            let shared = self.shapes[index].shares(&self.shapes[other]);
            self.shapes[index].shared[other] = shared;
            self.shapes[other].shared[index] = shared;
        }
    }
}

/// As the strict scanner's [`value_end`]; a string without escapes, which most values are, takes no detour.
#[inline]
fn learned_value(text: &[u8], from: usize) -> Option<(usize, ValueKind)> {
    if text.get(from) == Some(&b'"') {
        let stop = string_stop(text, from + 1);
        if text.get(stop) == Some(&b'"') {
            return Some((stop + 1, ValueKind::String));
        }
    }
    value_end(text, from, 1).ok()
}

impl Shape {
    /// Walks on through a line from `at`, which is after the last value of `members`. True when the rest fits.
    #[inline]
    fn walk(&self, text: &[u8], mut at: usize, members: &mut Vec<Member>) -> bool {
        let Some((last, before)) = self.pieces.split_last() else { return false };
        let Some(pieces) = before.get(members.len()..) else { return false };
        members.reserve(pieces.len());
        for piece in pieces {
            let from = at + piece.bytes.len();
            if !self.stands_at(text, at, piece.bytes) {
                return false;
            }
            let Some((to, kind)) = learned_value(text, from) else { return false };
            if piece.string != (kind == ValueKind::String) {
                return false;
            }
            let key = Span { start: at as u32 + piece.key.start, end: at as u32 + piece.key.end };
            members.push(Member { key, value: Span::new(from, to), kind });
            at = to;
        }
        &text[at..] == last.bytes.of(&self.bytes)
    }

    /// Whether a piece stands at `at`. A block of fixed size is compared where the line goes on that far: a call of
    /// `memcmp` costs more than it compares.
    #[inline]
    fn stands_at(&self, text: &[u8], at: usize, piece: Span) -> bool {
        let found = text.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>);
        let wanted = self.bytes.get(piece.start as usize..).and_then(<[u8]>::first_chunk::<BLOCK>);
        match (found, wanted) {
            (Some(found), Some(wanted)) if piece.len() <= BLOCK => {
                // Shifts out what lies behind the piece; an empty piece would shift out too much, and cannot be.
                differences(found, wanted) << (BLOCK - piece.len()) == 0
            }
            _ => text[at..].starts_with(piece.of(&self.bytes)),
        }
    }

    /// Whether a scanned line has this shape.
    fn is_of(&self, text: &[u8], members: &[Member]) -> bool {
        let Some((last, before)) = self.pieces.split_last() else { return false };
        let mut at = 0;
        before.len() == members.len()
            && before.iter().zip(members).all(|(piece, member)| {
                let found = &text[at..member.value.start as usize];
                at = member.value.end as usize;
                found == piece.bytes.of(&self.bytes) && piece.string == (member.kind == ValueKind::String)
            })
            && &text[at..] == last.bytes.of(&self.bytes)
    }

    fn become_shape_of(&mut self, text: &[u8], members: &[Member], id: ShapeId) {
        self.id = id;
        self.bytes.clear();
        self.pieces.clear();
        let mut at = 0;
        for member in members {
            let key = Span { start: member.key.start - at, end: member.key.end - at };
            let string = member.kind == ValueKind::String;
            self.push_piece(&text[at as usize..member.value.start as usize], key, string);
            at = member.value.end;
        }
        self.push_piece(&text[at as usize..], Span::default(), false);
        // The last pieces are compared by blocks too.
        self.bytes.resize(self.bytes.len() + BLOCK, 0);
        self.template.become_of(text, members);
    }

    fn push_piece(&mut self, bytes: &[u8], key: Span, string: bool) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.pieces.push(Piece { bytes: Span::new(start, self.bytes.len()), key, string });
    }

    /// How many leading pieces that stand before a value are equal.
    fn shares(&self, other: &Shape) -> usize {
        let before = |shape: &Shape| shape.pieces.len().saturating_sub(1);
        let mut both = self.pieces.iter().zip(&other.pieces).take(before(self).min(before(other)));
        both.position(|(a, b)| a.bytes.of(&self.bytes) != b.bytes.of(&other.bytes) || a.string != b.string)
            .unwrap_or(before(self).min(before(other)))
    }
}

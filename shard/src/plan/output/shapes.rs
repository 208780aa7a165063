//! Shapes: what was found out once for all records of a shape.
//!
//! Promises: records whose shape is not known are looked at each time. Nothing is allocated once every slot was used.
//! Must not know: what was found out.
use crate::limits::SHAPES_MAX;
use crate::record::{Record, ShapeId};

pub(super) struct Shapes<T> {
    known: Vec<(ShapeId, Vec<T>)>,
    /// Slots are overwritten in turn.
    next: usize,
}

impl<T> Shapes<T> {
    /// With room for `count` findings a shape.
    pub(super) fn new(count: usize) -> Shapes<T> {
        let slot = |_| (ShapeId::UNKNOWN, Vec::with_capacity(count));
        Shapes { known: (0..SHAPES_MAX + 1).map(slot).collect(), next: 0 }
    }

    /// What is known of a record's shape, or what `find` finds out.
    #[inline]
    pub(super) fn of(&mut self, record: &Record<'_>, find: impl FnOnce(&mut Vec<T>)) -> &[T] {
        let known = self.known.iter().position(|known| known.0 == record.shape);
        let index = match known {
            Some(index) if record.shape != ShapeId::UNKNOWN => index,
            _ => {
                let index = self.next;
                self.next = (self.next + 1) % self.known.len();
                let (shape, found) = &mut self.known[index];
                *shape = record.shape;
                found.clear();
                find(found);
                index
            }
        };
        &self.known[index].1
    }
}

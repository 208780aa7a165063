//! Search: the values of a line whose first ends lead nowhere, because a value has in it what should follow it.
//!
//! Promises: finds what the quick way of [`super::pattern`] would find, and where that finds nothing the next best; what
//! was tried in vain from one place is not tried from there again; gives up after a fixed number of steps.
//! Must not know: JSON.
use super::pattern::{Found, Pattern, Slot};
use crate::limits::FORMAT_SEARCH_STEPS_MAX;
use memchr::memmem;

/// What a search remembers; reused.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// For each field and each position of the line a bit: no way goes on from there.
    vain: Vec<u64>,
    /// Where each field begins.
    starts: Vec<usize>,
}

impl Search {
    /// Searches the line `text[start..]`.
    #[cold]
    pub(super) fn find(
        &mut self,
        pattern: &Pattern,
        text: &[u8],
        start: usize,
        found: &mut Vec<Found>,
    ) -> bool {
        let (slots, wide) = (&pattern.slots, text.len() - start + 1);
        if !text[start..].starts_with(&pattern.head) || slots.len() * wide > 64 * FORMAT_SEARCH_STEPS_MAX {
            return false;
        }
        self.vain.clear();
        self.vain.resize((slots.len() * wide).div_ceil(64), 0);
        self.starts.clear();
        found.clear();
        let mut begin = start + pattern.head.len();
        let mut from = None;
        for _ in 0..FORMAT_SEARCH_STEPS_MAX {
            let depth = found.len();
            let slot = &slots[depth];
            let at = slot.begin(text, begin, text.len());
            match candidate(slot, text, at, from.unwrap_or(at), depth + 1 == slots.len()) {
                Some(end) => {
                    let next = end + slot.literal.len();
                    found.push(Found { start: at, end, plain: false });
                    if depth + 1 == slots.len() {
                        mend(found, text);
                        return true;
                    }
                    if self.is_vain(depth + 1, next - start, wide) {
                        found.pop();
                        from = Some(end + 1);
                    } else {
                        self.starts.push(begin);
                        (begin, from) = (next, None);
                    }
                }
                None => {
                    self.note_vain(depth, begin - start, wide);
                    let (Some(before), Some(started)) = (found.pop(), self.starts.pop()) else {
                        return false;
                    };
                    (begin, from) = (started, Some(before.end + 1));
                }
            }
        }
        false
    }

    fn is_vain(&self, depth: usize, at: usize, wide: usize) -> bool {
        let bit = depth * wide + at;
        self.vain[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn note_vain(&mut self, depth: usize, at: usize, wide: usize) {
        let bit = depth * wide + at;
        self.vain[bit / 64] |= 1 << (bit % 64);
    }
}

/// The first end at or after `from` of a value that begins at `start`.
fn candidate(slot: &Slot, text: &[u8], start: usize, from: usize, last: bool) -> Option<usize> {
    let mut at = from;
    while at <= text.len() {
        let end = match (last, slot.literal.is_empty()) {
            (true, _) => text.len().checked_sub(slot.literal.len()).filter(|end| *end >= at)?,
            (false, _) => at + memmem::find(&text[at..], &slot.literal)?,
        };
        let value = &text[start..end];
        if slot.quoted && !ends_there(value) {
            if closes_before(value) || last {
                return None;
            }
        } else if text[end..].starts_with(&slot.literal) && slot.field.kind.intruder(value).is_none() {
            return Some(end);
        } else if last {
            return None;
        }
        at = end + 1;
    }
    None
}

/// Whether the quote behind a value is the first one that is not escaped.
fn ends_there(value: &[u8]) -> bool {
    let mut bytes = value.iter();
    loop {
        match bytes.next() {
            None => return true,
            Some(b'"') => return false,
            Some(b'\\') if bytes.next().is_none() => return false,
            Some(_) => {}
        }
    }
}

/// Whether a quote in the value ends it earlier.
fn closes_before(value: &[u8]) -> bool {
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return true,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
    false
}

/// Says which values are plain.
fn mend(found: &mut [Found], text: &[u8]) {
    for value in found {
        value.plain = crate::scan::string_stop(&text[..value.end], value.start) == value.end;
    }
}

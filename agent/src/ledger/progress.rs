//! Progress: which whole chunks of one source a group has decided, as arithmetic on sorted ranges.
//!
//! Promises: what was covered stays covered (PROTOCOL I4), but for [`Progress::clip`]; ranges are never hulls
//! (counter-example 2); a tail is kept for `low` and the end of each range above, for no other offset.
//! Must not know: SQLite, files.
use crate::protocol::Progress;
use std::ops::Range;

impl Progress {
    /// A group that begins to read a source at `offset`.
    pub fn starting_at(offset: u64) -> Progress {
        Progress { low: offset, above: Vec::new(), tails: Vec::new() }
    }

    /// Decides the whole chunk `start..end`; `tail` is the hash of the ≤ 64 bytes before `end`.
    pub fn add(&mut self, start: u64, end: u64, tail: u64) {
        if start >= end {
            return;
        }
        self.insert(start, end);
        match self.tails.binary_search_by_key(&end, |(offset, _)| *offset) {
            Ok(at) => self.tails[at].1 = tail,
            Err(at) => self.tails.insert(at, (end, tail)),
        }
        self.prune();
    }

    /// Decides a range that was never processed; `tail` as far as it is known.
    pub(super) fn pass(&mut self, range: Range<u64>, tail: Option<u64>) {
        match tail {
            Some(tail) => self.add(range.start, range.end, tail),
            None => {
                self.insert(range.start, range.end);
                self.prune();
            }
        }
    }

    /// Whether both have decided the same bytes.
    pub(super) fn decides_as(&self, other: &Progress) -> bool {
        (self.low, &self.above) == (other.low, &other.above)
    }

    fn insert(&mut self, start: u64, end: u64) {
        if start <= self.low {
            self.low = self.low.max(end);
        } else {
            // Everything that touches the new range melts into it.
            let first = self.above.partition_point(|range| range.end < start);
            let last = self.above.partition_point(|range| range.start <= end);
            let mut merged = start..end;
            if first < last {
                merged = start.min(self.above[first].start)..end.max(self.above[last - 1].end);
            }
            self.above.splice(first..last, [merged]);
        }
        let swallowed = self.above.partition_point(|range| range.start <= self.low);
        if let Some(range) = self.above[..swallowed].last() {
            self.low = self.low.max(range.end);
        }
        self.above.drain(..swallowed);
    }

    fn prune(&mut self) {
        let (low, above) = (self.low, &self.above);
        self.tails.retain(|(offset, _)| {
            *offset == low || above.binary_search_by_key(offset, |range| range.end).is_ok()
        });
    }

    /// Whether every byte of `range` is decided.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.start >= range.end
            || range.end <= self.low
            || self.above.iter().any(|r| r.start <= range.start.max(self.low) && range.end <= r.end)
                && self.decided(range.start)
    }

    /// Whether any byte of `range` is decided.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        range.start < range.end
            && (range.start < self.low
                || self.above.iter().any(|r| r.start < range.end && range.start < r.end))
    }

    /// Whether the byte at `offset` is decided.
    pub fn decided(&self, offset: u64) -> bool {
        offset < self.low || self.above.iter().any(|range| range.contains(&offset))
    }

    /// The offsets after `offset` where decided turns to undecided or back, ascending: a chunk must not cross one
    /// on replay (PROTOCOL P1).
    pub fn edges_after(&self, offset: u64) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(self.low)
            .chain(self.above.iter().flat_map(|range| [range.start, range.end]))
            .filter(move |edge| *edge > offset)
    }

    /// What this progress has decided beyond `other`, whose ranges it contains: ascending, not touching one another.
    pub fn beyond(&self, other: &Progress) -> Vec<Range<u64>> {
        let mut beyond: Vec<Range<u64>> = Vec::new();
        for range in std::iter::once(&(0..self.low)).chain(&self.above) {
            let mut at = range.start.max(other.low);
            for known in other.above.iter().filter(|known| known.start < range.end && range.start < known.end)
            {
                if at < known.start {
                    beyond.push(at..known.start);
                }
                at = at.max(known.end);
            }
            if at < range.end {
                beyond.push(at..range.end);
            }
        }
        beyond
    }

    /// The end of the last decided range: nothing above it was ever decided.
    pub fn high(&self) -> u64 {
        self.above.last().map_or(self.low, |range| range.end)
    }

    /// The file ends at `size` now: what was decided above it no longer exists (RULINGS 4).
    pub fn clip(&mut self, size: u64) {
        self.low = self.low.min(size);
        self.above.retain_mut(|range| {
            range.end = range.end.min(size);
            range.start < range.end
        });
        self.prune();
    }

    /// `above` as bytes: varint pairs (gap, length).
    pub(super) fn above_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = self.low;
        for range in &self.above {
            put_varint(&mut out, range.start - at);
            put_varint(&mut out, range.end - range.start);
            at = range.end;
        }
        out
    }

    /// `tails` as bytes: varint distance, then 8 bytes of hash.
    pub(super) fn tails_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        for (offset, hash) in &self.tails {
            put_varint(&mut out, offset - at);
            out.extend_from_slice(&hash.to_le_bytes());
            at = *offset;
        }
        out
    }

    /// What [`Progress::above_bytes`] and [`Progress::tails_bytes`] wrote; `None` if the bytes make no sense.
    pub(super) fn from_bytes(low: u64, mut above: &[u8], mut tails: &[u8]) -> Option<Progress> {
        let mut progress = Progress::starting_at(low);
        let mut at = low;
        while !above.is_empty() {
            let start = at.checked_add(take_varint(&mut above)?).filter(|start| *start > at)?;
            at = start.checked_add(take_varint(&mut above)?).filter(|end| *end > start)?;
            progress.above.push(start..at);
        }
        let mut offset = 0u64;
        while !tails.is_empty() {
            offset = offset.checked_add(take_varint(&mut tails)?)?;
            let (hash, rest) = tails.split_first_chunk::<8>()?;
            progress.tails.push((offset, u64::from_le_bytes(*hash)));
            tails = rest;
        }
        Some(progress)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SPAN: u64 = 48;

    fn tail_of(end: u64) -> u64 {
        end * 1_000_003
    }

    /// The naive model: one flag a byte.
    fn check(progress: &Progress, set: &[bool]) {
        for at in 0..SPAN {
            assert_eq!(progress.decided(at), set[at as usize], "byte {at} of {progress:?}");
            for end in at + 1..=SPAN {
                let bytes = &set[at as usize..end as usize];
                assert_eq!(
                    progress.covers(&(at..end)),
                    bytes.iter().all(|b| *b),
                    "{at}..{end} of {progress:?}"
                );
                assert_eq!(
                    progress.touches(&(at..end)),
                    bytes.iter().any(|b| *b),
                    "{at}..{end} of {progress:?}"
                );
            }
            let edges: Vec<u64> =
                (at + 1..SPAN).filter(|e| set[*e as usize] != set[*e as usize - 1]).collect();
            let found: Vec<u64> = progress.edges_after(at).filter(|e| *e < SPAN).collect();
            assert_eq!(found, edges, "edges after {at} of {progress:?}");
        }
        let mut at = progress.low;
        for range in &progress.above {
            assert!(range.start > at && range.end > range.start, "touching ranges in {progress:?}");
            at = range.end;
        }
        assert_eq!(progress.high(), at);
    }

    proptest! {
        #[test]
        fn it_is_a_set_that_only_grows(
            begin in 0..8u64,
            adds in prop::collection::vec((0..SPAN, 1..9u64), 0..24),
            clip in prop::option::of(0..SPAN),
        ) {
            let mut set = vec![false; SPAN as usize];
            set[..begin as usize].fill(true);
            let mut tails = BTreeMap::new();
            let mut progress = Progress::starting_at(begin);
            check(&progress, &set);
            for (start, len) in adds {
                let end = (start + len).min(SPAN);
                let before = progress.clone();
                progress.add(start, end, tail_of(end));
                set[start as usize..end as usize].fill(true);
                tails.insert(end, tail_of(end));
                check(&progress, &set);
                for at in 0..SPAN {
                    prop_assert!(!before.decided(at) || progress.decided(at), "I4");
                }
            }
            // A tail is there for each end that some chunk ended at, and for no other offset.
            let ends: Vec<u64> =
                std::iter::once(progress.low).chain(progress.above.iter().map(|r| r.end)).collect();
            let expected: Vec<(u64, u64)> =
                ends.iter().filter_map(|end| tails.get(end).map(|tail| (*end, *tail))).collect();
            prop_assert_eq!(&progress.tails, &expected);
            let (above, tail_bytes) = (progress.above_bytes(), progress.tails_bytes());
            prop_assert_eq!(Progress::from_bytes(progress.low, &above, &tail_bytes), Some(progress.clone()));
            if let Some(size) = clip {
                progress.clip(size);
                set[size as usize..].fill(false);
                check(&progress, &set);
                prop_assert!(progress.tails.iter().all(|(offset, _)| *offset <= size));
            }
        }

        #[test]
        fn torn_bytes_never_panic(low: u64, above: Vec<u8>, tails: Vec<u8>) {
            let _ = Progress::from_bytes(low, &above, &tails);
        }
    }

    #[test]
    fn no_hull_is_built() {
        let mut progress = Progress::starting_at(0);
        progress.add(0, 10, 1);
        progress.add(20, 30, 3);
        assert_eq!((progress.low, progress.above.len(), progress.above[0].clone()), (10, 1, 20..30));
        assert!(!progress.covers(&(10..20)));
        progress.add(10, 20, 2);
        assert_eq!((progress.low, progress.above.len(), progress.tails), (30, 0, vec![(30, 3)]));
    }
}

//! Index: the open slabs by key and by age.
//!
//! Promises: finding, opening and closing a slab takes constant time and allocates nothing.
//! Must not know: what a slab holds.
use super::SlabKey;
use super::pages::NONE;

#[derive(Clone, Copy)]
struct Entry {
    key: SlabKey,
    /// The next slab whose key falls into the same bucket.
    bucket_next: u32,
    older: u32,
    younger: u32,
}

/// Open slabs. A slab's slot is its first page.
pub(super) struct Index {
    buckets: Vec<u32>,
    entries: Vec<Entry>,
    oldest: u32,
    youngest: u32,
    count: usize,
    /// What was found last: neighbouring records often go to the same job.
    last: Option<(SlabKey, u32)>,
}

impl Index {
    /// For at most `slots` slabs.
    pub(super) fn new(slots: usize) -> Index {
        let entry = Entry { key: SlabKey(0), bucket_next: NONE, older: NONE, younger: NONE };
        let buckets = vec![NONE; slots.next_power_of_two()];
        Index { buckets, entries: vec![entry; slots], oldest: NONE, youngest: NONE, count: 0, last: None }
    }

    /// Bytes that one slot takes, buckets included.
    pub(super) const SLOT_BYTES: usize = size_of::<Entry>() + 2 * size_of::<u32>();

    /// The slot of an open slab.
    #[inline]
    pub(super) fn find(&mut self, key: SlabKey) -> Option<u32> {
        if let Some((last, slot)) = self.last
            && last == key
        {
            return Some(slot);
        }
        let mut slot = self.buckets[self.bucket(key)];
        while slot != NONE {
            let entry = &self.entries[slot as usize];
            if entry.key == key {
                self.last = Some((key, slot));
                return Some(slot);
            }
            slot = entry.bucket_next;
        }
        None
    }

    /// Notes a new slab as the youngest.
    pub(super) fn open(&mut self, key: SlabKey, slot: u32) {
        let bucket = self.bucket(key);
        let entry = Entry { key, bucket_next: self.buckets[bucket], older: self.youngest, younger: NONE };
        self.entries[slot as usize] = entry;
        self.buckets[bucket] = slot;
        match self.youngest {
            NONE => self.oldest = slot,
            youngest => self.entries[youngest as usize].younger = slot,
        }
        self.youngest = slot;
        self.count += 1;
        self.last = Some((key, slot));
    }

    /// Forgets a slab.
    pub(super) fn close(&mut self, slot: u32) {
        let Entry { key, bucket_next, older, younger } = self.entries[slot as usize];
        self.last = None;
        self.count -= 1;
        let bucket = self.bucket(key);
        let mut at = self.buckets[bucket];
        if at == slot {
            self.buckets[bucket] = bucket_next;
        } else {
            while self.entries[at as usize].bucket_next != slot {
                at = self.entries[at as usize].bucket_next;
            }
            self.entries[at as usize].bucket_next = bucket_next;
        }
        match older {
            NONE => self.oldest = younger,
            older => self.entries[older as usize].younger = younger,
        }
        match younger {
            NONE => self.youngest = older,
            younger => self.entries[younger as usize].older = older,
        }
    }

    /// How many slabs are open.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The slab that was opened first.
    pub(super) fn oldest(&self) -> Option<SlabKey> {
        self.keys().next()
    }

    /// All open slabs, the one that was opened first first.
    pub(super) fn keys(&self) -> impl Iterator<Item = SlabKey> + '_ {
        let existing = |slot: u32| (slot != NONE).then_some(slot);
        std::iter::successors(existing(self.oldest), move |&slot| {
            existing(self.entries[slot as usize].younger)
        })
        .map(|slot| self.entries[slot as usize].key)
    }

    /// Fibonacci hashing: keys are small consecutive numbers.
    fn bucket(&self, key: SlabKey) -> usize {
        let hash = key.0.wrapping_mul(0x9e37_79b9);
        (hash >> 16 ^ hash) as usize & (self.buckets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(index: &Index) -> Vec<u32> {
        index.keys().map(|key| key.0).collect()
    }

    #[test]
    fn slabs_are_found_and_ordered_by_age() {
        let mut index = Index::new(4);
        for (slot, key) in [(2, 10), (0, 11), (3, 12), (1, 13)] {
            index.open(SlabKey(key), slot);
        }
        assert_eq!(keys(&index), [10, 11, 12, 13]);
        assert_eq!((index.find(SlabKey(12)), index.find(SlabKey(14))), (Some(3), None));
        index.close(0);
        assert_eq!(keys(&index), [10, 12, 13]);
        index.close(2);
        index.close(1);
        assert_eq!((keys(&index), index.oldest()), (vec![12], Some(SlabKey(12))));
        assert_eq!((index.find(SlabKey(10)), index.find(SlabKey(12))), (None, Some(3)));
        index.open(SlabKey(10), 0);
        assert_eq!(keys(&index), [12, 10]);
    }

    #[test]
    fn one_bucket_holds_many() {
        let mut index = Index::new(1);
        index.entries = vec![index.entries[0]; 5];
        (0..5).for_each(|slot| index.open(SlabKey(slot * 7), slot));
        index.close(2);
        index.close(4);
        index.close(0);
        let found: Vec<_> = (0..5).map(|slot| index.find(SlabKey(slot * 7))).collect();
        assert_eq!(found, [None, Some(1), None, Some(3), None]);
    }
}

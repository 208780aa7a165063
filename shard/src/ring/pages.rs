//! Pages: which pages of the ring are free, and how the taken ones are chained into slabs.
//!
//! Promises: taking and giving back a page allocates nothing. A chain grows into the adjacent page while that is
//! free, so a busy job's slab is one piece of memory and need not be gathered.
//! Must not know: what stands in a page.

/// No page: the end of a chain.
pub(super) const NONE: u32 = u32::MAX;

/// How many words of the map are looked at for a good place: 16 × 64 pages of 4 KiB are 4 MiB, several slabs.
const WINDOW_WORDS: usize = 16;
/// So many chains may be kept apart from one another, as long as each is a small part of that window.
const CHAINS_APART: usize = 64;

/// The free map and the chains.
pub(super) struct Pages {
    /// One bit a page, 1 = free.
    free: Vec<u64>,
    free_count: usize,
    /// No word before this one has a free page.
    lowest: usize,
    chains: usize,
    next: Vec<u32>,
}

impl Pages {
    /// `count` free pages.
    pub(super) fn new(count: usize) -> Pages {
        assert!(count < NONE as usize, "{count} pages do not fit 32 bits");
        let mut free = vec![u64::MAX; count.div_ceil(64)];
        if !count.is_multiple_of(64) {
            free[count / 64] = (1 << (count % 64)) - 1;
        }
        Pages { free, free_count: count, lowest: 0, chains: 0, next: vec![NONE; count] }
    }

    /// Free pages.
    pub(super) fn free_count(&self) -> usize {
        self.free_count
    }

    /// All pages.
    pub(super) fn count(&self) -> usize {
        self.next.len()
    }

    /// The page after `page` in its chain, or [`NONE`].
    #[inline]
    pub(super) fn next(&self, page: u32) -> u32 {
        self.next[page as usize]
    }

    /// Takes a page that begins a chain. The caller has checked that one is free.
    pub(super) fn begin(&mut self) -> u32 {
        let page = self.place();
        self.take(page);
        self.next[page as usize] = NONE;
        self.chains += 1;
        page
    }

    /// Takes a page and chains it behind `tail`: the adjacent one if it is free. The caller has checked that one is.
    pub(super) fn extend(&mut self, tail: u32) -> u32 {
        let adjacent = tail + 1;
        let page = if self.is_free(adjacent) { adjacent } else { self.place() };
        self.take(page);
        self.next[page as usize] = NONE;
        self.next[tail as usize] = page;
        page
    }

    /// Gives back a chain.
    pub(super) fn give_back(&mut self, first: u32) {
        let mut page = first;
        self.chains -= 1;
        while page != NONE {
            let word = page as usize / 64;
            self.free[word] |= 1 << (page % 64);
            self.lowest = self.lowest.min(word);
            self.free_count += 1;
            page = self.next[page as usize];
        }
    }

    /// Whether there are so many chains that none can be kept apart from others.
    pub(super) fn is_crowded(&self) -> bool {
        self.chains >= CHAINS_APART
    }

    /// Whether a page is there, and free.
    #[inline]
    pub(super) fn is_free(&self, page: u32) -> bool {
        let word = self.free.get(page as usize / 64).copied().unwrap_or(0);
        word >> (page % 64) & 1 == 1
    }

    fn take(&mut self, page: u32) {
        debug_assert!(self.is_free(page));
        self.free[page as usize / 64] &= !(1 << (page % 64));
        self.free_count -= 1;
        while self.lowest < self.free.len() && self.free[self.lowest] == 0 {
            self.lowest += 1;
        }
    }

    /// A free page with free pages behind it: the start of the longest free stretch near the bottom of the ring, or
    /// its middle when a slab ends right before it and would want to grow there. The bottom is preferred so that a
    /// lightly loaded ring stays in the cache. With many chains no stretch stays free: any page will do.
    fn place(&self) -> u32 {
        if self.is_crowded() {
            let word = self.free.get(self.lowest).expect("INVARIANT: a page was asked of a full ring");
            return self.lowest as u32 * 64 + word.trailing_zeros();
        }
        let until = (self.lowest + WINDOW_WORDS).min(self.free.len()) * 64;
        let (mut best, mut best_len) = (NONE as usize, 0);
        let mut at = self.lowest * 64;
        while let Some(start) = self.find(at, until, true) {
            let end = self.find(start, until, false).unwrap_or(until);
            if end - start > best_len {
                (best, best_len) = (start, end - start);
            }
            at = end;
        }
        assert!(best_len > 0, "INVARIANT: a page was asked of a full ring");
        if best > 0 && best_len > 1 { (best + best_len / 2) as u32 } else { best as u32 }
    }

    /// The first page in `from..until` that is free, or that is not.
    fn find(&self, from: usize, until: usize, free: bool) -> Option<usize> {
        let mut at = from;
        while at < until {
            let word = self.free[at / 64];
            let wanted = (if free { word } else { !word }) >> (at % 64);
            if wanted != 0 {
                let found = at + wanted.trailing_zeros() as usize;
                return (found < until).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(pages: &Pages, first: u32) -> Vec<u32> {
        std::iter::successors(Some(first), |&page| Some(pages.next(page)).filter(|&next| next != NONE))
            .collect()
    }

    #[test]
    fn a_lone_chain_is_adjacent_and_begins_at_the_bottom() {
        let mut pages = Pages::new(300);
        for _ in 0..3 {
            let first = pages.begin();
            let mut tail = first;
            for _ in 0..255 {
                tail = pages.extend(tail);
            }
            assert_eq!(chain(&pages, first), (0..256).collect::<Vec<_>>());
            assert_eq!(pages.free_count(), 44);
            pages.give_back(first);
        }
        assert_eq!(pages.free_count(), 300);
    }

    #[test]
    fn a_second_chain_leaves_the_first_one_room_to_grow() {
        let mut pages = Pages::new(128);
        let first = pages.begin();
        let second = pages.begin();
        assert_eq!(first, 0);
        assert!((32..96).contains(&second), "second chain begins at {second}");
        assert_eq!(pages.extend(first), 1);
    }

    #[test]
    fn every_page_is_given_out_once_and_comes_back() {
        let mut pages = Pages::new(130);
        let mut tails = [pages.begin(), pages.begin(), pages.begin()];
        let firsts = tails;
        for i in 0..127 {
            tails[i % 3] = pages.extend(tails[i % 3]);
        }
        assert_eq!(pages.free_count(), 0);
        let mut all: Vec<u32> = firsts.iter().flat_map(|&first| chain(&pages, first)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..130).collect::<Vec<_>>());
        firsts.into_iter().for_each(|first| pages.give_back(first));
        assert_eq!(pages.free_count(), 130);
    }

    #[test]
    #[should_panic(expected = "full ring")]
    fn a_full_ring_gives_no_page() {
        let mut pages = Pages::new(1);
        pages.begin();
        pages.begin();
    }
}

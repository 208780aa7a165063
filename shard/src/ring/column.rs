//! Column: one kind of item (bytes, record ends, spans) laid out over the ring's pages.
//!
//! Every page has room for the same number of items, and a slab's items follow its chain of pages.
//! Promises: items written through a [`Cursor`] come back in order; nothing is allocated after [`Column::new`].
//! Must not know: what the items mean.
use super::huge::wish;
use super::pages::{NONE, Pages};
use std::ops::Range;

/// Where a slab's next item goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    page: u32,
    offset: u32,
}

impl Cursor {
    /// The start of a chain.
    pub(super) fn new(page: u32) -> Cursor {
        Cursor { page, offset: 0 }
    }
}

/// Items over pages.
pub(super) struct Column<T> {
    items: Vec<T>,
    per_page: usize,
}

impl<T: Copy + Default> Column<T> {
    /// Room for `per_page` items in each of `pages` pages. Call [`Column::reach`] for each page before it is used.
    pub(super) fn new(pages: usize, per_page: usize) -> Column<T> {
        let mut items = Vec::with_capacity(pages * per_page);
        wish(&mut items);
        Column { items, per_page }
    }

    /// Makes the items up to a page exist. Before that their memory is not resident: what a page's first user needs is
    /// written then, within the capacity.
    #[inline]
    pub(super) fn reach(&mut self, page: u32) {
        let len = (page as usize + 1) * self.per_page;
        if self.items.len() < len {
            self.items.resize(len, T::default());
        }
    }

    /// Items that exist: what is resident.
    #[cfg(test)]
    pub(super) fn written(&self) -> usize {
        self.items.len()
    }

    /// The place of the next `want` items if they stand side by side. The chain has room for them.
    #[inline]
    pub(super) fn window(&self, pages: &Pages, cursor: &mut Cursor, want: usize) -> Option<Range<usize>> {
        self.settle(pages, cursor);
        let start = cursor.page as usize * self.per_page + cursor.offset as usize;
        let mut have = self.per_page - cursor.offset as usize;
        let mut page = cursor.page;
        while have < want {
            let next = pages.next(page);
            if next != page + 1 {
                return None;
            }
            page = next;
            have += self.per_page;
        }
        Some(start..start + want)
    }

    /// The items of a window.
    #[inline]
    pub(super) fn at(&mut self, window: Range<usize>) -> &mut [T] {
        &mut self.items[window]
    }

    /// Moves the cursor behind `written` items of the window it last gave.
    #[inline]
    pub(super) fn advance(&self, cursor: &mut Cursor, written: usize) {
        let mut offset = cursor.offset as usize + written;
        // The pages of a window are adjacent; the last one may be left exactly full, see `settle`.
        while offset > self.per_page {
            offset -= self.per_page;
            cursor.page += 1;
        }
        cursor.offset = offset as u32;
    }

    /// Writes one item. The chain has room for it.
    #[inline]
    pub(super) fn push(&mut self, pages: &Pages, cursor: &mut Cursor, item: T) {
        self.settle(pages, cursor);
        self.items[cursor.page as usize * self.per_page + cursor.offset as usize] = item;
        cursor.offset += 1;
    }

    /// Writes items that may straddle pages. The chain has room for them.
    pub(super) fn append(&mut self, pages: &Pages, cursor: &mut Cursor, mut items: &[T]) {
        while !items.is_empty() {
            self.settle(pages, cursor);
            let start = cursor.page as usize * self.per_page + cursor.offset as usize;
            let (now, rest) = items.split_at(items.len().min(self.per_page - cursor.offset as usize));
            self.items[start..start + now.len()].copy_from_slice(now);
            cursor.offset += now.len() as u32;
            items = rest;
        }
    }

    /// The first `len` items of a chain of adjacent pages.
    pub(super) fn side_by_side(&self, first: u32, len: usize) -> &[T] {
        let start = first as usize * self.per_page;
        &self.items[start..start + len]
    }

    /// Copies the items of a chain from its first page on into `into`, whole stretches of adjacent pages at once.
    pub(super) fn gather(&self, pages: &Pages, first: u32, into: &mut [T]) {
        let (mut page, mut done) = (first, 0);
        while done < into.len() {
            assert_ne!(page, NONE, "INVARIANT: a slab's items lie in its chain");
            let start = page as usize * self.per_page;
            let mut have = self.per_page;
            let mut next = pages.next(page);
            while next == page + 1 && done + have < into.len() {
                page = next;
                have += self.per_page;
                next = pages.next(page);
            }
            let len = have.min(into.len() - done);
            into[done..done + len].copy_from_slice(&self.items[start..start + len]);
            done += len;
            page = next;
        }
    }

    /// A page that is exactly full is left behind only when the next item comes: the chain may not have had its
    /// next page before.
    #[inline]
    fn settle(&self, pages: &Pages, cursor: &mut Cursor) {
        if cursor.offset as usize == self.per_page {
            *cursor = Cursor::new(pages.next(cursor.page));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two chains whose pages lie between one another's.
    fn interleaved() -> (Pages, [u32; 2]) {
        let mut pages = Pages::new(4);
        let firsts = [pages.begin(), pages.begin()];
        let mut tails = firsts;
        for tail in &mut tails {
            *tail = pages.extend(*tail);
        }
        (pages, firsts)
    }

    #[test]
    fn items_come_back_over_page_borders() {
        let (pages, [first, _]) = interleaved();
        let mut column: Column<u8> = Column::new(4, 4);
        column.reach(3);
        let mut cursor = Cursor::new(first);
        column.append(&pages, &mut cursor, b"abc");
        column.append(&pages, &mut cursor, b"defg");
        column.push(&pages, &mut cursor, b'h');
        let mut all = [0; 8];
        column.gather(&pages, first, &mut all);
        assert_eq!(&all, b"abcdefgh");
    }

    #[test]
    fn a_window_is_only_given_over_adjacent_pages() {
        let mut pages = Pages::new(8);
        let first = pages.begin();
        let second = pages.extend(first);
        assert_eq!(second, first + 1);
        let mut column: Column<u8> = Column::new(8, 4);
        column.reach(7);
        let mut cursor = Cursor::new(first);
        column.append(&pages, &mut cursor, b"abc");
        let window = column.window(&pages, &mut cursor, 5).expect("adjacent pages");
        column.at(window).copy_from_slice(b"defgh");
        column.advance(&mut cursor, 5);
        assert_eq!(column.side_by_side(first, 8), b"abcdefgh");
        let mut pages = Pages::new(2);
        let (one, _two) = (pages.begin(), pages.begin());
        assert_eq!(column.window(&pages, &mut Cursor::new(one), 5), None);
    }
}

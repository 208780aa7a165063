//! Ring: a core's fixed memory for formatted records on their way to the compressor.
//!
//! Jobs fill slabs; slabs are emptied oldest first; when the ring is full the oldest slab is compressed early.
//! The memory is cut into small pages, each with room for bytes, record ends and field spans. A slab is a chain of
//! pages, so ten thousand jobs may each hold a little and a busy one a lot, and any free page serves any job. A slab
//! whose pages happen to be adjacent (a busy job's nearly always are) is handed out where it lies, others are copied
//! together once.
//! Promises: all memory is taken in [`Ring::new`] and stays under the bytes given; nothing is allocated afterwards.
//! Must not know: what a record means, or what becomes of a slab.
mod column;
mod huge;
mod index;
mod pages;

use crate::codec::{Run, Span};
use column::{Column, Cursor};
use index::Index;
use pages::Pages;

/// A slab's first slot, and the step it grows by: small enough for thousands of jobs, large enough that few records
/// straddle a border.
pub const PAGE_BYTES: usize = 4096;
/// Record ends that a page has room for: records shorter than 64 bytes take more pages than their bytes need.
const PAGE_RECORDS: usize = PAGE_BYTES / 64;
/// Field spans that a page has room for: fields that average less than 25 bytes, keys included, take more pages.
const PAGE_FIELDS: usize = 5 * PAGE_BYTES / 128;
/// Pages that a slab takes at once, where they are free, once it is that large itself.
const STEP_PAGES: usize = 16;
/// What a page takes in memory with everything that is kept for it.
const PAGE_COST: usize = PAGE_BYTES
    + PAGE_RECORDS * 2 * size_of::<u32>()
    + PAGE_FIELDS * size_of::<Span>()
    + size_of::<Held>()
    + size_of::<u32>()
    + 1
    + Index::SLOT_BYTES;

/// Whose records a slab holds: the index of a job in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlabKey(pub u32);

/// Takes one formatted record.
pub trait RecordSink {
    /// Appends bytes that are the same in every record of a shape (keys, punctuation).
    fn put(&mut self, bytes: &[u8]);
    /// Appends a field's value and notes its span.
    fn value(&mut self, bytes: &[u8]);
    /// Appends bytes in which values stand: `values` are theirs, in order.
    fn text(&mut self, bytes: &[u8], values: impl Iterator<Item = Span>) {
        let mut at = 0;
        for value in values {
            self.put(&bytes[at..value.start as usize]);
            self.value(value.of(bytes));
            at = value.end as usize;
        }
        self.put(&bytes[at..]);
    }
    /// As [`RecordSink::put`], of the first `len` bytes of a block: what is behind them may be written over.
    #[inline]
    fn put_block(&mut self, block: &[u8; COPY_BYTES], len: usize) {
        self.put(&block[..len]);
    }
    /// As [`RecordSink::value`], of a part of a text.
    #[inline]
    fn value_of(&mut self, text: &[u8], value: Span) {
        self.value(value.of(text));
    }
}

/// One record in plain memory, with its values' spans: on its way where more must be done to it, or to several slabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flat {
    /// The record.
    pub bytes: Vec<u8>,
    /// Where its values stand.
    pub values: Vec<Span>,
}

impl Flat {
    /// Empty again; memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
    }

    /// Writes it on.
    pub fn write<S: RecordSink>(&self, sink: &mut S) {
        sink.text(&self.bytes, self.values.iter().copied());
    }
}

impl RecordSink for Flat {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        let start = self.bytes.len();
        self.put(bytes);
        self.values.push(Span::new(start, self.bytes.len()));
    }
}

/// Bytes that are copied at once where there is room for them.
pub const COPY_BYTES: usize = 32;

/// Why a record was not taken. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The job's slab has no room for it: seal that one.
    Slab,
    /// The ring has no room: seal the oldest slab, which may be the job's own, and try again.
    Ring {
        /// The oldest slab.
        oldest: SlabKey,
    },
    /// The record alone is larger than a slab: it becomes a segment of its own, past the ring (RULINGS 3). Whoever
    /// keeps the order of records seals the job's slab before it.
    TooLarge,
}

/// A slab's records, and the earliest and latest time that came with them (ns since the epoch).
#[derive(Clone, Copy, Debug)]
pub struct Slab<'a> {
    /// The records.
    pub run: Run<'a>,
    /// The earliest of the records' times.
    pub first: i64,
    /// The latest.
    pub last: i64,
}

/// Writes one record into the ring.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
    fields: &'a mut [Span],
    fields_at: usize,
    /// Offset of the record in its slab.
    start: u32,
}

/// Copies between slices of one length. Most pieces of a record are short: two overlapping moves in line are cheaper
/// than a call.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    if from.len() > 32 || !copy_ends::<16>(to, from) && !copy_ends::<8>(to, from) && !copy_ends::<4>(to, from)
    {
        to.copy_from_slice(from);
    }
}

/// Copies `from`, of `N` to `2 * N` bytes, by its first and last `N`; false when it is shorter.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) -> bool {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else { return false };
    if let Some(to_first) = to.first_chunk_mut::<N>() {
        *to_first = *first;
    }
    if let Some(to_last) = to.last_chunk_mut::<N>() {
        *to_last = *last;
    }
    true
}

impl RecordSink for Writer<'_> {
    /// Panics when the record grows beyond the bytes that were announced (a bug of the formatter).
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        copy_short(&mut self.bytes[self.at..self.at + bytes.len()], bytes);
        self.at += bytes.len();
    }

    /// Panics when there are more bytes or values than were announced; with no values announced no span is noted.
    #[inline]
    fn value(&mut self, bytes: &[u8]) {
        let start = self.start + self.at as u32;
        self.put(bytes);
        self.note(Span { start, end: start + bytes.len() as u32 });
    }

    #[inline]
    fn text(&mut self, bytes: &[u8], values: impl Iterator<Item = Span>) {
        let start = self.start + self.at as u32;
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        let free = self.fields.get_mut(self.fields_at..).unwrap_or_default();
        for (place, value) in free.iter_mut().zip(values) {
            *place = Span { start: start + value.start, end: start + value.end };
            self.fields_at += 1;
        }
    }

    #[inline(always)]
    fn put_block(&mut self, block: &[u8; COPY_BYTES], len: usize) {
        match self.block() {
            Some(to) => {
                *to = *block;
                self.at += len;
            }
            None => self.put(&block[..len]),
        }
    }

    #[inline(always)]
    fn value_of(&mut self, text: &[u8], value: Span) {
        let from = text.get(value.start as usize..).and_then(<[u8]>::first_chunk::<COPY_BYTES>);
        match (self.block(), from) {
            (Some(to), Some(from)) if value.len() <= COPY_BYTES => {
                *to = *from;
                let start = self.start + self.at as u32;
                self.at += value.len();
                self.note(Span { start, end: start + value.len() as u32 });
            }
            _ => self.value(value.of(text)),
        }
    }
}

impl Writer<'_> {
    /// Room for a block, if there is so much.
    #[inline(always)]
    fn block(&mut self) -> Option<&mut [u8; COPY_BYTES]> {
        self.bytes.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut)
    }

    #[inline(always)]
    fn note(&mut self, value: Span) {
        if !self.fields.is_empty() {
            self.fields[self.fields_at] = value;
            self.fields_at += 1;
        }
    }
}

/// An open slab. Its slot is its first page.
#[derive(Clone, Copy)]
struct Held {
    tail: u32,
    pages: u32,
    /// Every page is adjacent to the one before.
    side_by_side: bool,
    bytes: u32,
    records: u32,
    fields: u32,
    bytes_at: Cursor,
    records_at: Cursor,
    fields_at: Cursor,
    first: i64,
    last: i64,
}

impl Held {
    fn new(page: u32, now: i64) -> Held {
        let at = Cursor::new(page);
        Held {
            tail: page,
            pages: 1,
            side_by_side: true,
            bytes: 0,
            records: 0,
            fields: 0,
            bytes_at: at,
            records_at: at,
            fields_at: at,
            first: now,
            last: now,
        }
    }

    /// Pages that the slab needs in order to take one more record.
    fn pages_with(&self, bytes_max: usize, fields_max: usize) -> usize {
        let bytes = (self.bytes as usize + bytes_max).div_ceil(PAGE_BYTES);
        let records = (self.records as usize + 1).div_ceil(PAGE_RECORDS);
        let fields = (self.fields as usize + fields_max).div_ceil(PAGE_FIELDS);
        bytes.max(records).max(fields)
    }
}

/// Where a slab is copied together, and where a record that straddles two pages is written first.
struct Scratch {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    fields: Vec<Span>,
    field_ends: Vec<u32>,
}

impl Scratch {
    fn new(slab_bytes: usize) -> Scratch {
        let pages = slab_pages_max(slab_bytes);
        Scratch {
            bytes: vec![0; slab_bytes],
            ends: vec![0; pages * PAGE_RECORDS],
            fields: Vec::with_capacity(pages * PAGE_FIELDS),
            field_ends: vec![0; pages * PAGE_RECORDS],
        }
    }

    const fn cost(slab_bytes: usize) -> usize {
        let page = PAGE_RECORDS * 2 * size_of::<u32>() + PAGE_FIELDS * size_of::<Span>();
        slab_bytes + slab_pages_max(slab_bytes) * page
    }
}

/// The first `len` items, within the capacity: memory that was never asked for is not resident.
#[inline]
fn reached(items: &mut Vec<Span>, len: usize) -> &mut [Span] {
    if items.len() < len {
        items.resize(len, Span::default());
    }
    &mut items[..len]
}

/// Twice the pages that the bytes need: slabs of many short records or fields still come near their size.
const fn slab_pages_max(slab_bytes: usize) -> usize {
    2 * slab_bytes.div_ceil(PAGE_BYTES)
}

/// A core's fixed memory for formatted records.
pub struct Ring {
    slab_bytes: usize,
    pages: Pages,
    index: Index,
    held: Vec<Held>,
    bytes: Column<u8>,
    ends: Column<u32>,
    fields: Column<Span>,
    field_ends: Column<u32>,
    scratch: Scratch,
}

impl Ring {
    /// The least memory that a ring with slabs of `slab_bytes` needs, bytes.
    pub const fn bytes_min(slab_bytes: usize) -> usize {
        Scratch::cost(slab_bytes) + slab_pages_max(slab_bytes) * PAGE_COST
    }

    /// A ring that takes at most `bytes` of memory in all, for slabs of at most `slab_bytes` of records. Memory that
    /// is never written is never resident. Panics when `bytes` is below [`Ring::bytes_min`] (the caller's sum).
    pub fn new(bytes: usize, slab_bytes: usize) -> Ring {
        let least = Ring::bytes_min(slab_bytes);
        assert!(
            bytes >= least,
            "a ring of {bytes} bytes cannot hold a slab of {slab_bytes}: {least} are needed"
        );
        assert!(slab_bytes >= PAGE_BYTES && slab_bytes < u32::MAX as usize, "slabs of {slab_bytes} bytes");
        let pages = (bytes - Scratch::cost(slab_bytes)) / PAGE_COST;
        Ring {
            slab_bytes,
            pages: Pages::new(pages),
            index: Index::new(pages),
            held: Vec::with_capacity(pages),
            bytes: Column::new(pages, PAGE_BYTES),
            ends: Column::new(pages, PAGE_RECORDS),
            fields: Column::new(pages, PAGE_FIELDS),
            field_ends: Column::new(pages, PAGE_RECORDS),
            scratch: Scratch::new(slab_bytes),
        }
    }

    /// Appends one record of at most `bytes_max` bytes and `fields_max` values, written by `write`, at the
    /// time `now` (ns since the epoch). With `fields_max` 0 no spans are noted. A record is at least its line end.
    #[inline]
    pub fn append(
        &mut self,
        key: SlabKey,
        now: i64,
        bytes_max: usize,
        fields_max: usize,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), Full> {
        let slot = self.reserve(key, now, bytes_max, fields_max)? as usize;
        let held = &mut self.held[slot];
        let pages = &self.pages;
        let bytes_window = self.bytes.window(pages, &mut held.bytes_at, bytes_max);
        let fields_window = match fields_max {
            0 => Some(0..0),
            _ => self.fields.window(pages, &mut held.fields_at, fields_max),
        };
        let mut writer = Writer {
            bytes: match bytes_window.clone() {
                Some(window) => self.bytes.at(window),
                None => &mut self.scratch.bytes[..bytes_max],
            },
            at: 0,
            fields: match fields_window.clone() {
                Some(window) => self.fields.at(window),
                None => reached(&mut self.scratch.fields, fields_max),
            },
            fields_at: 0,
            start: held.bytes,
        };
        write(&mut writer);
        let (bytes, fields) = (writer.at, writer.fields_at);
        assert!(bytes > 0, "a record is at least its line end");
        match bytes_window {
            Some(_) => self.bytes.advance(&mut held.bytes_at, bytes),
            None => self.bytes.append(pages, &mut held.bytes_at, &self.scratch.bytes[..bytes]),
        }
        match fields_window {
            Some(_) => self.fields.advance(&mut held.fields_at, fields),
            None => self.fields.append(pages, &mut held.fields_at, &self.scratch.fields[..fields]),
        }
        held.bytes += bytes as u32;
        held.fields += fields as u32;
        held.records += 1;
        // Times of a shelf's records come in any order.
        (held.first, held.last) = (held.first.min(now), held.last.max(now));
        self.field_ends.push(pages, &mut held.records_at.clone(), held.fields);
        self.ends.push(pages, &mut held.records_at, held.bytes);
        Ok(())
    }

    /// The slab of a job, if it holds records, as one run. A slab whose pages do not lie side by side is copied
    /// together first, into memory that the ring has for that.
    pub fn slab(&mut self, key: SlabKey) -> Option<Slab<'_>> {
        let slot = self.index.find(key)?;
        let held = self.held[slot as usize];
        let (bytes, records, fields) = (held.bytes as usize, held.records as usize, held.fields as usize);
        // Field ends say nothing when no record has a field.
        let field_ends = if fields == 0 { 0 } else { records };
        let (pages, scratch) = (&self.pages, &mut self.scratch);
        let (bytes, ends, fields, field_ends) = if held.side_by_side {
            (
                self.bytes.side_by_side(slot, bytes),
                self.ends.side_by_side(slot, records),
                self.fields.side_by_side(slot, fields),
                self.field_ends.side_by_side(slot, field_ends),
            )
        } else {
            self.bytes.gather(pages, slot, &mut scratch.bytes[..bytes]);
            self.ends.gather(pages, slot, &mut scratch.ends[..records]);
            self.fields.gather(pages, slot, reached(&mut scratch.fields, fields));
            self.field_ends.gather(pages, slot, &mut scratch.field_ends[..field_ends]);
            (
                &scratch.bytes[..bytes],
                &scratch.ends[..records],
                &scratch.fields[..fields],
                &scratch.field_ends[..field_ends],
            )
        };
        let run = Run::with_fields(bytes, ends, fields, field_ends);
        Some(Slab { run, first: held.first, last: held.last })
    }

    /// Bytes of records that a job's slab holds; 0 when it has none.
    pub fn slab_len(&mut self, key: SlabKey) -> usize {
        self.index.find(key).map_or(0, |slot| self.held[slot as usize].bytes as usize)
    }

    /// How many slabs are open.
    pub fn slabs(&self) -> usize {
        self.index.count()
    }

    /// Processing time of the first record in a job's slab (ns since the epoch).
    pub fn slab_first(&mut self, key: SlabKey) -> Option<i64> {
        self.index.find(key).map(|slot| self.held[slot as usize].first)
    }

    /// The slab that was begun first.
    pub fn oldest(&self) -> Option<SlabKey> {
        self.index.oldest()
    }

    /// All open slabs, the one that was begun first first.
    pub fn keys(&self) -> impl Iterator<Item = SlabKey> + '_ {
        self.index.keys()
    }

    /// Empties a slab: its memory is free for others. Nothing happens when there is none.
    pub fn release(&mut self, key: SlabKey) {
        if let Some(slot) = self.index.find(key) {
            self.pages.give_back(slot);
            self.index.close(slot);
        }
    }

    /// Memory of the pages that open slabs hold, bytes.
    pub fn used_bytes(&self) -> usize {
        (self.pages.count() - self.pages.free_count()) * PAGE_COST
    }

    /// Memory of all pages, bytes: what [`Ring::used_bytes`] is at most.
    pub fn capacity_bytes(&self) -> usize {
        self.pages.count() * PAGE_COST
    }

    /// Makes sure that a job's slab has pages for one more record; its slot.
    #[inline]
    fn reserve(&mut self, key: SlabKey, now: i64, bytes_max: usize, fields_max: usize) -> Result<u32, Full> {
        let Some(slot) = self.index.find(key) else {
            return self.open(key, now, bytes_max, fields_max);
        };
        let held = &self.held[slot as usize];
        let need = held.pages_with(bytes_max, fields_max);
        if need <= held.pages as usize && held.bytes as usize + bytes_max <= self.slab_bytes {
            return Ok(slot);
        }
        self.grow(slot, need, bytes_max, fields_max)?;
        Ok(slot)
    }

    #[cold]
    fn open(&mut self, key: SlabKey, now: i64, bytes_max: usize, fields_max: usize) -> Result<u32, Full> {
        self.fits_a_slab(bytes_max, fields_max)?;
        let need = Held::new(0, now).pages_with(bytes_max, fields_max);
        self.room_for(need)?;
        let slot = self.pages.begin();
        if self.held.len() <= slot as usize {
            self.held.resize(slot as usize + 1, Held::new(slot, now));
        }
        self.held[slot as usize] = Held::new(slot, now);
        self.reach(slot);
        self.index.open(key, slot);
        self.chain(slot, need);
        Ok(slot)
    }

    #[cold]
    fn grow(&mut self, slot: u32, need: usize, bytes_max: usize, fields_max: usize) -> Result<(), Full> {
        self.fits_a_slab(bytes_max, fields_max)?;
        let held = &self.held[slot as usize];
        let full =
            held.bytes as usize + bytes_max > self.slab_bytes || need > slab_pages_max(self.slab_bytes);
        if full {
            return Err(Full::Slab);
        }
        self.room_for(need - held.pages as usize)?;
        self.chain(slot, need);
        Ok(())
    }

    fn fits_a_slab(&self, bytes_max: usize, fields_max: usize) -> Result<(), Full> {
        let pages_max = slab_pages_max(self.slab_bytes);
        if bytes_max > self.slab_bytes || fields_max > pages_max * PAGE_FIELDS {
            return Err(Full::TooLarge);
        }
        Ok(())
    }

    fn room_for(&self, pages: usize) -> Result<(), Full> {
        match self.index.oldest() {
            Some(oldest) if pages > self.pages.free_count() => Err(Full::Ring { oldest }),
            _ => Ok(()),
        }
    }

    /// Grows a chain to `need` pages, which are free.
    fn chain(&mut self, slot: u32, need: usize) {
        // A busy job's slab grows by a quarter, but takes nothing from many others.
        let more = need + if self.pages.is_crowded() { 0 } else { (need / 4).min(STEP_PAGES) };
        let more = more.min(slab_pages_max(self.slab_bytes));
        loop {
            let held = &mut self.held[slot as usize];
            let have = held.pages as usize;
            if have >= need && (have >= more || !self.pages.is_free(held.tail + 1)) {
                break;
            }
            let tail = self.pages.extend(held.tail);
            held.side_by_side &= tail == held.tail + 1;
            held.tail = tail;
            held.pages += 1;
            self.reach(tail);
        }
    }

    /// A page's memory is there from now on.
    fn reach(&mut self, page: u32) {
        self.bytes.reach(page);
        self.ends.reach(page);
        self.fields.reach(page);
        self.field_ends.reach(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLAB: usize = 16 * 1024;

    fn put(ring: &mut Ring, key: u32, bytes: &[u8]) -> Result<(), Full> {
        ring.append(SlabKey(key), 7, bytes.len(), 0, |writer| writer.put(bytes))
    }

    #[test]
    fn a_slab_holds_records_and_spans() {
        let mut ring = Ring::new(Ring::bytes_min(SLAB), SLAB);
        for i in 0..2i64 {
            let taken = ring.append(SlabKey(3), i, 100, 10, |writer| {
                writer.put(b"<");
                writer.value(b"ab");
                writer.put(b"|");
                writer.value(b"");
                writer.put(b">\n");
            });
            assert_eq!(taken, Ok(()));
        }
        let slab = ring.slab(SlabKey(3)).expect("an open slab");
        assert_eq!((slab.first, slab.last), (0, 1));
        assert_eq!(slab.run.bytes, b"<ab|>\n<ab|>\n");
        assert_eq!((slab.run.ends, slab.run.field_ends), (&[6, 12][..], &[2, 4][..]));
        let spans: Vec<_> = slab.run.fields.iter().map(|span| (span.start, span.end)).collect();
        assert_eq!(spans, [(1, 3), (4, 4), (7, 9), (10, 10)]);
        ring.release(SlabKey(3));
        assert!(ring.slab(SlabKey(3)).is_none());
        assert_eq!((ring.oldest(), ring.used_bytes()), (None, 0));
    }

    #[test]
    fn short_copies_are_whole() {
        let from: Vec<u8> = (1..=100).collect();
        for len in 0..=from.len() {
            let mut to = vec![0; len];
            copy_short(&mut to, &from[..len]);
            assert_eq!(to, from[..len]);
        }
    }

    #[test]
    fn a_record_larger_than_a_slab_is_not_taken() {
        let mut ring = Ring::new(Ring::bytes_min(SLAB), SLAB);
        assert_eq!(put(&mut ring, 1, &[b'x'; SLAB + 1]), Err(Full::TooLarge));
        assert_eq!(ring.oldest(), None);
        assert_eq!(put(&mut ring, 1, &[b'x'; SLAB]), Ok(()));
        assert_eq!(put(&mut ring, 1, b"x"), Err(Full::Slab));
        assert_eq!(put(&mut ring, 1, &[b'x'; SLAB + 1]), Err(Full::TooLarge));
        assert_eq!(ring.slab(SlabKey(1)).expect("open").run.bytes, [b'x'; SLAB]);
    }

    #[test]
    fn a_full_ring_names_the_oldest_and_writes_nothing() {
        let mut ring = Ring::new(Ring::bytes_min(SLAB), SLAB);
        let keys = ring.pages.count() as u32;
        for key in 0..keys {
            assert_eq!(put(&mut ring, key, b"x\n"), Ok(()), "key {key}");
        }
        assert_eq!(ring.used_bytes(), ring.capacity_bytes());
        let full = Err(Full::Ring { oldest: SlabKey(0) });
        assert_eq!(put(&mut ring, keys, b"y\n"), full);
        assert_eq!(put(&mut ring, 5, &[b'y'; PAGE_BYTES]), full);
        assert_eq!(ring.slab(SlabKey(5)).expect("open").run.bytes, b"x\n");
        ring.release(SlabKey(0));
        assert_eq!(put(&mut ring, 5, &[b'y'; PAGE_BYTES]), Ok(()));
        assert_eq!(ring.slab(SlabKey(5)).expect("open").run.bytes.len(), PAGE_BYTES + 2);
    }

    #[test]
    fn memory_that_no_slab_used_was_not_written() {
        let mut ring = Ring::new(64 << 20, SLAB);
        assert_eq!((ring.bytes.written(), ring.fields.written(), ring.held.len()), (0, 0, 0));
        assert_eq!(put(&mut ring, 1, b"x\n"), Ok(()));
        let page = (ring.bytes.written(), ring.fields.written(), ring.held.len());
        assert_eq!(page, (PAGE_BYTES, PAGE_FIELDS, 1));
        // Nor does it come back after a burst: the lowest pages are taken first.
        (0..1000).for_each(|key| assert_eq!(put(&mut ring, key, b"x\n"), Ok(())));
        let burst = ring.bytes.written();
        assert!((1000 * PAGE_BYTES..2100 * PAGE_BYTES).contains(&burst), "{burst} bytes");
        (0..1000).for_each(|key| ring.release(SlabKey(key)));
        for _ in 0..10_000 {
            assert_eq!(put(&mut ring, 7, b"x\n"), Ok(()));
            ring.release(SlabKey(7));
        }
        assert_eq!(ring.bytes.written(), burst);
    }

    #[test]
    fn ten_thousand_slabs_are_counted_and_kept_by_age() {
        let mut ring = Ring::new(96 << 20, SLAB);
        for key in 0..10_000 {
            assert_eq!(put(&mut ring, key * 7, b"x\n"), Ok(()));
        }
        (0..10_000).step_by(3).for_each(|key| ring.release(SlabKey(key * 7)));
        assert_eq!(ring.slabs(), 6666);
        let left = (0..10_000).filter(|key| key % 3 != 0).map(|key| SlabKey(key * 7));
        assert!(ring.keys().eq(left));
        assert_eq!(ring.oldest(), Some(SlabKey(7)));
    }

    #[test]
    fn memory_stays_under_what_was_given() {
        for (bytes, slab) in [(Ring::bytes_min(SLAB), SLAB), (16 << 20, 1 << 20)] {
            let ring = Ring::new(bytes, slab);
            assert!(ring.capacity_bytes() + Scratch::cost(slab) <= bytes);
            assert!(ring.capacity_bytes() + Scratch::cost(slab) + 2 * PAGE_COST > bytes);
        }
    }
}

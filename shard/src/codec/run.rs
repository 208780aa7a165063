//! Run: records as the formatter wrote them, with what it knows of them.
//!
//! Promises: a run is cut at a record without copying or rewriting anything, because its offsets keep counting from
//! where the uncut run began.
//! Must not know: where the records lie, or who reads them.

/// A half-open byte range inside an uncut run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// After the last byte.
    pub end: u32,
}

/// Records, one after the other: a schema-aware encoder need not search for what stands here.
///
/// **Offsets.** `ends` and `fields` count from the first byte of the *uncut* run, of which `base` bytes lie before
/// this one: `bytes[(x - base) as usize]` is the byte at offset `x`. `field_ends` counts from the uncut run's first
/// span, of which `field_base` lie before this run's.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The records' bytes, each record with its line end.
    pub bytes: &'a [u8],
    /// Offset after each record, less `base`.
    pub ends: &'a [u32],
    /// The spans of all records' field values, in order, less `base`; empty when they are not known.
    pub fields: &'a [Span],
    /// For each record the number of spans up to and including it, less `field_base`; empty when `fields` is.
    pub field_ends: &'a [u32],
    /// Bytes of the uncut run before this one.
    pub base: u32,
    /// Spans of the uncut run before this one's.
    pub field_base: u32,
}

impl<'a> Run<'a> {
    /// An uncut run whose fields are not known.
    pub fn new(bytes: &'a [u8], ends: &'a [u32]) -> Run<'a> {
        Run::with_fields(bytes, ends, &[], &[])
    }

    /// An uncut run with its fields.
    pub fn with_fields(
        bytes: &'a [u8],
        ends: &'a [u32],
        fields: &'a [Span],
        field_ends: &'a [u32],
    ) -> Run<'a> {
        debug_assert_eq!(ends.last().map_or(0, |&end| end as usize), bytes.len());
        debug_assert_eq!(field_ends.last().map_or(0, |&end| end as usize), fields.len());
        Run { bytes, ends, fields, field_ends, base: 0, field_base: 0 }
    }

    /// How many records.
    pub fn records(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of the first `records` records.
    pub fn bytes_of(&self, records: usize) -> usize {
        match records {
            0 => 0,
            _ => (self.ends[records - 1] - self.base) as usize,
        }
    }

    /// The spans of the values of some records.
    #[inline]
    pub fn fields_of(&self, records: std::ops::Range<usize>) -> &'a [Span] {
        let before = match records.start {
            0 => 0,
            start => (self.field_ends[start - 1] - self.field_base) as usize,
        };
        match records.end {
            end if end > records.start => {
                &self.fields[before..(self.field_ends[end - 1] - self.field_base) as usize]
            }
            _ => &[],
        }
    }

    /// The run without the first `bytes` bytes of its first record, where no value stands. Panics when that record is
    /// not longer.
    pub fn without_head(&self, bytes: usize) -> Run<'a> {
        assert!(bytes < self.bytes_of(1), "a head of {bytes} bytes is the whole record");
        let base = self.base + bytes as u32;
        debug_assert!(self.fields.first().is_none_or(|value| value.start >= base), "a value in the head");
        Run { bytes: &self.bytes[bytes..], base, ..*self }
    }

    /// The first `records` records, and the rest. Panics when there are fewer.
    pub fn split_at(&self, records: usize) -> (Run<'a>, Run<'a>) {
        let cut = self.bytes_of(records);
        let (bytes, bytes_rest) = self.bytes.split_at(cut);
        let (ends, ends_rest) = self.ends.split_at(records);
        let mut head = Run { bytes, ends, ..*self };
        let mut rest = Run { bytes: bytes_rest, ends: ends_rest, base: self.base + cut as u32, ..*self };
        if !self.field_ends.is_empty() {
            (head.field_ends, rest.field_ends) = self.field_ends.split_at(records);
            rest.field_base = head.field_ends.last().copied().unwrap_or(self.field_base);
            (head.fields, rest.fields) = self.fields.split_at((rest.field_base - self.field_base) as usize);
        }
        (head, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(run: &Run<'a>) -> Vec<Vec<&'a [u8]>> {
        let mut from = run.field_base;
        let mut records = Vec::new();
        for &to in run.field_ends {
            let spans = &run.fields[(from - run.field_base) as usize..(to - run.field_base) as usize];
            let value =
                |span: &Span| &run.bytes[(span.start - run.base) as usize..(span.end - run.base) as usize];
            records.push(spans.iter().map(value).collect());
            from = to;
        }
        records
    }

    #[test]
    fn every_cut_keeps_records_and_fields() {
        let span = |start, end| Span { start, end };
        let fields = [span(1, 3), span(4, 5), span(7, 8), span(10, 12)];
        let run = Run::with_fields(b"<ab.c\n.d\n.ef\n", &[6, 9, 13], &fields, &[2, 3, 4]);
        let all = values(&run);
        assert_eq!(all, [vec![&b"ab"[..], b"c"], vec![b"d"], vec![b"ef"]]);
        for first in 0..=3 {
            let (head, rest) = run.split_at(first);
            for second in 0..=rest.records() {
                let (middle, tail) = rest.split_at(second);
                let parts = [head, middle, tail];
                let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes).copied().collect();
                assert_eq!(bytes, run.bytes);
                assert_eq!(parts.iter().flat_map(values).collect::<Vec<_>>(), all);
                assert_eq!(
                    parts.map(|part| part.bytes_of(part.records())),
                    parts.map(|part| part.bytes.len())
                );
            }
        }
    }

    #[test]
    fn the_first_record_loses_its_head() {
        let span = |start, end| Span { start, end };
        let fields = [span(2, 3), span(6, 7), span(10, 11)];
        let run = Run::with_fields(b",<a>,<b>,<c>", &[4, 8, 12], &fields, &[1, 2, 3]);
        for first in 0..3 {
            let part = run.split_at(first).1.without_head(1);
            let all: [&[u8]; 3] = [b"a", b"b", b"c"];
            assert_eq!(part.bytes, &run.bytes[4 * first + 1..]);
            assert_eq!(values(&part).concat(), all[first..]);
            assert_eq!((part.bytes_of(1), part.bytes_of(part.records())), (3, part.bytes.len()));
            let (head, rest) = part.split_at(1);
            assert_eq!((head.bytes, rest.bytes), part.bytes.split_at(3));
            assert_eq!(values(&rest).concat(), all[first + 1..]);
        }
    }

    #[test]
    #[should_panic(expected = "the whole record")]
    fn a_record_is_not_only_its_head() {
        Run::new(b"ab\n", &[2, 3]).without_head(2);
    }

    #[test]
    fn a_run_without_fields_is_cut() {
        let (head, rest) = Run::new(b"a\nbc\n", &[2, 5]).split_at(1);
        assert_eq!((head.bytes, rest.bytes, rest.base), (&b"a\n"[..], &b"bc\n"[..], 2));
        assert!(rest.split_at(1).1.is_empty());
    }
}

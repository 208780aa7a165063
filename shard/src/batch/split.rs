//! Split: two batches of one that a receiver finds too large (HTTP 413).
//!
//! Promises: the two halves hold the batch's records, each in one of them, in order, and about as many bytes each, and
//! each half has the batch's prefix and suffix. A border is taken only when the borders that were found are exactly
//! one fewer than the records: every true border is among those found (of the last way: if the text is csv), so that none
//! of them is a likeness. Nothing that a disk has bitten makes it panic.
//! Must not know: why, and what the halves are called.
use super::{Container, Framing, ID_OPEN, Part, const_segment, decode, piece_of};
use crate::codec::{Codec, Run};
use crate::limits::CHUNK_BYTES_MAX;
use bytes::Bytes;
use memchr::memmem;
use std::io::{self, BufRead};

/// One half of a batch.
#[derive(Clone, Debug)]
pub struct Half {
    /// Its only piece.
    pub piece: Vec<Bytes>,
    /// Records.
    pub records: u32,
    /// Uncompressed bytes, prefix and suffix included.
    pub raw: u64,
}

/// Why a batch was not split.
#[derive(Debug)]
pub enum SplitError {
    /// It holds one record: nothing to split.
    OneRecord,
    /// Its body is not readable.
    Unreadable(io::Error),
    /// Where its records begin and end cannot be told.
    Unclear,
}

impl std::fmt::Display for SplitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SplitError::OneRecord => write!(f, "the batch holds a single record"),
            SplitError::Unreadable(error) => write!(f, "the batch cannot be decoded: {error}"),
            SplitError::Unclear => {
                write!(f, "where the batch's records begin and end cannot be told from its text")
            }
        }
    }
}

impl std::error::Error for SplitError {}

/// Cuts a batch of `records` records at the border nearest its middle and encodes both halves anew.
pub fn split(
    codec: &mut dyn Codec,
    container: Container,
    framing: &Framing,
    records: u64,
    body: &[Bytes],
) -> Result<[Half; 2], SplitError> {
    let text = decode(codec.kind(), Cuts::new(body)).map_err(SplitError::Unreadable)?;
    if records < 2 {
        return Err(SplitError::OneRecord);
    }
    let inside = inside(framing, &text).ok_or(SplitError::Unclear)?;
    let borders = proven_borders(framing, records, inside).ok_or(SplitError::Unclear)?;
    let middle = |border: &usize| (2 * border).abs_diff(inside.len());
    let cut =
        (0..borders.len()).min_by_key(|&at| middle(&borders[at])).expect("INVARIANT: two records or more");
    let (first, second) = (&inside[..borders[cut]], &inside[borders[cut] + framing.delimiter.len()..]);
    // Offsets in each half: where its records end, the delimiter counted to the record before it.
    let ends = |from: usize, borders: &[usize], len: usize| {
        let inner = borders.iter().map(|border| border + framing.delimiter.len() - from);
        inner.chain([len]).collect::<Vec<_>>()
    };
    let start = borders[cut] + framing.delimiter.len();
    let halves = [
        (first, ends(0, &borders[..cut], first.len())),
        (second, ends(start, &borders[cut + 1..], second.len())),
    ];
    Ok(halves.map(|(records, ends)| half(codec, container, framing, records, &ends)))
}

/// The records of a batch's text: what stands between its prefix and its suffix.
pub(super) fn inside<'a>(framing: &Framing, text: &'a [u8]) -> Option<&'a [u8]> {
    text.strip_prefix(&framing.prefix[..])?.strip_suffix(&framing.suffix[..])
}

/// Where the `records` records of a text end, all but the last one's end; a delimiter may follow. `None`: it is unclear.
pub(super) fn proven_borders(framing: &Framing, records: u64, inside: &[u8]) -> Option<Vec<usize>> {
    let proven = |borders: &Vec<usize>| {
        let mut starts =
            std::iter::once(0).chain(borders.iter().map(|border| border + framing.delimiter.len()));
        let mut ends = borders.iter().copied().chain([inside.len()]);
        // No record is empty.
        borders.len() as u64 + 1 == records && starts.all(|start| ends.next() > Some(start))
    };
    borders(framing, inside).find(proven)
}

/// Where the records of a text may end, all but the last one's end: by the first way, the second way, …
fn borders<'a>(framing: &'a Framing, text: &'a [u8]) -> impl Iterator<Item = Vec<usize>> + 'a {
    let Framing { delimiter, record_prefix, record_suffix, .. } = framing;
    let border = [&record_suffix[..], delimiter, record_prefix].concat();
    let lines = delimiter.is_empty() && (border.is_empty() || record_suffix.ends_with(b"\n"));
    // A line with an id before it makes a record two lines.
    let each = if record_prefix.starts_with(ID_OPEN.as_bytes()) { 2 } else { 1 };
    let newlines = lines.then(|| {
        // The last record's end is no border, whether it has its newline or not.
        let within = &text[..text.len().saturating_sub(1)];
        memchr::memchr_iter(b'\n', within).skip(each - 1).step_by(each).map(|at| at + 1).collect()
    });
    // Neither the first record's prefix nor the last one's suffix belongs to a border.
    let within = || text.strip_prefix(&record_prefix[..])?.strip_suffix(&record_suffix[..]);
    let places = (!border.is_empty()).then(within).flatten().map(|within| {
        let from = |at: usize| memmem::find(&within[at..], &border).map(|found| at + found);
        // They may overlap: of two, either may be the true one.
        let found = std::iter::successors(from(0), |at| from(at + 1));
        found.map(|at| record_prefix.len() + at + record_suffix.len()).collect::<Vec<_>>()
    });
    // In csv a line end may stand between quotes; a quote inside is doubled, so that quotes still come in pairs.
    let quotable = !border.contains(&b'"');
    let unquoted = places.as_ref().filter(|_| quotable).map(|places| unquoted(text, places));
    [newlines, places, unquoted].into_iter().flatten()
}

/// The places before which quotes come in pairs.
fn unquoted(text: &[u8], places: &[usize]) -> Vec<usize> {
    let (mut at, mut open) = (0, false);
    let outside = |place: &&usize| {
        open ^= memchr::memchr_iter(b'"', &text[at..**place]).count() % 2 == 1;
        at = **place;
        !open
    };
    places.iter().filter(outside).copied().collect()
}

/// Encodes one half: segments of at most a chunk's size, or of one longer record.
fn half(
    codec: &mut dyn Codec,
    container: Container,
    framing: &Framing,
    records: &[u8],
    ends: &[usize],
) -> Half {
    let constant = |kind, bytes: &[u8]| (!bytes.is_empty()).then(|| const_segment(kind, bytes));
    let mut parts = Vec::from_iter(constant(codec.kind(), &framing.prefix));
    let (mut start, mut rest) = (0, ends);
    while !rest.is_empty() {
        let fitting = rest.partition_point(|end| end - start <= CHUNK_BYTES_MAX).max(1);
        let (taken, others) = rest.split_at(fitting);
        let run_ends: Vec<u32> = taken.iter().map(|end| (end - start) as u32).collect();
        let end = taken[fitting - 1];
        parts.push(Part::encode(codec, &Run::new(&records[start..end], &run_ends)));
        (start, rest) = (end, others);
    }
    parts.extend(constant(codec.kind(), &framing.suffix));
    let raw = parts.iter().map(|part| u64::from(part.raw_len)).sum();
    Half { piece: piece_of(container, codec.kind(), &parts), records: ends.len() as u32, raw }
}

/// Reads bytes that lie in several pieces of memory.
pub(super) struct Cuts<'a> {
    now: &'a [u8],
    rest: std::slice::Iter<'a, Bytes>,
}

impl<'a> Cuts<'a> {
    pub(super) fn new(cuts: &'a [Bytes]) -> Cuts<'a> {
        Cuts { now: &[], rest: cuts.iter() }
    }
}

impl io::Read for Cuts<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Cuts<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.now.is_empty() {
            match self.rest.next() {
                Some(next) => self.now = next,
                None => break,
            }
        }
        Ok(self.now)
    }

    fn consume(&mut self, read: usize) {
        self.now = &self.now[read..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{CodecKind, Level, codec};

    fn framing([prefix, before, after, delimiter, suffix]: [&str; 5]) -> Framing {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Framing {
            prefix: bytes(prefix),
            record_prefix: bytes(before),
            record_suffix: bytes(after),
            delimiter: bytes(delimiter),
            suffix: bytes(suffix),
        }
    }

    /// Both halves' texts; `None`: it is unclear.
    fn halves(framing: &Framing, records: u64, text: &str) -> Option<[String; 2]> {
        let mut codec = codec(CodecKind::None, Level::Fast);
        match split(
            &mut *codec,
            Container::Members,
            framing,
            records,
            &[Bytes::copy_from_slice(text.as_bytes())],
        ) {
            Ok(halves) => {
                assert_eq!(u64::from(halves[0].records + halves[1].records), records);
                Some(halves.map(|half| String::from_utf8(half.piece.concat()).expect("UTF-8")))
            }
            Err(SplitError::Unclear) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_border_nearest_the_middle_is_taken() {
        let plain = Framing::default();
        for (records, text, first) in [
            (2, "a\nb\n", 2),
            (2, "a\nb", 2),
            (2, "a\nbbbbbbbbbbbb\n", 2),
            (2, "aaaaaaaaaaaa\nb\n", 13),
            (4, "aaa\nbbb\nccc\nddddd\n", 8),
        ] {
            let (a, b) = text.split_at(first);
            assert_eq!(halves(&plain, records, text), Some([a.into(), b.into()]), "{text:?}");
        }
        for (records, text) in [(2, ""), (2, "a\n"), (3, "a\nb\n"), (2, "a\nb\nc\n")] {
            assert_eq!(halves(&plain, records, text), None, "{records} in {text:?}");
        }
    }

    #[test]
    fn a_document_becomes_two_documents() {
        let framing = framing(["{\"events\":[", "\n  {\"info\":{", "}}", ",", "\n]}\n"]);
        let record = |n: u32| format!("\n  {{\"info\":{{\"n\":{n},\"o\":[{{}},{{\"info\":{{}}}}]}}}}");
        let document = |ns: &[u32]| {
            let records: Vec<String> = ns.iter().map(|n| record(*n)).collect();
            format!("{{\"events\":[{}\n]}}\n", records.join(","))
        };
        let got = halves(&framing, 4, &document(&[1, 2, 3, 4]));
        assert_eq!(got, Some([document(&[1, 2]), document(&[3, 4])]));
        // Without its end it is no batch of this framing.
        assert_eq!(halves(&framing, 2, &format!("{{\"events\":[{},{}", record(1), record(2))), None);
    }

    #[test]
    fn a_likeness_of_a_border_makes_it_unclear() {
        let array = framing(["[", "{", "}", ",", "]"]);
        assert_eq!(halves(&array, 2, "[{1},{2}]"), Some(["[{1}]".into(), "[{2}]".into()]));
        assert_eq!(halves(&array, 2, "[{[{1},{2}]},{3}]"), None);
        // What is counted right may still be wrong: no record is empty.
        let lines = framing(["", "", "", "\n", ""]);
        assert_eq!(halves(&lines, 2, "\n\"\n{"), None);
        // The first border that is found is none, the second one is, and they overlap.
        let commas = framing(["", "", "", ",,", ""]);
        assert_eq!(halves(&commas, 2, "a,,,b"), None);
    }

    #[test]
    fn line_ends_between_csvs_quotes_are_no_borders() {
        let csv = framing(["a,b\n", "", "\n", "", ""]);
        let text = "a,b\n1,\"x\"\n2,\"y\n\"\"z\"\"\n\"\n3,\"\"\n";
        let expected = ["a,b\n1,\"x\"\n", "a,b\n2,\"y\n\"\"z\"\"\n\"\n3,\"\"\n"];
        assert_eq!(halves(&csv, 3, text), Some(expected.map(String::from)));
    }

    #[test]
    fn a_record_that_looks_like_the_line_of_an_id_is_none() {
        let ids = framing(["", ID_OPEN, "}\n", "", ""]);
        let line = |id: u32| format!("{ID_OPEN}{id}\"}}}}\n");
        let records: Vec<String> = (0..6).map(|id| line(id) + &line(id)).collect();
        let expected = [records[..3].concat(), records[3..].concat()];
        assert_eq!(halves(&ids, 6, &records.concat()), Some(expected));
        assert_eq!(halves(&ids, 5, &records.concat()), None);
    }
}

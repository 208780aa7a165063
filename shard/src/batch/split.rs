//! Split: two batches of one that a receiver finds too large (HTTP 413).
//!
//! Promises: the two halves hold the batch's records, each in one of them, in order, and about as many bytes each.
//! Must not know: why, and what the halves are called.
use super::{Container, Part, decode, piece_of};
use crate::codec::{Codec, Run};
use crate::limits::CHUNK_BYTES_MAX;
use bytes::Bytes;
use std::io::{self, BufRead};

/// One half of a batch.
#[derive(Clone, Debug)]
pub struct Half {
    /// Its only piece.
    pub piece: Vec<Bytes>,
    /// Records.
    pub records: u32,
    /// Uncompressed bytes.
    pub raw: u64,
}

/// Why a batch was not split.
#[derive(Debug)]
pub enum SplitError {
    /// It holds one record: nothing to split.
    OneRecord,
    /// Its body is not readable.
    Unreadable(io::Error),
}

impl std::fmt::Display for SplitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SplitError::OneRecord => write!(f, "the batch holds a single record"),
            SplitError::Unreadable(error) => write!(f, "the batch cannot be decoded: {error}"),
        }
    }
}

impl std::error::Error for SplitError {}

/// Cuts a batch at the record nearest its middle and encodes both halves anew. A record is what a newline ends.
pub fn split(codec: &mut dyn Codec, container: Container, body: &[Bytes]) -> Result<[Half; 2], SplitError> {
    let records = decode(codec.kind(), Cuts::new(body)).map_err(SplitError::Unreadable)?;
    let cut = middle(&records).ok_or(SplitError::OneRecord)?;
    let (first, second) = records.split_at(cut);
    Ok([first, second].map(|records| half(codec, container, records)))
}

/// The record border nearest the middle.
fn middle(records: &[u8]) -> Option<usize> {
    // The last record's end is no border, whether it has its newline or not.
    let within = &records[..records.len().saturating_sub(1)];
    let middle = records.len() / 2;
    let (left, right) = within.split_at(middle.min(within.len()));
    let before = memchr::memrchr(b'\n', left).map(|at| at + 1);
    let after = memchr::memchr(b'\n', right).map(|at| left.len() + at + 1);
    match (before, after) {
        (Some(before), Some(after)) if after - middle < middle - before => Some(after),
        (before, after) => before.or(after),
    }
}

fn half(codec: &mut dyn Codec, container: Container, records: &[u8]) -> Half {
    let mut parts = Vec::new();
    let mut ends = Vec::new();
    let (mut count, mut start) = (0, 0);
    while start < records.len() {
        ends.clear();
        let mut end = start;
        while end < records.len() {
            let next = memchr::memchr(b'\n', &records[end..]).map_or(records.len(), |at| end + at + 1);
            if end > start && next - start > CHUNK_BYTES_MAX {
                break;
            }
            ends.push((next - start) as u32);
            end = next;
        }
        parts.push(Part::encode(codec, &Run::new(&records[start..end], &ends)));
        count += ends.len() as u32;
        start = end;
    }
    Half { piece: piece_of(container, codec.kind(), &parts), records: count, raw: records.len() as u64 }
}

/// Reads bytes that lie in several pieces of memory.
struct Cuts<'a> {
    now: &'a [u8],
    rest: std::slice::Iter<'a, Bytes>,
}

impl<'a> Cuts<'a> {
    fn new(cuts: &'a [Bytes]) -> Cuts<'a> {
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

    #[test]
    fn the_border_nearest_the_middle_is_taken() {
        let cases: [(&[u8], Option<usize>); 9] = [
            (b"", None),
            (b"a", None),
            (b"a\n", None),
            (b"aaaaaaaaaa\n", None),
            (b"a\nb\n", Some(2)),
            (b"a\nb", Some(2)),
            (b"a\nbbbbbbbbbbbb\n", Some(2)),
            (b"aaaaaaaaaaaa\nb\n", Some(13)),
            (b"aaa\nbbb\nccc\nddddd\n", Some(8)),
        ];
        for (records, expected) in cases {
            assert_eq!(middle(records), expected, "{}", String::from_utf8_lossy(records));
        }
    }
}

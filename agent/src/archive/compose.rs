//! Compose: a file of the archive from the pieces of its batch, and what the index says of it.
//!
//! A quiet domain's hour comes in many small members, one of each commit. Neighbours of them become one, so that a file
//! is neither larger nor slower to read than its records are worth.
//!
//! Promises: the records of the pieces, in their order; every member says its span; large members are moved, never
//! decoded; the same pieces make the same bytes. What is no such member is an error, never a panic: it comes from a disk.
//! Must not know: where the pieces were kept, where the file goes.
use super::{Entry, Slot};
use bytes::Bytes;
use edgepush_shard::batch::span::{self, HEADER_BYTES, Span};
use edgepush_shard::batch::{Part, decode, member};
use edgepush_shard::codec::{Codec, CodecKind, Level, Run, codec};
use std::io;

/// A member below this is small, uncompressed bytes.
const SMALL_BYTES: u32 = 32 << 10;
/// Small neighbours are joined up to this, uncompressed bytes: what one segment has where there is enough of it.
const JOINED_BYTES: u64 = 256 << 10;
/// CRC-32 and length, which end a member.
const TRAILER_BYTES: usize = 8;

/// A file, and its numbers.
#[derive(Debug)]
pub struct Composed {
    /// Its bytes, in order.
    pub body: Vec<Bytes>,
    /// What the index says of it.
    pub entry: Entry,
}

/// Whose file it is.
#[derive(Clone, Copy, Debug)]
pub struct Title<'a> {
    /// Its domain.
    pub domain: &'a str,
    /// Where its slot begins, s since the epoch.
    pub start: i64,
    /// Its serial.
    pub serial: u32,
    /// How long its slot is.
    pub slot: Slot,
    /// When it is published, s since the epoch.
    pub published: i64,
}

/// Makes the file of a batch's body.
///
/// # Errors
/// The body is not made of members that say their span, or one of them is rotten.
pub fn compose(title: Title<'_>, body: &[Bytes]) -> io::Result<Composed> {
    let mut file =
        File { body: Vec::with_capacity(body.len()), entry: empty(title), crc32: Default::default() };
    let (mut small, mut small_raw) = (Vec::new(), 0);
    let mut rest = Rest { parts: body, at: 0 };
    while let Some(found) = rest.next()? {
        let is_small = found.span.raw_bytes < SMALL_BYTES;
        if !is_small || small_raw + u64::from(found.span.raw_bytes) > JOINED_BYTES {
            file.join(std::mem::take(&mut small))?;
            small_raw = 0;
        }
        match is_small {
            true => {
                small_raw += u64::from(found.span.raw_bytes);
                small.push(found);
            }
            false => file.put(found),
        }
    }
    file.join(small)?;
    if file.entry.raw_bytes == 0 {
        return Err(strange("it has no records"));
    }
    file.entry.crc32 = file.crc32.finalize();
    Ok(Composed { body: file.body, entry: file.entry })
}

fn empty(title: Title<'_>) -> Entry {
    let Title { domain, start, serial, slot, published } = title;
    let (domain, numbers) = (domain.to_owned(), (i64::MAX, i64::MIN));
    Entry {
        domain,
        start,
        serial,
        slot,
        bytes: 0,
        raw_bytes: 0,
        records: 0,
        crc32: 0,
        first: numbers.0,
        last: numbers.1,
        published,
    }
}

fn strange(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the batch is no file of an archive: {why}"))
}

/// One member.
struct Found {
    span: Span,
    crc32: u32,
    bytes: Vec<Bytes>,
}

/// A file that is being made.
struct File {
    body: Vec<Bytes>,
    entry: Entry,
    crc32: crc32fast::Hasher,
}

impl File {
    /// Appends a member.
    fn put(&mut self, found: Found) {
        let Span { member_bytes, records, raw_bytes, first, last } = found.span;
        self.body.extend(found.bytes);
        let sum = crc32fast::Hasher::new_with_initial_len(found.crc32, u64::from(raw_bytes));
        self.crc32.combine(&sum);
        self.entry.bytes += u64::from(member_bytes);
        self.entry.raw_bytes += u64::from(raw_bytes);
        self.entry.records += u64::from(records);
        if records > 0 {
            self.entry.first = self.entry.first.min(first);
            self.entry.last = self.entry.last.max(last);
        }
    }

    /// Appends small members as one.
    fn join(&mut self, mut small: Vec<Found>) -> io::Result<()> {
        if small.len() < 2 {
            small.into_iter().for_each(|found| self.put(found));
            return Ok(());
        }
        let packed: Vec<u8> = small.iter().flat_map(|found| &found.bytes).flatten().copied().collect();
        let text = decode(CodecKind::Gzip, &packed[..])?;
        // The frame of a batch has no time: what has records says it.
        small.retain(|found| found.span.records > 0);
        let records = small.iter().map(|found| found.span.records).sum();
        let first = small.iter().map(|found| found.span.first).min().unwrap_or(0);
        let last = small.iter().map(|found| found.span.last).max().unwrap_or(0);
        let mut coder: Box<dyn Codec + Send> = codec(CodecKind::Gzip, Level::Fast);
        let ends = [text.len() as u32];
        let part = Part::encode(&mut *coder, &Run::new(&text, &ends));
        let bytes = member(&part, records, (first, last));
        let span = span::read(&bytes[0]).expect("INVARIANT: a header that was just written");
        self.put(Found { span, crc32: part.crc32, bytes: bytes.to_vec() });
        Ok(())
    }
}

/// What is left of a body.
struct Rest<'a> {
    parts: &'a [Bytes],
    /// In the first of them.
    at: usize,
}

impl Rest<'_> {
    /// The next member; `None`: the body has ended.
    fn next(&mut self) -> io::Result<Option<Found>> {
        let header = self.peek(HEADER_BYTES);
        if header.is_empty() {
            return Ok(None);
        }
        let span = span::read(&header).ok_or_else(|| strange("a member does not say its span"))?;
        let bytes = self.take(span.member_bytes as usize).ok_or_else(|| strange("a member is cut"))?;
        let mut trailer = [0; TRAILER_BYTES];
        let tail = bytes.iter().rev().flat_map(|part| part.iter().rev());
        trailer.iter_mut().rev().zip(tail).for_each(|(to, from)| *to = *from);
        let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
        if u32::from_le_bytes([l0, l1, l2, l3]) != span.raw_bytes {
            return Err(strange("a member's length is not what its span says"));
        }
        Ok(Some(Found { span, crc32: u32::from_le_bytes([c0, c1, c2, c3]), bytes }))
    }

    /// The next bytes, so many if there are.
    fn peek(&self, len: usize) -> Vec<u8> {
        let first = self.parts.first().map(|part| &part[self.at..]).unwrap_or_default();
        let others = self.parts.iter().skip(1).flat_map(|part| part.iter());
        first.iter().chain(others).take(len).copied().collect()
    }

    /// Cuts the next bytes off.
    fn take(&mut self, mut len: usize) -> Option<Vec<Bytes>> {
        let mut taken = Vec::new();
        while len > 0 {
            let part = self.parts.first()?;
            let end = part.len().min(self.at + len);
            taken.push(part.slice(self.at..end));
            len -= end - self.at;
            self.at = end;
            if self.at == part.len() {
                (self.parts, self.at) = (&self.parts[1..], 0);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: Title<'static> =
        Title { domain: "a.example", start: 3600, serial: 2, slot: Slot::Hour, published: 9000 };

    fn one(text: &[u8], records: u32, times: (i64, i64)) -> Vec<u8> {
        let mut coder = codec(CodecKind::Gzip, Level::Fast);
        let part = Part::encode(&mut *coder, &Run::new(text, &[text.len() as u32]));
        member(&part, records, times).concat()
    }

    fn lines(from: u32, to: u32) -> Vec<u8> {
        (from..to)
            .flat_map(|n| format!("{{\"n\":{n},\"path\":\"/some/where/{}\"}}\n", n % 7).into_bytes())
            .collect()
    }

    /// A body in cuts of so many bytes.
    fn cut(body: &[u8], bytes: usize) -> Vec<Bytes> {
        body.chunks(bytes).map(Bytes::copy_from_slice).collect()
    }

    #[test]
    fn small_members_become_one_and_large_ones_stay() {
        let (small, large) = ([lines(0, 100), lines(100, 200), lines(200, 300)], lines(300, 3000));
        let parts = [
            one(&small[0], 100, (50, 60)),
            one(&small[1], 100, (10, 20)),
            one(&large, 2700, (30, 90)),
            one(&small[2], 100, (40, 41)),
        ];
        let body = parts.concat();
        let text = [&small[0][..], &small[1], &large, &small[2]].concat();
        for cuts in [7, 1000, body.len()] {
            let made = compose(TITLE, &cut(&body, cuts)).expect("a file");
            let bytes = made.body.concat();
            assert_eq!(decode(CodecKind::Gzip, &bytes[..]).expect("gzip"), text);
            let mut spans = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let span = span::read(&bytes[at..]).expect("a span");
                at += span.member_bytes as usize;
                spans.push((span.records, span.first, span.last));
            }
            assert_eq!(spans, [(200, 10, 60), (2700, 30, 90), (100, 40, 41)]);
            let Entry { records, raw_bytes, crc32, first, last, bytes: stored, .. } = made.entry;
            assert_eq!((records, raw_bytes, first, last), (3000, text.len() as u64, 10, 90));
            assert_eq!((crc32, stored), (crc32fast::hash(&text), bytes.len() as u64));
            assert!(bytes.windows(parts[2].len()).any(|window| window == parts[2]), "moved as it was");
        }
    }

    #[test]
    fn a_thousand_small_members_are_few() {
        let each: Vec<Vec<u8>> = (0..1000).map(|n| one(&lines(n * 10, n * 10 + 10), 10, (1, 2))).collect();
        let body = each.concat();
        let made = compose(TITLE, &cut(&body, 4096)).expect("a file");
        assert_eq!(made.entry.records, 10_000);
        assert!(made.entry.bytes * 5 < body.len() as u64 * 2, "{} of {}", made.entry.bytes, body.len());
        let again = compose(TITLE, &cut(&body, 999)).expect("a file");
        assert_eq!(made.body.concat(), again.body.concat(), "the same pieces make the same bytes");
    }

    #[test]
    fn what_stands_around_records_has_no_time() {
        let body = [one(b"a,b\n", 0, (0, 0)), one(b"1,2\n", 1, (70, 80))].concat();
        let made = compose(TITLE, &cut(&body, 64)).expect("a file");
        assert_eq!((made.entry.first, made.entry.last, made.entry.records), (70, 80, 1));
    }

    #[test]
    fn what_is_rotten_is_told() {
        let body = [one(&lines(0, 10), 10, (1, 2)), one(&lines(10, 20), 10, (1, 2))].concat();
        let mut rotten = body.clone();
        rotten[HEADER_BYTES + 3] ^= 0xff;
        for bad in [&body[1..], &body[..body.len() - 1], &body[..20], &rotten[..], &[]] {
            assert!(compose(TITLE, &cut(bad, 100)).is_err(), "{} bytes", bad.len());
        }
    }
}

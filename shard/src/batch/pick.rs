//! Pick: some records of a batch by their places, for a receiver that answered them one by one.
//!
//! Promises: a record is found where a split would find it, and has the same bytes in the batch that is made of it; that
//! batch has the framing of the one it comes from. Nothing that a disk has bitten makes it panic.
//! Must not know: why, and what becomes of the records.
use super::split::{Cuts, inside, proven_borders};
use super::{Container, Framing, Half, ID_OPEN, Part, SplitError, const_segment, decode, piece_of};
use crate::codec::{Codec, CodecKind, Run};
use crate::limits::CHUNK_BYTES_MAX;
use bytes::Bytes;
use std::ops::Range;

/// The records of a batch, decoded.
#[derive(Debug)]
pub struct Records {
    framing: Framing,
    text: Vec<u8>,
    /// Where the records lie in the text, the first one's begin and the last one's end.
    inside: Range<usize>,
    /// Where each record ends, from the first one's begin; all but the last one's end.
    borders: Vec<usize>,
}

impl Records {
    /// Decodes a batch that holds so many records. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The body is not readable, or where its records begin and end cannot be told.
    pub fn of(
        kind: CodecKind,
        framing: &Framing,
        records: u64,
        body: &[Bytes],
    ) -> Result<Records, SplitError> {
        let text = decode(kind, Cuts::new(body)).map_err(SplitError::Unreadable)?;
        let found = inside(framing, &text).filter(|found| !found.is_empty()).ok_or(SplitError::Unclear)?;
        let borders = match records {
            0 => None,
            // A single record needs no borders, whatever is in it.
            1 => Some(Vec::new()),
            _ => proven_borders(framing, records, found),
        };
        let borders = borders.ok_or(SplitError::Unclear)?;
        let start = framing.prefix.len();
        let inside = start..start + found.len();
        Ok(Records { framing: framing.clone(), text, inside, borders })
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.borders.len() + 1
    }

    /// Where a record lies in the batch's uncompressed text. Panics beyond the last place.
    pub fn range(&self, place: usize) -> Range<usize> {
        let begin = match place {
            0 => 0,
            _ => self.borders[place - 1] + self.framing.delimiter.len(),
        };
        let end = match self.borders.get(place) {
            Some(border) => *border,
            None if place == self.borders.len() => self.inside.len(),
            None => panic!("record {place} of {}", self.len()),
        };
        self.inside.start + begin..self.inside.start + end
    }

    /// A record as it stands in the batch, without the delimiter. Panics beyond the last place.
    pub fn get(&self, place: usize) -> &[u8] {
        &self.text[self.range(place)]
    }

    /// A record without what every record of its framing begins and ends with, nor a line end; of one with an id the
    /// line behind it, whole.
    pub fn bare(&self, place: usize) -> &[u8] {
        let whole = self.get(place);
        let Framing { record_prefix, record_suffix, .. } = &self.framing;
        if record_prefix.starts_with(ID_OPEN.as_bytes()) {
            let record = memchr::memchr(b'\n', whole).map_or(whole, |end| &whole[end + 1..]);
            return record.strip_suffix(b"\n").unwrap_or(record);
        }
        let bare = whole.strip_prefix(&record_prefix[..]).unwrap_or(whole);
        let bare = bare.strip_suffix(&record_suffix[..]).unwrap_or(bare);
        bare.strip_suffix(b"\n").unwrap_or(bare)
    }

    /// A batch of the records at these places, which are ascending: encoded anew. Panics when there are none.
    pub fn pick(&self, codec: &mut dyn Codec, container: Container, places: &[u32]) -> Half {
        assert!(!places.is_empty(), "a batch without records");
        let kind = codec.kind();
        let constant = |bytes: &[u8]| (!bytes.is_empty()).then(|| const_segment(kind, bytes));
        let mut parts = Vec::from_iter(constant(&self.framing.prefix));
        let (mut run, mut ends) = (Vec::new(), Vec::new());
        for (nth, place) in places.iter().enumerate() {
            let record = self.get(*place as usize);
            if !ends.is_empty() && run.len() + record.len() > CHUNK_BYTES_MAX {
                parts.push(Part::encode(codec, &Run::new(&run, &ends)));
                (run, ends) = (Vec::new(), Vec::new());
            }
            run.extend_from_slice(record);
            if nth + 1 < places.len() {
                run.extend_from_slice(&self.framing.delimiter);
            }
            ends.push(run.len() as u32);
        }
        parts.push(Part::encode(codec, &Run::new(&run, &ends)));
        parts.extend(constant(&self.framing.suffix));
        let raw = parts.iter().map(|part| u64::from(part.raw_len)).sum();
        Half { piece: piece_of(container, kind, &parts), records: places.len() as u32, raw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Level, codec};

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

    fn records(framing: &Framing, records: u64, text: &str) -> Result<Records, SplitError> {
        Records::of(CodecKind::None, framing, records, &[Bytes::copy_from_slice(text.as_bytes())])
    }

    fn picked(records: &Records, places: &[u32]) -> String {
        let mut codec = codec(CodecKind::None, Level::Fast);
        let half = records.pick(&mut *codec, Container::Members, places);
        let text = String::from_utf8(half.piece.concat()).unwrap();
        assert_eq!((half.records as usize, half.raw), (places.len(), text.len() as u64));
        text
    }

    #[test]
    fn lines_keep_their_bytes() {
        let lines = records(&Framing::default(), 4, "a\nbb \nc\nd").unwrap();
        assert_eq!((lines.len(), lines.get(1), lines.bare(1)), (4, &b"bb \n"[..], &b"bb "[..]));
        assert_eq!((lines.range(3), lines.get(3)), (8..9, &b"d"[..]));
        assert_eq!(picked(&lines, &[0, 2]), "a\nc\n");
        assert_eq!(picked(&lines, &[1, 3]), "bb \nd");
        assert_eq!(picked(&lines, &[0, 1, 2, 3]), "a\nbb \nc\nd");
    }

    #[test]
    fn a_document_stays_a_document() {
        let framing = framing(["{\"events\":[", "\n{\"event\":", "}", ",", "]}"]);
        let document = |bodies: &[&str]| {
            let records: Vec<String> = bodies.iter().map(|body| format!("\n{{\"event\":{body}}}")).collect();
            format!("{{\"events\":[{}]}}", records.join(","))
        };
        let whole = document(&["{\"a\":[1,{}]}", "{}", "{\"b\":\"},\"}"]);
        let three = records(&framing, 3, &whole).unwrap();
        assert_eq!(three.bare(0), b"{\"a\":[1,{}]}");
        assert_eq!(&whole[three.range(1)], "\n{\"event\":{}}");
        assert_eq!(picked(&three, &[0, 2]), document(&["{\"a\":[1,{}]}", "{\"b\":\"},\"}"]));
        assert_eq!(picked(&three, &[1]), document(&["{}"]));
    }

    #[test]
    fn what_is_unclear_is_not_picked() {
        let array = framing(["[", "{", "}", ",", "]"]);
        for (count, text) in
            [(2, "[{[{1},{2}]},{3}]"), (3, "[{1},{2}]"), (2, "[{1},{2}"), (1, "[]"), (0, "[{1}]")]
        {
            assert!(matches!(records(&array, count, text), Err(SplitError::Unclear)), "{count} in {text}");
        }
        // One record is all that there is, whatever it looks like.
        assert_eq!(records(&array, 1, "[{[{1},{2}]}]").unwrap().bare(0), b"[{1},{2}]");
    }

    #[test]
    fn large_picks_are_cut_into_segments_at_records() {
        let line = |n: usize| format!("{}{n:04}\n", "x".repeat(300_000 + n));
        let text: String = (0..9).map(line).collect();
        let mut gzip = codec(CodecKind::Gzip, Level::Fast);
        let all = records(&Framing::default(), 9, &text).unwrap();
        for container in [Container::Members, Container::Single] {
            let half = all.pick(&mut *gzip, container, &[0, 1, 2, 3, 4, 6, 8]);
            let body = half.piece.concat();
            let members = body.windows(4).filter(|four| *four == [0x1f, 0x8b, 8, 0]).count();
            assert_eq!(members, if container == Container::Members { 3 } else { 1 });
            let expected: String = [0, 1, 2, 3, 4, 6, 8].map(line).concat();
            assert_eq!(decode(CodecKind::Gzip, &body[..]).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn a_record_with_an_id_is_the_line_behind_it() {
        let framing = framing(["", ID_OPEN, "}\n", "", ""]);
        let record = |id: &str, text: &str| format!("{ID_OPEN}{id}\"}}}}\n{text}\n");
        let text = [record("a", "{\"x\":1}"), record("b", "{}"), record("c", "{\"create\":{\"_id\":\"x\"}}")]
            .concat();
        let found = records(&framing, 3, &text).expect("three records");
        assert_eq!(
            [0, 1, 2].map(|place| found.bare(place)),
            [&b"{\"x\":1}"[..], b"{}", b"{\"create\":{\"_id\":\"x\"}}"]
        );
        assert_eq!(
            picked(&found, &[0, 2]),
            [record("a", "{\"x\":1}"), record("c", "{\"create\":{\"_id\":\"x\"}}")].concat()
        );
    }
}

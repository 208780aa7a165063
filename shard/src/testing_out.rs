//! testing_out: properties of the output half (ring, codecs, containers), for tests and fuzzing.
//!
//! Promises: each property takes arbitrary bytes, builds its case from them, and panics where the case breaks it.
//! Must not know: who drives it.
use crate::batch::{Container, Framing, Part, decode, join, piece_of, split};
use crate::codec::{CodecKind, Level, Run, codec};
use crate::ring::{Full, PAGE_BYTES, RecordSink, Ring, SlabKey};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::Read;

/// Arbitrary numbers out of arbitrary bytes; zeros when they have run out.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.byte() << 8 | self.byte()) % bound.max(1)
    }
}

/// Records made of `bytes`: short and long, compressible and not, each with its newline.
fn records(dice: &mut Dice<'_>) -> Vec<Vec<u8>> {
    let count = 1 + dice.below(40);
    let record = |dice: &mut Dice<'_>| {
        let copies = 1 + dice.byte() % 4 * (dice.byte() % 200);
        let word: Vec<u8> =
            (0..dice.byte() % 12).map(|_| dice.byte() as u8).filter(|&byte| byte != b'\n').collect();
        let mut record = word.repeat(copies);
        record.push(b'\n');
        record
    };
    (0..count).map(|_| record(dice)).collect()
}

/// Cuts bytes into pieces of memory, anywhere.
fn cuts(dice: &mut Dice<'_>, whole: &[Bytes]) -> Vec<Bytes> {
    let mut rest = Bytes::from(whole.concat());
    let mut cuts = Vec::new();
    for _ in 0..dice.byte() % 4 {
        cuts.push(rest.split_to(dice.below(rest.len() + 1)));
    }
    cuts.push(rest);
    cuts
}

/// Segments of arbitrary records → pieces → (cut anywhere) → body gives the records again: every piece alone, the
/// whole body, a single body also for a reader that stops at the first member, and both halves of the split.
pub fn segments(bytes: &[u8]) {
    let mut dice = Dice(bytes);
    let kind = [CodecKind::Gzip, CodecKind::Gzip, CodecKind::Zstd, CodecKind::None][dice.byte() % 4];
    let container = [Container::Members, Container::Single][dice.byte() % 2];
    let mut codec = codec(kind, Level::ALL[dice.byte() % 3]);
    let (mut input, mut pieces, mut lines) = (Vec::new(), Vec::new(), 0);
    for _ in 0..1 + dice.byte() % 4 {
        let (mut parts, from) = (Vec::new(), input.len());
        for _ in 0..dice.byte() % 4 {
            let records = records(&mut dice);
            let ends: Vec<u32> = records
                .iter()
                .scan(0, |end, record| {
                    *end += record.len() as u32;
                    Some(*end)
                })
                .collect();
            let run = records.concat();
            parts.push(Part::encode(&mut *codec, &Run::new(&run, &ends)));
            input.extend_from_slice(&run);
            lines += ends.len();
        }
        let piece = piece_of(container, kind, &parts);
        if !parts.is_empty() {
            let alone = decode(kind, &piece.concat()[..]).expect("a piece decompresses alone");
            assert_eq!(alone, input[from..], "a piece alone");
        }
        pieces.push(cuts(&mut dice, &piece));
    }
    let body = match join(container, kind, pieces) {
        Ok(body) => body,
        Err(error) => return assert!(input.is_empty(), "{error}"),
    };
    assert_eq!(decode(kind, &body.concat()[..]).expect("a body decompresses"), input, "the body");
    if (kind, container) == (CodecKind::Gzip, Container::Single) {
        one_member(&body.concat(), &input);
    }
    if lines > 1 {
        let halves = split(&mut *codec, container, &Framing::default(), lines as u64, &body)
            .expect("more than one record");
        let decoded = halves.each_ref().map(|half| decode(kind, &half.piece.concat()[..]).expect("a half"));
        assert_eq!(decoded.concat(), input, "the halves");
        assert_eq!(halves.iter().map(|half| half.records as usize).sum::<usize>(), lines);
        assert_eq!(halves.each_ref().map(|half| half.raw as usize), decoded.each_ref().map(Vec::len));
        assert!(halves.iter().all(|half| half.records > 0));
    } else {
        assert!(
            split(&mut *codec, container, &Framing::default(), lines as u64, &body).is_err(),
            "one record was split"
        );
    }
}

/// A reader that knows of no second member gets everything, and nothing is left over.
fn one_member(body: &[u8], input: &[u8]) {
    let mut reader = flate2::bufread::GzDecoder::new(body);
    let mut first = Vec::new();
    reader.read_to_end(&mut first).expect("a first member");
    assert_eq!(first, input, "the first member");
    assert!(reader.into_inner().is_empty(), "bytes after the first member");
}

/// Pieces that a disk has bitten are joined or refused, but never panic.
pub fn rotten_pieces(bytes: &[u8]) {
    let mut dice = Dice(bytes);
    let kind = [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None][dice.byte() % 3];
    let container = [Container::Members, Container::Single][dice.byte() % 2];
    let part = Part::encode(&mut *codec(kind, Level::Fast), &Run::new(b"a\nb\n", &[2, 4]));
    let good = piece_of(container, kind, &[part]);
    let mut bad = good.concat();
    let at = dice.below(bad.len());
    match dice.byte() % 3 {
        0 => bad.truncate(at),
        1 => bad[at] ^= 1 << (dice.byte() % 8),
        _ => bad = dice.0.to_vec(),
    }
    let bad = cuts(&mut dice, &[bad.into()]);
    if let Ok(body) = join(container, kind, vec![good, bad]) {
        // Whatever it is, reading it ends, and halving it does too.
        let _ = decode(kind, &body.concat()[..]);
        let _ = split(&mut *codec(kind, Level::Fast), container, &Framing::default(), 3, &body);
    }
}

struct Held {
    key: SlabKey,
    records: Vec<Vec<Vec<u8>>>,
    first: i64,
    last: i64,
}

/// The ring against a list of lists: same records, fields and times out as in, same oldest one, and full only when it
/// may be.
pub fn ring(bytes: &[u8]) {
    const SLAB: usize = 4 * PAGE_BYTES;
    let mut dice = Dice(bytes);
    let mut ring = Ring::new(Ring::bytes_min(SLAB) + dice.byte() % 8 * PAGE_BYTES, SLAB);
    let mut model: VecDeque<Held> = VecDeque::new();
    for now in 0..500 {
        let key = SlabKey((dice.byte() % 9) as u32);
        if dice.byte() % 16 == 0 {
            check_slab(&mut ring, &model, key);
            ring.release(key);
            model.retain(|held| held.key != key);
        }
        let (fields, value_max) = (dice.byte() % 5 * (dice.byte() % 8), [4, 300][dice.byte() % 2]);
        let record: Vec<Vec<u8>> =
            (0..fields).map(|i| vec![b'a' + i as u8; dice.byte() % value_max]).collect();
        let len: usize = 1 + record.iter().map(Vec::len).sum::<usize>();
        let (bytes_max, fields_max) = (len + dice.below(600), fields + dice.byte() % 3);
        let taken = ring.append(key, now, bytes_max, fields_max, |writer| {
            record.iter().for_each(|value| writer.value(value));
            writer.put(b"\n");
        });
        let at = model.iter().position(|held| held.key == key);
        match taken {
            Ok(()) => {
                let at = at.unwrap_or_else(|| {
                    model.push_back(Held { key, records: Vec::new(), first: now, last: now });
                    model.len() - 1
                });
                model[at].records.push(record);
                model[at].last = now;
            }
            Err(Full::Slab) => assert!(at.is_some(), "a slab that is not open is full"),
            Err(Full::Ring { oldest }) => {
                assert!(ring.used_bytes() + SLAB * 3 > ring.capacity_bytes(), "an empty ring is full");
                assert_eq!(Some(oldest), model.front().map(|held| held.key));
                check_slab(&mut ring, &model, oldest);
                ring.release(oldest);
                model.pop_front();
            }
            Err(Full::TooLarge) => panic!("a record of at most {bytes_max} bytes is not large"),
        }
        assert!(ring.keys().eq(model.iter().map(|held| held.key)), "the order of age");
    }
    let keys: Vec<SlabKey> = ring.keys().collect();
    for key in keys {
        check_slab(&mut ring, &model, key);
        ring.release(key);
    }
    assert_eq!(ring.used_bytes(), 0);
}

fn check_slab(ring: &mut Ring, model: &VecDeque<Held>, key: SlabKey) {
    let expected = model.iter().find(|held| held.key == key);
    let slab = ring.slab(key);
    assert_eq!(slab.is_some(), expected.is_some());
    let (Some(slab), Some(expected)) = (slab, expected) else { return };
    assert_eq!((slab.first, slab.last), (expected.first, expected.last));
    let run = slab.run;
    assert_eq!(run.records(), expected.records.len());
    let (mut start, mut field) = (0, 0);
    for (i, values) in expected.records.iter().enumerate() {
        let end = run.bytes_of(i + 1);
        let record = &run.bytes[start..end];
        assert_eq!(record, [values.concat(), b"\n".to_vec()].concat());
        let field_end = run.field_ends.get(i).map_or(0, |&end| end as usize);
        let spans = run.fields[field..field_end].iter();
        let got: Vec<&[u8]> = spans.map(|span| &run.bytes[span.start as usize..span.end as usize]).collect();
        assert_eq!(got, *values, "fields of record {i}");
        (start, field) = (end, field_end);
    }
    assert_eq!((start, field), (run.bytes.len(), run.fields.len()));
}

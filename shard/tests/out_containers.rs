//! Containers, case by case: prefixes and suffixes, what is refused and why, and lengths beyond 32 bits of a batch.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use edgepush_shard::batch::{
    Container, Framing, Malformed, Part, SplitError, const_segment, decode, join, piece_of, split,
};
use edgepush_shard::codec::{CodecKind, Level, Run, codec};

const KINDS: [CodecKind; 3] = [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None];
const CONTAINERS: [Container; 2] = [Container::Members, Container::Single];

fn piece(container: Container, kind: CodecKind) -> Vec<Bytes> {
    piece_of(container, kind, &[Part::encode(&mut *codec(kind, Level::Fast), &Run::new(b"1\n2\n", &[2, 4]))])
}

#[test]
fn prefix_delimiter_and_suffix_are_segments_of_their_own() {
    for (kind, container) in KINDS.into_iter().flat_map(|kind| CONTAINERS.map(|container| (kind, container)))
    {
        let record = Part::encode(&mut *codec(kind, Level::Fast), &Run::new(b"{\"a\":1}", &[7]));
        let [open, comma, close] = [b"[", b",", b"]"].map(|bytes| const_segment(kind, bytes));
        let first = piece_of(container, kind, &[open, record.clone()]);
        let last = piece_of(container, kind, &[comma, record, close]);
        let body = join(container, kind, vec![first, last]).unwrap().concat();
        assert_eq!(decode(kind, &body[..]).unwrap(), b"[{\"a\":1},{\"a\":1}]", "{kind:?} {container:?}");
    }
}

#[test]
fn what_is_no_piece_is_refused_by_name() {
    let join_second = |kind, container, second: Vec<u8>| {
        join(container, kind, vec![piece(container, kind), vec![second.into()]]).unwrap_err()
    };
    for container in CONTAINERS {
        let good = piece(container, CodecKind::Gzip).concat();
        let cut = good[..15].to_vec();
        assert_eq!(join_second(CodecKind::Gzip, container, cut), Malformed::Short { piece: 1, bytes: 15 });
        let foreign = b"{\"a\":1}\n".repeat(10);
        assert_eq!(join_second(CodecKind::Gzip, container, foreign.clone()), Malformed::Start { piece: 1 });
        assert_eq!(join_second(CodecKind::Zstd, container, foreign), Malformed::Start { piece: 1 });
        assert_eq!(join(container, CodecKind::Gzip, vec![vec![], vec![Bytes::new()]]), Err(Malformed::Empty));
    }
    let good = piece(Container::Single, CodecKind::Gzip).concat();
    let torn = good[..good.len() - 1].to_vec();
    assert_eq!(join_second(CodecKind::Gzip, Container::Single, torn), Malformed::End { piece: 1 });
}

#[test]
fn a_commit_that_only_closes_adds_nothing() {
    for container in CONTAINERS {
        let alone =
            join(container, CodecKind::Gzip, vec![piece(container, CodecKind::Gzip)]).unwrap().concat();
        let closed =
            join(container, CodecKind::Gzip, vec![piece(container, CodecKind::Gzip), vec![]]).unwrap();
        assert_eq!(closed.concat(), alone);
        assert_eq!(alone, piece(container, CodecKind::Gzip).concat(), "one piece is a body already");
    }
}

/// More than 4 GiB in one body: gzip's length wraps, the CRC-32 does not.
#[test]
fn lengths_wrap_at_32_bits() {
    let part =
        Part::encode(&mut *codec(CodecKind::Gzip, Level::Fast), &Run::new(&vec![b'a'; 1 << 20], &[1 << 20]));
    let piece = piece_of(Container::Single, CodecKind::Gzip, &vec![part; 1025]);
    let body = join(Container::Single, CodecKind::Gzip, vec![piece; 4]).unwrap().concat();
    assert_eq!(body[body.len() - 4..], (4u32 << 20).to_le_bytes());
    let mut expected = crc32fast::Hasher::new();
    let mebibyte = vec![b'a'; 1 << 20];
    (0..4100).for_each(|_| expected.update(&mebibyte));
    assert_eq!(body[body.len() - 8..body.len() - 4], expected.finalize().to_le_bytes());
}

#[test]
fn a_single_record_is_not_split() {
    for kind in KINDS {
        let mut codec = codec(kind, Level::Fast);
        let one = piece_of(Container::Single, kind, &[Part::encode(&mut *codec, &Run::new(b"one\n", &[4]))]);
        assert!(matches!(
            split(&mut *codec, Container::Single, &Framing::default(), 1, &one),
            Err(SplitError::OneRecord)
        ));
    }
    let rot = [Bytes::from_static(b"no gzip at all, but long enough")];
    let refused =
        split(&mut *codec(CodecKind::Gzip, Level::Fast), Container::Single, &Framing::default(), 2, &rot);
    assert!(matches!(refused, Err(SplitError::Unreadable(_))));
}

//! Properties of framing and parsing on generated lines, and serde_json as a second opinion.
use edgepush_shard::parse::Parser;
use edgepush_shard::record::Way;
use edgepush_shard::testing::corpus::{Rng, edge_lines};
use edgepush_shard::testing::oracle::{DEVIATIONS, Other, naive_object};
use edgepush_shard::testing::property::{
    frames_do_not_depend_on_chunks, learned_is_general, lines_are_frames, records_are_valid,
};
use proptest::prelude::*;
use serde_json::value::RawValue;

/// Members in their order, duplicates included.
struct RawMembers(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for RawMembers {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<RawMembers, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = RawMembers;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<RawMembers, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        from.deserialize_map(Visitor)
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-d]{1,2}",
        1 => Just(r"\u0061".to_owned()),
        1 => r#"([a-zé.]|\\[nt"\\/]){0,4}"#,
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => r#"[ -!#-\[\]-~]{0,40}"#,
        2 => r#"([a-z é\u{10000}\u{7f}]|\\[bfnrt"\\/]|\\u[0-9a-cA-F]{4}){0,20}"#,
        1 => Just(r"\ud800".to_owned()),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => string().prop_map(|body| format!("\"{body}\"")),
        2 => "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,4})?",
        1 => prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t \r")]
}

fn joined(open: &'static str, items: Vec<String>, close: &'static str, space: &'static str) -> String {
    format!("{open}{space}{}{space}{close}", items.join(&format!("{space},{space}")))
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec((key(), value), 0..6), space(), space()).prop_map(|(members, a, b)| {
        let members = members.into_iter().map(|(key, value)| format!("\"{key}\"{a}:{b}{value}"));
        joined("{", members.collect(), "}", b)
    })
}

fn line() -> impl Strategy<Value = String> {
    let value = scalar().prop_recursive(4, 24, 5, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![(items, space()).prop_map(|(items, s)| joined("[", items, "]", s)), object_of(inner)]
    });
    (object_of(value), space()).prop_map(|(object, s)| format!("{s}{object}{s}"))
}

/// Changes a few bytes to those that matter to a parser.
fn mutate(line: &[u8], seed: u64) -> Vec<u8> {
    const BYTES: &[u8] = b"\"\"\\\\{}[]:,,--00159.eE+x \t\0\x1f\x7f\x80\xc3\xa9\xe2\xff\nutfnab";
    const PIECES: [&[u8]; 10] = [
        b"\\xc3\\xa9",
        b"\\x0",
        b"-,",
        b"000",
        b"0.1, 0.2",
        b":,",
        b"\\u00e9",
        b",\"k\":",
        b"\\ud800",
        b"null",
    ];
    let (mut rng, mut line) = (Rng::new(seed), line.to_vec());
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(line.len() as u64 + 1) as usize;
        let end = (at + rng.below(4) as usize).min(line.len());
        match rng.below(4) {
            0 => drop(line.drain(at..end)),
            1 => line.insert(at, BYTES[rng.below(BYTES.len() as u64) as usize]),
            2 => drop(line.splice(at..end, PIECES[rng.below(10) as usize].iter().copied())),
            _ if at < line.len() => line[at] = BYTES[rng.below(BYTES.len() as u64) as usize],
            _ => line.truncate(at / 2),
        }
    }
    line
}

/// serde_json takes exactly what ours takes unrepaired, and finds the same members.
fn serde_agrees(line: &[u8]) {
    let shown = line.escape_ascii().to_string();
    let mut parser = Parser::new();
    let ours = parser.parse(line).ok().filter(|record| record.repairs.is_empty());
    let object = line.trim_ascii_start().first() == Some(&b'{');
    let raw = object && serde_json::from_slice::<&RawValue>(line).is_ok();
    assert_eq!(ours.is_some(), raw, "RawValue and ours differ on {shown}");
    let Some(record) = ours else { return };
    if !shown.contains("\\\\ud") && !shown.contains("\\\\uD") {
        serde_json::from_slice::<serde_json::Value>(line).unwrap_or_else(|e| panic!("Value: {e}: {shown}"));
        let RawMembers(theirs) = serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {shown}"));
        assert_eq!(record.members.len(), theirs.len(), "{shown}");
        for (ours, (key, value)) in record.members.iter().zip(&theirs) {
            assert_eq!(ours.value.of(record.text), value.get().as_bytes(), "{shown}");
            let quoted = &record.text[ours.key.start as usize - 1..ours.key.end as usize + 1];
            assert_eq!(&serde_json::from_slice::<String>(quoted).expect("a key"), key, "{shown}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn valid_lines_are_records(line in line()) {
        prop_assert!(naive_object(line.as_bytes()).is_some(), "the generator writes valid lines: {line}");
        records_are_valid(line.as_bytes());
        serde_agrees(line.as_bytes());
    }

    #[test]
    fn mutated_lines_are_repaired_or_rejected(line in line(), seed in any::<u64>()) {
        let line = mutate(line.as_bytes(), seed);
        records_are_valid(&line);
        serde_agrees(&line);
    }

    #[test]
    fn arbitrary_bytes_are_survived(line in prop::collection::vec(any::<u8>(), 0..60)) {
        records_are_valid(&line);
        serde_agrees(&line);
        learned_is_general(std::iter::once(&line[..]));
    }

    #[test]
    fn learned_and_general_agree(lines in prop::collection::vec(line(), 1..5), seeds in prop::array::uniform12(any::<u64>())) {
        let mutants: Vec<Vec<u8>> = seeds.iter().enumerate()
            .map(|(at, &seed)| mutate(lines[at % lines.len()].as_bytes(), seed)).collect();
        let valid = lines.iter().map(|line| line.as_bytes());
        learned_is_general(valid.clone().chain(mutants.iter().map(|line| &line[..])).chain(valid));
    }

    #[test]
    fn frames_are_the_same_wherever_a_chunk_is_cut(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0xef), Just(0xbb), Just(0xbf)], 0..40),
        cut in 0..40usize,
    ) {
        frames_do_not_depend_on_chunks(&bytes, cut);
        frames_do_not_depend_on_chunks(&[b"\xef\xbb\xbf", &bytes[..]].concat(), cut);
    }
}

#[test]
fn mutated_edge_lines_are_the_same_both_ways() {
    let bytes = edge_lines(3, 300);
    let lines: Vec<Vec<u8>> = bytes
        .split(|&b| b == b'\n')
        .enumerate()
        .map(|(at, line)| if at % 2 == 0 { line.to_vec() } else { mutate(line, at as u64) })
        .collect();
    learned_is_general(lines.iter().map(|line| &line[..]));
    for line in &lines {
        records_are_valid(line);
        serde_agrees(line);
    }
}

#[test]
fn the_named_deviations_are_what_they_say() {
    for deviation in DEVIATIONS {
        let line = deviation.example();
        let ours = Parser::new().parse(line.as_bytes()).is_ok();
        let theirs = match deviation.other {
            Other::SimdJson => simd_json::to_tape(&mut line.clone().into_bytes()).is_ok(),
            Other::SerdeValue => serde_json::from_str::<serde_json::Value>(&line).is_ok(),
            Other::SerdeRaw => serde_json::from_str::<&RawValue>(&line).is_ok(),
        };
        assert_eq!((ours, theirs), (deviation.ours_takes, !deviation.ours_takes), "{}", deviation.name);
    }
}

#[test]
fn shapes_that_begin_alike_are_told_apart_and_learned() {
    let lines: [&[u8]; 6] = [
        br#"{"a":1,"b":2,"c":3}"#,
        br#"{"x":1,"b":2,"d":3}"#,
        br#"{"a":1,"b":2,"d":3}"#,
        br#"{"a":1,"b":2}"#,
        br#"{"a":1,"b":2,"c":3,"d":4}"#,
        br#"{"a": 1,"b":2,"c":3}"#,
    ];
    let mut parser = Parser::new();
    for round in 0..3 {
        // Forth and back, so that each shape is met after several others.
        for line in lines.into_iter().chain(lines.into_iter().rev()) {
            let way = parser.parse(line).expect("a record").way;
            assert!(round == 0 || way == Way::Learned, "{}", line.escape_ascii());
        }
    }
    // Beginning like one shape and ending like another is a shape of its own.
    let twisted: [&[u8]; 3] = [br#"{"x":1,"b":2,"c":3}"#, br#"{"x":1,"b":2}"#, br#"{"x": 1,"b":2,"d":3}"#];
    learned_is_general(lines.into_iter().chain(twisted).chain(lines));
}

/// Lines of one server, most of one shape, some strange.
fn log() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        6 => "[a-z/.]{0,30}".prop_map(|v| format!("\"{v}\"")),
        3 => scalar(),
        1 => Just("[1,\n2]".to_owned()),
        1 => Just("{\"q\":[\"\\\"\",{}]}".to_owned()),
    ];
    let line = prop_oneof![
        8 => (value.clone(), value.clone(), scalar()).prop_map(|(a, b, c)| format!("{{\"time\":{a},\"a long key of more than 32 bytes\":{b},\"c\":{c}}}")),
        2 => line(),
        1 => r#"[ -~]{0,40}"#,
        1 => Just(String::new()),
    ];
    let end = prop_oneof![9 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\\\n"), 1 => Just("é\n"), 1 => Just("\x07\n")];
    prop::collection::vec((line, end), 0..60).prop_map(|lines| {
        let joined: String = lines.into_iter().flat_map(|(line, end)| [line, end.to_owned()]).collect();
        joined.into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn lines_by_marks_are_lines_one_by_one(log in log(), start in 0..2_u64, noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut log = log;
        for (at, byte) in noise {
            if !log.is_empty() {
                let at = at.index(log.len());
                log[at] = byte;
            }
        }
        lines_are_frames(&log, start * 7);
    }
}

#[test]
fn lines_longer_than_what_is_marked_at_once() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(200_000));
    let short = "{\"a\":\"y\"}";
    let log = [short, &long, short, short, &long, short].join("\n");
    lines_are_frames(log.as_bytes(), 5);
    let many = format!("{short}\n").repeat(30_000);
    lines_are_frames(many.as_bytes(), 0);
}

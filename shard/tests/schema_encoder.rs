//! The schema-aware encoder: its hazards one by one, and anything at all by property. Every body is decoded by zlib-rs.
use edgepush_shard::codec::{Codec, CodecKind, Deflate, Form, Level, Run, Span, codec};
use edgepush_shard::deflate::{Effort, SchemaDeflate, SchemaEncoder};
use edgepush_shard::scan::Simd;
use edgepush_shard::testing::corpus::Rng;
use edgepush_shard::testing::property::{efforts, runs_are_encoded};
use proptest::prelude::*;

/// Records of `key`, value pairs, with their spans.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    fields: Vec<Span>,
    field_ends: Vec<u32>,
}

impl Records {
    fn push(&mut self, parts: &[(&[u8], &[u8])], end: &[u8]) {
        for (key, value) in parts {
            self.bytes.extend_from_slice(key);
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(value);
            self.fields.push(Span { start, end: self.bytes.len() as u32 });
        }
        self.bytes.extend_from_slice(end);
        self.ends.push(self.bytes.len() as u32);
        self.field_ends.push(self.fields.len() as u32);
    }

    fn of(mut each: impl FnMut(usize, &mut Records), count: usize) -> Records {
        let mut records = Records::default();
        (0..count).for_each(|n| each(n, &mut records));
        records
    }

    fn run(&self) -> Run<'_> {
        Run::with_fields(&self.bytes, &self.ends, &self.fields, &self.field_ends)
    }

    /// Sizes of the body, alike at every level.
    #[track_caller]
    fn check(&self) -> usize {
        let body = |(level, effort)| SchemaEncoder::new(level, effort).check(&self.run());
        let bodies: Vec<(Effort, Vec<u8>)> =
            efforts().map(|way: (Simd, Effort)| (way.1, body(way))).collect();
        let alike = |a: &(Effort, Vec<u8>), b: &(Effort, Vec<u8>)| a.0 != b.0 || a.1 == b.1;
        assert!(bodies.iter().all(|a| bodies.iter().all(|b| alike(a, b))), "levels differ");
        bodies[0].1.len()
    }
}

fn two(records: &mut Records, a: &str, b: &str) {
    records.push(&[(b"{\"a\":\"", a.as_bytes()), (b"\",\"b\":", b.as_bytes())], b"}\n");
}

#[test]
fn hazard_1_a_value_that_begins_like_an_earlier_one() {
    let numbers = ["0.0", "0.003", "0.00", "0", "0.0031", "1", "10", "100"];
    let records = Records::of(|n, r| two(r, numbers[n * 7 % 8], numbers[n * 5 % 8]), 500);
    assert!(records.check() < records.bytes.len() / 4);
}

#[test]
fn hazard_2_a_match_that_goes_on_at_another_distance() {
    let mut rng = Rng::new(2);
    let words = ["alpha", "alphabet", "alphabetical", "beta", "betray"];
    let mut pick = |_: usize| words[rng.below(5) as usize];
    let records = Records::of(|n, r| two(r, &format!("{}{}", pick(n), pick(n)), pick(n)), 800);
    records.check();
}

#[test]
fn hazard_3_a_value_in_the_middle_of_another_one() {
    let records =
        Records::of(|n, r| two(r, &format!("/a/{}/b/{}", n % 7, n % 3), &format!("\"/b/{}\"", n % 3)), 600);
    records.check();
}

#[test]
fn hazard_4_empty_values() {
    let records = Records::of(
        |n, r| {
            let value: &[u8] = if n % 3 == 0 { b"" } else { b"x" };
            r.push(&[(b"", value), (b"", b""), (b"k", value), (b"", b"")], b"");
            r.bytes.push(b'\n');
            *r.ends.last_mut().expect("one was pushed") += 1;
        },
        900,
    );
    records.check();
}

#[test]
fn hazard_5_and_6_nothing_before_the_run_is_used() {
    let records = Records::of(|n, r| two(r, "same", &format!("{}", n % 2)), 200);
    for (level, effort) in efforts() {
        let mut encoder = SchemaEncoder::new(level, effort);
        for cut in [1, 2, 3, 100, 199] {
            let (head, rest) = records.run().split_at(cut);
            encoder.check(&head);
            encoder.check(&rest);
        }
    }
}

#[test]
fn hazard_7_the_text_is_all_the_memory_there_is() {
    // Small runs on memory of their own: the address sanitizer's stage sees a byte too far.
    for len in 1..140 {
        let mut records = Records::default();
        two(&mut records, &"v".repeat(len), "1");
        let exact = records.bytes.clone().into_boxed_slice();
        let run = Run::with_fields(&exact, &records.ends, &records.fields, &records.field_ends);
        for (level, effort) in efforts() {
            SchemaEncoder::new(level, effort).check(&run);
        }
        two(&mut records, &"v".repeat(len), "22");
        records.check();
    }
}

#[test]
fn hazard_8_layouts_change_inside_a_run() {
    let records = Records::of(
        |n, r| match n % 5 {
            0 => r.push(&[(b"{\"a\":\"", b"x"), (b"\",\"b\":\"", b"y"), (b"\",\"c\":", b"1")], b"}\n"),
            1 => r.push(&[(b"{\"a\":\"", b"x"), (b"\",\"c\":", b"1")], b"}\n"),
            2 => r.push(&[(b"{\"b\":\"", b"y"), (b"\",\"a\":\"", b"x"), (b"\",\"c\":", b"2")], b"}\n"),
            3 => r.push(&[(b"{\"a\":\"", b"x"), (b"\",\"b\":", b"null"), (b",\"c\":", b"1")], b"}\n"),
            _ => r.push(&[], b"{}\n"),
        },
        2000,
    );
    assert!(records.check() < records.bytes.len() / 5);
}

#[test]
fn hazard_9_bytes_that_are_no_ascii() {
    let records = Records::of(|n, r| two(r, &format!("Ağaç-{}-ü", n % 9), &format!("\"日本{n}\"")), 700);
    assert!(records.check() < records.bytes.len() / 2);
}

#[test]
fn a_run_that_is_nothing_but_noise_is_stored_or_general() {
    let mut rng = Rng::new(9);
    let records = Records::of(
        |_, r| {
            let noise: Vec<u8> = (0..200).map(|_| rng.below(256) as u8).collect();
            r.push(&[(b"", &noise)], b"\n");
        },
        2000,
    );
    records.check();
}

#[test]
fn codes_change_with_the_text() {
    let mut rng = Rng::new(5);
    let records = Records::of(
        |n, r| {
            let letters: &[u8] = if n < 3000 { b"abcd" } else { b"wxyz" };
            let value: Vec<u8> = (0..120).map(|_| letters[rng.below(4) as usize]).collect();
            r.push(&[(b"{\"v\":\"", &value)], b"\"}\n");
        },
        6000,
    );
    // Two bits a letter, and a little: a table of the first letters would spend fourteen bits on the others.
    assert!(records.check() < records.bytes.len() * 3 / 10, "{} of {}", records.check(), records.bytes.len());
}

#[test]
fn what_repeats_inside_of_values_goes_to_the_general_encoder() {
    let mut rng = Rng::new(3);
    let words =
        ["timeout", "upstream", "connection", "refused", "while", "reading", "response", "header", "client"];
    let records = Records::of(
        |_, r| {
            let text: Vec<&str> = (0..8).map(|_| words[rng.below(3) as usize]).collect();
            r.push(&[(b"{\"message\":\"", text.join(" ").as_bytes())], b"\"}\n");
        },
        2000,
    );
    let mut encoder = SchemaDeflate::new(Effort::Least, Box::new(Deflate::new(1)));
    let mut body = Vec::new();
    encoder.encode(Form::ONLY, &records.run(), &mut body);
    assert_eq!((encoder.encoded().general, encoder.encoded().schema), (1, 0));
    let records = Records::of(|_, r| two(r, "some host", &rng.below(100_000).to_string()), 4000);
    let mut encoder = SchemaDeflate::new(Effort::Least, Box::new(Deflate::new(1)));
    encoder.encode(Form::ONLY, &records.run(), &mut body);
    encoder.encode(Form::ONLY, &records.run(), &mut body);
    assert_eq!((encoder.encoded().general, encoder.encoded().schema), (0, 2));
    assert!(encoder.encoded().verified >= 1 && encoder.encoded().wrong == 0);
}

#[test]
fn levels_trade_speed_for_bytes() {
    let mut rng = Rng::new(11);
    let records = Records::of(
        |_, r| {
            two(r, &format!("/v{}/{:04x}", rng.below(9), rng.below(3000)), &rng.below(100_000).to_string())
        },
        20_000,
    );
    let size = |level: Level| {
        let mut body = Vec::new();
        codec(CodecKind::Gzip, level).encode(Form::ONLY, &records.run(), &mut body);
        body.len()
    };
    let [fast, balanced, small] = Level::ALL.map(size);
    assert!(fast >= balanced && balanced >= small, "{fast} {balanced} {small}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_with_any_values(
        bytes in prop::collection::vec(prop_oneof![6 => 97..=99_u8, 1 => any::<u8>()], 0..6000),
        cuts in prop::collection::vec((0..40_u16, 0..100_u16), 0..300),
    ) {
        runs_are_encoded(&bytes, &cuts);
    }

    #[test]
    fn long_values(cuts in prop::collection::vec((0..6_u16, 0..1500_u16), 0..60), period in 1..400_usize) {
        let bytes: Vec<u8> = (0..40_000).map(|at| b'a' + (at % period % 23) as u8).collect();
        runs_are_encoded(&bytes, &cuts);
    }
}

/// The codes suit the first batches; then come only short matches and bytes that had not been seen: the room that is reserved must do.
#[test]
fn codes_that_do_not_suit_take_no_more_room_than_there_is() {
    let mut rng = Rng::new(21);
    let records = Records::of(
        |n, r| {
            if n < 4000 {
                r.push(&[(b"", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], b"\n");
            } else {
                let byte = [128 + rng.below(100) as u8, b'\r', 128 + rng.below(3) as u8];
                r.push(&[(b"", &byte), (b"\x01", &byte[..1]), (b"", &byte)], b"\n");
            }
        },
        40_000,
    );
    records.check();
}

/// A value of `len` letters of an alphabet, then one of a few.
fn letters(rng: &mut Rng, len: usize, alphabet: &[u8], records: &mut Records) {
    let value: Vec<u8> = (0..len).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect();
    let few = [b"HIT", b"GET", b"200"][rng.below(3) as usize];
    records.push(&[(b"{\"first\":\"", &value), (b"\",\"second\":\"", few)], b"\"}\n");
}

fn fast() -> SchemaDeflate {
    SchemaDeflate::new(Effort::Least, Box::new(Deflate::new(1)))
}

/// Bytes of the bodies of runs of so many records, in turn, each under its own form.
fn bodies(encoder: &mut SchemaDeflate, all: &[(Form, &Records)], records: usize) -> usize {
    let (mut bytes, mut body) = (0, Vec::new());
    let mut rests: Vec<(Form, Run<'_>)> = all.iter().map(|(form, records)| (*form, records.run())).collect();
    while rests.iter().any(|(_, rest)| !rest.is_empty()) {
        for (form, rest) in &mut rests {
            let (head, tail) = rest.split_at(records.min(rest.records()));
            *rest = tail;
            if head.is_empty() {
                continue;
            }
            body.clear();
            // Debug builds decode and compare each.
            encoder.encode(*form, &head, &mut body);
            bytes += body.len();
        }
    }
    assert_eq!((encoder.encoded().wrong, encoder.encoded().general), (0, 0));
    bytes
}

#[test]
fn what_is_learnt_of_one_form_says_nothing_of_another() {
    let mut rng = Rng::new(31);
    let of = |rng: &mut Rng, alphabet: &[u8]| Records::of(|_, r| letters(rng, 40, alphabet, r), 4000);
    let (one, other) = (of(&mut rng, b"abcdefgh"), of(&mut rng, b"STUVWXYZ"));
    let alone = bodies(&mut fast(), &[(Form(1), &one)], 20) + bodies(&mut fast(), &[(Form(1), &other)], 20);
    let apart = bodies(&mut fast(), &[(Form(1), &one), (Form(2), &other)], 20);
    let mixed = bodies(&mut fast(), &[(Form(1), &one), (Form(1), &other)], 20);
    // What is left in the tables of values is of either: chance matches.
    assert!(apart.abs_diff(alone) * 500 < alone, "{apart} in turn, {alone} alone");
    assert!(mixed * 100 > apart * 104, "{mixed} with one form, {apart} with two");
}

#[test]
fn more_forms_than_are_kept_are_encoded() {
    let mut rng = Rng::new(37);
    let records = Records::of(|_, r| letters(&mut rng, 40, b"abcdefgh", r), 60);
    let all: Vec<(Form, &Records)> = (0..200).map(|form| (Form(form * 77), &records)).collect();
    bodies(&mut fast(), &all, 20);
}

#[test]
fn one_record_takes_the_codes_of_those_before() {
    let mut rng = Rng::new(41);
    let records = Records::of(|_, r| letters(&mut rng, 300, b"abcdefgh", r), 3000);
    let each = bodies(&mut fast(), &[(Form::ONLY, &records)], 1) / 3000;
    let record = records.bytes.len() / 3000;
    // Three bits a letter, and a header. With codes of nothing it would be stored.
    assert!(each < record * 7 / 10, "{each} of {record} bytes");
}

/// The distance to the first record is longer than what lies before the second one's first value.
#[test]
fn the_second_record_repeats_the_first() {
    let mut rng = Rng::new(43);
    let keys: Vec<String> = (0..20).map(|n| format!("\",\"the_key_of_the_value_{n}\":\"")).collect();
    let mut record = |records: &mut Records| {
        let values: Vec<String> = keys.iter().map(|_| format!("{:05x}", rng.below(1 << 20))).collect();
        let parts: Vec<_> =
            keys.iter().zip(&values).map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
        records.push(&parts, b"\"}\n");
    };
    let mut one = Records::default();
    record(&mut one);
    let mut two = Records::default();
    (0..2).for_each(|_| record(&mut two));
    let (one, two) = (one.check(), two.check());
    // Twenty values of five random digits, and a match between any two.
    assert!(two - one < 150, "{one} bytes, {two} for two records");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    /// What an encoder remembers of other texts is never taken for its own text.
    #[test]
    fn short_runs_of_anything_after_one_another(
        texts in prop::collection::vec((0..3_u32, 1..30_usize, 1..60_usize, any::<u64>()), 1..30),
    ) {
        let mut encoder = fast();
        for (form, records, len, seed) in texts {
            let mut rng = Rng::new(seed);
            let records = Records::of(
                |n, r| {
                    let value: Vec<u8> = (0..len).map(|_| b'a' + rng.below(3 + n as u64 % 3) as u8).collect();
                    r.push(&[(b"{\"k\":", &value), (b",", &value[..len / 2]), (b",\"m\":", b"1")], b"}\n");
                },
                records,
            );
            let mut body = Vec::new();
            encoder.encode(Form(form), &records.run(), &mut body);
            prop_assert_eq!(encoder.encoded().wrong, 0);
        }
    }
}

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

//! Times: what is understood and how it is written, with jiff as the oracle.
use edgepush_shard::time::{Time, TimeFormat};
use jiff::Timestamp;
use proptest::prelude::*;

fn written(text: &str, format: TimeFormat) -> Option<String> {
    let mut out = Vec::new();
    let time = Time::parse(text.as_bytes())?;
    time.write(format, &mut out).then(|| String::from_utf8(out).expect("ASCII"))
}

fn nanos(text: &str) -> Option<String> {
    written(text, TimeFormat::UnixNano)
}

#[test]
fn numbers_are_what_their_size_makes_them() {
    for (text, expected) in [
        ("0", "0"),
        ("1506702504", "1506702504000000000"),
        ("1506702504433", "1506702504433000000"),
        ("1506702504433000", "1506702504433000000"),
        ("1506702504433000200", "1506702504433000200"),
        ("1506702504.433", "1506702504433000000"),
        ("1506702504.4330002009", "1506702504433000200"),
        ("1506702504433.5", "1506702504433500000"),
        ("1.506702504e9", "1506702504000000000"),
        ("1.506702504433E+18", "1506702504433000000"),
        ("15067025044e-1", "1506702504400000000"),
        ("-1.5", "-1500000000"),
        ("-0.0000000001", "-1"),
        ("99999999999", "null"),
        ("100000000000", "100000000000000000"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "null"),
    ] {
        let expected = Some(expected).filter(|expected| *expected != "null");
        assert_eq!(nanos(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn what_is_no_time_is_none() {
    for text in [
        "",
        "-",
        "null",
        "x",
        "1.",
        ".5",
        "1e",
        "1e100",
        "1 ",
        " 1",
        "+1",
        "12:00:00",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+1",
        "2024-01-01T00:00:00ZZ",
        "2024-01-01T00:00:00+1:00",
        "2024-01-01X00:00:00Z",
        "10/Oct/2000:13:55:36 -070",
        "10/Oct/2000:13:55:36-0700",
        "10/Oct/2000:13:55:36.",
        "10/Oct/2000 13:55:36 -0700",
        "[10/Oct/2000:13:55:36 -0700",
        "31/Sep/2000:13:55:36 -0700",
        "10/oct/2000:13:55:36 -0700",
        "10/Oct/2000:24:00:00 -0700",
        "123456789012345678901234567",
    ] {
        assert_eq!(Time::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn access_logs_have_times_of_their_own() {
    for (text, expected) in [
        ("10/Oct/2000:13:55:36 -0700", "971211336000000000"),
        ("[10/Oct/2000:13:55:36 -0700]", "971211336000000000"),
        ("10/Oct/2000:20:55:36", "971211336000000000"),
        ("10/Oct/2000:20:55:36.123", "971211336123000000"),
        ("29/Feb/2024:23:59:60 +0100", "1709247599000000000"),
        ("01/Jan/1970:00:00:00 +0000", "0"),
    ] {
        assert_eq!(nanos(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn each_format_has_its_digits() {
    let all = |text: &str| TimeFormat::ALL.map(|format| written(text, format).unwrap_or_default());
    let expected = [
        "1506702504433000200",
        "1506702504",
        "\"2017-09-29T16:28:24Z\"",
        "\"2017-09-29T16:28:24.433Z\"",
        "\"2017-09-29T16:28:24.433000200Z\"",
    ];
    assert_eq!(all("1506702504433000200"), expected);
    assert_eq!(all("2017-09-29T18:28:24.4330002+02:00"), expected);
    assert_eq!(all("2017-09-29t18:28:24.4330002+0200"), expected);
    assert_eq!(all("2017-09-29 18:28:24.4330002009+02"), expected);
    let before = ["-1500000000", "-2", "\"1969-12-31T23:59:58Z\"", "\"1969-12-31T23:59:58.500Z\""];
    assert_eq!(all("-1.5")[..4], before);
    assert_eq!(all("0001-01-01T00:00:00Z")[..3], ["", "-62135596800", "\"0001-01-01T00:00:00Z\""]);
    assert_eq!(all("9999-12-31T23:59:59-01:00")[..3], ["", "253402304399", ""]);
}

proptest! {
    #[test]
    fn every_time_is_written_as_jiff_writes_it(nanos in any::<i64>(), minutes in -1439_i32..1440) {
        let oracle = Timestamp::from_nanosecond(i128::from(nanos)).expect("in range");
        let time = Time { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as u32 };
        let written = TimeFormat::ALL.map(|format| {
            let mut out = Vec::new();
            prop_assert!(time.write(format, &mut out) && out.len() <= Time::BYTES_MAX);
            Ok(String::from_utf8(out).expect("ASCII"))
        });
        let floor = |unit: i64| Timestamp::from_nanosecond(i128::from(nanos.div_euclid(unit) * unit));
        let expected = [
            nanos.to_string(),
            nanos.div_euclid(1_000_000_000).to_string(),
            format!("\"{:.0}\"", floor(1_000_000_000).unwrap_or(oracle)),
            format!("\"{:.3}\"", floor(1_000_000).unwrap_or(oracle)),
            format!("\"{oracle:.9}\""),
        ];
        // At the low end of 64 bits the floor to a second does not fit: jiff rounds towards zero there.
        if nanos > i64::MIN + 1_000_000_000 {
            for (written, expected) in written.into_iter().zip(expected) {
                prop_assert_eq!(written?, expected);
            }
        }
        // And read again, in any zone.
        let offset = jiff::tz::Offset::from_seconds(minutes * 60).expect("in range");
        let text = oracle.display_with_offset(offset).to_string();
        prop_assert_eq!(Time::parse(text.as_bytes()), Some(time), "{}", text);
    }

    #[test]
    fn what_jiff_reads_is_read_alike(
        year in 1700_i32..2200, month in 0_u8..14, day in 0_u8..33, clock in (0_u8..25, 0_u8..61, 0_u8..61),
        fraction in "(\\.[0-9]{1,9})?", zone in "(Z|z|[+-][01][0-9]:[0-5][0-9])",
    ) {
        let (hour, minute, second) = clock;
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
        let oracle = text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond);
        let got = Time::parse(text.as_bytes()).map(|t| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos));
        prop_assert_eq!(got, oracle, "{}", text);
    }

    #[test]
    fn nothing_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Time::parse(&text);
        let _ = Time::of_rfc3339(&text);
        let _ = Time::of_number(&text);
    }
}

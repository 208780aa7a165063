//! Text formats against the plain way, and against the servers' own hands: what is written is what is read.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::format::{Absent, Escape, Field, Format, Kind, Pattern, Piece, Reader, Stand};
use edgepush_shard::testing::format::{
    Hand, formats_and_lines_are_survived, line_of, naive, read_all, rows_are_cells, text_field,
    values_are_naive, written,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// Bytes that mean something to somebody.
fn nasty_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"\"\\ #-[]{}|/:,=x2n\t\r\x0b\x08\x0c\x01\x7f".to_vec()),
        2 => any::<u8>().prop_filter("a line has no line end", |byte| *byte != b'\n'),
        4 => b'a'..=b'z',
    ];
    prop::collection::vec(byte, 0..24)
}

/// Text that is UTF-8, line ends included: servers escape them.
fn nasty_text() -> impl Strategy<Value = String> {
    prop_oneof![
        nasty_bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        any::<String>(),
        "[a-z\\\\\"\n]{0,8}",
    ]
}

const HANDS: [(Hand, Escape); 4] = [
    (Hand::Nginx, Escape::C),
    (Hand::NginxJson, Escape::Json),
    (Hand::Apache, Escape::C),
    (Hand::Haproxy, Escape::Hash),
];

/// `"…" […]` and so on: what can be told apart whatever the values are.
fn quoted_pieces(escape: Escape, fields: usize) -> Vec<Piece> {
    let mut pieces = vec![Piece::Literal(b"x \"".to_vec())];
    for at in 0..fields {
        let end: &[u8] = if at + 1 == fields { b"\"" } else { b"\" - \"" };
        pieces.push(Piece::Field(text_field(&format!("f{at}"), Kind::Text, escape)));
        pieces.push(Piece::Literal(end.to_vec()));
    }
    pieces
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let kinds =
        [Kind::Text, Kind::Word, Kind::Digits, Kind::Number, Kind::Numbers, Kind::Braced, Kind::Request];
    let escapes = [Escape::None, Escape::C, Escape::Json, Escape::Hash];
    let field = (prop::sample::select(kinds.to_vec()), prop::sample::select(escapes.to_vec()), any::<bool>());
    prop_oneof![
        prop::sample::select(vec![" ", "\"", "\" \"", " [", "] ", ":", "a", "}", " - ", "  "])
            .prop_map(|text| Piece::Literal(text.into())),
        field.prop_map(|(kind, escape, padded)| Piece::Field(Field {
            padded,
            ..text_field("f", kind, escape)
        })),
    ]
}

/// A format's literals and fields with values between them, or nearly so.
fn nearly_a_line(pieces: &[Piece], values: &[Vec<u8>], cut: usize) -> Vec<u8> {
    let mut line = line_of(pieces, values);
    line.retain(|byte| *byte != b'\n');
    line.truncate(line.len().saturating_sub(cut));
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_a_server_writes_is_what_is_read(
        values in prop::collection::vec(prop::option::weighted(0.9, nasty_text()), 1..6),
        hand in 0..HANDS.len(),
    ) {
        let (hand, escape) = HANDS[hand];
        let pieces = quoted_pieces(escape, values.len());
        let spelled: Vec<_> = values.iter().map(|value| written(hand, value.as_deref().map(str::as_bytes))).collect();
        let line = line_of(&pieces, &spelled);
        prop_assert!(!line.contains(&b'\n'), "{}", line.escape_ascii());
        let pattern = Pattern::new(pieces.clone()).unwrap();
        prop_assert_eq!(pattern.values(&line), Some(spelled.iter().map(|value| &value[..]).collect::<Vec<_>>()));
        let text = match hand {
            Hand::NginxJson => "nginx:escape=json ",
            Hand::Haproxy => return Ok(()),
            Hand::Apache => "apache:",
            _ => "nginx:",
        };
        let names: Vec<String> = (0..values.len()).map(|at| format!("f{at}")).collect();
        let variable = |name: &String| if hand == Hand::Apache { format!("%{{{name}}}x") } else { format!("${name}") };
        let format = format!("{text}x \"{}\"", names.iter().map(variable).collect::<Vec<_>>().join("\" - \""));
        let read = read_all(&Format::parse(&format).unwrap(), Stand::of(b"", 1), &line);
        let record = read[0].as_ref().unwrap();
        for (name, value) in names.iter().zip(&values) {
            let empty = if hand == Hand::NginxJson { "" } else { "-" };
            let expected = value.as_deref().filter(|value| *value != empty);
            prop_assert_eq!(record[name].as_str(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_in_quotes_are_the_same_bytes_or_replaced(values in prop::collection::vec(nasty_bytes(), 1..4)) {
        let pieces = quoted_pieces(Escape::C, values.len());
        let spelled: Vec<_> = values.iter().map(|value| written(Hand::Nginx, Some(value))).collect();
        let format: Vec<String> = (0..values.len()).map(|at| format!("$f{at}")).collect();
        let format = Format::parse(&format!("nginx:x \"{}\"", format.join("\" - \""))).unwrap();
        let read = read_all(&format, Stand::of(b"", 1), &line_of(&pieces, &spelled));
        for (at, value) in values.iter().enumerate() {
            let text = String::from_utf8_lossy(value);
            let expected = Some(text.as_ref()).filter(|text| *text != "-");
            prop_assert_eq!(read[0].as_ref().unwrap()[&format!("f{at}")].as_str(), expected);
        }
    }

    #[test]
    fn the_first_way_to_cut_a_line_is_found(
        pieces in prop::collection::vec(any_piece(), 1..8),
        values in prop::collection::vec(nasty_bytes(), 8),
        cut in prop_oneof![4 => Just(0usize), 1 => 0..6usize],
    ) {
        let values: Vec<_> = values.into_iter().map(|mut value| { value.truncate(6); value }).collect();
        values_are_naive(pieces.clone(), &nearly_a_line(&pieces, &values, cut));
    }

    #[test]
    fn the_first_way_to_cut_a_line_of_few_letters_is_found(
        pieces in prop::collection::vec(any_piece(), 1..6),
        line in prop::collection::vec(prop::sample::select(b" \"\\a1:-[]}".to_vec()), 0..24),
    ) {
        values_are_naive(pieces, &line);
    }

    #[test]
    fn lines_may_be_cut_into_chunks_anywhere(
        lines in prop::collection::vec(prop_oneof![
            2 => Just(br#"::1 - - [10/Oct/2000:13:55:36 -0700] "GET /\x22 HTTP/1.1" 200 1 "-" "a""#.to_vec()),
            1 => Just(br#"::1 id a [b [10/Oct/2000:13:55:36 -0700] "x" - - "\"" "-""#.to_vec()),
            1 => Just(br#"::1:1 [21/Nov/2026:10:11:12.123] w a/s 0/0/1/1/1 200 2 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#.to_vec()),
            1 => Just(br#"::1:1 [21/Nov/2026:10:11:12.123] w a/s 0/0/1/1/1 200 2 - - ---- 1/1/0/0/0 0/0 {a} {b} "GET / HTTP/1.1""#.to_vec()),
            1 => Just(b"1,\"2\"".to_vec()),
            1 => nasty_bytes(),
        ], 1..12),
        format in prop::sample::select(vec!["combined", "haproxy", "csv", "w3c", "logfmt", "auto", "json"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut bytes = b"a,b\n#Fields: a b\n".to_vec();
        lines.iter().for_each(|line| bytes.extend_from_slice(&[line, &b"\n"[..]].concat()));
        let format = Format::parse(format).unwrap();
        let head = &bytes[..bytes.len().min(1024)];
        let whole = read_all(&format, Stand::of(head, 0), &bytes);
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&ends)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut parts = Vec::new();
        for cut in cuts.windows(2) {
            parts.extend(read_all(&format, Stand::of(head, cut[0] as u64), &bytes[cut[0]..cut[1]]));
        }
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn whatever_is_written_in_a_format_is_survived(
        kind in prop::sample::select(vec!["nginx", "apache", "varnish", "csv", "tsv", "combined", "logfmt", "squid"]),
        text in "[$%{}a-z>'\"\\\\ \\[\\]:;#\n=,^0-9]{0,30}",
        bytes in nasty_bytes(),
    ) {
        formats_and_lines_are_survived(&format!("{kind}:{text}"), &bytes);
        formats_and_lines_are_survived(kind, &bytes);
    }
}

#[test]
fn the_plain_way_is_the_definition() {
    let word = |name: &str| Piece::Field(text_field(name, Kind::Word, Escape::C));
    let pieces =
        [word("a"), Piece::Literal(b":".to_vec()), Piece::Field(text_field("b", Kind::Digits, Escape::C))];
    assert_eq!(naive(&pieces, b"::1:80"), Some(vec![&b"::1"[..], b"80"]));
    assert_eq!(naive(&pieces, b"::1:8x"), None);
    assert_eq!(text_field("a", Kind::Word, Escape::C).absent, Absent::Dash);
}

/// Rows as the csv crate writes them are rows as it meant them.
#[test]
fn rows_are_what_another_implementation_writes() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rows = prop::collection::vec("[a\"',; \\-\r\té]{0,6}", 3);
    for _ in 0..2000 {
        let row = rows.new_tree(&mut runner).unwrap().current();
        let mut csv = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        csv.write_record(&row).unwrap();
        let line = csv.into_inner().unwrap();
        let read = read_all(&Format::parse("csv:a,b,c").unwrap(), Stand::of(b"", 1), &line);
        let record = read[0].as_ref().unwrap();
        let got: Vec<_> =
            ["a", "b", "c"].map(|name| record[name].as_str().unwrap_or("null").to_owned()).into();
        assert_eq!(got, row, "{}", line.escape_ascii());
    }
}

/// What another implementation reads is what is read.
#[test]
fn rows_are_what_another_implementation_reads() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lines = prop::collection::vec(prop::sample::select(b"a\"',;- \r\xc3\xa9".to_vec()), 1..16);
    let cells = |line: &[u8]| {
        let mut reader = csv::ReaderBuilder::new();
        reader.has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
        let row = reader.from_reader(line).into_byte_records().next()?.ok()?;
        Some(row.iter().map(<[u8]>::to_vec).collect())
    };
    for _ in 0..5000 {
        rows_are_cells(&lines.new_tree(&mut runner).unwrap().current(), cells);
    }
}

/// Only so that the reader's own counts are looked at too.
#[test]
fn lines_are_counted() {
    let format = Format::parse("csv").unwrap();
    let told = Reader::new().lines(&format, Stand::of(b"", 0), b"a\n\nb\r\n", |_, _| {});
    assert_eq!((told.lines.all, told.lines.blank), (3, 2));
}

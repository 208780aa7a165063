//! output: what must hold of output options, whatever a job says; shared by proptest and fuzzing.
//!
//! Promises: a property that does not hold panics with the options in its message.
//! Must not know: where options come from.
use crate::batch::{Container, Frame, Part, decode, piece_of, split};
use crate::codec::{CodecKind, Level, Run, codec};
use crate::dataset::{Dataset, HTTP_REQUESTS, RAW};
use crate::parse::Parser;
use crate::plan::{Formatter, HashKey, OutputOptions};
use crate::record::Span;
use crate::ring::Flat;
use serde_json::{Value, json};

/// Records that have every kind of value, and none.
const LINES: [&str; 5] = [
    r#"{"a":"$","b":{"c":"{\"","d":[1]},"ts":1506702504.5,"ip":"203.0.113.77:80","x\"":"\ud800"}"#,
    r#"{"a":"\"","ip":"[2001:db8::1%e]:1","ts":"2017-09-29T18:28:24+02:00","\u0061":{"${":"\n"},"b":[[]]}"#,
    r#"{"ClientIP":"::1","EdgeStartTimestamp":"1506702504","EdgeResponseStatus":"-","Cookies":{"a":"b"}}"#,
    "{}",
    "{ \"b\" :\t{ \"c\" : null }\t, \"a\" : \"x\\\\\" }",
];

/// JSON that is taken as options of a data set means the same when it is written and read again, and every record keeps
/// what was announced of it and goes through the encoder and back.
pub fn output_options(text: &[u8]) {
    let Ok(said) = serde_json::from_slice::<Value>(text) else { return };
    for dataset in [&RAW, &HTTP_REQUESTS] {
        match OutputOptions::from_json(&said, dataset) {
            Ok(options) => check(&options, dataset),
            Err(problems) => {
                let placed = problems
                    .iter()
                    .all(|p| p.pointer.starts_with("/output_options") && !p.message.is_empty());
                assert!(placed && !problems.is_empty(), "{problems:?} of {said}");
            }
        }
    }
}

/// A template is refused with a sentence, or its records hold what all options' records hold; without actions it is
/// itself.
pub fn template(text: &str) {
    let said = json!({"record_template": text, "record_prefix": "<", "record_suffix": ">"});
    match OutputOptions::from_json(&said, &RAW) {
        Err(problems) => {
            assert!(text.contains("{{") || problems[0].message.contains("bytes long"), "{problems:?}")
        }
        Ok(options) => {
            check(&options, &RAW);
            if !text.is_empty() && !text.contains("{{") {
                let expected = format!("<{text}>");
                assert_eq!(made(&options, &RAW)[0].bytes, expected.as_bytes());
            }
        }
    }
    let _ = OutputOptions::from_logpull(text, &RAW).map(|options| check(&options, &RAW));
}

fn made(options: &OutputOptions, dataset: &Dataset) -> Vec<Flat> {
    let mut formatter = Formatter::new(options, dataset, &HashKey::new(&[7; 32]));
    let mut parser = Parser::new();
    // Each twice: the second time its shape is known.
    let lines = LINES.iter().chain(&LINES);
    let record = |(at, line): (usize, &&str)| {
        let record = parser.parse(line.as_bytes()).expect("a record");
        let mut sink = Flat::default();
        let (bytes_max, fields_max) = (formatter.bytes_max(&record), formatter.fields_max(&record));
        formatter.write(&record, (7, at as u64), &mut sink);
        assert!(sink.bytes.len() <= bytes_max, "{} > {bytes_max} bytes: {options:?}", sink.bytes.len());
        assert!(sink.values.len() <= fields_max, "{} > {fields_max} values: {options:?}", sink.values.len());
        sink
    };
    lines.enumerate().map(record).collect()
}

fn check(options: &OutputOptions, dataset: &Dataset) {
    let again = OutputOptions::from_json(&options.to_json(), dataset);
    assert_eq!(again.as_ref(), Ok(options), "written and read again");
    let (framing, made) = (options.framing(), made(options, dataset));
    let head = [&framing.delimiter[..], &framing.record_prefix].concat();
    let (mut bytes, mut ends, mut fields, mut field_ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in &made {
        // CVE-2021-44228 may change the constant parts too.
        if !options.to_json()["CVE-2021-44228"].as_bool().unwrap_or(false) {
            assert!(
                record.bytes.starts_with(&head) && record.bytes.ends_with(&framing.record_suffix),
                "{options:?}"
            );
        } else {
            assert!(!record.bytes.windows(2).any(|pair| pair == b"${"), "{options:?}");
        }
        assert!(record.bytes.len() > framing.delimiter.len(), "an empty record: {options:?}");
        let at = bytes.len() as u32;
        bytes.extend_from_slice(&record.bytes);
        fields
            .extend(record.values.iter().map(|value| Span { start: value.start + at, end: value.end + at }));
        ends.push(bytes.len() as u32);
        field_ends.push(fields.len() as u32);
    }
    let run = match fields.is_empty() {
        true => Run::new(&bytes, &ends),
        false => Run::with_fields(&bytes, &ends, &fields, &field_ends),
    };
    let run = run.without_head(framing.delimiter.len());
    let mut codec = codec(CodecKind::Gzip, Level::Fast);
    let frame = Frame::new(&framing, CodecKind::Gzip);
    let parts: Vec<Part> =
        frame.prefix.into_iter().chain([Part::encode(&mut *codec, &run)]).chain(frame.suffix).collect();
    let body = piece_of(Container::Single, CodecKind::Gzip, &parts);
    let text = [&framing.prefix[..], run.bytes, &framing.suffix].concat();
    assert!(decode(CodecKind::Gzip, &body.concat()[..]).expect("a good body") == text, "{options:?}");
    if let Ok(halves) = split(&mut *codec, Container::Single, &framing, made.len() as u64, &body) {
        assert_eq!(halves.iter().map(|half| half.records as usize).sum::<usize>(), made.len(), "{options:?}");
    }
}

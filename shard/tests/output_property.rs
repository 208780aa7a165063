//! Output on arbitrary records and options: every accepted record is what an oracle makes of it, in every frame, through
//! the schema-aware encoder and through a split.
mod output_support;

use edgepush_shard::batch::{Container, Framing, decode, split};
use edgepush_shard::codec::{CodecKind, Level, codec};
use edgepush_shard::dataset::RAW;
use edgepush_shard::plan::OutputOptions;
use edgepush_shard::testing::oracle::naive_object;
use output_support::{batch, records};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Values as JSON spells them, odd spellings among them.
fn value() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "-0.0",
        "1e-7",
        "123456789012345678901",
        r#""""#,
        r#""\u00e9\ud83d\ude00""#,
        r#""a\"b\\""#,
        r#""$""#,
        r#""{""#,
        r#""x,y;\"z\"""#,
        r#""line\nline\r\n""#,
        r#""}\n{""#,
        "[]",
        "{}",
        r#"[1, {"a":"\"},{"}]"#,
        r#"{ "k" : [null,"\u0022"] }"#,
    ];
    prop_oneof![
        3 => proptest::sample::select(fixed.to_vec()).prop_map(String::from),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        2 => "\\PC{0,20}".prop_map(|text| json!(text).to_string()),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let member =
        (proptest::sample::select(vec!["a", "b", "c", "d.e", "f\\\"", "\\u0061"]), value(), "[ \t]{0,2}");
    proptest::collection::vec(member, 0..7).prop_map(|members| {
        let members: Vec<String> = members
            .iter()
            .map(|(key, value, space)| format!("{space}\"{key}\"{space}:{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// The members of a line, keys decoded, values raw.
fn members(line: &str) -> Vec<(String, &str)> {
    let members = naive_object(line.as_bytes()).expect("a JSON object");
    let key =
        |key: std::ops::Range<usize>| serde_json::from_str(&format!("\"{}\"", &line[key])).expect("a key");
    members.into_iter().map(|(k, value)| (key(k), &line[value])).collect()
}

fn found<'a>(members: &[(String, &'a str)], name: &str) -> Option<&'a str> {
    members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
}

/// Prefix, suffix and delimiters with which a batch still is JSON, and the border between records has a line end.
fn frames() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        json!({}),
        json!({"record_delimiter": ","}),
        json!({"record_prefix": "\n {\"info\":{", "record_suffix": "}}", "record_delimiter": ",", "batch_prefix": "[",
            "batch_suffix": "]\n"}),
        json!({"record_prefix": "{\"t\":1,\"i\":{", "field_delimiter": " ,\t", "record_suffix": "},\"u\":\"\\\"\"}\r\n"}),
        json!({"record_prefix": "", "record_suffix": " \n", "batch_prefix": "$\n"}),
        json!({"record_prefix": "{", "record_suffix": "}", "record_delimiter": "\n,"}),
        json!({"CVE-2021-44228": true, "record_suffix": "}\n"}),
    ])
}

fn with(mut options: Value, more: Value) -> OutputOptions {
    let object = options.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    OutputOptions::from_json(&options, &RAW).unwrap_or_else(|problems| panic!("{options}: {problems:?}"))
}

/// The text of each record without what stands around it, `${` defused or not as the options say.
fn bodies(options: &OutputOptions, lines: &[String]) -> Vec<String> {
    let framing = options.framing();
    let before = [&framing.delimiter[..], &framing.record_prefix].concat();
    let made = records(options, &RAW, lines.join("\n").as_bytes());
    let body = |bytes: &[u8]| {
        let rest = bytes.strip_prefix(&before[..]).expect("a record begins with its prefix");
        let body = rest.strip_suffix(&framing.record_suffix[..]).expect("and ends with its suffix");
        String::from_utf8(body.to_vec()).expect("UTF-8")
    };
    made.iter().map(|made| body(&made.bytes)).collect()
}

/// Encoded by the schema-aware encoder and decoded, and split, a batch is still itself.
fn check_batch(options: &OutputOptions, lines: &[String], per_segment: usize) {
    let made = records(options, &RAW, lines.join("\n").as_bytes());
    let whole = batch(&made, options, per_segment);
    let text = whole.text();
    let body = whole.body(CodecKind::Gzip, Level::Fast);
    assert!(decode(CodecKind::Gzip, &body.concat()[..]).expect("a good body") == text, "{options:?}");
    if made.len() < 2 {
        return;
    }
    let framing = options.framing();
    let mut codec = codec(CodecKind::Gzip, Level::Fast);
    let halves = split(&mut *codec, Container::Single, &framing, made.len() as u64, &body);
    let halves = halves.unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&text)));
    let first = halves[0].records as usize;
    assert_eq!(first + halves[1].records as usize, made.len());
    for (half, made) in halves.iter().zip([&made[..first], &made[first..]]) {
        let decoded = decode(CodecKind::Gzip, &half.piece.concat()[..]).expect("a good half");
        assert_eq!(half.raw, decoded.len() as u64);
        assert_eq!(
            String::from_utf8_lossy(&decoded),
            String::from_utf8_lossy(&batch(made, options, 1000).text())
        );
    }
}

fn defused(options: &OutputOptions, text: String) -> String {
    if options.to_json()["CVE-2021-44228"] == json!(true) { text.replace("${", "x{") } else { text }
}

proptest! {
    #[test]
    fn named_fields_are_the_records_own(
        lines in proptest::collection::vec(line(), 1..12), frame in frames(), per_segment in 1_usize..6,
        names in proptest::sample::subsequence(vec!["f\"", "c", "none", "a", "d.e"], 1..5), rename in any::<bool>(),
        stringify in any::<bool>(),
    ) {
        let new = if rename && names.contains(&"a") { json!({"a": "\"\u{e9}\\"}) } else { json!({}) };
        let options = with(frame, json!({"field_names": names, "rename": new, "stringify_object": stringify}));
        for (line, body) in lines.iter().zip(bodies(&options, &lines)) {
            let members = members(line);
            let cell = |name: &&str| {
                let value = found(&members, name)?;
                let value = match value.starts_with(['{', '[']) && stringify {
                    true => json!(value).to_string(),
                    false => value.to_owned(),
                };
                let name = new[*name].as_str().unwrap_or(name);
                Some(format!("{}:{value}", json!(name)))
            };
            let delimiter = options.to_json()["field_delimiter"].as_str().unwrap_or(",").to_owned();
            let expected = names.iter().filter_map(cell).collect::<Vec<_>>().join(&delimiter);
            prop_assert_eq!(&body, &defused(&options, expected), "of {}", line);
            // Whatever stands around it, inside it is JSON.
            prop_assert!(serde_json::from_str::<Value>(&format!("{{{body}}}")).is_ok(), "{}", body);
        }
        check_batch(&options, &lines, per_segment);
    }

    #[test]
    fn all_fields_are_the_records_members(
        lines in proptest::collection::vec(line(), 1..12), frame in frames(), per_segment in 1_usize..6,
        treated in any::<bool>(),
    ) {
        let more = match treated {
            true => json!({"rename": {"b": "B"}, "privacy": {"a": "drop"}}),
            false => json!({"all_fields": true}),
        };
        let options = with(frame, more);
        let framing = options.framing();
        // With the braces that it has anyway a record is written as its text.
        let whole = !treated && (&framing.record_prefix[..], &framing.record_suffix[..]) == (b"", b"\n");
        for (line, body) in lines.iter().zip(bodies(&options, &lines)) {
            if whole {
                prop_assert_eq!(&body, &defused(&options, line.clone()));
                continue;
            }
            let kept = members(line).into_iter().filter(|(key, _)| !treated || key != "a");
            let member = |(key, value): (String, &str)| {
                let key = if treated && key == "b" { "B" } else { &key };
                (key.to_owned(), value.to_owned())
            };
            let expected: Vec<(String, String)> = kept.map(member).collect();
            let body = format!("{{{body}}}");
            let got: Vec<(String, String)> =
                members(&body).into_iter().map(|(key, value)| (key, value.to_owned())).collect();
            let defused = expected.into_iter().map(|(k, v)| (defused(&options, k), defused(&options, v)));
            prop_assert_eq!(got, defused.collect::<Vec<_>>(), "of {}", line);
        }
        check_batch(&options, &lines, per_segment);
    }

    #[test]
    fn csv_is_what_the_csv_crate_reads(
        lines in proptest::collection::vec(line(), 1..12), per_segment in 1_usize..6,
        delimiter in proptest::sample::select(vec![",", "\t", ";", "|"]),
        own in proptest::sample::select(vec![json!({}), json!({"record_suffix": "\r\n"}),
            json!({"record_suffix": "", "record_delimiter": "\n"}), json!({"batch_prefix": "a,b\n"})]),
    ) {
        let names = ["a", "none", "f\"", "c", "b"];
        let more = json!({"output_type": "csv", "field_names": names, "field_delimiter": delimiter});
        let options = with(own, more);
        let made = records(&options, &RAW, lines.join("\n").as_bytes());
        let text = batch(&made, &options, per_segment).text();
        let records = &text[options.framing().prefix.len()..];
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter.as_bytes()[0]).from_reader(records);
        let read: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a record")).collect();
        prop_assert_eq!(read.len(), lines.len(), "{}", String::from_utf8_lossy(&text));
        for (line, record) in lines.iter().zip(&read) {
            let members = members(line);
            let cell = |name: &&str| match found(&members, name) {
                None | Some("null") => String::new(),
                Some(value) => serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned()),
            };
            let expected: Vec<String> = names.iter().map(cell).collect();
            prop_assert_eq!(record.iter().collect::<Vec<_>>(), expected, "of {}", line);
        }
        check_batch(&options, &lines, per_segment);
    }

    #[test]
    fn a_template_is_its_text_with_values(
        lines in proptest::collection::vec(line(), 1..8), texts in proptest::collection::vec("[^{}]{0,6}", 3),
        named in any::<bool>(), per_segment in 1_usize..6,
    ) {
        let template = format!("{}{{{{ .a }}}}{}{{{{.none}}}}{{{{/* . */}}}}{}{{{{`{{{{`}}}}{{{{.c}}}}", texts[0], texts[1], texts[2]);
        let names = if named { json!({"field_names": ["a", "b"]}) } else { json!({}) };
        // No line end in the texts: the split is asked for too.
        let template = template.replace('\n', " ");
        let options = with(names, json!({"record_template": template, "record_prefix": "<", "record_suffix": ">\n"}));
        for (line, body) in lines.iter().zip(bodies(&options, &lines)) {
            let members = members(line);
            let value = |name: &str| found(&members, name).unwrap_or("null");
            let c = if named { "null" } else { value("c") };
            let text = |at: usize| texts[at].replace('\n', " ");
            prop_assert_eq!(body, format!("{}{}{}null{}{{{{{c}", text(0), value("a"), text(1), text(2)));
        }
        check_batch(&options, &lines, per_segment);
    }

    #[test]
    fn a_split_never_cuts_a_record(
        bodies in proptest::collection::vec("[ab,{}\"\n]{0,6}", 2..9), parts in proptest::collection::vec("[a,{}\n]{0,2}", 5),
    ) {
        let bytes = |at: usize| parts[at].as_bytes().to_vec();
        let framing = Framing { prefix: bytes(0), delimiter: bytes(1), suffix: bytes(2), record_prefix: bytes(3), record_suffix: bytes(4) };
        let record = |body: &String| [&framing.record_prefix[..], body.as_bytes(), &framing.record_suffix].concat();
        let text = |bodies: &[String]| {
            let records: Vec<Vec<u8>> = bodies.iter().map(record).collect();
            [&framing.prefix[..], &records.join(&framing.delimiter[..]), &framing.suffix].concat()
        };
        let whole = text(&bodies);
        // A formatter writes no empty record.
        let some = bodies.iter().all(|body| !record(body).is_empty());
        let mut codec = codec(CodecKind::None, Level::Fast);
        let halves =
            split(&mut *codec, Container::Members, &framing, bodies.len() as u64, &[whole.into()]);
        if let Ok(halves) = halves {
            let first = halves[0].records as usize;
            prop_assert_eq!(first + halves[1].records as usize, bodies.len());
            let border = [&framing.record_suffix[..], &framing.delimiter, &framing.record_prefix].concat();
            // Quotes pair by chance where no csv is, and without any border a line is a record.
            if !some || border.is_empty() || bodies.concat().contains('"') {
                return Ok(());
            }
            for (half, bodies) in halves.iter().zip([&bodies[..first], &bodies[first..]]) {
                let (got, expected) = (half.piece.concat(), text(bodies));
                prop_assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected));
            }
        }
    }
}

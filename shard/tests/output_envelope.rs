//! Envelopes: within what a receiver wants around records, each is byte for byte what the job writes without it; through
//! every codec, and through a split.
mod output_support;

use edgepush_shard::batch::{Container, decode, split};
use edgepush_shard::codec::{CodecKind, Level, codec};
use edgepush_shard::dataset::{Dataset, RAW};
use edgepush_shard::plan::{Envelope, OutputOptions, OutputType};
use output_support::{batch, records};
use serde_json::{Value, json};
use std::path::PathBuf;

fn ids() -> Envelope {
    Envelope { id: true, ..Envelope::default() }
}

fn events() -> Envelope {
    Envelope {
        record_before: r#"{"sourcetype":"edge \"x\"","event":"#.into(),
        record_after: "}".into(),
        ..Envelope::default()
    }
}

/// Options, data set and lines of every golden case.
fn cases() -> Vec<(String, OutputOptions, &'static Dataset, Vec<u8>)> {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let paths =
        std::fs::read_dir(golden).expect("the golden files").map(|entry| entry.expect("an entry").path());
    let cases = paths.filter(|path| path.extension().is_some_and(|e| e == "json"));
    let case = |path: PathBuf| {
        let mut said: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
        let dataset = said.as_object_mut().expect("an object").remove("dataset");
        let dataset = Dataset::by_name(dataset.as_ref().and_then(Value::as_str).unwrap_or("raw"));
        let dataset = dataset.expect("a data set");
        let options = OutputOptions::from_json(&said, dataset).expect("options");
        let lines = std::fs::read(path.with_extension("in")).expect("a file");
        (path.display().to_string(), options, dataset, lines)
    };
    cases.map(case).collect()
}

#[test]
fn a_record_with_an_id_is_two_lines() {
    let lines = b"{ \"a\" : \"${x}\", \"b\":1 }\n\n{\"a\":2}\n";
    for (options, expected) in [
        (
            json!({}),
            "{\"create\":{\"_id\":\"ID0\"}}\n{ \"a\" : \"${x}\", \"b\":1 }\n{\"create\":{\"_id\":\"ID25\"}}\n{\"a\":2}\n",
        ),
        (
            json!({"field_names": ["a"], "rename": {"a": "@timestamp"}}),
            "{\"create\":{\"_id\":\"ID0\"}}\n{\"@timestamp\":\"${x}\"}\n{\"create\":{\"_id\":\"ID25\"}}\n{\"@timestamp\":2}\n",
        ),
        (
            json!({"rename": {"b": "B"}, "CVE-2021-44228": true}),
            "{\"create\":{\"_id\":\"ID0\"}}\n{\"a\":\"x{x}\",\"B\":1}\n{\"create\":{\"_id\":\"ID25\"}}\n{\"a\":2}\n",
        ),
        (
            json!({"record_template": "\"t\":{{.b}}"}),
            "{\"create\":{\"_id\":\"ID0\"}}\n{\"t\":1}\n{\"create\":{\"_id\":\"ID25\"}}\n{\"t\":null}\n",
        ),
    ] {
        let options =
            OutputOptions::from_json(&options, &RAW).expect("options").within(&ids()).expect("lines");
        let text = batch(&records(&options, &RAW, lines), &options, 1).text();
        // SipHash-2-4-128 under the key 00 to 0f of the seed and the offset, each in 8 bytes.
        let expected =
            expected.replace("ID25", "fy8sIGJ36UnwTvP46yK0og").replace("ID0", "cqNZ1D8g4PzMOWn3HHTiAA");
        assert_eq!(String::from_utf8_lossy(&text), expected, "{options:?}");
    }
}

#[test]
fn inside_every_envelope_each_record_is_what_the_job_writes() {
    let (mut seen, mut refused) = (0, 0);
    for (name, options, dataset, lines) in cases() {
        let bare = records(&options, dataset, &lines);
        for envelope in [ids(), events(), Envelope { id: true, ..events() }] {
            let within = match options.clone().within(&envelope) {
                Ok(within) => within,
                Err(_) => {
                    assert!(envelope.id || options.output_type() == OutputType::Csv, "{name}");
                    refused += 1;
                    continue;
                }
            };
            seen += 1;
            assert!(!within.is_pass_through(), "{name}");
            let made = records(&within, dataset, &lines);
            assert_eq!(made.len(), bare.len(), "{name}");
            let delimiter = within.framing().delimiter.len();
            let mut known = std::collections::HashSet::new();
            for (made, bare) in made.iter().zip(&bare) {
                let mut rest = &made.bytes[delimiter..];
                if envelope.id {
                    let at = memchr::memchr(b'\n', rest).expect("two lines");
                    let line: Value = serde_json::from_slice(&rest[..at]).expect("JSON");
                    let id = line["create"]["_id"].as_str().expect("an id").to_owned();
                    assert_eq!(line, json!({"create": {"_id": id}}));
                    assert_eq!(
                        &made.bytes[made.values[0].start as usize..made.values[0].end as usize],
                        id.as_bytes()
                    );
                    assert!(known.insert(id), "{name}: an id twice");
                    rest = &rest[at + 1..];
                }
                let rest = rest.strip_prefix(envelope.record_before.as_bytes()).expect("its beginning");
                let (bare, end) = match bare.bytes[delimiter..].strip_suffix(b"\n") {
                    Some(bare) => (bare, [envelope.record_after.as_bytes(), b"\n"].concat()),
                    None => (&bare.bytes[delimiter..], envelope.record_after.as_bytes().to_vec()),
                };
                let rest = rest.strip_suffix(&end[..]).expect("its end");
                assert_eq!(String::from_utf8_lossy(rest), String::from_utf8_lossy(bare), "{name}");
            }
            check_batch(&name, &within, dataset, &lines);
        }
    }
    assert!(seen > 70 && refused > 20, "{seen} of the golden cases, {refused} refused");
}

/// Every codec gives the text back, and so do the halves of a split; a cut lies between records.
fn check_batch(name: &str, options: &OutputOptions, dataset: &'static Dataset, lines: &[u8]) {
    // Often enough that the schema-aware encoder takes them.
    let lines = [lines, b"\n"].concat().repeat(30);
    let made = records(options, dataset, &lines);
    for per_segment in [7, 1000] {
        let whole = batch(&made, options, per_segment);
        let text = whole.text();
        for kind in [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None] {
            let body = whole.body(kind, Level::Fast);
            assert!(decode(kind, &body.concat()[..]).expect("a good body") == text, "{name}, {kind:?}");
            let mut codec = codec(kind, Level::Fast);
            let halves = split(&mut *codec, Container::Single, &options.framing(), made.len() as u64, &body);
            let halves = halves.unwrap_or_else(|error| panic!("{name}: {error}"));
            let first = halves[0].records as usize;
            for (half, made) in halves.iter().zip([&made[..first], &made[first..]]) {
                let decoded = decode(kind, &half.piece.concat()[..]).expect("a good half");
                assert_eq!(half.records as usize, made.len(), "{name}");
                assert!(decoded == batch(made, options, 1000).text(), "{name}: a half");
            }
        }
    }
}

#[test]
fn an_envelope_around_batches_and_records_is_one_array() {
    let envelope = Envelope { batch_prefix: "[", batch_suffix: "]", delimiter: ",", ..events() };
    let options = OutputOptions::all(&RAW).within(&envelope).expect("JSON");
    let text = batch(&records(&options, &RAW, b"{\"a\":1}\n{\"a\":[2]}\n"), &options, 1).text();
    let read: Value = serde_json::from_slice(&text).expect("JSON");
    let event = |a: Value| json!({"sourcetype": "edge \"x\"", "event": {"a": a}});
    assert_eq!(read, json!([event(json!(1)), event(json!([2]))]));
}

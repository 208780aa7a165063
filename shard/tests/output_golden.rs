//! Golden files: for every output option the bytes of a whole batch.
//!
//! `golden/<case>.json` has the options (with `dataset`, where it is not `raw`), `.in` the lines, `.out` the batch.
//! `EDGEPUSH_GOLDEN=write` writes the batches anew; whoever does so reads them.
mod output_support;

use edgepush_shard::batch::decode;
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::dataset::Dataset;
use edgepush_shard::plan::OutputOptions;
use output_support::{Made, batch, records};
use serde_json::Value;
use std::path::PathBuf;

fn cases() -> Vec<PathBuf> {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files =
        std::fs::read_dir(golden).expect("the golden files").map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    cases.sort();
    cases
}

fn read(case: &std::path::Path, extension: &str) -> Vec<u8> {
    let path = case.with_extension(extension);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_case_gives_its_batch() {
    let write = std::env::var_os("EDGEPUSH_GOLDEN").is_some();
    let cases = cases();
    assert!(cases.len() >= 30, "{} golden cases", cases.len());
    for case in cases {
        let name = case.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut said: Value = serde_json::from_slice(&read(&case, "json")).expect("JSON");
        let dataset = said.as_object_mut().expect("an object").remove("dataset");
        let dataset = dataset.as_ref().and_then(Value::as_str).unwrap_or("raw");
        let dataset = Dataset::by_name(dataset).expect("a data set");
        let options = OutputOptions::from_json(&said, dataset).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(OutputOptions::from_json(&options.to_json(), dataset), Ok(options.clone()), "{name}");
        let lines = read(&case, "in");
        let whole = batch(&records(&options, dataset, &lines), &options, 1 << 20);
        let text = String::from_utf8(whole.text()).expect("UTF-8");
        if write {
            std::fs::write(case.with_extension("out"), &text).expect("written");
        }
        let expected = String::from_utf8(read(&case, "out")).expect("UTF-8");
        assert_eq!(text, expected, "{name}");
        same_in_every_codec(&name, &options, dataset, &lines, text.as_bytes());
    }
}

/// Small slabs, so that delimiters stand between segments, and every codec: the same bytes.
fn same_in_every_codec(
    name: &str,
    options: &OutputOptions,
    dataset: &Dataset,
    lines: &[u8],
    expected: &[u8],
) {
    let made: Vec<Made> = records(options, dataset, lines);
    for kind in [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None] {
        for per_segment in [1, 2, 1000] {
            let batch = batch(&made, options, per_segment);
            let body = batch.body(kind, Level::Fast);
            let decoded = decode(kind, &body.concat()[..]).expect("a good body");
            assert!(decoded == expected, "{name}, {kind:?}, {per_segment} records a segment");
        }
    }
}

#[test]
fn every_option_has_a_case() {
    let mut said: Vec<String> = Vec::new();
    for case in cases() {
        let options: Value = serde_json::from_slice(&read(&case, "json")).expect("JSON");
        said.extend(options.as_object().expect("an object").keys().cloned());
    }
    for key in [
        "field_names",
        "all_fields",
        "output_type",
        "batch_prefix",
        "batch_suffix",
        "record_prefix",
        "record_suffix",
        "record_delimiter",
        "field_delimiter",
        "record_template",
        "timestamp_format",
        "sample_rate",
        "CVE-2021-44228",
        "merge_subrequests",
        "stringify_object",
        "rename",
        "privacy",
    ] {
        assert!(said.iter().any(|said| said == key), "no golden case for {key}");
    }
}

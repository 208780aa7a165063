//! A filter (first line) is refused, or passes those records (the other lines) that the plain way passes.
#![no_main]
use edgepush_shard::dataset::DATASETS;
use edgepush_shard::testing::filter::filter_is_naive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (filter, lines) = text.split_once('\n').unwrap_or((text, ""));
    let lines: Vec<&str> = lines.lines().collect();
    for dataset in DATASETS {
        filter_is_naive(filter, &lines, dataset);
    }
});

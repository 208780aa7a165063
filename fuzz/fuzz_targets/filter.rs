//! A filter made of arbitrary leaves, or any text, is refused or passes what the plain way passes.
#![no_main]
use edgepush_shard::dataset::DATASETS;
use edgepush_shard::testing::filter::{filter_is_naive, filter_of, line_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(u8, u8, &str)>, Vec<(u8, &str)>, &str)| {
    let (filter, line) = (filter_of(&input.0), line_of(&input.1));
    for dataset in DATASETS {
        filter_is_naive(&filter, &[&line, input.2], dataset);
        filter_is_naive(input.2, &[&line], dataset);
    }
});

//! Any JSON as output options: problems with their places, or records that keep what was announced.
#![no_main]
use edgepush_shard::testing::output::output_options;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| output_options(text));

//! Lines are records, repaired records or rejects, the same on both ways.
#![no_main]
use edgepush_shard::testing::property::{learned_is_general, records_are_valid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lines = || bytes.split(|&b| b == b'\n');
    lines().for_each(records_are_valid);
    learned_is_general(lines());
});

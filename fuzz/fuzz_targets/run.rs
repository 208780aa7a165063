//! Runs with arbitrary fields are encoded to what decodes to them, whatever is said about the fields.
#![no_main]
use edgepush_shard::testing::property::runs_are_encoded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(u16, u16)>, &[u8])| runs_are_encoded(input.1, &input.0));

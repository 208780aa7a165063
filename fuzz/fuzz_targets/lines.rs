//! The lines of a text by marks are those of framing and the general way, at every level of vector instructions.
#![no_main]
use edgepush_shard::testing::property::lines_are_frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| lines_are_frames(input.1, u64::from(input.0)));

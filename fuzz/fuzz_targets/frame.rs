//! Frames do not depend on where chunks are cut.
#![no_main]
use edgepush_shard::testing::property::frames_do_not_depend_on_chunks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| frames_do_not_depend_on_chunks(input.1, usize::from(input.0)));

//! Whatever is written as a format is one or a mistake; whatever a line is, it is JSON or a reject.
#![no_main]
use edgepush_shard::testing::format::formats_and_lines_are_survived;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| formats_and_lines_are_survived(input.0, input.1));

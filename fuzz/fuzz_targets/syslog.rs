//! Messages of syslog are the same however their bytes are split, a head begins its line, and what is behind it is read.
#![no_main]
use edgepush_shard::testing::format::formats_and_lines_are_survived;
use edgepush_shard::testing::syslog::{a_head_is_the_begin_of_its_line, split_anywhere_is_the_same};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (most, at, bytes) = input;
    split_anywhere_is_the_same(bytes, usize::from(most) + 1, usize::from(at));
    bytes.split(|byte| *byte == b'\n').for_each(a_head_is_the_begin_of_its_line);
    formats_and_lines_are_survived("syslog:json", bytes);
});

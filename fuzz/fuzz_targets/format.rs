//! Whatever is written as a format of a server, or as one at all, is one or a mistake; whatever a line is, it is JSON or a
//! reject.
#![no_main]
use edgepush_shard::testing::format::formats_and_lines_are_survived;
use libfuzzer_sys::fuzz_target;

const BEGINS: [&str; 8] = ["", "nginx:", "apache:", "varnish:", "csv:", "tsv:", "syslog:", "syslog:nginx:"];

fuzz_target!(|input: (u8, &str, &[u8])| {
    let begin = BEGINS[usize::from(input.0) % BEGINS.len()];
    formats_and_lines_are_survived(&format!("{begin}{}", input.1), input.2);
});

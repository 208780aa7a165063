//! A record template is refused with a sentence, or every record of it is what was announced.
#![no_main]
use edgepush_shard::testing::output::template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| template(text));

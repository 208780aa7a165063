//! Segments of arbitrary records, in both containers, cut anywhere, read by decoders that are not ours.
#![no_main]
use edgepush_shard::testing_out;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    testing_out::segments(bytes);
    testing_out::rotten_pieces(bytes);
});

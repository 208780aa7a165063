//! Any bytes are no job, a job whose mistakes are told, or a job that is kept.
#![no_main]
use edgepush::jobs::testing::job_json_is_told_or_kept;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| job_json_is_told_or_kept(bytes));

//! Times of access logs and of syslog are what jiff says of them.
#![no_main]
use edgepush_shard::testing::time::{Parts, access_log_times_are, syslog_times_are_near};
use libfuzzer_sys::fuzz_target;

fn seconds((year, month, day, hour, minute, second): Parts) -> Option<i64> {
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(|part| i8::try_from(part).ok());
    let time = jiff::civil::DateTime::new(year, month?, day?, hour?, minute?, second?, 0).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fuzz_target!(|input: (Parts, Option<u32>, Option<i16>, i64)| {
    access_log_times_are(input.0, input.1, input.2, seconds);
    syslog_times_are_near(input.0, input.3, input.2.unwrap_or(0), seconds);
});

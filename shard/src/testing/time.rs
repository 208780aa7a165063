//! Properties of the times that servers write, against whoever knows the calendar too.
//!
//! Must not know: how times are read.
use crate::syslog::head;
use crate::time::Time;
use crate::zone::Zone;

/// Year, month, day, hour, minute, second: right ones or not.
pub type Parts = (i16, u8, u8, u8, u8, u8);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A month's name; a wrong one for a number that no month has.
fn month(number: u8) -> &'static str {
    MONTHS.get(usize::from(number).wrapping_sub(1)).unwrap_or(&"Foo")
}

/// A second that is no leap second, and whether it was one.
fn smoothed((year, month, day, hour, minute, second): Parts) -> Parts {
    (year, month, day, hour, minute, if second == 60 { 59 } else { second })
}

/// A time of an access log is what `seconds` says of its parts, as of a time in UTC; none, where that knows none.
pub fn access_log_times_are(
    parts: Parts,
    nanos: Option<u32>,
    zone: Option<i16>,
    seconds: impl Fn(Parts) -> Option<i64>,
) {
    let (year, month_number, day, hour, minute, second) = parts;
    if !(0..=9999).contains(&year) || [day, hour, minute, second].iter().any(|part| *part > 99) {
        return;
    }
    let nanos = nanos.map(|nanos| nanos % 1_000_000_000);
    let zone = zone.map(|zone| i64::from(zone % (24 * 60)));
    let mut text = format!("{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02}", month(month_number));
    text += &nanos.map(|nanos| format!(".{nanos:09}")).unwrap_or_default();
    if let Some(zone) = zone {
        let sign = if zone < 0 { '-' } else { '+' };
        text += &format!(" {sign}{:02}{:02}", zone.abs() / 60, zone.abs() % 60);
    }
    let expected = seconds(smoothed(parts))
        .map(|seconds| Time { seconds: seconds - zone.unwrap_or(0) * 60, nanos: nanos.unwrap_or(0) });
    assert_eq!(Time::of_access_log(text.as_bytes()), expected, "{text}");
    assert_eq!(Time::parse(format!("[{text}]").as_bytes()), expected, "{text}");
}

/// A syslog time is of the year that is nearest to now, among those that have such a day.
pub fn syslog_times_are_near(parts: Parts, wall: i64, zone: i16, seconds: impl Fn(Parts) -> Option<i64>) {
    let (_, month_number, day, hour, minute, second) = parts;
    // Some thousand years are enough.
    let (wall, zone) = (wall % 50_000_000_000, i64::from(zone));
    let own = Zone::new(zone, []);
    let wall = Time { seconds: wall, nanos: 0 };
    let text = format!("<14>{} {day:2} {hour:02}:{minute:02}:{second:02} h a: x", month(month_number));
    let stamp = head::read(text.as_bytes()).and_then(|head| head.time);
    let got = stamp.and_then(|stamp| stamp.time(wall, &own));
    let around = Time::year(wall.seconds);
    let years = (around - 1..=around + 1).filter_map(|year| i16::try_from(year).ok());
    let all = years.filter_map(|year| seconds(smoothed((year, month_number, day, hour, minute, second))));
    let nearest = all.map(|seconds| (seconds - zone).abs_diff(wall.seconds)).min();
    assert_eq!(got.map(|time| time.seconds.abs_diff(wall.seconds)), nearest, "{text} at {}", wall.seconds);
    if let Some(stamp) = stamp {
        let mut out = Vec::new();
        assert_eq!(stamp.write(wall, &own, &mut out), !out.is_empty());
        assert!(out.is_empty() || Time::parse(&out[1..out.len() - 1]) == got, "{text}");
    }
}

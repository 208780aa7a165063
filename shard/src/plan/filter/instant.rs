//! Instants: a time in a filter or a record, whatever its spelling.
//!
//! A text is RFC 3339 or as access logs write it (`10/Oct/2000:13:55:36 -0700`); a number counts seconds, ms, µs or ns
//! since 1970 by its size (below 10^11, 10^14, 10^17, beyond).
//! Promises: exact to the nanosecond; what is finer is cut off.
//! Must not know: fields, operators, clocks.
use super::number::Decimal;
use crate::time::{Time, days, month_days};

/// Seconds since 1970, and nanoseconds of that second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant {
    seconds: i64,
    nanos: u32,
}

const NANOS: i128 = 1_000_000_000;

impl Instant {
    /// Reads a text (decoded) or a number's text.
    pub(crate) fn read(text: &[u8]) -> Option<Instant> {
        match Decimal::read(text) {
            Some(number) => Instant::of_number(&number),
            None => rfc3339(text).or_else(|| Instant::of_access_log(text)),
        }
    }

    fn of_number(number: &Decimal<'_>) -> Option<Instant> {
        let scale = match number.point {
            ..=11 => 9,
            12..=14 => 6,
            15..=17 => 3,
            _ => 0,
        };
        let places = usize::try_from((number.point + scale).max(0)).ok().filter(|&places| places <= 27)?;
        let digits = number.digits().chain(std::iter::repeat(b'0')).take(places);
        let size = digits.fold(0, |sum: i128, digit| sum * 10 + i128::from(digit - b'0'));
        Instant::of_nanos(if number.negative { -size } else { size })
    }

    fn of_access_log(text: &[u8]) -> Option<Instant> {
        Time::of_access_log(text).map(|Time { seconds, nanos }| Instant { seconds, nanos })
    }

    fn of_nanos(nanos: i128) -> Option<Instant> {
        let seconds = i64::try_from(nanos.div_euclid(NANOS)).ok()?;
        Some(Instant { seconds, nanos: nanos.rem_euclid(NANOS) as u32 })
    }
}

/// `2026-11-21T10:11:12.345Z`, `…+01:00`; `t`, `z` and a space for the `T` too.
fn rfc3339(text: &[u8]) -> Option<Instant> {
    let shape = text.len() >= 20
        && matches!((text[4], text[7], text[10]), (b'-', b'-', b'T' | b't' | b' '))
        && (text[13], text[16]) == (b':', b':');
    shape.then_some(())?;
    let (year, month, day) = (two(text, 0)? * 100 + two(text, 2)?, two(text, 5)?, two(text, 8)?);
    let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
    let valid = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    // A leap second is the next minute's first.
    (valid && hour < 24 && minute < 60 && second <= 60).then_some(())?;
    let (nanos, zone) = fraction(&text[19..])?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(Instant { seconds, nanos })
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (*text.get(at)?, *text.get(at + 1)?);
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Nanoseconds, and what follows them.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, zone) = rest.split_at(count);
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    (count > 0).then(|| (padded.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')), zone))
}

/// Seconds that a zone is before UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let (hours, minutes) = (two(zone, 1)?, two(zone, 4)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<(i64, u32)> {
        Instant::read(text.as_bytes()).map(|instant| (instant.seconds, instant.nanos))
    }

    #[test]
    fn one_instant_has_many_spellings() {
        for text in [
            "1795227614",
            "1795227614.0",
            "21/Nov/2026:02:20:14",
            "21/Nov/2026:03:20:14 +0100",
            "1795227614000",
            "1795227614000000",
            "1795227614000000000",
            "1.795227614e9",
            "2026-11-21T02:20:14Z",
            "2026-11-21t02:20:14.000z",
            "2026-11-21 02:20:14+00:00",
            "2026-11-21T03:50:14+01:30",
            "2026-11-20T21:20:14-05:00",
        ] {
            assert_eq!(at(text), Some((1_795_227_614, 0)), "{text}");
        }
        for text in ["1795227614.000000001", "1795227614000000001", "2026-11-21T02:20:14.0000000019Z"] {
            assert_eq!(at(text), Some((1_795_227_614, 1)), "{text}");
        }
    }

    #[test]
    fn the_calendar_is_right_at_its_edges() {
        assert_eq!(at("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(at("1969-12-31T23:59:59.5Z"), Some((-1, 500_000_000)));
        assert_eq!(at("-0.5"), Some((-1, 500_000_000)));
        assert_eq!(at("2000-02-29T00:00:00Z"), Some((951_782_400, 0)));
        assert_eq!(at("2000-03-01T00:00:00Z"), Some((951_868_800, 0)));
        assert_eq!(at("2100-03-01T00:00:00Z"), Some((4_107_542_400, 0)));
        assert_eq!(at("9999-12-31T23:59:59Z"), Some((253_402_300_799, 0)));
        assert_eq!(at("2016-12-31T23:59:60Z"), at("2017-01-01T00:00:00Z"));
        for text in [
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01",
            "1e40",
            "",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}

//! Time: what a log's times say, and the five ways in which a job may want them written.
//!
//! Promises: exact to the nanosecond, no floating point; what is not understood is `None`, never a guess. Nothing is
//! allocated but what the output buffer grows by.
//! Must not know: clocks, time zones other than an offset and the process's own, which field a time stands in.

use crate::zone::{self, Zone};

const NANOS: i128 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;
/// Digits of a number above which it is no time, and the largest power of ten that is tried.
const DIGITS_MAX: usize = 26;

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds on top of them, below 1,000,000,000.
    pub nanos: u32,
}

/// How times are written (`timestamp_format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeFormat {
    /// Nanoseconds since the epoch, a number.
    UnixNano,
    /// Whole seconds since the epoch, a number.
    Unix,
    /// `"2017-09-27T09:15:04Z"`.
    Rfc3339,
    /// The same with three digits of a second's fraction.
    Rfc3339Ms,
    /// The same with nine digits.
    Rfc3339Ns,
}

impl TimeFormat {
    /// All of them.
    pub const ALL: [TimeFormat; 5] = [
        TimeFormat::UnixNano,
        TimeFormat::Unix,
        TimeFormat::Rfc3339,
        TimeFormat::Rfc3339Ms,
        TimeFormat::Rfc3339Ns,
    ];

    /// Its name in a job.
    pub const fn as_str(self) -> &'static str {
        match self {
            TimeFormat::UnixNano => "unixnano",
            TimeFormat::Unix => "unix",
            TimeFormat::Rfc3339 => "rfc3339",
            TimeFormat::Rfc3339Ms => "rfc3339ms",
            TimeFormat::Rfc3339Ns => "rfc3339ns",
        }
    }
}

impl Time {
    /// The longest that [`Time::write`] writes, bytes.
    pub const BYTES_MAX: usize = 34;

    /// A time as a log has it: a number of seconds, milliseconds, microseconds or nanoseconds, whichever its size
    /// makes it, RFC 3339, or as access logs write it.
    pub fn parse(text: &[u8]) -> Option<Time> {
        match (text.get(4), text.get(2), text.first()) {
            (Some(b'-'), ..) => Time::of_rfc3339(text),
            (_, Some(b'/'), _) | (.., Some(b'[')) => Time::of_access_log(text),
            _ => Time::of_number(text),
        }
    }

    /// As [`Time::parse`]; a date and time of day without a zone are of the process's.
    pub fn of_local(text: &[u8]) -> Option<Time> {
        match text.get(4) {
            Some(b'-') => Time::of_date(text, Some(zone::local())),
            _ => Time::parse(text),
        }
    }

    /// `10/Oct/2000:13:55:36 -0700`, also in brackets; `.123` may follow the second (HAProxy), and without a zone it is
    /// of the process's. A leap second is the second before it.
    pub fn of_access_log(text: &[u8]) -> Option<Time> {
        const MONTHS: [&[u8; 3]; 12] =
            [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
        let text = match text.strip_prefix(b"[") {
            Some(rest) => rest.strip_suffix(b"]")?,
            None => text,
        };
        let (date, rest) = text.split_first_chunk::<20>()?;
        let marks = [date[2], date[6], date[11], date[14], date[17]];
        let month = MONTHS.iter().position(|month| date[3..6] == month[..])? as i64 + 1;
        let (day, year) = (number(&date[..2])?, number(&date[7..11])?);
        let (hour, minute, second) = (number(&date[12..14])?, number(&date[15..17])?, number(&date[18..])?);
        let valid = marks == *b"//:::" && (1..=month_days(year, month)).contains(&day);
        if !valid || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (fraction, rest) = fraction(rest)?;
        let local = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second.min(59);
        let seconds = match rest.strip_prefix(b" ") {
            Some(zone) => local - offset(zone)?,
            None => rest.is_empty().then(|| zone::local().utc_of(local))?,
        };
        Some(Time { seconds, nanos: nanos_of(fraction) })
    }

    /// A number since the epoch, as JSON spells numbers. Below 10^11 it is seconds, below 10^14 milliseconds, below
    /// 10^17 microseconds, else nanoseconds; digits behind the nanosecond are cut off.
    pub fn of_number(text: &[u8]) -> Option<Time> {
        Time::of_plain_number(text).or_else(|| Time::of_any_number(text))
    }

    /// Digits with at most nine behind a point, which most logs write; the rest is `None`.
    fn of_plain_number(text: &[u8]) -> Option<Time> {
        let point = text.iter().position(|b| *b == b'.');
        let (whole, fraction) = text.split_at(point.unwrap_or(text.len()));
        let fraction = fraction.get(1..).unwrap_or_default();
        let cut = point.is_some() && fraction.is_empty();
        if whole.is_empty() || whole.len() > 19 || cut || fraction.len() > 9 {
            return None;
        }
        let digits = |text: &[u8]| {
            text.iter().try_fold(0_u64, |sum, b| {
                b.is_ascii_digit().then(|| sum.checked_mul(10)?.checked_add(u64::from(b - b'0'))).flatten()
            })
        };
        let whole = digits(whole)?;
        let behind = digits(fraction)? * 10_u64.pow(9 - fraction.len() as u32);
        let (seconds, nanos) = match whole {
            0..100_000_000_000 => (whole, behind),
            // Parts of a millisecond and less.
            _ if point.is_some() => return None,
            100_000_000_000..100_000_000_000_000 => (whole / 1000, whole % 1000 * 1_000_000),
            100_000_000_000_000..100_000_000_000_000_000 => (whole / 1_000_000, whole % 1_000_000 * 1000),
            _ => (whole / 1_000_000_000, whole % 1_000_000_000),
        };
        Some(Time { seconds: i64::try_from(seconds).ok()?, nanos: nanos as u32 })
    }

    fn of_any_number(text: &[u8]) -> Option<Time> {
        let (negative, rest) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, rest) = digits(rest);
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => Some(digits(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
            None => (&rest[..0], rest),
        };
        let exponent = exponent(rest)?;
        if whole.is_empty() || whole.len() > DIGITS_MAX {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(DIGITS_MAX - whole.len())];
        let number = whole.iter().chain(fraction).fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let scale = exponent - fraction.len() as i32;
        let unit = match scaled(number, scale)? {
            whole if whole < 10_i128.pow(11) => 9,
            whole if whole < 10_i128.pow(14) => 6,
            whole if whole < 10_i128.pow(17) => 3,
            _ => 0,
        };
        Time::of_nanos(scaled(if negative { -number } else { number }, scale + unit)?)
    }

    /// RFC 3339, with an offset; `+0100` and `+01` are taken too, and a space where the `T` should be. A leap second
    /// is the second before it; digits behind the nanosecond are cut off.
    pub fn of_rfc3339(text: &[u8]) -> Option<Time> {
        Time::of_date(text, None)
    }

    /// The same; `zoneless`: the zone of times that have none.
    fn of_date(text: &[u8], zoneless: Option<&Zone>) -> Option<Time> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        let (clock, rest) = rest.split_first_chunk::<9>()?;
        let separated = date[4] == b'-' && date[7] == b'-' && clock[3] == b':' && clock[6] == b':';
        if !separated || !matches!(clock[0], b'T' | b't' | b' ') {
            return None;
        }
        let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
        let (hour, minute, second) = (number(&clock[1..3])?, number(&clock[4..6])?, number(&clock[7..])?);
        let (fraction, zone) = fraction(rest)?;
        let valid = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
        if !valid || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let local = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second.min(59);
        let seconds = if zone.is_empty() { zoneless?.utc_of(local) } else { local - offset(zone)? };
        Some(Time { seconds, nanos: nanos_of(fraction) })
    }

    fn of_nanos(nanos: i128) -> Option<Time> {
        let seconds = i64::try_from(nanos.div_euclid(NANOS)).ok()?;
        Some(Time { seconds, nanos: nanos.rem_euclid(NANOS) as u32 })
    }

    /// Writes it as JSON. False, and nothing is written: the format cannot say it (RFC 3339 has the years 0 to 9999,
    /// `unixnano` 64 bits, which is 1677 to 2262).
    pub fn write(self, format: TimeFormat, out: &mut Vec<u8>) -> bool {
        match format {
            TimeFormat::UnixNano => {
                let nanos = i128::from(self.seconds) * NANOS + i128::from(self.nanos);
                let Ok(nanos) = i64::try_from(nanos) else { return false };
                signed(nanos, out);
            }
            TimeFormat::Unix => signed(self.seconds, out),
            TimeFormat::Rfc3339 => return self.write_rfc3339(0, out),
            TimeFormat::Rfc3339Ms => return self.write_rfc3339(3, out),
            TimeFormat::Rfc3339Ns => return self.write_rfc3339(9, out),
        }
        true
    }

    /// The year of a number of seconds since 1970, UTC.
    pub(crate) fn year(seconds: i64) -> i64 {
        date(seconds.div_euclid(DAY_SECONDS)).0
    }

    /// RFC 3339 in UTC as a JSON string, with so many digits of a second's fraction, at most 9; false: it has no year
    /// of four digits.
    pub(crate) fn write_rfc3339(self, fraction: usize, out: &mut Vec<u8>) -> bool {
        let (year, month, day) = date(self.seconds.div_euclid(DAY_SECONDS));
        if !(0..=9999).contains(&year) {
            return false;
        }
        let clock = self.seconds.rem_euclid(DAY_SECONDS);
        for (before, value, width) in [
            (b'"', year, 4),
            (b'-', month, 2),
            (b'-', day, 2),
            (b'T', clock / 3600, 2),
            (b':', clock / 60 % 60, 2),
            (b':', clock % 60, 2),
        ] {
            out.push(before);
            padded(value as u64, width, out);
        }
        if fraction > 0 {
            out.push(b'.');
            padded(u64::from(self.nanos / 10_u32.pow(9 - fraction as u32)), fraction, out);
        }
        out.extend(b"Z\"");
        true
    }
}

/// The digits of a second's fraction, none if there is no point, and the rest.
fn fraction(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.strip_prefix(b".") {
        Some(rest) => Some(digits(rest)).filter(|(fraction, _)| !fraction.is_empty()),
        None => Some((&text[..0], text)),
    }
}

/// The nanoseconds of a fraction's digits; further ones are cut off.
fn nanos_of(fraction: &[u8]) -> u32 {
    (0..9).fold(0, |sum, at| sum * 10 + u32::from(fraction.get(at).map_or(0, |d| d - b'0')))
}

/// The digits that a text begins with, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The value of a few digits.
fn number(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// What is behind a number's digits: nothing, or an exponent that a time could have.
fn exponent(text: &[u8]) -> Option<i32> {
    let Some((b'e' | b'E', rest)) = text.split_first() else { return text.is_empty().then_some(0) };
    let (sign, rest) = match rest.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, rest),
    };
    let plain = (1..=2).contains(&rest.len());
    plain.then(|| number(rest)).flatten().map(|value| sign * value as i32)
}

/// `number` × 10^`scale`, rounded down; `None` when it is far too large.
fn scaled(number: i128, scale: i32) -> Option<i128> {
    let power = |of: i32| 10_i128.checked_pow(of as u32);
    match scale {
        0.. => number.checked_mul(power(scale)?),
        _ => Some(power(-scale).map_or(-i128::from(number < 0), |power| number.div_euclid(power))),
    }
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match *zone {
        [b'Z' | b'z'] => return Some(0),
        [sign, ref hours @ ..] if hours.len() == 2 => (sign, hours, &b"00"[..]),
        [sign, a, b, ref minutes @ ..] if minutes.len() == 2 && a != b':' && b != b':' => {
            (sign, &zone[1..3], minutes)
        }
        [sign, _, _, b':', ref minutes @ ..] if minutes.len() == 2 => (sign, &zone[1..3], minutes),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Days of a month of the Gregorian calendar.
pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of 400 years: the calendar repeats after them.
const ERA_DAYS: i64 = 146_097;
/// Days from the 1st of March of the year 0, where an era begins (the leap day is a year's last), to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days since 1970-01-01 of a date of the Gregorian calendar.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March: January and February are the end of the year before.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    // Five months from March on have 153 days, and so have the next five.
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// The date of a day counted from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    // Leap days that lie before: one after 1460 days, none after 36524, one after 146096.
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (later, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    (era * 400 + year + later, month, day)
}

fn signed(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    padded(value, value.checked_ilog10().unwrap_or(0) as usize + 1, out);
}

fn padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let end = out.len() + width;
    out.resize(end, b'0');
    let mut rest = value;
    for place in out[end - width..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_read_as_all_numbers() {
        let texts = [
            "0",
            "1",
            "1795250000",
            "1795250000.1",
            "1795250000.123456789",
            "1795250000.1234567891",
            "99999999999",
            "100000000000",
            "99999999999999",
            "100000000000000",
            "99999999999999999",
            "100000000000000000",
            "1795250000000.5",
            "18446744073709551615",
            "1.",
            ".5",
            "",
            "x",
            "1x",
            "-5",
            "1e9",
        ];
        let fast = |text: &&&str| Time::of_plain_number(text.as_bytes()).is_some();
        assert_eq!(texts.iter().filter(fast).count(), 11);
        for text in texts.iter().filter(fast) {
            assert_eq!(
                Time::of_plain_number(text.as_bytes()),
                Time::of_any_number(text.as_bytes()),
                "{text}"
            );
        }
    }
}

//! Stamp: the time of a syslog head.
//!
//! Promises: a stamp is written as RFC 3339 in UTC with the digits that it has; a year that it does not have is the one
//! that puts it nearest to now; a zone that it does not have is given. Nothing is guessed: what is no time is none.
//! Must not know: clocks, which zone the host is in.
use crate::time::{Time, days, month_days};
use crate::zone::Zone;

const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// When, as a head has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// As it is written.
    pub text: &'a [u8],
    year: Option<i64>,
    month: i64,
    day: i64,
    /// Seconds of the day.
    clock: i64,
    /// Digits behind the second's point.
    fraction: &'a [u8],
    /// Seconds that the zone is ahead of UTC.
    zone: Option<i64>,
    iso: bool,
}

impl<'a> Stamp<'a> {
    /// The stamp that a text begins with, and the rest: `Nov 20 23:58:00`, `Nov 20 2026 23:58:00`, or an ISO time.
    pub(super) fn read(text: &'a [u8]) -> Option<(Stamp<'a>, &'a [u8])> {
        match text.first()? {
            b'A'..=b'S' => of_months(text),
            b'0'..=b'9' => iso(text),
            _ => None,
        }
    }

    /// Whether it is written as ISO 8601 has it.
    pub(super) fn is_iso(&self) -> bool {
        self.iso
    }

    /// Whether it says in which zone it is.
    pub(super) fn has_zone(&self) -> bool {
        self.zone.is_some()
    }

    /// When that was: `wall` is now, `zone` that of a stamp that has none.
    pub fn time(&self, wall: Time, zone: &Zone) -> Option<Time> {
        let utc_of = |local: i64| self.zone.map_or_else(|| zone.utc_of(local), |ahead| local - ahead);
        let in_year = |year: i64| {
            let exists = self.day <= month_days(year, self.month);
            exists.then(|| utc_of(days(year, self.month, self.day) * DAY_SECONDS + self.clock))
        };
        let seconds = match self.year {
            Some(year) => in_year(year)?,
            None => {
                let year = Time::year(wall.seconds);
                let near = (year - 1..=year + 1).filter_map(in_year);
                near.min_by_key(|seconds| seconds.abs_diff(wall.seconds))?
            }
        };
        let nanos =
            (0..9).fold(0, |sum, at| sum * 10 + self.fraction.get(at).map_or(0, |d| u32::from(d - b'0')));
        Some(Time { seconds, nanos })
    }

    /// Appends it as a JSON string, as [`Stamp::time`] has it. False: nothing is written, it is no time of a calendar.
    pub fn write(&self, wall: Time, zone: &Zone, out: &mut Vec<u8>) -> bool {
        let digits = self.fraction.len().min(9);
        self.time(wall, zone).is_some_and(|time| time.write_rfc3339(digits, out))
    }
}

/// `Nov 20 23:58:00`, `Nov  2 …`, `Nov 2 …`, with the year behind the day or the time, or not at all.
fn of_months(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let (name, rest) = text.split_first_chunk::<3>()?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = number(rest.strip_prefix(b" ").unwrap_or(rest), 1, 2)?;
    let mut rest = rest.strip_prefix(b" ")?;
    let mut year = None;
    if let Some((value, behind)) = number(rest, 4, 4)
        && let Some(behind) = behind.strip_prefix(b" ")
    {
        (year, rest) = (Some(value), behind);
    }
    let (clock, fraction, rest) = clock(rest)?;
    let valid = (1..=31).contains(&day) && day <= month_days(year.unwrap_or(2000), month);
    let text = &text[..text.len() - rest.len()];
    let stamp = Stamp { text, year, month, day, clock, fraction, zone: None, iso: false };
    valid.then_some((stamp, rest))
}

/// `2026-11-20T23:58:00.123456+01:00`, without a fraction, or without a zone.
pub(super) fn iso(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let (year, rest) = number(text, 4, 4)?;
    let (month, rest) = number(rest.strip_prefix(b"-")?, 2, 2)?;
    let (day, rest) = number(rest.strip_prefix(b"-")?, 2, 2)?;
    let (clock, fraction, rest) = clock(rest.strip_prefix(b"T")?)?;
    let (zone, rest) = zone(rest)?;
    let valid = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    let text = &text[..text.len() - rest.len()];
    valid.then_some((Stamp { text, year: Some(year), month, day, clock, fraction, zone, iso: true }, rest))
}

/// Seconds of a day, digits of a fraction, and the rest. A leap second is the second before it.
fn clock(text: &[u8]) -> Option<(i64, &[u8], &[u8])> {
    let (hour, rest) = number(text, 2, 2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2, 2)?;
    let (second, rest) = number(rest.strip_prefix(b":")?, 2, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let clock = hour * 3600 + minute * 60 + second.min(59);
    let Some(behind) = rest.strip_prefix(b".") else { return Some((clock, &rest[..0], rest)) };
    let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| (clock, &behind[..digits], &behind[digits..]))
}

/// `Z`, `+01:00`, `+0100`, or nothing.
fn zone(text: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let (sign, rest) = match text.split_first() {
        Some((b'Z' | b'z', rest)) => return Some((Some(0), rest)),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        _ => return Some((None, text)),
    };
    let (hours, rest) = number(rest, 2, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(b":").unwrap_or(rest), 2, 2)?;
    (hours <= 23 && minutes <= 59).then(|| (Some(sign * (hours * 3600 + minutes * 60)), rest))
}

/// The number that a text begins with, of so many digits, and the rest.
fn number(text: &[u8], least: usize, most: usize) -> Option<(i64, &[u8])> {
    let digits = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..digits].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    (digits >= least).then(|| (value, &text[digits..]))
}

//! Zone: how far local time is from UTC, for times that do not say it (`EDGEPUSH_TZ`).
//!
//! Promises: a local time that comes twice is the first one; one that is left out is as long behind the change as it would
//! have been (RFC 5545 3.3.5). The process has one zone, UTC until it is set.
//! Must not know: names and rules of zones, which are given as a list of changes.
use std::sync::OnceLock;

/// A time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Seconds ahead of UTC before the first change.
    first: i64,
    /// The local second from which on it is so many seconds ahead, ascending.
    changes: Vec<(i64, i64)>,
}

impl Zone {
    /// Of the seconds that it is ahead of UTC before all changes, and the changes: when (s since the epoch), ascending,
    /// and how many it is ahead from then on.
    pub fn new(first: i64, changes: impl IntoIterator<Item = (i64, i64)>) -> Zone {
        let mut before = first;
        let local = |(at, after): (i64, i64)| {
            // Local seconds between the two come twice, or never: they are the older offset's.
            let from = at + before.max(after);
            before = after;
            (from, after)
        };
        Zone { first, changes: changes.into_iter().map(local).collect() }
    }

    /// The seconds since the epoch of a local time, itself given as if it were UTC.
    #[inline]
    pub fn utc_of(&self, local: i64) -> i64 {
        let passed = self.changes.partition_point(|(from, _)| *from <= local);
        local - passed.checked_sub(1).map_or(self.first, |last| self.changes[last].1)
    }
}

static LOCAL: OnceLock<Zone> = OnceLock::new();

/// Sets the process's zone, before the first line is read.
///
/// # Panics
/// It is another one already.
pub fn set(zone: Zone) {
    assert!(*LOCAL.get_or_init(|| zone.clone()) == zone, "INVARIANT: a process has one zone");
}

/// The process's zone.
#[inline]
pub fn local() -> &'static Zone {
    LOCAL.get_or_init(Zone::default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use jiff::{Timestamp, civil};
    use proptest::prelude::*;

    /// With summers in the north and in the south, half an hour apart, and without any.
    const RULES: [&str; 4] = [
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "EST5EDT,M3.2.0,M11.1.0",
        "IST-5:30",
    ];

    fn zone(rules: &TimeZone) -> Zone {
        let changes = rules
            .following(Timestamp::UNIX_EPOCH)
            .take_while(|change| change.timestamp().as_second() < 1 << 32);
        let changes =
            changes.map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds())));
        Zone::new(i64::from(rules.to_offset(Timestamp::UNIX_EPOCH).seconds()), changes)
    }

    #[test]
    fn a_local_time_is_what_the_calendar_says() {
        for rules in RULES {
            let rules = TimeZone::posix(rules).unwrap();
            let zone = zone(&rules);
            let check = |seconds: i64| {
                let local = Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::UTC).datetime();
                let right = rules.to_ambiguous_timestamp(local).compatible().unwrap().as_second();
                assert_eq!(zone.utc_of(seconds), right, "{local} of {rules:?}");
            };
            for (from, _) in &zone.changes[..zone.changes.len().min(40)] {
                (-8000..8000).step_by(250).for_each(|near| check(from + near));
            }
            proptest!(|(seconds in 1_000_000_i64..4_000_000_000)| check(seconds));
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_the_first_one() {
        let zone = zone(&TimeZone::posix(RULES[0]).unwrap());
        let local = |hour, minute| {
            civil::date(2026, 10, 25)
                .at(hour, minute, 0, 0)
                .to_zoned(TimeZone::UTC)
                .unwrap()
                .timestamp()
                .as_second()
        };
        assert_eq!(zone.utc_of(local(2, 30)), local(0, 30));
        assert_eq!(zone.utc_of(local(3, 0)), local(2, 0));
        assert_eq!(Zone::default().utc_of(local(2, 30)), local(2, 30));
    }
}

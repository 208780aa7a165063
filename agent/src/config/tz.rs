//! tz: the zone of times that have none (`EDGEPUSH_TZ`), by its name in the tz database.
//!
//! Promises: this host's database is asked first, then the one that this program was built with.
//! Must not know: which times those are.
use edgepush_shard::zone::Zone;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Logs are not older; rules of before then are not looked at.
const FROM: Timestamp = Timestamp::UNIX_EPOCH;
/// 2100-01-01: a zone stays as it is then.
const UNTIL: i64 = 4_102_444_800;

/// Reads the name of a time zone.
///
/// # Errors
/// What to write instead.
pub(super) fn read(text: &str) -> Result<TimeZone, String> {
    match text {
        "local" => TimeZone::try_system().map_err(|_| "is not set on this host: name the zone".into()),
        text => TimeZone::get(text).map_err(|_| {
            "is no time zone: write UTC, local, or a name of the tz database, like Europe/Berlin".into()
        }),
    }
}

/// How far local time is from UTC, and when that changes.
pub fn zone(rules: &TimeZone) -> Zone {
    let changes = rules.following(FROM).map(|change| (change.timestamp().as_second(), change.offset()));
    let changes = changes.take_while(|(at, _)| *at < UNTIL);
    let first = i64::from(rules.to_offset(FROM).seconds());
    Zone::new(first, changes.map(|(at, offset)| (at, i64::from(offset.seconds()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_those_of_the_database() {
        let noon = |zone: &str, day: &str| {
            let local: Timestamp = format!("{day}T12:00:00Z").parse().unwrap();
            let utc = super::zone(&read(zone).unwrap()).utc_of(local.as_second());
            (local.as_second() - utc) / 60
        };
        assert_eq!((noon("UTC", "2026-07-01"), noon("Asia/Kolkata", "2026-07-01")), (0, 330));
        assert_eq!((noon("Europe/Berlin", "2026-07-01"), noon("Europe/Berlin", "2026-12-01")), (120, 60));
        assert_eq!((noon("Europe/Berlin", "1978-07-01"), noon("Europe/Berlin", "2099-07-01")), (60, 120));
        for wrong in ["", "Europe/Atlantis", "+01:00", "europe/../berlin"] {
            assert!(read(wrong).unwrap_err().contains("Europe/Berlin"), "{wrong}");
        }
    }
}

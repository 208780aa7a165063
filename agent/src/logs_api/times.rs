//! Times: how times are written in the Logs API (LOGPUSH 3).
//!
//! Promises: a time is one of the documented spellings to the letter, or none.
//! Must not know: slots, requests.
use crate::archive::name::stamp;
use jiff::Timestamp;

/// `2018-11-01T17:00:00Z`, or with an offset (`+08:00`, `+0800`): s since the epoch.
pub fn read(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(want, got): (&u8, &u8)| if *want == b'd' { got.is_ascii_digit() } else { want == got };
    if bytes.len() <= shape.len() || !shape.iter().zip(bytes).all(fits) {
        return None;
    }
    let offset = match &bytes[shape.len()..] {
        b"Z" => "Z".to_owned(),
        [sign @ (b'+' | b'-'), a, b, b':', c, d] | [sign @ (b'+' | b'-'), a, b, c, d]
            if [a, b, c, d].into_iter().all(u8::is_ascii_digit) =>
        {
            let [sign, a, b, c, d] = [sign, a, b, c, d].map(|b| char::from(*b));
            format!("{sign}{a}{b}:{c}{d}")
        }
        _ => return None,
    };
    // A leap second is none of ours: jiff would make 59 of it.
    if &bytes[17..19] == b"60" {
        return None;
    }
    let at: Timestamp = format!("{}{offset}", &text[..shape.len()]).parse().ok()?;
    Some(at.as_second())
}

/// `20181101T170000Z`, s since the epoch.
pub fn read_compact(text: &str) -> Option<i64> {
    let (day, clock) = text.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8 || clock.len() != 6 {
        return None;
    }
    crate::archive::name::read_stamp(&format!("{day}{clock}"))
}

/// Any spelling above, or seconds since the epoch: what a slice may say.
pub fn read_any(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { read(text).or_else(|| read_compact(text)) }
}

/// `2018-11-01T17:00:00Z`.
pub fn write(at: i64) -> String {
    let s = stamp(at);
    format!("{}-{}-{}T{}:{}:{}Z", &s[..4], &s[4..6], &s[6..8], &s[8..10], &s[10..12], &s[12..])
}

/// `20181101T170000Z`.
pub fn write_compact(at: i64) -> String {
    let s = stamp(at);
    format!("{}T{}Z", &s[..8], &s[8..])
}

/// `Thu, 01 Nov 2018 17:00:00 GMT`, as HTTP writes dates.
pub fn write_http(at: i64) -> String {
    let at = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// An HTTP date in the form that is written today.
pub fn read_http(text: &str) -> Option<i64> {
    let at = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?.to_datetime().ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(at).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_541_091_600;

    #[test]
    fn documented_spellings_are_read() {
        for text in ["2018-11-01T17:00:00Z", "2018-11-02T01:00:00+08:00", "2018-11-01T12:30:00-0430"] {
            assert_eq!(read(text), Some(AT), "{text}");
        }
        for text in [
            "",
            "2018-11-01",
            "2018-11-01T17:00:00",
            "2018-11-01 17:00:00Z",
            "2018-11-01t17:00:00Z",
            "2018-11-01T17:00:00z",
            "2018-11-01T17:00:00.0Z",
            "2018-11-31T17:00:00Z",
            "2018-11-01T24:00:00Z",
            "2018-11-01T17:00:60Z",
            "2018-11-01T17:00:00+8",
            "2018-11-01T17:00:00+99:00",
            "+018-11-01T17:00:00Z",
            "2018-11-01T17:00:00Z[UTC]",
            "２018-11-01T17:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read_compact("20181101T170000Z"), Some(AT));
        for text in ["20181101170000Z", "20181101T170000", "2018110T1700000Z", "20181301T170000Z"] {
            assert_eq!(read_compact(text), None, "{text}");
        }
        assert_eq!(read_any("1541091600"), Some(AT));
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(write(AT), "2018-11-01T17:00:00Z");
        assert_eq!(write_compact(AT), "20181101T170000Z");
        assert_eq!(write_http(AT), "Thu, 01 Nov 2018 17:00:00 GMT");
        assert_eq!(read_http(&write_http(AT)), Some(AT));
        assert_eq!(read_http("Thursday"), None);
    }
}

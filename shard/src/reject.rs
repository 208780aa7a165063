//! Reject: how a line that is no record is kept (INTERFACE 3).
//!
//! Promises: one reject is one JSON object on one line; the line's bytes can be had back exactly, as `line` when they
//! are UTF-8, else as `line_base64`. Nothing is allocated once `out` has grown to its working size.
//! Must not know: files, bounds, clocks.
use std::io::Write;

/// A line that is no record.
#[derive(Clone, Copy, Debug)]
pub struct Reject<'a> {
    /// When it was seen: wall clock, ns since the epoch.
    pub time: i64,
    /// The source's configured name; of a record that a destination refused, the job's name.
    pub source: &'a str,
    /// Offset of the line's first byte in the source; of a refused record, in the uncompressed object.
    pub offset: u64,
    /// Length of the whole line, bytes; more than `line` holds when only its head was kept.
    pub length: u64,
    /// Why.
    pub reason: &'a str,
    /// The byte where it shows, 1-based; 0: at none.
    pub column: u32,
    /// The object that a refused record was in.
    pub object: Option<&'a str>,
    /// The line, or its head.
    pub line: &'a [u8],
}

/// Appends a reject and a line end to `out`.
pub fn write_reject(out: &mut Vec<u8>, reject: &Reject<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    push_time(out, reject.time);
    out.extend_from_slice(b"\",\"source\":");
    push_string(out, reject.source);
    let (offset, length, column) = (reject.offset, reject.length, reject.column);
    push_text(out, format_args!(r#","offset":{offset},"length":{length},"reason":"#));
    push_string(out, reject.reason);
    push_text(out, format_args!(r#","column":{column},"#));
    if let Some(object) = reject.object {
        out.extend_from_slice(b"\"object\":");
        push_string(out, object);
        out.push(b',');
    }
    match std::str::from_utf8(reject.line) {
        Ok(line) => {
            out.extend_from_slice(b"\"line\":");
            push_string(out, line);
        }
        Err(_) => {
            out.extend_from_slice(b"\"line_base64\":\"");
            push_base64(out, reject.line);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

fn push_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("INVARIANT: writing to a Vec cannot fail");
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let stop = crate::scan::string_stop(bytes, at);
        out.extend_from_slice(&bytes[at..stop]);
        match bytes.get(stop) {
            None => break,
            Some(&byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
            Some(byte) => push_text(out, format_args!("\\u{byte:04x}")),
        }
        at = stop + 1;
    }
    out.push(b'"');
}

/// RFC 4648 section 4, with padding.
fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut letters = [18, 12, 6, 0].map(|shift| LETTERS[(word >> shift) as usize & 63]);
        letters[three.len() + 1..].fill(b'=');
        out.extend_from_slice(&letters);
    }
}

/// RFC 3339, UTC, nine digits of the second.
pub(crate) fn push_time(out: &mut Vec<u8>, time: i64) {
    const SECOND: i64 = 1_000_000_000;
    let (seconds, ns) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    push_text(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z"));
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is a year's last: months are then 153 days for every five.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(time: i64, line: &[u8], expected: &str) {
        let mut out = Vec::new();
        let (reason, source) = ("cut", "file:/a\"b");
        let reject = Reject { time, source, offset: 18, length: 99, reason, column: 7, object: None, line };
        write_reject(&mut out, &reject);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_text_line_is_kept_as_text() {
        check(
            1_795_227_614_604_000_001,
            b"{\"a\":\"\xc3\xa9\x01\\",
            concat!(
                r#"{"time":"2026-11-21T02:20:14.604000001Z","source":"file:/a\"b","offset":18,"length":99,"#,
                r#""reason":"cut","column":7,"line":"{\"a\":\"é\u0001\\"}"#,
                "\n"
            ),
        );
    }

    #[test]
    fn a_refused_record_names_its_object() {
        let mut out = Vec::new();
        let (reason, object) = ("refused: \"n\" is no number", Some("a/x_1.log.gz"));
        let reject =
            Reject { time: 0, source: "es", offset: 5, length: 2, reason, column: 0, object, line: b"{}" };
        write_reject(&mut out, &reject);
        let expected = concat!(
            r#"{"time":"1970-01-01T00:00:00.000000000Z","source":"es","offset":5,"length":2,"#,
            r#""reason":"refused: \"n\" is no number","column":0,"object":"a/x_1.log.gz","line":"{}"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn any_other_line_is_kept_as_base64() {
        let time = "1969-12-31T23:59:59.999999999Z";
        for (line, base64) in [(&b"\xff"[..], "/w=="), (b"\xffa", "/2E="), (b"\xffab\x00", "/2FiAA==")] {
            let head = r#","source":"file:/a\"b","offset":18,"length":99,"reason":"cut","column":7,"#;
            check(-1, line, &format!("{{\"time\":\"{time}\"{head}\"line_base64\":\"{base64}\"}}\n"));
        }
    }

    #[test]
    fn dates_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(-1), (1969, 12, 31));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }
}

//! Name: what domains and files of the archive are called (INTERFACE 7), and back.
//!
//! A file is `<domain>/<yyyyMMdd>/<yyyyMMddHHmmss>-<serial>.log.gz`: the start of its slot in UTC, serials from 1.
//!
//! Promises: whatever a record says its host is, its domain can stand in a path and cannot leave its directory; one
//! file has one spelling, and a text of any other spelling is no name.
//! Must not know: files, the index, which domains there are.
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The domain of records whose host is none.
pub const INVALID: &str = "_invalid";
/// The domain of records over the most domains, or of no zone where zones are told apart.
pub const OTHER: &str = "_other";
/// Longest domain, bytes.
pub const DOMAIN_BYTES_MAX: usize = 253;
/// What every file ends with.
const SUFFIX: &str = ".log.gz";

/// The domain of a host as a record says it: lower-cased, without port and trailing dot; [`INVALID`] when that is none.
/// Borrowed when the host is its own domain already.
pub fn domain(raw: &[u8]) -> Cow<'_, str> {
    let Ok(text) = str::from_utf8(raw) else { return Cow::Borrowed(INVALID) };
    if let Some(address) = v6(text) {
        return Cow::Owned(address.to_string().replace(':', "_"));
    }
    let text = without_port(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    if is_plain(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let lower = text.to_ascii_lowercase();
    match is_plain(lower.as_bytes()) {
        true => Cow::Owned(lower),
        false => Cow::Borrowed(INVALID),
    }
}

/// Whether a text is a domain as [`domain`] spells it, or one of ours.
pub fn is_domain(text: &str) -> bool {
    let literal = || {
        let address = text.replace('_', ":").parse::<Ipv6Addr>().ok();
        address.is_some_and(|address| address.to_string().replace(':', "_") == text)
    };
    is_plain(text.as_bytes()) || text == INVALID || text == OTHER || literal()
}

/// `::1`, `[::1]`, `[::1]:443`.
fn v6(text: &str) -> Option<Ipv6Addr> {
    match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || without_port(port).is_empty();
            is_port.then(|| address.parse().ok()).flatten()
        }
        // Two colons at least: nearly no host has them.
        None if text.bytes().filter(|b| *b == b':').count() > 1 => text.parse().ok(),
        None => None,
    }
}

fn without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((name, port)) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => text,
    }
}

/// `^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`; an IPv4 literal is such a text.
fn is_plain(text: &[u8]) -> bool {
    let end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.first(), text.last()) else { return false };
    text.len() <= DOMAIN_BYTES_MAX
        && end(*first)
        && end(*last)
        && text.iter().all(|b| end(*b) || matches!(b, b'.' | b'-'))
}

/// A file's name: `20220901010000-21.log.gz`. `start`: s since the epoch, of a year of four digits.
pub fn file(start: i64, serial: u32) -> String {
    format!("{}-{serial}{SUFFIX}", stamp(start))
}

/// A file's path below the archive's directory, `/` between its three parts.
pub fn path(domain: &str, start: i64, serial: u32) -> String {
    format!("{}/{}", directory(domain, start), file(start, serial))
}

/// The directory of a file below the archive's: `example.com/20220901`.
pub fn directory(domain: &str, start: i64) -> String {
    format!("{domain}/{}", &stamp(start)[..8])
}

/// `yyyyMMddHHmmss`, UTC.
pub fn stamp(start: i64) -> String {
    // Nobody archives the year 10000; the bounds only keep the text at 14 digits.
    let start = start.clamp(-62_135_596_800, 253_402_300_799);
    let at = Timestamp::from_second(start).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = Offset::UTC.to_datetime(at);
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// What a stamp says, s since the epoch.
pub fn read_stamp(text: &str) -> Option<i64> {
    if text.len() != 14 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| text[from..from + 2].parse::<i8>().ok();
    let year = text[..4].parse::<i16>().ok()?;
    let at = DateTime::new(year, part(4)?, part(6)?, part(8)?, part(10)?, part(12)?, 0).ok()?;
    Some(Offset::UTC.to_timestamp(at).ok()?.as_second())
}

/// Start (s since the epoch) and serial that a file's name says.
pub fn read_file(name: &str) -> Option<(i64, u32)> {
    let (at, serial) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    if serial.starts_with('0') || !serial.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((read_stamp(at)?, serial.parse().ok()?))
}

/// Domain, start and serial that a path below the archive's directory says.
pub fn read_path(path: &str) -> Option<(&str, i64, u32)> {
    let mut parts = path.split('/');
    let (domain, day, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_domain(domain) {
        return None;
    }
    let (start, serial) = read_file(name)?;
    (name[..8] == *day).then_some((domain, start, serial))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_become_domains() {
        let long = "a".repeat(253);
        let cases: [(&str, &str); 22] = [
            ("example.com", "example.com"),
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com:", "example.com"),
            ("example.com.", "example.com"),
            ("EXAMPLE.com.:443", "example.com"),
            ("a", "a"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:8080", "__1"),
            ("[2001:DB8::1]", "2001_db8__1"),
            ("2001:db8:0:0::1", "2001_db8__1"),
            (&long, &long),
            ("", INVALID),
            ("-", INVALID),
            (".", INVALID),
            ("..", INVALID),
            ("a/b", INVALID),
            ("_other", INVALID),
            ("a b", INVALID),
            ("a:123456", INVALID),
            ("bücher.example", INVALID),
            ("[::1", INVALID),
        ];
        for (raw, expected) in cases {
            assert_eq!(domain(raw.as_bytes()), expected, "{raw}");
            assert!(is_domain(expected), "{expected}");
        }
        assert_eq!(domain(&b"a".repeat(254)), INVALID);
        assert_eq!(domain(b"a\xff"), INVALID);
        assert_eq!(domain(b"a\0"), INVALID);
        for text in ["", "A", "a.", "..", ".", "a/b", "_x", "2001_db8_0_0__1", "::1"] {
            assert!(!is_domain(text), "{text}");
        }
        assert!(matches!(domain(b"example.com"), Cow::Borrowed(_)));
    }

    #[test]
    fn names_are_those_of_the_fact_sheet() {
        let start = read_stamp("20220901010000").unwrap();
        assert_eq!(start, 1_661_994_000);
        assert_eq!(file(start, 21), "20220901010000-21.log.gz");
        assert_eq!(path("example.com", start, 1), "example.com/20220901/20220901010000-1.log.gz");
        assert_eq!(
            read_path("example.com/20220901/20220901010000-21.log.gz"),
            Some(("example.com", start, 21))
        );
        for path in [
            "example.com/20220902/20220901010000-1.log.gz",
            "example.com/20220901/20220901010000-01.log.gz",
            "example.com/20220901/20220901010000-0.log.gz",
            "example.com/20220901/20220901010000-+1.log.gz",
            "example.com/20220901/20220901010000-.log.gz",
            "example.com/20220901/20220901010000-4294967296.log.gz",
            "example.com/20220901/20220901010000.log.gz",
            "example.com/20220901/20220901250000-1.log.gz",
            "example.com/20220901/20220901010000-1.log.gz/",
            "example.com//20220901/20220901010000-1.log.gz",
            "/example.com/20220901/20220901010000-1.log.gz",
            "../20220901/20220901010000-1.log.gz",
            "Example.com/20220901/20220901010000-1.log.gz",
            "example.com/20220901/20220901010000-1.log.gz\0",
            "example.com\\20220901\\20220901010000-1.log.gz",
            "",
        ] {
            assert_eq!(read_path(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_host_has_a_domain_that_is_its_own(raw: Vec<u8>) {
            let first = domain(&raw).into_owned();
            prop_assert!(is_domain(&first), "{first}");
            prop_assert!(!first.contains(['/', '\\', '\0']) && first != "." && first != "..");
        }

        #[test]
        fn a_path_is_read_as_it_was_written(start in 0i64..4_000_000_000, serial in 1u32..) {
            let written = path("a.example", start, serial);
            prop_assert_eq!(read_path(&written), Some(("a.example", start, serial)));
        }

        #[test]
        fn what_is_read_has_one_spelling(text in "[a-z.]{1,9}/[0-9]{8}/[0-9]{14}-[0-9+]{1,4}\\.log\\.gz|\\PC*") {
            if let Some((domain, start, serial)) = read_path(&text) {
                prop_assert_eq!(path(domain, start, serial), text);
            }
        }
    }
}

//! Values: the small types that settings are made of, how they are written and how they are read.
//!
//! Promises: every parser either gives a value inside its bounds or says in plain words what it wants instead; what
//! a [`Secret`] or a [`Target`] holds never appears in `Debug` or `Display`.
//! Must not know: names of variables, the environment, files.
use std::fmt;
use std::time::Duration;

/// A number of bytes. Shown in the largest unit that divides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Units of sizes: decimal ones as disks are sold, binary ones as memory is.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of durations, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZE_UNITS.iter().filter(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        match whole.max_by_key(|(_, unit)| *unit) {
            Some((_, 1)) | None => write!(f, "{}", self.0),
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
        }
    }
}

/// Splits `12ms` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

/// Reads a size: `5MB`, `5MiB`, or bare bytes.
pub fn bytes(text: &str) -> Result<Bytes, String> {
    let wanted = || "is not a size: write 5MB, 5MiB, or a bare number of bytes".to_string();
    let (number, unit) = number_and_unit(text).ok_or_else(wanted)?;
    let factor = match unit {
        "" => 1,
        unit => SIZE_UNITS.iter().find(|(u, _)| u.eq_ignore_ascii_case(unit)).ok_or_else(wanted)?.1,
    };
    number.checked_mul(factor).map(Bytes).ok_or_else(|| "is larger than any disk".to_string())
}

/// Reads a size within bounds, both included.
pub fn bytes_within(text: &str, least: Bytes, most: Bytes) -> Result<Bytes, String> {
    let value = bytes(text)?;
    if value < least || value > most {
        return Err(format!("must be {least} to {most}"));
    }
    Ok(value)
}

/// Reads a duration: `250ms`, `30s`, `5m`, `1h`, `2d`, or bare seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "is not a duration: write 250ms, 30s, 5m, 1h, 2d, or bare seconds".to_string();
    let (number, unit) = number_and_unit(text).ok_or_else(wanted)?;
    let factor = match unit {
        "" => 1_000,
        unit => TIME_UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(wanted)?.1,
    };
    let millis = number.checked_mul(factor).ok_or_else(|| "is longer than any life".to_string())?;
    Ok(Duration::from_millis(millis))
}

/// Reads a duration within bounds, both included.
pub fn duration_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = duration(text)?;
    if value < least || value > most {
        return Err(format!("must be {} to {}", show_duration(least), show_duration(most)));
    }
    Ok(value)
}

/// Writes a duration in the largest unit that divides it.
pub fn show_duration(value: Duration) -> String {
    let millis = value.as_millis() as u64;
    let whole = TIME_UNITS.iter().rev().find(|(_, unit)| millis != 0 && millis.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(&("s", 1_000));
    format!("{}{name}", millis / unit)
}

/// Reads a whole number within bounds, both included.
pub fn count_within(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("must be a whole number, {least} to {most}")),
    }
}

/// A share of the file system, or bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// Percent of the file system, 0-90.
    Percent(u8),
    /// Bytes.
    Bytes(Bytes),
}

impl Reserve {
    /// The reserve of a file system of `total` bytes, in bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Reserve::Percent(percent) => (u128::from(total) * u128::from(percent) / 100) as u64,
            Reserve::Bytes(bytes) => bytes.0,
        }
    }
}

impl fmt::Display for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reserve::Percent(percent) => write!(f, "{percent}%"),
            Reserve::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// Reads `10%` or a size.
pub fn reserve(text: &str) -> Result<Reserve, String> {
    match text.strip_suffix('%') {
        Some(number) => match number.trim_end().parse::<u8>() {
            Ok(percent) if percent <= 90 => Ok(Reserve::Percent(percent)),
            _ => Err("must be 0% to 90%".into()),
        },
        None => bytes(text)
            .map(Reserve::Bytes)
            .map_err(|_| "is neither a share nor a size: write 10% or 20GB".to_string()),
    }
}

/// Reads a list: entries are separated by commas and trimmed, `\,` is a comma inside an entry, an entry that is
/// repeated counts once, empty ones are left out.
pub fn list(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut entry = String::new();
    let mut chars = text.chars().peekable();
    loop {
        match chars.next() {
            Some('\\') if chars.peek() == Some(&',') => {
                chars.next();
                entry.push(',');
            }
            Some(',') | None => {
                let done = entry.trim().to_string();
                if !done.is_empty() && !entries.contains(&done) {
                    entries.push(done);
                }
                entry.clear();
                if chars.peek().is_none() {
                    return entries;
                }
            }
            Some(other) => entry.push(other),
        }
    }
}

/// A value that must never be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// 32 bytes that stand for it as a key.
    pub fn digest(&self) -> [u8; 32] {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        bytes
    }
    /// Whether `said` is the secret; takes the same time wherever they differ.
    pub fn is(&self, said: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut differing = u8::from(own.len() != said.len());
        for (i, byte) in said.iter().enumerate() {
            differing |= byte ^ own.get(i).copied().unwrap_or(!byte);
        }
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What is shown instead of a secret.
pub const HIDDEN: &str = "(secret)";

/// A destination URL as it was said: it may carry passwords, keys and header values.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Target(String);

impl Target {
    /// Takes a URL.
    pub fn new(text: impl Into<String>) -> Target {
        Target(text.into())
    }
    /// The URL itself, for the one place that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted_url(&self.0))
    }
}

/// A URL without what may be secret in it: the user part, the fragment and every query value.
pub fn redacted_url(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (front, query) = match url.split_once('?') {
        Some((front, query)) => (front, Some(query)),
        None => (url, None),
    };
    let mut shown = match front.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            match authority.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://…@{host}{path}"),
                None => front.to_string(),
            }
        }
        None => front.to_string(),
    };
    for (i, pair) in query.iter().flat_map(|q| q.split('&')).enumerate() {
        shown.push(if i == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => shown.extend([name, "=…"]),
            None => shown.push('…'),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let good = [
            ("0", 0, "0"),
            ("7", 7, "7"),
            ("7B", 7, "7"),
            ("16kB", 16_000, "16kB"),
            ("16KB", 16_000, "16kB"),
            ("5MB", 5_000_000, "5MB"),
            ("5mb", 5_000_000, "5MB"),
            ("5 MB", 5_000_000, "5MB"),
            ("5MiB", 5_242_880, "5MiB"),
            ("16MiB", 1 << 24, "16MiB"),
            ("1500000", 1_500_000, "1500kB"),
            ("10GB", 10_000_000_000, "10GB"),
            ("2TiB", 2 << 40, "2TiB"),
        ];
        for (text, value, shown) in good {
            assert_eq!(bytes(text), Ok(Bytes(value)), "{text}");
            assert_eq!(Bytes(value).to_string(), shown);
            assert_eq!(bytes(shown), Ok(Bytes(value)), "what is shown is read again: {shown}");
        }
        for text in
            ["", "MB", "5M", "5K", "-1", "1.5MB", "5 M B", "0x10", "99999999999999999999", "18446745TB"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(bytes_within("15kB", Bytes(16_000), Bytes(1 << 24)), Err("must be 16kB to 16MiB".into()));
        assert_eq!(bytes_within("16kB", Bytes(16_000), Bytes(1 << 24)), Ok(Bytes(16_000)));
        assert_eq!(bytes_within("16MiB", Bytes(16_000), Bytes(1 << 24)), Ok(Bytes(1 << 24)));
        assert!(bytes_within("16777217", Bytes(16_000), Bytes(1 << 24)).is_err());
    }

    #[test]
    fn durations_are_read_and_shown() {
        let good = [
            ("0", 0, "0s"),
            ("30", 30_000, "30s"),
            ("100ms", 100, "100ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("5m", 300_000, "5m"),
            ("1h", 3_600_000, "1h"),
            ("2d", 172_800_000, "2d"),
        ];
        for (text, millis, shown) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(millis)), shown);
        }
        for text in
            ["", "s", "1.5s", "-1s", "5 minutes", "5M", "5w", "99999999999999999999", "999999999999999999d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(3600));
        assert_eq!(duration_within("99ms", least, most), Err("must be 100ms to 1h".into()));
        assert_eq!(duration_within("1h", least, most), Ok(most));
        assert!(duration_within("3601", least, most).is_err());
    }

    #[test]
    fn reserves_are_shares_or_sizes() {
        assert_eq!(reserve("10%"), Ok(Reserve::Percent(10)));
        assert_eq!(reserve("0%"), Ok(Reserve::Percent(0)));
        assert_eq!(reserve("20GB"), Ok(Reserve::Bytes(Bytes(20_000_000_000))));
        for text in ["91%", "-1%", "%", "ten", "1.5%"] {
            assert!(reserve(text).is_err(), "{text}");
        }
        assert_eq!(Reserve::Percent(10).of(u64::MAX), u64::MAX / 10);
        assert_eq!(Reserve::Bytes(Bytes(7)).of(1000), 7);
    }

    #[test]
    fn lists_keep_order_and_escaped_commas() {
        assert_eq!(list("b, a ,b,,a.b.0,"), ["b", "a", "a.b.0"]);
        assert_eq!(list(r"a\,b,c"), ["a,b", "c"]);
        assert_eq!(list(r"a\b,c\"), [r"a\b", r"c\"]);
        assert_eq!(list(r"a\\,b"), [r"a\,b"]);
        assert_eq!(list(" , ,"), Vec::<String>::new());
        assert_eq!(list("A,a"), ["A", "a"]);
    }

    #[test]
    fn counts_have_bounds() {
        assert_eq!(count_within("1", 1, 10), Ok(1));
        assert_eq!(count_within("10", 1, 10), Ok(10));
        for text in ["0", "11", "", "1.0", "ten", "4294967296"] {
            assert_eq!(count_within(text, 1, 10), Err("must be a whole number, 1 to 10".into()), "{text}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "(secret) (secret) Some((secret))");
        assert!(secret.is(b"hunter2"));
        for other in [&b""[..], b"hunter", b"hunter3", b"hunter22", b"Hunter2"] {
            assert!(!secret.is(other));
        }
        assert!(!Secret::new("").is(b"x"));
    }

    #[test]
    fn urls_are_shown_without_their_secrets() {
        let cases = [
            ("archive:", "archive:"),
            ("file:///var/x", "file:///var/x"),
            ("https://h:8080/in", "https://h:8080/in"),
            ("https://user:pa@ss@h/in", "https://…@h/in"),
            (
                "https://h/in?header_Authorization=Bearer%20x&gzip=single",
                "https://h/in?header_Authorization=…&gzip=…",
            ),
            ("https://h/in?token", "https://h/in?…"),
            ("https://h/in#secret", "https://h/in"),
            ("https://u:p@h?k=v", "https://…@h?k=…"),
        ];
        for (url, shown) in cases {
            let target = Target::new(url);
            assert_eq!(target.to_string(), shown);
            assert_eq!(format!("{target:?}"), shown);
            assert_eq!(target.expose(), url);
        }
    }
}

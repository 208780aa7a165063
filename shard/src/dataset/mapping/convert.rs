//! convert: what may be done to a source's value on its way into a data set's field.
//!
//! Promises: exact, no floating point; what a conversion cannot make sense of is nothing (`null`), never a guess.
//! Nothing is allocated. Must not know: records, where the value goes.
use crate::dataset::FieldType;

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 1 s.
    Seconds,
    /// 10^-3 s.
    Milliseconds,
    /// 10^-6 s.
    Microseconds,
    /// 10^-9 s.
    Nanoseconds,
}

impl Unit {
    /// All, with the words of mapping files.
    pub const WORDS: [(&str, Unit); 4] = [
        ("seconds", Unit::Seconds),
        ("milliseconds", Unit::Milliseconds),
        ("microseconds", Unit::Microseconds),
        ("nanoseconds", Unit::Nanoseconds),
    ];

    /// The unit in which a data set's field counts time; `None`: it is no duration.
    pub fn of_field(name: &str) -> Option<Unit> {
        match name {
            "request_time" | "upstream_response_time" => Some(Unit::Seconds),
            "tcp_info_rtt" | "tcp_info_rtt_var" => Some(Unit::Milliseconds),
            "WorkerCPUTime" => Some(Unit::Microseconds),
            "OriginResponseTime" => Some(Unit::Nanoseconds),
            _ if name.ends_with("Ms") => Some(Unit::Milliseconds),
            _ if name.ends_with("TimeUs") => Some(Unit::Microseconds),
            _ => None,
        }
    }

    /// Its power of ten, nanoseconds being 0.
    fn power(self) -> i32 {
        match self {
            Unit::Seconds => 9,
            Unit::Milliseconds => 6,
            Unit::Microseconds => 3,
            Unit::Nanoseconds => 0,
        }
    }

    /// How many nanoseconds it has.
    pub(super) fn nanos(self) -> i128 {
        10_i128.pow(self.power() as u32)
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Of a request line.
    Method,
    Target,
    Version,
    /// Of a URI: without scheme and host; and its parts.
    Uri,
    Path,
    Query,
    /// A query string, with or without its question mark.
    Args,
    Scheme,
    /// Its `host:port`, if it has one.
    Authority,
    /// Of `host:port`.
    Host,
    Port,
    /// The same, only if it is an address.
    Ip,
    /// Of a list.
    First,
    Last,
}

/// What is made of the part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Make {
    /// By the field's type.
    #[default]
    Plain,
    /// Out of a number of these, the field's own.
    Duration(Unit),
    /// Cloudflare's words for what a cache did.
    Cache,
    /// Medianova's.
    CacheUpper,
    /// `HTTP/2` for `HTTP/2.0`.
    Protocol,
    /// `TLSv1.3`, or `none`.
    Tls,
    /// OpenSSL's names of ciphers.
    Cipher,
    Lower,
    Upper,
}

const STEPS: [(&str, Step); 14] = [
    ("method", Step::Method),
    ("target", Step::Target),
    ("version", Step::Version),
    ("uri", Step::Uri),
    ("path", Step::Path),
    ("query", Step::Query),
    ("args", Step::Args),
    ("scheme", Step::Scheme),
    ("authority", Step::Authority),
    ("host", Step::Host),
    ("port", Step::Port),
    ("ip", Step::Ip),
    ("first", Step::First),
    ("last", Step::Last),
];

const MAKES: [(&str, Make); 7] = [
    ("cache", Make::Cache),
    ("CACHE", Make::CacheUpper),
    ("protocol", Make::Protocol),
    ("tls", Make::Tls),
    ("cipher", Make::Cipher),
    ("lower", Make::Lower),
    ("upper", Make::Upper),
];

/// Steps on the way, and what is made at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversion {
    pub(super) steps: Vec<Step>,
    pub(super) make: Make,
    /// As it was written.
    words: String,
}

impl Conversion {
    /// Reads `seconds`, or `target path`: parts of a text, and at the end what is made of it.
    ///
    /// # Errors
    /// What is no conversion, or none of this field.
    pub(super) fn parse(words: &str, field: &str, field_type: FieldType) -> Result<Conversion, String> {
        let mut conversion = Conversion { words: words.to_owned(), ..Conversion::default() };
        for word in words.split_whitespace() {
            if conversion.make != Make::Plain {
                return Err(format!("has {word} behind what makes the value: nothing can follow that"));
            }
            let unit = Unit::WORDS.iter().find(|(name, _)| *name == word);
            let make = MAKES.iter().find(|(name, _)| *name == word);
            match (STEPS.iter().find(|(name, _)| *name == word), make, unit) {
                (Some((_, step)), ..) => conversion.steps.push(*step),
                (_, Some((_, make)), _) => conversion.make = *make,
                (.., Some((_, unit))) => conversion.make = Make::Duration(*unit),
                _ => return Err(format!("has as = \"{words}\": {}", unknown(word))),
            }
        }
        conversion.check(field, field_type).map(|()| conversion)
    }

    fn check(&self, field: &str, field_type: FieldType) -> Result<(), String> {
        let is_text = field_type == FieldType::String;
        match self.make {
            Make::Plain => Ok(()),
            Make::Duration(_) if field_type == FieldType::Time || Unit::of_field(field).is_some() => Ok(()),
            Make::Duration(_) => {
                Err(format!("has as = \"{}\", and {field} is neither time nor duration", self.words))
            }
            _ if is_text => Ok(()),
            _ => Err(format!("has as = \"{}\", which makes text, and {field} is none", self.words)),
        }
    }

    /// As it was written.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Whether a text of the record is the field's as it stands.
    pub(super) fn is_plain(&self) -> bool {
        self.steps.is_empty() && self.make == Make::Plain
    }

    /// The unit of its numbers.
    pub(super) fn unit(&self) -> Option<Unit> {
        match self.make {
            Make::Duration(unit) => Some(unit),
            _ => None,
        }
    }
}

fn unknown(word: &str) -> String {
    let all = || STEPS.map(|s| s.0).into_iter().chain(MAKES.map(|m| m.0)).chain(Unit::WORDS.map(|u| u.0));
    let near = all().map(|name| (crate::nearest::distance(word.chars(), name.chars()), name)).min();
    match near.filter(|(away, _)| *away <= 2) {
        Some((_, near)) => format!("{word} is no conversion; did you mean {near}?"),
        None => format!("{word} is no conversion; there are {}", all().collect::<Vec<_>>().join(", ")),
    }
}

/// Whether servers write this for nothing.
pub(super) fn is_nothing(text: &[u8]) -> bool {
    matches!(text, b"" | b"-" | b"<BADREQ>" | b"<NOSRV>")
}

impl Step {
    /// The part of a text; nothing where the text is none of that kind.
    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        match self {
            Step::Method => line(text).map_or(b"", |(method, ..)| method),
            Step::Target => line(text).map_or(b"", |(_, target, _)| target),
            Step::Version => line(text).map_or(b"", |(.., version)| version),
            Step::Uri => match absolute(text) {
                Some((_, rest)) => memchr::memchr2(b'/', b'?', rest).map_or(b"/", |at| &rest[at..]),
                None => text,
            },
            Step::Path => {
                let uri = Step::Uri.of(text);
                let path = &uri[..memchr::memchr(b'?', uri).unwrap_or(uri.len())];
                // What CONNECT asks for, or a server's own word for a broken request, is no path.
                if path.starts_with(b"/") || path == b"*" { path } else { b"" }
            }
            Step::Query => memchr::memchr(b'?', text).map_or(b"", |at| &text[at + 1..]),
            Step::Args => text.strip_prefix(b"?").unwrap_or(text),
            Step::Scheme => absolute(text).map_or(b"", |(scheme, _)| scheme),
            Step::Authority => absolute(text).map_or(b"", |(_, rest)| authority(rest)),
            Step::Host => host(text).0,
            Step::Port => host(text).1,
            Step::Ip => Some(host(text).0).filter(|host| is_ip(host)).unwrap_or_default(),
            Step::First => items(text).next().unwrap_or_default(),
            Step::Last => items(text).last().unwrap_or_default(),
        }
    }
}

/// Method, target and version of a request line.
fn line(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = memchr::memchr(b' ', text)?;
    let last = memchr::memrchr(b' ', text).filter(|last| *last > first);
    let last = last.filter(|last| text[last + 1..].starts_with(b"HTTP/"));
    let target = &text[first + 1..last.unwrap_or(text.len())];
    Some((&text[..first], target, last.map_or(b"", |last| &text[last + 1..])))
}

/// Scheme and what follows its `://`.
fn absolute(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b':', text)?;
    let scheme = &text[..at];
    let named = !scheme.is_empty() && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    (named && text[at..].starts_with(b"://")).then(|| (scheme, &text[at + 3..]))
}

/// What stands before the path.
fn authority(rest: &[u8]) -> &[u8] {
    &rest[..memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len())]
}

/// `host:port`, `[v6]:port`, or either without a port, also inside of a URI.
fn host(text: &[u8]) -> (&[u8], &[u8]) {
    let text = absolute(text).map_or(text, |(_, rest)| authority(rest));
    if let Some(inside) = text.strip_prefix(b"[")
        && let Some(end) = memchr::memchr(b']', inside)
    {
        return (&inside[..end], inside[end + 1..].strip_prefix(b":").unwrap_or_default());
    }
    match memchr::memchr(b':', text) {
        // An address without brackets has more than one colon, and no port.
        Some(at) if memchr::memchr(b':', &text[at + 1..]).is_none() => (&text[..at], &text[at + 1..]),
        _ => (text, b""),
    }
}

fn is_ip(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<core::net::IpAddr>().is_ok())
}

/// The parts of a list as proxies write it that asked several servers: `a, b : c`; what stands for none left out.
pub(super) fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let comma = |text: &[u8]| -> bool {
        memchr::memchr(b',', text).is_some() || memchr::memmem::find(text, b" : ").is_some()
    };
    let single = !comma(text);
    let parts = text.split(move |byte| !single && matches!(byte, b',' | b' '));
    parts.map(<[u8]>::trim_ascii).filter(|part| !is_nothing(part) && *part != b":")
}

/// What a cache did, in Cloudflare's words and in Medianova's.
pub(super) fn cache(word: &[u8]) -> (&'static str, &'static str) {
    const WORDS: [(&[&str], (&str, &str)); 8] = [
        (
            &[
                "HIT",
                "TCP_HIT",
                "TCP_MEM_HIT",
                "TCP_CF_HIT",
                "TCP_IMS_HIT",
                "TCP_INM_HIT",
                "TCP_DISK_HIT",
                "TCP_OFFLINE_HIT",
            ],
            ("hit", "HIT"),
        ),
        (&["MISS", "TCP_MISS", "TCP_SWAPFAIL_MISS", "TCP_SWAPFAIL", "TCP_COLLAPSED_MISS"], ("miss", "MISS")),
        (
            &["EXPIRED", "TCP_REFRESH_MISS", "TCP_REFRESH_MODIFIED", "TCP_EXPIRED_MISS"],
            ("expired", "EXPIRED"),
        ),
        (&["REVALIDATED", "TCP_REFRESH_HIT", "TCP_REFRESH_UNMODIFIED"], ("revalidated", "REVALIDATED")),
        (&["STALE", "TCP_REF_FAIL_HIT", "TCP_REFRESH_FAIL_OLD", "TCP_REFRESH_FAIL"], ("stale", "STALE")),
        (&["UPDATING"], ("updating", "UPDATING")),
        (&["BYPASS", "PASS", "PIPE", "TCP_CLIENT_REFRESH", "TCP_CLIENT_REFRESH_MISS"], ("bypass", "BYPASS")),
        (&["DYNAMIC"], ("dynamic", "DYNAMIC")),
    ];
    let known =
        |(words, _): &&(&[&str], _)| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    WORDS.iter().find(known).map_or(("unknown", "UNKNOWN"), |(_, words)| *words)
}

/// A version of HTTP: a whole one is written without its zero from 2 on, as Cloudflare does.
pub(super) fn protocol(text: &[u8]) -> &[u8] {
    match text {
        _ if !text.starts_with(b"HTTP/") => b"",
        b"HTTP/2.0" | b"HTTP/3.0" => &text[..6],
        _ => text,
    }
}

/// A version of TLS, by its name or by its number in the protocol.
pub(super) fn tls(text: &[u8]) -> &[u8] {
    match text {
        b"772" | b"1.3" | b"tls1.3" | b"TLS 1.3" => b"TLSv1.3",
        b"771" | b"1.2" | b"tls1.2" | b"TLS 1.2" => b"TLSv1.2",
        b"770" | b"1.1" | b"tls1.1" | b"TLS 1.1" => b"TLSv1.1",
        b"769" | b"1.0" | b"tls1.0" | b"TLS 1.0" | b"TLSv1.0" => b"TLSv1",
        _ if is_nothing(text) => b"none",
        _ => text,
    }
}

/// A cipher by its number or by IANA's name: those that a server of today takes.
pub(super) fn cipher(text: &[u8]) -> &[u8] {
    match text {
        b"4865" | b"TLS_AES_128_GCM_SHA256" => b"AEAD-AES128-GCM-SHA256",
        b"4866" | b"TLS_AES_256_GCM_SHA384" => b"AEAD-AES256-GCM-SHA384",
        b"4867" | b"TLS_CHACHA20_POLY1305_SHA256" => b"AEAD-CHACHA20-POLY1305-SHA256",
        b"49195" | b"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"49196" | b"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"49199" | b"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => b"ECDHE-RSA-AES128-GCM-SHA256",
        b"49200" | b"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => b"ECDHE-RSA-AES256-GCM-SHA384",
        b"52392" | b"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => b"ECDHE-RSA-CHACHA20-POLY1305",
        b"52393" | b"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => b"ECDHE-ECDSA-CHACHA20-POLY1305",
        _ => text,
    }
}

/// Digits of a number above which it is nothing that a log counts.
const DIGITS_MAX: usize = 20;

/// A number of a unit as nanoseconds, rounded down; of a list the sum. `None`: it is none, or below zero.
pub(super) fn duration(text: &[u8], unit: Unit) -> Option<i128> {
    let mut sum = None;
    for item in items(text) {
        sum = Some(sum.unwrap_or(0) + scaled(item, unit.power())?);
    }
    sum
}

/// A number without sign, times ten to the `power`, rounded down.
pub(super) fn scaled(text: &[u8], power: i32) -> Option<i128> {
    let (mut number, mut scale, mut digits, mut point) = (0_i128, power, 0, false);
    let mut rest = text;
    while let Some((&byte, more)) = rest.split_first() {
        match byte {
            b'0'..=b'9' => {
                // What is beyond the nanosecond, or beyond what fits, is cut off.
                if !point || digits < DIGITS_MAX {
                    number = number.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                    scale -= i32::from(point);
                }
                digits += 1;
            }
            b'.' if !point && digits > 0 => point = true,
            b'e' | b'E' if digits > 0 => {
                scale = scale.checked_add(exponent(more)?)?;
                break;
            }
            _ => return None,
        }
        rest = more;
    }
    let power = 10_i128.checked_pow(scale.unsigned_abs());
    match (digits > 0, scale < 0) {
        (false, _) => None,
        (_, true) => Some(power.map_or(0, |power| number / power)),
        (_, false) => number.checked_mul(power?),
    }
}

fn exponent(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|power| (-40..=20).contains(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(steps: &[Step], text: &str) -> String {
        let part = steps.iter().fold(text.as_bytes(), |text, step| step.of(text));
        String::from_utf8(part.to_vec()).expect("UTF-8")
    }

    #[test]
    fn request_lines_have_three_parts() {
        let line = "GET /a b?c=d HTTP/1.1";
        assert_eq!(parts(&[Step::Method], line), "GET");
        assert_eq!(parts(&[Step::Target], line), "/a b?c=d");
        assert_eq!(parts(&[Step::Target, Step::Path], line), "/a b");
        assert_eq!(parts(&[Step::Target, Step::Query], line), "c=d");
        assert_eq!(parts(&[Step::Version], line), "HTTP/1.1");
        assert_eq!(
            (parts(&[Step::Method], "\u{16}\u{3}"), parts(&[Step::Version], "GET /")),
            (String::new(), String::new())
        );
        assert_eq!(parts(&[Step::Target], "GET /"), "/");
    }

    #[test]
    fn uris_have_parts() {
        for (uri, path, query) in [
            ("/a?b=c?d", "/a", "b=c?d"),
            ("/a", "/a", ""),
            ("http://h:80/a?b", "/a", "b"),
            ("https://h", "/", ""),
            ("http://h?q", "", "q"),
            ("*", "*", ""),
        ] {
            assert_eq!(
                (parts(&[Step::Path], uri), parts(&[Step::Query], uri)),
                (path.into(), query.into()),
                "{uri}"
            );
        }
        assert_eq!((parts(&[Step::Args], "?v=3"), parts(&[Step::Args], "v=3")), ("v=3".into(), "v=3".into()));
        assert_eq!(parts(&[Step::Uri], "http://h:80/a?b"), "/a?b");
        assert_eq!(
            (parts(&[Step::Scheme], "https://h/"), parts(&[Step::Scheme], "/a://b")),
            ("https".into(), String::new())
        );
        assert_eq!(parts(&[Step::Host], "https://h.test:8443/x:y"), "h.test");
        assert_eq!(parts(&[Step::Authority, Step::Host], "https://h.test:8443/x:y"), "h.test");
        for odd in ["error:transaction-end-before-headers", "h.test:443"] {
            assert_eq!(
                (parts(&[Step::Authority], odd), parts(&[Step::Path], odd)),
                (String::new(), String::new()),
                "{odd}"
            );
        }
    }

    #[test]
    fn addresses_lose_their_ports() {
        for (text, host, port, ip) in [
            ("192.0.2.1:80", "192.0.2.1", "80", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1", "443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1", "", "2001:db8::1"),
            ("h.test:80", "h.test", "80", ""),
            ("unix:/run/x", "unix", "/run/x", ""),
            ("192.0.2.300", "192.0.2.300", "", ""),
        ] {
            let all = (parts(&[Step::Host], text), parts(&[Step::Port], text), parts(&[Step::Ip], text));
            assert_eq!(all, (host.into(), port.into(), ip.into()), "{text}");
        }
        assert_eq!(parts(&[Step::Last, Step::Ip], "192.0.2.1:80, 192.0.2.2:80 : 192.0.2.3:80"), "192.0.2.3");
        assert_eq!(parts(&[Step::First], "192.0.2.1, 192.0.2.2"), "192.0.2.1");
        assert_eq!(parts(&[Step::Last], "502, -"), "502");
    }

    #[test]
    fn durations_are_exact() {
        let of = |text: &str, unit| duration(text.as_bytes(), unit);
        assert_eq!(of("0.001", Unit::Seconds), Some(1_000_000));
        assert_eq!(of("0.1, 0.25 : 1", Unit::Seconds), Some(1_350_000_000));
        assert_eq!(of("0.1, -", Unit::Seconds), Some(100_000_000));
        assert_eq!(of("4.04994e-4", Unit::Seconds), Some(404_994));
        assert_eq!(of("9.87E-7", Unit::Seconds), Some(987));
        assert_eq!(of("415700", Unit::Nanoseconds), Some(415_700));
        assert_eq!(of("0.0000000019", Unit::Seconds), Some(1));
        for nothing in [
            "-1",
            "-",
            "",
            "x",
            "1.2.3",
            "1 ms",
            "1e99",
            "0.1, x",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(of(nothing, Unit::Seconds), None, "{nothing}");
        }
    }

    #[test]
    fn words_become_those_of_the_data_sets() {
        for (word, is) in [
            ("HIT", "hit"),
            ("TCP_MEM_HIT", "hit"),
            ("pass", "bypass"),
            ("TCP_REFRESH_UNMODIFIED", "revalidated"),
            ("synth", "unknown"),
        ] {
            assert_eq!(cache(word.as_bytes()).0, is);
        }
        assert_eq!(
            (protocol(b"HTTP/2.0"), protocol(b"HTTP/1.0"), protocol(b"<BADREQ>")),
            (&b"HTTP/2"[..], &b"HTTP/1.0"[..], &b""[..])
        );
        assert_eq!(
            (tls(b"772"), tls(b"TLSv1.2"), tls(b"-")),
            (&b"TLSv1.3"[..], &b"TLSv1.2"[..], &b"none"[..])
        );
        assert_eq!(cipher(b"4865"), b"AEAD-AES128-GCM-SHA256");
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |words, field, of| Conversion::parse(words, field, of).map(drop).unwrap_err();
        assert!(parse("secnds", "EdgeTimeToFirstByteMs", FieldType::Int).contains("did you mean seconds?"));
        assert!(parse("seconds", "EdgeResponseBytes", FieldType::Int).contains("neither time nor duration"));
        assert!(parse("cache", "EdgeResponseStatus", FieldType::Int).contains("makes text"));
        assert!(parse("lower path", "ClientRequestPath", FieldType::String).contains("nothing can follow"));
        assert!(Conversion::parse("target path", "ClientRequestPath", FieldType::String).is_ok());
    }
}

//! Head: what syslog writes before a message.
//!
//! Read are RFC 3164 as servers write it (`<190>Nov 20 23:58:00 host tag[pid]: `, also without a host, with ISO times,
//! or with nothing but the priority), RFC 5424, and both of the first without a priority, as rsyslog writes files.
//!
//! Promises: a line that begins neither with a priority nor with a time *and* a tag has no head: JSON, access logs and
//! pairs have none. What is not sure to be part of the head is the message's. Time in proportion to the head.
//! Must not know: which year it is, what the message means.
use super::stamp;

pub use super::stamp::Stamp;

/// A longer word is no host: RFC 1035's bound.
const HOST_BYTES_MAX: usize = 255;
/// A longer word is no tag; RFC 3164 has 32, and nobody keeps to it.
const TAG_BYTES_MAX: usize = 128;
/// Largest priority: facility 23, severity 7.
const PRIORITY_MAX: u32 = 191;

/// A head, and the message behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Facility and severity; files have none.
    pub priority: Option<u8>,
    /// When the message was sent.
    pub time: Option<Stamp<'a>>,
    /// By which host.
    pub host: Option<&'a [u8]>,
    /// By which program: RFC 3164's tag without process id, RFC 5424's application name.
    pub tag: Option<&'a [u8]>,
    /// What is behind the head.
    pub message: &'a [u8],
    /// Another line of which the bytes up to the message are the same, and the message's first byte too, has this head.
    pub(super) fixed: bool,
}

/// The head of a line; none: it has none.
pub fn read(line: &[u8]) -> Option<Head<'_>> {
    let Some((priority, rest)) = priority(line) else { return of_file(line) };
    let head = of_5424(rest).or_else(|| of_3164(rest));
    let bare = Head { priority: None, time: None, host: None, tag: None, message: rest, fixed: false };
    Some(settled(Head { priority: Some(priority), ..head.unwrap_or(bare) }))
}

/// Whether bytes begin with a head.
pub(super) fn begins(bytes: &[u8]) -> bool {
    read(bytes).is_some()
}

/// What is known only with the message: rsyslog's cookie before JSON goes, and a message that cannot be part of a head
/// makes sure where that ends.
fn settled(mut head: Head<'_>) -> Head<'_> {
    if let Some(json) = head.message.strip_prefix(b"@cee:") {
        head.message = json.trim_ascii_start();
    }
    head.fixed = match head.message.first() {
        Some(b'{') => true,
        // Behind a byte that may begin a mark or a cookie, more than that byte would have to be the same.
        Some(0xef | b'@') | None => false,
        _ => head.fixed,
    };
    head
}

fn priority(line: &[u8]) -> Option<(u8, &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || rest.get(digits) != Some(&b'>') {
        return None;
    }
    let value = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    (value <= PRIORITY_MAX).then_some((value as u8, &rest[digits + 1..]))
}

/// A head without priority: only where nothing else can be meant.
fn of_file(line: &[u8]) -> Option<Head<'_>> {
    let (time, rest) = Stamp::read(line)?;
    let (host, tag, message) = origin(rest.strip_prefix(b" ")?)?;
    let tag = tag?;
    let unlike_others = match time.is_iso() {
        // Logs of programs begin with such times too; rsyslog writes the zone and the host.
        true => time.has_zone() && host.is_some(),
        false => true,
    };
    let head = Head { priority: None, time: Some(time), host, tag: Some(tag), message, fixed: true };
    unlike_others.then(|| settled(head))
}

/// What is behind the priority of RFC 3164: each of time, host and tag may be missing.
fn of_3164(rest: &[u8]) -> Option<Head<'_>> {
    let timed = Stamp::read(rest.strip_prefix(b" ").unwrap_or(rest));
    let timed = timed.and_then(|(time, rest)| match rest.split_first() {
        Some((b' ', rest)) => Some((Some(time), rest)),
        Some(_) => None,
        None => Some((Some(time), rest)),
    });
    let (time, rest) = timed.unwrap_or((None, rest));
    // Without a time, the first word is no host.
    let found = match time {
        Some(_) => origin(rest),
        None => tag(rest).map(|(tag, message)| (None, Some(tag), message)),
    };
    let fixed = matches!(found, Some((_, Some(_), _)));
    let (host, tag, message) = found.unwrap_or((None, None, rest));
    Some(Head { priority: None, time, host, tag, message, fixed })
}

/// Host, tag and message: `host tag[1]: message`, `tag: message`, `host {"json":…`.
#[allow(clippy::type_complexity, reason = "one use; a struct would only name it twice")]
fn origin(rest: &[u8]) -> Option<(Option<&[u8]>, Option<&[u8]>, &[u8])> {
    if let Some((tag, message)) = tag(rest) {
        return Some((None, Some(tag), message));
    }
    let (host, behind) = host(rest)?;
    if behind.starts_with(b"{") || behind.starts_with(b"@cee:") {
        return Some((Some(host), None, behind));
    }
    let (tag, message) = tag(behind)?;
    Some((Some(host), Some(tag), message))
}

/// A word that may be a host, and what is behind the space after it.
fn host(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/@%[]+~".contains(byte) || *byte >= 0x80;
    let len = text.iter().take(HOST_BYTES_MAX + 1).take_while(|byte| of_host(byte)).count();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80;
    let whole = len <= HOST_BYTES_MAX && text[..len].iter().any(is_name) && text.get(len) == Some(&b' ');
    whole.then(|| (&text[..len], &text[len + 1..]))
}

/// A tag without its process id, and the message: `nginx: `, `haproxy[123]: `, `nginx:{`.
fn tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let of_tag =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./@()+~#$%&*".contains(byte) || *byte >= 0x80;
    let len = text.iter().take(TAG_BYTES_MAX + 1).take_while(|byte| of_tag(byte)).count();
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    // Marks or digits alone name nothing.
    if len > TAG_BYTES_MAX || !text[..len].iter().any(is_letter) {
        return None;
    }
    let mut rest = &text[len..];
    if let Some(process) = rest.strip_prefix(b"[") {
        let of_process = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./".contains(byte);
        let len = process.iter().take(TAG_BYTES_MAX).take_while(|byte| of_process(byte)).count();
        rest = process[len..].strip_prefix(b"]")?;
    }
    let rest = rest.strip_prefix(b":")?;
    match rest.first() {
        Some(b' ') => Some((&text[..len], &rest[1..])),
        None | Some(b'{') => Some((&text[..len], rest)),
        Some(_) => None,
    }
}

/// RFC 5424 behind its priority: `1 TIME HOST APP PROCID MSGID SD MSG`, `-` for what is missing.
fn of_5424(rest: &[u8]) -> Option<Head<'_>> {
    let rest = rest.strip_prefix(b"1 ")?;
    let (time, rest) = match rest.strip_prefix(b"- ") {
        Some(rest) => (None, rest),
        None => {
            let (time, rest) = stamp::iso(rest)?;
            (Some(time), rest.strip_prefix(b" ")?)
        }
    };
    let (host, rest) = word(rest)?;
    let (tag, rest) = word(rest)?;
    let (_process, rest) = word(rest)?;
    let (_kind, rest) = last_word(rest)?;
    let present = |word| Some(word).filter(|word| *word != b"-");
    let (message, fixed) = match structured(rest) {
        Some(message) => (message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message), true),
        None => (rest, false),
    };
    Some(Head { priority: None, time, host: present(host), tag: present(tag), message, fixed })
}

/// A word and what is behind the one space after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = memchr::memchr(b' ', &text[..text.len().min(HOST_BYTES_MAX + 1)])?;
    let graphic = len > 0 && text[..len].iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    graphic.then(|| (&text[..len], &text[len + 1..]))
}

/// The same; the line may end behind it.
fn last_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let ended = !text.is_empty() && text.len() <= HOST_BYTES_MAX && !text.contains(&b' ');
    if ended { Some((text, b"")) } else { word(text) }
}

/// What is behind structured data: `-`, or `[id name="value"]` once or more, in whose values `\` escapes `"`, `\`, `]`.
fn structured(text: &[u8]) -> Option<&[u8]> {
    let rest = match text.first()? {
        b'-' => &text[1..],
        b'[' => {
            let mut rest = text;
            while rest.first() == Some(&b'[') {
                rest = &rest[element(rest)?..];
            }
            rest
        }
        _ => return None,
    };
    match rest.first() {
        None => Some(rest),
        Some(b' ') => Some(&rest[1..]),
        Some(_) => None,
    }
}

/// The length of the element that a text begins with.
fn element(text: &[u8]) -> Option<usize> {
    let (mut at, mut quoted) = (1, false);
    loop {
        let special: [u8; 3] = if quoted { *b"\"\\\n" } else { *b"\"]\n" };
        at += memchr::memchr3(special[0], special[1], special[2], text.get(at..)?)?;
        match text[at] {
            b'"' => quoted = !quoted,
            b'\\' => at += 1,
            b']' => return Some(at + 1),
            _ => return None,
        }
        at += 1;
    }
}

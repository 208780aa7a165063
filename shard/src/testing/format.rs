//! The plain way of text formats: what a line means by definition, and lines as servers write them.
//!
//! Must not know: how the real way finds anything.
use crate::format::{Absent, Escape, Field, Format, Kind, Pattern, Piece, Reader, Stand};
use crate::parse::Fault;
use serde_json::{Map, Value};

/// The values of a line by definition: the first way to cut it, by trying them all.
pub fn naive<'l>(pieces: &[Piece], line: &'l [u8]) -> Option<Vec<&'l [u8]>> {
    let Some((first, rest)) = pieces.split_first() else { return line.is_empty().then(Vec::new) };
    match first {
        Piece::Literal(literal) => naive(rest, line.strip_prefix(&literal[..])?),
        Piece::Field(field) => {
            let spaces = line.iter().take_while(|byte| **byte == b' ').count();
            let line = &line[if field.padded { spaces } else { 0 }..];
            let quote = matches!(rest.first(), Some(Piece::Literal(literal)) if literal[0] == b'"');
            let quoted = quote && matches!(field.escape, Escape::C | Escape::Json);
            (0..=line.len()).find_map(|end| {
                let value = &line[..end];
                if !can_be(field.kind, value) || quoted && !is_escaped(value) {
                    return None;
                }
                let mut values = naive(rest, &line[end..])?;
                values.insert(0, value);
                Some(values)
            })
        }
    }
}

fn can_be(kind: Kind, value: &[u8]) -> bool {
    let at = |place: usize| value.get(place).copied().unwrap_or_default();
    match kind {
        Kind::Text | Kind::Numbers | Kind::Request => true,
        Kind::Word | Kind::Number => !value.contains(&b' '),
        Kind::Digits => value == b"-" || value.iter().all(u8::is_ascii_digit),
        Kind::Braced => !value.contains(&b'}'),
        Kind::Time => {
            let marks = [at(2), at(6), at(11), at(14), at(17)] == *b"//:::";
            value == b"-" || value.len() >= 20 && marks
        }
    }
}

/// Whether every quote is behind a backslash that escapes it, and no backslash escapes what follows.
fn is_escaped(value: &[u8]) -> bool {
    let mut behind = false;
    for &byte in value {
        if byte == b'"' && !behind {
            return false;
        }
        behind = byte == b'\\' && !behind;
    }
    !behind
}

/// How a server writes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// nginx's default.
    Nginx,
    /// nginx with `escape=json`.
    NginxJson,
    /// Apache httpd and varnishncsa.
    Apache,
    /// HAProxy.
    Haproxy,
    /// Whoever escapes nothing.
    None,
}

/// A value as a server writes it; `None`: it has none.
pub fn written(hand: Hand, value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else {
        return if matches!(hand, Hand::NginxJson | Hand::None) { Vec::new() } else { b"-".to_vec() };
    };
    let mut out = Vec::new();
    for &byte in value {
        let text = match (hand, byte) {
            (Hand::None, _) => String::new(),
            (Hand::Nginx, b'"' | b'\\' | 0..0x20 | 0x7f..) => format!("\\x{byte:02X}"),
            (Hand::NginxJson, b'"') | (Hand::Apache, b'"') => "\\\"".into(),
            (Hand::NginxJson, b'\\') | (Hand::Apache, b'\\') => "\\\\".into(),
            (Hand::NginxJson | Hand::Apache, b'\n') => "\\n".into(),
            (Hand::NginxJson | Hand::Apache, b'\r') => "\\r".into(),
            (Hand::NginxJson | Hand::Apache, b'\t') => "\\t".into(),
            (Hand::NginxJson | Hand::Apache, 8) => "\\b".into(),
            (Hand::NginxJson, 12) => "\\f".into(),
            (Hand::Apache, 11) => "\\v".into(),
            (Hand::NginxJson, 0..0x20) => format!("\\u{byte:04X}"),
            (Hand::Apache, 0..0x20 | 0x7f..) => format!("\\x{byte:02x}"),
            (Hand::Haproxy, b'"' | b'#' | b'{' | b'|' | b'}' | 0..0x20 | 0x7f..) => format!("#{byte:02X}"),
            _ => String::new(),
        };
        if text.is_empty() {
            out.push(byte);
        } else {
            out.extend(text.into_bytes());
        }
    }
    out
}

/// A line of values, as they stand in it.
pub fn line_of(pieces: &[Piece], values: &[Vec<u8>]) -> Vec<u8> {
    let mut values = values.iter();
    let mut line = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => line.extend_from_slice(bytes),
            Piece::Field(_) => line.extend_from_slice(values.next().map_or(&[][..], |value| &value[..])),
        }
    }
    line
}

/// A field that is text, for tests.
pub fn text_field(name: &str, kind: Kind, escape: Escape) -> Field {
    let absent = if matches!(escape, Escape::Json | Escape::None) { Absent::Empty } else { Absent::Dash };
    Field { name: name.into(), spelled: format!("${name}"), kind, escape, absent, padded: false }
}

/// What became of the lines of a chunk: objects in their order, or faults.
pub fn read_all(format: &Format, stand: Stand<'_>, bytes: &[u8]) -> Vec<Result<Map<String, Value>, Fault>> {
    let mut all = Vec::new();
    Reader::new().lines(format, stand, bytes, |_, parsed| {
        all.push(parsed.map(|record| {
            let Ok(Value::Object(object)) = serde_json::from_slice(record.text) else {
                panic!("a record's text is an object: {}", record.text.escape_ascii());
            };
            assert!(record.members.iter().all(|member| {
                let key = std::str::from_utf8(member.key.of(record.text)).unwrap_or("not UTF-8");
                let key: String = serde_json::from_str(&format!("\"{key}\"")).unwrap_or_default();
                serde_json::from_slice::<Value>(member.value.of(record.text)).is_ok()
                    && object.contains_key(&key)
            }));
            object
        }));
    });
    all
}

/// The real way and the plain way find the same values.
pub fn values_are_naive(pieces: Vec<Piece>, line: &[u8]) {
    let Ok(pattern) = Pattern::new(pieces.clone()) else { return };
    let expected = naive(&pieces, line);
    assert_eq!(pattern.values(line), expected, "{pieces:?} on {}", line.escape_ascii());
}

/// Whatever is written in a format is a format or a mistake, and whatever a line is, what is made of it is JSON; the
/// same when the lines come one by one.
pub fn formats_and_lines_are_survived(format: &str, bytes: &[u8]) {
    let Ok(format) = Format::parse(format) else { return };
    let stand = Stand::of(b"", 1);
    let whole = read_all(&format, stand, bytes);
    if format.name() != "auto" {
        let each: Vec<_> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .flat_map(|line| read_all(&format, stand, line))
            .collect();
        assert_eq!(whole, each);
    }
}

/// A row of csv is what another reader says of it, where ours takes it; and it takes what any writer writes.
pub fn rows_are_cells(line: &[u8], cells: impl Fn(&[u8]) -> Option<Vec<Vec<u8>>>) {
    // What frames take off is none of the table's, and another reader may take a mark off.
    if line.is_empty() || line.contains(&b'\n') || line.ends_with(b"\r") || line.starts_with(b"\xef\xbb\xbf")
    {
        return;
    }
    let Some(expected) = cells(line).filter(|cells| !cells.is_empty()) else { return };
    match row(line, expected.len()) {
        Some(got) => assert_eq!(got, texts(&expected), "{}", line.escape_ascii()),
        // Something behind a closing quote, or no closing one.
        None => assert!(line.contains(&b'"'), "{}", line.escape_ascii()),
    }
    let quoted = expected.iter().map(|cell| {
        let text = String::from_utf8_lossy(cell).replace('"', "\"\"");
        format!("\"{text}\"")
    });
    let written = quoted.collect::<Vec<_>>().join(",").into_bytes();
    assert_eq!(row(&written, expected.len()), Some(texts(&expected)), "{}", written.escape_ascii());
    assert_eq!(cells(&written).map(|cells| texts(&cells)), Some(texts(&expected)));
}

/// The values of a row of so many columns, all of them text.
fn row(line: &[u8], columns: usize) -> Option<Vec<String>> {
    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let format = Format::parse(&format!("csv:{}", names.join(","))).expect("names are a format");
    let record = read_all(&format, Stand::of(b"", 1), line).pop()?.ok()?;
    Some(names.iter().map(|name| present(record[name].as_str().unwrap_or_default())).collect())
}

fn texts(cells: &[Vec<u8>]) -> Vec<String> {
    cells.iter().map(|cell| present(&String::from_utf8_lossy(cell))).collect()
}

/// A bare dash is null, as an empty value is; whether it had quotes, another reader does not say.
fn present(text: &str) -> String {
    if text == "-" { String::new() } else { text.to_owned() }
}

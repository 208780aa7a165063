//! said: what a record's value says, and how a text is written as a value of a field.
//!
//! Promises: what is written is one JSON value of the field's type, or nothing is. Nothing is allocated once the buffers
//! have grown. Must not know: which field.
use super::convert::{Conversion, Make, Unit, cache, cipher, duration, is_nothing, protocol, scaled, tls};
use crate::dataset::FieldType;
use crate::plan::text::{decode, json_string};
use crate::record::{Member, ValueKind};
use crate::time::{Time, TimeFormat};

/// The text that a scalar value says; `None`: it is `null`, an object or an array. Strings with escapes are decoded into
/// `buffer`.
pub(super) fn said<'a>(text: &'a [u8], member: Member, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let raw = member.value.of(text);
    match member.kind {
        ValueKind::String => {
            let body = &raw[1..raw.len() - 1];
            if memchr::memchr(b'\\', body).is_none() {
                return Some(body);
            }
            buffer.clear();
            decode(body, buffer);
            Some(buffer)
        }
        ValueKind::Number | ValueKind::Bool => Some(raw),
        ValueKind::Null | ValueKind::Object | ValueKind::Array => None,
    }
}

/// What is added to a time or a duration, and taken off it, in ns.
#[derive(Clone, Copy, Default)]
pub(super) struct Shift(pub(super) i128);

/// Writes a text as a value of a field; what kind of value it is. `None`: it says nothing there.
pub(super) fn write(
    said: &[u8],
    (field, field_type): (&str, FieldType),
    conversion: &Conversion,
    Shift(shift): Shift,
    out: &mut Vec<u8>,
) -> Option<ValueKind> {
    if conversion.make == Make::Tls {
        return string(tls(conversion.part(said)), out);
    }
    let part = conversion.part(said);
    if is_nothing(part) {
        return None;
    }
    match field_type {
        FieldType::Time => time(part, conversion.unit(), shift, out),
        FieldType::Int | FieldType::Float => {
            let nanos = match conversion.unit() {
                Some(unit) => duration(part, unit)?.checked_add(shift)?,
                None => return number(part, field_type, out),
            };
            count(nanos, Unit::of_field(field)?, field_type, out)
        }
        FieldType::Bool => {
            let truth = matches!(part, b"true" | b"1" | b"on" | b"yes");
            let known = truth || matches!(part, b"false" | b"0" | b"off" | b"no");
            known.then(|| out.extend_from_slice(if truth { b"true" } else { b"false" }))?;
            Some(ValueKind::Bool)
        }
        FieldType::String => text(part, conversion.make, out),
        FieldType::StringArray | FieldType::IntArray | FieldType::ObjectArray | FieldType::Object => None,
    }
}

impl Conversion {
    /// The part of a text that is wanted.
    fn part<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        self.steps.iter().fold(text, |text, step| step.of(text))
    }
}

fn text(part: &[u8], make: Make, out: &mut Vec<u8>) -> Option<ValueKind> {
    match make {
        Make::Cache => string(cache(part).0.as_bytes(), out),
        Make::CacheUpper => string(cache(part).1.as_bytes(), out),
        Make::Protocol => string(protocol(part), out),
        Make::Cipher => string(cipher(part), out),
        Make::Lower | Make::Upper => {
            let from = out.len();
            let kind = string(part, out);
            // Escapes have hexadecimal digits and letters that mean something: they stay.
            if memchr::memchr(b'\\', &out[from..]).is_none() {
                match make {
                    Make::Lower => out[from..].make_ascii_lowercase(),
                    _ => out[from..].make_ascii_uppercase(),
                }
            }
            kind
        }
        Make::Plain | Make::Duration(_) | Make::Tls => string(part, out),
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) -> Option<ValueKind> {
    if text.is_empty() {
        return None;
    }
    json_string(text, out);
    Some(ValueKind::String)
}

/// A count as it is, without leading zeros; a number below zero counts nothing.
fn number(text: &[u8], field_type: FieldType, out: &mut Vec<u8>) -> Option<ValueKind> {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    if !digits(whole) || !digits(fraction) {
        // What is spelled otherwise (`1e-5`): exactly, as far as nanos go.
        return count(scaled(text, 9)?, Unit::Seconds, field_type, out);
    }
    let zeros = whole.iter().take_while(|byte| **byte == b'0').count().min(whole.len() - 1);
    let is_whole = fraction.iter().all(|byte| *byte == b'0');
    match field_type {
        FieldType::Int if !is_whole => return None,
        FieldType::Int => out.extend_from_slice(&whole[zeros..]),
        _ => out.extend_from_slice(&text[zeros..]),
    }
    Some(ValueKind::Number)
}

/// Nanoseconds in a unit: whole ones rounded down, or with all decimals that there are.
fn count(nanos: i128, unit: Unit, field_type: FieldType, out: &mut Vec<u8>) -> Option<ValueKind> {
    let whole = u64::try_from(nanos.div_euclid(unit.nanos())).ok()?;
    decimal(whole, 1, out);
    if field_type == FieldType::Float {
        let mut rest = nanos.rem_euclid(unit.nanos()) as u64;
        let mut width = unit.nanos().ilog10() as usize;
        while width > 0 && rest.is_multiple_of(10) {
            (rest, width) = (rest / 10, width - 1);
        }
        if width > 0 {
            out.push(b'.');
            decimal(rest, width, out);
        }
    }
    Some(ValueKind::Number)
}

fn decimal(value: u64, width: usize, out: &mut Vec<u8>) {
    let width = width.max(value.checked_ilog10().unwrap_or(0) as usize + 1);
    let from = out.len();
    out.resize(from + width, b'0');
    let mut rest = value;
    for place in out[from..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// A point in time as `unixnano`.
fn time(text: &[u8], unit: Option<Unit>, shift: i128, out: &mut Vec<u8>) -> Option<ValueKind> {
    let nanos = match unit {
        Some(unit) => duration(text, unit)?,
        None => {
            let time = Time::of_local(text)?;
            i128::from(time.seconds) * Unit::Seconds.nanos() + i128::from(time.nanos)
        }
    }
    .checked_add(shift)?;
    let seconds = i64::try_from(nanos.div_euclid(Unit::Seconds.nanos())).ok()?;
    let time = Time { seconds, nanos: nanos.rem_euclid(Unit::Seconds.nanos()) as u32 };
    time.write(TimeFormat::UnixNano, out).then_some(ValueKind::Number)
}

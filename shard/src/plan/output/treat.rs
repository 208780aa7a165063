//! Treat: what is done to one field's values on their way.
//!
//! Promises: a value is JSON before and after; `null` stays `null`; [`Rule::bytes_max`] is never exceeded. Nothing is
//! allocated per value once the buffers have grown.
//! Must not know: where the value goes.
use super::options::OutputOptions;
use super::privacy::{HashKey, Privacy, truncated_ip};
use super::text::{decode, json_string};
use crate::dataset::{Dataset, FieldType};
use crate::limits::PARSE_BYTES_KEPT;
use crate::record::{Member, Span, ValueKind};
use crate::ring::RecordSink;
use crate::time::{Time, TimeFormat};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treat {
    AsIs,
    /// What is no number is `null` (INTERFACE 3).
    Number,
    Time(TimeFormat),
    Hash,
    TruncateIp,
}

/// What is done to the values of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The field is left out.
    pub(super) drop: bool,
    treat: Treat,
    /// Objects and arrays become strings.
    stringify: bool,
}

impl Rule {
    /// What options say of a field.
    pub(super) fn new(options: &OutputOptions, dataset: &Dataset, name: &str) -> Rule {
        let privacy = options.privacy(name);
        let treat = match (privacy, options.time_format(dataset, name)) {
            (Some(Privacy::Hash), _) => Treat::Hash,
            (Some(Privacy::TruncateIp), _) => Treat::TruncateIp,
            (_, Some(format)) => Treat::Time(format),
            _ => match dataset.field_type(name) {
                Some(FieldType::Int | FieldType::Float) => Treat::Number,
                _ => Treat::AsIs,
            },
        };
        Rule { drop: privacy == Some(Privacy::Drop), treat, stringify: options.stringifies() }
    }

    /// Whether nothing is done.
    pub(super) fn is_plain(&self) -> bool {
        !self.drop && self.treat == Treat::AsIs && !self.stringify
    }

    /// The most bytes that a value of `len` bytes becomes.
    pub(super) fn bytes_max(&self, len: usize) -> usize {
        let treated = match self.treat {
            Treat::AsIs | Treat::Number => len.max(4),
            Treat::Time(_) => len.max(Time::BYTES_MAX),
            // The longest address is 39 bytes, in quotes.
            Treat::Hash | Treat::TruncateIp => 48,
        };
        // Every byte of JSON text needs at most one more inside a string; its control characters are white space.
        if self.stringify { 2 * treated + 2 } else { treated }
    }
}

/// A value as it goes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    text: &'a [u8],
    span: Span,
    pub(super) kind: ValueKind,
}

impl<'a> Value<'a> {
    pub(super) const NULL: Value<'static> =
        Value { text: b"null", span: Span { start: 0, end: 4 }, kind: ValueKind::Null };

    /// As it stands in a record.
    pub(super) fn of(text: &'a [u8], member: Member) -> Value<'a> {
        Value { text, span: member.value, kind: member.kind }
    }

    fn new(text: &'a [u8], kind: ValueKind) -> Value<'a> {
        Value { text, span: Span::new(0, text.len()), kind }
    }

    /// The bytes, of a string without its quotes.
    pub(super) fn bare(&self) -> &'a [u8] {
        self.bare_span().of(self.text)
    }

    fn bare_span(&self) -> Span {
        let quote = u32::from(self.kind == ValueKind::String);
        Span { start: self.span.start + quote, end: self.span.end - quote }
    }

    /// Hands it over without a string's quotes, which are not the value's.
    #[inline]
    pub(super) fn write_bare<S: RecordSink>(&self, sink: &mut S) {
        sink.value_of(self.text, self.bare_span());
    }

    /// Hands it over as JSON.
    pub(super) fn write<S: RecordSink>(&self, sink: &mut S) {
        match self.kind {
            ValueKind::String => {
                sink.put(b"\"");
                self.write_bare(sink);
                sink.put(b"\"");
            }
            _ => self.write_bare(sink),
        }
    }
}

/// The hands that treat values: a key, and buffers.
pub(super) struct Treatment {
    key: HashKey,
    out: Vec<u8>,
    said: Vec<u8>,
}

impl Treatment {
    pub(super) fn new(key: &HashKey) -> Treatment {
        Treatment { key: key.clone(), out: Vec::new(), said: Vec::new() }
    }

    /// A member's value as a rule wants it.
    pub(super) fn value<'a>(&'a mut self, rule: &Rule, text: &'a [u8], member: Member) -> Value<'a> {
        let value = Value::of(text, member);
        let nested = matches!(member.kind, ValueKind::Object | ValueKind::Array);
        match rule.treat {
            _ if member.kind == ValueKind::Null => value,
            Treat::AsIs if rule.stringify && nested => self.stringified(value),
            Treat::AsIs => value,
            Treat::Number if member.kind == ValueKind::Number => value,
            Treat::Number => Value::NULL,
            Treat::Time(format) => match self.time(&value, format) {
                None if rule.stringify && nested => self.stringified(value),
                None => value,
                Some(kind) => Value::new(&self.out, kind),
            },
            Treat::Hash => self.hashed(value),
            Treat::TruncateIp => self.truncated(value),
        }
    }

    /// The text that a value says: a string's decoded, any other's as it stands.
    fn say(&mut self, value: &Value<'_>) {
        for buffer in [&mut self.out, &mut self.said] {
            buffer.clear();
            buffer.shrink_to(PARSE_BYTES_KEPT);
        }
        match value.kind {
            ValueKind::String => decode(value.bare(), &mut self.said),
            _ => self.said.extend_from_slice(value.bare()),
        }
    }

    fn stringified<'a>(&'a mut self, value: Value<'a>) -> Value<'a> {
        self.out.clear();
        self.out.shrink_to(PARSE_BYTES_KEPT);
        json_string(value.bare(), &mut self.out);
        Value::new(&self.out, ValueKind::String)
    }

    /// Writes a time into `out`; `None`: it is none, and stays as it is.
    fn time(&mut self, value: &Value<'_>, format: TimeFormat) -> Option<ValueKind> {
        if !matches!(value.kind, ValueKind::Number | ValueKind::String) {
            return None;
        }
        // No time has an escape, and none is that long: a text is looked at as it stands.
        let time = Time::parse(value.bare())?;
        self.out.clear();
        let kind = match format {
            TimeFormat::UnixNano | TimeFormat::Unix => ValueKind::Number,
            _ => ValueKind::String,
        };
        time.write(format, &mut self.out).then_some(kind)
    }

    fn hashed<'a>(&'a mut self, value: Value<'a>) -> Value<'a> {
        self.say(&value);
        self.out.push(b'"');
        self.key.hash(&self.said, &mut self.out);
        self.out.push(b'"');
        Value::new(&self.out, ValueKind::String)
    }

    fn truncated<'a>(&'a mut self, value: Value<'a>) -> Value<'a> {
        self.say(&value);
        self.out.push(b'"');
        if value.kind != ValueKind::String || !truncated_ip(&self.said, &mut self.out) {
            return Value::NULL;
        }
        self.out.push(b'"');
        Value::new(&self.out, ValueKind::String)
    }
}

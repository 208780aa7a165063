//! Scratch: a record's text on its way, where more must be done to it than can be done value by value.
//!
//! Promises: values stay where they were: what is done keeps every length.
//! Must not know: how the record was written.
use crate::limits::PARSE_BYTES_KEPT;
use crate::record::Span;
use crate::ring::RecordSink;

#[derive(Default)]
pub(in crate::plan) struct Scratch {
    bytes: Vec<u8>,
    values: Vec<Span>,
}

impl Scratch {
    pub(in crate::plan) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(PARSE_BYTES_KEPT);
        self.values.clear();
    }

    /// Every `${` becomes `x{`, wherever it comes from: a log library that substitutes finds nothing to substitute
    /// (CVE-2021-44228).
    pub(in crate::plan) fn defuse(&mut self) {
        let mut at = 0;
        while let Some(found) = memchr::memmem::find(&self.bytes[at..], b"${") {
            self.bytes[at + found] = b'x';
            at += found + 2;
        }
    }

    pub(in crate::plan) fn write<S: RecordSink>(&self, sink: &mut S) {
        sink.text(&self.bytes, self.values.iter().copied());
    }
}

impl RecordSink for Scratch {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        let start = self.bytes.len();
        self.put(bytes);
        self.values.push(Span::new(start, self.bytes.len()));
    }
}

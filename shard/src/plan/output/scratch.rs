//! Scratch: a record's text on its way, where more must be done to it than can be done value by value.
//!
//! Promises: values stay where they were: what is done keeps every length.
//! Must not know: how the record was written.
use crate::limits::PARSE_BYTES_KEPT;
use crate::ring::{Flat, RecordSink};

#[derive(Default)]
pub(in crate::plan) struct Scratch(Flat);

impl Scratch {
    pub(in crate::plan) fn clear(&mut self) {
        self.0.clear();
        self.0.bytes.shrink_to(PARSE_BYTES_KEPT);
    }

    /// Every `${` becomes `x{`, wherever it comes from: a log library that substitutes finds nothing to substitute
    /// (CVE-2021-44228).
    pub(in crate::plan) fn defuse(&mut self) {
        let mut at = 0;
        while let Some(found) = memchr::memmem::find(&self.0.bytes[at..], b"${") {
            self.0.bytes[at + found] = b'x';
            at += found + 2;
        }
    }

    pub(in crate::plan) fn write<S: RecordSink>(&self, sink: &mut S) {
        self.0.write(sink);
    }
}

impl RecordSink for Scratch {
    fn put(&mut self, bytes: &[u8]) {
        self.0.put(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.0.value(bytes);
    }
}

//! Heads: takes the heads off the lines of a chunk, and keeps what they say as members of records.
//!
//! Promises: what a head adds is JSON, UTF-8, the same for the same line and time. A head that is the same as the one
//! before it, which is the rule within a second, is compared and not read. Nothing is allocated per line after warm-up.
//! Must not know: how messages are read.
use super::head;
use crate::format::push_text;
use crate::limits::PARSE_BYTES_KEPT;
use crate::record::{Member, Span, ValueKind};
use crate::time::Time;
use crate::zone;

/// The members that a head may add, in this order.
pub const NAMES: [&str; 3] = ["syslog_time", "syslog_host", "syslog_tag"];

/// What a head adds to its record: `,"syslog_time":"…","syslog_host":"…","syslog_tag":"…"`, of which parts may be missing.
#[derive(Debug, Default)]
pub(crate) struct Added {
    text: Vec<u8>,
    /// Where each part ends; an empty one is missing.
    ends: [usize; NAMES.len()],
    /// A bit for each part that is there.
    mask: u8,
}

/// Heads of the lines of one chunk.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The last line up to its message, and the message's first byte.
    known: Vec<u8>,
    added: Added,
    wall: Time,
}

impl Heads {
    /// Begins a chunk that is read now, at `wall` (ns since the epoch).
    pub(crate) fn begin(&mut self, wall: i64) {
        // A year may be another one by now.
        self.known.clear();
        if self.added.text.capacity() > PARSE_BYTES_KEPT || self.known.capacity() > PARSE_BYTES_KEPT {
            *self = Heads::default();
        }
        self.wall =
            Time { seconds: wall.div_euclid(1_000_000_000), nanos: wall.rem_euclid(1_000_000_000) as u32 };
    }

    /// How many bytes of a line are its head; none: it has none. What it says is in [`Heads::added`] until the next call.
    #[inline]
    pub(crate) fn strip(&mut self, line: &[u8]) -> Option<usize> {
        if let Some((_, head)) = self.known.split_last()
            && line.starts_with(&self.known)
        {
            return Some(head.len());
        }
        // What else a line begins with begins no head.
        match line.first()? {
            b'<' | b'0'..=b'9' | b'A'..=b'S' => self.read(line),
            _ => None,
        }
    }

    fn read(&mut self, line: &[u8]) -> Option<usize> {
        let head = head::read(line)?;
        let len = line.len() - head.message.len();
        self.known.clear();
        if head.fixed && len < line.len() {
            self.known.extend_from_slice(&line[..=len]);
        }
        let Added { text, ends, .. } = &mut self.added;
        text.clear();
        if let Some(time) = head.time {
            let from = text.len();
            push_key(NAMES[0], text);
            if !time.write(self.wall, zone::local(), text) {
                text.truncate(from);
            }
        }
        ends[0] = text.len();
        for (at, value) in [(1, head.host), (2, head.tag)] {
            if let Some(value) = value {
                push_key(NAMES[at], text);
                text.push(b'"');
                for chunk in value.utf8_chunks() {
                    push_text(chunk.valid().as_bytes(), text);
                    if !chunk.invalid().is_empty() {
                        text.extend_from_slice("\u{fffd}".as_bytes());
                    }
                }
                text.push(b'"');
            }
            ends[at] = text.len();
        }
        self.added.mask = self.added.parts().fold(0, |mask, (at, _)| mask | 1 << at);
        Some(len)
    }

    /// What the head that was met last adds.
    pub(crate) fn added(&self) -> &Added {
        &self.added
    }
}

fn push_key(name: &str, text: &mut Vec<u8>) {
    text.extend_from_slice(b",\"");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
}

impl Added {
    /// All of it.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// A bit for each of [`NAMES`] that is there.
    pub(crate) fn mask(&self) -> u8 {
        self.mask
    }

    /// The parts that are there, with the numbers of their names.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let starts = [0, self.ends[0], self.ends[1]];
        let all = starts.into_iter().zip(self.ends).map(|(start, end)| &self.text[start..end]);
        all.enumerate().filter(|(_, part)| !part.is_empty())
    }

    /// The member of a part that stands at `at` of a record's text.
    pub(crate) fn member((name, part): (usize, &[u8]), at: usize) -> Member {
        let key = at + 2;
        let value = key + NAMES[name].len() + 2;
        Member {
            key: Span::new(key, value - 2),
            value: Span::new(value, at + part.len()),
            kind: ValueKind::String,
        }
    }
}

/// A bit for each of [`NAMES`] that is among these members.
pub(crate) fn own_names(text: &[u8], members: &[Member]) -> u8 {
    let named = |member: &Member| match member.key.len() {
        10 | 11 => NAMES.iter().position(|name| name.as_bytes() == member.key.of(text)),
        _ => None,
    };
    members.iter().filter_map(named).fold(0, |mask, at| mask | 1 << at)
}

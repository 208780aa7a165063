//! Numbered messages of one size: lines of a CDN's access log, each with the id of its number, behind a syslog head or
//! bare.
//!
//! Promises: the same size and number give the same bytes; two messages whose numbers are [`POOL`] apart differ in their
//! ids only, which costs a flood next to nothing and lies far beyond what a compressor looks back. Must not know: sockets.
use crate::corpus::{Corpus, Kind, request_id};
use serde::Deserialize;
use std::io;

/// Lines that are made; further ones get another id.
const POOL: u64 = 8192;
/// A line must hold its id and some more.
pub const BYTES_MIN: usize = 200;
/// The largest datagram that the loopback interface takes.
pub const BYTES_MAX: usize = 60_000;
/// What fills a line up.
const NOTE: &str = "served from the nearest edge of the network, kept for the next one who asks for it; ";

/// What stands before a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
pub enum Head {
    /// Nothing.
    #[default]
    #[serde(rename = "none")]
    #[value(name = "none")]
    None,
    /// RFC 3164, as nginx writes it.
    #[serde(rename = "3164")]
    #[value(name = "3164")]
    Rfc3164,
    /// RFC 5424, as HAProxy writes it.
    #[serde(rename = "5424")]
    #[value(name = "5424")]
    Rfc5424,
}

impl Head {
    fn text(self) -> &'static [u8] {
        match self {
            Head::None => b"",
            Head::Rfc3164 => b"<190>Nov 21 22:14:15 edge-01 nginx: ",
            Head::Rfc5424 => b"<190>1 2026-11-21T22:14:15.003456+00:00 edge-01 haproxy 4711 - - ",
        }
    }
}

/// The messages of a flood.
pub struct Messages {
    head: Head,
    lines: Vec<Vec<u8>>,
    /// Where each line's id stands.
    ids: Vec<usize>,
}

impl Messages {
    /// Messages whose lines have so many bytes, without head and newline.
    pub fn new(bytes: usize, head: Head) -> io::Result<Messages> {
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes) {
            return Err(io::Error::other(format!("{bytes} bytes a message: {BYTES_MIN} to {BYTES_MAX}")));
        }
        let mut corpus = Corpus::new(Kind::Edge26, 1);
        let (mut lines, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..POOL {
            let mut line = Vec::new();
            corpus.line(&mut line, None);
            line.pop();
            fit(&mut line, bytes);
            let key = b"\"request_id\":\"";
            let at = line.windows(key.len()).position(|w| w == key).unwrap_or_default();
            ids.push(at + key.len());
            lines.push(line);
        }
        Ok(Messages { head, lines, ids })
    }

    /// Appends a message, without framing.
    pub fn write(&mut self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.text());
        out.extend_from_slice(self.line(number));
    }

    /// The line of a message.
    pub fn line(&mut self, number: u64) -> &[u8] {
        let index = (number % POOL) as usize;
        let (line, at) = (&mut self.lines[index], self.ids[index]);
        line[at..at + 32].copy_from_slice(&request_id(number));
        line
    }

    /// Whether lines leave an agent as they are: it adds what stood in a head.
    pub fn bare(&self) -> bool {
        self.head == Head::None
    }
}

/// Cuts members off the end of an object, and fills it up to a size.
fn fit(line: &mut Vec<u8>, bytes: usize) {
    let frame = b",\"note\":\"\"".len();
    while line.len() + frame > bytes && line.len() != bytes {
        let last = line.windows(2).rposition(|w| w == b",\"").unwrap_or(1);
        line.truncate(last);
        line.push(b'}');
    }
    if line.len() < bytes {
        line.pop();
        let room = bytes - line.len() - frame - 1;
        line.extend_from_slice(b",\"note\":\"");
        line.extend(NOTE.bytes().cycle().take(room));
        line.extend_from_slice(b"\"}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::sequence;

    #[test]
    fn lines_have_their_size_and_number_and_are_json() {
        for bytes in [BYTES_MIN, 700, 713, 2000] {
            let mut messages = Messages::new(bytes, Head::None).unwrap();
            for number in [0, 1, 77, POOL - 1, POOL, POOL * 5 + 3, 1 << 40] {
                let line = messages.line(number);
                assert_eq!((line.len(), sequence(line)), (bytes, Some(number)));
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                assert_eq!(value["request_id"].as_str().unwrap().len(), 32);
            }
            let all = (0..POOL).all(|number| {
                let line = messages.line(number);
                line.len() == bytes && serde_json::from_slice::<serde_json::Value>(line).is_ok()
            });
            assert!(all, "{bytes}");
        }
        assert!(Messages::new(BYTES_MIN - 1, Head::None).is_err());
        assert!(Messages::new(BYTES_MAX + 1, Head::None).is_err());
    }

    #[test]
    fn a_head_stands_before_the_line() {
        let mut messages = Messages::new(300, Head::Rfc5424).unwrap();
        let mut text = Vec::new();
        messages.write(9, &mut text);
        assert!(text.starts_with(b"<190>1 2026-") && text.ends_with(messages.line(9)) && !messages.bare());
    }
}

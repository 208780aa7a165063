//! Stream: where the messages of a connection end (RFC 6587).
//!
//! A connection whose first bytes are a count (`123 <34>…`: digits, one space, `<` and a digit) has *counted* frames,
//! any other one has lines. On a counted connection a frame that begins with no count is a line, and the next frame is
//! looked at anew, because relays mix the two; a connection of lines stays one, so that no line is ever taken for a
//! count. A line that begins with `<` also ends at a NUL, which is what glibc's `syslog()` writes. Newlines, carriage
//! returns and NULs between messages are nothing. What a connection leaves unfinished is a message when it ends.
//!
//! Promises: the same messages however the bytes are split; what is kept of an unfinished message is at most
//! `line_bytes_max`, or [`TOO_LONG_KEPT_BYTES`] when those are more.
//! Must not know: sockets, what a message means.
use super::push_message;
use crate::limits::TOO_LONG_KEPT_BYTES;

/// Digits of a count: more than any message needs.
const COUNT_DIGITS_MAX: usize = 9;
/// A counted message has a head: it is at least `<0>`.
const COUNT_MIN: u64 = 3;

/// What became of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Messages that were appended, a line each.
    pub messages: u64,
    /// Messages that were longer than allowed: they wait in [`Splitter::too_long`].
    pub too_long: u64,
}

/// A message that was longer than `line_bytes_max`: what [`crate::chunk::ChunkKind::TooLong`] wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its first bytes, at most [`TOO_LONG_KEPT_BYTES`].
    pub kept: Vec<u8>,
    /// Length of the whole message, bytes.
    pub length: u64,
}

/// Cuts what one connection sends into messages.
#[derive(Debug)]
pub struct Splitter {
    line_bytes_max: usize,
    framing: Framing,
    state: State,
    /// What is known of the unfinished message, or of the count before it.
    part: Vec<u8>,
    too_long: Vec<TooLong>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Unknown,
    Lines,
    Counted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between two messages, or inside a count.
    Between,
    /// In a line of which `length` bytes have come.
    Line { length: u64 },
    /// In a counted message of `length` bytes, of which `left` are to come.
    Counted { length: u64, left: u64 },
}

impl Splitter {
    /// For a new connection; a message may have `line_bytes_max` bytes.
    pub fn new(line_bytes_max: usize) -> Splitter {
        let (framing, state) = (Framing::Unknown, State::Between);
        Splitter { line_bytes_max, framing, state, part: Vec::new(), too_long: Vec::new() }
    }

    /// Takes what was received and appends each message that it finishes to `out`, as one line ended by `\n`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Cut {
        let mut cut = Cut::default();
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Between => self.begin(bytes),
                State::Line { length } => self.line(bytes, length, out, &mut cut),
                State::Counted { length, left } => self.counted(bytes, (length, left), out, &mut cut),
            };
        }
        cut
    }

    /// The connection has ended: what is unfinished is a message. Afterwards it is a new connection.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Cut {
        let mut cut = Cut::default();
        let length = match self.state {
            State::Between => self.part.len() as u64,
            State::Line { length } => length,
            State::Counted { length, left } => length - left,
        };
        self.finish(length, out, &mut cut);
        self.framing = Framing::Unknown;
        cut
    }

    /// The messages that were too long, in their order; each is given once.
    pub fn too_long(&mut self) -> impl Iterator<Item = TooLong> {
        self.too_long.drain(..)
    }

    /// Bytes that are kept of an unfinished message.
    pub fn kept_bytes(&self) -> usize {
        self.part.len()
    }

    /// Looks at how a message begins.
    fn begin<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        if self.part.is_empty() {
            let nothing = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
            bytes = &bytes[nothing..];
        }
        let mut known = count(&self.part);
        if self.framing == Framing::Lines {
            known = Count::None;
        }
        while known == Count::Maybe {
            let Some((&first, rest)) = bytes.split_first() else { return bytes };
            self.part.push(first);
            known = count(&self.part);
            match known {
                // The byte that makes it none may end the line: it is taken with the rest.
                Count::None => _ = self.part.pop(),
                _ => bytes = rest,
            }
        }
        match known {
            Count::Of(length, digits) => {
                self.part.drain(..=digits);
                self.framing = Framing::Counted;
                self.state = State::Counted { length, left: length - self.part.len() as u64 };
            }
            _ if bytes.is_empty() => {}
            _ => {
                if self.framing == Framing::Unknown {
                    self.framing = Framing::Lines;
                }
                self.state = State::Line { length: self.part.len() as u64 };
            }
        }
        bytes
    }

    fn line<'b>(&mut self, bytes: &'b [u8], length: u64, out: &mut Vec<u8>, cut: &mut Cut) -> &'b [u8] {
        let first = self.part.first().or(bytes.first());
        let Some(end) = line_end(bytes, first) else {
            self.keep(bytes, length);
            self.state = State::Line { length: length + bytes.len() as u64 };
            return &[];
        };
        if length == 0 && end <= self.line_bytes_max {
            self.state = State::Between;
            cut.messages += u64::from(push_message(&bytes[..end], out));
        } else {
            self.keep(&bytes[..end], length);
            self.finish(length + end as u64, out, cut);
        }
        &bytes[end + 1..]
    }

    fn counted<'b>(
        &mut self,
        bytes: &'b [u8],
        (length, left): (u64, u64),
        out: &mut Vec<u8>,
        cut: &mut Cut,
    ) -> &'b [u8] {
        let here = left.min(bytes.len() as u64) as usize;
        let (message, rest) = bytes.split_at(here);
        if self.part.is_empty() && here as u64 == length && here <= self.line_bytes_max {
            self.state = State::Between;
            cut.messages += u64::from(push_message(message, out));
            return rest;
        }
        self.keep(message, length - left);
        self.state = State::Counted { length, left: left - here as u64 };
        if here as u64 == left {
            self.finish(length, out, cut);
        }
        rest
    }

    /// Keeps more of a message of which `length` bytes came before.
    fn keep(&mut self, bytes: &[u8], length: u64) {
        let length = length + bytes.len() as u64;
        let most = self.line_bytes_max.max(TOO_LONG_KEPT_BYTES);
        let more = bytes.len().min(most.saturating_sub(self.part.len()));
        let long = length > self.line_bytes_max as u64;
        if !long || self.part.len() < TOO_LONG_KEPT_BYTES {
            self.part.extend_from_slice(&bytes[..more]);
        }
        if long {
            self.part.truncate(TOO_LONG_KEPT_BYTES);
        }
    }

    /// A message of this length has ended, of which `part` is what was kept.
    fn finish(&mut self, length: u64, out: &mut Vec<u8>, cut: &mut Cut) {
        self.state = State::Between;
        if length > self.line_bytes_max as u64 {
            self.too_long.push(TooLong { kept: std::mem::take(&mut self.part), length });
            cut.too_long += 1;
        } else {
            cut.messages += u64::from(push_message(&self.part, out));
        }
        self.part.clear();
        if self.part.capacity() > TOO_LONG_KEPT_BYTES {
            // A connection that is idle for long holds no large buffer.
            self.part = Vec::new();
        }
    }
}

/// Where a line ends whose first byte is this one.
fn line_end(bytes: &[u8], first: Option<&u8>) -> Option<usize> {
    match first {
        Some(b'<') => memchr::memchr2(b'\n', 0, bytes),
        _ => memchr::memchr(b'\n', bytes),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    None,
    /// It could become one.
    Maybe,
    /// A count, and its digits.
    Of(u64, usize),
}

/// Whether a text begins with a count and the begin of a head: `123 <3`.
fn count(text: &[u8]) -> Count {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > COUNT_DIGITS_MAX || text.first() == Some(&b'0') {
        return Count::None;
    }
    let is = |at: usize, right: &dyn Fn(&u8) -> bool| text.get(at).map(right);
    let marks = [
        is(0, &u8::is_ascii_digit),
        is(digits, &|byte| *byte == b' '),
        is(digits + 1, &|byte| *byte == b'<'),
        is(digits + 2, &u8::is_ascii_digit),
    ];
    match marks {
        [Some(true), Some(true), Some(true), Some(true)] => {
            let count = text[..digits].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            if count < COUNT_MIN { Count::None } else { Count::Of(count, digits) }
        }
        marks if marks.contains(&Some(false)) => Count::None,
        _ => Count::Maybe,
    }
}

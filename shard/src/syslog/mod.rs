//! syslog: what a log carried by syslog has around its messages: frames of streams, datagrams, and heads.
//!
//! Promises: a message is one line, and the same line however its bytes came; a line without a head is never taken for
//! one that has it.
//! Must not know: sockets, who sends, what a message means.
pub mod head;
pub(crate) mod heads;
mod stamp;
pub mod stream;

pub use head::{Head, Stamp};
pub use stream::{Cut, Splitter, TooLong};

/// Appends the messages of one datagram as lines and says how many there were: one when it has a head (newlines in it
/// become spaces), else one for each line that is not empty.
pub fn datagram(bytes: &[u8], out: &mut Vec<u8>) -> u64 {
    if head::begins(bytes) {
        return u64::from(push_message(bytes, out));
    }
    bytes.split(|byte| *byte == b'\n').map(|line| u64::from(push_message(line, out))).sum()
}

/// Appends one message as a line: what ends it goes, newlines in it become spaces. False: there is nothing in it.
fn push_message(message: &[u8], out: &mut Vec<u8>) -> bool {
    let ends = message.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
    let message = &message[..message.len() - ends];
    if message.is_empty() {
        return false;
    }
    let from = out.len();
    out.extend_from_slice(message);
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', &out[at..]) {
        out[at + found] = b' ';
        at += found + 1;
    }
    out.push(b'\n');
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], lines: &[&[u8]]) {
        let mut out = Vec::new();
        assert_eq!(datagram(bytes, &mut out), lines.len() as u64, "{}", bytes.escape_ascii());
        let expected: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        assert_eq!(out, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn a_datagram_with_a_head_is_one_line() {
        check(b"<190>Nov 20 23:58:00 h nginx: {\"a\":1}\n", &[b"<190>Nov 20 23:58:00 h nginx: {\"a\":1}"]);
        check(b"<14>a\nb\r\n\0", &[b"<14>a b"]);
        check(b"Nov 20 23:58:00 h nginx: a\nb", &[b"Nov 20 23:58:00 h nginx: a b"]);
    }

    #[test]
    fn a_bare_datagram_has_lines() {
        check(b"{\"a\":1}\n\n{\"b\":2}\r\n", &[b"{\"a\":1}", b"{\"b\":2}"]);
        check(b"one\0", &[b"one"]);
        for nothing in [&b""[..], b"\n", b"\r\n\0", b"\0"] {
            check(nothing, &[]);
        }
    }
}

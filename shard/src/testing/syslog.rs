//! Properties of syslog's frames and heads.
//!
//! Must not know: how they are found.
use crate::syslog::{Splitter, TooLong, datagram, head};

/// What a connection gave that sent `bytes` in pieces which end at `ends`: its lines, and what was too long.
pub fn split(bytes: &[u8], line_bytes_max: usize, ends: &[usize]) -> (Vec<u8>, Vec<TooLong>) {
    let (mut splitter, mut out, mut long) = (Splitter::new(line_bytes_max), Vec::new(), Vec::new());
    let (mut messages, mut from) = (0, 0);
    for &end in ends.iter().chain([&bytes.len()]) {
        let cut = splitter.push(&bytes[from..end], &mut out);
        assert!(splitter.kept_bytes() <= line_bytes_max.max(crate::limits::TOO_LONG_KEPT_BYTES));
        (messages, from) = (messages + cut.messages, end);
        let count = long.len() as u64;
        long.extend(splitter.too_long());
        assert_eq!(count + cut.too_long, long.len() as u64);
    }
    messages += splitter.end(&mut out).messages;
    long.extend(splitter.too_long());
    assert_eq!(messages, out.iter().filter(|byte| **byte == b'\n').count() as u64);
    assert!(out.is_empty() || out.ends_with(b"\n"));
    (out, long)
}

/// Bytes that come in two pieces, or one by one, are the same messages.
pub fn split_anywhere_is_the_same(bytes: &[u8], line_bytes_max: usize, at: usize) {
    let whole = split(bytes, line_bytes_max, &[]);
    let (lines, long) = &whole;
    assert!(lines.split(|byte| *byte == b'\n').all(|line| line.len() <= line_bytes_max));
    assert!(long.iter().all(|long| long.length > line_bytes_max as u64));
    assert_eq!(whole, split(bytes, line_bytes_max, &[at.min(bytes.len())]));
    assert_eq!(whole, split(bytes, line_bytes_max, &(0..bytes.len()).collect::<Vec<_>>()));
}

/// A head and its message are the line; what is not behind a head has none.
pub fn a_head_is_the_begin_of_its_line(line: &[u8]) {
    let mut out = Vec::new();
    let messages = datagram(line, &mut out);
    assert_eq!(messages, out.iter().filter(|byte| **byte == b'\n').count() as u64);
    let Some(head) = head::read(line) else { return };
    assert!(line.ends_with(head.message), "{}", line.escape_ascii());
    assert!(head.priority.is_some() || head.time.is_some() && head.tag.is_some(), "{}", line.escape_ascii());
    assert!(messages <= 1, "{}", line.escape_ascii());
}

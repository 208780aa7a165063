//! Frame: one whole line in a chunk.
//!
//! Promises: a line is ended by `\n`; one `\r` before it and a UTF-8 BOM at offset 0 of the source are removed
//! (INTERFACE 3). Blank lines are frames too: the caller counts them.
//! Must not know: what a line means.

/// A mark that is no part of a source's first line: UTF-8's byte order mark.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes of the mark before the first line of `bytes`, which start at `start` in their source.
pub(crate) fn bom_bytes(bytes: &[u8], start: u64) -> usize {
    if start == 0 && bytes.starts_with(BOM) { BOM.len() } else { 0 }
}

/// One line: its bytes without the line end, and where it starts in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Offset of the line's first byte in the chunk.
    pub offset: usize,
    /// The line without `\n`, a `\r` before it, and a BOM at the source's start.
    pub line: &'a [u8],
}

/// Iterates over the lines of a chunk.
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    bom_possible: bool,
}

/// Frames of `bytes`, which start at `start` in their source.
pub fn frames(bytes: &[u8], start: u64) -> Frames<'_> {
    Frames { bytes, at: 0, bom_possible: start == 0 }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let offset = self.at;
        let rest = &self.bytes[offset..];
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at = offset + len + 1;
        let mut line = &rest[..len];
        if let [head @ .., b'\r'] = line {
            line = head;
        }
        if std::mem::take(&mut self.bom_possible) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        Some(Frame { offset, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], start: u64, expected: &[(usize, &[u8])]) {
        let got: Vec<_> = frames(bytes, start).map(|f| (f.offset, f.line)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_end_at_newline() {
        check(b"a\nbc\n", 7, &[(0, b"a"), (2, b"bc")]);
        check(b"a\n\nb", 7, &[(0, b"a"), (2, b""), (3, b"b")]);
    }

    #[test]
    fn one_carriage_return_goes() {
        check(b"a\r\r\nb\r\n", 7, &[(0, b"a\r"), (4, b"b")]);
    }

    #[test]
    fn a_bom_goes_only_at_the_start_of_the_source() {
        check(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", 0, &[(0, b"a"), (5, b"\xef\xbb\xbfb")]);
        check(b"\xef\xbb\xbfa\n", 9, &[(0, b"\xef\xbb\xbfa")]);
    }
}

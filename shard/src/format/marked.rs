//! Marked: the lines of a text format one after the other, their quotes and line ends found for many at once.
//!
//! Promises: gives what framing and [`Layout::read`] give, line by line, on every text.
//! Must not know: what becomes of records; the rest of what a reader tells.
use super::layout::{Hands, Layout};
use super::straight::{Line, MARGIN};
use crate::frame::{Frame, bom_bytes, frames};
use crate::limits::LINE_BYTES_MAX;
use crate::parse::{Fault, Lines, Parsed, Reason};
use crate::scan::{Marks, Stretch, stretch};

/// Reads the lines of `bytes`, which stand at `start` in their source, and gives each one that is not blank to `take`.
pub(super) fn lines(
    layout: &Layout,
    (bytes, start): (&[u8], u64),
    hands: &mut Hands,
    mut take: impl FnMut(Frame<'_>, Parsed<'_>),
) -> Lines {
    let level = hands.level;
    let mut lines = Lines::default();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let place = start + at as u64;
        match stretch(level, rest, place) {
            Stretch::Marked(len) => {
                let mut marks = hands.marks.take().unwrap_or_default();
                marks.find_few(level, &rest[..len]);
                let window = Window { layout, rest, offset: at, marks: &marks };
                window.lines(len, hands, &mut lines, &mut take);
                hands.marks = Some(marks);
                at += len;
            }
            Stretch::Plain(len) => {
                for frame in frames(&rest[..len], place) {
                    let from = frame.offset + bom_bytes(rest, place);
                    let in_rest = (from, from + frame.line.len());
                    let frame = Frame { offset: at + frame.offset, ..frame };
                    plain(layout, (rest, in_rest), frame, hands, &mut lines, &mut take);
                }
                at += len;
            }
        }
    }
    lines
}

/// A line whose bytes stand at this place of a text.
fn plain(
    layout: &Layout,
    (text, place): (&[u8], (usize, usize)),
    frame: Frame<'_>,
    hands: &mut Hands,
    lines: &mut Lines,
    take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
) {
    lines.all += 1;
    if frame.line.is_empty() {
        lines.blank += 1;
    } else if frame.line.len() > LINE_BYTES_MAX {
        take(frame, Err(Fault { reason: Reason::TooLong, column: LINE_BYTES_MAX as u32 + 1 }));
    } else {
        let utf8 = std::str::from_utf8(frame.line).is_ok();
        take(frame, layout.read(text, place, utf8, hands));
    }
}

/// Whole lines whose marks are known, and what stands behind them.
struct Window<'a> {
    layout: &'a Layout,
    rest: &'a [u8],
    /// Where it stands in its chunk.
    offset: usize,
    marks: &'a Marks,
}

impl Window<'_> {
    /// The lines of the first `len` bytes.
    fn lines(
        &self,
        len: usize,
        hands: &mut Hands,
        lines: &mut Lines,
        take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
    ) {
        let (mut marks, mut odd) = (self.marks.all(), self.marks.odd());
        let mut start = 0;
        while start < len {
            // Where the line ends if it has as many quotes as its format.
            let likely = self.layout.likely_marks(hands);
            let straight = likely.filter(|&count| self.is_end(marks, count)).filter(|&count| {
                let end = marks[count] as usize;
                self.straight(start, end, marks, odd, hands)
            });
            // Only now it matters where the line really ends.
            let first_end = || marks.iter().position(|&at| self.rest[at as usize] == b'\n');
            let count = straight.or_else(first_end);
            let (count, end) = count.map_or((marks.len(), len), |count| (count, marks[count] as usize));
            let line = &self.rest[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let frame = Frame { offset: self.offset + start, line };
            if straight.is_some() {
                lines.all += 1;
                take(frame, Ok(self.layout.written(hands)));
            } else {
                let place = (start, start + line.len());
                plain(self.layout, (self.rest, place), frame, hands, lines, take);
            }
            marks = marks.get(count + 1..).unwrap_or_default();
            while let Some((first, others)) = odd.split_first()
                && (*first as usize) < end
            {
                odd = others;
            }
            start = end + 1;
        }
    }

    #[inline(always)]
    fn is_end(&self, marks: &[u32], count: usize) -> bool {
        marks.get(count).is_some_and(|&at| self.rest[at as usize] == b'\n')
    }

    /// Reads the line by its marks; false: it is not for this way.
    #[inline(always)]
    fn straight(&self, start: usize, end: usize, marks: &[u32], odd: &[u32], hands: &mut Hands) -> bool {
        // The last lines of a text have no margin behind them.
        if end + MARGIN > self.rest.len() || end == start {
            return false;
        }
        let len = end - start - usize::from(self.rest[end - 1] == b'\r');
        let here = odd.iter().take_while(|&&at| (at as usize) < start + len).count();
        if self.marks.has_high() && std::str::from_utf8(&self.rest[start..end]).is_err() {
            return false;
        }
        let line = Line { text: &self.rest[start..], start, len, marks, odd: &odd[..here] };
        self.layout.straight(line, hands)
    }
}

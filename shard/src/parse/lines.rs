//! The lines of a text, parsed one after the other: where marks help, they are found for many lines at once.
//!
//! Promises: gives what framing and [`Parser::parse`] give, line by line, on every text.
//! Must not know: what becomes of records.
use super::template::{Candidate, MARGIN};
use super::{Fault, Parser};
use crate::frame::{Frame, frames};
use crate::record::{Record, Repairs, ShapeId, Way};
use crate::scan::{Marks, Simd, Stretch, stretch};

/// How many lines a text had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// All of them.
    pub all: u64,
    /// Those without a byte: they are not given to anyone.
    pub blank: u64,
}

impl Lines {
    /// Adds those of another text.
    pub(crate) fn add(&mut self, more: Lines) {
        self.all += more.all;
        self.blank += more.blank;
    }
}

/// What a line became.
pub type Parsed<'a> = Result<Record<'a>, Fault>;

impl Parser {
    /// Parses the lines of `bytes`, which stand at `start` in their source, and gives each one that is not blank to
    /// `take`.
    pub fn lines(&mut self, bytes: &[u8], start: u64, mut take: impl FnMut(Frame<'_>, Parsed<'_>)) -> Lines {
        let level = self.level;
        let mut lines = Lines::default();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match stretch(level, rest, start + at as u64) {
                Stretch::Marked(len) => {
                    self.marked(level, rest, (at, len), &mut lines, &mut take);
                    at += len;
                }
                Stretch::Plain(len) => {
                    for frame in frames(&rest[..len], start + at as u64) {
                        self.plain(Frame { offset: at + frame.offset, ..frame }, &mut lines, &mut take);
                    }
                    at += len;
                }
            }
        }
        lines
    }

    fn plain(&mut self, frame: Frame<'_>, lines: &mut Lines, take: &mut impl FnMut(Frame<'_>, Parsed<'_>)) {
        lines.all += 1;
        if frame.line.is_empty() {
            lines.blank += 1;
        } else {
            take(frame, self.parse(frame.line));
        }
    }

    /// The lines of the first `len` bytes of `rest`, which stands at `offset`.
    fn marked(
        &mut self,
        level: Simd,
        rest: &[u8],
        (offset, len): (usize, usize),
        lines: &mut Lines,
        take: &mut impl FnMut(Frame<'_>, Parsed<'_>),
    ) {
        let mut found = self.marks.take().unwrap_or_default();
        found.find(level, &rest[..len]);
        let (mut start, mut mark, mut odd) = (0, 0, 0);
        while start < len {
            let marks = &found.all()[mark..];
            let likely = self.shapes.latest_marks();
            let mut compared = match marks.get(likely) {
                Some(&end) if rest[end as usize] == b'\n' => {
                    self.compare_marked(level, rest, (start, marks, likely), (&found, odd), true)
                }
                _ => None,
            };
            let mut count = likely;
            if compared.is_none() {
                // Only now it matters where the line really ends.
                count = marks.iter().position(|&at| rest[at as usize] == b'\n').unwrap_or(marks.len());
                compared = self.compare_marked(level, rest, (start, marks, count), (&found, odd), false);
            }
            let end = marks.get(count).map_or(len, |&end| end as usize);
            let frame = Frame { offset: offset + start, line: &rest[start..end] };
            match compared {
                Some(shape) => {
                    lines.all += 1;
                    let (text, members, repairs) = (frame.line, &self.members[..], Repairs::NONE);
                    take(frame, Ok(Record { text, members, shape, way: Way::Learned, repairs }));
                }
                None => {
                    let line = frame.line.strip_suffix(b"\r").unwrap_or(frame.line);
                    self.plain(Frame { line, ..frame }, lines, take);
                }
            }
            let odd_here = found.odd()[odd..].iter().take_while(|&&at| (at as usize) < end).count();
            (start, mark, odd) = (end + 1, mark + count + 1, odd + odd_here);
        }
        self.marks = Some(found);
    }

    /// The shape of the line that begins at `start` and has `count` marks before its end, if it fits a template: of
    /// the shape that was met last, or of any.
    #[inline]
    fn compare_marked(
        &mut self,
        level: Simd,
        rest: &[u8],
        (start, marks, count): (usize, &[u32], usize),
        (found, odd): (&Marks, usize),
        latest: bool,
    ) -> Option<ShapeId> {
        let end = *marks.get(count)? as usize;
        // The last lines of a text have no margin behind them.
        if end + MARGIN > rest.len() {
            return None;
        }
        let candidate = Candidate { text: &rest[start..], start, marks, len: end - start };
        let Parser { members, shapes, .. } = self;
        let (shape, template) = shapes.compare_marked(level, candidate, count, latest, members)?;
        let line = &rest[start..end];
        if found.has_high() && super::is_utf8(line) != Ok(true) {
            return None;
        }
        match found.odd().get(odd) {
            Some(&first) if (first as usize) < end => {
                let odd = found.odd()[odd..].iter().map(|&at| at as usize).take_while(|&at| at < end);
                template.strings_are_valid(line, odd.map(|at| at - start), members).then_some(shape)
            }
            _ => Some(shape),
        }
    }
}

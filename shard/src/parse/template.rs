//! Template: a shape whose values are found by the marks of a text instead of being scanned for.
//!
//! In lines of one shape the n-th quote of every line is the same quote: where a value ends is looked up, not
//! discovered, and no value waits for the one before it. Everything else is compared or checked: the bytes between
//! the values, that numbers are numbers, that strings with a backslash or a control character are strings.
//!
//! Promises: a line that fits is valid, and its members are those that the strict scanner would find.
//! Must not know: how marks are found, what a shape is else good for.
use super::strict::{string_end, value_end};
use crate::limits::TEMPLATE_MEMBERS_MAX;
use crate::record::{Member, Span, ValueKind};
use crate::scan::{Simd, differences};
use std::ops::Range;

/// Bytes that are compared at once.
const BLOCK: usize = 32;
/// Bytes before a value above which a shape has no template.
const PIECE_BYTES_MAX: usize = 2 * BLOCK;
/// Bytes behind a line that its comparison may read.
pub(super) const MARGIN: usize = PIECE_BYTES_MAX;

/// As many marks as no line has.
const NONE: usize = usize::MAX;

/// One member.
struct Field {
    /// What stands before the value; a string's opening quote belongs to it, and so does the closing quote of the value before.
    piece: [u8; PIECE_BYTES_MAX],
    /// Its bytes in either half.
    masks: [u32; 2],
    len: u32,
    /// Which mark of the line tells the value's end, and how many bytes before it that is.
    mark: u32,
    back: u32,
    string: bool,
    /// Where the key stands, from the piece's start.
    key: Span,
}

/// A shape's template.
pub(super) struct Template {
    fields: Vec<Field>,
    last: Vec<u8>,
    /// Marks of a line before its line end.
    marks: usize,
}

/// A line to compare, in a text with marks.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    /// The text from the line's first byte on, and at least [`MARGIN`] bytes beyond the line.
    pub(super) text: &'a [u8],
    /// Where `text` starts in the marked text.
    pub(super) start: usize,
    /// The line's marks, its end among them; more may follow.
    pub(super) marks: &'a [u32],
    /// The line's length.
    pub(super) len: usize,
}

impl Template {
    /// None yet.
    pub(super) fn new() -> Template {
        Template { fields: Vec::new(), last: Vec::new(), marks: NONE }
    }

    /// Becomes that of a valid line and its members, or none when there are too many, or too long keys.
    pub(super) fn become_of(&mut self, line: &[u8], members: &[Member]) {
        self.fields.clear();
        self.last.clear();
        self.marks = NONE;
        let last = members.last().map_or(0, |member| bare_span(member).end);
        let counted = Counter { line, at: 0, count: 0, behind: false };
        if (1..=TEMPLATE_MEMBERS_MAX).contains(&members.len()) && self.push_fields(counted, members).is_some()
        {
            self.last.extend_from_slice(&line[last..]);
        }
    }

    fn push_fields(&mut self, mut counter: Counter<'_>, members: &[Member]) -> Option<()> {
        let mut at = 0;
        for member in members {
            let Range { start, end } = bare_span(member);
            let bytes = &counter.line[at..start];
            let mut piece = [0; PIECE_BYTES_MAX];
            piece.get_mut(..bytes.len())?.copy_from_slice(bytes);
            let (mark, ends) = counter.next_from(end);
            self.fields.push(Field {
                piece,
                masks: [mask(bytes.len()), mask(bytes.len().saturating_sub(BLOCK))],
                len: bytes.len() as u32,
                mark,
                back: (ends - end) as u32,
                string: member.kind == ValueKind::String,
                key: Span::new(member.key.start as usize - at, member.key.end as usize - at),
            });
            at = end;
        }
        self.marks = counter.next_from(counter.line.len()).0 as usize;
        Some(())
    }

    /// How many marks a line of this template has before its end.
    #[inline]
    pub(super) fn marks(&self) -> usize {
        self.marks
    }

    /// Whether the line fits; then `members` are its members. The line's marks are as many as the template's, and a
    /// line end.
    #[inline]
    pub(super) fn fits(&self, level: Simd, line: Candidate<'_>, members: &mut Vec<Member>) -> bool {
        if members.len() != self.fields.len() {
            let nothing = Member { key: Span::default(), value: Span::default(), kind: ValueKind::Null };
            members.resize(self.fields.len(), nothing);
        }
        match level {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 | Simd::Avx512 => fits_avx2(self, line, members),
            _ => self.fits_with(line, members, Baseline),
        }
    }

    #[inline(always)]
    fn fits_with(&self, line: Candidate<'_>, members: &mut [Member], compare: impl Compare) -> bool {
        let text = line.text;
        let Some(marks) = line.marks.get(..self.marks + 1) else { return false };
        let mut differ = 0;
        let mut at = 0;
        for (field, member) in self.fields.iter().zip(members) {
            let (wanted, _) = field.piece.as_chunks::<BLOCK>();
            let Some(found) = block(text, at) else { return false };
            differ |= compare.differences(found, &wanted[0]) & field.masks[0];
            if field.masks[1] != 0 {
                let Some(found) = block(text, at + BLOCK) else { return false };
                differ |= compare.differences(found, &wanted[1]) & field.masks[1];
            }
            let from = at + field.len as usize;
            let ends = marks.get(field.mark as usize).map_or(0, |&mark| mark as usize);
            let end = ends.wrapping_sub(line.start + field.back as usize);
            let key = Span { start: at as u32 + field.key.start, end: at as u32 + field.key.end };
            *member = if field.string {
                Member { key, value: Span::new(from.wrapping_sub(1), end + 1), kind: ValueKind::String }
            } else {
                let Some(kind) = bare(text, from, end) else { return false };
                Member { key, value: Span::new(from, end), kind }
            };
            // No value ends before it begins, and none beyond the line.
            if end < from || end > line.len {
                return false;
            }
            at = end;
        }
        differ == 0 && text[at..line.len] == self.last[..]
    }

    /// Whether the strings of a line that fits are strings although the line has backslashes or control characters,
    /// at `odd` from the line's start.
    pub(super) fn strings_are_valid(
        &self,
        line: &[u8],
        odd: impl Iterator<Item = usize>,
        members: &[Member],
    ) -> bool {
        let mut checked = 0;
        for at in odd {
            if at < checked {
                continue;
            }
            let behind = members.partition_point(|member| member.value.end as usize <= at);
            // What stands between the values is as in a valid line; numbers and nested values were checked.
            if let Some(member) = members.get(behind)
                && member.value.start as usize <= at
                && member.kind == ValueKind::String
            {
                checked = member.value.end as usize;
                if string_end(line, member.value.start as usize + 1) != Ok(checked) {
                    return false;
                }
            }
        }
        true
    }
}

/// Compares blocks. A trait, not a closure: a closure would not be compiled with its caller's instructions.
trait Compare: Copy {
    /// The positions at which two blocks differ, one bit each.
    fn differences(self, a: &[u8; BLOCK], b: &[u8; BLOCK]) -> u32;
}

/// What every machine of the architecture has.
#[derive(Clone, Copy)]
struct Baseline;

impl Compare for Baseline {
    #[inline(always)]
    fn differences(self, a: &[u8; BLOCK], b: &[u8; BLOCK]) -> u32 {
        differences(a, b)
    }
}

#[inline(always)]
fn block(text: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    text.get(at..).and_then(<[u8]>::first_chunk)
}

/// Where a value's bytes stand, without a string's quotes.
fn bare_span(member: &Member) -> Range<usize> {
    let quote = usize::from(member.kind == ValueKind::String);
    member.value.start as usize + quote..member.value.end as usize - quote
}

/// Counts a line's marks as [`crate::scan::Marks`] does.
struct Counter<'a> {
    line: &'a [u8],
    at: usize,
    count: u32,
    /// Behind a backslash.
    behind: bool,
}

impl Counter<'_> {
    /// The number of the first mark at or after `from`, and where it is; the line's end is one.
    fn next_from(&mut self, from: usize) -> (u32, usize) {
        while let Some(&byte) = self.line.get(self.at) {
            let mark = byte == b'"' && !self.behind;
            if mark && self.at >= from {
                return (self.count, self.at);
            }
            self.count += u32::from(mark);
            self.behind = byte == b'\\' && !self.behind;
            self.at += 1;
        }
        (self.count, self.line.len())
    }
}

/// As many bytes as a piece has in a block.
fn mask(len: usize) -> u32 {
    u32::MAX.checked_shr(BLOCK.saturating_sub(len) as u32).unwrap_or(0)
}

/// The kind of the value at `from..end`, which is no string; none when it is not one whole value.
#[inline(always)]
fn bare(text: &[u8], from: usize, end: usize) -> Option<ValueKind> {
    if let Some(eight) = text.get(from..).and_then(<[u8]>::first_chunk::<8>) {
        let len = end.wrapping_sub(from);
        // Most are small whole numbers.
        if len.wrapping_sub(1) < 8 && crate::scan::digits(eight) >= len && (eight[0] != b'0' || len == 1) {
            return Some(ValueKind::Number);
        }
    }
    let (found, kind) = value_end(text, from, 1).ok()?;
    let whole = match kind {
        ValueKind::String => false,
        // Between the brackets a line end would be white space.
        ValueKind::Object | ValueKind::Array => memchr::memchr(b'\n', &text[from..found]).is_none(),
        _ => true,
    };
    (whole && found == end).then_some(kind)
}

#[cfg(target_arch = "x86_64")]
use x86::fits_avx2;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    //! The comparison with AVX2.
    use super::{BLOCK, Candidate, Compare, Member, Template};
    use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8};

    pub(super) fn fits_avx2(template: &Template, line: Candidate<'_>, members: &mut [Member]) -> bool {
        // SAFETY: a level is only in use where the machine has it.
        unsafe { fits(template, line, members) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn fits(template: &Template, line: Candidate<'_>, members: &mut [Member]) -> bool {
        template.fits_with(line, members, Avx2)
    }

    #[derive(Clone, Copy)]
    struct Avx2;

    impl Compare for Avx2 {
        #[inline(always)]
        fn differences(self, a: &[u8; BLOCK], b: &[u8; BLOCK]) -> u32 {
            // SAFETY: both have 32 bytes; only `fits` uses this, where AVX2 is enabled.
            unsafe {
                let (a, b) = (_mm256_loadu_si256(a.as_ptr().cast()), _mm256_loadu_si256(b.as_ptr().cast()));
                !_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b)) as u32
            }
        }
    }
}

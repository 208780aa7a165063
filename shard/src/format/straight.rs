//! Straight: a pattern compiled for lines whose quotes and line ends are known, read and written in one go.
//!
//! In a line without surprises the n-th quote is the same quote in every line: where a value in quotes ends is looked
//! up. The other values are found by the first byte behind them, 32 bytes at once. Keys and values are copied in
//! blocks of fixed length, over whose ends the next is written.
//!
//! Promises: what it takes, it reads as [`super::layout::Layout::read`] does; the rest it leaves to that: a line with
//! another number of quotes, or one whose first end of a value leads nowhere. Nothing is allocated per line.
//!
//! Why the n-th quote: a line is taken when every literal stands where it has to and the line has as many marks as the
//! literals have quotes. All marks are then quotes of literals, so no value has one that its server did not escape.
//! Must not know: how marks are found.
use super::field::{Absent, Escape, Field, Kind};
use super::layout::Keys;
use super::pattern::{Pattern, Slot};
use super::write::{Key, Raw, Writer, is_number, request_parts};
use crate::record::{Member, Span, ValueKind};
use crate::scan::{WIDE, Wide, Work};

/// Bytes that are looked at and copied at once.
const CHUNK: usize = 2 * WIDE;
/// Bytes behind a line that may be read with it.
pub(super) const MARGIN: usize = CHUNK;
/// Where a member is written at once: a key of at most [`WIDE`] bytes, a chunk, and a quote.
const PLACE: usize = 2 * CHUNK;

/// A pattern's way.
#[derive(Clone, Debug)]
pub(super) struct Straight {
    head: Box<[u8]>,
    steps: Box<[Step]>,
    /// Quotes of its literals.
    quotes: usize,
    /// Members of its records.
    members: usize,
    /// Lines with backslashes and control characters may be taken.
    takes_odd: bool,
    /// Values are escaped with `#`.
    hashed: bool,
    /// What its keys and what stands around values take, and a margin.
    bytes: usize,
}

/// A value, and what follows it.
#[derive(Clone, Debug)]
struct Step {
    end: End,
    /// The first bytes behind the value, and where they count.
    literal: u64,
    literal_mask: u64,
    literal_len: usize,
    check: Check,
    number: bool,
    /// What stands for nothing.
    dash: bool,
    empty: bool,
    quoted: bool,
    /// Something of it is rare: its key or its literal is long, or it is padded.
    rare: bool,
    key: Label,
    parts: Option<Box<[Label; 3]>>,
}

/// Where a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At this mark of the line.
    Mark(u32),
    /// At the first such byte.
    Byte(u8),
    /// At the last colon before the next space: an IPv6 address before a port has more of them.
    LastColon,
}

/// What a value is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Time,
    Digits,
    NoSpace,
    NoBrace,
}

/// A key to be written at once.
#[derive(Clone, Debug)]
struct Label {
    /// `,"a":"`, filled up.
    block: [u8; WIDE],
    /// How much of it counts, the last quote too.
    len: usize,
}

/// A line with what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The text from the line's first byte on, and at least [`MARGIN`] bytes beyond the line.
    pub(super) text: &'a [u8],
    /// Where `text` starts in the marked text.
    pub(super) start: usize,
    pub(super) len: usize,
    /// Its quotes, its end, and more.
    pub(super) marks: &'a [u32],
    /// Its backslashes and control characters.
    pub(super) odd: &'a [u32],
}

impl Straight {
    /// The way of a pattern; none when its lines have to be looked at more closely.
    pub(super) fn new(pattern: &Pattern, keys: &[Keys]) -> Option<Straight> {
        let mut literals = pattern.slots.iter().map(|slot| &slot.literal).chain([&pattern.head]);
        if literals.any(|literal| literal.contains(&b'\\')) {
            return None;
        }
        let quotes_of = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'"').count();
        let mut quotes = quotes_of(&pattern.head);
        let mut steps = Vec::new();
        for (at, (slot, keys)) in pattern.slots.iter().zip(keys).enumerate() {
            steps.push(Step::new((slot, pattern.slots.get(at + 1)), keys, quotes));
            quotes += quotes_of(&slot.literal);
        }
        // Behind a backslash a quote is no mark. That has to be what the pattern means, too.
        let escaped = pattern.slots.iter().all(|slot| slot.quoted || slot.literal.first() != Some(&b'"'));
        let hashed = pattern.slots.iter().any(|slot| slot.field.escape == Escape::Hash);
        let bytes: usize = keys.iter().map(Keys::bytes).sum();
        Some(Straight {
            head: pattern.head.clone(),
            members: steps.iter().map(|step| if step.parts.is_some() { 4 } else { 1 }).sum(),
            steps: steps.into(),
            quotes,
            takes_odd: (escaped || quotes == 0) && !hashed,
            hashed,
            bytes: bytes + 2 * PLACE,
        })
    }

    /// How many marks a line has before its end.
    #[inline]
    pub(super) fn marks(&self) -> usize {
        self.quotes
    }
}

impl Label {
    fn new(key: &Key) -> Label {
        Label { block: *key.block(), len: key.len() + 1 }
    }

    fn is_short(&self) -> bool {
        self.len <= WIDE
    }
}

impl Step {
    fn new((slot, next): (&Slot, Option<&Slot>), keys: &Keys, quotes: usize) -> Step {
        let (kind, literal) = (slot.field.kind, &slot.literal);
        let port = next.is_some_and(|next| {
            next.field.kind == Kind::Digits && !next.field.padded && next.literal.first() == Some(&b' ')
        });
        let end = match literal.first() {
            // The mark behind all quotes is the line's end.
            None | Some(b'"') => End::Mark(quotes as u32),
            Some(b':') if kind == Kind::Word && literal.len() == 1 && port => End::LastColon,
            Some(&first) => End::Byte(first),
        };
        let check = match kind {
            // It ends before the first space.
            Kind::Word if end == End::LastColon => Check::Nothing,
            Kind::Braced if end == End::Byte(b'}') => Check::Nothing,
            Kind::Time => Check::Time,
            Kind::Digits => Check::Digits,
            Kind::Braced => Check::NoBrace,
            Kind::Word | Kind::Number if slot.asked => Check::NoSpace,
            _ => Check::Nothing,
        };
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        let len = literal.len().min(8);
        word[..len].copy_from_slice(&literal[..len]);
        mask[..len].fill(0xff);
        let (key, number) = (Label::new(&keys.own), kind.is_number());
        let parts = keys.parts.as_ref().map(|parts| Box::new(parts.each_ref().map(Label::new)));
        Step {
            end,
            literal: u64::from_le_bytes(word),
            literal_mask: u64::from_le_bytes(mask),
            literal_len: literal.len(),
            check,
            number,
            dash: number || slot.field.absent != Absent::Empty,
            empty: number || slot.field.absent != Absent::Dash,
            quoted: slot.quoted,
            rare: slot.field.padded || literal.len() > 8 || !key.is_short(),
            key,
            parts,
        }
    }
}

/// Reads a line; false: it is not for this way.
pub(super) struct Read<'a, 'w> {
    pub(super) straight: &'a Straight,
    pub(super) pattern: &'a Pattern,
    pub(super) keys: &'a [Keys],
    pub(super) line: Line<'a>,
    pub(super) writer: &'w mut Writer,
}

impl Work for Read<'_, '_> {
    type Made = bool;

    #[inline(always)]
    fn run(self, wide: impl Wide) -> bool {
        let Read { straight, pattern, keys, line, writer } = self;
        let Line { text, len, .. } = line;
        let mut odd = Odd::new(&line);
        if !text[..len].starts_with(&straight.head) || odd.next < len && !straight.takes_odd {
            return false;
        }
        let hashed = straight.hashed && memchr::memchr(b'#', &text[..len]).is_some();
        let room = straight.bytes + 2 * len;
        let mut pen = writer.pen(room, straight.members);
        let mut at = straight.head.len();
        for (number, step) in straight.steps.iter().enumerate() {
            if step.rare {
                at = pattern.slots[number].begin(text, at, len);
            }
            let Some(chunk) = chunk(text, at) else { return false };
            let Some(end) = step.end(wide, &line, at, chunk) else { return false };
            if end + step.literal_len > len
                || !step.literal_stands_at(text, end)
                || step.check != Check::Nothing && !step.is_right(wide, (text, at, end), chunk)
            {
                return false;
            }
            let changed = odd.is_within(at, end);
            if step.rare || changed || hashed {
                let slot = &pattern.slots[number];
                if changed && straight.quotes > 0 && !step.quoted || !text[end..].starts_with(&slot.literal) {
                    return false;
                }
                let plain = !(changed || hashed && text[at..end].contains(&b'#'));
                let raw = Raw { text, start: at, end, plain };
                write_rare(&keys[number], &slot.field, raw, pen.done(), writer);
                pen = writer.pen_on(room, straight.members);
            } else if step.write(wide, (text, at, end), chunk, &mut pen).is_none() {
                return false;
            }
            at = end + step.literal_len;
        }
        let done = pen.done();
        writer.wrote(done);
        at == len
    }
}

impl Step {
    /// Where the value that begins at `at` ends, which may be beyond the line.
    #[inline(always)]
    fn end(&self, wide: impl Wide, line: &Line<'_>, at: usize, chunk: &[u8; CHUNK]) -> Option<usize> {
        match self.end {
            End::Mark(number) => {
                let end = (*line.marks.get(number as usize)? as usize).wrapping_sub(line.start).min(line.len);
                (at <= end).then_some(end)
            }
            End::Byte(byte) => {
                let (low, high) = halves(chunk);
                let hits = wide.equal(low, byte);
                if hits != 0 {
                    return Some(at + hits.trailing_zeros() as usize);
                }
                let hits = wide.equal(high, byte);
                if hits != 0 {
                    return Some(at + WIDE + hits.trailing_zeros() as usize);
                }
                let far = line.text.get(at + CHUNK..line.len)?;
                memchr::memchr(byte, far).map(|place| at + CHUNK + place)
            }
            End::LastColon => {
                let (low, high) = halves(chunk);
                let find =
                    |byte| u64::from(wide.equal(low, byte)) | u64::from(wide.equal(high, byte)) << WIDE;
                let spaces = find(b' ');
                let colons = find(b':') & (spaces & spaces.wrapping_neg()).wrapping_sub(1);
                (spaces != 0 && colons != 0).then(|| at + 63 - colons.leading_zeros() as usize)
            }
        }
    }

    /// Whether the literal's first bytes stand there.
    #[inline(always)]
    fn literal_stands_at(&self, text: &[u8], at: usize) -> bool {
        let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) else { return false };
        (u64::from_le_bytes(*eight) ^ self.literal) & self.literal_mask == 0
    }

    #[inline(always)]
    fn is_right(&self, wide: impl Wide, (text, at, end): (&[u8], usize, usize), chunk: &[u8; CHUNK]) -> bool {
        let len = end - at;
        let without = |byte, kind: Kind| {
            let near = wide.equal(halves(chunk).0, byte).trailing_zeros() as usize >= len;
            near && len <= WIDE || kind.intruder(&text[at..end]).is_none()
        };
        match self.check {
            Check::Nothing => true,
            Check::Time => len >= 20 && is_time(chunk) || text[at..end] == *b"-",
            Check::Digits if len <= 8 && digits(chunk) >= len => true,
            Check::Digits => Kind::Digits.intruder(&text[at..end]).is_none(),
            Check::NoSpace => without(b' ', Kind::Word),
            Check::NoBrace => without(b'}', Kind::Braced),
        }
    }

    /// Writes a value that stays as it is, and the parts of a request. None: the line has to be looked at again.
    #[inline(always)]
    fn write(
        &self,
        wide: impl Wide,
        (text, at, end): (&[u8], usize, usize),
        chunk: &[u8; CHUNK],
        pen: &mut Pen<'_>,
    ) -> Option<()> {
        let len = end - at;
        if len <= 1 && (len == 0 && self.empty || len == 1 && chunk[0] == b'-' && self.dash) {
            pen.null(&self.key)?;
        } else if self.number && is_number_at(text, at, end, chunk) {
            pen.number(&self.key, (text, at, end), chunk)?;
        } else {
            pen.string(&self.key, (text, at, end), chunk)?;
        }
        let Some(parts) = &self.parts else { return Some(()) };
        match usual_request(wide, text, at, end, chunk) {
            Some([method, target]) => {
                pen.string(&parts[0], (text, at, method), chunk)?;
                pen.string(&parts[1], (text, method + 1, target), self::chunk(text, method + 1)?)?;
                pen.string(&parts[2], (text, target + 1, end), self::chunk(text, target + 1)?)
            }
            None => parts_of(text, (at, end), parts, pen),
        }
    }
}

/// The parts of an unusual request.
#[cold]
fn parts_of(text: &[u8], (at, end): (usize, usize), parts: &[Label; 3], pen: &mut Pen<'_>) -> Option<()> {
    let mut from = at;
    for (label, len) in parts.iter().zip(request_parts(&text[at..end])) {
        match len {
            Some(len) => {
                pen.string(label, (text, from, from + len), chunk(text, from)?)?;
                from += len + 1;
            }
            None => pen.null(label)?,
        }
    }
    Some(())
}

/// A value that is escaped or has to be, or one with a long key; what was written before it is `done`.
#[cold]
fn write_rare(keys: &Keys, field: &Field, raw: Raw<'_>, done: Done, writer: &mut Writer) {
    writer.wrote(done);
    writer.value(&keys.own, field, raw);
    if let Some(parts) = &keys.parts {
        writer.request_parts(parts, raw, field.escape);
    }
}

/// What a pen has written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) bytes: usize,
    pub(super) members: usize,
}

/// Writes members whose values stay as they are, in blocks.
pub(super) struct Pen<'w> {
    /// Where text and members are written, in a record that has `done`.
    pub(super) text: &'w mut [u8],
    pub(super) members: &'w mut [Member],
    pub(super) done: Done,
}

impl Pen<'_> {
    #[inline(always)]
    fn done(&self) -> Done {
        self.done
    }

    #[inline(always)]
    fn place(&mut self) -> Option<&mut [u8; PLACE]> {
        self.text.get_mut(self.done.bytes..)?.first_chunk_mut()
    }

    /// Says that a member is written whose value takes so many bytes, and begins so many after its key's first.
    #[inline(always)]
    fn member(&mut self, label: &Label, from: usize, len: usize, kind: ValueKind) -> Option<()> {
        let at = self.done.bytes;
        // `,"a":"`
        let key = Span { start: at as u32 + 2, end: (at + label.len) as u32 - 3 };
        let value = Span { start: (at + from) as u32, end: (at + from + len) as u32 };
        *self.members.get_mut(self.done.members)? = Member { key, value, kind };
        self.done.members += 1;
        self.done.bytes = at + from + len;
        Some(())
    }

    #[inline(always)]
    fn string(
        &mut self,
        label: &Label,
        (text, at, end): (&[u8], usize, usize),
        chunk: &[u8; CHUNK],
    ) -> Option<()> {
        let (len, from) = (end - at, label.len % CHUNK);
        let place = self.place()?;
        place[..WIDE].copy_from_slice(&label.block);
        place[from..from + CHUNK].copy_from_slice(chunk);
        if len <= CHUNK {
            place[(from + len) % PLACE] = b'"';
        } else {
            self.long(text.get(at + CHUNK..)?, len - CHUNK, self.done.bytes + from + CHUNK)?;
        }
        self.member(label, from - 1, len + 2, ValueKind::String)
    }

    /// The rest of a string, and its quote.
    #[inline(always)]
    fn long(&mut self, rest: &[u8], len: usize, to: usize) -> Option<()> {
        let place = self.text.get_mut(to..)?;
        if len <= CHUNK {
            *place.first_chunk_mut::<CHUNK>()? = *rest.first_chunk::<CHUNK>()?;
        } else {
            place.get_mut(..len)?.copy_from_slice(rest.get(..len)?);
        }
        *place.get_mut(len)? = b'"';
        Some(())
    }

    #[inline(always)]
    fn number(
        &mut self,
        label: &Label,
        (text, at, end): (&[u8], usize, usize),
        chunk: &[u8; CHUNK],
    ) -> Option<()> {
        let (len, from) = (end - at, (label.len - 1) % CHUNK);
        let place = self.place()?;
        place[..WIDE].copy_from_slice(&label.block);
        place[from..from + WIDE].copy_from_slice(&chunk[..WIDE]);
        if len > WIDE {
            self.text.get_mut(self.done.bytes + from..)?.get_mut(..len)?.copy_from_slice(&text[at..end]);
        }
        self.member(label, from, len, ValueKind::Number)
    }

    #[inline(always)]
    fn null(&mut self, label: &Label) -> Option<()> {
        let from = (label.len - 1) % CHUNK;
        let place = self.place()?;
        place[..WIDE].copy_from_slice(&label.block);
        place[from..from + 4].copy_from_slice(b"null");
        self.member(label, from, 4, ValueKind::Null)
    }
}

#[inline(always)]
fn chunk(text: &[u8], at: usize) -> Option<&[u8; CHUNK]> {
    text.get(at..)?.first_chunk()
}

#[inline(always)]
fn halves(chunk: &[u8; CHUNK]) -> (&[u8; WIDE], &[u8; WIDE]) {
    let ([low, high], _) = chunk.as_chunks::<WIDE>() else { unreachable!("a chunk is two blocks") };
    (low, high)
}

/// How many of the first eight bytes are digits.
#[inline(always)]
fn digits(chunk: &[u8; CHUNK]) -> usize {
    chunk.first_chunk().map_or(0, crate::scan::digits)
}

/// Whether `10/Oct/2000:13:55:36` could stand there.
#[inline(always)]
fn is_time(chunk: &[u8; CHUNK]) -> bool {
    [chunk[2], chunk[6], chunk[11], chunk[14], chunk[17]] == *b"//:::"
}

#[inline(always)]
fn is_number_at(text: &[u8], at: usize, end: usize, chunk: &[u8; CHUNK]) -> bool {
    let len = end - at;
    // Most are small whole numbers.
    let whole = len.wrapping_sub(1) < 8 && digits(chunk) >= len && (chunk[0] != b'0' || len == 1);
    whole || is_number(&text[at..end])
}

/// Where the method and the target of `GET /path HTTP/1.1` end; none when it is not so simple.
#[inline(always)]
fn usual_request(
    wide: impl Wide,
    text: &[u8],
    at: usize,
    end: usize,
    chunk: &[u8; CHUNK],
) -> Option<[usize; 2]> {
    const PROTOCOL: usize = " HTTP/1.1".len();
    let method = wide.equal(halves(chunk).0, b' ').trailing_zeros() as usize;
    let target = end.checked_sub(PROTOCOL)?;
    if method == 0 || method > 8 || letters(chunk.first_chunk()?) < method || target <= at + method {
        return None;
    }
    let last: &[u8; PROTOCOL] = text.get(target..)?.first_chunk()?;
    let usual = last.starts_with(b" HTTP/") && last[6] != b' ' && last[7] != b' ' && last[8] != b' ';
    usual.then_some([at + method, target])
}

/// How many of the first bytes are letters; 8 when all are.
#[inline(always)]
fn letters(eight: &[u8; 8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*eight);
    let small = (word | (ONES * 0x20)) & !HIGHS;
    let (from_a, beyond_z) = (small + ONES * (0x80 - b'a' as u64), small + ONES * (0x7f - b'z' as u64));
    let others = !(from_a & !beyond_z & !word) & HIGHS;
    (others.trailing_zeros() / 8) as usize
}

/// The odd bytes of a line, one after the other.
struct Odd<'a> {
    rest: &'a [u32],
    start: usize,
    /// The place of the next one in the line; beyond it when there is none.
    next: usize,
}

impl Odd<'_> {
    #[inline(always)]
    fn new<'a>(line: &Line<'a>) -> Odd<'a> {
        let mut odd = Odd { rest: line.odd, start: line.start, next: 0 };
        odd.step();
        odd
    }

    #[inline(always)]
    fn step(&mut self) {
        match self.rest.split_first() {
            Some((first, rest)) => {
                (self.next, self.rest) = ((*first as usize).saturating_sub(self.start), rest)
            }
            None => self.next = usize::MAX,
        }
    }

    /// Whether one stands between these places, which only go on; those before `end` are done with.
    #[inline(always)]
    fn is_within(&mut self, at: usize, end: usize) -> bool {
        let mut within = false;
        while self.next < end {
            within |= self.next >= at;
            self.step();
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_end_at_every_other_byte() {
        for place in 0..8 {
            for byte in 0..=255u8 {
                for after in [b'a', 0xff, b'Z', b'@'] {
                    let mut eight = *b"aZqAzGET";
                    eight[place] = byte;
                    eight[place + 1..].fill(after);
                    let expected = eight.iter().take_while(|b| b.is_ascii_alphabetic()).count();
                    assert_eq!(letters(&eight), expected, "{eight:?}");
                }
            }
        }
    }
}

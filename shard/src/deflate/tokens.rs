//! Tokens: which bytes of a run repeat earlier ones, found where the record's fields say that they may.
//!
//! A **lane** is one field of a record: what stands between the value before it and its own (the same bytes in every
//! record of a layout), and its value. Each lane looks at three earlier places only: on with the open match, the
//! latest value that hashes alike, and the lane before in the record before. All three are compared byte by byte, so
//! what is said about fields can make the result worse, never wrong.
//!
//! Promises: every token repeats exactly the bytes that it stands for, at a distance of 1..=32768 within the text.
//! Must not know: codes, bits.
#![allow(unsafe_code)]
use super::compare::{AHEAD, BACK, Compare};
use crate::codec::Span;
use std::hint::select_unpredictable;

/// Farthest match (RFC 1951, 3.2.5).
const WINDOW: u32 = 32_768;
/// Values that are remembered by their hash.
const TABLE_BITS: u32 = 12;
/// Lanes whose latest value is remembered.
const LANES: usize = 1024;
/// What a new match must save to be worth its distance code: bytes.
const MATCH_COST: u32 = 3;

/// The bytes `start..end` are those at `dist` before them; what lies between two tokens is literal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) dist: u32,
}

/// Some lanes of one record, side by side.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'a> {
    pub(super) values: &'a [Span],
    /// How many of the record's lanes lie before these.
    first: usize,
    /// How many the record has.
    all: usize,
}

impl<'a> Lanes<'a> {
    pub(super) const NONE: Lanes<'static> = Lanes { values: &[], first: 0, all: 0 };

    /// All lanes of a record.
    #[inline(always)]
    pub(super) fn of(values: &'a [Span]) -> Lanes<'a> {
        Lanes { values, first: 0, all: values.len() }
    }

    /// Takes away the first one, of one at least.
    pub(super) fn take_one(&mut self) -> Lanes<'a> {
        let (one, rest) = self.values.split_at(1);
        let head = Lanes { values: one, ..*self };
        (self.values, self.first) = (rest, self.first + 1);
        head
    }

    /// Takes away the first ones, for which `is_before` holds.
    pub(super) fn split(&mut self, is_before: impl Fn(&Span) -> bool) -> Lanes<'a> {
        let (before, rest) = self.values.split_at(self.values.partition_point(is_before));
        let head = Lanes { values: before, ..*self };
        (self.values, self.first) = (rest, self.first + before.len());
        head
    }
}

/// Finds tokens; remembers values of texts.
pub(super) struct Tokenizer {
    /// Low halves of positions, by hash: what is too old is found out by comparing.
    table: Box<[u16; 1 << TABLE_BITS]>,
    latest: Box<[u32; LANES]>,
    /// The same as `table` by the first bytes of values, for those who look further.
    beginnings: [Box<[u16; 1 << TABLE_BITS]>; 3],
    open: Token,
    /// End of the last value.
    at: u32,
}

impl Tokenizer {
    pub(super) fn new() -> Tokenizer {
        let (table, latest) = (Box::new([0; 1 << TABLE_BITS]), Box::new([0; LANES]));
        let beginnings = std::array::from_fn(|_| Box::new([0; 1 << TABLE_BITS]));
        Tokenizer { table, latest, beginnings, open: Token::default(), at: 0 }
    }

    /// Begins a text. What is remembered of another one is compared as everything is: to forget it would cost more
    /// than a short text's tokens.
    pub(super) fn begin(&mut self) {
        (self.open, self.at) = (Token::default(), 0);
    }

    /// Tokens of the next lanes of a record, whose values are less `base`. The open token stands at `tokens[used]`;
    /// returns where it stands afterwards.
    ///
    /// # Safety
    /// The values lie in the text, in order, and [`MARGIN`] bytes after the last one do too unless `compare` is
    /// [`super::compare::Safe`], and the first one ends at [`HEAD`] at least; from `used` on `tokens` has room for one more than there are values. What `compare` demands of the
    /// machine is given.
    #[inline(always)]
    pub(super) unsafe fn record<C: Compare, const MORE: bool>(
        &mut self,
        compare: C,
        text: &[u8],
        lanes: Lanes<'_>,
        base: u32,
        tokens: &mut [Token],
        used: usize,
    ) -> usize {
        debug_assert!(used + lanes.values.len() < tokens.len());
        let reach = self.at.saturating_sub(BACK).min(WINDOW);
        let mut line = Line { at: self.at, open: self.open, reach, used };
        let set = lanes.all * 31;
        for (lane, field) in (lanes.first..).zip(lanes.values) {
            let (start, end) = (field.start - base, field.end - base);
            // SAFETY: the caller's.
            unsafe {
                self.lane::<C, MORE>(
                    compare,
                    text,
                    (lane, (set + lane) % LANES),
                    &mut line,
                    (start, end),
                    tokens,
                )
            };
        }
        (self.at, self.open) = (line.at, line.open);
        line.used
    }

    /// One lane of one record.
    #[inline(always)]
    unsafe fn lane<C: Compare, const MORE: bool>(
        &mut self,
        compare: C,
        text: &[u8],
        (lane, latest): (usize, usize),
        line: &mut Line,
        (start, end): (u32, u32),
        tokens: &mut [Token],
    ) {
        let Line { at, open, reach, .. } = *line;
        debug_assert!(at <= start && start <= end && (end as usize) <= text.len());
        let whole = end - at;
        // SAFETY: the margins are the caller's.
        let slot = unsafe { hash(compare, text, start, end, lane as u64) };
        let seen = u32::from((start as u16).wrapping_sub(self.table[slot]));
        self.table[slot] = start as u16;
        let before = start.wrapping_sub(self.latest[latest]);
        self.latest[latest] = start;
        let (has_before, has_seen) = (before.wrapping_sub(1) < reach, seen.wrapping_sub(1) < reach);
        let before = select_unpredictable(has_before, before, 0);
        let seen = select_unpredictable(has_seen, seen, 0);
        let on = (open.end == at) & (open.dist != 0);
        // One byte more than the value: a longer one that begins alike is no repetition.
        let most = if whole < AHEAD { whole + 1 } else { AHEAD };
        let only = |has: bool| most & 0_u32.wrapping_sub(u32::from(has));
        // SAFETY: the margins are the caller's; no distance is larger than what lies before.
        let (len_on, len_seen, len_before) = unsafe {
            (
                compare.ahead(text, at, at - open.dist, only(on)),
                compare.ahead(text, at, at - seen, only(has_seen)),
                compare.ahead(text, at, at - before, only(has_before)),
            )
        };
        let nearer = len_before > len_seen;
        let new_dist = select_unpredictable(nearer, before, seen);
        let new_len = select_unpredictable(nearer, len_before, len_seen);
        let (new_dist, new_len) = if MORE {
            // SAFETY: as above.
            unsafe { self.look_further(compare, text, (at, start), reach, most, (new_dist, new_len)) }
        } else {
            (new_dist, new_len)
        };
        let new = new_len > len_on + MATCH_COST;
        let dist = select_unpredictable(new, new_dist, open.dist);
        let len = select_unpredictable(new, new_len, len_on);
        let mut len = len - u32::from(len > whole);
        if len == AHEAD {
            // SAFETY: as above.
            len = unsafe { compare.longer(text, at, dist, whole) }.min(whole);
        }
        let behind = select_unpredictable(at > BACK, at, BACK);
        let most = select_unpredictable(new, at - open.end, 0);
        // SAFETY: as above.
        let back = unsafe { compare.back(text, behind, behind - dist, most) };
        line.used += usize::from(new);
        line.open = Token {
            start: select_unpredictable(new, at - back, open.start),
            end: select_unpredictable(new | on, at + len, open.end),
            dist,
        };
        line.at = end;
        // SAFETY: the caller keeps room for one token a lane.
        unsafe { *tokens.get_unchecked_mut(line.used) = line.open };
    }
}

impl Tokenizer {
    /// The longer one of a match and of what begins like the value: the latest value of any lane that does, and the one
    /// before.
    #[inline(always)]
    unsafe fn look_further<C: Compare>(
        &mut self,
        compare: C,
        text: &[u8],
        (at, start): (u32, u32),
        reach: u32,
        most: u32,
        (mut dist, mut len): (u32, u32),
    ) -> (u32, u32) {
        // SAFETY: the caller's margins.
        let first = unsafe { compare.eight(text, start) };
        for (table, bytes) in self.beginnings.iter_mut().zip([3, 5, 8]) {
            let hash = (first << (64 - 8 * bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let entry = &mut table[(hash >> (64 - TABLE_BITS)) as usize];
            let back = u32::from((start as u16).wrapping_sub(*entry));
            *entry = start as u16;
            let has = back.wrapping_sub(1) < reach;
            let back = select_unpredictable(has, back, 0);
            // SAFETY: as above.
            let found =
                unsafe { compare.ahead(text, at, at - back, most & 0_u32.wrapping_sub(u32::from(has))) };
            let better = found > len;
            dist = select_unpredictable(better, back, dist);
            len = select_unpredictable(better, found, len);
        }
        (dist, len)
    }
}

/// One record on its way.
#[derive(Clone, Copy)]
struct Line {
    /// End of the value before.
    at: u32,
    open: Token,
    /// Farthest match of this record.
    reach: u32,
    used: usize,
}

/// Bytes of the text that lie behind a record's last value, so that comparing it and hashing it stay within the text.
pub(super) const MARGIN: usize = AHEAD as usize + 8;

/// A value that ends nearer to the text's start than this is hashed by [`super::compare::Safe`] only.
pub(super) const HEAD: u32 = 8;

/// A hash of a value by its first and last bytes and those in its middle.
///
/// # Safety
/// As [`Tokenizer::record`].
#[inline(always)]
unsafe fn hash<C: Compare>(compare: C, text: &[u8], start: u32, end: u32, lane: u64) -> usize {
    let len = end - start;
    let inner = select_unpredictable(len >= 16, len / 2, 0);
    // SAFETY: the caller's.
    let (last, first, middle) = unsafe {
        (
            compare.eight(text, end.wrapping_sub(7)),
            compare.eight(text, start),
            compare.eight(text, start + inner),
        )
    };
    let keep = u64::MAX >> (64 - 8 * len.clamp(1, 8));
    let mixed = (last ^ lane).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (first & keep).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ (middle & keep).wrapping_mul(0x1656_67b1_9e37_79f9).rotate_left(15);
    ((mixed ^ mixed >> 29) >> (64 - TABLE_BITS)) as usize
}

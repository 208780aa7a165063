//! Emit: tokens and the literals between them as codes.
//!
//! Promises: what is emitted decodes to the text; four literals or one match are one push.
//! Must not know: how tokens were found, where blocks begin.
#![allow(unsafe_code)]
use super::bits::{BitWriter, Pen};
use super::tables::{Counts, MATCH_MAX, Tables};
use super::tokens::Token;
use crate::scan::Simd;

/// A token's matches: no more than [`MATCH_MAX`] bytes each, and no fewer than three.
#[inline(always)]
fn step(len: usize) -> usize {
    match len {
        0..=MATCH_MAX => len,
        // Not so much that fewer than three are left.
        _ if len < MATCH_MAX + 3 => len - 3,
        _ => MATCH_MAX,
    }
}

/// Emits `tokens`, with the literals before them from `from` on. Returns where the last one ends. The writer has room
/// for 16 bits a byte.
pub(super) fn emit(
    level: Simd,
    text: &[u8],
    from: usize,
    tokens: &[Token],
    tables: &Tables,
    writer: &mut BitWriter<'_>,
) -> usize {
    let pen = writer.pen();
    // SAFETY: the room is the caller's; a level is only given where the machine has it.
    let (at, pen) = unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 | Simd::Avx512 => emit_bmi2(text, from, tokens, tables, pen),
            _ => emit_with(text, from, tokens, tables, pen),
        }
    };
    writer.put_back(pen);
    at
}

/// # Safety
/// The machine has BMI2; else as [`emit_with`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt")]
unsafe fn emit_bmi2(text: &[u8], from: usize, tokens: &[Token], tables: &Tables, pen: Pen) -> (usize, Pen) {
    // SAFETY: the caller's.
    unsafe { emit_with(text, from, tokens, tables, pen) }
}

/// # Safety
/// The pen has room for 16 bits a byte.
#[inline(always)]
unsafe fn emit_with(
    text: &[u8],
    from: usize,
    tokens: &[Token],
    tables: &Tables,
    mut pen: Pen,
) -> (usize, Pen) {
    let mut at = from;
    for token in tokens {
        // SAFETY: a literal takes 14 bits at most, a match 46 for at least three bytes.
        unsafe {
            pen = literals_with(text, at, token.start as usize, tables, pen);
            let mut len = (token.end - token.start) as usize;
            while len > MATCH_MAX {
                let (bits, count) = tables.matched(step(len), token.dist);
                pen.push(bits, count);
                len -= step(len);
            }
            let (bits, count) = tables.matched(len, token.dist);
            pen.push(bits, count);
        }
        at = token.end as usize;
    }
    (at, pen)
}

/// Emits the bytes `from..` of a text as they are. The writer has room for 16 bits a byte.
pub(super) fn literals(text: &[u8], from: usize, tables: &Tables, writer: &mut BitWriter<'_>) {
    // SAFETY: the caller's.
    let pen = unsafe { literals_with(text, from, text.len(), tables, writer.pen()) };
    writer.put_back(pen);
}

/// # Safety
/// The pen has room for 16 bits a byte.
#[inline(always)]
unsafe fn literals_with(text: &[u8], from: usize, to: usize, tables: &Tables, mut pen: Pen) -> Pen {
    let mut at = from;
    while at < to {
        let four = text.get(at..).and_then(<[u8]>::first_chunk::<4>);
        let four = four.copied().unwrap_or_else(|| near_the_end(&text[at..]));
        let [a, b, c, d] = four.map(|byte| tables.literal(byte));
        let low = u64::from(a.bits()) | u64::from(b.bits()) << a.len();
        let high = u64::from(c.bits()) | u64::from(d.bits()) << c.len();
        let lens = [
            0,
            a.len(),
            a.len() + b.len(),
            a.len() + b.len() + c.len(),
            a.len() + b.len() + c.len() + d.len(),
        ];
        let count = lens[(to - at).min(4)];
        let bits = low | high << lens[2];
        // Bytes beyond `to` are cut off: one push, whatever their number.
        // SAFETY: the caller's.
        unsafe { pen.push(bits & ((1 << count) - 1), count) };
        at += 4;
    }
    pen
}

#[cold]
fn near_the_end(rest: &[u8]) -> [u8; 4] {
    std::array::from_fn(|at| rest.get(at).copied().unwrap_or(0))
}

/// Counts what [`emit`] would emit.
pub(super) fn count(text: &[u8], from: usize, tokens: &[Token], counts: &mut Counts) {
    let mut at = from;
    for token in tokens {
        text[at..token.start as usize].iter().for_each(|&byte| counts.literal(byte));
        let mut len = (token.end - token.start) as usize;
        while len > 0 {
            counts.matched(step(len), token.dist);
            len -= step(len);
        }
        at = token.end as usize;
    }
}

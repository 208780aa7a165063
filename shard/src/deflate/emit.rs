//! Emit: tokens and the literals between them as codes.
//!
//! Promises: what is emitted decodes to the text; four literals or one match are one push.
//! Must not know: how tokens were found, where blocks begin.
use super::bits::BitWriter;
use super::tables::{Counts, MATCH_MAX, Tables};
use super::tokens::Token;

/// A token's matches: no more than [`MATCH_MAX`] bytes each, and no fewer than three.
#[inline(always)]
fn matches(token: &Token, mut each: impl FnMut(usize)) {
    let mut len = (token.end - token.start) as usize;
    while len > MATCH_MAX {
        let step = if len < MATCH_MAX + 3 { len - 3 } else { MATCH_MAX };
        each(step);
        len -= step;
    }
    each(len);
}

/// Emits `tokens` and the literals from `from` on before them. Returns where the last one ends. The writer has room for
/// 14 bits a byte.
#[inline]
pub(super) fn emit(
    text: &[u8],
    from: usize,
    tokens: &[Token],
    tables: &Tables,
    writer: &mut BitWriter<'_>,
) -> usize {
    let mut at = from;
    for token in tokens {
        literals(&text[at..token.start as usize], tables, writer);
        matches(token, |len| {
            let (bits, count) = tables.matched(len, token.dist);
            writer.push(bits, count);
        });
        at = token.end as usize;
    }
    at
}

/// Emits bytes as they are.
#[inline(always)]
pub(super) fn literals(bytes: &[u8], tables: &Tables, writer: &mut BitWriter<'_>) {
    let (fours, rest) = bytes.as_chunks::<4>();
    for four in fours {
        let [a, b, c, d] = four.map(|byte| tables.literal(byte));
        let low = u64::from(a.bits()) | u64::from(b.bits()) << a.len();
        let high = u64::from(c.bits()) | u64::from(d.bits()) << c.len();
        let low_len = a.len() + b.len();
        writer.push(low | high << low_len, low_len + c.len() + d.len());
    }
    for &byte in rest {
        let code = tables.literal(byte);
        writer.push(u64::from(code.bits()), code.len());
    }
}

/// Counts what [`emit`] would emit.
pub(super) fn count(text: &[u8], from: usize, tokens: &[Token], counts: &mut Counts) {
    let mut at = from;
    for token in tokens {
        text[at..token.start as usize].iter().for_each(|&byte| counts.literal(byte));
        matches(token, |len| counts.matched(len, token.dist));
        at = token.end as usize;
    }
}

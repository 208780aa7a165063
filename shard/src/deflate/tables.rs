//! Tables: the codes of one dynamic block, laid out so that a match is one push and four literals are one.
//!
//! Promises: every literal, length and distance has a code, whatever the counts: the table stands before the data, and
//! may stand before other data than it was made for. Its written form is made once.
//! Must not know: where counts come from.
use super::bits::{BitWriter, SLACK};
use super::huffman::{code_lengths, codes};

/// Literals, the end of a block, and lengths (RFC 1951, 3.2.5).
pub(super) const LITLEN: usize = 286;
/// Distances.
pub(super) const DIST: usize = 30;
/// The same with those that are never used, so that no index needs to be checked.
const DIST_CODES: usize = 32;
/// Four literals and seven waiting bits fit 64.
const LITLEN_BITS: u8 = 14;
/// With the extra bits of a length and a distance: 14 + 5 + 14 + 13 fit 56.
const DIST_BITS: u8 = 14;
/// The symbol that ends a block.
pub(super) const END: usize = 256;
/// Longest match.
pub(super) const MATCH_MAX: usize = 258;
/// The order of code length codes (RFC 1951, 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// How often each symbol came.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) litlen: [u32; LITLEN],
    pub(super) dist: [u32; DIST],
}

impl Counts {
    pub(super) const ZERO: Counts = Counts { litlen: [0; LITLEN], dist: [0; DIST] };

    #[inline]
    pub(super) fn literal(&mut self, byte: u8) {
        self.litlen[usize::from(byte)] += 1;
    }

    #[inline]
    pub(super) fn matched(&mut self, len: usize, dist: u32) {
        self.litlen[usize::from(LENGTHS[len].symbol)] += 1;
        self.dist[dist_symbol(dist)] += 1;
    }

    /// Adds a later sample.
    pub(super) fn add(&mut self, sample: &Counts) {
        let all = self.litlen.iter_mut().chain(&mut self.dist);
        for (count, new) in all.zip(sample.litlen.iter().chain(&sample.dist)) {
            *count = count.saturating_add(*new);
        }
    }

    /// Takes away one in `2^shift`: what is new weighs more.
    pub(super) fn fade(&mut self, shift: u32) {
        self.litlen.iter_mut().chain(&mut self.dist).for_each(|count| *count -= (*count + 1) >> shift);
    }
}

/// How a length is written.
#[derive(Clone, Copy)]
struct Length {
    symbol: u16,
    extra: u8,
    bits: u8,
}

/// By length, 3..=258 (RFC 1951, 3.2.5).
static LENGTHS: [Length; MATCH_MAX + 1] = lengths();

const fn lengths() -> [Length; MATCH_MAX + 1] {
    let mut table = [Length { symbol: 257, extra: 0, bits: 0 }; MATCH_MAX + 1];
    let (mut symbol, mut len) = (257, 3);
    while symbol < 285 {
        let bits = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        let mut extra = 0;
        while extra < 1 << bits && len < MATCH_MAX {
            table[len] = Length { symbol: symbol as u16, extra: extra as u8, bits: bits as u8 };
            extra += 1;
            len += 1;
        }
        symbol += 1;
    }
    table[MATCH_MAX] = Length { symbol: 285, extra: 0, bits: 0 };
    table
}

/// The symbol of a distance, 1..=32768.
#[inline(always)]
pub(super) fn dist_symbol(dist: u32) -> usize {
    let low = dist - 1;
    // The two highest bits of 0 and 1 are those of 2 and 3 less a bit.
    let top = (low | 2).ilog2();
    let symbol = 2 * top + (low >> (top - 1) & 1);
    (if low < 2 { low } else { symbol }) as usize
}

/// A code, with what stands beside it.
#[derive(Clone, Copy, Default)]
struct Code {
    bits: u32,
    /// Of the code, and of all together.
    code_len: u8,
    len: u8,
}

/// A literal's code in the low 24 bits, its length above.
#[derive(Clone, Copy, Default)]
pub(super) struct Literal(u32);

impl Literal {
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 0xff_ffff
    }

    #[inline(always)]
    pub(super) fn len(self) -> u32 {
        self.0 >> 24
    }
}

/// The codes of a block.
pub(super) struct Tables {
    literals: [Literal; 256],
    matches: [Code; MATCH_MAX + 1],
    dists: [Code; DIST_CODES],
    end: (u64, u32),
    litlen_lengths: [u8; LITLEN],
    dist_lengths: [u8; DIST],
    /// How a block with these codes begins; no bits when that is not written yet.
    header: Vec<u8>,
    header_bits: u64,
}

/// Bytes of the longest header: 316 lengths of 7 and 2 bits, 19 of 3, and 17 bits before them.
const HEADER_BYTES_MAX: usize = 365;

impl Tables {
    /// Codes that suit `counts`.
    pub(super) fn new(counts: &Counts) -> Tables {
        let mut tables = Tables {
            literals: [Literal::default(); 256],
            matches: [Code::default(); MATCH_MAX + 1],
            dists: [Code::default(); DIST_CODES],
            end: (0, 0),
            litlen_lengths: [0; LITLEN],
            dist_lengths: [0; DIST],
            header: Vec::with_capacity(HEADER_BYTES_MAX + 2 * SLACK),
            header_bits: 0,
        };
        tables.rebuild(counts);
        tables
    }

    /// The same in place.
    pub(super) fn rebuild(&mut self, counts: &Counts) {
        // Seen ones weigh four times an unseen one, which still gets a code.
        let weights = counts.litlen.map(|count| (4 * count.min(1 << 24)).max(1));
        code_lengths(&weights, LITLEN_BITS, &mut self.litlen_lengths);
        let weights = counts.dist.map(|count| (4 * count.min(1 << 24)).max(1));
        code_lengths(&weights, DIST_BITS, &mut self.dist_lengths);
        let (mut litlen, mut dist) = ([0; LITLEN], [0; DIST]);
        codes(&self.litlen_lengths, &mut litlen);
        codes(&self.dist_lengths, &mut dist);
        self.header_bits = 0;
        for (byte, entry) in self.literals.iter_mut().enumerate() {
            *entry = Literal(u32::from(litlen[byte]) | u32::from(self.litlen_lengths[byte]) << 24);
        }
        self.end = (u64::from(litlen[END]), u32::from(self.litlen_lengths[END]));
        for (entry, length) in self.matches.iter_mut().zip(&LENGTHS) {
            let (symbol, code_len) =
                (usize::from(length.symbol), self.litlen_lengths[usize::from(length.symbol)]);
            let bits = u32::from(litlen[symbol]) | u32::from(length.extra) << code_len;
            *entry = Code { bits, code_len, len: code_len + length.bits };
        }
        for (symbol, entry) in self.dists.iter_mut().enumerate().take(DIST) {
            let extra = if symbol < 4 { 0 } else { symbol as u8 / 2 - 1 };
            let code_len = self.dist_lengths[symbol];
            *entry = Code { bits: u32::from(dist[symbol]), code_len, len: code_len + extra };
        }
    }

    /// A literal's code.
    #[inline(always)]
    pub(super) fn literal(&self, byte: u8) -> Literal {
        self.literals[usize::from(byte)]
    }

    /// A match as bits: 3..=258 bytes at distance 1..=32768.
    #[inline(always)]
    pub(super) fn matched(&self, len: usize, dist: u32) -> (u64, u32) {
        let length = self.matches[len];
        let symbol = dist_symbol(dist);
        let code = self.dists[symbol % DIST_CODES];
        let extra_bits = u32::from(code.len - code.code_len);
        let extra = (dist - 1) & !(u32::MAX << extra_bits);
        let dist_bits = u64::from(code.bits) | u64::from(extra) << code.code_len;
        (u64::from(length.bits) | dist_bits << length.len, u32::from(length.len + code.len))
    }

    /// Bits that the data of `counts` take.
    pub(super) fn cost(&self, counts: &Counts) -> u64 {
        let literals =
            counts.litlen.iter().zip(&self.litlen_lengths).enumerate().map(|(symbol, (&count, &len))| {
                let extra = if (265..285).contains(&symbol) { (symbol - 261) / 4 } else { 0 };
                u64::from(count) * (u64::from(len) + extra as u64)
            });
        let dists =
            counts.dist.iter().zip(&self.dists).map(|(&count, code)| u64::from(count) * u64::from(code.len));
        literals.chain(dists).sum()
    }

    /// Opens a dynamic block, BFINAL=0 (RFC 1951, 3.2.7).
    pub(super) fn open_block(&mut self, writer: &mut BitWriter<'_>) {
        if self.header_bits == 0 {
            let mut header = std::mem::take(&mut self.header);
            header.clear();
            let mut into = BitWriter::new(&mut header, HEADER_BYTES_MAX);
            self.describe(&mut into);
            self.header_bits = into.end();
            self.header = header;
        }
        writer.paste(&self.header, self.header_bits);
    }

    /// Writes a dynamic block's header.
    fn describe(&self, writer: &mut BitWriter<'_>) {
        let mut all = [0; LITLEN + DIST];
        all[..LITLEN].copy_from_slice(&self.litlen_lengths);
        all[LITLEN..].copy_from_slice(&self.dist_lengths);
        // Lengths differ from one another far more often than not, and no length is 0: only repeats are shortened.
        let mut symbols = [(0_u8, 0_u8); LITLEN + DIST];
        let used = run_lengths(&all, &mut symbols);
        let symbols = &symbols[..used];
        let mut counts = [0_u32; 19];
        symbols.iter().for_each(|&(symbol, _)| counts[usize::from(symbol)] += 1);
        // Two codes at least, so that the code is complete.
        counts[0] += 1;
        counts[16] += 1;
        let (mut lengths, mut bits) = ([0; 19], [0; 19]);
        code_lengths(&counts, 7, &mut lengths);
        codes(&lengths, &mut bits);
        let sent = ORDER.iter().rposition(|&symbol| lengths[symbol] > 0).map_or(4, |last| (last + 1).max(4));
        writer.push(0b100, 3);
        writer.push((LITLEN - 257) as u64 | (DIST as u64 - 1) << 5 | (sent as u64 - 4) << 10, 14);
        ORDER[..sent].iter().for_each(|&symbol| writer.push(u64::from(lengths[symbol]), 3));
        for &(symbol, repeat) in symbols {
            let code_len = lengths[usize::from(symbol)];
            let extra = if symbol == 16 { (u64::from(repeat), 2) } else { (0, 0) };
            let code = u64::from(bits[usize::from(symbol)]) | extra.0 << code_len;
            writer.push(code, u32::from(code_len) + extra.1);
        }
    }

    /// Ends the block.
    pub(super) fn close_block(&self, writer: &mut BitWriter<'_>) {
        writer.push(self.end.0, self.end.1);
    }
}

/// Lengths as symbols of the code length code: a length, or 16 with the repeats of the last one less 3.
fn run_lengths(lengths: &[u8], symbols: &mut [(u8, u8)]) -> usize {
    let (mut at, mut used) = (0, 0);
    let mut put = |symbol| {
        symbols[used] = symbol;
        used += 1;
    };
    while at < lengths.len() {
        let length = lengths[at];
        let mut same = lengths[at..].iter().take_while(|&&other| other == length).count();
        at += same;
        put((length, 0));
        same -= 1;
        while same >= 3 {
            let repeat = same.min(6);
            put((16, repeat as u8 - 3));
            same -= repeat;
        }
        (0..same).for_each(|_| put((length, 0)));
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_distances_are_those_of_the_rfc() {
        let of = |len: usize| (LENGTHS[len].symbol, LENGTHS[len].extra, LENGTHS[len].bits);
        assert_eq!(
            [of(3), of(10), of(11), of(12), of(13)],
            [(257, 0, 0), (264, 0, 0), (265, 0, 1), (265, 1, 1), (266, 0, 1)]
        );
        assert_eq!(
            [of(130), of(131), of(257), of(258)],
            [(280, 15, 4), (281, 0, 5), (284, 30, 5), (285, 0, 0)]
        );
        let symbols = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16385, 24576, 24577, 32768].map(dist_symbol);
        assert_eq!(symbols, [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 28, 28, 29, 29]);
    }
}

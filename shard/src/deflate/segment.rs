//! Segment: one run as raw DEFLATE blocks.
//!
//! Promises: refers to nothing before the run; ends as every body does (one empty stored block, BFINAL=0, on a byte);
//! never longer than the run stored. What was learnt of earlier runs makes the codes better, never the content
//! different.
//! Must not know: containers, other encoders.
#![allow(unsafe_code)]
use super::bits::BitWriter;
use super::compare::{Compare, Safe, Words};
use super::emit::{count, emit, literals};
use super::tables::{Counts, END, Tables};
use super::tokens::{HEAD, MARGIN, Token, Tokenizer};
use crate::codec::{Run, Span};
use crate::scan::Simd;
use std::ops::Range;

/// Records whose tokens are found before they are emitted: all of it stays in L1 and L2.
const BATCH_RECORDS: usize = 32;
/// The same for the first batch of all, from which the first codes are made.
const FIRST_RECORDS: usize = 128;
/// One batch in so many is counted.
const SAMPLED: usize = 16;
/// What new codes must save in one batch: about half of what writing them down costs.
const RENEWAL_BITS: u64 = 400;
/// Bytes of the longest stored block (RFC 1951, 3.2.4), and what each costs.
const STORED_BYTES_MAX: usize = 65_535;
const STORED_COST: usize = 5;

/// Bytes that so much text takes at most, with the end of its block: a literal 14 bits, the shortest match 46 bits for three bytes.
fn room(text: usize) -> usize {
    2 * text + 64
}

/// Encodes runs whose fields are known.
pub(super) struct SegmentEncoder {
    level: Simd,
    effort: Effort,
    tokenizer: Tokenizer,
    tokens: Vec<Token>,
    tables: Tables,
    counts: Counts,
    /// Whether `counts` are of any run.
    trained: bool,
}

/// How much is looked at for a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// On with the open match, the latest value that hashes alike, the record before.
    Least,
    /// And what only begins alike, in any field.
    More,
}

/// How far a run is.
struct Progress<'a, 'out> {
    run: &'a Run<'a>,
    writer: BitWriter<'out>,
    /// Bytes that are emitted.
    written: usize,
    opened: bool,
    batches: usize,
    /// Bits and bytes of the last batch.
    last: (u64, usize),
    /// Bits a byte, times 1024, of the open block's first batch.
    usual: u64,
}

impl SegmentEncoder {
    pub(super) fn new(level: Simd, effort: Effort) -> SegmentEncoder {
        let (tables, counts) = (Tables::new(&Counts::ZERO), Counts::ZERO);
        SegmentEncoder {
            level,
            effort,
            tokenizer: Tokenizer::new(),
            tokens: Vec::new(),
            tables,
            counts,
            trained: false,
        }
    }

    /// Appends the body of a run whose fields are known.
    pub(super) fn encode(&mut self, run: &Run<'_>, out: &mut Vec<u8>) {
        let (start, level) = (out.len(), self.level);
        let text = run.bytes;
        self.tokenizer.reset();
        let writer = BitWriter::new(out, room(text.len()));
        let mut progress =
            Progress { run, writer, written: 0, opened: false, batches: 0, last: (0, 0), usual: 0 };
        // The last records have no margin behind them.
        let near =
            (0..run.records()).rev().take_while(|&record| value_end(run, record) + MARGIN > text.len());
        let safe = run.records() - near.count();
        self.batches(level, &mut progress, 0..safe);
        self.batches(Simd::Scalar, &mut progress, safe..run.records());
        let Progress { mut writer, written, opened, .. } = progress;
        if !opened {
            self.tables.rebuild(&self.counts);
            self.tables.open_block(&mut writer);
            writer.reserve(room(text.len()));
        }
        let open = self.tokens.first().copied().unwrap_or_default();
        let open: &[Token] = if open.dist == 0 || open.end as usize <= written { &[] } else { &[open] };
        let written = emit(level, text, written, open, &self.tables, &mut writer);
        literals(text, written, &self.tables, &mut writer);
        self.tables.close_block(&mut writer);
        writer.flush();
        let stored = text.len().div_ceil(STORED_BYTES_MAX) * STORED_COST;
        if out.len() - start > text.len() + stored {
            out.truncate(start);
            store(text, out);
        }
    }

    /// Batches of records that all have their margin, or of none that has.
    fn batches(&mut self, level: Simd, progress: &mut Progress<'_, '_>, records: Range<usize>) {
        let mut from = records.start;
        while from < records.end {
            let size = if self.trained { BATCH_RECORDS } else { FIRST_RECORDS };
            let to = (from + size).min(records.end);
            let lanes = progress.run.fields_of(from..to).len();
            if self.tokens.len() < lanes + 2 {
                self.tokens.resize(lanes + 2, Token::default());
            }
            if progress.batches == 0 {
                self.tokens[0] = Token::default();
            }
            let margin = value_end(progress.run, to - 1) + MARGIN <= progress.run.bytes.len();
            let used = match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level is only given where the machine has it; the margin is checked.
                Simd::Avx512 if margin => unsafe { x86::tokenize_avx512(self, progress.run, from..to) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Simd::Avx2 if margin => unsafe { x86::tokenize_avx2(self, progress.run, from..to) },
                // SAFETY: the margin is checked.
                _ if margin => unsafe { self.tokenize(Words, progress.run, from..to) },
                // SAFETY: needs no margin.
                _ => unsafe { self.tokenize(Safe, progress.run, from..to) },
            };
            self.emit_batch(progress, used);
            from = to;
        }
    }

    /// # Safety
    /// As [`Tokenizer::record`], for the last of the records.
    #[inline(always)]
    unsafe fn tokenize<C: Compare>(&mut self, compare: C, run: &Run<'_>, records: Range<usize>) -> usize {
        // SAFETY: the caller's.
        unsafe {
            match self.effort {
                Effort::Least => self.tokenize_with::<C, false>(compare, run, records),
                Effort::More => self.tokenize_with::<C, true>(compare, run, records),
            }
        }
    }

    /// # Safety
    /// As [`SegmentEncoder::tokenize`].
    #[inline(always)]
    unsafe fn tokenize_with<C: Compare, const MORE: bool>(
        &mut self,
        compare: C,
        run: &Run<'_>,
        records: Range<usize>,
    ) -> usize {
        let mut used = 0;
        for record in records {
            let fields = run.fields_of(record..record + 1);
            if fields.first().is_some_and(|value| value.end - run.base < HEAD) {
                used = self.record_at_the_head(run, fields, used);
                continue;
            }
            // SAFETY: the caller's; there is room for all lanes and one token more.
            used = unsafe {
                self.tokenizer.record::<C, MORE>(compare, run.bytes, fields, run.base, &mut self.tokens, used)
            };
        }
        used
    }

    #[cold]
    fn record_at_the_head(&mut self, run: &Run<'_>, fields: &[Span], used: usize) -> usize {
        // SAFETY: `Safe` needs no margin.
        unsafe {
            self.tokenizer.record::<Safe, false>(Safe, run.bytes, fields, run.base, &mut self.tokens, used)
        }
    }

    /// Emits all tokens before the open one, which becomes the first of the next batch.
    fn emit_batch(&mut self, progress: &mut Progress<'_, '_>, used: usize) {
        let text = progress.run.bytes;
        // The very first token of a run is none.
        let first = usize::from(self.tokens[0].dist == 0).min(used);
        let look = !progress.opened || progress.batches.is_multiple_of(SAMPLED) || progress.is_unusual();
        if look {
            let mut sample = Counts::ZERO;
            count(text, progress.written, &self.tokens[first..used], &mut sample);
            sample.litlen[END] += 1;
            self.counts = self.counts.with(&sample);
            self.trained = true;
            self.renew_block(progress, &sample);
        }
        let before = (progress.writer.position(), progress.written);
        let tokens = &self.tokens[first..used];
        progress.written =
            emit(self.level, text, progress.written, tokens, &self.tables, &mut progress.writer);
        progress.look(before);
        progress.batches += 1;
        self.tokens[0] = self.tokens[used];
    }

    /// Begins a block with new codes when there is none, or when they would have made the sample so much shorter that the
    /// codes' own cost comes back within a few batches.
    fn renew_block(&mut self, progress: &mut Progress<'_, '_>, sample: &Counts) {
        if progress.opened {
            let renewed = Tables::new(&self.counts);
            if self.tables.cost(sample) < renewed.cost(sample) + RENEWAL_BITS {
                return;
            }
            self.tables.close_block(&mut progress.writer);
            self.tables = renewed;
        } else {
            self.tables.rebuild(&self.counts);
        }
        self.tables.open_block(&mut progress.writer);
        progress.writer.reserve(room(progress.run.bytes.len() - progress.written));
        progress.opened = true;
        progress.usual = 0;
    }
}

impl Progress<'_, '_> {
    /// Notes what a batch took.
    fn look(&mut self, (bits, bytes): (u64, usize)) {
        self.last = (self.writer.position() - bits, self.written - bytes);
        if self.usual == 0 && self.last.1 > 0 {
            self.usual = self.last.0 * 1024 / self.last.1 as u64;
        }
    }

    /// Whether the last batch took an eighth more bits than the block's first.
    fn is_unusual(&self) -> bool {
        let (bits, bytes) = self.last;
        bits * 1024 > (self.usual + self.usual / 8) * bytes as u64
    }
}

/// Where the last value of a record ends.
fn value_end(run: &Run<'_>, record: usize) -> usize {
    match run.fields_of(record..record + 1).last() {
        Some(value) => (value.end - run.base) as usize,
        None => run.bytes_of(record + 1),
    }
}

/// Stored blocks, and the end of every body.
fn store(text: &[u8], out: &mut Vec<u8>) {
    for block in text.chunks(STORED_BYTES_MAX) {
        let len = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Tokens with the machine's vectors.
    use super::super::compare::{Avx2, Avx512};
    use super::{Range, Run, SegmentEncoder};

    /// # Safety
    /// As [`SegmentEncoder::tokenize`], and the machine has AVX2.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) unsafe fn tokenize_avx2(
        encoder: &mut SegmentEncoder,
        run: &Run<'_>,
        records: Range<usize>,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe { encoder.tokenize(Avx2, run, records) }
    }

    /// # Safety
    /// As [`SegmentEncoder::tokenize`], and the machine has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) unsafe fn tokenize_avx512(
        encoder: &mut SegmentEncoder,
        run: &Run<'_>,
        records: Range<usize>,
    ) -> usize {
        // SAFETY: the caller's.
        unsafe { encoder.tokenize(Avx512, run, records) }
    }
}

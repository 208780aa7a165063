//! Segment: one run as raw DEFLATE blocks.
//!
//! Promises: refers to nothing before the run; ends as every body does (one empty stored block, BFINAL=0, on a byte);
//! never longer than the run stored. What was learnt of earlier runs of a form makes the codes better, never the
//! content different.
//! Must not know: containers, other encoders.
#![allow(unsafe_code)]
use super::bits::BitWriter;
use super::compare::{Compare, Safe, Words};
use super::emit::{count, emit, literals};
use super::learned::Learned;
use super::tables::{Counts, END};
use super::tokens::{HEAD, Lanes, MARGIN, Token, Tokenizer};
use crate::codec::Run;
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

/// Encodes runs whose fields are known; what it learns of them is kept by its caller.
pub(super) struct SegmentEncoder {
    level: Simd,
    effort: Effort,
    tokenizer: Tokenizer,
    tokens: Vec<Token>,
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
    learned: &'a mut Learned,
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
        SegmentEncoder { level, effort, tokenizer: Tokenizer::new(), tokens: Vec::new() }
    }

    /// Appends the body of a run whose fields are known, and learns of it.
    pub(super) fn encode(&mut self, learned: &mut Learned, run: &Run<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let text = run.bytes;
        self.tokenizer.begin();
        let writer = BitWriter::new(out, room(text.len()));
        let usual = learned.begin(text.len());
        let mut progress =
            Progress { run, learned, writer, written: 0, opened: false, batches: 0, last: (0, 0), usual };
        self.batches(&mut progress);
        let Progress { learned, mut writer, written, opened, .. } = progress;
        if !opened {
            learned.tables.open_block(&mut writer);
            writer.reserve(room(text.len()));
        }
        let open = self.tokens.first().copied().unwrap_or_default();
        let open: &[Token] = if open.dist == 0 || open.end as usize <= written { &[] } else { &[open] };
        let written = emit(self.level, text, written, open, &learned.tables, &mut writer);
        literals(text, written, &learned.tables, &mut writer);
        learned.tables.close_block(&mut writer);
        writer.flush();
        let stored = text.len().div_ceil(STORED_BYTES_MAX) * STORED_COST;
        if out.len() - start > text.len() + stored {
            out.truncate(start);
            store(text, out);
        }
    }

    fn batches(&mut self, progress: &mut Progress<'_, '_>) {
        let mut from = 0;
        while from < progress.run.records() {
            let size = if progress.learned.is_trained() { BATCH_RECORDS } else { FIRST_RECORDS };
            let to = (from + size).min(progress.run.records());
            let lanes = progress.run.fields_of(from..to).len();
            if self.tokens.len() < lanes + 2 {
                self.tokens.resize(lanes + 2, Token::default());
            }
            if progress.batches == 0 {
                self.tokens[0] = Token::default();
            }
            let used = match self.level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level is only given where the machine has it.
                Simd::Avx512 => unsafe { x86::tokenize_avx512(self, progress.run, from..to) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Simd::Avx2 => unsafe { x86::tokenize_avx2(self, progress.run, from..to) },
                // SAFETY: every machine has words.
                _ => unsafe { self.tokenize(Words, progress.run, from..to) },
            };
            self.emit_batch(progress, used, to == progress.run.records());
            from = to;
        }
    }

    /// # Safety
    /// What `compare` demands of the machine is given.
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
        let safe_end = run.base as usize + run.bytes.len().saturating_sub(MARGIN);
        let mut used = 0;
        for record in records {
            let mut fields = Lanes::of(run.fields_of(record..record + 1));
            if fields.values.first().is_some_and(|value| value.end - run.base < HEAD) {
                let head = fields.split(|value| value.end - run.base < HEAD);
                used = self.without_margin(run, head, used);
            }
            let mut tail = Lanes::NONE;
            if fields.values.last().is_some_and(|value| value.end as usize > safe_end) {
                tail = fields;
                fields = tail.split(|value| value.end as usize <= safe_end);
            }
            while !fields.values.is_empty() {
                // How far back a lane looks is found out once a call. It matters where the run begins: the second record
                // lies no farther from the first one than that is long.
                let now =
                    if record < 2 { fields.take_one() } else { std::mem::replace(&mut fields, Lanes::NONE) };
                // SAFETY: the margins are kept; there is room for all lanes and one token more.
                used = unsafe {
                    self.tokenizer.record::<C, MORE>(
                        compare,
                        run.bytes,
                        now,
                        run.base,
                        &mut self.tokens,
                        used,
                    )
                };
            }
            if !tail.values.is_empty() {
                used = self.without_margin(run, tail, used);
            }
        }
        used
    }

    /// What lies so near to the text's start or end that vectors would reach beyond it.
    #[cold]
    #[inline(never)]
    fn without_margin(&mut self, run: &Run<'_>, lanes: Lanes<'_>, used: usize) -> usize {
        // SAFETY: `Safe` needs no margin.
        unsafe {
            self.tokenizer.record::<Safe, false>(Safe, run.bytes, lanes, run.base, &mut self.tokens, used)
        }
    }

    /// Emits all tokens before the open one, which becomes the first of the next batch.
    fn emit_batch(&mut self, progress: &mut Progress<'_, '_>, used: usize, last: bool) {
        let text = progress.run.bytes;
        // The very first token of a run is none.
        let first = usize::from(self.tokens[0].dist == 0).min(used);
        let tokens = &self.tokens[first..used];
        if progress.wants_look() {
            let mut sample = Counts::ZERO;
            count(text, progress.written, tokens, &mut sample);
            if last {
                // What a short run ends with may be all that it is.
                let open = &self.tokens[used..=used];
                let open = if open[0].dist == 0 { &[] } else { open };
                let from = tokens.last().map_or(progress.written, |token| token.end as usize);
                count(text, from, open, &mut sample);
                let from = open.last().map_or(from, |token| token.end as usize);
                text[from..].iter().for_each(|&byte| sample.literal(byte));
            }
            sample.litlen[END] += 1;
            progress.look(&sample);
        }
        if !progress.opened {
            progress.open_block();
        }
        let before = (progress.writer.position(), progress.written);
        let tables = &progress.learned.tables;
        progress.written = emit(self.level, text, progress.written, tokens, tables, &mut progress.writer);
        progress.note(before);
        progress.batches += 1;
        self.tokens[0] = self.tokens[used];
    }
}

impl Progress<'_, '_> {
    fn wants_look(&self) -> bool {
        match self.batches {
            0 => self.learned.wants_sample(self.run.bytes.len()),
            batches => batches.is_multiple_of(SAMPLED) || self.is_unusual(),
        }
    }

    /// Learns of a sample, and begins a block with new codes when they would have made it so much shorter that what they
    /// cost comes back within a few batches.
    fn look(&mut self, sample: &Counts) {
        if !self.opened {
            if self.learned.take_first(self.run.bytes.len(), sample) {
                self.usual = 0;
            }
            return;
        }
        let learned = &mut *self.learned;
        learned.counts.fade(1);
        learned.counts.add(sample);
        learned.spare.rebuild(&learned.counts);
        if learned.tables.cost(sample) < learned.spare.cost(sample) + RENEWAL_BITS {
            return;
        }
        learned.tables.close_block(&mut self.writer);
        std::mem::swap(&mut learned.tables, &mut learned.spare);
        self.usual = 0;
        self.open_block();
    }

    fn open_block(&mut self) {
        self.learned.tables.open_block(&mut self.writer);
        self.writer.reserve(room(self.run.bytes.len() - self.written));
        self.opened = true;
    }

    /// Notes what a batch took.
    fn note(&mut self, (bits, bytes): (u64, usize)) {
        self.last = (self.writer.position() - bits, self.written - bytes);
        if self.usual == 0 && self.last.1 > 0 {
            self.usual = self.last.0 * 1024 / self.last.1 as u64;
        }
        if self.batches == 0 && self.last.1 > 0 {
            self.learned.note_first(self.last.0 * 1024 / self.last.1 as u64);
        }
    }
    /// Whether the last batch took an eighth more bits than the block's first.
    fn is_unusual(&self) -> bool {
        let (bits, bytes) = self.last;
        bits * 1024 > (self.usual + self.usual / 8) * bytes as u64
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

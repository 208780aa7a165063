//! Learned: the codes that suit the runs of one form, and when they are made anew.
//!
//! A long run is worth codes of its own. Short ones take those of the runs before them, which is an eighth of the work
//! for a few bytes: one in so many is counted, and every few hundred KiB codes are made of what was counted.
//! Promises: bounded memory; nothing is allocated once codes were made twice.
//! Must not know: texts, tokens.
use super::tables::{Counts, Tables};

/// A run of so many bytes gets codes of its own, and shorter ones have new codes after so many together.
const RENEWED_BYTES: usize = 256 * 1024;
/// One short run in so many is counted, once codes are no longer new.
const SAMPLED_RUNS: u32 = 16;
/// Until so many bytes were seen every run is counted.
const YOUNG_BYTES: usize = 64 * 1024;

/// What is learnt of one form's runs.
pub(super) struct Learned {
    /// The codes in use.
    pub(super) tables: Tables,
    /// Where others are made.
    pub(super) spare: Tables,
    pub(super) counts: Counts,
    /// Bytes of all runs, and how many of them there are when codes are made anew.
    seen: usize,
    renewal: usize,
    until_sample: u32,
    /// Bits a byte, times 1024, of runs' first batches.
    usual: u64,
}

impl Learned {
    pub(super) fn new() -> Learned {
        let (tables, spare, counts) = (Tables::new(&Counts::ZERO), Tables::new(&Counts::ZERO), Counts::ZERO);
        Learned { tables, spare, counts, seen: 0, renewal: 0, until_sample: 0, usual: 0 }
    }

    /// Whether codes were made of anything.
    pub(super) fn is_trained(&self) -> bool {
        self.renewal > 0
    }

    /// A run of `bytes` begins: the bits a byte, times 1024, that its first batch is expected to take; 0: not known.
    pub(super) fn begin(&mut self, bytes: usize) -> u64 {
        self.seen = self.seen.saturating_add(bytes);
        self.until_sample = self.until_sample.saturating_sub(1);
        self.usual
    }

    /// Whether the first batch of a run of `bytes` is to be counted.
    pub(super) fn wants_sample(&self, bytes: usize) -> bool {
        let due = bytes >= RENEWED_BYTES || self.seen >= self.renewal;
        due || self.until_sample == 0 || self.seen < YOUNG_BYTES
    }

    /// Takes the first batch of a run of `bytes`; answers whether there are new codes.
    pub(super) fn take_first(&mut self, bytes: usize, sample: &Counts) -> bool {
        self.until_sample = SAMPLED_RUNS;
        if bytes >= RENEWED_BYTES {
            self.counts.fade(1);
        }
        self.counts.add(sample);
        if bytes < RENEWED_BYTES && self.seen < self.renewal {
            return false;
        }
        self.tables.rebuild(&self.counts);
        if bytes < RENEWED_BYTES {
            // One short run says little of others.
            self.counts.fade(3);
        }
        // Codes of little are soon made anew.
        self.renewal = self.seen.saturating_add(self.seen.min(RENEWED_BYTES));
        true
    }

    /// Notes what a run's first batch took.
    pub(super) fn note_first(&mut self, bits: u64) {
        self.usual = if self.usual == 0 { bits } else { (7 * self.usual + bits) / 8 };
    }
}

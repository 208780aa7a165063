//! Room: what still fits into a job's open batch, shared by all shards without a lock.
//!
//! A shard that closes a slab takes room for as many of its records as fit; what does not fit goes into the next
//! batch. So a batch is only left behind full, or because the next record would not have fitted (RULINGS 5), and
//! no batch ever holds more than its limits (INTERFACE 4).
//!
//! Promises: every record belongs to exactly one batch number; the sums taken from one batch number never exceed
//! the limits, but for one single record that alone is larger than the byte limit.
//! Must not know: what a batch becomes.
use crate::codec::Run;
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use std::sync::atomic::{AtomicU64, Ordering};

/// Limits of a batch: ceilings of records and of uncompressed record bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// 1..=10,000,000.
    pub records: u32,
    /// 1..=1,000,000,000.
    pub bytes: u32,
}

/// Which of a job's batches, counted by its room; 10 bits, wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNo(pub u16);

impl BatchNo {
    /// Whether `self` comes before `other`, in a window of 511 batches.
    pub fn before(self, other: BatchNo) -> bool {
        let ahead = other.0.wrapping_sub(self.0) & 0x3ff;
        ahead != 0 && ahead < 512
    }
    fn next(self) -> BatchNo {
        BatchNo((self.0 + 1) & 0x3ff)
    }
}

/// What was taken: the first `records` records of the slab go into batch `batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The batch they belong to.
    pub batch: BatchNo,
    /// How many of the slab's records, ≥ 1.
    pub records: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    batch: BatchNo,
    records: u32,
    bytes: u32,
}

impl State {
    fn pack(self) -> u64 {
        u64::from(self.batch.0) << 54 | u64::from(self.records) << 30 | u64::from(self.bytes)
    }
    fn unpack(word: u64) -> State {
        State {
            batch: BatchNo((word >> 54) as u16),
            records: (word >> 30) as u32 & 0xff_ffff,
            bytes: word as u32 & 0x3fff_ffff,
        }
    }
}

/// The remaining room of one job's open batch.
#[derive(Debug)]
pub struct Room {
    limits: BatchLimits,
    word: AtomicU64,
}

impl Room {
    /// Room for a batch that already holds `records` and `bytes` (after a restart; else 0).
    pub fn new(limits: BatchLimits, records: u32, bytes: u32) -> Room {
        assert!((1..=BATCH_RECORDS_MAX).contains(&limits.records), "batch records {}", limits.records);
        assert!((1..=BATCH_BYTES_MAX).contains(&limits.bytes), "batch bytes {}", limits.bytes);
        let state = State {
            batch: BatchNo(0),
            records: limits.records.saturating_sub(records),
            bytes: limits.bytes.saturating_sub(bytes),
        };
        Room { limits, word: AtomicU64::new(state.pack()) }
    }

    /// The limits.
    pub fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// The batch that is being filled. All batches before it take nothing any more.
    pub fn batch(&self) -> BatchNo {
        State::unpack(self.word.load(Ordering::Acquire)).batch
    }

    /// Takes room for the longest prefix of a run that fits; cut it there with [`Run::split_at`] and come again with
    /// the rest. Panics on an empty run.
    pub fn take(&self, run: &Run<'_>) -> Taken {
        assert!(!run.is_empty(), "room was asked for no records");
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (next, taken) = self.split(State::unpack(word), run);
            match self.word.compare_exchange_weak(word, next.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return taken,
                Err(now) => word = now,
            }
        }
    }

    /// Leaves the open batch behind, whichever it is, and begins the next one.
    pub fn close(&self) {
        while !self.close_batch(self.batch()) {}
    }

    /// Leaves `batch` behind (its interval ended) and begins the next one; false when it is not the open one any more,
    /// for a shard may have filled it in the meantime, and the one after it is not to be cut short.
    pub fn close_batch(&self, batch: BatchNo) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        while State::unpack(word).batch == batch {
            let next = self.fresh(batch.next());
            match self.word.compare_exchange_weak(word, next.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    fn fresh(&self, batch: BatchNo) -> State {
        State { batch, records: self.limits.records, bytes: self.limits.bytes }
    }

    fn split(&self, mut state: State, run: &Run<'_>) -> (State, Taken) {
        let mut fits = prefix(&state, run);
        if fits == 0 && state != self.fresh(state.batch) {
            state = self.fresh(state.batch.next());
            fits = prefix(&state, run);
        }
        let batch = state.batch;
        if fits == 0 {
            // One record larger than the byte limit: a batch alone (INTERFACE 4).
            return (self.fresh(batch.next()), Taken { batch, records: 1 });
        }
        state.records -= fits as u32;
        state.bytes -= run.bytes_of(fits) as u32;
        if state.records == 0 || state.bytes == 0 {
            state = self.fresh(batch.next());
        }
        (state, Taken { batch, records: fits })
    }
}

/// How many of the run's first records fit.
fn prefix(state: &State, run: &Run<'_>) -> usize {
    run.ends.partition_point(|&end| end - run.base <= state.bytes).min(state.records as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(records: u32, bytes: u32) -> Room {
        Room::new(BatchLimits { records, bytes }, 0, 0)
    }

    fn take(room: &Room, ends: &[u32]) -> Taken {
        room.take(&Run::new(&vec![0; ends[ends.len() - 1] as usize], ends))
    }

    #[test]
    fn a_slab_is_cut_where_a_limit_falls() {
        let room = room(100, 25);
        assert_eq!(take(&room, &[10, 20, 30, 40]), Taken { batch: BatchNo(0), records: 2 });
        assert_eq!(take(&room, &[10, 20]), Taken { batch: BatchNo(1), records: 2 });
    }

    #[test]
    fn a_record_larger_than_the_limit_is_a_batch_alone() {
        let room = room(100, 25);
        assert_eq!(take(&room, &[10]), Taken { batch: BatchNo(0), records: 1 });
        assert_eq!(take(&room, &[30, 40]), Taken { batch: BatchNo(1), records: 1 });
        assert_eq!(take(&room, &[10]), Taken { batch: BatchNo(2), records: 1 });
    }

    #[test]
    fn the_record_limit_is_a_ceiling() {
        let room = room(3, 1000);
        assert_eq!(take(&room, &[1, 2, 3, 4]), Taken { batch: BatchNo(0), records: 3 });
        assert_eq!(room.batch(), BatchNo(1));
    }

    #[test]
    fn numbers_wrap() {
        assert!(BatchNo(1023).before(BatchNo(0)));
        assert!(!BatchNo(0).before(BatchNo(1023)));
        assert!(!BatchNo(5).before(BatchNo(5)));
    }
}

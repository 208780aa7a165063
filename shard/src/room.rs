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
    fn the_rest_of_a_cut_run_counts_from_its_own_start() {
        let room = room(100, 25);
        let bytes = [0; 60];
        let run = Run::new(&bytes, &[10, 20, 30, 40, 50, 60]);
        let (_, rest) = run.split_at(room.take(&run).records);
        assert_eq!((rest.records(), room.take(&rest)), (4, Taken { batch: BatchNo(1), records: 2 }));
    }

    #[test]
    fn only_the_batch_that_was_meant_is_closed() {
        let room = room(2, 1000);
        assert_eq!(take(&room, &[1, 2]).batch, BatchNo(0));
        assert!(!room.close_batch(BatchNo(0)), "a full batch was left behind already");
        assert_eq!(take(&room, &[1]).batch, BatchNo(1));
        assert!(room.close_batch(BatchNo(1)));
        assert_eq!(take(&room, &[1, 2]), Taken { batch: BatchNo(2), records: 2 });
        room.close();
        assert_eq!(room.batch(), BatchNo(4));
    }

    #[test]
    fn a_restarted_batch_takes_what_is_left() {
        let room = Room::new(BatchLimits { records: 10, bytes: 100 }, 8, 50);
        assert_eq!(take(&room, &[1, 2, 3]), Taken { batch: BatchNo(0), records: 2 });
        let room = Room::new(BatchLimits { records: 10, bytes: 100 }, 10, 50);
        assert_eq!(take(&room, &[1]), Taken { batch: BatchNo(1), records: 1 });
    }

    /// All states of small limits × all runs of up to four small records.
    #[test]
    fn every_small_split_keeps_the_limits() {
        let sizes = (1..=4).flat_map(|len| (0..7u32.pow(len)).map(move |word| (len, word)));
        let runs: Vec<Vec<u32>> =
            sizes.map(|(len, word)| (0..len).map(|i| word / 7u32.pow(i) % 7 + 1).collect()).collect();
        for (records, bytes) in (1..=4).flat_map(|records| (1..=8).map(move |bytes| (records, bytes))) {
            let room = room(records, bytes);
            for (left_records, left_bytes) in (0..=records).flat_map(|r| (0..=bytes).map(move |b| (r, b))) {
                let state = State { batch: BatchNo(1023), records: left_records, bytes: left_bytes };
                runs.iter().for_each(|sizes| check_split(&room, state, sizes));
            }
        }
    }

    fn check_split(room: &Room, state: State, sizes: &[u32]) {
        let ends: Vec<u32> =
            sizes.iter().scan(0, |end, size| Some(*end + size).inspect(|now| *end = *now)).collect();
        let bytes = [0; 28];
        let run = Run::new(&bytes[..ends[ends.len() - 1] as usize], &ends);
        let (next, taken) = room.split(state, &run);
        let case = (room.limits(), state, sizes, next, taken);
        let (count, sum) = (taken.records as u32, ends[taken.records - 1]);
        let stays = taken.batch == state.batch;
        let had = if stays { state } else { room.fresh(state.batch.next()) };
        assert_eq!(taken.batch, had.batch, "{case:?}");
        // The ceilings hold, but for one larger record, which is alone.
        let alone = count == 1 && sum > room.limits.bytes && had == room.fresh(had.batch);
        assert!(alone || (count <= had.records && sum <= had.bytes), "{case:?}");
        // A batch is left behind only when the next record does not fit.
        let fits = |state: State, size: u32| state.records > 0 && size <= state.bytes;
        assert!(stays || !fits(state, sizes[0]), "{case:?}");
        assert!(
            stays || state != room.fresh(state.batch),
            "a batch without records was left behind: {case:?}"
        );
        let left =
            State { records: had.records.saturating_sub(count), bytes: had.bytes.saturating_sub(sum), ..had };
        assert!(alone || taken.records == sizes.len() || !fits(left, sizes[taken.records]), "{case:?}");
        // What is left is passed on, or the batch is full and the next one is whole.
        let full = left.records == 0 || left.bytes == 0;
        assert_eq!(next, if full { room.fresh(had.batch.next()) } else { left }, "{case:?}");
        assert_eq!(State::unpack(next.pack()), next);
    }

    #[test]
    fn numbers_wrap() {
        assert!(BatchNo(1023).before(BatchNo(0)));
        assert!(!BatchNo(0).before(BatchNo(1023)));
        assert!(!BatchNo(5).before(BatchNo(5)));
    }
}

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

/// Which of a job's batches, counted by its room; wraps. As many bits as the limits leave free, aligned to the top, so
/// that the arithmetic of `u32` wraps where the number does. Limits that leave few bits are those of large batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNo(pub u32);

impl BatchNo {
    /// Whether `self` comes before `other`, within half of the numbers.
    pub fn before(self, other: BatchNo) -> bool {
        (other.0.wrapping_sub(self.0) as i32) > 0
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

/// Where the three numbers lie in the word: number, records, bytes from the top.
#[derive(Clone, Copy, Debug)]
struct Layout {
    number_bits: u32,
    records_bits: u32,
    bytes_bits: u32,
}

impl Layout {
    fn new(limits: BatchLimits) -> Layout {
        let records_bits = 32 - limits.records.leading_zeros();
        let bytes_bits = 32 - limits.bytes.leading_zeros();
        Layout { number_bits: (64 - records_bits - bytes_bits).min(32), records_bits, bytes_bits }
    }
    fn next(self, batch: BatchNo) -> BatchNo {
        BatchNo(batch.0.wrapping_add(1 << (32 - self.number_bits)))
    }
    fn pack(self, state: State) -> u64 {
        let number = u64::from(state.batch.0 >> (32 - self.number_bits));
        (number << self.records_bits | u64::from(state.records)) << self.bytes_bits | u64::from(state.bytes)
    }
    fn unpack(self, word: u64) -> State {
        let low = |bits: u32, shift: u32| (word >> shift) as u32 & (u32::MAX >> (32 - bits));
        let number = low(self.number_bits, self.records_bits + self.bytes_bits);
        State {
            batch: BatchNo(number << (32 - self.number_bits)),
            records: low(self.records_bits, self.bytes_bits),
            bytes: low(self.bytes_bits, 0),
        }
    }
}

/// The remaining room of one job's open batch.
#[derive(Debug)]
pub struct Room {
    limits: BatchLimits,
    layout: Layout,
    word: AtomicU64,
}

impl Room {
    /// Room for a batch that already holds `records` and `bytes` (after a restart; else 0).
    pub fn new(limits: BatchLimits, records: u32, bytes: u32) -> Room {
        assert!((1..=BATCH_RECORDS_MAX).contains(&limits.records), "batch records {}", limits.records);
        assert!((1..=BATCH_BYTES_MAX).contains(&limits.bytes), "batch bytes {}", limits.bytes);
        let layout = Layout::new(limits);
        let state = State {
            batch: BatchNo(0),
            records: limits.records.saturating_sub(records),
            bytes: limits.bytes.saturating_sub(bytes),
        };
        Room { limits, layout, word: AtomicU64::new(layout.pack(state)) }
    }

    /// The limits.
    pub fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// The batch that is being filled. All batches before it take nothing any more.
    pub fn batch(&self) -> BatchNo {
        self.layout.unpack(self.word.load(Ordering::Acquire)).batch
    }

    /// Takes room for the longest prefix of a run that fits; cut it there with [`Run::split_at`] and come again with
    /// the rest. Panics on an empty run.
    pub fn take(&self, run: &Run<'_>) -> Taken {
        assert!(!run.is_empty(), "room was asked for no records");
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (next, taken) = self.split(self.layout.unpack(word), run);
            match self.word.compare_exchange_weak(
                word,
                self.layout.pack(next),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return taken,
                Err(now) => word = now,
            }
        }
    }

    /// Leaves `batch` behind (its interval ended), if it is still the one being filled, and begins the next one.
    /// Answers whether it was.
    pub fn close(&self, batch: BatchNo) -> bool {
        self.update(|state| (state.batch == batch).then(|| self.fresh(self.layout.next(batch)))).is_some()
    }

    /// Takes room in the batch being filled for a segment whose own batch was closed before it arrived. `None`: it
    /// does not fit.
    pub fn charge(&self, records: u32, bytes: u32) -> Option<BatchNo> {
        self.update(|state| {
            let records = state.records.checked_sub(records).filter(|&left| left > 0)?;
            let bytes = state.bytes.checked_sub(bytes).filter(|&left| left > 0)?;
            Some(State { batch: state.batch, records, bytes })
        })
        .map(|state| state.batch)
    }

    /// Replaces the state by what `change` makes of it; answers with the new state.
    fn update(&self, change: impl Fn(State) -> Option<State>) -> Option<State> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let next = change(self.layout.unpack(word))?;
            match self.word.compare_exchange_weak(
                word,
                self.layout.pack(next),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(next),
                Err(now) => word = now,
            }
        }
    }

    fn fresh(&self, batch: BatchNo) -> State {
        State { batch, records: self.limits.records, bytes: self.limits.bytes }
    }

    fn split(&self, mut state: State, run: &Run<'_>) -> (State, Taken) {
        let mut fits = prefix(&state, run);
        if fits == 0 && state != self.fresh(state.batch) {
            state = self.fresh(self.layout.next(state.batch));
            fits = prefix(&state, run);
        }
        let batch = state.batch;
        if fits == 0 {
            // One record larger than the byte limit: a batch alone (INTERFACE 4).
            return (self.fresh(self.layout.next(batch)), Taken { batch, records: 1 });
        }
        state.records -= fits as u32;
        state.bytes -= run.bytes_of(fits) as u32;
        if state.records == 0 || state.bytes == 0 {
            state = self.fresh(self.layout.next(batch));
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

    /// The `n`th number of a room.
    fn no(room: &Room, n: u32) -> BatchNo {
        (0..n).fold(BatchNo(0), |at, _| room.layout.next(at))
    }

    #[test]
    fn a_slab_is_cut_where_a_limit_falls() {
        let room = room(100, 25);
        assert_eq!(take(&room, &[10, 20, 30, 40]), Taken { batch: BatchNo(0), records: 2 });
        assert_eq!(take(&room, &[10, 20]), Taken { batch: no(&room, 1), records: 2 });
    }

    #[test]
    fn a_record_larger_than_the_limit_is_a_batch_alone() {
        let room = room(100, 25);
        assert_eq!(take(&room, &[10]), Taken { batch: BatchNo(0), records: 1 });
        assert_eq!(take(&room, &[30, 40]), Taken { batch: no(&room, 1), records: 1 });
        assert_eq!(take(&room, &[10]), Taken { batch: no(&room, 2), records: 1 });
    }

    #[test]
    fn the_record_limit_is_a_ceiling() {
        let room = room(3, 1000);
        assert_eq!(take(&room, &[1, 2, 3, 4]), Taken { batch: BatchNo(0), records: 3 });
        assert_eq!(room.batch(), no(&room, 1));
    }

    #[test]
    fn the_rest_of_a_cut_run_counts_from_its_own_start() {
        let room = room(100, 25);
        let bytes = [0; 60];
        let run = Run::new(&bytes, &[10, 20, 30, 40, 50, 60]);
        let (_, rest) = run.split_at(room.take(&run).records);
        assert_eq!((rest.records(), room.take(&rest)), (4, Taken { batch: no(&room, 1), records: 2 }));
    }

    #[test]
    fn only_the_batch_that_was_meant_is_closed() {
        let room = room(2, 1000);
        assert_eq!(take(&room, &[1, 2]).batch, BatchNo(0));
        assert!(!room.close(BatchNo(0)), "a full batch was left behind already");
        assert_eq!(take(&room, &[1]).batch, no(&room, 1));
        assert!(room.close(no(&room, 1)));
        assert_eq!(take(&room, &[1, 2]), Taken { batch: no(&room, 2), records: 2 });
        assert_eq!(room.batch(), no(&room, 3));
    }

    #[test]
    fn a_restarted_batch_takes_what_is_left() {
        let room = Room::new(BatchLimits { records: 10, bytes: 100 }, 8, 50);
        assert_eq!(take(&room, &[1, 2, 3]), Taken { batch: BatchNo(0), records: 2 });
        let room = Room::new(BatchLimits { records: 10, bytes: 100 }, 10, 50);
        assert_eq!(take(&room, &[1]), Taken { batch: no(&room, 1), records: 1 });
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
                let state = State { batch: no(&room, 1023), records: left_records, bytes: left_bytes };
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
        let had = if stays { state } else { room.fresh(room.layout.next(state.batch)) };
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
        assert_eq!(next, if full { room.fresh(room.layout.next(had.batch)) } else { left }, "{case:?}");
        assert_eq!(room.layout.unpack(room.layout.pack(next)), next);
    }

    #[test]
    fn numbers_wrap() {
        let room = room(BATCH_RECORDS_MAX, BATCH_BYTES_MAX);
        let first = room.batch();
        for _ in 0..1023 {
            room.close(room.batch());
        }
        assert!(room.batch().before(first) && !first.before(room.batch()));
        room.close(room.batch());
        assert_eq!(room.batch(), first);
    }

    #[test]
    fn a_late_segment_is_charged_if_it_fits() {
        let room = room(100, 50);
        room.close(room.batch());
        assert_eq!(room.charge(1, 20), Some(no(&room, 1)));
        assert_eq!(room.charge(1, 40), None);
        assert_eq!(take(&room, &[20, 40]), Taken { batch: no(&room, 1), records: 1 });
    }
}

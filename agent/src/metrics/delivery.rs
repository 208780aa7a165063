//! What the delivery plane counts: batches, uploads, the spool. Few times a second, so plain shared atomics do.
//!
//! Promises: any thread of the delivery plane may count; nothing here waits but [`JobCounters::uploaded`], for another
//! count of the same job.
//! Must not know: names, labels, how numbers are shown.
use super::table::{Samples, Value};
use crate::destination::{Status, Verdict};
use crate::protocol::Fate;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is told of a batch: a destination's answer or its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum BatchVerdict {
    /// The destination has it.
    Delivered,
    /// To be tried again.
    Retry,
    /// The job holds.
    Hold,
    /// This batch is refused.
    Refused,
    /// To be split.
    TooLarge,
    /// Some records of it are to be sent again, or refused.
    Partly,
    /// Held aside for good.
    Aside,
    /// Dropped by a declared policy or bound.
    Dropped,
}

impl BatchVerdict {
    /// All of them, by their number.
    pub const ALL: [BatchVerdict; 8] = [
        BatchVerdict::Delivered,
        BatchVerdict::Retry,
        BatchVerdict::Hold,
        BatchVerdict::Refused,
        BatchVerdict::TooLarge,
        BatchVerdict::Partly,
        BatchVerdict::Aside,
        BatchVerdict::Dropped,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            BatchVerdict::Delivered => "delivered",
            BatchVerdict::Retry => "retry",
            BatchVerdict::Hold => "hold",
            BatchVerdict::Refused => "refused",
            BatchVerdict::TooLarge => "too_large",
            BatchVerdict::Partly => "partly",
            BatchVerdict::Aside => "aside",
            BatchVerdict::Dropped => "dropped",
        }
    }
}

impl From<&Verdict> for BatchVerdict {
    fn from(verdict: &Verdict) -> BatchVerdict {
        match verdict {
            Verdict::Delivered => BatchVerdict::Delivered,
            Verdict::Retry { .. } => BatchVerdict::Retry,
            Verdict::Hold { .. } => BatchVerdict::Hold,
            Verdict::Refused { .. } => BatchVerdict::Refused,
            Verdict::TooLarge { .. } => BatchVerdict::TooLarge,
            Verdict::Partly { .. } => BatchVerdict::Partly,
        }
    }
}

impl From<Fate> for BatchVerdict {
    fn from(fate: Fate) -> BatchVerdict {
        match fate {
            Fate::Delivered => BatchVerdict::Delivered,
            Fate::Aside => BatchVerdict::Aside,
            Fate::Dropped => BatchVerdict::Dropped,
        }
    }
}

/// Upper edges of the buckets of `edgepush_upload_seconds`.
pub static UPLOAD_EDGES: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Upper edges of the buckets of `edgepush_delivery_lag_seconds`: from the first record to the verdict.
pub static LAG_EDGES: [f64; 12] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 31.0, 45.0, 60.0, 300.0, 3600.0, 86_400.0];

/// A histogram with twelve edges and the rest.
#[derive(Debug)]
pub struct Histogram {
    edges: &'static [f64; 12],
    buckets: [AtomicU64; 13],
    sum_us: AtomicU64,
}

impl Histogram {
    fn new(edges: &'static [f64; 12]) -> Histogram {
        Histogram { edges, buckets: Default::default(), sum_us: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub fn observe(&self, value: Duration) {
        let seconds = value.as_secs_f64();
        let bucket = self.edges.iter().position(|edge| seconds <= *edge).unwrap_or(self.edges.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(value.as_micros() as u64, Relaxed);
    }

    pub(super) fn snapshot(&self) -> Observed {
        let edges = self.edges.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = edges.zip(self.buckets.iter().map(|b| b.load(Relaxed))).collect();
        Observed { sum: self.sum_us.load(Relaxed) as f64 / 1e6, buckets }
    }
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    /// Seconds.
    pub(super) sum: f64,
    /// Upper edge and count of each bucket.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Observed {
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    pub(super) fn add(&mut self, other: &Observed) {
        self.sum += other.sum;
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, more)| own.1 += more.1);
        }
    }
}

/// What is counted for one job.
#[derive(Debug)]
pub struct JobCounters {
    label: Mutex<Box<str>>,
    pub(super) matched: Arc<AtomicU64>,
    pub(super) delivered: AtomicU64,
    delivered_raw: AtomicU64,
    delivered_compressed: AtomicU64,
    pub(super) batches: [AtomicU64; BatchVerdict::ALL.len()],
    pub(super) raw: AtomicU64,
    pub(super) compressed: AtomicU64,
    pub(super) uploads: Mutex<BTreeMap<Status, u64>>,
    pub(super) upload_seconds: Histogram,
    pub(super) lag_seconds: Histogram,
    pub(super) spool_batches: AtomicU64,
}

impl JobCounters {
    pub(super) fn new(label: &str) -> JobCounters {
        JobCounters {
            label: Mutex::new(label.into()),
            matched: Arc::default(),
            delivered: AtomicU64::new(0),
            delivered_raw: AtomicU64::new(0),
            delivered_compressed: AtomicU64::new(0),
            batches: Default::default(),
            raw: AtomicU64::new(0),
            compressed: AtomicU64::new(0),
            uploads: Mutex::default(),
            upload_seconds: Histogram::new(&UPLOAD_EDGES),
            lag_seconds: Histogram::new(&LAG_EDGES),
            spool_batches: AtomicU64::new(0),
        }
    }

    /// From now on under this label.
    pub(super) fn relabel(&self, label: &str) {
        let mut own = self.label.lock().unwrap_or_else(PoisonError::into_inner);
        if **own != *label {
            *own = label.into();
        }
    }

    pub(super) fn label(&self) -> String {
        self.label.lock().unwrap_or_else(PoisonError::into_inner).to_string()
    }

    pub(super) fn uploads_by_status(&self) -> Samples {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.iter().map(|(status, n)| (vec![status.to_string()], Value::Number(*n))).collect()
    }

    /// Uploads that ended, by status.
    pub fn uploads(&self) -> Vec<(Status, u64)> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.iter().map(|(status, n)| (*status, *n)).collect()
    }
    /// Records that the job took: written by every shard.
    pub fn matched(&self) -> Arc<AtomicU64> {
        self.matched.clone()
    }
    /// Verdicts of one kind.
    pub fn batches(&self, verdict: BatchVerdict) -> u64 {
        self.batches[verdict as usize].load(Relaxed)
    }
    /// Bytes of delivered batches, before and after the codec.
    pub fn bytes_delivered(&self) -> (u64, u64) {
        (self.delivered_raw.load(Relaxed), self.delivered_compressed.load(Relaxed))
    }
    /// A batch with so many records, and bytes before and after the codec, is delivered, so long after its first record.
    pub fn delivered(&self, records: u64, (raw, compressed): (u64, u64), lag: Duration) {
        self.delivered.fetch_add(records, Relaxed);
        self.delivered_raw.fetch_add(raw, Relaxed);
        self.delivered_compressed.fetch_add(compressed, Relaxed);
        self.lag_seconds.observe(lag);
    }
    /// Records that are delivered.
    pub fn records_delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }
    /// A verdict on a batch.
    pub fn verdict(&self, verdict: impl Into<BatchVerdict>) {
        self.batches[verdict.into() as usize].fetch_add(1, Relaxed);
    }
    /// A batch is closed: its bytes before and after the codec.
    pub fn batch_bytes(&self, raw: u64, compressed: u64) {
        self.raw.fetch_add(raw, Relaxed);
        self.compressed.fetch_add(compressed, Relaxed);
    }
    /// One upload ended.
    pub fn uploaded(&self, status: Status, took: Duration) {
        *self.uploads.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
        self.upload_seconds.observe(took);
    }
    /// How many batches of the job are in the spool.
    pub fn spool_batches(&self, now: u64) {
        self.spool_batches.store(now, Relaxed);
    }
}

/// What is counted for all jobs together.
#[derive(Debug, Default)]
pub struct DeliveryCounters {
    pub(super) spool_bytes: AtomicU64,
    pub(super) spool_limit: AtomicU64,
    pub(super) backpressure: AtomicU64,
    pub(super) rejects_dropped: Arc<AtomicU64>,
    pub(super) records_refused: AtomicU64,
    pub(super) sets_refused: Arc<AtomicU64>,
    pub(super) archive_files: AtomicU64,
    pub(super) archive_open: AtomicU64,
    pub(super) archive_bytes: AtomicU64,
    pub(super) archive_removed: [AtomicU64; 3],
}

impl DeliveryCounters {
    /// Bytes that the spool holds, and may hold.
    pub fn spool(&self, bytes: u64, limit: u64) {
        self.spool_bytes.store(bytes, Relaxed);
        self.spool_limit.store(limit, Relaxed);
    }
    /// The readers are stopped since nothing has room, or run again.
    pub fn backpressure(&self, on: bool) {
        self.backpressure.store(u64::from(on), Relaxed);
    }
    /// How many sets of jobs are refused at present: written by who guards them.
    pub fn sets_refused(&self) -> Arc<AtomicU64> {
        self.sets_refused.clone()
    }
    /// The archive has published a file.
    pub fn archived(&self) {
        self.archive_files.fetch_add(1, Relaxed);
    }
    /// Files of the archive that are being filled.
    pub fn archive_open(&self, files: u64) {
        self.archive_open.store(files, Relaxed);
    }
    /// Retention has removed so many files (their days were over, for the bound, for the reserve); so much is left.
    pub fn archive_swept(&self, removed: [u64; 3], left_bytes: u64) {
        for (cell, files) in self.archive_removed.iter().zip(removed) {
            cell.fetch_add(files, Relaxed);
        }
        self.archive_bytes.store(left_bytes, Relaxed);
    }
    /// So many records were refused by destinations: they are rejects.
    pub fn records_refused(&self, records: u64) {
        self.records_refused.fetch_add(records, Relaxed);
    }
    /// The counter of reject files that went to keep their bound.
    pub fn rejects_dropped(&self) -> Arc<AtomicU64> {
        self.rejects_dropped.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_their_own_number() {
        for (i, verdict) in BatchVerdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, i);
        }
        assert_eq!(BatchVerdict::from(&Verdict::Hold { why: String::new() }).as_str(), "hold");
        assert_eq!(BatchVerdict::from(Fate::Aside).as_str(), "aside");
    }

    #[test]
    fn an_edge_belongs_to_its_bucket() {
        let histogram = Histogram::new(&UPLOAD_EDGES);
        for millis in [5, 6, 60_000, 60_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut seen = histogram.snapshot();
        let filled: Vec<_> = seen.buckets.iter().filter(|(_, n)| *n > 0).copied().collect();
        assert_eq!(filled, [(0.005, 1), (0.01, 1), (60.0, 1), (f64::INFINITY, 1)]);
        assert!((seen.sum - 120.012).abs() < 1e-9);
        seen.add(&histogram.snapshot());
        assert_eq!(seen.count(), 8);
    }
}

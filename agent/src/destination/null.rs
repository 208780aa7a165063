//! `null:`: acknowledges and counts; for measuring.
//!
//! Promises: every batch is delivered at once, and counted.
//! Must not know: who asks.
use super::{Answer, Boxed, Destination, Outgoing, Verdict};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Takes everything and keeps nothing.
#[derive(Debug, Default)]
pub struct NullDestination {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// What a [`NullDestination`] has been given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swallowed {
    /// Batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl NullDestination {
    /// What it has been given so far.
    pub fn swallowed(&self) -> Swallowed {
        let [batches, records, bytes] =
            [&self.batches, &self.records, &self.bytes].map(|count| count.load(Relaxed));
        Swallowed { batches, records, bytes }
    }
}

impl Destination for NullDestination {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        self.batches.fetch_add(1, Relaxed);
        self.records.fetch_add(batch.records, Relaxed);
        self.bytes.fetch_add(batch.len(), Relaxed);
        Box::pin(async { Verdict::Delivered.into() })
    }

    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn redacted(&self) -> &str {
        "null:"
    }
}

//! shown: what `/status` tells of files, published now and then by the thread that knows it.
//!
//! Promises: publishing never waits: what cannot be written at once is written the next time.
//! Must not know: HTTP.
use crate::status::SourceStatus;
use std::sync::{Mutex, PoisonError};

/// The last that was published.
#[derive(Debug, Default)]
pub(super) struct Shown {
    sources: Mutex<Vec<SourceStatus>>,
}

impl Shown {
    /// Every followed file.
    pub(super) fn publish_sources(&self, sources: impl FnOnce() -> Vec<SourceStatus>) {
        publish(&self.sources, sources);
    }

    pub(super) fn sources(&self) -> Vec<SourceStatus> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn publish<T>(to: &Mutex<Vec<T>>, what: impl FnOnce() -> Vec<T>) {
    if let Ok(mut shown) = to.try_lock() {
        *shown = what();
    }
}

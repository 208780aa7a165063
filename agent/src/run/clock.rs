//! The process's clock: monotonic time since the start, wall time that never goes backwards (INTERFACE 9).
use crate::protocol::Now;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One per process, shared by all threads.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    wall: AtomicI64,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        Clock { start: Instant::now(), wall: AtomicI64::new(0) }
    }

    /// The time of a step.
    pub fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let read = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        let before = self.wall.fetch_max(read, Ordering::Relaxed);
        Now { mono: self.start.elapsed(), wall: read.max(before) }
    }

    /// The instant of a monotonic time.
    pub fn instant(&self, mono: std::time::Duration) -> Instant {
        self.start + mono
    }
}

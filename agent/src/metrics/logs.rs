//! Counters of the Logs API.
//!
//! Promises: as all counters: counting never waits.
//! Must not know: names, labels, how numbers are shown.
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The answers that are told apart; any other counts as the last.
pub(super) const STATUSES: [u16; 15] =
    [200, 204, 206, 304, 400, 401, 403, 404, 405, 408, 412, 413, 416, 429, 500];

/// What the Logs API has done.
#[derive(Debug, Default)]
pub struct LogsCounters {
    lists: [AtomicU64; STATUSES.len()],
    downloads: [AtomicU64; STATUSES.len()],
    /// Bytes of files that were sent.
    pub bytes: AtomicU64,
    /// Downloads that are open.
    pub open: AtomicU64,
}

impl LogsCounters {
    /// A request was answered.
    pub fn answered(&self, list: bool, status: u16) {
        let at = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let counts = if list { &self.lists } else { &self.downloads };
        counts[at].fetch_add(1, Relaxed);
    }

    /// Requests by kind and status, those that there were.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        [("list", &self.lists), ("download", &self.downloads)].into_iter().flat_map(|(kind, counts)| {
            let of = move |(at, count): (usize, &AtomicU64)| (kind, STATUSES[at], count.load(Relaxed));
            counts.iter().enumerate().map(of).filter(|(_, _, count)| *count > 0)
        })
    }
}

//! Health: whether every shard is alive, and whether the agent is open for work. Neither depends on destinations.
//!
//! Promises: asking and telling never wait.
//! Must not know: HTTP.
use crate::metrics::ShardCounters;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A shard that has not ticked for so long is stuck.
pub const TICK_MAX: Duration = Duration::from_secs(10);

/// Whether the agent lives and is ready. Made when the shards are started.
pub struct Health {
    shards: Vec<Arc<ShardCounters>>,
    ledger: AtomicBool,
    sources: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    /// Nothing is open yet; `shards` tick through their counters.
    pub fn new(shards: &[Arc<ShardCounters>]) -> Arc<Health> {
        Arc::new(Health {
            shards: shards.to_vec(),
            ledger: AtomicBool::new(false),
            sources: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// The ledger is open.
    pub fn ledger_open(&self) {
        self.ledger.store(true, Ordering::Release);
    }
    /// The sources have been looked for once.
    pub fn sources_open(&self) {
        self.sources.store(true, Ordering::Release);
    }
    /// The agent was told to stop.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The shards that have not ticked within [`TICK_MAX`] before `now`.
    pub fn stuck(&self, now: Duration) -> Vec<usize> {
        let late = |shard: &Arc<ShardCounters>| now.saturating_sub(shard.ticked()) > TICK_MAX;
        self.shards.iter().enumerate().filter(|(_, shard)| late(shard)).map(|(i, _)| i).collect()
    }

    /// Why the agent is not ready; `None` = it is.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.stopping.load(Ordering::Acquire) {
            Some("stopping")
        } else if !self.ledger.load(Ordering::Acquire) {
            Some("the ledger is not open yet")
        } else if !self.sources.load(Ordering::Acquire) {
            Some("the sources are not open yet")
        } else {
            None
        }
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

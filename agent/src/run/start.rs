//! start: opens what must be open, makes the machines, starts the threads; and ends them in order.
//!
//! Promises: nothing is started before everything that an operator may have got wrong is checked; threads end in the
//! order in which they need one another: source, shards, delivery, ledger.
use super::clock::Clock;
use super::counters::Published;
use super::delivery::{Delivery, Ended, Ending};
use super::jobs::Jobs;
use super::shared::{Queues, Shared};
use super::{ledger, shard, tail};
use crate::batcher::{Batcher, BatcherSettings};
use crate::cli::Exit;
use crate::config::Config;
use crate::ledger::{Ledger, LedgerSettings, OsDisk, Recovered, Reserve, StateDir};
use crate::metrics::Metrics;
use crate::queue;
use crate::rt::{self, ShardSpec, ShardThread};
use crate::sender::{Sender, Uploads};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why the agent did not start.
#[derive(Debug)]
pub struct StartError {
    exit: Exit,
    text: String,
}

impl StartError {
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> StartError {
        StartError { exit, text: text.into() }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A running agent.
pub struct Running {
    shared: Shared,
    metrics: Arc<Metrics>,
    shards: Vec<ShardThread>,
    delivery: JoinHandle<()>,
    ledger: JoinHandle<()>,
    ended: Receiver<Ended>,
    _state: StateDir,
}

/// Asks a running agent to end.
#[derive(Clone)]
pub struct Stopper(Shared);

impl Stopper {
    /// Readers stop, what was read becomes durable, no upload begins.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Readers stop, what was read is delivered.
    pub fn drain(&self) {
        self.0.drain();
    }
}

impl Running {
    /// The handle that ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.shared.clone())
    }

    /// Its counters.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Waits until it has ended, watching its shards meanwhile.
    pub fn join(self) -> Ended {
        let mut watch = Watchdog::new(&self.shards);
        let ended = loop {
            match self.ended.recv_timeout(WATCH_EVERY) {
                Ok(ended) => break ended,
                Err(RecvTimeoutError::Timeout) => watch.look(&self.shards),
                Err(RecvTimeoutError::Disconnected) => panic!("the delivery thread has died"),
            }
        };
        crate::notify::stopping();
        self.shared.words.shards_end.store(true, Ordering::Release);
        self.shared.ring_shards();
        for thread in self.shards {
            if let Err(why) = thread.join() {
                panic!("a shard has died: {why}");
            }
        }
        self.shared.to_ledger.close();
        for (name, thread) in [("delivery", self.delivery), ("ledger", self.ledger)] {
            assert!(thread.join().is_ok(), "the {name} thread has died");
        }
        ended
    }
}

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// A shard that has not ticked for so long is dead: the supervisor must restart the agent.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Sees whether every shard still ticks.
struct Watchdog {
    ticks: Vec<u64>,
    still: Vec<Duration>,
}

impl Watchdog {
    fn new(shards: &[ShardThread]) -> Watchdog {
        Watchdog { ticks: vec![0; shards.len()], still: vec![Duration::ZERO; shards.len()] }
    }

    fn look(&mut self, shards: &[ShardThread]) {
        for (at, shard) in shards.iter().enumerate() {
            let ticks = shard.ticks();
            let stands = ticks == self.ticks[at];
            self.still[at] = if stands { self.still[at] + WATCH_EVERY } else { Duration::ZERO };
            self.ticks[at] = ticks;
            assert!(self.still[at] < DEAD_AFTER, "shard {at} has not ticked for {DEAD_AFTER:?}");
        }
        crate::notify::watchdog();
    }
}

//! What the threads of one agent share: queues, bells, and a few words that say stop or seal.
//!
//! Promises: nothing here is locked; every queue is bounded.
//! Must not know: what the machines decide.
use super::clock::Clock;
use super::shown::Shown;
use crate::archive::Leases;
use crate::ledger::{LedgerEvent, LedgerReply};
use crate::protocol::{GroupId, Scope, SourceId};
use crate::queue::{Bell, Queue};
use crate::shard_loop::{ReadyPlan, ShardPlan};
use crate::source::CatchUpEvent;
use edgepush_shard::chunk::Chunk;
use edgepush_shard::segment::FromShard;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the ledger thread is asked for.
pub enum ToLedger {
    /// An event of the machine.
    Event(LedgerEvent),
    /// A followed file, so that it can be synced before a commit names an offset in it.
    Attach(SourceId, Arc<File>),
    /// A followed file was closed.
    Detach(SourceId),
}

/// What the source hears.
pub enum ToSource {
    /// New files have their rows.
    Registered(Vec<(u64, SourceId, u64)>),
    /// Everything below these offsets is durable.
    Durable(Vec<(SourceId, u64)>),
    /// Something for the reader of parked groups.
    CatchUp(CatchUpEvent),
}

/// What the source says to the batcher.
pub enum FromSource {
    /// A followed file was renamed, unlinked, replaced or truncated.
    SealNow,
    /// A parked group has nothing left to read, and the live reader stands still.
    CaughtUp(GroupId),
    /// What each parked group has still to read, bytes.
    Behind(Vec<(GroupId, u64)>),
    /// Everything was read (`--once`) or reading has stopped, and every chunk is processed.
    Done {
        /// `--once`: everything that was there has been read.
        complete: bool,
    },
}

/// Words that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Words {
    /// What [`SealWord`] reads: the epoch that shards are asked to end; 0 = none yet.
    pub seal: AtomicU64,
    /// The agent is to stop: readers stop, what was read becomes durable, no upload begins.
    pub stop: AtomicBool,
    /// Readers stop; what was read is delivered.
    pub drain: AtomicBool,
    /// Readers stand still: too much is uncommitted.
    pub uncommitted_full: AtomicBool,
    /// Readers stand still: the spool is full, or the disk.
    pub spool_full: AtomicBool,
    /// Chunks that the source emitted.
    pub emitted: AtomicU64,
    /// Chunks that shards have processed.
    pub processed: AtomicU64,
    /// Of the emitted ones, those of feeds.
    pub feeds_emitted: AtomicU64,
    /// Of the processed ones, those of feeds.
    pub feeds_processed: AtomicU64,
    /// When the oldest line came that was received since feeds last asked for a seal: ms (monotonic) + 1; 0 = none.
    unsealed: AtomicU64,
    /// Shards whose feeds have not ended.
    pub feeds_open: AtomicU64,
    /// Shards end.
    pub shards_end: AtomicBool,
}

/// A seal that shards are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealWord {
    /// The epoch that ends.
    pub epoch: u64,
    /// Which slabs are closed.
    pub scope: Scope,
}

impl Words {
    /// Asks the shards for a seal.
    pub fn ask_seal(&self, seal: SealWord) {
        self.seal.store(seal.epoch << 1 | u64::from(seal.scope == Scope::All), Ordering::Release);
    }

    /// The seal that was asked for last.
    pub fn asked_seal(&self) -> SealWord {
        let word = self.seal.load(Ordering::Acquire);
        SealWord { epoch: word >> 1, scope: if word & 1 == 1 { Scope::All } else { Scope::Hot } }
    }

    /// Whether the readers must stand still (metric `edgepush_backpressure`).
    pub fn readers_stopped(&self) -> bool {
        self.uncommitted_full.load(Ordering::Relaxed) || self.spool_full.load(Ordering::Relaxed)
    }

    /// Whether nothing more is to be read.
    pub fn ending(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.drain.load(Ordering::Acquire)
    }

    /// A line of a feed that came at this time (monotonic) is on its way to a shard.
    pub fn note_unsealed(&self, at: Duration) {
        let word = at.as_millis() as u64 + 1;
        // Somebody's older line is asked for first.
        let _ = self.unsealed.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// When the oldest line of feeds came that waits for a seal.
    pub fn unsealed_since(&self) -> Option<Duration> {
        self.unsealed.load(Ordering::Acquire).checked_sub(1).map(Duration::from_millis)
    }

    /// Whoever gets `true` asks for the seal.
    pub fn take_unsealed(&self) -> bool {
        self.unsealed.swap(0, Ordering::AcqRel) != 0
    }

    /// Whether every chunk of feeds is processed.
    pub fn feeds_processed(&self) -> bool {
        self.feeds_processed.load(Ordering::Acquire) == self.feeds_emitted.load(Ordering::Acquire)
    }

    /// Whether no feed receives any more, and everything received is emitted.
    pub fn feeds_ended(&self) -> bool {
        self.feeds_open.load(Ordering::Acquire) == 0
    }

    /// Whether every chunk that was emitted is processed.
    pub fn all_processed(&self) -> bool {
        self.processed.load(Ordering::Acquire) == self.emitted.load(Ordering::Acquire)
    }
}

/// The queues and bells of one agent; cloned to every thread.
#[derive(Clone)]
pub struct Shared {
    /// Which archived files are being downloaded.
    pub leases: Leases,
    /// The clock.
    pub clock: Arc<Clock>,
    /// Words.
    pub words: Arc<Words>,
    /// What `/status` tells.
    pub(super) shown: Arc<Shown>,
    /// The jobs from a seal on: the epoch that it ends, and each shard's plan. Written before the seal is asked for.
    plan: Arc<Mutex<Option<(u64, ReadyPlans)>>>,
    /// Chunks, for whichever shard is free.
    pub chunks: Queue<Chunk>,
    /// Chunks of feeds, for whichever shard is free: taken before those of files, which can wait.
    pub arrivals: Queue<Chunk>,
    /// From each shard to the batcher: what one step has made, in order. Thousands of jobs make thousands of small
    /// messages a step, and to wait at the queue costs more than any of them.
    pub up: Arc<[Queue<Vec<FromShard>>]>,
    /// To the ledger thread.
    pub to_ledger: Queue<ToLedger>,
    /// From the ledger to the delivery thread.
    pub replies: Queue<LedgerReply>,
    /// From the ledger and the batcher to the source.
    pub to_source: Queue<ToSource>,
    /// From the source to the batcher.
    pub from_source: Queue<FromSource>,
    /// The shards' bells.
    pub shard_bells: Arc<[Bell]>,
    /// The delivery thread's bell.
    pub delivery_bell: Bell,
}

/// By shard, until it has taken its own.
type ReadyPlans = Vec<Option<Box<ReadyPlan>>>;

/// Chunks that wait for a shard, beside one per shard.
const CHUNKS_BESIDE: usize = 2;
/// Messages between threads; the protocol keeps far fewer outstanding.
const MESSAGES: usize = 256;
/// Steps of one shard whose messages wait for the batcher.
const STEPS: usize = 8;

impl Shared {
    /// Queues between `shard_bells`, the delivery thread and the ledger thread.
    pub fn new(shard_bells: Vec<Bell>, delivery: &Bell, ledger: &Bell, clock: Arc<Clock>) -> Shared {
        let source = &shard_bells[..1];
        let up = shard_bells
            .iter()
            .map(|b| Queue::new(STEPS, std::slice::from_ref(delivery), std::slice::from_ref(b)));
        Shared {
            leases: Leases::default(),
            clock,
            words: Arc::default(),
            shown: Arc::default(),
            plan: Arc::default(),
            chunks: Queue::new(shard_bells.len() + CHUNKS_BESIDE, &shard_bells, source),
            arrivals: Queue::new(shard_bells.len() + CHUNKS_BESIDE, &shard_bells, &shard_bells),
            up: up.collect(),
            to_ledger: Queue::new(
                MESSAGES,
                std::slice::from_ref(ledger),
                &[delivery.clone(), source[0].clone()],
            ),
            replies: Queue::new(MESSAGES, std::slice::from_ref(delivery), std::slice::from_ref(ledger)),
            to_source: Queue::new(MESSAGES, source, &[delivery.clone(), ledger.clone()]),
            from_source: Queue::new(MESSAGES, std::slice::from_ref(delivery), &shard_bells),
            delivery_bell: delivery.clone(),
            shard_bells: shard_bells.into(),
        }
    }

    /// From the seal of this epoch on, shards go by this plan.
    pub fn change_plan(&self, epoch: u64, plan: &Arc<ShardPlan>) {
        let ready = |_: &Bell| Some(Box::new(ReadyPlan::new(plan.clone())));
        let plans = self.shard_bells.iter().map(ready).collect();
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, plans));
    }

    /// The plan that a seal brings to a shard, once.
    pub fn plan_of(&self, seal: SealWord, shard: usize) -> Option<Box<ReadyPlan>> {
        let mut plans = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, plans) = plans.as_mut().filter(|(epoch, _)| *epoch == seal.epoch)?;
        plans[shard].take()
    }

    /// Wakes every shard after a word was written.
    pub fn ring_shards(&self) {
        self.shard_bells.iter().for_each(Bell::ring);
    }

    /// Ends reading; what was read is delivered.
    pub fn drain(&self) {
        self.words.drain.store(true, Ordering::Release);
        self.ring_shards();
    }

    /// Asks the agent to stop.
    pub fn stop(&self) {
        self.words.stop.store(true, Ordering::Release);
        self.ring_shards();
        self.delivery_bell.ring();
    }
}

/// Puts what it is given into a queue as there is room; never blocks. What waits here is bounded by the protocol.
pub struct Outbox<T> {
    queue: Queue<T>,
    waiting: std::collections::VecDeque<T>,
}

impl<T> Outbox<T> {
    /// An outbox for a queue.
    pub fn new(queue: Queue<T>) -> Outbox<T> {
        Outbox { queue, waiting: std::collections::VecDeque::new() }
    }

    /// Puts a value behind those that wait.
    pub fn put(&mut self, item: T) {
        self.waiting.push_back(item);
        self.flush();
    }

    /// Moves what there is room for.
    pub fn flush(&mut self) {
        while let Some(item) = self.waiting.pop_front() {
            if let Err(crate::queue::Refused::Full(item)) = self.queue.try_push(item) {
                self.waiting.push_front(item);
                return;
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether something waits that there is room for.
    pub fn can_flush(&self) -> bool {
        !self.waiting.is_empty() && self.queue.len() < self.queue.items_max()
    }
}

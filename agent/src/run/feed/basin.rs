//! Basin: what one shard has received of one feed, on its way into chunks.
//!
//! Promises: offsets of a feed are given once, whichever of its shards asks; a chunk is emitted only where there is room;
//! what waits here is bounded by whoever receives.
//! Must not know: how bytes come in.
use super::super::shared::Shared;
use crate::metrics::ShardCounters;
use crate::protocol::{Evidence, SourceId};
use crate::queue::Refused;
use crate::source::feed::{Collector, Piece, host};
use crate::status::SourceStatus;
use edgepush_shard::chunk::{Audience, Chunk};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What waits for a shard when the kernel must keep the rest, bytes: of datagrams, which are drained as long as they may.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// One feed, as all shards see it.
#[derive(Debug)]
pub(in crate::run) struct FeedWords {
    /// The label in metrics.
    pub(super) name: String,
    /// What the operator wrote: in rejects and messages.
    pub(super) path: Arc<str>,
    /// Number of the configured source.
    pub(super) origin: u16,
    pub(in crate::run) source: SourceId,
    pub(super) seed: u64,
    /// UDP: where it listens.
    pub(super) udp: Option<SocketAddr>,
    /// Where the next chunk begins: bytes received so far.
    pub(super) offset: AtomicU64,
    /// Everything before is durable.
    pub(in crate::run) durable: AtomicU64,
    /// Open connections.
    pub(super) connections: AtomicUsize,
    /// Why it cannot be read.
    pub(super) error: Mutex<Option<String>>,
}

impl FeedWords {
    /// For `/status`.
    pub(in crate::run) fn status(&self) -> SourceStatus {
        let read = self.offset.load(Ordering::Relaxed);
        SourceStatus {
            name: self.name.clone(),
            path: self.path.to_string(),
            read,
            durable: self.durable.load(Ordering::Relaxed),
            size: read,
            lag_bytes: 0,
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// What a shard has of one feed.
pub(super) struct Basin {
    pub(super) words: Arc<FeedWords>,
    pub(super) collector: Collector,
    shared: Shared,
    counters: Arc<ShardCounters>,
    /// A chunk that another shard was faster than.
    held: Option<Chunk>,
    /// The rest is emitted whether readers stand still or not.
    finishing: bool,
    drops: Option<Drops>,
    /// Connections of this shard.
    connections: u64,
}

/// Where a UDP socket's drops are found.
struct Drops {
    inode: u64,
    addr: SocketAddr,
    /// How many are counted.
    counted: u64,
    /// Messages came since the kernel was asked.
    asked: bool,
}

impl Basin {
    pub(super) fn new(words: Arc<FeedWords>, shared: Shared, counters: Arc<ShardCounters>) -> Basin {
        let collector = Collector::default();
        Basin {
            words,
            collector,
            shared,
            counters,
            held: None,
            finishing: false,
            drops: None,
            connections: 0,
        }
    }

    /// A connection came, or went.
    pub(super) fn count_connection(&mut self, came: bool) {
        self.connections = if came { self.connections + 1 } else { self.connections - 1 };
        self.counters.socket_connections(usize::from(self.words.origin), self.connections);
    }

    /// This socket's drops are counted.
    pub(super) fn watch_drops(&mut self, socket: &OwnedFd) {
        let inode = rustix::fs::fstat(socket).map(|stat| stat.st_ino);
        if let (Some(addr), Ok(inode)) = (self.words.udp, inode) {
            self.drops = Some(Drops { inode, addr, counted: 0, asked: true });
        }
    }

    /// Messages came; the kernel has said so many drops with them.
    pub(super) fn note_drops(&mut self, said: u32) {
        let Some(drops) = &mut self.drops else { return };
        drops.asked = false;
        self.count_drops(u64::from(said));
    }

    /// Whether messages came since the kernel was asked for its drops.
    pub(super) fn wants_drops(&self) -> bool {
        self.drops.as_ref().is_some_and(|drops| !drops.asked)
    }

    /// Asks for drops that no message has told: those after the last one.
    pub(super) fn ask_drops(&mut self) {
        let Some(drops) = self.drops.as_mut().filter(|drops| !drops.asked) else { return };
        drops.asked = true;
        if let Some(said) = host::udp_drops(&drops.addr, drops.inode) {
            self.count_drops(said);
        }
    }

    fn count_drops(&mut self, said: u64) {
        let Some(drops) = &mut self.drops else { return };
        let more = said.saturating_sub(drops.counted);
        drops.counted += more;
        self.counters.socket_dropped(usize::from(self.words.origin), more);
    }

    /// Cuts what is old. Answers when to come again.
    pub(super) fn cut_old(&mut self, now: Duration) -> Option<Duration> {
        self.collector.cut_old(now)
    }

    /// The feed has ended: everything is cut, and emitted even while readers stand still.
    pub(super) fn finish(&mut self) {
        self.collector.cut();
        self.finishing = true;
    }

    /// Whether streams may be read on.
    pub(super) fn has_room(&self) -> bool {
        self.held.is_none() && !self.collector.is_ready() && !self.shared.words.readers_stopped()
    }

    /// Whether datagrams may be taken from the kernel.
    pub(super) fn has_space(&self) -> bool {
        self.collector.waiting_bytes() < WAITING_BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none() && self.collector.is_empty()
    }

    /// Whether [`Basin::emit`] would emit.
    pub(super) fn can_emit(&self) -> bool {
        let room = self.shared.arrivals.len() < self.shared.arrivals.items_max();
        let stopped = self.shared.words.readers_stopped() && !self.finishing;
        room && !stopped && (self.held.is_some() || self.collector.is_ready())
    }

    /// Emits what there is room for.
    pub(super) fn emit(&mut self) {
        while self.can_emit() {
            let chunk = match self.held.take() {
                Some(chunk) => chunk,
                None => {
                    let Some((piece, at)) = self.collector.pop() else { return };
                    self.chunk(piece, at)
                }
            };
            match self.shared.arrivals.try_push(chunk) {
                Ok(()) => {}
                Err(Refused::Full(chunk) | Refused::Closed(chunk)) => self.held = Some(chunk),
            }
        }
    }

    fn chunk(&self, piece: Piece, at: Duration) -> Chunk {
        let words = &self.shared.words;
        words.emitted.fetch_add(1, Ordering::AcqRel);
        words.feeds_emitted.fetch_add(1, Ordering::AcqRel);
        words.note_unsealed(at);
        let start = self.words.offset.fetch_add(piece.length(), Ordering::AcqRel);
        let end = start + piece.length();
        Chunk {
            source: self.words.source,
            path: self.words.path.clone(),
            origin: self.words.origin,
            seed: self.words.seed,
            start,
            end,
            bytes: piece.bytes,
            head: self.collector.head(),
            kind: piece.kind,
            audience: Audience::ALL,
            evidence: Evidence { size_seen: end, ..Evidence::default() },
        }
    }
}

//! Drives the feeds of one shard: sockets and pipes, which cannot be read again.
//!
//! Promises: a datagram waits in the kernel only while its shard computes or has no room; streams and pipes are not read
//! while nothing has room; what was received is durable within `EDGEPUSH_SOCKET_SYNC`; at the end sockets are drained
//! once, and the shard's part says so when everything is with the shards.
//! Must not know: what lines mean, what becomes of chunks.
mod accept;
mod basin;
mod datagrams;
mod gate;
mod open;
mod pipes;
mod streams;

pub(super) use basin::FeedWords;
pub(super) use open::{Feeds, Registered};

use super::shared::{FromSource, Outbox, Shared};
use crate::metrics::ShardCounters;
use crate::queue::{LocalBell, Queue, Seat};
use crate::rt::Rt;
use accept::Connection;
use basin::Basin;
use gate::Gate;
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a UDP socket's drops are asked for while messages come.
const DROPS_EVERY: Duration = Duration::from_secs(1);

/// The feeds of one shard, on their way to it.
pub(super) struct ShardFeeds {
    inlets: Vec<(Arc<FeedWords>, ShardInlet)>,
    connected: Queue<Connection>,
    /// Whether connections may come.
    listens: bool,
    sync: Duration,
    line_max: usize,
    /// Every source is a pipe, and the end of the last one is the agent's.
    ends_agent: bool,
    counters: Arc<ShardCounters>,
}

/// What a shard reads.
enum ShardInlet {
    Datagrams {
        socket: OwnedFd,
        longest: usize,
    },
    Pipe {
        fd: OwnedFd,
        blocking: bool,
        named: bool,
        again: bool,
    },
    /// Connections of it come one by one.
    Streams,
}

/// What all tasks of a shard's feeds share.
#[derive(Clone)]
struct Site {
    rt: Rt,
    bell: LocalBell,
    shared: Shared,
    /// Closed once nothing more is to be read.
    gate: Gate,
    /// Tasks that still receive.
    open: Rc<Cell<usize>>,
    /// A line came that the keeper does not know of.
    poked: Rc<Cell<bool>>,
    line_max: usize,
}

impl Site {
    fn now(&self) -> Duration {
        self.shared.clock.now().mono
    }

    /// The keeper looks again.
    fn poke(&self) {
        self.poked.set(true);
        self.shared.shard_bells[self.rt.shard()].ring();
    }

    /// Starts a task that receives.
    fn receive(&self, task: impl Future<Output = ()> + 'static) {
        let site = self.clone();
        self.open.set(self.open.get() + 1);
        self.rt.spawn_local(async move {
            task.await;
            site.open.set(site.open.get() - 1);
            site.poke();
        });
    }

    /// Waits until a stream may be read on, or nothing more is to be read.
    async fn room(&self, basin: &RefCell<Basin>) {
        let look = || {
            let mut basin = basin.borrow_mut();
            basin.emit();
            (basin.has_room() || self.gate.is_closed()).then_some(())
        };
        self.bell.until(look).await;
    }
}

/// Whoever cuts what is old, asks for seals, and ends the shard's part.
struct Keeper {
    site: Site,
    basins: Vec<Rc<RefCell<Basin>>>,
    connected: Queue<Connection>,
    from_source: Outbox<FromSource>,
    sync: Duration,
    drops_at: Duration,
}

/// Runs until every feed has ended, or reading was ended.
pub(super) async fn drive(rt: Rt, bell: LocalBell, shared: Shared, feeds: ShardFeeds) {
    let site = Site {
        rt,
        bell,
        gate: Gate::default(),
        open: Rc::new(Cell::new(usize::from(feeds.listens))),
        poked: Rc::default(),
        line_max: feeds.line_max,
        shared,
    };
    let mut basins = Vec::new();
    for (words, inlet) in feeds.inlets {
        let basin = Basin::new(words, site.shared.clone(), feeds.counters.clone());
        let basin = Rc::new(RefCell::new(basin));
        basins.push(basin.clone());
        match inlet {
            ShardInlet::Datagrams { socket, longest } => {
                basin.borrow_mut().watch_drops(&socket);
                site.receive(datagrams::receive(site.clone(), basin, socket, longest));
            }
            ShardInlet::Pipe { fd, blocking: true, .. } => {
                site.receive(pipes::read_blocking(site.clone(), basin, fd));
            }
            ShardInlet::Pipe { fd, named, again, .. } => {
                site.receive(pipes::read(site.clone(), basin, fd, (named, again)));
            }
            ShardInlet::Streams => {}
        }
    }
    let from_source = Outbox::new(site.shared.from_source.clone());
    let drops_at = site.now();
    let (connected, sync) = (feeds.connected, feeds.sync);
    let mut keeper = Keeper { site, basins, connected, from_source, sync, drops_at };
    keeper.keep(feeds.listens).await;
    keeper.end(feeds.ends_agent).await;
}

impl Keeper {
    async fn keep(&mut self, listens: bool) {
        loop {
            self.site.poked.set(false);
            if self.site.shared.words.ending() && !self.site.gate.is_closed() {
                self.site.gate.close();
                // The thread that accepts has ended by itself.
                self.site.open.set(self.site.open.get() - usize::from(listens));
            }
            if self.site.open.get() == 0 {
                return;
            }
            self.connect();
            let due = self.upkeep();
            self.wait(due).await;
        }
    }

    /// Connections that were accepted get their tasks.
    fn connect(&mut self) {
        while let Some(Connection { feed, fd, place }) = self.connected.try_pop() {
            let of = |basin: &&Rc<RefCell<Basin>>| Arc::ptr_eq(&basin.borrow().words, &feed);
            let basin = self.basins.iter().find(of).expect("INVARIANT: every shard has every listening feed");
            let stream = streams::read(self.site.clone(), basin.clone(), fd, place);
            self.site.receive(stream);
        }
    }

    /// Cuts, emits, asks for seals. Answers when to come again.
    fn upkeep(&mut self) -> Option<Duration> {
        let now = self.site.now();
        let mut due = None;
        for basin in &self.basins {
            let mut basin = basin.borrow_mut();
            due = earlier(due, basin.cut_old(now));
            basin.emit();
        }
        if now >= self.drops_at + DROPS_EVERY {
            self.drops_at = now;
            self.basins.iter().for_each(|basin| basin.borrow_mut().ask_drops());
        }
        if self.basins.iter().any(|basin| basin.borrow().wants_drops()) {
            due = earlier(due, Some(self.drops_at + DROPS_EVERY));
        }
        self.from_source.flush();
        earlier(due, self.seal(now))
    }

    /// What was received is sealed so early that it is durable in time, whatever the commit takes of it.
    fn seal(&mut self, now: Duration) -> Option<Duration> {
        let words = &self.site.shared.words;
        let due = words.unsealed_since()? + self.sync / 2;
        if now < due {
            return Some(due);
        }
        if words.take_unsealed() {
            self.from_source.put(FromSource::SealNow);
            // What no shard has processed yet is not in this seal.
            if !words.feeds_processed() {
                words.note_unsealed(now);
            }
        }
        words.unsealed_since().map(|since| since + self.sync / 2)
    }

    async fn wait(&self, due: Option<Duration>) {
        let words = &self.site.shared.words;
        let look = || {
            let woken = self.site.poked.get()
                || !self.connected.is_empty()
                || words.ending() && !self.site.gate.is_closed()
                || self.from_source.can_flush()
                || self.basins.iter().any(|basin| basin.borrow().can_emit());
            woken.then_some(())
        };
        match due.map(|at| at.saturating_sub(self.site.now())) {
            Some(left) => drop(self.site.rt.timeout(left, self.site.bell.until(look)).await),
            None => self.site.bell.until(look).await,
        }
    }

    /// The rest goes to the shards; then this shard's part has ended.
    async fn end(mut self, ends_agent: bool) {
        let now = self.site.now();
        for basin in &self.basins {
            basin.borrow_mut().finish();
        }
        let basins = &self.basins;
        let emitted = || {
            basins.iter().for_each(|basin| basin.borrow_mut().emit());
            basins.iter().all(|basin| basin.borrow().is_empty()).then_some(())
        };
        self.site.bell.until(emitted).await;
        self.basins.iter().for_each(|basin| basin.borrow_mut().ask_drops());
        self.seal(now);
        let shared = &self.site.shared;
        let last = shared.words.feeds_open.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && ends_agent && !shared.words.ending() {
            tracing::info!("every pipe has ended: the agent ends");
            shared.drain();
        }
        shared.shard_bells[0].ring();
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

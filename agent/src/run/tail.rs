//! Drives the file source on shard 0: performs what its machine asks for, and gives it what came of it.
//!
//! Promises: hot reads are plain `pread`s on the shard, cold backlog goes through the runtime (io_uring where it is
//! allowed); directory walks run on the blocking thread; nothing is emitted that has no room (PROTOCOL P8).
//! Must not know: which file is which (the machine does), what becomes of a chunk.
use super::shared::{FromSource, Outbox, Shared, ToLedger, ToSource};
use crate::config::{Config, SourceKind};
use crate::ledger::LedgerEvent;
use crate::metrics::Metrics;
use crate::protocol::SourceRow;
use crate::queue::{LocalBell, Seat};
use crate::rt::Rt;
use crate::source::{FileKey, FileSource, SourceAction, SourceEvent, os};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the source needs, on its way to shard 0.
pub(super) struct Plan {
    globs: Vec<String>,
    once: bool,
    rows: Vec<SourceRow>,
}

impl Plan {
    pub(super) fn new(config: &Config, once: bool, rows: Vec<SourceRow>, _first_start: bool) -> Plan {
        let glob = |kind: &SourceKind| match kind {
            SourceKind::File { glob } => glob.clone(),
        };
        Plan { globs: config.sources.iter().map(|s| glob(&s.kind)).collect(), once, rows }
    }
}

/// Events that tasks of this shard have for the machine.
type Events = Rc<RefCell<VecDeque<SourceEvent>>>;

struct Tail {
    rt: Rt,
    bell: LocalBell,
    shared: Shared,
    globs: Vec<String>,
    machine: FileSource,
    files: HashMap<FileKey, Arc<File>>,
    events: Events,
    to_ledger: Outbox<ToLedger>,
    from_source: Outbox<FromSource>,
    looking: bool,
    /// When the machine wants its next tick (monotonic).
    wake: Option<Duration>,
    once: bool,
    room_said: usize,
}

/// Runs until everything is read (`--once`) or reading was ended; says so once every chunk is processed.
pub(super) async fn drive(rt: Rt, bell: LocalBell, shared: Shared, _metrics: Arc<Metrics>, plan: Plan) {
    let mut tail = Tail {
        bell,
        globs: plan.globs,
        machine: FileSource::new(plan.once),
        files: HashMap::new(),
        events: Events::default(),
        to_ledger: Outbox::new(shared.to_ledger.clone()),
        from_source: Outbox::new(shared.from_source.clone()),
        looking: false,
        wake: None,
        once: plan.once,
        room_said: 0,
        shared,
        rt,
    };
    tail.step(SourceEvent::Start { rows: plan.rows });
    loop {
        tail.collect();
        let mut worked = 0;
        while let Some(event) = tail.next_event() {
            tail.step(event);
            worked += 1;
            if worked == 4 {
                tail.rt.pause().await;
                worked = 0;
            }
        }
        if tail.finished() {
            break;
        }
        tail.wait().await;
    }
    let bell = tail.bell.clone();
    bell.until(|| tail.shared.words.all_processed().then_some(())).await;
    tail.from_source.put(FromSource::Done);
}

impl Tail {
    fn next_event(&mut self) -> Option<SourceEvent> {
        if self.shared.words.ending() {
            return None;
        }
        self.events.borrow_mut().pop_front()
    }

    fn finished(&self) -> bool {
        self.shared.words.ending() || self.once && self.machine.idle() && self.events.borrow().is_empty()
    }

    /// Takes messages and says how much room there is.
    fn collect(&mut self) {
        self.to_ledger.flush();
        self.from_source.flush();
        while let Some(message) = self.shared.to_source.try_pop() {
            let event = match message {
                ToSource::Registered(rows) => SourceEvent::Registered(rows),
                ToSource::Durable(durable) => SourceEvent::Durable(durable),
            };
            self.events.borrow_mut().push_back(event);
        }
        let room = self.room();
        if room != self.room_said {
            self.room_said = room;
            self.events.borrow_mut().push_back(SourceEvent::Room { chunks: room });
        }
        if self.wake.is_some_and(|at| self.shared.clock.now().mono >= at) {
            self.wake = None;
            self.events.borrow_mut().push_back(SourceEvent::Tick);
        }
    }

    fn room(&self) -> usize {
        if self.shared.words.readers_stopped() {
            return 0;
        }
        self.shared.chunks.items_max() - self.shared.chunks.len()
    }

    /// Waits for a bell or the machine's next tick.
    async fn wait(&self) {
        let look = || {
            let woken = !self.shared.to_source.is_empty()
                || !self.events.borrow().is_empty()
                || self.room() != self.room_said
                || self.shared.words.ending()
                || self.to_ledger.can_flush();
            woken.then_some(())
        };
        let left = self.wake.map(|at| at.saturating_sub(self.shared.clock.now().mono));
        match left {
            Some(left) => drop(self.rt.timeout(left, self.bell.until(look)).await),
            None => self.bell.until(look).await,
        }
    }

    fn step(&mut self, event: SourceEvent) {
        let mut actions = Vec::new();
        self.machine.step(self.shared.clock.now(), event, &mut actions);
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: SourceAction) {
        match action {
            SourceAction::Look => self.look(),
            SourceAction::Open { file, path } => {
                let f = File::open(&path).unwrap();
                self.files.insert(file, Arc::new(f));
                self.events.borrow_mut().push_back(SourceEvent::Opened { file, result: Ok(()) });
            }
            SourceAction::Close { file } => drop(self.files.remove(&file)),
            SourceAction::Read { file, offset, len, cold: _ } => {
                let result = os::read_back(&self.files[&file], offset, len).map_err(|e| e.to_string());
                self.events.borrow_mut().push_back(SourceEvent::Read { file, offset, result });
            }
            SourceAction::Register(new) => self.to_ledger.put(ToLedger::Event(LedgerEvent::Register(new))),
            SourceAction::Change(change) => {
                self.to_ledger.put(ToLedger::Event(LedgerEvent::Change(vec![change])));
            }
            SourceAction::Emit(chunk) => {
                self.shared.words.emitted.fetch_add(1, Ordering::AcqRel);
                self.room_said = self.room_said.saturating_sub(1);
                assert!(self.shared.chunks.try_push(chunk).is_ok(), "a chunk was emitted without room");
            }
            SourceAction::SealNow => self.from_source.put(FromSource::SealNow),
            SourceAction::Wake { after } => {
                let at = self.shared.clock.now().mono + after;
                self.wake = Some(self.wake.map_or(at, |old| old.min(at)));
            }
            SourceAction::Attach { source, file } => {
                self.to_ledger.put(ToLedger::Attach(source, self.files[&file].clone()));
            }
            SourceAction::Detach { source } => self.to_ledger.put(ToLedger::Detach(source)),
            SourceAction::Notice(notice) => tracing::warn!("{notice}"),
        }
    }

    fn look(&mut self) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let looked = os::look(&self.globs);
        self.looking = false;
        self.events.borrow_mut().push_back(SourceEvent::Looked(looked));
    }
}

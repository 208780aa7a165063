//! Drives the file source on shard 0: performs what its machine asks for, and gives it what came of it.
//!
//! Promises: hot reads are plain `pread`s on the shard, cold backlog goes through the runtime (io_uring where it is
//! allowed); directory walks run on the blocking thread; nothing is emitted that has no room (PROTOCOL P8).
//! Must not know: which file is which (the machine does), what becomes of a chunk.
use super::shared::{FromSource, Outbox, Shared, ToLedger, ToSource};
use crate::ledger::LedgerEvent;
use crate::metrics::Metrics;
use crate::protocol::SourceRow;
use crate::queue::{LocalBell, Seat};
use crate::rt::Rt;
use crate::source::file::{FileKey, FileSource, Files, os};
use crate::source::{SourceAction, SourceEvent};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Events that tasks of this shard have for the machine.
type Events = Rc<RefCell<VecDeque<SourceEvent>>>;

pub(super) struct Tail {
    rt: Rt,
    bell: LocalBell,
    shared: Shared,
    machine: FileSource,
    files: HashMap<FileKey, Arc<File>>,
    events: Events,
    to_ledger: Outbox<ToLedger>,
    from_source: Outbox<FromSource>,
    metrics: Arc<Metrics>,
    /// When the machine wants its next tick (monotonic).
    wake: Option<Duration>,
    once: bool,
    done: bool,
}

//! Drives the ledger's machine on its own thread, the one that may block.
//!
//! Promises: events are taken in order; one that finds no space waits and is tried again each second while verdicts,
//! which free space, go before it (PROTOCOL P5, RULINGS 6). An error that is not weather ends the process: restart is
//! the tested path (PROTOCOL P4).
use super::shared::{Outbox, Shared, ToLedger, ToSource};
use crate::ledger::{Ledger, LedgerEvent, LedgerReply, OsDisk};
use crate::metrics::Metrics;
use crate::queue::{Popped, ThreadBell};
use crate::source::CatchUpEvent;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_secs(1);
/// While the spool is full and readers stand still.
const FULL_TICK: Duration = Duration::from_millis(50);

struct Driver {
    shared: Shared,
    ledger: Ledger<OsDisk>,
    metrics: Arc<Metrics>,
    replies: Outbox<LedgerReply>,
    to_source: Outbox<ToSource>,
    /// Events that found no space, oldest first.
    blocked: VecDeque<LedgerEvent>,
    no_space: bool,
}

/// Runs until the queue is closed and empty.
pub fn drive(shared: Shared, bell: &ThreadBell, ledger: Ledger<OsDisk>, metrics: Arc<Metrics>) {
    let (replies, to_source) = (Outbox::new(shared.replies.clone()), Outbox::new(shared.to_source.clone()));
    let mut driver =
        Driver { shared, ledger, metrics, replies, to_source, blocked: VecDeque::new(), no_space: false };
    let mut tick = Instant::now() + TICK;
    loop {
        driver.replies.flush();
        driver.to_source.flush();
        match driver.shared.to_ledger.pop_blocking(bell, Some(tick)) {
            Popped::Item(ToLedger::Event(event)) => driver.event(event),
            Popped::Item(ToLedger::Attach(source, file)) => driver.ledger.disk_mut().attach(source, file),
            Popped::Item(ToLedger::Detach(source)) => driver.ledger.disk_mut().detach(source),
            Popped::Late => {
                driver.step(LedgerEvent::Tick);
                driver.retry();
                tick = Instant::now() + if driver.is_full() { FULL_TICK } else { TICK };
            }
            Popped::Done => return,
        }
    }
}

impl Driver {
    fn event(&mut self, event: LedgerEvent) {
        if self.blocked.is_empty() || matches!(event, LedgerEvent::Judge(_) | LedgerEvent::Aside { .. }) {
            self.step(event);
        } else {
            self.blocked.push_back(event);
        }
    }

    fn retry(&mut self) {
        for event in std::mem::take(&mut self.blocked) {
            self.event(event);
        }
        if self.blocked.is_empty() && std::mem::take(&mut self.no_space) {
            tracing::info!("there is space for the spool again");
        }
    }

    fn step(&mut self, event: LedgerEvent) {
        let replies = match self.ledger.step(self.shared.clock.now(), event) {
            Ok(replies) => replies,
            Err(error) => {
                tracing::error!("{error}; the agent ends here so that a restart finds a consistent state");
                std::process::exit(1);
            }
        };
        for reply in replies {
            self.route(reply);
        }
    }

    fn route(&mut self, reply: LedgerReply) {
        match reply {
            LedgerReply::Registered(rows) => self.to_source.put(ToSource::Registered(rows)),
            LedgerReply::Gaps { group, gaps, ahead } => {
                self.to_source.put(ToSource::CatchUp(CatchUpEvent::Gaps { group, gaps, ahead }));
            }
            LedgerReply::Lost { group, .. } => {
                self.to_source.put(ToSource::CatchUp(CatchUpEvent::Lost(group)));
                self.replies.put(reply);
            }
            LedgerReply::Space(space) => {
                self.metrics.delivery().spool(space.spool_bytes, space.limit_bytes);
                self.replies.put(LedgerReply::Space(space));
                self.set_spool_full(space.full || self.no_space);
            }
            LedgerReply::NoSpace(event) => {
                if !std::mem::replace(&mut self.no_space, true) {
                    tracing::warn!(
                        "no space left for the spool: reading stands still until there is (free space, or lower EDGEPUSH_SPOOL_MAX)"
                    );
                }
                self.set_spool_full(true);
                self.blocked.push_back(*event);
            }
            other => self.replies.put(other),
        }
    }

    fn is_full(&self) -> bool {
        self.shared.words.spool_full.load(Ordering::Acquire)
    }

    fn set_spool_full(&self, full: bool) {
        if self.shared.words.spool_full.swap(full, Ordering::AcqRel) && !full {
            self.shared.ring_shards();
        }
    }
}

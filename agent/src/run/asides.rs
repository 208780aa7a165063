//! asides: an operator's words on batches that are held aside, until the ledger has carried them out.
//!
//! Promises: each is answered when it is durable, or not at all because the agent ends.
//! Must not know: HTTP, the ledger's rows.
use crate::jobs::ChangeError;
use crate::ledger::LedgerEvent;
use crate::protocol::{AsideWord, BatchId, Spooled};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::oneshot;

/// Somebody wants something of a batch that is aside.
pub(super) struct AsideAsk {
    pub(super) id: BatchId,
    pub(super) word: AsideWord,
    pub(super) answer: oneshot::Sender<AsideAnswer>,
}

/// The batch; `None`: no such batch is aside.
pub(super) type AsideAnswer = Result<Option<Spooled>, ChangeError>;

/// Those who wait, by their batch.
#[derive(Default)]
pub(super) struct Asides {
    waiting: BTreeMap<BatchId, VecDeque<oneshot::Sender<AsideAnswer>>>,
}

impl Asides {
    /// What the ledger is asked for.
    pub(super) fn ask(&mut self, ask: AsideAsk) -> LedgerEvent {
        self.waiting.entry(ask.id).or_default().push_back(ask.answer);
        LedgerEvent::Aside { id: ask.id, word: ask.word }
    }

    /// The ledger has answered: so does this.
    pub(super) fn answer(&mut self, id: BatchId, batch: Option<Spooled>) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if let Some(answer) = waiting.pop_front() {
            // Who asked may have gone away meanwhile.
            let _ = answer.send(Ok(batch));
        }
        if waiting.is_empty() {
            self.waiting.remove(&id);
        }
    }
}

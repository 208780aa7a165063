//! Gate: tells many tasks of one shard, once, that nothing more is to be read.
//!
//! Promises: a task costs nothing while it waits; waiting may be dropped at any time.
//! Must not know: who waits.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Clones are the same gate.
#[derive(Clone, Default)]
pub(super) struct Gate(Rc<Inner>);

#[derive(Default)]
struct Inner {
    closed: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

/// One that waits.
struct Waiter<'a> {
    gate: &'a Gate,
    id: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.gate.0.waiting.borrow_mut().remove(&self.id);
    }
}

impl Gate {
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    pub(super) fn close(&self) {
        self.0.closed.set(true);
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        waiting.into_values().for_each(Waker::wake);
    }

    /// What comes of `work`; nothing once the gate is closed and `work` is not done.
    pub(super) async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let id = self.0.next.replace(self.0.next.get() + 1);
        let waiter = Waiter { gate: self, id };
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(out) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(out));
            }
            if self.is_closed() {
                return Poll::Ready(None);
            }
            let mut waiting = waiter.gate.0.waiting.borrow_mut();
            let known = waiting.get(&id).is_some_and(|waker| waker.will_wake(cx.waker()));
            if !known {
                waiting.insert(id, cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

//! queue: bounded queues of owned values between shards, the delivery thread and the ledger thread, with wake-ups.
//!
//! Promises: no lock on the way of a value; values of one producer keep their order; a full queue makes its producers
//! wait, which is the back-pressure; no wake-up is lost (the protocol of `wake`, checked with loom); every await may
//! be dropped: a value not yet popped is then still in the queue, a value not yet pushed is dropped with its push.
//! Must not know: what the values are.
//!
//! A queue is made with the bells of those who take from it and of those who put into it. A push rings all takers that
//! sleep, a pop rings all putters that sleep. It rings all and not one because a bell belongs to a place, not to a
//! task: the place that is rung may be asleep for another reason and leave the value lying.
mod bell;
mod wake;

/// What `wake` is built on; the loom model puts loom's words here.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

pub use bell::{
    Bell, BellFd, LocalBell, Seat, TaskBell, ThreadBell, ThreadBellSeat, Ticket, bell, task_bell, thread_bell,
};

use crossbeam::queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A bounded queue; clones are the same queue.
pub struct Queue<T>(Arc<Inner<T>>);

struct Inner<T> {
    items: ArrayQueue<T>,
    closed: AtomicBool,
    takers: Box<[Bell]>,
    putters: Box<[Bell]>,
}

/// Why a value was not taken; it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused<T> {
    /// No room now.
    Full(T),
    /// Nobody will take it any more.
    Closed(T),
}

/// The queue was closed; the value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed<T>(pub T);

/// What a pop with a deadline came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popped<T> {
    /// A value.
    Item(T),
    /// Nothing came in time.
    Late,
    /// The queue is closed and empty.
    Done,
}

impl<T> Queue<T> {
    /// A queue of at most `items_max` values. `takers` are rung after a push, `putters` after a pop.
    pub fn new(items_max: usize, takers: &[Bell], putters: &[Bell]) -> Queue<T> {
        Queue(Arc::new(Inner {
            items: ArrayQueue::new(items_max),
            closed: AtomicBool::new(false),
            takers: takers.into(),
            putters: putters.into(),
        }))
    }

    /// Puts a value if there is room.
    ///
    /// # Errors
    /// Full or closed; the value comes back.
    pub fn try_push(&self, item: T) -> Result<(), Refused<T>> {
        if self.is_closed() {
            return Err(Refused::Closed(item));
        }
        self.0.items.push(item).map_err(Refused::Full)?;
        self.0.takers.iter().for_each(Bell::ring);
        Ok(())
    }

    /// Takes the oldest value if there is one.
    pub fn try_pop(&self) -> Option<T> {
        let item = self.0.items.pop()?;
        self.0.putters.iter().for_each(Bell::ring);
        Some(item)
    }

    /// Puts a value, waiting at `at` while the queue is full. The bell of `at` must be among the putters.
    ///
    /// # Errors
    /// Closed; the value comes back.
    pub async fn push(&self, at: &impl Seat, item: T) -> Result<(), Closed<T>> {
        let mut held = Some(item);
        at.until(|| self.offer(&mut held)).await
    }

    fn offer(&self, held: &mut Option<T>) -> Option<Result<(), Closed<T>>> {
        match self.try_push(held.take()?) {
            Ok(()) => Some(Ok(())),
            Err(Refused::Closed(item)) => Some(Err(Closed(item))),
            Err(Refused::Full(item)) => {
                *held = Some(item);
                None
            }
        }
    }

    /// Takes the oldest value, waiting at `at` while there is none; nothing once the queue is closed and empty. The
    /// bell of `at` must be among the takers.
    pub async fn pop(&self, at: &impl Seat) -> Option<T> {
        at.until(|| self.poll()).await
    }

    /// Takes the oldest value on a plain thread, waiting until `deadline` at most.
    pub fn pop_blocking(&self, at: &ThreadBell, deadline: Option<Instant>) -> Popped<T> {
        match at.until(deadline, || self.poll()) {
            Some(Some(item)) => Popped::Item(item),
            Some(None) => Popped::Done,
            None => Popped::Late,
        }
    }

    /// Puts a value from a plain thread, waiting while the queue is full.
    ///
    /// # Errors
    /// Closed; the value comes back.
    pub fn push_blocking(&self, at: &ThreadBell, item: T) -> Result<(), Closed<T>> {
        let mut held = Some(item);
        at.until(None, || self.offer(&mut held))
            .expect("INVARIANT: without a deadline `until` ends by finding")
    }

    /// A value, or the end (`Some(None)`), or nothing yet. Closed is read first: what was pushed before is then seen.
    fn poll(&self) -> Option<Option<T>> {
        let closed = self.is_closed();
        match self.try_pop() {
            Some(item) => Some(Some(item)),
            None if closed => Some(None),
            None => None,
        }
    }

    /// Ends the queue: pushes are refused, what is in it can still be taken. The putters' side calls it, after its last
    /// push; a push on another thread at the same moment may remain in the queue untaken.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.takers.iter().for_each(Bell::ring);
        self.0.putters.iter().for_each(Bell::ring);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// How many values are in it now.
    pub fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Whether it is empty now.
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// How many values fit.
    pub fn items_max(&self) -> usize {
        self.0.items.capacity()
    }
}

/// Takes a value from one of several queues, fairly: the search starts after the queue `last` was taken from. Gives the
/// queue's index too; nothing once all are closed and empty. The bell of `at` must be among the takers of each.
pub async fn pull<T>(queues: &[Queue<T>], at: &impl Seat, last: &mut usize) -> Option<(usize, T)> {
    at.until(|| {
        let mut all_done = true;
        for step in 1..=queues.len() {
            let index = (*last + step) % queues.len();
            match queues[index].poll() {
                Some(Some(item)) => {
                    *last = index;
                    return Some(Some((index, item)));
                }
                Some(None) => {}
                None => all_done = false,
            }
        }
        all_done.then_some(None)
    })
    .await
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} of {}, closed: {})", self.len(), self.items_max(), self.is_closed())
    }
}

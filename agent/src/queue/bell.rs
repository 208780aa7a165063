//! bell: wakes whoever waits in another place: a shard, the delivery thread's tasks, a plain thread.
//!
//! Promises: [`Bell::ring`] costs a fence and a load unless somebody sleeps there; a ring that comes after the last
//! look of a waiter wakes it. One bell may serve several queues and several waiters of one place: a ring wakes all of
//! them and each looks again. A waiter may be dropped at any time.
//!
//! The protocol is in `wake`; `until` applies it: look, prepare, look again, sleep, from the start.
//! Must not know: what is waited for.
use super::wake::Wake;
use crate::rt::Rt;
use rustix::event::{EventfdFlags, eventfd};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::thread::Thread;
use std::time::Instant;
use tokio::sync::Notify;

/// The ringing end. Clones ring the same place.
#[derive(Clone)]
pub struct Bell(Arc<Line>);

struct Line {
    wake: Wake,
    to: To,
}

enum To {
    Shard(OwnedFd),
    Tasks(Notify),
    Thread(OnceLock<Thread>),
}

impl Bell {
    fn new(to: To) -> Bell {
        Bell(Arc::new(Line { wake: Wake::new(), to }))
    }

    /// Wakes the place if it sleeps. Call it after the change that the other side looks for. Never blocks.
    pub fn ring(&self) {
        if !self.0.wake.take() {
            return;
        }
        match &self.0.to {
            // The write can fail only by a full counter, and then a wake-up is on its way already.
            To::Shard(fd) => drop(rustix::io::write(fd, &1_u64.to_ne_bytes())),
            To::Tasks(notify) => notify.notify_waiters(),
            To::Thread(thread) => {
                if let Some(thread) = thread.get() {
                    thread.unpark();
                }
            }
        }
    }
}

/// A place where async code can wait for a bell.
pub trait Seat {
    /// Waits until `look` finds something. `look` is called at once and after each ring; it must not block.
    fn until<T>(&self, look: impl FnMut() -> Option<T>) -> impl Future<Output = T>;
}

/// A bell for a shard: the end to ring, and the end to take there.
///
/// # Errors
/// No descriptor left.
pub fn bell() -> io::Result<(Bell, BellFd)> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
    let reading = fd.try_clone()?;
    let bell = Bell::new(To::Shard(fd));
    Ok((bell.clone(), BellFd { reading, bell }))
}

/// The shard's end of a bell, on its way to the shard.
pub struct BellFd {
    reading: OwnedFd,
    bell: Bell,
}

impl BellFd {
    /// Listens on this shard from now on, until the shard ends.
    pub fn attach(self, rt: &Rt) -> LocalBell {
        let local = LocalBell(Rc::new(Listener {
            line: self.bell.0,
            rings: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
        }));
        let (mut reader, heard) = (rt.fd_reader(self.reading), local.clone());
        rt.spawn_local(async move {
            loop {
                let read = reader.read(8).await;
                assert!(read.is_ok(), "INVARIANT: an eventfd can be read: {read:?}");
                heard.rung();
            }
        });
        local
    }
}

/// The listening end on a shard. Any number of its tasks may wait at once.
#[derive(Clone)]
pub struct LocalBell(Rc<Listener>);

struct Listener {
    line: Arc<Line>,
    rings: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

/// The moment of [`LocalBell::prepare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl LocalBell {
    /// Asks to be rung. Look once more after this, then [`LocalBell::wait`]; or use [`Seat::until`], which does both.
    pub fn prepare(&self) -> Ticket {
        let ticket = Ticket(self.0.rings.get());
        self.0.line.wake.prepare();
        ticket
    }

    /// Returns when the bell has been heard since the ticket was taken.
    pub async fn wait(&self, since: Ticket) {
        poll_fn(|cx| {
            if self.0.rings.get() != since.0 {
                return Poll::Ready(());
            }
            let mut waiting = self.0.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn rung(&self) {
        self.0.rings.set(self.0.rings.get() + 1);
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Seat for LocalBell {
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            let ticket = self.prepare();
            if let Some(found) = look() {
                return found;
            }
            self.wait(ticket).await;
        }
    }
}

/// A bell for tasks on a tokio runtime: the end to ring and the end to wait at.
pub fn task_bell() -> (Bell, TaskBell) {
    let bell = Bell::new(To::Tasks(Notify::new()));
    (bell.clone(), TaskBell(bell.0))
}

/// The listening end for tokio tasks. Clones wait for the same bell.
#[derive(Clone)]
pub struct TaskBell(Arc<Line>);

impl Seat for TaskBell {
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let To::Tasks(notify) = &self.0.to else {
            unreachable!("INVARIANT: a task bell is made with a Notify")
        };
        loop {
            if let Some(found) = look() {
                return found;
            }
            // It gets every ring from here on, even those before it is first polled.
            let heard = notify.notified();
            self.0.wake.prepare();
            if let Some(found) = look() {
                return found;
            }
            heard.await;
        }
    }
}

/// A bell for one plain thread: the end to ring and the end to take there.
pub fn thread_bell() -> (Bell, ThreadBellSeat) {
    let bell = Bell::new(To::Thread(OnceLock::new()));
    (bell.clone(), ThreadBellSeat(bell.0))
}

/// The thread's end of a bell, on its way to the thread.
pub struct ThreadBellSeat(Arc<Line>);

impl ThreadBellSeat {
    /// Listens on the calling thread from now on.
    pub fn attach(self) -> ThreadBell {
        if let To::Thread(thread) = &self.0.to {
            let first = thread.set(std::thread::current());
            assert!(first.is_ok(), "INVARIANT: a bell is attached once, `attach` consumes its end");
        }
        ThreadBell { line: self.0, stays: PhantomData }
    }
}

/// The listening end on a plain thread, where it stays.
pub struct ThreadBell {
    line: Arc<Line>,
    stays: PhantomData<*const ()>,
}

impl ThreadBell {
    /// Blocks until `look` finds something, or until `deadline`.
    pub fn until<T>(&self, deadline: Option<Instant>, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            self.line.wake.prepare();
            if let Some(found) = look() {
                return Some(found);
            }
            match deadline {
                None => std::thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    std::thread::park_timeout(left);
                }
            }
        }
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match &self.0.to {
            To::Shard(fd) => return write!(f, "Bell(shard, {:?})", fd.as_fd()),
            To::Tasks(_) => "tasks",
            To::Thread(_) => "thread",
        };
        write!(f, "Bell({place})")
    }
}

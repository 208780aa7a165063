//! rt: the facade over the two runtimes, glommio (io_uring) and a tokio `LocalSet`, one pinned thread per shard.
//!
//! Promises: the same code runs on both; a task that panics ends its shard on both; blocking jobs are drained before a
//! shard ends; nothing that reads a file descriptor can lose what it read by being dropped. Dispatch is a `match`.
//! Must not know: queues, sources, jobs. Only `uring` names glommio; a test greps for it.
//!
//! Rules for code that runs on a shard: never block the thread; [`Rt::pause`] after at most 2 ms of work; hold no
//! `RefCell` borrow over an `.await`; await no channel of another crate, only the bells of [`crate::queue`].
pub mod cpus;
mod fd;
mod probe;
mod pulse;
mod shard;
mod threads;
mod uring;

pub use fd::FdReader;
pub use probe::choose;
pub use pulse::Pulse;
pub use shard::{ShardSpec, ShardThread, spawn_shard};
pub use uring::HARMLESS;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What the operator asked for (`EDGEPUSH_RUNTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// io_uring where it is allowed, threads elsewhere.
    #[default]
    Auto,
    /// io_uring, or an error that says why not.
    Uring,
    /// Plain threads with epoll.
    Threads,
}

/// The runtime that shards run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// glommio over io_uring.
    Uring,
    /// A tokio `LocalSet` over epoll.
    Threads,
}

impl Backend {
    /// The name as it stands in settings, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Backend::Uring => "uring",
            Backend::Threads => "threads",
        }
    }
}

/// A decided runtime and the reason, to be said once at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The runtime.
    pub backend: Backend,
    /// Why it was chosen, in plain words.
    pub why: String,
}

/// The heartbeat of one shard: a task bumps it every [`TICK`]. A shard whose count stands still for 10 s is dead.
#[derive(Debug, Clone, Default)]
pub struct Tick(Arc<AtomicU64>);

/// The interval of the heartbeat. It also bounds a park of glommio's executor with runnable tasks, a known bug.
pub const TICK: Duration = Duration::from_millis(100);

impl Tick {
    /// How many times the shard has ticked.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn bump(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One shard's runtime, as its tasks see it. It stays on its thread.
#[derive(Clone)]
pub struct Rt {
    shard: Rc<Shard>,
}

struct Shard {
    index: usize,
    tick: Tick,
    blocking: Cell<usize>,
    on: On,
}

enum On {
    Uring,
    Threads(threads::Tasks),
}

impl Rt {
    fn new(index: usize, tick: Tick, on: On) -> Rt {
        Rt { shard: Rc::new(Shard { index, tick, blocking: Cell::new(0), on }) }
    }

    /// The runtime underneath.
    pub fn backend(&self) -> Backend {
        match self.shard.on {
            On::Uring => Backend::Uring,
            On::Threads(_) => Backend::Threads,
        }
    }

    /// The index of this shard, from 0.
    pub fn shard(&self) -> usize {
        self.shard.index
    }

    /// How many times this shard has ticked.
    pub fn ticks(&self) -> u64 {
        self.shard.tick.count()
    }

    /// Starts a task on this shard. A task that panics ends the shard: [`ShardThread::join`] says so.
    pub fn spawn_local(&self, fut: impl Future<Output = ()> + 'static) {
        match &self.shard.on {
            On::Uring => uring::spawn_local(fut),
            On::Threads(tasks) => tasks.spawn_local(fut),
        }
    }

    /// Returns after at least `d`. The grain of the threads runtime is 1 ms.
    pub async fn sleep(&self, d: Duration) {
        match &self.shard.on {
            On::Uring => uring::sleep(d).await,
            On::Threads(_) => tokio::time::sleep(d).await,
        }
    }

    /// Lets every other task, timer and descriptor of this shard run once. Costs some 30 µs: call it after 1 to 2 ms.
    pub async fn pause(&self) {
        match &self.shard.on {
            On::Uring => uring::pause().await,
            On::Threads(_) => tokio::task::yield_now().await,
        }
    }

    /// The result of `fut`, or nothing if it takes longer than `d`; `fut` is then dropped.
    pub async fn timeout<T>(&self, d: Duration, fut: impl Future<Output = T>) -> Option<T> {
        let mut fut = pin!(fut);
        let mut alarm = pin!(self.sleep(d));
        std::future::poll_fn(|cx| match fut.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(Some(out)),
            Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Runs `job` on this shard's blocking thread, which is not pinned; jobs run one after another. A job that has
    /// begun is finished even if nobody waits for it any more: the shard does not end before. A panic of the job goes on here.
    pub async fn spawn_blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let job = move || catch_unwind(AssertUnwindSafe(job));
        let guard = Outstanding::new(self);
        let done = match &self.shard.on {
            On::Uring => uring::spawn_blocking(job, guard).await,
            On::Threads(_) => threads::spawn_blocking(job, guard).await,
        };
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Reads up to `buf.len()` bytes at `offset` and gives the buffer back; 0 is the end of the file as it is now.
    /// For cold backlog: a hot tail is cheaper with a plain `pread` on the shard.
    pub async fn read_at(
        &self,
        file: &Arc<std::fs::File>,
        offset: u64,
        mut buf: Vec<u8>,
    ) -> (io::Result<usize>, Vec<u8>) {
        match &self.shard.on {
            On::Uring => uring::read_at(Arc::clone(file), offset, buf).await,
            On::Threads(_) => {
                let file = Arc::clone(file);
                self.spawn_blocking(move || {
                    use std::os::unix::fs::FileExt;
                    (file.read_at(&mut buf, offset), buf)
                })
                .await
            }
        }
    }

    /// Waits for and reads from a descriptor: inotify, eventfd, a socket. The blocking mode of the open file (shared by
    /// all duplicates of `fd`) is set as the runtime needs it. An `fd` that cannot be waited for fails at the first read.
    pub fn fd_reader(&self, fd: OwnedFd) -> FdReader {
        FdReader::new(self, fd)
    }

    /// Waits until no blocking job of this shard is under way: an executor must not end before its jobs.
    async fn drain(&self) {
        while self.shard.blocking.get() > 0 {
            self.sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Counts one blocking job from its call until its result has come back to the shard.
struct Outstanding(Rt);

impl Outstanding {
    fn new(rt: &Rt) -> Outstanding {
        rt.shard.blocking.set(rt.shard.blocking.get() + 1);
        Outstanding(rt.clone())
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let jobs = &self.0.shard.blocking;
        jobs.set(jobs.get() - 1);
    }
}

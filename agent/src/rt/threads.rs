//! threads: the backend without io_uring: a tokio current-thread runtime and `LocalSet` on one pinned thread.
//!
//! Promises: what the glommio backend promises, in the same words: a task's panic ends the shard, there is one
//! blocking thread, it is not pinned, and its jobs are awaited to their end.
//! Must not know: what a shard does.
use super::{Outstanding, cpus};
use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use tokio::runtime::{Builder, Runtime};

/// The runtime of one shard; this thread becomes pinned to `cpu`.
pub(super) fn runtime(index: usize, cpu: Option<usize>) -> io::Result<Runtime> {
    let unpinned = cpus::allowed()?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .thread_name(format!("shard-{index}-slow"))
        // A new thread inherits the pinning of the shard; a blocking job must be able to run elsewhere.
        .on_thread_start(move || {
            if let Err(error) = cpus::pin(&unpinned) {
                tracing::warn!(%error, "the blocking thread stays on its shard's CPU");
            }
        })
        .build()?;
    if let Some(cpu) = cpu {
        cpus::pin(&[cpu])?;
    }
    Ok(runtime)
}

/// The tasks of a shard, and the panic of the first that panicked.
#[derive(Clone, Default)]
pub(super) struct Tasks(Rc<RefCell<Fatal>>);

#[derive(Default)]
struct Fatal {
    panic: Option<Box<dyn Any + Send>>,
    root: Option<Waker>,
}

impl Tasks {
    /// A `LocalSet` would keep a task's panic to itself, where nobody looks.
    pub(super) fn spawn_local(&self, fut: impl Future<Output = ()> + 'static) {
        let tasks = self.clone();
        tokio::task::spawn_local(async move {
            let mut fut = Box::pin(fut);
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| fut.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(panic) => {
                    tasks.fail(panic);
                    Poll::Ready(())
                }
            })
            .await;
        });
    }

    fn fail(&self, panic: Box<dyn Any + Send>) {
        let root = {
            let mut fatal = self.0.borrow_mut();
            fatal.panic.get_or_insert(panic);
            fatal.root.take()
        };
        if let Some(root) = root {
            root.wake();
        }
    }

    /// Runs the shard's main future; the panic of any of its tasks goes on here.
    pub(super) async fn root(&self, main: impl Future<Output = ()>) {
        let mut main = pin!(main);
        poll_fn(|cx| {
            let panic = {
                let mut fatal = self.0.borrow_mut();
                fatal.root = Some(cx.waker().clone());
                fatal.panic.take()
            };
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
            main.as_mut().poll(cx)
        })
        .await;
    }
}

/// Runs in a task of its own, so that the job is awaited to its end even if the caller is dropped.
pub(super) async fn spawn_blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
    guard: Outstanding,
) -> T {
    let task = tokio::task::spawn_local(async move {
        let out = tokio::task::spawn_blocking(job).await;
        drop(guard);
        out
    });
    task.await
        .expect("INVARIANT: the task awaits, which does not panic, and is never aborted")
        .expect("INVARIANT: the job catches its own panic and is never aborted")
}

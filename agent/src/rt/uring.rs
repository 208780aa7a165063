//! uring: the glommio backend; the only file that names glommio.
//!
//! Promises: none of glommio's traps is reachable from outside: no cancelled read, no `sleep(0)`, no file status by
//! path, no glommio socket, no waker that crosses a thread, no blocking job that outlives its executor.
//! Must not know: what a shard does.
#![allow(unsafe_code)] // Taking ownership of raw descriptors: glommio has no safe way to read one.
use super::Outstanding;
use glommio::io::BufferedFile;
use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use std::fs::File;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Log target of a warning that buffers cannot be registered with the ring; glommio goes on without them, at no cost that
/// was measured.
pub const HARMLESS: &str = "glommio::sys::uring";

/// Memory registered with each of the three rings of an executor. The minimum: only direct I/O would profit from more.
const IO_MEMORY: usize = 65536;
const RING_DEPTH: usize = 128;

/// An executor on this thread, which becomes pinned to `cpu`. The thread must be new: it is never unpinned again.
pub(super) fn executor(cpu: Option<usize>) -> io::Result<LocalExecutor> {
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(plain)
}

/// Keeps the kernel's error number, so that the caller can retry ENOMEM.
fn plain(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(error) | GlommioError::EnhancedIoError { source: error, .. } => error,
        other => io::Error::other(other.to_string()),
    }
}

pub(super) fn spawn_local(fut: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(fut).detach();
}

/// A sleep of zero is ready at once and would never let another task run.
pub(super) async fn sleep(d: Duration) {
    glommio::timer::sleep(d.max(Duration::from_micros(1))).await;
}

/// Lets the run queue become empty, so that the reactor polls timers and descriptors; `yield_if_needed` does not.
pub(super) async fn pause() {
    glommio::timer::sleep(Duration::from_micros(1)).await;
}

/// Runs in a task of its own, so that the job is awaited to its end even if the caller is dropped.
pub(super) async fn spawn_blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
    guard: Outstanding,
) -> T {
    uncancelled(async move {
        let out = glommio::executor().spawn_blocking(job).await;
        drop(guard);
        out
    })
    .await
}

/// Runs `fut` as its own task. Dropping the result does not cancel it, and however often the caller is polled, only
/// this task's waker is stored: glommio keeps every waker it was polled with, and a task's wakers are counted in 16 bits.
async fn uncancelled<T: 'static>(fut: impl Future<Output = T> + 'static) -> T {
    let task = glommio::spawn_local(fut).detach();
    task.await.expect("INVARIANT: a detached task is never cancelled")
}

pub(super) async fn read_at(file: Arc<File>, offset: u64, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
    uncancelled(async move {
        // SAFETY: the descriptor is open as long as `file` lives, which this task owns until the read has ended. The
        // wrapper is never dropped, so it does not close what it does not own; what leaks is one weak count.
        let borrowed = ManuallyDrop::new(unsafe { BufferedFile::from_raw_fd(file.as_raw_fd()) });
        let out = loop {
            match borrowed.read_at(offset, buf.len()).await.map_err(plain) {
                Ok(bytes) => {
                    buf[..bytes.len()].copy_from_slice(&bytes);
                    break Ok(bytes.len());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        drop(file);
        (out, buf)
    })
    .await
}

/// A descriptor that glommio owns and closes.
pub(super) struct OwnedReader(Rc<BufferedFile>);

/// A read under way. Dropping it leaves the read running; nothing it reads reaches anybody then.
pub(super) type Pending = glommio::task::JoinHandle<io::Result<Vec<u8>>>;

impl OwnedReader {
    /// `fd` must be in blocking mode: with `O_NONBLOCK` the ring answers EAGAIN instead of waiting.
    pub(super) fn new(fd: OwnedFd) -> OwnedReader {
        // SAFETY: `into_raw_fd` gives up ownership, and the file takes it.
        OwnedReader(Rc::new(unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) }))
    }

    pub(super) fn begin(&self, bytes_max: usize) -> Pending {
        let file = Rc::clone(&self.0);
        glommio::spawn_local(async move {
            let bytes = file.read_at(0, bytes_max).await.map_err(plain)?;
            Ok(bytes.to_vec())
        })
        .detach()
    }
}

//! rt_test: runs a test's future on one unpinned shard of each runtime.
#![allow(clippy::unwrap_used, dead_code)] // A test fails by panicking, outside of `#[test]` too; each uses a part.
use edgepush::rt::{Backend, Rt, ShardSpec, ShardThread, spawn_shard};
use std::future::Future;
use std::sync::mpsc::sync_channel;

/// Both runtimes.
pub const BACKENDS: [Backend; 2] = [Backend::Uring, Backend::Threads];

/// A shard on no particular CPU.
pub fn shard<F, Fut>(index: usize, backend: Backend, main: F) -> ShardThread
where
    F: FnOnce(Rt) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    spawn_shard(ShardSpec { index, cpu: None, backend }, main).unwrap()
}

/// Runs `main` on a shard to its end and gives its result.
pub fn rt_test<F, Fut, T>(backend: Backend, main: F) -> T
where
    F: FnOnce(Rt) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let (say, hear) = sync_channel(1);
    let thread = shard(0, backend, |rt| async move { say.send(main(rt).await).unwrap() });
    thread.join().unwrap();
    hear.recv().unwrap()
}

//! shard: starts one shard's thread on the chosen runtime and says so only when its executor runs.
//!
//! Promises: a start that fails is reported by [`spawn_shard`], not at the join; ENOMEM is retried, because the kernel
//! takes back the rings of an earlier process some milliseconds late; every shard ticks.
//! Must not know: what a shard does.
use super::{Backend, On, Rt, TICK, Tick, probe, threads, uring};
use std::future::Future;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

const START_RETRIES_MAX: u32 = 5;
const START_RETRY_AFTER: Duration = Duration::from_millis(50);

/// Where a shard runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSpec {
    /// Its index, from 0.
    pub index: usize,
    /// The CPU it is pinned to; nothing in tests.
    pub cpu: Option<usize>,
    /// The runtime.
    pub backend: Backend,
}

/// A running shard, as main sees it.
#[derive(Debug)]
pub struct ShardThread {
    index: usize,
    tick: Tick,
    thread: JoinHandle<()>,
}

impl ShardThread {
    /// Waits until the shard's main future has returned and its blocking jobs are done. The error is its panic.
    pub fn join(self) -> Result<(), String> {
        let index = self.index;
        self.thread.join().map_err(|panic| format!("shard {index} panicked: {}", words(&*panic)))
    }

    /// Whether the thread has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// How many times the shard has ticked; one tick is [`TICK`].
    pub fn ticks(&self) -> u64 {
        self.tick.count()
    }

    /// The heartbeat, for a watchdog that does not own the thread.
    pub fn tick(&self) -> Tick {
        self.tick.clone()
    }
}

/// Starts a shard and returns when its executor runs `main`. Call it from a thread that is not pinned: the shard's
/// blocking thread runs where the caller may run.
///
/// # Errors
/// The executor could not be created; the text says what to change.
pub fn spawn_shard<F, Fut>(spec: ShardSpec, main: F) -> io::Result<ShardThread>
where
    F: FnOnce(Rt) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let mut main = main;
    let mut retries = 0;
    loop {
        match start(&spec, main)? {
            Start::Runs(thread) => return Ok(thread),
            Start::Refused(error, again) => {
                if error.raw_os_error() != Some(libc::ENOMEM) || retries == START_RETRIES_MAX {
                    return Err(probe::explain_start(&spec, &error));
                }
                main = again;
                retries += 1;
                sleep(START_RETRY_AFTER);
            }
        }
    }
}

enum Start<F> {
    Runs(ShardThread),
    Refused(io::Error, F),
}

/// A fresh thread for every attempt: a failed one may be pinned already, and its children would be too.
fn start<F, Fut>(spec: &ShardSpec, main: F) -> io::Result<Start<F>>
where
    F: FnOnce(Rt) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let tick = Tick::default();
    let (say, hear) = sync_channel::<Option<(io::Error, F)>>(1);
    let (index, cpu, backend, shard_tick) = (spec.index, spec.cpu, spec.backend, tick.clone());
    let thread = Builder::new().name(format!("shard-{index}")).spawn(move || match backend {
        Backend::Uring => match uring::executor(cpu) {
            Ok(executor) => executor.run(run(Rt::new(index, shard_tick, On::Uring), main, say)),
            Err(error) => refuse(&say, error, main),
        },
        Backend::Threads => match threads::runtime(index, cpu) {
            Ok(runtime) => {
                let tasks = threads::Tasks::default();
                let rt = Rt::new(index, shard_tick, On::Threads(tasks.clone()));
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, tasks.root(run(rt, main, say)));
            }
            Err(error) => refuse(&say, error, main),
        },
    })?;
    match hear.recv() {
        Ok(None) => Ok(Start::Runs(ShardThread { index, tick, thread })),
        Ok(Some((error, main))) => Ok(Start::Refused(error, main)),
        Err(_) => {
            let why = thread.join().err().map_or_else(|| "it ended".to_owned(), |panic| words(&*panic));
            Err(io::Error::other(format!("shard {index} died while it started: {why}")))
        }
    }
}

fn refuse<F>(say: &SyncSender<Option<(io::Error, F)>>, error: io::Error, main: F) {
    // The starter waits for exactly one message; if it is gone there is nobody to tell.
    let _gone = say.send(Some((error, main)));
}

async fn run<F, Fut>(rt: Rt, main: F, say: SyncSender<Option<(io::Error, F)>>)
where
    F: FnOnce(Rt) -> Fut,
    Fut: Future<Output = ()>,
{
    let ticking = rt.clone();
    rt.spawn_local(async move {
        loop {
            ticking.shard.tick.bump();
            ticking.sleep(TICK).await;
        }
    });
    let _gone = say.send(None);
    main(rt.clone()).await;
    rt.drain().await;
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

//! start: opens what must be open, makes the machines, starts the threads; and ends them in order.
//!
//! Promises: nothing is started before everything that an operator may have got wrong is checked; threads end in the
//! order in which they need one another: source, shards, delivery, ledger.
use super::asides::Asides;
use super::changes::Changes;
use super::clock::Clock;
use super::counters::Published;
use super::delivery::{Changing, Delivery, Ended, Ending};
use super::error::StartError;
use super::feed::{self, Feeds, Registered, ShardFeeds};
use super::jobs::Jobs;
use super::make::Maker;
use super::port::{ASKS, JobsShown, Port, Word};
use super::publish::Publishing;
use super::retention::Retention;
use super::shared::Shared;
use super::{known, labels, ledger, shard, tail};
use crate::api::{self, bind::Bound, health::Health, tls::Tls};
use crate::archive::{INDEX_FILE, Index, IndexError};
use crate::batcher::{Batcher, BatcherSettings};
use crate::cli::Exit;
use crate::config::{Config, RuntimeChoice, SimdChoice, tz};
use crate::jobs::{GuardState, follow};
use crate::ledger::{Ledger, LedgerSettings, OsDisk, Recovered, Serials, StateDir};
use crate::logs_api::LogsServer;
use crate::metrics::Metrics;
use crate::parking::Parking;
use crate::queue;
use crate::rt::{self, ShardSpec, ShardThread};
use crate::sender::{Sender, SenderSettings, Uploads};
use crate::shard_loop::{Formats, ShardLoop, ShardPlan};
use crate::source::feed::bind::SocketFile;
use edgepush_shard::scan::Simd;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// A running agent.
pub struct Running {
    shared: Shared,
    stop_timeout: Duration,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    shards: Vec<ShardThread>,
    delivery: JoinHandle<()>,
    ledger: JoinHandle<()>,
    ended: Receiver<Ended>,
    _sockets: Vec<SocketFile>,
    _logs: Option<LogsServer>,
    _state: StateDir,
}

/// Opens and starts everything.
///
/// # Errors
/// Another agent, an unusable state directory, a runtime that was demanded and is refused, a wrong destination.
pub fn start(config: &Config, once: bool, ending: Ending) -> Result<Running, StartError> {
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    use_vectors(config.simd);
    edgepush_shard::zone::set(tz::zone(&config.zone));
    let clock = Arc::new(Clock::start());
    let state = StateDir::open(&config.state_dir).map_err(|e| StartError::coded(e.exit_code(), &e))?;
    let chosen = rt::choose(choice(config.runtime)).map_err(|why| StartError::new(Exit::Operator, why))?;
    tracing::info!("runtime {}: {}", chosen.backend.as_str(), chosen.why);
    let (mut ledger, mut recovered, feeds) = open_sources(config, once, &state, &clock)?;
    let metrics = Metrics::new(labels::labels(config, chosen.backend), config.cpus.len());
    let maker = Arc::new(Maker::new(config, state.path().to_owned(), metrics.clone(), once));
    let known = known::open(config, maker, &metrics, (&mut ledger, &mut recovered), clock.now())?;
    let parts = Parts::new(config.cpus.len(), clock)?;
    let shared = parts.shared.clone();
    let feeds = feeds.share(config, once, &shared, &metrics)?;
    let logs = super::logs::open(config, once, &known.book, state.path())?;
    let api = (super::admin::bind(config, once, state.path())?, logs.tls.clone());

    let (say_ended, ended) = std::sync::mpsc::channel();
    let ledger = spawn("ledger", {
        let (shared, metrics) = (shared.clone(), metrics.clone());
        let bell = parts.ledger;
        move || ledger::drive(shared, &bell.attach(), ledger, metrics)
    })?;
    let health = Health::new(metrics.shards());
    health.ledger_open();
    let tail = tail::Plan::new(config, once, &recovered, feeds.tail, (health.clone(), metrics.shard(0)));
    let (plan, read) = (known.jobs.plan(), (tail, feeds.shards));
    let shards = start_shards(config, &shared, &metrics, plan, parts.shards, chosen.backend, read)?;
    let told = Arc::new(JobsShown::default());
    told.book(known.book);
    let (asks, asked) = mpsc::channel(ASKS);
    let (maker, guard) = (known.maker.clone(), known.follow.guard.clone());
    let port = Arc::new(port(&shared, &told, asks, maker, (metrics.clone(), guard)));
    let logpush = super::admin::logpush(&shared, port.clone(), recovered.ledger_id);
    let admin = Arc::new(super::admin::state(config, &shared, &metrics, &health, (logpush, told.clone())));
    let changing = changing(config, known.maker, (asked, told), metrics.clone(), recovered.last_group);
    let delivery = spawn("delivery", {
        let (shared, bell, jobs, well) = (shared.clone(), parts.delivery, known.jobs, known.well);
        let (reader, config) = (state.reader(recovered.ledger_id), config.clone());
        let retention = Retention::new(&config, state.path(), shared.leases.clone(), metrics.clone());
        let followed = (!once).then(|| follow::follow(known.from, port, known.follow));
        move || {
            let ended = on_its_runtime(async move {
                for destination in jobs.destinations() {
                    destination.prepare().await;
                }
                retention.begin(once).await;
                let delivery = assemble(&config, shared, jobs, changing, &recovered, reader, ending);
                serve(api, admin);
                if let Some(followed) = followed {
                    tokio::task::spawn_local(followed);
                }
                delivery.drive(bell, (recovered.spooled, recovered.space), well).await
            });
            // Nobody waits for it any more when main has died.
            let _ = say_ended.send(ended);
        }
    })?;
    crate::notify::ready("following");
    Ok(Running {
        _logs: logs.serve(config, &shared, &metrics)?,
        shared,
        stop_timeout: config.stop_timeout,
        health,
        metrics,
        shards,
        delivery,
        ledger,
        ended,
        _sockets: feeds.files,
        _state: state,
    })
}

/// What changes jobs on the delivery thread.
fn changing(
    config: &Config,
    maker: Arc<Maker>,
    (asked, told): (mpsc::Receiver<Word>, Arc<JobsShown>),
    metrics: Arc<Metrics>,
    last_group: u32,
) -> Changing {
    Changing {
        changes: Changes::new(maker),
        asides: Asides::default(),
        asked,
        told,
        metrics,
        parking: Parking::new(last_group),
        behind: BTreeMap::new(),
        lost: BTreeMap::new(),
        disable_after: config.job_disable_after,
    }
}

/// The agent as whoever changes jobs sees it.
fn port(
    shared: &Shared,
    told: &Arc<JobsShown>,
    asks: mpsc::Sender<Word>,
    maker: Arc<Maker>,
    (metrics, guard): (Arc<Metrics>, Arc<GuardState>),
) -> Port {
    let clock = shared.clock.clone();
    Port { shown: told.clone(), asks, maker, metrics, guard, clock: Box::new(move || clock.now().wall) }
}

/// Runs what the delivery thread does.
fn on_its_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the delivery thread has no runtime: {error}");
            std::process::exit(1);
        }
    };
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, work);
    drop(local);
    // A name that is being resolved, or a disk that hangs, must not hold the end up.
    runtime.shutdown_timeout(BLOCKING_END);
    done
}

/// How long the end waits for blocking jobs: what they do is done again after the next start.
pub(super) const BLOCKING_END: Duration = Duration::from_millis(200);

/// Starts the admin API; its address file goes with it.
fn serve((bound, tls): (Option<Bound>, Option<Arc<Tls>>), state: Arc<api::ApiState>) {
    let Some(bound) = bound else { return };
    match bound.listener() {
        Ok(listener) => {
            tokio::task::spawn_local(async move {
                api::serve_tls(listener, state, tls).await;
                drop(bound);
            });
        }
        Err(error) => tracing::warn!("the admin API does not run: {error}"),
    }
}

/// Bells and queues, with the ends that move to their threads.
struct Parts {
    shared: Shared,
    shards: Vec<queue::BellFd>,
    delivery: queue::TaskBell,
    ledger: queue::ThreadBellSeat,
}

impl Parts {
    fn new(shards: usize, clock: Arc<Clock>) -> Result<Parts, StartError> {
        let (mut bells, mut fds) = (Vec::new(), Vec::new());
        for _ in 0..shards {
            let (bell, fd) = queue::bell()
                .map_err(|e| StartError::new(Exit::Failed, format!("no bell for a shard: {e}")))?;
            bells.push(bell);
            fds.push(fd);
        }
        let (delivery_bell, delivery) = queue::task_bell();
        let (ledger_bell, ledger) = queue::thread_bell();
        let shared = Shared::new(bells, &delivery_bell, &ledger_bell, clock);
        Ok(Parts { shared, shards: fds, delivery, ledger })
    }
}

/// Sockets and pipes first: what an operator got wrong with them is said before anything is written.
fn open_sources(
    config: &Config,
    once: bool,
    state: &StateDir,
    clock: &Clock,
) -> Result<(Ledger<OsDisk>, Recovered, Registered), StartError> {
    let feeds = Feeds::open(config, once)?;
    let (mut ledger, mut recovered) = open_ledger(config, state, clock)?;
    let feeds = feeds.register(config, (&mut ledger, &mut recovered))?;
    Ok((ledger, recovered, feeds))
}

fn open_ledger(
    config: &Config,
    state: &StateDir,
    clock: &Clock,
) -> Result<(Ledger<OsDisk>, Recovered), StartError> {
    let settings = LedgerSettings {
        limit_bytes: config.spool_max.0,
        reserve: config.disk_reserve,
        publish_after: config.archive.publish,
        ..LedgerSettings::of_host()
    };
    let conn = state.connect().map_err(|e| StartError::coded(e.exit_code(), &e))?;
    let opened = Ledger::open(conn, state.disk(), settings, clock.now());
    let (mut ledger, recovered) = opened.map_err(|e| StartError::coded(e.exit_code(), &e))?;
    ledger.publish_by(serials(state.path().join(INDEX_FILE)));
    if recovered.space.reserve_hit {
        tracing::warn!(
            "the disk is below EDGEPUSH_DISK_RESERVE: running with the minimum spool until space is free"
        );
    }
    Ok((ledger, recovered))
}

/// The serials of published files.
fn serials(index: PathBuf) -> Serials {
    let opened: RefCell<Option<Index>> = RefCell::new(None);
    Box::new(move |domain, start| {
        let mut opened = opened.borrow_mut();
        if opened.is_none() {
            *opened = match Index::look(&index) {
                Ok(index) => Some(index),
                // Nothing was ever published.
                Err(IndexError::Missing(_)) => return Ok(1),
                Err(error) => return Err(error.to_string()),
            };
        }
        let index = opened.as_ref().expect("INVARIANT: opened above");
        index.serial_after(domain, start).map_err(|error| error.to_string())
    })
}

fn start_shards(
    config: &Config,
    shared: &Shared,
    metrics: &Arc<Metrics>,
    jobs: Arc<ShardPlan>,
    bells: Vec<queue::BellFd>,
    backend: rt::Backend,
    (tail, mut feeds): (tail::Plan, Vec<Option<ShardFeeds>>),
) -> Result<Vec<ShardThread>, StartError> {
    let mut tail = Some(tail);
    // Whoever writes to a socket may put a head of syslog before each line.
    let formats = config.sources.iter().map(|source| match source.kind.is_socket() {
        true => (source.name.clone(), source.format.clone().syslog()),
        false => (source.name.clone(), source.format.clone()),
    });
    let formats = Arc::new(Formats::new(formats));
    let mut threads = Vec::new();
    for (index, bell) in bells.into_iter().enumerate() {
        let spec = ShardSpec { index, cpu: Some(config.cpus[index]), backend };
        let machine =
            ShardLoop::new(index, ring_bytes(config, jobs.jobs.len()), jobs.clone()).reading(formats.clone());
        let published = Published::new(metrics.shard(index), config.sources.len());
        let (shared, counters, tail) = (shared.clone(), metrics.shard(index), tail.take());
        let feeds = feeds[index].take();
        let thread = rt::spawn_shard(spec, move |rt| async move {
            let bell = bell.attach(&rt);
            if let Some(plan) = tail {
                rt.spawn_local(tail::drive(rt.clone(), bell.clone(), shared.clone(), plan));
            }
            if let Some(feeds) = feeds {
                rt.spawn_local(feed::drive(rt.clone(), bell.clone(), shared.clone(), feeds));
            }
            rt.spawn_local(shard::tick(rt.clone(), shared.clock.clone(), counters));
            shard::drive(rt, bell, shared, machine, published).await;
        });
        threads.push(thread.map_err(|e| StartError::new(Exit::Failed, e.to_string()))?);
    }
    Ok(threads)
}

/// A core's ring. Memory of it that is never written is never resident: a few busy jobs write 8 MB over and over,
/// thousands of small ones spread over all of it.
fn ring_bytes(config: &Config, jobs: usize) -> usize {
    let spare = memory_spare(config, jobs) / config.cpus.len() as u64 / 2;
    RING_BYTES_MIN + spare.min(RING_BYTES_MORE) as usize
}

/// What is above the least, without what the jobs themselves take.
fn memory_spare(config: &Config, jobs: usize) -> u64 {
    let least = Config::memory_least(config.cpus.len()).0;
    config.memory_max.0.saturating_sub(least + JOB_BYTES * jobs as u64)
}

/// What a small job takes in all machines together.
const JOB_BYTES: u64 = 6_000;

/// What a ring has at least (16 MB per shard in all: RULINGS 7), and how much more where there is memory.
const RING_BYTES_MIN: usize = 8 << 20;
const RING_BYTES_MORE: u64 = 120 << 20;

pub(super) fn choice(said: RuntimeChoice) -> rt::Choice {
    match said {
        RuntimeChoice::Auto => rt::Choice::Auto,
        RuntimeChoice::Uring => rt::Choice::Uring,
        RuntimeChoice::Threads => rt::Choice::Threads,
    }
}

/// Vector instructions are used as far as they are wanted, the machine has them, and they prove themselves.
fn use_vectors(wanted: SimdChoice) {
    let (level, failed) = edgepush_shard::proven::proven(wanted.level().unwrap_or(Simd::best()));
    for level in failed {
        tracing::error!(
            "the vector instructions {} of this machine do not give what they should: they are not used; please report \
             it with the machine's /proc/cpuinfo",
            level.as_str()
        );
    }
    edgepush_shard::scan::set_level(level);
}

/// The machines of the delivery thread.
fn assemble(
    config: &Config,
    shared: Shared,
    jobs: Jobs,
    changing: Changing,
    recovered: &Recovered,
    reader: crate::ledger::SpoolReader,
    ending: Ending,
) -> Delivery {
    let now = shared.clock.now();
    let settings = BatcherSettings {
        shards: config.cpus.len(),
        commit_interval: config.commit_interval,
        uncommitted_bytes_max: uncommitted_bytes_max(config, jobs.len()),
        many: BatcherSettings::MANY,
    };
    let publishing = Publishing::new(recovered.shelves, jobs.are_shelved());
    let batcher = Batcher::new(settings, now, jobs.batch_jobs(), recovered.open.clone());
    let egress = config.egress_max.map(|rate| rate.0);
    let share = memory_share(config, jobs.len(), SHARE_BYTES_MAX);
    let settings = SenderSettings {
        uploads_max: SenderSettings::UPLOADS_MAX,
        bodies_bytes_max: share,
        seed: now.wall as u64,
    };
    let sender = Sender::new(jobs.send_jobs(), settings);
    let uploads = Uploads::new(Arc::new(reader), share, egress);
    Delivery::new(shared, batcher, sender, uploads, jobs, changing, publishing, ending)
}

/// An eighth of the spool (PROTOCOL P8), and what memory there is for it. A commit costs each job that has something
/// in it a few rows, so with many jobs it pays to wait until there is more for each.
fn uncommitted_bytes_max(config: &Config, jobs: usize) -> u64 {
    let most = SHARE_BYTES_MAX + SHARE_BYTES_JOB * jobs as u64;
    (config.spool_max.0 / 8).min(memory_share(config, jobs, most))
}

/// What each of three may hold: bodies that wait for their commit, that wait for their upload, that are under way. A
/// quarter of what is spare, so that the allocator has its slack.
fn memory_share(config: &Config, jobs: usize, most: u64) -> u64 {
    (memory_spare(config, jobs) / 4).clamp(2_000_000, most)
}

const SHARE_BYTES_MAX: u64 = 16_000_000;
const SHARE_BYTES_JOB: u64 = 4_000;

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(run);
    spawned.map_err(|e| StartError::new(Exit::Failed, format!("no thread for the {name}: {e}")))
}

/// Asks a running agent to end.
#[derive(Clone)]
pub struct Stopper {
    shared: Shared,
    health: Arc<Health>,
    timeout: Duration,
}

impl Stopper {
    /// Readers stop, what was read becomes durable, no upload begins.
    pub fn stop(&self) {
        crate::notify::stopping(self.timeout);
        self.health.stopping();
        self.shared.stop();
    }

    /// Readers stop, what was read is delivered.
    pub fn drain(&self) {
        self.health.stopping();
        self.shared.drain();
    }
}

impl Running {
    /// The handle that ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: self.shared.clone(), health: self.health.clone(), timeout: self.stop_timeout }
    }

    /// Its counters.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Waits until it has ended, watching its shards meanwhile.
    pub fn join(self) -> Ended {
        let mut watch = Watchdog::new(&self.shards);
        let ended = loop {
            match self.ended.recv_timeout(WATCH_EVERY) {
                Ok(ended) => break ended,
                Err(RecvTimeoutError::Timeout) => watch.look(&self.shards),
                Err(RecvTimeoutError::Disconnected) => panic!("the delivery thread has died"),
            }
        };
        self.shared.words.shards_end.store(true, Ordering::Release);
        self.shared.ring_shards();
        for thread in self.shards {
            if let Err(why) = thread.join() {
                panic!("a shard has died: {why}");
            }
        }
        self.shared.to_ledger.close();
        for (name, thread) in [("delivery", self.delivery), ("ledger", self.ledger)] {
            assert!(thread.join().is_ok(), "the {name} thread has died");
        }
        ended
    }
}

const WATCH_EVERY: Duration = Duration::from_secs(1);
/// A shard that has not ticked for so long is dead: the supervisor must restart the agent.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Sees whether every shard still ticks.
struct Watchdog {
    ticks: Vec<u64>,
    still: Vec<Duration>,
}

impl Watchdog {
    fn new(shards: &[ShardThread]) -> Watchdog {
        Watchdog { ticks: vec![0; shards.len()], still: vec![Duration::ZERO; shards.len()] }
    }

    fn look(&mut self, shards: &[ShardThread]) {
        for (at, shard) in shards.iter().enumerate() {
            let ticks = shard.ticks();
            let stands = ticks == self.ticks[at];
            self.still[at] = if stands { self.still[at] + WATCH_EVERY } else { Duration::ZERO };
            self.ticks[at] = ticks;
            assert!(self.still[at] < DEAD_AFTER, "shard {at} has not ticked for {DEAD_AFTER:?}");
        }
        crate::notify::alive();
    }
}

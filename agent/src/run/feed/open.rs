//! Opens the feeds of a start: sockets and pipes, their rows, their parts for each shard.
//!
//! Promises: all that an operator got wrong is said at once, before anything runs; a feed's row is durable before anything
//! of it is received.
//! Must not know: how feeds are read.
use super::basin::FeedWords;
use super::{ShardFeeds, ShardInlet, accept};
use crate::cli::Exit;
use crate::config::{Config, SourceKind};
use crate::ledger::{Ledger, OsDisk, Recovered};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::run::error::StartError;
use crate::run::shared::Shared;
use crate::source::feed::bind::{self, BindSettings, Bound, Inlet, SocketFile};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Connections that wait for their shard.
const CONNECTED: usize = 64;

/// What was opened.
pub(in crate::run) struct Feeds {
    globs: Vec<String>,
    bound: Vec<(u16, SourceKind, Bound)>,
    /// Every source is a pipe.
    only_pipes: bool,
}

/// What is left of them beside the shards.
pub(in crate::run) struct Opened {
    /// The globs of files, by number of the source, empty for those that are none; and all feeds.
    pub(in crate::run) tail: (Vec<String>, Vec<Arc<FeedWords>>),
    /// Each shard's part.
    pub(in crate::run) shards: Vec<Option<ShardFeeds>>,
    /// They go when the agent has ended.
    pub(in crate::run) files: Vec<SocketFile>,
}

/// A named pipe may be followed as a file by mistake, or by an older habit.
fn kind_of(kind: &SourceKind) -> SourceKind {
    match kind {
        SourceKind::File { glob } if bind::is_fifo(Path::new(glob)) => SourceKind::Pipe { path: glob.into() },
        other => other.clone(),
    }
}

impl Feeds {
    /// Opens all of them.
    ///
    /// # Errors
    /// Everything that is wrong with any of them; sockets with `--once`.
    pub(in crate::run) fn open(config: &Config, once: bool) -> Result<Feeds, StartError> {
        let settings = BindSettings {
            shards: config.cpus.len(),
            mode: config.socket_mode,
            buffer: config.socket_buffer.0,
            line_max: config.line_max as usize,
        };
        let (mut bound, mut wrong, mut globs) = (Vec::new(), Vec::new(), Vec::new());
        for (origin, spec) in config.sources.iter().enumerate() {
            let kind = kind_of(&spec.kind);
            globs.push(match &kind {
                SourceKind::File { glob } => glob.clone(),
                _ => String::new(),
            });
            if !kind.is_feed() {
                continue;
            }
            if once && kind.is_socket() {
                wrong.push(format!(
                    "{kind} has no end, so --once cannot read it: leave it out, or leave --once out"
                ));
                continue;
            }
            match bind::open(&kind, &settings) {
                Ok(feed) => bound.push((origin as u16, kind, feed)),
                Err(why) => wrong.push(format!("{kind} {why}")),
            }
        }
        if !wrong.is_empty() {
            return Err(StartError::new(Exit::Operator, wrong.join("\nedgepush: ")));
        }
        for (_, kind, feed) in &bound {
            feed.warnings.iter().for_each(|warning| tracing::warn!("{kind}: {warning}"));
        }
        let pipes = bound.iter().filter(|(_, kind, _)| !kind.is_socket()).count();
        Ok(Feeds { globs, only_pipes: pipes == config.sources.len(), bound })
    }

    /// Gives them their rows; those of earlier runs go.
    ///
    /// # Errors
    /// The ledger's.
    pub(in crate::run) fn register(
        self,
        config: &Config,
        (ledger, recovered): (&mut Ledger<OsDisk>, &mut Recovered),
    ) -> Result<Registered, StartError> {
        let names: Vec<String> = self.bound.iter().map(|(_, kind, _)| kind.to_string()).collect();
        let rows = ledger.open_feeds(&names).map_err(|e| StartError::coded(e.exit_code(), &e))?;
        recovered.sources.retain(|row| !row.is_feed());
        let feeds = self.bound.into_iter().zip(rows).zip(names);
        let feeds = feeds.map(|(((origin, _, bound), (source, seed)), path)| {
            let udp = match &bound.inlet {
                Inlet::Datagrams { udp, .. } => *udp,
                _ => None,
            };
            let words = FeedWords {
                name: config.sources[usize::from(origin)].name.clone(),
                path: path.into(),
                origin,
                source,
                seed,
                udp,
                offset: 0.into(),
                durable: 0.into(),
                connections: 0.into(),
                error: None.into(),
            };
            (Arc::new(words), bound)
        });
        Ok(Registered { globs: self.globs, feeds: feeds.collect(), only_pipes: self.only_pipes })
    }
}

/// Feeds with their rows.
pub(in crate::run) struct Registered {
    globs: Vec<String>,
    feeds: Vec<(Arc<FeedWords>, Bound)>,
    only_pipes: bool,
}

impl Registered {
    /// Gives each shard its part, and starts the thread that accepts connections.
    ///
    /// # Errors
    /// No thread is left.
    pub(in crate::run) fn share(
        self,
        config: &Config,
        once: bool,
        shared: &Shared,
        metrics: &Metrics,
    ) -> Result<Opened, StartError> {
        let shards = config.cpus.len();
        let queue = |at: usize| Queue::new(CONNECTED, std::slice::from_ref(&shared.shard_bells[at]), &[]);
        let connected: Vec<Queue<accept::Connection>> = (0..shards).map(queue).collect();
        let words: Vec<Arc<FeedWords>> = self.feeds.iter().map(|(words, _)| words.clone()).collect();
        let mut inlets: Vec<Vec<(Arc<FeedWords>, ShardInlet)>> = (0..shards).map(|_| Vec::new()).collect();
        let (mut listeners, mut files) = (Vec::<(Arc<FeedWords>, OwnedFd)>::new(), Vec::new());
        for (at, (words, bound)) in self.feeds.into_iter().enumerate() {
            files.extend(bound.file);
            match bound.inlet {
                Inlet::Datagrams { sockets, longest, .. } => {
                    // A single socket goes where the turn is, one a shard to its own.
                    let first = if sockets.len() == 1 { at } else { 0 };
                    for (n, socket) in sockets.into_iter().enumerate() {
                        let inlet = ShardInlet::Datagrams { socket, longest };
                        inlets[(first + n) % shards].push((words.clone(), inlet));
                    }
                }
                Inlet::Streams(listener) => {
                    inlets.iter_mut().for_each(|shard| shard.push((words.clone(), ShardInlet::Streams)));
                    listeners.push((words, listener));
                }
                Inlet::Pipe { fd, blocking, named } => {
                    let again = named && !self.only_pipes && !once;
                    inlets[at % shards].push((words, ShardInlet::Pipe { fd, blocking, named, again }));
                }
            }
        }
        let listens = !listeners.is_empty();
        let ends_agent = self.only_pipes && !once;
        let part = |(at, inlets): (usize, Vec<_>)| {
            (!inlets.is_empty()).then(|| ShardFeeds {
                inlets,
                connected: connected[at].clone(),
                listens,
                sync: config.socket_sync,
                line_max: config.line_max as usize,
                ends_agent,
                counters: metrics.shard(at),
            })
        };
        let parts: Vec<Option<ShardFeeds>> = inlets.into_iter().enumerate().map(part).collect();
        shared.words.feeds_open.store(parts.iter().flatten().count() as u64, Ordering::Release);
        if listens {
            let shared = shared.clone();
            let accepting = move || accept::accept(&shared, &listeners, &connected);
            let thread = std::thread::Builder::new().name("accept".into()).spawn(accepting);
            thread.map_err(|e| StartError::new(Exit::Failed, format!("no thread for connections: {e}")))?;
        }
        Ok(Opened { tail: (self.globs, words), shards: parts, files })
    }
}

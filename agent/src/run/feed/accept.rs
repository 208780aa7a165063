//! Accepts connections, on a thread of its own: neither runtime of the shards can wait for a listening socket.
//!
//! Promises: no feed has more than [`CONNECTIONS_MAX`] connections; shards take turns.
//! Must not know: what connections say.
use super::basin::FeedWords;
use crate::log::Kind;
use crate::queue::{Queue, Refused};
use crate::run::shared::Shared;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most open connections of a feed.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// How often the thread looks whether the agent ends.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A shard that cannot take a connection now is asked again after this.
const AGAIN: Duration = Duration::from_millis(5);

/// A connection on its way to its shard.
pub(super) struct Connection {
    pub(super) feed: Arc<FeedWords>,
    pub(super) fd: OwnedFd,
    pub(super) place: Place,
}

/// One of a feed's connections; it is free again with this.
pub(super) struct Place(Arc<FeedWords>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs until the agent ends.
pub(super) fn accept(shared: &Shared, listeners: &[(Arc<FeedWords>, OwnedFd)], shards: &[Queue<Connection>]) {
    static FULL: Kind = Kind::new();
    let mut next = 0;
    while !shared.words.ending() {
        let mut fds: Vec<PollFd<'_>> =
            listeners.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
        if poll(&mut fds, Some(&LOOK_EVERY)).is_err() {
            continue;
        }
        for ((feed, listener), found) in listeners.iter().zip(&fds) {
            if found.revents().is_empty() {
                continue;
            }
            let fd = match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(fd) => fd,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
                // Whoever knocked has left.
                Err(_) => continue,
            };
            if feed.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
                feed.connections.fetch_sub(1, Ordering::AcqRel);
                if let Some(count) = FULL.happened() {
                    tracing::warn!(
                        source = feed.name,
                        count,
                        "more than {CONNECTIONS_MAX} connections: closed"
                    );
                }
                continue;
            }
            next = (next + 1) % shards.len();
            let mut connection = Connection { feed: feed.clone(), fd, place: Place(feed.clone()) };
            while let Err(Refused::Full(back)) = shards[next].try_push(connection) {
                if shared.words.ending() {
                    return;
                }
                connection = back;
                std::thread::sleep(AGAIN);
            }
        }
    }
}

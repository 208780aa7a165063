//! Receives datagrams: waits with a read that gives the first one, then drains the socket (RUNTIME 4).
//!
//! Promises: as long as there is space, no datagram waits for anything but its turn on the core.
//! Must not know: what messages mean.
use super::Site;
use super::basin::Basin;
use crate::queue::Seat;
use crate::rt::{Backend, FdReader};
use crate::source::feed::Lines;
use crate::source::feed::lines::Found;
use crate::source::feed::receive::Mailbag;
use edgepush_shard::syslog::datagram;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

/// Messages of a turn: then other tasks of the core have theirs.
const MESSAGES_A_TURN: usize = 256;
/// A socket that fails is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the end waits for a datagram that a read may have taken.
const LAST_READ: Duration = Duration::from_millis(3);
/// How long the last drain may take, with a sender that does not end.
const LAST_DRAIN: Duration = Duration::from_millis(500);

struct Receiver {
    site: Site,
    basin: Rc<RefCell<Basin>>,
    socket: OwnedFd,
    reader: FdReader,
    bag: Mailbag,
    longest: usize,
}

/// Runs until nothing more is to be read; then drains the socket once.
pub(super) async fn receive(site: Site, basin: Rc<RefCell<Basin>>, socket: OwnedFd, longest: usize) {
    let again = match socket.try_clone() {
        Ok(again) => again,
        Err(error) => return basin.borrow().words.set_error(Some(format!("no descriptor is left: {error}"))),
    };
    let reader = site.rt.fd_reader(again);
    let bag = Mailbag::new(longest);
    let mut receiver = Receiver { site, basin, socket, reader, bag, longest };
    while !receiver.site.gate.is_closed() {
        receiver.space().await;
        let gate = receiver.site.gate.clone();
        match gate.unless_closed(receiver.reader.read(receiver.longest)).await {
            None => break,
            Some(Ok(first)) => receiver.take(&first),
            Some(Err(error)) => {
                receiver.fail(&error).await;
                continue;
            }
        }
        receiver.drain().await;
    }
    receiver.last().await;
}

impl Receiver {
    /// Waits until there is space for messages.
    async fn space(&self) {
        let look = || {
            let mut basin = self.basin.borrow_mut();
            basin.emit();
            (basin.has_space() || self.site.gate.is_closed()).then_some(())
        };
        self.site.bell.until(look).await;
    }

    fn take(&mut self, message: &[u8]) {
        let when = (self.site.now(), self.site.line_max);
        let first = put(&mut self.basin.borrow_mut(), when, message, message.len());
        if first {
            self.site.poke();
        }
    }

    /// Takes what is there, in turns.
    async fn drain(&mut self) {
        loop {
            let mut messages = 0;
            while messages < MESSAGES_A_TURN && self.basin.borrow().has_space() {
                match self.some() {
                    Ok(0) => break,
                    Ok(some) => messages += some,
                    Err(error) => return self.fail(&error).await,
                }
            }
            self.basin.borrow_mut().emit();
            self.site.rt.pause().await;
            if messages < MESSAGES_A_TURN || self.site.gate.is_closed() {
                return;
            }
        }
    }

    /// Takes some messages that are there; answers how many.
    fn some(&mut self) -> io::Result<usize> {
        // One look at the clock for all of them.
        let when = (self.site.now(), self.site.line_max);
        let mut basin = self.basin.borrow_mut();
        let mut first = false;
        let received = self.bag.receive(self.socket.as_fd(), |message| {
            first |= put(&mut basin, when, message.bytes, message.length);
        });
        basin.note_drops(self.bag.dropped());
        drop(basin);
        if first {
            self.site.poke();
        }
        received
    }

    async fn fail(&self, error: &io::Error) {
        let (name, said) = (self.basin.borrow().words.name.clone(), error.to_string());
        tracing::warn!(source = name, "cannot be read: {said}; it is tried again");
        self.basin.borrow().words.set_error(Some(said));
        let _ = self.site.gate.unless_closed(self.site.rt.sleep(AGAIN)).await;
        self.basin.borrow().words.set_error(None);
    }

    /// The last drain: what came before the end was asked for is received.
    async fn last(&mut self) {
        // Who sends to a unix socket from here on gets an error, and need not believe that it was heard.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Read);
        let until = self.site.now() + LAST_DRAIN;
        while self.site.now() < until && self.basin.borrow().has_space() {
            let drained = self.some();
            if drained.is_err() {
                return;
            }
            if drained.is_ok_and(|messages| messages > 0) {
                continue;
            }
            // A ring's read may have taken one. Readiness of a socket that was shut down never ends: no waiting there.
            if self.site.rt.backend() == Backend::Threads {
                return;
            }
            match self.site.rt.timeout(LAST_READ, self.reader.read(self.longest)).await {
                Some(Ok(message)) if !message.is_empty() => self.take(&message),
                _ => return,
            }
        }
    }
}

/// Puts a message of this length, of which so many bytes fitted. Answers whether it is the first that waits.
fn put(basin: &mut Basin, (now, line_max): (Duration, usize), message: &[u8], length: usize) -> bool {
    if message.len() <= line_max {
        return basin.collector.append(now, |out| datagram(message, out)).1;
    }
    // With a head it is one line; without one it may hold several that are short enough.
    if length > message.len() || message.starts_with(b"<") {
        basin.collector.too_long(now, message, length as u64);
        return false;
    }
    let mut first = false;
    let mut lines = Lines::new(line_max);
    let mut each = |found: Found<'_>| match found {
        Found::Lines(text) => first |= basin.collector.append(now, |out| datagram(text, out)).1,
        Found::TooLong(kept, length) => basin.collector.too_long(now, kept, length),
    };
    lines.push(message, &mut each);
    lines.end(&mut each);
    first
}

//! Reads a pipe: standard input, or a named one.
//!
//! Promises: it is read only while there is room; its last line needs no end; a named pipe that is not the agent's last
//! source is read again for the next writer.
//! Must not know: what lines mean.
use super::Site;
use super::basin::Basin;
use super::streams::{LAST_READ, LAST_READS};
use crate::source::feed::Lines;
use crate::source::feed::lines::Found;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::RefCell;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of one read: what a pipe holds.
const READ_BYTES: usize = 64 << 10;
/// How often a named pipe is looked at while nobody writes to it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lines of one writer on their way.
struct Writer<'a> {
    site: &'a Site,
    basin: &'a RefCell<Basin>,
    lines: Lines,
}

impl<'a> Writer<'a> {
    fn new(site: &'a Site, basin: &'a RefCell<Basin>) -> Writer<'a> {
        Writer { site, basin, lines: Lines::new(site.line_max) }
    }

    fn put(&mut self, bytes: &[u8]) {
        let (mut basin, now) = (self.basin.borrow_mut(), self.site.now());
        let mut first = false;
        self.lines.push(bytes, |found| first |= take(&mut basin, now, found));
        basin.emit();
        drop(basin);
        if first {
            self.site.poke();
        }
    }

    fn end(&mut self) {
        let (mut basin, now) = (self.basin.borrow_mut(), self.site.now());
        self.lines.end(|found| _ = take(&mut basin, now, found));
        // A line without its end must not run into the next writer's first one.
        basin.collector.cut();
        basin.emit();
        drop(basin);
        self.site.poke();
    }
}

fn take(basin: &mut Basin, now: Duration, found: Found<'_>) -> bool {
    match found {
        Found::Lines(text) => basin.collector.append(now, |out| out.extend_from_slice(text)).1,
        Found::TooLong(kept, length) => {
            basin.collector.too_long(now, kept, length);
            false
        }
    }
}

/// Runs until the pipe has ended, or nothing more is to be read. `again`: then the next writer is waited for.
pub(super) async fn read(site: Site, basin: Rc<RefCell<Basin>>, fd: OwnedFd, (named, again): (bool, bool)) {
    let looking = fd.try_clone();
    let mut reader = site.rt.fd_reader(fd);
    loop {
        if named
            && let Ok(looking) = &looking
            && !writer(&site, looking, again).await
        {
            return;
        }
        let mut writer = Writer::new(&site, &basin);
        let closed = loop {
            site.room(&basin).await;
            match site.gate.unless_closed(reader.read(READ_BYTES)).await {
                Some(Ok(bytes)) if !bytes.is_empty() => writer.put(&bytes),
                Some(Ok(_)) => break false,
                Some(Err(error)) => {
                    tracing::warn!(source = basin.borrow().words.name, "cannot be read on: {error}");
                    break false;
                }
                None => break true,
            }
            site.rt.pause().await;
        };
        if closed {
            for _ in 0..LAST_READS {
                match site.rt.timeout(LAST_READ, reader.read(READ_BYTES)).await {
                    Some(Ok(bytes)) if !bytes.is_empty() => writer.put(&bytes),
                    _ => break,
                }
            }
        }
        writer.end();
        if closed || !again {
            return;
        }
    }
}

/// Waits until somebody has written to a named pipe; `false`: nothing more is to be read of it.
async fn writer(site: &Site, fd: &OwnedFd, again: bool) -> bool {
    while !site.gate.is_closed() {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let found = poll(&mut fds, Some(&at_once)).map(|_| fds[0].revents()).unwrap_or(PollFlags::empty());
        if found.contains(PollFlags::IN) {
            return true;
        }
        // Somebody came, and left without a word.
        if found.contains(PollFlags::HUP) && !again {
            return false;
        }
        let _ = site.gate.unless_closed(site.rt.sleep(LOOK_EVERY)).await;
    }
    false
}

/// Reads what cannot be waited for (a regular file as standard input) on the blocking thread.
pub(super) async fn read_blocking(site: Site, basin: Rc<RefCell<Basin>>, fd: OwnedFd) {
    let mut file = std::fs::File::from(fd);
    let mut writer = Writer::new(&site, &basin);
    while !site.gate.is_closed() {
        site.room(&basin).await;
        let read = move || {
            let mut bytes = vec![0; READ_BYTES];
            let read = file.read(&mut bytes);
            (file, bytes, read)
        };
        let (back, bytes, read) = site.rt.spawn_blocking(read).await;
        file = back;
        match read {
            Ok(0) => break,
            Ok(read) => writer.put(&bytes[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(source = basin.borrow().words.name, "cannot be read on: {error}");
                break;
            }
        }
    }
    writer.end();
}

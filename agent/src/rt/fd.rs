//! fd: reads from a descriptor that becomes readable now and then (inotify, eventfd, sockets).
//!
//! Promises: a read that was begun is never cancelled: if the future of [`FdReader::read`] is dropped, the next call
//! goes on with the same read, so no event is lost. An interrupted read is retried.
//! Must not know: what the bytes mean.
use super::{On, Rt, uring};
use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The reading end of a descriptor, owned by one task and kept until the shard ends.
pub struct FdReader {
    from: From,
}

enum From {
    Uring { reader: uring::OwnedReader, pending: Option<uring::Pending> },
    Threads(AsyncFd<OwnedFd>),
    Broken(io::Error),
}

impl FdReader {
    pub(super) fn new(rt: &Rt, fd: OwnedFd) -> FdReader {
        let from = match Self::open(rt, fd) {
            Ok(from) => from,
            Err(error) => From::Broken(error),
        };
        FdReader { from }
    }

    fn open(rt: &Rt, fd: OwnedFd) -> io::Result<From> {
        let flags = fcntl_getfl(&fd)?;
        match rt.shard.on {
            On::Uring => {
                fcntl_setfl(&fd, flags - OFlags::NONBLOCK)?;
                Ok(From::Uring { reader: uring::OwnedReader::new(fd), pending: None })
            }
            On::Threads(_) => {
                fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
                Ok(From::Threads(register(fd)?))
            }
        }
    }

    /// Waits until the descriptor is readable and reads once, at most `bytes_max` bytes (a message that is longer is
    /// cut, as by `read(2)`). Use the same `bytes_max` in every call: a call after a dropped one gets that one's read.
    pub async fn read(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        loop {
            let out = match &mut self.from {
                From::Uring { reader, pending } => {
                    let reading = pending.get_or_insert_with(|| reader.begin(bytes_max));
                    let out = reading.await.expect("INVARIANT: a detached read is never cancelled");
                    *pending = None;
                    out
                }
                From::Threads(fd) => read_when_ready(fd, bytes_max).await,
                From::Broken(error) => Err(copy_of(error)),
            };
            match out {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                out => return out,
            }
        }
    }
}

#[allow(unsafe_code)] // The safe constructor is deprecated.
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor from here until the `AsyncFd` drops it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Readiness and read have no await between them, so dropping this loses nothing.
async fn read_when_ready(fd: &AsyncFd<OwnedFd>, bytes_max: usize) -> io::Result<Vec<u8>> {
    loop {
        let mut ready = fd.readable().await?;
        let mut buf = Vec::with_capacity(bytes_max);
        if let Ok(read) = ready.try_io(|fd| Ok(rustix::io::read(fd, spare_capacity(&mut buf))?)) {
            return read.map(|_| buf);
        }
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

//! Body: what is sent: a text, or stretches of a file.
//!
//! Promises: of a file at most [`PIECE_BYTES`] are in memory per download; what the page cache has is read without leaving
//! the thread, and what a disk must give is waited for elsewhere; a file that ends early breaks the answer off, it is
//! never filled up.
//! Must not know: HTTP, whose file it is.
use crate::archive::Lease;
use crate::metrics::LogsCounters;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// Bytes that are read and written at once: few enough to be still in a core's own cache when they are written.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Buffers that are kept for the next download.
const KEPT_MAX: usize = 8;

/// What is sent.
pub enum LogsBody {
    /// A text, or nothing.
    Text(Option<Bytes>),
    /// Stretches of a file.
    File(Box<FileBody>),
}

impl LogsBody {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> LogsBody {
        LogsBody::Text(Some(text.into()).filter(|text: &Bytes| !text.is_empty()))
    }
}

/// Stretches of a file, and what ends when they are sent.
pub struct FileBody {
    file: Arc<File>,
    runs: VecDeque<Range<u64>>,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    buffers: Buffers,
    counters: Arc<LogsCounters>,
    _lease: Lease,
    _open: super::turnstile::Open,
}

impl FileBody {
    /// These stretches, in this order. None is empty.
    pub fn new(
        file: File,
        runs: Vec<Range<u64>>,
        (buffers, counters): (Buffers, Arc<LogsCounters>),
        (lease, open): (Lease, super::turnstile::Open),
    ) -> FileBody {
        let left = runs.iter().map(|run| run.end - run.start).sum();
        counters.open.fetch_add(1, Relaxed);
        let (file, runs) = (Arc::new(file), runs.into());
        FileBody { file, runs, left, reading: None, buffers, counters, _lease: lease, _open: open }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            let read = read.unwrap_or_else(|_| Err(io::Error::other("the agent stops")));
            return Poll::Ready(Some(read.map(|piece| self.sent(piece))));
        }
        let Some(run) = self.runs.front() else { return Poll::Ready(None) };
        let wanted = PIECE_BYTES.min(usize::try_from(run.end - run.start).unwrap_or(PIECE_BYTES));
        let mut buffer = self.buffers.take();
        match preadv2(
            &self.file,
            &mut [IoSliceMut::new(&mut buffer[..wanted])],
            run.start,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(0) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(read) => {
                let piece = self.buffers.lend(buffer, read);
                Poll::Ready(Some(Ok(self.sent(piece))))
            }
            // Not in the page cache, or a file system that cannot say.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                let (file, at, buffers) = (self.file.clone(), run.start, self.buffers.clone());
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    match rustix::io::retry_on_intr(|| pread(&file, &mut buffer[..wanted], at))? {
                        0 => Err(io::ErrorKind::UnexpectedEof.into()),
                        read => Ok(buffers.lend(buffer, read)),
                    }
                }));
                self.poll_piece(context)
            }
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn sent(&mut self, piece: Bytes) -> Bytes {
        let read = piece.len() as u64;
        self.left -= read;
        self.counters.bytes.fetch_add(read, Relaxed);
        if let Some(run) = self.runs.front_mut() {
            run.start += read;
            if run.start >= run.end {
                self.runs.pop_front();
            }
        }
        piece
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Relaxed);
    }
}

impl Body for LogsBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            LogsBody::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            LogsBody::File(file) => {
                file.poll_piece(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            LogsBody::Text(text) => text.is_none(),
            LogsBody::File(file) => file.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            LogsBody::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            LogsBody::File(file) => file.left,
        })
    }
}

/// Buffers of [`PIECE_BYTES`] that come back when a piece is sent.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    fn take(&self) -> Box<[u8]> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; PIECE_BYTES].into_boxed_slice())
    }

    fn lend(&self, buffer: Box<[u8]>, bytes: usize) -> Bytes {
        Bytes::from_owner(Lent { buffer, bytes, home: self.clone() })
    }
}

/// A piece that is being sent.
struct Lent {
    buffer: Box<[u8]>,
    bytes: usize,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.bytes]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

//! body: a request's body that is many pieces, and whether an exchange still moves.
//!
//! Promises: no piece is copied; an exchange in which nothing moves for [`IDLE`] ends.
//! Must not know: what is sent, to whom.
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest time in which neither the body goes on nor an answer comes.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// When the exchange moved last.
pub struct Moved(Mutex<Instant>);

impl Moved {
    pub(super) fn new() -> Moved {
        Moved(Mutex::new(Instant::now()))
    }

    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of `exchange`, or nothing once it has not moved for [`IDLE`].
    pub(super) async fn watch<T>(&self, exchange: impl Future<Output = T>) -> Option<T> {
        let mut exchange = pin!(exchange);
        loop {
            let at = self.last() + IDLE;
            match timeout_at(at, exchange.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if self.last() + IDLE > at => {}
                Err(_) => return None,
            }
        }
    }
}

/// A body that is many pieces, none of them copied.
pub struct UploadBody {
    parts: VecDeque<Bytes>,
    left: u64,
    moved: Arc<Moved>,
}

impl UploadBody {
    /// A body whose exchange is watched from outside; [`From`] is for all others.
    pub(super) fn new(parts: Vec<Bytes>, moved: Arc<Moved>) -> UploadBody {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        UploadBody { parts: parts.into(), left, moved }
    }

    /// None.
    pub fn empty() -> UploadBody {
        UploadBody::from(Vec::new())
    }

    /// What is still to be sent of it.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// When its exchange moved last.
    pub(super) fn moved(&self) -> &Arc<Moved> {
        &self.moved
    }
}

impl From<Vec<Bytes>> for UploadBody {
    fn from(parts: Vec<Bytes>) -> UploadBody {
        UploadBody::new(parts, Arc::new(Moved::new()))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.pop_front();
        if let Some(part) = &part {
            self.left -= part.len() as u64;
        }
        self.moved.now();
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

//! put: a batch becomes one object, in one request or, if it is large, in parts.
//!
//! Promises: no byte is copied: parts are slices of the pieces; an object appears whole or not at all; an upload in
//! parts that fails is aborted, so that the store keeps nothing of it.
//! Must not know: whose store it is, what an answer means.
use super::connector::{heard_here, listening};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// How long the abort of an upload in parts may take.
const ABORT: Duration = Duration::from_secs(20);

/// When objects are sent in parts, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Larger objects are.
    pub over_bytes: u64,
    /// Bytes of a part; the last one is smaller.
    pub part_bytes: usize,
    /// Parts that are under way at the same time.
    pub parallel: usize,
}

impl Default for Parts {
    /// One request up to 50 MB; beyond it parts of 8 MiB, three at a time.
    fn default() -> Parts {
        Parts { over_bytes: 50_000_000, part_bytes: 8 * 1024 * 1024, parallel: 3 }
    }
}

/// Why a put failed.
#[derive(Debug)]
pub enum Failure {
    /// The store says so.
    Store(object_store::Error),
    /// The time for it is over.
    Late,
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Failure {
        Failure::Store(error)
    }
}

/// Puts a body as one object before `limit`.
///
/// # Errors
/// The store's, or the time is over.
pub async fn put(
    store: &dyn ObjectStore,
    at: &Path,
    body: &[Bytes],
    how: (PutMode, Attributes),
    limit: Instant,
) -> Result<(), Failure> {
    let (mode, attributes) = how;
    let payload = PutPayload::from_iter(body.iter().filter(|piece| !piece.is_empty()).cloned());
    let options = PutOptions { mode, attributes, ..PutOptions::default() };
    match timeout_at(limit, store.put_opts(at, payload, options)).await {
        Ok(done) => Ok(done.map(drop)?),
        Err(_) => Err(Failure::Late),
    }
}

/// Puts a body in parts before `limit`.
///
/// # Errors
/// The store's, or the time is over; what was sent is gone again.
pub async fn put_parts(
    store: &dyn ObjectStore,
    at: &Path,
    body: &[Bytes],
    how: (Parts, Attributes),
    limit: Instant,
) -> Result<(), Failure> {
    let (parts, attributes) = how;
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let Ok(begun) = timeout_at(limit, store.put_multipart_opts(at, options)).await else {
        return Err(Failure::Late);
    };
    let mut upload = begun?;
    let sent = timeout_at(limit, send(&mut *upload, body, parts)).await;
    let failure = match sent {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Failure::Store(error),
        Err(_) => Failure::Late,
    };
    // What the abort hears is not what became of the upload.
    let (aborted, _) = listening(timeout(ABORT, upload.abort())).await;
    if !matches!(aborted, Ok(Ok(()))) {
        tracing::debug!(object = %at, "an unfinished upload in parts could not be aborted");
    }
    Err(failure)
}

async fn send(upload: &mut dyn MultipartUpload, body: &[Bytes], parts: Parts) -> object_store::Result<()> {
    let mut under_way = JoinSet::new();
    for part in Cut::new(body, parts.part_bytes) {
        while under_way.len() >= parts.parallel.max(1) {
            joined(under_way.join_next().await)?;
        }
        under_way.spawn(heard_here(upload.put_part(part)));
    }
    while !under_way.is_empty() {
        joined(under_way.join_next().await)?;
    }
    upload.complete().await.map(drop)
}

/// The result of a part; a panic in it is ours.
fn joined(
    part: Option<Result<object_store::Result<()>, tokio::task::JoinError>>,
) -> object_store::Result<()> {
    match part {
        None => Ok(()),
        Some(Ok(done)) => done,
        Some(Err(ended)) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(source) => Err(object_store::Error::JoinError { source }),
        },
    }
}

/// A body cut into parts of one size, the last one smaller.
struct Cut {
    pieces: VecDeque<Bytes>,
    part_bytes: usize,
}

impl Cut {
    fn new(body: &[Bytes], part_bytes: usize) -> Cut {
        let pieces = body.iter().filter(|piece| !piece.is_empty()).cloned().collect();
        Cut { pieces, part_bytes: part_bytes.max(1) }
    }
}

impl Iterator for Cut {
    type Item = PutPayload;

    fn next(&mut self) -> Option<PutPayload> {
        let (mut part, mut room) = (Vec::new(), self.part_bytes);
        while let Some(mut piece) = self.pieces.pop_front() {
            if piece.len() > room {
                let rest = piece.split_off(room);
                self.pieces.push_front(rest);
            }
            room -= piece.len();
            part.push(piece);
            if room == 0 {
                break;
            }
        }
        (!part.is_empty()).then(|| PutPayload::from_iter(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_one_size_and_are_slices_of_the_body() {
        let body: Vec<Bytes> = [&b"abc"[..], b"", b"defghij", b"k"].map(Bytes::from_static).to_vec();
        let parts: Vec<PutPayload> = Cut::new(&body, 4).collect();
        let joined: Vec<Vec<u8>> =
            parts.iter().map(|part| part.iter().flatten().copied().collect()).collect();
        assert_eq!(joined, [b"abcd".to_vec(), b"efgh".to_vec(), b"ijk".to_vec()]);
        let first = parts[0].iter().next().expect("a piece");
        assert_eq!(first.as_ptr(), body[0].as_ptr(), "it was copied");
        assert_eq!(Cut::new(&[], 4).count(), 0);
        assert_eq!(Cut::new(&body, 11).count(), 1);
    }
}

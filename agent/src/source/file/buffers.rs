//! buffers: what large reads go into, used again and again.
//!
//! Promises: a buffer comes back when the last chunk that was cut out of it is processed, from whichever thread; a
//! buffer is never cleared and never given back to the system, up to a number of them; small reads get memory of their own.
//! Must not know: what is read.
use bytes::Bytes;
use crossbeam::queue::ArrayQueue;
use edgepush_shard::limits::{READ_BYTES_COLD, TAIL_BYTES_MAX};
use std::sync::Arc;

/// Buffers that are kept beside those of the chunks that wait or are worked on: those of the reads under way.
const KEPT_BESIDE: usize = 2;
/// Reads below this are not worth a buffer that is held by a small chunk.
const POOLED_BYTES_MIN: usize = 64 * 1024;
/// The largest usual read.
const BUFFER_BYTES: usize = READ_BYTES_COLD + TAIL_BYTES_MAX;

/// Read buffers. Clones share them.
#[derive(Clone, Debug)]
pub struct Buffers {
    free: Arc<ArrayQueue<Vec<u8>>>,
}

/// A buffer that comes back when it is dropped.
struct Lent {
    bytes: Vec<u8>,
    filled: usize,
    home: Arc<ArrayQueue<Vec<u8>>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Full: there were more than are kept, this one goes.
        let _ = self.home.push(std::mem::take(&mut self.bytes));
    }
}

impl Buffers {
    /// Buffers for so many chunks at once.
    pub fn new(chunks: usize) -> Buffers {
        Buffers { free: Arc::new(ArrayQueue::new(chunks + KEPT_BESIDE)) }
    }

    /// A buffer for a read of at most `len` bytes; it may be longer, and what stands in it is of an earlier read.
    pub fn take(&self, len: usize) -> Vec<u8> {
        if !(POOLED_BYTES_MIN..=BUFFER_BYTES).contains(&len) {
            return vec![0; len];
        }
        self.free.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    /// A buffer that was taken and is not needed.
    pub fn put_back(&self, bytes: Vec<u8>) {
        if bytes.len() == BUFFER_BYTES {
            let _ = self.free.push(bytes);
        }
    }

    /// The first `filled` bytes of a buffer that was taken.
    pub fn lend(&self, bytes: Vec<u8>, filled: usize) -> Bytes {
        if bytes.len() != BUFFER_BYTES {
            let mut bytes = bytes;
            bytes.truncate(filled);
            return bytes.into();
        }
        Bytes::from_owner(Lent { bytes, filled, home: self.free.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_chunk() {
        let buffers = Buffers::new(1);
        let mut one = buffers.take(READ_BYTES_COLD);
        one[..3].copy_from_slice(b"abc");
        let place = one.as_ptr();
        let read = buffers.lend(one, 3);
        let chunk = read.slice(1..);
        drop(read);
        let other = buffers.take(READ_BYTES_COLD);
        assert_ne!(other.as_ptr(), place, "a chunk still holds it");
        assert_eq!(&chunk[..], b"bc");
        drop(chunk);
        let again = buffers.take(READ_BYTES_COLD);
        assert_eq!(again.as_ptr(), place);
        assert_eq!(buffers.take(100).len(), 100);
        assert_eq!(buffers.lend(buffers.take(100), 7).len(), 7);
    }
}

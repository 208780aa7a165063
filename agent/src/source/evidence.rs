//! Evidence: hashes of a file's bytes as they were read, by which its row finds it again (PROTOCOL S1, S2).
//!
//! Promises: the hashes stand in ledgers, so they never change between releases: SipHash-1-3, zero key.
//! Must not know: files.
use crate::protocol::Head;
use edgepush_shard::limits::{HEAD_BYTES_MAX, TAIL_BYTES_MAX};
use siphasher::sip::SipHasher13;

fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(0, 0).hash(bytes)
}

/// Hash of a file's first bytes: of at most 1 KiB of what is given. `head_hash(&[])` is the hash of nothing, not 0.
pub fn head_hash(bytes: &[u8]) -> u64 {
    hash(&bytes[..bytes.len().min(HEAD_BYTES_MAX)])
}

/// Hash of the ≤ 64 bytes before an offset: of the last 64 bytes of what is given.
pub fn tail_hash(bytes: &[u8]) -> u64 {
    hash(&bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..])
}

/// The head of a file that begins with `bytes`.
pub fn head_of(bytes: &[u8]) -> Head {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    Head { len: bytes.len() as u32, hash: if bytes.is_empty() { 0 } else { hash(bytes) } }
}

/// Whether a file that begins with `bytes` (its first KiB, or all of it) has this head, whole.
pub fn has_head(bytes: &[u8], head: Head) -> bool {
    let len = head.len as usize;
    len == 0 || bytes.len() >= len && hash(&bytes[..len]) == head.hash
}

/// The ≤ 64 bytes before an offset, carried along while a file is read, so that a chunk shorter than that has
/// whole evidence too.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    bytes: [u8; TAIL_BYTES_MAX],
    len: usize,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { bytes: [0; TAIL_BYTES_MAX], len: 0 }
    }
}

impl Tail {
    /// Bytes that prove an offset.
    pub fn needed(offset: u64) -> usize {
        offset.min(TAIL_BYTES_MAX as u64) as usize
    }

    /// Whether these are all the bytes that prove `offset`.
    pub fn proves(&self, offset: u64) -> bool {
        self.len == Tail::needed(offset)
    }

    /// Goes on by `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.len() >= TAIL_BYTES_MAX {
            self.bytes.copy_from_slice(&bytes[bytes.len() - TAIL_BYTES_MAX..]);
            self.len = TAIL_BYTES_MAX;
            return;
        }
        let kept = self.len.min(TAIL_BYTES_MAX - bytes.len());
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.bytes[kept..kept + bytes.len()].copy_from_slice(bytes);
        self.len = kept + bytes.len();
    }

    /// Goes on by `count` NUL bytes.
    pub fn push_nul(&mut self, count: u64) {
        let zeros = [0; TAIL_BYTES_MAX];
        self.push(&zeros[..count.min(TAIL_BYTES_MAX as u64) as usize]);
    }

    /// The evidence.
    pub fn hash(&self) -> u64 {
        tail_hash(&self.bytes[..self.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(head_hash(b""), 0xd1fb_a762_150c_532c);
        assert_eq!(head_hash(b"GET / HTTP/1.1\n"), tail_hash(b"GET / HTTP/1.1\n"));
    }

    #[test]
    fn a_head_is_at_most_one_kib_and_a_tail_64_bytes() {
        let long: Vec<u8> = (0..4096u32).map(|i| i as u8 ^ (i >> 8) as u8).collect();
        assert_eq!(head_hash(&long), head_hash(&long[..1024]));
        assert_ne!(head_hash(&long), head_hash(&long[..1023]));
        assert_eq!(tail_hash(&long), tail_hash(&long[4032..]));
        assert_ne!(tail_hash(&long), tail_hash(&long[4033..]));
        assert_eq!(head_of(&long).len, 1024);
        assert!(has_head(&long, head_of(&long[..10])));
        assert!(!has_head(&long[..9], head_of(&long[..10])));
        assert!(!has_head(&long[1..], head_of(&long[..10])));
    }

    #[test]
    fn a_tail_that_is_carried_equals_the_tail_of_the_whole() {
        let all: Vec<u8> = (0..300u32).map(|i| (i * 7) as u8).collect();
        for step in [1, 3, 63, 64, 65, 100] {
            let mut tail = Tail::default();
            let mut at = 0;
            for part in all.chunks(step) {
                tail.push(part);
                at += part.len();
                assert_eq!(tail.hash(), tail_hash(&all[..at]), "step {step}, at {at}");
                assert!(tail.proves(at as u64));
            }
        }
        let mut tail = Tail::default();
        tail.push(b"abc");
        tail.push_nul(5);
        assert_eq!(tail.hash(), tail_hash(b"abc\0\0\0\0\0"));
    }
}

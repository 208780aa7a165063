//! Identity: whether two files are one, by what stands in them (PROTOCOL S1, S4; RULINGS 4).
//!
//! Promises: a row without evidence matches nothing; nothing here reads.
//! Must not know: positions, stages.
use crate::protocol::{FileIdent, Head};
use crate::source::evidence::{has_head, head_hash};

/// How a stranger's first bytes compare with a row's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The row's head, whole.
    Same,
    /// All that the stranger has so far is how the row's file begins.
    Stub,
    /// The stranger is shorter than the row's head, whose bytes no one has: not known.
    Unknown,
    /// Another file, or no evidence.
    Other,
}

/// Compares a stranger's first ≤ 1 KiB with a row's head; `head_bytes` are the head's bytes where they are known.
pub(super) fn likeness(stranger: &[u8], head: Head, head_bytes: &[u8]) -> Likeness {
    let len = head.len as usize;
    if len == 0 || stranger.is_empty() || is_nul(head) {
        return Likeness::Other;
    }
    if stranger.len() >= len {
        return if has_head(stranger, head) { Likeness::Same } else { Likeness::Other };
    }
    if head_bytes.len() < len {
        return Likeness::Unknown;
    }
    if head_bytes.starts_with(stranger) { Likeness::Stub } else { Likeness::Other }
}

/// A head of nothing but NUL proves nothing: every file that was truncated under its writer begins so.
fn is_nul(head: Head) -> bool {
    let zeros = [0; edgepush_shard::limits::HEAD_BYTES_MAX];
    head.hash == head_hash(&zeros[..head.len as usize])
}

/// Whether a file may be the one that a row names: the inode, and the birth time where both have it. The device counts
/// only when the host has not booted in between (PROTOCOL S1).
pub(super) fn same_inode(row: FileIdent, seen: FileIdent, with_dev: bool) -> bool {
    row.ino == seen.ino
        && (!with_dev || row.dev == seen.dev)
        && match (row.btime, seen.btime) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::evidence::head_of;

    #[test]
    fn no_evidence_matches_nothing() {
        assert_eq!(likeness(b"abc", Head::default(), b""), Likeness::Other);
        assert_eq!(likeness(b"", head_of(b"abc"), b"abc"), Likeness::Other);
        assert_eq!(likeness(b"\0\0\0\0", head_of(b"\0\0\0"), b"\0\0\0"), Likeness::Other);
    }

    #[test]
    fn likeness_is_of_the_whole_head() {
        let head = head_of(b"abcdef");
        assert_eq!(likeness(b"abcdef", head, b""), Likeness::Same);
        assert_eq!(likeness(b"abcdefgh", head, b""), Likeness::Same);
        assert_eq!(likeness(b"abcdeX", head, b""), Likeness::Other);
        assert_eq!(likeness(b"abc", head, b""), Likeness::Unknown);
        assert_eq!(likeness(b"abc", head, b"abcdef"), Likeness::Stub);
        assert_eq!(likeness(b"abX", head, b"abcdef"), Likeness::Other);
    }

    #[test]
    fn an_inode_is_the_same_by_number_and_birth() {
        let a = FileIdent { dev: 1, ino: 2, btime: Some(3) };
        assert!(same_inode(a, a, true));
        assert!(!same_inode(a, FileIdent { dev: 9, ..a }, true));
        assert!(same_inode(a, FileIdent { dev: 9, ..a }, false));
        assert!(!same_inode(a, FileIdent { btime: Some(4), ..a }, false));
        assert!(same_inode(a, FileIdent { btime: None, ..a }, true));
        assert!(!same_inode(a, FileIdent { ino: 7, ..a }, true));
    }
}

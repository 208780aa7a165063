//! Collector: lines become chunks of a useful size, and none waits long for it.
//!
//! Promises: a piece holds whole lines, at most [`PIECE_BYTES_MAX`] or one longer line alone; what was put in comes out
//! once and in order.
//! Must not know: who sent the lines, where pieces go.
use bytes::Bytes;
use edgepush_shard::chunk::ChunkKind;
use edgepush_shard::limits::{HEAD_BYTES_MAX, TOO_LONG_KEPT_BYTES};
use std::collections::VecDeque;
use std::time::Duration;

/// Lines wait at most so long for others to share their chunk.
pub const AGE_MAX: Duration = Duration::from_millis(50);
/// A piece is cut as soon as it has so many bytes: large enough that its cost is its lines', small enough that a core is
/// back at its sockets within 2 ms (RUNTIME 4).
pub const PIECE_BYTES: usize = 256 << 10;
/// No piece is larger, but for one line alone (RULINGS 3).
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// What becomes a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: Bytes,
    /// What they are.
    pub kind: ChunkKind,
}

impl Piece {
    /// How many bytes of the feed it stands for.
    pub fn length(&self) -> u64 {
        match self.kind {
            ChunkKind::TooLong { length } => length + 1,
            _ => self.bytes.len() as u64,
        }
    }
}

/// Joins lines.
#[derive(Debug, Default)]
pub struct Collector {
    text: Vec<u8>,
    /// When the first line of `text` came (monotonic).
    first_at: Option<Duration>,
    ready: VecDeque<(Piece, Duration)>,
    ready_bytes: usize,
    head: Bytes,
}

impl Collector {
    /// Lets `put` append whole lines, each ended by `\n`. Answers whether they are the first that wait here.
    pub fn append<T>(&mut self, now: Duration, put: impl FnOnce(&mut Vec<u8>) -> T) -> (T, bool) {
        let was_idle = self.first_at.is_none();
        let out = put(&mut self.text);
        if !self.text.is_empty() {
            self.first_at.get_or_insert(now);
        }
        if self.text.len() >= PIECE_BYTES {
            self.cut();
        }
        (out, was_idle && self.first_at.is_some())
    }

    /// A line that is longer than `EDGEPUSH_LINE_MAX`: its first bytes, and its whole length.
    pub fn too_long(&mut self, now: Duration, line: &[u8], length: u64) {
        self.cut();
        let bytes = Bytes::copy_from_slice(&line[..line.len().min(TOO_LONG_KEPT_BYTES)]);
        self.push(Piece { bytes, kind: ChunkKind::TooLong { length } }, now);
    }

    /// What waits becomes a piece, whatever its size.
    pub fn cut(&mut self) {
        let Some(at) = self.first_at.take() else { return };
        let mut rest = Bytes::from(std::mem::take(&mut self.text));
        if self.head.len() < HEAD_BYTES_MAX {
            let more = &rest[..rest.len().min(HEAD_BYTES_MAX - self.head.len())];
            self.head = [&self.head, more].concat().into();
        }
        while rest.len() > PIECE_BYTES_MAX {
            let end =
                memchr::memrchr(b'\n', &rest[..PIECE_BYTES_MAX]).or_else(|| memchr::memchr(b'\n', &rest));
            let Some(end) = end else { break };
            let bytes = rest.split_to(end + 1);
            self.push(Piece { bytes, kind: ChunkKind::Lines }, at);
        }
        if !rest.is_empty() {
            self.push(Piece { bytes: rest, kind: ChunkKind::Lines }, at);
        }
    }

    fn push(&mut self, piece: Piece, at: Duration) {
        self.ready_bytes += piece.bytes.len();
        self.ready.push_back((piece, at));
    }

    /// Cuts what is [`AGE_MAX`] old. Answers when to come again.
    pub fn cut_old(&mut self, now: Duration) -> Option<Duration> {
        let due = self.first_at? + AGE_MAX;
        if now < due {
            return Some(due);
        }
        self.cut();
        None
    }

    /// The next piece, and when its first line came.
    pub fn pop(&mut self) -> Option<(Piece, Duration)> {
        let popped = self.ready.pop_front()?;
        self.ready_bytes -= popped.0.bytes.len();
        Some(popped)
    }

    /// Bytes that wait here.
    pub fn waiting_bytes(&self) -> usize {
        self.ready_bytes + self.text.len()
    }

    /// Whether pieces wait for room.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether nothing waits here.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.text.is_empty()
    }

    /// The first bytes that ever came, at most [`HEAD_BYTES_MAX`].
    pub fn head(&self) -> Bytes {
        self.head.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1);

    fn put(collector: &mut Collector, text: &[u8]) -> bool {
        collector.append(NOW, |out| out.extend_from_slice(text)).1
    }

    #[test]
    fn lines_wait_for_company_but_not_long() {
        let mut collector = Collector::default();
        assert!(!put(&mut collector, b""));
        assert_eq!(collector.cut_old(NOW), None);
        assert!(put(&mut collector, b"a\n"));
        assert!(!put(&mut collector, b"b\n"), "the first one's clock runs already");
        assert_eq!(collector.cut_old(NOW + AGE_MAX / 2), Some(NOW + AGE_MAX));
        assert!(collector.pop().is_none());
        assert_eq!(collector.cut_old(NOW + AGE_MAX), None);
        let (piece, at) = collector.pop().unwrap();
        assert_eq!((&piece.bytes[..], piece.kind, at), (&b"a\nb\n"[..], ChunkKind::Lines, NOW));
        assert!(collector.is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_stands_alone_with_its_length() {
        let mut collector = Collector::default();
        put(&mut collector, b"a\n");
        collector.too_long(NOW, &[b'x'; 70_000], 2_000_000);
        put(&mut collector, b"b\n");
        collector.cut();
        let pieces: Vec<Piece> = std::iter::from_fn(|| collector.pop()).map(|(piece, _)| piece).collect();
        assert_eq!(&pieces[0].bytes[..], b"a\n");
        assert_eq!((pieces[1].bytes.len(), pieces[1].length()), (65_536, 2_000_001));
        assert_eq!(&pieces[2].bytes[..], b"b\n");
    }

    #[test]
    fn the_head_is_what_came_first() {
        let mut collector = Collector::default();
        for _ in 0..100 {
            put(&mut collector, b"0123456789012345678\n");
            collector.cut();
        }
        assert_eq!(collector.head().len(), HEAD_BYTES_MAX);
        put(&mut collector, b"later\n");
        collector.cut();
        assert!(collector.head().starts_with(b"0123"));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_whole(lengths in prop::collection::vec(prop_oneof![0..2000usize, 200_000..1_500_000usize], 1..12), cuts in any::<u16>()) {
            let (mut collector, mut sent, mut got) = (Collector::default(), Vec::new(), Vec::new());
            for (at, length) in lengths.iter().enumerate() {
                let mut line = vec![b'a' + at as u8; *length];
                line.push(b'\n');
                put(&mut collector, &line);
                sent.extend_from_slice(&line);
                if cuts >> at & 1 == 1 {
                    collector.cut();
                }
            }
            collector.cut();
            while let Some((piece, _)) = collector.pop() {
                prop_assert!(piece.bytes.ends_with(b"\n"));
                let lines = piece.bytes.iter().filter(|byte| **byte == b'\n').count();
                prop_assert!(piece.bytes.len() <= PIECE_BYTES_MAX || lines == 1);
                got.extend_from_slice(&piece.bytes);
            }
            prop_assert!(got == sent);
            prop_assert_eq!(collector.waiting_bytes(), 0);
        }
    }
}

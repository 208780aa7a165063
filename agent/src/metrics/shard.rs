//! What one shard counts.
//!
//! Promises: counting is a load, an add and a store of an own cache line: no lock, no locked instruction, no line
//! shared with another shard. A reader sees each number whole, and two numbers at most a moment apart.
//! Must not know: names, labels, how numbers are shown.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Two cache lines: the prefetcher of x86-64 fetches pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Line([AtomicU64; LINE]);

/// Numbers in a [`Line`].
const LINE: usize = 16;

/// Numbers that every shard has, whatever it reads.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Fixed {
    Blank,
    Learned,
    General,
    RepairedRecords,
    Filtered,
    Shrunk,
    Unread,
    RingBytes,
    BodiesSchema,
    BodiesGeneral,
    BodiesVerified,
    BodiesWrong,
    ShelvedLate,
    ShelvedAhead,
    ShelvedTimeless,
    TickMs,
}
const FIXED: usize = Fixed::TickMs as usize + 1;

/// Numbers of one source.
const PER_SOURCE: usize = 5;

/// The counters of one shard. **One writer**: the shard itself; others only read. Whoever lets a second thread write
/// loses counts, not safety.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardCounters {
    lines: Box<[Line]>,
    sources: usize,
    repairs: usize,
    reasons: usize,
}

impl ShardCounters {
    /// Counters for so many sources, kinds of repair and reasons of reject.
    pub(super) fn new(sources: usize, repairs: usize, reasons: usize) -> ShardCounters {
        let numbers = FIXED + sources * PER_SOURCE + repairs + reasons;
        let lines = (0..numbers.div_ceil(LINE)).map(|_| Line::default()).collect();
        ShardCounters { lines, sources, repairs, reasons }
    }

    fn cell(&self, at: usize) -> &AtomicU64 {
        &self.lines[at / LINE].0[at % LINE]
    }
    fn add(&self, at: usize, n: u64) {
        let cell = self.cell(at);
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }
    fn of_source(&self, source: usize, number: usize) -> usize {
        assert!(source < self.sources, "source {source} of {}", self.sources);
        FIXED + source * PER_SOURCE + number
    }
    fn of_repair(&self, kind: usize) -> usize {
        assert!(kind < self.repairs, "repair {kind} of {}", self.repairs);
        FIXED + self.sources * PER_SOURCE + kind
    }
    fn of_reason(&self, reason: usize) -> usize {
        assert!(reason < self.reasons, "reject reason {reason} of {}", self.reasons);
        FIXED + self.sources * PER_SOURCE + self.repairs + reason
    }

    /// Lines of a source were read, blank ones included.
    pub fn lines_read(&self, source: usize, n: u64) {
        self.add(self.of_source(source, 0), n);
    }
    /// Bytes of a source were read.
    pub fn bytes_read(&self, source: usize, n: u64) {
        self.add(self.of_source(source, 1), n);
    }
    /// Datagrams of a source that the kernel dropped.
    pub fn socket_dropped(&self, source: usize, n: u64) {
        self.add(self.of_source(source, 2), n);
    }
    /// How many bytes of a source this shard knows of and has not read; shards' parts are added up.
    pub fn source_lag(&self, source: usize, bytes: u64) {
        self.cell(self.of_source(source, 3)).store(bytes, Relaxed);
    }
    /// So many connections of a source are open on this shard.
    pub fn socket_connections(&self, source: usize, open: u64) {
        self.cell(self.of_source(source, 4)).store(open, Relaxed);
    }
    /// A file became shorter than what was read of it.
    pub fn source_shrunk(&self) {
        self.add(Fixed::Shrunk as usize, 1);
    }
    /// Bytes left the disk before they were read.
    pub fn source_unread(&self, bytes: u64) {
        self.add(Fixed::Unread as usize, bytes);
    }
    /// Blank lines were skipped.
    pub fn blank(&self, n: u64) {
        self.add(Fixed::Blank as usize, n);
    }
    /// Records were parsed the learned way.
    pub fn parsed_learned(&self, n: u64) {
        self.add(Fixed::Learned as usize, n);
    }
    /// Records were parsed the general way.
    pub fn parsed_general(&self, n: u64) {
        self.add(Fixed::General as usize, n);
    }
    /// Records were repaired, once each whatever their repairs.
    pub fn repaired_records(&self, n: u64) {
        self.add(Fixed::RepairedRecords as usize, n);
    }
    /// Repairs of a kind, by its number in [`Labels::repairs`](super::Labels::repairs).
    pub fn repaired(&self, kind: usize, n: u64) {
        self.add(self.of_repair(kind), n);
    }
    /// Rejects for a reason, by its number in [`Labels::reasons`](super::Labels::reasons).
    pub fn rejected(&self, reason: usize, n: u64) {
        self.add(self.of_reason(reason), n);
    }
    /// Records that no job wanted.
    pub fn filtered(&self, n: u64) {
        self.add(Fixed::Filtered as usize, n);
    }
    /// gzip bodies were made by the schema-aware encoder, by the general one; were verified; were wrong.
    pub fn bodies(&self, numbers: [u64; 4]) {
        let cells = [Fixed::BodiesSchema, Fixed::BodiesGeneral, Fixed::BodiesVerified, Fixed::BodiesWrong];
        cells.into_iter().zip(numbers).for_each(|(cell, n)| self.add(cell as usize, n));
    }
    /// Records of archives that came too late, were too far ahead, had no time.
    pub fn shelved(&self, numbers: [u64; 3]) {
        let cells = [Fixed::ShelvedLate, Fixed::ShelvedAhead, Fixed::ShelvedTimeless];
        cells.into_iter().zip(numbers).for_each(|(cell, n)| self.add(cell as usize, n));
    }
    /// Bytes that the ring holds now.
    pub fn ring_bytes(&self, bytes: u64) {
        self.cell(Fixed::RingBytes as usize).store(bytes, Relaxed);
    }
    /// The shard is alive at this monotonic time of the process.
    pub fn tick(&self, mono: Duration) {
        self.cell(Fixed::TickMs as usize).store(mono.as_millis() as u64, Relaxed);
    }
}

/// Reading.
impl ShardCounters {
    fn read(&self, at: usize) -> u64 {
        self.cell(at).load(Relaxed)
    }
    pub(super) fn read_lines(&self, source: usize) -> u64 {
        self.read(self.of_source(source, 0))
    }
    pub(super) fn read_bytes(&self, source: usize) -> u64 {
        self.read(self.of_source(source, 1))
    }
    pub(super) fn read_dropped(&self, source: usize) -> u64 {
        self.read(self.of_source(source, 2))
    }
    pub(super) fn read_connections(&self, source: usize) -> u64 {
        self.read(self.of_source(source, 4))
    }
    pub(super) fn read_lag(&self, source: usize) -> u64 {
        self.read(self.of_source(source, 3))
    }
    pub(super) fn read_shrunk(&self) -> u64 {
        self.read(Fixed::Shrunk as usize)
    }
    pub(super) fn read_unread(&self) -> u64 {
        self.read(Fixed::Unread as usize)
    }
    pub(super) fn read_blank(&self) -> u64 {
        self.read(Fixed::Blank as usize)
    }
    pub(super) fn read_learned(&self) -> u64 {
        self.read(Fixed::Learned as usize)
    }
    pub(super) fn read_general(&self) -> u64 {
        self.read(Fixed::General as usize)
    }
    pub(super) fn read_repaired_records(&self) -> u64 {
        self.read(Fixed::RepairedRecords as usize)
    }
    pub(super) fn read_repaired(&self, kind: usize) -> u64 {
        self.read(self.of_repair(kind))
    }
    pub(super) fn read_rejected(&self, reason: usize) -> u64 {
        self.read(self.of_reason(reason))
    }
    pub(super) fn read_filtered(&self) -> u64 {
        self.read(Fixed::Filtered as usize)
    }
    /// The numbers of [`ShardCounters::bodies`].
    pub(super) fn read_bodies(&self, which: usize) -> u64 {
        self.read(Fixed::BodiesSchema as usize + which)
    }
    /// The numbers of [`ShardCounters::shelved`].
    pub(super) fn read_shelved(&self, which: usize) -> u64 {
        self.read(Fixed::ShelvedLate as usize + which)
    }
    pub(super) fn read_ring(&self) -> u64 {
        self.read(Fixed::RingBytes as usize)
    }
    /// The monotonic time of the last tick.
    pub fn ticked(&self) -> Duration {
        Duration::from_millis(self.read(Fixed::TickMs as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Write<'a> = Box<dyn Fn(u64) + 'a>;
    type Read<'a> = Box<dyn Fn() -> u64 + 'a>;

    #[test]
    fn no_two_numbers_share_a_cell() {
        let c = ShardCounters::new(2, 3, 2);
        let writes: Vec<(Write<'_>, Read<'_>)> = vec![
            (Box::new(|n| c.lines_read(0, n)), Box::new(|| c.read_lines(0))),
            (Box::new(|n| c.lines_read(1, n)), Box::new(|| c.read_lines(1))),
            (Box::new(|n| c.bytes_read(1, n)), Box::new(|| c.read_bytes(1))),
            (Box::new(|n| c.socket_dropped(1, n)), Box::new(|| c.read_dropped(1))),
            (Box::new(|n| c.source_lag(1, n)), Box::new(|| c.read_lag(1))),
            (Box::new(|n| c.source_unread(n)), Box::new(|| c.read_unread())),
            (Box::new(|n| c.blank(n)), Box::new(|| c.read_blank())),
            (Box::new(|n| c.parsed_learned(n)), Box::new(|| c.read_learned())),
            (Box::new(|n| c.parsed_general(n)), Box::new(|| c.read_general())),
            (Box::new(|n| c.repaired(0, n)), Box::new(|| c.read_repaired(0))),
            (Box::new(|n| c.repaired(2, n)), Box::new(|| c.read_repaired(2))),
            (Box::new(|n| c.rejected(0, n)), Box::new(|| c.read_rejected(0))),
            (Box::new(|n| c.rejected(1, n)), Box::new(|| c.read_rejected(1))),
            (Box::new(|n| c.filtered(n)), Box::new(|| c.read_filtered())),
            (Box::new(|n| c.bodies([n, 0, 0, 0])), Box::new(|| c.read_bodies(0))),
            (Box::new(|n| c.bodies([0, 0, 0, n])), Box::new(|| c.read_bodies(3))),
            (Box::new(|n| c.shelved([n, 0, 0])), Box::new(|| c.read_shelved(0))),
            (Box::new(|n| c.shelved([0, 0, n])), Box::new(|| c.read_shelved(2))),
            (Box::new(|n| c.ring_bytes(n)), Box::new(|| c.read_ring())),
            (Box::new(|n| c.tick(Duration::from_millis(n))), Box::new(|| c.ticked().as_millis() as u64)),
        ];
        for (i, (write, _)) in writes.iter().enumerate() {
            write(1 + i as u64);
        }
        for (i, (_, read)) in writes.iter().enumerate() {
            assert_eq!(read(), 1 + i as u64, "number {i}");
        }
    }

    #[test]
    fn shards_share_no_cache_line() {
        let shards: Vec<ShardCounters> = (0..3).map(|_| ShardCounters::new(1, 1, 1)).collect();
        for shard in &shards {
            assert_eq!(std::ptr::from_ref(shard) as usize % 128, 0);
            assert_eq!(shard.lines.as_ptr() as usize % 128, 0);
        }
        assert_eq!(size_of::<Line>(), 128);
    }

    #[test]
    #[should_panic(expected = "source 1 of 1")]
    fn a_source_that_does_not_exist_is_a_bug() {
        ShardCounters::new(1, 1, 1).lines_read(1, 1);
    }
}

//! Counts: what one shard has counted since its start; plain numbers, published by the driver after each step.
//!
//! Must not know: metrics' names, other shards.
use edgepush_shard::codec::Encoded;
use edgepush_shard::limits::SOURCES_MAX;
use edgepush_shard::parse::Reason;
use edgepush_shard::plan::ShelfCounts;
use edgepush_shard::record::{Record, RepairKind, Way};

/// Lines and bytes of one configured source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read {
    /// Lines, blank and rejected ones included.
    pub lines: u64,
    /// Bytes, line ends included.
    pub bytes: u64,
}

/// What one shard has counted.
#[derive(Clone, Debug)]
pub struct Counts {
    /// By configured source.
    pub read: [Read; SOURCES_MAX],
    /// Blank lines.
    pub blank: u64,
    /// Bytes of NUL runs that were skipped.
    pub nul_bytes: u64,
    /// Records parsed the learned way.
    pub learned: u64,
    /// Records parsed the general way.
    pub general: u64,
    /// Records that were repaired, once each.
    pub repaired_records: u64,
    /// Repairs by kind: records in which the kind occurred.
    pub repaired: [u64; RepairKind::ALL.len()],
    /// Rejects by reason.
    pub rejected: [u64; Reason::ALL.len()],
    /// Records that no job wanted.
    pub filtered: u64,
    /// How gzip bodies were made.
    pub encoded: Encoded,
    /// Records of archives that their own time does not place.
    pub shelved: ShelfCounts,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            read: [Read::default(); SOURCES_MAX],
            blank: 0,
            nul_bytes: 0,
            learned: 0,
            general: 0,
            repaired_records: 0,
            repaired: [0; RepairKind::ALL.len()],
            rejected: [0; Reason::ALL.len()],
            filtered: 0,
            encoded: Encoded::default(),
            shelved: ShelfCounts::default(),
        }
    }
}

impl Counts {
    pub(super) fn source(&mut self, origin: u16) -> &mut Read {
        &mut self.read[usize::from(origin).min(SOURCES_MAX - 1)]
    }

    pub(super) fn parsed(&mut self, record: &Record<'_>) {
        match record.way {
            Way::Learned => self.learned += 1,
            Way::General => self.general += 1,
        }
        if record.repairs.is_empty() {
            return;
        }
        self.repaired_records += 1;
        for (at, &kind) in RepairKind::ALL.iter().enumerate() {
            self.repaired[at] += u64::from(record.repairs.contains(kind));
        }
    }
}

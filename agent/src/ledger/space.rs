//! Space: what the spool may take of the disk, and what it takes.
//!
//! Promises: packs, ledger and WAL together stay under `EDGEPUSH_SPOOL_MAX` and out of the disk's reserve; `full` comes
//! early enough that what is already read can still be committed (PROTOCOL P5, P8).
//! Must not know: who stops reading.
use super::error::Fault;
use super::schema::WAL_BYTES;
use super::{Disk, Ledger, SPOOL_BYTES_MIN};

/// Room of the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Packs, ledger and WAL, bytes; without the empty rest of the pack that is being filled.
    pub spool_bytes: u64,
    /// What they may take at present, bytes: `EDGEPUSH_SPOOL_MAX`, or less when the disk is short.
    pub limit_bytes: u64,
    /// Where reading stands still, bytes: what jobs share (PROTOCOL P6).
    pub shared_bytes: u64,
    /// What is taken of that: `spool_bytes`, with the WAL as it grows between checkpoints.
    pub taken_bytes: u64,
    /// The file system is below its reserve: the limit is the minimum spool, or what the spool takes already.
    pub reserve_hit: bool,
    /// No more may be read: what is in memory still fits.
    pub full: bool,
    /// It will soon be so: packs with gaps are worth moving together.
    pub tight: bool,
}

/// Room is asked for anew after so many steps or new row bytes; between, the answer only grows by what was written.
const STALE_STEPS: u32 = 32;
const STALE_BYTES: u64 = 1 << 20;

/// What the system said last, because asking costs a tenth of a small commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    ledger: u64,
    wal: u64,
    free: u64,
    total: u64,
    /// Row bytes written since.
    grown: u64,
    steps: u32,
    fresh: bool,
}

impl Gauge {
    /// The next question is answered by the system.
    pub fn forget(&mut self) {
        self.fresh = false;
    }
}

impl<D: Disk> Ledger<D> {
    fn gauge(&mut self) -> Result<Gauge, Fault> {
        let stale = self.gauge.steps >= STALE_STEPS || self.gauge.grown >= STALE_BYTES;
        if !self.gauge.fresh || stale {
            let (free, total) = self
                .disk
                .free_bytes()
                .map_err(|error| Fault::sync("spool directory".to_owned(), "statvfs", error))?;
            let (ledger, wal) = (self.ledger_bytes()?, self.wal_bytes());
            self.gauge = Gauge { ledger, wal, free, total, grown: 0, steps: 0, fresh: true };
        }
        self.gauge.steps += 1;
        Ok(self.gauge)
    }

    /// Pages of the ledger that hold something, bytes.
    fn ledger_bytes(&self) -> Result<u64, Fault> {
        let pragma = |name: &str| -> Result<i64, rusqlite::Error> {
            self.conn.prepare_cached(name)?.query_row([], |row| row.get(0))
        };
        let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
        Ok((pages * pragma("PRAGMA page_size")?) as u64)
    }

    /// Present size of the WAL file, bytes.
    fn wal_bytes(&self) -> u64 {
        if self.file.is_empty() {
            return 0;
        }
        std::fs::metadata(format!("{}-wal", self.file)).map_or(0, |found| found.len())
    }

    /// Present room.
    pub(super) fn measure(&mut self) -> Result<Space, Fault> {
        Ok(self.measure_used()?.0)
    }

    /// Present room, and what counts against the limit: packs as preallocated, the WAL as it grows between checkpoints.
    fn measure_used(&mut self) -> Result<(Space, u64), Fault> {
        let gauge = self.gauge()?;
        let (free, total, wal) = (gauge.free, gauge.total, gauge.wal);
        let (packs, ledger) = (self.packs.allocated(), gauge.ledger + gauge.grown);
        let reserve = self.settings.reserve.of(total);
        let granted = (packs + ledger + wal + free.saturating_sub(reserve)).max(SPOOL_BYTES_MIN);
        let limit_bytes = self.settings.limit_bytes.min(granted);
        self.packs.set_limit(limit_bytes);
        let used = packs + ledger + wal.max(WAL_BYTES.min(limit_bytes / 8));
        let headroom = limit_bytes / 8 + self.packs.pack_bytes();
        let taken_bytes = used - self.packs.spare();
        let space = Space {
            spool_bytes: packs - self.packs.spare() + ledger + wal,
            limit_bytes,
            shared_bytes: limit_bytes.saturating_sub(headroom),
            taken_bytes,
            reserve_hit: free < reserve,
            full: taken_bytes + headroom > limit_bytes,
            tight: taken_bytes + 2 * headroom > limit_bytes,
        };
        Ok((space, used))
    }

    /// Whether so many bytes still fit, before anything is written. A refusal is never by an old answer.
    pub(super) fn admit(&mut self, pack_bytes: u64, row_bytes: u64) -> Result<(), Fault> {
        for fresh in [false, true] {
            if fresh {
                self.gauge.forget();
            }
            let (space, used) = self.measure_used()?;
            let needed = self.packs.growth(pack_bytes) + row_bytes;
            if used + needed <= space.limit_bytes {
                self.gauge.grown += row_bytes;
                return Ok(());
            }
        }
        Err(Fault::NoSpace)
    }
}

//! Upkeep: what time asks of the ledger, in small steps.
//!
//! Promises: a step moves at most [`MOVE_BYTES`] and frees at most [`VACUUM_PAGES`], so verdicts and commits never wait long.
//! Must not know: who calls it, how often.
use super::commit::put_packs;
use super::error::Fault;
use super::gaps::add_group_losses;
use super::pack::{Draft, point};
use super::sources::HOUR;
use super::{Disk, Ledger, db};
use crate::protocol::{BatchId, GroupId, Now, Piece, PieceAt, SourceId, SourceState};
use bytes::Bytes;
use rusqlite::params;

/// Closed rows keep head and tails so long, ns (RULINGS 4).
const DETACHED_KEPT: i64 = 48 * HOUR;
/// Losses are kept so long, hours.
const LOSS_HOURS: i64 = 7 * 24;
/// Loss rows at most.
const LOSS_ROWS: i64 = 100_000;
/// Bytes of old packs that one step moves on, unless one piece is larger.
const MOVE_BYTES: u64 = 4 << 20;
/// Free pages of the ledger that stay for new rows.
const SPARE_PAGES: i64 = 4096;
/// Pages that one step gives back to the file system.
const VACUUM_PAGES: i64 = 512;

/// A piece that is moved on: its batch, its number, and where it lies.
struct Moving {
    batch: BatchId,
    seq: u32,
    piece: Piece,
    pack: u64,
    offset: u64,
}

impl<D: Disk> Ledger<D> {
    pub(super) fn tick(&mut self, now: Now) -> Result<(), Fault> {
        self.gauge.forget();
        self.expire(now)?;
        self.prune_losses(now)?;
        self.vacuum()?;
        self.compact()
    }

    /// Detached sources go after 48 h: until then a stranger with their content is their copy.
    fn expire(&mut self, now: Now) -> Result<(), Fault> {
        let old = |state: SourceState, since: i64| {
            state == SourceState::Detached && now.wall.saturating_sub(since) > DETACHED_KEPT
        };
        let expired: Vec<SourceId> =
            self.sources.values().filter(|row| old(row.state, row.detached_at)).map(|row| row.id).collect();
        if expired.is_empty() {
            return Ok(());
        }
        self.point("expire.before")?;
        let lost: Vec<(GroupId, u64)> = expired.iter().flat_map(|id| self.behind_above(*id, 0)).collect();
        let tx = self.conn.transaction()?;
        add_group_losses(&tx, now, &lost)?;
        for id in &expired {
            tx.prepare_cached("DELETE FROM source WHERE id = ?1")?.execute([db(id.0)])?;
            tx.prepare_cached("DELETE FROM progress WHERE source = ?1")?.execute([db(id.0)])?;
        }
        tx.commit()?;
        self.sources.retain(|id, _| !expired.contains(id));
        self.progress.retain(|(_, id), _| !expired.contains(id));
        self.check_progress_rows();
        self.point("expire.after")
    }

    /// Once an hour.
    fn prune_losses(&mut self, now: Now) -> Result<(), Fault> {
        let hour = now.wall.div_euclid(HOUR);
        if hour <= self.pruned_hour {
            return Ok(());
        }
        let tx = self.conn.transaction()?;
        tx.execute("DELETE FROM loss WHERE hour < ?1", [hour - LOSS_HOURS])?;
        tx.execute(
            "DELETE FROM loss WHERE (job, hour, reason) IN
             (SELECT job, hour, reason FROM loss ORDER BY hour DESC LIMIT -1 OFFSET ?1)",
            [LOSS_ROWS],
        )?;
        tx.commit()?;
        self.pruned_hour = hour;
        Ok(())
    }

    /// Gives pages back that deliveries have freed, beyond what new rows will soon fill.
    fn vacuum(&mut self) -> Result<(), Fault> {
        let free: i64 = self.conn.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
        let pages = (free - SPARE_PAGES).min(VACUUM_PAGES);
        if pages > 0 {
            let mut statement = self.conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }

    /// Moves the live rest of the emptiest old pack on, so that one slow batch does not hold 64 MiB (DESIGN 5).
    fn compact(&mut self) -> Result<(), Fault> {
        let tight = self.measure()?.tight;
        let Some(old) = self.packs.sparse(tight) else { return Ok(()) };
        let moving = self.rest_of(old)?;
        let len: u64 = moving.iter().map(|m| m.piece.len).sum();
        if self.admit(len, 0).is_err() {
            // No room to move anything: deliveries will empty the pack.
            return Ok(());
        }
        self.point("compact.before")?;
        let mut draft = Draft::default();
        let mut moved = Vec::with_capacity(moving.len());
        for m in moving {
            let bytes = self
                .disk
                .pack_read(old, m.offset, m.piece.len)
                .map_err(|error| Fault::sync(self.disk.pack_label(old), "read", error))?;
            if crc32fast::hash(&bytes) != m.piece.crc {
                // A rotten piece stays where it is: the sender meets it, and says which batch it is.
                tracing::warn!(file = self.disk.pack_label(old), offset = m.offset, "a piece is rotten");
                self.packs.pin(old);
                return Ok(());
            }
            let (pack, offset) =
                self.packs.place(&mut self.disk, &mut draft, &[Bytes::from(bytes)], m.piece.len)?;
            self.packs.release(&mut draft, old, m.piece.len);
            moved.push(Moving { pack, offset, ..m });
        }
        self.packs.write(&mut self.disk, &draft)?;
        let tx = self.conn.transaction()?;
        for m in &moved {
            tx.prepare_cached("UPDATE piece SET pack = ?3, off = ?4 WHERE batch = ?1 AND seq = ?2")?
                .execute(params![db(m.batch.0), m.seq, db(m.pack), db(m.offset)])?;
        }
        put_packs(&tx, &self.packs, &draft)?;
        tx.commit()?;
        point(&mut self.disk, "compact.after")?;
        for m in moved {
            let piece = self.open.get_mut(&m.batch).and_then(|row| row.pieces.get_mut(m.seq as usize));
            if let Some(piece) = piece {
                piece.at = PieceAt::Pack { pack: m.pack, offset: m.offset };
            }
        }
        self.let_go(&draft)?;
        self.packs.trim(&mut self.disk)
    }

    fn rest_of(&self, pack: u64) -> Result<Vec<Moving>, Fault> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT batch, seq, off, len, crc FROM piece WHERE pack = ?1 ORDER BY off")?;
        let mut rows = statement.query([db(pack)])?;
        let (mut rest, mut len) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let number = |at: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at)? as u64) };
            let offset = number(2)?;
            let piece = Piece { at: PieceAt::Pack { pack, offset }, len: number(3)?, crc: row.get(4)? };
            len += piece.len;
            if len > MOVE_BYTES && !rest.is_empty() {
                break;
            }
            rest.push(Moving { batch: BatchId(number(0)?), seq: row.get(1)?, piece, pack, offset });
        }
        Ok(rest)
    }
}

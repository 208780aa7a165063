//! Judge and Split: batches leave the spool, or are replaced by their parts.
//!
//! Promises: one transaction an event; a verdict for a row that is gone changes nothing and is counted; a pack goes after
//! the transaction that took its last byte. Coverage stays: what is judged is never read again (counter-examples 5, 6).
//! Must not know: destinations, why a verdict is what it is.
use super::commit::{Placed, length, put_batch, put_packs, put_piece};
use super::error::Fault;
use super::pack::{Draft, Packs};
use super::sources::{HOUR, add_loss};
use super::{Disk, Ledger, OpenRow, SplitChild, db, naming, restart};
use crate::protocol::{BatchId, Fate, Judged, Spooled};
use rusqlite::{Connection, OptionalExtension, params};

/// Reasons are cut to this, bytes.
const REASON_BYTES: usize = 500;

/// A batch row that was deleted.
pub(super) struct Gone {
    pub job: i64,
    version: u32,
    pub records: u64,
    pub bytes: u64,
    pub first: i64,
    pub last: i64,
}

/// Deletes a batch with its pieces; notes what packs lose. `None`: there is no such closed batch; nor, with `open`, an
/// open one.
pub(super) fn delete_batch(
    conn: &Connection,
    packs: &Packs,
    draft: &mut Draft,
    id: BatchId,
    open: bool,
) -> Result<Option<Gone>, Fault> {
    let mut statement = conn.prepare_cached(
        "SELECT job, version, records, bytes, first, last FROM batch WHERE id = ?1 AND (?2 OR state <> 'open')",
    )?;
    let gone = statement
        .query_row(params![db(id.0), open], |row| {
            Ok(Gone {
                job: row.get(0)?,
                version: row.get(1)?,
                records: row.get::<_, i64>(2)? as u64,
                bytes: row.get::<_, i64>(3)? as u64,
                first: row.get(4)?,
                last: row.get(5)?,
            })
        })
        .optional()?;
    if gone.is_some() {
        conn.prepare_cached("DELETE FROM batch WHERE id = ?1")?.execute([db(id.0)])?;
        // RETURNING would make a table of its own for each batch.
        let mut statement =
            conn.prepare_cached("SELECT pack, len FROM piece WHERE batch = ?1 AND pack IS NOT NULL")?;
        let mut rows = statement.query([db(id.0)])?;
        while let Some(row) = rows.next()? {
            packs.release(draft, row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
        }
        conn.prepare_cached("DELETE FROM piece WHERE batch = ?1")?.execute([db(id.0)])?;
    }
    Ok(gone)
}

pub(super) fn complete(conn: &Connection, gone: &Gone) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO job(id, grp, version, last_complete) VALUES(?1, 0, ?2, ?3)
         ON CONFLICT(id) DO UPDATE SET last_complete = max(coalesce(last_complete, ?3), ?3), last_error = NULL,
           error_message = NULL",
    )?
    .execute(params![gone.job, gone.version, gone.last])?;
    Ok(())
}

/// Holds a batch aside. Answers whether it was there.
fn set_aside(conn: &Connection, id: BatchId, reason: &str) -> Result<bool, Fault> {
    let mut statement = conn.prepare_cached(
        "UPDATE batch SET state = 'rejected', reason = ?2 WHERE id = ?1 AND state = 'spooled' RETURNING job, version, last",
    )?;
    let found: Option<(i64, u32, i64)> = statement
        .query_row(params![db(id.0), reason], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((job, version, last)) = found else { return Ok(false) };
    conn.prepare_cached(
        "INSERT INTO job(id, grp, version, error_message, last_error) VALUES(?1, 0, ?2, ?3, ?4)
         ON CONFLICT(id) DO UPDATE SET error_message = ?3, last_error = ?4",
    )?
    .execute(params![job, version, reason, last])?;
    Ok(true)
}

/// Batches that are held aside take this part of the spool at most (PROTOCOL N4).
const ASIDE_SHARE: u64 = 8;

/// Lets the oldest batches that are held aside go, each as a loss, until the rest fits. The youngest stays.
fn bound_aside(conn: &Connection, packs: &Packs, draft: &mut Draft, bytes_max: u64) -> Result<(), Fault> {
    let mut statement =
        conn.prepare_cached("SELECT id, bytes FROM batch WHERE state = 'rejected' ORDER BY id DESC")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let mut kept = 0;
    for (at, row) in rows.collect::<Result<Vec<_>, _>>()?.into_iter().enumerate() {
        kept += row.1 as u64;
        if at == 0 || kept <= bytes_max {
            continue;
        }
        let Some(gone) = delete_batch(conn, packs, draft, BatchId(row.0 as u64), false)? else { continue };
        let key = (gone.job, gone.first.div_euclid(HOUR), "rejected");
        add_loss(conn, key, (gone.records, gone.bytes), (gone.first, gone.last))?;
        tracing::warn!(
            batch = row.0,
            "the oldest batch that was held aside goes: an eighth of EDGEPUSH_SPOOL_MAX is reached"
        );
    }
    Ok(())
}

fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES)]
}

fn judge_one(conn: &Connection, packs: &Packs, draft: &mut Draft, verdict: &Judged) -> Result<bool, Fault> {
    let reason = shortened(&verdict.reason);
    if verdict.fate == Fate::Aside {
        return set_aside(conn, verdict.id, reason);
    }
    let Some(gone) = delete_batch(conn, packs, draft, verdict.id, false)? else { return Ok(false) };
    if verdict.fate == Fate::Dropped {
        let reason = if reason.is_empty() { "dropped" } else { reason };
        let key = (gone.job, gone.first.div_euclid(HOUR), reason);
        add_loss(conn, key, (gone.records, gone.bytes), (gone.first, gone.last))?;
    } else {
        complete(conn, &gone)?;
    }
    Ok(true)
}

impl<D: Disk> Ledger<D> {
    pub(super) fn judge(&mut self, verdicts: &[Judged]) -> Result<Vec<BatchId>, Fault> {
        self.point("judge.before")?;
        let mut draft = Draft::default();
        let mut strange = 0;
        let tx = self.conn.transaction()?;
        for verdict in verdicts {
            if !judge_one(&tx, &self.packs, &mut draft, verdict)? {
                strange += 1;
            }
        }
        if verdicts.iter().any(|verdict| verdict.fate == Fate::Aside) {
            bound_aside(&tx, &self.packs, &mut draft, self.settings.limit_bytes / ASIDE_SHARE)?;
        }
        put_packs(&tx, &self.packs, &draft)?;
        tx.commit()?;
        self.strange_verdicts += strange;
        self.let_go(&draft)?;
        self.point("judge.after")?;
        Ok(verdicts.iter().map(|verdict| verdict.id).collect())
    }

    /// After the transaction: the draft is true, and packs that it emptied go.
    pub(super) fn let_go(&mut self, draft: &Draft) -> Result<(), Fault> {
        for pack in self.packs.apply(draft) {
            self.packs.unlink(&mut self.disk, pack)?;
        }
        Ok(())
    }

    pub(super) fn split(&mut self, parent: BatchId, children: &[SplitChild]) -> Result<Vec<Spooled>, Fault> {
        self.point("split.before")?;
        let Some((parent_row, name, key)) = restart::closed_batch(&self.conn, parent)? else {
            self.strange_verdicts += 1;
            return Ok(Vec::new());
        };
        debug_assert_eq!(
            children.iter().map(|child| child.records).sum::<u64>(),
            parent_row.batch.records,
            "a split loses or doubles records"
        );
        let small = self.admit_pieces(
            children.iter().flat_map(|child| child.pieces.iter().map(|piece| piece.len() as u64)),
        )?;
        let mut draft = Draft::default();
        let mut parts = Vec::with_capacity(children.len());
        for (at, child) in children.iter().enumerate() {
            let named = naming::child(&name, &key, &parent_row.naming.suffix, at + 1);
            let id = BatchId(self.next_batch + at as u64);
            let (row, placed) = self.child_row(&parent_row, id, child, &mut draft, small)?;
            parts.push((row, placed, named));
        }
        self.packs.write(&mut self.disk, &draft)?;
        let tx = self.conn.transaction()?;
        delete_batch(&tx, &self.packs, &mut draft, parent, false)?;
        for (row, placed, named) in &parts {
            put_batch(&tx, row, Some(named))?;
            for (seq, piece) in placed.iter().enumerate() {
                put_piece(&tx, row.batch.id, seq as u32, piece)?;
            }
        }
        put_packs(&tx, &self.packs, &draft)?;
        tx.commit()?;
        self.next_batch += parts.len() as u64;
        self.let_go(&draft)?;
        self.packs.trim(&mut self.disk)?;
        self.point("split.after")?;
        let mut spooled = Vec::with_capacity(parts.len());
        for ((row, _, (name, key)), child) in parts.iter().zip(children) {
            spooled.push(row.spooled(name, key, Some(child.pieces.clone())));
        }
        Ok(spooled)
    }

    pub(super) fn child_row(
        &mut self,
        parent: &OpenRow,
        id: BatchId,
        child: &SplitChild,
        draft: &mut Draft,
        small: u64,
    ) -> Result<(OpenRow, Vec<Placed>), Fault> {
        let mut placed = Vec::with_capacity(child.pieces.len());
        for (seq, piece) in child.pieces.iter().enumerate() {
            placed.push(self.place(draft, std::slice::from_ref(piece), seq as u32, small)?);
        }
        // A part of a file is no file of its shelf.
        let mut row = OpenRow { shelf: None, ..parent.clone() };
        row.batch.id = id;
        row.batch.records = child.records;
        row.batch.raw = child.raw;
        row.bytes = length(&child.pieces);
        row.pieces = placed.iter().map(|piece| piece.piece).collect();
        Ok((row, placed))
    }
}

//! Aside: what an operator does with a batch that is held aside.
//!
//! Promises: one transaction; only a batch that is aside is touched; what is dropped is a loss, and its coverage stays.
//! Must not know: who asks, what becomes of a batch that is sent again.
use super::commit::put_packs;
use super::error::Fault;
use super::judge::delete_batch;
use super::pack::Draft;
use super::restart::{BATCH, batch_row, pieces};
use super::sources::{HOUR, add_loss};
use super::{Disk, Ledger, db};
use crate::protocol::{AsideWord, BatchId, Spooled};
use rusqlite::OptionalExtension;

/// Why the batch was lost, in its loss row.
const REASON: &str = "dropped";

impl<D: Disk> Ledger<D> {
    pub(super) fn aside(&mut self, id: BatchId, word: AsideWord) -> Result<Option<Spooled>, Fault> {
        self.point("aside.before")?;
        let mut draft = Draft::default();
        let tx = self.conn.transaction()?;
        let sql = format!("{BATCH} WHERE b.id = ?1 AND b.state = 'rejected'");
        let found = tx.query_row(&sql, [db(id.0)], batch_row).optional()?;
        let Some((mut row, name, key)) = found else { return Ok(None) };
        row.pieces = pieces(&tx, id)?;
        match word {
            AsideWord::Retry => {
                tx.execute("UPDATE batch SET state = 'spooled', reason = NULL WHERE id = ?1", [db(id.0)])?;
            }
            AsideWord::Drop => {
                if let Some(gone) = delete_batch(&tx, &self.packs, &mut draft, id, false)? {
                    let key = (gone.job, gone.first.div_euclid(HOUR), REASON);
                    add_loss(&tx, key, (gone.records, gone.bytes), (gone.first, gone.last))?;
                }
            }
        }
        put_packs(&tx, &self.packs, &draft)?;
        tx.commit()?;
        self.let_go(&draft)?;
        self.point("aside.after")?;
        Ok(Some(row.spooled(&name, &key, None)))
    }
}

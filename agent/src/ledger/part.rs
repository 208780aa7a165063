//! Part: a batch that its destination has taken in part ends; what it has not taken begins as batches of its own.
//!
//! Promises: one transaction: whoever looks finds the batch, or its child and the rejects, never both and never neither.
//! Must not know: destinations, why a record was not taken, what a reject looks like.
use super::commit::{Next, put_batch, put_packs, put_piece};
use super::error::Fault;
use super::judge::{complete, delete_batch};
use super::pack::Draft;
use super::{Disk, Ledger, LedgerReply, Part, naming, restart};
use crate::ledger::commit::length;
use crate::protocol::BatchId;
use std::collections::HashMap;

impl<D: Disk> Ledger<D> {
    pub(super) fn part(&mut self, part: &Part) -> Result<LedgerReply, Fault> {
        let parent = part.parent;
        self.point("part.before")?;
        let Some((row, name, key)) = restart::closed_batch(&self.conn, parent)? else {
            self.strange_verdicts += 1;
            return Ok(LedgerReply::Parted { parent, again: None, rejects: Vec::new() });
        };
        let pieces = part.again.iter().flat_map(|child| child.pieces.iter().map(|piece| piece.len() as u64));
        let rejected = part.rejects.iter().map(|batch| length(&batch.piece));
        let small = self.admit_pieces(pieces.chain(rejected))?;
        let mut draft = Draft::default();
        let mut rejects = self.next_batches(&part.rejects, &mut draft, small)?;
        let child = part.again.as_ref().map(|child| {
            let id = BatchId(self.next_batch + rejects.len() as u64);
            let named = naming::child(&name, &key, &row.naming.suffix, 1);
            let (row, placed) = self.child_row(&row, id, child, &mut draft, small)?;
            Ok::<_, Fault>((row, placed, named, child))
        });
        let child = child.transpose()?;
        self.packs.write(&mut self.disk, &draft)?;
        let tx = self.conn.transaction()?;
        let gone = delete_batch(&tx, &self.packs, &mut draft, parent, false)?;
        match &child {
            Some((row, placed, named, _)) => {
                put_batch(&tx, row, Some(named))?;
                for (seq, piece) in placed.iter().enumerate() {
                    put_piece(&tx, row.batch.id, seq as u32, piece)?;
                }
            }
            // Nothing of it is to come any more.
            None => gone.iter().try_for_each(|gone| complete(&tx, gone))?,
        }
        let mut namings = HashMap::new();
        Next::put_all(&mut rejects, &tx, &self.namings, &mut namings)?;
        put_packs(&tx, &self.packs, &draft)?;
        tx.commit()?;
        self.namings.extend(namings);
        self.next_batch += (rejects.len() + usize::from(child.is_some())) as u64;
        let mut spooled = Vec::with_capacity(rejects.len());
        for (asked, next) in part.rejects.iter().zip(rejects) {
            spooled.extend(next.spooled(Some(asked.piece.clone())));
        }
        self.let_go(&draft)?;
        self.packs.trim(&mut self.disk)?;
        self.point("part.after")?;
        let again =
            child.map(|(row, _, (name, key), child)| row.spooled(&name, &key, Some(child.pieces.clone())));
        Ok(LedgerReply::Parted { parent, again, rejects: spooled })
    }
}

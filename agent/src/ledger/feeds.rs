//! Rows of feeds: sources that cannot be read again (PROTOCOL P6).
//!
//! Promises: each start gives each feed a new row, so nothing that an earlier run received can come twice; rows of earlier
//! runs go. What the main group has decided of a feed is decided for parked groups in the same transaction, as a loss.
//! Must not know: sockets, pipes.
use super::error::{Fault, LedgerError};
use super::gaps::{SOCKET, add_group_loss, length};
use super::sources::{put_progress, put_source};
use super::{Disk, Ledger, db, grp, schema};
use crate::protocol::{FileIdent, GroupId, Head, Now, Progress, SourceId, SourceRow, SourceState};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What stands in a feed's row for a file's identity: no file has it.
const FEED: FileIdent = FileIdent { dev: u64::MAX, ino: 0, btime: None };

impl SourceRow {
    /// Whether the row is of a feed and not of a file.
    pub fn is_feed(&self) -> bool {
        self.ident == FEED
    }
}

/// Progress that a transaction is about to write.
type Next = BTreeMap<(GroupId, SourceId), Progress>;

impl<D: Disk> Ledger<D> {
    /// New rows for the feeds of these names, before anything runs; rows of earlier runs go. Answers with each one's row
    /// and random seed.
    ///
    /// # Errors
    /// As [`Ledger::step`].
    pub fn open_feeds(&mut self, names: &[String]) -> Result<Vec<(SourceId, u64)>, LedgerError> {
        self.replace_feeds(names).map_err(|fault| self.end(fault))
    }

    fn replace_feeds(&mut self, names: &[String]) -> Result<Vec<(SourceId, u64)>, Fault> {
        let old: Vec<SourceId> =
            self.sources.values().filter(|row| row.is_feed()).map(|row| row.id).collect();
        if old.is_empty() && names.is_empty() {
            return Ok(Vec::new());
        }
        let last = schema::last_id(&self.conn, "source")?;
        let ids = (last + 1..).map(SourceId);
        let rows: Vec<SourceRow> = names.iter().zip(ids).map(|(name, id)| self.feed_row(name, id)).collect();
        let tx = self.conn.transaction()?;
        for id in &old {
            tx.prepare_cached("DELETE FROM progress WHERE source = ?1")?.execute([db(id.0)])?;
            tx.prepare_cached("DELETE FROM source WHERE id = ?1")?.execute([db(id.0)])?;
        }
        for row in &rows {
            put_source(&tx, row)?;
            for group in &self.groups {
                put_progress(&tx, grp(*group), row.id, &row.progress)?;
            }
        }
        tx.commit()?;
        self.sources.retain(|_, row| !row.is_feed());
        self.progress.retain(|(_, id), _| !old.contains(id));
        for row in &rows {
            let all = self.groups.iter().map(|group| ((*group, row.id), row.progress.clone()));
            self.progress.extend(all);
        }
        let answers = rows.iter().map(|row| (row.id, row.seed)).collect();
        self.sources.extend(rows.into_iter().map(|row| (row.id, row)));
        self.check_progress_rows();
        Ok(answers)
    }

    fn feed_row(&self, name: &str, id: SourceId) -> SourceRow {
        SourceRow {
            id,
            seed: self.seed(id),
            ident: FEED,
            path: PathBuf::from(name),
            head: Head::default(),
            size_seen: 0,
            state: SourceState::Attached,
            detached_at: 0,
            progress: Progress::starting_at(0),
            hot: Vec::new(),
        }
    }

    /// Parked groups decide what the main group decides of feeds with this commit. Answers with what each loses by it.
    pub(super) fn pass_feeds(&self, next: &mut Next) -> Vec<(GroupId, u64)> {
        let parked: Vec<GroupId> = self.groups.iter().copied().filter(|group| !group.is_live()).collect();
        if parked.is_empty() {
            return Vec::new();
        }
        let main = next.iter().filter(|((group, _), _)| *group == GroupId::MAIN);
        let main: Vec<(SourceId, Progress)> = main
            .filter(|((_, id), _)| self.sources.get(id).is_some_and(SourceRow::is_feed))
            .map(|((_, id), progress)| (*id, progress.clone()))
            .collect();
        let mut lost = Vec::new();
        for group in parked {
            let mut bytes = 0;
            for (id, progress) in &main {
                // A job of the hot group may have taken more with it than the main group has decided.
                let mut own = self.progress_of(group, *id);
                let gaps = progress.beyond(&own);
                bytes += length(&gaps);
                gaps.into_iter().for_each(|gap| own.pass(gap, None));
                next.insert((group, *id), own);
            }
            lost.push((group, bytes));
        }
        lost
    }
}

/// What parked jobs lose of feeds.
pub(super) fn add_losses(conn: &Connection, now: Now, lost: &[(GroupId, u64)]) -> Result<(), Fault> {
    lost.iter().try_for_each(|(group, bytes)| add_group_loss(conn, now, (*group, SOCKET), *bytes))
}

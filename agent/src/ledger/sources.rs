//! Register and Change: source rows, with a progress row for every group (PROTOCOL 8.2, I3).
//!
//! Promises: a source is durable before anything of it is read; its seed is random and never changes (I10).
//! Must not know: globs, inotify.
use super::error::Fault;
use super::gaps::add_group_losses;
use super::{Disk, Ledger, db, grp, schema};
use crate::protocol::{
    FileIdent, GroupId, NewSource, Now, Progress, SourceChange, SourceId, SourceRow, SourceState,
};
use rusqlite::{Connection, params};
use siphasher::sip::SipHasher13;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The job column of losses that belong to no job: bytes of a file that were never read.
pub(super) const NO_JOB: i64 = -1;
/// Nanoseconds of an hour.
pub(super) const HOUR: i64 = 3_600_000_000_000;

/// A state's word in the table.
pub(super) fn state_word(state: SourceState) -> &'static str {
    match state {
        SourceState::Attached => "attached",
        SourceState::Detached => "detached",
    }
}

/// Adds to the loss row of (job, hour, reason).
pub(super) fn add_loss(
    conn: &Connection,
    key: (i64, i64, &str),
    lost: (u64, u64),
    span: (i64, i64),
) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO loss(job, hour, reason, records, bytes, first, last) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET records = records + ?4, bytes = bytes + ?5, first = min(first, ?6),
           last = max(last, ?7)",
    )?
    .execute(params![key.0, key.1, key.2, db(lost.0), db(lost.1), span.0, span.1])?;
    Ok(())
}

/// Replaces a group's progress in a source.
pub(super) fn put_progress(
    conn: &Connection,
    group: i64,
    source: SourceId,
    progress: &Progress,
) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO progress(grp, source, low, above, tails) VALUES(?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        group,
        db(source.0),
        db(progress.low),
        progress.above_bytes(),
        progress.tails_bytes()
    ])?;
    Ok(())
}

pub(super) fn put_source(conn: &Connection, row: &SourceRow) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO source(id, seed, dev, ino, btime, path, head_len, head_hash, size_seen, state, detached_at)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        db(row.id.0),
        db(row.seed),
        db(row.ident.dev),
        db(row.ident.ino),
        row.ident.btime,
        row.path.as_os_str().as_bytes(),
        row.head.len,
        db(row.head.hash),
        db(row.size_seen),
        state_word(row.state),
        row.detached_at
    ])?;
    Ok(())
}

fn move_source(
    conn: &Connection,
    id: SourceId,
    ident: FileIdent,
    path: &Path,
    state: (SourceState, i64),
) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE source SET dev = ?2, ino = ?3, btime = ?4, path = ?5, state = ?6, detached_at = ?7 WHERE id = ?1",
    )?
    .execute(params![
        db(id.0),
        db(ident.dev),
        db(ident.ino),
        ident.btime,
        path.as_os_str().as_bytes(),
        state_word(state.0),
        state.1
    ])?;
    Ok(())
}

fn put_size(tx: &rusqlite::Transaction<'_>, id: SourceId, size: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE source SET size_seen = ?2 WHERE id = ?1")?.execute([db(id.0), db(size)])?;
    Ok(())
}

impl<D: Disk> Ledger<D> {
    /// A source's random seed: the ledger's 128 random bits make it of the row id, so a simulation repeats.
    pub(super) fn seed(&self, id: SourceId) -> u64 {
        SipHasher13::new_with_key(&self.id.to_be_bytes()).hash(&id.0.to_le_bytes())
    }

    pub(super) fn register(&mut self, new: &[NewSource]) -> Result<Vec<(u64, SourceId, u64)>, Fault> {
        self.point("register.before")?;
        let mut next = schema::last_id(&self.conn, "source")?;
        let mut rows = Vec::with_capacity(new.len());
        for file in new {
            next += 1;
            let id = SourceId(next);
            rows.push(SourceRow {
                id,
                seed: self.seed(id),
                ident: file.ident,
                path: file.path.clone(),
                head: file.head,
                size_seen: file.size,
                state: SourceState::Attached,
                detached_at: 0,
                progress: Progress::starting_at(file.begin),
                hot: Vec::new(),
            });
        }
        let tx = self.conn.transaction()?;
        for row in &rows {
            put_source(&tx, row)?;
            for group in &self.groups {
                put_progress(&tx, grp(*group), row.id, &row.progress)?;
            }
        }
        if !self.begun {
            schema::set_meta(&tx, "begun", "1")?;
        }
        tx.commit()?;
        self.begun = true;
        let answers = new.iter().zip(&rows).map(|(file, row)| (file.token, row.id, row.seed)).collect();
        for row in rows {
            for group in &self.groups {
                self.progress.insert((*group, row.id), row.progress.clone());
            }
            self.sources.insert(row.id, row);
        }
        self.check_progress_rows();
        self.point("register.after")?;
        Ok(answers)
    }

    /// PROTOCOL I3: every (group, live source) has a row. The hot group's are there only when they say more than the
    /// main group's.
    pub(super) fn check_progress_rows(&self) {
        debug_assert!(
            self.sources
                .keys()
                .all(|id| self.groups.iter().all(|group| self.progress.contains_key(&(*group, *id)))),
            "I3: a source without a progress row"
        );
        debug_assert_eq!(
            self.progress.keys().filter(|(group, _)| *group != GroupId::HOT).count(),
            self.sources.len() * self.groups.len(),
            "I3: progress of no source"
        );
    }

    pub(super) fn change(&mut self, now: Now, changes: &[SourceChange]) -> Result<(), Fault> {
        self.point("change.before")?;
        self.sync_adopted(changes)?;
        // Copies of the touched rows only: they become true after the transaction.
        let mut rows = Vec::new();
        let mut ranges = Vec::new();
        let lost: Vec<(GroupId, u64)> = changes.iter().flat_map(|change| self.cut_off(change)).collect();
        let tx = self.conn.transaction()?;
        add_group_losses(&tx, now, &lost)?;
        for change in changes {
            let (SourceChange::Moved { id, .. }
            | SourceChange::Shrunk { id, .. }
            | SourceChange::Sized { id, .. }
            | SourceChange::Closed { id, .. }) = change;
            let known = rows.iter().rev().find(|row: &&SourceRow| row.id == *id).or(self.sources.get(id));
            let Some(mut row) = known.cloned() else {
                debug_assert!(false, "a change of source {id:?}, which has no row");
                continue;
            };
            match change {
                SourceChange::Moved { ident, path, state, .. } => {
                    row.ident = *ident;
                    row.path.clone_from(path);
                    set_state(&mut row, *state, now.wall);
                    move_source(&tx, *id, *ident, path, (row.state, row.detached_at))?;
                }
                SourceChange::Sized { size, .. } => {
                    row.size_seen = *size;
                    put_size(&tx, *id, *size)?;
                }
                SourceChange::Shrunk { size, .. } => {
                    row.size_seen = *size;
                    put_size(&tx, *id, *size)?;
                    for group in self.groups.iter().chain([&GroupId::HOT]) {
                        if *group == GroupId::HOT && !self.progress.contains_key(&(*group, *id)) {
                            continue;
                        }
                        let earlier = ranges.iter().rev().find(|(key, _)| *key == (*group, *id));
                        let mut progress = earlier.map_or_else(
                            || self.progress[&(*group, *id)].clone(),
                            |(_, found)| Progress::clone(found),
                        );
                        progress.clip(*size);
                        put_progress(&tx, grp(*group), *id, &progress)?;
                        ranges.push(((*group, *id), progress));
                    }
                }
                SourceChange::Closed { unread, .. } => {
                    set_state(&mut row, SourceState::Detached, now.wall);
                    move_source(&tx, *id, row.ident, &row.path, (row.state, row.detached_at))?;
                    if *unread > 0 {
                        let hour = now.wall.div_euclid(HOUR);
                        add_loss(&tx, (NO_JOB, hour, "unread"), (0, *unread), (now.wall, now.wall))?;
                    }
                }
            }
            rows.push(row);
        }
        tx.commit()?;
        self.sources.extend(rows.into_iter().map(|row| (row.id, row)));
        self.progress.extend(ranges);
        self.point("change.after")
    }
}

impl<D: Disk> Ledger<D> {
    /// What parked groups can read no more because a file has shrunk.
    fn cut_off(&self, change: &SourceChange) -> Vec<(GroupId, u64)> {
        match change {
            SourceChange::Shrunk { id, size } => self.behind_above(*id, *size),
            _ => Vec::new(),
        }
    }

    /// PROTOCOL S4: a copy is durable before the row that has durable offsets stands for it.
    fn sync_adopted(&mut self, changes: &[SourceChange]) -> Result<(), Fault> {
        for change in changes {
            let SourceChange::Moved { id, path, state: SourceState::Attached, .. } = change else { continue };
            if self.sources.get(id).is_some_and(|row| row.state == SourceState::Detached) {
                self.disk.source_sync(*id).map_err(|error| {
                    Fault::sync(path.display().to_string(), "fdatasync of an adopted copy", error)
                })?;
            }
        }
        Ok(())
    }
}

/// A row that was detached already keeps its time: its 48 h do not begin again.
fn set_state(row: &mut SourceRow, state: SourceState, wall: i64) {
    row.detached_at = match (state, row.state) {
        (SourceState::Attached, _) => 0,
        (SourceState::Detached, SourceState::Detached) => row.detached_at,
        (SourceState::Detached, SourceState::Attached) => wall,
    };
    row.state = state;
}

//! Jobs: rows of jobs and groups, as the commit that they ride on changes them (PROTOCOL 4, 8).
//!
//! Promises: one transaction with the commit; a deleted job leaves losses and no batches; a new parked group begins at
//! what the main group has decided, and goes only when it has decided the same again.
//! Must not know: what a job's text says.
use super::error::Fault;
use super::gaps::drop_unused;
use super::judge::delete_batch;
use super::pack::{Draft, Packs};
use super::restart::progress_rows;
use super::sources::{HOUR, add_loss};
use super::{Disk, Ledger, grp, job};
use crate::protocol::{BatchId, GroupId, JobId, JobRow, JobsCommit, Progress, SourceId};
use rusqlite::{Connection, params};

/// What a job's text takes in the ledger beside its bytes, rounded up.
const JOB_BYTES: u64 = 256;

/// Why they are lost.
const DELETED: &str = "deleted";

/// What went with deleted jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Deleted {
    pub batches: u64,
    pub records: u64,
}

fn put(conn: &Connection, row: &JobRow) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO job(id, grp, version, config) VALUES(?1, ?2, ?3, ?4)
         ON CONFLICT(id) DO UPDATE SET grp = ?2, version = ?3, config = ?4",
    )?
    .execute(params![job(row.id), grp(row.group), row.version, row.config])?;
    Ok(())
}

/// Deletes a job with everything of it, open batches too.
fn delete(conn: &Connection, packs: &Packs, draft: &mut Draft, id: JobId) -> Result<Deleted, Fault> {
    let mut deleted = Deleted::default();
    conn.prepare_cached("DELETE FROM job WHERE id = ?1")?.execute([job(id)])?;
    let mut statement = conn.prepare_cached("SELECT id FROM batch WHERE job = ?1")?;
    let batches = statement.query_map([job(id)], |row| row.get::<_, i64>(0))?;
    for batch in batches.collect::<Result<Vec<_>, _>>()? {
        let Some(gone) = delete_batch(conn, packs, draft, BatchId(batch as u64), true)? else { continue };
        deleted.batches += 1;
        deleted.records += gone.records;
        let key = (gone.job, gone.first.div_euclid(HOUR), DELETED);
        add_loss(conn, key, (gone.records, gone.bytes), (gone.first, gone.last))?;
    }
    Ok(deleted)
}

/// Does what a change of jobs asks for.
pub(super) fn change(
    conn: &Connection,
    packs: &Packs,
    draft: &mut Draft,
    change: &JobsCommit,
) -> Result<Deleted, Fault> {
    for group in &change.merged {
        conn.prepare_cached("DELETE FROM progress WHERE grp = ?1")?.execute([grp(*group)])?;
        conn.prepare_cached("DELETE FROM grp WHERE id = ?1")?.execute([grp(*group)])?;
    }
    for group in &change.parked {
        conn.prepare_cached("INSERT INTO grp(id, kind) VALUES(?1, 'parked')")?.execute([grp(*group)])?;
        conn.prepare_cached(
            "INSERT INTO progress(grp, source, low, above, tails)
             SELECT ?1, source, low, above, tails FROM progress WHERE grp = 0",
        )?
        .execute([grp(*group)])?;
        for row in change.put.iter().filter(|row| row.group == *group) {
            // What the hot group has decided before the others is decided for a job that leaves it.
            conn.prepare_cached(
                "INSERT OR REPLACE INTO progress(grp, source, low, above, tails)
                 SELECT ?1, source, low, above, tails FROM progress
                 WHERE grp = 1 AND (SELECT grp FROM job WHERE id = ?2) = 1",
            )?
            .execute([grp(*group), job(row.id)])?;
        }
    }
    for row in &change.put {
        put(conn, row)?;
    }
    let mut deleted = Deleted::default();
    for id in &change.deleted {
        let of = delete(conn, packs, draft, *id)?;
        deleted.batches += of.batches;
        deleted.records += of.records;
    }
    for lost in &change.lost {
        deleted.records += lost.records;
        let key = (job(lost.job), lost.first.div_euclid(HOUR), DELETED);
        add_loss(conn, key, (lost.records, lost.bytes), (lost.first, lost.last))?;
    }
    drop_unused(conn)?;
    Ok(deleted)
}

/// The rows of jobs.
pub(super) fn rows(conn: &Connection) -> Result<Vec<JobRow>, Fault> {
    let mut statement = conn.prepare(
        "SELECT id, grp, version, config, last_complete, last_error, error_message FROM job ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(JobRow {
            id: JobId(row.get::<_, i64>(0)? as u64),
            group: GroupId(row.get(1)?),
            version: row.get(2)?,
            config: row.get(3)?,
            last_complete: row.get(4)?,
            last_error: row.get(5)?,
            error_message: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The parked groups.
pub(super) fn groups(conn: &Connection) -> Result<Vec<GroupId>, Fault> {
    let mut statement = conn.prepare("SELECT id FROM grp WHERE kind = 'parked' ORDER BY id")?;
    let rows = statement.query_map([], |row| row.get(0).map(GroupId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl<D: Disk> Ledger<D> {
    /// Refuses a change that does not fit, before anything is written.
    pub(super) fn admit_jobs(&mut self, change: Option<&JobsCommit>) -> Result<(), Fault> {
        let Some(change) = change else { return Ok(()) };
        let jobs: u64 = change.put.iter().map(|row| row.config.len() as u64 + JOB_BYTES).sum();
        let progress = change.parked.len() as u64 * self.sources.len() as u64 * JOB_BYTES;
        self.admit(0, jobs + progress)
    }

    /// After the transaction: memory says what the tables say.
    pub(super) fn apply_jobs(&mut self, change: &JobsCommit) -> Result<(), Fault> {
        let left = groups(&self.conn)?;
        let known = |group: &GroupId| group.is_live() || left.contains(group);
        self.groups.retain(known);
        self.progress.retain(|(group, _), _| known(group));
        for group in change.parked.iter().filter(|group| known(group)) {
            self.groups.push(*group);
            self.progress.extend(progress_rows(&self.conn, *group)?);
        }
        self.open.retain(|_, row| !change.deleted.contains(&row.batch.job));
        if !change.deleted.is_empty() {
            self.recount_shelves()?;
        }
        Ok(())
    }

    /// What a parked group has decided of each source.
    pub(super) fn parked_progress(&self, group: GroupId) -> Vec<(SourceId, Progress)> {
        let of = self.progress.iter().filter(|((of, _), _)| *of == group);
        of.map(|((_, id), progress)| (*id, progress.clone())).collect()
    }

    /// The largest job id that was ever given.
    pub(super) fn last_job(conn: &Connection) -> Result<u64, Fault> {
        super::schema::last_id(conn, "job")
    }
}

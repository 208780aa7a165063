//! Gaps: what parked groups have still to read, and what they can read no more (PROTOCOL P6, P7).
//!
//! Promises: a gap is what the main group has decided and the parked one has not, never more; what is lost is decided
//! and counted in one transaction; a group merges only when it has no gap.
//! Must not know: how a gap is read, why something is lost.
use super::error::Fault;
use super::sources::{HOUR, add_loss, put_progress};
use super::{Disk, Ledger, grp};
use crate::protocol::{Gap, GroupId, JobsCommit, Now, Progress, SourceId};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::ops::Range;

/// Reason of what left the disk before a parked job could read it.
const RETENTION: &str = "retention";
/// Reason of what came on a socket or a pipe while the job was parked: it cannot be read again.
pub(super) const SOCKET: &str = "socket";

/// Progress that a transaction is about to write.
type Next = BTreeMap<(GroupId, SourceId), Progress>;

pub(super) fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// The part of `ranges` from `size` on.
fn above(ranges: &[Range<u64>], size: u64) -> u64 {
    ranges.iter().map(|range| range.end.saturating_sub(range.start.max(size))).sum()
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (both.start < both.end).then_some(both)
}

/// Losses of every job of these groups.
pub(super) fn add_group_losses(conn: &Connection, now: Now, lost: &[(GroupId, u64)]) -> Result<(), Fault> {
    lost.iter().try_for_each(|(group, bytes)| add_group_loss(conn, now, (*group, RETENTION), *bytes))
}

/// Parked groups without jobs lose their rows (PROTOCOL P7).
pub(super) fn drop_unused(conn: &Connection) -> Result<(), Fault> {
    let unused = "(SELECT id FROM grp WHERE kind = 'parked' AND id NOT IN (SELECT grp FROM job))";
    conn.execute(&format!("DELETE FROM progress WHERE grp IN {unused}"), [])?;
    conn.execute(&format!("DELETE FROM grp WHERE id IN {unused}"), [])?;
    Ok(())
}

/// A loss of every job of a group, and what its jobs say of it.
pub(super) fn add_group_loss(
    conn: &Connection,
    now: Now,
    (group, reason): (GroupId, &str),
    bytes: u64,
) -> Result<(), Fault> {
    if bytes == 0 {
        return Ok(());
    }
    let mut statement = conn.prepare_cached("SELECT id FROM job WHERE grp = ?1")?;
    let jobs = statement.query_map([grp(group)], |row| row.get::<_, i64>(0))?;
    for job in jobs.collect::<Result<Vec<_>, _>>()? {
        add_loss(conn, (job, now.wall.div_euclid(HOUR), reason), (0, bytes), (now.wall, now.wall))?;
        let mut sum = conn.prepare_cached("SELECT sum(bytes) FROM loss WHERE job = ?1 AND reason = ?2")?;
        let all: i64 = sum.query_row(params![job, reason], |row| row.get(0))?;
        let said = match reason {
            SOCKET => {
                format!("{all} bytes came on sockets or pipes while the job was parked: they are lost for it")
            }
            _ => format!("{all} bytes left the disk before they could be read"),
        };
        conn.prepare_cached("UPDATE job SET last_error = ?2, error_message = ?3 WHERE id = ?1")?
            .execute(params![job, now.wall, said])?;
    }
    Ok(())
}

impl<D: Disk> Ledger<D> {
    /// What the main group has decided of a source and this one has not.
    fn behind(&self, group: GroupId, source: SourceId) -> Vec<Range<u64>> {
        let of = |group| self.progress.get(&(group, source));
        match (of(group), of(GroupId::MAIN)) {
            (Some(of), Some(main)) => main.beyond(of),
            _ => Vec::new(),
        }
    }

    /// What a parked group has still to read.
    pub(super) fn gaps(&self, group: GroupId) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for row in self.sources.values() {
            let ranges = self.behind(group, row.id);
            if ranges.is_empty() {
                continue;
            }
            let mut tails = self.progress[&(GroupId::MAIN, row.id)].tails.clone();
            tails.extend(&self.progress[&(group, row.id)].tails);
            tails.sort_unstable();
            tails.dedup();
            gaps.push(Gap {
                source: row.id,
                seed: row.seed,
                ident: row.ident,
                path: row.path.clone(),
                head: row.head,
                ranges,
                tails,
            });
        }
        gaps
    }

    /// Whether a parked group has decided something that the main group has not.
    pub fn is_ahead(&self, group: GroupId) -> bool {
        self.sources.keys().any(|id| {
            let of = |group| self.progress.get(&(group, *id));
            of(group).zip(of(GroupId::MAIN)).is_some_and(|(of, main)| !of.beyond(main).is_empty())
        })
    }

    /// Bytes that a parked group has still to read.
    pub fn behind_bytes(&self, group: GroupId) -> u64 {
        self.sources.keys().map(|id| length(&self.behind(group, *id))).sum()
    }

    /// Decides what cannot be read any more, as a loss of the group's jobs. Answers with its bytes.
    pub(super) fn lose(
        &mut self,
        now: Now,
        group: GroupId,
        source: SourceId,
        ranges: &[Range<u64>],
    ) -> Result<u64, Fault> {
        let behind = self.behind(group, source);
        let lost: Vec<Range<u64>> =
            behind.iter().flat_map(|gap| ranges.iter().filter_map(|range| overlap(gap, range))).collect();
        let Some(mut progress) = self.progress.get(&(group, source)).cloned() else { return Ok(0) };
        let main = &self.progress[&(GroupId::MAIN, source)];
        for range in &lost {
            let tail = main.tails.iter().find(|(offset, _)| *offset == range.end).map(|(_, hash)| *hash);
            progress.pass(range.clone(), tail);
        }
        self.point("change.before")?;
        let tx = self.conn.transaction()?;
        put_progress(&tx, grp(group), source, &progress)?;
        add_group_loss(&tx, now, (group, RETENTION), length(&lost))?;
        tx.commit()?;
        self.progress.insert((group, source), progress);
        self.point("change.after")?;
        Ok(length(&lost))
    }

    /// What parked groups have still to read from `size` on: lost when the file ends there now, or when its row goes (0).
    pub(super) fn behind_above(&self, source: SourceId, size: u64) -> Vec<(GroupId, u64)> {
        let parked = self.groups.iter().copied().filter(|group| !group.is_live());
        parked.map(|group| (group, above(&self.behind(group, source), size))).collect()
    }

    /// A merge rides on a commit: with the commit's own chunks its group has decided exactly what the main group has
    /// (PROTOCOL P7). If not, a program error would lose or double lines: nothing is written, the process ends, and the
    /// next start finds the group parked.
    pub(super) fn check_merges(&self, change: Option<&JobsCommit>, next: &Next) -> Result<(), Fault> {
        let merged = change.map_or(&[][..], |change| &change.merged);
        for group in merged.iter().filter(|group| self.groups.contains(group)) {
            for row in self.sources.values() {
                let of = |group| next.get(&(group, row.id)).or(self.progress.get(&(group, row.id)));
                let (of, main) = (of(*group), of(GroupId::MAIN));
                if of.zip(main).is_some_and(|(of, main)| of.decides_as(main)) {
                    continue;
                }
                return Err(Fault::Corrupt(format!(
                    "parked group {} may not go on with the others: of {} it has decided {of:?}, they {main:?}; please \
                     report this",
                    group.0,
                    row.path.display()
                )));
            }
        }
        Ok(())
    }
}

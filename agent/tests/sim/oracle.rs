//! What every job is owed: an account of lines that is kept beside the ledger, from what was cut and committed.
//!
//! A line that the main group has decided while a job was parked is due to that job until it is committed for the job's
//! group, or lost with the file that held it. At a start the account must be what the ledger's rows say.
use crate::logs::Line;
use crate::process::{Cut, Life, SimJobs};
use edgepush::ledger::Ledger;
use edgepush::protocol::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The account.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Every line of each source that the main group has decided (or may have, at a crash), by its first byte.
    known: BTreeMap<SourceId, BTreeMap<u64, (u64, Line)>>,
    /// Lines that a parked job is still to get.
    pub due: BTreeMap<JobId, BTreeSet<Line>>,
    /// Lines that a job will never get.
    pub lost: BTreeMap<JobId, BTreeSet<Line>>,
    /// Lines in durable batches of a job.
    pub got: BTreeMap<JobId, BTreeSet<Line>>,
    pub parks: u32,
    pub merges: u32,
}

impl Oracle {
    /// What is cut now takes the place of what was cut before a crash, or before a file shrank.
    fn learn(&mut self, source: SourceId, range: Range<u64>, cut: &Cut) {
        let known = self.known.entry(source).or_default();
        known.retain(|start, (end, _)| *end <= range.start || *start >= range.end);
        known.extend(cut.spans.iter().map(|(span, line)| (span.start, (span.end, *line))));
    }

    /// The records within a source's ranges: what a job is owed of them.
    fn records(&self, source: SourceId, ranges: &[Range<u64>]) -> BTreeSet<Line> {
        let known = self.known.get(&source).into_iter().flatten();
        let within = |start: u64, end: u64| ranges.iter().any(|r| r.start <= start && end <= r.end);
        let records =
            known.filter(|(start, (end, line))| within(**start, *end) && matches!(line, Line::Record(_)));
        records.map(|(_, (_, line))| *line).collect()
    }

    /// The process ended in a commit: what it held may be decided.
    pub fn unsure(&mut self, commit: &Commit, life: &Life) {
        for (group, log) in &commit.logs {
            for logged in log.iter().filter(|_| *group == GroupId::MAIN) {
                if let Some(cut) = life.cuts.get(&(*group, logged.source, logged.start, logged.end)) {
                    self.learn(logged.source, logged.start..logged.end, cut);
                }
            }
        }
    }

    /// The main group has decided a chunk, while these were the jobs.
    pub fn decided(&mut self, logged: &Logged, cut: &Cut, jobs: &SimJobs) {
        self.learn(logged.source, logged.start..logged.end, cut);
        for job in jobs.values().filter(|job| job.takes && !job.group.is_live()) {
            // What it had got in the hot group before a restart is not due again.
            let got = self.got.entry(job.id).or_default();
            let due = |line: &&Line| matches!(line, Line::Record(_)) && !got.contains(*line);
            let records = cut.lines.iter().filter(due);
            self.due.entry(job.id).or_default().extend(records);
        }
    }

    /// A job has lines in durable batches.
    pub fn has(&mut self, job: JobId, lines: &[Line]) {
        self.got.entry(job).or_default().extend(lines);
        if let Some(due) = self.due.get_mut(&job) {
            due.retain(|line| !lines.contains(line));
        }
    }

    /// A change of jobs is durable.
    pub fn changed(&mut self, rows: &JobsCommit, before: &SimJobs) {
        for id in &rows.deleted {
            self.due.remove(id);
            self.got.remove(id);
        }
        self.parks += rows.parked.len() as u32;
        self.merges += rows.merged.len() as u32;
        for row in rows.put.iter().filter(|row| row.group.is_live()) {
            let due = self.due.remove(&row.id).unwrap_or_default();
            // Disabled and enabled again within one change: it begins anew, two versions later.
            let anew = before.get(&row.id).is_some_and(|job| row.version >= job.version + 2);
            let owed = row.config != "off" && !anew && !due.is_empty();
            if anew {
                self.lost.entry(row.id).or_default().extend(&due);
            }
            assert!(!owed, "P7: {:?} goes on with the others and is still to get {due:?}", row.id);
        }
    }

    /// What jobs of a group can read no more.
    pub fn lose(&mut self, jobs: &SimJobs, group: GroupId, source: SourceId, ranges: &[Range<u64>]) {
        let gone = self.records(source, ranges);
        for job in jobs.values().filter(|job| job.group == group) {
            let due = self.due.entry(job.id).or_default();
            let lost: BTreeSet<Line> = gone.intersection(due).copied().collect();
            due.retain(|line| !lost.contains(line));
            self.lost.entry(job.id).or_default().extend(lost);
        }
    }

    /// The process ended while it was said that a file ends at `size`.
    pub fn may_have_shrunk(&mut self, jobs: &SimJobs, source: SourceId, size: u64) {
        let beyond = self.known.get(&source).into_iter().flatten().filter(|(_, (end, _))| *end > size);
        let cut_off: BTreeSet<Line> = beyond.map(|(_, (_, line))| *line).collect();
        for job in jobs.values().filter(|job| !job.group.is_live()) {
            self.lost.entry(job.id).or_default().extend(&cut_off);
        }
    }

    /// A file ends at `size` now.
    pub fn shrunk(&mut self, jobs: &SimJobs, source: SourceId, size: u64) {
        let beyond = self.known.get(&source).into_iter().flatten();
        let cut_off: BTreeSet<Line> =
            beyond.filter(|(_, (end, _))| *end > size).map(|(_, (_, line))| *line).collect();
        for job in jobs.values().filter(|job| !job.group.is_live()) {
            let due = self.due.entry(job.id).or_default();
            due.retain(|line| !cut_off.contains(line));
            self.lost.entry(job.id).or_default().extend(&cut_off);
        }
        if let Some(known) = self.known.get_mut(&source) {
            known.retain(|_, (end, _)| *end <= size);
        }
    }

    /// What the ledger's rows say that parked jobs are still to get.
    fn of_ledger(
        &self,
        ledger: &Ledger<crate::disk::SimDisk>,
        jobs: &SimJobs,
    ) -> BTreeMap<JobId, BTreeSet<Line>> {
        let mut due = BTreeMap::new();
        for job in jobs.values().filter(|job| !job.group.is_live()) {
            let lines: &mut BTreeSet<Line> = due.entry(job.id).or_default();
            for source in self.known.keys() {
                let progress = |group| ledger.progress(group, *source);
                let (Some(main), Some(of)) = (progress(GroupId::MAIN), progress(job.group)) else { continue };
                lines.extend(self.records(*source, &main.beyond(of)));
            }
        }
        due
    }

    /// The account is what the ledger's rows say; after a crash in the middle of a change it is made so.
    pub fn check(&mut self, ledger: &Ledger<crate::disk::SimDisk>, jobs: &SimJobs, unsure: bool) {
        let mut found = self.of_ledger(ledger, jobs);
        found.retain(|_, lines| !lines.is_empty());
        self.due.retain(|_, lines| !lines.is_empty());
        assert!(
            unsure || found == self.due,
            "I1: jobs are to get {:?}, and the ledger says {found:?}",
            self.due
        );
        self.due = found;
    }
}

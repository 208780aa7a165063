//! Parking: which jobs are parked, which of them catch up, and when they go on with the others (PROTOCOL P6, INTERFACE 6).
//!
//! A job that holds more of the spool than its share takes no more records: it moves into a group of its own. Once it has
//! room, its group is read from the files; once that group has decided all that the others have, the job moves back.
//! Promises: a group is used once and holds one job; a job moves only with a durable change; the reader is told that a
//! group is over only when no change is under way that counts on it.
//! Must not know: how jobs change, how groups are read, the sender.
use crate::protocol::{GroupId, JobId};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkingAction {
    /// The job moves into this new parked group: [`crate::protocol::JobsCommit::parked`].
    Park {
        /// The job.
        job: JobId,
        /// Its group.
        group: GroupId,
    },
    /// The job moves from its parked group into the main group: [`crate::protocol::JobsCommit::merged`].
    Merge {
        /// The job.
        job: JobId,
        /// The group that it leaves, and that goes.
        group: GroupId,
    },
    /// The reader of parked groups begins with this one.
    Begin(GroupId),
    /// It ends with this one.
    End(GroupId),
}

/// A parked job, for `/status` and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedJob {
    /// The job.
    pub job: JobId,
    /// Its group.
    pub group: GroupId,
    /// It is read from the files now; else it waits for room.
    pub catching_up: bool,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Parking {
    /// Where every parked job is, durably.
    parked: BTreeMap<JobId, GroupId>,
    /// Jobs whose move is asked for and not durable: where they go.
    moving: BTreeMap<JobId, GroupId>,
    /// Jobs without room.
    over: BTreeSet<JobId>,
    /// Jobs that take records, parked or not.
    taking: BTreeSet<JobId>,
    /// Groups that the reader has been told of.
    begun: BTreeSet<GroupId>,
    last_group: u32,
}

impl Parking {
    /// `last_group` is the largest group id that was ever given. Say [`Parking::changed`] once the sender knows what the
    /// last run left: parked jobs that have room catch up.
    pub fn new(last_group: u32) -> Parking {
        Parking {
            parked: BTreeMap::new(),
            moving: BTreeMap::new(),
            over: BTreeSet::new(),
            taking: BTreeSet::new(),
            begun: BTreeSet::new(),
            last_group: last_group.max(GroupId::FIRST_PARKED.0 - 1),
        }
    }

    /// The job is over its share of the spool.
    pub fn over_share(&mut self, job: JobId, out: &mut Vec<ParkingAction>) {
        // What could not be parsed is kept once, when it is read first: the rejects cannot read it again.
        if job == JobId::REJECTS {
            return;
        }
        self.over.insert(job);
        self.settle(out);
    }

    /// The job has room again.
    pub fn under_share(&mut self, job: JobId, out: &mut Vec<ParkingAction>) {
        self.over.remove(&job);
        self.settle(out);
    }

    /// The reader has nothing left to read for a group, and the live reader stands still.
    pub fn caught_up(&mut self, group: GroupId, out: &mut Vec<ParkingAction>) {
        let job = self.parked.iter().find(|(_, of)| **of == group).map(|(job, _)| *job);
        match job.filter(|job| !self.over.contains(job) && !self.moving.contains_key(job)) {
            Some(job) => {
                self.moving.insert(job, GroupId::MAIN);
                out.push(ParkingAction::Merge { job, group });
            }
            // It is gone, or has no room any more: the others go on.
            None => {
                self.begun.remove(&group);
                out.push(ParkingAction::End(group));
            }
        }
    }

    /// A change of jobs is durable: all jobs, their groups, and whether they take records.
    pub fn changed(
        &mut self,
        jobs: impl Iterator<Item = (JobId, GroupId, bool)>,
        out: &mut Vec<ParkingAction>,
    ) {
        let jobs: BTreeMap<JobId, (GroupId, bool)> =
            jobs.map(|(job, group, takes)| (job, (group, takes))).collect();
        self.moving.retain(|job, to| jobs.get(job).is_some_and(|(group, takes)| group != to && *takes));
        self.over.retain(|job| jobs.contains_key(job));
        let parked = |(_, (group, takes)): &(&JobId, &(GroupId, bool))| !group.is_live() && *takes;
        self.parked = jobs.iter().filter(parked).map(|(job, (group, _))| (*job, *group)).collect();
        let takes = jobs.iter().filter(|(job, (_, takes))| **job != JobId::REJECTS && *takes);
        self.taking = takes.map(|(job, _)| *job).collect();
        self.settle(out);
    }

    /// Whether a job is parked, or about to be or to be no more.
    pub fn concerns(&self, job: JobId) -> bool {
        self.parked.contains_key(&job) || self.moving.contains_key(&job)
    }

    /// The parked jobs.
    pub fn jobs(&self) -> impl Iterator<Item = ParkedJob> + '_ {
        self.parked.iter().map(|(job, group)| ParkedJob {
            job: *job,
            group: *group,
            catching_up: self.begun.contains(group),
        })
    }

    /// A job is parked for the sake of the others: when none of them has room either, the readers stand still for all.
    fn park(&mut self, out: &mut Vec<ParkingAction>) {
        if self.taking.is_subset(&self.over) {
            return;
        }
        for job in self.over.intersection(&self.taking).copied().collect::<Vec<_>>() {
            if self.concerns(job) {
                continue;
            }
            self.last_group += 1;
            let group = GroupId(self.last_group);
            self.moving.insert(job, group);
            out.push(ParkingAction::Park { job, group });
        }
    }

    /// The reader is told of the groups whose jobs have room, and of those that have not or are gone.
    fn settle(&mut self, out: &mut Vec<ParkingAction>) {
        let may = |(job, _): &(&JobId, &GroupId)| !self.over.contains(job) || self.moving.contains_key(job);
        let wanted: BTreeSet<GroupId> = self.parked.iter().filter(may).map(|(_, group)| *group).collect();
        out.extend(self.begun.difference(&wanted).map(|group| ParkingAction::End(*group)));
        out.extend(wanted.difference(&self.begun).map(|group| ParkingAction::Begin(*group)));
        self.begun = wanted;
        self.park(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: JobId = JobId(7);
    const B: JobId = JobId(8);
    const FIRST: GroupId = GroupId::FIRST_PARKED;

    fn moved(parking: &mut Parking, a: GroupId) -> Vec<ParkingAction> {
        does(|out| parking.changed([(A, a, true), (B, GroupId::MAIN, true)].into_iter(), out))
    }

    /// Two jobs that have room.
    fn two() -> Parking {
        let mut parking = Parking::new(0);
        assert_eq!(moved(&mut parking, GroupId::MAIN), []);
        parking
    }

    fn does(f: impl FnOnce(&mut Vec<ParkingAction>)) -> Vec<ParkingAction> {
        let mut out = Vec::new();
        f(&mut out);
        out
    }

    #[test]
    fn a_job_parks_catches_up_and_goes_on() {
        let mut parking = two();
        assert_eq!(does(|out| parking.over_share(A, out)), [ParkingAction::Park { job: A, group: FIRST }]);
        assert_eq!(does(|out| parking.over_share(A, out)), [], "it moves already");
        assert_eq!(moved(&mut parking, FIRST), []);
        assert_eq!(does(|out| parking.under_share(A, out)), [ParkingAction::Begin(FIRST)]);
        assert_eq!(
            does(|out| parking.caught_up(FIRST, out)),
            [ParkingAction::Merge { job: A, group: FIRST }]
        );
        assert_eq!(moved(&mut parking, GroupId::MAIN), [ParkingAction::End(FIRST)]);
        let again = does(|out| parking.over_share(A, out));
        assert_eq!(
            again,
            [ParkingAction::Park { job: A, group: GroupId(FIRST.0 + 1) }],
            "a group is used once"
        );
    }

    #[test]
    fn room_that_comes_before_the_change_is_durable_is_not_forgotten() {
        let mut parking = two();
        parking.over_share(A, &mut Vec::new());
        assert_eq!(does(|out| parking.under_share(A, out)), []);
        assert_eq!(moved(&mut parking, FIRST), [ParkingAction::Begin(FIRST)]);
    }

    #[test]
    fn a_merge_that_is_under_way_is_not_taken_back() {
        let mut parking = two();
        parking.over_share(A, &mut Vec::new());
        parking.under_share(A, &mut Vec::new());
        moved(&mut parking, FIRST);
        parking.caught_up(FIRST, &mut Vec::new());
        assert_eq!(
            does(|out| parking.over_share(A, out)),
            [],
            "the live reader must stand until it is durable"
        );
        assert_eq!(
            moved(&mut parking, GroupId::MAIN),
            [ParkingAction::End(FIRST), ParkingAction::Park { job: A, group: GroupId(FIRST.0 + 1) }]
        );
    }

    #[test]
    fn without_room_again_or_deleted_it_is_read_no_more() {
        let mut parking = two();
        parking.over_share(A, &mut Vec::new());
        parking.under_share(A, &mut Vec::new());
        moved(&mut parking, FIRST);
        assert_eq!(does(|out| parking.over_share(A, out)), [ParkingAction::End(FIRST)]);
        assert_eq!(does(|out| parking.caught_up(FIRST, out)), [ParkingAction::End(FIRST)]);
        assert_eq!(does(|out| parking.under_share(A, out)), [ParkingAction::Begin(FIRST)]);
        assert_eq!(does(|out| parking.changed([].into_iter(), out)), [ParkingAction::End(FIRST)]);
        assert_eq!(parking.jobs().count(), 0);
    }
    #[test]
    fn nobody_parks_when_nobody_has_room() {
        let mut parking = two();
        parking.over_share(B, &mut Vec::new());
        let second = GroupId(FIRST.0 + 1);
        assert_eq!(does(|out| parking.over_share(A, out)), [], "the readers stand still for both");
        assert_eq!(does(|out| parking.under_share(B, out)), [ParkingAction::Park { job: A, group: second }]);
    }

    #[test]
    fn the_rejects_are_never_parked() {
        let mut parking = two();
        assert_eq!(does(|out| parking.over_share(JobId::REJECTS, out)), []);
    }
}

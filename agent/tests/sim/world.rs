//! The world of one run: what outlives a life of the agent, what happens to it, and what must hold.
//!
//! A run is a seed: settings, appends, rotations, faults, ends of the process and restarts come from it. After its
//! steps the faults cease, everything drains, and every line must have arrived exactly once (or be excused).
use crate::disk::SimDisk;
use crate::logs::{LogSettings, Logs};
use crate::oracle::Oracle;
use crate::process::{Around, FEW, LedgerStep, Life, LifeSettings, Turn, Wish};
use crate::rng::Rng;
use crate::store::{Store, owned_records, records_of};
use edgepush::ledger::{Ledger, LedgerEvent, LedgerReply, LedgerSettings, Reserve};
use edgepush::protocol::*;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const WALL: i64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Power,
}

/// What a run did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub lines: usize,
    pub excused: usize,
    pub missing: usize,
    pub crashes: u32,
    pub commits: u32,
    pub objects: usize,
    pub shrunk: u32,
    /// Bytes that the ledger counts as never read.
    pub unread: u64,
    /// Starts that found decided chunks above undecided ones.
    pub holes: u32,
    /// Jobs that parked, and that went on with the others.
    pub parks: u32,
    pub merges: u32,
    /// Lines that parked jobs have lost with their files.
    pub lost: usize,
    /// Changes of jobs, commits of the hot group.
    pub changes: u32,
    pub hot: u32,
    /// Batches that were taken in part.
    pub parted: u32,
}

pub struct World {
    dir: tempfile::TempDir,
    generation: u32,
    time: Duration,
    wall_offset: i64,
    boots: u64,
    rng: Rng,
    logs: Logs,
    store: Store,
    disk: SimDisk,
    life: Option<Life>,
    life_settings: LifeSettings,
    small_bytes: u64,
    /// Progress as the last durable step left it.
    progress: BTreeMap<SourceId, Progress>,
    /// A crash in the middle of a change: its progress is the old or the new one.
    unsure: BTreeSet<SourceId>,
    /// Rows that wait for their copy.
    detached: BTreeSet<SourceId>,
    oracle: Oracle,
    /// The process ended in the middle of a step of the ledger.
    unsure_step: bool,
    /// The file that a source stood for when it was heard of last.
    file_of: BTreeMap<SourceId, usize>,
    names: BTreeMap<BatchId, String>,
    id_max: u64,
    calm: bool,
    /// A shard that is seldom scheduled: it passes a seal long after the others.
    slow: Option<usize>,
    summary: Summary,
    pub trace: Vec<String>,
    tracing: bool,
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())]
}

impl World {
    pub fn new(seed: u64, place: &Path, tracing: bool) -> World {
        let mut rng = Rng::new(seed);
        let settings = LogSettings {
            copies: rng.one_in(2),
            outside: rng.one_in(10),
            no_btime: rng.one_in(3),
            copy_outside: rng.one_in(5),
        };
        let life_settings = LifeSettings {
            shards: 2 + rng.below(3),
            salt: rng.next(),
            many: pick(&mut rng, &[0, 0, 1, 16]),
            commit_interval: Duration::from_millis(pick(&mut rng, &[50, 300, 1000])),
            uncommitted_bytes_max: pick(&mut rng, &[2000, 20_000, 1 << 20]),
            blind: rng.one_in(4),
        };
        let small_bytes = pick(&mut rng, &[0, 64, 500, 65_536]);
        let slow = rng.one_in(2).then(|| rng.below(life_settings.shards));
        let (logs, disk) = (Logs::new(settings, rng.fork()), SimDisk::new(rng.fork()));
        World {
            dir: tempfile::tempdir_in(place).expect("a directory"),
            generation: 0,
            time: Duration::from_secs(1),
            wall_offset: WALL,
            boots: 1,
            rng,
            logs,
            store: Store::default(),
            disk,
            life: None,
            life_settings,
            small_bytes,
            progress: BTreeMap::new(),
            unsure: BTreeSet::new(),
            detached: BTreeSet::new(),
            oracle: Oracle::default(),
            unsure_step: false,
            file_of: BTreeMap::new(),
            names: BTreeMap::new(),
            id_max: 0,
            calm: false,
            slow,
            summary: Summary::default(),
            trace: Vec::new(),
            tracing,
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.time, wall: self.wall_offset + self.time.as_nanos() as i64 }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.tracing {
            self.trace.push(format!("{:>10.4} {}", self.time.as_secs_f64(), text()));
        }
    }

    /// Lends the life and everything around it to `f`.
    fn with_life<T>(&mut self, f: impl FnOnce(&mut Life, &mut Around<'_>) -> T) -> Option<T> {
        let now = self.now();
        let life = self.life.as_mut()?;
        let mut around = Around {
            now,
            logs: &mut self.logs,
            store: &mut self.store,
            disk: &self.disk,
            rng: &mut self.rng,
            calm: self.calm,
            trace: &mut self.trace,
            tracing: self.tracing,
        };
        Some(f(life, &mut around))
    }

    // ---- lives

    fn file(&self) -> PathBuf {
        self.dir.path().join(format!("{}.db", self.generation))
    }

    /// A start of the process. It may end in the middle of it.
    fn boot(&mut self) {
        let settings = LedgerSettings {
            limit_bytes: 8 << 20,
            reserve: Reserve::Percent(0),
            machine_id: "machine".into(),
            boot_id: format!("boot-{}", self.boots),
            new_id: Some(0xfeed_0001),
            small_bytes: self.small_bytes,
            publish_after: Duration::from_secs(300),
        };
        if !self.calm && self.rng.one_in(5) {
            let calls = self.rng.below(14) as u32;
            self.disk.0.borrow_mut().fuse = Some(calls);
        }
        let conn = Connection::open(self.file()).expect("a database");
        let opened = Ledger::open(conn, self.disk.clone(), settings, self.now());
        let (ledger, recovered) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(self.disk.0.borrow().crashed.is_some(), "the ledger does not open: {error}");
                self.say(|| "the start ended in the middle".into());
                self.disk.0.borrow_mut().crashed = None;
                self.summary.crashes += 1;
                return;
            }
        };
        self.disk.0.borrow_mut().fuse = None;
        self.say(|| format!("start: {recovered:#?}"));
        self.check_recovered(&recovered.sources);
        let settings = self.life_settings.clone();
        let now = self.now();
        let mut around = Around {
            now,
            logs: &mut self.logs,
            store: &mut self.store,
            disk: &self.disk,
            rng: &mut self.rng,
            calm: self.calm,
            trace: &mut self.trace,
            tracing: self.tracing,
        };
        let life = Life::start(settings, ledger, recovered, &mut around);
        let unsure = std::mem::take(&mut self.unsure_step);
        self.oracle.check(&life.ledger, &life.jobs, unsure);
        let parked: Vec<JobId> = life.parking.jobs().map(|parked| parked.job).collect();
        self.life = Some(life);
        for job in parked {
            if !self.calm && self.rng.one_in(2) {
                self.with_life(|life, around| life.share(job, true, around));
            }
        }
    }

    /// The process ends. The database's files are taken as they are, without the goodbye of its connection.
    fn end(&mut self, end: End) {
        self.say(|| format!("the process ends: {end:?}"));
        self.summary.crashes += 1;
        let full = self.take_database();
        {
            let mut state = self.disk.0.borrow_mut();
            state.crashed = None;
            state.fuse = None;
            state.sync_sources.clear();
        }
        match end {
            End::Kill => self.logs.process_ended(),
            End::Power => {
                self.disk.power_cut();
                self.logs.power_cut();
                self.boots += 1;
                if !full {
                    self.tear_wal();
                }
            }
        }
        self.logs.touched.clear();
    }

    /// Copies database and WAL away from the dying process. Says whether every commit was synced.
    fn take_database(&mut self) -> bool {
        let Some(life) = self.life.take() else { return true };
        let (conn, _) = life.ledger.into_parts();
        let full: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0)).expect("a pragma");
        let old = self.file();
        self.generation += 1;
        let new = self.file();
        std::fs::copy(&old, &new).expect("a copy");
        let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
        if wal(&old).exists() {
            std::fs::copy(wal(&old), wal(&new)).expect("a copy");
        }
        drop(conn);
        for path in [old.clone(), wal(&old), PathBuf::from(format!("{}-shm", old.display()))] {
            let _ = std::fs::remove_file(path);
        }
        full >= 2
    }

    /// With `synchronous` below FULL a power cut takes any part of the WAL's end.
    fn tear_wal(&mut self) {
        let wal = format!("{}-wal", self.file().display());
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&wal) {
            let len = file.metadata().expect("its length").len();
            file.set_len(self.rng.below(len as usize + 1) as u64).expect("a shorter WAL");
        }
    }

    /// A stop by a signal, or the end of a run: what was read becomes durable.
    fn stop(&mut self, close: bool) {
        self.disk.0.borrow_mut().full = false;
        self.with_life(|life, around| life.stop(close, around));
        for step in 0.. {
            assert!(step < 200_000, "the life does not end: {}", self.stuck());
            match &self.life {
                None => return,
                Some(life) if life.is_over() => break,
                Some(_) => self.life_step(),
            }
        }
        self.say(|| "the process has stopped".into());
        self.take_database();
        self.logs.process_ended();
        self.logs.touched.clear();
    }

    fn stuck(&self) -> String {
        self.life.as_ref().map(Life::why_not_idle).unwrap_or_default()
    }

    // ---- steps

    /// One step of the agent, or time.
    fn life_step(&mut self) {
        let turns = self.life.as_ref().map(Life::turns).unwrap_or_default();
        if turns.is_empty() || self.rng.one_in(8) {
            self.pass_time(turns.is_empty());
        } else {
            self.time += Duration::from_micros(self.rng.below(300) as u64);
            let turn = turns[self.rng.below(turns.len())];
            if self.slow.map(Turn::Shard) == Some(turn) && !self.rng.one_in(6) {
                return;
            }
            let step = self.with_life(|life, around| life.turn(turn, around)).flatten();
            self.after(step);
        }
        if self.life.is_none() {
            return;
        }
        let due = self.life.as_ref().and_then(Life::deadline).is_some_and(|at| at <= self.time);
        if due && self.rng.one_in(3) {
            let step = self.with_life(|life, around| life.tick(around)).flatten();
            self.after(step);
        }
        self.with_life(|life, around| life.changed(around.logs));
    }

    fn pass_time(&mut self, idle: bool) {
        let step = Duration::from_micros(self.rng.below(20_000) as u64);
        let deadline = self.life.as_ref().and_then(Life::deadline);
        self.time = match deadline {
            Some(at) if idle => at.max(self.time + Duration::from_micros(10)),
            _ => self.time + step,
        };
        self.logs.wall = self.now().wall;
    }

    /// Something happens to the logs.
    fn log_step(&mut self) {
        self.logs.wall = self.now().wall;
        let what = match self.rng.below(100) {
            0..=74 => {
                for _ in 0..1 + self.rng.below(4) {
                    self.logs.write();
                }
                "write"
            }
            75..=79 => {
                self.logs.write_garbage();
                "garbage"
            }
            80..=84 => {
                self.logs.reopen();
                "reopen"
            }
            85..=91 if !self.logs.settings.copies => {
                self.logs.rotate();
                "rotate"
            }
            85..=89 => {
                self.logs.copy();
                "copy"
            }
            90..=96 if self.logs.is_copying() => {
                self.logs.truncate();
                "truncate"
            }
            97 | 98 => {
                self.logs.compress();
                "compress"
            }
            99 => {
                self.logs.delete();
                "delete"
            }
            _ => {
                self.logs.write();
                "write"
            }
        };
        self.say(|| format!("log: {what}"));
    }

    /// Jobs come, change and go; one has no room any more, or has it again.
    fn job_step(&mut self) {
        let what = self.rng.below(20);
        let at = self.rng.below(8);
        self.with_life(|life, around| {
            let made: Vec<JobId> = life.made().into_iter().collect();
            let any: Vec<JobId> = [JobId::ENV, FEW].into_iter().chain(made.iter().copied()).collect();
            let of = |jobs: &[JobId]| jobs.get(at % jobs.len().max(1)).copied();
            let wish = match what {
                0 | 1 if made.len() < 4 => Some(Wish::Make),
                2 => of(&made).map(Wish::Delete),
                3 => of(&made).map(|id| Wish::Enable(id, life.jobs[&id].takes && at < 5)),
                4 | 5 => of(&any[1..]).map(Wish::Change),
                _ => None,
            };
            match (wish, of(&any)) {
                (Some(wish), _) => life.wish(wish, around),
                (None, Some(job)) => life.share(job, what >= 14, around),
                (None, None) => {}
            }
        });
    }

    fn fault_step(&mut self) {
        match self.rng.below(14) {
            0 => self.end(End::Kill),
            1 => self.end(End::Power),
            2..=5 => {
                let calls = self.rng.below(40) as u32;
                self.disk.0.borrow_mut().fuse = Some(calls);
            }
            6 => self.stop(false),
            7 | 8 => {
                let full = self.rng.one_in(2);
                self.disk.0.borrow_mut().full = full;
            }
            9 | 10 => {
                self.logs.end_copy();
                self.time += Duration::from_millis(self.rng.below(70_000) as u64);
            }
            _ => {
                let at = self.rng.below(16);
                self.store.arrive_late(at);
            }
        }
    }

    /// Between two lives.
    fn down_step(&mut self) {
        for _ in 0..self.rng.below(12) {
            self.log_step();
        }
        if self.rng.one_in(3) {
            self.store.arrive_late(0);
        }
        if self.rng.one_in(4) {
            self.wall_offset += (self.rng.below(7200) as i64 - 3600) * SECOND;
        }
        self.time += Duration::from_millis(self.rng.below(3000) as u64);
        self.boot();
    }

    /// The whole run.
    pub fn run(&mut self) -> Summary {
        for _ in 0..1600 {
            if self.life.is_none() {
                self.down_step();
                continue;
            }
            match self.rng.below(200) {
                0..=15 => self.log_step(),
                16..=17 => self.fault_step(),
                18..=19 => self.job_step(),
                _ => self.life_step(),
            }
        }
        self.drain();
        self.check_end();
        self.summary.lines = self.logs.written.len();
        self.summary.excused = self.logs.excused.len();
        self.summary.objects = self.store.len();
        self.summary
    }

    /// At which disk call or point the process ended, and how often.
    pub fn ends(&self) -> BTreeMap<&'static str, u64> {
        self.disk.0.borrow().ended.clone()
    }

    /// Faults cease; everything that is there is read and delivered.
    fn drain(&mut self) {
        self.say(|| "calm".into());
        self.calm = true;
        {
            let mut state = self.disk.0.borrow_mut();
            state.fuse = None;
            state.full = false;
        }
        self.logs.reopen();
        self.logs.write();
        while self.life.is_none() {
            self.boot();
        }
        self.room_for_all();
        self.idle_for(Duration::from_secs(3));
        // Time enough for copies that are held back (a minute for each row that they may belong to), then for files that
        // are to be left.
        for jump in [61, 61, 61, 61, 61, 61, 61, 61, 7200 + 700, 61, 61] {
            self.time += Duration::from_secs(jump);
            self.idle_for(Duration::from_millis(1500));
        }
        self.merge_all();
        self.stop(true);
        for _ in 0..8 {
            self.store.arrive_late(0);
        }
    }

    /// Every job has room and is enabled.
    fn room_for_all(&mut self) {
        self.with_life(|life, around| {
            for id in life.jobs.keys().copied().collect::<Vec<_>>() {
                life.share(id, false, around);
                life.wish(Wish::Enable(id, true), around);
            }
        });
    }

    /// Parked jobs catch up.
    fn merge_all(&mut self) {
        for _ in 0..100 {
            self.room_for_all();
            self.idle_for(Duration::from_millis(1500));
            let life = self.life.as_ref().expect("a calm life");
            // A group that is ahead of the others in a file that is gone goes on by itself until the row is forgotten.
            let ahead = |group| life.ledger.is_ahead(group) && life.ledger.behind_bytes(group) == 0;
            let parked = life.jobs.values().filter(|job| !job.group.is_live());
            if parked.into_iter().all(|job| ahead(job.group)) {
                return;
            }
            self.time += Duration::from_secs(4);
        }
        panic!("parked jobs do not catch up: {}", self.stuck());
    }

    fn idle_for(&mut self, time: Duration) {
        let until = self.time + time;
        for step in 0.. {
            let idle = self.life.as_ref().is_some_and(Life::is_idle);
            if idle && self.time >= until {
                return;
            }
            assert!(step < 30_000, "nothing comes to rest: {}", self.stuck());
            if self.life.is_none() {
                self.boot();
            }
            self.life_step();
        }
    }

    // ---- checks

    fn after(&mut self, step: Option<LedgerStep>) {
        let Some(step) = step else { return };
        let Some(replies) = step.replies else {
            self.unsure_step = true;
            match (&step.event, &self.life) {
                (LedgerEvent::Commit(commit), Some(life)) => {
                    self.oracle.unsure(commit, life);
                    self.excuse_unsure(commit.jobs.as_deref());
                }
                (LedgerEvent::Lost { group, source, ranges }, Some(life)) => {
                    self.oracle.lose(&life.jobs, *group, *source, ranges);
                }
                // As above: it may be done, and then no one says it again.
                (LedgerEvent::Change(changes), Some(life)) => {
                    for change in changes {
                        if let SourceChange::Shrunk { id, size } = change {
                            self.oracle.may_have_shrunk(&life.jobs, *id, *size);
                        }
                    }
                }
                _ => {}
            }
            if let LedgerEvent::Change(changes) = &step.event {
                self.unsure.extend(changes.iter().map(|change| match change {
                    SourceChange::Moved { id, .. }
                    | SourceChange::Shrunk { id, .. }
                    | SourceChange::Sized { id, .. }
                    | SourceChange::Closed { id, .. } => *id,
                }));
            }
            let end = if self.rng.one_in(2) { End::Kill } else { End::Power };
            self.say(|| "the fuse".into());
            return self.end(end);
        };
        for reply in &replies {
            match (&step.event, reply) {
                (LedgerEvent::Commit(commit), LedgerReply::Committed(committed)) => {
                    self.check_commit(commit, committed);
                }
                (LedgerEvent::Lost { group, source, ranges }, LedgerReply::Lost { bytes, .. }) => {
                    self.check_lost(*group, *source, ranges, *bytes);
                }
                (_, LedgerReply::Split { children, .. }) => self.check_names(children, &[]),
                (_, LedgerReply::Parted { again, rejects, .. }) => {
                    self.summary.parted += u32::from(again.is_some() || !rejects.is_empty());
                    self.check_names(again.as_slice(), &[]);
                    self.check_names(rejects, &[]);
                }
                _ => {}
            }
        }
        if let LedgerEvent::Change(changes) = &step.event {
            changes.iter().for_each(|change| self.check_change(change));
        }
        self.check_progress();
    }

    /// S4: what a row has as durable is durable in the copy that it goes on with.
    fn check_change(&mut self, change: &SourceChange) {
        match change {
            SourceChange::Sized { .. } => {}
            SourceChange::Shrunk { id, .. } => {
                self.summary.shrunk += 1;
                self.progress.remove(id);
                if let (SourceChange::Shrunk { size, .. }, Some(life)) = (change, &self.life) {
                    self.oracle.shrunk(&life.jobs, *id, *size);
                }
            }
            SourceChange::Moved { id, state: SourceState::Attached, .. } => {
                let Some(life) = &self.life else { return };
                let (low, at) = (life.ledger.progress(GroupId::MAIN, *id).map(|p| p.low), life.attached(*id));
                if let (true, Some(low), Some(at)) = (self.detached.remove(id), low, at) {
                    let file = &self.logs.files[at];
                    let there = file.data.len().min(low as usize);
                    assert!(file.synced >= there, "S4: the copy that {id:?} goes on with is not durable");
                }
            }
            SourceChange::Moved { id, .. } | SourceChange::Closed { id, .. } => {
                self.detached.insert(*id);
            }
        }
    }

    /// I1, I2, I5, I7 of one commit.
    #[expect(clippy::too_many_lines, reason = "every invariant of a commit, one after the other")]
    fn check_commit(&mut self, commit: &Commit, committed: &Committed) {
        self.summary.commits += 1;
        let known: BTreeSet<BatchId> = commit.batches.iter().filter_map(|b| b.row).collect();
        let open: Vec<BatchId> = committed.open.iter().map(|(_, id)| *id).collect();
        let fresh = |id: &BatchId| !known.contains(id);
        for id in open.iter().chain(committed.spooled.iter().map(|s| &s.id)).filter(|id| fresh(id)) {
            assert!(id.0 > self.id_max, "I7: the batch id {id:?} came back");
        }
        self.check_names(&committed.spooled, &open);
        let life = self.life.as_mut().expect("a life that has committed");
        let jobs = life.jobs_of(commit.epoch).clone();
        let takes = |group: GroupId| jobs.values().filter(move |job| job.takes && job.group == group);
        let all = commit.logs.iter().any(|(group, _)| *group == GroupId::MAIN);
        self.summary.hot += u32::from(!all);
        self.summary.changes += u32::from(commit.jobs.is_some());
        let mut expected: BTreeMap<(JobId, u32), Vec<_>> = BTreeMap::new();
        for (group, logged) in commit.logs.iter().flat_map(|(g, log)| log.iter().map(move |l| (*g, l))) {
            let of = if group == GroupId::HOT { GroupId::MAIN } else { group };
            let key = (of, logged.source, logged.start, logged.end);
            let cut = life.cuts.get_mut(&key);
            let cut = cut.unwrap_or_else(|| panic!("I2: {key:?} was never cut so, or is logged twice"));
            assert!(cut.processed, "I1: {logged:?} is logged before it was processed");
            let hot = std::mem::take(&mut cut.hot);
            assert!(hot || group != GroupId::HOT, "I2: {logged:?} is logged twice for the hot group");
            let mut owed: Vec<_> = takes(group).collect();
            if group == GroupId::MAIN && hot {
                owed.extend(takes(GroupId::HOT));
            }
            for line in &cut.lines {
                let rejected = matches!(line, crate::logs::Line::Garbage(_));
                for job in owed.iter().filter(|job| (job.id == JobId::REJECTS) == rejected) {
                    expected.entry((job.id, job.version)).or_default().push(*line);
                }
                if group == GroupId::MAIN {
                    self.logs.committed.insert(line.number());
                }
            }
            if group != GroupId::HOT {
                let cut = life.cuts.remove(&key).expect("it was there");
                if group == GroupId::MAIN {
                    self.oracle.decided(logged, &cut, &jobs);
                }
            }
            if let Some(at) = life.attached(logged.source) {
                self.file_of.insert(logged.source, at);
                let file = &self.logs.files[at];
                let there = file.data.len().min(logged.end as usize);
                assert!(file.synced >= there, "I5: {logged:?} is durable, its bytes are not");
            }
            assert!(logged.evidence.head_len > 0, "I5: an offset without evidence");
        }
        let mut found: BTreeMap<(JobId, u32), Vec<_>> = BTreeMap::new();
        for batch in commit.batches.iter().filter(|b| !b.piece.is_empty()) {
            let (lines, _) = records_of(batch.job, batch.codec, &batch.piece.concat());
            found.entry((batch.job, batch.version)).or_default().extend(lines);
        }
        for lines in found.values_mut().chain(expected.values_mut()) {
            lines.sort_unstable();
        }
        found.retain(|_, lines| !lines.is_empty());
        let deleted = commit.jobs.iter().flat_map(|rows| rows.deleted.clone()).collect::<BTreeSet<_>>();
        expected.retain(|(job, _), _| !deleted.contains(job));
        assert_eq!(
            expected, found,
            "I1: epoch {}: the chunks' lines and the batches', by job and version",
            commit.epoch
        );
        for ((job, _), lines) in &found {
            self.oracle.has(*job, lines);
        }
        if let Some(rows) = &commit.jobs {
            self.oracle.changed(rows, &jobs);
        }
    }

    /// P6: what is given up is really gone.
    fn check_lost(&mut self, group: GroupId, source: SourceId, ranges: &[std::ops::Range<u64>], bytes: u64) {
        self.say(|| format!("lost: {bytes} bytes of {source:?}"));
        let Some(life) = &self.life else { return };
        self.oracle.lose(&life.jobs, group, source, ranges);
        if let Some(&at) = self.file_of.get(&source).filter(|_| !self.detached.contains(&source)) {
            let file = &self.logs.files[at];
            let end = ranges.last().map_or(0, |range| range.end);
            let there = file.name.as_ref().is_some_and(|name| name.starts_with("/log/"));
            let same = life.attached(source) == Some(at);
            assert!(
                !(there && same && file.data.len() as u64 >= end),
                "P6: {source:?} was given up and is there: {:?}",
                file.name
            );
        }
    }

    /// A job that was deleted at a crash may be deleted or not.
    fn excuse_unsure(&mut self, rows: Option<&JobsCommit>) {
        for id in rows.into_iter().flat_map(|rows| &rows.deleted) {
            self.oracle.got.remove(id);
        }
    }

    fn check_names(&mut self, spooled: &[Spooled], open: &[BatchId]) {
        for batch in spooled {
            let name = self.names.entry(batch.id).or_insert_with(|| batch.name.to_string());
            assert_eq!(*name, *batch.name, "I7: {:?} changed its name", batch.id);
            self.id_max = self.id_max.max(batch.id.0);
        }
        self.id_max = open.iter().map(|id| id.0).max().unwrap_or(0).max(self.id_max);
    }

    /// I3, I4.
    fn check_progress(&mut self) {
        let Some(life) = &self.life else { return };
        let conn = life.ledger.connection();
        let rows = (|| {
            let mut statement = conn.prepare_cached(
                "SELECT s.id FROM source s LEFT JOIN progress p ON p.source = s.id AND p.grp = 0 \
                 WHERE p.source IS NULL OR s.id IS NULL",
            )?;
            statement.exists([])
        })();
        assert!(!rows.expect("a query"), "I3: a source without progress");
        let ids: Vec<SourceId> = {
            let mut statement = conn.prepare_cached("SELECT id FROM source").expect("a query");
            let rows = statement.query_map([], |row| row.get::<_, i64>(0)).expect("rows");
            rows.map(|id| SourceId(id.expect("an id") as u64)).collect()
        };
        for id in ids {
            let now = life.ledger.progress(GroupId::MAIN, id).expect("I3: progress in memory").clone();
            if let Some(old) = self.progress.get(&id) {
                assert_grown(id, old, &now);
            }
            self.progress.insert(id, now);
        }
    }

    /// What a start finds is at least what was acknowledged.
    fn check_recovered(&mut self, rows: &[SourceRow]) {
        let unsure = std::mem::take(&mut self.unsure);
        let detached = rows.iter().filter(|row| row.state == SourceState::Detached);
        self.detached = detached.map(|row| row.id).collect();
        for row in rows {
            self.summary.holes += u32::from(!row.progress.above.is_empty());
            if let Some(old) = self.progress.get(&row.id).filter(|_| !unsure.contains(&row.id)) {
                assert_grown(row.id, old, &row.progress);
            }
            self.progress.insert(row.id, row.progress.clone());
        }
    }

    fn check_end(&mut self) {
        let mut delivered = self.store.delivered();
        self.add_aside(&mut delivered);
        for ((job, line), times) in &delivered {
            let holders = || self.store.holders(*line);
            assert!(*times == 1, "{line:?} was delivered {times} times to {job:?}: {:?}", holders());
        }
        for line in &self.logs.written {
            let rejected = matches!(line, crate::logs::Line::Garbage(_));
            let of: &[JobId] = if rejected { &[JobId::REJECTS] } else { &[JobId::ENV, FEW] };
            let n = line.number();
            for job in of {
                let lost = self.oracle.lost.get(job).is_some_and(|lost| lost.contains(line));
                if delivered.contains_key(&(*job, *line)) || lost {
                    self.summary.lost += usize::from(lost);
                    continue;
                }
                assert!(
                    !self.logs.committed.contains(&n),
                    "{line:?} was committed and did not reach {job:?}"
                );
                assert!(self.logs.excused.contains(&n), "{line:?} is lost to {job:?}");
                self.summary.missing += 1;
            }
        }
        for (job, lines) in &self.oracle.got {
            for line in lines {
                let there = delivered.contains_key(&(*job, *line));
                assert!(there, "{line:?} was committed for {job:?} and did not reach it");
            }
        }
        for (job, due) in &self.oracle.due {
            assert!(due.is_empty(), "{job:?} was parked and never got {due:?}");
        }
        self.summary.parks = self.oracle.parks;
        self.summary.merges = self.oracle.merges;
    }

    /// Batches that are held aside hold their lines for good.
    fn add_aside(&mut self, delivered: &mut BTreeMap<(JobId, crate::logs::Line), u32>) {
        let conn = Connection::open(self.file()).expect("a database");
        let sum = "SELECT coalesce(sum(bytes), 0) FROM loss WHERE reason = 'unread'";
        self.summary.unread = conn.query_row(sum, [], |row| row.get::<_, i64>(0)).expect("a sum") as u64;
        let mut statement = conn
            .prepare("SELECT b.job, b.codec, p.pack, p.off, p.len, p.bytes FROM batch b JOIN piece p ON p.batch = b.id")
            .expect("a query");
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let number = |at: usize| row.get::<_, i64>(at).expect("a number") as u64;
            let codec: String = row.get(1).expect("a codec");
            let codec = if codec == "gzip" { CodecKind::Gzip } else { CodecKind::None };
            let pack: Option<i64> = row.get(2).expect("a pack");
            let bytes = match pack {
                Some(pack) => {
                    self.disk.read(pack as u64, number(3), number(4)).expect("a pack that is there")
                }
                None => row.get(5).expect("bytes"),
            };
            for owned in owned_records(JobId(number(0)), codec, &bytes) {
                *delivered.entry(owned).or_default() += 1;
            }
        }
    }
}

/// I4.
fn assert_grown(id: SourceId, old: &Progress, new: &Progress) {
    assert!(old.low <= new.low, "I4: {id:?} went back from {old:?} to {new:?}");
    for range in &old.above {
        assert!(new.covers(range), "I4: {id:?} forgot {range:?}: {old:?} to {new:?}");
    }
}

impl Summary {
    /// Both together.
    pub fn plus(self, other: Summary) -> Summary {
        Summary {
            lines: self.lines + other.lines,
            excused: self.excused + other.excused,
            missing: self.missing + other.missing,
            crashes: self.crashes + other.crashes,
            commits: self.commits + other.commits,
            objects: self.objects + other.objects,
            shrunk: self.shrunk + other.shrunk,
            unread: self.unread + other.unread,
            holes: self.holes + other.holes,
            parks: self.parks + other.parks,
            merges: self.merges + other.merges,
            lost: self.lost + other.lost,
            changes: self.changes + other.changes,
            hot: self.hot + other.hot,
            parted: self.parted + other.parted,
        }
    }
}

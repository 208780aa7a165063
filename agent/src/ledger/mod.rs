//! Ledger: the SQLite database that says what is true, and the spool packs beside it.
//!
//! A state machine over a [`Disk`]: [`Ledger::step`] makes one event durable, whole or not at all, in the order of
//! PROTOCOL P4, and answers only after that. What it keeps in memory changes only after the transaction.
//!
//! Promises: PROTOCOL I1-I9 as far as they are visible here; a full disk is weather (the event comes back,
//! nothing has changed); any other failure ends the ledger, and restart is the tested path.
//! Must not know: queues, threads, destinations, how files are found.
mod aside;
mod commit;
pub mod disk;
mod error;
mod feeds;
mod gaps;
mod jobs;
mod judge;
pub mod look;
pub mod naming;
mod pack;
mod part;
mod progress;
pub mod read;
mod restart;
mod schema;
mod shelf;
mod sources;
mod space;
pub mod state_dir;
mod upkeep;

pub use crate::config::Reserve;
pub use disk::{Disk, OsDisk, POINTS};
pub use error::LedgerError;
pub use read::{ReadError, SpoolReader};
pub use schema::SCHEMA_VERSION;
pub use shelf::{Left, Serials};
pub use space::Space;
pub use state_dir::{StateDir, StateDirError};

use crate::protocol::{
    AsideWord, BatchCommit, BatchId, Commit, Committed, Gap, GroupId, JobId, JobRow, Judged, Naming,
    NewSource, Now, OpenBatch, Piece, Progress, Shelf, SourceChange, SourceId, SourceRow, Spooled,
};
use bytes::Bytes;
use error::Fault;
use pack::Packs;
use rusqlite::Connection;
use space::Gauge;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Pieces up to this go into the ledger, larger ones into a pack, bytes.
pub const SMALL_BYTES: u64 = 64 << 10;
/// `EDGEPUSH_SPOOL_MAX` is at least this (RULINGS 7); so much the spool may hold also below the disk's reserve.
pub const SPOOL_BYTES_MIN: u64 = 64_000_000;

/// What the ledger is told at its start.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// `EDGEPUSH_SPOOL_MAX`: packs, ledger and WAL together, bytes.
    pub limit_bytes: u64,
    /// `EDGEPUSH_DISK_RESERVE`.
    pub reserve: Reserve,
    /// `/etc/machine-id`; empty when the host has none. Another one than last time: this is a clone (PROTOCOL N1).
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`; empty when the host has none.
    pub boot_id: String,
    /// The id that a new ledger takes; `None`: 128 random bits. For simulations that must repeat.
    pub new_id: Option<u128>,
    /// Pieces up to this go into the ledger, bytes; [`SMALL_BYTES`].
    pub small_bytes: u64,
    /// `EDGEPUSH_ARCHIVE_PUBLISH`: from a slot's end to its first file.
    pub publish_after: Duration,
}

impl Default for LedgerSettings {
    fn default() -> LedgerSettings {
        LedgerSettings {
            limit_bytes: 10_000_000_000,
            reserve: Reserve::Percent(10),
            machine_id: String::new(),
            boot_id: String::new(),
            new_id: None,
            small_bytes: SMALL_BYTES,
            publish_after: Duration::from_secs(300),
        }
    }
}

impl LedgerSettings {
    /// Machine id and boot id of this host, everything else by default.
    pub fn of_host() -> LedgerSettings {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        LedgerSettings {
            machine_id: text("/etc/machine-id"),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            ..LedgerSettings::default()
        }
    }
}

/// What a start found (PROTOCOL 8).
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Who we are: 128 random bits of this ledger.
    pub ledger_id: u128,
    /// All source rows, attached and detached, by id, each with the main group's progress.
    pub sources: Vec<SourceRow>,
    /// Batches that were open, by id: the batcher goes on with them.
    pub open: Vec<OpenBatch>,
    /// Batches to send, oldest first.
    pub spooled: Vec<Spooled>,
    /// Jobs, by id: those of the settings too, once something of them was delivered.
    pub jobs: Vec<JobRow>,
    /// The largest job id that was ever given.
    pub last_job: u64,
    /// Parked groups, with what each has decided.
    pub parked: Vec<(GroupId, Vec<(SourceId, Progress)>)>,
    /// The largest group id that was ever given.
    pub last_group: u32,
    /// Batches that are held aside.
    pub aside: u64,
    /// Batches of shelves that are open.
    pub shelves: u64,
    /// Nothing has ever been registered: `EDGEPUSH_START` says where files begin.
    pub first_start: bool,
    /// The host has booted since the last start: device numbers may have changed (PROTOCOL S1).
    pub rebooted: bool,
    /// The machine id has changed: the ledger has taken a new id, and its spool a new directory (PROTOCOL N1).
    pub cloned: bool,
    /// Packs that were removed because no row named them.
    pub packs_removed: u64,
    /// Room at the start.
    pub space: Space,
}

/// One part of a batch that is split (413).
#[derive(Clone, Debug)]
pub struct SplitChild {
    /// The child's body, each a piece.
    pub pieces: Vec<Bytes>,
    /// Records in it.
    pub records: u64,
    /// Uncompressed bytes in it.
    pub raw: u64,
}

/// What becomes of a batch whose records were answered one by one.
#[derive(Clone, Debug)]
pub struct Part {
    /// The batch: it goes.
    pub parent: BatchId,
    /// The records of it that are sent again, as the batch's only child.
    pub again: Option<SplitChild>,
    /// Those that were refused, as new, whole batches of the rejects.
    pub rejects: Vec<BatchCommit>,
}

/// What the ledger is asked to make durable.
#[derive(Clone, Debug)]
pub enum LedgerEvent {
    /// New files: rows and progress before anything is read. Send it after the first scan even when it is empty: it ends
    /// the first start.
    Register(Vec<NewSource>),
    /// Source rows change.
    Change(Vec<SourceChange>),
    /// A group commits (PROTOCOL P4).
    Commit(Commit),
    /// Verdicts (PROTOCOL P5).
    Judge(Vec<Judged>),
    /// A batch is replaced by its parts, named after it (RULINGS 8).
    Split {
        /// The batch that was too large.
        parent: BatchId,
        /// Its parts, in order.
        children: Vec<SplitChild>,
    },
    /// A batch ends, and what its destination has not taken of it begins: all at once.
    Part(Part),
    /// An operator's word on a batch that is held aside.
    Aside {
        /// The batch.
        id: BatchId,
        /// The word.
        word: AsideWord,
    },
    /// What has a parked group still to read? Changes nothing.
    Gaps(GroupId),
    /// A part of what a parked group has still to read left the disk: a loss of its jobs, and decided (PROTOCOL P6).
    Lost {
        /// The group.
        group: GroupId,
        /// The source.
        source: SourceId,
        /// What is gone; only what the main group has decided and this one has not is counted.
        ranges: Vec<Range<u64>>,
    },
    /// Batches of shelves that are due close.
    Publish {
        /// Also those that are not due yet.
        all: bool,
        /// At most so many in this step.
        at_most: usize,
    },
    /// Time passes: upkeep in small steps. Once a second or so.
    Tick,
}

/// What is durable now.
#[derive(Clone, Debug)]
pub enum LedgerReply {
    /// The caller's token, the row, its random seed; in the order of the event.
    Registered(Vec<(u64, SourceId, u64)>),
    /// The commit is durable.
    Committed(Committed),
    /// These verdicts are durable (also those for rows that were gone already).
    Judged(Vec<BatchId>),
    /// The parent is gone, the children are to be sent. No children: the parent was gone already.
    Split {
        /// The batch that was split.
        parent: BatchId,
        /// Its parts, with their bodies.
        children: Vec<Spooled>,
    },
    /// The parent is gone, these are to be sent. Neither of them: the parent was gone already.
    Parted {
        /// The batch that was answered record by record.
        parent: BatchId,
        /// Its child, with its body.
        again: Option<Spooled>,
        /// Batches of the rejects, with their bodies.
        rejects: Vec<Spooled>,
    },
    /// An operator's word is carried out.
    Aside {
        /// The batch.
        id: BatchId,
        /// The word.
        word: AsideWord,
        /// The batch, as it was; `None`: no such batch was aside, nothing has changed.
        batch: Option<Spooled>,
    },
    /// Answer to [`LedgerEvent::Gaps`]; a group that is gone has none.
    Gaps {
        /// The group.
        group: GroupId,
        /// What it has still to read, by source; only sources of which there is something.
        gaps: Vec<Gap>,
        /// It has decided something that the main group has not: a job of the hot group was parked before the main group
        /// had read again what the hot group had decided before a restart.
        ahead: bool,
    },
    /// Answer to [`LedgerEvent::Lost`]: it is decided.
    Lost {
        /// The group.
        group: GroupId,
        /// The source.
        source: SourceId,
        /// Bytes that its jobs have lost with it.
        bytes: u64,
    },
    /// Answer to [`LedgerEvent::Publish`].
    Published {
        /// The batches that closed.
        spooled: Vec<Spooled>,
        /// There may be more of them.
        more: bool,
        /// What is open.
        left: Left,
    },
    /// Room has changed.
    Space(Space),
    /// No room: rolled back, nothing has changed. Try the event again later; deliveries make room.
    NoSpace(Box<LedgerEvent>),
}

/// A batch that is open, as the next commit needs it.
#[derive(Clone, Debug)]
struct OpenRow {
    batch: OpenBatch,
    naming: Arc<Naming>,
    naming_row: i64,
    bytes: u64,
    pieces: Vec<Piece>,
    shelf: Option<Arc<Shelf>>,
}

/// The ledger and its spool.
pub struct Ledger<D: Disk> {
    conn: Connection,
    disk: D,
    settings: LedgerSettings,
    /// The database's path, for error texts and to find the WAL; empty in memory.
    file: String,
    id: u128,
    begun: bool,
    groups: Vec<GroupId>,
    sources: BTreeMap<SourceId, SourceRow>,
    progress: BTreeMap<(GroupId, SourceId), Progress>,
    open: BTreeMap<BatchId, OpenRow>,
    namings: HashMap<Naming, i64>,
    packs: Packs,
    shelves: shelf::Shelves,
    next_batch: u64,
    gauge: Gauge,
    space: Option<Space>,
    pruned_hour: i64,
    strange_verdicts: u64,
    ended: bool,
}

impl<D: Disk> std::fmt::Debug for Ledger<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("file", &self.file).field("id", &self.id).finish_non_exhaustive()
    }
}

impl<D: Disk> Ledger<D> {
    /// Makes one event durable. Blocks on the disk: runs on the ledger's own thread.
    ///
    /// # Errors
    /// Everything but a full disk: the process must end (the error's exit code), and this ledger refuses further steps.
    pub fn step(&mut self, now: Now, event: LedgerEvent) -> Result<Vec<LedgerReply>, LedgerError> {
        if self.ended {
            return Err(LedgerError::Ended);
        }
        match self.make_durable(now, &event) {
            Ok(mut replies) => {
                let space = self.measure().map_err(|fault| self.end(fault))?;
                if self.space != Some(space) {
                    self.space = Some(space);
                    replies.push(LedgerReply::Space(space));
                }
                Ok(replies)
            }
            Err(Fault::NoSpace) => {
                debug_assert!(self.conn.is_autocommit(), "a full disk has left a transaction open");
                self.gauge.forget();
                let mut space = self.measure().map_err(|fault| self.end(fault))?;
                space.full = true;
                self.space = Some(space);
                Ok(vec![LedgerReply::NoSpace(Box::new(event)), LedgerReply::Space(space)])
            }
            Err(fault) => Err(self.end(fault)),
        }
    }

    fn make_durable(&mut self, now: Now, event: &LedgerEvent) -> Result<Vec<LedgerReply>, Fault> {
        match event {
            LedgerEvent::Register(new) => Ok(vec![LedgerReply::Registered(self.register(new)?)]),
            LedgerEvent::Change(changes) => self.change(now, changes).map(|()| Vec::new()),
            LedgerEvent::Commit(commit) => Ok(vec![LedgerReply::Committed(self.commit(now, commit)?)]),
            LedgerEvent::Judge(verdicts) => Ok(vec![LedgerReply::Judged(self.judge(verdicts)?)]),
            LedgerEvent::Split { parent, children } => {
                Ok(vec![LedgerReply::Split { parent: *parent, children: self.split(*parent, children)? }])
            }
            LedgerEvent::Part(part) => Ok(vec![self.part(part)?]),
            LedgerEvent::Aside { id, word } => {
                let batch = self.aside(*id, *word)?;
                Ok(vec![LedgerReply::Aside { id: *id, word: *word, batch }])
            }
            LedgerEvent::Gaps(group) => Ok(vec![LedgerReply::Gaps {
                group: *group,
                gaps: self.gaps(*group),
                ahead: self.is_ahead(*group),
            }]),
            LedgerEvent::Lost { group, source, ranges } => {
                let bytes = self.lose(now, *group, *source, ranges)?;
                Ok(vec![LedgerReply::Lost { group: *group, source: *source, bytes }])
            }
            LedgerEvent::Publish { all, at_most } => Ok(vec![self.publish(now, *all, *at_most)?]),
            LedgerEvent::Tick => self.tick(now).map(|()| Vec::new()),
        }
    }

    fn end(&mut self, fault: Fault) -> LedgerError {
        self.ended = true;
        fault.fatal(&self.file)
    }

    /// Who we are.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// The disk, to attach and detach followed files.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The connection: for tests and simulations that look into the tables.
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Gives connection and disk back: what a crash leaves. Nothing is written.
    pub fn into_parts(self) -> (Connection, D) {
        (self.conn, self.disk)
    }

    /// Verdicts that came for rows that were gone already.
    pub fn strange_verdicts(&self) -> u64 {
        self.strange_verdicts
    }

    /// The progress of a group in a source. `None`: the source has no row.
    pub fn progress(&self, group: GroupId, source: SourceId) -> Option<&Progress> {
        self.progress.get(&(group, source))
    }

    fn point(&mut self, name: &'static str) -> Result<(), Fault> {
        pack::point(&mut self.disk, name)
    }
}

/// A 64-bit id, hash or offset as SQLite's signed integer: the bits stay.
fn db(value: u64) -> i64 {
    value as i64
}

/// The group's id in its tables.
fn grp(group: GroupId) -> i64 {
    i64::from(group.0)
}

/// The job's id in its tables.
fn job(job: JobId) -> i64 {
    db(job.0)
}

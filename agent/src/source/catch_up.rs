//! CatchUp: reads for parked groups what the others have read and they have not (PROTOCOL P6, P7).
//!
//! A turn is one group's: the ledger says what it has still to read (its gaps), the machine reads that, waits until all of
//! it is durable, and asks again. What the ledger says is the only memory: a crash at any step loses nothing. When
//! little is left, the live reader stands still; once a group has no gap then, its jobs may go on with the others.
//!
//! Promises: only what the main group has decided durably is read, so a parked group is never ahead; a chunk never
//! crosses an edge of a gap; the live reader goes first; what is not to be found any more is given up only after a while, as a loss.
//! Must not know: how the ledger knows, jobs, destinations, the runtime.
mod stretch;

use super::{FileKey, OpenError, OpenStat, ReadBack, size_max};
use crate::protocol::{FileIdent, Gap, GroupId, Now, SourceId};
use edgepush_shard::chunk::Chunk;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use stretch::{Stretch, Taken};

/// Bytes of a turn: then another group has its turn.
const TURN_BYTES: u64 = 64 << 20;
/// A turn that read less than this is followed by a rest: each turn costs a commit.
const TURN_BYTES_MIN: u64 = 8 << 20;
const REST: Duration = Duration::from_secs(1);
/// With less left to read than this, the live reader is asked to stand still for the rest.
const STAND_BYTES: u64 = 8 << 20;
/// The live reader stands still no longer than this, but for a merge that is under way.
const STAND_MAX: Duration = Duration::from_secs(10);
/// After that the group waits.
const STAND_AGAIN: Duration = Duration::from_secs(30);
/// A file that is not to be found, or is another one, is looked for again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Not found for so long, it is gone: no copy of it turns up later than a minute after it (PROTOCOL S4).
const LOST_AFTER: Duration = Duration::from_secs(75);

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum CatchUpEvent {
    /// The group's jobs have room: it is read from now on.
    Begin(GroupId),
    /// They have not, or the group is gone: what is under way of it ends.
    End(GroupId),
    /// Answer to [`CatchUpAction::Gaps`].
    Gaps {
        /// The group.
        group: GroupId,
        /// What it has still to read.
        gaps: Vec<Gap>,
        /// It has decided something that the main group has not: it cannot go on with the others yet.
        ahead: bool,
    },
    /// So many of a group's chunks are durable.
    Caught {
        /// The group.
        group: GroupId,
        /// Chunks.
        chunks: usize,
    },
    /// Answer to [`CatchUpAction::Lost`]: it is durable.
    Lost(GroupId),
    /// Answer to [`CatchUpAction::Open`]. After an error the key is free.
    Opened {
        /// The file.
        file: FileKey,
        /// What was opened.
        result: Result<OpenStat, OpenError>,
    },
    /// Answer to [`CatchUpAction::Find`].
    Found(Option<PathBuf>),
    /// Answer to [`CatchUpAction::Read`].
    Read {
        /// The file.
        file: FileKey,
        /// Bytes and verification, or the system's words.
        result: Result<ReadBack, String>,
    },
    /// How many chunks may be emitted from now on; replaces what was said before.
    Room {
        /// Chunks.
        chunks: usize,
    },
    /// Nothing more is to be read for now: a file has shrunk, and waits until what was read of it is decided.
    Hold(bool),
    /// The live reader stands still, and all that it had read is durable.
    Still,
    /// The time of a [`CatchUpAction::Wake`] has come.
    Tick,
}

/// What the machine asks for. The driver performs the actions of one step in their order.
#[derive(Clone, Debug)]
pub enum CatchUpAction {
    /// What has the group still to read? To the ledger, behind everything that was sent to it before.
    Gaps(GroupId),
    /// Open for reading. The file that is opened must be (dev, ino) `ident`, else [`OpenError::Gone`].
    Open {
        /// Its new key.
        file: FileKey,
        /// Where it was seen.
        path: PathBuf,
        /// What was seen there.
        ident: FileIdent,
    },
    /// Look for (dev, ino) `ident` in the directory of `path`: the file may have a name that no glob matches.
    Find {
        /// Where it was seen.
        path: PathBuf,
        /// What was seen there.
        ident: FileIdent,
    },
    /// Read, then verify; at most one is outstanding.
    Read {
        /// The file.
        file: FileKey,
        /// From here, bytes.
        offset: u64,
        /// So many bytes.
        len: usize,
    },
    /// Close; no read of it is outstanding.
    Close(FileKey),
    /// Whole lines for the group.
    Emit(Chunk),
    /// These bytes are gone for good. To the ledger.
    Lost {
        /// The group.
        group: GroupId,
        /// The source.
        source: SourceId,
        /// What is gone.
        ranges: Vec<Range<u64>>,
    },
    /// Seal and commit once every chunk that was emitted is processed.
    SealSoon,
    /// The live reader stands still, until it is told otherwise. Once it does: [`CatchUpEvent::Still`].
    Stand(bool),
    /// The group has decided all that the others have, and the live reader stands still until [`CatchUpEvent::End`]:
    /// its jobs may go on with the others.
    Merge(GroupId),
    /// Send a [`CatchUpEvent::Tick`] after this; replaces an earlier wish.
    Wake {
        /// From now.
        after: Duration,
    },
}

/// Where a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The ledger is asked for gaps.
    Asked,
    /// Gaps are read.
    Reading,
    /// Everything is read: it must become durable.
    Settling,
    /// The live reader is asked to stand still.
    Standing,
    /// The jobs are asked to go on with the others.
    Merging,
}

/// What is outstanding of the file in work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Opening { found: bool },
    Finding,
    Reading,
}

/// One group's turn.
#[derive(Debug)]
struct Turn {
    group: GroupId,
    stage: Stage,
    /// It ends as soon as nothing of it is under way.
    ending: bool,
    /// What the ledger is about to answer, or has answered, may not hold any more.
    stale: bool,
    gaps: VecDeque<Gap>,
    stretch: Option<Stretch>,
    file: Option<FileKey>,
    doing: Doing,
    read_bytes: u64,
    lost: usize,
    /// Since when the live reader stands for it (monotonic).
    standing: Option<Duration>,
}

/// A source whose file is not to be had.
#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Duration,
    again: Duration,
    /// It may be read one day: an error that is not about which file it is.
    weather: bool,
}

/// The machine.
#[derive(Debug)]
pub struct CatchUp {
    line_max: usize,
    /// Groups that are to be read, the next one first, and when (monotonic).
    waiting: VecDeque<(GroupId, Duration)>,
    turn: Option<Turn>,
    /// Chunks that are not durable yet.
    under_way: BTreeMap<GroupId, usize>,
    missing: BTreeMap<(GroupId, SourceId), Missing>,
    behind: BTreeMap<GroupId, u64>,
    room: usize,
    held: bool,
    next_file: u32,
    wake_at: Option<Duration>,
}

impl Turn {
    fn ask(&mut self, out: &mut Vec<CatchUpAction>) {
        self.stage = Stage::Asked;
        self.stale = false;
        out.push(CatchUpAction::Gaps(self.group));
    }
}

impl CatchUp {
    /// A machine that cuts lines at most this long.
    pub fn new(line_max: usize) -> CatchUp {
        CatchUp {
            line_max,
            waiting: VecDeque::new(),
            turn: None,
            under_way: BTreeMap::new(),
            missing: BTreeMap::new(),
            behind: BTreeMap::new(),
            room: 0,
            held: false,
            next_file: 1,
            wake_at: None,
        }
    }

    /// Reads of which a chunk may come: 0 or 1.
    pub fn reserved(&self) -> usize {
        usize::from(self.turn.as_ref().is_some_and(|turn| turn.doing == Doing::Reading))
    }

    /// Whether a chunk may come, or has come and is not durable.
    pub fn is_busy(&self) -> bool {
        self.reserved() > 0 || !self.under_way.is_empty()
    }

    /// Whether the live reader is to stand still.
    pub fn stands(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.standing.is_some())
    }

    /// Whether it waits for [`CatchUpEvent::Still`].
    pub fn wants_still(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.stage == Stage::Standing && !turn.ending)
    }

    /// What each group had still to read when the ledger was asked last, bytes.
    pub fn behind(&self) -> impl Iterator<Item = (GroupId, u64)> {
        self.behind.iter().map(|(group, bytes)| (*group, *bytes))
    }

    /// Takes one event, appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: CatchUpEvent, out: &mut Vec<CatchUpAction>) {
        match event {
            CatchUpEvent::Begin(group) => self.begin(now, group),
            CatchUpEvent::End(group) => self.end(group),
            CatchUpEvent::Gaps { group, gaps, ahead } => self.gaps(now, group, (gaps, ahead), out),
            CatchUpEvent::Caught { group, chunks } => self.caught(group, chunks),
            CatchUpEvent::Lost(group) => {
                if let Some(turn) = self.turn.as_mut().filter(|turn| turn.group == group) {
                    turn.lost -= 1;
                }
            }
            CatchUpEvent::Opened { file, result } => self.opened(now, file, result, out),
            CatchUpEvent::Found(path) => self.found(now, path, out),
            CatchUpEvent::Read { file, result } => self.read(now, file, result, out),
            CatchUpEvent::Room { chunks } => self.room = chunks,
            CatchUpEvent::Hold(held) => self.hold(held),
            CatchUpEvent::Still => self.still(out),
            CatchUpEvent::Tick => {}
        }
        self.settle(now, out);
    }

    fn begin(&mut self, now: Now, group: GroupId) {
        let in_work = self.turn.as_ref().is_some_and(|turn| turn.group == group && !turn.ending);
        if !in_work && self.waiting.iter().all(|(other, _)| *other != group) {
            self.waiting.push_back((group, now.mono));
        }
    }

    fn end(&mut self, group: GroupId) {
        self.waiting.retain(|(other, _)| *other != group);
        self.behind.remove(&group);
        if let Some(turn) = self.turn.as_mut().filter(|turn| turn.group == group) {
            turn.ending = true;
        }
    }

    /// While a file drains, what is under way becomes durable and nothing else is begun; gaps are asked for anew then.
    fn hold(&mut self, held: bool) {
        self.held = held;
        if let Some(turn) = self.turn.as_mut().filter(|_| held) {
            turn.stale = true;
            turn.gaps.clear();
            if turn.stage == Stage::Reading {
                turn.stage = Stage::Settling;
            }
        }
    }

    fn caught(&mut self, group: GroupId, chunks: usize) {
        let left = self.under_way.remove(&group).unwrap_or(0);
        debug_assert!(left >= chunks, "more chunks are durable than were emitted");
        if left > chunks {
            self.under_way.insert(group, left - chunks);
        }
    }

    /// A turn that stands still sees what is left now; nothing is added to it meanwhile.
    fn still(&mut self, out: &mut Vec<CatchUpAction>) {
        if let Some(turn) = self.turn.as_mut().filter(|turn| turn.stage == Stage::Standing) {
            turn.ask(out);
        }
    }

    fn gaps(
        &mut self,
        now: Now,
        group: GroupId,
        (gaps, ahead): (Vec<Gap>, bool),
        out: &mut Vec<CatchUpAction>,
    ) {
        let asked = |turn: &&mut Turn| turn.group == group && turn.stage == Stage::Asked;
        let Some(turn) = self.turn.as_mut().filter(asked) else { return };
        if turn.ending || turn.stale {
            turn.stage = Stage::Settling;
            return;
        }
        self.missing.retain(|(of, source), _| *of != group || gaps.iter().any(|gap| gap.source == *source));
        let bytes: u64 = gaps.iter().map(Gap::bytes).sum();
        self.behind.insert(group, bytes);
        if ahead && turn.standing.is_some() {
            turn.stale = true;
            turn.stage = Stage::Settling;
            return;
        }
        if gaps.is_empty() && turn.standing.is_some() {
            turn.stage = Stage::Merging;
            return out.push(CatchUpAction::Merge(group));
        }
        let missing = gaps.iter().any(|gap| self.missing.contains_key(&(group, gap.source)));
        if turn.standing.is_none() && !missing && !ahead && bytes <= STAND_BYTES {
            turn.stage = Stage::Standing;
            turn.standing = Some(now.mono);
            out.push(CatchUpAction::Stand(true));
            return out.push(CatchUpAction::SealSoon);
        }
        let again = |gap: &Gap| self.missing.get(&(group, gap.source)).map(|missing| missing.again);
        let ready = |gap: &Gap| again(gap).is_none_or(|again| again <= now.mono);
        turn.stage = Stage::Reading;
        turn.gaps = gaps.into_iter().filter(ready).collect();
    }

    // ---- one file

    fn opened(
        &mut self,
        now: Now,
        file: FileKey,
        result: Result<OpenStat, OpenError>,
        out: &mut Vec<CatchUpAction>,
    ) {
        let Some(turn) = &mut self.turn else { return };
        let Doing::Opening { found } = std::mem::replace(&mut turn.doing, Doing::Nothing) else { return };
        let Some(stretch) = &turn.stretch else { return };
        match result {
            Ok(stat) if stretch.may_be(&stat.head, size_max(stat.size, stat.packed.as_ref())) => {
                turn.file = Some(file);
            }
            Ok(_) => {
                out.push(CatchUpAction::Close(file));
                self.miss(now, false, out);
            }
            Err(OpenError::Gone) if !found => {
                turn.doing = Doing::Finding;
                let (path, ident) = (stretch.gap.path.clone(), stretch.gap.ident);
                out.push(CatchUpAction::Find { path, ident });
            }
            Err(OpenError::Gone) => self.miss(now, false, out),
            Err(OpenError::Denied | OpenError::Failed(_)) => self.miss(now, true, out),
        }
    }

    fn found(&mut self, now: Now, path: Option<PathBuf>, out: &mut Vec<CatchUpAction>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.doing == Doing::Finding) else { return };
        turn.doing = Doing::Nothing;
        match path {
            Some(path) => self.open(path, true, out),
            None => self.miss(now, false, out),
        }
    }

    fn open(&mut self, path: PathBuf, found: bool, out: &mut Vec<CatchUpAction>) {
        let Some(turn) = &mut self.turn else { return };
        let Some(stretch) = &turn.stretch else { return };
        let file = FileKey(self.next_file);
        self.next_file += 1;
        turn.doing = Doing::Opening { found };
        out.push(CatchUpAction::Open { file, path, ident: stretch.gap.ident });
    }

    fn read(
        &mut self,
        now: Now,
        file: FileKey,
        result: Result<ReadBack, String>,
        out: &mut Vec<CatchUpAction>,
    ) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.doing == Doing::Reading) else { return };
        debug_assert_eq!(turn.file, Some(file), "a read of another file than asked for");
        turn.doing = Doing::Nothing;
        if turn.ending || turn.stage != Stage::Reading {
            return;
        }
        let Some(stretch) = &mut turn.stretch else { return };
        let source = stretch.gap.source;
        let taken = match &result {
            Ok(back) => stretch.take(back, self.line_max),
            Err(_) => return self.miss(now, true, out),
        };
        match taken {
            Taken::More => {}
            Taken::Stranger => self.miss(now, false, out),
            Taken::Chunk(chunk) => {
                turn.read_bytes += chunk.end - chunk.start;
                self.missing.remove(&(turn.group, source));
                self.room = self.room.saturating_sub(1);
                *self.under_way.entry(turn.group).or_default() += 1;
                out.push(CatchUpAction::Emit(chunk));
            }
        }
    }

    /// The file in work is not to be had: it is looked for again later, or is lost.
    fn miss(&mut self, now: Now, weather: bool, out: &mut Vec<CatchUpAction>) {
        let Some(turn) = &mut self.turn else { return };
        let Some(stretch) = turn.stretch.take() else { return };
        let (source, again) = (stretch.gap.source, now.mono + LOOK_AGAIN);
        let key = (turn.group, source);
        let known = self.missing.get(&key).filter(|known| known.weather == weather);
        let since = known.map_or(now.mono, |known| known.since);
        if !weather && now.mono >= since + LOST_AFTER && !turn.ending {
            self.missing.remove(&key);
            turn.lost += 1;
            return out.push(CatchUpAction::Lost { group: turn.group, source, ranges: stretch.rest() });
        }
        self.missing.insert(key, Missing { since, again, weather });
    }

    // ---- turns

    /// What every step ends with.
    fn settle(&mut self, now: Now, out: &mut Vec<CatchUpAction>) {
        self.pump(out);
        self.end_turn(now, out);
        if self.turn.is_none() && !self.held {
            self.next_turn(now, out);
        }
        self.wake(now, out);
    }

    /// Goes on with the file in work, or with the next one.
    fn pump(&mut self, out: &mut Vec<CatchUpAction>) {
        let held = self.held;
        let Some(turn) = &mut self.turn else { return };
        if turn.doing != Doing::Nothing {
            return;
        }
        let reading = turn.stage == Stage::Reading && !turn.ending && !held;
        if turn.stretch.as_ref().is_some_and(|stretch| !reading || stretch.is_done()) {
            turn.stretch = None;
        }
        if turn.stretch.is_none()
            && let Some(file) = turn.file.take()
        {
            out.push(CatchUpAction::Close(file));
        }
        if !reading {
            return;
        }
        let enough = turn.read_bytes >= TURN_BYTES && turn.standing.is_none();
        match &turn.stretch {
            Some(stretch) if turn.file.is_some() && !enough => {
                if self.room > 0 {
                    turn.doing = Doing::Reading;
                    let (offset, len) = stretch.ask();
                    out.extend(turn.file.map(|file| CatchUpAction::Read { file, offset, len }));
                }
            }
            Some(_) if !enough => {}
            _ => match turn.gaps.pop_front().filter(|_| !enough) {
                Some(gap) => {
                    let path = gap.path.clone();
                    turn.stretch = Some(Stretch::new(turn.group, gap));
                    self.open(path, false, out);
                }
                None => {
                    turn.stage = Stage::Settling;
                    turn.stretch = None;
                    out.extend(turn.file.take().map(CatchUpAction::Close));
                    if self.under_way.contains_key(&turn.group) {
                        out.push(CatchUpAction::SealSoon);
                    }
                }
            },
        }
    }

    /// Ends a turn of which nothing is under way: its group merges, waits, or is forgotten.
    fn end_turn(&mut self, now: Now, out: &mut Vec<CatchUpAction>) {
        let Some(turn) = &mut self.turn else { return };
        let late = |turn: &Turn| turn.standing.is_some_and(|since| now.mono >= since + STAND_MAX);
        if turn.stage != Stage::Merging && late(turn) {
            turn.gaps.clear();
            if turn.stage != Stage::Asked {
                turn.stage = Stage::Settling;
            }
        }
        let quiet = turn.doing == Doing::Nothing
            && turn.stage != Stage::Asked
            && turn.lost == 0
            && turn.stretch.is_none()
            && !self.under_way.contains_key(&turn.group);
        if !quiet || !turn.ending && turn.stage != Stage::Settling {
            return;
        }
        let missing = self.missing.keys().any(|(group, _)| *group == turn.group);
        if turn.standing.is_some() && !turn.ending && !turn.stale && !late(turn) && !self.held && !missing {
            // Nothing was added meanwhile: the ledger says whether anything is left.
            return turn.ask(out);
        }
        let rest = match turn.standing {
            Some(_) if late(turn) => STAND_AGAIN,
            _ if turn.read_bytes >= TURN_BYTES_MIN => Duration::ZERO,
            _ => REST,
        };
        if turn.standing.take().is_some() {
            out.push(CatchUpAction::Stand(false));
        }
        let (group, ending) = (turn.group, turn.ending);
        self.turn = None;
        if !ending && self.waiting.iter().all(|(other, _)| *other != group) {
            self.waiting.push_back((group, now.mono + rest));
        }
    }

    fn next_turn(&mut self, now: Now, out: &mut Vec<CatchUpAction>) {
        let Some(at) = self.waiting.iter().position(|(_, from)| *from <= now.mono) else { return };
        let Some((group, _)) = self.waiting.remove(at) else { return };
        self.turn = Some(Turn {
            group,
            stage: Stage::Asked,
            ending: false,
            stale: false,
            gaps: VecDeque::new(),
            stretch: None,
            file: None,
            doing: Doing::Nothing,
            read_bytes: 0,
            lost: 0,
            standing: None,
        });
        out.push(CatchUpAction::Gaps(group));
    }

    fn wake(&mut self, now: Now, out: &mut Vec<CatchUpAction>) {
        let next = self.waiting.iter().map(|(_, from)| *from).min();
        let next = next.filter(|_| self.turn.is_none() && !self.held);
        let stands = self.turn.as_ref().filter(|turn| turn.stage != Stage::Merging);
        let stands = stands.and_then(|turn| turn.standing).map(|since| since + STAND_MAX);
        let at = [next, stands].into_iter().flatten().min();
        let over = self.wake_at.is_some_and(|said| said <= now.mono);
        if over || at != self.wake_at {
            self.wake_at = at;
            if let Some(at) = at {
                out.push(CatchUpAction::Wake { after: at.saturating_sub(now.mono) });
            }
        }
    }
}

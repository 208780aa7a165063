//! Lane: one job's batches on their way to a commit.
//!
//! Promises: segments of one batch stay in the order in which they came; a closed batch never gets another segment.
//! Must not know: seals, markers, the ledger.
use crate::protocol::{
    BatchCommit, BatchId, CodecKind, Container, GroupId, JobId, Lost, Member, Naming, Now, OpenBatch,
    OpenKey, ShelfCommit,
};
use bytes::Bytes;
use edgepush_shard::batch::{self, Frame, Part, piece_of};
use edgepush_shard::room::{BatchLimits, BatchNo, Room};
use edgepush_shard::segment::Segment;
use std::sync::Arc;
use std::time::Duration;

/// What the batcher must know of a job.
#[derive(Clone, Debug)]
pub struct BatchJob {
    /// The job.
    pub id: JobId,
    /// Its version.
    pub version: u32,
    /// Its group.
    pub group: GroupId,
    /// Codec of its segments.
    pub codec: CodecKind,
    /// How they are joined.
    pub container: Container,
    /// How its objects are named and framed.
    pub naming: Arc<Naming>,
    /// The framing, encoded.
    pub frame: Arc<Frame>,
    /// Longest time from a batch's first record to its close (`EDGEPUSH_BATCH_INTERVAL`).
    pub interval: Duration,
    /// The room in its open batch, shared with the shards.
    pub room: Arc<Room>,
}

/// A batch may close this much before its interval's end, so that timers that began together share a seal.
const INTERVAL_SLACK_MAX: Duration = Duration::from_millis(100);

/// With many jobs every seal closes each batch that has had half of its interval: else each job's own timer would cut
/// the slabs of all the others.
const INTERVAL_PART_OF_MANY: u32 = 2;

/// What a segment of a shelf takes in memory until its commit beside its body: with thousands of shelves there are
/// thousands of small ones.
const SHELVED_BYTES: u64 = 512;

/// What a segment takes in memory.
pub(super) fn held(segment: &Segment) -> u64 {
    segment.body.len() as u64 + if segment.shelf.is_some() { SHELVED_BYTES } else { 0 }
}

/// The end of an epoch, as the batcher sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EpochEnd {
    /// The epoch that ends.
    pub epoch: u64,
    /// When the seal was asked for (monotonic).
    pub due: Duration,
    /// Whether every batch closes.
    pub close_all: bool,
    /// Whether so many jobs take turns that timers must share seals.
    pub many: bool,
}

/// Which room a batch was filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// The job's room, under this number.
    Room(BatchNo),
    /// None any more: it closes with the next commit.
    Over,
}

#[derive(Debug)]
struct Open {
    key: OpenKey,
    row: Option<BatchId>,
    filled: Filled,
    born: Duration,
    first: i64,
    last: i64,
    segments: Vec<Segment>,
}

/// What becomes of a lane with the next commit of all slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It goes on.
    None,
    /// Another version takes over: its batches close.
    Closes,
    /// The job is deleted: what it has is dropped.
    Dropped,
}

/// The batches of one version of one job.
pub(super) struct Lane {
    pub(super) job: BatchJob,
    pub(super) ending: Ending,
    open: Vec<Open>,
    /// Segments of shelves, in the order in which they came: the ledger has the batches that they belong to.
    shelved: Vec<Segment>,
    /// When the first unsealed record of each epoch came.
    begun: Vec<(u64, Duration)>,
    /// The batch that was being filled when the outstanding seal was asked for: those before it are complete.
    sealed_below: BatchNo,
    /// Batches that the last commit closed by their interval; segments that had taken room in them may still come.
    closed: Vec<BatchNo>,
}

impl Lane {
    pub(super) fn new(job: BatchJob) -> Lane {
        let sealed_below = job.room.batch();
        Lane {
            job,
            ending: Ending::None,
            open: Vec::new(),
            shelved: Vec::new(),
            begun: Vec::new(),
            sealed_below,
            closed: Vec::new(),
        }
    }

    /// The lane of a batch that the last run left open and whose form no job has any more: it closes.
    pub(super) fn of_the_past(batch: &OpenBatch) -> Lane {
        let mut lane = Lane::new(BatchJob {
            id: batch.job,
            version: batch.version,
            group: GroupId::MAIN,
            codec: batch.codec,
            container: batch.container,
            naming: batch.naming.clone(),
            frame: Arc::new(Frame::new(&batch.naming.framing, batch.codec)),
            interval: Duration::ZERO,
            room: Arc::new(Room::new(BatchLimits { records: 1, bytes: 1 }, 0, 0)),
        });
        lane.ending = Ending::Closes;
        lane
    }

    /// Whether a batch that was left open has this lane's form.
    pub(super) fn is_form_of(&self, batch: &OpenBatch) -> bool {
        (batch.codec, batch.container) == (self.job.codec, self.job.container)
    }

    /// Goes on with a batch that the last run left open. The newest one is filled further.
    pub(super) fn resume(&mut self, now: Now, batch: &OpenBatch, next_key: &mut u64) {
        for older in &mut self.open {
            older.filled = Filled::Over;
        }
        let age = Duration::from_nanos(now.wall.saturating_sub(batch.first).max(0) as u64);
        let goes_on = self.ending == Ending::None;
        self.open.push(Open {
            key: new_key(next_key),
            row: Some(batch.id),
            filled: if goes_on { Filled::Room(self.job.room.batch()) } else { Filled::Over },
            born: now.mono.saturating_sub(age),
            first: batch.first,
            last: batch.last,
            segments: Vec::new(),
        });
    }

    /// Whether it holds nothing: nothing waits for a commit, nothing is open.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.begun.is_empty() && self.shelved.is_empty()
    }

    pub(super) fn begin(&mut self, epoch: u64, at: Duration) {
        if !self.begun.iter().any(|&(of, _)| of == epoch) {
            self.begun.push((epoch, at));
        }
    }

    /// Takes a segment into the batch that it took room in; if that was closed meanwhile, into the one being filled,
    /// or into a batch alone.
    pub(super) fn take(&mut self, now: Now, segment: Segment, next_key: &mut u64) {
        if segment.shelf.is_some() {
            return self.shelved.push(segment);
        }
        let filled = if self.closed.contains(&segment.batch) {
            let charged = self.job.room.charge(segment.records, segment.raw_len);
            charged.map_or(Filled::Over, Filled::Room)
        } else {
            Filled::Room(segment.batch)
        };
        let found = self.open.iter_mut().find(|batch| batch.filled == filled);
        if let Some(batch) = found.filter(|_| filled != Filled::Over) {
            batch.first = batch.first.min(segment.first);
            batch.last = batch.last.max(segment.last);
            batch.segments.push(segment);
            return;
        }
        let born = self.begun.iter().map(|&(_, at)| at).min().unwrap_or(now.mono);
        self.open.push(Open {
            key: new_key(next_key),
            row: None,
            filled,
            born,
            first: segment.first,
            last: segment.last,
            segments: vec![segment],
        });
    }

    /// When the job's oldest record has waited for its interval (monotonic).
    pub(super) fn deadline(&self) -> Option<Duration> {
        let filled = self.open.iter().filter(|b| b.filled != Filled::Over).map(|b| b.born);
        let begun = self.begun.iter().map(|&(_, at)| at);
        filled.chain(begun).min().map(|at| at + self.job.interval)
    }

    /// Whether a batch is full or left over: it waits for a seal, and for nothing else.
    pub(super) fn has_full(&self) -> bool {
        let filling = self.job.room.batch();
        self.open.iter().any(|batch| match batch.filled {
            Filled::Room(no) => no.before(filling),
            Filled::Over => true,
        })
    }

    /// A seal is asked for: what is full now is complete with its last marker.
    pub(super) fn sealing(&mut self) {
        self.sealed_below = self.job.room.batch();
    }

    /// Moves the segments of the epoch that ends (and before) into `batches`; answers with their stored bytes.
    pub(super) fn commit(
        &mut self,
        now: Now,
        end: EpochEnd,
        next_key: &mut u64,
        batches: &mut Vec<BatchCommit>,
    ) -> u64 {
        self.closed.clear();
        if self.ending == Ending::Dropped {
            return self.drop_all();
        }
        let mut stored_bytes = 0;
        let mut late = Vec::new();
        let mut kept = Vec::new();
        for mut batch in std::mem::take(&mut self.open) {
            let segments = std::mem::take(&mut batch.segments);
            let (of, later): (Vec<_>, Vec<_>) = segments.into_iter().partition(|s| s.epoch <= end.epoch);
            let close = self.closes(&batch, &later, end);
            stored_bytes += of.iter().map(held).sum::<u64>();
            // A batch may close before its first record: all that took room in it came after the markers.
            if !of.is_empty() || close && batch.row.is_some() {
                batches.push(self.change(&batch, &of, close));
            }
            if close {
                late.extend(later);
            } else {
                batch.segments = later;
                kept.push(batch);
            }
        }
        self.open = kept;
        self.begun.retain(|&(epoch, _)| epoch > end.epoch);
        for segment in late {
            self.take(now, segment, next_key);
        }
        stored_bytes
    }

    /// Stored bytes in memory.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.segments().map(held).sum()
    }

    /// All that is in memory.
    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.open.iter().flat_map(|batch| &batch.segments).chain(&self.shelved)
    }

    /// Takes the segments of shelves of the epoch that ends (and before), by shelf; answers with their stored bytes.
    pub(super) fn commit_shelves(&mut self, epoch: u64, shelves: &mut Vec<ShelfCommit>) -> u64 {
        if self.shelved.is_empty() || self.ending == Ending::Dropped {
            return 0;
        }
        let (mut of, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.shelved).into_iter().partition(|segment| segment.epoch <= epoch);
        self.shelved = later;
        // Stable: what one shard has sent stays in its order.
        of.sort_by(|a, b| a.shelf.cmp(&b.shelf));
        let stored_bytes = of.iter().map(held).sum();
        for segments in of.chunk_by(|a, b| a.shelf == b.shelf) {
            let shelf = segments[0].shelf.clone().expect("INVARIANT: only segments of shelves are here");
            let member = |segment: &Segment| Member {
                bytes: batch::member(&segment.into(), segment.records, (segment.first, segment.last)),
                records: segment.records,
                raw: segment.raw_len,
                first: segment.first,
                last: segment.last,
            };
            shelves.push(ShelfCommit {
                job: self.job.id,
                version: self.job.version,
                naming: self.job.naming.clone(),
                limits: self.job.room.limits(),
                shelf,
                members: segments.iter().map(member).collect(),
            });
        }
        stored_bytes
    }

    /// What goes with a deleted job and that no commit has seen.
    pub(super) fn lost(&self) -> Option<Lost> {
        if self.ending != Ending::Dropped {
            return None;
        }
        Some(Lost {
            job: self.job.id,
            records: self.segments().map(|s| u64::from(s.records)).sum(),
            bytes: self.segments().map(|s| s.body.len() as u64).sum(),
            first: self.segments().map(|s| s.first).min()?,
            last: self.segments().map(|s| s.last).max()?,
        })
    }

    /// Forgets everything; answers with the stored bytes that were in memory.
    fn drop_all(&mut self) -> u64 {
        let bytes = self.stored_bytes();
        self.begun.clear();
        self.open.clear();
        self.shelved.clear();
        bytes
    }

    /// Whether a batch closes with this commit; if by its interval or the end of the run, its room is left behind.
    fn closes(&mut self, batch: &Open, later: &[Segment], end: EpochEnd) -> bool {
        let no = match batch.filled {
            Filled::Over => return later.is_empty(),
            Filled::Room(no) => no,
        };
        if no.before(self.sealed_below) {
            assert!(later.is_empty(), "room was taken in a batch after it was full");
            return true;
        }
        let slack = match end.many {
            true => self.job.interval / INTERVAL_PART_OF_MANY,
            false => (self.job.interval / 20).min(INTERVAL_SLACK_MAX),
        };
        let ends = end.close_all || self.ending != Ending::None;
        let close = ends || batch.born + self.job.interval <= end.due + slack;
        if close {
            self.job.room.close(no);
            self.closed.push(no);
        }
        close
    }

    fn change(&self, batch: &Open, segments: &[Segment], close: bool) -> BatchCommit {
        BatchCommit {
            open: batch.key,
            row: batch.row,
            job: self.job.id,
            version: self.job.version,
            codec: self.job.codec,
            container: self.job.container,
            naming: self.job.naming.clone(),
            records: segments.iter().map(|s| s.records).sum(),
            raw: segments.iter().map(|s| u64::from(s.raw_len)).sum(),
            first: batch.first,
            last: batch.last,
            piece: self.piece(batch, segments, close),
            close,
        }
    }

    /// What a commit adds to a batch: segments with delimiters between them, and the ends of the batch.
    fn piece(&self, batch: &Open, segments: &[Segment], close: bool) -> Vec<Bytes> {
        let BatchJob { frame, codec, container, .. } = &self.job;
        let first = if batch.row.is_none() { &frame.prefix } else { &frame.delimiter };
        let mut parts: Vec<Part> = Vec::with_capacity(2 * segments.len() + 1);
        for (at, segment) in segments.iter().enumerate() {
            let before = if at == 0 { first } else { &frame.delimiter };
            parts.extend(before.clone());
            parts.push(segment.into());
        }
        parts.extend(frame.suffix.clone().filter(|_| close));
        piece_of(*container, *codec, &parts)
    }

    pub(super) fn row(&mut self, key: OpenKey, row: BatchId) {
        if let Some(batch) = self.open.iter_mut().find(|b| b.key == key) {
            batch.row = Some(row);
        }
    }
}

fn new_key(next: &mut u64) -> OpenKey {
    *next += 1;
    OpenKey(*next - 1)
}

//! Shard loop: what one core does with chunks, as a state machine.
//!
//! Promises: a chunk is logged once it is processed whole, and only then; a seal closes every open slab between two
//! chunks, pushes segments first and the marker last (PROTOCOL P2, P3). Nothing is allocated per record.
//! Must not know: the runtime, queues, files, the ledger.
mod counts;

use crate::protocol::{GroupId, JobId, Logged, Now};
use bytes::Bytes;
pub use counts::Counts;
use edgepush_shard::chunk::{Chunk, ChunkKind};
use edgepush_shard::codec::{Codec, Encoded, Form, Run};
use edgepush_shard::frame::Frame;
use edgepush_shard::limits::SLAB_BYTES;
use edgepush_shard::parse::{Fault, Parser, Reason};
use edgepush_shard::plan::{Formatter, Output};
use edgepush_shard::record::Record;
use edgepush_shard::reject::{Reject, write_reject};
use edgepush_shard::ring::{Full, RecordSink, Ring, SlabKey};
use edgepush_shard::room::Room;
use edgepush_shard::segment::{Begun, FromShard, Marker, Segment};
use std::sync::Arc;

/// One job as a shard sees it.
pub struct ShardJob {
    /// The job.
    pub id: JobId,
    /// Its version.
    pub version: u32,
    /// What it gets of a record.
    pub output: Output,
    /// What still fits into its open batch.
    pub room: Arc<Room>,
    /// How its segments are encoded.
    pub codec: Box<dyn Codec + Send>,
}

/// What happens to a shard.
pub enum ShardEvent {
    /// A chunk to process.
    Chunk(Chunk),
    /// End the epoch before this one (the batcher asks).
    Seal {
        /// The group.
        group: GroupId,
        /// The epoch that ends.
        epoch: u64,
    },
}

/// The state of one shard.
pub struct ShardLoop {
    parser: Parser,
    rest: Rest,
}

/// Everything behind the parser.
struct Rest {
    outlet: Outlet,
    /// Formatters of the jobs, in the plan's order; the rejects have none.
    formatters: Vec<Formatter>,
    reject_line: Vec<u8>,
    counts: Counts,
}

/// Everything behind the formatter: slabs, codecs, and what waits for the next marker.
struct Outlet {
    shard: usize,
    epoch: u64,
    ring: Ring,
    jobs: Vec<Lane>,
    log: Vec<Logged>,
    body: Vec<u8>,
    encoded: Encoded,
}

struct Lane {
    job: ShardJob,
    /// The last epoch in which a [`Begun`] was pushed.
    begun: u64,
}

/// The slab of the rejects; jobs of the plan follow.
const REJECTS: SlabKey = SlabKey(0);

impl ShardLoop {
    /// A shard with the rejects job and the jobs of its plan.
    pub fn new(shard: usize, ring_bytes: usize, rejects: ShardJob, jobs: Vec<ShardJob>) -> ShardLoop {
        ShardLoop::with_slabs(shard, (ring_bytes, SLAB_BYTES), rejects, jobs)
    }

    /// The same with slabs of another size than [`SLAB_BYTES`]: a simulation fills small ones within a chunk.
    pub fn with_slabs(
        shard: usize,
        (ring_bytes, slab_bytes): (usize, usize),
        rejects: ShardJob,
        jobs: Vec<ShardJob>,
    ) -> ShardLoop {
        let formatters = jobs.iter().map(|job| Formatter::new(&job.output)).collect();
        let lanes = std::iter::once(rejects).chain(jobs).map(|job| Lane { job, begun: 0 }).collect();
        let outlet = Outlet {
            shard,
            epoch: 1,
            ring: Ring::new(ring_bytes, slab_bytes),
            jobs: lanes,
            log: Vec::new(),
            body: Vec::new(),
            encoded: Encoded::default(),
        };
        let rest = Rest { outlet, formatters, reject_line: Vec::new(), counts: Counts::default() };
        ShardLoop { parser: Parser::new(), rest }
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.rest.counts
    }

    /// Bytes that wait in the ring.
    pub fn ring_bytes(&self) -> usize {
        self.rest.outlet.ring.used_bytes()
    }

    /// One step; what is to be pushed to the batcher is appended to `push`, in order.
    pub fn step(&mut self, now: Now, event: ShardEvent, push: &mut Vec<FromShard>) {
        match event {
            ShardEvent::Chunk(chunk) => self.chunk(now, &chunk, push),
            ShardEvent::Seal { group, epoch } => self.rest.outlet.seal_all(group, epoch, push),
        }
        self.rest.counts.encoded = self.rest.outlet.encoded;
    }

    fn chunk(&mut self, now: Now, chunk: &Chunk, push: &mut Vec<FromShard>) {
        self.rest.outlet.begin_epoch(push);
        if !chunk.skip.contains(GroupId::MAIN) {
            match chunk.kind {
                ChunkKind::Lines => self.lines(now, chunk, push),
                ChunkKind::TooLong { length } => self.rest.too_long(now, chunk, length, push),
                ChunkKind::Nul => self.rest.counts.nul_bytes += chunk.end - chunk.start,
            }
            self.rest.counts.source(chunk.origin).bytes += chunk.end - chunk.start;
        }
        self.rest.outlet.log.push(chunk.logged());
    }

    fn lines(&mut self, now: Now, chunk: &Chunk, push: &mut Vec<FromShard>) {
        let ShardLoop { parser, rest } = self;
        let lines = parser.lines(&chunk.bytes, chunk.start, |frame, parsed| match parsed {
            Ok(record) => rest.record(now, record, push),
            Err(fault) => rest.fault(now, chunk, frame, fault, push),
        });
        rest.counts.blank += lines.blank;
        rest.counts.source(chunk.origin).lines += lines.all;
    }
}

impl Rest {
    #[inline]
    fn record(&mut self, now: Now, record: Record<'_>, push: &mut Vec<FromShard>) {
        self.counts.parsed(&record);
        for (at, formatter) in self.formatters.iter_mut().enumerate() {
            self.counts.matched[at.min(counts::JOBS_MAX - 1)] += 1;
            self.outlet.append(now, SlabKey(at as u32 + 1), &mut Formatted { formatter, record }, push);
        }
    }

    #[cold]
    fn fault(
        &mut self,
        now: Now,
        chunk: &Chunk,
        frame: Frame<'_>,
        mut fault: Fault,
        push: &mut Vec<FromShard>,
    ) {
        let (offset, length) = (chunk.start + frame.offset as u64, frame.line.len() as u64);
        // The rest of a file that will never get its newline (PROTOCOL S7).
        if frame.offset + frame.line.len() == chunk.bytes.len() {
            fault.reason = Reason::NoNewline;
        }
        self.reject(now, chunk, offset, length, fault, frame.line, push);
    }

    fn too_long(&mut self, now: Now, chunk: &Chunk, length: u64, push: &mut Vec<FromShard>) {
        self.counts.source(chunk.origin).lines += 1;
        let fault = Fault { reason: Reason::TooLong, column: 1 };
        self.reject(now, chunk, chunk.start, length, fault, &chunk.bytes, push);
    }

    #[allow(clippy::too_many_arguments, reason = "one call site each; a struct would only rename them")]
    fn reject(
        &mut self,
        now: Now,
        chunk: &Chunk,
        offset: u64,
        length: u64,
        fault: Fault,
        line: &[u8],
        push: &mut Vec<FromShard>,
    ) {
        self.counts.rejected[fault.reason as usize] += 1;
        self.reject_line.clear();
        let reject = Reject { time: now.wall, source: &chunk.path, offset, length, fault, line };
        write_reject(&mut self.reject_line, &reject);
        self.outlet.append(now, REJECTS, &mut AsIs(&self.reject_line), push);
    }
}

impl Outlet {
    /// The first chunk of an epoch starts the clock of the group's commit.
    fn begin_epoch(&mut self, push: &mut Vec<FromShard>) {
        if self.log.is_empty() {
            push.push(FromShard::Begun(Begun { group: GroupId::MAIN, epoch: self.epoch, job: None }));
        }
    }

    fn append(&mut self, now: Now, key: SlabKey, text: &mut impl Text, push: &mut Vec<FromShard>) {
        let lane = &mut self.jobs[key.0 as usize];
        if lane.begun != self.epoch {
            lane.begun = self.epoch;
            let job = Some(lane.job.id);
            push.push(FromShard::Begun(Begun { group: GroupId::MAIN, epoch: self.epoch, job }));
        }
        let (bytes_max, fields_max) = text.size_max();
        loop {
            match self.ring.append(key, now.wall, bytes_max, fields_max, |sink| text.write(sink)) {
                Ok(()) => return,
                Err(Full::Slab) => self.seal(key, push),
                Err(Full::Ring { oldest }) => self.seal(oldest, push),
                Err(Full::TooLarge) => return self.alone(now, key, text, push),
            }
        }
    }

    /// A record larger than a slab becomes a segment of its own, past the ring (RULINGS 3).
    fn alone(&mut self, now: Now, key: SlabKey, text: &mut impl Text, push: &mut Vec<FromShard>) {
        self.seal(key, push);
        let mut bytes = Vec::new();
        text.write(&mut Alone(&mut bytes));
        let ends = [bytes.len() as u32];
        let run = Run::new(&bytes, &ends);
        let Outlet { jobs, body, encoded, epoch, .. } = self;
        let codec = Segments { job: &mut jobs[key.0 as usize].job, epoch: *epoch, body, encoded };
        codec.encode(run, (now.wall, now.wall), push);
    }

    fn seal(&mut self, key: SlabKey, push: &mut Vec<FromShard>) {
        let Outlet { ring, jobs, body, encoded, epoch, .. } = self;
        let Some(slab) = ring.slab(key) else { return };
        let codec = Segments { job: &mut jobs[key.0 as usize].job, epoch: *epoch, body, encoded };
        codec.encode(slab.run, (slab.first, slab.last), push);
        ring.release(key);
    }

    fn seal_all(&mut self, group: GroupId, epoch: u64, push: &mut Vec<FromShard>) {
        assert_eq!(epoch, self.epoch, "the batcher seals another epoch than shard {} is in", self.shard);
        while let Some(key) = self.ring.oldest() {
            self.seal(key, push);
        }
        let log = std::mem::take(&mut self.log);
        push.push(FromShard::Marker(Marker { shard: self.shard, group, epoch, log }));
        self.epoch += 1;
    }
}

/// One record's text on its way into the ring.
trait Text {
    /// At most so many bytes and values.
    fn size_max(&mut self) -> (usize, usize);
    /// Writes it.
    fn write<S: RecordSink>(&mut self, sink: &mut S);
}

struct Formatted<'a> {
    formatter: &'a mut Formatter,
    record: Record<'a>,
}

impl Text for Formatted<'_> {
    fn size_max(&mut self) -> (usize, usize) {
        (self.formatter.bytes_max(&self.record), self.formatter.fields_max(&self.record))
    }
    fn write<S: RecordSink>(&mut self, sink: &mut S) {
        self.formatter.write(&self.record, sink);
    }
}

struct AsIs<'a>(&'a [u8]);

impl Text for AsIs<'_> {
    fn size_max(&mut self) -> (usize, usize) {
        (self.0.len(), 0)
    }
    fn write<S: RecordSink>(&mut self, sink: &mut S) {
        sink.put(self.0);
    }
}

struct Alone<'a>(&'a mut Vec<u8>);

impl RecordSink for Alone<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn value(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Makes segments of one job's runs.
struct Segments<'a> {
    job: &'a mut ShardJob,
    epoch: u64,
    body: &'a mut Vec<u8>,
    encoded: &'a mut Encoded,
}

impl Segments<'_> {
    /// Encodes a run as segments: one, or more where a batch's limit falls inside it.
    fn encode(self, mut run: Run<'_>, (first, last): (i64, i64), push: &mut Vec<FromShard>) {
        let job = self.job;
        let before = job.codec.encoded();
        while !run.is_empty() {
            let taken = job.room.take(&run);
            let (head, rest) = run.split_at(taken.records);
            self.body.clear();
            job.codec.encode(Form::ONLY, &head, self.body);
            push.push(FromShard::Segment(Segment {
                job: job.id,
                version: job.version,
                group: GroupId::MAIN,
                epoch: self.epoch,
                batch: taken.batch,
                codec: job.codec.kind(),
                body: Bytes::copy_from_slice(self.body),
                crc32: crc32fast::hash(head.bytes),
                raw_len: head.bytes.len() as u32,
                records: taken.records as u32,
                first,
                last,
            }));
            run = rest;
        }
        self.encoded.add(job.codec.encoded(), before);
    }
}

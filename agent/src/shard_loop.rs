//! Shard loop: what one core does with chunks, as a state machine.
//!
//! Promises: a chunk is logged once it is processed whole, and only then; a seal closes every open slab between two
//! chunks, pushes segments first and the marker last (PROTOCOL P2, P3). Nothing is allocated per record.
//! Must not know: the runtime, queues, files, the ledger.
mod counts;
mod formats;
mod plan;
mod routes;

use crate::protocol::{GroupId, Logged, Now, Scope};
use bytes::Bytes;
pub use counts::Counts;
use edgepush_shard::chunk::{Audience, Chunk, ChunkKind};
use edgepush_shard::codec::{Codec, CodecKind, Encoded, Form, Level, Run, codec};
use edgepush_shard::format::{Reader, Stand};
use edgepush_shard::frame::Frame;
use edgepush_shard::limits::SLAB_BYTES;
use edgepush_shard::parse::{Fault, Reason};
use edgepush_shard::plan::{Reading, Shelver, Spot};
use edgepush_shard::record::Record;
use edgepush_shard::reject::{Reject, write_reject};
use edgepush_shard::ring::{Full, RecordSink, Ring, SlabKey};
use edgepush_shard::room::{BatchLimits, BatchNo, Taken};
use edgepush_shard::segment::{Begun, FromShard, Marker, Segment, Shelf};
pub use formats::{FormatNotice, Formats};
pub use plan::{PlanJob, PlanOutput, ShardPlan};
use routes::{Delivered, Routes};
use std::sync::Arc;

/// What happens to a shard.
pub enum ShardEvent {
    /// A chunk to process.
    Chunk(Chunk),
    /// End the epoch before this one (the batcher asks).
    Seal {
        /// Which slabs are closed.
        scope: Scope,
        /// The epoch that ends.
        epoch: u64,
        /// The jobs from the next chunk on; only with [`Scope::All`].
        plan: Option<Box<ReadyPlan>>,
    },
}

/// A plan with all that one shard goes by: made wherever there is time for it, since ten thousand jobs take longer than
/// a chunk may.
pub struct ReadyPlan {
    plan: Arc<ShardPlan>,
    routes: Routes,
}

impl ReadyPlan {
    /// For one shard.
    pub fn new(plan: Arc<ShardPlan>) -> ReadyPlan {
        ReadyPlan { routes: Routes::new(&plan), plan }
    }
}

/// The state of one shard.
pub struct ShardLoop {
    reader: Reader,
    formats: Arc<Formats>,
    /// What was found out about formats and not told yet.
    notices: Vec<FormatNotice>,
    rest: Rest,
}

/// Everything behind the parser.
struct Rest {
    outlet: Outlet,
    routes: Routes,
    reject_line: Vec<u8>,
    counts: Counts,
}

/// Everything behind the formatter: slabs, codecs, and what waits for the next marker.
struct Outlet {
    shard: usize,
    epoch: u64,
    /// The first epoch since all slabs were closed.
    all_from: u64,
    ring: Ring,
    plan: Arc<ShardPlan>,
    lanes: Vec<Lane>,
    /// Codecs by kind and level: jobs take turns.
    codecs: Vec<(CodecKind, Level, Box<dyn Codec + Send>)>,
    /// Chunks since all slabs were closed, with whether the hot group gets them too.
    log: Vec<(Logged, bool)>,
    /// Of these, how many the hot group has committed.
    hot_logged: usize,
    parked_log: Vec<(GroupId, Logged)>,
    body: Vec<u8>,
    encoded: Encoded,
    /// Where records of archives belong; kept over changes of the jobs.
    shelver: Option<Shelver>,
    /// Where the record in work belongs.
    spot: Option<Spot>,
}

/// A slab for one record.
#[derive(Clone, Copy)]
struct Into {
    key: SlabKey,
    /// The record's time, ns since the epoch.
    at: i64,
}

/// What a shard keeps of a job while a plan is in force: all that a record needs, within one line of the cache.
#[derive(Clone, Copy)]
struct Lane {
    /// The last epoch in which a [`Begun`] was pushed.
    begun: u64,
    /// Records of the chunk in work.
    matched: u32,
    /// A number in [`ShardPlan::outputs`].
    output: u32,
    codec: u32,
    hot: bool,
    shelved: bool,
}

/// The slab of the rejects; jobs of the plan follow.
const REJECTS: SlabKey = SlabKey(0);

impl ShardLoop {
    /// A shard with the jobs of its plan.
    pub fn new(shard: usize, ring_bytes: usize, plan: Arc<ShardPlan>) -> ShardLoop {
        ShardLoop::with_slabs(shard, (ring_bytes, SLAB_BYTES), plan)
    }

    /// The same with slabs of another size than [`SLAB_BYTES`]: a simulation fills small ones within a chunk.
    pub fn with_slabs(
        shard: usize,
        (ring_bytes, slab_bytes): (usize, usize),
        plan: Arc<ShardPlan>,
    ) -> ShardLoop {
        let mut outlet = Outlet {
            shard,
            epoch: 1,
            all_from: 1,
            ring: Ring::new(ring_bytes, slab_bytes),
            plan: plan.clone(),
            lanes: Vec::new(),
            codecs: Vec::new(),
            log: Vec::new(),
            hot_logged: 0,
            parked_log: Vec::new(),
            body: Vec::new(),
            encoded: Encoded::default(),
            shelver: None,
            spot: None,
        };
        outlet.take_plan(plan.clone());
        let rest =
            Rest { outlet, routes: Routes::new(&plan), reject_line: Vec::new(), counts: Counts::default() };
        ShardLoop { reader: Reader::new(), formats: Arc::default(), notices: Vec::new(), rest }
    }

    /// The same, reading the lines of each source as these say; without it all are JSON.
    #[must_use]
    pub fn reading(self, formats: Arc<Formats>) -> ShardLoop {
        ShardLoop { formats, ..self }
    }

    /// What was found out about formats since the last call.
    pub fn notices(&mut self) -> impl Iterator<Item = FormatNotice> {
        self.notices.drain(..)
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
            ShardEvent::Seal { scope, epoch, plan } => {
                self.rest.outlet.seal_scope(scope, epoch, push);
                if let Some(ready) = plan {
                    assert_eq!(scope, Scope::All, "a plan changes only when every slab is closed");
                    self.rest.routes = ready.routes;
                    self.rest.outlet.take_plan(ready.plan);
                }
            }
        }
        self.rest.counts.encoded = self.rest.outlet.encoded;
        self.rest.counts.shelved = self.rest.outlet.shelver.as_ref().map(Shelver::counts).unwrap_or_default();
    }

    fn chunk(&mut self, now: Now, chunk: &Chunk, push: &mut Vec<FromShard>) {
        self.rest.outlet.begin(chunk.audience, push);
        match chunk.kind {
            ChunkKind::Lines => self.lines(now, chunk, push),
            ChunkKind::TooLong { length } => self.rest.too_long(now, chunk, length, push),
            ChunkKind::Nul => {}
        }
        if chunk.audience.contains(GroupId::MAIN) {
            if chunk.kind == ChunkKind::Nul {
                self.rest.counts.nul_bytes += chunk.end - chunk.start;
            }
            self.rest.counts.source(chunk.origin).bytes += chunk.end - chunk.start;
        }
        self.rest.routes.publish(&mut self.rest.outlet);
        self.rest.outlet.note(chunk);
    }

    fn lines(&mut self, now: Now, chunk: &Chunk, push: &mut Vec<FromShard>) {
        let ShardLoop { reader, formats, notices, rest } = self;
        rest.routes.begin(chunk.audience, chunk.origin);
        rest.outlet.read(chunk);
        let live = chunk.audience.contains(GroupId::MAIN);
        let stand = Stand { wall: now.wall, ..Stand::of(&chunk.head, chunk.start) };
        let format = formats.of(chunk.origin);
        let told = reader.lines(format, stand, &chunk.bytes, |frame, parsed| match parsed {
            Ok(record) => {
                let offset = chunk.start + frame.offset as u64;
                if rest.record(now, &record, (chunk.seed, offset, live), push) == Delivered::Late {
                    rest.late(now, chunk, frame, push);
                }
            }
            Err(fault) => rest.fault(now, chunk, frame, fault, push),
        });
        formats.note(chunk, &told, notices);
        if live {
            rest.counts.blank += told.lines.blank;
            rest.counts.source(chunk.origin).lines += told.lines.all;
        }
    }
}

impl Rest {
    #[inline]
    fn record(
        &mut self,
        now: Now,
        record: &Record<'_>,
        (seed, offset, live): (u64, u64, bool),
        push: &mut Vec<FromShard>,
    ) -> Delivered {
        let delivered = self.routes.deliver(now, record, (seed, offset), &mut self.outlet, push);
        // What a parked job reads later was counted when the others read it.
        if live {
            self.counts.parsed(record);
            self.counts.filtered += u64::from(delivered == Delivered::ToNobody);
        }
        delivered
    }

    /// A record came too late for an archive: it is kept where nothing is lost, if it is to be kept.
    #[cold]
    fn late(&mut self, now: Now, chunk: &Chunk, frame: Frame<'_>, push: &mut Vec<FromShard>) {
        if !self.outlet.shelver.as_ref().is_some_and(|shelver| shelver.shelving().late_kept) {
            return;
        }
        let (offset, length) = (chunk.start + frame.offset as u64, frame.line.len() as u64);
        let fault = Fault { reason: Reason::Late, column: 0 };
        self.reject(now, chunk, offset, length, fault, frame.line, push);
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
        if chunk.audience.contains(GroupId::MAIN) {
            self.counts.source(chunk.origin).lines += 1;
        }
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
        // The rejects are no parked job: what cannot be parsed was kept when it was read first.
        if !chunk.audience.contains(GroupId::MAIN) {
            return;
        }
        self.counts.rejected[fault.reason as usize] += 1;
        self.reject_line.clear();
        let (time, source) = (now.wall, &*chunk.path);
        let (reason, column) = (fault.reason.as_str(), fault.column);
        let reject = Reject { time, source, offset, length, reason, column, object: None, line };
        write_reject(&mut self.reject_line, &reject);
        let slab = self.outlet.slab_of(now, REJECTS.0, push);
        self.outlet.append(slab, &mut AsIs(&self.reject_line), push);
    }
}

impl Outlet {
    /// The jobs from here on. Every slab is closed.
    fn take_plan(&mut self, plan: Arc<ShardPlan>) {
        self.codecs
            .retain(|(kind, level, _)| plan.jobs.iter().any(|job| (job.codec, job.level) == (*kind, *level)));
        self.lanes.clear();
        for job in &plan.jobs {
            let known =
                self.codecs.iter().position(|(kind, level, _)| (*kind, *level) == (job.codec, job.level));
            let codec = known.unwrap_or_else(|| {
                self.codecs.push((job.codec, job.level, codec(job.codec, job.level)));
                self.codecs.len() - 1
            });
            let (codec, output, hot) = (codec as u32, job.output as u32, job.group == GroupId::HOT);
            self.lanes.push(Lane { begun: 0, matched: 0, output, codec, hot, shelved: job.shelved });
        }
        // One that was made goes on, whatever the jobs become: it has counted.
        if let (None, Some(shelving)) = (&self.shelver, &plan.shelving) {
            self.shelver = Some(Shelver::new(shelving.clone()));
        }
        self.plan = plan;
    }

    /// Finds where a record of an archive belongs. False: it is too late for any.
    #[inline]
    fn shelve(&mut self, now: Now, record: &Record<'_>) -> bool {
        let shelver = self.shelver.as_mut().expect("INVARIANT: a plan with shelved jobs says how");
        self.spot = shelver.shelve(record, now.wall);
        self.spot.is_some()
    }

    /// The slab for a record of a job; begins its clock.
    #[inline]
    fn slab_of(&mut self, now: Now, job: u32, push: &mut Vec<FromShard>) -> Into {
        let lane = &mut self.lanes[job as usize];
        if let (true, Some(spot), Some(shelver)) = (lane.shelved, self.spot, &mut self.shelver) {
            // An archive's files have no clock but the slot's.
            return Into { key: shelver.slab(job, spot), at: spot.at };
        }
        let since = if lane.hot { self.epoch } else { self.all_from };
        if lane.begun < since {
            lane.begun = self.epoch;
            let job = &self.plan.jobs[job as usize];
            push.push(FromShard::Begun(Begun { epoch: self.epoch, job: Some((job.id, job.version)) }));
        }
        Into { key: SlabKey(job), at: now.wall }
    }

    /// The job of a slab, and the shelf of it.
    #[inline]
    fn of(&self, key: SlabKey) -> (usize, Option<Arc<Shelf>>) {
        match self.shelver.as_ref().and_then(|shelver| shelver.shelf(key)) {
            Some((job, shelf)) => (job as usize, Some(shelf.clone())),
            None => (key.0 as usize, None),
        }
    }

    /// The first chunk since all slabs were closed starts the clock of the commit.
    fn begin(&mut self, audience: Audience, push: &mut Vec<FromShard>) {
        let first = match audience {
            Audience::Live { .. } => self.log.is_empty(),
            Audience::Parked(_) => self.parked_log.is_empty(),
        };
        if first {
            push.push(FromShard::Begun(Begun { epoch: self.epoch, job: None }));
        }
    }

    /// A chunk's lines come.
    fn read(&mut self, chunk: &Chunk) {
        if let Some(shelver) = &mut self.shelver {
            shelver.begin(Reading {
                source: chunk.source.0,
                start: chunk.start,
                size_seen: chunk.evidence.size_seen,
                catches_up: matches!(chunk.audience, Audience::Parked(_)),
            });
        }
    }

    /// A chunk was processed whole.
    fn note(&mut self, chunk: &Chunk) {
        match chunk.audience {
            Audience::Live { hot_done } => self.log.push((chunk.logged(), !hot_done)),
            Audience::Parked(group) => self.parked_log.push((group, chunk.logged())),
        }
    }

    #[inline]
    fn append(&mut self, into: Into, text: &mut impl Text, push: &mut Vec<FromShard>) {
        let (bytes_max, fields_max) = text.size_max();
        loop {
            match self.ring.append(into.key, into.at, bytes_max, fields_max, |sink| text.write(sink)) {
                Ok(()) => return,
                Err(Full::Slab) => self.empty(into.key, push),
                Err(Full::Ring { oldest }) if oldest == into.key => self.empty(oldest, push),
                Err(Full::Ring { oldest }) => self.seal(oldest, push),
                Err(Full::TooLarge) => return self.alone(into, text, push),
            }
        }
    }

    /// A record larger than a slab becomes a segment of its own, past the ring (RULINGS 3).
    fn alone(&mut self, into: Into, text: &mut impl Text, push: &mut Vec<FromShard>) {
        self.empty(into.key, push);
        let mut bytes = Vec::new();
        text.write(&mut Alone(&mut bytes));
        let ends = [bytes.len() as u32];
        let (job, shelf) = self.of(into.key);
        let Outlet { plan, lanes, codecs, body, encoded, epoch, .. } = self;
        let codec = &mut *codecs[lanes[job].codec as usize].2;
        let segments = Segments { job: &plan.jobs[job], shelf, codec, epoch: *epoch, body, encoded };
        segments.encode(Run::new(&bytes, &ends), (into.at, into.at), push);
        self.close(into.key);
    }

    /// Makes segments of a slab, which goes.
    fn seal(&mut self, key: SlabKey, push: &mut Vec<FromShard>) {
        self.empty(key, push);
        self.close(key);
    }

    /// Makes segments of a slab, for which more comes.
    fn empty(&mut self, key: SlabKey, push: &mut Vec<FromShard>) {
        let (job, shelf) = self.of(key);
        let Outlet { ring, plan, lanes, codecs, body, encoded, epoch, .. } = self;
        let Some(slab) = ring.slab(key) else { return };
        let codec = &mut *codecs[lanes[job].codec as usize].2;
        let segments = Segments { job: &plan.jobs[job], shelf, codec, epoch: *epoch, body, encoded };
        segments.encode(slab.run, (slab.first, slab.last), push);
        ring.release(key);
    }

    /// A shelf without a slab gives its number back.
    fn close(&mut self, key: SlabKey) {
        if let Some(shelver) = self.shelver.as_mut().filter(|_| Shelver::is_shelf(key)) {
            shelver.close(key);
        }
    }

    fn seal_scope(&mut self, scope: Scope, epoch: u64, push: &mut Vec<FromShard>) {
        assert_eq!(epoch, self.epoch, "the batcher seals another epoch than shard {} is in", self.shard);
        let logs = match scope {
            Scope::All => self.seal_all(push),
            Scope::Hot => self.seal_hot(push),
        };
        push.push(FromShard::Marker(Marker { shard: self.shard, epoch, logs }));
        self.epoch += 1;
        if scope == Scope::All {
            self.all_from = self.epoch;
        }
    }

    fn seal_all(&mut self, push: &mut Vec<FromShard>) -> Vec<(GroupId, Vec<Logged>)> {
        while let Some(key) = self.ring.oldest() {
            self.seal(key, push);
        }
        if let Some(shelver) = &mut self.shelver {
            shelver.tidy();
        }
        self.hot_logged = 0;
        let live: Vec<Logged> = std::mem::take(&mut self.log).into_iter().map(|(logged, _)| logged).collect();
        let mut logs = vec![(GroupId::MAIN, live)];
        for (group, logged) in std::mem::take(&mut self.parked_log) {
            match logs.iter_mut().find(|(of, _)| *of == group) {
                Some((_, log)) => log.push(logged),
                None => logs.push((group, vec![logged])),
            }
        }
        logs
    }

    fn seal_hot(&mut self, push: &mut Vec<FromShard>) -> Vec<(GroupId, Vec<Logged>)> {
        for at in 0..self.plan.hot.len() {
            let job = self.plan.hot[at];
            self.seal(SlabKey(job), push);
            if self.lanes[job as usize].shelved {
                let slabs = self.shelver.iter().flat_map(|shelver| shelver.slabs_of(job)).collect::<Vec<_>>();
                slabs.into_iter().for_each(|key| self.seal(key, push));
            }
        }
        let since = std::mem::replace(&mut self.hot_logged, self.log.len());
        let hot = self.log[since..].iter().filter(|(_, hot)| *hot).map(|(logged, _)| *logged).collect();
        vec![(GroupId::HOT, hot)]
    }
}

/// One record's text on its way into the ring.
trait Text {
    /// At most so many bytes and values.
    fn size_max(&mut self) -> (usize, usize);
    /// Writes it.
    fn write<S: RecordSink>(&mut self, sink: &mut S);
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

/// A segment of a shelf takes at most this part of a file's limits, so that files end near them.
const SHELVED_PART: u32 = 32;
/// But no segment is cut below this for it: records, bytes.
const SHELVED_LEAST: (u32, u32) = (1000, 64 << 10);

/// Makes segments of one job's runs.
struct Segments<'a> {
    job: &'a PlanJob,
    shelf: Option<Arc<Shelf>>,
    codec: &'a mut dyn Codec,
    epoch: u64,
    body: &'a mut Vec<u8>,
    encoded: &'a mut Encoded,
}

impl Segments<'_> {
    /// Encodes a run as segments: one, or more where a batch's limit falls inside it.
    fn encode(self, mut run: Run<'_>, (first, last): (i64, i64), push: &mut Vec<FromShard>) {
        let Segments { job, shelf, codec, epoch, body, encoded } = self;
        let before = codec.encoded();
        while !run.is_empty() {
            let taken = match shelf {
                Some(_) => Taken { batch: BatchNo(0), records: shelved(job.room.limits(), &run) },
                None => job.room.take(&run),
            };
            let (head, rest) = run.split_at(taken.records);
            body.clear();
            // The formatter wrote the delimiter before every record: a segment begins without it.
            let head = head.without_head(job.delimiter_bytes);
            codec.encode(Form(job.output as u32), &head, body);
            push.push(FromShard::Segment(Segment {
                job: job.id,
                version: job.version,
                epoch,
                batch: taken.batch,
                shelf: shelf.clone(),
                codec: job.codec,
                body: Bytes::copy_from_slice(body),
                crc32: crc32fast::hash(head.bytes),
                raw_len: head.bytes.len() as u32,
                records: taken.records as u32,
                first,
                last,
            }));
            run = rest;
        }
        encoded.add(codec.encoded(), before);
    }
}

/// How many of a run's records make a segment of a shelf.
fn shelved(limits: BatchLimits, run: &Run<'_>) -> usize {
    let part = |limit: u32, least: u32| limit.min((limit / SHELVED_PART).max(least));
    let (records, bytes) = (part(limits.records, SHELVED_LEAST.0), part(limits.bytes, SHELVED_LEAST.1));
    let fits = run.ends.partition_point(|&end| end - run.base <= bytes).min(records as usize);
    fits.max(1)
}

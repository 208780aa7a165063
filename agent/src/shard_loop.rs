//! Shard loop: what one core does with chunks, as a state machine.
//!
//! Promises: a chunk is logged once it is processed whole, and only then; a seal closes every open slab between two
//! chunks, pushes segments first and the marker last (PROTOCOL P2, P3).
//! Must not know: the runtime, queues, files, the ledger.
use crate::protocol::{GroupId, Now};
use edgepush_shard::chunk::{Chunk, JobId, Logged};
use edgepush_shard::codec::Codec;
use edgepush_shard::frame::frames;
use edgepush_shard::limits::SLAB_BYTES;
use edgepush_shard::ring::{Full, RecordSink, Ring, SlabKey};
use edgepush_shard::room::Room;
use edgepush_shard::segment::{FromShard, Marker, Segment};
use std::sync::Arc;

/// One job as a shard sees it.
pub struct ShardJob {
    /// The job.
    pub id: JobId,
    /// Its version.
    pub version: u32,
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
    shard: usize,
    epoch: u64,
    ring: Ring,
    jobs: Vec<ShardJob>,
    log: Vec<Logged>,
    out: Vec<u8>,
}

impl ShardLoop {
    /// A shard with its jobs.
    pub fn new(shard: usize, ring_bytes: usize, jobs: Vec<ShardJob>) -> ShardLoop {
        let ring = Ring::new(ring_bytes, SLAB_BYTES);
        ShardLoop { shard, epoch: 1, ring, jobs, log: Vec::new(), out: Vec::new() }
    }

    /// One step; what is to be pushed to the batcher is appended to `push`, in order.
    pub fn step(&mut self, now: Now, event: ShardEvent, push: &mut Vec<FromShard>) {
        match event {
            ShardEvent::Chunk(chunk) => {
                for frame in frames(&chunk.bytes, chunk.start) {
                    if !frame.line.is_empty() {
                        self.append(now, 0, frame.line, push);
                    }
                }
                self.log.push(chunk.logged());
            }
            ShardEvent::Seal { group, epoch } => {
                while let Some(key) = self.ring.oldest() {
                    self.seal(key, push);
                }
                let log = std::mem::take(&mut self.log);
                push.push(FromShard::Marker(Marker { shard: self.shard, group, epoch, log }));
                self.epoch = epoch + 1;
            }
        }
    }

    fn append(&mut self, now: Now, job: u32, line: &[u8], push: &mut Vec<FromShard>) {
        let key = SlabKey(job);
        loop {
            let full = self.ring.append(key, now.wall, line.len() + 1, 0, |sink| {
                sink.put(line);
                sink.put(b"\n");
            });
            match full {
                Ok(()) => return,
                Err(Full::Slab) => self.seal(key, push),
                Err(Full::Ring { oldest }) => self.seal(oldest, push),
                Err(Full::TooLarge) => return,
            }
        }
    }

    fn seal(&mut self, key: SlabKey, push: &mut Vec<FromShard>) {
        let Some(slab) = self.ring.slab(key) else { return };
        let job = &mut self.jobs[key.0 as usize];
        let (bytes, ends) = (slab.run.bytes, slab.run.ends);
        let taken = job.room.take(&slab.run);
        assert_eq!(taken.records, ends.len(), "the skeleton does not cut slabs yet");
        self.out.clear();
        job.codec.encode(&slab.run, &mut self.out);
        push.push(FromShard::Segment(Segment {
            job: job.id,
            version: job.version,
            group: GroupId::MAIN,
            epoch: self.epoch,
            batch: taken.batch,
            codec: job.codec.kind(),
            body: bytes::Bytes::copy_from_slice(&self.out),
            crc32: crc32fast::hash(bytes),
            raw_len: bytes.len() as u32,
            records: ends.len() as u32,
            first: slab.first,
            last: slab.last,
        }));
        self.ring.release(key);
    }
}

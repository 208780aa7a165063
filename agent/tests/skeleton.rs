//! The walking skeleton: a file goes through the shard loop and the batcher, as gzip, to `file://`.
#![allow(clippy::unwrap_used)]
use edgepush::batcher::Batcher;
use edgepush::destination::file::FileDestination;
use edgepush::destination::{Destination, Outgoing, Verdict};
use edgepush::protocol::{CodecKind, Container, GroupId, JobId, Naming, Now, SourceId};
use edgepush::shard_loop::{ShardEvent, ShardJob, ShardLoop};
use edgepush_shard::chunk::{Chunk, ChunkKind, Evidence, GroupSet};
use edgepush_shard::codec::Deflate;
use edgepush_shard::room::{BatchLimits, Room};
use std::io::Read;
use std::sync::Arc;

#[test]
fn a_file_becomes_a_gzip_object() {
    let dir = tempfile::tempdir().unwrap();
    let log: String = (0..1000).map(|i| format!("{{\"id\":{i},\"path\":\"/a/{}\"}}\n", i % 7)).collect();
    let chunk = Chunk {
        source: SourceId(1),
        seed: 7,
        start: 0,
        end: log.len() as u64,
        bytes: log.clone().into(),
        kind: ChunkKind::Lines,
        skip: GroupSet::EMPTY,
        evidence: Evidence::default(),
    };
    let room = Arc::new(Room::new(BatchLimits { records: 100_000, bytes: 50_000_000 }, 0, 0));
    let job = ShardJob { id: JobId::ENV, version: 1, room, codec: Box::new(Deflate::new(1)) };
    let mut shard = ShardLoop::new(0, 8 << 20, vec![job]);
    let mut batcher = Batcher::new(Container::Members, Arc::new(Naming::default()));
    let mut pushed = Vec::new();
    shard.step(Now::default(), ShardEvent::Chunk(chunk), &mut pushed);
    shard.step(Now::default(), ShardEvent::Seal { group: GroupId::MAIN, epoch: 1 }, &mut pushed);
    let commit = pushed.into_iter().find_map(|m| batcher.step(Now::default(), m)).unwrap();
    assert_eq!(commit.log[0].end, log.len() as u64);

    let destination = FileDestination::new(dir.path().into());
    let batch = &commit.batches[0];
    let out = Outgoing {
        name: "a/b.log.gz".into(),
        key: "0".into(),
        codec: CodecKind::Gzip,
        container: Container::Members,
        records: u64::from(batch.records),
        body: batch.piece.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(destination.deliver(out)), Verdict::Delivered);

    let mut text = String::new();
    let file = std::fs::File::open(dir.path().join("a/b.log.gz")).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, log);
}

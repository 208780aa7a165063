//! Batcher: joins segments of one job from all shards into batches, and decides when a group commits.
//!
//! Promises: a commit holds exactly the segments that came before the markers of its epoch (PROTOCOL P4); it never
//! waits for the ledger (RULINGS 14).
//! Must not know: shards' insides, the spool, destinations.
use crate::protocol::{BatchCommit, Commit, Container, GroupId, Naming, Now, OpenKey};
use edgepush_shard::batch::piece;
use edgepush_shard::segment::{FromShard, Segment};
use std::sync::Arc;

/// Joins segments into one commit.
pub struct Batcher {
    container: Container,
    naming: Arc<Naming>,
    waiting: Vec<Segment>,
}

impl Batcher {
    /// A batcher of one job.
    pub fn new(container: Container, naming: Arc<Naming>) -> Batcher {
        Batcher { container, naming, waiting: Vec::new() }
    }

    /// One step: takes what a shard pushed; answers with the commit when the epoch is whole.
    pub fn step(&mut self, _now: Now, event: FromShard) -> Option<Commit> {
        match event {
            FromShard::Segment(segment) => {
                self.waiting.push(segment);
                None
            }
            FromShard::Marker(marker) => {
                let segments = std::mem::take(&mut self.waiting);
                let batches = self.batch(&segments).into_iter().collect();
                Some(Commit { group: GroupId::MAIN, epoch: marker.epoch, batches, log: marker.log })
            }
        }
    }

    fn batch(&self, segments: &[Segment]) -> Option<BatchCommit> {
        let (head, last) = (segments.first()?, segments.last()?);
        Some(BatchCommit {
            open: OpenKey(0),
            row: None,
            job: head.job,
            version: head.version,
            codec: head.codec,
            container: self.container,
            naming: self.naming.clone(),
            piece: piece(self.container, segments),
            records: segments.iter().map(|s| s.records).sum(),
            raw: segments.iter().map(|s| u64::from(s.raw_len)).sum(),
            first: head.first,
            last: last.last,
            close: true,
        })
    }
}

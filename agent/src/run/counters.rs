//! Publishes what a shard has counted: once a chunk, as differences.
use crate::metrics::ShardCounters;
use crate::shard_loop::Counts;
use edgepush_shard::codec::Encoded;
use std::sync::Arc;

/// One shard's published counts.
pub(super) struct Published {
    to: Arc<ShardCounters>,
    origins: usize,
    last: Counts,
}

impl Published {
    /// Nothing is published yet; so many sources are configured.
    pub(super) fn new(to: Arc<ShardCounters>, origins: usize) -> Published {
        Published { to, origins, last: Counts::default() }
    }

    /// Publishes what was counted since the last call.
    pub(super) fn publish(&mut self, now: &Counts, ring_bytes: usize) {
        let (to, last) = (&self.to, &self.last);
        for at in 0..self.origins {
            to.lines_read(at, now.read[at].lines - last.read[at].lines);
            to.bytes_read(at, now.read[at].bytes - last.read[at].bytes);
        }
        to.blank(now.blank - last.blank);
        to.parsed_learned(now.learned - last.learned);
        to.parsed_general(now.general - last.general);
        to.repaired_records(now.repaired_records - last.repaired_records);
        for at in 0..now.repaired.len() {
            to.repaired(at, now.repaired[at] - last.repaired[at]);
        }
        for at in 0..now.rejected.len() {
            to.rejected(at, now.rejected[at] - last.rejected[at]);
        }
        to.filtered(now.filtered - last.filtered);
        let mut since = Encoded::default();
        since.add(now.encoded, last.encoded);
        to.bodies([since.schema, since.general, since.verified, since.wrong]);
        if since.wrong > 0 {
            tracing::error!(
                "the schema-aware encoder made a segment that does not decode to its records: it was encoded again by the \
                 general encoder, which this job uses from now on. Nothing is lost; please report it with a sample of the log"
            );
        }
        let (shelved, before) = (now.shelved, last.shelved);
        to.shelved([
            shelved.late - before.late,
            shelved.ahead - before.ahead,
            shelved.timeless - before.timeless,
        ]);
        to.ring_bytes(ring_bytes as u64);
        self.last.clone_from(now);
    }
}

//! What tests of the sender's machine share: batches, and words of destinations.
#![allow(dead_code)]
use bytes::Bytes;
use edgepush::destination::Verdict;
use edgepush::protocol::{BatchId, CodecKind, Container, JobId, Piece, PieceAt, Spooled};
use std::time::Duration;

pub const MS: Duration = Duration::from_millis(1);
pub const SEC: Duration = Duration::from_secs(1);

/// A batch of ten bytes in memory and in the spool.
pub fn batch(id: u64, job: JobId, records: u64) -> Spooled {
    sized(id, job, records, 10)
}

/// A batch of so many bytes in the spool and ten in memory.
pub fn sized(id: u64, job: JobId, records: u64, len: u64) -> Spooled {
    Spooled {
        id: BatchId(id),
        job,
        version: 1,
        name: format!("batch-{id}").into(),
        key: format!("{id:016x}").into(),
        codec: CodecKind::Gzip,
        container: Container::Members,
        records,
        raw: records * 100,
        first: id as i64,
        last: id as i64,
        naming: Default::default(),
        pieces: vec![Piece { at: PieceAt::Ledger { seq: 0 }, len, crc: 0 }],
        body: Some(vec![Bytes::from_static(b"0123456789")]),
        shelf: None,
    }
}

pub fn retry() -> Verdict {
    Verdict::Retry { after: None, why: "503 out to lunch".into() }
}

pub fn hold() -> Verdict {
    Verdict::Hold { why: "403 no".into() }
}

pub fn refused() -> Verdict {
    Verdict::Refused { why: "400 what is this".into() }
}

//! The part of `run::delivery` and of the uploads: batcher and sender step, requests reach the store or do not.
use super::{Around, Life, ToLedger, Upload};
use crate::disk::SimDisk;
use bytes::Bytes;
use edgepush::batcher::{BatcherAction, BatcherEvent};
use edgepush::destination::{Answer, Verdict};
use edgepush::ledger::{LedgerEvent, LedgerReply, Part, SplitChild};
use edgepush::protocol::*;
use edgepush::sender::{Picks, RefusedPart, Said, SendAction, SendEvent, pick};
use edgepush::source::{CatchUpEvent, SourceEvent};
use edgepush_shard::batch::{Framing, join, split};
use edgepush_shard::codec::{Level, codec};
use std::sync::Arc;

impl Life {
    pub(super) fn reply_turn(&mut self, around: &mut Around<'_>) {
        match self.replies.pop_front().expect("a turn that can be taken") {
            LedgerReply::Committed(committed) => self.batch(BatcherEvent::Committed(committed), around),
            LedgerReply::Judged(ids) => self.send(SendEvent::Durable(ids), around),
            LedgerReply::Split { parent, children } => {
                self.send(SendEvent::Split { parent, children }, around)
            }
            LedgerReply::Parted { parent, again, rejects } => {
                self.send(SendEvent::Parted { parent, again, rejects }, around)
            }
            LedgerReply::Aside { .. } => unreachable!("no operator is simulated"),
            LedgerReply::Published { .. } => unreachable!("no archive is simulated"),
            LedgerReply::Registered(_)
            | LedgerReply::Gaps { .. }
            | LedgerReply::Lost { .. }
            | LedgerReply::Space(_)
            | LedgerReply::NoSpace(_) => {
                unreachable!("the ledger's driver keeps these")
            }
        }
    }

    pub(super) fn batch(&mut self, event: BatcherEvent, around: &mut Around<'_>) {
        let mut out = Vec::new();
        self.batcher.step(around.now, event, &mut out);
        for action in out {
            match action {
                BatcherAction::Seal { scope, epoch, change } => {
                    self.seal_plan = change.map(|_| self.riding_plan(epoch));
                    self.scope = scope;
                    assert_eq!(epoch, self.seal + 1, "P4: one seal outstanding, in order");
                    self.seal = epoch;
                }
                BatcherAction::Commit(commit) => {
                    self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Commit(commit)));
                }
                BatcherAction::Spooled(spooled) => self.send(SendEvent::Spooled(spooled), around),
                BatcherAction::Durable(durable) => self.to_source.push_back(SourceEvent::Durable(durable)),
                BatcherAction::Readers { stop } => self.uncommitted_full = stop,
                BatcherAction::Caught(caught) => {
                    let caught = caught.into_iter();
                    self.to_catch_up
                        .extend(caught.map(|(group, chunks)| CatchUpEvent::Caught { group, chunks }));
                }
                BatcherAction::Regroup { hot, cool } => self.regroup(hot, cool),
                BatcherAction::Changed { .. } => self.jobs_changed(around),
                BatcherAction::Finished => self.finished = true,
            }
        }
    }

    pub(super) fn send(&mut self, event: SendEvent, around: &mut Around<'_>) {
        let mut out = Vec::new();
        self.sender.step(around.now, event, &mut out);
        for action in out {
            match action {
                SendAction::Upload { batch, .. } => self.upload(batch, around),
                SendAction::Judge(judged) => {
                    self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Judge(judged)));
                }
                SendAction::Split { batch } => self.split(&batch, around),
                SendAction::Pick { batch, picks } => self.pick(&batch, &picks, around),
                SendAction::Parted { batch, taken, refused } => {
                    assert!(
                        taken > 0 && taken + refused <= batch.records,
                        "{taken} and {refused} of a batch"
                    );
                }
                SendAction::OverShare { .. } | SendAction::UnderShare { .. } => {
                    unreachable!("nobody told of the spool's room")
                }
                SendAction::Settled { .. } | SendAction::Notice(_) => {}
            }
        }
    }

    /// Starts an upload. I8: what is sent is durable under the name that it is sent by.
    pub(super) fn upload(&mut self, batch: Arc<Spooled>, around: &mut Around<'_>) {
        around.say(|| format!("upload {:?} {} of {:?}", batch.id, batch.name, batch.job));
        if self.is_deleted(&batch) {
            let why = "its job was deleted".into();
            return self.send(SendEvent::Unreadable { id: batch.id, why }, around);
        }
        let row: Result<(String, String), _> = self.ledger.connection().query_row(
            "SELECT name, state FROM batch WHERE id = ?1",
            [batch.id.0 as i64],
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        let expected = (batch.name.to_string(), "spooled".to_owned());
        assert_eq!(row.as_ref().ok(), Some(&expected), "I8: {:?} is sent before it is committed", batch.id);
        let body = self.body(&batch, around.disk);
        self.uploads.push(Upload { batch, body, answer: None });
    }

    /// The batch went with its job, and the sender has not heard of it yet.
    fn is_deleted(&self, batch: &Spooled) -> bool {
        let count = |sql: &str, id: u64| -> i64 {
            let mut statement = self.ledger.connection().prepare_cached(sql).expect("a query");
            statement.query_row([id as i64], |row| row.get(0)).expect("a count")
        };
        batch.job.0 >= super::MADE
            && count("SELECT count(*) FROM job WHERE id = ?1", batch.job.0) == 0
            && count("SELECT count(*) FROM batch WHERE id = ?1", batch.id.0) == 0
    }

    /// A batch's body, as the uploads read it: from memory or from the spool.
    pub(super) fn body(&self, batch: &Spooled, disk: &SimDisk) -> Vec<Bytes> {
        let pieces = match &batch.body {
            Some(body) => vec![body.clone()],
            None => self.stored(batch.id, disk),
        };
        join(batch.container, batch.codec, pieces).expect("a spooled body is well formed")
    }

    /// A batch's pieces as they are on the disk, by the ledger's present rows.
    pub(super) fn stored(&self, id: BatchId, disk: &SimDisk) -> Vec<Vec<Bytes>> {
        let conn = self.ledger.connection();
        let mut statement = conn
            .prepare_cached("SELECT pack, off, len, crc, bytes FROM piece WHERE batch = ?1 ORDER BY seq")
            .expect("a statement");
        let rows = statement.query_map([id.0 as i64], |row| {
            let len: i64 = row.get(2)?;
            let bytes = match row.get::<_, Option<i64>>(0)? {
                Some(pack) => disk.read(pack as u64, row.get::<_, i64>(1)? as u64, len as u64),
                None => row.get(4)?,
            };
            Ok((bytes, row.get::<_, u32>(3)?))
        });
        let read = |row: Result<(Option<Vec<u8>>, u32), _>| {
            let (bytes, crc): (Option<Vec<u8>>, u32) = row.expect("a row");
            let bytes = bytes.unwrap_or_else(|| panic!("a pack that a row names is gone: {id:?}"));
            assert_eq!(crc32fast::hash(&bytes), crc, "a committed piece of {id:?} is rotten");
            vec![Bytes::from(bytes)]
        };
        rows.expect("rows").map(read).collect()
    }

    pub(super) fn split(&mut self, batch: &Spooled, around: &mut Around<'_>) {
        around.say(|| format!("split {:?}", batch.id));
        if self.is_deleted(batch) {
            let why = "its job was deleted".into();
            return self.send(SendEvent::Unreadable { id: batch.id, why }, around);
        }
        let body = self.body(batch, around.disk);
        let mut codec = codec(batch.codec, Level::Fast);
        let halves = split(&mut *codec, batch.container, &Framing::default(), batch.records, &body)
            .expect("two records");
        let child = |half: edgepush_shard::batch::Half| SplitChild {
            pieces: vec![Bytes::from(half.piece.concat())],
            records: u64::from(half.records),
            raw: half.raw,
        };
        let children = halves.map(child).into();
        self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Split { parent: batch.id, children }));
    }

    /// What a destination has not taken of a batch.
    fn pick(&mut self, batch: &Spooled, picks: &Picks, around: &mut Around<'_>) {
        around.say(|| format!("pick {picks:?} of {:?}", batch.id));
        if self.is_deleted(batch) {
            let why = "its job was deleted".into();
            return self.send(SendEvent::Unreadable { id: batch.id, why }, around);
        }
        let body = self.body(batch, around.disk);
        let said = Said { job: &batch.job.0.to_string(), wall: around.now.wall };
        let picked = pick(batch, picks, said, &body).expect("records that can be told apart");
        let rejects = |part: RefusedPart| BatchCommit {
            open: OpenKey(0),
            row: None,
            job: JobId::REJECTS,
            version: 1,
            codec: CodecKind::Gzip,
            container: Container::Members,
            naming: Arc::new(Naming { suffix: ".log.gz".into(), job: "rejects".into(), ..Naming::default() }),
            piece: part.piece,
            records: part.records,
            raw: part.raw,
            first: said.wall,
            last: said.wall,
            close: true,
        };
        let rejects = picked.refused.into_iter().map(rejects).collect();
        let part = Part { parent: batch.id, again: picked.again, rejects };
        self.to_ledger.push_back(ToLedger::Event(LedgerEvent::Part(part)));
    }

    pub(super) fn upload_turn(&mut self, at: usize, around: &mut Around<'_>) {
        if let Some(verdict) = self.uploads[at].answer.take() {
            let upload = self.uploads.swap_remove(at);
            around.say(|| format!("answer for {:?}: {verdict:?}", upload.batch.id));
            let answer = Answer::from(verdict);
            return self.send(SendEvent::Outcome { id: upload.batch.id, answer }, around);
        }
        let upload = &mut self.uploads[at];
        let retry = || Verdict::Retry { after: None, why: "weather".into() };
        let fate = if around.calm { 0 } else { around.rng.below(12) };
        let hash = crc32fast::hash(upload.batch.key.as_bytes());
        let several = upload.batch.records > 1 && upload.batch.job != JobId::REJECTS;
        let partly = several && matches!(hash % 16, 2 | 4);
        let verdict = match fate {
            // What is too large or refused is so at every try, and never stored.
            _ if upload.batch.records > 1 && hash.is_multiple_of(16) => {
                Verdict::TooLarge { why: "413".into() }
            }
            // What is not taken of a batch is not taken of it at any try.
            0..=7 if partly => {
                let (taken, picks) = some(&upload.batch);
                around.store.put_some(&upload.batch, &upload.body, &taken);
                let Picks { again, refused } = picks;
                let why = "one by one".into();
                if fate < 6 { Verdict::Partly { again, refused, after: None, why } } else { retry() }
            }
            8 if partly => retry(),
            _ if hash % 16 == 1 && !around.calm => Verdict::Refused { why: "400".into() },
            0..=5 => {
                around.store.put(&upload.batch, &upload.body);
                Verdict::Delivered
            }
            6 | 7 => {
                // Stored, and the reply is lost.
                around.store.put(&upload.batch, &upload.body);
                retry()
            }
            8 => {
                around.store.put_late(&upload.batch, &upload.body);
                retry()
            }
            9 => Verdict::Hold { why: "forbidden".into() },
            _ => retry(),
        };
        self.uploads[at].answer = Some(verdict);
    }
}

/// Which records of a batch a store takes, and what it says of the others: the same at every try, and at least the first.
fn some(batch: &Spooled) -> (Vec<u32>, Picks) {
    let (mut taken, mut picks) = (vec![0], Picks::default());
    for place in 1..batch.records as u32 {
        match crc32fast::hash(format!("{} {place}", batch.key).as_bytes()) % 4 {
            1 => picks.again.push(place),
            2 => picks.refused.push((place, "no \"such\" field".into())),
            _ => taken.push(place),
        }
    }
    (taken, picks)
}

//! Commit: one group's epoch becomes durable, in the order of PROTOCOL P4.
//!
//! Promises: (a) bodies appended, (b) pack synced, (c) directory synced when a pack was made, (d) sources synced,
//! (e) one transaction; before (e) nothing names the bytes, after it everything is true at once.
//! Must not know: why the group commits now.
use super::error::Fault;
use super::jobs::{self, Deleted};
use super::pack::{Draft, Packs, point};
use super::shelf::NextShelf;
use super::{Disk, Ledger, OpenRow, db, feeds, grp, job, naming, sources};
use crate::protocol::{
    BatchCommit, BatchId, CodecKind, Commit, Committed, Container, GroupId, Logged, Naming, Now, OpenBatch,
    Piece, PieceAt, Progress, ShelfCommit, SourceId, SourceRow, Spooled,
};
use bytes::Bytes;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a row costs in the ledger with its indexes, bytes; rounded up.
pub(super) const ROW_BYTES: u64 = 512;

/// Small pieces of one commit that together are larger than this go to a pack, bytes.
const SMALL_TOGETHER_BYTES: u64 = 1 << 20;

/// A codec's word in the table.
pub(super) fn codec_word(codec: CodecKind) -> &'static str {
    match codec {
        CodecKind::Gzip => "gzip",
        CodecKind::Zstd => "zstd",
        CodecKind::None => "none",
    }
}

/// A container's word in the table.
pub(super) fn container_word(container: Container) -> &'static str {
    match container {
        Container::Members => "members",
        Container::Single => "single",
    }
}

/// A piece that has its place, not yet durable.
pub(super) struct Placed {
    pub piece: Piece,
    /// The bytes, when they go into the ledger.
    pub small: Option<Vec<u8>>,
}

/// What becomes of one batch of the commit.
pub(super) struct Next {
    pub row: OpenRow,
    new: bool,
    placed: Option<Placed>,
    /// Name and key, when it closes.
    named: Option<(String, String)>,
}

impl Next {
    /// Writes the rows of all of them.
    pub(super) fn put_all(
        all: &mut [Next],
        conn: &Connection,
        namings: &HashMap<Naming, i64>,
        new_namings: &mut HashMap<Naming, i64>,
    ) -> Result<(), Fault> {
        for batch in all {
            if batch.new {
                batch.row.naming_row = naming_row(conn, namings, new_namings, &batch.row.naming)?;
                put_batch(conn, &batch.row, batch.named.as_ref())?;
            } else {
                update_batch(conn, &batch.row, batch.named.as_ref())?;
            }
            if let Some(placed) = &batch.placed {
                put_piece(conn, batch.row.batch.id, batch.row.pieces.len() as u32 - 1, placed)?;
            }
        }
        Ok(())
    }

    /// The batch as the sender gets it, when it closes.
    pub(super) fn spooled(&self, body: Option<Vec<Bytes>>) -> Option<Spooled> {
        self.named.as_ref().map(|(name, key)| self.row.spooled(name, key, body))
    }
}

/// What the transaction has made, beside what was given to it.
struct Transacted {
    deleted: Deleted,
    /// New rows of namings.
    namings: HashMap<Naming, i64>,
}

/// What a commit makes of sources.
#[derive(Default)]
struct NextSources {
    progress: BTreeMap<(GroupId, SourceId), Progress>,
    rows: BTreeMap<SourceId, SourceRow>,
    /// Every slab was closed.
    all: bool,
    /// Sources of which the hot group has decided what the main group has: it needs no row of its own.
    levelled: Vec<SourceId>,
    /// What parked groups lose of feeds.
    lost: Vec<(GroupId, u64)>,
}

/// Bytes of a piece.
pub(super) fn length(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

fn checksum(parts: &[Bytes]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Writes the rows of packs as the transaction leaves them; packs without live bytes lose theirs.
pub(super) fn put_packs(conn: &Connection, packs: &Packs, draft: &Draft) -> Result<(), Fault> {
    for id in packs.emptied(draft) {
        conn.prepare_cached("DELETE FROM pack WHERE id = ?1")?.execute([db(id)])?;
    }
    for (id, pack) in packs.drafted(draft) {
        if pack.live == 0 && !packs.is_current(id) {
            continue;
        }
        let state = if packs.is_current(id) { "filling" } else { "full" };
        conn.prepare_cached(
            "INSERT INTO pack(id, end, live, state) VALUES(?1, ?2, ?3, ?4)
             ON CONFLICT(id) DO UPDATE SET end = ?2, live = ?3, state = ?4",
        )?
        .execute(params![db(id), db(pack.end), db(pack.live), state])?;
    }
    Ok(())
}

/// Writes a piece's row.
pub(super) fn put_piece(conn: &Connection, batch: BatchId, seq: u32, placed: &Placed) -> Result<(), Fault> {
    let (pack, offset) = match placed.piece.at {
        PieceAt::Pack { pack, offset } => (Some(db(pack)), Some(db(offset))),
        PieceAt::Ledger { .. } => (None, None),
    };
    conn.prepare_cached(
        "INSERT INTO piece(batch, seq, pack, off, len, crc, bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        db(batch.0),
        seq,
        pack,
        offset,
        db(placed.piece.len),
        placed.piece.crc,
        placed.small
    ])?;
    Ok(())
}

/// Writes a new batch's row.
pub(super) fn put_batch(
    conn: &Connection,
    row: &OpenRow,
    named: Option<&(String, String)>,
) -> Result<(), Fault> {
    let batch = &row.batch;
    conn.prepare_cached(
        "INSERT INTO batch(id, job, version, state, name, key, codec, container, naming, records, bytes, raw, first, last)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        db(batch.id.0),
        job(batch.job),
        batch.version,
        if named.is_some() { "spooled" } else { "open" },
        named.map(|(name, _)| name),
        named.map(|(_, key)| key),
        codec_word(batch.codec),
        container_word(batch.container),
        row.naming_row,
        db(batch.records),
        db(row.bytes),
        db(batch.raw),
        batch.first,
        batch.last
    ])?;
    Ok(())
}

fn update_batch(conn: &Connection, row: &OpenRow, named: Option<&(String, String)>) -> Result<(), Fault> {
    let batch = &row.batch;
    conn.prepare_cached(
        "UPDATE batch SET state = ?2, name = ?3, key = ?4, records = ?5, bytes = ?6, raw = ?7, first = ?8, last = ?9
         WHERE id = ?1 AND state = 'open'",
    )?
    .execute(params![
        db(batch.id.0),
        if named.is_some() { "spooled" } else { "open" },
        named.map(|(name, _)| name),
        named.map(|(_, key)| key),
        db(batch.records),
        db(row.bytes),
        db(batch.raw),
        batch.first,
        batch.last
    ])?;
    Ok(())
}

impl OpenRow {
    /// The batch as the sender gets it.
    pub(super) fn spooled(&self, name: &str, key: &str, body: Option<Vec<Bytes>>) -> Spooled {
        Spooled {
            id: self.batch.id,
            job: self.batch.job,
            version: self.batch.version,
            name: name.into(),
            key: key.into(),
            codec: self.batch.codec,
            container: self.batch.container,
            records: self.batch.records,
            raw: self.batch.raw,
            first: self.batch.first,
            last: self.batch.last,
            naming: self.naming.clone(),
            pieces: self.pieces.clone(),
            body,
            shelf: self.shelf.clone(),
        }
    }
}

impl<D: Disk> Ledger<D> {
    pub(super) fn commit(&mut self, now: Now, commit: &Commit) -> Result<Committed, Fault> {
        let shelved = |shelf: &ShelfCommit| shelf.members.iter().map(|member| length(&member.bytes)).sum();
        let batches = commit.batches.iter().map(|batch| length(&batch.piece));
        let small = self.admit_pieces(batches.chain(commit.shelves.iter().map(shelved)))?;
        self.admit_jobs(commit.jobs.as_deref())?;
        let sources = self.next_sources(commit);
        self.check_merges(commit.jobs.as_deref(), &sources.progress)?;
        let mut draft = Draft::default();
        let mut next = self.next_batches(&commit.batches, &mut draft, small)?;
        let id = self.next_batch + next.iter().filter(|batch| batch.new).count() as u64;
        let shelves = self.next_shelves(now, &commit.shelves, (&mut draft, small), id)?;
        self.packs.write(&mut self.disk, &draft)?;
        self.sync_sources(&commit.logs)?;
        let gone = self.transact_commit((now, commit), (&mut next, &shelves), &mut draft, &sources)?;
        let answer = self.apply_commit(commit, (next, shelves), &draft, sources, gone)?;
        self.point("commit.after")?;
        Ok(answer)
    }

    /// Refuses pieces that do not fit, before anything is written. Answers up to which length they go into the ledger:
    /// a pack takes a sync of its own, but small pieces that are many cost less there than page by page.
    pub(super) fn admit_pieces(&mut self, lengths: impl Iterator<Item = u64> + Clone) -> Result<u64, Fault> {
        let mut small = self.settings.small_bytes;
        if lengths.clone().filter(|len| *len <= small).sum::<u64>() > SMALL_TOGETHER_BYTES {
            small = 0;
        }
        let (mut large, mut rows) = (0, 0);
        for len in lengths {
            rows += ROW_BYTES;
            if len > small { large += len } else { rows += len + len / 16 }
        }
        self.admit(large, rows)?;
        Ok(small)
    }

    /// Gives a piece its place: up to `small` bytes the ledger, else a pack.
    pub(super) fn place(
        &mut self,
        draft: &mut Draft,
        parts: &[Bytes],
        seq: u32,
        small: u64,
    ) -> Result<Placed, Fault> {
        let (len, crc) = (length(parts), checksum(parts));
        if len <= small {
            let small = Some(parts.concat());
            return Ok(Placed { piece: Piece { at: PieceAt::Ledger { seq }, len, crc }, small });
        }
        let (pack, offset) = self.packs.place(&mut self.disk, draft, parts, len)?;
        Ok(Placed { piece: Piece { at: PieceAt::Pack { pack, offset }, len, crc }, small: None })
    }

    pub(super) fn next_batches(
        &mut self,
        batches: &[BatchCommit],
        draft: &mut Draft,
        small: u64,
    ) -> Result<Vec<Next>, Fault> {
        let mut next = Vec::with_capacity(batches.len());
        let mut ids = self.next_batch;
        for batch in batches {
            let new = batch.row.is_none();
            let id = batch.row.unwrap_or_else(|| {
                ids += 1;
                BatchId(ids - 1)
            });
            let mut row = match batch.row {
                None => fresh(id, batch),
                Some(id) => self.open.get(&id).cloned().unwrap_or_else(|| panic!("batch {id:?} is not open")),
            };
            debug_assert!(
                row.batch.job == batch.job && row.batch.codec == batch.codec,
                "a batch mixes jobs or codecs"
            );
            row.batch.records += u64::from(batch.records);
            row.batch.raw += batch.raw;
            row.batch.first = row.batch.first.min(batch.first);
            row.batch.last = row.batch.last.max(batch.last);
            let placed = match length(&batch.piece) {
                0 => None,
                _ => Some(self.place(draft, &batch.piece, row.pieces.len() as u32, small)?),
            };
            if let Some(placed) = &placed {
                row.bytes += placed.piece.len;
                row.pieces.push(placed.piece);
            }
            assert!(!row.pieces.is_empty(), "a batch of job {:?} without a piece", batch.job);
            let named = batch.close.then(|| {
                let key = naming::key(self.id, id);
                (naming::object_name(&row.naming, &key, row.batch.first, row.batch.last), key)
            });
            next.push(Next { row, new, placed, named });
        }
        Ok(next)
    }

    /// P4 (d): what was read of each source is durable before an offset in it is (I5).
    fn sync_sources(&mut self, logs: &[(GroupId, Vec<Logged>)]) -> Result<(), Fault> {
        let mut sources: Vec<SourceId> =
            logs.iter().flat_map(|(_, log)| log).map(|logged| logged.source).collect();
        sources.sort_unstable();
        sources.dedup();
        for id in sources {
            self.point("source.sync.before")?;
            self.disk.source_sync(id).map_err(|error| {
                let path =
                    self.sources.get(&id).map(|row| row.path.display().to_string()).unwrap_or_default();
                Fault::sync(path, "fdatasync of the followed file", error)
            })?;
            self.point("source.sync.after")?;
        }
        Ok(())
    }

    /// Progress with the logs added, and the source rows with what was seen of the files (S2: as read).
    fn next_sources(&self, commit: &Commit) -> NextSources {
        let mut next = NextSources::default();
        let mut ends: HashMap<SourceId, u64> = HashMap::new();
        for (group, log) in &commit.logs {
            // A group that went with its job may still have had chunks under way.
            if !group.is_live() && !self.groups.contains(group) {
                continue;
            }
            for logged in log {
                let id = logged.source;
                // A source that is closed for good may still be in flight to a group that catches up.
                let Some(known) = self.sources.get(&id) else { continue };
                let ranges =
                    next.progress.entry((*group, id)).or_insert_with(|| self.progress_of(*group, id));
                debug_assert!(
                    !ranges.touches(&(logged.start..logged.end)),
                    "I1: {logged:?} is decided twice by {group:?}"
                );
                ranges.add(logged.start, logged.end, logged.evidence.tail_hash);
                if !group.is_live() {
                    continue;
                }
                let row = next.rows.entry(id).or_insert_with(|| known.clone());
                let seen = &logged.evidence;
                if seen.head_len > row.head.len {
                    (row.head.len, row.head.hash) = (seen.head_len, seen.head_hash);
                }
                let end = ends.entry(id).or_insert(0);
                if logged.end >= *end {
                    *end = logged.end;
                    row.size_seen = seen.size_seen.max(logged.end);
                }
            }
        }
        next.all = commit.logs.iter().any(|(group, _)| *group == GroupId::MAIN);
        if next.all {
            self.level_hot(commit, &mut next);
        }
        next.lost = self.pass_feeds(&mut next.progress);
        next
    }

    /// When every slab was closed, both live groups have decided the same, but for what a replay has not reached yet:
    /// there the hot group is still ahead and keeps its row.
    fn level_hot(&self, commit: &Commit, next: &mut NextSources) {
        for ((_, id), hot) in self.progress.iter().filter(|((group, _), _)| *group == GroupId::HOT) {
            let mut hot = hot.clone();
            let main =
                commit.logs.iter().filter(|(group, _)| *group == GroupId::MAIN).flat_map(|(_, log)| log);
            for logged in main.filter(|logged| logged.source == *id) {
                hot.add(logged.start, logged.end, logged.evidence.tail_hash);
            }
            let known = next.progress.get(&(GroupId::MAIN, *id)).or(self.progress.get(&(GroupId::MAIN, *id)));
            if known.is_some_and(|main| !hot.beyond(main).is_empty()) {
                next.progress.insert((GroupId::HOT, *id), hot);
            } else {
                next.levelled.push(*id);
            }
        }
    }

    /// What a group has decided of a source. A hot group without a row has decided what the main group has.
    pub(super) fn progress_of(&self, group: GroupId, id: SourceId) -> Progress {
        let found = self.progress.get(&(group, id));
        let found =
            found.or_else(|| self.progress.get(&(GroupId::MAIN, id)).filter(|_| group == GroupId::HOT));
        found.unwrap_or_else(|| panic!("I3: source {id:?} has no progress in {group:?}")).clone()
    }

    /// P4 (e).
    fn transact_commit(
        &mut self,
        (now, commit): (Now, &Commit),
        (next, shelves): (&mut [Next], &[NextShelf]),
        draft: &mut Draft,
        sources: &NextSources,
    ) -> Result<Transacted, Fault> {
        let NextSources { progress, rows, levelled, .. } = sources;
        debug_assert!(
            progress.iter().all(|((group, id), ranges)| self.progress_of(*group, *id).low <= ranges.low),
            "I4: progress went back"
        );
        let tx = self.conn.unchecked_transaction()?;
        let mut namings = HashMap::new();
        Next::put_all(next, &tx, &self.namings, &mut namings)?;
        self.put_shelves(&tx, shelves, &mut namings)?;
        for ((group, id), ranges) in progress {
            sources::put_progress(&tx, grp(*group), *id, ranges)?;
        }
        for id in levelled {
            tx.prepare_cached("DELETE FROM progress WHERE grp = ?1 AND source = ?2")?
                .execute([grp(GroupId::HOT), db(id.0)])?;
        }
        feeds::add_losses(&tx, now, &sources.lost)?;
        let mut deleted = Deleted::default();
        if let Some(change) = &commit.jobs {
            deleted = jobs::change(&tx, &self.packs, draft, change)?;
        }
        put_packs(&tx, &self.packs, draft)?;
        for row in rows.values() {
            tx.prepare_cached(
                "UPDATE source SET head_len = ?2, head_hash = ?3, size_seen = ?4 WHERE id = ?1",
            )?
            .execute(params![
                db(row.id.0),
                row.head.len,
                db(row.head.hash),
                db(row.size_seen)
            ])?;
        }
        point(&mut self.disk, "commit.open")?;
        point(&mut self.disk, "commit.before")?;
        tx.commit()?;
        Ok(Transacted { deleted, namings })
    }

    fn apply_commit(
        &mut self,
        commit: &Commit,
        (next, shelves): (Vec<Next>, Vec<NextShelf>),
        draft: &Draft,
        sources: NextSources,
        Transacted { deleted, namings }: Transacted,
    ) -> Result<Committed, Fault> {
        self.namings.extend(namings);
        let (mut open, mut spooled) = (Vec::new(), Vec::new());
        for (asked, Next { row, new, placed, named }) in commit.batches.iter().zip(next) {
            let id = row.batch.id;
            if new {
                self.next_batch = id.0 + 1;
            }
            match named {
                Some((name, key)) => {
                    let whole = new && placed.is_some();
                    spooled.push(row.spooled(&name, &key, whole.then(|| asked.piece.clone())));
                    self.open.remove(&id);
                }
                None => {
                    open.push((asked.open, id));
                    self.open.insert(id, row);
                }
            }
        }
        let filled = self.apply_shelves(shelves)?;
        self.let_go(draft)?;
        let main = |((group, id), ranges): (&(GroupId, SourceId), &Progress)| {
            (*group == GroupId::MAIN).then_some((*id, ranges.low))
        };
        let durable = sources.progress.iter().filter_map(main).collect();
        self.progress.extend(sources.progress);
        for id in &sources.levelled {
            self.progress.remove(&(GroupId::HOT, *id));
        }
        self.sources.extend(sources.rows);
        if let Some(change) = &commit.jobs {
            self.apply_jobs(change)?;
        }
        self.packs.trim(&mut self.disk)?;
        self.check_progress_rows();
        let deleted = (deleted.batches, deleted.records);
        let parked = commit.logs.iter().filter(|(group, _)| !group.is_live());
        let caught = parked.map(|(group, log)| (*group, log.len())).collect();
        let hot_ahead = sources.all && self.progress.keys().any(|(group, _)| *group == GroupId::HOT);
        Ok(Committed { epoch: commit.epoch, open, spooled, filled, durable, deleted, caught, hot_ahead })
    }
}

/// A new batch's row before its first piece. Its naming row is known in the transaction only.
fn fresh(id: BatchId, batch: &BatchCommit) -> OpenRow {
    OpenRow {
        batch: OpenBatch {
            id,
            job: batch.job,
            version: batch.version,
            codec: batch.codec,
            container: batch.container,
            records: 0,
            raw: 0,
            first: batch.first,
            last: batch.last,
            naming: Arc::clone(&batch.naming),
        },
        naming: Arc::clone(&batch.naming),
        naming_row: 0,
        bytes: 0,
        pieces: Vec::new(),
        shelf: None,
    }
}

/// The row of a naming, made when it is new.
pub(super) fn naming_row(
    conn: &Connection,
    known: &HashMap<Naming, i64>,
    new: &mut HashMap<Naming, i64>,
    naming: &Naming,
) -> Result<i64, Fault> {
    if let Some(row) = known.get(naming).or(new.get(naming)) {
        return Ok(*row);
    }
    let mut statement = conn.prepare_cached(
        "INSERT INTO naming(path, suffix, host, job, dataset, framing) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
         RETURNING id",
    )?;
    let framing = naming::framing_text(naming);
    let values = params![naming.path, naming.suffix, naming.host, naming.job, naming.dataset, framing];
    let row = statement.query_row(values, |row| row.get(0))?;
    new.insert(naming.clone(), row);
    Ok(row)
}

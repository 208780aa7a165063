//! Shelves: the open batches of archives, one for each domain and slot of time, and how they close (INTERFACE 7).
//!
//! Promises: what a commit brings goes into the shelf's open batch, which is found by an index and not kept in memory, so
//! that ten thousand domains with 48 open hours cost what their rows cost; a batch never holds more than its limits; its
//! serial, name and end stand in one transaction, and no serial of a slot is ever given twice.
//! Must not know: how records came to their shelf, who writes the files.
use super::commit::{Placed, length, put_packs, put_piece};
use super::error::Fault;
use super::pack::Draft;
use super::restart::{self, BATCH, batch_row};
use super::{Disk, Ledger, LedgerReply, OpenRow, db, job, naming};
use crate::archive::name;
use crate::protocol::{
    BatchId, CodecKind, Container, JobId, Member, Naming, Now, Shelf, ShelfCommit, Spooled,
};
use bytes::Bytes;
use edgepush_shard::batch::{const_segment, member};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Late records of a slot that was published wait so long for others.
const LATE_EVERY: Duration = Duration::from_secs(15 * 60);
/// Rows of open batches that are remembered from one commit to the next.
const KNOWN_MAX: usize = 16_384;

/// Says the next free serial of a domain's slot, as far as published files go.
pub type Serials = Box<dyn Fn(&str, i64) -> Result<u32, String> + Send>;

/// What the ledger keeps of shelves in memory.
pub(super) struct Shelves {
    /// From a slot's end to its first publication.
    publish_after: Duration,
    serials: Serials,
    /// Rows that were looked up or written last.
    known: HashMap<(JobId, Arc<Shelf>), Row>,
    open: Left,
}

/// Batches of shelves that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many.
    pub batches: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Shelves {
    pub(super) fn new(publish_after: Duration) -> Shelves {
        Shelves {
            publish_after,
            serials: Box::new(|_, _| Ok(1)),
            known: HashMap::new(),
            open: Left::default(),
        }
    }
}

/// An open batch of a shelf, as the next commit needs it.
#[derive(Clone, Debug)]
struct Row {
    id: BatchId,
    version: u32,
    naming: Arc<Naming>,
    records: u64,
    raw: u64,
    bytes: u64,
    first: i64,
    last: i64,
    /// How many pieces it has.
    pieces: u32,
}

/// What a commit makes of one batch of a shelf.
pub(super) struct NextShelf {
    job: JobId,
    shelf: Arc<Shelf>,
    row: Row,
    new: bool,
    due: i64,
    placed: Option<Placed>,
    close: bool,
}

/// What is gathered for a batch before it has its place.
struct Gathered {
    row: Row,
    new: bool,
    parts: Vec<Bytes>,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.row.pieces == 0 && self.parts.is_empty()
    }

    fn takes(&self, member: &Member, commit: &ShelfCommit) -> bool {
        let limits = commit.limits;
        self.is_empty()
            || self.row.records + u64::from(member.records) <= u64::from(limits.records)
                && self.row.raw + u64::from(member.raw) <= u64::from(limits.bytes)
    }

    fn add(&mut self, member: &Member) {
        if self.is_empty() {
            (self.row.first, self.row.last) = (member.first, member.last);
        }
        self.row.records += u64::from(member.records);
        self.row.raw += u64::from(member.raw);
        self.row.first = self.row.first.min(member.first);
        self.row.last = self.row.last.max(member.last);
        self.parts.extend(member.bytes.iter().cloned());
    }

    /// What stands around or between records, as a member without a record.
    fn frame(&mut self, text: &[u8], shelf: &Shelf) {
        if !text.is_empty() {
            let at = shelf.start.saturating_mul(1_000_000_000);
            self.parts.extend(member(&const_segment(CodecKind::Gzip, text), 0, (at, at)));
        }
    }
}

impl<D: Disk> Ledger<D> {
    /// Goes by this from here on: the serials of what is published.
    pub fn publish_by(&mut self, serials: Serials) {
        self.shelves.serials = serials;
    }

    /// Counts the open batches of shelves; forgets what it knew of them.
    pub(super) fn recount_shelves(&mut self) -> Result<(), Fault> {
        self.shelves.known.clear();
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM batch WHERE due IS NOT NULL";
        let count = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).map(|n| n as u64);
        self.shelves.open = self
            .conn
            .query_row(sql, [], |row| Ok(Left { batches: count(row, 0)?, bytes: count(row, 1)? }))?;
        Ok(())
    }

    /// Open batches of shelves.
    pub(super) fn open_shelves(&self) -> u64 {
        self.shelves.open.batches
    }

    /// The batches that a commit's shelves make, with their places; `id`: the first free one.
    pub(super) fn next_shelves(
        &mut self,
        now: Now,
        commits: &[ShelfCommit],
        (draft, small): (&mut Draft, u64),
        mut id: u64,
    ) -> Result<Vec<NextShelf>, Fault> {
        let mut next = Vec::with_capacity(commits.len());
        for commit in commits {
            let mut gathered = self.open_row(commit, &mut next, &mut id)?;
            for member in &commit.members {
                if !gathered.takes(member, commit) {
                    let full = std::mem::replace(&mut gathered, fresh(commit, &mut id));
                    let close = self.placed(now, commit, full, true, (&mut *draft, small))?;
                    next.push(close);
                }
                let framing = &commit.naming.framing;
                let before = if gathered.is_empty() { &framing.prefix } else { &framing.delimiter };
                gathered.frame(before, &commit.shelf);
                gathered.add(member);
            }
            let open = self.placed(now, commit, gathered, false, (&mut *draft, small))?;
            next.push(open);
        }
        Ok(next)
    }

    /// The open batch of a shelf. One of another version of the job, or of another form, closes and makes way.
    fn open_row(
        &self,
        commit: &ShelfCommit,
        next: &mut Vec<NextShelf>,
        id: &mut u64,
    ) -> Result<Gathered, Fault> {
        let (of, shelf) = (commit.job, commit.shelf.clone());
        let found = match self.shelves.known.get(&(of, shelf.clone())) {
            Some(row) => Some(row.clone()),
            None => find(&self.conn, of, &shelf)?,
        };
        let Some(row) = found else { return Ok(fresh(commit, id)) };
        if row.version == commit.version && row.naming == commit.naming {
            return Ok(Gathered { row, new: false, parts: Vec::new() });
        }
        next.push(NextShelf { job: of, shelf, row, new: false, due: 0, placed: None, close: true });
        Ok(fresh(commit, id))
    }

    fn placed(
        &mut self,
        now: Now,
        commit: &ShelfCommit,
        mut gathered: Gathered,
        close: bool,
        (draft, small): (&mut Draft, u64),
    ) -> Result<NextShelf, Fault> {
        if close {
            gathered.frame(&commit.naming.framing.suffix, &commit.shelf);
        }
        let Gathered { mut row, new, parts } = gathered;
        let placed = self.place(draft, &parts, row.pieces, small)?;
        row.pieces += 1;
        row.bytes += placed.piece.len;
        let due = if new { self.due(now, &commit.shelf)? } else { 0 };
        let (job, shelf) = (commit.job, commit.shelf.clone());
        Ok(NextShelf { job, shelf, row, new, due, placed: Some(placed), close })
    }

    /// When a batch that begins now is published: some minutes after its slot's end; once that is past, late records wait
    /// for others.
    fn due(&self, now: Now, shelf: &Shelf) -> Result<i64, Fault> {
        let after = nanos(self.shelves.publish_after);
        let first = shelf.end().saturating_mul(1_000_000_000).saturating_add(after);
        if first > now.wall {
            return Ok(first);
        }
        let published = self.serial(&self.conn, shelf)? > 1;
        Ok(now.wall + if published { nanos(LATE_EVERY) } else { after })
    }

    /// The next serial of a slot: after those of published files, and of closed batches.
    fn serial(&self, conn: &Connection, shelf: &Shelf) -> Result<u32, Fault> {
        let mut statement =
            conn.prepare_cached("SELECT max(serial) FROM batch WHERE domain = ?1 AND start = ?2")?;
        let closed: Option<u32> =
            statement.query_row(params![&*shelf.domain, shelf.start], |row| row.get(0))?;
        let published = (self.shelves.serials)(&shelf.domain, shelf.start).map_err(Fault::Corrupt)?;
        Ok(published.max(closed.unwrap_or(0) + 1))
    }

    /// Writes the rows; answers with the names of those that close.
    pub(super) fn put_shelves(
        &self,
        conn: &Connection,
        next: &[NextShelf],
        new_namings: &mut HashMap<Naming, i64>,
    ) -> Result<(), Fault> {
        for batch in next {
            if batch.new {
                let row = super::commit::naming_row(conn, &self.namings, new_namings, &batch.row.naming)?;
                put_open(conn, batch, row)?;
            } else {
                update_open(conn, &batch.row)?;
            }
            if let Some(placed) = &batch.placed {
                put_piece(conn, batch.row.id, batch.row.pieces - 1, placed)?;
            }
            if batch.close {
                self.close_shelf(conn, batch.row.id, &batch.shelf)?;
            }
        }
        Ok(())
    }

    /// Gives a batch its serial, its name and its end.
    fn close_shelf(&self, conn: &Connection, id: BatchId, shelf: &Shelf) -> Result<(), Fault> {
        let serial = self.serial(conn, shelf)?;
        let (name, key) = (name::path(&shelf.domain, shelf.start, serial), naming::key(self.id, id));
        conn.prepare_cached(
            "UPDATE batch SET state = 'spooled', name = ?2, key = ?3, serial = ?4, due = NULL
             WHERE id = ?1 AND state = 'open'",
        )?
        .execute(params![db(id.0), name, key, serial])?;
        Ok(())
    }

    /// The transaction is durable: memory says so; answers with the batches that closed.
    pub(super) fn apply_shelves(&mut self, next: Vec<NextShelf>) -> Result<Vec<Spooled>, Fault> {
        let mut filled = Vec::new();
        if self.shelves.known.len() + next.len() > KNOWN_MAX {
            self.shelves.known.clear();
        }
        for batch in next {
            self.next_batch = self.next_batch.max(batch.row.id.0 + 1);
            let open = &mut self.shelves.open;
            open.batches += u64::from(batch.new);
            open.bytes += batch.placed.map_or(0, |placed| placed.piece.len);
            let key = (batch.job, batch.shelf);
            if batch.close {
                open.batches -= 1;
                open.bytes -= batch.row.bytes;
                self.shelves.known.remove(&key);
                filled.extend(spooled(&self.conn, batch.row.id)?);
            } else if self.shelves.known.len() < KNOWN_MAX {
                self.shelves.known.insert(key, batch.row);
            }
        }
        Ok(filled)
    }

    /// Closes batches that are due, or all of them, the oldest first, so many at most.
    pub(super) fn publish(&mut self, now: Now, all: bool, at_most: usize) -> Result<LedgerReply, Fault> {
        let due = self.due_shelves(if all { i64::MAX } else { now.wall }, at_most)?;
        if due.is_empty() {
            return Ok(LedgerReply::Published { spooled: Vec::new(), more: false, left: self.shelves.open });
        }
        self.point("publish.before")?;
        let suffixes: Vec<Option<Vec<Bytes>>> = due.iter().map(suffix).collect();
        let small = self.admit_pieces(suffixes.iter().flatten().map(|parts| length(parts)))?;
        let mut draft = Draft::default();
        let mut placed = Vec::with_capacity(due.len());
        for (row, parts) in due.iter().zip(&suffixes) {
            let seq = row.pieces.len() as u32;
            placed.push(match parts {
                Some(parts) => Some(self.place(&mut draft, parts, seq, small)?),
                None => None,
            });
        }
        self.packs.write(&mut self.disk, &draft)?;
        let tx = self.conn.unchecked_transaction()?;
        for (row, placed) in due.iter().zip(&placed) {
            let id = row.batch.id;
            if let Some(placed) = placed {
                put_piece(&tx, id, row.pieces.len() as u32, placed)?;
                tx.prepare_cached("UPDATE batch SET bytes = bytes + ?2 WHERE id = ?1")?
                    .execute(params![db(id.0), db(placed.piece.len)])?;
            }
            let shelf = row.shelf.as_ref().expect("INVARIANT: only shelves are due");
            self.close_shelf(&tx, id, shelf)?;
        }
        put_packs(&tx, &self.packs, &draft)?;
        tx.commit()?;
        self.let_go(&draft)?;
        self.packs.trim(&mut self.disk)?;
        let mut closed = Vec::with_capacity(due.len());
        for row in &due {
            let shelf = row.shelf.clone().expect("INVARIANT: only shelves are due");
            self.shelves.known.remove(&(row.batch.job, shelf));
            closed.extend(spooled(&self.conn, row.batch.id)?);
        }
        self.shelves.open.batches -= due.len() as u64;
        self.shelves.open.bytes -= due.iter().map(|row| row.bytes).sum::<u64>();
        self.point("publish.after")?;
        let more = due.len() == at_most;
        Ok(LedgerReply::Published { spooled: closed, more, left: self.shelves.open })
    }

    /// Open batches that are due until then, with their pieces where something must still be said behind them.
    fn due_shelves(&self, until: i64, at_most: usize) -> Result<Vec<OpenRow>, Fault> {
        let sql = format!("{BATCH} WHERE b.due IS NOT NULL AND b.due <= ?1 ORDER BY b.due, b.id LIMIT ?2");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params![until, at_most as i64], batch_row)?;
        let mut due: Vec<OpenRow> = rows.map(|row| row.map(|row| row.0)).collect::<Result<_, _>>()?;
        for row in due.iter_mut().filter(|row| !row.naming.framing.suffix.is_empty()) {
            row.pieces = restart::pieces(&self.conn, row.batch.id)?;
        }
        Ok(due)
    }
}

/// What stands behind the records of a batch.
fn suffix(row: &OpenRow) -> Option<Vec<Bytes>> {
    let (text, shelf) = (&row.naming.framing.suffix, row.shelf.as_ref()?);
    let at = shelf.start.saturating_mul(1_000_000_000);
    (!text.is_empty()).then(|| member(&const_segment(CodecKind::Gzip, text), 0, (at, at)).to_vec())
}

fn nanos(of: Duration) -> i64 {
    i64::try_from(of.as_nanos()).unwrap_or(i64::MAX)
}

fn fresh(commit: &ShelfCommit, id: &mut u64) -> Gathered {
    *id += 1;
    let row = Row {
        id: BatchId(*id - 1),
        version: commit.version,
        naming: commit.naming.clone(),
        records: 0,
        raw: 0,
        bytes: 0,
        first: 0,
        last: 0,
        pieces: 0,
    };
    Gathered { row, new: true, parts: Vec::new() }
}

/// The open batch of a job's shelf.
fn find(conn: &Connection, of: JobId, shelf: &Shelf) -> Result<Option<Row>, Fault> {
    let mut statement = conn.prepare_cached(
        "SELECT b.id, b.version, b.records, b.raw, b.bytes, b.first, b.last,
           (SELECT coalesce(max(seq) + 1, 0) FROM piece WHERE batch = b.id),
           n.path, n.suffix, n.host, n.job, n.dataset, n.framing
         FROM batch b JOIN naming n ON n.id = b.naming
         WHERE b.domain = ?1 AND b.start = ?2 AND b.slot = ?3 AND b.job = ?4 AND b.state = 'open'",
    )?;
    let found = statement.query_row(params![&*shelf.domain, shelf.start, shelf.seconds, job(of)], |row| {
        let count = |at: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at)? as u64) };
        Ok(Row {
            id: BatchId(count(0)?),
            version: row.get(1)?,
            records: count(2)?,
            raw: count(3)?,
            bytes: count(4)?,
            first: row.get(5)?,
            last: row.get(6)?,
            pieces: row.get(7)?,
            naming: Arc::new(restart::naming_of(row, 8, 13)?),
        })
    });
    Ok(found.optional()?)
}

fn put_open(conn: &Connection, batch: &NextShelf, naming: i64) -> Result<(), Fault> {
    let (row, shelf) = (&batch.row, &batch.shelf);
    conn.prepare_cached(
        "INSERT INTO batch(id, job, version, state, codec, container, naming, records, bytes, raw, first, last,
           domain, start, slot, due)
         VALUES(?1, ?2, ?3, 'open', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        db(row.id.0),
        job(batch.job),
        row.version,
        super::commit::codec_word(CodecKind::Gzip),
        super::commit::container_word(Container::Members),
        naming,
        db(row.records),
        db(row.bytes),
        db(row.raw),
        row.first,
        row.last,
        &*shelf.domain,
        shelf.start,
        shelf.seconds,
        batch.due
    ])?;
    Ok(())
}

fn update_open(conn: &Connection, row: &Row) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE batch SET records = ?2, bytes = ?3, raw = ?4, first = ?5, last = ?6 WHERE id = ?1 AND state = 'open'",
    )?
    .execute(params![db(row.id.0), db(row.records), db(row.bytes), db(row.raw), row.first, row.last])?;
    Ok(())
}

/// A closed batch as the sender gets it.
fn spooled(conn: &Connection, id: BatchId) -> Result<Option<Spooled>, Fault> {
    let Some((mut row, name, key)) = restart::closed_batch(conn, id)? else { return Ok(None) };
    row.pieces = restart::pieces(conn, id)?;
    Ok(Some(row.spooled(&name, &key, None)))
}

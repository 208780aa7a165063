//! Restart (PROTOCOL 8): opens ledger and spool, and says what is to be done again.
//!
//! Promises: no scan of records; only packs of our own spool that no row names are removed (I9); every step can be
//! repeated after a crash in the middle of it.
//! Must not know: how sources are matched, who sends.
use super::error::{Fault, LedgerError};
use super::pack::{Pack, Packs};
use super::shelf::Shelves;
use super::space::Gauge;
use super::{Disk, Ledger, LedgerSettings, OpenRow, Recovered, Space, db, jobs, schema};
use crate::protocol::{
    BatchId, CodecKind, Container, FileIdent, GroupId, Head, JobId, Naming, Now, OpenBatch, Piece, PieceAt,
    Progress, Shelf, SourceId, SourceRow, SourceState, Spooled,
};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const BATCH: &str = "SELECT b.id, b.job, b.version, b.codec, b.container, b.records, b.raw, b.first, b.last, b.bytes, b.naming,
  n.path, n.suffix, n.host, n.job, n.dataset, b.name, b.key, n.framing, b.state, b.reason, b.domain, b.start, b.slot FROM batch b JOIN naming n ON n.id = b.naming";

/// A batch with its name and key; both are empty while it is open.
pub(super) type Named = (OpenRow, String, String);

pub(super) fn batch_row(row: &Row<'_>) -> rusqlite::Result<Named> {
    let codec = match row.get_ref(3)?.as_str()? {
        "gzip" => CodecKind::Gzip,
        "zstd" => CodecKind::Zstd,
        _ => CodecKind::None,
    };
    let single = row.get_ref(4)?.as_str()? == "single";
    let naming = Arc::new(naming_of(row, 11, 18)?);
    let batch = OpenBatch {
        id: BatchId(row.get::<_, i64>(0)? as u64),
        job: JobId(row.get::<_, i64>(1)? as u64),
        version: row.get(2)?,
        codec,
        container: if single { Container::Single } else { Container::Members },
        records: row.get::<_, i64>(5)? as u64,
        raw: row.get::<_, i64>(6)? as u64,
        first: row.get(7)?,
        last: row.get(8)?,
        naming: naming.clone(),
    };
    let open = OpenRow {
        batch,
        naming,
        naming_row: row.get(10)?,
        bytes: row.get::<_, i64>(9)? as u64,
        pieces: Vec::new(),
        shelf: shelf_of(row)?,
    };
    let text =
        |at: usize| -> rusqlite::Result<String> { Ok(row.get::<_, Option<String>>(at)?.unwrap_or_default()) };
    Ok((open, text(16)?, text(17)?))
}

fn shelf_of(row: &Row<'_>) -> rusqlite::Result<Option<Arc<Shelf>>> {
    let Some(domain) = row.get::<_, Option<Arc<str>>>(21)? else { return Ok(None) };
    Ok(Some(Arc::new(Shelf { domain, start: row.get(22)?, seconds: row.get(23)? })))
}

/// A naming: its five texts from column `from` on, and its framing.
pub(super) fn naming_of(row: &Row<'_>, from: usize, framing: usize) -> rusqlite::Result<Naming> {
    let (framing, csv) = super::naming::framing_of(row.get_ref(framing)?.as_str()?);
    Ok(Naming {
        path: row.get(from)?,
        suffix: row.get(from + 1)?,
        host: row.get(from + 2)?,
        job: row.get(from + 3)?,
        dataset: row.get(from + 4)?,
        framing,
        csv,
    })
}

/// The rows of all namings.
fn namings(conn: &Connection) -> Result<HashMap<Naming, i64>, Fault> {
    let mut statement = conn.prepare("SELECT id, path, suffix, host, job, dataset, framing FROM naming")?;
    let rows = statement.query_map([], |row| Ok((naming_of(row, 1, 6)?, row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A batch's pieces in order.
pub(super) fn pieces(conn: &Connection, batch: BatchId) -> rusqlite::Result<Vec<Piece>> {
    let mut statement =
        conn.prepare_cached("SELECT seq, pack, off, len, crc FROM piece WHERE batch = ?1 ORDER BY seq")?;
    let rows = statement.query_map([db(batch.0)], |row| {
        let at = match row.get::<_, Option<i64>>(1)? {
            Some(pack) => PieceAt::Pack { pack: pack as u64, offset: row.get::<_, i64>(2)? as u64 },
            None => PieceAt::Ledger { seq: row.get(0)? },
        };
        Ok(Piece { at, len: row.get::<_, i64>(3)? as u64, crc: row.get(4)? })
    })?;
    rows.collect()
}

/// A batch that waits to be sent.
pub(super) fn closed_batch(conn: &Connection, id: BatchId) -> Result<Option<Named>, Fault> {
    let mut statement = conn.prepare_cached(&format!("{BATCH} WHERE b.id = ?1 AND b.state = 'spooled'"))?;
    Ok(statement.query_row([db(id.0)], batch_row).optional()?)
}

fn batches(conn: &Connection, state: &str) -> Result<Vec<Named>, Fault> {
    let mut statement = conn.prepare_cached(&format!(
        "{BATCH} WHERE b.state = ?1 AND (b.domain IS NULL OR b.state <> 'open') ORDER BY b.id"
    ))?;
    let rows = statement.query_map([state], batch_row)?;
    let mut found: Vec<Named> = rows.collect::<Result<_, _>>()?;
    for (row, _, _) in &mut found {
        row.pieces = pieces(conn, row.batch.id)?;
    }
    Ok(found)
}

fn source_rows(conn: &Connection) -> Result<BTreeMap<SourceId, SourceRow>, Fault> {
    let mut statement = conn.prepare(
        "SELECT id, seed, dev, ino, btime, path, head_len, head_hash, size_seen, state, detached_at FROM source",
    )?;
    let rows = statement.query_map([], |row| {
        let unsigned = |at: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at)? as u64) };
        let attached = row.get_ref(9)?.as_str()? == "attached";
        Ok(SourceRow {
            id: SourceId(unsigned(0)?),
            seed: unsigned(1)?,
            ident: FileIdent { dev: unsigned(2)?, ino: unsigned(3)?, btime: row.get(4)? },
            path: PathBuf::from(OsStr::from_bytes(row.get_ref(5)?.as_blob()?)),
            head: Head { len: row.get(6)?, hash: unsigned(7)? },
            size_seen: unsigned(8)?,
            state: if attached { SourceState::Attached } else { SourceState::Detached },
            detached_at: row.get(10)?,
            progress: Progress::default(),
            hot: Vec::new(),
        })
    })?;
    let mut found = BTreeMap::new();
    for row in rows {
        let row = row?;
        found.insert(row.id, row);
    }
    Ok(found)
}

/// The progress rows of the groups from this one on.
pub(super) fn progress_rows(
    conn: &Connection,
    from: GroupId,
) -> Result<BTreeMap<(GroupId, SourceId), Progress>, Fault> {
    let mut statement =
        conn.prepare_cached("SELECT grp, source, low, above, tails FROM progress WHERE grp >= ?1")?;
    let mut rows = statement.query([super::grp(from)])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key = (GroupId(row.get(0)?), SourceId(row.get::<_, i64>(1)? as u64));
        let (above, tails): (Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(4)?);
        let progress = Progress::from_bytes(row.get::<_, i64>(2)? as u64, &above, &tails)
            .ok_or_else(|| Fault::Corrupt(format!("the progress of {key:?} makes no sense")))?;
        found.insert(key, progress);
    }
    Ok(found)
}

/// What `meta` says, after it was brought up to date.
struct Identity {
    id: u128,
    previous: Option<u128>,
    begun: bool,
    rebooted: bool,
    cloned: bool,
}

fn new_id(settings: &LedgerSettings) -> Result<u128, Fault> {
    if let Some(id) = settings.new_id {
        return Ok(id);
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::Corrupt(format!("no random bits: {error}")))?;
    Ok(u128::from_le_bytes(bytes))
}

fn identity(conn: &mut Connection, settings: &LedgerSettings) -> Result<Identity, Fault> {
    let tx = conn.transaction()?;
    let hex = |key: &str| -> Result<Option<u128>, Fault> {
        let text = schema::meta(&tx, key)?;
        text.map(|text| u128::from_str_radix(&text, 16))
            .transpose()
            .map_err(|_| Fault::Corrupt(format!("{key} in meta is no id")))
    };
    let (known, mut previous) = (hex("ledger_id")?, hex("ledger_id_before")?);
    let machine = schema::meta(&tx, "machine_id")?.unwrap_or_default();
    let boot = schema::meta(&tx, "boot_id")?.unwrap_or_default();
    let begun = schema::meta(&tx, "begun")?.is_some();
    // A host without a machine id cannot be told from its clone; it must not lose its id either.
    let cloned = known.is_some()
        && !settings.machine_id.is_empty()
        && !machine.is_empty()
        && machine != settings.machine_id;
    let id = match known {
        Some(id) if !cloned => id,
        _ => {
            let id = new_id(settings)?;
            schema::set_meta(&tx, "ledger_id", &format!("{id:032x}"))?;
            if let Some(old) = known {
                schema::set_meta(&tx, "ledger_id_before", &format!("{old:032x}"))?;
                previous = Some(old);
            }
            id
        }
    };
    if !settings.machine_id.is_empty() {
        schema::set_meta(&tx, "machine_id", &settings.machine_id)?;
    }
    schema::set_meta(&tx, "boot_id", &settings.boot_id)?;
    schema::set_meta(&tx, "schema", &schema::SCHEMA_VERSION.to_string())?;
    tx.commit()?;
    Ok(Identity { id, previous, begun, rebooted: boot != settings.boot_id, cloned })
}

/// The packs that rows name: id, end, and the bytes that pieces name.
fn pack_rows(conn: &Connection) -> Result<BTreeMap<u64, Pack>, Fault> {
    let mut statement = conn.prepare(
        "SELECT k.id, k.end, k.live, coalesce((SELECT sum(len) FROM piece p WHERE p.pack = k.id), 0) FROM pack k",
    )?;
    let mut rows = statement.query([])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let number = |at: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at)? as u64) };
        let (id, end, live) = (number(0)?, number(1)?, number(2)?);
        if live != number(3)? || live > end {
            return Err(Fault::Corrupt(format!("the row of pack {id} does not fit its pieces")));
        }
        found.insert(id, Pack { end, live, allocated: end });
    }
    Ok(found)
}

impl<D: Disk> Ledger<D> {
    /// Opens ledger and spool, and makes them when they are not there.
    ///
    /// # Errors
    /// A newer schema, a foreign spool, rows without their packs, a disk that fails; also a full one.
    pub fn open(
        mut conn: Connection,
        mut disk: D,
        settings: LedgerSettings,
        _now: Now,
    ) -> Result<(Ledger<D>, Recovered), LedgerError> {
        let file = conn.path().unwrap_or_default().to_owned();
        let fatal = |fault: Fault| fault.fatal(&file);
        schema::prepare(&conn).map_err(fatal)?;
        super::pack::point(&mut disk, "open.schema.before").map_err(fatal)?;
        schema::establish(&mut conn, &file)?;
        let identity = identity(&mut conn, &settings).map_err(fatal)?;
        super::pack::point(&mut disk, "open.schema.after").map_err(fatal)?;
        open_spool(&mut disk, &identity, &file)?;
        Ledger::load(conn, disk, settings, &identity, file.clone()).map_err(fatal)
    }

    fn load(
        conn: Connection,
        disk: D,
        settings: LedgerSettings,
        identity: &Identity,
        file: String,
    ) -> Result<(Ledger<D>, Recovered), Fault> {
        let mut ledger = Ledger {
            packs: Packs::new(settings.limit_bytes, 0),
            shelves: Shelves::new(settings.publish_after),
            next_batch: schema::last_id(&conn, "batch")? + 1,
            groups: std::iter::once(GroupId::MAIN).chain(jobs::groups(&conn)?).collect(),
            sources: source_rows(&conn)?,
            progress: progress_rows(&conn, GroupId::MAIN)?,
            open: BTreeMap::new(),
            namings: HashMap::new(),
            conn,
            disk,
            settings,
            file,
            id: identity.id,
            begun: identity.begun,
            gauge: Gauge::default(),
            space: None,
            pruned_hour: i64::MIN,
            strange_verdicts: 0,
            ended: false,
        };
        ledger.require_progress()?;
        let packs_removed = ledger.recover_packs()?;
        let spooled = ledger.recover_batches()?;
        ledger.recount_shelves()?;
        let space = ledger.measure()?;
        ledger.space = Some(space);
        let recovered = ledger.recovered(identity, spooled, packs_removed, space)?;
        Ok((ledger, recovered))
    }

    /// PROTOCOL I3, of what the file holds: a missing row is no zero, it would read a whole file again.
    fn require_progress(&self) -> Result<(), Fault> {
        for source in self.sources.values() {
            if let Some(group) =
                self.groups.iter().find(|group| !self.progress.contains_key(&(**group, source.id)))
            {
                let what = format!(
                    "source {} ({}) has no progress in group {}",
                    source.id.0,
                    source.path.display(),
                    group.0
                );
                return Err(Fault::Corrupt(what));
            }
        }
        self.check_progress_rows();
        Ok(())
    }

    /// Packs and their rows are brought together. Answers with the number of packs that were removed.
    fn recover_packs(&mut self) -> Result<u64, Fault> {
        self.point("open.clean.before")?;
        let rows = pack_rows(&self.conn)?;
        let list = |error| Fault::sync("spool directory".to_owned(), "read", error);
        let files: HashSet<u64> = self.disk.packs().map_err(list)?.into_iter().collect();
        if let Some((id, pack)) = rows.iter().find(|(id, pack)| pack.live > 0 && !files.contains(id)) {
            return Err(Fault::Corrupt(missing(&self.disk.pack_label(*id), *id, pack.live)));
        }
        let seen = files.iter().chain(rows.keys()).copied().max().unwrap_or(0);
        let next = schema::last_id(&self.conn, "pack")?.max(seen) + 1;
        self.packs = Packs::new(self.settings.limit_bytes, next);
        let live: BTreeMap<u64, Pack> = rows.into_iter().filter(|(_, pack)| pack.live > 0).collect();
        // The rows go first: a file without a row is removed at the next start, a row without its file is a fault.
        self.conn.execute("DELETE FROM pack WHERE live = 0", [])?;
        let mut removed = 0;
        for id in files.iter().filter(|id| !live.contains_key(id)) {
            self.packs.unlink(&mut self.disk, *id)?;
            removed += 1;
        }
        for (id, pack) in live {
            // What lies after the end was torn off by the end of the process, or never used.
            self.point("pack.trim.before")?;
            let trimmed = self.disk.pack_trim(id, pack.end);
            trimmed.map_err(|error| Fault::sync(self.disk.pack_label(id), "truncate", error))?;
            self.packs.found(id, pack);
            self.point("pack.trim.after")?;
        }
        self.point("open.clean.after")?;
        Ok(removed)
    }

    fn recover_batches(&mut self) -> Result<Vec<Spooled>, Fault> {
        self.conn.execute("DELETE FROM naming WHERE id NOT IN (SELECT naming FROM batch)", [])?;
        let (open, spooled) = (batches(&self.conn, "open")?, batches(&self.conn, "spooled")?);
        self.namings = namings(&self.conn)?;
        self.open.extend(open.into_iter().map(|(row, _, _)| (row.batch.id, row)));
        Ok(spooled.iter().map(|(row, name, key)| row.spooled(name, key, None)).collect())
    }

    fn recovered(
        &self,
        identity: &Identity,
        spooled: Vec<Spooled>,
        packs_removed: u64,
        space: Space,
    ) -> Result<Recovered, Fault> {
        let with_progress = |row: &SourceRow| {
            let progress = self.progress[&(GroupId::MAIN, row.id)].clone();
            let hot =
                self.progress.get(&(GroupId::HOT, row.id)).map_or(Vec::new(), |hot| hot.beyond(&progress));
            SourceRow { progress, hot, ..row.clone() }
        };
        let aside: i64 =
            self.conn
                .query_row("SELECT count(*) FROM batch WHERE state = 'rejected'", [], |row| row.get(0))?;
        Ok(Recovered {
            ledger_id: self.id,
            sources: self.sources.values().map(with_progress).collect(),
            open: self.open.values().map(|row| row.batch.clone()).collect(),
            spooled,
            jobs: jobs::rows(&self.conn)?,
            last_job: Self::last_job(&self.conn)?,
            parked: self.groups[1..].iter().map(|group| (*group, self.parked_progress(*group))).collect(),
            last_group: schema::last_id(&self.conn, "grp")? as u32,
            aside: aside as u64,
            shelves: self.open_shelves(),
            first_start: !identity.begun,
            rebooted: identity.rebooted,
            cloned: identity.cloned,
            packs_removed,
            space,
        })
    }
}

fn missing(label: &str, id: u64, live: u64) -> String {
    format!(
        "{label} is missing, with {live} bytes of batches that are not delivered: put the file back. To give them up: \
         sqlite3 LEDGER \"DELETE FROM batch WHERE id IN (SELECT batch FROM piece WHERE pack = {id}); DELETE FROM piece \
         WHERE pack = {id} OR batch NOT IN (SELECT id FROM batch); UPDATE pack SET live = (SELECT coalesce(sum(len), 0) \
         FROM piece p WHERE p.pack = pack.id)\""
    )
}

fn open_spool<D: Disk>(disk: &mut D, identity: &Identity, file: &str) -> Result<(), LedgerError> {
    let fatal = |fault: Fault| fault.fatal(file);
    super::pack::point(disk, "open.spool.before").map_err(fatal)?;
    let found = disk
        .spool_open(identity.id, identity.previous)
        .map_err(|error| fatal(Fault::sync("spool directory".to_owned(), "open", error)))?;
    if !found.is_empty() {
        return Err(LedgerError::ForeignSpool { found, ours: identity.id });
    }
    super::pack::point(disk, "open.spool.after").map_err(fatal)
}

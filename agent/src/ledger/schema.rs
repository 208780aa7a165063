//! Schema of the ledger (PROTOCOL 7, RULINGS 1), and how a connection is set up.
//!
//! Promises: WAL with `synchronous=FULL`: an `Ok` of a commit survives a power cut (counter-example 10).
//! Must not know: what rows mean to anyone.
use super::error::{Fault, LedgerError};
use rusqlite::{Connection, OptionalExtension, params};

/// The schema that this program writes.
pub const SCHEMA_VERSION: i64 = 3;
/// "EPSH" in the SQLite header: tells our ledger from another program's database.
const APPLICATION_ID: i64 = 0x4550_5348;
/// WAL pages before a checkpoint.
const CHECKPOINT_PAGES: u32 = 4000;
/// The WAL file is cut back to this after a checkpoint, bytes.
pub(super) const WAL_BYTES: u64 = 16 << 20;

const TABLES: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE source(id INTEGER PRIMARY KEY AUTOINCREMENT, seed INTEGER NOT NULL, dev INTEGER NOT NULL,
  ino INTEGER NOT NULL, btime INTEGER, path BLOB NOT NULL, head_len INTEGER NOT NULL, head_hash INTEGER NOT NULL,
  size_seen INTEGER NOT NULL, state TEXT NOT NULL CHECK(state IN ('attached', 'detached')),
  detached_at INTEGER NOT NULL);
CREATE TABLE grp(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL);
CREATE TABLE progress(grp INTEGER NOT NULL, source INTEGER NOT NULL, low INTEGER NOT NULL, above BLOB NOT NULL,
  tails BLOB NOT NULL, PRIMARY KEY(grp, source)) WITHOUT ROWID;
CREATE TABLE job(id INTEGER PRIMARY KEY AUTOINCREMENT, grp INTEGER NOT NULL, version INTEGER NOT NULL,
  last_complete INTEGER, error_message TEXT, last_error INTEGER, config TEXT NOT NULL DEFAULT '');
CREATE TABLE naming(id INTEGER PRIMARY KEY, path TEXT NOT NULL, suffix TEXT NOT NULL, host TEXT NOT NULL,
  job TEXT NOT NULL, dataset TEXT NOT NULL, framing TEXT NOT NULL DEFAULT '');
CREATE TABLE batch(id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL, version INTEGER NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('open', 'spooled', 'rejected')), name TEXT, key TEXT,
  codec TEXT NOT NULL, container TEXT NOT NULL, naming INTEGER NOT NULL, records INTEGER NOT NULL,
  bytes INTEGER NOT NULL, raw INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT,
  domain TEXT, start INTEGER, slot INTEGER, serial INTEGER, due INTEGER,
  CHECK(state = 'open' OR (name IS NOT NULL AND key IS NOT NULL)));
CREATE UNIQUE INDEX batch_key ON batch(key) WHERE key IS NOT NULL;
CREATE TABLE pack(id INTEGER PRIMARY KEY AUTOINCREMENT, end INTEGER NOT NULL, live INTEGER NOT NULL,
  state TEXT NOT NULL);
CREATE TABLE piece(batch INTEGER NOT NULL, seq INTEGER NOT NULL, pack INTEGER, off INTEGER, len INTEGER NOT NULL,
  crc INTEGER NOT NULL, bytes BLOB, PRIMARY KEY(batch, seq), CHECK((pack IS NULL) = (bytes IS NOT NULL)));
CREATE INDEX piece_pack ON piece(pack) WHERE pack IS NOT NULL;
CREATE TABLE loss(job INTEGER NOT NULL, hour INTEGER NOT NULL, reason TEXT NOT NULL, records INTEGER NOT NULL,
  bytes INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY(job, hour, reason)) WITHOUT ROWID;
CREATE INDEX batch_job ON batch(job);
CREATE INDEX batch_shelf ON batch(domain, start) WHERE domain IS NOT NULL;
CREATE INDEX batch_due ON batch(due) WHERE due IS NOT NULL;
INSERT INTO grp(id, kind) VALUES(0, 'main'), (1, 'hot');
";

/// What makes schema 1 of it, which knew one job.
const FROM_1: &str = "
ALTER TABLE job RENAME COLUMN last_error TO error_message;
ALTER TABLE job ADD COLUMN last_error INTEGER;
ALTER TABLE job ADD COLUMN config TEXT NOT NULL DEFAULT '';
ALTER TABLE naming RENAME TO naming_1;
CREATE TABLE naming(id INTEGER PRIMARY KEY, path TEXT NOT NULL, suffix TEXT NOT NULL, host TEXT NOT NULL,
  job TEXT NOT NULL, dataset TEXT NOT NULL, framing TEXT NOT NULL DEFAULT '');
INSERT INTO naming SELECT *, '' FROM naming_1;
DROP TABLE naming_1;
CREATE INDEX batch_job ON batch(job);
INSERT INTO grp(id, kind) VALUES(1, 'hot');
";

/// What makes schema 2 of it, which knew no shelves.
const FROM_2: &str = "
ALTER TABLE batch ADD COLUMN domain TEXT;
ALTER TABLE batch ADD COLUMN start INTEGER;
ALTER TABLE batch ADD COLUMN slot INTEGER;
ALTER TABLE batch ADD COLUMN serial INTEGER;
ALTER TABLE batch ADD COLUMN due INTEGER;
CREATE INDEX batch_shelf ON batch(domain, start) WHERE domain IS NOT NULL;
CREATE INDEX batch_due ON batch(due) WHERE due IS NOT NULL;
";

/// Sets the connection up. Idempotent; needed at every open, because most of it is not kept in the file.
pub(super) fn prepare(conn: &Connection) -> Result<(), Fault> {
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(64);
    // Must stand before the first table: pages that deliveries free are given back in small steps.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" && mode != "memory" {
        return Err(Fault::Corrupt(format!(
            "the file system does not allow a WAL (journal mode stays {mode})"
        )));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.query_row(&format!("PRAGMA journal_size_limit={WAL_BYTES}"), [], |_| Ok(()))?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// Makes the tables in an empty database, or checks that they are ours. Answers whether they are new.
pub(super) fn establish(conn: &mut Connection, file: &str) -> Result<bool, LedgerError> {
    let fault = |error: rusqlite::Error| Fault::from(error).fatal(file);
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    let application: i64 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fault)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fault)?;
    if tables == 0 && version == 0 {
        let tx = conn.transaction().map_err(fault)?;
        tx.execute_batch(TABLES).map_err(fault)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(fault)?;
        tx.commit().map_err(fault)?;
        return Ok(true);
    }
    if application != APPLICATION_ID {
        let what = "this is a database, but no edgepush ledger: name another state directory".to_owned();
        return Err(LedgerError::Corrupt { file: file.to_owned(), what });
    }
    if version > SCHEMA_VERSION {
        return Err(LedgerError::Newer { file: file.to_owned(), found: version, known: SCHEMA_VERSION });
    }
    if version < SCHEMA_VERSION {
        let tx = conn.transaction().map_err(fault)?;
        for step in &[FROM_1, FROM_2][version as usize - 1..] {
            tx.execute_batch(step).map_err(fault)?;
        }
        tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(fault)?;
        tx.commit().map_err(fault)?;
    }
    Ok(false)
}

/// A text of the `meta` table.
pub(super) fn meta(conn: &Connection, key: &str) -> Result<Option<String>, Fault> {
    let mut statement = conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// Sets a text of the `meta` table.
pub(super) fn set_meta(conn: &Connection, key: &str, value: &str) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?
        .execute(params![key, value])?;
    Ok(())
}

/// The largest id that an AUTOINCREMENT table ever gave.
pub(super) fn last_id(conn: &Connection, table: &str) -> Result<u64, Fault> {
    let found: Option<i64> = conn
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0) as u64)
}

//! Index: which files of the archive are listed: `archive.db` in the state directory.
//!
//! Promises: a file is listed from the moment when [`Index::add`] is back, after any crash too; a row never changes; a
//! serial that was listed once is never given again. One writer, and readers beside it that wait for nobody.
//! Must not know: files, the clock, who asks.
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use std::fmt;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The schema that this program writes.
pub const SCHEMA_VERSION: i64 = 1;
/// "EPAR" in the SQLite header.
const APPLICATION_ID: i64 = 0x4550_4152;
/// How long a question waits for an index that is being opened.
const BUSY: Duration = Duration::from_secs(5);
/// The WAL file is cut back to this after a checkpoint, bytes.
const WAL_BYTES: u64 = 4 << 20;
/// Serials of removed slots are remembered for slots that began so long before the newest one, seconds: far longer than
/// records may be late.
const REMEMBERED: i64 = 400 * 86_400;

const TABLES: &str = "
CREATE TABLE domain(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE file(domain INTEGER NOT NULL, start INTEGER NOT NULL, serial INTEGER NOT NULL, slot INTEGER NOT NULL,
  bytes INTEGER NOT NULL, raw INTEGER NOT NULL, records INTEGER NOT NULL, crc INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, published INTEGER NOT NULL,
  PRIMARY KEY(domain, start, serial)) WITHOUT ROWID;
CREATE INDEX file_start ON file(start);
CREATE TABLE removed(domain INTEGER NOT NULL, start INTEGER NOT NULL, serial INTEGER NOT NULL,
  PRIMARY KEY(domain, start)) WITHOUT ROWID;
CREATE TABLE total(one INTEGER PRIMARY KEY CHECK(one = 1), bytes INTEGER NOT NULL);
INSERT INTO total VALUES(1, 0);
CREATE TRIGGER file_added AFTER INSERT ON file BEGIN UPDATE total SET bytes = bytes + new.bytes; END;
CREATE TRIGGER file_removed AFTER DELETE ON file BEGIN UPDATE total SET bytes = bytes - old.bytes; END;
CREATE TRIGGER file_stays BEFORE UPDATE ON file BEGIN SELECT RAISE(ABORT, 'a listed file never changes'); END;
";

/// In the order in which [`entry`] reads them.
macro_rules! columns {
    () => {
        "SELECT d.name, f.start, f.serial, f.slot, f.bytes, f.raw, f.records, f.crc, f.first, f.last, f.published "
    };
}
const LIST: &str = concat!(
    columns!(),
    "FROM domain d JOIN file f ON f.domain = d.id WHERE d.name = ?1 AND f.start >= ?2 AND f.start < ?3 \
     ORDER BY f.start, f.serial"
);
const GET: &str = concat!(
    columns!(),
    "FROM domain d JOIN file f ON f.domain = d.id WHERE d.name = ?1 AND f.start = ?2 AND f.serial = ?3"
);
const OLDEST: &str = concat!(
    columns!(),
    "FROM file f INDEXED BY file_start JOIN domain d ON d.id = f.domain ORDER BY f.start, f.domain, f.serial LIMIT ?1"
);

/// How long the slot of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// A whole hour of request time.
    Hour,
    /// Five minutes of processing time: the older rule.
    FiveMinutes,
}

impl Slot {
    /// Its length.
    pub fn seconds(self) -> i64 {
        match self {
            Slot::Hour => 3600,
            Slot::FiveMinutes => 300,
        }
    }

    /// The start of the slot in which a time (s since the epoch) lies.
    pub fn start_of(self, at: i64) -> i64 {
        at - at.rem_euclid(self.seconds())
    }
}

/// A listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its domain, as [`super::name::domain`] spells it.
    pub domain: String,
    /// Where its slot begins, s since the epoch.
    pub start: i64,
    /// Which file of the slot, from 1.
    pub serial: u32,
    /// How long the slot is.
    pub slot: Slot,
    /// Size of the file.
    pub bytes: u64,
    /// Size of what is in it, uncompressed.
    pub raw_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// CRC-32 of what is in it, uncompressed.
    pub crc32: u32,
    /// Request time of its earliest record, ns since the epoch.
    pub first: i64,
    /// Request time of its latest record, ns since the epoch.
    pub last: i64,
    /// When it was published, s since the epoch.
    pub published: i64,
}

impl Entry {
    /// Its path below the archive's directory.
    pub fn path(&self) -> String {
        super::name::path(&self.domain, self.start, self.serial)
    }

    /// Whether no file can come any more for its slot at `now` (s since the epoch), when none comes `after` so many
    /// seconds from the slot's end.
    pub fn is_final(&self, now: i64, after: i64) -> bool {
        now >= self.start + self.slot.seconds() + after
    }
}

/// Why the index cannot be asked.
#[derive(Debug)]
pub enum IndexError {
    /// There is none (yet): nothing was ever archived here.
    Missing(PathBuf),
    /// It is of a newer program.
    Newer {
        /// The index.
        file: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// The disk or the quota is full: nothing was written, try again.
    NoSpace(PathBuf),
    /// It cannot be made or opened.
    Io {
        /// The index.
        file: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// SQLite failed, or the file is no index.
    Sqlite {
        /// The index.
        file: PathBuf,
        /// SQLite's answer.
        error: rusqlite::Error,
    },
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexError::Missing(file) => write!(
                f,
                "{}: no archive is here: set EDGEPUSH_STATE_DIR to the agent's state directory",
                file.display()
            ),
            IndexError::Newer { file, found } => write!(
                f,
                "{}: the index has schema {found}, this program knows up to {SCHEMA_VERSION}: run the newer program",
                file.display()
            ),
            IndexError::NoSpace(file) => write!(f, "{}: no space left", file.display()),
            IndexError::Io { file, error } => write!(f, "{}: {error}", file.display()),
            IndexError::Sqlite { file, error } => {
                write!(f, "{}: {error} (run this as the agent's user, or as root)", file.display())
            }
        }
    }
}

impl std::error::Error for IndexError {}

impl IndexError {
    /// Whether it passes by itself once there is room (RULINGS 6).
    pub fn is_no_space(&self) -> bool {
        matches!(self, IndexError::NoSpace(_))
    }
}

/// The index. Questions and changes block; each change is durable when it is back.
#[derive(Debug)]
pub struct Index {
    conn: Connection,
    file: PathBuf,
}

impl Index {
    /// Opens the index for the one writer; makes it, with mode 0600, when it is not there.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(path: &Path) -> Result<Index, IndexError> {
        let io = |error| IndexError::Io { file: path.to_owned(), error };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(new) => new.set_permissions(Permissions::from_mode(0o600)).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error)),
        }
        let conn = Connection::open(path).map_err(|error| fault(path, error))?;
        let index = Index { conn, file: path.to_owned() };
        index.prepare()?;
        Ok(index)
    }

    /// Opens the index for reading, beside the writer or where none runs.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn look(path: &Path) -> Result<Index, IndexError> {
        match std::fs::metadata(path) {
            // A writer that was killed between the file and its first table has left an empty one.
            Ok(found) if found.len() == 0 => return Err(IndexError::Missing(path.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IndexError::Missing(path.to_owned()));
            }
            Err(error) => return Err(IndexError::Io { file: path.to_owned(), error }),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(|error| fault(path, error))?;
        let index = Index { conn, file: path.to_owned() };
        index.on(|conn| conn.busy_timeout(BUSY))?;
        match index.schema()? {
            0 => Err(IndexError::Missing(path.to_owned())),
            _ => Ok(index),
        }
    }

    fn prepare(&self) -> Result<(), IndexError> {
        self.on(|conn| {
            conn.busy_timeout(BUSY)?;
            let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
            debug_assert!(mode == "wal", "{mode}");
            conn.pragma_update(None, "synchronous", "FULL")?;
            conn.query_row(&format!("PRAGMA journal_size_limit={WAL_BYTES}"), [], |_| Ok(()))
        })?;
        if self.schema()? == 0 {
            self.on(|conn| {
                let tx = conn.unchecked_transaction()?;
                tx.execute_batch(TABLES)?;
                tx.pragma_update(None, "application_id", APPLICATION_ID)?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
                tx.commit()
            })?;
        }
        Ok(())
    }

    /// 0: not made yet.
    fn schema(&self) -> Result<i64, IndexError> {
        let found = self.on(|conn| conn.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        match found > SCHEMA_VERSION {
            true => Err(IndexError::Newer { file: self.file.clone(), found }),
            false => Ok(found),
        }
    }

    /// Lists a file. One that is listed already stays as it is.
    ///
    /// # Errors
    /// Nothing is listed then.
    pub fn add(&self, entry: &Entry) -> Result<(), IndexError> {
        self.add_all(std::slice::from_ref(entry))
    }

    /// Lists several files at once, or none.
    ///
    /// # Errors
    /// Nothing is listed then.
    pub fn add_all(&self, entries: &[Entry]) -> Result<(), IndexError> {
        self.on(|conn| {
            let tx = conn.unchecked_transaction()?;
            {
                let mut domain = tx.prepare_cached("INSERT OR IGNORE INTO domain(name) VALUES(?1)")?;
                let mut file = tx.prepare_cached(
                    "INSERT OR IGNORE INTO file SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM domain \
                     WHERE name = ?1",
                )?;
                for entry in entries {
                    domain.execute([&entry.domain])?;
                    let (bytes, raw) = (entry.bytes as i64, entry.raw_bytes as i64);
                    file.execute(params![
                        entry.domain,
                        entry.start,
                        entry.serial,
                        entry.slot.seconds(),
                        bytes,
                        raw,
                        entry.records as i64,
                        entry.crc32,
                        entry.first,
                        entry.last,
                        entry.published,
                    ])?;
                }
            }
            tx.commit()
        })
    }

    /// The files of a domain whose slots begin within `starts` (s since the epoch), by start and serial.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list(&self, domain: &str, starts: Range<i64>) -> Result<Vec<Entry>, IndexError> {
        self.entries(LIST, params![domain, starts.start, starts.end])
    }

    /// One file, if it is listed.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn get(&self, domain: &str, start: i64, serial: u32) -> Result<Option<Entry>, IndexError> {
        Ok(self.entries(GET, params![domain, start, serial])?.pop())
    }

    /// The domains that have a file, by name.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn domains(&self) -> Result<Vec<String>, IndexError> {
        self.on(|conn| {
            let sql = "SELECT name FROM domain d WHERE EXISTS(SELECT 1 FROM file WHERE domain = d.id) ORDER BY name";
            let mut statement = conn.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect()
        })
    }

    /// Whether a domain has a file.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn has(&self, domain: &str) -> Result<bool, IndexError> {
        self.on(|conn| {
            let sql =
                "SELECT 1 FROM domain d WHERE name = ?1 AND EXISTS(SELECT 1 FROM file WHERE domain = d.id)";
            Ok(conn.prepare_cached(sql)?.query_row([domain], |_| Ok(())).optional()?.is_some())
        })
    }

    /// At most `n` files, those of the oldest slots first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn oldest(&self, n: usize) -> Result<Vec<Entry>, IndexError> {
        self.entries(OLDEST, params![i64::try_from(n).unwrap_or(i64::MAX)])
    }

    /// Where the newest slot begins, s since the epoch.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn newest(&self) -> Result<Option<i64>, IndexError> {
        self.on(|conn| conn.query_row("SELECT max(start) FROM file", [], |row| row.get(0)))
    }

    /// Where the oldest slot of a domain begins, s since the epoch.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn oldest_of(&self, domain: &str) -> Result<Option<i64>, IndexError> {
        self.on(|conn| {
            let sql = "SELECT min(start) FROM file WHERE domain = (SELECT id FROM domain WHERE name = ?1)";
            conn.prepare_cached(sql)?.query_row([domain], |row| row.get(0))
        })
    }

    /// Lists whole slots no more; their serials are not given again.
    ///
    /// # Errors
    /// All are still listed then.
    pub fn remove(&self, slots: &[(String, i64)]) -> Result<(), IndexError> {
        self.on(|conn| {
            let tx = conn.unchecked_transaction()?;
            for (domain, start) in slots {
                tx.prepare_cached(
                    "INSERT INTO removed SELECT f.domain, f.start, max(f.serial) FROM domain d JOIN file f \
                     ON f.domain = d.id WHERE d.name = ?1 AND f.start = ?2 GROUP BY 1, 2 \
                     ON CONFLICT DO UPDATE SET serial = max(serial, excluded.serial)",
                )?
                .execute(params![domain, start])?;
                tx.prepare_cached(
                    "DELETE FROM file WHERE domain = (SELECT id FROM domain WHERE name = ?1) AND start = ?2",
                )?
                .execute(params![domain, start])?;
            }
            tx.execute("DELETE FROM removed WHERE start < (SELECT max(start) FROM file) - ?1", [REMEMBERED])?;
            tx.commit()
        })
    }

    /// The next free serial of a slot.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn serial_after(&self, domain: &str, start: i64) -> Result<u32, IndexError> {
        self.on(|conn| {
            let sql = "SELECT max(ifnull((SELECT max(serial) FROM file WHERE domain = d.id AND start = ?2), 0), \
                 ifnull((SELECT serial FROM removed WHERE domain = d.id AND start = ?2), 0)) FROM domain d WHERE name = ?1";
            let last: Option<u32> =
                conn.prepare_cached(sql)?.query_row(params![domain, start], |row| row.get(0)).optional()?;
            Ok(last.unwrap_or(0) + 1)
        })
    }

    /// Bytes of all listed files.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn bytes(&self) -> Result<u64, IndexError> {
        let sum: i64 =
            self.on(|conn| conn.prepare_cached("SELECT bytes FROM total")?.query_row([], |row| row.get(0)))?;
        Ok(sum.max(0) as u64)
    }

    fn entries(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Entry>, IndexError> {
        self.on(|conn| {
            let mut statement = conn.prepare_cached(sql)?;
            let rows = statement.query_map(params, entry)?;
            rows.collect()
        })
    }

    fn on<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        ask(&self.conn).map_err(|error| fault(&self.file, error))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let count = |at: usize| row.get::<_, i64>(at).map(|n| n.max(0) as u64);
    let slot = match row.get::<_, i64>(3)? {
        300 => Slot::FiveMinutes,
        _ => Slot::Hour,
    };
    Ok(Entry {
        domain: row.get(0)?,
        start: row.get(1)?,
        serial: row.get(2)?,
        slot,
        bytes: count(4)?,
        raw_bytes: count(5)?,
        records: count(6)?,
        crc32: row.get(7)?,
        first: row.get(8)?,
        last: row.get(9)?,
        published: row.get(10)?,
    })
}

fn fault(file: &Path, error: rusqlite::Error) -> IndexError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => IndexError::NoSpace(file.to_owned()),
        _ => IndexError::Sqlite { file: file.to_owned(), error },
    }
}

#[cfg(test)]
mod tests;

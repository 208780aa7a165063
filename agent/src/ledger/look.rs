//! Look: the batches of a spool, for somebody who only looks: beside a running agent, or where none runs.
//!
//! Promises: changes nothing; holds no lock that an agent would wait for; what a batch's body holds has the checksum that
//! it was committed with; a batch that goes away meanwhile is an error of its own.
//! Must not know: who looks, how it is shown.
use super::restart::{BATCH, batch_row, pieces};
use super::state_dir::LEDGER_FILE;
use super::{ReadError, SCHEMA_VERSION, SpoolReader, StateDir};
use crate::protocol::{BatchId, Piece, PieceAt, Spooled};
use bytes::Bytes;
use edgepush_shard::batch::join;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a question waits for a ledger that is being opened.
const BUSY: Duration = Duration::from_secs(5);

/// Why nothing is to be seen.
#[derive(Debug)]
pub enum LookError {
    /// There is no ledger in the directory.
    Nothing {
        /// The directory.
        state: PathBuf,
    },
    /// It is of a newer program, or of an older one that has not been started in this version.
    Version(String),
    /// The batch is not in the spool, or not any more.
    Gone {
        /// What was asked for.
        what: String,
    },
    /// The batch is still being filled: it has no name and no end yet.
    Open {
        /// Its id.
        id: BatchId,
    },
    /// It cannot be read, or is damaged.
    Unreadable(String),
}

impl LookError {
    /// Exit code of the process (INTERFACE 1).
    pub fn exit_code(&self) -> u8 {
        match self {
            LookError::Nothing { .. } | LookError::Open { .. } => 2,
            LookError::Version(_) => 3,
            LookError::Gone { .. } | LookError::Unreadable(_) => 1,
        }
    }
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookError::Nothing { state } => write!(
                f,
                "{}: no ledger is here: set EDGEPUSH_STATE_DIR to the agent's state directory",
                state.display()
            ),
            LookError::Gone { what } => {
                write!(
                    f,
                    "batch {what} is not in the spool: it never was, or was delivered or dropped meanwhile"
                )
            }
            LookError::Open { id } => write!(
                f,
                "batch {} is still being filled: it gets its name and its end when it closes; ask again then",
                id.0
            ),
            LookError::Version(why) | LookError::Unreadable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LookError {}

/// How a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Still being filled; what it holds is durable.
    Open,
    /// Waits for its destination, or is on its way.
    Waits,
    /// Refused for good, and kept.
    Aside,
}

impl Stands {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stands::Open => "open",
            Stands::Waits => "waiting",
            Stands::Aside => "aside",
        }
    }
}

/// A batch that was found.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The batch. One that is open has neither name nor key; pieces only of one that was asked for alone.
    pub batch: Spooled,
    /// Stored bytes.
    pub bytes: u64,
    /// How it stands.
    pub stands: Stands,
    /// Why it is aside.
    pub reason: Option<String>,
}

/// A spool that is looked at.
#[derive(Debug)]
pub struct Look {
    conn: Connection,
    file: PathBuf,
    reader: SpoolReader,
}

impl Look {
    /// Opens the ledger of a state directory for reading.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn open(state: &Path) -> Result<Look, LookError> {
        let file = state.join(LEDGER_FILE);
        StateDir::check_known(state).map_err(|error| LookError::Version(error.to_string()))?;
        match std::fs::metadata(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LookError::Nothing { state: state.to_owned() });
            }
            Err(error) => return Err(LookError::Unreadable(format!("{}: {error}", file.display()))),
        }
        let failed = |error: rusqlite::Error| {
            LookError::Unreadable(format!(
                "{}: {error} (run this as the agent's user, or as root)",
                file.display()
            ))
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&file, flags).map_err(failed)?;
        conn.busy_timeout(BUSY).map_err(failed)?;
        let schema: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if schema != SCHEMA_VERSION {
            let which = if schema > SCHEMA_VERSION {
                "run the newer program"
            } else {
                "start this version's agent once"
            };
            let file = file.display();
            return Err(LookError::Version(format!(
                "{file}: the ledger has schema {schema}, this program reads {SCHEMA_VERSION}: {which}"
            )));
        }
        let id: String = conn
            .query_row("SELECT value FROM meta WHERE key = 'ledger_id'", [], |row| row.get(0))
            .map_err(failed)?;
        let id = u128::from_str_radix(&id, 16)
            .map_err(|_| LookError::Unreadable(format!("{}: its id is no id", file.display())))?;
        let reader = SpoolReader::new(state, &file, id);
        Ok(Look { conn, file, reader })
    }

    /// All batches, oldest first, without their pieces.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn all(&self) -> Result<Vec<Looked>, LookError> {
        let found = (|| {
            let mut statement = self.conn.prepare(&format!("{BATCH} ORDER BY b.id"))?;
            let rows = statement.query_map([], looked)?;
            rows.collect::<Result<Vec<_>, _>>()
        })();
        found.map_err(|error| self.failed(&error))
    }

    /// One batch with its pieces: by its id, its key or its name.
    ///
    /// # Errors
    /// [`LookError::Gone`], or the ledger cannot be read.
    pub fn one(&self, what: &str) -> Result<Looked, LookError> {
        let id = what.parse::<i64>().ok();
        let found = (|| {
            // One moment: upkeep moves pieces.
            let tx = self.conn.unchecked_transaction()?;
            let sql = format!(
                "{BATCH} WHERE b.id = ?1 OR b.key = ?2 OR b.name = ?2 ORDER BY b.id = ?1 DESC LIMIT 1"
            );
            let found = tx.query_row(&sql, params![id, what], looked).optional()?;
            let Some(mut found) = found else { return Ok(None) };
            found.batch.pieces = pieces(&tx, found.batch.id)?;
            Ok(Some(found))
        })();
        let found = found.map_err(|error: rusqlite::Error| self.failed(&error))?;
        found.ok_or_else(|| LookError::Gone { what: what.to_owned() })
    }

    /// The body of a closed batch as its destination would get it.
    ///
    /// # Errors
    /// It is open, or gone, or what is stored is not what was committed.
    pub fn body(&self, found: &Looked) -> Result<Vec<Bytes>, LookError> {
        let batch = &found.batch;
        if found.stands == Stands::Open {
            return Err(LookError::Open { id: batch.id });
        }
        let read = self.reader.read(batch);
        let pieces = read.map_err(|error| match ReadError::of(&error) {
            Some(ReadError::Gone { .. }) => LookError::Gone { what: batch.id.0.to_string() },
            _ => LookError::Unreadable(format!("batch {}: {error}", batch.id.0)),
        })?;
        join(batch.container, batch.codec, pieces)
            .map_err(|error| LookError::Unreadable(format!("batch {}: {error}", batch.id.0)))
    }

    /// Where a piece lies: the file, and its offset in a pack.
    pub fn place(&self, piece: &Piece) -> (PathBuf, Option<u64>) {
        match piece.at {
            PieceAt::Pack { pack, offset } => (self.reader.pack_path(pack), Some(offset)),
            PieceAt::Ledger { .. } => (self.file.clone(), None),
        }
    }

    fn failed(&self, error: &rusqlite::Error) -> LookError {
        LookError::Unreadable(format!("{}: {error}", self.file.display()))
    }
}

fn looked(row: &rusqlite::Row<'_>) -> rusqlite::Result<Looked> {
    let stands = match row.get_ref(19)?.as_str()? {
        "open" => Stands::Open,
        "rejected" => Stands::Aside,
        _ => Stands::Waits,
    };
    let reason = row.get(20)?;
    let (open, name, key) = batch_row(row)?;
    Ok(Looked { bytes: open.bytes, batch: open.spooled(&name, &key, None), stands, reason })
}

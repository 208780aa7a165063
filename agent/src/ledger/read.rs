//! Reading the spool: the bytes of a batch's pieces, for the sender's blocking threads.
//!
//! Promises: bytes are returned only when their CRC fits; a batch whose pieces were moved on meanwhile is found at its
//! new place. Reads never wait for the ledger's thread (WAL).
//! Must not know: who sends.
use super::disk::{pack_name, spool_name};
use crate::protocol::{BatchId, Piece, PieceAt, Spooled};
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Large pieces are read in parts of this, bytes.
const PART_BYTES: u64 = 1 << 20;

/// A piece whose bytes are not the ones that were committed. Wrapped in an [`io::Error`] of kind `InvalidData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The stored bytes do not fit their CRC-32.
    Rotten {
        /// The batch.
        batch: BatchId,
        /// Number of the piece in the batch.
        seq: usize,
        /// The file.
        file: PathBuf,
    },
    /// The batch is not in the spool (any more).
    Gone {
        /// The batch.
        batch: BatchId,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Rotten { batch, seq, file } => {
                write!(f, "{}: piece {seq} of batch {} does not fit its checksum", file.display(), batch.0)
            }
            ReadError::Gone { batch } => write!(f, "batch {} is not in the spool", batch.0),
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    /// The read error in an I/O error, if it is one.
    pub fn of(error: &io::Error) -> Option<&ReadError> {
        error.get_ref()?.downcast_ref()
    }
}

/// Reads pieces beside the running ledger. One for all threads; its own read-only connection, opened at the first need.
#[derive(Debug)]
pub struct SpoolReader {
    ledger: PathBuf,
    spool: PathBuf,
    conn: Mutex<Option<Connection>>,
}

impl SpoolReader {
    /// A reader of the spool of ledger `id` below a state directory, with the ledger's file. Touches nothing.
    pub fn new(state: &Path, ledger: &Path, id: u128) -> SpoolReader {
        SpoolReader { ledger: ledger.to_owned(), spool: state.join(spool_name(id)), conn: Mutex::new(None) }
    }

    /// The file of a pack.
    pub fn pack_path(&self, pack: u64) -> PathBuf {
        self.spool.join(pack_name(pack))
    }

    /// The bytes of each piece, in order. Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError`] inside the error (see [`ReadError::of`]) for a rotten piece or a batch that is gone; else the system's.
    pub fn read(&self, batch: &Spooled) -> io::Result<Vec<Vec<Bytes>>> {
        self.read_pieces(batch.id, &batch.pieces).or_else(|first| {
            // Upkeep may have moved the pieces on since the batch was handed out.
            let moved = self.with_conn(|conn| super::restart::pieces(conn, batch.id))?;
            match moved {
                pieces if pieces.is_empty() => Err(invalid(ReadError::Gone { batch: batch.id })),
                pieces if pieces == batch.pieces => Err(first),
                pieces => self.read_pieces(batch.id, &pieces),
            }
        })
    }

    fn read_pieces(&self, batch: BatchId, pieces: &[Piece]) -> io::Result<Vec<Vec<Bytes>>> {
        let mut opened = None;
        let mut read = |(seq, piece): (usize, &Piece)| self.piece(batch, seq, piece, &mut opened);
        pieces.iter().enumerate().map(&mut read).collect()
    }

    fn piece(
        &self,
        batch: BatchId,
        seq: usize,
        piece: &Piece,
        opened: &mut Option<(u64, File)>,
    ) -> io::Result<Vec<Bytes>> {
        let (file, parts) = match piece.at {
            PieceAt::Pack { pack, offset } => {
                let path = self.pack_path(pack);
                let parts =
                    pack_file(opened, pack, &path).and_then(|file| read_parts(file, offset, piece.len));
                let parts =
                    parts.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
                (path, parts)
            }
            PieceAt::Ledger { seq } => (self.ledger.clone(), vec![self.small(batch, seq)?]),
        };
        let mut hasher = crc32fast::Hasher::new();
        parts.iter().for_each(|part| hasher.update(part));
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if hasher.finalize() != piece.crc || len != piece.len {
            return Err(invalid(ReadError::Rotten { batch, seq, file }));
        }
        Ok(parts)
    }

    fn small(&self, batch: BatchId, seq: u32) -> io::Result<Bytes> {
        let found = self.with_conn(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT bytes FROM piece WHERE batch = ?1 AND seq = ?2 AND bytes IS NOT NULL",
            )?;
            let mut rows = statement.query(rusqlite::params![super::db(batch.0), seq])?;
            let row = rows.next()?;
            row.map(|row| row.get::<_, Vec<u8>>(0)).transpose()
        })?;
        found.map(Bytes::from).ok_or_else(|| invalid(ReadError::Gone { batch }))
    }

    fn with_conn<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        let mut guard = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |error: rusqlite::Error| io::Error::other(format!("{}: {error}", self.ledger.display()));
        if guard.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(&self.ledger, flags).map_err(named)?;
            conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(named)?;
            *guard = Some(conn);
        }
        let conn = guard.as_ref().expect("INVARIANT: opened above");
        ask(conn).map_err(named)
    }
}

fn invalid(error: ReadError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The file of a pack, which is nearly always that of the piece before.
fn pack_file<'a>(opened: &'a mut Option<(u64, File)>, pack: u64, path: &Path) -> io::Result<&'a File> {
    if opened.as_ref().is_none_or(|(known, _)| *known != pack) {
        *opened = Some((pack, File::open(path)?));
    }
    let (_, file) = opened.as_ref().expect("INVARIANT: opened above");
    Ok(file)
}

fn read_parts(file: &File, offset: u64, len: u64) -> io::Result<Vec<Bytes>> {
    let mut parts = Vec::with_capacity(len.div_ceil(PART_BYTES) as usize);
    let mut at = 0;
    while at < len {
        let mut part = vec![0; (len - at).min(PART_BYTES) as usize];
        file.read_exact_at(&mut part, offset + at)?;
        at += part.len() as u64;
        parts.push(Bytes::from(part));
    }
    Ok(parts)
}

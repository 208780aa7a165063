//! Errors of the ledger: what ends the process, and what is only weather.
//!
//! Promises: each text names the file and, where there is one, the remedy; [`LedgerError::exit_code`] follows INTERFACE 1.
//! Must not know: who prints it.
use rusqlite::ErrorCode;
use std::fmt;
use std::io;

/// Why the ledger cannot go on. The process ends: restart is the tested path.
#[derive(Debug)]
pub enum LedgerError {
    /// A file operation failed in a way that is not weather: EIO, or any failed sync.
    Disk {
        /// The file.
        file: String,
        /// What was done to it.
        action: &'static str,
        /// The system's answer.
        error: io::Error,
    },
    /// SQLite failed in a way that is not weather.
    Sqlite {
        /// The ledger's path.
        file: String,
        /// SQLite's answer.
        error: rusqlite::Error,
    },
    /// The ledger was written by a newer program.
    Newer {
        /// The ledger's path.
        file: String,
        /// Its schema.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// A spool of another ledger lies in the state directory.
    ForeignSpool {
        /// Ledger ids that the spools carry.
        found: Vec<u128>,
        /// Our ledger id.
        ours: u128,
    },
    /// Rows and files do not belong together, or the file is no ledger.
    Corrupt {
        /// The ledger's path.
        file: String,
        /// What does not fit, and the remedy.
        what: String,
    },
    /// A step after one that failed: what is durable is not known before a restart.
    Ended,
}

impl LedgerError {
    /// Exit code of the process (INTERFACE 1).
    pub fn exit_code(&self) -> u8 {
        match self {
            LedgerError::Newer { .. } => 3,
            _ => 1,
        }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerError::Disk { file, action, error } => write!(f, "{file}: {action} failed: {error}"),
            LedgerError::Sqlite { file, error } => write!(f, "{file}: the ledger failed: {error}"),
            LedgerError::Newer { file, found, known } => write!(
                f,
                "{file}: the ledger has schema {found}, this program knows up to {known}: run the newer program again"
            ),
            LedgerError::ForeignSpool { found, ours } => {
                let names: Vec<String> = found.iter().map(|id| super::disk::spool_name(*id)).collect();
                write!(
                    f,
                    "{} in the state directory belongs to another ledger (ours is {ours:032x}) and holds batches that \
                     may not have been delivered: put its ledger back, or move it away",
                    names.join(", ")
                )
            }
            LedgerError::Corrupt { file, what } => write!(f, "{file}: {what}"),
            LedgerError::Ended => {
                write!(f, "the ledger has failed before: only a restart knows what is durable")
            }
        }
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LedgerError::Disk { error, .. } => Some(error),
            LedgerError::Sqlite { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// How a step can fail from within.
#[derive(Debug)]
pub(super) enum Fault {
    /// No room: rolled back, to be tried again (RULINGS 6).
    NoSpace,
    /// A file operation.
    Disk { file: String, action: &'static str, error: io::Error },
    /// SQLite.
    Sqlite(rusqlite::Error),
    /// Rows that make no sense.
    Corrupt(String),
}

impl Fault {
    /// A failed write or create: weather when the disk or the quota is full.
    pub(super) fn write(file: String, action: &'static str, error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::NoSpace,
            _ => Fault::Disk { file, action, error },
        }
    }

    /// A failed sync or read: never weather. After a failed sync the kernel may have dropped the pages (PROTOCOL P4).
    pub(super) fn sync(file: String, action: &'static str, error: io::Error) -> Fault {
        Fault::Disk { file, action, error }
    }

    /// The error that ends the process; `file` is the ledger's path.
    pub(super) fn fatal(self, file: &str) -> LedgerError {
        match self {
            Fault::Disk { file, action, error } => LedgerError::Disk { file, action, error },
            Fault::Sqlite(error) => LedgerError::Sqlite { file: file.to_owned(), error },
            Fault::Corrupt(what) => LedgerError::Corrupt { file: file.to_owned(), what },
            Fault::NoSpace => LedgerError::Disk {
                file: file.to_owned(),
                action: "write",
                error: io::ErrorKind::StorageFull.into(),
            },
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::NoSpace,
            _ => Fault::Sqlite(error),
        }
    }
}

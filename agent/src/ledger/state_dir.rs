//! The state directory (`EDGEPUSH_STATE_DIR`): made, locked, and of a version that this program knows.
//!
//! Promises: at most one agent has it; modes do not depend on the umask (0750, ledger 0600); a directory of a newer
//! program is not touched.
//! Must not know: what the ledger holds.
use super::{LedgerError, OsDisk, SpoolReader};
use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock, fsync};
use rustix::io::Errno;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Version of the directory's layout.
pub const STATE_VERSION: u64 = 1;
const VERSION_FILE: &str = "VERSION";
const LOCK_FILE: &str = "lock";
pub(super) const LEDGER_FILE: &str = "ledger.db";

/// Why the state directory cannot be had.
#[derive(Debug)]
pub enum StateDirError {
    /// Another agent holds it.
    Held {
        /// The directory.
        path: PathBuf,
        /// Its process id; 0 when it has not said so yet.
        pid: u32,
    },
    /// It is of a newer program.
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It cannot be made, read or written.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

impl StateDirError {
    /// Exit code of the process (INTERFACE 1).
    pub fn exit_code(&self) -> u8 {
        match self {
            StateDirError::Held { .. } | StateDirError::Newer { .. } => 3,
            StateDirError::Io { .. } => 1,
        }
    }
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateDirError::Held { path, pid } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: another agent holds the state directory (pid {pid}): stop it, or set EDGEPUSH_STATE_DIR"
                )
            }
            StateDirError::Newer { path, found } => write!(
                f,
                "{}: the state directory has version {found}, this program knows up to {STATE_VERSION}: run the newer \
                 program again",
                path.display()
            ),
            StateDirError::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StateDirError {}

/// A locked state directory. The lock goes with it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory when it is not there, locks it, checks its version.
    ///
    /// # Errors
    /// [`StateDirError`].
    pub fn open(path: &Path) -> Result<StateDir, StateDirError> {
        make(path).map_err(|error| StateDirError::Io { path: path.to_owned(), error })?;
        let lock = lock(path)?;
        check_version(path)?;
        Ok(StateDir { path: path.to_owned(), _lock: lock })
    }

    /// The pid of the agent that holds a state directory, if one does. Touches nothing.
    pub fn holder(path: &Path) -> Option<u32> {
        let file = File::open(path.join(LOCK_FILE)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Some(read_pid(&file)),
            _ => None,
        }
    }

    /// Refuses a directory of a newer program. Touches nothing.
    ///
    /// # Errors
    /// [`StateDirError::Newer`].
    pub fn check_known(path: &Path) -> Result<(), StateDirError> {
        let text = std::fs::read_to_string(path.join(VERSION_FILE)).unwrap_or_default();
        match text.trim().parse() {
            Ok(found) if found > STATE_VERSION => Err(StateDirError::Newer { path: path.to_owned(), found }),
            _ => Ok(()),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger's file.
    pub fn ledger_path(&self) -> PathBuf {
        self.path.join(LEDGER_FILE)
    }

    /// A connection to the ledger, made with mode 0600 when it is not there. SQLite gives WAL and index the same mode.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn connect(&self) -> Result<Connection, LedgerError> {
        let path = self.ledger_path();
        let file = path.display().to_string();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(new) => new.set_permissions(Permissions::from_mode(0o600)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| LedgerError::Disk { file: file.clone(), action: "create", error })?;
        Connection::open(&path).map_err(|error| LedgerError::Sqlite { file, error })
    }

    /// The disk below this directory.
    pub fn disk(&self) -> OsDisk {
        OsDisk::new(&self.path)
    }

    /// A reader of the spool of ledger `id`.
    pub fn reader(&self, id: u128) -> SpoolReader {
        SpoolReader::new(&self.path, &self.ledger_path(), id)
    }
}

/// Makes the directory and its parents; the mode of what is made does not depend on the umask.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make(parent)?;
    }
    match DirBuilder::new().mode(0o750).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            std::fs::set_permissions(path, Permissions::from_mode(0o750))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok(fsync(File::open(parent.unwrap_or(Path::new(".")))?)?)
        }
    }
}

fn lock(dir: &Path) -> Result<File, StateDirError> {
    let path = dir.join(LOCK_FILE);
    let failed = |error: io::Error| StateDirError::Io { path: path.clone(), error };
    // Not truncated: the pid in it belongs to whoever holds the lock.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(StateDirError::Held { path: dir.to_owned(), pid: read_pid(&file) });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0).map_err(failed)?;
    file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).map_err(failed)?;
    Ok(file)
}

fn read_pid(mut file: &File) -> u32 {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    text.trim().parse().unwrap_or(0)
}

fn check_version(dir: &Path) -> Result<(), StateDirError> {
    let path = dir.join(VERSION_FILE);
    let failed = |error: io::Error| StateDirError::Io { path: path.clone(), error };
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(found) if found > STATE_VERSION => Err(StateDirError::Newer { path: dir.to_owned(), found }),
            Ok(_) => Ok(()),
            Err(_) => Err(failed(io::Error::new(io::ErrorKind::InvalidData, "this is no version number"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_version(dir, &path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn write_version(dir: &Path, path: &Path) -> io::Result<()> {
    let temporary = dir.join(".VERSION.tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(format!("{STATE_VERSION}\n").as_bytes())?;
    fsync(&file)?;
    std::fs::rename(&temporary, path)?;
    Ok(fsync(File::open(dir)?)?)
}

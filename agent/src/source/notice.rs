//! Notice: what a source has for the operator, in plain words with the remedy.
//!
//! Promises: each is said once a file; nothing in it comes from log content.
//! Must not know: the log, metrics.
use std::fmt;
use std::path::PathBuf;

/// What the operator should know. Each is said once a file (and counted); the driver rate-limits kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file may not be read; it is tried again.
    NoPermission {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory cannot be read: the system's words. It is tried again.
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        error: String,
    },
    /// A file that is compressed in a way that is not read is ignored.
    Compressed {
        /// The file.
        path: PathBuf,
    },
    /// A compressed file ends in the middle, or is damaged: what could be decompressed was read.
    Broken {
        /// The file.
        path: PathBuf,
        /// Its text was read up to here, bytes.
        position: u64,
        /// What is wrong, and where.
        why: String,
    },
    /// A file is shorter than our position with the same head: goes on at its size (RULINGS 4).
    Shrunk {
        /// The file.
        path: PathBuf,
        /// Where we stood, bytes.
        position: u64,
        /// Its size, bytes.
        size: u64,
    },
    /// A file was truncated or rewritten: a new generation from 0.
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where we stood, bytes.
        position: u64,
    },
    /// A run of NUL bytes was skipped.
    NulSkipped {
        /// The file.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// Bytes left the disk before they were read (RULINGS 13).
    Unread {
        /// The file.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// A copy of a file that was truncated, or is gone: goes on where that one stood (PROTOCOL S4).
    CopyAdopted {
        /// The copy.
        path: PathBuf,
        /// Where the original was seen last.
        of: PathBuf,
        /// Goes on here, bytes.
        position: u64,
    },
    /// A file begins like one that is followed: held back until that one shrinks or 60 s pass.
    CopyHeld {
        /// The copy.
        path: PathBuf,
        /// The original.
        of: PathBuf,
    },
    /// A held file is a copy of one that goes on: followed from where the original stood.
    CopyKnown {
        /// The copy.
        path: PathBuf,
        /// The original.
        of: PathBuf,
        /// Goes on here, bytes.
        position: u64,
    },
    /// A line above the limit was skipped.
    LongLine {
        /// The file.
        path: PathBuf,
        /// Its first byte.
        offset: u64,
        /// Its length, bytes.
        length: u64,
    },
    /// `--once`: the unterminated last line of a live file stays for the next run.
    TailUnread {
        /// The file.
        path: PathBuf,
        /// Its length, bytes.
        bytes: u64,
    },
}

impl Notice {
    /// The word by which a repeating kind is counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Notice::NoPermission { .. } => "no permission",
            Notice::Unreadable { .. } => "unreadable",
            Notice::Compressed { .. } => "compressed",
            Notice::Broken { .. } => "broken",
            Notice::Shrunk { .. } => "shrunk",
            Notice::Truncated { .. } => "truncated",
            Notice::NulSkipped { .. } => "nul skipped",
            Notice::Unread { .. } => "unread",
            Notice::CopyAdopted { .. } => "copy adopted",
            Notice::CopyHeld { .. } => "copy held",
            Notice::CopyKnown { .. } => "copy known",
            Notice::LongLine { .. } => "long line",
            Notice::TailUnread { .. } => "tail unread",
        }
    }

    /// Whether one file may be the reason of many of it: it is said once a minute.
    pub fn repeats(&self) -> bool {
        matches!(
            self,
            Notice::NulSkipped { .. }
                | Notice::LongLine { .. }
                | Notice::Shrunk { .. }
                | Notice::Truncated { .. }
        )
    }

    /// Whether an operator should do something about it, or has lost something.
    pub fn is_warning(&self) -> bool {
        !matches!(
            self,
            Notice::Compressed { .. }
                | Notice::Truncated { .. }
                | Notice::CopyAdopted { .. }
                | Notice::CopyHeld { .. }
                | Notice::CopyKnown { .. }
                | Notice::TailUnread { .. }
        )
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::NoPermission { path } => write!(f, "{} may not be read", path.display()),
            Notice::Unreadable { path, error } => {
                write!(f, "{} cannot be read: {error}; it is tried again", path.display())
            }
            Notice::Compressed { path } => write!(
                f,
                "{} is ignored because its name says that it is compressed in a way that is not read: use gzip or zstd",
                path.display()
            ),
            Notice::Broken { path, position, why } => write!(
                f,
                "{} is damaged ({why}): its text was read up to {position}, what follows cannot be",
                path.display()
            ),
            Notice::Shrunk { path, position, size } => write!(
                f,
                "{} is {size} bytes long and was read up to {position}, with the same beginning: reading goes on at its \
                 present end",
                path.display()
            ),
            Notice::Truncated { path, position } => write!(
                f,
                "{} was truncated or rewritten (it was read up to {position}): it is read from its beginning",
                path.display()
            ),
            Notice::NulSkipped { path, bytes } => write!(
                f,
                "{bytes} NUL bytes in {} were skipped: its writer should open it with O_APPEND",
                path.display()
            ),
            Notice::Unread { path, bytes } => write!(
                f,
                "{bytes} bytes of {} left the disk before they were read: keep rotated files longer, and under a glob",
                path.display()
            ),
            Notice::CopyAdopted { path, of, position } => {
                write!(f, "{} is a copy of {}: it goes on at {position}", path.display(), of.display())
            }
            Notice::CopyHeld { path, of } => write!(
                f,
                "{} begins like {}, which is followed: it is held back until that one is truncated, 60 s at most",
                path.display(),
                of.display()
            ),
            Notice::CopyKnown { path, of, position } => write!(
                f,
                "{} is a copy of {}, which goes on: it is followed from {position}",
                path.display(),
                of.display()
            ),
            Notice::LongLine { path, offset, length } => write!(
                f,
                "a line of {length} bytes at {offset} in {} is above EDGEPUSH_LINE_MAX: its first 64 KiB are in the rejects",
                path.display()
            ),
            Notice::TailUnread { path, bytes } => write!(
                f,
                "the last {bytes} bytes of {} have no newline yet: they are left for the next run",
                path.display()
            ),
        }
    }
}

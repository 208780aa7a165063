//! Seen: which signed requests came before: `nonces.db` in the state directory.
//!
//! Promises: what was taken is known while its date is good, by the next run too, and when this one is killed; a power
//! cut may forget what SQLite's log had not synced. Mode 0600; never more than [`SEEN_MAX`] rows.
//! Must not know: how often a key may, what is asked for.
use super::turnstile::DATE_SECONDS;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file in the state directory.
const SEEN_FILE: &str = "nonces.db";
/// Requests that are remembered over all keys: about 10 MB.
pub(super) const SEEN_MAX: i64 = 200_000;
/// All that stands in the file.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS seen(date INTEGER NOT NULL, key TEXT NOT NULL, \
                      nonce INTEGER NOT NULL, PRIMARY KEY(date, key, nonce)) WITHOUT ROWID";

/// The requests that were taken. Opened when the first one comes.
#[derive(Debug)]
pub(super) struct Seen {
    file: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    conn: Connection,
    rows: i64,
}

/// A signed request: whose, when (s since the epoch), and its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) key: &'a str,
    pub(super) date: i64,
    pub(super) nonce: u64,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It never came.
    New,
    /// It came before.
    Before,
    /// No further one can be remembered now.
    Full,
}

impl Seen {
    /// Those of a state directory.
    pub(super) fn new(state: &Path) -> Seen {
        Seen { file: state.join(SEEN_FILE), open: None }
    }

    /// Looks a request up, and forgets those whose date is not good any more at `wall` (s since the epoch).
    ///
    /// # Errors
    /// SQLite's; then nobody knows.
    pub(super) fn look(&mut self, request: Request<'_>, wall: i64) -> rusqlite::Result<Known> {
        self.with(|Open { conn, rows }| {
            let old =
                conn.prepare_cached("DELETE FROM seen WHERE date < ?1")?.execute([wall - DATE_SECONDS])?;
            *rows -= old as i64;
            let before = conn
                .prepare_cached("SELECT 1 FROM seen WHERE date = ?1 AND key = ?2 AND nonce = ?3")?
                .query_row(params![request.date, request.key, request.nonce as i64], |_| Ok(()))
                .optional()?;
            Ok(match before {
                Some(()) => Known::Before,
                None if *rows >= SEEN_MAX => Known::Full,
                None => Known::New,
            })
        })
    }

    /// Remembers a request.
    ///
    /// # Errors
    /// SQLite's; then it is not remembered.
    pub(super) fn add(&mut self, request: Request<'_>) -> rusqlite::Result<()> {
        self.with(|Open { conn, rows }| {
            conn.prepare_cached("INSERT INTO seen VALUES(?1, ?2, ?3)")?.execute(params![
                request.date,
                request.key,
                request.nonce as i64
            ])?;
            *rows += 1;
            Ok(())
        })
    }

    fn with<T>(&mut self, what: impl FnOnce(&mut Open) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(open(&self.file)?),
        };
        let done = what(open);
        if done.is_err() {
            // Whatever it was: the next request looks anew.
            self.open = None;
        }
        done
    }

    /// Takes so many requests of the date 0, their nonces from 1 on.
    #[cfg(test)]
    pub(super) fn fill(&mut self, key: &str, count: i64) {
        let filled = self.with(|Open { conn, rows }| {
            let all = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2) \
                       INSERT INTO seen SELECT 0, ?1, n FROM n";
            *rows += conn.execute(all, params![key, count])? as i64;
            Ok(())
        });
        filled.unwrap();
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> i64 {
        self.open.as_ref().map_or(0, |open| open.rows)
    }
}

fn open(file: &Path) -> rusqlite::Result<Open> {
    let broken = |error: &rusqlite::Error| {
        matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
    };
    match connect(file) {
        Err(error) if broken(&error) => {
            tracing::warn!(file = %file.display(), %error, "is no list of nonces: made anew; requests of the last \
                hour could be taken once more");
            for end in ["", "-wal", "-shm"] {
                let mut name = file.as_os_str().to_owned();
                name.push(end);
                // What cannot be removed cannot be made anew, which says so.
                let _ = std::fs::remove_file(name);
            }
            connect(file)
        }
        opened => opened,
    }
}

fn connect(file: &Path) -> rusqlite::Result<Open> {
    // SQLite makes its other files with this one's mode. Why this fails it says better.
    let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    let conn = Connection::open(file)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    // In the log at once, and synced by its checkpoints: a kill forgets nothing.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.execute_batch(SCHEMA)?;
    let rows = conn.query_row("SELECT count(*) FROM seen", [], |row| row.get(0))?;
    Ok(Open { conn, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ONE: Request<'_> = Request { key: "a", date: 1000, nonce: 7 };

    #[test]
    fn the_next_run_knows_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Seen::new(dir.path());
        assert_eq!(seen.look(ONE, 1000), Ok(Known::New));
        seen.add(ONE).unwrap();
        let mode =
            |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(SEEN_FILE), mode("nonces.db-wal")), (0o600, 0o600));
        // As a kill leaves it: nothing is closed.
        std::mem::forget(seen);
        let mut next = Seen::new(dir.path());
        assert_eq!(next.look(ONE, 4600), Ok(Known::Before));
        assert_eq!(next.look(Request { nonce: 8, ..ONE }, 4600), Ok(Known::New));
        assert_eq!((next.look(ONE, 4601), next.rows()), (Ok(Known::New), 0), "its date is not good any more");
    }

    #[test]
    fn a_broken_file_is_made_anew_and_a_directory_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(SEEN_FILE),
            "this is no database, but it is long enough for a head".repeat(40),
        )
        .unwrap();
        let mut seen = Seen::new(dir.path());
        assert_eq!(seen.look(ONE, 1000), Ok(Known::New));
        seen.add(ONE).unwrap();
        assert_eq!(seen.look(ONE, 1000), Ok(Known::Before));
        assert!(Seen::new(&dir.path().join("gone")).look(ONE, 1000).is_err());
    }
}

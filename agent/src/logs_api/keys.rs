//! Keys: who may list and download what: `keys.db` in the state directory.
//!
//! Promises: mode 0600, and the owner of the state directory, whoever makes it; a running agent goes by a change within
//! a second; a secret is shown once, when it is made, and never logged.
//! Must not know: requests.
use crate::archive::name;
use crate::config::Secret;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::collections::HashMap;
use std::fmt;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The file in the state directory.
pub const KEYS_FILE: &str = "keys.db";
/// Most keys: more than one agent has customers.
pub const KEYS_MAX: i64 = 10_000;
const SCHEMA_VERSION: i64 = 1;
/// How long a question waits for somebody who changes keys.
const BUSY: Duration = Duration::from_secs(5);
/// Keys that were read are used for so long.
const FRESH: Duration = Duration::from_millis(500);

/// Which domains a key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domains {
    /// All, also those that records have not named yet.
    All,
    /// These, as [`name::domain`] spells them.
    Only(Vec<String>),
}

impl Domains {
    /// Reads a list with commas, or `*`.
    ///
    /// # Errors
    /// What is no domain.
    pub fn read(text: &str) -> Result<Domains, String> {
        let mut only = Vec::new();
        for part in text.split(',').map(str::trim) {
            match (part, name::domain(part.as_bytes())) {
                ("*", _) if text.trim() == "*" => return Ok(Domains::All),
                (part, _) if name::is_domain(part) => only.push(part.to_owned()),
                (_, domain) if domain != name::INVALID => only.push(domain.into_owned()),
                _ => {
                    return Err(format!(
                        "--domain {part}: is no domain; name one, several with commas, or * alone"
                    ));
                }
            }
        }
        only.sort();
        only.dedup();
        Ok(Domains::Only(only))
    }

    /// Whether it is for this domain.
    pub fn has(&self, domain: &str) -> bool {
        match self {
            Domains::All => true,
            Domains::Only(only) => only.iter().any(|own| own == domain),
        }
    }
}

impl fmt::Display for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domains::All => f.write_str("*"),
            Domains::Only(only) => f.write_str(&only.join(",")),
        }
    }
}

/// One access key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public part.
    pub id: String,
    /// For people.
    pub name: String,
    /// What requests are signed with.
    pub secret: Secret,
    /// What it is for.
    pub domains: Domains,
    /// Whether it is refused at present.
    pub disabled: bool,
    /// When it was made, s since the epoch.
    pub made: i64,
}

impl Key {
    /// Whether it opens this domain now.
    pub fn opens(&self, domain: &str) -> bool {
        !self.disabled && self.domains.has(domain)
    }
}

/// Why keys cannot be had.
#[derive(Debug)]
pub struct KeysError {
    file: PathBuf,
    why: String,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (run this as the agent's user, or as root)", self.file.display(), self.why)
    }
}

impl std::error::Error for KeysError {}

/// The keys as a command sees them.
#[derive(Debug)]
pub struct KeyStore {
    conn: Connection,
    file: PathBuf,
}

impl KeyStore {
    /// Opens the keys of a state directory to change them; makes them when there are none.
    ///
    /// # Errors
    /// They cannot be made or opened.
    pub fn open(state: &Path) -> Result<KeyStore, KeysError> {
        let file = state.join(KEYS_FILE);
        let failed = |error: io::Error| KeysError { file: file.clone(), why: error.to_string() };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
            Ok(new) => {
                new.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
                // root may make them for the agent's user.
                let owner = std::fs::metadata(state).map_err(failed)?;
                if rustix::process::geteuid().is_root() && owner.uid() != 0 {
                    chown(&file, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let store = KeyStore::with(file.clone(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        store.on(|conn| {
            conn.pragma_update(None, "synchronous", "FULL")?;
            let tx = rusqlite::Transaction::new_unchecked(conn, rusqlite::TransactionBehavior::Immediate)?;
            if schema(&tx)? == 0 {
                tx.execute_batch(
                    "CREATE TABLE key(id TEXT PRIMARY KEY, name TEXT NOT NULL, secret TEXT NOT NULL, \
                     domains TEXT NOT NULL, disabled INTEGER NOT NULL, made INTEGER NOT NULL) WITHOUT ROWID",
                )?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            tx.commit()
        })?;
        Ok(store)
    }

    /// Opens the keys to look at them; `None`: there are none.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn look(state: &Path) -> Result<Option<KeyStore>, KeysError> {
        let file = state.join(KEYS_FILE);
        match std::fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeysError { file, why: error.to_string() }),
            Ok(_) => {}
        }
        let store = KeyStore::with(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // Made, and not filled yet.
        Ok((store.on(schema)? > 0).then_some(store))
    }

    fn with(file: PathBuf, flags: OpenFlags) -> Result<KeyStore, KeysError> {
        let opened = Connection::open_with_flags(&file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let conn = opened.map_err(|error| KeysError { file: file.clone(), why: error.to_string() })?;
        let store = KeyStore { conn, file };
        store.on(|conn| conn.busy_timeout(BUSY))?;
        match store.on(schema)? {
            found if found > SCHEMA_VERSION => {
                let why = format!("has schema {found}, this program knows up to {SCHEMA_VERSION}");
                Err(KeysError { file: store.file, why })
            }
            _ => Ok(store),
        }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// It is not made then.
    pub fn add(&self, name: &str, domains: Domains, now: i64) -> Result<Key, KeysError> {
        let failed = |why: String| KeysError { file: self.file.clone(), why };
        let mut random = [0; 10 + 32];
        getrandom::fill(&mut random).map_err(|error| failed(error.to_string()))?;
        let id = format!("EP{}", letters(&random[..10]));
        let key = Key {
            id,
            name: name.to_owned(),
            secret: Secret::new(letters(&random[10..])),
            domains,
            disabled: false,
            made: now,
        };
        let made = self.on(|conn| {
            conn.execute(
                "INSERT INTO key SELECT ?1, ?2, ?3, ?4, 0, ?5 WHERE (SELECT count(*) FROM key) < ?6",
                params![key.id, key.name, key.secret.expose(), key.domains.to_string(), now, KEYS_MAX],
            )
        })?;
        if made == 0 {
            Err(failed(format!("there are {KEYS_MAX} keys already; remove some")))
        } else {
            Ok(key)
        }
    }

    /// All keys, by name.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn all(&self) -> Result<Vec<Key>, KeysError> {
        self.on(|conn| {
            let mut statement =
                conn.prepare("SELECT id, name, secret, domains, disabled, made FROM key ORDER BY name, id")?;
            let rows = statement.query_map([], key)?;
            rows.collect()
        })
    }

    /// The id of the key that is meant: its id, or a name that only one has.
    ///
    /// # Errors
    /// There is none, or more than one; or they cannot be read.
    pub fn find(&self, what: &str) -> Result<Result<String, String>, KeysError> {
        let of_id = self.on(|conn| {
            conn.query_row("SELECT id FROM key WHERE id = ?1", [what], |row| row.get::<_, String>(0))
                .optional()
        })?;
        if let Some(id) = of_id {
            return Ok(Ok(id));
        }
        let mut named: Vec<String> =
            self.all()?.into_iter().filter(|key| key.name == what).map(|key| key.id).collect();
        Ok(match named.len() {
            0 => Err(format!("no key has the id or the name {what}")),
            1 => Ok(named.remove(0)),
            n => Err(format!("{n} keys have the name {what}: say which by its id ({})", named.join(", "))),
        })
    }

    /// Removes a key: what it signed is refused from now on.
    ///
    /// # Errors
    /// It is still there then.
    pub fn remove(&self, id: &str) -> Result<bool, KeysError> {
        self.on(|conn| conn.execute("DELETE FROM key WHERE id = ?1", [id])).map(|n| n > 0)
    }

    /// Refuses a key, or takes it again.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn disable(&self, id: &str, disabled: bool) -> Result<bool, KeysError> {
        self.on(|conn| conn.execute("UPDATE key SET disabled = ?2 WHERE id = ?1", params![id, disabled]))
            .map(|n| n > 0)
    }

    /// Gives a key other domains.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn set_domains(&self, id: &str, domains: &Domains) -> Result<bool, KeysError> {
        let domains = domains.to_string();
        self.on(|conn| conn.execute("UPDATE key SET domains = ?2 WHERE id = ?1", params![id, domains]))
            .map(|n| n > 0)
    }

    fn on<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, KeysError> {
        ask(&self.conn).map_err(|error| KeysError { file: self.file.clone(), why: error.to_string() })
    }
}

fn schema(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let domains: String = row.get(3)?;
    let domains = match domains.as_str() {
        "*" => Domains::All,
        some => Domains::Only(some.split(',').map(str::to_owned).collect()),
    };
    let secret: String = row.get(2)?;
    Ok(Key {
        id: row.get(0)?,
        name: row.get(1)?,
        secret: Secret::new(secret),
        domains,
        disabled: row.get(4)?,
        made: row.get(5)?,
    })
}

/// Random bytes as letters and digits that nobody mixes up (Crockford's base 32, 5 bits each).
fn letters(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let (mut bits, mut n, mut out) = (0u32, 0, String::new());
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        n += 8;
        while n >= 5 {
            n -= 5;
            out.push(char::from(LETTERS[(bits >> n) as usize & 31]));
        }
    }
    out
}

/// The keys as the running agent sees them: what a command changed counts within a second.
#[derive(Debug)]
pub struct KeyRing {
    state: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    keys: Arc<HashMap<String, Arc<Key>>>,
    read: Option<Instant>,
}

impl KeyRing {
    /// The keys of a state directory; nothing is read yet.
    pub fn new(state: &Path) -> KeyRing {
        KeyRing { state: state.to_owned(), held: Mutex::default() }
    }

    /// A key, as it is now. Blocks while it reads. When keys cannot be read, those that were read last count on.
    pub fn get(&self, id: &str) -> Option<Arc<Key>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.read.is_none_or(|read| read.elapsed() >= FRESH) {
            match KeyStore::look(&self.state)
                .and_then(|store| store.map_or(Ok(Vec::new()), |store| store.all()))
            {
                Ok(all) => {
                    held.keys =
                        Arc::new(all.into_iter().map(|key| (key.id.clone(), Arc::new(key))).collect());
                }
                Err(error) => crate::once_a_minute!(warn, %error, "access keys cannot be read"),
            }
            held.read = Some(Instant::now());
        }
        held.keys.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_found_changed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(KeyStore::look(dir.path()).unwrap().is_none());
        let store = KeyStore::open(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(KEYS_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let one = store.add("one", Domains::read("A.example, b.example,a.example:80").unwrap(), 7).unwrap();
        let two = store.add("two", Domains::All, 8).unwrap();
        assert_eq!((one.id.len(), one.secret.expose().len()), (18, 51));
        assert_ne!(one.secret.expose(), two.secret.expose());
        let looked = KeyStore::look(dir.path()).unwrap().unwrap();
        let all = looked.all().unwrap();
        assert_eq!(all.iter().map(|key| &key.name).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(all[0].domains.to_string(), "a.example,b.example");
        assert_eq!(all[0].secret.expose(), one.secret.expose());
        assert!(!format!("{all:?}").contains(one.secret.expose()), "a secret is never shown by accident");
        assert!(all[0].opens("a.example") && !all[0].opens("c.example") && all[1].opens("c.example"));
        assert_eq!(store.find("one").unwrap().as_ref(), Ok(&one.id));
        assert_eq!(store.find(&two.id).unwrap().as_ref(), Ok(&two.id));
        assert!(store.find("three").unwrap().is_err());
        assert!(store.disable(&one.id, true).unwrap());
        assert!(!looked.all().unwrap()[0].opens("a.example"));
        assert!(store.set_domains(&two.id, &Domains::Only(vec!["x".into()])).unwrap());
        assert!(!looked.all().unwrap()[1].opens("c.example"));
        assert!(store.remove(&one.id).unwrap() && !store.remove(&one.id).unwrap());
        store.add("two", Domains::All, 9).unwrap();
        assert!(store.find("two").unwrap().unwrap_err().contains(&two.id));
    }

    #[test]
    fn the_running_agent_goes_by_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::new(dir.path());
        assert!(ring.get("x").is_none());
        let store = KeyStore::open(dir.path()).unwrap();
        let key = store.add("one", Domains::All, 7).unwrap();
        std::thread::sleep(FRESH);
        assert_eq!(ring.get(&key.id).unwrap().name, "one");
        store.remove(&key.id).unwrap();
        std::thread::sleep(FRESH);
        assert!(ring.get(&key.id).is_none());
    }

    #[test]
    fn domains_are_read_or_refused() {
        for text in ["", "a,", "a,*", "*,a", "a/b", "..", "_x"] {
            assert!(Domains::read(text).is_err(), "{text}");
        }
        assert_eq!(Domains::read(" * "), Ok(Domains::All));
        assert_eq!(Domains::read("_other"), Ok(Domains::Only(vec!["_other".into()])));
    }
}

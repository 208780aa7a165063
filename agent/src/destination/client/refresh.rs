//! refresh: files that are read again once they have changed: certificates, keys, tokens.
//!
//! Promises: what was read last is used for as long as nothing newer can be read; nobody restarts the agent for it.
//! Must not know: what is in the files.
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What a file looked like from outside; two that are equal were not changed in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    /// Of the file that a path leads to now.
    pub fn of(path: &Path) -> Stamp {
        let stat = std::fs::metadata(path);
        let seen = stat.and_then(|stat| Ok((stat.modified()?, stat.len(), stat.ino())));
        Stamp(seen.ok())
    }
}

/// A file whose one line is a secret.
pub struct SecretFile {
    /// The parameter that names it.
    parameter: &'static str,
    path: PathBuf,
    read: Mutex<(Stamp, Arc<str>)>,
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.parameter, self.path.display())
    }
}

/// Most bytes of a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

impl SecretFile {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read, or holds no secret; with the parameter and the path.
    pub fn open(parameter: &'static str, path: &Path) -> Result<SecretFile, String> {
        // The stamp first: what changes in between is read again.
        let stamp = Stamp::of(path);
        let secret = read(parameter, path)?;
        Ok(SecretFile { parameter, path: path.to_owned(), read: Mutex::new((stamp, secret)) })
    }

    /// The secret that the file holds now; the last one, and a WARN, while a newer one cannot be read.
    pub fn current(&self) -> Arc<str> {
        let stamp = Stamp::of(&self.path);
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != stamp {
            last.0 = stamp;
            match read(self.parameter, &self.path) {
                Ok(secret) => {
                    tracing::info!("{self:?} has changed and was read again");
                    last.1 = secret;
                }
                Err(why) => tracing::warn!("{why}; what was read before is used on"),
            }
        }
        last.1.clone()
    }
}

fn read(parameter: &str, path: &Path) -> Result<Arc<str>, String> {
    let failed = |why: &dyn fmt::Display| format!("{parameter}={}: {why}", path.display());
    let stat = std::fs::metadata(path).map_err(|e| failed(&e))?;
    if stat.len() > SECRET_BYTES_MAX {
        return Err(failed(&format_args!("is larger than {SECRET_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    let secret = text.trim();
    if secret.is_empty() || secret.contains(char::is_control) {
        return Err(failed(&"must hold one line with the secret"));
    }
    Ok(secret.into())
}

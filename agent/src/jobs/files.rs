//! files: looks at a directory of job files.
//!
//! Promises: what an editor has half-written is not judged: a directory is told only when names, sizes, times and bytes
//! were the same in two looks; names that begin with a dot, or do not end with `.json`, are nobody's; blocking calls are
//! on threads that may block.
//! Must not know: what a job is, what becomes of a set.
use super::guard::Seen;
use super::set::SetFile;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest set, bytes.
pub const SET_BYTES_MAX: u64 = 32 << 20;
/// The file that confirms a set by its digest.
pub const CONFIRM: &str = "CONFIRM";
/// A digest and some space around it.
const CONFIRM_BYTES_MAX: u64 = 256;
/// After so many looks at a directory that is never twice the same, that is told.
const UNSETTLED_MAX: u32 = 10;

/// A directory of job files.
pub struct Directory {
    path: PathBuf,
    settle: Duration,
    /// As it was when it was told last.
    told: Option<Stamps>,
    unsettled: u32,
}

/// What a look without reading sees of each file: name, device, inode, size, and when it or its content changed last.
type Stamps = Result<Vec<(String, [i64; 7])>, String>;
/// What a look with reading sees.
type Whole = (Stamps, Result<Seen, String>);

impl Directory {
    /// A directory whose content must be the same in two looks so far apart.
    pub fn new(path: PathBuf, settle: Duration) -> Directory {
        Directory { path, settle, told: None, unsettled: 0 }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The set in it, or why it cannot be read; `None`: it is as it was when it was told last, or it changes at this
    /// moment. `whole`: also when it is as it was.
    pub async fn look(&mut self, whole: bool) -> Option<Result<Seen, String>> {
        if !whole && self.told.is_some() {
            let stamps = self.on_its_thread(stamps).await;
            if self.told.as_ref() == Some(&stamps) {
                return None;
            }
        }
        let before = self.on_its_thread(read).await;
        tokio::time::sleep(self.settle).await;
        let after = self.on_its_thread(read).await;
        if before != after {
            self.unsettled += 1;
            let why =
                "changes while it is read: write files under a name with a dot before it and rename them";
            return (self.unsettled == UNSETTLED_MAX).then(|| Err(format!("{} {why}", self.path.display())));
        }
        self.unsettled = 0;
        let (stamps, seen) = after;
        self.told = Some(stamps);
        Some(seen)
    }

    async fn on_its_thread<T: Send + 'static>(&self, look: fn(&Path) -> T) -> T {
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || look(&path)).await;
        looked.expect("INVARIANT: a look does not panic")
    }
}

fn stamps(path: &Path) -> Stamps {
    let mut stamps = Vec::new();
    for name in names(path)? {
        let stamp = match fs::metadata(path.join(&name)) {
            Ok(met) => stamp(&met),
            // A link to nothing, or no permission: told when it is read.
            Err(_) => [-1; 7],
        };
        stamps.push((name, stamp));
    }
    Ok(stamps)
}

fn stamp(met: &Metadata) -> [i64; 7] {
    let (dev, ino, size) = (met.dev() as i64, met.ino() as i64, met.size() as i64);
    [dev, ino, size, met.mtime(), met.mtime_nsec(), met.ctime(), met.ctime_nsec()]
}

/// The names that count, in their order.
fn names(path: &Path) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let bytes = name.as_encoded_bytes();
        if name == CONFIRM || bytes.ends_with(b".json") && !bytes.starts_with(b".") {
            let text = name.into_string();
            names.push(text.map_err(|name| format!("{name:?} is a name that is not UTF-8: rename it"))?);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read(path: &Path) -> Whole {
    let stamps = stamps(path);
    let seen = stamps.as_ref().map_err(String::clone).and_then(|stamps| read_files(path, stamps));
    (stamps, seen)
}

fn read_files(path: &Path, stamps: &[(String, [i64; 7])]) -> Result<Seen, String> {
    let (mut seen, mut wrong, mut left) = (Seen::default(), Vec::new(), SET_BYTES_MAX);
    for (name, _) in stamps {
        let most = if name == CONFIRM { CONFIRM_BYTES_MAX } else { left };
        match read_file(&path.join(name), most) {
            Ok(bytes) if name == CONFIRM => {
                seen.confirmed = Some(String::from_utf8_lossy(&bytes).trim().to_owned());
            }
            Ok(bytes) => {
                left -= bytes.len() as u64;
                seen.files.push((name.clone(), bytes) as SetFile);
            }
            Err(why) => wrong.push(format!("{name} {why}")),
        }
    }
    if wrong.is_empty() { Ok(seen) } else { Err(wrong.join("; ")) }
}

fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("is no regular file: remove it, or name it otherwise".into());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(format!("is too large: a set has at most {SET_BYTES_MAX} bytes")),
        false => Ok(bytes),
    }
}

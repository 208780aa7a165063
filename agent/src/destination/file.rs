//! `file:///dir` (and `archive:`, `_rejects`): a batch becomes a file under its final name.
//!
//! Promises: a name is either absent or whole and durable: temporary name `.<final>.tmp`, fdatasync, rename, fsync of
//! the directory (INTERFACE 4). A batch sent again under its name is the same file. No thread of the agent waits for
//! the disk.
//! Must not know: who asks.
use super::{Answer, Boxed, Destination, Outgoing, Status, Verdict};
use crate::config::Reserve;
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that takes batches as files.
pub struct FileDestination {
    root: Arc<Path>,
    shown: String,
    bound: Option<Bound>,
    keep_free: Reserve,
    /// Batches make no directories of their own.
    flat: bool,
}

/// What may lie in the directory, and how many files went to keep it so.
#[derive(Clone)]
struct Bound {
    bytes_max: u64,
    removed: Arc<AtomicU64>,
}

impl FileDestination {
    /// A destination below `root`, which is made when it is missing.
    pub fn new(root: PathBuf) -> FileDestination {
        let shown = format!("file://{}", root.display());
        FileDestination { root: root.into(), shown, bound: None, keep_free: Reserve::Percent(0), flat: false }
    }

    /// Looks for what an earlier run left half written in the directory itself, not below it.
    #[must_use]
    pub(super) fn flat(self) -> FileDestination {
        FileDestination { flat: true, ..self }
    }

    /// Writes nothing that would take the file system below this.
    #[must_use]
    pub fn keeping_free(mut self, reserve: Reserve) -> FileDestination {
        self.keep_free = reserve;
        self
    }

    /// Keeps the directory below so many bytes: the oldest files go, by their names; `removed` counts them.
    #[must_use]
    pub fn bounded(mut self, bytes_max: u64, removed: Arc<AtomicU64>) -> FileDestination {
        self.bound = Some(Bound { bytes_max, removed });
        self
    }
}

/// Refuses what would take the file system below its reserve.
pub(super) fn admit(root: &Path, len: u64, keep_free: Reserve) -> io::Result<()> {
    if keep_free == Reserve::Percent(0) {
        return Ok(());
    }
    let there = root.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(there)?;
    let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    let reserve = keep_free.of(total);
    if free.saturating_sub(len) < reserve {
        let why = format!("{free} bytes are free and EDGEPUSH_DISK_RESERVE keeps {reserve}");
        return Err(io::Error::new(io::ErrorKind::StorageFull, why));
    }
    Ok(())
}

/// Writes `body` to `root/name`, durably, or not at all. Blocks.
pub(super) fn store(root: &Path, name: &str, body: &[Bytes]) -> io::Result<()> {
    let path = root.join(name);
    let dir = path.parent().unwrap_or(root);
    make_dirs(dir)?;
    let temporary = temporary(&path);
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&temporary)?;
    let written = write_all(&mut file, body).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // What is half written takes room that the next try needs.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, &path)?;
    File::open(dir)?.sync_all()
}

fn write_all(file: &mut File, body: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = body.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) if left.iter().all(|slice| slice.is_empty()) => return Ok(()),
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a directory and those above it, each durable in the one above it.
fn make_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent();
    if let Some(above) = above {
        make_dirs(above)?;
    }
    match fs::DirBuilder::new().mode(0o750).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    above.map_or(Ok(()), |above| File::open(above)?.sync_all())
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Whether a file is the beginning of one of ours: `.<start>_<end>_<id…>.tmp` (INTERFACE 4).
fn is_leftover(name: &str) -> bool {
    let Some(name) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")) else { return false };
    let mut parts = name.splitn(3, '_');
    let time = |part: Option<&str>| {
        part.is_some_and(|part| {
            let shape = |(at, b): (usize, u8)| match at {
                8 => b == b'T',
                15 => b == b'Z',
                _ => b.is_ascii_digit(),
            };
            part.len() == 16 && part.bytes().enumerate().all(shape)
        })
    };
    let id = |part: Option<&str>| {
        part.is_some_and(|part| part.len() >= 16 && part.bytes().take(16).all(|b| b.is_ascii_hexdigit()))
    };
    time(parts.next()) && time(parts.next()) && id(parts.next())
}

/// Removes what an earlier run left half written. Blocks.
fn remove_leftovers(dir: &Path, below: bool) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if below {
                remove_leftovers(&entry.path(), below)?;
            }
        } else if kind.is_file() && is_leftover(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Bound {
    /// Removes the oldest files until the rest fits, but never the one just written. Blocks.
    fn keep(&self, root: &Path, newest: &str) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && !name.starts_with('.') {
                files.push((name, entry.metadata()?.len()));
            }
        }
        files.sort_unstable();
        let mut total: u64 = files.iter().map(|(_, len)| len).sum();
        for (name, len) in files.iter().filter(|(name, _)| name != newest) {
            if total <= self.bytes_max {
                break;
            }
            fs::remove_file(root.join(name))?;
            total -= len;
            self.removed.fetch_add(1, Ordering::Relaxed);
            crate::once_a_minute!(warn, file = %root.join(name).display(), "the oldest file goes: EDGEPUSH_REJECTS_MAX is reached");
        }
        Ok(())
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

impl Destination for FileDestination {
    fn prepare(&self) -> Boxed<'_, ()> {
        let (root, shown, below) = (self.root.clone(), &self.shown, !self.flat);
        Box::pin(async move {
            match blocking(move || remove_leftovers(&root, below)).await {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("{shown}: half-written files of an earlier run cannot be removed: {e}");
                }
                _ => {}
            }
        })
    }

    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        let (root, bound, keep_free) = (self.root.clone(), self.bound.clone(), self.keep_free);
        Box::pin(async move {
            let stored = blocking(move || {
                admit(&root, batch.len(), keep_free)?;
                store(&root, &batch.name, &batch.body)?;
                bound.map_or(Ok(()), |bound| bound.keep(&root, &batch.name))
            });
            match stored.await {
                Ok(()) => Verdict::Delivered.into(),
                Err(e) => {
                    let why = format!("{}: {e}", self.shown);
                    Answer { verdict: Verdict::Retry { after: None, why }, status: Status::Word("error") }
                }
            }
        })
    }

    fn probe(&self, write: bool) -> Boxed<'_, Result<(), String>> {
        let root = self.root.clone();
        let asked = move || if write { probe(&root) } else { look(&root) };
        Box::pin(async move { blocking(asked).await.map_err(|e| e.to_string()) })
    }

    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        let (root, name, keep_free) = (self.root.clone(), name.to_owned(), self.keep_free);
        Box::pin(async move {
            let stored = blocking(move || {
                admit(&root, body.len() as u64, keep_free)?;
                store(&root, &name, &[body])?;
                Ok(root.join(&name).to_string_lossy().trim_start_matches('/').to_owned())
            });
            stored.await.map_err(|e| format!("{}: {e}", self.shown))
        })
    }

    fn redacted(&self) -> &str {
        &self.shown
    }
}

/// Whether the directory, or the one in which it would be made, may be entered. Writes nothing.
fn look(root: &Path) -> io::Result<()> {
    let there = root.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is no directory", there.display()),
        ));
    }
    Ok(rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

/// Writes a probe object and removes it again, with the directories that had to be made for it.
fn probe(root: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        root.ancestors().take_while(|dir| !dir.exists()).map(Path::to_owned).collect();
    let name = format!(".edgepush-probe-{}", std::process::id());
    let stored = store(root, &name, &[Bytes::from_static(b"probe\n")]);
    let _ = fs::remove_file(root.join(&name));
    for dir in missing {
        let _ = fs::remove_dir(dir);
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_known_by_their_whole_pattern() {
        assert!(is_leftover(".20261121T101112Z_20261121T101113Z_0123456789abcdef.log.gz.tmp"));
        assert!(is_leftover(".20261121T101112Z_20261121T101113Z_0123456789abcdef-1.txt.tmp"));
        for other in [
            "20261121T101112Z_20261121T101113Z_0123456789abcdef.log.gz.tmp",
            ".20261121T101112Z_20261121T101113Z_0123456789abcdef.log.gz",
            ".20261121T101112Z_20261121T101113Z_0123456789abcde.tmp",
            ".download.tmp",
            ".tmp",
        ] {
            assert!(!is_leftover(other), "{other}");
        }
    }

    #[test]
    fn the_oldest_files_go_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let removed = Arc::new(AtomicU64::new(0));
        let bound = Bound { bytes_max: 25, removed: removed.clone() };
        for name in ["a", "b", "c"] {
            store(dir.path(), name, &[Bytes::from_static(b"0123456789")]).unwrap();
            bound.keep(dir.path(), name).unwrap();
        }
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!((left(), removed.load(Ordering::Relaxed)), (vec!["b".into(), "c".into()], 1));
        Bound { bytes_max: 1, removed }.keep(dir.path(), "c").unwrap();
        assert_eq!(left(), ["c"]);
    }
}

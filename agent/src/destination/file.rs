//! `file:///dir` (and `archive:`, `_rejects`): a batch becomes a file under its final name.
//!
//! Promises: a name is either absent or whole and durable: temporary name `.<final>.tmp`, fdatasync, rename, fsync of
//! the directory (INTERFACE 4). A batch sent again under its name is the same file.
//! Must not know: who asks.
use super::{Answer, Boxed, Destination, Outgoing, Verdict};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A directory that takes batches as files.
pub struct FileDestination {
    root: PathBuf,
    shown: String,
}

impl FileDestination {
    /// A destination below `root`, which is made when it is missing.
    pub fn new(root: PathBuf) -> FileDestination {
        let shown = format!("file://{}", root.display());
        FileDestination { root, shown }
    }
}

/// Writes `body` to `root/name`, durably, or not at all.
pub fn store(root: &Path, name: &str, body: &[bytes::Bytes]) -> io::Result<()> {
    let path = root.join(name);
    let dir = path.parent().unwrap_or(root);
    fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{file_name}.tmp"));
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&temporary)?;
    for part in body {
        file.write_all(part)?;
    }
    file.sync_data()?;
    fs::rename(&temporary, &path)?;
    File::open(dir)?.sync_all()
}

impl Destination for FileDestination {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(async move {
            match store(&self.root, &batch.name, &batch.body) {
                Ok(()) => Verdict::Delivered.into(),
                Err(e) => Verdict::Retry { after: None, why: format!("{}: {e}", self.shown) }.into(),
            }
        })
    }

    fn probe(&self, _write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(
            async move { fs::metadata(&self.root).map(drop).map_err(|e| format!("{}: {e}", self.shown)) },
        )
    }

    fn redacted(&self) -> &str {
        &self.shown
    }
}

//! Disk: everything that the spool needs of the operating system, as a trait; and [`OsDisk`], the real one.
//!
//! Promises: an `Ok` of a sync means durable; packs are preallocated, so that a full file system is met when a pack
//! is made and not in the middle of a write, wherever the file system can preallocate.
//! Must not know: SQLite, what a pack's bytes mean.
use crate::failpoint;
use crate::protocol::SourceId;
use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate, fdatasync, fstatvfs, fsync};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The failure points of ledger and spool, in the order in which a life meets them.
pub const POINTS: &[&str] = &[
    "open.schema.before",
    "open.schema.after",
    "open.spool.before",
    "open.spool.after",
    "open.clean.before",
    "open.clean.after",
    "register.before",
    "register.after",
    "pack.create.before",
    "pack.create.after",
    "pack.append.before",
    "pack.append.after",
    "pack.sync.before",
    "pack.sync.after",
    "dir.sync.before",
    "dir.sync.after",
    "source.sync.before",
    "source.sync.after",
    "commit.open",
    "commit.before",
    "commit.after",
    "judge.before",
    "judge.after",
    "split.before",
    "split.after",
    "part.before",
    "part.after",
    "aside.before",
    "aside.after",
    "change.before",
    "change.after",
    "pack.unlink.before",
    "pack.unlink.after",
    "pack.trim.before",
    "pack.trim.after",
    "compact.before",
    "compact.after",
    "publish.before",
    "publish.after",
    "expire.before",
    "expire.after",
];

/// What the spool needs of the operating system. The simulation has its own, with torn, un-synced data.
pub trait Disk {
    /// Opens the spool of a ledger, and makes it when it is not there: by renaming the spool of `previous` if that is
    /// there (the machine id has changed), else new. Durable. Answers with the ids of other ledgers whose spools
    /// lie beside it with packs in them.
    fn spool_open(&mut self, ledger: u128, previous: Option<u128>) -> io::Result<Vec<u128>> {
        let _ = (ledger, previous);
        Ok(Vec::new())
    }
    /// Makes an empty pack with room for `bytes`. A failure leaves no pack.
    fn pack_create(&mut self, pack: u64, bytes: u64) -> io::Result<()>;
    /// Writes `parts` one after the other from `offset` on.
    fn pack_append(&mut self, pack: u64, offset: u64, parts: &[Bytes]) -> io::Result<()>;
    /// Makes a pack's bytes durable.
    fn pack_sync(&mut self, pack: u64) -> io::Result<()>;
    /// Makes the names of new packs durable.
    fn dir_sync(&mut self) -> io::Result<()>;
    /// Reads exactly `len` bytes.
    fn pack_read(&mut self, pack: u64, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    /// Removes a pack. One that is not there is no error.
    fn pack_unlink(&mut self, pack: u64) -> io::Result<()>;
    /// Gives back the room after `bytes`: nothing more is appended to this pack.
    fn pack_trim(&mut self, pack: u64, bytes: u64) -> io::Result<()> {
        let _ = (pack, bytes);
        Ok(())
    }
    /// The packs that are there.
    fn packs(&mut self) -> io::Result<Vec<u64>>;
    /// Makes what was read of a followed log file durable (PROTOCOL P4d). A source that is not attached is gone
    /// from the disk or no file: nothing to do.
    fn source_sync(&mut self, source: SourceId) -> io::Result<()>;
    /// Free and total bytes of the file system, as an ordinary user sees them.
    fn free_bytes(&mut self) -> io::Result<(u64, u64)>;
    /// A failure point of [`POINTS`]: the simulation crashes here, by an error.
    fn point(&mut self, name: &'static str) -> io::Result<()> {
        let _ = name;
        Ok(())
    }
    /// A pack's name for error texts.
    fn pack_label(&self, pack: u64) -> String {
        pack_name(pack)
    }
}

/// File name of a pack.
pub(super) fn pack_name(pack: u64) -> String {
    format!("{pack:012}.pack")
}

/// Directory name of a ledger's spool.
pub(super) fn spool_name(ledger: u128) -> String {
    format!("spool-{ledger:032x}")
}

/// The real disk: packs in `<state>/spool-<ledger id>/`.
#[derive(Debug)]
pub struct OsDisk {
    state: PathBuf,
    spool: PathBuf,
    dir: Option<File>,
    packs: HashMap<u64, File>,
    sources: HashMap<SourceId, Arc<File>>,
}

impl OsDisk {
    /// The spool below a state directory. Touches nothing.
    pub fn new(state: &Path) -> OsDisk {
        OsDisk {
            state: state.to_owned(),
            spool: state.to_owned(),
            dir: None,
            packs: HashMap::new(),
            sources: HashMap::new(),
        }
    }

    /// From now on commits that name an offset of `source` sync this file first. A read-only descriptor will do.
    pub fn attach(&mut self, source: SourceId, file: Arc<File>) {
        self.sources.insert(source, file);
    }

    /// The source's file is gone or closed.
    pub fn detach(&mut self, source: SourceId) {
        self.sources.remove(&source);
    }

    fn path(&self, pack: u64) -> PathBuf {
        self.spool.join(pack_name(pack))
    }

    fn pack(&mut self, pack: u64) -> io::Result<&File> {
        let path = self.path(pack);
        match self.packs.entry(pack) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                Ok(entry.insert(OpenOptions::new().read(true).write(true).open(path)?))
            }
        }
    }

    fn dir(&self) -> io::Result<&File> {
        self.dir.as_ref().ok_or_else(|| io::Error::other("the spool is not open"))
    }

    /// Ledger ids of the spools below the state directory that hold packs.
    fn spools(&self) -> io::Result<Vec<u128>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.state)? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.strip_prefix("spool-")).filter(|id| id.len() == 32);
            let Some(id) = id.and_then(|id| u128::from_str_radix(id, 16).ok()) else { continue };
            if !list_packs(&entry.path())?.is_empty() {
                found.push(id);
            }
        }
        Ok(found)
    }
}

/// Ids of the packs in a directory; other files are left alone.
fn list_packs(dir: &Path) -> io::Result<Vec<u64>> {
    let mut packs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id: Option<u64> =
            name.to_str().and_then(|n| n.strip_suffix(".pack")).and_then(|n| n.parse().ok());
        packs.extend(id);
    }
    packs.sort_unstable();
    Ok(packs)
}

/// Reserves blocks for a pack. A file system that cannot is no error: its writes may then meet ENOSPC, which is weather.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(Errno::INTR) => reserve(file, bytes),
        other => Ok(other?),
    }
}

/// Writes all parts, also across short writes and more parts than one call takes.
fn write_parts(file: &File, mut offset: u64, parts: &[Bytes]) -> io::Result<()> {
    const PARTS_MAX: usize = 512;
    let mut parts = parts;
    let mut skip = 0;
    while let Some(first) = parts.first() {
        if skip >= first.len() {
            skip -= first.len();
            parts = &parts[1..];
            continue;
        }
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(parts.len().min(PARTS_MAX));
        slices.push(IoSlice::new(&first[skip..]));
        slices.extend(parts[1..].iter().take(PARTS_MAX - 1).map(|part| IoSlice::new(part)));
        match rustix::io::pwritev(file, &slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                skip += written;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Disk for OsDisk {
    fn spool_open(&mut self, ledger: u128, previous: Option<u128>) -> io::Result<Vec<u128>> {
        self.spool = self.state.join(spool_name(ledger));
        let state = File::open(&self.state)?;
        let renamed = previous.map(|id| self.state.join(spool_name(id))).filter(|path| path.exists());
        match renamed {
            Some(old) if !self.spool.exists() => std::fs::rename(old, &self.spool)?,
            _ => match std::fs::DirBuilder::new().mode(0o750).create(&self.spool) {
                // The mode is set again because the umask may have taken bits away.
                Ok(()) => std::fs::set_permissions(&self.spool, std::fs::Permissions::from_mode(0o750))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            },
        }
        fsync(&state)?;
        self.dir = Some(File::open(&self.spool)?);
        Ok(self.spools()?.into_iter().filter(|id| *id != ledger).collect())
    }

    fn pack_create(&mut self, pack: u64, bytes: u64) -> io::Result<()> {
        let path = self.path(pack);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = reserve(&file, bytes) {
            // Best effort: a pack without a row is removed at the next start anyway.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        self.packs.insert(pack, file);
        Ok(())
    }

    fn pack_append(&mut self, pack: u64, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        write_parts(self.pack(pack)?, offset, parts)
    }

    fn pack_sync(&mut self, pack: u64) -> io::Result<()> {
        Ok(fdatasync(self.pack(pack)?)?)
    }

    fn dir_sync(&mut self) -> io::Result<()> {
        Ok(fsync(self.dir()?)?)
    }

    fn pack_read(&mut self, pack: u64, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        self.pack(pack)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn pack_unlink(&mut self, pack: u64) -> io::Result<()> {
        self.packs.remove(&pack);
        match std::fs::remove_file(self.path(pack)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn pack_trim(&mut self, pack: u64, bytes: u64) -> io::Result<()> {
        self.pack(pack)?.set_len(bytes)?;
        // Nothing is appended to it any more; reads open it for themselves.
        self.packs.remove(&pack);
        Ok(())
    }

    fn packs(&mut self) -> io::Result<Vec<u64>> {
        list_packs(&self.spool)
    }

    fn source_sync(&mut self, source: SourceId) -> io::Result<()> {
        let Some(file) = self.sources.get(&source) else { return Ok(()) };
        match fdatasync(file) {
            // A file system that cannot sync (or is read-only) has nothing that a power cut could take back.
            Err(Errno::INVAL | Errno::ROFS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn free_bytes(&mut self) -> io::Result<(u64, u64)> {
        let stat = fstatvfs(self.dir()?)?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    fn point(&mut self, name: &'static str) -> io::Result<()> {
        failpoint::hit(name);
        Ok(())
    }

    fn pack_label(&self, pack: u64) -> String {
        self.path(pack).display().to_string()
    }
}

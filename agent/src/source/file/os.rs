//! os: walks the globs, opens and reads: what the machine asks for, done on a real file system.
//!
//! Promises: nothing is followed that is no regular file; a read is verified with what the file looks like *after* it;
//! every error comes back in the system's words.
//! Must not know: what is asked for, and why.
use crate::protocol::FileIdent;
use crate::source::file::buffers::Buffers;
use crate::source::file::unpack;
use crate::source::{FileKey, KnownFiles, Look, OpenError, OpenStat, Packed, ReadBack, Seen, SeenHead};
use bytes::Bytes;
use edgepush_shard::limits::HEAD_BYTES_MAX;
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, StatxFlags};
use rustix::io::ReadWriteFlags;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a walk of the globs found, and the directories that it went through.
pub struct Walked {
    /// For the machine.
    pub look: Look,
    /// Directories in which names that match may come and go: to be watched.
    pub dirs: Vec<PathBuf>,
}

/// Walks the globs. Blocks.
pub fn look(globs: &[String], known: &KnownFiles, open: &[(FileKey, Arc<File>)]) -> Walked {
    let mut walked = Walked { look: Look::default(), dirs: Vec::new() };
    let mut paths = HashSet::new();
    let mut dirs = HashSet::new();
    // A number without a glob is of a source that is no file.
    for (number, glob) in globs.iter().enumerate().filter(|(_, glob)| !glob.is_empty()) {
        watched_dirs(Path::new(glob), &mut dirs);
        let matches = match glob::glob(glob) {
            Ok(matches) => matches,
            Err(error) => {
                walked.look.failed.push((PathBuf::from(glob), error.to_string()));
                continue;
            }
        };
        for found in matches {
            match found {
                Ok(path) => {
                    if paths.insert(path.clone()) {
                        walked.look.files.extend(seen(path, number as u32, known));
                    }
                }
                Err(error) => {
                    walked.look.failed.push((error.path().to_owned(), error.error().to_string()));
                }
            }
        }
    }
    dirs.extend(paths.iter().filter_map(|path| path.parent().map(Path::to_owned)));
    walked.dirs = dirs.into_iter().collect();
    walked.look.open = sweep(open);
    walked
}

/// The directories of a glob up to its first wildcard.
fn watched_dirs(glob: &Path, dirs: &mut HashSet<PathBuf>) {
    let wild = |part: &Path| part.to_string_lossy().contains(['*', '?', '[']);
    let mut dir = glob.parent();
    while let Some(at) = dir {
        if !wild(at) {
            dirs.insert(if at.as_os_str().is_empty() { PathBuf::from(".") } else { at.to_owned() });
            return;
        }
        dir = at.parent();
    }
}

/// Size and names of every open file.
pub fn sweep(open: &[(FileKey, Arc<File>)]) -> Vec<(FileKey, u64, u64)> {
    let stat = |(key, file): &(FileKey, Arc<File>)| {
        let stat = rustix::fs::fstat(file).ok()?;
        Some((*key, stat.st_size as u64, stat.st_nlink as u64))
    };
    open.iter().filter_map(stat).collect()
}

fn seen(path: PathBuf, glob: u32, known: &KnownFiles) -> Option<Seen> {
    let status = status(rustix::fs::CWD, &path, AtFlags::empty());
    let status = match status {
        Ok(status) => status,
        // It went between the walk and now, or it is a link to nothing.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return None,
        Err(error) => {
            let ident = FileIdent { dev: 0, ino: 0, btime: None };
            let head = SeenHead::Failed(error.to_string());
            return Some(Seen { path, glob, ident, size: 0, mtime: 0, nlink: 1, head, packed: false });
        }
    };
    if !status.is_file {
        return None;
    }
    let Status { ident, size, mtime, nlink, .. } = status;
    let wanted = known.wants_head(ident, size, mtime);
    let (head, packed) = if wanted { seen_head(&path) } else { (SeenHead::Skipped, false) };
    Some(Seen { path, glob, ident, size, mtime, nlink, head, packed })
}

fn seen_head(path: &Path) -> (SeenHead, bool) {
    let read = open_nonblocking(path).and_then(|file| head(&Arc::new(file)));
    let head = match read {
        Ok((head, packed)) => return (SeenHead::Bytes(head), packed.is_some()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => SeenHead::Denied,
        Err(error) => SeenHead::Failed(error.to_string()),
    };
    (head, false)
}

/// `O_NONBLOCK` so that a FIFO that has taken the file's place does not hold the thread.
fn open_nonblocking(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// A name of the file (dev, ino) `ident` in the directory of `path`: it may have been renamed to one that no glob
/// matches. Blocks.
pub fn find(path: &Path, ident: FileIdent) -> Option<PathBuf> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let status = status(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW);
        status.is_ok_and(|status| {
            status.is_file && (status.ident.dev, status.ident.ino) == (ident.dev, ident.ino)
        })
    };
    names.into_iter().find(is_it)
}

/// A file's first ≤ 1 KiB: of its text if it is compressed, of which more is said then.
fn head(file: &Arc<File>) -> io::Result<(Bytes, Option<Packed>)> {
    let stored = stored_head(file)?;
    if !unpack::is_packed(&stored) {
        return Ok((stored, None));
    }
    unpack::head(file).map(|(head, packed)| (head, Some(packed)))
}

/// The first ≤ 1 KiB as they are on the disk.
///
/// # Errors
/// The system's.
pub(super) fn stored_head(file: &File) -> io::Result<Bytes> {
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let len = read_full(file, 0, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes.into())
}

/// Opens what was seen; another file of that name is [`OpenError::Gone`]. Blocks.
///
/// # Errors
/// Gone, denied, or the system's words.
pub fn open(path: &Path, ident: FileIdent) -> Result<(Arc<File>, OpenStat), OpenError> {
    let opened = open_nonblocking(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Gone),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(OpenError::Denied),
        Err(error) => return Err(OpenError::Failed(error.to_string())),
    };
    let failed = |error: &dyn std::fmt::Display| OpenError::Failed(error.to_string());
    let status = status(&file, Path::new(""), AtFlags::EMPTY_PATH).map_err(|e| failed(&e))?;
    if (status.ident.dev, status.ident.ino) != (ident.dev, ident.ino) || !status.is_file {
        return Err(OpenError::Gone);
    }
    let file = Arc::new(file);
    let (head, packed) = head(&file).map_err(|e| failed(&e))?;
    let Status { ident, size, mtime, nlink, .. } = status;
    let size = text_size(size, &head, packed.as_ref());
    Ok((file, OpenStat { ident, size, mtime, nlink, head, packed }))
}

/// The size of a compressed file's text, of which only the head is decompressed: one more byte is there at least when
/// there is more.
fn text_size(stored: u64, head: &Bytes, packed: Option<&Packed>) -> u64 {
    let more = |packed: &Packed| u64::from(packed.state == crate::source::PackedState::More);
    packed.map_or(stored, |packed| head.len() as u64 + more(packed))
}

/// Reads, then verifies (PROTOCOL S3). Of a file that is compressed only the head, as [`verify`].
///
/// # Errors
/// The system's.
pub fn read_back(file: &Arc<File>, offset: u64, len: usize, buffers: &Buffers) -> io::Result<ReadBack> {
    if len == 0 {
        return verify(file, Bytes::new());
    }
    // A small rest of a file does not get a large buffer: it lives as long as its chunk.
    let size = rustix::fs::fstat(file)?.st_size as u64;
    let wanted = usize::try_from(size.saturating_sub(offset)).unwrap_or(len).clamp(1, len);
    let mut bytes = buffers.take(wanted);
    let read = read_full(file, offset, &mut bytes[..wanted])?;
    verify(file, buffers.lend(bytes, read))
}

/// As [`read_back`], when all `len` bytes are in the page cache; else nothing, and nothing has waited for a disk.
///
/// # Errors
/// The system's.
pub fn read_cached(
    file: &Arc<File>,
    offset: u64,
    len: usize,
    buffers: &Buffers,
) -> io::Result<Option<ReadBack>> {
    let mut bytes = buffers.take(len);
    let into = &mut [io::IoSliceMut::new(&mut bytes[..len])];
    match rustix::io::preadv2(file, into, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) if read == len => verify(file, buffers.lend(bytes, len)).map(Some),
        // Some of it would have to be waited for, or the file ends there, or its system cannot tell.
        Ok(_) | Err(_) => {
            buffers.put_back(bytes);
            Ok(None)
        }
    }
}

/// What the file looks like after `bytes` were read of it. Of a compressed file they are nothing: it was found to be
/// one only now.
///
/// # Errors
/// The system's.
pub fn verify(file: &Arc<File>, bytes: Bytes) -> io::Result<ReadBack> {
    let (head, packed) = head(file)?;
    let stat = rustix::fs::fstat(file)?;
    let size_after = text_size(stat.st_size as u64, &head, packed.as_ref());
    let bytes = if packed.is_some() { Bytes::new() } else { bytes };
    Ok(ReadBack { bytes, size_after, nlink: stat.st_nlink as u64, head, packed })
}

fn read_full(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where data begins at or after `offset`; nowhere in a hole that goes on to the end. A file system without
/// SEEK_DATA says `offset`.
///
/// # Errors
/// The system's.
pub fn seek_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    // The position is the descriptor's own and nothing reads by it.
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(Some(data)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(rustix::io::Errno::INVAL) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

struct Status {
    ident: FileIdent,
    size: u64,
    mtime: i64,
    nlink: u64,
    is_file: bool,
}

fn status(dir: impl AsFd, path: &Path, flags: AtFlags) -> rustix::io::Result<Status> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(dir, path, flags, wanted)?;
    let has_btime = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let ns = |sec: i64, nsec: u32| sec.saturating_mul(1_000_000_000).saturating_add(i64::from(nsec));
    Ok(Status {
        ident: FileIdent {
            dev: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            ino: stat.stx_ino,
            btime: has_btime.then(|| ns(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)),
        },
        size: stat.stx_size,
        mtime: ns(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        nlink: u64::from(stat.stx_nlink),
        is_file: rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()).is_file(),
    })
}

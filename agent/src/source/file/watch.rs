//! watch: inotify, told in the machine's words.
//!
//! Promises: directories are watched for names, files for one change each: a hot file costs no events; a change between
//! the machine's last look and the watch is told at once. Where inotify fails the sweeps go on alone.
//! Must not know: what is done about it.
use crate::source::{Dirty, FileKey};
use rustix::fs::inotify::{CreateFlags, ReadFlags, WatchFlags, add_watch, init, remove_watch};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// What one read of the descriptor asks for: some hundred events.
pub const READ_BYTES: usize = 16 * 1024;
/// Bytes of an event before its name (inotify(7)).
const EVENT_BYTES: usize = 16;

/// The watches of one inotify descriptor.
#[derive(Debug)]
pub struct Watches {
    fd: OwnedFd,
    dirs: HashMap<i32, PathBuf>,
    files: HashMap<i32, FileKey>,
}

enum Watched {
    Dir(PathBuf),
    File(FileKey),
}

impl Watches {
    /// A new descriptor, and a duplicate to read it by.
    ///
    /// # Errors
    /// The system's: too many descriptors or inotify instances.
    pub fn new() -> io::Result<(Watches, OwnedFd)> {
        let fd = init(CreateFlags::CLOEXEC)?;
        let reader = fd.try_clone()?;
        Ok((Watches { fd, dirs: HashMap::new(), files: HashMap::new() }, reader))
    }

    /// Watches these directories, and no others. One that cannot be watched is left to the sweeps.
    pub fn watch_dirs(&mut self, wanted: &[PathBuf]) {
        let gone: Vec<i32> =
            self.dirs.iter().filter(|(_, dir)| !wanted.contains(dir)).map(|(wd, _)| *wd).collect();
        for wd in gone {
            self.dirs.remove(&wd);
            // It went with its directory, or goes now.
            let _ = remove_watch(&self.fd, wd);
        }
        let names = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        for dir in wanted {
            if let Ok(wd) = add_watch(&self.fd, dir, names) {
                self.dirs.insert(wd, dir.clone());
            }
        }
    }

    /// Watches a file for one change. Tells it at once when the file has another size already, or cannot be watched
    /// and must be polled: never for a lack of watches, the sweep does for those.
    pub fn watch_file(&mut self, key: FileKey, file: &File, size: u64) -> Option<Dirty> {
        // By its descriptor: the name may be another file's by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        if let Ok(wd) = add_watch(&self.fd, path, WatchFlags::MODIFY | WatchFlags::ONESHOT) {
            self.files.insert(wd, key);
        }
        let changed = rustix::fs::fstat(file).is_ok_and(|stat| stat.st_size as u64 != size);
        changed.then_some(Dirty::File(key))
    }

    /// What a read of the descriptor says.
    pub fn dirty(&mut self, mut bytes: &[u8]) -> Vec<Dirty> {
        let mut dirty = Vec::new();
        while let Some((event, rest)) = bytes.split_first_chunk::<EVENT_BYTES>() {
            let word =
                |at: usize| u32::from_ne_bytes([event[at], event[at + 1], event[at + 2], event[at + 3]]);
            let (wd, flags, name_len) =
                (word(0) as i32, ReadFlags::from_bits_retain(word(4)), word(12) as usize);
            bytes = rest.get(name_len..).unwrap_or_default();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                dirty.push(Dirty::Everything);
                continue;
            }
            match self.watched(wd, flags) {
                Some(Watched::Dir(dir)) => dirty.push(Dirty::Dir(dir)),
                Some(Watched::File(key)) => dirty.push(Dirty::File(key)),
                None => {}
            }
        }
        dirty.dedup();
        dirty
    }

    fn watched(&mut self, wd: i32, flags: ReadFlags) -> Option<Watched> {
        if let Some(key) = self.files.get(&wd).copied() {
            if flags.contains(ReadFlags::IGNORED) {
                self.files.remove(&wd);
                return None;
            }
            return Some(Watched::File(key));
        }
        let dir = self.dirs.get(&wd)?.clone();
        if flags.contains(ReadFlags::IGNORED) {
            self.dirs.remove(&wd);
        }
        Some(Watched::Dir(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    fn read(fd: &OwnedFd, watches: &mut Watches) -> Vec<Dirty> {
        let mut buf = vec![0; READ_BYTES];
        let len = rustix::io::read(fd, &mut buf).unwrap();
        watches.dirty(&buf[..len])
    }

    #[test]
    fn a_file_is_told_once_and_again_when_it_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("a")).unwrap();
        let (mut watches, fd) = Watches::new().unwrap();
        let key = FileKey(7);
        assert_eq!(watches.watch_file(key, &file, 0), None);
        file.write_all(b"one").unwrap();
        assert_eq!(read(&fd, &mut watches), [Dirty::File(key)]);
        file.write_all(b"two").unwrap();
        assert_eq!(watches.watch_file(key, &file, 3), Some(Dirty::File(key)), "it has grown meanwhile");
        file.write_all(b"three").unwrap();
        assert_eq!(read(&fd, &mut watches), [Dirty::File(key)]);
        assert_eq!(file.metadata().unwrap().size(), 11);
    }

    #[test]
    fn names_that_come_and_go_are_told_by_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_owned();
        let (mut watches, fd) = Watches::new().unwrap();
        watches.watch_dirs(std::slice::from_ref(&at));
        watches.watch_dirs(std::slice::from_ref(&at));
        std::fs::write(at.join("a"), "x").unwrap();
        assert_eq!(read(&fd, &mut watches), [Dirty::Dir(at.clone())]);
        std::fs::rename(at.join("a"), at.join("b")).unwrap();
        assert_eq!(read(&fd, &mut watches), [Dirty::Dir(at.clone())]);
        watches.watch_dirs(&[]);
        std::fs::write(at.join("c"), "x").unwrap();
        assert_eq!(read(&fd, &mut watches), []);
    }
}

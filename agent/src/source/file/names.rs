//! Names: what a file's name says about it.
//!
//! Promises: only conventions of log rotation; nothing here is identity.
//! Must not know: files.
use std::path::{Path, PathBuf};

/// Ways of compressing that are not read.
const FOREIGN: [&str; 3] = ["bz2", "xz", "lz4"];
/// Those that are, whatever the name.
const OURS: [&str; 2] = ["gz", "zst"];

fn has(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|ext| extensions.iter().any(|known| ext.eq_ignore_ascii_case(known)))
}

/// Whether the name is that of a file that is compressed in a way that is not read: ignored, said once.
pub fn is_compressed(path: &Path) -> bool {
    has(path, &FOREIGN)
}

/// The live name that a rotated name was made of: `access.log.1`, `access.log-20260131`, `access.log.old` →
/// `access.log`; the same with `.gz` or `.zst` behind. `None`: the name is not one that rotation gives.
pub(super) fn live_name(path: &Path) -> Option<PathBuf> {
    if has(path, &OURS) {
        let plain = path.with_extension("");
        return Some(rotated(&plain).unwrap_or(plain));
    }
    rotated(path)
}

fn rotated(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (stem, last) = name.rsplit_once(['.', '-', '_'])?;
    let digits = last.bytes().all(|byte| byte.is_ascii_digit());
    let rotated = last == "old" || digits && matches!(last.len(), 1..=3 | 8..=14);
    (rotated && !stem.is_empty()).then(|| path.with_file_name(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_files_are_known_by_their_name() {
        assert!(is_compressed(Path::new("/l/a.log.1.xz")));
        assert!(is_compressed(Path::new("a.BZ2")));
        assert!(!is_compressed(Path::new("/l/xz")));
        assert!(!is_compressed(Path::new("/l.xz/a.log")));
        assert!(!is_compressed(Path::new("/l/a.log.1.gz")), "its content says that it is read");
    }

    #[test]
    fn rotated_names_give_their_live_name() {
        let compressed = ["a.log.1.gz", "a.log-20260131.zst", "a.log.gz", "a.log.2.GZ"];
        let plain = ["a.log.1", "a.log-20260131", "a.log.old", "a.log.012", "a.log-20260131120000"];
        for name in plain.into_iter().chain(compressed) {
            assert_eq!(live_name(&Path::new("/l").join(name)), Some(PathBuf::from("/l/a.log")), "{name}");
        }
        for name in ["a.log", "access", "a-b.log", "v.1234", ".1"] {
            assert_eq!(live_name(&Path::new("/l").join(name)), None, "{name}");
        }
    }
}

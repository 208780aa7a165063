//! Names: what a file's name says about it.
//!
//! Promises: only conventions of log rotation; nothing here is identity.
//! Must not know: files.
use std::path::{Path, PathBuf};

const COMPRESSED: [&str; 5] = ["gz", "zst", "bz2", "xz", "lz4"];

/// Whether the name is that of a compressed file: ignored, said once (INTERFACE 9).
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ext| COMPRESSED.iter().any(|known| ext.eq_ignore_ascii_case(known)))
}

/// The live name that a rotated name was made of: `access.log.1`, `access.log-20260131`, `access.log.old` →
/// `access.log`. `None`: the name is not one that rotation gives.
pub(super) fn live_name(path: &Path) -> Option<PathBuf> {
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
        assert!(is_compressed(Path::new("/l/a.log.1.gz")));
        assert!(is_compressed(Path::new("a.ZST")));
        assert!(!is_compressed(Path::new("/l/gz")));
        assert!(!is_compressed(Path::new("/l.gz/a.log")));
    }

    #[test]
    fn rotated_names_give_their_live_name() {
        for name in ["a.log.1", "a.log-20260131", "a.log.old", "a.log.012", "a.log-20260131120000"] {
            assert_eq!(live_name(&Path::new("/l").join(name)), Some(PathBuf::from("/l/a.log")), "{name}");
        }
        for name in ["a.log", "access", "a-b.log", "v.1234", ".1"] {
            assert_eq!(live_name(&Path::new("/l").join(name)), None, "{name}");
        }
    }
}

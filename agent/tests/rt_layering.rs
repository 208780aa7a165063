//! rt_layering: one file names the runtime of the shards, so that it can be exchanged.
#![allow(clippy::unwrap_used)] // A test fails by panicking, outside of `#[test]` too.
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Code lines, without comments: prose may name it.
fn names_glommio(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| line.split("//").next()).any(|code| code.contains("glommio"))
}

#[test]
fn only_the_uring_backend_names_glommio() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "../shard/src", "../bench", "../perf"] {
        let dir = root.join(dir);
        if dir.exists() {
            sources(&dir, &mut files);
        }
    }
    let naming: Vec<PathBuf> = files.into_iter().filter(|path| names_glommio(path)).collect();
    assert_eq!(naming, [root.join("src/rt/uring.rs")]);
}

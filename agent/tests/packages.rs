//! Witnesses: the packages that the project is to be built on do real work in the binary, and the data path keeps
//! its rules (no lock, and in `shard` no clock, file, thread or environment).
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn binary_has(symbol_part: &str) -> bool {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let bytes = BYTES.get_or_init(|| std::fs::read(agent::binary()).unwrap());
    bytes.windows(symbol_part.len()).any(|w| w == symbol_part.as_bytes())
}

#[test]
fn every_package_is_locked_and_linked() {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    for (package, symbol_part) in [
        ("glommio", "glommio"),
        ("crossbeam", "crossbeam"),
        ("zstd", "ZSTD_compress"),
        ("flate2", "flate2"),
        ("zlib-rs", "zlib_rs"),
        ("simd-json", "simd_json"),
        ("mimalloc", "mi_malloc"),
        ("bytes", "bytes"),
        ("hyper", "hyper"),
        ("rustls", "rustls"),
    ] {
        assert!(lock.contains(&format!("name = \"{package}\"\n")), "{package} is not in Cargo.lock");
        assert!(binary_has(symbol_part), "{package}: nothing of it is in the binary");
    }
}

#[test]
fn mimalloc_is_the_allocator() {
    let place = Place::new();
    let done = Setup::new(&place.state()).env("MIMALLOC_VERBOSE", "1").finish(&["--version"]);
    assert!(done.stderr.contains("mimalloc"), "it speaks when asked to: {}", done.stderr);
}

#[test]
fn glommio_waits_with_io_uring_and_simd_json_reads_what_was_not_learned() {
    let uring = uring_works();
    if !uring {
        skipped("glommio witness", "io_uring is refused here");
    }
    let place = Place::new();
    writer::append(&place.log(), "r", 0..1000);
    let setup = place.setup().env("EDGEPUSH_BATCH_INTERVAL", "200ms");
    let agent = setup.env("EDGEPUSH_RUNTIME", if uring { "uring" } else { "threads" }).start_ready();
    wait_until("it is delivered", Duration::from_secs(10), || lines_in_dir(&place.out()).len() == 1000);
    let rings = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().flatten();
    let rings = rings.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let rings = rings.filter(|target| target.display().to_string().contains("io_uring")).count();
    assert_eq!(rings > 0, uring, "{rings} rings");
    let metrics = agent.metrics().expect("metrics");
    assert!(
        metrics.sum_where("edgepush_records_parsed_total", "general") >= 1.0,
        "the first lines are not learned"
    );
    assert!(metrics.sum_where("edgepush_records_parsed_total", "learned") >= 900.0, "lines of one shape are");
    agent.terminate().exits(0);
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// The code of some files without their comments and their unit tests.
fn code(paths: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in paths {
        let path = workspace().join(path);
        let files = if path.is_dir() { files_below(&path) } else { vec![path] };
        for file in files.into_iter().filter(|f| f.extension() == Some("rs".as_ref())) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code = code.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>();
            found.push((file, code.join("\n")));
        }
    }
    found
}

fn assert_none_of(words: &[&str], files: &[(PathBuf, String)]) {
    assert!(!files.is_empty());
    for (file, code) in files {
        for word in words {
            assert!(!code.contains(word), "{} uses {word}", file.display());
        }
    }
}

#[test]
fn there_is_no_lock_on_the_data_path() {
    let agent = ["shard_loop.rs", "shard_loop", "batcher.rs", "batcher"].map(|p| format!("agent/src/{p}"));
    let data_path: Vec<&str> = ["shard/src"].into_iter().chain(agent.iter().map(String::as_str)).collect();
    assert_none_of(&["Mutex", "RwLock", "Condvar", "parking_lot"], &code(&data_path));
}

#[test]
fn shard_is_bytes_in_bytes_out() {
    let outside = [
        "std::fs",
        "std::net",
        "std::env::",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "tokio",
        "glommio",
    ];
    assert_none_of(&outside, &code(&["shard/src"]));
}

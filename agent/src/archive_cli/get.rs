//! get: copies files out of the archive.
//!
//! Promises: a file appears whole or not at all, below the same directories as in the archive; what is there already with
//! the same size stays, and anything else of that name is never written over.
//! Must not know: which files are meant.
use super::which::Found;
use crate::archive::Entry;
use crate::cli::{Exit, complain, print};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `edgepush archive get`.
pub(super) fn get(found: &Found, dir: &Path, json: bool) -> Exit {
    let bar = ProgressBar::new(found.entries.iter().map(|entry| entry.bytes).sum());
    let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut copied, mut there, mut failed) = (Vec::new(), 0u64, 0u64);
    for entry in &found.entries {
        bar.set_message(entry.path());
        match copy(found, entry, dir) {
            Ok(true) => copied.push(json!({ "file": entry.path(), "bytes": entry.bytes })),
            Ok(false) => there += 1,
            Err(error) => {
                bar.suspend(|| {
                    complain(&format!("edgepush: {}: {error}\n", dir.join(entry.path()).display()))
                });
                failed += 1;
            }
        }
        bar.inc(entry.bytes);
    }
    bar.finish_and_clear();
    let text = match json {
        true => format!("{:#}\n", json!({ "copied": copied, "there_already": there, "failed": failed })),
        false => format!(
            "{} files copied to {}, {there} were there already, {failed} failed\n",
            copied.len(),
            dir.display()
        ),
    };
    let exit = print(&text, Exit::Done);
    if failed == 0 { exit } else { Exit::Failed }
}

/// Whether it was copied; `false`: it was there.
fn copy(found: &Found, entry: &Entry, dir: &Path) -> io::Result<bool> {
    let to = dir.join(entry.path());
    match std::fs::metadata(&to) {
        Ok(there) if there.len() == entry.bytes => return Ok(false),
        Ok(_) => return Err(io::Error::other("another file of this name is there; move it away")),
        Err(_) => {}
    }
    let mut from = File::open(found.path(entry))?;
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut name = to.clone().into_os_string();
    name.push(".partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&name)?;
    let written = io::copy(&mut from, &mut file).and_then(|bytes| match bytes == entry.bytes {
        true => file.sync_all(),
        false => Err(io::Error::other(format!("has {bytes} bytes, the index says {}", entry.bytes))),
    });
    let placed = written.and_then(|()| {
        renameat_with(CWD, Path::new(&name), CWD, &to, RenameFlags::NOREPLACE).map_err(io::Error::from)
    });
    if placed.is_err() {
        // What is left of it is of no use to anyone.
        let _ = std::fs::remove_file(&name);
    }
    placed.map(|()| true)
}

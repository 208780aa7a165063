//! export: bodies of batches, written as their destinations would get them.
//!
//! Promises: a file appears whole or not at all, and none is written over; what a name makes of a path stays inside the
//! directory; a batch that goes away meanwhile is said, and stops no other.
//! Must not know: where bodies come from.
use super::show::one_line;
use super::{list, told};
use crate::cli::{Exit, SpoolExport, complain, ended, print};
use crate::ledger::look::{Look, LookError, Looked, Stands};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest name of a file, bytes.
const NAME_BYTES_MAX: usize = 255 - TEMPORARY.len();
/// What a file is called until it is whole.
const TEMPORARY: &str = ".partial";

/// `edgepush spool export`.
pub(super) fn export(look: &Look, asked: &SpoolExport, json: bool) -> Result<Exit, Exit> {
    match (&asked.id, &asked.dir) {
        (Some(id), _) => one(look, id, asked.out.as_deref(), json),
        (None, Some(dir)) => all(look, asked, dir, json),
        (None, None) => unreachable!("INVARIANT: the command line demands a batch or --all with --dir"),
    }
}

fn one(look: &Look, id: &str, out: Option<&str>, json: bool) -> Result<Exit, Exit> {
    let found = look.one(id).map_err(|error| told(&error))?;
    let body = look.body(&found).map_err(|error| told(&error))?;
    if out == Some("-") {
        return Ok(to_stdout(&body));
    }
    let path = out.map_or_else(|| PathBuf::from(last_part(&found.batch.name)), PathBuf::from);
    put(&path, &body).map_err(|error| not_put(&path, &error))?;
    let put = written(&found, &path);
    let text = match json {
        true => format!("{put:#}\n"),
        false => format!("{}: {} records, {} bytes\n", path.display(), found.batch.records, put["bytes"]),
    };
    Ok(print(&text, Exit::Done))
}

fn all(look: &Look, asked: &SpoolExport, dir: &Path, json: bool) -> Result<Exit, Exit> {
    let mut found = list(look, &asked.filter)?;
    found.retain(|found| found.stands != Stands::Open);
    std::fs::create_dir_all(dir).map_err(|error| {
        complain(&format!("edgepush: {}: {error}\n", dir.display()));
        Exit::Failed
    })?;
    let bar = ProgressBar::new(found.iter().map(|found| found.bytes).sum());
    let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut done, mut gone, mut failed) = (Vec::new(), 0, 0);
    for found in &found {
        bar.set_message(one_line(&found.batch.name));
        let path = dir.join(safe(&found.batch.name));
        // Rows of the list have no pieces; and it may be gone by now.
        let body = look.one(&found.batch.id.0.to_string()).and_then(|found| look.body(&found));
        let body = body.map_err(|error| (matches!(error, LookError::Gone { .. }), error.to_string()));
        let written_out =
            body.and_then(|body| put(&path, &body).map_err(|error| (false, why_not(&path, &error))));
        match written_out {
            Ok(()) => done.push(written(found, &path)),
            Err((is_gone, why)) => {
                bar.suspend(|| complain(&format!("edgepush: {why}\n")));
                if is_gone { gone += 1 } else { failed += 1 }
            }
        }
        bar.inc(found.bytes);
    }
    bar.finish_and_clear();
    let exit = if failed == 0 { Exit::Done } else { Exit::Failed };
    let text = match json {
        true => format!("{:#}\n", Value::Array(done)),
        false => format!(
            "{} batches exported to {}, {gone} gone meanwhile, {failed} not exported\n",
            done.len(),
            dir.display()
        ),
    };
    Ok(print(&text, exit))
}

/// What was written, for programs. A body is stored bytes, or a few less: pieces of one gzip member lose their ends.
fn written(found: &Looked, path: &Path) -> Value {
    let bytes = std::fs::metadata(path).map_or(found.bytes, |there| there.len());
    json!({
        "id": found.batch.id.0,
        "name": &*found.batch.name,
        "records": found.batch.records,
        "file": path.display().to_string(),
        "bytes": bytes,
    })
}

fn to_stdout(body: &[Bytes]) -> Exit {
    let mut out = io::stdout().lock();
    ended(body.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush()), Exit::Done)
}

/// Writes a file that does not exist yet: whole, durable, and under its name only then.
fn put(path: &Path, body: &[Bytes]) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&temporary)?;
    let put = write(&mut file, body).and_then(|()| {
        match renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
            // A file system without that has names for two at least.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::hard_link(&temporary, path),
            renamed => renamed.map_err(io::Error::from),
        }
    });
    // Renamed, it is gone; else nobody wants it.
    let _ = std::fs::remove_file(&temporary);
    put
}

fn write(file: &mut File, body: &[Bytes]) -> io::Result<()> {
    body.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn why_not(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} exists (or {TEMPORARY} behind its name): it is not written over", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    }
}

fn not_put(path: &Path, error: &io::Error) -> Exit {
    complain(&format!("edgepush: {}\n", why_not(path, error)));
    if error.kind() == io::ErrorKind::AlreadyExists { Exit::Operator } else { Exit::Failed }
}

fn last_part(name: &str) -> String {
    safe(name.rsplit('/').next().unwrap_or(name))
}

/// A name as one part of a path: what is no letter, digit or one of `.-+=@` is `_`, it begins with no dot, and of a long one
/// the end is kept, where its times and its id are.
fn safe(name: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || ".-+=@".contains(c);
    let mut safe: String = name.chars().map(|c| if good(c) { c } else { '_' }).collect();
    safe.drain(..safe.len().saturating_sub(NAME_BYTES_MAX));
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_their_directory() {
        for (name, expected) in [
            ("a/20261121/x_0123.log.gz", "a_20261121_x_0123.log.gz"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..", "_."),
            ("é b\0\n.gz", "__b__.gz"),
        ] {
            let safe = safe(name);
            assert_eq!(safe, expected, "{name:?}");
        }
        let long = safe(&format!("{}/x.gz", "a".repeat(400)));
        assert!(long.len() == NAME_BYTES_MAX && long.ends_with("_x.gz"), "{long}");
        assert_eq!(last_part("a/b/c.gz"), "c.gz");
    }

    #[test]
    fn no_file_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        put(&path, &[Bytes::from_static(b"a"), Bytes::from_static(b"b")]).unwrap();
        assert_eq!(put(&path, &[]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        std::os::unix::fs::symlink("nowhere", dir.path().join("y")).unwrap();
        assert_eq!(put(&dir.path().join("y"), &[]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }
}

//! verify: decompresses files and holds them against what was counted when they were written.
//!
//! Promises: a difference names the file and what differs; memory does not grow with a file, whatever its headers say; a
//! bar on a terminal.
//! Must not know: which files are meant.
use super::which::Found;
use crate::archive::{Entry, members};
use crate::cli::{Exit, complain, print};
use crc32fast::Hasher;
use edgepush_shard::batch::reader;
use edgepush_shard::codec::CodecKind;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are decompressed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What lies in a file or a member, uncompressed.
#[derive(Default)]
struct Counted {
    crc: Hasher,
    raw_bytes: u64,
    records: u64,
}

/// `edgepush archive verify`.
pub(super) fn verify(found: &Found, json: bool) -> Exit {
    let bar = ProgressBar::new(found.entries.iter().map(|entry| entry.bytes).sum());
    let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {bytes_per_sec}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut good, mut gone, mut bad) = (0u64, 0u64, Vec::new());
    for entry in &found.entries {
        bar.set_message(entry.path());
        match check(&found.path(entry), entry) {
            Ok(()) => good += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_old(found, entry) => gone += 1,
            Err(error) => {
                bar.suspend(|| complain(&format!("edgepush: {}: {error}\n", entry.path())));
                bad.push(json!({ "file": entry.path(), "why": error.to_string() }));
            }
        }
        bar.inc(entry.bytes);
    }
    bar.finish_and_clear();
    let text = match json {
        true => format!("{:#}\n", json!({ "good": good, "differ": bad, "gone_meanwhile": gone })),
        false => {
            format!("{good} files are as they were written, {} differ, {gone} gone meanwhile\n", bad.len())
        }
    };
    let exit = print(&text, Exit::Done);
    if bad.is_empty() { exit } else { Exit::Failed }
}

/// Whether a file that is not there may have gone by retention since it was listed: then its row is gone too.
fn is_old(found: &Found, entry: &Entry) -> bool {
    let index = found.directory.with_file_name(crate::archive::INDEX_FILE);
    let listed =
        crate::archive::Index::look(&index).and_then(|i| i.get(&entry.domain, entry.start, entry.serial));
    matches!(listed, Ok(None))
}

/// Holds a file against its row.
fn check(path: &Path, entry: &Entry) -> io::Result<()> {
    let file = File::open(path)?;
    differs("its size", file.metadata()?.len(), entry.bytes)?;
    let counted = count(&file, entry)?;
    differs("its records", counted.records, entry.records)?;
    differs("its uncompressed size", counted.raw_bytes, entry.raw_bytes)?;
    differs("the CRC of its records", counted.crc.finalize().into(), u64::from(entry.crc32))
}

fn differs(what: &str, found: u64, listed: u64) -> io::Result<()> {
    match found == listed {
        true => Ok(()),
        false => Err(io::Error::other(format!("{what} differs: {found} in the file, {listed} in the index"))),
    }
}

fn count(file: &File, entry: &Entry) -> io::Result<Counted> {
    let mut all = Counted::default();
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for member in members::members(file, entry.bytes) {
        let member = member?;
        let span = member.span;
        let at = |error: io::Error| io::Error::other(format!("the member at byte {}: {error}", member.at));
        let counted = decode(file, member.bytes()).map_err(at)?;
        differs("its records", counted.records, span.records.into()).map_err(at)?;
        differs("its uncompressed size", counted.raw_bytes, span.raw_bytes.into()).map_err(at)?;
        all.crc.combine(&counted.crc);
        all.records += counted.records;
        all.raw_bytes += counted.raw_bytes;
        first = first.min(span.first);
        last = last.max(span.last);
    }
    if (first, last) != (entry.first, entry.last) {
        return Err(io::Error::other("the times of its members are not those of the index"));
    }
    Ok(all)
}

/// Decompresses some bytes of a file; gzip's own checks are made.
fn decode(file: &File, bytes: std::ops::Range<u64>) -> io::Result<Counted> {
    let part = BufReader::with_capacity(PIECE_BYTES, Part { file, at: bytes.start, end: bytes.end });
    let mut reader = reader(CodecKind::Gzip, part)?;
    let mut counted = Counted::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(counted);
        }
        let piece = &buffer[..read];
        counted.crc.update(piece);
        counted.raw_bytes += read as u64;
        counted.records += memchr::memchr_iter(b'\n', piece).count() as u64;
    }
}

/// Bytes of a file, from one place to another.
pub(super) struct Part<'a> {
    pub(super) file: &'a File,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

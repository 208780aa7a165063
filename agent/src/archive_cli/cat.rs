//! cat: writes the records of a range of time to standard output.
//!
//! Promises: only members that meet the range are read; records come file by file, in the order in which they lie there.
//! Must not know: what records hold: a member is written whole.
use super::verify::Part;
use super::which;
use crate::archive::members;
use crate::cli::{ArchiveRange, Exit, complain, ended};
use crate::config::Config;
use edgepush_shard::batch::reader;
use edgepush_shard::codec::CodecKind;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

/// `edgepush archive cat`.
pub(super) fn cat(config: &Config, asked: &ArchiveRange) -> Result<Exit, Exit> {
    let range = which::range(asked.from.as_deref(), asked.to.as_deref())?;
    let domain = which::domain(&asked.domain)?;
    let found = which::of_domain(config, Some(&domain), &range)?;
    let times = range.start.saturating_mul(1_000_000_000)..range.end.saturating_mul(1_000_000_000);
    let mut out = BufWriter::with_capacity(256 * 1024, io::stdout().lock());
    let mut exit = Exit::Done;
    for entry in &found.entries {
        if entry.first >= times.end || entry.last < times.start {
            continue;
        }
        match records(&found.path(entry), entry.bytes, &times, &mut out) {
            Ok(()) => {}
            Err(Failed::Out(error)) => return Ok(ended(Err(error), Exit::Done)),
            Err(Failed::File(error)) => {
                complain(&format!("edgepush: {}: {error}\n", entry.path()));
                exit = Exit::Failed;
            }
        }
    }
    match ended(out.flush(), Exit::Done) {
        Exit::Done => Ok(exit),
        failed => Ok(failed),
    }
}

enum Failed {
    /// The file is gone or damaged.
    File(io::Error),
    /// Nobody takes what is written.
    Out(io::Error),
}

fn records(path: &Path, bytes: u64, times: &Range<i64>, out: &mut impl Write) -> Result<(), Failed> {
    let file = File::open(path).map_err(Failed::File)?;
    for run in members::meeting(&file, bytes, times).map_err(Failed::File)? {
        let part = BufReader::with_capacity(256 * 1024, Part { file: &file, at: run.start, end: run.end });
        let mut reader = reader(CodecKind::Gzip, part).map_err(Failed::File)?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer).map_err(Failed::File)? {
                0 => break,
                read => out.write_all(&buffer[..read]).map_err(Failed::Out)?,
            }
        }
    }
    Ok(())
}

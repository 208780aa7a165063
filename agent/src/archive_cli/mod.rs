//! archive_cli: `edgepush archive`: the files of the archive, for people and for scripts.
//!
//! `which` finds the files that are meant, `verify` holds them against the index, `cat` writes their records, `get`
//! copies them; this file has the commands and `ls`.
//!
//! Promises: the exit codes of INTERFACE 1; changes nothing in the state directory; works beside a running agent and where
//! none runs; a file that retention takes meanwhile is said, and stops no other.
//! Must not know: how files come into the archive and leave it.
mod cat;
mod get;
mod verify;
mod which;

use crate::archive::Entry;
use crate::cli::{ArchiveArgs, ArchiveAsk, Exit, ended};
use crate::config::Config;
use crate::logs_api::times;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use which::Found;

/// `edgepush archive`.
pub fn archive(config: &Config, args: ArchiveArgs) -> Exit {
    let found = |filter| which::find(config, filter);
    let done = match &args.ask {
        ArchiveAsk::Ls(filter) => {
            found(filter).map(|found| ls(&found, config.archive.final_after(), args.json))
        }
        ArchiveAsk::Get { which, dir } => found(which).map(|found| get::get(&found, dir, args.json)),
        ArchiveAsk::Verify(filter) => found(filter).map(|found| verify::verify(&found, args.json)),
        ArchiveAsk::Cat(range) => cat::cat(config, range),
    };
    done.unwrap_or_else(|exit| exit)
}

fn ls(found: &Found, final_after: i64, json: bool) -> Exit {
    let now = jiff::Timestamp::now().as_second();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = || -> io::Result<()> {
        if json {
            let all: Value =
                found.entries.iter().map(|entry| shown(entry, entry.is_final(now, final_after))).collect();
            writeln!(out, "{all:#}")?;
            return out.flush();
        }
        writeln!(out, "{:>10}  {:>12}  {:>12}  {:5}  FILE", "RECORDS", "BYTES", "RAW BYTES", "FINAL")?;
        for entry in &found.entries {
            let is_final = if entry.is_final(now, final_after) { "yes" } else { "no" };
            let (records, bytes, raw) = (entry.records, entry.bytes, entry.raw_bytes);
            writeln!(out, "{records:>10}  {bytes:>12}  {raw:>12}  {is_final:5}  {}", entry.path())?;
        }
        out.flush()
    };
    ended(write(), Exit::Done)
}

fn shown(entry: &Entry, is_final: bool) -> Value {
    json!({
        "domain": entry.domain,
        "file": entry.path(),
        "timestamp": times::write(entry.start),
        "slot_seconds": entry.slot.seconds(),
        "serial": entry.serial,
        "records": entry.records,
        "bytes": entry.bytes,
        "raw_bytes": entry.raw_bytes,
        "crc32": format!("{:08x}", entry.crc32),
        "first": entry.first,
        "last": entry.last,
        "published": times::write(entry.published),
        "final": is_final,
    })
}

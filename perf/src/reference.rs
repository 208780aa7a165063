//! `igzip -1` alone over the same file: the unit in which hosts can be compared.
//!
//! Promises: nothing is parsed, kept or posted; the output goes to a memory file system. Must not know: the agent.
use crate::bench::{Bench, Log, PATIENCE};
use crate::measure::Sample;
use crate::process::Running;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Its name in results.
pub const NAME: &str = "igzip -1";

/// A program on PATH, or where Debian keeps daemons.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// One run; `None` when it is not on PATH.
pub fn igzip(bench: &Bench, log: &Log) -> io::Result<Option<Sample>> {
    let Some(program) = program("igzip") else { return Ok(None) };
    let out = bench.memory.join("igzip.gz");
    let mut command = Command::new(program);
    command.args(["-1", "-c"]).arg(&log.path).stdin(Stdio::null()).stdout(std::fs::File::create(&out)?);
    let ended = Running::start(command, bench.first(1), bench.other())?.wait(PATIENCE)?;
    let stored = out.metadata()?.len() as f64;
    std::fs::remove_file(&out)?;
    if ended.code != Some(0) {
        return Err(io::Error::other(format!("igzip -1 exited with {:?}", ended.code)));
    }
    let (mut sample, bytes) = (Sample::default(), log.bytes as f64);
    let figures = [
        ("mb_per_cpu_s", bytes / 1e6 / ended.cpu().as_secs_f64()),
        ("user_s", ended.user.as_secs_f64()),
        ("system_s", ended.system.as_secs_f64()),
        ("wall_s", ended.wall.as_secs_f64()),
        ("ratio", bytes / stored),
        ("mb_out", stored / 1e6),
    ];
    sample.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    Ok(Some(sample))
}

//! Peers on the same case, with their strongest fair settings.
//!
//! Promises: their answers are checked line by line as the agent's are, by id where they write lines anew; a peer that
//! is not here is a row that says so; the configuration stands in the results. Must not know: the agent.
mod fluent_bit;
mod pipeline;
mod rsyslog;
mod syslog_ng;
mod vector;

use crate::account::account;
use crate::bench::{Bench, PATIENCE, Sink};
use crate::case::{Case, Destination, Kind};
use crate::measure::{Input, Sample, answer, throughput};
use crate::process::{Ended, Running};
use crate::reference::program;
use crate::results::Row;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon that has sent nothing and done nothing for this long has sent everything.
const QUIET: Duration = Duration::from_secs(4);
/// Less CPU than this while it is quiet is nothing: timers, statistics.
const NOTHING: Duration = Duration::from_millis(150);

/// What a peer is given.
pub struct Job<'a> {
    /// The log.
    pub log: &'a Path,
    /// The sink's port on the loopback interface.
    pub port: u16,
    /// An empty directory for configuration and state.
    pub dir: &'a Path,
    /// Codec of the case: gzip, zstd or none.
    pub codec: &'a str,
    /// Fields of the case; empty for lines as they are.
    pub fields: &'a [String],
}

/// A command, and the configuration for people.
pub struct Launch {
    /// How it is started.
    pub command: Command,
    /// With what.
    pub config: String,
}

/// How a peer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// By itself, when everything is sent.
    Itself,
    /// By SIGTERM, once it is quiet.
    Quiet,
}

/// A kind of peer.
pub struct Peer {
    name: &'static str,
    programs: &'static [&'static str],
    /// Debian's package, where there is one.
    package: &'static str,
    ends: Ends,
    /// What a reader must know.
    marks: &'static [&'static str],
    launch: fn(&Job, &Path) -> io::Result<Launch>,
    /// It can do this codec, with fields or without.
    can: fn(codec: &str, fields: bool) -> bool,
    /// Lines do not leave as they came: they are known by id.
    writes_anew: bool,
}

const PEERS: &[Peer] = &[
    pipeline::PEER,
    syslog_ng::PEER,
    syslog_ng::PARSED,
    rsyslog::PEER,
    rsyslog::PARSED,
    vector::PEER,
    vector::PARSED,
    fluent_bit::PEER,
];

impl Peer {
    /// Its name in results.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Lines leave as they came.
    pub fn keeps_bytes(&self) -> bool {
        !self.writes_anew
    }
}

fn codec(case: &Case) -> &str {
    case.set.get("EDGEPUSH_CODEC").map_or("gzip", String::as_str)
}

/// The peers that can do a case.
pub fn of(case: &Case) -> Vec<&'static Peer> {
    let plain = case.kind == Kind::Once && case.destination == Destination::Http && case.keep.is_none();
    let fields = !case.fields().is_empty();
    PEERS.iter().filter(|peer| plain && (peer.can)(codec(case), fields)).collect()
}

/// A peer's row before its first run: skipped when a program is not here.
pub fn row(peer: &Peer, mut row: Row) -> Row {
    row.marks = peer.marks.iter().map(|m| (*m).to_owned()).collect();
    if let Some(missing) = peer.programs.iter().find(|name| program(name).is_none()) {
        let from = if peer.package.is_empty() { String::new() } else { format!(" ({})", peer.package) };
        row.skipped = Some(format!("{missing} is not on PATH{from}"));
    }
    row
}

/// One run: start, everything at the sink, end; then the answer.
pub fn run(bench: &Bench, peer: &Peer, input: &Input) -> io::Result<(Sample, String)> {
    let sink = bench.sink(false)?;
    let dir = bench.fresh("peer", &bench.disk)?;
    let fields = input.case.fields();
    let job =
        Job { log: &input.log.path, port: sink.port(), dir: &dir, codec: codec(input.case), fields: &fields };
    let found = program(peer.programs[0]).ok_or_else(|| io::Error::other("it is not here any more"))?;
    let Launch { mut command, config } = (peer.launch)(&job, &found)?;
    let heard = dir.join("said");
    command.stdin(Stdio::null()).stdout(std::fs::File::create(&heard)?);
    command.stderr(std::fs::File::options().append(true).open(&heard)?);
    let running = Running::start(command, bench.first(1), bench.other())?;
    let ended = end(peer, running, &sink, input.log.bytes)?;
    if ended.code != Some(0) {
        let said = std::fs::read_to_string(&heard).unwrap_or_default();
        let tail = said.get(said.len().saturating_sub(600)..).unwrap_or_default();
        return Err(io::Error::other(format!("it exited with {:?} and said {tail}", ended.code)));
    }
    let mut sample = Sample::default();
    throughput(&mut sample, &ended, input.log.bytes);
    if peer.ends == Ends::Itself {
        // Its processes' memory is not counted: the shell's own would stand here.
        sample.figures.remove("peak_rss_mb");
    }
    let mut account = account(&sink.bodies()?, input.expected, false)?.exact()?;
    // A newline between lines is enough for some.
    account.bytes += account.unended;
    answer(&mut sample, &account, input)?;
    Ok((sample, config.replace(&dir.display().to_string(), "STATE")))
}

/// Waits for a peer's end, or for the quiet after its work and then ends it.
fn end(peer: &Peer, mut running: Running, sink: &Sink, bytes: u64) -> io::Result<Ended> {
    if peer.ends == Ends::Itself {
        return running.wait(PATIENCE);
    }
    let (begin, mut last, mut changed, mut worked) = (Instant::now(), 0, Instant::now(), Duration::ZERO);
    loop {
        let cpu: Duration = running.look().values().sum();
        let stored: u64 = sink.bodies()?.iter().map(|b| b.len).sum();
        if stored != last || cpu > worked + NOTHING {
            (last, changed, worked) = (stored, Instant::now(), cpu);
        }
        let whole = peer.keeps_bytes() && last >= bytes;
        // Something has come and then nothing more, or nothing ever comes.
        let waited = if last > 0 { changed.elapsed() > QUIET } else { begin.elapsed() > QUIET * 5 };
        if waited || whole || begin.elapsed() > PATIENCE || running.child().try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(200));
    running.terminate();
    running.wait(PATIENCE)
}

/// A configuration file for a daemon; its path.
fn configure(job: &Job, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = job.dir.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

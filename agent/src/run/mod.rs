//! run: joins the machines, the threads and the queues; the only room that knows them all.
//!
//! | thread | runs | may block |
//! |---|---|---|
//! | `shard-N`, pinned | the runtime of [`crate::rt`]: shard loop; on shard 0 also the file source | never |
//! | `delivery` | tokio: batcher, sender, uploads, admin API | never |
//! | `ledger` | SQLite and spool writes | yes |
//! | `logs` | tokio: the Logs API | never; a few of its own for index and keys |
//! | `signals` | waits for signals | yes |
//! | main | start, watchdog, end | yes |
//!
//! Promises: the exit codes of INTERFACE 1; at the end everything read is durable.
mod admin;
mod asides;
mod catch_up;
mod changes;
mod clock;
mod counters;
mod delivery;
mod error;
mod feed;
mod jobs;
mod known;
mod labels;
mod ledger;
mod logs;
mod make;
mod port;
mod publish;
mod retention;
mod shard;
mod shared;
mod shown;
mod signals;
mod start;
mod tail;
mod unpack;

pub use delivery::{Ended, Ending};
pub use error::StartError;
pub use start::{Running, start};

use crate::check::{Finding, Probe};
use crate::cli::{Exit, RunArgs};
use crate::config::Config;
use crate::destination::client::Clients;
use crate::destination::{DestinationUrl, Opening};
use std::time::Duration;

/// `edgepush run [--once]`.
pub fn run(config: Config, flags: RunArgs) -> Exit {
    let stop_grace = config.stop_timeout.saturating_sub(STOP_MARGIN);
    // Without --once a run ends by itself only when its pipes have ended.
    let grace = if flags.once { config.once_timeout } else { Some(stop_grace) };
    let ending = Ending { close: flags.once, grace, stop_grace };
    raise_open_files();
    let running = match start(&config, flags.once, ending) {
        Ok(running) => running,
        Err(error) => {
            crate::cli::complain(&format!("edgepush: {error}\n"));
            return error.exit();
        }
    };
    signals::listen(running.stopper());
    let metrics = running.metrics();
    let ended = running.join();
    if !flags.once {
        return Exit::Done;
    }
    let exit = if ended.undelivered == 0 && ended.complete { Exit::Done } else { Exit::Failed };
    crate::cli::print(&once_line(&metrics.totals(), &ended), exit)
}

/// As many descriptors as the host allows: each followed file has one, and the usual soft limit is 1,024. A refusal is no
/// error: the files that cannot be opened are named.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// What `check` asks of parts that it must not know: the runtime, the destination.
pub fn probes() -> Vec<Probe> {
    let runtime = |config: &Config, _| {
        let remedy = "allow io_uring (seccomp, kernel.io_uring_disabled), or set EDGEPUSH_RUNTIME=threads";
        vec![match crate::rt::choose(start::choice(config.runtime)) {
            Ok(chosen) => Finding::works("runtime", format!("{}: {}", chosen.backend.as_str(), chosen.why)),
            Err(why) => Finding::fails("runtime", why, remedy),
        }]
    };
    let warned = |config: &Config, _| {
        let url = DestinationUrl::parse(config.destination.expose()).ok();
        let warning = url.and_then(|url| url.warning(config.gzip));
        warning.map(|said| Finding::notable("destination", said, "")).into_iter().collect()
    };
    let destination = |config: &Config| {
        let url = DestinationUrl::parse(config.destination.expose())?;
        url.open(&Opening {
            state: &config.state_dir,
            clients: &Clients::default(),
            keep_free: config.disk_reserve,
        })
    };
    vec![Box::new(runtime), Box::new(warned), crate::check::destination(destination)]
}

/// What is left of the stop time-out for joining threads.
const STOP_MARGIN: Duration = Duration::from_millis(500);

/// The one line that `run --once` prints (INTERFACE 2).
fn once_line(totals: &crate::metrics::Totals, ended: &Ended) -> String {
    let line = serde_json::json!({
        "lines_read": totals.lines_read,
        "records_delivered": totals.records_delivered,
        "records_filtered": totals.filtered,
        "rejected": totals.rejected,
        "repaired": totals.repaired,
        "batches": totals.batches,
        "bytes_in": totals.bytes_read,
        "bytes_out": totals.compressed_bytes,
        "undelivered_batches": ended.undelivered,
    });
    format!("{line}\n")
}

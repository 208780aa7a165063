//! spool_cli: `edgepush spool`: what is in the spool, for people and for scripts.
//!
//! `show` makes tables of batches, `export` writes their bodies, `free` asks the running agent to let one go that is aside;
//! this file has the commands.
//!
//! Promises: the exit codes of INTERFACE 1; changes nothing in the state directory itself; no file is written over.
//! Must not know: how batches come into the spool and leave it.
mod export;
mod free;
mod show;

use crate::cli::{Exit, SpoolArgs, SpoolAsk, SpoolFilter, complain, print};
use crate::config::Config;
use crate::ledger::look::{Look, LookError, Looked, Stands};
use serde_json::Value;

/// `edgepush spool`.
pub fn spool(config: &Config, args: SpoolArgs) -> Exit {
    let done = Look::open(&config.state_dir).map_err(|error| told(&error)).and_then(|look| match args.ask {
        SpoolAsk::Ls(filter) => {
            let found = list(&look, &filter)?;
            let wall = wall();
            Ok(match args.json {
                true => print_json(&found.iter().map(|found| show::row_json(found, wall)).collect()),
                false => print(&show::list(&found, wall), Exit::Done),
            })
        }
        SpoolAsk::Show { id } => {
            let found = look.one(&id).map_err(|error| told(&error))?;
            let all = show::all(&look, &found, wall());
            Ok(if args.json { print_json(&all) } else { print(&show::one(&all), Exit::Done) })
        }
        SpoolAsk::Retry { id } => free::retry(config, &look, &id, args.json),
        SpoolAsk::Drop { id, yes } => free::drop(config, &look, &id, yes, args.json),
        SpoolAsk::Export(asked) => export::export(&look, &asked, args.json),
    });
    done.unwrap_or_else(|exit| exit)
}

/// The batches that are meant, oldest first.
fn list(look: &Look, filter: &SpoolFilter) -> Result<Vec<Looked>, Exit> {
    let mut found = look.all().map_err(|error| told(&error))?;
    found.retain(|found| !filter.aside || found.stands == Stands::Aside);
    if let Some(job) = &filter.job {
        found.retain(|found| found.batch.job.0.to_string() == *job || found.batch.naming.job == *job);
    }
    Ok(found)
}

/// Says why something is not to be had.
fn told(error: &LookError) -> Exit {
    complain(&format!("edgepush: {error}\n"));
    match error.exit_code() {
        2 => Exit::Operator,
        3 => Exit::Held,
        _ => Exit::Failed,
    }
}

fn print_json(value: &Value) -> Exit {
    print(&format!("{value:#}\n"), Exit::Done)
}

/// Now, ns since the epoch.
fn wall() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

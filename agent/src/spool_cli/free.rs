//! free: a batch that is held aside is tried again, or goes: the running agent is asked to do it.
//!
//! Promises: nothing is dropped that nobody has confirmed; the ledger is changed by the agent alone.
//! Must not know: how the agent does it.
use super::show::one_line;
use super::{print_json, told};
use crate::ask::Agent;
use crate::cli::{Exit, complain, print};
use crate::config::Config;
use crate::jobs_cli::talk::Talk;
use crate::ledger::look::{Look, Looked, Stands};
use serde_json::json;
use std::io::{self, BufRead as _, IsTerminal as _};

/// `edgepush spool retry`.
pub(super) fn retry(config: &Config, look: &Look, id: &str, json: bool) -> Result<Exit, Exit> {
    let found = aside(look, id)?;
    ask(config, &found, "spool-retry", "is tried again", json)
}

/// `edgepush spool drop`.
pub(super) fn drop(config: &Config, look: &Look, id: &str, yes: bool, json: bool) -> Result<Exit, Exit> {
    let found = aside(look, id)?;
    if !yes {
        confirm(&found)?;
    }
    ask(config, &found, "spool-drop", "is dropped", json)
}

/// The batch, which must be aside.
fn aside(look: &Look, id: &str) -> Result<Looked, Exit> {
    let found = look.one(id).map_err(|error| told(&error))?;
    if found.stands != Stands::Aside {
        let (id, stands) = (found.batch.id.0, found.stands.as_str());
        complain(&format!(
            "edgepush: batch {id} is {stands}, not aside: the agent deals with it by itself\n"
        ));
        return Err(Exit::Operator);
    }
    Ok(found)
}

fn confirm(found: &Looked) -> Result<(), Exit> {
    if !io::stdin().is_terminal() {
        complain("edgepush: nobody can be asked here: say --yes to drop the batch\n");
        return Err(Exit::Operator);
    }
    let (name, records) = (one_line(&found.batch.name), found.batch.records);
    complain(&format!("drop {name} and its {records} records for good? [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
        complain("edgepush: nothing was dropped\n");
        return Err(Exit::Failed);
    }
    Ok(())
}

fn ask(config: &Config, found: &Looked, path: &str, what: &str, json: bool) -> Result<Exit, Exit> {
    let talk = Talk::new(Agent::find(config)?);
    let freed = talk.send("POST", &format!("/edgepush/{path}"), json!({ "id": found.batch.id.0 }))?;
    let text = || format!("batch {} {what}: {} records\n", freed["id"], freed["records"]);
    Ok(if json { print_json(&freed) } else { print(&text(), Exit::Done) })
}

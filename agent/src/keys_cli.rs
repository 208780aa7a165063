//! keys_cli: `edgepush keys`: the access keys of customers, for people and for scripts.
//!
//! Promises: the exit codes of INTERFACE 1; works beside a running agent, before its first start, and where none runs; a
//! secret is printed by `add` and by nothing else.
//! Must not know: requests, the archive.
use crate::cli::{Exit, KeysArgs, KeysAsk, complain, print};
use crate::config::Config;
use crate::ledger::StateDir;
use crate::logs_api::keys::{Domains, Key, KeyStore, KeysError};
use crate::logs_api::times;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

/// `edgepush keys`.
pub fn keys(config: &Config, args: KeysArgs) -> Exit {
    let done = match args.ask.unwrap_or(KeysAsk::Ls) {
        KeysAsk::Ls => ls(config, args.json),
        KeysAsk::Add { name, domains } => add(config, &name, &domains, args.json),
        KeysAsk::Set { key, domains } => {
            let read = read(&domains);
            read.and_then(|domains| {
                change(config, &key, "changed", args.json, |s, id| s.set_domains(id, &domains))
            })
        }
        KeysAsk::Disable { key } => change(config, &key, "disabled", args.json, |s, id| s.disable(id, true)),
        KeysAsk::Enable { key } => change(config, &key, "enabled", args.json, |s, id| s.disable(id, false)),
        KeysAsk::Rm { key } => change(config, &key, "removed", args.json, KeyStore::remove),
    };
    done.unwrap_or_else(|exit| exit)
}

fn ls(config: &Config, json: bool) -> Result<Exit, Exit> {
    check(config)?;
    let store = KeyStore::look(&config.state_dir).map_err(|error| told(&error))?;
    let all = store.map_or(Ok(Vec::new()), |store| store.all()).map_err(|error| told(&error))?;
    if json {
        return Ok(print_json(&all.iter().map(shown).collect()));
    }
    let mut out = String::new();
    let width = all.iter().map(|key| key.name.chars().count()).max().unwrap_or(0).max(4);
    let _ = writeln!(out, "{:18}  {:width$}  {:20}  {:8}  DOMAINS", "ACCESS KEY ID", "NAME", "MADE", "STATE");
    for key in &all {
        let state = if key.disabled { "disabled" } else { "good" };
        let made = times::write(key.made);
        let _ = writeln!(out, "{}  {:width$}  {made}  {state:8}  {}", key.id, key.name, key.domains);
    }
    Ok(print(&out, Exit::Done))
}

fn add(config: &Config, name: &str, domains: &[String], json: bool) -> Result<Exit, Exit> {
    if name.is_empty() || name.len() > 200 || name.contains(char::is_control) {
        complain("edgepush: --name must be 1 to 200 bytes without line ends\n");
        return Err(Exit::Operator);
    }
    let domains = read(domains)?;
    let store = open(config)?;
    let now = jiff::Timestamp::now().as_second();
    let key = store.add(name, domains, now).map_err(|error| told(&error))?;
    if json {
        let mut all = shown(&key);
        all["access_key_secret"] = key.secret.expose().into();
        return Ok(print_json(&all));
    }
    let text = format!(
        "access key id      {}\naccess key secret  {}\nname               {}\ndomains            {}\n\
         The secret is not shown again: give both to the customer now.\n",
        key.id,
        key.secret.expose(),
        key.name,
        key.domains
    );
    Ok(print(&text, Exit::Done))
}

fn change(
    config: &Config,
    what: &str,
    done: &str,
    json: bool,
    change: impl FnOnce(&KeyStore, &str) -> Result<bool, KeysError>,
) -> Result<Exit, Exit> {
    let store = open(config)?;
    let id = store.find(what).map_err(|error| told(&error))?.map_err(|why| {
        complain(&format!("edgepush: {why}; `edgepush keys ls` lists them\n"));
        Exit::Operator
    })?;
    match change(&store, &id).map_err(|error| told(&error))? {
        true if json => Ok(print_json(&json!({ "access_key_id": id, "done": done }))),
        true => Ok(print(&format!("{id}: {done}; a running agent goes by it within a second\n"), Exit::Done)),
        false => {
            complain(&format!("edgepush: key {id} was removed meanwhile\n"));
            Err(Exit::Failed)
        }
    }
}

fn read(domains: &[String]) -> Result<Domains, Exit> {
    Domains::read(&domains.join(",")).map_err(|why| {
        complain(&format!("edgepush: {why}\n"));
        Exit::Operator
    })
}

fn open(config: &Config) -> Result<KeyStore, Exit> {
    check(config)?;
    let state = &config.state_dir;
    let made = DirBuilder::new().recursive(true).mode(0o750).create(state);
    made.map_err(|error| {
        complain(&format!("edgepush: {}: {error}\n", state.display()));
        Exit::Failed
    })?;
    KeyStore::open(state).map_err(|error| told(&error))
}

fn check(config: &Config) -> Result<(), Exit> {
    StateDir::check_known(&config.state_dir).map_err(|error| {
        complain(&format!("edgepush: {error}\n"));
        Exit::Held
    })
}

fn told(error: &KeysError) -> Exit {
    complain(&format!("edgepush: {error}\n"));
    Exit::Failed
}

fn shown(key: &Key) -> Value {
    let domains: Vec<&str> = match &key.domains {
        Domains::All => vec!["*"],
        Domains::Only(only) => only.iter().map(String::as_str).collect(),
    };
    json!({
        "access_key_id": key.id,
        "name": key.name,
        "domains": domains,
        "disabled": key.disabled,
        "made": times::write(key.made),
    })
}

fn print_json(value: &Value) -> Exit {
    print(&format!("{value:#}\n"), Exit::Done)
}

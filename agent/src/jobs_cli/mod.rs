//! jobs_cli: `edgepush jobs`: asks the running agent's jobs API, for people and for scripts.
//!
//! `talk` speaks to the API, `show` makes tables of what it says; this file has the commands.
//!
//! Promises: the exit codes of INTERFACE 1; every mistake that the agent tells is passed on; no secret is printed that
//! the token may not see.
//! Must not know: how jobs run.
mod show;
pub(crate) mod talk;

use crate::ask::Agent;
use crate::cli::{Exit, JobsArgs, JobsAsk, complain, print};
use crate::config::Config;
use crate::jobs::{Owner, redact, set};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::time::{Duration, Instant};
use talk::{OVER_ALL, Talk};

/// How long `confirm` waits until the set runs.
const CONFIRM_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
const CONFIRM_LOOK: Duration = Duration::from_millis(200);

/// `edgepush jobs`.
pub fn jobs(config: &Config, args: JobsArgs) -> Exit {
    let agent = match Agent::find(config) {
        Ok(agent) => agent,
        Err(exit) => return exit,
    };
    let jobs = Jobs { talk: Talk::new(agent), json: args.json };
    let done = match args.ask.unwrap_or(JobsAsk::List) {
        JobsAsk::List => jobs.list(),
        JobsAsk::Show { id } => jobs.show(id),
        JobsAsk::Create { file, zone, account } => jobs.create(&file, zone, account),
        JobsAsk::Enable { id } => jobs.switch(id, true),
        JobsAsk::Disable { id } => jobs.switch(id, false),
        JobsAsk::Delete { id, yes } => jobs.delete(id, yes),
        JobsAsk::Test { what } => jobs.test(&what),
        JobsAsk::Confirm { digest } => jobs.confirm(digest),
    };
    done.unwrap_or_else(|exit| exit)
}

struct Jobs {
    talk: Talk,
    json: bool,
}

type Done = Result<Exit, Exit>;

impl Jobs {
    /// What a command gives: JSON for programs, or words.
    fn tell(&self, value: &Value, words: impl FnOnce() -> String, exit: Exit) -> Done {
        let text = if self.json { format!("{value}\n") } else { words() };
        Ok(print(&text, exit))
    }

    fn list(&self) -> Done {
        let jobs = self.talk.get(&format!("{OVER_ALL}/jobs"))?;
        let health = self.talk.get("/edgepush/jobs-health")?;
        let sets = self.talk.get("/edgepush/jobs-source")?;
        let rows: Vec<Value> =
            jobs.as_array().into_iter().flatten().map(|job| with_health(job, &health)).collect();
        let all = json!({ "jobs": rows, "sets": sets["sets"] });
        self.tell(&all, || show::list(&rows, &sets), Exit::Done)
    }

    fn show(&self, id: u64) -> Done {
        let mut job = self.talk.get(&format!("{OVER_ALL}/jobs/{id}"))?;
        job["health"] = self.talk.get(&format!("{OVER_ALL}/jobs/{id}/health"))?;
        redact(&mut job);
        self.tell(&job, || show::one(&job), Exit::Done)
    }

    fn create(&self, file: &str, zone: Option<String>, account: Option<String>) -> Done {
        let Value::Object(mut job) = read_json(file)? else {
            return Err(wrong(&format!("{file} must hold one job: a JSON object")));
        };
        for (key, said) in [("zone", zone), ("account", account)] {
            if let Some(said) = said
                && job.insert(key.into(), said.clone().into()).is_some_and(|own| own != said)
            {
                return Err(wrong(&format!("--{key} says another {key} than {file}: leave one out")));
            }
        }
        let owner = match set::take_owner(&mut job) {
            Ok(owner) => owner.unwrap_or_else(Owner::local),
            Err(problems) => {
                let told = problems.iter().map(|problem| format!("{} {}", problem.pointer, problem.message));
                return Err(wrong(&told.collect::<Vec<_>>().join("; ")));
            }
        };
        let job = self.talk.send("POST", &format!("/{owner}/logpush/jobs"), Value::Object(job))?;
        self.changed(job, "created")
    }

    fn switch(&self, id: u64, enabled: bool) -> Done {
        let job = self.talk.send("PUT", &format!("{OVER_ALL}/jobs/{id}"), json!({ "enabled": enabled }))?;
        self.changed(job, if enabled { "enabled" } else { "disabled" })
    }

    fn changed(&self, mut job: Value, what: &str) -> Done {
        redact(&mut job);
        let words = || {
            format!("job {} of {} {what}, version {}\n", job["id"], show::text(&job["owner"]), job["version"])
        };
        self.tell(&job, words, Exit::Done)
    }

    fn delete(&self, id: u64, yes: bool) -> Done {
        let path = format!("{OVER_ALL}/jobs/{id}");
        if !yes {
            let job = self.talk.get(&path)?;
            if !io::stdin().is_terminal() {
                return Err(wrong("nobody can be asked here: say --yes to delete the job"));
            }
            complain(&format!(
                "delete job {id} {} of {}? [y/N] ",
                show::text(&job["name"]),
                show::text(&job["owner"])
            ));
            let mut answer = String::new();
            let read = io::stdin().lock().read_line(&mut answer);
            if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
                complain("edgepush: nothing was deleted\n");
                return Err(Exit::Failed);
            }
        }
        let deleted = self.talk.delete(&path)?;
        self.tell(&deleted, || format!("job {id} deleted\n"), Exit::Done)
    }

    fn test(&self, what: &str) -> Done {
        let asked: Vec<(String, Value)> = match what.parse::<u64>() {
            Ok(id) => vec![(format!("job {id}"), json!({ "id": id }))],
            Err(_) => match set::jobs_in(read_json(what)?) {
                Ok(jobs) => jobs
                    .into_iter()
                    .map(|(place, job)| (format!("{what}{place}"), json!({ "job": job })))
                    .collect(),
                Err(problems) => {
                    let told = problems
                        .iter()
                        .map(|problem| format!("{what} {} {}", problem.pointer, problem.message));
                    return Err(wrong(&told.collect::<Vec<_>>().join("; ")));
                }
            },
        };
        let mut tried = Vec::new();
        for (place, body) in asked {
            let mut verdict = self.talk.send("POST", "/edgepush/jobs-test", body)?;
            verdict["place"] = place.into();
            tried.push(verdict);
        }
        let good = tried.iter().all(|verdict| verdict["valid"] == true);
        let exit = if good { Exit::Done } else { Exit::Failed };
        self.tell(&Value::Array(tried.clone()), || tried.iter().map(show::tried).collect(), exit)
    }

    fn confirm(&self, digest: Option<String>) -> Done {
        let waiting = |sets: &Value| -> Vec<Value> {
            let sets = sets["sets"].as_array().cloned().unwrap_or_default();
            sets.into_iter().filter(|set| set["digest"].is_string()).collect()
        };
        let before = waiting(&self.talk.get("/edgepush/jobs-source")?);
        let meant = match (&before[..], &digest) {
            (_, Some(digest)) => digest.clone(),
            ([one], None) => show::text(&one["digest"]),
            ([], None) => return Err(wrong("no set of jobs waits for a confirmation")),
            (_, None) => {
                return Err(wrong("more than one set waits: say the digest of the one that is meant"));
            }
        };
        self.talk.send("POST", "/edgepush/jobs-source/confirm", json!({ "digest": meant }))?;
        let is_meant = |set: &&Value| set["digest"] == meant;
        let kind = before.iter().find(is_meant).map(|set| set["kind"].clone()).unwrap_or_default();
        let until = Instant::now() + CONFIRM_WAIT;
        loop {
            let sets = self.talk.get("/edgepush/jobs-source")?;
            if !waiting(&sets).iter().any(|set| is_meant(&set)) {
                let all = sets["sets"].as_array().into_iter().flatten();
                let good = all.filter(|set| set["kind"] == kind).all(|set| set["state"] == "good");
                // It was carried out, or it changed meanwhile and is refused again.
                return self.tell(&sets, || show::sets(&sets), if good { Exit::Done } else { Exit::Failed });
            }
            if Instant::now() >= until {
                complain("edgepush: it is confirmed, and not carried out yet: look at `edgepush jobs`\n");
                return Err(Exit::Failed);
            }
            std::thread::sleep(CONFIRM_LOOK);
        }
    }
}

/// A job beside its figures, without secrets: a list is shown around.
fn with_health(job: &Value, health: &Value) -> Value {
    let mut job = job.clone();
    job["health"] = health[job["id"].to_string()].clone();
    redact(&mut job);
    job
}

fn redact(job: &mut Value) {
    let shown = job["destination_conf"].as_str().map(redact::redacted);
    if let Some(shown) = shown {
        job["destination_conf"] = shown.into();
    }
}

/// Says what an operator did wrong.
fn wrong(why: &str) -> Exit {
    complain(&format!("edgepush: {why}\n"));
    Exit::Operator
}

/// Reads a file or standard input.
fn read_json(file: &str) -> Result<Value, Exit> {
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().lock().read_to_end(&mut bytes).map(drop),
        path => std::fs::read(path).map(|read| bytes = read),
    };
    read.map_err(|error| wrong(&format!("{file} cannot be read: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("{file} is not JSON: {error}")))
}

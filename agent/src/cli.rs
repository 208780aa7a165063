//! cli: the command line. Settings are environment only (RULINGS 9); what stands here are commands and their flags.
//!
//! Promises: the exit codes of INTERFACE 1, a broken pipe is exit 0, and nothing is touched before the settings are
//! known to be right.
//! Must not know: how the agent runs.
use clap::{Args, Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended (INTERFACE 1). A bug aborts instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// It ran, and something failed or is undelivered.
    Failed,
    /// What an operator typed is wrong.
    Operator,
    /// Another agent holds the state directory, no agent answers, or the state is of a newer version.
    Held,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Operator => 2,
            Exit::Held => 3,
        })
    }
}

/// Edge log-push agent: reads access logs, pushes them batched and compressed, exactly once.
///
/// Everything is configured by EDGEPUSH_* environment variables: `edgepush env` shows them.
#[derive(Debug, Parser)]
#[command(name = "edgepush", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands (INTERFACE 2).
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow the sources and push what they say until stopped
    Run(RunArgs),
    /// Say whether the settings work on this host; exits with 1 if something does not
    Check(CheckArgs),
    /// Show every setting, its value in force and where it comes from
    Env(EnvArgs),
    /// Show what the running agent does
    Status(StatusArgs),
    /// Run the whole agent on realistic traffic for some seconds and prove that nothing was lost
    Demo(DemoArgs),
    /// List and manage the jobs of the running agent
    Jobs(JobsArgs),
    /// Show what a log gives a data set: which of its fields fill which, and what stays empty
    Fields(FieldsArgs),
    /// List, show and export the batches that wait in the spool or are held aside
    Spool(SpoolArgs),
    /// List and manage the access keys of customers, with which they list and download archived files
    Keys(KeysArgs),
    /// List, copy, check and read the files of the archive
    Archive(ArchiveArgs),
    /// Deliver again what was delivered (not built yet)
    #[command(hide = true)]
    Replay(Later),
    /// Watch the running agent (not built yet)
    #[command(hide = true)]
    Top(Later),
    /// Find out what is wrong (not built yet)
    #[command(hide = true)]
    Doctor(Later),
}

impl Command {
    /// The name of a command whose part is not built yet.
    pub fn not_built(&self) -> Option<&'static str> {
        match self {
            Command::Replay(_) => Some("replay"),
            Command::Top(_) => Some("top"),
            Command::Doctor(_) => Some("doctor"),
            _ => None,
        }
    }
}

/// Flags of `run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Read what is there now, deliver it, print one line of JSON, and end
    #[arg(long)]
    pub once: bool,
}

/// Flags of `check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// Write nothing, neither here nor at the destination
    #[arg(long)]
    pub no_probe: bool,
}

/// Flags of `env`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct EnvArgs {
    /// Print docs/configuration.md instead
    #[arg(long, conflicts_with = "example")]
    pub markdown: bool,
    /// Print an example of an environment file instead
    #[arg(long)]
    pub example: bool,
}

/// Flags of `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// Print the agent's answer as it is
    #[arg(long)]
    pub json: bool,
}

/// Flags of `demo`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// How long traffic is written
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Lines per second; 0 = as fast as they can be written
    #[arg(long, default_value_t = 50_000)]
    pub rate: u64,
    /// Where log, state and archive go; made if missing [default: a new directory below the temporary one]
    #[arg(long)]
    pub dir: Option<std::path::PathBuf>,
}

/// What `jobs` is to do; nothing said: list them.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct JobsArgs {
    /// What to do with them
    #[command(subcommand)]
    pub ask: Option<JobsAsk>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands below `jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum JobsAsk {
    /// All jobs with their state, and whether a set of job files is refused
    List,
    /// One job with its figures
    Show {
        /// Its id
        id: u64,
    },
    /// Create a job; its destination is asked first
    Create {
        /// The job as a JSON object; `-`: standard input
        file: String,
        /// The zone whose job it is
        #[arg(long, conflicts_with = "account")]
        zone: Option<String>,
        /// The account whose job it is [default: local]
        #[arg(long)]
        account: Option<String>,
    },
    /// Let a job take records
    Enable {
        /// Its id
        id: u64,
    },
    /// Let a job take no more records
    Disable {
        /// Its id
        id: u64,
    },
    /// Delete a job
    Delete {
        /// Its id
        id: u64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Tell everything that is wrong with a job, its destination asked; exits with 1 if something is
    Test {
        /// The id of a job, or a job file; `-`: standard input
        what: String,
    },
    /// Let a set of job files that was refused replace the jobs that run
    Confirm {
        /// The digest that the refusal tells [default: that of the set that waits]
        digest: Option<String>,
    },
}

/// Flags of `fields`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct FieldsArgs {
    /// The log, plain or compressed with gzip or zstd; `-`: standard input
    #[arg(long, value_name = "FILE", required_unless_present = "markdown")]
    pub sample: Option<String>,
    /// How its lines are read, as EDGEPUSH_FORMAT
    #[arg(long, default_value = "auto")]
    pub format: String,
    /// The data set that is to be filled
    #[arg(long, default_value = "http_requests")]
    pub dataset: String,
    /// From which fields, as EDGEPUSH_MAPPING
    #[arg(long, default_value = "auto")]
    pub mapping: String,
    /// How many lines are looked at
    #[arg(long, default_value_t = 1000)]
    pub lines: usize,
    /// Print the tables of docs/datasets.md instead
    #[arg(long, conflicts_with_all = ["sample", "json"])]
    pub markdown: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// What `spool` is to do.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SpoolArgs {
    /// What to do with it
    #[command(subcommand)]
    pub ask: SpoolAsk,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands below `spool`. Those that look do so beside a running agent, or where none runs; the others ask it.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum SpoolAsk {
    /// All batches: being filled, waiting (or on their way), held aside
    Ls(SpoolFilter),
    /// All of one batch
    Show {
        /// Its id, its key or its name
        id: String,
    },
    /// Write a batch's body as its destination would get it
    Export(SpoolExport),
    /// Let the running agent send a batch again that is held aside
    Retry {
        /// Its id, its key or its name
        id: String,
    },
    /// Let the running agent forget a batch that is held aside: a loss, counted as such
    Drop {
        /// Its id, its key or its name
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which batches are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct SpoolFilter {
    /// Only those of this job: its id or its name
    #[arg(long)]
    pub job: Option<String>,
    /// Only those that are held aside
    #[arg(long)]
    pub aside: bool,
}

/// What is exported, and to where.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SpoolExport {
    /// The batch: its id, its key or its name
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,
    /// The file, which must not exist; `-`: standard output [default: the last part of the batch's name, here]
    #[arg(long, conflicts_with = "all")]
    pub out: Option<String>,
    /// All closed batches, or those of --job, --aside
    #[arg(long, requires = "dir")]
    pub all: bool,
    /// The directory for --all; made if missing
    #[arg(long, requires = "all", conflicts_with = "id")]
    pub dir: Option<std::path::PathBuf>,
    /// Which of all
    #[command(flatten)]
    pub filter: SpoolFilter,
}

/// What `keys` is to do; nothing said: list them.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct KeysArgs {
    /// What to do with them
    #[command(subcommand)]
    pub ask: Option<KeysAsk>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands below `keys`. A running agent goes by each within a second.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeysAsk {
    /// All keys, without their secrets
    #[command(alias = "list")]
    Ls,
    /// Make a key; prints its secret, this one time
    Add {
        /// Whose it is
        #[arg(long)]
        name: String,
        /// The domains that it opens: several with commas or repeated; `*`: all
        #[arg(long = "domain", required = true)]
        domains: Vec<String>,
    },
    /// Give a key other domains
    Set {
        /// Its id, or its name
        key: String,
        /// The domains that it opens from now on
        #[arg(long = "domain", required = true)]
        domains: Vec<String>,
    },
    /// Refuse a key until it is enabled
    Disable {
        /// Its id, or its name
        key: String,
    },
    /// Take a key again that was disabled
    Enable {
        /// Its id, or its name
        key: String,
    },
    /// Remove a key: no URL that it signed is good any more
    Rm {
        /// Its id, or its name
        key: String,
    },
}

/// What `archive` is to do.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ArchiveArgs {
    /// What to do with it
    #[command(subcommand)]
    pub ask: ArchiveAsk,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands below `archive`. They work beside a running agent, and where none runs.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ArchiveAsk {
    /// The files that are listed
    #[command(alias = "list")]
    Ls(ArchiveFilter),
    /// Copy files into a directory
    Get {
        /// Which
        #[command(flatten)]
        which: ArchiveFilter,
        /// The directory; made if missing
        #[arg(long)]
        dir: std::path::PathBuf,
    },
    /// Decompress files, and compare them with what was counted when they were written; exits with 1 if one differs
    Verify(ArchiveFilter),
    /// Write the records of a range of time to standard output: of all parts of files that meet it
    Cat(ArchiveRange),
}

/// Which files are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ArchiveFilter {
    /// A domain, or one file as `ls` writes it [default: all]
    pub what: Option<String>,
    /// Only those with requests from this time on: 2022-09-01, 2022-09-01T08:00:00Z or Unix seconds
    #[arg(long)]
    pub from: Option<String>,
    /// Only those with requests before this time
    #[arg(long)]
    pub to: Option<String>,
}

/// Whose records, and of when.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ArchiveRange {
    /// The domain
    #[arg(long)]
    pub domain: String,
    /// From this time on: 2022-09-01, 2022-09-01T08:00:00Z or Unix seconds
    #[arg(long)]
    pub from: Option<String>,
    /// Before this time
    #[arg(long)]
    pub to: Option<String>,
}

/// Whatever is said to a command that does not exist yet.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// Understands the command line, or says how the process ends: help and version are done, mistakes are told.
pub fn parse(words: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, Exit> {
    Cli::try_parse_from(words).map_err(|error| {
        let exit = if error.use_stderr() { Exit::Operator } else { Exit::Done };
        match error.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => exit,
        }
    })
}

/// Writes a command's output.
pub fn print(text: &str, exit: Exit) -> Exit {
    let mut out = io::stdout().lock();
    ended(out.write_all(text.as_bytes()).and_then(|()| out.flush()), exit)
}

/// How a command ends that has written to standard output. A reader that has gone away has read enough: that is no
/// failure.
pub fn ended(written: io::Result<()>, exit: Exit) -> Exit {
    match written {
        Ok(()) => exit,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            complain(&format!("edgepush: standard output: {error}\n"));
            Exit::Failed
        }
    }
}

/// Writes to standard error; there is nobody to tell when that fails.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Tells an operator all that is wrong.
pub fn complain_of(problems: &[crate::config::Problem]) -> Exit {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&format!("edgepush: {problem}\n"));
    }
    complain(&text);
    Exit::Operator
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, Exit> {
        parse(line.split(' ').map(Into::into)).map(|cli| cli.command)
    }

    #[test]
    fn clap_finds_no_contradiction() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_read() {
        assert!(matches!(parsed("edgepush run --once"), Ok(Command::Run(RunArgs { once: true }))));
        assert!(matches!(parsed("edgepush run"), Ok(Command::Run(RunArgs { once: false }))));
        assert!(matches!(
            parsed("edgepush check --no-probe"),
            Ok(Command::Check(CheckArgs { no_probe: true }))
        ));
        let Ok(Command::Demo(demo)) = parsed("edgepush demo --seconds 3 --rate 1000 --dir /tmp/x") else {
            panic!()
        };
        assert_eq!((demo.seconds, demo.rate, demo.dir), (3, 1000, Some("/tmp/x".into())));
        let Ok(Command::Demo(demo)) = parsed("edgepush demo") else { panic!() };
        assert_eq!((demo.seconds, demo.dir), (10, None));
    }

    #[test]
    fn jobs_has_commands_of_its_own() {
        let ask = |line: &str| match parsed(line) {
            Ok(Command::Jobs(args)) => (args.ask, args.json),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(ask("edgepush jobs"), (None, false));
        assert_eq!(ask("edgepush jobs list --json"), (Some(JobsAsk::List), true));
        assert_eq!(ask("edgepush jobs delete 7 --yes"), (Some(JobsAsk::Delete { id: 7, yes: true }), false));
        let (file, zone) = ("-".to_owned(), Some("z".to_owned()));
        let create = JobsAsk::Create { file, zone, account: None };
        assert_eq!(ask("edgepush jobs create - --zone z"), (Some(create), false));
        for line in
            ["edgepush jobs show x", "edgepush jobs create", "edgepush jobs create - --zone a --account b"]
        {
            assert_eq!(parsed(line).unwrap_err(), Exit::Operator, "{line}");
        }
    }

    #[test]
    fn spool_says_what_it_needs() {
        let ask = |line: &str| match parsed(line) {
            Ok(Command::Spool(args)) => (args.ask, args.json),
            other => panic!("{line}: {other:?}"),
        };
        let filter = SpoolFilter { job: Some("7".to_owned()), aside: true };
        assert_eq!(ask("edgepush spool ls --job 7 --aside --json"), (SpoolAsk::Ls(filter.clone()), true));
        let export = SpoolExport { id: None, out: None, all: true, dir: Some("/x".into()), filter };
        assert_eq!(ask("edgepush spool export --all --aside --job 7 --dir /x").0, SpoolAsk::Export(export));
        for line in [
            "edgepush spool",
            "edgepush spool show",
            "edgepush spool drop --yes",
            "edgepush spool export",
            "edgepush spool export --all",
            "edgepush spool export 7 --dir /x",
            "edgepush spool export 7 --all --dir /x",
            "edgepush spool export --all --dir /x --out y",
        ] {
            assert_eq!(parsed(line).unwrap_err(), Exit::Operator, "{line}");
        }
    }

    #[test]
    fn keys_and_archive_say_what_they_need() {
        for line in
            ["edgepush keys", "edgepush keys add --name x --domain a --domain b,c", "edgepush archive ls a"]
        {
            assert!(parsed(line).is_ok(), "{line}");
        }
        for line in [
            "edgepush keys add --name x",
            "edgepush keys add --domain a",
            "edgepush keys rm",
            "edgepush archive",
            "edgepush archive get a",
            "edgepush archive cat",
        ] {
            assert_eq!(parsed(line).unwrap_err(), Exit::Operator, "{line}");
        }
    }

    #[test]
    fn mistakes_are_the_operators() {
        let lines = [
            "edgepush",
            "edgepush rum",
            "edgepush run --twice",
            "edgepush demo --seconds 0",
            "edgepush env x",
        ];
        for line in lines {
            assert_eq!(parsed(line).unwrap_err(), Exit::Operator, "{line}");
        }
    }

    #[test]
    fn later_commands_take_anything() {
        for line in ["edgepush top", "edgepush doctor --now x"] {
            assert!(parsed(line).unwrap().not_built().is_some(), "{line}");
        }
        assert_eq!(parsed("edgepush run").unwrap().not_built(), None);
    }
}

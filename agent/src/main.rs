//! The `edgepush` binary: one match on the command, and the only place that decides an exit code.
use edgepush::cli::{self, Cli, Command, Exit};
use edgepush::config::{self, Around, Config, Host, Needs};
use edgepush::{
    archive_cli, check, demo, destination, fields, jobs_cli, keys_cli, log, run, spool_cli, status,
};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What the agent writes is for its own user and group (INTERFACE 9).
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    log::abort_on_panic();
    let exit = match cli::parse(std::env::args_os()) {
        Ok(Cli { command }) => perform(command),
        Err(exit) => exit,
    };
    exit.into()
}

fn perform(command: Command) -> Exit {
    match command {
        Command::Env(flags) if flags.markdown => cli::print(&config::show::markdown(), Exit::Done),
        Command::Env(flags) if flags.example => cli::print(&config::show::example(), Exit::Done),
        Command::Env(_) => {
            let reading = config::read(std::env::vars_os(), &around());
            let exit = match reading.problems.is_empty() {
                true => Exit::Done,
                false => cli::complain_of(&reading.problems),
            };
            cli::print(&config::show::table(&reading.in_force), exit)
        }
        Command::Run(flags) => with_config(Needs::Sources, |config| run::run(config, flags)),
        Command::Demo(flags) => demo::demo(flags),
        Command::Check(flags) => {
            let around = around();
            let config = config::load(std::env::vars_os(), &around, Needs::Sources);
            check::check(config, &around.host, flags, run::probes())
        }
        Command::Status(flags) => with_config(Needs::Nothing, |config| status::status(&config, flags)),
        Command::Jobs(args) => with_config(Needs::Nothing, |config| jobs_cli::jobs(&config, args)),
        Command::Fields(args) => fields::fields(&args),
        Command::Spool(args) => with_config(Needs::Nothing, |config| spool_cli::spool(&config, args)),
        Command::Keys(args) => with_config(Needs::Nothing, |config| keys_cli::keys(&config, args)),
        Command::Archive(args) => with_config(Needs::Nothing, |config| archive_cli::archive(&config, args)),
        Command::Replay(_) | Command::Top(_) | Command::Doctor(_) => not_built(&command),
    }
}

fn not_built(command: &Command) -> Exit {
    let name = command.not_built().unwrap_or("this command");
    cli::complain(&format!("edgepush: {name} is not built yet in {}\n", config::VERSION));
    Exit::Operator
}

fn with_config(needs: Needs, then: impl FnOnce(Config) -> Exit) -> Exit {
    match config::load(std::env::vars_os(), &around(), needs) {
        Ok(config) => {
            log::start(config.log, config.log_format);
            then(config)
        }
        Err(problems) => cli::complain_of(&problems),
    }
}

fn around() -> Around<'static> {
    Around {
        host: Host::of_this_machine(),
        read: &|path| std::fs::read_to_string(path),
        destination: destination::url::validate,
    }
}

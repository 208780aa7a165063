//! run: joins the machines, the threads and the queues; the only file that knows them all.
use crate::cli::{Exit, RunArgs, complain};
use crate::config::Config;

/// Runs the agent until it is stopped, or once.
pub fn run(_config: Config, _flags: RunArgs) -> Exit {
    complain("edgepush: run is not joined yet\n");
    Exit::Failed
}

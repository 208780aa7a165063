//! The sink answers 503 for a while: the log goes into the spool, and then out of it.
use super::whole::{answer, throughput, wait_records};
use super::{Input, Sample};
use crate::account::account;
use crate::bench::Bench;
use crate::case::Destination;
use crate::sink::now_ns;
use std::io;
use std::time::Duration;

/// One outage of `seconds`, which begins before the log appears.
pub fn outage(bench: &Bench, input: &Input) -> io::Result<Sample> {
    let case = input.case;
    let sink = bench.sink(case.destination == Destination::Https)?;
    sink.refuse(true)?;
    let dir = bench.fresh("followed", &bench.disk)?;
    let sources = format!("file:{}/*.log", dir.display());
    let mut command = bench.command(&["run"], &sources, &sink.url())?;
    command.env("EDGEPUSH_CORES", case.cores.to_string()).envs(&case.set);
    let mut running = bench.start_ready(command, case.cores)?;
    std::fs::hard_link(&input.log.path, dir.join("access.log"))?;
    for _ in 0..case.seconds * 10 {
        std::thread::sleep(Duration::from_millis(100));
        running.look();
    }
    let back = now_ns();
    sink.refuse(false)?;
    wait_records(bench, &mut running, &sink, input.expected.lines.len() as u64)?;
    running.terminate();
    let ended = bench.ended(running, "run, at SIGTERM,")?;
    let bodies = sink.bodies()?;
    let last = bodies.last().map_or(back, |b| b.acked_ns);
    let account = account(&bodies, input.expected, false)?.exact()?;
    let mut sample = Sample::default();
    throughput(&mut sample, &ended, input.log.bytes);
    answer(&mut sample, &account, input)?;
    sample.set("recover_s", last.saturating_sub(back) as f64 / 1e9);
    Ok(sample)
}

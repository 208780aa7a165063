//! How each kind of case is run: one call, one run, its samples by figure.
//!
//! Promises: samples come only of a run whose every line arrived once, as it should. Must not know: how often a case is
//! run, how samples are shown.
mod jobs;
mod outage;
mod sockets;
mod steady;
mod whole;

pub use whole::{answer, throughput};

use crate::bench::{Bench, Log};
use crate::case::{Case, Kind};
use crate::expect::Expected;
use std::collections::BTreeMap;
use std::io;

/// Samples of one run.
#[derive(Default)]
pub struct Sample {
    /// By figure.
    pub figures: BTreeMap<String, f64>,
    /// CPU by thread name, ms; only of followed runs.
    pub threads: BTreeMap<String, f64>,
    /// What a reader must know.
    pub marks: Vec<String>,
}

impl Sample {
    /// Another figure.
    pub fn set(&mut self, figure: &str, value: f64) {
        self.figures.insert(figure.to_owned(), value);
    }
}

/// What a case runs over: its log and the lines that must come of it.
pub struct Input<'a> {
    /// The case.
    pub case: &'a Case,
    /// The whole log; of kinds that write their own an empty one.
    pub log: &'a Log,
    /// What must come of the log.
    pub expected: &'a Expected,
}

/// Runs a case once. `turn` counts the runs: what is done in pairs changes its order with it.
pub fn run(bench: &Bench, input: &Input, turn: usize) -> io::Result<Sample> {
    match input.case.kind {
        Kind::Once => whole::once(bench, input, input.case.cores),
        Kind::Follow => whole::follow(bench, input),
        Kind::Scaling => whole::scaling(bench, input, turn),
        Kind::Domains => whole::domains(bench, input, turn),
        Kind::Start => whole::start(bench),
        Kind::Idle => steady::idle(bench, input.case),
        Kind::LowRate => steady::low_rate(bench, input.case),
        Kind::Latency => steady::latency(bench, input),
        Kind::Jobs => jobs::disjoint(bench, input, turn),
        Kind::JobsAll => jobs::all(bench, input, turn),
        Kind::JobsStart => jobs::start(bench, input, turn),
        Kind::Flood => sockets::flooded(bench, input.case),
        Kind::FloodRate => sockets::highest(bench, input.case),
        Kind::Outage => outage::outage(bench, input),
    }
}

impl Kind {
    /// It runs over a whole log that lies there.
    pub fn whole(self) -> bool {
        self.speed() || matches!(self, Kind::Outage | Kind::Latency)
    }

    /// Its speed is comparable with a compressor's alone.
    pub fn speed(self) -> bool {
        matches!(self, Kind::Once | Kind::Follow | Kind::Scaling | Kind::Domains | Kind::Jobs | Kind::JobsAll)
    }
}

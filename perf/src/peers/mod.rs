//! Peers on the same case, with their strongest fair settings.
//!
//! Promises: their answers are checked line by line as the agent's are, by id where they write lines anew; a peer that
//! is not here is a row that says so; the configuration stands in the results. Must not know: the agent.
use crate::bench::Bench;
use crate::case::Case;
use crate::measure::{Input, Sample};
use crate::results::Row;
use std::io;

/// One peer in one of its variants.
pub struct Peer;

impl Peer {
    /// Its name in results.
    pub fn name(&self) -> &'static str {
        "none"
    }
    /// Lines leave as they came.
    pub fn keeps_bytes(&self) -> bool {
        true
    }
}

/// The peers that can do a case.
pub fn of(_case: &Case) -> Vec<Peer> {
    Vec::new()
}

/// A peer's row before its first run.
pub fn row(_peer: &Peer, row: Row) -> Row {
    row
}

/// One run.
pub fn run(_bench: &Bench, _peer: &Peer, _input: &Input) -> io::Result<Sample> {
    Err(io::Error::other("no peer"))
}

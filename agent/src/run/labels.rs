//! labels: what the metrics call sources, repairs and reasons.
//!
//! Must not know: jobs.
use crate::config::{self, Config};
use crate::metrics::Labels;
use crate::rt::Backend;
use edgepush_shard::parse::Reason;
use edgepush_shard::record::RepairKind;

/// What the metrics call things.
pub(super) fn labels(config: &Config, backend: Backend) -> Labels {
    const REPAIRS: [&str; RepairKind::ALL.len()] = repair_names();
    const REASONS: [&str; Reason::ALL.len()] = reason_names();
    Labels {
        version: config::VERSION,
        runtime: backend.as_str(),
        simd: edgepush_shard::scan::level().as_str(),
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        repairs: &REPAIRS,
        reasons: &REASONS,
    }
}

const fn repair_names() -> [&'static str; RepairKind::ALL.len()] {
    let mut names = [""; RepairKind::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = RepairKind::ALL[at].as_str();
        at += 1;
    }
    names
}

const fn reason_names() -> [&'static str; Reason::ALL.len()] {
    let mut names = [""; Reason::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Reason::ALL[at].as_str();
        at += 1;
    }
    names
}

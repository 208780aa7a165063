//! Benches of the pure parts; each asserts its answer before it times or counts anything.
//!
//! Promises: input and stages are functions of a seed, the same on every machine.
//! Must not know: files, sockets, the agent.
// One log for this crate and for the end-to-end harness, so that their figures are of the same bytes.
#[path = "../../perf/src/corpus/mod.rs"]
pub mod corpus;
#[cfg(feature = "curve")]
pub mod curve;
pub mod oracle;
pub mod runs;
pub mod stages;

use edgepush_shard::scan::{Simd, set_level};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread, ns.
pub fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Obeys `EDGEPUSH_SIMD`: at most these instructions. An error names what is not known.
pub fn choose_simd(name: &str) -> Result<(), String> {
    match name {
        "scalar" => set_level(Simd::Scalar),
        "avx2" => set_level(Simd::Avx2),
        "" | "auto" => {}
        other => return Err(format!("EDGEPUSH_SIMD={other}: not one of scalar, avx2, auto")),
    }
    Ok(())
}

//! Benches of the pure parts; each asserts its answer before it times or counts anything.
//!
//! Promises: input and stages are functions of a seed, the same on every machine.
//! Must not know: files, sockets, the agent.
// One log for this crate and for the end-to-end harness, so that their figures are of the same bytes.
#[path = "../../perf/src/corpus.rs"]
pub mod corpus;
#[cfg(feature = "curve")]
pub mod curve;
pub mod runs;
pub mod stages;

/// Obeys `EDGEPUSH_SIMD`. An error names what is not known.
pub fn choose_simd(name: &str) -> Result<(), String> {
    match name {
        "scalar" => edgepush_shard::scan::set_scalar(true),
        "" | "auto" | "avx2" => edgepush_shard::scan::set_scalar(false),
        other => return Err(format!("EDGEPUSH_SIMD={other}: not one of scalar, avx2, auto")),
    }
    Ok(())
}

//! cpus: the affinity mask of the calling thread.
//!
//! Promises: what is read is what the kernel will let the thread run on.
//! Must not know: who is pinned where, and why.
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// The CPUs this thread may run on, ascending. Take it on a thread that is not pinned.
///
/// # Errors
/// The kernel refused, which it does only for more than 1024 CPUs.
pub fn allowed() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect())
}

/// Pins the calling thread to these CPUs.
pub(super) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut mask = CpuSet::new();
    for cpu in cpus {
        mask.set(*cpu);
    }
    Ok(sched_setaffinity(None, &mask)?)
}

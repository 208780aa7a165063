//! The machine, as far as figures depend on it.
use crate::results::Host;
use std::path::Path;

/// Share of a speed target on a host whose widest instructions are AVX2 (or less): the targets were set with AVX-512.
pub const NARROW: f64 = 0.75;

/// Looks at this machine. `cpus` are those that the harness may use.
pub fn look(cpus: &[usize]) -> Host {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let named = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value.trim()).to_owned()
    };
    let memory = named(&read("/proc/meminfo"), "MemTotal");
    Host {
        cpu: named(&read("/proc/cpuinfo"), "model name"),
        cpus: cpus.len(),
        siblings: siblings(cpus),
        simd: simd().to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_mb: memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024 / 1_000_000,
    }
}

/// Whether the speed targets stand as they are.
pub fn wide(host: &Host) -> bool {
    host.simd == "avx512"
}

/// The first two CPUs are two threads of one core.
fn siblings(cpus: &[usize]) -> Option<bool> {
    let (first, second) = (cpus.first()?, cpus.get(1)?);
    let path = format!("/sys/devices/system/cpu/cpu{first}/topology/thread_siblings_list");
    let list = std::fs::read_to_string(Path::new(&path)).ok()?;
    let holds = |part: &str| match part.split_once('-') {
        Some((low, high)) => Some((low.parse().ok()?..=high.parse().ok()?).contains(second)),
        None => Some(part.parse::<usize>().ok()? == *second),
    };
    Some(list.trim().split(',').any(|part| holds(part).unwrap_or(false)))
}

#[cfg(target_arch = "x86_64")]
fn simd() -> &'static str {
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi") {
        "avx512"
    } else if is_x86_feature_detected!("avx2") {
        "avx2"
    } else {
        "sse2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> &'static str {
    if cfg!(target_arch = "aarch64") { "neon" } else { "scalar" }
}

//! The simulation of delivery (PROTOCOL 2, 3, 5, 8, 9): the production machines in one thread, in virtual time, on a
//! simulated disk, log directory and store; SQLite is real. A seed is a run; the same seed repeats it exactly.
//!
//! `EDGEPUSH_SIM_SEEDS=<n>` runs so many seeds (default 500); `EDGEPUSH_SIM_SEED=<n>` runs one and tells its story;
//! `EDGEPUSH_SIM_FIRST=<n>` begins elsewhere. `.ci/mutants` shows that it can fail.
#![allow(clippy::unwrap_used)]
mod disk;
mod logs;
mod oracle;
mod process;
mod rng;
mod store;
mod world;

use edgepush::ledger::POINTS;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{Summary, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// SQLite's files: in memory where there is one. No sync of a real disk is waited for.
fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// How often the process ended at which disk call or failure point.
type Ends = BTreeMap<&'static str, u64>;

/// Runs a seed. `Err`: what did not hold.
fn run(seed: u64, tracing: bool) -> Result<(Summary, Ends), String> {
    let mut world = World::new(seed, &place(), tracing);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    if tracing {
        world.trace.iter().for_each(|line| println!("{line}"));
    }
    let ends = world.ends();
    result.map(|summary| (summary, ends)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    })
}

#[test]
fn every_line_arrives_once() {
    if let Some(seed) = number("EDGEPUSH_SIM_SEED") {
        let (summary, ends) = run(seed, true).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        println!("seed {seed}: {summary:?} {ends:?}");
        return;
    }
    let (first, seeds) =
        (number("EDGEPUSH_SIM_FIRST").unwrap_or(0), number("EDGEPUSH_SIM_SEEDS").unwrap_or(500));
    let patient = std::env::var_os("EDGEPUSH_SIM_ALL").is_some();
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let failed = AtomicU64::new(0);
    let work = || {
        let (mut sum, mut ends, mut failures) = (Summary::default(), Ends::new(), Vec::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds || failed.load(Ordering::Relaxed) > 0 && !patient {
                return (sum, ends, failures);
            }
            match run(first + at, false) {
                Ok((summary, more)) => {
                    sum = sum.plus(summary);
                    more.into_iter().for_each(|(point, times)| *ends.entry(point).or_default() += times);
                }
                Err(why) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    failures.push((first + at, why));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(seeds as usize);
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    });
    std::panic::set_hook(quiet);
    let mut failures: Vec<_> = results.iter().flat_map(|(_, _, failures)| failures.clone()).collect();
    let sum = results.iter().fold(Summary::default(), |sum, (more, _, _)| sum.plus(*more));
    let points: BTreeSet<&str> = results.iter().flat_map(|(_, ends, _)| ends.keys().copied()).collect();
    failures.sort();
    println!("{seeds} seeds from {first} in {:.1} s: {sum:?}", begun.elapsed().as_secs_f64());
    for (seed, why) in &failures {
        println!("RED seed {seed}: {why}");
    }
    println!("the process ended at {} disk calls and points: {points:?}", points.len());
    assert!(
        failures.is_empty(),
        "{} seeds are red; EDGEPUSH_SIM_SEED={} tells a story",
        failures.len(),
        failures[0].0
    );
    // With enough seeds every point of a commit, a verdict and a start has been the last one. Nothing publishes here.
    let wanted = |point: &&str| {
        let other = ["compact", "expire", "split", "aside", "publish"];
        !other.iter().any(|rare| point.starts_with(rare))
    };
    let never: Vec<&str> =
        POINTS.iter().copied().filter(wanted).filter(|point| !points.contains(point)).collect();
    assert!(seeds < 500 || never.is_empty(), "the process never ended at {never:?}");
}

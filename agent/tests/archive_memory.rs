//! Ten thousand domains with 48 open hours each stay within `EDGEPUSH_MEMORY_MAX`, and the disk is not shredded.
//!
//! `EDGEPUSH_TEST_DOMAINS` says how many domains (1,000 by default: the machine's debug build takes a while for more).
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOURS: u64 = 48;

/// A field of `/proc/PID/status`, bytes.
fn status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn open_hours_of_many_domains_stay_within_the_memory_bound() {
    let domains: u64 =
        std::env::var("EDGEPUSH_TEST_DOMAINS").map_or(1000, |v| v.parse().expect("EDGEPUSH_TEST_DOMAINS"));
    let place = Place::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Every line is of another domain and hour than its neighbours: the worst order there is.
    let all = domains * HOURS;
    let mut dice = Dice(11);
    let mut order: Vec<u64> = (0..all).collect();
    (1..order.len()).rev().for_each(|at| order.swap(at, dice.below(at as u64 + 1) as usize));
    let mut text = String::new();
    for n in order {
        let (domain, hour) = (n / HOURS, n % HOURS);
        let time = now - hour * 3600;
        let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36";
        writeln!(
            text,
            r#"{{"host":"www.customer-{domain}.example","time":{time},"uri":"/a/{n}","agent":"{agent}"}}"#
        )
        .unwrap();
    }
    std::fs::write(place.log(), &text).unwrap();
    let bound = 128_000_000;
    let setup = place
        .setup()
        .without("EDGEPUSH_DESTINATION")
        .env("EDGEPUSH_MEMORY_MAX", "128MB")
        .env("EDGEPUSH_SPOOL_MAX", "4GB")
        .env("EDGEPUSH_COMMIT_INTERVAL", "5s")
        .env("EDGEPUSH_ARCHIVE_PUBLISH", "24h");
    let agent = setup.start_ready();
    wait_until("all are read", Duration::from_secs(600), || {
        agent.metrics().is_some_and(|m| m.sum("edgepush_lines_read_total") >= all as f64)
    });
    // The last commit, too.
    std::thread::sleep(Duration::from_secs(8));
    let peak = status(agent.pid(), "VmHWM:");
    agent.terminate().exits(0);
    let stored: u64 = files_below(&place.state()).iter().map(|path| path.metadata().unwrap().len()).sum();
    say(&format!(
        "{domains} domains × {HOURS} hours: peak {:.1} MB of {:.0} MB, {:.1} MB of log in {:.1} MB on disk",
        peak as f64 / 1e6,
        bound as f64 / 1e6,
        text.len() as f64 / 1e6,
        stored as f64 / 1e6,
    ));
    assert!(peak <= bound, "{peak} bytes of {bound}");
    // Restarted with all of that open, it still fits.
    let agent = setup.start_ready();
    let peak = status(agent.pid(), "VmHWM:");
    agent.terminate().exits(0);
    assert!(peak <= bound, "{peak} bytes after a restart");
}

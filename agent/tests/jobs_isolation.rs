//! One job whose destination is dead and one whose destination is slow take nothing from 98 others: those go on as if
//! they were alone, while what the two cannot send waits, within memory and spool.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use serde_json::json;
use std::time::{Duration, Instant};

const GOOD: usize = 98;
const ALONE: u64 = 3;
const TOGETHER: u64 = 5;
/// A batch has 1000 records, and is known to be full with the one after it.
const LINES: u64 = 1100;
const MEMORY: u64 = 160_000_000;
const SPOOL: u64 = 64_000_000;

/// Writes what fills one more batch of each job; how long the good ones took to deliver theirs.
fn round(place: &Place, recorder: &Recorder, agent: &mut Agent, number: u64) -> Duration {
    let start = Instant::now();
    writer::append(&place.log(), "r", (number - 1) * LINES..number * LINES);
    wait_until(&format!("round {number}: each good job has its batch"), Duration::from_secs(30), || {
        assert!(agent.alive(), "{}", agent.stderr_text());
        let done = recorder.records_by_target();
        let good = done.iter().filter(|(target, n)| target.contains("job=good") && **n >= number * 1000);
        good.count() == GOOD
    });
    start.elapsed()
}

#[test]
fn a_dead_and_a_slow_destination_hold_up_nobody_else() {
    let place = Place::new();
    let recorder = Recorder::with(|ask| match ask.method == "POST" && ask.target.ends_with("=slow") {
        true => Answer::Slow(Duration::from_secs(20), 200),
        false => Answer::Status(200),
    });
    let mut dead = Recorder::start();
    let setup = place
        .setup()
        .env("EDGEPUSH_DESTINATION", "null:")
        .env("EDGEPUSH_COMMIT_INTERVAL", "1s")
        .env("EDGEPUSH_STOP_TIMEOUT", "3s")
        .env("EDGEPUSH_MEMORY_MAX", &MEMORY.to_string())
        .env("EDGEPUSH_SPOOL_MAX", &SPOOL.to_string());
    let mut agent = setup.start_ready();
    let api = agent.jobs();
    let small = json!({ "output_options": { "field_names": ["seq"] } });
    std::thread::scope(|scope| {
        for part in 0..7 {
            let (api, recorder, small) = (&api, &recorder, &small);
            scope.spawn(move || {
                for number in (part..GOOD).step_by(7) {
                    let name = format!("good.{number}");
                    api.create(&name, &recorder.url_of(&name), small.clone());
                }
            });
        }
    });
    let alone: Vec<Duration> = (1..=ALONE).map(|n| round(&place, &recorder, &mut agent, n)).collect();

    let all = json!({ "codec": "none" });
    let slow_id = api.create("slow", &recorder.url_of("slow"), all.clone());
    let dead_id = api.create("dead", &dead.url_of("dead"), all);
    dead.close();
    let rounds = ALONE + 1..=ALONE + TOGETHER;
    let together: Vec<Duration> = rounds.map(|n| round(&place, &recorder, &mut agent, n)).collect();

    let metrics = agent.metrics().unwrap();
    let waiting = |id: u64| {
        let label = format!("job=\"{id}-");
        metrics.sum_where("edgepush_spool_batches", &label)
    };
    assert!(waiting(dead_id) >= (TOGETHER - 1) as f64, "the dead one's batches wait: {}", waiting(dead_id));
    assert!(waiting(slow_id) >= 1.0, "the slow one's batches wait: {}", waiting(slow_id));
    assert_eq!(api.health(dead_id)["state"], json!("retrying"));
    // No measurement: only that nobody waits for 20 seconds, for a time-out or for a back-off.
    let (before, with) = (alone.iter().max().unwrap(), together.iter().max().unwrap());
    say(&format!("isolation: rounds alone {alone:?}, beside a dead and a slow one {together:?}"));
    assert!(*with <= *before * 3 + Duration::from_secs(4), "alone {alone:?}, with the two {together:?}");
    let (rss, state) = (agent.peak_rss(), allocated_bytes(&place.state()));
    assert!(rss <= MEMORY, "peak RSS {rss} of {MEMORY} bytes");
    assert!(state <= SPOOL, "the state directory took {state} of {SPOOL} bytes");

    // Nothing of anybody is lost.
    agent.terminate().exits(0);
    recorder.script(|_| Answer::Status(200));
    dead.open();
    setup.once().exits(0);
    let end = (ALONE + TOGETHER) * LINES;
    let lines = |recorder: &Recorder, job: &str| {
        recorder.taken(job).iter().flat_map(Request::lines).collect::<Vec<Vec<u8>>>()
    };
    for number in 0..GOOD {
        let mut seqs: Vec<u64> = lines(&recorder, &format!("good.{number}"))
            .iter()
            .map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect();
        seqs.sort_unstable();
        assert!(seqs.iter().copied().eq(0..end), "good.{number} has {} of {end} lines", seqs.len());
    }
    for (recorder, job) in [(&recorder, "slow"), (&dead, "dead")] {
        let mut seqs: Vec<u64> = lines(recorder, job).iter().map(|line| sequence("r", line)).collect();
        seqs.sort_unstable();
        assert!(seqs.iter().copied().eq(ALONE * LINES..end), "{job} has {} lines", seqs.len());
    }
}

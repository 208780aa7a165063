//! Death at each failure point (PROTOCOL 9): the process ends there, the next run delivers; every line comes once.
//!
//! The points are found in the source, so that a new one is tested without being listed. Needs a binary with the
//! feature: `cargo test -p edgepush --features failpoints --test failpoints`.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Points that no run of this file passes: `ledger_crash.rs` has them, on the ledger alone, and `archive_e2e.rs`.
const ELSEWHERE: &[&str] = &[
    "split.",
    "part.",
    "aside.",
    "change.",
    "expire.",
    "compact.",
    "pack.trim.",
    "pack.unlink.",
    "retention.",
];

/// Every name in a list `POINTS` and every `hit("NAME")`, outside of unit tests.
fn points() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let list =
            code.split_once("POINTS: &[&str] = &[").map_or("", |(_, rest)| rest.split("];").next().unwrap());
        found.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        found.extend(code.split("hit(\"").skip(1).map(|p| p.split('"').next().unwrap().to_owned()));
    }
    assert!(!found.is_empty(), "no failure point is in the source");
    found
}

/// Small batches lie in the ledger, large ones in packs; both ways and both kinds of destination are killed.
fn setups(place: &Place, recorder: &Recorder) -> Vec<(&'static str, Setup)> {
    let small = place.setup().env("EDGEPUSH_BATCH_RECORDS", "700");
    let large = place.setup().env("EDGEPUSH_CODEC", "none").env("EDGEPUSH_BATCH_BYTES", "500kB");
    let large = large.env("EDGEPUSH_DESTINATION", &recorder.url());
    let archive = place.setup().without("EDGEPUSH_DESTINATION").env("EDGEPUSH_BATCH_RECORDS", "3000");
    vec![("small into files", small), ("large into http", large), ("archive", archive)]
}

/// Dies at the `nth` hit of a point, starts again, dies again at the first hit, ends well. Whether it died.
fn dies_and_recovers(point: &str, nth: u32, way: usize) -> bool {
    let place = Place::new();
    let recorder = Recorder::start();
    let (name, setup) = setups(&place, &recorder).remove(way);
    writer::append(&place.log(), "r", 0..12_000);
    let mut died = false;
    for (life, hit) in [nth, 1].into_iter().enumerate() {
        let done = setup.clone().env("EDGEPUSH_FAILPOINT", &format!("{point}:{hit}")).once();
        assert!(done.code.is_none() || done.code == Some(0), "{point}:{hit}, {name}: {done:?}");
        died |= done.code.is_none();
        // What happens between the lives: a rotation, and more lines.
        let first = 12_000 + life as u64 * 1000;
        writer::rotate_by_rename(&place.log(), 5);
        writer::append(&place.log(), "r", first..first + 1000);
    }
    setup.once().exits(0);
    let archive = place.state().join("archive");
    let mut lines = lines_in_dir(&place.out());
    lines.extend(recorder.lines());
    lines.extend(lines_in_dir(&archive));
    assert_exactly_once("r", 14_000, &lines);
    for dir in [place.out(), archive] {
        assert_eq!(objects(&dir), files_below(&dir), "{point}, {name}: no temporary file is left");
    }
    died
}

#[test]
fn every_line_comes_once_whichever_point_ends_the_process() {
    let points = points();
    // One thread a way: a run waits for syncs more than it computes.
    let deaths_by = |way: usize| -> BTreeMap<&String, u32> {
        let died = |point: &String, nth| u32::from(dies_and_recovers(point, nth, way));
        points.iter().map(|point| (point, died(point, 1) + died(point, 3))).collect()
    };
    let (files, http, archive) = std::thread::scope(|scope| {
        let files = scope.spawn(|| deaths_by(0));
        let archive = scope.spawn(|| deaths_by(2));
        let http = deaths_by(1);
        let joined =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("every line comes once");
        (joined(files), http, joined(archive))
    });
    let mut never = Vec::new();
    for point in &points {
        let deaths = files[point] + http[point] + archive[point];
        say(&format!("failure point {point}: died in {deaths} of 6 runs"));
        let elsewhere = ELSEWHERE.iter().any(|prefix| point.starts_with(prefix));
        if deaths == 0 && !elsewhere {
            never.push(point);
        }
    }
    assert!(never.is_empty(), "no run passes these points: {never:?}");
}

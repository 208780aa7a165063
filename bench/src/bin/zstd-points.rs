//! `zstd-points [NAME,NAME…]`: zstd's parameters over the harness's log, at segments of several sizes; tab-separated. What was chosen
//! of them stands in `shard/src/codec/zstandard.rs`.
//!
//! Promises: every frame was decoded and compared first.
//! Must not know: what the agent chose.
use edgepush_bench::curve::{Point, coders::zstd_point, measure};
use edgepush_bench::runs::{lines, projection, records};
use edgepush_shard::plan::Output;
use zstd::zstd_safe::{CParameter, ParamSwitch, Strategy};

const LOG_BYTES: usize = 4_000_000;

fn levels() -> impl Iterator<Item = Point> {
    (-7..=9).filter(|level| *level != 0).map(|level| zstd_point(level, &[], format!("level {level}")))
}

/// What stands beside the match finder: level 1 with each.
fn flags() -> Vec<Point> {
    let literals = |switch| CParameter::LiteralCompressionMode(switch);
    let all: [(&str, i32, CParameter); 6] = [
        ("checksum", 1, CParameter::ChecksumFlag(true)),
        ("literals raw", 1, literals(ParamSwitch::Disable)),
        ("literals coded", -1, literals(ParamSwitch::Enable)),
        ("literals coded", -2, literals(ParamSwitch::Enable)),
        ("literals coded", -4, literals(ParamSwitch::Enable)),
        ("no splitter", 3, CParameter::UseBlockSplitter(ParamSwitch::Disable)),
    ];
    all.map(|(name, level, flag)| zstd_point(level, &[flag], format!("level {level} {name}"))).into()
}

fn matchers(strategy: Strategy, name: &str, chains: &[u32], matches: &[u32]) -> Vec<Point> {
    let mut points = Vec::new();
    for window in [17, 18, 19, 20] {
        for hash in 11..=17 {
            for (chain, least) in
                chains.iter().flat_map(|chain| matches.iter().map(move |least| (*chain, *least)))
            {
                let parameters = [
                    CParameter::WindowLog(window),
                    CParameter::HashLog(hash),
                    CParameter::ChainLog(chain),
                    CParameter::MinMatch(least),
                    CParameter::TargetLength(0),
                    CParameter::Strategy(strategy),
                ];
                let label = format!("{name} w{window} h{hash} c{chain} m{least}");
                points.push(zstd_point(1, &parameters, label));
            }
        }
    }
    points
}

/// Strategies that search deeper than one probe.
fn searchers(strategy: Strategy, name: &str) -> Vec<Point> {
    let mut points = Vec::new();
    for (hash, search) in
        [15, 17, 19].into_iter().flat_map(|hash| [1, 2, 3, 4, 5].map(|search| (hash, search)))
    {
        for least in [5, 6, 7] {
            let parameters = [
                CParameter::WindowLog(20),
                CParameter::HashLog(hash),
                CParameter::ChainLog(hash),
                CParameter::SearchLog(search),
                CParameter::MinMatch(least),
                CParameter::TargetLength(8),
                CParameter::Strategy(strategy),
            ];
            points.push(zstd_point(1, &parameters, format!("{name} w20 h{hash} c{hash} s{search} m{least}")));
        }
    }
    points
}

/// All points, or with `near` those near the choice: fewer, so that they can be timed more often.
fn points(near: Option<&str>) -> Vec<Point> {
    let mut points: Vec<Point> = levels().chain(flags()).collect();
    points.extend(matchers(Strategy::ZSTD_fast, "fast", &[14], &[4, 5, 6, 7]));
    points.extend(matchers(Strategy::ZSTD_dfast, "dfast", &[13, 15], &[5, 6, 7]));
    points.extend(searchers(Strategy::ZSTD_greedy, "greedy"));
    points.extend(searchers(Strategy::ZSTD_lazy, "lazy"));
    points.extend(searchers(Strategy::ZSTD_lazy2, "lazy2"));
    if let Some(near) = near {
        points.retain(|point| near.split(',').any(|name| point.name == name));
    }
    points
}

fn main() {
    let near = std::env::args().nth(1);
    let rounds = if near.is_some() { 25 } else { 5 };
    let log = lines(LOG_BYTES);
    for (fields, output) in [(26, Output::PassThrough), (12, projection())] {
        for slab in [1 << 20, 128 << 10, 32 << 10] {
            let slabs = records(&log, &output, slab);
            for figure in measure(&mut points(near.as_deref()), &slabs, rounds) {
                println!("{fields}\t{slab}\t{}\t{:.0}\t{:.3}", figure.name, figure.speed, figure.ratio);
            }
        }
    }
}

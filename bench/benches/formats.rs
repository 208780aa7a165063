//! GB/s of lines of text formats into records with their text, by CPU time of one thread: generated logs, and with
//! `EDGEPUSH_SAMPLES` real servers' too. Each answer was compared with a regular expression's before it is timed.
//! `EDGEPUSH_SIMD` is obeyed. `… profile NAME SECONDS` passes over one log so long, for whoever profiles it.
use edgepush_bench::oracle::Oracle;
use edgepush_bench::stages::{Ready, STAGES, format_stage};
use edgepush_bench::{choose_simd, cpu_ns};
use std::io::Read;
use std::path::PathBuf;

const BYTES: usize = 2_000_000;
const SAMPLES: [&str; 3] =
    ["nginx.combined.log.gz", "apache.combined.log.gz", "elastic-examples-apache_logs.gz"];

/// The least CPU time of one pass in ten rounds, ns. A round is long: the clock has a grain.
fn least(pass: &mut dyn FnMut()) -> u64 {
    const ROUND_NS: u64 = 50_000_000;
    let mut round = || {
        let (before, mut passes) = (cpu_ns(), 0);
        while cpu_ns() - before < ROUND_NS {
            pass();
            passes += 1;
        }
        (cpu_ns() - before) / passes
    };
    (0..10).map(|_| round()).min().unwrap_or(0).max(1)
}

fn row(name: &str, ready: &mut Ready) {
    let ns = least(&mut ready.pass);
    println!("{name:<34} {:>6.3} GB/CPU-s", ready.input_bytes as f64 / ns as f64);
}

fn sample(name: &str) -> Option<Vec<u8>> {
    let dir = PathBuf::from(std::env::var_os("EDGEPUSH_SAMPLES")?);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(dir.join(name)).expect("a sample");
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    Some(bytes)
}

fn main() {
    choose_simd(&std::env::var("EDGEPUSH_SIMD").unwrap_or_default()).expect("a known EDGEPUSH_SIMD");
    let log = edgepush_bench::runs::lines(BYTES);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [command, name, seconds] = &arguments[..]
        && command == "profile"
    {
        let stage = STAGES.iter().find(|stage| stage.name == name).expect("a stage");
        let (mut ready, until) =
            ((stage.ready)(&log), cpu_ns() + seconds.parse::<u64>().expect("s") * 1_000_000_000);
        while cpu_ns() < until {
            (ready.pass)();
        }
        return;
    }
    let of_formats = |name: &str| name.starts_with("format-") || name.starts_with("parse");
    for stage in STAGES.iter().filter(|stage| of_formats(stage.name)) {
        row(stage.name, &mut (stage.ready)(&log));
    }
    for name in SAMPLES {
        match sample(name) {
            Some(lines) => row(name, &mut format_stage("combined", &Oracle::new("combined", &[]), lines)),
            None => println!("SKIPPED: {name}: EDGEPUSH_SAMPLES is not set"),
        }
    }
}

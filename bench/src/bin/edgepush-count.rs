//! `edgepush-count STAGE PASSES`: asserts a stage's answer over 2 MB of the log, then passes over it so often. `.ci/count`
//! counts its instructions; without arguments it lists the stages.
//!
//! Promises: nothing but the passes differs between runs of a stage; the allocator is the system's.
//! Must not know: how instructions are counted.
use edgepush_bench::choose_simd;
use edgepush_bench::runs::lines;
use edgepush_bench::stages::STAGES;
use std::process::ExitCode;

const LOG_BYTES: usize = 2_000_000;

fn run(arguments: &[String]) -> Result<(), String> {
    let [name, passes] = arguments else {
        STAGES.iter().for_each(|stage| println!("{}", stage.name));
        return Ok(());
    };
    choose_simd(&std::env::var("EDGEPUSH_SIMD").unwrap_or_default())?;
    let stage = STAGES.iter().find(|stage| stage.name == name).ok_or(format!("{name}: no such stage"))?;
    let passes: u32 = passes.parse().map_err(|_| format!("{passes}: not a number of passes"))?;
    let mut ready = (stage.ready)(&lines(LOG_BYTES));
    // Buffers grow to their working size in the first pass.
    (0..=passes).for_each(|_| (ready.pass)());
    println!("{}", ready.input_bytes);
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("edgepush-count: {why}");
            ExitCode::FAILURE
        }
    }
}

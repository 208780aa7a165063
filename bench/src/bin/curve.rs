//! `curve [FILE.svg]`: speed against ratio of our levels and of other libraries over 8 MB of the harness's log, in
//! slabs of 1 MiB; a Markdown table on standard output, and the plot. How to run it: docs/compression.md.
//!
//! Promises: every output was decoded and compared first.
//! Must not know: how an encoder is called.
use edgepush_bench::curve::{Figure, coders, measure, plot};
use edgepush_bench::runs::{SLAB, lines, projection, records};
use edgepush_shard::plan::Output;
use std::path::Path;

const LOG_BYTES: usize = 8_000_000;
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "docs/compression-curve.svg".to_owned());
    let log = lines(LOG_BYTES);
    let figures = |output| measure(&mut coders::all(), &records(&log, output, SLAB), ROUNDS);
    let (lines, projected) = (figures(&Output::PassThrough), figures(&projection()));
    println!("| encoder | level | 26 fields: MB/CPU-s | ratio | 12 fields: MB/CPU-s | ratio |");
    println!("|---|---|---|---|---|---|");
    for (Figure { family, name, speed, ratio }, twelve) in lines.iter().zip(&projected) {
        println!(
            "| {family} | {name} | {speed:.0} | {ratio:.2} | {:.0} | {:.2} |",
            twelve.speed, twelve.ratio
        );
    }
    let panels = [("Lines as they are, 26 fields, 750 bytes", lines), ("12 of 26 fields", projected)];
    plot::draw(Path::new(&file), &panels)
}

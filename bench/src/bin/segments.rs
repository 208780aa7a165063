//! `segments [ROUNDS]`: what the size of a run does to speed and ratio; a Markdown table for docs/compression.md. The
//! runs of all sizes are cut from the same records of the harness's log, 26 fields, and follow one another as those
//! of many jobs with one output do.
//!
//! Promises: every body was decoded and compared first; CPU time of this thread, the best of the rounds, everything in
//! turn in each round.
//! Must not know: how an encoder comes to its codes.
use edgepush_bench::cpu_ns;
use edgepush_bench::runs::{Records, SLAB, lines, records};
use edgepush_shard::batch::decode;
use edgepush_shard::codec::{Codec, CodecKind, Deflate, Form, Level, Run, codec};
use edgepush_shard::plan::Output;

const LOG_BYTES: usize = 8_000_000;
const SIZES: [usize; 11] =
    [1, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 12 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20];

/// A codec and what it is called.
type Point = (&'static str, Box<dyn Codec + Send>);

fn points() -> Vec<Point> {
    vec![
        ("gzip fast", codec(CodecKind::Gzip, Level::Fast)),
        ("gzip balanced", codec(CodecKind::Gzip, Level::Balanced)),
        ("zstd fast", codec(CodecKind::Zstd, Level::Fast)),
        ("zlib-rs 1", Box::new(Deflate::new(1))),
    ]
}

/// The records of `slabs` in runs of at most `size` bytes, or of one record.
fn cut(slabs: &[Records], size: usize) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    for slab in slabs {
        let mut rest = slab.run();
        while !rest.is_empty() {
            let fit = rest.ends.partition_point(|&end| (end - rest.base) as usize <= size);
            let (head, tail) = rest.split_at(fit.max(1));
            runs.push(head);
            rest = tail;
        }
    }
    runs
}

fn verify((name, codec): &mut Point, runs: &[Run<'_>]) {
    for run in runs {
        let mut body = Vec::new();
        codec.encode(Form::ONLY, run, &mut body);
        if codec.kind() == CodecKind::Gzip {
            body.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
            body.extend_from_slice(&[3, 0]);
            body.extend_from_slice(&crc32fast::hash(run.bytes).to_le_bytes());
            body.extend_from_slice(&(run.bytes.len() as u32).to_le_bytes());
        }
        assert!(decode(codec.kind(), &body[..]).expect("a good body") == run.bytes, "{name} loses bytes");
    }
}

/// CPU time of all runs, ns, and the bytes that came out.
fn pass((_, codec): &mut Point, runs: &[Run<'_>], out: &mut Vec<u8>) -> (u64, usize) {
    let (before, mut bytes) = (cpu_ns(), 0);
    for run in runs {
        out.clear();
        codec.encode(Form::ONLY, run, out);
        bytes += out.len();
    }
    (cpu_ns() - before, bytes)
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(15);
    let slabs = records(&lines(LOG_BYTES), &Output::PassThrough, SLAB);
    let bytes_in: usize = slabs.iter().map(|slab| slab.bytes.len()).sum();
    let mut points = points();
    let cuts = SIZES.map(|size| cut(&slabs, size));
    let mut best = vec![vec![(u64::MAX, 0); points.len()]; cuts.len()];
    let mut out = Vec::with_capacity(4 << 20);
    for round in 0..=rounds {
        for (runs, best) in cuts.iter().zip(&mut best) {
            for (point, best) in points.iter_mut().zip(best) {
                if round == 0 {
                    verify(point, runs);
                    continue;
                }
                let (ns, bytes) = pass(point, runs, &mut out);
                *best = (best.0.min(ns), bytes);
            }
        }
    }
    let names: String = points.iter().map(|(name, _)| format!(" {name}: MB/CPU-s | ratio |")).collect();
    println!("| run |{names}\n|---|{}", "---|---|".repeat(points.len()));
    for (runs, best) in cuts.iter().zip(best) {
        let figures: String = best
            .iter()
            .map(|&(ns, bytes)| {
                let (speed, ratio) = (bytes_in as f64 * 1e3 / ns as f64, bytes_in as f64 / bytes as f64);
                format!(" {speed:.0} | {ratio:.2} |")
            })
            .collect();
        println!("| {:.1} KiB |{figures}", bytes_in as f64 / runs.len() as f64 / 1024.0);
    }
}

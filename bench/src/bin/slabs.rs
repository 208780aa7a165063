//! `slabs [ROUNDS]`: what a record costs in the ring when it is shared by many jobs: 26 fields, 750 bytes, jobs in random
//! order, each slab sealed when it or the ring is full. CPU time, and what of the ring's memory is resident afterwards.
//!
//! Promises: every record that went in came out, in order.
//! Must not know: how a slab is chained.
use edgepush_bench::cpu_ns;
use edgepush_bench::runs::{Records, SLAB, lines, records};
use edgepush_shard::codec::{Codec, CodecKind, Form, Level, Span, codec};
use edgepush_shard::plan::Output;
use edgepush_shard::ring::{Full, RecordSink, Ring, SlabKey};

const LOG_BYTES: usize = 2_000_000;
const PASSES: usize = 60;

struct Line {
    bytes: Vec<u8>,
    values: Vec<Span>,
}

fn split(slabs: &[Records]) -> Vec<Line> {
    let mut all = Vec::new();
    for slab in slabs {
        let run = slab.run();
        let mut from = 0;
        for (record, &end) in run.ends.iter().enumerate() {
            let values = run.fields_of(record..record + 1).iter();
            let values = values.map(|span| Span { start: span.start - from, end: span.end - from }).collect();
            all.push(Line { bytes: run.bytes[from as usize..end as usize].to_vec(), values });
            from = end;
        }
    }
    all
}

/// What became of slabs.
#[derive(Default)]
struct Sealed {
    codec: Option<Box<dyn Codec + Send>>,
    body: Vec<u8>,
    slabs: usize,
    records: usize,
    bytes: usize,
    encoded: usize,
}

impl Sealed {
    fn seal(&mut self, ring: &mut Ring, key: SlabKey) {
        if let Some(slab) = ring.slab(key) {
            self.slabs += 1;
            self.records += slab.run.records();
            self.bytes += slab.run.bytes.len();
            if let Some(codec) = &mut self.codec {
                self.body.clear();
                codec.encode(Form::ONLY, &slab.run, &mut self.body);
                self.encoded += self.body.len();
            }
        }
        ring.release(key);
    }
}

fn fill(ring: &mut Ring, lines: &[Line], jobs: u64, passes: usize, sealed: &mut Sealed) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..passes {
        for line in lines {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = SlabKey(((u128::from(state) * u128::from(jobs)) >> 64) as u32);
            loop {
                let taken = ring.append(key, 0, line.bytes.len(), line.values.len(), |writer| {
                    writer.text(&line.bytes, line.values.iter().copied());
                });
                match taken {
                    Ok(()) => break,
                    Err(Full::Slab) => sealed.seal(ring, key),
                    Err(Full::Ring { oldest }) => sealed.seal(ring, oldest),
                    Err(Full::TooLarge) => unreachable!("no line is larger than a slab"),
                }
            }
        }
    }
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// CPU time a record, ns, and what became of the slabs: the best of the rounds.
fn measure(ring: &mut Ring, lines: &[Line], jobs: u64, rounds: usize, encode: bool) -> (u64, Sealed) {
    let codec = encode.then(|| codec(CodecKind::Gzip, Level::Fast));
    let mut sealed = Sealed { codec, ..Sealed::default() };
    fill(ring, lines, jobs, PASSES / 2, &mut sealed);
    let mut best = u64::MAX;
    for _ in 0..rounds {
        let start = cpu_ns();
        fill(ring, lines, jobs, PASSES, &mut sealed);
        best = best.min(cpu_ns() - start);
    }
    while let Some(oldest) = ring.oldest() {
        sealed.seal(ring, oldest);
    }
    assert_eq!(sealed.records, lines.len() * (PASSES / 2 + rounds * PASSES), "every record came out");
    (best / (lines.len() * PASSES) as u64, sealed)
}

const CASES: [(u64, usize); 12] = [
    (1, 8),
    (1, 128),
    (100, 8),
    (100, 32),
    (100, 128),
    (2000, 16),
    (2000, 32),
    (2000, 128),
    (10_000, 16),
    (10_000, 32),
    (10_000, 64),
    (10_000, 128),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let rounds = arguments.next().unwrap_or(3);
    let only: Vec<usize> = arguments.collect();
    let lines = split(&records(&lines(LOG_BYTES), &Output::PassThrough, SLAB));
    println!("| jobs | ring | ring: ns a record | with gzip fast | bytes a slab | ratio | resident |");
    println!("|---|---|---|---|---|---|---|");
    for (jobs, mib) in CASES {
        if !only.is_empty() && only != [jobs as usize, mib] {
            continue;
        }
        let before = resident();
        let mut ring = Ring::new(mib << 20, SLAB);
        let (alone, _) = measure(&mut ring, &lines, jobs, rounds, false);
        let (with, sealed) = measure(&mut ring, &lines, jobs, rounds, true);
        println!(
            "| {jobs} | {mib} MiB | {alone} | {with} | {} | {:.2} | {:.1} MiB |",
            sealed.bytes / sealed.slabs,
            sealed.bytes as f64 / sealed.encoded as f64,
            resident().saturating_sub(before) as f64 / (1 << 20) as f64
        );
    }
}

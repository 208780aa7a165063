//! How fast records become bodies, at what ratio, and what the ring costs on the way: 1 MiB of projected edge records
//! (12 fields, about 400 bytes), one core. Each answer is decoded and compared before it is timed.
//!
//! The table that is printed first counts CPU time, so a busy machine does not falsify it; criterion counts wall time.
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgepush_shard::batch::{Container, Part, decode, join, piece_of};
use edgepush_shard::codec::{CodecKind, Form, Level, Run, codec};
use edgepush_shard::ring::{RecordSink, Ring, SlabKey};
use std::hint::black_box;

const KINDS: [CodecKind; 3] = [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None];
const SLAB: usize = 1 << 20;

/// Random numbers with a long tail: each doubling of the rank is as likely as the one before.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }
    fn rank(&mut self, bits: u64) -> u64 {
        let scale = self.below(bits + 1);
        self.below(1 << scale)
    }
}

/// The fields of one record: what stands before the value, and the value, with its quotes where it is a string.
fn values(random: &mut Random, n: u64) -> [(&'static str, String); 12] {
    let agent = random.rank(6);
    let host = random.rank(5);
    let path = random.rank(14).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (status, cache) = ([200, 200, 200, 304, 206, 404][random.rank(2) as usize], random.rank(2));
    [
        (
            "{\"time\":",
            format!(
                "\"2026-11-21T02:{:02}:{:02}.{:03}Z\"",
                n / 1_200_000 % 60,
                n / 20_000 % 60,
                n / 20 % 1000
            ),
        ),
        (",\"request_id\":", format!("\"{:016x}{:016x}\"", random.word(), random.word())),
        (
            ",\"remote_addr\":",
            format!(
                "\"{}.{}.{}.{}\"",
                11 + random.rank(6),
                random.rank(7),
                random.below(256),
                random.below(256)
            ),
        ),
        (
            ",\"country\":",
            format!("\"{}\"", ["DE", "US", "FR", "TR", "GB", "NL", "BR", "IN"][random.rank(3) as usize % 8]),
        ),
        (",\"host\":", format!("\"cdn{host}.customer-{}.example\"", host * 7 % 13)),
        (",\"method\":", "\"GET\"".to_string()),
        (
            ",\"uri\":",
            format!(
                "\"/assets/{:x}/{:08x}.{}?v={}\"",
                path >> 58,
                path as u32,
                ["js", "jpg", "m4s", "css"][(path >> 8) as usize % 4],
                path >> 60
            ),
        ),
        (",\"status\":", status.to_string()),
        (",\"bytes_sent\":", random.rank(22).to_string()),
        (",\"request_time\":", format!("0.{:03}", random.rank(9))),
        (",\"cache_status\":", format!("\"{}\"", ["HIT", "MISS", "EXPIRED", "HIT"][cache as usize % 4])),
        (
            ",\"user_agent\":",
            format!(
                "\"Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/{1}.{0} Safari/60{1}.1\"",
                100 + agent,
                agent % 9
            ),
        ),
    ]
}

fn records(n: u64) -> Vec<[(&'static str, String); 12]> {
    let mut random = Random(0x1234_5678_9abc_def1);
    (0..n).map(|i| values(&mut random, i)).collect()
}

fn append(ring: &mut Ring, record: &[(&'static str, String); 12], fields_max: usize) -> bool {
    let taken = ring.append(SlabKey(1), 0, 1024, fields_max, |writer| {
        for (key, value) in record {
            writer.put(key.as_bytes());
            writer.value(value.as_bytes());
        }
        writer.put(b"}\n");
    });
    taken.is_ok()
}

/// CPU time of this thread, ns.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// The least CPU time of one `work` in ten rounds, ns. A round is long, because the kernel counts by its ticks.
fn least(mut work: impl FnMut()) -> u64 {
    const ROUND_NS: u64 = 50_000_000;
    let round = |_| {
        let (before, mut times) = (cpu_ns(), 0);
        while cpu_ns() - before < ROUND_NS {
            (0..8).for_each(|_| work());
            times += 8;
        }
        (cpu_ns() - before) / times
    };
    (0..10).map(round).min().unwrap_or(0).max(1)
}

fn table(run: &Run<'_>) {
    println!("{:<14} {:>10} {:>8}", "codec", "MB/CPU-s", "ratio");
    for (kind, level) in KINDS.into_iter().flat_map(|kind| Level::ALL.map(|level| (kind, level))) {
        let mut codec = codec(kind, level);
        let parts = [Part::encode(&mut *codec, run), Part::encode(&mut *codec, run)];
        for container in [Container::Members, Container::Single] {
            let pieces = parts.each_ref().map(|part| piece_of(container, kind, std::slice::from_ref(part)));
            let body = join(container, kind, pieces.to_vec()).expect("two good pieces").concat();
            let decoded = decode(kind, &body[..]).expect("a good body");
            assert!(decoded == [run.bytes, run.bytes].concat(), "{kind:?} {level:?} {container:?}");
        }
        let mut out = Vec::new();
        let ns = least(|| {
            out.clear();
            codec.encode(Form::ONLY, run, &mut out);
        });
        let (speed, ratio) =
            (run.bytes.len() as f64 * 1e3 / ns as f64, run.bytes.len() as f64 / out.len() as f64);
        println!("{:<14} {speed:>10.0} {ratio:>8.2}", format!("{kind:?} {}", level.as_str()));
    }
}

fn benches(c: &mut Criterion) {
    let records = records(4000);
    let mut ring = Ring::new(8 << 20, SLAB);
    let taken = records.iter().take_while(|record| append(&mut ring, record, 12)).count();
    let slab = ring.slab(SlabKey(1)).expect("an open slab");
    let (bytes, ends) = (slab.run.bytes.to_vec(), slab.run.ends.to_vec());
    assert_eq!((slab.run.records(), slab.run.fields.len()), (taken, taken * 12));
    let run = Run::new(&bytes, &ends);
    println!("{taken} records of {} bytes", bytes.len() / taken);
    table(&run);

    let mut group = c.benchmark_group("codec");
    group.sample_size(20).throughput(Throughput::Bytes(bytes.len() as u64));
    for (kind, level) in
        [CodecKind::Gzip, CodecKind::Zstd].into_iter().flat_map(|kind| Level::ALL.map(|level| (kind, level)))
    {
        let (mut codec, mut out) = (codec(kind, level), Vec::new());
        group.bench_function(format!("{kind:?}/{}", level.as_str()), |bench| {
            bench.iter(|| {
                out.clear();
                codec.encode(Form::ONLY, &run, &mut out);
                black_box(out.len())
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(taken as u64));
    for (name, fields_max) in [("records", 0), ("records and spans", 12)] {
        let mut fill = || {
            ring.release(SlabKey(1));
            let count =
                records[..taken].iter().filter(|record| append(&mut ring, record, fields_max)).count();
            assert_eq!(count, taken);
            black_box(ring.slab(SlabKey(1)).map(|slab| slab.run.bytes.len()))
        };
        let ns = least(|| {
            fill();
        });
        println!("ring, {name}: {} ns CPU per record", ns / taken as u64);
        group.bench_function(name, |bench| bench.iter(&mut fill));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);

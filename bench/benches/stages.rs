//! MB/s of every pure stage over 2 MB of the harness's log; each stage has asserted its answer before it is timed.
//! `.ci/count` counts the instructions of the same passes. `EDGEPUSH_SIMD` is obeyed.
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edgepush_bench::choose_simd;
use edgepush_bench::runs::lines;
use edgepush_bench::stages::STAGES;

fn benches(c: &mut Criterion) {
    choose_simd(&std::env::var("EDGEPUSH_SIMD").unwrap_or_default()).expect("a known EDGEPUSH_SIMD");
    let log = lines(2_000_000);
    let mut group = c.benchmark_group("stage");
    group.sample_size(20);
    for stage in &STAGES {
        let mut ready = (stage.ready)(&log);
        group.throughput(Throughput::Bytes(ready.input_bytes));
        group.bench_function(stage.name, |bench| bench.iter(&mut ready.pass));
    }
    group.finish();
}

criterion_group!(stages, benches);
criterion_main!(stages);

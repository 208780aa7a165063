//! Room under several threads: every record in one batch, no ceiling broken, no batch left behind half empty.
#![allow(clippy::unwrap_used)]
use edgepush_shard::codec::Run;
use edgepush_shard::room::{BatchLimits, BatchNo, Room};
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Copy, Default)]
struct Sum {
    records: u64,
    bytes: u64,
}

/// One shard: seals `slabs` slabs of random small records; what it took, by batch.
fn shard(room: &Room, mut seed: u64, slabs: usize, record_max: u64) -> Vec<(BatchNo, u64, u64)> {
    let mut random = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    let mut taken = Vec::new();
    for _ in 0..slabs {
        let mut end = 0;
        let ends: Vec<u32> = (0..1 + random(200))
            .map(|_| {
                end += 1 + random(record_max) as u32;
                end
            })
            .collect();
        let bytes = vec![0; end as usize];
        let mut run = Run::new(&bytes, &ends);
        while !run.is_empty() {
            let took = room.take(&run);
            let (head, rest) = run.split_at(took.records);
            taken.push((took.batch, head.records() as u64, head.bytes.len() as u64));
            run = rest;
        }
        std::thread::yield_now();
    }
    taken
}

fn run(threads: u64, slabs: usize, limits: BatchLimits, record_max: u64, seed: u64) {
    let room = Room::new(limits, 0, 0);
    let taken: Vec<_> = std::thread::scope(|scope| {
        let spawn = |thread| {
            let room = &room;
            scope.spawn(move || shard(room, seed ^ thread << 40, slabs, record_max))
        };
        let threads: Vec<_> = (0..threads).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sums: HashMap<u32, Sum> = HashMap::new();
    for (batch, records, bytes) in taken.iter().flatten() {
        let sum = sums.entry(batch.0).or_default();
        sum.records += records;
        sum.bytes += bytes;
    }
    let open = room.batch();
    for (&batch, sum) in &sums {
        let (records, bytes) = (u64::from(limits.records), u64::from(limits.bytes));
        assert!(
            sum.records <= records && sum.bytes <= bytes,
            "batch {batch}: {} records, {} bytes",
            sum.records,
            sum.bytes
        );
        if BatchNo(batch).before(open) {
            let full = sum.records * 100 >= records * 95 || sum.bytes + record_max > bytes;
            assert!(full, "batch {batch} was left with {} records, {} bytes", sum.records, sum.bytes);
            assert!(sum.bytes * 100 >= bytes * 95 || sum.records * 100 >= records * 95);
        }
    }
    let numbers = Room::new(limits, 0, 0);
    while numbers.batch() != open {
        assert!(sums.contains_key(&numbers.batch().0), "a batch number was passed over");
        numbers.close(numbers.batch());
    }
    for thread in &taken {
        let order = thread.windows(2).all(|two| !two[1].0.before(two[0].0));
        assert!(order, "a shard went back to a batch that was left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shards_fill_batches_together(
        threads in 1..5u64, slabs in 1..40usize, records in 100..5000u32, record_max in 1..50u64, seed: u64,
    ) {
        let bytes = 1000 + record_max as u32 * 20 * (1 + seed as u32 % 100);
        run(threads, slabs, BatchLimits { records: records.max(200), bytes }, record_max, seed);
    }
}

//! After warm-up the output half allocates nothing per record: a counting allocator stands under this test.
#![allow(unsafe_code, clippy::unwrap_used)]
use edgepush_shard::batch::{Container, Part, piece_of};
use edgepush_shard::codec::{Codec, CodecKind, Form, Level, Plain, Run, codec};
use edgepush_shard::ring::{Full, RecordSink, Ring, SlabKey};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(bytes: usize) {
    // A thread that is ending has no counter any more, and none is needed.
    let _ = COUNT.try_with(|count| count.set((count.get().0 + 1, count.get().1 + bytes)));
}

// SAFETY: every call is passed on unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: as the trait demands of the caller.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    // SAFETY: as the trait demands of the caller.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    // SAFETY: as the trait demands of the caller.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
    // SAFETY: as the trait demands of the caller.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and bytes allocated by `work`, on this thread.
fn allocated(work: impl FnOnce()) -> (usize, usize) {
    let before = COUNT.get();
    work();
    let after = COUNT.get();
    (after.0 - before.0, after.1 - before.1)
}

const SLAB: usize = 256 << 10;
const KEYS: u32 = 40;

/// Appends `records` records of 1 to ~700 bytes with ten fields to `KEYS` jobs, in turn; seals what is full into `out`.
/// How often a slab was sealed because the ring was full, and because the slab was.
fn fill(ring: &mut Ring, records: u64, out: &mut Vec<u8>) -> (usize, usize) {
    let value = [b'v'; 64];
    let (mut ring_full, mut slab_full) = (0, 0);
    for i in 0..records {
        // Half of the records go to one busy job, so both kinds of "full" happen.
        let key = SlabKey(if i % 2 == 0 { 0 } else { (i / 2 % u64::from(KEYS)) as u32 });
        loop {
            let taken = ring.append(key, i as i64, 800, 10, |writer| {
                for field in 0..i % 11 {
                    writer.put(b"\"k\":");
                    writer.value(&value[..((i * 7 + field) % 64) as usize]);
                }
                writer.put(b"\n");
            });
            let seal = match taken {
                Ok(()) => break,
                Err(Full::Slab) => (key, slab_full += 1).0,
                Err(Full::Ring { oldest }) => (oldest, ring_full += 1).0,
                Err(Full::TooLarge) => panic!("800 bytes are no large record"),
            };
            assert_eq!(Some(seal), ring.keys().find(|&held| held == seal));
            let slab = ring.slab(seal).unwrap();
            out.clear();
            Plain.encode(Form::ONLY, &slab.run, out);
            ring.release(seal);
        }
    }
    (ring_full, slab_full)
}

#[test]
fn a_full_ring_seals_its_oldest_holder_with_zero_bytes_allocated() {
    let mut ring = Ring::new(4 << 20, SLAB);
    let mut out = Vec::with_capacity(SLAB);
    let mut sealed = (0, 0);
    let cost = allocated(|| sealed = fill(&mut ring, 200_000, &mut out));
    assert!(sealed.0 > 10 && sealed.1 > 10, "sealed for the ring, for the slab: {sealed:?}");
    assert_eq!(cost, (0, 0), "allocations, bytes");
    // One may have been sealed last and hold nothing.
    let held = ring.keys().count();
    assert!((KEYS as usize - 1..=KEYS as usize).contains(&held), "{held} of {KEYS} hold records");
    assert_eq!(ring.slabs(), held);
}

#[test]
fn ten_thousand_jobs_share_a_ring() {
    let mut ring = Ring::new(80 << 20, SLAB);
    let cost = allocated(|| {
        for i in 0..200_000u32 {
            let taken = ring.append(SlabKey(i % 10_000), 0, 290, 0, |writer| writer.put(&[b'x'; 200]));
            assert_eq!(taken, Ok(()));
        }
        while let Some(oldest) = ring.oldest() {
            let slab = ring.slab(oldest).unwrap();
            assert_eq!((slab.run.records(), slab.run.bytes.len()), (20, 4000));
            ring.release(oldest);
        }
    });
    assert_eq!(cost, (0, 0), "allocations, bytes");
}

#[test]
fn codecs_allocate_nothing_after_warm_up() {
    let run_bytes: Vec<u8> = (0..4000)
        .flat_map(|i| format!("{{\"id\":{i},\"path\":\"/a/{}\"}}\n", i * i % 97).into_bytes())
        .collect();
    let ends: Vec<u32> = memchr::memchr_iter(b'\n', &run_bytes).map(|at| at as u32 + 1).collect();
    let run = Run::new(&run_bytes, &ends);
    for kind in [CodecKind::Gzip, CodecKind::Zstd, CodecKind::None] {
        for level in Level::ALL {
            let mut codec = codec(kind, level);
            let mut out = Vec::new();
            codec.encode(Form::ONLY, &run, &mut out);
            let cost = allocated(|| {
                for _ in 0..5 {
                    out.clear();
                    codec.encode(Form::ONLY, &run, &mut out);
                }
            });
            assert_eq!(cost, (0, 0), "{kind:?} {level:?}: allocations, bytes");
        }
    }
}

/// A piece costs a few small allocations per segment, however many records and bytes stand in it.
#[test]
fn pieces_copy_no_body() {
    let part = |records: usize| {
        let bytes = b"{\"a\":\"bcdefghijklmnopqrstuvwxyz\"}\n".repeat(records);
        let ends: Vec<u32> = (1..=records as u32).map(|i| i * 34).collect();
        Part::encode(&mut Plain, &Run::new(&bytes, &ends))
    };
    let (small, large) = ([part(1), part(1)], [part(20_000), part(20_000)]);
    for container in [Container::Members, Container::Single] {
        let cost = |parts: &[Part]| allocated(|| drop(piece_of(container, CodecKind::Gzip, parts)));
        let (few, many) = (cost(&small), cost(&large));
        assert_eq!(few, many, "{container:?}");
        assert!(many.0 <= 12 && many.1 < 1000, "{container:?}: {many:?}");
    }
}

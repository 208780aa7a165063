//! loom_wake: the interleavings of the wake protocol of `queue`, and proof that the model would see it break.
//!
//! The file under test is the real one, compiled here over loom's atomics, so this runs in the ordinary test run
//! (`cargo test --test loom_wake`). A lost wake-up shows as a deadlock: the sleeper waits and nobody will ring.
#![allow(clippy::unwrap_used)] // A test fails by panicking, outside of `#[test]` too.
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::cell::Cell;

#[path = "../src/queue/wake.rs"]
mod wake;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

/// The protocol without its fences: what it would be if somebody thought them superfluous.
mod fenceless {
    use loom::sync::atomic::{AtomicBool, Ordering};

    pub(super) struct Wake(AtomicBool);

    impl Wake {
        pub(super) fn new() -> Wake {
            Wake(AtomicBool::new(false))
        }

        pub(super) fn prepare(&self) {
            self.0.store(true, Ordering::Release);
        }

        pub(super) fn take(&self) -> bool {
            self.0.load(Ordering::Acquire) && self.0.swap(false, Ordering::AcqRel)
        }
    }
}

/// Every interleaving with at most `PREEMPTIONS_MAX` involuntary switches: all known lost wake-ups need two, and without
/// a bound the search takes hours.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(run);
}

const PREEMPTIONS_MAX: usize = 3;

trait Flag: 'static {
    fn new() -> Self;
    fn prepare(&self);
    fn take(&self) -> bool;
}

macro_rules! flag {
    ($wake:ty) => {
        impl Flag for $wake {
            fn new() -> Self {
                <$wake>::new()
            }
            fn prepare(&self) {
                <$wake>::prepare(self);
            }
            fn take(&self) -> bool {
                <$wake>::take(self)
            }
        }
    };
}

flag!(wake::Wake);
flag!(fenceless::Wake);

/// Stands for the eventfd, the Notify or the park token: rings are kept until they are heard.
struct Sleep {
    rings: Mutex<usize>,
    rung: Condvar,
}

/// A bell as in `queue`: rings only if asked to.
struct Bell<F> {
    flag: F,
    sleep: Sleep,
}

/// Whether the sleeper looks again after it has asked to be rung: the mutation that must not survive.
#[derive(Clone, Copy, PartialEq)]
enum Recheck {
    Yes,
    No,
}

impl<F: Flag> Bell<F> {
    fn new() -> Arc<Bell<F>> {
        Arc::new(Bell { flag: F::new(), sleep: Sleep { rings: Mutex::new(0), rung: Condvar::new() } })
    }

    fn ring(&self) {
        if self.flag.take() {
            *self.sleep.rings.lock().unwrap() += 1;
            self.sleep.rung.notify_one();
        }
    }

    fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            self.flag.prepare();
            if let Some(found) = look() {
                return found;
            }
            let mut rings = self.sleep.rings.lock().unwrap();
            while *rings == 0 {
                rings = self.sleep.rung.wait(rings).unwrap();
            }
            *rings = 0;
        }
    }
}

/// The queue of the model: a count of values, with the orderings of a lock-free queue and no more.
struct Items(AtomicUsize);

impl Items {
    fn push(&self, items_max: usize) -> Option<()> {
        let step = |count: usize| (count < items_max).then_some(count + 1);
        self.0.fetch_update(Ordering::Release, Ordering::Acquire, step).ok().map(|_| ())
    }

    fn pop(&self) -> Option<()> {
        self.0
            .fetch_update(Ordering::Release, Ordering::Acquire, |count| count.checked_sub(1))
            .ok()
            .map(|_| ())
    }
}

/// Two producers on their threads, one taker that sleeps.
fn two_producers() {
    model(move || {
        let (items, bell) = (Arc::new(Items(AtomicUsize::new(0))), Bell::<wake::Wake>::new());
        let producers: Vec<_> = (0..2)
            .map(|_| {
                let (items, bell) = (Arc::clone(&items), Arc::clone(&bell));
                thread::spawn(move || {
                    items.push(8).unwrap();
                    bell.ring();
                })
            })
            .collect();
        for _ in 0..2 {
            bell.until(|| items.pop());
        }
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// One producer that sleeps while the queue is full, one taker that sleeps while it is empty.
fn back_pressure() {
    model(move || {
        let items = Arc::new(Items(AtomicUsize::new(0)));
        let (room, work) = (Bell::<wake::Wake>::new(), Bell::<wake::Wake>::new());
        let producer = {
            let (items, room, work) = (Arc::clone(&items), Arc::clone(&room), Arc::clone(&work));
            thread::spawn(move || {
                for _ in 0..2 {
                    room.until(|| items.push(1));
                    work.ring();
                }
            })
        };
        for _ in 0..2 {
            work.until(|| items.pop());
            room.ring();
        }
        producer.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost_between_two_producers_and_a_taker() {
    two_producers();
}

#[test]
fn no_wake_up_is_lost_under_back_pressure() {
    back_pressure();
}

/// One value, one look each side, and nobody sleeps: at the end either the taker has it or a ring is on its way. A
/// deadlock cannot be caught inside the model, this can.
fn one_value<F: Flag + Send + Sync>(recheck: Recheck) {
    loom::model(move || {
        let (items, bell) = (Arc::new(Items(AtomicUsize::new(0))), Bell::<F>::new());
        let producer = {
            let (items, bell) = (Arc::clone(&items), Arc::clone(&bell));
            thread::spawn(move || {
                items.push(1).unwrap();
                bell.ring();
            })
        };
        let mut found = items.pop().is_some();
        if !found {
            bell.flag.prepare();
            found = recheck == Recheck::Yes && items.pop().is_some();
        }
        producer.join().unwrap();
        let rung = *bell.sleep.rings.lock().unwrap() > 0;
        assert!(found || rung, "a wake-up was lost");
    });
}

#[test]
fn a_value_is_seen_or_its_ring_is_on_its_way() {
    one_value::<wake::Wake>(Recheck::Yes);
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn without_the_second_look_a_wake_up_is_lost() {
    one_value::<wake::Wake>(Recheck::No);
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn without_the_fences_a_wake_up_is_lost() {
    one_value::<fenceless::Wake>(Recheck::Yes);
}

/// Two tasks of one shard wait at one bell for different things; a ring wakes both, and each asks again for itself.
#[test]
fn two_waiters_of_one_bell_are_both_served() {
    model(|| {
        let bell = Bell::<wake::Wake>::new();
        let things = [(); 2].map(|()| Arc::new(Items(AtomicUsize::new(0))));
        let ringers = things.clone().map(|thing| {
            let bell = Arc::clone(&bell);
            thread::spawn(move || {
                thing.push(1).unwrap();
                bell.ring();
            })
        });
        // What the shard does: after every ring each task that still waits looks.
        let served = [Cell::new(false), Cell::new(false)];
        bell.until(|| {
            for (thing, served) in things.iter().zip(&served) {
                if !served.get() && thing.pop().is_some() {
                    served.set(true);
                }
            }
            served.iter().all(Cell::get).then_some(())
        });
        for ringer in ringers {
            ringer.join().unwrap();
        }
    });
}

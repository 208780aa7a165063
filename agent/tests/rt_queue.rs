//! rt_queue: queues between shards, tokio tasks and plain threads: nothing lost, nothing out of order, nobody asleep
//! for ever. A lost wake-up shows as a test that runs into its time limit.
#![allow(clippy::unwrap_used)] // A test fails by panicking, outside of `#[test]` too.
mod rt_test;

use edgepush::queue::{Popped, Queue, Refused, Seat, bell, pull, task_bell, thread_bell};
use edgepush::rt::{Backend, ShardThread};
use rt_test::{BACKENDS, rt_test, shard};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Runs one test body per runtime, each with a time limit.
fn on_both(body: fn(Backend)) {
    for backend in BACKENDS {
        let (say, hear) = channel();
        let thread = std::thread::spawn(move || {
            body(backend);
            say.send(()).unwrap();
        });
        match hear.recv_timeout(Duration::from_secs(60)) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("{backend:?}: somebody sleeps for ever")
            }
            _ => thread.join().unwrap(),
        }
    }
}

fn tokio_block_on<T>(fut: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(fut)
}

#[test]
fn shards_to_delivery_forty_thousand_through_queues_of_eight() {
    const EACH: u32 = 20_000;
    on_both(|backend| {
        let (delivery, at) = task_bell();
        let (mut queues, mut shards): (Vec<Queue<u32>>, Vec<ShardThread>) = (Vec::new(), Vec::new());
        for index in 0..2 {
            let (putter, ear) = bell().unwrap();
            let queue = Queue::new(8, std::slice::from_ref(&delivery), &[putter]);
            queues.push(queue.clone());
            shards.push(shard(index, backend, move |rt| async move {
                let here = ear.attach(&rt);
                for n in 0..EACH {
                    queue.push(&here, n).await.unwrap();
                }
                queue.close();
            }));
        }
        let start = Instant::now();
        let counts = tokio_block_on(async {
            let (mut next, mut last) = ([0; 2], 0);
            while let Some((from, n)) = pull(&queues, &at, &mut last).await {
                assert_eq!(n, next[from], "shard {from}");
                next[from] += 1;
            }
            next
        });
        println!("{backend:?}: {} ns per value", start.elapsed().as_nanos() / u128::from(2 * EACH));
        assert_eq!(counts, [EACH; 2]);
        for shard in shards {
            shard.join().unwrap();
        }
    });
}

#[test]
fn chunks_go_once_to_whichever_shard_is_free() {
    const CHUNKS: u32 = 20_000;
    on_both(|backend| {
        let ends = [bell().unwrap(), bell().unwrap()];
        let takers = [ends[0].0.clone(), ends[1].0.clone()];
        let queue: Queue<u32> = Queue::new(4, &takers, &takers[..1]);
        let (say, hear) = channel();
        let shards: Vec<ShardThread> = ends
            .into_iter()
            .enumerate()
            .map(|(index, (_, ear))| {
                let (queue, say) = (queue.clone(), say.clone());
                shard(index, backend, move |rt| async move {
                    let here = ear.attach(&rt);
                    if index == 0 {
                        let (queue, source) = (queue.clone(), here.clone());
                        rt.spawn_local(async move {
                            for n in 0..CHUNKS {
                                queue.push(&source, n).await.unwrap();
                            }
                            queue.close();
                        });
                    }
                    while let Some(n) = queue.pop(&here).await {
                        say.send((index, n)).unwrap();
                        if n % 16 == 0 {
                            rt.pause().await;
                        }
                    }
                })
            })
            .collect();
        drop(say);
        let mut got: [Vec<u32>; 2] = Default::default();
        for (index, n) in hear {
            got[index].push(n);
        }
        shards.into_iter().for_each(|shard| shard.join().unwrap());
        assert!(got.iter().all(|part| part.is_sorted() && !part.is_empty()), "{backend:?}");
        let mut all = got.concat();
        all.sort_unstable();
        assert!(all == (0..CHUNKS).collect::<Vec<_>>(), "{backend:?}: {} chunks", all.len());
    });
}

/// One value travels shard → plain thread → tokio → shard; every step sleeps and is woken.
#[test]
fn a_ring_of_three_places_never_stands_still() {
    const ROUNDS: u32 = 5_000;
    on_both(|backend| {
        let ((shard_bell, ear), (tasks, at_tasks), (thread, seat)) =
            (bell().unwrap(), task_bell(), thread_bell());
        let to_thread: Queue<u32> =
            Queue::new(1, std::slice::from_ref(&thread), std::slice::from_ref(&shard_bell));
        let to_tasks: Queue<u32> = Queue::new(1, std::slice::from_ref(&tasks), &[thread]);
        let to_shard: Queue<u32> = Queue::new(1, &[shard_bell], &[tasks]);
        let (inbox, outbox) = (to_thread.clone(), to_tasks.clone());
        let plain = std::thread::spawn(move || {
            let here = seat.attach();
            loop {
                match inbox.pop_blocking(&here, Some(Instant::now() + Duration::from_secs(60))) {
                    Popped::Item(n) => outbox.push_blocking(&here, n).unwrap(),
                    Popped::Done => return outbox.close(),
                    Popped::Late => panic!("late"),
                }
            }
        });
        let (inbox, outbox) = (to_tasks, to_shard.clone());
        let delivery = std::thread::spawn(move || {
            tokio_block_on(async {
                while let Some(n) = inbox.pop(&at_tasks).await {
                    outbox.push(&at_tasks, n + 1).await.unwrap();
                }
            });
        });
        let took = rt_test(backend, move |rt| async move {
            let here = ear.attach(&rt);
            let start = Instant::now();
            for n in 0..ROUNDS {
                to_thread.push(&here, n).await.unwrap();
                assert_eq!(to_shard.pop(&here).await, Some(n + 1));
            }
            to_thread.close();
            start.elapsed()
        });
        println!("{backend:?}: {} us per round of three wake-ups", took.as_micros() / u128::from(ROUNDS));
        plain.join().unwrap();
        delivery.join().unwrap();
    });
}

#[test]
fn one_ring_serves_every_task_that_waits_at_the_bell() {
    on_both(|backend| {
        let (ringer, ear) = bell().unwrap();
        let queue: Queue<u32> = Queue::new(64, &[ringer], &[]);
        let feed = queue.clone();
        let feeder = std::thread::spawn(move || {
            for n in 0..2_000 {
                let mut item = n;
                while let Err(Refused::Full(back)) = feed.try_push(item) {
                    item = back;
                    std::thread::yield_now();
                }
                if n % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            feed.close();
        });
        let (taken, passed) = rt_test(backend, |rt| async move {
            let here = ear.attach(&rt);
            let (taken, passed, open) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(8)));
            for _ in 0..8 {
                let (queue, here, rt) = (queue.clone(), here.clone(), rt.clone());
                let (taken, passed, open) = (Rc::clone(&taken), Rc::clone(&passed), Rc::clone(&open));
                rt.clone().spawn_local(async move {
                    // A pop that is dropped again and again must leave its value to the others.
                    loop {
                        match rt.timeout(Duration::from_millis(1), queue.pop(&here)).await {
                            Some(Some(_)) => taken.set(taken.get() + 1),
                            Some(None) => break open.set(open.get() - 1),
                            None => passed.set(passed.get() + 1),
                        }
                    }
                });
            }
            while open.get() > 0 {
                rt.sleep(Duration::from_millis(5)).await;
            }
            (taken.get(), passed.get())
        });
        feeder.join().unwrap();
        assert_eq!(taken, 2_000, "{backend:?}");
        assert!(passed > 0, "{backend:?}: no pop was ever dropped");
    });
}

#[test]
fn a_plain_thread_waits_until_its_deadline_and_sees_the_end() {
    let (ringer, seat) = thread_bell();
    let queue: Queue<u32> = Queue::new(2, &[ringer], &[]);
    let here = seat.attach();
    let start = Instant::now();
    assert_eq!(queue.pop_blocking(&here, Some(start + Duration::from_millis(30))), Popped::Late);
    assert!(start.elapsed() >= Duration::from_millis(30));
    queue.try_push(1).unwrap();
    queue.try_push(2).unwrap();
    assert_eq!(queue.try_push(3), Err(Refused::Full(3)));
    queue.close();
    assert_eq!(queue.try_push(4), Err(Refused::Closed(4)));
    assert_eq!(queue.pop_blocking(&here, None), Popped::Item(1));
    assert_eq!(queue.pop_blocking(&here, None), Popped::Item(2));
    assert_eq!(queue.pop_blocking(&here, None), Popped::Done);
}

#[test]
fn closing_wakes_a_putter_that_waits_for_room() {
    on_both(|backend| {
        let (putter, ear) = bell().unwrap();
        let queue: Queue<u32> = Queue::new(1, &[], &[putter]);
        let closer = queue.clone();
        let ended = std::thread::spawn(move || {
            while closer.is_empty() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(20));
            closer.close();
        });
        let back = rt_test(backend, |rt| async move {
            let here = ear.attach(&rt);
            queue.push(&here, 1).await.unwrap();
            queue.push(&here, 2).await.unwrap_err().0
        });
        assert_eq!(back, 2, "{backend:?}");
        ended.join().unwrap();
    });
}

#[test]
fn a_task_bell_wakes_every_task_that_looks_for_its_own_thing() {
    let (ringer, at) = task_bell();
    let flags: [std::sync::Arc<std::sync::atomic::AtomicBool>; 2] = Default::default();
    let theirs = flags.clone();
    let ringing = std::thread::spawn(move || {
        for flag in theirs {
            std::thread::sleep(Duration::from_millis(20));
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
            ringer.ring();
        }
    });
    tokio_block_on(async {
        let seen = |n: usize| {
            let flag = std::sync::Arc::clone(&flags[n]);
            move || flag.load(std::sync::atomic::Ordering::Relaxed).then_some(())
        };
        let both = async { tokio::join!(at.until(seen(1)), at.until(seen(0))) };
        tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    });
    ringing.join().unwrap();
}

/// The moment that matters: the change and its ring come after the look, and nobody has asked to be rung yet.
#[test]
fn what_comes_between_the_look_and_the_sleep_is_found() {
    fn late_look(ringer: edgepush::queue::Bell) -> impl FnMut() -> Option<u32> {
        let queue: Queue<u32> = Queue::new(1, &[ringer], &[]);
        let mut looks = 0;
        move || {
            let found = queue.try_pop();
            looks += 1;
            if looks == 1 {
                queue.try_push(7).unwrap();
            }
            found
        }
    }
    on_both(|backend| {
        let (ringer, ear) = bell().unwrap();
        let found = rt_test(backend, |rt| async move {
            let here = ear.attach(&rt);
            rt.timeout(Duration::from_secs(2), here.until(late_look(ringer))).await
        });
        assert_eq!(found, Some(7), "{backend:?}");
    });
    let (ringer, at) = task_bell();
    let limited = async { tokio::time::timeout(Duration::from_secs(2), at.until(late_look(ringer))).await };
    assert_eq!(tokio_block_on(limited), Ok(7));
    let (ringer, seat) = thread_bell();
    let start = Instant::now();
    assert_eq!(seat.attach().until(Some(start + Duration::from_secs(5)), late_look(ringer)), Some(7));
    assert!(start.elapsed() < Duration::from_secs(2));
}

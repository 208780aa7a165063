//! rt_shard: what the facade promises, on both runtimes.
#![allow(clippy::unwrap_used)] // A test fails by panicking, outside of `#[test]` too.
mod rt_test;

use edgepush::rt::{Backend, Rt, ShardSpec, cpus, spawn_shard};
use rt_test::{BACKENDS, rt_test, shard};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Burns CPU without yielding.
fn work(d: Duration) {
    let start = Instant::now();
    while start.elapsed() < d {
        std::hint::spin_loop();
    }
}

#[test]
fn tasks_run_and_the_shard_ticks() {
    for backend in BACKENDS {
        let ran = rt_test(backend, |rt| async move {
            let ran = Rc::new(Cell::new(0));
            for _ in 0..100 {
                let (ran, inner) = (Rc::clone(&ran), rt.clone());
                rt.spawn_local(async move {
                    inner.sleep(Duration::ZERO).await;
                    ran.set(ran.get() + 1);
                });
            }
            rt.sleep(Duration::from_millis(400)).await;
            (ran.get(), rt.ticks(), rt.backend())
        });
        assert_eq!(ran.0, 100);
        assert!((3..=10).contains(&ran.1), "{backend:?}: {} ticks in 400 ms", ran.1);
        assert_eq!(ran.2, backend);
    }
}

#[test]
fn a_busy_task_that_pauses_starves_no_timer_and_no_descriptor() {
    for backend in BACKENDS {
        let (late_max, heard, rounds) = rt_test(backend, |rt| async move {
            let (late_max, heard) = (Rc::new(Cell::new(Duration::ZERO)), Rc::new(Cell::new(0)));
            let (timer, late) = (rt.clone(), Rc::clone(&late_max));
            rt.spawn_local(async move {
                loop {
                    let start = Instant::now();
                    timer.sleep(Duration::from_millis(5)).await;
                    late.set(late.get().max(start.elapsed()));
                }
            });
            let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            let (mut reader, count) = (rt.fd_reader(fd.try_clone().unwrap()), Rc::clone(&heard));
            rt.spawn_local(async move {
                loop {
                    reader.read(8).await.unwrap();
                    count.set(count.get() + 1);
                }
            });
            let start = Instant::now();
            let mut rounds = 0;
            while start.elapsed() < Duration::from_millis(500) {
                rustix::io::write(&fd, &1_u64.to_ne_bytes()).unwrap();
                work(Duration::from_micros(500));
                rt.pause().await;
                rounds += 1;
            }
            (late_max.get(), heard.get(), rounds)
        });
        // Without a real yield the timer is 195 ms late or never; the bound leaves room for a loaded machine.
        assert!(
            late_max > Duration::ZERO && late_max < Duration::from_millis(100),
            "{backend:?}: {late_max:?}"
        );
        assert!(heard * 4 > rounds, "{backend:?}: {heard} events heard in {rounds} rounds");
    }
}

#[test]
fn a_blocking_job_runs_elsewhere_and_outlives_its_caller() {
    for backend in BACKENDS {
        let finished = Arc::new(AtomicBool::new(false));
        let at_end = Arc::clone(&finished);
        let (here, there, ticks) = rt_test(backend, |rt| async move {
            let ticks = rt.ticks();
            let there = rt
                .spawn_blocking(|| {
                    std::thread::sleep(Duration::from_millis(500));
                    std::thread::current().id()
                })
                .await;
            let ticks = rt.ticks() - ticks;
            let gone = rt.timeout(
                Duration::from_millis(10),
                rt.spawn_blocking(move || {
                    std::thread::sleep(Duration::from_millis(150));
                    at_end.store(true, Ordering::SeqCst);
                }),
            );
            assert!(gone.await.is_none());
            (std::thread::current().id(), there, ticks)
        });
        assert_ne!(here, there);
        assert!(ticks >= 2, "{backend:?}: the shard stood still while a job was running");
        assert!(finished.load(Ordering::SeqCst), "{backend:?}: the shard ended before its job");
    }
}

#[test]
fn the_shard_is_pinned_and_its_blocking_thread_is_not() {
    let allowed = cpus::allowed().unwrap();
    let cpu = *allowed.last().unwrap();
    for backend in BACKENDS {
        let (say, hear) = std::sync::mpsc::channel();
        let main = move |rt: Rt| async move {
            let there = rt.spawn_blocking(|| cpus::allowed().unwrap()).await;
            say.send((cpus::allowed().unwrap(), there)).unwrap();
        };
        spawn_shard(ShardSpec { index: 1, cpu: Some(cpu), backend }, main).unwrap().join().unwrap();
        assert_eq!(hear.recv().unwrap(), (vec![cpu], allowed.clone()), "{backend:?}");
    }
}

#[test]
fn read_at_follows_a_growing_file() {
    for backend in BACKENDS {
        let mut grows = tempfile::NamedTempFile::new().unwrap();
        let path = grows.path().to_owned();
        let writer = std::thread::spawn(move || {
            let mut written = Vec::new();
            for round in 0..200_u32 {
                let line: Vec<u8> = (0..1 + round * 37 % 9000).map(|at| (at + round) as u8).collect();
                grows.write_all(&line).unwrap();
                written.extend_from_slice(&line);
                if round % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            (written, grows)
        });
        let read = rt_test(backend, |rt| async move {
            let file = Arc::new(File::open(path).unwrap());
            let mut buf = vec![0; 65536];
            let (mut all, mut quiet) = (Vec::new(), 0);
            while quiet < 100 {
                let (read, back) = rt.read_at(&file, all.len() as u64, buf).await;
                buf = back;
                let read = read.unwrap();
                all.extend_from_slice(&buf[..read]);
                quiet = if read == 0 { quiet + 1 } else { 0 };
                if read == 0 {
                    rt.sleep(Duration::from_millis(2)).await;
                }
            }
            assert_eq!(buf.len(), 65536);
            // The file is still ours: nothing has closed its descriptor.
            file.metadata().unwrap();
            all
        });
        let (written, _file) = writer.join().unwrap();
        assert!(read == written, "{backend:?}: {} of {} bytes", read.len(), written.len());
    }
}

#[test]
fn read_at_reports_the_error_of_the_file() {
    for backend in BACKENDS {
        let error = rt_test(backend, |rt| async move {
            let dir = Arc::new(File::open("/").unwrap());
            rt.read_at(&dir, 0, vec![0; 64]).await.0.unwrap_err()
        });
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR), "{backend:?}");
    }
}

#[test]
fn an_eventfd_loses_none_of_10_000_rings_even_when_reads_are_dropped() {
    const RINGS: u64 = 10_000;
    for backend in BACKENDS {
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let ring = fd.try_clone().unwrap();
        let ringer = std::thread::spawn(move || {
            for n in 0..RINGS {
                rustix::io::write(&ring, &1_u64.to_ne_bytes()).unwrap();
                if n % 256 == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let (sum, dropped) = rt_test(backend, |rt| async move {
            let mut reader = rt.fd_reader(fd);
            let (mut sum, mut dropped) = (0, 0);
            while sum < RINGS {
                match rt.timeout(Duration::from_millis(1), reader.read(8)).await {
                    Some(count) => sum += u64::from_ne_bytes(count.unwrap().try_into().unwrap()),
                    None => dropped += 1,
                }
            }
            (sum, dropped)
        });
        ringer.join().unwrap();
        assert_eq!(sum, RINGS, "{backend:?}");
        assert!(dropped > 10, "{backend:?}: the test dropped only {dropped} reads");
    }
}

#[test]
fn inotify_loses_none_of_10_000_events() {
    const FILES: usize = 10_000;
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&fd, dir.path(), inotify::WatchFlags::CREATE).unwrap();
        let path = dir.path().to_owned();
        let creator = std::thread::spawn(move || {
            for n in 0..FILES {
                File::create(path.join(format!("{n}"))).unwrap();
            }
        });
        let names = rt_test(backend, |rt| async move {
            let mut reader = rt.fd_reader(fd);
            let mut names = Vec::new();
            while names.len() < FILES {
                let bytes = reader.read(4096).await.unwrap();
                let mut at = 0;
                while at < bytes.len() {
                    let len = u32::from_ne_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
                    let name = &bytes[at + 16..at + 16 + len];
                    let end = name.iter().position(|byte| *byte == 0).unwrap_or(len);
                    names.push(String::from_utf8(name[..end].to_vec()).unwrap());
                    at += 16 + len;
                }
            }
            names
        });
        creator.join().unwrap();
        let want: Vec<String> = (0..FILES).map(|n| n.to_string()).collect();
        assert!(names == want, "{backend:?}");
    }
}

#[test]
fn a_descriptor_that_cannot_be_waited_for_fails_at_the_read() {
    let file = tempfile::tempfile().unwrap();
    let error = rt_test(Backend::Threads, |rt| async move {
        let mut reader = rt.fd_reader(file.into());
        reader.read(8).await.unwrap_err();
        reader.read(8).await.unwrap_err()
    });
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn the_panic_of_a_task_or_a_job_ends_the_shard() {
    for backend in BACKENDS {
        let thread = shard(3, backend, |rt| async move {
            rt.spawn_local(async { panic!("task {}", 7) });
            rt.sleep(Duration::from_secs(20)).await;
        });
        assert_eq!(thread.join(), Err("shard 3 panicked: task 7".to_owned()), "{backend:?}");
        let thread = shard(4, backend, |rt| async move { rt.spawn_blocking(|| panic!("job")).await });
        let tick = thread.tick();
        assert_eq!(thread.join(), Err("shard 4 panicked: job".to_owned()), "{backend:?}");
        let stood_at = tick.count();
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(tick.count(), stood_at);
    }
}

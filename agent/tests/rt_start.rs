//! rt_start: where io_uring is refused the agent says why and, left to choose, runs without it. The kernel does the
//! refusing: a seccomp filter on a thread, a limit on a child process.
#![allow(clippy::unwrap_used)] // A test fails by panicking, outside of `#[test]` too.
#![allow(unsafe_code)] // A seccomp filter and another user id have no safe calls.
mod rt_test;

use edgepush::rt::{Backend, Choice, ShardSpec, choose, spawn_shard};
use rt_test::shard;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::process::Command;
use std::time::{Duration, Instant};

/// On a thread where `io_uring_setup` answers with `errno`; threads started there inherit it.
fn without_io_uring<T: Send + 'static>(errno: i32, run: impl FnOnce() -> T + Send + 'static) -> T {
    let filtered = move || {
        let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut program = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: both calls only read their arguments, and the filter lives until the second has returned.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        run()
    };
    std::thread::spawn(filtered).join().unwrap()
}

#[test]
fn a_seccomp_refusal_is_named_and_auto_runs_without() {
    for (errno, words) in [(libc::EPERM, "seccomp profile"), (libc::ENOSYS, "seccomp profile hides it")] {
        without_io_uring(errno, move || {
            let refusal = choose(Choice::Uring).unwrap_err();
            assert!(
                refusal.starts_with("EDGEPUSH_RUNTIME=uring, but ") && refusal.contains(words),
                "{refusal}"
            );
            let chosen = choose(Choice::Auto).unwrap();
            assert_eq!(chosen.backend, Backend::Threads);
            assert!(chosen.why.contains(words), "{}", chosen.why);
            shard(0, chosen.backend, |rt| async move { rt.pause().await }).join().unwrap();
        });
    }
}

#[test]
fn an_executor_that_dies_is_reported_by_the_start() {
    without_io_uring(libc::EPERM, || {
        let spec = ShardSpec { index: 5, cpu: None, backend: Backend::Uring };
        let error = spawn_shard(spec, |_rt| async {}).unwrap_err().to_string();
        assert!(error.starts_with("shard 5 died while it started: "), "{error}");
    });
}

#[test]
fn the_choice_is_said_with_its_reason() {
    let chosen = choose(Choice::Threads).unwrap();
    assert_eq!((chosen.backend, chosen.why.as_str()), (Backend::Threads, "EDGEPUSH_RUNTIME=threads"));
    // Where this test runs io_uring may be allowed or not; both choices must agree about it.
    match (choose(Choice::Uring), choose(Choice::Auto).unwrap()) {
        (Ok(uring), auto) => assert_eq!((uring.backend, auto.backend), (Backend::Uring, Backend::Uring)),
        (Err(cause), auto) => {
            assert_eq!(auto.backend, Backend::Threads);
            assert!(cause.contains(&auto.why));
        }
    }
}

#[test]
fn a_cpu_that_is_not_there_is_named() {
    for backend in rt_test::BACKENDS {
        let error =
            spawn_shard(ShardSpec { index: 0, cpu: Some(1000), backend }, |_rt| async {}).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("shard 0 did not start: ") && said.contains("CPU 1000"), "{said}");
    }
}

/// Runs the ignored test `name` in a process of its own, whose limits it may change.
fn in_child(name: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

fn limit_memlock(bytes: u64) {
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

#[test]
fn too_little_lockable_memory_is_named() {
    in_child("child_with_64_kib_of_lockable_memory");
}

#[test]
#[ignore = "changes the limits of its process: run by too_little_lockable_memory_is_named"]
fn child_with_64_kib_of_lockable_memory() {
    limit_memlock(64 * 1024);
    let words = "only 64 KiB of memory may be locked and io_uring needs 512 KiB: raise RLIMIT_MEMLOCK";
    assert!(choose(Choice::Uring).unwrap_err().contains(words));
    let chosen = choose(Choice::Auto).unwrap();
    assert!(chosen.backend == Backend::Threads && chosen.why.contains(words), "{chosen:?}");
    let spec = ShardSpec { index: 0, cpu: None, backend: Backend::Uring };
    let error = spawn_shard(spec, |_rt| async {}).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_used_up_memory_budget_is_retried_then_named() {
    in_child("child_that_starts_shards_until_one_is_refused");
}

/// The budget counts for users without privileges only: as root this becomes another user first.
#[test]
#[ignore = "changes the limits of its process: run by a_used_up_memory_budget_is_retried_then_named"]
fn child_that_starts_shards_until_one_is_refused() {
    limit_memlock(512 * 1024);
    // SAFETY: plain system calls; the other threads of this process do not depend on their user id. A refusal means
    // that this is no root already.
    unsafe { libc::setuid(51_234) };
    let mut running = Vec::new();
    for index in 0..100 {
        let spec = ShardSpec { index, cpu: None, backend: Backend::Uring };
        let start = Instant::now();
        match spawn_shard(spec, |rt| async move { rt.sleep(Duration::from_secs(1)).await }) {
            Ok(shard) => running.push(shard),
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.starts_with(&format!("shard {index} did not start: there is no lockable memory")),
                    "{said}"
                );
                assert!(said.contains("RLIMIT_MEMLOCK is 512 KiB"), "{said}");
                assert!(start.elapsed() >= Duration::from_millis(250), "it was not tried again");
                assert!(index > 0, "not even one shard fits");
                return running.into_iter().for_each(|shard| shard.join().unwrap());
            }
        }
    }
    panic!("the kernel let 100 executors lock 512 KiB");
}

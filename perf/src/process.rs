//! Processes pinned to a core, and what the kernel says that they used.
//!
//! Promises: CPU time is user + system of the whole process from its start to its end (`wait4`), or of its threads by
//! name while it runs. Must not know: what the processes do.
#![allow(unsafe_code)]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::CpuSet;
use std::collections::BTreeMap;
use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The CPUs that this process may use.
pub fn cpus() -> io::Result<Vec<usize>> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let ids: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if ids.is_empty() { Err(io::Error::other("no CPU is allowed")) } else { Ok(ids) }
}

/// Pins this thread, and what it starts from now on, to these CPUs.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// A running process with its start time; killed with its value.
pub struct Running {
    child: Child,
    start: Instant,
    peak_rss: u64,
    reaped: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a process ended.
pub struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// User CPU time.
    pub user: Duration,
    /// System CPU time.
    pub system: Duration,
    /// From start to end.
    pub wall: Duration,
    /// The largest resident set that was seen while it ran (`VmHWM`), bytes.
    pub peak_rss: u64,
}

impl Ended {
    /// User and system time.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

impl Running {
    /// Starts a command on some CPUs; this thread goes to `own` afterwards.
    pub fn start(mut command: Command, cpus: &[usize], own: usize) -> io::Result<Running> {
        pin(cpus)?;
        let start = Instant::now();
        let child = command.spawn();
        pin(&[own])?;
        Ok(Running { child: child?, start, peak_rss: 0, reaped: false })
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// CPU time of its threads by thread name, and a look at its memory.
    pub fn look(&mut self) -> BTreeMap<String, Duration> {
        let pid = self.child.id();
        self.peak_rss = self.peak_rss.max(peak_rss(pid));
        let mut by_name: BTreeMap<String, Duration> = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let ns = read("schedstat").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            *by_name.entry(read("comm").trim().to_owned()).or_default() += Duration::from_nanos(ns);
        }
        by_name
    }

    /// How often its threads went to sleep so far: voluntary context switches of all that live.
    pub fn sleeps(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let sleeps = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.into_iter().flatten().flatten().map(sleeps).sum()
    }

    /// Descriptors that it has open.
    pub fn open_files(&self) -> io::Result<u64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count() as u64)
    }

    /// Bytes that it has written so far, to whatever (`wchar`).
    pub fn written(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("wchar:"));
        line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), rustix::process::Signal::TERM);
    }

    /// Waits for its end, and kills it after `limit`.
    pub fn wait(mut self, limit: Duration) -> io::Result<Ended> {
        let pid = self.child.id();
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).ok();
        loop {
            let mut status = 0;
            // SAFETY: rusage is plain numbers; zero is a value of each.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            // SAFETY: both pointers are to live locals; the child is ours and nobody else waits for it.
            let got =
                unsafe { libc::wait4(pid.cast_signed(), &raw mut status, libc::WNOHANG, &raw mut usage) };
            if got < 0 {
                return Err(io::Error::last_os_error());
            }
            if got > 0 {
                self.reaped = true;
                let time = |t: libc::timeval| {
                    Duration::from_secs(t.tv_sec.unsigned_abs())
                        + Duration::from_micros(t.tv_usec.unsigned_abs())
                };
                return Ok(Ended {
                    code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                    user: time(usage.ru_utime),
                    system: time(usage.ru_stime),
                    wall: self.start.elapsed(),
                    peak_rss: self.peak_rss,
                });
            }
            self.peak_rss = self.peak_rss.max(peak_rss(pid));
            if self.start.elapsed() > limit {
                self.child.kill()?;
            }
            // Its end wakes us at once; the memory is looked at meanwhile.
            pause(pidfd.as_ref());
        }
    }
}

/// Until a process has ended, or 10 ms.
fn pause(pidfd: Option<&std::os::fd::OwnedFd>) {
    let tick = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    match pidfd {
        // An interrupted wait is only a shorter one.
        Some(fd) => drop(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&tick))),
        None => std::thread::sleep(Duration::from_millis(2)),
    }
}

fn peak_rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burnt_cpu_is_measured_and_sleep_is_not() {
        let own = cpus().unwrap()[0];
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Running::start(command, &[own], own).unwrap().wait(Duration::from_secs(20)).unwrap()
        };
        let busy = run("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3");
        assert_eq!(busy.code, Some(3));
        assert!(busy.cpu() > Duration::from_millis(20), "{:?}", busy.cpu());
        let idle = run("sleep 0.3");
        assert!(idle.wall >= Duration::from_millis(300) && idle.cpu() < Duration::from_millis(50));
    }
}

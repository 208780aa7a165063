//! Host: what the machine says that settings depend on.
//!
//! Promises: read once, at start; a fact that cannot be read is `None`, never a guess.
//! Must not know: names of variables, settings.
use std::io;
use std::path::{Path, PathBuf};

/// Facts about the host, as values, so that a test can make them up.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Whether the effective user is root.
    pub root: bool,
    /// What gethostname says.
    pub hostname: String,
    /// CPUs of the affinity mask, ascending.
    pub cpus: Vec<usize>,
    /// The cgroup's share of CPU time, in CPUs.
    pub cpu_quota: Option<f64>,
    /// The cgroup's memory limit, bytes.
    pub memory_limit: Option<u64>,
}

impl Host {
    /// Asks this machine.
    pub fn of_this_machine() -> Host {
        let cgroups = Cgroups::of_this_process();
        Host {
            root: rustix::process::geteuid().is_root(),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cpus: allowed_cpus(),
            cpu_quota: cgroups.cpu_quota(),
            memory_limit: cgroups.memory_limit(),
        }
    }
}

fn allowed_cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(mask) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect(),
        Err(_) => vec![0],
    }
}

/// Where this process's limits stand: one directory of version 2, or one a controller of version 1.
struct Cgroups {
    root: PathBuf,
    membership: String,
}

impl Cgroups {
    fn of_this_process() -> Cgroups {
        let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Cgroups { root: "/sys/fs/cgroup".into(), membership }
    }

    /// Every directory from ours up to the root: a parent's limit binds as well.
    fn directories(&self, controller: Option<&str>) -> Vec<PathBuf> {
        let ours = self.membership.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let same = match controller {
                None => controllers.is_empty(),
                Some(name) => controllers.split(',').any(|c| c == name),
            };
            same.then(|| path.trim_start_matches('/').to_string())
        });
        let top = controller.map_or(self.root.clone(), |name| self.root.join(name));
        let Some(ours) = ours else { return Vec::new() };
        // Inside a container the path may be one of the host's that is not visible: the top is ours then.
        let below = Path::new(&ours).ancestors().map(|path| top.join(path));
        below.filter(|path| path.is_dir()).collect()
    }

    fn least<T: PartialOrd>(
        directories: &[PathBuf],
        read: impl Fn(&Path) -> io::Result<Option<T>>,
    ) -> Option<T> {
        let found = directories.iter().filter_map(|path| read(path).ok().flatten());
        found.reduce(|a, b| if b < a { b } else { a })
    }

    fn memory_limit(&self) -> Option<u64> {
        let file = |name: &'static str| {
            move |path: &Path| Ok(std::fs::read_to_string(path.join(name))?.trim().parse::<u64>().ok())
        };
        let second = Cgroups::least(&self.directories(None), file("memory.max"));
        let first = Cgroups::least(&self.directories(Some("memory")), file("memory.limit_in_bytes"));
        // Version 1 writes "no limit" as a number near 2^63.
        second.or(first.filter(|limit| *limit < 1 << 60))
    }

    fn cpu_quota(&self) -> Option<f64> {
        let second = Cgroups::least(&self.directories(None), |path| {
            Ok(quota_of(&std::fs::read_to_string(path.join("cpu.max"))?))
        });
        let first = Cgroups::least(&self.directories(Some("cpu")), |path| {
            let quota = std::fs::read_to_string(path.join("cpu.cfs_quota_us"))?;
            let period = std::fs::read_to_string(path.join("cpu.cfs_period_us"))?;
            Ok(quota_of(&format!("{} {}", quota.trim(), period.trim())))
        });
        second.or(first)
    }
}

/// Reads `150000 100000` as 1.5 CPUs; `max` and negative quotas are no limit.
fn quota_of(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read() {
        assert_eq!(quota_of("150000 100000\n"), Some(1.5));
        assert_eq!(quota_of("max 100000"), None);
        assert_eq!(quota_of("-1 100000"), None);
        assert_eq!(quota_of(""), None);
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_binds() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("a/memory.max", "1000\n");
        put("a/b/memory.max", "max\n");
        put("a/cpu.max", "max 100000\n");
        put("a/b/cpu.max", "50000 100000\n");
        let second = Cgroups { root: dir.path().into(), membership: "0::/a/b\n".into() };
        assert_eq!(second.memory_limit(), Some(1000));
        assert_eq!(second.cpu_quota(), Some(0.5));

        put("memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("cpu/c/cpu.cfs_quota_us", "200000\n");
        put("cpu/c/cpu.cfs_period_us", "100000\n");
        let first = Cgroups { root: dir.path().into(), membership: "3:memory:/c\n2:cpu,cpuacct:/c\n".into() };
        assert_eq!(first.memory_limit(), None);
        assert_eq!(first.cpu_quota(), Some(2.0));
    }

    #[test]
    fn this_machine_answers() {
        let host = Host::of_this_machine();
        assert!(!host.cpus.is_empty() && !host.hostname.is_empty());
    }
}

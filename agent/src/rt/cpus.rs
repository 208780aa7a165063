//! cpus: which CPUs the shards get, from the setting, the affinity mask and the cgroup quota.
//!
//! Promises: never a CPU outside the mask; a quota is found in cgroup v1 and v2, nested groups and containers included.
//! Must not know: the runtime.
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::path::{Path, PathBuf};

/// The CPUs this thread may run on, ascending. Take it on a thread that is not pinned.
///
/// # Errors
/// The kernel refused, which it does only for more than 1024 CPUs.
pub fn allowed() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect())
}

/// Pins the calling thread to these CPUs.
pub(super) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut mask = CpuSet::new();
    for cpu in cpus {
        mask.set(*cpu);
    }
    Ok(sched_setaffinity(None, &mask)?)
}

/// What `EDGEPUSH_CORES` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreSpec {
    /// So many CPUs, the first of the mask.
    Count(usize),
    /// Exactly these CPUs.
    List(Vec<usize>),
}

impl CoreSpec {
    /// Reads `2` (how many), or a list: `cpu:0`, `0,2-3`, `cpu:0,2-3`. A CPU named twice counts once.
    ///
    /// # Errors
    /// What is wrong with the text and what is expected.
    pub fn parse(text: &str) -> Result<CoreSpec, String> {
        let text = text.trim();
        let expected = "expected a number of shards (2) or a list of CPUs (cpu:0 or 0,2-3)";
        if let Ok(count) = text.parse::<usize>() {
            return match count {
                0 => Err(format!("0 shards cannot work: {expected}")),
                count => Ok(CoreSpec::Count(count)),
            };
        }
        let mut cpus = Vec::new();
        for part in text.strip_prefix("cpu:").unwrap_or(text).split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number =
                |digits: &str| digits.trim().parse::<usize>().ok().filter(|cpu| *cpu < CpuSet::MAX_CPU);
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(format!("`{part}` is not a CPU: {expected}"));
            };
            if first > last {
                return Err(format!("`{part}` runs backwards: {expected}"));
            }
            for cpu in first..=last {
                if !cpus.contains(&cpu) {
                    cpus.push(cpu);
                }
            }
        }
        Ok(CoreSpec::List(cpus))
    }
}

/// The CPUs of the shards, and what the operator should be told about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// One CPU per shard, never empty.
    pub cpus: Vec<usize>,
    /// A line to log at WARN, once.
    pub warning: Option<String>,
}

/// Chooses one CPU per shard. `quota` is in CPUs.
///
/// # Errors
/// A listed CPU is outside the mask: names it and the allowed ones.
pub fn pick(spec: &CoreSpec, allowed: &[usize], quota: Option<f64>) -> Result<Picked, String> {
    let quota_whole = quota.map(|cpus| (cpus.floor() as usize).max(1));
    match spec {
        CoreSpec::Count(wanted) => {
            let mut count = *wanted;
            let mut limits = Vec::new();
            if count > allowed.len() {
                count = allowed.len();
                limits.push(format!("the affinity mask has {} ({})", allowed.len(), ranges(allowed)));
            }
            if let (Some(whole), Some(quota)) = (quota_whole, quota)
                && count > whole
            {
                count = whole;
                limits.push(format!("the cgroup quota is {quota:.2} CPUs"));
            }
            let warning = (!limits.is_empty()).then(|| {
                format!("EDGEPUSH_CORES asks for {wanted} shards and gets {count}: {}", limits.join(", "))
            });
            Ok(Picked { cpus: allowed[..count].to_vec(), warning })
        }
        CoreSpec::List(cpus) => {
            let outside: Vec<usize> = cpus.iter().copied().filter(|cpu| !allowed.contains(cpu)).collect();
            if !outside.is_empty() {
                return Err(format!(
                    "EDGEPUSH_CORES names CPU {} outside the affinity mask: allowed are {}",
                    ranges(&outside),
                    ranges(allowed)
                ));
            }
            let warning = quota.filter(|quota| cpus.len() as f64 > *quota).map(|quota| {
                format!(
                    "EDGEPUSH_CORES names {} CPUs, but the cgroup quota is {quota:.2}: shards will wait",
                    cpus.len()
                )
            });
            Ok(Picked { cpus: cpus.clone(), warning })
        }
    }
}

/// `0,2-3` for 0, 2, 3.
fn ranges(cpus: &[usize]) -> String {
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let texts: Vec<String> =
        runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    texts.join(",")
}

/// The CPU quota of this process's control group in CPUs; the smallest of the group and all groups above it. Nothing
/// means unlimited (or unreadable, which is treated alike).
pub fn quota() -> Option<f64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    quota_of(&read(Path::new("/proc/self/cgroup"))?, &read(Path::new("/proc/self/mountinfo"))?, read)
}

fn quota_of(cgroups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let mut least: Option<f64> = None;
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let v2 = controllers.is_empty();
        if !v2 && !controllers.split(',').any(|name| name == "cpu") {
            continue;
        }
        let Some((mount, below)) = mounted_at(mounts, v2, path) else { continue };
        for group in below.ancestors() {
            let found = limit_in(&mount.join(group), v2, &read);
            least = match (least, found) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    least
}

/// Where the hierarchy is mounted and the group's path below it. Inside a container the mount shows a part of the
/// hierarchy only: `root` of the mount is then a prefix of the path, or the path is not visible and the mount is ours.
fn mounted_at(mounts: &str, v2: bool, path: &str) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, _device, options) = (after.next()?, after.next()?, after.next()?);
        let is_it = match v2 {
            true => kind == "cgroup2",
            false => kind == "cgroup" && options.split(',').any(|option| option == "cpu"),
        };
        if !is_it {
            return None;
        }
        let mut before = before.split(' ').skip(3);
        let (root, mount) = (before.next()?, before.next()?);
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        Some((PathBuf::from(mount), below.to_owned()))
    })
}

fn limit_in(group: &Path, v2: bool, read: &impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let number = |file: &str| read(&group.join(file))?.trim().parse::<f64>().ok();
    let (quota, period) = if v2 {
        let text = read(&group.join("cpu.max"))?;
        let mut words = text.split_whitespace().map(|word| word.parse::<f64>().ok());
        (words.next()??, words.next()??)
    } else {
        (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_count_or_a_list() {
        let list = |cpus: &[usize]| Ok(CoreSpec::List(cpus.to_vec()));
        for (text, want) in [
            ("1", Ok(CoreSpec::Count(1))),
            (" 12 ", Ok(CoreSpec::Count(12))),
            ("cpu:0", list(&[0])),
            ("cpu:3,1", list(&[3, 1])),
            ("0,2-3", list(&[0, 2, 3])),
            ("2-2", list(&[2])),
            ("0,0-1", list(&[0, 1])),
        ] {
            assert_eq!(CoreSpec::parse(text), want, "{text}");
        }
        for (text, words) in [
            ("0", "0 shards"),
            ("", "`` is not a CPU"),
            ("-1", "`-1` is not a CPU"),
            ("two", "`two` is not a CPU"),
            ("0,", "`` is not a CPU"),
            ("3-1", "`3-1` runs backwards"),
            ("cpu:0-99999999", "`0-99999999` is not a CPU"),
            ("1.5", "`1.5` is not a CPU"),
        ] {
            let said = CoreSpec::parse(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn shards_get_cpus_of_the_mask_within_the_quota() {
        let mask = [1, 2, 5, 7];
        let count = CoreSpec::Count;
        let list = |cpus: &[usize]| CoreSpec::List(cpus.to_vec());
        type Row<'a> = (CoreSpec, Option<f64>, &'a [usize], Option<&'a str>);
        let table: [Row; 9] = [
            (count(1), None, &[1], None),
            (count(4), None, &[1, 2, 5, 7], None),
            (
                count(6),
                None,
                &[1, 2, 5, 7],
                Some("asks for 6 shards and gets 4: the affinity mask has 4 (1-2,5,7)"),
            ),
            (count(4), Some(2.5), &[1, 2], Some("gets 2: the cgroup quota is 2.50 CPUs")),
            (count(2), Some(2.0), &[1, 2], None),
            (count(1), Some(0.25), &[1], None),
            (count(3), Some(0.25), &[1], Some("gets 1: the cgroup quota is 0.25")),
            (list(&[7, 2]), None, &[7, 2], None),
            (list(&[7, 2]), Some(1.0), &[7, 2], Some("names 2 CPUs, but the cgroup quota is 1.00")),
        ];
        for (spec, quota, cpus, words) in table {
            let picked = pick(&spec, &mask, quota).unwrap();
            assert_eq!(picked.cpus, cpus, "{spec:?} {quota:?}");
            match (words, &picked.warning) {
                (None, None) => {}
                (Some(words), Some(said)) if said.contains(words) => {}
                (words, said) => panic!("{spec:?} {quota:?}: wanted {words:?}, said {said:?}"),
            }
        }
        let said = pick(&list(&[0, 1, 3]), &mask, None).unwrap_err();
        assert!(said.contains("CPU 0,3 outside") && said.contains("allowed are 1-2,5,7"), "{said}");
    }

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";

    fn quota_with(cgroups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<f64> {
        quota_of(cgroups, mounts, |path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn a_quota_is_the_least_on_the_way_up() {
        let nested = [
            ("/sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n"),
        ];
        assert_eq!(quota_with("0::/a.slice/b.service\n", V2, &nested), Some(1.5));
        assert_eq!(quota_with("0::/other\n", V2, &nested), None);
        let v1 = [
            ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_with("4:cpuset:/x\n3:cpu,cpuacct:/x\n0::/\n", V1, &v1), Some(0.5));
        // A container without its own cgroup namespace: the path is the host's, the mount shows the container's part.
        let inside = "30 23 0:26 /docker/1f /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let files = [("/sys/fs/cgroup/cpu.max", "200000 100000\n")];
        assert_eq!(quota_with("0::/docker/1f\n", inside, &files), Some(2.0));
        // With a namespace the path may even point out of it.
        assert_eq!(quota_with("0::/../other\n", inside, &files), Some(2.0));
    }
}

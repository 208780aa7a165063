//! check: whether the settings work on this host, before or beside a running agent.
//!
//! Promises: everything that does not work is said at once, each with its remedy; `--no-probe` writes nothing; what a
//! probe writes is removed again; a running agent is not disturbed.
//! Must not know: runtimes, kinds of destinations: their probes come in as closures.
mod feed;

use crate::api::bind;
use crate::cli::{CheckArgs, Exit, complain_of, print};
use crate::config::choice::show_ids;
use crate::config::{Bytes, Config, Host, Problem, RuntimeChoice, SourceKind, SourceSpec};
use crate::denied::unreadable;
use crate::destination::Destination;
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It does.
    Works,
    /// It does, but an operator may want to know something.
    Notable,
    /// It does not: exit 1.
    Fails,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it works.
    pub mark: Mark,
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// What was found.
    pub said: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
}

impl Finding {
    /// It works.
    pub fn works(what: &'static str, said: impl Into<String>) -> Finding {
        Finding { mark: Mark::Works, what, said: said.into(), remedy: String::new() }
    }
    /// It works, but.
    pub fn notable(what: &'static str, said: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { mark: Mark::Notable, what, said: said.into(), remedy: remedy.into() }
    }
    /// It does not work.
    pub fn fails(what: &'static str, said: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { mark: Mark::Fails, what, said: said.into(), remedy: remedy.into() }
    }
}

/// Whether a probe may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// It may, and removes it again.
    Allowed,
    /// `--no-probe`.
    Forbidden,
}

/// A look at a part that this file must not know: the runtime, the destination.
pub type Probe = Box<dyn FnOnce(&Config, Writing) -> Vec<Finding>>;

/// How long a destination may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks a destination whether it would take a batch. `open` makes it from the settings; its error is told.
pub fn destination(open: impl FnOnce(&Config) -> Result<Arc<dyn Destination>, String> + 'static) -> Probe {
    Box::new(move |config, writing| {
        let remedy =
            "correct EDGEPUSH_DESTINATION, or mend the target; `run` keeps batches in the spool meanwhile";
        let fails =
            |shown: &str, why: String| vec![Finding::fails("destination", format!("{shown}: {why}"), remedy)];
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fails(&config.destination.to_string(), error.to_string()),
        };
        // Clients and timers want to be made inside the runtime that drives them.
        let _inside = runtime.enter();
        let target = match open(config) {
            Ok(target) => target,
            Err(why) => return fails(&config.destination.to_string(), why),
        };
        let asking = target.probe(writing == Writing::Allowed);
        match runtime.block_on(async { tokio::time::timeout(PROBE_TIMEOUT, asking).await }) {
            Ok(Ok(())) => {
                let notable = target.notable().map(|said| Finding::notable("destination", said, ""));
                [Finding::works("destination", target.redacted())].into_iter().chain(notable).collect()
            }
            Ok(Err(why)) => fails(target.redacted(), why),
            Err(_) => fails(target.redacted(), format!("no answer within {} s", PROBE_TIMEOUT.as_secs())),
        }
    })
}

/// `edgepush check`. Wrong settings are exit 2 and nothing is looked at.
pub fn check(
    config: Result<Config, Vec<Problem>>,
    host: &Host,
    flags: CheckArgs,
    probes: Vec<Probe>,
) -> Exit {
    let config = match config {
        Ok(config) => config,
        Err(problems) => return complain_of(&problems),
    };
    let writing = if flags.no_probe { Writing::Forbidden } else { Writing::Allowed };
    let mut findings = look(&config, host, writing);
    findings.extend(probes.into_iter().flat_map(|probe| probe(&config, writing)));
    let failed = findings.iter().any(|finding| finding.mark == Mark::Fails);
    print(&show(&findings), if failed { Exit::Failed } else { Exit::Done })
}

/// Looks at everything that needs no other part.
pub fn look(config: &Config, host: &Host, writing: Writing) -> Vec<Finding> {
    let mut findings = vec![Finding::works("settings", "all understood")];
    findings.extend(config.warnings.iter().map(|text| Finding::notable("settings", text, "")));
    findings.push(Finding::works("cores", format!("shards on CPU {}", show_ids(&config.cpus))));
    findings.extend(state_dir(&config.state_dir, writing));
    findings.extend(disk(config));
    findings.push(memory(config.memory_max, host.memory_limit));
    findings.extend(memlock(config.runtime, config.cpus.len(), memlock_limit()));
    findings.extend(config.sources.iter().flat_map(source));
    findings.extend(feed::feeds(config, writing));
    findings.extend(config.api.map(|addr| api(addr, &config.state_dir)));
    findings
}

/// The findings as a table, each remedy below its finding.
pub fn show(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let mut out = String::new();
    for Finding { mark, what, said, remedy } in findings {
        let mark = match mark {
            Mark::Works => '✓',
            Mark::Notable => '!',
            Mark::Fails => '✗',
        };
        let _ = writeln!(out, "{mark} {what:width$}  {said}");
        if !remedy.is_empty() {
            let _ = writeln!(out, "  {:width$}  → {remedy}", "");
        }
    }
    out
}

const STATE: &str = "state";

fn state_dir(dir: &Path, writing: Writing) -> Vec<Finding> {
    let shown = dir.display();
    let own = "make it writable for the agent's user, or set EDGEPUSH_STATE_DIR";
    let finding = match std::fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => Finding::fails(STATE, format!("{shown} is no directory"), own),
        Ok(meta) if meta.mode() & 0o007 != 0 => Finding::notable(
            STATE,
            format!("{shown} can be entered by everyone (mode {:04o})", meta.mode() & 0o7777),
            format!("chmod 0750 {shown}"),
        ),
        Ok(_) => Finding::works(STATE, format!("{shown} is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = existing(dir);
            return vec![match writable(&parent) {
                Ok(()) => Finding::works(STATE, format!("{shown} will be made in {}", parent.display())),
                Err(error) => Finding::fails(
                    STATE,
                    format!("{shown} does not exist and cannot be made in {}: {error}", parent.display()),
                    own,
                ),
            }];
        }
        Err(error) => Finding::fails(STATE, format!("{shown}: {error}"), own),
    };
    let mut findings = vec![finding];
    if findings[0].mark != Mark::Fails {
        let probed = match writing {
            Writing::Allowed => probe_write(dir),
            Writing::Forbidden => writable(dir),
        };
        if let Err(error) = probed {
            findings.push(Finding::fails(STATE, format!("{shown} cannot be written to: {error}"), own));
        }
    }
    findings
}

/// Asks the kernel without writing.
fn writable(dir: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    Ok(accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Writes and removes a file of a name that nobody else uses.
fn probe_write(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".check.{}", std::process::id()));
    std::fs::write(&path, b"edgepush check\n")?;
    std::fs::remove_file(&path)
}

/// The nearest directory on the way up that exists.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).into()
}

fn disk(config: &Config) -> Vec<Finding> {
    let dir = existing(&config.state_dir);
    match rustix::fs::statvfs(&dir) {
        Ok(stat) => {
            let (total, free) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
            vec![disk_of(config, total, free)]
        }
        Err(error) => vec![Finding::fails("disk", format!("{}: {error}", dir.display()), "")],
    }
}

/// Whether the file system has room for the spool above the reserve.
fn disk_of(config: &Config, total: u64, free: u64) -> Finding {
    let reserve = config.disk_reserve.of(total);
    let (room, wanted) = (free.saturating_sub(reserve), config.spool_max.0);
    let said = format!(
        "{} free of {}, reserve {} ({}), spool up to {}",
        round(free),
        round(total),
        round(reserve),
        config.disk_reserve,
        config.spool_max
    );
    let remedy = "free some space, or lower EDGEPUSH_SPOOL_MAX or EDGEPUSH_DISK_RESERVE";
    match room {
        0 => Finding::fails("disk", format!("{said}: below the reserve"), remedy),
        _ if room < wanted => {
            Finding::notable("disk", format!("{said}: the spool gets {} at most", round(room)), remedy)
        }
        _ => Finding::works("disk", said),
    }
}

fn memory(most: Bytes, limit: Option<u64>) -> Finding {
    match limit {
        Some(limit) if most.0 > limit => Finding::fails(
            "memory",
            format!("EDGEPUSH_MEMORY_MAX={most} is above the cgroup's limit of {}", round(limit)),
            "raise the limit (systemd: MemoryMax=) or lower EDGEPUSH_MEMORY_MAX",
        ),
        Some(limit) => Finding::works("memory", format!("{most} at most, cgroup limit {}", round(limit))),
        None => Finding::works("memory", format!("{most} at most, no cgroup limit")),
    }
}

/// Locked memory that one glommio executor needs: it refuses to start below this, whoever runs it.
const MEMLOCK_LEAST: u64 = 512 * 1024;

fn memlock_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

fn memlock(runtime: RuntimeChoice, shards: usize, limit: Option<u64>) -> Option<Finding> {
    let remedy =
        "raise it (systemd: LimitMEMLOCK=64M; shell: ulimit -l 65536), or set EDGEPUSH_RUNTIME=threads";
    let too_low = |limit| format!("{limit} bytes may be locked, io_uring needs {MEMLOCK_LEAST}");
    Some(match (runtime, limit) {
        (RuntimeChoice::Threads, _) => return None,
        (_, None) => Finding::works("memlock", "no limit"),
        (RuntimeChoice::Uring, Some(limit)) if limit < MEMLOCK_LEAST => {
            Finding::fails("memlock", too_low(limit), remedy)
        }
        (RuntimeChoice::Auto, Some(limit)) if limit < MEMLOCK_LEAST => {
            Finding::notable("memlock", too_low(limit) + ": threads will be used instead", remedy)
        }
        (_, Some(limit)) => Finding::works("memlock", format!("{} for shards: {shards}", round(limit))),
    })
}

/// Failing files that are named for one source; the others are counted.
const FILES_NAMED_MAX: usize = 10;

fn source(spec: &SourceSpec) -> Vec<Finding> {
    let SourceKind::File { glob } = &spec.kind else { return Vec::new() };
    if crate::source::feed::bind::is_fifo(Path::new(glob)) {
        return Vec::new();
    }
    let paths = match glob::glob(glob) {
        Ok(paths) => paths,
        Err(error) => return vec![Finding::fails("source", format!("{glob}: {error}"), "")],
    };
    let (mut files, mut bytes, mut failed) = (0u64, 0u64, Vec::new());
    for path in paths {
        match path {
            Ok(path) => match std::fs::File::open(&path).and_then(|file| file.metadata()) {
                Ok(meta) if meta.is_file() => {
                    files += 1;
                    bytes += meta.len();
                }
                Ok(_) => {}
                Err(error) => failed.push(unreadable(&path, &error)),
            },
            Err(error) => failed.push(unreadable(error.path(), error.error())),
        }
    }
    let more = failed.len().saturating_sub(FILES_NAMED_MAX);
    failed.truncate(FILES_NAMED_MAX);
    let mut findings = Vec::new();
    if files > 0 {
        findings.push(Finding::works("source", format!("{glob}: {files} files, {}", round(bytes))));
    } else if failed.is_empty() {
        findings.push(nothing_matches(glob));
    }
    findings.extend(failed.into_iter().map(|(said, remedy)| Finding::fails("source", said, remedy)));
    if more > 0 {
        findings.push(Finding::fails("source", format!("{glob}: {more} more files cannot be read"), ""));
    }
    findings
}

fn nothing_matches(glob: &str) -> Finding {
    let fixed: PathBuf = Path::new(glob)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect();
    let directory = existing(&fixed);
    if let Err(error) = std::fs::read_dir(&directory) {
        let (said, remedy) = unreadable(&directory, &error);
        return Finding::fails("source", said, remedy);
    }
    Finding::fails(
        "source",
        format!("{glob} matches no file yet (looked in {})", directory.display()),
        "correct it, or start the web server; `run` waits for files to appear",
    )
}

/// Whether the admin API can listen, or the agent of this state directory does already.
fn api(addr: SocketAddr, state_dir: &Path) -> Finding {
    match TcpListener::bind(addr) {
        Ok(_) => Finding::works("api", format!("{addr} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match bind::read(state_dir) {
            Some(running) if running.port() == addr.port() => {
                Finding::works("api", format!("{addr}: the agent of this state directory listens there"))
            }
            _ => Finding::fails(
                "api",
                format!("{addr} is in use by another process"),
                "choose another port with EDGEPUSH_API, 0 (any) or off",
            ),
        },
        Err(error) => Finding::fails("api", format!("{addr}: {error}"), "correct EDGEPUSH_API"),
    }
}

/// Bytes as people read them.
fn round(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{}kB", bytes / 1000),
        1_000_000..10_000_000_000 => format!("{}MB", bytes / 1_000_000),
        _ => format!("{}GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Around, Needs, load};
    use std::os::unix::fs::PermissionsExt;

    pub(super) fn config(pairs: &[(&str, &str)]) -> Config {
        let host =
            Host { root: true, hostname: "h".into(), cpus: vec![0, 1], cpu_quota: None, memory_limit: None };
        let around = Around { host, read: &|_| unreachable!(), destination: |_| Ok(()) };
        load(pairs.iter().map(|(n, v)| (n.into(), v.into())), &around, Needs::Nothing).unwrap()
    }

    #[test]
    fn the_disk_must_have_room_above_the_reserve() {
        let config = config(&[("EDGEPUSH_SPOOL_MAX", "10GB"), ("EDGEPUSH_DISK_RESERVE", "10%")]);
        const GB: u64 = 1_000_000_000;
        assert_eq!(disk_of(&config, 100 * GB, 20 * GB).mark, Mark::Works);
        let tight = disk_of(&config, 100 * GB, 19 * GB);
        assert_eq!(tight.mark, Mark::Notable);
        assert!(tight.said.ends_with("the spool gets 9000MB at most"), "{}", tight.said);
        assert_eq!(disk_of(&config, 100 * GB, 10 * GB).mark, Mark::Fails);
        assert_eq!(disk_of(&config, 100 * GB, 0).mark, Mark::Fails);
    }

    #[test]
    fn memory_must_fit_the_cgroup() {
        assert_eq!(memory(Bytes(100), None).mark, Mark::Works);
        assert_eq!(memory(Bytes(100), Some(100)).mark, Mark::Works);
        assert_eq!(memory(Bytes(101), Some(100)).mark, Mark::Fails);
    }

    #[test]
    fn memlock_matters_to_io_uring_only() {
        let mark = |runtime, limit| memlock(runtime, 1, limit).map(|finding| finding.mark);
        assert_eq!(mark(RuntimeChoice::Auto, Some(65_536)), Some(Mark::Notable));
        assert_eq!(mark(RuntimeChoice::Uring, Some(65_536)), Some(Mark::Fails));
        assert_eq!(mark(RuntimeChoice::Threads, Some(65_536)), None);
        assert_eq!(mark(RuntimeChoice::Uring, Some(512 * 1024)), Some(Mark::Works));
        assert_eq!(mark(RuntimeChoice::Auto, None), Some(Mark::Works));
    }

    struct Moody(Result<(), String>, std::sync::atomic::AtomicBool);
    impl Destination for Moody {
        fn deliver(
            &self,
            _: crate::destination::Outgoing,
        ) -> crate::destination::Boxed<'_, crate::destination::Answer> {
            unreachable!("check delivers nothing")
        }
        fn probe(&self, write: bool) -> crate::destination::Boxed<'_, Result<(), String>> {
            self.1.store(write, std::sync::atomic::Ordering::Relaxed);
            Box::pin(async { self.0.clone() })
        }
        fn redacted(&self) -> &str {
            "moody://h"
        }
    }

    #[test]
    fn a_destination_is_asked_as_the_flag_says() {
        let config = config(&[]);
        let asked = |answer: Result<(), String>, writing| {
            let target = Arc::new(Moody(answer, Default::default()));
            let probe = destination({
                let target: Arc<dyn Destination> = target.clone();
                move |_| Ok(target)
            });
            let finding = probe(&config, writing).remove(0);
            (finding.mark, finding.said, target.1.load(std::sync::atomic::Ordering::Relaxed))
        };
        assert_eq!(asked(Ok(()), Writing::Allowed), (Mark::Works, "moody://h".into(), true));
        let refused = asked(Err("403 go away".into()), Writing::Forbidden);
        assert_eq!(refused, (Mark::Fails, "moody://h: 403 go away".into(), false));
        let unopened = destination(|_| Err("no such scheme".into()))(&config, Writing::Allowed);
        assert_eq!((unopened[0].mark, unopened[0].said.as_str()), (Mark::Fails, "archive:: no such scheme"));
    }

    #[test]
    fn a_source_that_matches_nothing_fails_and_one_that_matches_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let glob = format!("{}/*.log", dir.path().display());
        let config = config(&[("EDGEPUSH_SOURCES", &format!("file:{glob}"))]);
        let none = source(&config.sources[0]);
        assert_eq!((none.len(), none[0].mark), (1, Mark::Fails));
        assert!(none[0].said.contains(&glob), "{}", none[0].said);
        std::fs::write(dir.path().join("a.log"), "12345").unwrap();
        std::fs::write(dir.path().join("b.log"), "12345").unwrap();
        std::fs::create_dir(dir.path().join("c.log")).unwrap();
        assert_eq!(
            source(&config.sources[0]),
            [Finding::works("source", format!("{glob}: 2 files, 10 bytes"))]
        );
    }

    #[test]
    fn a_state_directory_is_looked_at_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        for writing in [Writing::Allowed, Writing::Forbidden] {
            let made = state_dir(&state, writing);
            assert!(made[0].said.contains("will be made in"), "{made:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
        std::fs::create_dir_all(&state).unwrap();
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o750)).unwrap();
        for writing in [Writing::Allowed, Writing::Forbidden] {
            assert!(state_dir(&state, writing).iter().all(|finding| finding.mark == Mark::Works));
        }
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "nothing is left");
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(state_dir(&state, Writing::Forbidden)[0].mark, Mark::Notable);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(state_dir(&dir.path().join("file"), Writing::Allowed)[0].mark, Mark::Fails);
        let below = state_dir(Path::new("/proc/edgepush-state"), Writing::Forbidden);
        assert_eq!(
            below[0].mark,
            if writable(Path::new("/proc")).is_ok() { Mark::Works } else { Mark::Fails }
        );
    }

    #[test]
    fn an_address_in_use_is_fine_when_it_is_our_agents() {
        let dir = tempfile::tempdir().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = other.local_addr().unwrap();
        assert_eq!(api(addr, dir.path()).mark, Mark::Fails);
        std::fs::write(dir.path().join(bind::ADDR_FILE), format!("{addr}\n")).unwrap();
        assert_eq!(api(addr, dir.path()).mark, Mark::Works);
        drop(other);
        assert_eq!(api(addr, dir.path()).mark, Mark::Works);
    }

    #[test]
    fn findings_are_a_table_with_remedies() {
        let text = show(&[Finding::works("a", "fine"), Finding::fails("source", "gone", "bring it back")]);
        assert_eq!(text, "✓ a       fine\n✗ source  gone\n          → bring it back\n");
    }
}

//! The systemd unit: judged by systemd itself, and compared with what the agent asks for.
#![allow(clippy::unwrap_used)]
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

fn unit() -> String {
    std::fs::read_to_string(packaging("edgepush.service")).unwrap()
}

/// `systemd-analyze verify` on a copy whose program exists.
fn verified(unit: &str) -> Option<(bool, String)> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("edgepush.service");
    std::fs::write(&copy, unit.replace("ExecStart=/usr/bin/edgepush", "ExecStart=/bin/true")).unwrap();
    let out = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().ok()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    // Other units of this machine are not ours to judge.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("edgepush")).collect();
    Some((out.status.success(), ours.join("\n")))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some((good, said)) = verified(&unit()) else {
        eprintln!(
            "SKIPPED: systemd-analyze is not on this machine, so nobody judged packaging/edgepush.service"
        );
        return;
    };
    assert!(good && said.is_empty(), "{said}");
    // The judge is awake: a word that it does not know is told.
    let (_, said) = verified(&unit().replace("Nice=10", "Nicest=10")).unwrap();
    assert!(said.contains("Nicest"), "{said}");
}

#[test]
fn the_unit_keeps_its_promises() {
    let unit = unit();
    let lines: Vec<&str> = unit.lines().collect();
    for wanted in [
        "Type=notify",
        "ExecStart=/usr/bin/edgepush run",
        "User=edgepush",
        "SupplementaryGroups=adm",
        "Nice=10",
        "MemoryMax=512M",
        "LimitMEMLOCK=64M",
        "WatchdogSec=60",
        "StateDirectory=edgepush",
        "StateDirectoryMode=0750",
        "EnvironmentFile=-/etc/edgepush/edgepush.env",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "RestartPreventExitStatus=2",
        "UMask=0027",
    ] {
        assert!(lines.contains(&wanted), "{wanted}");
    }
    let filter: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "sched_setaffinity"] {
        assert!(filter.last().unwrap().split(' ').any(|word| word == call), "{call} is allowed last");
    }
    let users = std::fs::read_to_string(packaging("sysusers.d/edgepush.conf")).unwrap();
    assert!(users.contains("u edgepush ") && users.contains("m edgepush adm"));
}

#[test]
fn systemd_is_told_ready_alive_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let own = std::env::current_exe().unwrap();
    let out = Command::new(own)
        .args(["--ignored", "--exact", "child_that_notifies", "--nocapture"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "60000000")
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let mut buffer = [0; 4096];
    let mut next = || {
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).trim().replace('\n', " ")
    };
    assert_eq!(next(), "READY=1 STATUS=2 shards on uring");
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "STOPPING=1 EXTEND_TIMEOUT_USEC=10000000");
}

#[test]
#[ignore = "run by systemd_is_told_ready_alive_and_stopping"]
fn child_that_notifies() {
    use edgepush::notify;
    notify::ready("2 shards on uring");
    notify::alive();
    notify::stopping(Duration::from_secs(10));
}

#[test]
fn without_systemd_nothing_happens() {
    // The variables are systemd's; a test run has none.
    assert!(std::env::var_os("NOTIFY_SOCKET").is_none(), "run the tests without NOTIFY_SOCKET");
    edgepush::notify::ready("");
}

//! Whether sockets and pipes work on this host, and whether the kernel keeps enough for them.
//!
//! Promises: a socket that the agent of this state directory serves is left alone; with `--no-probe` no socket is made;
//! a sysctl is named with the line that sets it.
//! Must not know: how sockets are read.
use super::{Finding, Writing};
use crate::config::{Config, SourceKind};
use crate::ledger::StateDir;
use crate::source::feed::bind::{self, BindSettings};
use crate::source::feed::host;
use std::path::Path;

const SOURCE: &str = "source";
const KERNEL: &str = "kernel";

/// All sockets and pipes.
pub(super) fn feeds(config: &Config, writing: Writing) -> Vec<Finding> {
    let pipe = |kind: &SourceKind| match kind {
        SourceKind::File { glob } if bind::is_fifo(Path::new(glob)) => {
            Some(SourceKind::Pipe { path: glob.into() })
        }
        other => other.is_feed().then(|| other.clone()),
    };
    let kinds: Vec<SourceKind> = config.sources.iter().filter_map(|spec| pipe(&spec.kind)).collect();
    let running = StateDir::holder(&config.state_dir);
    let mut findings: Vec<Finding> = kinds.iter().map(|kind| feed(config, kind, running, writing)).collect();
    if kinds.iter().any(|kind| matches!(kind, SourceKind::Unixgram { .. })) {
        findings.extend(host::unix_queue().map(queue));
    }
    if kinds.iter().any(|kind| matches!(kind, SourceKind::Udp { .. })) {
        findings.extend(host::receive_buffer_max().map(|most| buffer(config.socket_buffer.0, most)));
    }
    findings
}

fn feed(config: &Config, kind: &SourceKind, running: Option<u32>, writing: Writing) -> Finding {
    let settings = BindSettings {
        shards: config.cpus.len(),
        mode: config.socket_mode,
        buffer: config.socket_buffer.0,
        line_max: config.line_max as usize,
    };
    match (kind, running) {
        (SourceKind::Stdin, _) => return Finding::works(SOURCE, "stdin: is read by `run`"),
        (_, Some(pid)) if kind.is_socket() => {
            return Finding::works(SOURCE, format!("{kind}: the running agent (pid {pid}) has it"));
        }
        (SourceKind::Unixgram { path } | SourceKind::Unix { path }, None)
            if writing == Writing::Forbidden =>
        {
            return directory(kind, path);
        }
        _ => {}
    }
    match bind::open(kind, &settings) {
        Ok(_) => Finding::works(SOURCE, format!("{kind}: can be read")),
        Err(why) => {
            // What is wrong and what to do stand in one sentence there.
            let (said, remedy) = why.split_once(": ").unwrap_or((&why, ""));
            Finding::fails(SOURCE, format!("{kind} {said}"), remedy)
        }
    }
}

/// Whether a socket could be made, without making one.
fn directory(kind: &SourceKind, path: &Path) -> Finding {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match super::writable(directory) {
        Ok(()) => Finding::works(SOURCE, format!("{kind}: can be made in {}", directory.display())),
        Err(error) => Finding::fails(
            SOURCE,
            format!("{kind} cannot be made in {}: {error}", directory.display()),
            "make the directory, writable for the agent's user (systemd: RuntimeDirectory=edgepush)",
        ),
    }
}

fn queue(messages: u64) -> Finding {
    let said =
        format!("net.unix.max_dgram_qlen is {messages}: so many datagrams wait for a unixgram: socket");
    if messages < host::QUEUE_LEAST {
        let more = "; senders like nginx drop what does not fit";
        return Finding::notable(KERNEL, said + more, host::queue_remedy());
    }
    Finding::works(KERNEL, said)
}

fn buffer(wanted: u64, most: u64) -> Finding {
    let said = format!("net.core.rmem_max is {most} bytes, EDGEPUSH_SOCKET_BUFFER {wanted}");
    if most < wanted {
        return Finding::notable(KERNEL, said, host::buffer_remedy(wanted));
    }
    Finding::works(KERNEL, said)
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn what_the_kernel_keeps_is_told_with_the_line_that_changes_it() {
        assert_eq!((queue(512).mark, queue(511).mark), (Mark::Works, Mark::Notable));
        assert!(queue(10).remedy.contains("sysctl -w net.unix.max_dgram_qlen=4096"), "{}", queue(10).remedy);
        assert_eq!((buffer(8, 8).mark, buffer(8, 7).mark), (Mark::Works, Mark::Notable));
        let remedy = buffer(8 << 20, 212_992).remedy;
        assert!(remedy.contains("sysctl -w net.core.rmem_max=8388608"), "{remedy}");
    }

    #[test]
    fn a_socket_that_cannot_be_made_fails_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let config = super::super::tests::config(&[]);
        let path = dir.path().join("s.sock");
        let kind = SourceKind::Unixgram { path: path.clone() };
        let look = |kind: &SourceKind, running, writing| feed(&config, kind, running, writing);
        assert_eq!(look(&kind, None, Writing::Forbidden).mark, Mark::Works);
        assert_eq!(look(&kind, None, Writing::Allowed).mark, Mark::Works);
        assert!(!path.exists(), "what check makes is gone again");
        let held = look(&kind, Some(7), Writing::Allowed);
        assert!(held.said.ends_with("the running agent (pid 7) has it"), "{}", held.said);

        let other = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let found = look(&kind, None, Writing::Allowed);
        assert_eq!(found.mark, Mark::Fails);
        assert!(found.remedy.contains("another process serves this socket"), "{found:?}");
        drop(other);

        let kind = SourceKind::Unix { path: dir.path().join("no/s.sock") };
        for writing in [Writing::Allowed, Writing::Forbidden] {
            let found = look(&kind, None, writing);
            assert_eq!(found.mark, Mark::Fails);
            assert!(!found.remedy.is_empty(), "{found:?}");
        }
    }
}

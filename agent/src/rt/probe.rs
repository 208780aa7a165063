//! probe: asks the kernel whether io_uring may be used, before the first executor, which would panic.
//!
//! Promises: a refusal becomes plain words with the remedy; nothing is left open.
//! Must not know: glommio, except for which operations and how much lockable memory it insists on.
#![allow(unsafe_code)] // Two raw system calls that the standard library does not know.
use super::{Backend, Choice, Chosen, ShardSpec};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The executor refuses to start below this limit of lockable memory, even as root.
const MEMLOCK_MIN: u64 = 512 * 1024;

/// The operations the executor insists on, by number as in `linux/io_uring.h`; a missing one would end the process.
const OPS: &[(u8, &str)] = &[
    (0, "NOP"),
    (1, "READV"),
    (2, "WRITEV"),
    (3, "FSYNC"),
    (4, "READ_FIXED"),
    (5, "WRITE_FIXED"),
    (6, "POLL_ADD"),
    (7, "POLL_REMOVE"),
    (9, "SENDMSG"),
    (10, "RECVMSG"),
    (11, "TIMEOUT"),
    (12, "TIMEOUT_REMOVE"),
    (13, "ACCEPT"),
    (14, "ASYNC_CANCEL"),
    (15, "LINK_TIMEOUT"),
    (16, "CONNECT"),
    (17, "FALLOCATE"),
    (18, "OPENAT"),
    (19, "CLOSE"),
    (21, "STATX"),
    (22, "READ"),
    (23, "WRITE"),
    (26, "SEND"),
    (27, "RECV"),
];

const REGISTER_PROBE: u32 = 8;
const PROBE_OPS: usize = 64;
const PROBE_OP_SUPPORTED: u16 = 1;

/// Decides the runtime. Call it once, before the first [`super::spawn_shard`].
///
/// # Errors
/// [`Choice::Uring`] where io_uring is refused: the cause, with the remedy.
pub fn choose(choice: Choice) -> Result<Chosen, String> {
    if choice == Choice::Threads {
        return Ok(Chosen { backend: Backend::Threads, why: "EDGEPUSH_RUNTIME=threads".to_owned() });
    }
    match (check(), choice) {
        (Ok(()), Choice::Uring) => Ok(Chosen {
            backend: Backend::Uring,
            why: "EDGEPUSH_RUNTIME=uring, and the kernel allows it".to_owned(),
        }),
        (Ok(()), _) => Ok(Chosen { backend: Backend::Uring, why: "the kernel allows io_uring".to_owned() }),
        (Err(cause), Choice::Uring) => Err(format!(
            "EDGEPUSH_RUNTIME=uring, but {cause}; or set EDGEPUSH_RUNTIME=auto or threads to run without io_uring"
        )),
        (Err(cause), _) => Ok(Chosen { backend: Backend::Threads, why: cause }),
    }
}

fn check() -> Result<(), String> {
    let memlock = getrlimit(Resource::Memlock).current;
    if let Some(limit) = memlock.filter(|limit| *limit < MEMLOCK_MIN) {
        return Err(memlock_too_low(limit));
    }
    let ring = setup().map_err(|error| explain(&error, disabled_sysctl(), memlock))?;
    let missing = missing_ops(&ring).map_err(|error| explain(&error, disabled_sysctl(), memlock))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("this kernel's io_uring lacks {}: Linux 5.8 or newer has them", missing.join(", ")))
}

/// In plain words; `limit` in bytes.
fn memlock_too_low(limit: u64) -> String {
    format!(
        "only {} KiB of memory may be locked and io_uring needs {} KiB: raise RLIMIT_MEMLOCK \
         (LimitMEMLOCK=8M in the systemd unit, --ulimit memlock=8388608 for a container)",
        limit / 1024,
        MEMLOCK_MIN / 1024
    )
}

/// `struct io_uring_params`: 120 bytes, all zero for a plain ring.
#[repr(C, align(8))]
struct Params([u8; 120]);

fn setup() -> io::Result<OwnedFd> {
    let mut params = Params([0; 120]);
    // SAFETY: the kernel reads and writes the 120 bytes of `params`, which live until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 2_u32, &raw mut params) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProbeOp {
    op: u8,
    resv: u8,
    flags: u16,
    resv2: u32,
}

#[repr(C)]
struct Probe {
    last_op: u8,
    ops_len: u8,
    resv: u16,
    resv2: [u32; 3],
    ops: [ProbeOp; PROBE_OPS],
}

fn missing_ops(ring: &OwnedFd) -> io::Result<Vec<&'static str>> {
    let mut probe =
        Probe { last_op: 0, ops_len: 0, resv: 0, resv2: [0; 3], ops: [ProbeOp::default(); PROBE_OPS] };
    // SAFETY: the kernel writes a header and at most `PROBE_OPS` entries, for which `probe` has room.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            REGISTER_PROBE,
            &raw mut probe,
            PROBE_OPS as u32,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let has = |op: u8| probe.ops[op as usize].flags & PROBE_OP_SUPPORTED != 0;
    Ok(OPS.iter().filter(|(op, _)| !has(*op)).map(|(_, name)| *name).collect())
}

fn disabled_sysctl() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// The cause of a refusal and its remedy, from the error number and what `kernel.io_uring_disabled` says.
fn explain(error: &io::Error, disabled: Option<u32>, memlock: Option<u64>) -> String {
    match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => {
            "io_uring is not there: the kernel is too old or was built without it, or a container's seccomp profile \
             hides it: allow io_uring_setup, io_uring_enter and io_uring_register there"
                .to_owned()
        }
        (Some(libc::EPERM), Some(level @ 1..)) => {
            format!("io_uring is switched off by kernel.io_uring_disabled={level}: set it to 0 with sysctl")
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden by a seccomp profile (the default one of Docker and containerd does that) or a \
             security module: allow io_uring_setup, io_uring_enter and io_uring_register there"
                .to_owned()
        }
        (Some(libc::ENOMEM), _) => {
            let limit = memlock.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes / 1024));
            format!(
                "there is no lockable memory left for io_uring (RLIMIT_MEMLOCK is {limit} for all processes of this \
                 user together): raise RLIMIT_MEMLOCK or run fewer shards"
            )
        }
        (Some(libc::EINVAL), _) => {
            "this kernel's io_uring is too old: Linux 5.8 or newer is needed".to_owned()
        }
        _ => format!("io_uring could not be set up: {error}"),
    }
}

/// The error of a shard that did not start, in plain words.
pub(super) fn explain_start(spec: &ShardSpec, error: &io::Error) -> io::Error {
    let index = spec.index;
    let memlock = getrlimit(Resource::Memlock).current;
    let why = match (spec.backend, spec.cpu, error.raw_os_error()) {
        (Backend::Uring, _, Some(libc::EPERM | libc::ENOSYS | libc::ENOMEM)) => {
            explain(error, disabled_sysctl(), memlock)
        }
        (Backend::Uring, _, _) if memlock.is_some_and(|limit| limit < MEMLOCK_MIN) => {
            memlock_too_low(memlock.unwrap_or(0))
        }
        (_, Some(cpu), _) => format!("{error} (it was to run on CPU {cpu})"),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("shard {index} did not start: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_cause_and_the_remedy() {
        let table = [
            (libc::ENOSYS, None, "seccomp profile hides it"),
            (libc::EPERM, Some(2), "kernel.io_uring_disabled=2"),
            (libc::EPERM, Some(1), "kernel.io_uring_disabled=1"),
            (libc::EPERM, Some(0), "forbidden by a seccomp profile"),
            (libc::EPERM, None, "forbidden by a seccomp profile"),
            (libc::ENOMEM, Some(0), "RLIMIT_MEMLOCK is 64 KiB"),
            (libc::EINVAL, Some(0), "Linux 5.8"),
            (libc::EMFILE, Some(0), "could not be set up"),
        ];
        for (errno, sysctl, words) in table {
            let said = explain(&io::Error::from_raw_os_error(errno), sysctl, Some(65536));
            assert!(said.contains(words), "errno {errno}, sysctl {sysctl:?}: {said}");
        }
    }
}

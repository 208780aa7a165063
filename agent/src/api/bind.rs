//! Bind: where the admin API listens, and the file that says so.
//!
//! Promises: `api.addr` in the state directory holds the bound address while the agent runs, written atomically, and
//! is removed when [`Bound`] is dropped; an address in use is an operator's mistake (exit 2).
//! Must not know: what is served.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// The file's name in the state directory.
pub const ADDR_FILE: &str = "api.addr";

/// A listening socket and its file.
#[derive(Debug)]
pub struct Bound {
    addr: SocketAddr,
    file: PathBuf,
    listener: TcpListener,
}

/// The same for the Logs API.
pub const LOGS_ADDR_FILE: &str = "logs.addr";

/// Listens for the admin API. `state_dir` exists and is held by this process. The error is for an operator.
pub fn bind(addr: SocketAddr, state_dir: &Path) -> Result<Bound, String> {
    listen("EDGEPUSH_API", addr, &state_dir.join(ADDR_FILE))
}

/// Listens for the Logs API, as [`bind`].
pub fn bind_logs(addr: SocketAddr, state_dir: &Path) -> Result<Bound, String> {
    listen("EDGEPUSH_LOGS_API", addr, &state_dir.join(LOGS_ADDR_FILE))
}

fn listen(variable: &str, addr: SocketAddr, file: &Path) -> Result<Bound, String> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{variable}={addr} is in use by another process; choose another port, 0 (any) or off")
        }
        _ => format!("{variable}={addr} cannot be listened on: {error}"),
    };
    let listener = TcpListener::bind(addr).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let addr = listener.local_addr().map_err(refused)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let write = || -> io::Result<()> {
        let temporary = file.with_file_name(format!(".{name}.tmp"));
        std::fs::write(&temporary, format!("{addr}\n"))?;
        std::fs::rename(&temporary, file)
    };
    write().map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    Ok(Bound { addr, file: file.to_owned(), listener })
}

impl Bound {
    /// The bound address, with its real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The listener for [`super::serve`]; call it inside the runtime.
    ///
    /// # Errors
    /// When the socket cannot be shared with the runtime (no descriptors left).
    pub fn listener(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // When it cannot be removed, the next reader finds nobody there.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Removes what a killed agent left, when this one opens no API.
pub fn clear(state_dir: &Path) {
    // When it cannot be removed, the next reader finds nobody there.
    let _ = std::fs::remove_file(state_dir.join(ADDR_FILE));
}

/// The same for the Logs API.
pub fn clear_logs(state_dir: &Path) {
    let _ = std::fs::remove_file(state_dir.join(LOGS_ADDR_FILE));
}

/// The address of the agent that uses a state directory; `None` when there is no (readable) file.
pub fn read(state_dir: &Path) -> Option<SocketAddr> {
    std::fs::read_to_string(state_dir.join(ADDR_FILE)).ok()?.trim().parse().ok()
}

/// Where to connect to for a listening address: an unspecified one is reached over loopback.
pub fn reach(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lives_as_long_as_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let bound = bind("127.0.0.1:0".parse().unwrap(), dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(ADDR_FILE)).unwrap();
        assert_eq!(text, format!("127.0.0.1:{}\n", bound.addr().port()));
        assert_ne!(bound.addr().port(), 0);
        assert_eq!(read(dir.path()), Some(bound.addr()));
        let again = bind(bound.addr(), dir.path()).unwrap_err();
        assert!(again.contains("is in use by another process"), "{again}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        drop(bound);
        assert_eq!(read(dir.path()), None);
        std::fs::write(dir.path().join(ADDR_FILE), "127.0.0.1:1\n").unwrap();
        clear(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn unspecified_addresses_are_reached_over_loopback() {
        for (from, to) in [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("10.0.0.1:7", "10.0.0.1:7")]
        {
            assert_eq!(reach(from.parse().unwrap()), to.parse().unwrap());
        }
    }
}

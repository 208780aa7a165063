//! bind: opens sockets and pipes, before anything else of the agent runs.
//!
//! Promises: an error names the source, what is wrong and the remedy; the file of a socket that nobody serves any more is
//! replaced, that of a live one never; a socket's file goes with its [`SocketFile`], if it is still that file.
//! Must not know: who reads.
use super::{host, receive};
use crate::config::SourceKind;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// The longest datagram of UDP, bytes; rounded up.
const UDP_BYTES_MAX: usize = 1 << 16;
/// Where the kernel's bound of unix datagrams is not known, bytes.
const UNIX_BYTES_MAX: usize = 256 << 10;

/// What sockets go by.
#[derive(Clone, Copy, Debug)]
pub struct BindSettings {
    /// So many sockets share a UDP address: one a shard.
    pub shards: usize,
    /// `EDGEPUSH_SOCKET_MODE`.
    pub mode: u32,
    /// `EDGEPUSH_SOCKET_BUFFER`, bytes.
    pub buffer: u64,
    /// `EDGEPUSH_LINE_MAX`, bytes.
    pub line_max: usize,
}

/// An open feed.
#[derive(Debug)]
pub struct Bound {
    /// What to read.
    pub inlet: Inlet,
    /// The file of a unix socket.
    pub file: Option<SocketFile>,
    /// What an operator should know, with the remedy.
    pub warnings: Vec<String>,
}

/// What to read.
#[derive(Debug)]
pub enum Inlet {
    /// Sockets of datagrams: one, or one a shard.
    Datagrams {
        /// The sockets.
        sockets: Vec<OwnedFd>,
        /// The longest message, bytes.
        longest: usize,
        /// UDP: where they listen.
        udp: Option<SocketAddr>,
    },
    /// A socket that accepts streams.
    Streams(OwnedFd),
    /// A pipe.
    Pipe {
        /// Its reading end.
        fd: OwnedFd,
        /// It cannot be waited for (a regular file, `/dev/null`): it is read on the blocking thread.
        blocking: bool,
        /// It has a name: there may be no writer yet.
        named: bool,
    },
}

/// The file of a unix socket: removed with this.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    ident: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.ident) {
            // When it cannot be removed, the next start finds that nobody serves it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens one.
///
/// # Errors
/// What is wrong, for an operator; without the source's name.
pub fn open(kind: &SourceKind, settings: &BindSettings) -> Result<Bound, String> {
    let only = |inlet| Ok(Bound { inlet, file: None, warnings: Vec::new() });
    match kind {
        SourceKind::File { .. } => Err("is no socket and no pipe".into()),
        SourceKind::Unixgram { path } => unixgram(path, settings),
        SourceKind::Unix { path } => {
            let (listener, file) = unix(path, SocketType::STREAM, settings.mode)?;
            listen(&listener, BACKLOG).map_err(|error| unix_refused(path, error))?;
            Ok(Bound { inlet: Inlet::Streams(listener), file: Some(file), warnings: Vec::new() })
        }
        SourceKind::Udp { addr } => udp(*addr, settings),
        SourceKind::Tcp { addr } => {
            let (listener, warnings) = ip(*addr, SocketType::STREAM, Sharing::None)?;
            listen(&listener, BACKLOG).map_err(|error| ip_refused(*addr, error))?;
            Ok(Bound { inlet: Inlet::Streams(listener), file: None, warnings })
        }
        SourceKind::Stdin => {
            let fd = io::stdin().as_fd().try_clone_to_owned();
            let fd = fd.map_err(|error| format!("is not open: {error}"))?;
            let blocking = !can_be_waited_for(&fd);
            only(Inlet::Pipe { fd, blocking, named: false })
        }
        SourceKind::Pipe { path } => only(Inlet::Pipe { fd: pipe(path)?, blocking: false, named: true }),
    }
}

/// Whether a path is a named pipe: one that is followed as a file is read as what it is.
pub fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Whether epoll takes it; io_uring reads of others would begin at offset 0 each time.
fn can_be_waited_for(fd: &OwnedFd) -> bool {
    match rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Fifo | FileType::Socket) => true,
        Ok(FileType::CharacterDevice) => fd.is_terminal(),
        _ => false,
    }
}

fn pipe(path: &Path) -> Result<OwnedFd, String> {
    let shown = path.display();
    // Without O_NONBLOCK this would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => format!("is not there: mkfifo {shown}"),
        Errno::ACCESS => crate::denied::unreadable(path, &error.into()).1,
        other => format!("cannot be opened: {other}"),
    })?;
    match rustix::fs::fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Fifo) => Ok(fd),
        _ => Err(format!("is no named pipe: write file:{shown} for a file")),
    }
}

fn unixgram(path: &Path, settings: &BindSettings) -> Result<Bound, String> {
    let mut warnings = Vec::new();
    if let Some(queue) = host::unix_queue().filter(|queue| *queue < host::QUEUE_LEAST) {
        warnings.push(format!(
            "the kernel keeps {queue} datagrams for it (net.unix.max_dgram_qlen), and senders like nginx drop what does \
             not fit: {}",
            host::queue_remedy()
        ));
    }
    let (socket, file) = unix(path, SocketType::DGRAM, settings.mode)?;
    let longest = host::send_buffer_max().map_or(UNIX_BYTES_MAX, |bytes| 2 * bytes as usize);
    // One byte more than a line may have: what fills it is too long.
    let longest = longest.clamp(UDP_BYTES_MAX, settings.line_max.max(UDP_BYTES_MAX)) + 1;
    let inlet = Inlet::Datagrams { sockets: vec![socket], longest, udp: None };
    Ok(Bound { inlet, file: Some(file), warnings })
}

/// Binds a unix socket, with the permissions that were asked for.
fn unix(path: &Path, kind: SocketType, mode: u32) -> Result<(OwnedFd, SocketFile), String> {
    let addr = SocketAddrUnix::new(path).map_err(|error| format!("is no path of a socket: {error}"))?;
    make_way(path, &addr, kind)?;
    let refused = |error| unix_refused(path, error);
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).map_err(refused)?;
    bind(&socket, &addr).map_err(refused)?;
    let permit = || -> io::Result<SocketFile> {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        let meta = std::fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), ident: (meta.dev(), meta.ino()) })
    };
    let file = permit().map_err(|error| format!("cannot be given the mode {mode:04o}: {error}"))?;
    Ok((socket, file))
}

/// Removes the file of a socket that nobody serves any more.
fn make_way(path: &Path, addr: &SocketAddrUnix, kind: SocketType) -> Result<(), String> {
    let meta = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot be looked at: {error}")),
        Ok(meta) => meta,
    };
    if !meta.file_type().is_socket() {
        return Err("is there already, and is no socket: remove it, or choose another path".into());
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let knocking = socket_with(AddressFamily::UNIX, kind, flags, None).map_err(|e| unix_refused(path, e))?;
    match connect(&knocking, addr) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("is left of another run and cannot be removed: {error}"))
            }
            _ => Ok(()),
        },
        Err(Errno::ACCESS) => Err(unix_refused(path, Errno::ACCESS)),
        _ => Err("is in use: another process serves this socket; stop it, or choose another path".into()),
    }
}

fn unix_refused(path: &Path, error: Errno) -> String {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.display();
    match error {
        Errno::NOENT => {
            format!("cannot be made: the directory {directory} is not there: mkdir -p {directory}")
        }
        Errno::ACCESS | Errno::PERM => format!(
            "cannot be made: the agent's user may not write to {directory}: give it a directory of its own (systemd: \
             RuntimeDirectory=edgepush, then /run/edgepush/…)"
        ),
        Errno::ROFS => format!("cannot be made: {directory} is on a read-only file system"),
        Errno::ADDRINUSE => "is in use by another process".into(),
        other => format!("cannot be listened on: {other}"),
    }
}

/// Whether sockets share an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    None,
    OnePerShard,
}

fn udp(addr: SocketAddr, settings: &BindSettings) -> Result<Bound, String> {
    // A shared address says nothing about others who share theirs: a socket that does not, does.
    let (first, mut warnings) = ip(addr, SocketType::DGRAM, Sharing::None)?;
    let mut sockets = Vec::new();
    if settings.shards == 1 {
        sockets.push(first);
    } else {
        drop(first);
        for _ in 0..settings.shards {
            sockets.push(ip(addr, SocketType::DGRAM, Sharing::OnePerShard)?.0);
        }
    }
    let mut granted = u64::MAX;
    for socket in &sockets {
        granted = granted.min(receive_buffer(socket, settings.buffer));
        if receive::count_drops(socket.as_fd()).is_err() {
            tracing::debug!("the kernel does not count dropped datagrams by message");
        }
    }
    if granted < settings.buffer {
        warnings.push(format!(
            "the kernel gives it a receive buffer of {granted} bytes and not of {}; what does not fit while the agent is \
             busy is dropped (edgepush_socket_dropped_total): {}",
            settings.buffer,
            host::buffer_remedy(settings.buffer)
        ));
    }
    let inlet = Inlet::Datagrams { sockets, longest: UDP_BYTES_MAX, udp: Some(addr) };
    Ok(Bound { inlet, file: None, warnings })
}

/// Asks for a receive buffer; answers what was granted. The kernel doubles what it is asked for, for its own needs.
fn receive_buffer(socket: &OwnedFd, bytes: u64) -> u64 {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes as usize).is_err() {
        // A smaller one is given without an error.
        let _ = sockopt::set_socket_recv_buffer_size(socket, bytes as usize);
    }
    sockopt::socket_recv_buffer_size(socket).map_or(0, |granted| granted as u64 / 2)
}

/// Binds a socket of an address; one that this host does not have yet is taken, with a warning.
fn ip(addr: SocketAddr, kind: SocketType, sharing: Sharing) -> Result<(OwnedFd, Vec<String>), String> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let refused = |error| ip_refused(addr, error);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).map_err(refused)?;
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true).map_err(refused)?;
    }
    if sharing == Sharing::OnePerShard {
        sockopt::set_socket_reuseport(&socket, true).map_err(refused)?;
    }
    match bind(&socket, &addr) {
        Ok(()) => Ok((socket, Vec::new())),
        Err(Errno::ADDRNOTAVAIL) => {
            match addr {
                SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true),
                SocketAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true),
            }
            .map_err(refused)?;
            bind(&socket, &addr).map_err(refused)?;
            let ip = addr.ip();
            Ok((socket, vec![format!("{ip} is no address of this host at present; it is served once it is")]))
        }
        Err(error) => Err(refused(error)),
    }
}

fn ip_refused(addr: SocketAddr, error: Errno) -> String {
    match error {
        Errno::ADDRINUSE => {
            "is in use by another process: stop it (a syslog daemon?), or choose another port".into()
        }
        Errno::ACCESS | Errno::PERM if addr.port() < 1024 => format!(
            "may not be listened on: port {} is below 1024: give the agent CAP_NET_BIND_SERVICE (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose a port from 1024 on",
            addr.port()
        ),
        Errno::AFNOSUPPORT => "cannot be listened on: this host has no such addresses (IPv6 is off?)".into(),
        other => format!("cannot be listened on: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    const SETTINGS: BindSettings =
        BindSettings { shards: 1, mode: 0o660, buffer: 100_000, line_max: 1 << 20 };

    fn gram(path: &Path) -> Result<Bound, String> {
        open(&SourceKind::Unixgram { path: path.into() }, &SETTINGS)
    }

    #[test]
    fn a_socket_that_nobody_serves_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.sock");
        drop(UnixDatagram::bind(&path).unwrap());
        assert!(path.exists(), "what a killed process leaves");
        let first = gram(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
        let why = gram(&path).unwrap_err();
        assert!(why.contains("another process serves this socket"), "{why}");
        drop(first);
        assert!(!path.exists(), "the file goes with the socket");

        let _other = UnixListener::bind(&path).unwrap();
        assert!(gram(&path).unwrap_err().contains("is in use"), "a stream socket is alive too");
        assert!(path.exists());
    }

    #[test]
    fn another_sockets_file_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.sock");
        let bound = gram(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _next = UnixDatagram::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn what_cannot_be_bound_is_said_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let why = gram(&dir.path().join("no/such/log.sock")).unwrap_err();
        assert!(why.contains("mkdir -p ") && why.contains("no/such"), "{why}");
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(gram(&file).unwrap_err().contains("is no socket: remove it"));
        let pipe = |path: &Path| open(&SourceKind::Pipe { path: path.into() }, &SETTINGS).unwrap_err();
        assert!(pipe(&dir.path().join("fifo")).contains("mkfifo "));
        assert!(pipe(&file).contains("is no named pipe: write file:"));
    }

    #[test]
    fn one_udp_socket_a_shard_and_an_address_in_use_is_refused() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let two = BindSettings { shards: 2, ..SETTINGS };
        let why = open(&SourceKind::Udp { addr }, &two).unwrap_err();
        assert!(why.contains("in use by another process"), "{why}");
        drop(taken);
        let bound = open(&SourceKind::Udp { addr }, &two).unwrap();
        let Inlet::Datagrams { sockets, udp, .. } = &bound.inlet else { panic!("{bound:?}") };
        assert_eq!((sockets.len(), *udp), (2, Some(addr)));
        let why = open(&SourceKind::Udp { addr }, &two).unwrap_err();
        assert!(why.contains("in use"), "an agent that shares its address is seen too: {why}");
    }

    #[test]
    fn an_address_that_is_not_there_yet_is_taken() {
        let addr = "192.0.2.7:5514".parse().unwrap();
        let bound = open(&SourceKind::Tcp { addr }, &SETTINGS).unwrap();
        assert!(bound.warnings[0].contains("192.0.2.7 is no address of this host"), "{:?}", bound.warnings);
    }

    #[test]
    fn a_buffer_that_is_not_granted_is_a_warning() {
        let addr = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let bound = open(&SourceKind::Udp { addr }, &SETTINGS).unwrap();
        assert!(bound.warnings.is_empty(), "{:?}", bound.warnings);
    }
}

//! Source specifications: what an operator wrote about where lines come from.
//!
//! Promises: an accepted one has a kind that this version can read.
//! Must not know: files; a glob may match nothing yet, an address may not be there yet.
pub use edgepush_shard::format::Format;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Files, as a glob pattern.
    File {
        /// The pattern.
        glob: String,
    },
    /// A unix socket of datagrams.
    Unixgram {
        /// Its file.
        path: PathBuf,
    },
    /// A unix socket of streams.
    Unix {
        /// Its file.
        path: PathBuf,
    },
    /// UDP.
    Udp {
        /// Where it listens.
        addr: SocketAddr,
    },
    /// TCP.
    Tcp {
        /// Where it listens.
        addr: SocketAddr,
    },
    /// Standard input.
    Stdin,
    /// A named pipe.
    Pipe {
        /// Its file.
        path: PathBuf,
    },
}

impl SourceKind {
    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        !matches!(self, SourceKind::File { .. } | SourceKind::Stdin | SourceKind::Pipe { .. })
    }

    /// Whether what was read of it cannot be read again: all but files.
    pub fn is_feed(&self) -> bool {
        !matches!(self, SourceKind::File { .. })
    }

    /// The label of one that has no name of its own: a file's glob, else what the operator wrote.
    pub fn label(&self) -> String {
        match self {
            SourceKind::File { glob } => glob.clone(),
            SourceKind::Stdin => "stdin".into(),
            other => other.to_string(),
        }
    }
}

/// One configured source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The label in metrics and logs: the configured name, or the glob.
    pub name: String,
    /// Where its lines come from.
    pub kind: SourceKind,
    /// How its lines are parsed.
    pub format: Format,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceKind::File { glob } => write!(f, "file:{glob}"),
            SourceKind::Unixgram { path } => write!(f, "unixgram:{}", path.display()),
            SourceKind::Unix { path } => write!(f, "unix:{}", path.display()),
            SourceKind::Udp { addr } => write!(f, "udp:{addr}"),
            SourceKind::Tcp { addr } => write!(f, "tcp:{addr}"),
            SourceKind::Stdin => write!(f, "stdin:"),
            SourceKind::Pipe { path } => write!(f, "pipe:{}", path.display()),
        }
    }
}

/// What a kernel takes as the path of a unix socket, bytes.
const SOCKET_PATH_MAX: usize = 107;

const KINDS: &str = "file:, unixgram:, unix:, udp:, tcp:, stdin: or pipe:";

/// Reads `file:GLOB`, `unixgram:PATH`, `unix:PATH`, `udp:ADDR:PORT`, `tcp:ADDR:PORT`, `stdin:`, `pipe:PATH`.
pub fn kind(text: &str) -> Result<SourceKind, String> {
    match text.split_once(':') {
        Some(("file", "")) => Err("needs a path or glob after file:".into()),
        Some(("file", glob)) => match glob::Pattern::new(glob) {
            Ok(_) => Ok(SourceKind::File { glob: glob.into() }),
            Err(error) => Err(format!("is no glob pattern: {} at position {}", error.msg, error.pos)),
        },
        Some(("unixgram", path)) => Ok(SourceKind::Unixgram { path: socket_path("unixgram", path)? }),
        Some(("unix", path)) => Ok(SourceKind::Unix { path: socket_path("unix", path)? }),
        Some(("udp", addr)) => Ok(SourceKind::Udp { addr: address("udp", addr)? }),
        Some(("tcp", addr)) => Ok(SourceKind::Tcp { addr: address("tcp", addr)? }),
        Some(("stdin", "")) => Ok(SourceKind::Stdin),
        Some(("stdin", _)) => Err("has something after stdin:".into()),
        Some(("pipe", "")) => Err("needs the path of a named pipe after pipe:".into()),
        Some(("pipe", path)) => Ok(SourceKind::Pipe { path: path.into() }),
        _ if text == "stdin" || text == "-" => Err("is not known: write stdin:".into()),
        _ if text.starts_with(['/', '.', '~']) || text.contains('*') => Err(format!("write file:{text}")),
        _ => Err(format!("must begin with {KINDS} (file:/var/log/nginx/*.log)")),
    }
}

fn socket_path(kind: &str, path: &str) -> Result<PathBuf, String> {
    match path.len() {
        0 => Err(format!("needs the path of a socket after {kind}:, like {kind}:/run/edgepush/log.sock")),
        n if n > SOCKET_PATH_MAX => Err(format!(
            "is too long: the path of a socket has at most {SOCKET_PATH_MAX} bytes, this one {n}"
        )),
        _ => Ok(path.into()),
    }
}

fn address(kind: &str, text: &str) -> Result<SocketAddr, String> {
    let example = format!("{kind}:127.0.0.1:5514, {kind}:0.0.0.0:514 or {kind}:[::]:514");
    let addr: SocketAddr = text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(_) => format!("has no port: write {example}"),
        Err(_) => format!("needs an IP address and a port, like {example}"),
    })?;
    match addr.port() {
        0 => Err(format!("needs a port from 1 to 65535, like {example}")),
        _ => Ok(addr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_a_kind() {
        let file = |glob: &str| Ok(SourceKind::File { glob: glob.into() });
        assert_eq!(kind("file:/var/log/*.log"), file("/var/log/*.log"));
        assert_eq!(kind("file:a:b"), file("a:b"));
        assert_eq!(kind("/var/log/x"), Err("write file:/var/log/x".into()));
        assert_eq!(kind("*.log"), Err("write file:*.log".into()));
        assert!(kind("file:").unwrap_err().contains("needs a path"));
        assert!(kind("file:/a/[").unwrap_err().contains("is no glob pattern"));
        assert!(kind("ftp:x").unwrap_err().contains("must begin with file:"));
    }

    #[test]
    fn sockets_and_pipes_are_sources() {
        let path = PathBuf::from("/run/x");
        assert_eq!(kind("unixgram:/run/x"), Ok(SourceKind::Unixgram { path: path.clone() }));
        assert_eq!(kind("unix:/run/x"), Ok(SourceKind::Unix { path: path.clone() }));
        assert_eq!(kind("pipe:/run/x"), Ok(SourceKind::Pipe { path }));
        assert_eq!(kind("stdin:"), Ok(SourceKind::Stdin));
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(kind("udp:0.0.0.0:514"), Ok(SourceKind::Udp { addr: addr("0.0.0.0:514") }));
        assert_eq!(kind("tcp:[::]:514"), Ok(SourceKind::Tcp { addr: addr("[::]:514") }));
        for text in
            ["unixgram:/run/x", "unix:/run/x", "pipe:/run/x", "stdin:", "udp:0.0.0.0:514", "tcp:[::]:514"]
        {
            let kind = kind(text).unwrap();
            assert_eq!(kind.to_string(), text);
            assert!(kind.is_feed());
            assert_eq!(kind.is_socket(), !text.starts_with(['s', 'p']), "{text}");
        }
        assert_eq!(kind("stdin:").unwrap().label(), "stdin");
        assert_eq!(kind("file:/a").unwrap().label(), "/a");
        assert!(!kind("file:/a").unwrap().is_feed());
    }

    #[test]
    fn what_is_wrong_with_a_socket_is_said() {
        let why = |text: &str| kind(text).unwrap_err();
        assert!(why("unixgram:").contains("needs the path of a socket"));
        assert!(why(&format!("unix:/{}", "x".repeat(107))).contains("at most 107 bytes, this one 108"));
        assert!(kind(&format!("unix:/{}", "x".repeat(106))).is_ok());
        assert!(why("udp:514").contains("needs an IP address and a port, like udp:127.0.0.1:5514"));
        assert!(why("udp:localhost:514").contains("needs an IP address and a port"));
        assert!(why("tcp:::1").contains("has no port"), "{}", why("tcp:::1"));
        assert!(why("tcp:127.0.0.1:0").contains("needs a port from 1 to 65535"));
        assert!(why("stdin:x").contains("has something after stdin:"));
        assert_eq!(why("stdin"), "is not known: write stdin:");
        assert!(why("pipe:").contains("needs the path of a named pipe"));
    }
}

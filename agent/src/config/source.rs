//! Source specifications: what an operator wrote about where lines come from.
//!
//! Promises: an accepted one has a kind that this version can read.
//! Must not know: files; a glob may match nothing yet.
pub use edgepush_shard::format::Format;
use std::fmt;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Files, as a glob pattern.
    File {
        /// The pattern.
        glob: String,
    },
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
        }
    }
}

/// Kinds of INTERFACE 1 that are known and whose part does not exist yet.
const PLANNED_KINDS: [&str; 5] = ["unixgram", "unix", "udp", "tcp", "stdin"];

/// Reads `file:GLOB`.
pub fn kind(text: &str) -> Result<SourceKind, String> {
    match text.split_once(':') {
        Some(("file", "")) => Err("needs a path or glob after file:".into()),
        Some(("file", glob)) => match glob::Pattern::new(glob) {
            Ok(_) => Ok(SourceKind::File { glob: glob.into() }),
            Err(error) => Err(format!("is no glob pattern: {} at position {}", error.msg, error.pos)),
        },
        Some((kind, _)) if PLANNED_KINDS.contains(&kind) => {
            Err(super::not_built(&format!("{kind}: sources are")))
        }
        _ if text.starts_with(['/', '.', '~']) || text.contains('*') => Err(format!("write file:{text}")),
        _ => Err("must begin with file: (file:/var/log/nginx/*.log)".into()),
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
        for planned in ["unixgram:/run/x", "unix:/run/x", "udp:0.0.0.0:514", "tcp:[::]:514", "stdin:"] {
            assert!(kind(planned).unwrap_err().contains("not built yet"), "{planned}");
        }
    }
}

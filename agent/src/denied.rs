//! denied: why a file cannot be read, in an operator's words, with the remedies (INTERFACE 1).
//!
//! Promises: owner and group are named as the host names them.
//! Must not know: who wanted to read it.
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What is wrong with a file that cannot be read, with owner and mode, and the remedies.
pub fn unreadable(path: &Path, error: &io::Error) -> (String, String) {
    let shown = path.display();
    if error.kind() != io::ErrorKind::PermissionDenied {
        return (format!("{shown} cannot be read: {error}"), String::new());
    }
    match std::fs::metadata(path) {
        Ok(meta) => {
            let owner = named("/etc/passwd", meta.uid());
            let group = named("/etc/group", meta.gid());
            denied(&shown.to_string(), &owner, &group, meta.mode() & 0o7777)
        }
        Err(_) => {
            let parent = path.parent().unwrap_or(Path::new("/")).display();
            let remedy = format!("let the agent's user enter {parent}, or give the unit {CAPABILITY}");
            (format!("{shown} cannot be read: a directory on the way denies it"), remedy)
        }
    }
}

/// What lets a process read every file without being root.
const CAPABILITY: &str = "AmbientCapabilities=CAP_DAC_READ_SEARCH";

fn denied(path: &str, owner: &str, group: &str, mode: u32) -> (String, String) {
    let said =
        format!("{path} cannot be read: permission denied (owner {owner}, group {group}, mode {mode:04o})");
    let remedy = if mode & 0o040 != 0 {
        format!(
            "put the agent's user into group {group} (systemd: SupplementaryGroups={group}), or {CAPABILITY}"
        )
    } else {
        format!("chmod g+r {path} and put the agent's user into group {group}, or give the unit {CAPABILITY}")
    };
    (said, remedy)
}

/// The name of a user or group id, else the id.
fn named(table: &str, id: u32) -> String {
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let id = id.to_string();
    let name = text.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == id).then(|| name.to_string())
    });
    name.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_file_is_named_with_owner_mode_and_remedies() {
        let (said, remedy) = denied("/var/log/a", "root", "adm", 0o640);
        assert_eq!(said, "/var/log/a cannot be read: permission denied (owner root, group adm, mode 0640)");
        assert!(
            remedy.contains("SupplementaryGroups=adm") && remedy.contains("CAP_DAC_READ_SEARCH"),
            "{remedy}"
        );
        let (_, remedy) = denied("/var/log/a", "root", "root", 0o600);
        assert!(remedy.starts_with("chmod g+r /var/log/a"), "{remedy}");
        assert_eq!(named("/etc/passwd", 0), "root");
        assert_eq!(named("/etc/passwd", 4_000_000_000), "4000000000");
    }
}

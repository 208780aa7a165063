//! Hosts: which zones' jobs a record's host belongs to.
//!
//! Promises: hosts compare in lower case, without port and trailing dot, in records and zones alike. A look-up costs one
//! hash, and one per label when there are wildcards.
//! Must not know: records, jobs beyond their positions.
use super::digest::Map;
use super::route::{Positions, Run};
use crate::limits::HOST_BYTES_MAX;

/// Jobs by host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: Map<Box<[u8]>, Run>,
    /// What stands behind the `*.` of a wildcard.
    below: Map<Box<[u8]>, Run>,
}

/// A host in its plain form.
pub(super) struct Host {
    bytes: [u8; HOST_BYTES_MAX],
    len: usize,
}

impl Host {
    /// `None`: nothing, or more bytes than a host has.
    pub(super) fn new(raw: &[u8]) -> Option<Host> {
        let plain = without_port(raw);
        let plain = plain.strip_suffix(b".").unwrap_or(plain);
        if plain.is_empty() || plain.len() > HOST_BYTES_MAX {
            return None;
        }
        let mut host = Host { bytes: [0; HOST_BYTES_MAX], len: plain.len() };
        host.bytes[..plain.len()].copy_from_slice(plain);
        host.bytes[..plain.len()].make_ascii_lowercase();
        Some(host)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// `[::1]:443` and `[::1]` are `::1`; an address without brackets has no port.
fn without_port(raw: &[u8]) -> &[u8] {
    if let Some(inside) = raw.strip_prefix(b"[")
        && let Some(end) = memchr::memchr(b']', inside)
    {
        return &inside[..end];
    }
    match memchr::memchr(b':', raw) {
        Some(at) if raw[at + 1..].iter().all(u8::is_ascii_digit) => &raw[..at],
        _ => raw,
    }
}

/// Whether a host is its own plain form: most are, and are not copied.
fn is_plain(raw: &[u8]) -> bool {
    let plain = |&byte: &u8| !byte.is_ascii_uppercase() && byte != b':' && byte != b'[';
    raw.len() <= HOST_BYTES_MAX && raw.iter().all(plain) && !raw.is_empty() && !raw.ends_with(b".")
}

impl Hosts {
    /// The jobs of each host; a wildcard is `*.` and a host. What is no host belongs to no record.
    pub(super) fn new<'a>(hosts: impl Iterator<Item = (&'a str, u32)>, positions: &mut Positions) -> Hosts {
        let (mut exact, mut below) = (Vec::new(), Vec::new());
        for (host, position) in hosts {
            let (name, list) = match host.trim().strip_prefix("*.") {
                Some(name) => (name, &mut below),
                None => (host.trim(), &mut exact),
            };
            if let Some(host) = Host::new(name.as_bytes()) {
                list.push((Box::from(host.as_bytes()), position));
            }
        }
        Hosts { exact: positions.group(exact), below: positions.group(below) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    /// Calls `found` with the jobs of a host, and with those of each wildcard that it is below.
    pub(super) fn find(&self, raw: &[u8], mut found: impl FnMut(Run)) {
        if is_plain(raw) {
            self.find_plain(raw, &mut found);
        } else if let Some(host) = Host::new(raw) {
            self.find_plain(host.as_bytes(), &mut found);
        }
    }

    fn find_plain(&self, host: &[u8], found: &mut impl FnMut(Run)) {
        if let Some(&run) = self.exact.get(host) {
            found(run);
        }
        if self.below.is_empty() {
            return;
        }
        for at in memchr::memchr_iter(b'.', host).filter(|&at| at > 0) {
            if let Some(&run) = self.below.get(&host[at + 1..]) {
                found(run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        let plain = |raw: &str| Host::new(raw.as_bytes()).map(|host| host.as_bytes().to_vec());
        for raw in [
            "example.com",
            "EXAMPLE.com",
            "example.com.",
            "example.com:443",
            "Example.Com.:8080",
            "example.com:",
        ] {
            assert_eq!(plain(raw).as_deref(), Some(&b"example.com"[..]), "{raw}");
        }
        for raw in ["[2001:DB8::1]:443", "[2001:db8::1]", "2001:db8::1"] {
            assert_eq!(plain(raw).as_deref(), Some(&b"2001:db8::1"[..]), "{raw}");
        }
        assert_eq!(plain("192.0.2.1:80").as_deref(), Some(&b"192.0.2.1"[..]));
        assert_eq!(plain("example.com:http").as_deref(), Some(&b"example.com:http"[..]));
        for raw in ["", ".", ":80", "[]"] {
            assert_eq!(plain(raw), None, "{raw}");
            assert!(!is_plain(raw.as_bytes()));
        }
        for raw in ["example.com", "a..b", "x", "192.0.2.1", "é"] {
            assert!(is_plain(raw.as_bytes()) && plain(raw).as_deref() == Some(raw.as_bytes()), "{raw}");
        }
        assert!(plain(&"x".repeat(255)).is_some());
        assert_eq!(plain(&"x".repeat(256)), None);
    }
}

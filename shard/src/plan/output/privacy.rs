//! Privacy: what is done to a field that says too much of a person.
//!
//! Promises: a hash cannot be turned back without the key, and says of two values only whether they are equal; a
//! truncated address names a network, never a host.
//! Must not know: which fields, and where the key is kept.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::io::Write as _;

/// What is done to a field's values (`privacy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privacy {
    /// The field is left out.
    Drop,
    /// The first 128 bits of a keyed hash, as 32 hex digits.
    Hash,
    /// The network of an address: /24 of IPv4, /48 of IPv6.
    TruncateIp,
}

impl Privacy {
    /// All of them.
    pub const ALL: [Privacy; 3] = [Privacy::Drop, Privacy::Hash, Privacy::TruncateIp];

    /// Its name in a job.
    pub const fn as_str(self) -> &'static str {
        match self {
            Privacy::Drop => "drop",
            Privacy::Hash => "hash",
            Privacy::TruncateIp => "truncate_ip",
        }
    }
}

/// The keys of [`Privacy::Hash`] and of records' ids.
#[derive(Clone)]
pub struct HashKey {
    fields: ring::hmac::Key,
    ids: [u8; 16],
}

impl HashKey {
    /// Keys of 32 bytes that were drawn at random.
    pub fn new(bytes: &[u8; 32]) -> HashKey {
        let ids = bytes.first_chunk().copied().unwrap_or_default();
        HashKey { fields: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes), ids }
    }

    /// The same, with ids that only this ledger gives: several agents may share the key of their fields.
    pub fn of_ledger(self, ledger_id: u128) -> HashKey {
        HashKey { ids: ledger_id.to_le_bytes(), ..self }
    }

    /// The key of records' ids.
    pub(super) fn ids(&self) -> &[u8; 16] {
        &self.ids
    }

    /// Appends the first 32 hex digits of HMAC-SHA-256 of a text.
    pub(super) fn hash(&self, text: &[u8], out: &mut Vec<u8>) {
        let tag = ring::hmac::sign(&self.fields, text);
        for byte in &tag.as_ref()[..16] {
            out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey")
    }
}

/// Appends the network of an address, with a port or without; false: it is none.
pub(super) fn truncated_ip(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(address) = std::str::from_utf8(text).ok().and_then(|text| address(text.trim())) else {
        return false;
    };
    let network: IpAddr = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    };
    write!(out, "{network}").expect("INVARIANT: a vector takes all bytes");
    true
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, each IPv6 also with a zone.
fn address(text: &str) -> Option<IpAddr> {
    let unzoned = |text: &str| text.split_once('%').map_or(text, |(address, _)| address).parse::<Ipv6Addr>();
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, port) = rest.split_once(']')?;
        let port = port.is_empty() || is_port(port.strip_prefix(':')?);
        return port.then(|| unzoned(inside).ok())?.map(IpAddr::V6);
    }
    match text.split_once(':') {
        None => text.parse().ok().map(IpAddr::V4),
        Some((address, port)) if is_port(port) && address.contains('.') => {
            address.parse().ok().map(IpAddr::V4)
        }
        Some(_) => unzoned(text).ok().map(IpAddr::V6),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_host() {
        for (text, network) in [
            ("203.0.113.77", "203.0.113.0"),
            (" 203.0.113.77 ", "203.0.113.0"),
            ("203.0.113.77:443", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("2001:DB8::1", "2001:db8::"),
            ("[2001:db8:1:2::1]", "2001:db8:1::"),
            ("[2001:db8:1:2::1]:8080", "2001:db8:1::"),
            ("fe80::1%eth0", "fe80::"),
            ("[fe80::1%eth0]:80", "fe80::"),
            ("::1", "::"),
            // An IPv4 address in IPv6's clothes: /48 would leave nothing of it.
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("[::ffff:203.0.113.77]:443", "203.0.113.0"),
        ] {
            let mut out = Vec::new();
            assert!(truncated_ip(text.as_bytes(), &mut out), "{text}");
            assert_eq!(String::from_utf8(out).as_deref(), Ok(network), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "-",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.400",
            "1.2.3.4:",
            "1.2.3.4:99999",
            "1.2.3.4:+80",
            "1.2.3.4, 5.6.7.8",
            "[1.2.3.4]",
            "[::1",
            "[::1]x",
            "[::1]:",
            "::1]",
            "unix:",
            "example.com",
            "2001:db8::1:80:x",
        ] {
            let mut out = Vec::new();
            assert!(!truncated_ip(text.as_bytes(), &mut out) && out.is_empty(), "{text}");
        }
    }

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // RFC 4231, test case 2, with its key filled up by zeros: HMAC does the same.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mut out = Vec::new();
        HashKey::new(&key).hash(b"what do ya want for nothing?", &mut out);
        assert_eq!(out, b"5bdcc146bf60754e6a042426089575c7");
        assert_eq!(format!("{:?}", HashKey::new(&key)), "HashKey");
    }
}

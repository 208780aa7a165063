//! redact: a destination as it may be shown, in a form that can be sent back.
//!
//! Promises: user parts, header values, the values of parameters that sound like keys and path segments of URLs that
//! look like tokens are [`MARK`]; everything else stands as it was written, so that a client that reads a job, edits
//! it and sends it back keeps the secret that it never saw.
//! Must not know: jobs, who may see what.
use crate::destination::redact::{path, query};

/// Stands for a secret. No URL can have it: it would be percent-encoded.
pub const MARK: char = '…';

/// A destination without its secrets.
pub fn redacted(conf: &str) -> String {
    let (front, rest) = match conf.split_once('?') {
        Some((front, rest)) => (front, Some(rest)),
        None => (conf, None),
    };
    let mut shown = match front.split_once("://") {
        // A directory on this host has no tokens in it, and its operator wants to read it.
        Some((_, "")) => front.to_owned(),
        Some((_, local)) if local.starts_with('/') => front.to_owned(),
        Some((scheme, remote)) => {
            let (authority, below) = remote.split_at(remote.find('/').unwrap_or(remote.len()));
            let host = match authority.rsplit_once('@') {
                Some((_, host)) => format!("{MARK}@{host}"),
                None => authority.to_owned(),
            };
            format!("{scheme}://{host}{}", path(below))
        }
        None => path(front),
    };
    if let Some(rest) = rest {
        shown.push('?');
        shown.push_str(&query(rest));
    }
    shown
}

/// Whether a destination has something in the place of a secret.
pub fn is_redacted(conf: &str) -> bool {
    conf.contains(MARK)
}

/// Where a destination is, without its user and its parameters: two jobs with the same place write beside each other.
pub fn place(conf: &str) -> String {
    let front = conf.split('?').next().unwrap_or_default().trim_end_matches('/');
    match front.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{below}")
        }
        None => front.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_stands_before_the_parameters() {
        assert_eq!(place("https://u:p@h/in/?key=1"), place("https://h/in?key=2"));
        assert_ne!(place("https://h/in"), place("https://h/out"));
        assert_eq!(place("archive:"), "archive:");
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_stands() {
        let cases = [
            (
                "https://u:hunter2@h:1/in/a?x=1&header_Authorization=Bearer%20hunter2&tags=a,b&gzip=single",
                "https://…@h:1/in/a?x=1&header_Authorization=…&tags=a,b&gzip=single",
            ),
            (
                "s3://b/p/{DATE}?region=r&access-key-id=AK&secret-access-key=SK&endpoint=h",
                "s3://b/p/{DATE}?region=r&access-key-id=…&secret-access-key=…&endpoint=h",
            ),
            ("https://h/receiver/v1/http/ZaVnC4dhaV39876543210abc==", "https://h/receiver/v1/http/…"),
            (
                "file:///srv/logs2026/customer0123456789012345/{DATE}?suffix=.txt",
                "file:///srv/logs2026/customer0123456789012345/{DATE}?suffix=.txt",
            ),
            ("archive:", "archive:"),
            ("https://h", "https://h"),
        ];
        for (conf, shown) in cases {
            assert_eq!(redacted(conf), shown);
            assert_eq!(redacted(shown), shown, "once more changes nothing");
            assert_eq!(is_redacted(&redacted(conf)), shown.contains('…'));
            assert!(!is_redacted(conf));
        }
    }
}

//! What may be shown of a URL, and of a text in which its secrets may come back.
//!
//! Promises: user parts, header values, the values of parameters that sound like keys, and path segments that look like
//! tokens are never shown; a server that repeats them in its answer changes nothing about it.
//! Must not know: where it is shown.
use super::text;
use std::fmt;

/// The secrets of one URL.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

/// Shorter values are not looked for in texts: a `1` would blot out every digit.
const SECRET_CHARS_MIN: usize = 4;

impl Secrets {
    /// Adds a value that must not be shown.
    pub fn add(&mut self, value: &str) {
        if value.chars().count() >= SECRET_CHARS_MIN {
            self.0.push(value.to_owned());
            // The longest first, so that a secret inside another leaves no rest.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// Adds the values of a query that sound like keys, as written and decoded.
    pub fn add_query(&mut self, query: &str) {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        for (_, value) in pairs.filter(|(name, _)| sounds_secret(name)) {
            self.add(value);
            if let Ok(decoded) = text::decode(value) {
                self.add(&decoded);
            }
        }
    }

    /// Adds the segments of a path that look like tokens.
    pub fn add_path(&mut self, path: &str) {
        path.split('/').filter(|part| looks_like_token(part)).for_each(|part| self.add(part));
    }

    /// The text without the secrets.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// A query with its secret values hidden.
pub fn query(query: &str) -> String {
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if sounds_secret(name) || has_user(value) => format!("{name}=…"),
        None if looks_like_token(pair) => "…".to_owned(),
        _ => pair.to_owned(),
    };
    query.split('&').map(hide).collect::<Vec<_>>().join("&")
}

/// A path with what looks like tokens hidden.
pub fn path(path: &str) -> String {
    let hide = |part| if looks_like_token(part) { "…" } else { part };
    path.split('/').map(hide).collect::<Vec<_>>().join("/")
}

/// Whether a value is a URL with a user part, such as a proxy's.
fn has_user(value: &str) -> bool {
    text::decode(value).is_ok_and(|url| url.split_once("://").is_some_and(|(_, rest)| rest.contains('@')))
}

/// Whether a parameter of this name holds something that opens doors.
fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 11] =
        ["key", "token", "secret", "pass", "pwd", "auth", "sig", "cred", "code", "session", "jwt"];
    let name = name.to_ascii_lowercase();
    name.starts_with("header_") || WORDS.iter().any(|word| name.contains(word))
}

/// Collectors of some vendors put the key into the path.
fn looks_like_token(part: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"_-=+~%".contains(&b);
    let (digits, alphas) = part.bytes().fold((0, 0), |(digits, alphas), b| {
        (digits + usize::from(b.is_ascii_digit()), alphas + usize::from(b.is_ascii_alphabetic()))
    });
    part.len() >= 20 && part.bytes().all(letters) && digits >= 2 && alphas >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_like_a_key_is_hidden() {
        let text = "Api-Key=abcdef&format=json&ACCESS_TOKEN=x&sig=1&x";
        assert_eq!(query(text), "Api-Key=…&format=json&ACCESS_TOKEN=…&sig=…&x");
        assert_eq!(
            query("proxy=http://u:p@h:1&p2=socks5%3A%2F%2Fu%3Ap%40h&proxy=http://h"),
            "proxy=…&p2=…&proxy=http://h"
        );
        assert_eq!(path("/receiver/v1/http/ZaVnC4dhaV3-9876543210abc=="), "/receiver/v1/http/…");
        assert_eq!(path("/in/access-logs-of-frankfurt/1"), "/in/access-logs-of-frankfurt/1");
    }

    #[test]
    fn secrets_are_found_again_in_texts() {
        let mut secrets = Secrets::default();
        secrets.add("abc");
        secrets.add("hunter22");
        secrets.add("Bearer hunter22");
        secrets.add_query("token=q%2Br456&x=shown");
        assert_eq!(
            secrets.hide("no Bearer hunter22, hunter22, abc, q%2Br456 q+r456 shown"),
            "no …, …, abc, … … shown"
        );
        assert_eq!(format!("{secrets:?}"), "4 secrets");
    }
}

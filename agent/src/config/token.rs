//! Tokens of the admin API, and what each of them may do (`EDGEPUSH_API_TOKENS`).
//!
//! Promises: no token is ever in a problem or in `Debug`; an accepted list has no token twice.
//! Must not know: requests, jobs.
use super::value::{Secret, list};
use super::zones::id_fits;

/// What whoever sends a token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Sees jobs and figures.
    pub read: bool,
    /// Changes jobs and tries destinations.
    pub write: bool,
    /// Sees the secrets of destinations.
    pub secrets: bool,
    /// Only these zones and `accounts`; both empty: everything.
    pub zones: Vec<String>,
    /// Only these accounts and `zones`; both empty: everything.
    pub accounts: Vec<String>,
}

impl Rights {
    /// Whether they are for some zones or accounts only.
    pub fn are_restricted(&self) -> bool {
        !self.zones.is_empty() || !self.accounts.is_empty()
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// What is sent.
    pub token: Secret,
    /// What it opens.
    pub rights: Rights,
}

/// Reads a list of `scopes:token`: scopes are joined by `+`.
///
/// # Errors
/// All that is wrong, by the entries' numbers, without a token.
pub fn tokens(text: &str) -> Result<Vec<ApiToken>, String> {
    let (mut tokens, mut wrong): (Vec<ApiToken>, Vec<String>) = (Vec::new(), Vec::new());
    for (at, entry) in list(text).iter().enumerate() {
        match token(entry) {
            Ok(new) if tokens.iter().any(|old| old.token == new.token) => {
                wrong.push(format!("entry {} has the token of another entry", at + 1));
            }
            Ok(new) => tokens.push(new),
            Err(why) => wrong.push(format!("entry {} {why}", at + 1)),
        }
    }
    if wrong.is_empty() { Ok(tokens) } else { Err(wrong.join("; ")) }
}

fn token(entry: &str) -> Result<ApiToken, String> {
    let Some((scopes, token)) = entry.split_once(':') else {
        return Err("is not written scopes:token, like read+zone=023e:TOKEN".into());
    };
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a token that is not printable ASCII without spaces, to fit into a header".into());
    }
    let mut rights = Rights::default();
    for scope in scopes.split('+') {
        match scope.split_once('=') {
            None if scope == "read" => rights.read = true,
            None if scope == "write" => (rights.read, rights.write) = (true, true),
            None if scope == "secrets" => (rights.read, rights.secrets) = (true, true),
            Some(("zone", id)) if id_fits(id) => rights.zones.push(id.into()),
            Some(("account", id)) if id_fits(id) => rights.accounts.push(id.into()),
            // What stands before a colon may be a token that was pasted without scopes.
            _ => {
                return Err(
                    "has an unknown scope; known are read, write, secrets, zone=ID, account=ID".into()
                );
            }
        }
    }
    match rights.read {
        true => Ok(ApiToken { token: Secret::new(token), rights }),
        false => Err("has neither read nor write nor secrets, so that it opens nothing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read() {
        let read = tokens("read:A, write+secrets:B:x,read+zone=023e+zone=z2+account=a:C").unwrap();
        assert_eq!(read.iter().map(|t| t.token.expose()).collect::<Vec<_>>(), ["A", "B:x", "C"]);
        assert_eq!(read[0].rights, Rights { read: true, ..Rights::default() });
        assert_eq!(read[1].rights, Rights { read: true, write: true, secrets: true, ..Rights::default() });
        assert!(!read[1].rights.are_restricted() && read[2].rights.are_restricted());
        assert_eq!(
            (&read[2].rights.zones[..], &read[2].rights.accounts[..]),
            (&["023e".into(), "z2".into()][..], &["a".into()][..])
        );
        assert!(tokens("secrets:A").unwrap()[0].rights.read);
    }

    #[test]
    fn all_mistakes_are_told_without_a_token() {
        let said = tokens(
            "hunter1,read+hunter2:x,zone=a:hunter3,read:,read:hunter5,write:hunter5,read+zone=:hunter6",
        )
        .unwrap_err();
        for wanted in [
            "entry 1 is not written scopes:token",
            "entry 2 has an unknown scope",
            "entry 3 has neither",
            "entry 4 has a token that is not",
            "entry 6 has the token of another entry",
            "entry 7 has an unknown scope",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains("hunter"), "{said}");
    }
}

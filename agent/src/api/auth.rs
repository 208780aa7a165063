//! auth: who may ask the admin API what.
//!
//! Promises: comparing takes the same time wherever a token differs, and whichever it is; without any token a page in
//! a browser of this host cannot ask in the operator's name.
//! Must not know: routes, jobs.
use crate::config::{ApiToken, Rights, Secret};
use hyper::Method;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use std::net::IpAddr;

/// The tokens of the API.
#[derive(Clone, Debug, Default)]
pub struct Auth(Vec<ApiToken>);

/// Why somebody is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token, or none of ours.
    Unknown,
    /// There are no tokens, and the request comes from a page in a browser.
    Page,
}

impl Auth {
    /// `EDGEPUSH_API_TOKEN`, which has all rights, and `EDGEPUSH_API_TOKENS`.
    pub fn new(token: Option<Secret>, tokens: Vec<ApiToken>) -> Auth {
        let all = Rights { read: true, write: true, secrets: true, ..Rights::default() };
        Auth(token.map(|token| ApiToken { token, rights: all }).into_iter().chain(tokens).collect())
    }

    /// What whoever sends these headers may do. Without any token everyone on this host may do everything but see
    /// secrets.
    ///
    /// # Errors
    /// They may do nothing.
    pub fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Rights, Denied> {
        if self.0.is_empty() {
            return match comes_from_a_page(method, headers) {
                true => Err(Denied::Page),
                false => Ok(Rights { read: true, write: true, ..Rights::default() }),
            };
        }
        let said = sent_token(headers).ok_or(Denied::Unknown)?;
        let mut found = Err(Denied::Unknown);
        // Every token is compared, so that the time does not tell which one it was.
        for known in &self.0 {
            if known.token.is(said) {
                found = Ok(known.rights.clone());
            }
        }
        found
    }
}

impl Auth {
    /// Whether whoever sends these headers may see the figures of the whole host. Without any token everyone may.
    pub fn shows_host(&self, headers: &HeaderMap) -> bool {
        self.0.is_empty() || self.admit(&Method::GET, headers).is_ok_and(|rights| !rights.are_restricted())
    }
}

/// `Authorization: Bearer …`, or the key that stands beside an email.
fn sent_token(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(said) = headers.get(AUTHORIZATION) {
        let (scheme, said) = said.as_bytes().split_at_checked(7)?;
        return scheme.eq_ignore_ascii_case(b"Bearer ").then_some(said);
    }
    headers.get("x-auth-email")?;
    headers.get("x-auth-key").map(|key| key.as_bytes())
}

/// Browsers send `Origin` with every change, and a name that was pointed at this host in `Host`.
fn comes_from_a_page(method: &Method, headers: &HeaderMap) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let named = headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| !is_local(host));
    named || (!reads && headers.contains_key(ORIGIN))
}

/// Whether a `Host` cannot be a name of somebody else's: an address, or no dot in it.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || !name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn tokens_come_in_two_ways() {
        let tokens = crate::config::token::tokens("read:reader,write+zone=a:writer").unwrap();
        let auth = Auth::new(Some(Secret::new("all")), tokens);
        let admit = |pairs: &[_]| auth.admit(&Method::GET, &headers(pairs));
        assert!(admit(&[("authorization", "Bearer all")]).unwrap().secrets);
        assert!(!admit(&[("authorization", "bearer reader")]).unwrap().write);
        assert_eq!(admit(&[("x-auth-email", "a@b"), ("x-auth-key", "writer")]).unwrap().zones, ["a"]);
        for wrong in [
            &[][..],
            &[("authorization", "Basic all")],
            &[("authorization", "all")],
            &[("authorization", "Bearer al")],
            &[("x-auth-key", "all")],
            &[("authorization", "Bearer x"), ("x-auth-email", "a@b"), ("x-auth-key", "all")],
        ] {
            assert_eq!(admit(wrong), Err(Denied::Unknown), "{wrong:?}");
        }
    }

    #[test]
    fn without_a_token_only_this_hosts_programs_may_ask() {
        let auth = Auth::default();
        let put = |pairs: &[_]| auth.admit(&Method::PUT, &headers(pairs));
        for host in ["127.0.0.1:9600", "[::1]:9600", "localhost:9600", "localhost", "edge1"] {
            let rights = put(&[("host", host)]).unwrap();
            assert!(rights.write && !rights.secrets && !rights.are_restricted(), "{host}");
        }
        assert_eq!(put(&[("host", "evil.example:9600")]), Err(Denied::Page), "a name that was rebound");
        assert_eq!(put(&[("host", "localhost"), ("origin", "https://evil.example")]), Err(Denied::Page));
        assert!(auth.admit(&Method::GET, &headers(&[("host", "::1"), ("origin", "null")])).is_ok());
    }
}

//! Sign: how requests of the Logs API are signed (LOGPUSH 3.3), versions 1 and 2, and how URLs of files are.
//!
//! Promises: comparing takes the same time wherever a signature differs; every documented spelling of what is signed is
//! taken, and nothing else.
//! Must not know: which keys there are, the clock, which nonces were seen.
use super::times;
use crate::destination::text::hex;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{Method, Uri};
use ring::hmac;

/// What every `Authorization` begins with.
pub const SCHEME: &str = "HMAC-SHA256";
/// Longest id of a key, bytes.
const ID_BYTES_MAX: usize = 64;
/// Most digits of a nonce.
const NONCE_DIGITS_MAX: usize = 18;
/// Bytes of a URL's signature: the first 20 of an HMAC-SHA-256, 40 hex digits.
const URL_SIGN_BYTES: usize = 20;

/// What a request says of who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The key's id.
    pub key: String,
    /// What it was signed with, if the key is right.
    signature: Vec<u8>,
    /// When, s since the epoch.
    pub date: i64,
    date_text: String,
    /// A number that no two requests of one second share.
    pub nonce: u64,
    nonce_text: String,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Claim {
    /// Reads the headers.
    ///
    /// # Errors
    /// What is missing or malformed: it says nothing about keys.
    pub fn read(headers: &HeaderMap) -> Result<Claim, &'static str> {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().and_then(|value| value.to_str().ok());
            if values.next().is_some() { None } else { first.map(str::trim) }
        };
        let said = one(AUTHORIZATION.as_str())
            .ok_or("send Authorization: HMAC-SHA256 <access key id>:<signature>")?;
        let (key, signature) =
            credentials(said).ok_or("Authorization must be HMAC-SHA256 <access key id>:<64 hex digits>")?;
        let date_text = one("x-sfd-date").ok_or("send X-SFD-Date")?;
        let date = times::read_compact(date_text).ok_or("X-SFD-Date must be like 20180328T173013Z")?;
        let nonce_text = one("x-sfd-nonce").ok_or("send X-SFD-Nonce")?;
        let nonce = nonce(nonce_text).ok_or("X-SFD-Nonce must be a number of at most 18 digits")?;
        let version = match headers.contains_key("x-sfd-signature-version") {
            false => Version::One,
            true => match one("x-sfd-signature-version") {
                Some("1") => Version::One,
                Some("2") => Version::Two,
                _ => return Err("X-SFD-Signature-Version must be 1 or 2"),
            },
        };
        let (date_text, nonce_text) = (date_text.to_owned(), nonce_text.to_owned());
        Ok(Claim { key: key.to_owned(), signature, date, date_text, nonce, nonce_text, version })
    }

    /// Whether the holder of `secret` signed this request.
    pub fn is_of(&self, secret: &str, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut good = false;
        for (target, rest) in targets(method, uri, body) {
            for headers in self.canonical(headers) {
                let mut signing = hmac::Context::with_key(&key);
                for part in [method.as_str(), "\n", target, "\n", &headers, &self.key, "\n"] {
                    signing.update(part.as_bytes());
                }
                signing.update(rest);
                // Every spelling is tried, so that time does not tell which it was.
                good |= is_same(signing.sign().as_ref(), &self.signature);
            }
        }
        good
    }

    /// What stands between the target and the key's id, in every spelling.
    fn canonical(&self, headers: &HeaderMap) -> Vec<String> {
        if self.version == Version::One {
            return vec![format!("{}\n{}\n", self.date_text, self.nonce_text)];
        }
        let mut names: Vec<&str> =
            headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-sfd-")).collect();
        names.sort_unstable();
        let mut rest = String::new();
        for name in names {
            let values: Vec<&str> =
                headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(str::trim).collect();
            rest.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().trim();
        let lower = host.to_ascii_lowercase();
        let bare = lower.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let bare = bare.map_or(lower.as_str(), |(name, _)| name);
        let mut spellings: Vec<String> = Vec::new();
        // One page signs `host:NAME`, a newer one the name alone; clients differ about its port and its case.
        for name in [host, &lower, bare] {
            for spelling in [format!("host:{name}\n{rest}\n"), format!("{name}\n{rest}\n")] {
                if !spellings.contains(&spelling) {
                    spellings.push(spelling);
                }
            }
        }
        spellings
    }
}

/// What is signed as URI and as body. Without a body (GET) the parameters stand in its place, or in the URI.
fn targets<'a>(method: &Method, uri: &'a Uri, body: &'a [u8]) -> Vec<(&'a str, &'a [u8])> {
    let whole = uri.path_and_query().map_or(uri.path(), |both| both.as_str());
    match uri.query() {
        None => vec![(uri.path(), body)],
        Some(query) if *method == Method::GET => vec![(uri.path(), query.as_bytes()), (whole, body)],
        Some(_) => vec![(whole, body)],
    }
}

/// Id and signature of an `Authorization`.
pub fn credentials(said: &str) -> Option<(&str, Vec<u8>)> {
    let (scheme, rest) = said.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let (id, signature) = rest.trim_start_matches(' ').split_once(':')?;
    let is_id = !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let signature = unhex(signature).filter(|signature| signature.len() == 32)?;
    is_id.then_some((id, signature))
}

fn nonce(text: &str) -> Option<u64> {
    let digits = (1..=NONCE_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The signature of a file's URL: `path` without its first `/`, `expire` in s since the epoch.
pub fn url(secret: &str, path: &str, expire: i64, key: &str) -> String {
    let mac = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    // The first word keeps a request's signature from ever being a URL's.
    let text = format!("edgepush-url\n/{path}\n{expire}\n{key}");
    hex(&hmac::sign(&mac, text.as_bytes()).as_ref()[..URL_SIGN_BYTES])
}

/// Whether a file's URL was signed with `secret`.
pub fn is_url(secret: &str, path: &str, expire: i64, key: &str, sign: &str) -> bool {
    is_same(url(secret, path, expire, key).as_bytes(), sign.as_bytes())
}

/// In the same time wherever they differ.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks(2).map(|two| Some(digit(two[0])? << 4 | digit(two[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "28G5nC2zw143m25026n9H11PwNYs4576";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| name.parse::<hyper::header::HeaderName>().unwrap();
        pairs.iter().map(|(n, value)| (name(n), value.parse().unwrap())).collect()
    }

    fn signed(text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        format!("HMAC-SHA256 6vE59B1z4p174N25:{}", hex(hmac::sign(&key, text.as_bytes()).as_ref()))
    }

    fn is_good(pairs: &[(&str, &str)], method: &Method, uri: &str, body: &[u8]) -> bool {
        let headers = headers(pairs);
        Claim::read(&headers).unwrap().is_of(SECRET, method, &uri.parse().unwrap(), &headers, body)
    }

    #[test]
    fn version_1_is_that_of_the_fact_sheet() {
        let text = "POST\n/v1.1/log/list\n20190401T131000Z\n69527\n6vE59B1z4p174N25\n{}";
        let own = signed(text);
        let all = [("authorization", &*own), ("x-sfd-date", "20190401T131000Z"), ("x-sfd-nonce", "69527")];
        assert!(is_good(&all, &Method::POST, "/v1.1/log/list", b"{}"));
        assert!(!is_good(&all, &Method::POST, "/v1.1/log/list", b"{ }"));
        assert!(!is_good(&all, &Method::POST, "/v1.1/log/list2", b"{}"));
        assert!(!is_good(&all, &Method::PUT, "/v1.1/log/list", b"{}"));
        for changed in
            [("x-sfd-date", "20190401T131001Z"), ("x-sfd-nonce", "69528"), ("x-sfd-nonce", "069527")]
        {
            let mut other = all;
            *other.iter_mut().find(|(name, _)| *name == changed.0).unwrap() = changed;
            assert!(!is_good(&other, &Method::POST, "/v1.1/log/list", b"{}"), "{changed:?}");
        }
        let own =
            signed("GET\n/lls/v1.0/logs/delivery\n20190401T131000Z\n1\n6vE59B1z4p174N25\ndomain=a&domain=b");
        let all = [("authorization", &*own), ("x-sfd-date", "20190401T131000Z"), ("x-sfd-nonce", "1")];
        assert!(is_good(&all, &Method::GET, "/lls/v1.0/logs/delivery?domain=a&domain=b", b""));
        assert!(!is_good(&all, &Method::GET, "/lls/v1.0/logs/delivery?domain=a", b""));
    }

    #[test]
    fn version_2_signs_every_header_of_its_own() {
        let rest =
            "x-sfd-date:20190401T131000Z\nx-sfd-fzone:a,b\nx-sfd-nonce:69527\nx-sfd-signature-version:2\n";
        let end = "\n6vE59B1z4p174N25\n{}";
        for host in ["host:Logs.example:9601\n", "host:logs.example\n", "logs.example:9601\n"] {
            let own = signed(&format!("POST\n/v1.1/log/list\n{host}{rest}{end}"));
            let all = [
                ("authorization", &*own),
                ("host", "Logs.example:9601"),
                ("x-sfd-nonce", "69527"),
                ("x-sfd-date", "20190401T131000Z"),
                ("x-sfd-signature-version", "2"),
                ("x-sfd-fzone", "a"),
                ("x-sfd-fzone", " b"),
            ];
            assert!(is_good(&all, &Method::POST, "/v1.1/log/list", b"{}"), "{host}");
            assert!(!is_good(&all[..6], &Method::POST, "/v1.1/log/list", b"{}"), "{host}");
            let mut other = all;
            other[1].1 = "other.example:9601";
            assert!(!is_good(&other, &Method::POST, "/v1.1/log/list", b"{}"), "{host}");
        }
    }

    #[test]
    fn headers_that_are_wrong_are_told() {
        let own = signed("");
        let all = [("authorization", &*own), ("x-sfd-date", "20190401T131000Z"), ("x-sfd-nonce", "69527")];
        assert!(Claim::read(&headers(&all)).is_ok());
        for without in 0..3 {
            let rest: Vec<_> =
                all.iter().enumerate().filter(|(i, _)| *i != without).map(|(_, p)| *p).collect();
            assert!(Claim::read(&headers(&rest)).is_err(), "{without}");
        }
        for (name, value) in [
            ("x-sfd-date", "20190401131000Z"),
            ("x-sfd-nonce", ""),
            ("x-sfd-nonce", "1234567890123456789"),
            ("x-sfd-nonce", "+1"),
            ("x-sfd-signature-version", "3"),
            ("authorization", "Bearer x"),
        ] {
            let mut all: Vec<_> = all.into_iter().filter(|(other, _)| *other != name).collect();
            all.push((name, value));
            assert!(Claim::read(&headers(&all)).is_err(), "{name}: {value}");
        }
        let twice = [all[0], all[1], all[2], ("x-sfd-nonce", "69527")];
        assert!(Claim::read(&headers(&twice)).is_err());
    }

    #[test]
    fn a_url_is_good_for_its_file_end_and_key() {
        let sign = url(SECRET, "a/20190401/f", 7, "k");
        assert_eq!(sign.len(), 40);
        assert!(is_url(SECRET, "a/20190401/f", 7, "k", &sign));
        for (path, expire, key) in
            [("a/20190401/g", 7, "k"), ("a/20190401/f", 8, "k"), ("a/20190401/f", 7, "l")]
        {
            assert!(!is_url(SECRET, path, expire, key, &sign));
        }
        assert!(!is_url("other", "a/20190401/f", 7, "k", &sign));
        assert!(!is_url(SECRET, "a/20190401/f", 7, "k", &sign.to_uppercase()));
        assert!(!is_url(SECRET, "a/20190401/f", 7, "k", ""));
    }

    proptest! {
        #[test]
        fn any_authorization_is_read_or_refused(text in "\\PC*|(HMAC-SHA256|hmac-sha256) {0,3}[A-Za-z0-9:/]{0,70}:?[0-9a-fA-Fg]{60,66}") {
            if let Some((id, signature)) = credentials(&text) {
                prop_assert_eq!(signature.len(), 32);
                prop_assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()));
                let (_, said) = text.rsplit_once(':').unwrap();
                prop_assert_eq!(hex(&signature), said.to_lowercase());
            }
        }
    }
}

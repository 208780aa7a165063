//! challenge: the proof that whoever names a destination can read what is written there (LOGPUSH 1.10).
//!
//! A token is a JWT (RFC 7519, HS256) of the owner, a keyed hash of the whole destination and an end. It is written
//! into the destination; who reads it there and sends it back is its owner.
//! Promises: a token says nothing about the destination's secrets; it is good for one owner, one destination to the
//! byte, and 7 days; only the holder of the secret can make one.
//! Must not know: destinations, requests, the clock (it comes in).
use super::Owner;
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The object that a token is written into.
pub const OBJECT: &str = "ownership-challenge.txt";
/// How long a token is good, seconds.
pub const LIFE_SECONDS: i64 = 7 * 86_400;
/// Longest token that is looked at, bytes; ours are a tenth of it.
const TOKEN_BYTES_MAX: usize = 4096;

/// Makes tokens and judges them.
pub struct Challenges(hmac::Key);

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenges")
    }
}

#[derive(Deserialize, PartialEq, Serialize)]
struct Header {
    alg: String,
    typ: String,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    /// `zones/ID` or `accounts/ID`.
    sub: Owner,
    /// Keyed hash of the destination, base64url.
    dst: String,
    /// Unix seconds.
    exp: i64,
}

impl Challenges {
    /// `secret` must outlive restarts, or tokens do not.
    pub fn new(secret: &[u8; 32]) -> Challenges {
        Challenges(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A token for `owner` and the destination, as of `now` (Unix seconds).
    pub fn issue(&self, owner: &Owner, destination: &str, now: i64) -> String {
        let header = Header { alg: "HS256".into(), typ: "JWT".into() };
        let claims = Claims { sub: owner.clone(), dst: self.mark(destination), exp: now + LIFE_SECONDS };
        let part = |json: serde_json::Result<Vec<u8>>| encode(&json.expect("INVARIANT: texts and numbers"));
        let signed = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(&claims)));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", encode(tag.as_ref()))
    }

    /// Whether a token proves that the destination is the owner's, at `now` (Unix seconds).
    pub fn is_good(&self, token: &str, owner: &Owner, destination: &str, now: i64) -> bool {
        self.claims(token.trim()).is_some_and(|claims| {
            claims.sub == *owner
                && claims.dst == self.mark(destination)
                && (now..=now + LIFE_SECONDS).contains(&claims.exp)
        })
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, tag) = token.rsplit_once('.')?;
        hmac::verify(&self.0, signed.as_bytes(), &decode(tag)?).ok()?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.alg != "HS256" {
            return None;
        }
        serde_json::from_slice(&decode(claims)?).ok()
    }

    /// Keyed, so that a short password in a destination cannot be guessed from a token.
    fn mark(&self, destination: &str) -> String {
        let mut text = b"edgepush destination\0".to_vec();
        text.extend_from_slice(destination.as_bytes());
        encode(hmac::sign(&self.0, &text).as_ref())
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 4648 5).
fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().chain(&[0, 0]).take(3).fold(0u32, |bits, b| bits << 8 | u32::from(*b));
        let letters = (0..=three.len()).map(|i| char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]));
        out.extend(letters);
    }
    out
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for letter in four {
            let value = LETTERS.iter().position(|l| l == letter)?;
            bits = bits << 6 | value as u32;
        }
        let bytes = (bits << (6 * (4 - four.len()))).to_be_bytes();
        out.extend_from_slice(&bytes[1..four.len().max(1)]);
        if four.len() == 1 {
            return None;
        }
    }
    // Two texts must never be one token.
    (encode(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TO: &str = "s3://bucket/logs?region=eu";

    #[test]
    fn a_token_is_good_for_its_owner_destination_and_time() {
        let (ours, theirs) = (Challenges::new(&[7; 32]), Challenges::new(&[8; 32]));
        let owner = Owner::Zone("023e".into());
        let token = ours.issue(&owner, TO, 1000);
        assert_eq!(token.split('.').count(), 3);
        assert!(ours.is_good(&token, &owner, TO, 1000));
        assert!(
            ours.is_good(&format!(" {token}\n"), &owner, TO, 1000 + LIFE_SECONDS),
            "pasted with a line end"
        );
        assert!(!ours.is_good(&token, &owner, TO, 1001 + LIFE_SECONDS));
        assert!(!ours.is_good(&token, &owner, TO, 999), "made in the future");
        assert!(!ours.is_good(&token, &Owner::Account("023e".into()), TO, 1000));
        assert!(!ours.is_good(&token, &owner, "s3://bucket/logs?region=eu ", 1000));
        assert!(!theirs.is_good(&token, &owner, TO, 1000));
        for text in ["", ".", "..", "a.b.c", &token[1..], &token[..token.len() - 1], &format!("{token}A")] {
            assert!(!ours.is_good(text, &owner, TO, 1000), "{text}");
        }
        let payload = decode(token.split('.').nth(1).unwrap()).unwrap();
        assert!(!String::from_utf8(payload).unwrap().contains("bucket"));
    }

    #[test]
    fn no_letter_of_a_token_can_be_changed() {
        let ours = Challenges::new(&[7; 32]);
        let token = ours.issue(&Owner::local(), TO, 1000);
        for at in 0..token.len() {
            for letter in ["A", "9", "."] {
                let mut other = token.clone();
                other.replace_range(at..=at, letter);
                let same = other == token;
                assert_eq!(ours.is_good(&other, &Owner::local(), TO, 1000), same, "{at} {letter}");
            }
        }
    }

    #[test]
    fn base64url_is_that_of_the_rfc() {
        for (plain, encoded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(encode(plain.as_bytes()), encoded);
            assert_eq!(decode(encoded).unwrap(), plain.as_bytes());
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        for bad in ["Z", "Zh", "Zm9=", "Zm 9", "é"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}

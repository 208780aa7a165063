//! sign: AWS Signature Version 4 in the header `Authorization`, as S3 wants it.
//!
//! Promises: pure; every header of the request is signed but those that belong to the connection; tested with the
//! examples that AWS publishes and against botocore.
//! Must not know: where keys come from, which clock is right.
use crate::destination::text::{encode_but, hex};
use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use ring::{digest, hmac};

/// What a request is signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token of temporary keys.
    pub token: Option<String>,
}

/// A request, as much of it as is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path and query.
    pub uri: &'a Uri,
    /// Its headers, `Host`, `x-amz-date` and `x-amz-content-sha256` among them.
    pub headers: &'a HeaderMap,
    /// SHA-256 of its body in hexadecimal digits.
    pub payload: &'a str,
}

/// Headers that the connection, and whoever stands in between, may change.
const UNSIGNED: [&str; 9] = [
    "authorization",
    "user-agent",
    "content-length",
    "transfer-encoding",
    "connection",
    "expect",
    "accept",
    "accept-encoding",
    "te",
];

/// `20130524T000000Z`
pub fn stamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of `Authorization`. `at`: [`stamp`].
pub fn authorization(request: Signed<'_>, keys: &Keys, region: &str, at: &str) -> String {
    let day = &at[..8];
    let (headers, names) = canonical_headers(request.headers);
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        request.method,
        canonical_path(request.uri.path()),
        canonical_query(request.uri.query().unwrap_or("")),
        request.payload,
    );
    let scope = format!("{day}/{region}/s3/aws4_request");
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{hash}");
    let mut key = sha(format!("AWS4{}", keys.secret).as_bytes(), day);
    for part in [region, "s3", "aws4_request"] {
        key = sha(key.as_ref(), part);
    }
    let signature = hex(sha(key.as_ref(), &text).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}", keys.id)
}

fn sha(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// Headers by name with their values on one line, and the list of the names.
fn canonical_headers(headers: &HeaderMap) -> (String, String) {
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.retain(|name| !UNSIGNED.contains(name));
    names.sort_unstable();
    let line = |name: &&str| {
        let values = headers.get_all(*name).iter().map(|value| {
            String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" ")
        });
        format!("{name}:{}\n", values.collect::<Vec<_>>().join(","))
    };
    (names.iter().map(line).collect(), names.join(";"))
}

/// S3 encodes a path once, and neither joins nor removes its segments.
fn canonical_path(path: &str) -> String {
    encode_but(&decode(path), |b| b == b'/')
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode_but(&decode(name), |_| false), encode_but(&decode(value), |_| false))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Undoes percent-encoding; a `%` that begins none stays.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16));
        rest = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                &tail[2..]
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The examples of "Authenticating Requests (AWS Signature Version 4)" in the S3 API reference.
    #[test]
    fn the_signatures_are_those_that_aws_publishes() {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let put = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let extra: [(&str, &str); 3] = [
            ("range", "bytes=0-9"),
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        for (method, target, payload, more, want) in [
            (
                Method::GET,
                "/test.txt",
                EMPTY,
                &extra[..1],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                Method::PUT,
                "/test$file.text",
                put,
                &extra[1..],
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                Method::GET,
                "/?lifecycle",
                EMPTY,
                &[][..],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                Method::GET,
                "/?max-keys=2&prefix=J",
                EMPTY,
                &[][..],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let mut headers = HeaderMap::new();
            let own = [
                ("host", "examplebucket.s3.amazonaws.com"),
                ("x-amz-date", "20130524T000000Z"),
                ("x-amz-content-sha256", payload),
                ("user-agent", "not signed"),
            ];
            for (name, value) in own.iter().chain(more) {
                headers.insert(*name, value.parse().expect("a value"));
            }
            let uri: Uri = format!("https://examplebucket.s3.amazonaws.com{target}").parse().expect("a URI");
            let request = Signed { method: &method, uri: &uri, headers: &headers, payload };
            let said = authorization(request, &keys, "us-east-1", "20130524T000000Z");
            assert!(said.ends_with(&format!(",Signature={want}")), "{target}: {said}");
        }
    }

    #[test]
    fn paths_and_queries_have_one_spelling() {
        assert_eq!(canonical_path("/a%20b/c+d/%c3%bc/(e)=f"), "/a%20b/c%2Bd/%C3%BC/%28e%29%3Df");
        assert_eq!(canonical_query("uploads"), "uploads=");
        assert_eq!(canonical_query("uploadId=a%2Bb~c&partNumber=10"), "partNumber=10&uploadId=a%2Bb~c");
        assert_eq!(stamp("2013-05-24T01:02:03.9Z".parse().expect("a time")), "20130524T010203Z");
    }
}

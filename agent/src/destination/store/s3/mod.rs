//! `s3://` and `r2://`: objects in a bucket that speaks the S3 protocol.
//!
//! Promises: what the URL has wrong is told all at once, without its keys; requests are signed here, because a store's
//! ACL, checksums and clock are part of what is signed; which stores are asked for a new name, and which take the
//! same object again, is one table ([`Address::mode`]).
//! Must not know: what an answer means, when to try again.
mod address;
mod credentials;
mod profile;
pub mod sign;
mod signer;

pub use credentials::Environment;
pub use signer::Clock;

use super::{
    Manner, Mode, Parts, StoreDestination,
    connector::{Connect, Link},
    once,
};
use crate::config::value::bytes;
use crate::destination::kind::OwnParameter;
use crate::destination::{Destination, DestinationUrl, Opening};
use address::Address;
use credentials::{Credentials, Seeking};
use hyper::header::{HeaderName, HeaderValue};
use object_store::aws::AmazonS3Builder;
use sign::Keys;
use signer::{Checksum, Signer};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// S3 takes parts of 5 MiB and more, the last one excepted.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// Larger parts would be sent again whole for each lost connection.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// S3 takes no larger object in one request.
const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

const fn own(name: &'static str, takes: &'static str, fits: fn(&str) -> bool) -> OwnParameter {
    OwnParameter { name, takes, secret: false, fits }
}

const fn secret(name: &'static str, takes: &'static str) -> OwnParameter {
    OwnParameter { name, takes, secret: true, fits: is_key }
}

const ACCESS_KEY_ID: OwnParameter = secret("access-key-id", "the id of an access key");
const SECRET_ACCESS_KEY: OwnParameter = secret("secret-access-key", "the secret of the access key");
const CHECKSUM: OwnParameter =
    own("checksum", "`crc32`, `sha256` or `none`", |value| matches!(value, "crc32" | "sha256" | "none"));
const OVERWRITE: OwnParameter = own("overwrite", "`yes` or `no`", |value| matches!(value, "yes" | "no"));
const PART_SIZE: OwnParameter = own("part-size", "a size from 5MiB to 64MiB", |value| {
    bytes(value).is_ok_and(|size| (PART_BYTES_MIN..=PART_BYTES_MAX).contains(&size.0))
});
const PARTS_ABOVE: OwnParameter = own("parts-above", "a size from 5MiB to 5GiB", |value| {
    bytes(value).is_ok_and(|size| (PART_BYTES_MIN..=PUT_BYTES_MAX).contains(&size.0))
});

/// The parameters of `s3://`.
pub const S3: &[OwnParameter] = &[
    own("region", "a region like `eu-central-1`", is_word),
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    secret("session-token", "the session token of temporary keys"),
    own("profile", "the name of a profile in ~/.aws/credentials", |value| !value.is_empty()),
    own(
        "endpoint",
        "`host`, `host:port` or either with `https://` or `http://` before it",
        address::is_endpoint,
    ),
    own("addressing", "`path` or `virtual`", |value| matches!(value, "path" | "virtual")),
    own("sse", "`AES256`, `aws:kms` or `aws:kms:dsse`", |value| {
        matches!(value, "AES256" | "aws:kms" | "aws:kms:dsse")
    }),
    own("kms-key-id", "the id or ARN of a KMS key", is_key),
    own("storage-class", "a class like `STANDARD_IA`", |value| {
        !value.is_empty() && value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    }),
    own("acl", "a canned ACL like `bucket-owner-full-control`", |value| ACLS.contains(&value)),
    CHECKSUM,
    OVERWRITE,
    PART_SIZE,
    PARTS_ABOVE,
];

/// The parameters of `r2://`.
pub const R2: &[OwnParameter] = &[
    own("account-id", "the id of the account, 32 hexadecimal digits", |value| {
        value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit())
    }),
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    own("jurisdiction", "`eu` or `fedramp`", |value| matches!(value, "eu" | "fedramp")),
    CHECKSUM,
    OVERWRITE,
    PART_SIZE,
    PARTS_ABOVE,
];

const ACLS: [&str; 8] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
];

fn is_key(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic())
}

fn is_word(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Makes the destination. Touches nothing but the environment.
///
/// # Errors
/// All that is wrong with the URL, in plain words.
pub fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    open(url, with, jiff::Timestamp::now, &|name| std::env::var(name).ok())
}

/// As [`build`], with another clock and another environment. For tests of wrong clocks.
///
/// # Errors
/// As [`build`].
pub fn open(
    url: &DestinationUrl,
    with: &Opening<'_>,
    clock: Clock,
    environment: Environment<'_>,
) -> Result<Arc<dyn Destination>, String> {
    let address = address::of(url, environment);
    let keys = keys(url);
    let extra = headers(url);
    let wrong: Vec<String> = [address.as_ref().err(), keys.as_ref().err(), extra.as_ref().err()]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let (Ok(address), Ok(keys), Ok(headers)) = (address, keys, extra) else {
        return Err(format!("{url}: {}", wrong.join("; ")));
    };
    let client = with.clients.of(&url.link_to(address.url.starts_with("https://")))?;
    let borrows_keys = keys.is_none();
    let seeking = Seeking {
        keys,
        profile: url.own("profile"),
        region: &address.region,
        aws: address.aws,
        clients: with.clients,
    };
    let credentials = Credentials::find(&seeking, environment).map_err(|why| format!("{url}: {why}"))?;
    let mode = address.mode(url.own("overwrite"));
    let signer = Signer {
        link: Link::new(client),
        credentials,
        region: address.region.clone(),
        headers,
        checksum: checksum(url.own("checksum"), &address),
        create_parts: mode == Mode::CreateOnly && address.creates_parts(url.own("overwrite")),
        clock,
        ahead: AtomicI64::new(0),
        shown: url.to_string(),
    };
    let store = AmazonS3Builder::new()
        .with_bucket_name(url.bucket())
        .with_region(&address.region)
        .with_endpoint(&address.url)
        // The address names the bucket already, in its host or in its path.
        .with_virtual_hosted_style_request(true)
        .with_skip_signature(true)
        .with_disable_bulk_delete(true)
        .with_allow_http(true)
        .with_retry(once())
        .with_http_connector(Connect(Arc::new(signer)))
        .build()
        .map_err(|e| format!("{url}: {e}"))?;
    let manner = Manner { mode, parts: parts(url), encoded: url.content_encoding(), strip: String::new() };
    Ok(Arc::new(StoreDestination::new(Arc::new(store), manner, url).borrowing_keys(borrows_keys)))
}

/// The keys in the URL.
fn keys(url: &DestinationUrl) -> Result<Option<Keys>, String> {
    match (url.own("access-key-id"), url.own("secret-access-key"), url.own("session-token")) {
        (Some(id), Some(secret), token) => {
            if url.own("profile").is_some() {
                return Err("has both keys and profile=; leave one out".into());
            }
            Ok(Some(Keys { id: id.into(), secret: secret.into(), token: token.map(str::to_owned) }))
        }
        (None, None, None) => Ok(None),
        (None, None, Some(_)) => {
            Err("has session-token= without access-key-id= and secret-access-key=".into())
        }
        (Some(_), None, _) => Err("has access-key-id= without secret-access-key=".into()),
        (None, Some(_), _) => Err("has secret-access-key= without access-key-id=".into()),
    }
}

/// What every new object is asked to be.
fn headers(url: &DestinationUrl) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if url.own("kms-key-id").is_some() && !url.own("sse").is_some_and(|sse| sse.starts_with("aws:kms")) {
        return Err("has kms-key-id= without sse=aws:kms".into());
    }
    let named = [
        ("sse", "x-amz-server-side-encryption"),
        ("kms-key-id", "x-amz-server-side-encryption-aws-kms-key-id"),
        ("storage-class", "x-amz-storage-class"),
        ("acl", "x-amz-acl"),
    ];
    let given = named.iter().filter_map(|(own, header)| Some((url.own(own)?, *header)));
    let header = |(value, name): (&str, &'static str)| {
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("has a value that {name} cannot have"))?;
        Ok((HeaderName::from_static(name), value))
    };
    given.map(header).collect()
}

/// AWS and R2 know checksums of their own headers; of other stores the older ones refuse or ignore them.
fn checksum(asked: Option<&str>, address: &Address) -> Checksum {
    match asked {
        Some("crc32") => Checksum::Crc32,
        Some("sha256") => Checksum::Sha256,
        Some(_) => Checksum::Off,
        None if address.aws || address.r2 => Checksum::Crc32,
        None => Checksum::Off,
    }
}

fn parts(url: &DestinationUrl) -> Parts {
    let size = |name: &str| url.own(name).and_then(|text| bytes(text).ok()).map(|size| size.0);
    let usual = Parts::default();
    let part_bytes = size("part-size").and_then(|size| usize::try_from(size).ok());
    Parts {
        over_bytes: size("parts-above").unwrap_or(usual.over_bytes),
        part_bytes: part_bytes.unwrap_or(usual.part_bytes),
        ..usual
    }
}

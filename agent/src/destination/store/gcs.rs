//! `gs://bucket/path`: Google Cloud Storage, by its own API or, with HMAC keys, by the one that it shares with S3.
//!
//! Promises: an object is created once and never replaced; who we are is found where Google's own tools look for it; a
//! token goes nowhere but to the store.
//! Must not know: how requests are made, what an answer means.
mod json;
mod token;

use super::super::client;
use super::super::kind::{Opening, OwnParameter};
use super::super::{Destination, DestinationUrl};
use super::connector::{Link, Said, unable};
use super::s3::{self, Clock, Environment};
use super::{Manner, Mode, Parts, StoreDestination};
use hyper::{Method, Uri};
use json::Bucket;
use object_store::client::{HttpRequest, HttpRequestBody};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use token::{Identity, Tokens};

/// Where Cloud Storage is.
const GOOGLE: &str = "https://storage.googleapis.com";
/// Where a machine of Google tells who it is.
const MACHINE: &str = "metadata.google.internal";
/// Where `gcloud auth application-default login` leaves its credentials, below the home directory.
const GCLOUD: &str = ".config/gcloud/application_default_credentials.json";

const fn own(name: &'static str, takes: &'static str, fits: fn(&str) -> bool) -> OwnParameter {
    OwnParameter { name, takes, secret: false, fits }
}

/// The parameters of `gs://`.
pub const PARAMETERS: &[OwnParameter] = &[
    own("service-account", "the absolute path of a credentials file", is_file),
    own(
        "endpoint",
        "a URL without a query, like `https://storage.europe-west3.rep.googleapis.com`",
        is_endpoint,
    ),
    OwnParameter { secret: true, ..own("access-key-id", "the id of an HMAC key", is_key) },
    OwnParameter { secret: true, ..own("secret-access-key", "the secret of the HMAC key", is_key) },
];

fn is_file(text: &str) -> bool {
    text.starts_with('/')
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a text is where a store can be.
pub fn is_endpoint(text: &str) -> bool {
    let web = text.starts_with("http://") || text.starts_with("https://");
    let uri = text.parse::<Uri>().ok().filter(|_| web && !text.contains(['?', '#', '@']));
    uri.is_some_and(|uri| uri.host().is_some_and(|host| !host.is_empty()))
}

/// Makes the destination. Touches nothing but the environment and the credentials file.
///
/// # Errors
/// What is wrong with the URL or with the credentials file.
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
    if url.own("access-key-id").or(url.own("secret-access-key")).is_some() {
        if url.own("service-account").is_some() {
            return Err(format!("{url}: has both an HMAC key and service-account=; leave one out"));
        }
        return s3::open(url, with, clock, environment);
    }
    let endpoint = url.own("endpoint").unwrap_or(GOOGLE);
    let identity = identity(url, environment);
    // Tokens come from Google's own, whatever the store is.
    let to_tokens = match &identity {
        Identity::File(file) => {
            let uri = token::check(file).map_err(|why| format!("{url}: {why}"))?;
            client::Link::public(uri.starts_with("https:"))
        }
        Identity::Machine(_) | Identity::Nobody => client::Link::machine(),
    };
    let borrows_keys = identity != Identity::Nobody;
    let link = |to: &client::Link| with.clients.of(to).map(Link::new);
    let tokens = Tokens::new(identity, link(&to_tokens)?, clock);
    let bucket =
        Bucket::new(link(&url.link_to(endpoint.starts_with("https:")))?, tokens, endpoint, url.bucket());
    // Large objects are sent in pieces by the API itself, under the same condition as small ones.
    let parts = Parts { over_bytes: u64::MAX, ..Parts::default() };
    let manner =
        Manner { mode: Mode::CreateOnly, parts, encoded: url.content_encoding(), strip: String::new() };
    Ok(Arc::new(StoreDestination::new(Arc::new(bucket), manner, url).borrowing_keys(borrows_keys)))
}

/// Who we are: what the URL says, what the environment says, what `gcloud` left, the machine.
fn identity(url: &DestinationUrl, environment: Environment<'_>) -> Identity {
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let named = url.own("service-account").map(str::to_owned);
    let named = named.or_else(|| environment("GOOGLE_APPLICATION_CREDENTIALS"));
    if let Some(file) = named.or_else(|| environment("GOOGLE_SERVICE_ACCOUNT")) {
        return Identity::File(PathBuf::from(file));
    }
    // A token never goes over a wire that everybody reads, unless a file for it is named.
    if url.own("endpoint").is_some_and(|endpoint| endpoint.starts_with("http:")) {
        return Identity::Nobody;
    }
    let left = environment("HOME").map(|home| Path::new(&home).join(GCLOUD)).filter(|file| file.exists());
    match left {
        Some(file) => Identity::File(file),
        None => Identity::Machine(environment("GCE_METADATA_HOST").unwrap_or_else(|| MACHINE.to_owned())),
    }
}

fn request(method: Method, url: &str) -> Result<HttpRequest, Said> {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().map_err(|_| unable(format!("`{url}` is no URL")))?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str, environment: &[(&str, &str)]) -> Identity {
        let url = DestinationUrl::parse(url).expect("a URL");
        identity(&url, &|name| environment.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
    }

    #[test]
    fn identities_are_found_in_their_order() {
        let home = tempfile::tempdir().expect("a directory");
        let file = |path: &str| Identity::File(PathBuf::from(path));
        let both = [("GOOGLE_SERVICE_ACCOUNT", "/b"), ("GOOGLE_APPLICATION_CREDENTIALS", "/a")];
        assert!(found("gs://b/p?service-account=/c", &both) == file("/c"));
        assert!(found("gs://b/p", &both) == file("/a"));
        assert!(found("gs://b/p", &both[..1]) == file("/b"));
        assert!(found("gs://b/p?endpoint=http://127.0.0.1:1", &both[..1]) == file("/b"));
        let at_home = [("HOME", home.path().to_str().expect("a path")), ("GCE_METADATA_HOST", "h:1")];
        assert!(found("gs://b/p", &at_home[..1]) == Identity::Machine(MACHINE.into()));
        assert!(found("gs://b/p", &at_home) == Identity::Machine("h:1".into()));
        assert!(found("gs://b/p?endpoint=http://127.0.0.1:1", &at_home) == Identity::Nobody);
        assert!(found("gs://b/p?endpoint=https://h", &at_home) == Identity::Machine("h:1".into()));
        std::fs::create_dir_all(home.path().join(".config/gcloud")).expect("a directory");
        std::fs::write(home.path().join(GCLOUD), "{}").expect("a file");
        assert!(found("gs://b/p", &at_home) == Identity::File(home.path().join(GCLOUD)));
    }

    #[test]
    fn endpoints_are_urls_without_a_query() {
        assert!(is_endpoint("http://127.0.0.1:10000/devstoreaccount1") && is_endpoint("https://h"));
        for text in ["", "h", "ftp://h", "https://", "https://h?x", "https://u@h", "http:///x"] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}

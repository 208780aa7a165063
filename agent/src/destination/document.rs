//! document: GETs a text from an `http(s)://` URL, with the headers, certificates and clients that destinations have.
//!
//! Promises: what is given is a whole body of a 200; no time-out and no bound is missing; no secret of the URL is said.
//! Must not know: what the text is.
use super::body::UploadBody;
use super::client::{Clients, HttpClient};
use super::proof::Proof;
use super::redact::Secrets;
use super::url::DestinationUrl;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::header::{CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time of a whole exchange, and more of it for each MB that may come.
const TOTAL: Duration = Duration::from_secs(20);

/// A document that can be asked for.
pub struct Fetch {
    uri: Uri,
    headers: HeaderMap,
    client: HttpClient,
    shown: String,
    secrets: Secrets,
    proof: Proof,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is what the `ETag` names.
    Same,
    /// This.
    New {
        /// The whole of it; never empty.
        body: Vec<u8>,
        /// Its name for the next time.
        etag: Option<String>,
    },
}

impl Fetch {
    /// Reads the URL, with `header_X=v` and `ca=` as destinations have them. Touches nothing but `ca=`'s file.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub fn new(url: &str, clients: &Clients) -> Result<Fetch, String> {
        let url = DestinationUrl::parse(url)?;
        let target = url.web().ok_or("must begin with https:// or http://")?;
        let uri = target.url.parse().map_err(|_| "is not a URL".to_owned())?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("edgepush/", env!("CARGO_PKG_VERSION"))));
        headers.extend(target.headers);
        let client = clients.of(&url.link())?;
        let proof = Proof::open(&target.proof)?;
        Ok(Fetch { uri, headers, client, shown: target.shown, secrets: target.secrets, proof })
    }

    /// The URL without its secrets.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Asks for it, unless it is still what `etag` names.
    ///
    /// # Errors
    /// Why it was not given, in plain words and with the URL.
    pub async fn get(&self, etag: Option<&str>, bytes_max: usize) -> Result<Fetched, String> {
        let exchange = async {
            let response = self.client.request(self.request(etag).await).await.map_err(|e| chain(&e))?;
            answer(response, etag.is_some(), bytes_max).await
        };
        let late = || Err(format!("no whole answer within {} s", TOTAL.as_secs()));
        let got = timeout(TOTAL, exchange).await.unwrap_or_else(|_| late());
        got.map_err(|why| {
            format!("{} was not given: {}", self.shown, self.proof.hide(self.secrets.hide(&why)))
        })
    }

    async fn request(&self, etag: Option<&str>) -> Request<UploadBody> {
        let mut request = Request::new(UploadBody::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        self.proof.put(&mut request).await;
        request
    }
}

async fn answer<B>(response: Response<B>, asked: bool, bytes_max: usize) -> Result<Fetched, String>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = response.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match head.status {
        StatusCode::NOT_MODIFIED if asked => return Ok(Fetched::Same),
        StatusCode::OK => {}
        status if status.is_redirection() => {
            let to = text(LOCATION).map(|to| format!(" to {to}, which is not followed"));
            return Err(format!("HTTP {status}{}", to.unwrap_or_default()));
        }
        status => return Err(format!("HTTP {status}")),
    }
    if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        return Err(format!("it came as {encoding}, which was not asked for"));
    }
    let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
        match error.downcast_ref::<LengthLimitError>() {
            Some(_) => format!("it is larger than {bytes_max} bytes"),
            None => format!("it ended early: {}", chain(&*error)),
        }
    })?;
    let body = Vec::from(body.to_bytes());
    if body.is_empty() {
        return Err("it is empty".into());
    }
    Ok(Fetched::New { body, etag: text(ETAG).map(str::to_owned) })
}

/// An error with its causes, each once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = Vec::new();
    let mut cause = Some(error);
    while let Some(at) = cause {
        said.push(at.to_string());
        cause = at.source();
    }
    said.dedup();
    said.join(": ")
}

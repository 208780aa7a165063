//! Cloud Storage by its JSON API: an object is created or it is there already, in one request or, if it is large, in
//! pieces.
//!
//! Promises: batches are created under `ifGenerationMatch=0`, large ones as well, so that nothing is ever replaced; a
//! token that is refused although it looked fresh is replaced once; a piece that was cut off goes on where the store
//! has it.
//! Must not know: verdicts, names of batches, where identities come from.
use super::super::super::text;
use super::super::connector::{Link, Reply, Said, copy, note, unable, weather};
use super::request;
use super::token::Tokens;
use crate::destination::text::hex;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
};
use hyper::{Method, Response, StatusCode};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// A larger object goes in pieces.
const LARGE_BYTES: u64 = 50_000_000;
/// Bytes of a piece: a multiple of 256 KiB, as the store wants it.
const PIECE_BYTES: u64 = 16 * 1024 * 1024;
/// A piece that fails so often in a row ends the upload.
const PIECE_TRIES: u32 = 3;
const PIECE_PAUSE: Duration = Duration::from_secs(1);
/// Says where an upload in pieces stands, and that the next piece is awaited.
const RESUME: u16 = 308;

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    link: Link,
    tokens: Arc<Tokens>,
    /// `https://storage.googleapis.com`, without a slash at the end.
    address: Arc<str>,
    name: Arc<str>,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}", self.name)
    }
}

impl Bucket {
    /// Nothing is connected yet.
    pub fn new(link: Link, tokens: Tokens, address: &str, name: &str) -> Bucket {
        let address = address.trim_end_matches('/').into();
        Bucket { link, tokens: Arc::new(tokens), address, name: name.into() }
    }

    /// Says who we are and sends. A token that is refused is replaced once: it may have been taken back.
    async fn send(&self, request: HttpRequest) -> Result<Response<Bytes>, Said> {
        for last in [false, true] {
            let mut request = copy(&request);
            let token = self.tokens.token().await?;
            if let Some(token) = &token {
                let value = HeaderValue::try_from(format!("Bearer {token}"));
                let mut value = value.map_err(|_| unable("the token is none"))?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            let response = self.link.send(request).await?;
            match token.filter(|_| response.status() == StatusCode::UNAUTHORIZED && !last) {
                Some(token) => self.tokens.forget(&token).await,
                None => return Ok(response),
            }
        }
        unreachable!("INVARIANT: the last answer is returned")
    }

    fn upload_url(&self, kind: &str, name: &Path, mode: &PutMode) -> Result<String> {
        let condition = match mode {
            PutMode::Create => "&ifGenerationMatch=0",
            PutMode::Overwrite => "",
            PutMode::Update(_) => return Err(unknown("update")),
        };
        let (address, bucket, name) = (&self.address, &self.name, text::encode_all(name.as_ref()));
        Ok(format!("{address}/upload/storage/v1/b/{bucket}/o?uploadType={kind}&name={name}{condition}"))
    }

    async fn put_whole(&self, url: String, body: PutPayload, about: About) -> Result<(), Said> {
        let bytes = body.content_length() as u64;
        let (kind, body) = two_in_one(&about, &body)?;
        let mut request = request(Method::POST, &url)?;
        request.headers_mut().insert(CONTENT_TYPE, kind);
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.content_length()));
        *request.body_mut() = HttpRequestBody::from(body);
        stored(self.send(request).await?, bytes)
    }

    async fn put_in_pieces(&self, url: String, body: PutPayload, about: About) -> Result<(), Said> {
        let session = self.begin(&url, body.content_length() as u64, about).await?;
        let sent = self.go_on(&session, &body).await;
        if sent.is_err() {
            // What is kept of it ends by itself after a week; it costs nothing until then.
            if let Ok(request) = request(Method::DELETE, &session) {
                drop(self.link.send(request).await);
            }
        }
        sent
    }

    async fn begin(&self, url: &str, bytes: u64, about: About) -> Result<String, Said> {
        let mut request = request(Method::POST, url)?;
        let said = about.said();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        headers.insert("x-upload-content-type", about.content);
        headers.insert("x-upload-content-length", HeaderValue::from(bytes));
        *request.body_mut() = HttpRequestBody::from(said);
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(answered(&response));
        }
        let session = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        session.map(str::to_owned).ok_or_else(|| weather("the upload got no session"))
    }

    /// Sends piece after piece. Its address alone opens a session: it is said nowhere and needs no token.
    async fn go_on(&self, session: &str, body: &PutPayload) -> Result<(), Said> {
        let total = body.content_length() as u64;
        let (mut at, mut failed, mut sure) = (0, 0, true);
        loop {
            // After a failure it is asked first what has arrived.
            let piece = sure.then(|| (at, (at + PIECE_BYTES).min(total)));
            let trouble = match self.piece(session, body, piece).await {
                Ok(Stands::Done) => return Ok(()),
                Ok(Stands::Gone) => return Err(weather("the store has forgotten the upload")),
                Ok(Stands::At(there)) if there < total && (there > at || !sure) => {
                    failed = if there > at { 0 } else { failed };
                    (at, sure) = (there, true);
                    continue;
                }
                Ok(Stands::At(_)) => weather("the store keeps nothing of a piece"),
                Err(trouble) => trouble,
            };
            (failed, sure) = (failed + 1, false);
            if failed >= PIECE_TRIES || !passes(&trouble) {
                return Err(trouble);
            }
            sleep(PIECE_PAUSE).await;
        }
    }

    /// Sends one piece, or asks where the upload stands.
    async fn piece(
        &self,
        session: &str,
        body: &PutPayload,
        piece: Option<(u64, u64)>,
    ) -> Result<Stands, Said> {
        let total = body.content_length();
        let mut request = request(Method::PUT, session)?;
        let range = match piece {
            Some((from, to)) => {
                let part = part(body, from as usize, to as usize);
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(part.content_length()));
                *request.body_mut() = HttpRequestBody::from(part);
                format!("bytes {from}-{}/{total}", to - 1)
            }
            None => {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
                format!("bytes */{total}")
            }
        };
        let range = HeaderValue::try_from(range).expect("INVARIANT: digits may stand in a header");
        request.headers_mut().insert(CONTENT_RANGE, range);
        let response = self.link.send(request).await?;
        match response.status() {
            status if status.is_success() => stored(response, total as u64).map(|()| Stands::Done),
            status if status.as_u16() == RESUME => Ok(Stands::At(kept(&response))),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Stands::Gone),
            _ => Err(answered(&response)),
        }
    }

    /// Whether an object is there. A bucket that is not there is told from an object that is not.
    async fn look(&self, name: &Path) -> Result<(), Said> {
        let missing = match self.at(Method::GET, name).await {
            Err(Said::Answer(mut reply)) if reply.status == StatusCode::NOT_FOUND => {
                reply.text.clear();
                Said::Answer(reply)
            }
            other => return other,
        };
        let (address, bucket) = (&self.address, &self.name);
        let response = self.send(request(Method::GET, &format!("{address}/storage/v1/b/{bucket}"))?).await?;
        // Whoever may only write objects may not know the bucket; that it is refused says that it is there.
        let absent = response.status() == StatusCode::NOT_FOUND;
        Err(if absent { answered(&response) } else { missing })
    }

    /// Asks for what is known of an object, or removes it.
    async fn at(&self, method: Method, name: &Path) -> Result<(), Said> {
        let (address, bucket, name) = (&self.address, &self.name, text::encode_all(name.as_ref()));
        let request = request(method, &format!("{address}/storage/v1/b/{bucket}/o/{name}"))?;
        done(self.send(request).await?)
    }
}

/// Where an upload in pieces stands.
enum Stands {
    Done,
    /// Nowhere: the next try begins a new one.
    Gone,
    /// The store has so many bytes.
    At(u64),
}

/// What is said of an object beside its bytes.
struct About {
    content: HeaderValue,
    encoding: Option<String>,
}

impl About {
    /// As the store wants it.
    fn said(&self) -> String {
        let mut said = json!({"contentType": self.content.to_str().unwrap_or_default()});
        if let Some(encoding) = &self.encoding {
            said["contentEncoding"] = encoding.as_str().into();
        }
        said.to_string()
    }
}

impl From<&Attributes> for About {
    fn from(attributes: &Attributes) -> About {
        let content = attributes.get(&Attribute::ContentType).and_then(|v| HeaderValue::from_str(v).ok());
        About {
            content: content.unwrap_or(HeaderValue::from_static("application/octet-stream")),
            encoding: attributes.get(&Attribute::ContentEncoding).map(|v| v.to_string()),
        }
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, name: &Path, body: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let about = About::from(&opts.attributes);
        let put = if body.content_length() as u64 > LARGE_BYTES {
            self.put_in_pieces(self.upload_url("resumable", name, &opts.mode)?, body, about).await
        } else {
            self.put_whole(self.upload_url("multipart", name, &opts.mode)?, body, about).await
        };
        told(put)?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unknown("put_multipart"))
    }

    /// Whether it is there; its bytes are never asked for.
    async fn get_opts(&self, name: &Path, _: GetOptions) -> Result<GetResult> {
        told(self.look(name).await)?;
        let (location, last_modified) = (name.clone(), Default::default());
        let meta = ObjectMeta { location, last_modified, size: 0, e_tag: None, version: None };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::empty().boxed()),
            meta,
            range: 0..0,
            attributes: Attributes::new(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, names: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let bucket = self.clone();
        let remove = move |name: Result<Path>| {
            let bucket = bucket.clone();
            async move {
                let name = name?;
                told(bucket.at(Method::DELETE, &name).await)?;
                Ok(name)
            }
        };
        names.then(remove).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { Err(unknown("list")) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(unknown("list"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unknown("copy"))
    }
}

fn unknown(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "gs".to_owned() }
}

/// Whether a trouble is one that passes by itself.
fn passes(trouble: &Said) -> bool {
    match trouble {
        Said::Answer(reply) => reply.status.is_server_error(),
        Said::Trouble { .. } => true,
        Said::Unable { .. } => false,
    }
}

/// What is said of an object and its bytes as one body (RFC 2387), none of them copied.
fn two_in_one(about: &About, body: &PutPayload) -> Result<(HeaderValue, PutPayload), Said> {
    // Nobody who writes lines of a log can know what stands between the parts.
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| unable(format!("no random bits: {e}")))?;
    let between = hex(&random);
    let head = format!(
        "--{between}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{}\r\n--{between}\r\ncontent-type: {}\r\n\r\n",
        about.said(),
        about.content.to_str().unwrap_or_default(),
    );
    let tail = format!("\r\n--{between}--\r\n");
    let whole =
        [Bytes::from(head)].into_iter().chain(body.iter().cloned()).chain([Bytes::from(tail)]).collect();
    let kind = HeaderValue::try_from(format!("multipart/related; boundary={between}"));
    Ok((kind.expect("INVARIANT: digits may stand in a header"), whole))
}

/// A success of an upload is what describes the whole object: a portal's page is none, and neither is a part.
fn stored(response: Response<Bytes>, bytes: u64) -> Result<(), Said> {
    if !response.status().is_success() {
        return Err(answered(&response));
    }
    let object: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
    // It is written as a string.
    let size = object["size"].as_str().and_then(|size| size.parse().ok()).or_else(|| object["size"].as_u64());
    match size {
        Some(size) if size == bytes => {
            note(answered(&response));
            Ok(())
        }
        Some(size) => Err(weather(format!("the store says that it has {size} of {bytes} bytes"))),
        None => Err(weather(format!("HTTP {}, and the answer describes no object", response.status()))),
    }
}

/// A success is noted, anything else is none.
fn done(response: Response<Bytes>) -> Result<(), Said> {
    if !response.status().is_success() {
        return Err(answered(&response));
    }
    note(answered(&response));
    Ok(())
}

/// What a store said.
fn answered(response: &Response<Bytes>) -> Said {
    Said::Answer(Reply::of(response))
}

/// Notes what came of it for the verdict, and says it in the terms of `object_store`.
fn told<T>(done: Result<T, Said>) -> Result<T> {
    done.map_err(|said| {
        note(said.clone());
        let why = match said {
            Said::Answer(reply) => format!("HTTP {}", reply.status),
            Said::Trouble { why, .. } | Said::Unable { why } => why,
        };
        Error::Generic { store: "gs", source: why.into() }
    })
}

/// So many bytes the store has: `Range: bytes=0-41` are 42, none are none.
fn kept(response: &Response<Bytes>) -> u64 {
    let said = response.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let last = said.and_then(|range| range.rsplit_once('-')?.1.trim().parse::<u64>().ok());
    last.map_or(0, |last| last.saturating_add(1))
}

/// A part of a body, none of it copied.
fn part(body: &PutPayload, from: usize, to: usize) -> PutPayload {
    let mut at = 0;
    let mut taken: Vec<Bytes> = Vec::new();
    for bytes in body.iter() {
        let (begin, end) = (from.max(at), to.min(at + bytes.len()));
        if begin < end {
            taken.push(bytes.slice(begin - at..end - at));
        }
        at += bytes.len();
    }
    taken.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_exactly_its_bytes() {
        let body: PutPayload = ["abc", "", "defg", "h"].into_iter().map(Bytes::from).collect();
        let text = |from, to| part(&body, from, to).iter().map(|b| b.to_vec()).collect::<Vec<_>>().concat();
        assert_eq!(text(0, 8), b"abcdefgh");
        assert_eq!(text(2, 4), b"cd");
        assert_eq!(text(3, 3), b"");
        assert_eq!(text(7, 8), b"h");
    }
}

//! connector: the requests of object stores over the agent's own HTTP client, and what was answered to them.
//!
//! Promises: one pool, one TLS, one set of time-outs for everything that leaves the host; no body is copied; what the
//! server said is kept for the upload at hand, so that a verdict is made of the answer and not of a library's text; a
//! 2xx that holds an error never goes up as a success.
//! Must not know: what is stored, whose protocol it is, how requests are signed.
use super::super::body::{IDLE, Moved, UploadBody};
use super::super::client::HttpClient;
use super::super::exchange::{self, WORDS_BYTES, retry_after, transport_words};
use super::answer::holds_error;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Response, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient as StoreClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpService,
};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of an answer: descriptions of objects, tokens, errors. Lists are never asked for.
const ANSWER_BYTES: usize = 256 * 1024;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// `Retry-After`, ≤ 1 h.
    pub retry_after: Option<Duration>,
    /// `Date`: the server's clock.
    pub date: Option<jiff::Timestamp>,
    /// Where a redirect points to.
    pub location: Option<String>,
    /// The first 4 KiB of its body.
    pub text: String,
}

impl Reply {
    /// What is remembered of an answer.
    pub fn of(answer: &Response<Bytes>) -> Reply {
        let headers = answer.headers();
        let body = answer.body();
        let date = text_of(headers, &DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Reply {
            status: answer.status(),
            retry_after: retry_after(headers),
            date: date.map(|date| date.timestamp()),
            location: text_of(headers, &LOCATION).map(str::to_owned),
            text: String::from_utf8_lossy(&body[..body.len().min(WORDS_BYTES)]).into_owned(),
        }
    }

    /// The first 300 characters of the body on one line.
    pub fn words(&self) -> String {
        exchange::words(self.text.as_bytes())
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Said {
    /// The server answered.
    Answer(Reply),
    /// It did not: weather.
    Trouble {
        /// The label `status` of the metrics.
        word: &'static str,
        /// In plain words.
        why: String,
    },
    /// Nothing could be asked, and it concerns every upload: no credentials.
    Unable {
        /// In plain words.
        why: String,
    },
}

/// Something that passes.
pub fn weather(why: impl Into<String>) -> Said {
    Said::Trouble { word: "error", why: why.into() }
}

/// Something that an operator has to mend.
pub fn unable(why: impl Into<String>) -> Said {
    Said::Unable { why: why.into() }
}

/// The same request once more; its body is shared.
pub fn copy(request: &HttpRequest) -> HttpRequest {
    let mut again = HttpRequest::new(request.body().clone());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    again
}

/// What was heard during one upload: the last answer, and the last that was no success.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The last of all.
    pub last: Option<Said>,
    /// The last that was no success.
    pub bad: Option<Said>,
}

type Ear = Arc<Mutex<Heard>>;

tokio::task_local! {
    static EAR: Ear;
}

/// Runs an upload and tells what was heard meanwhile. It may be nested: an inner one hears for itself.
pub async fn listening<T>(upload: impl Future<Output = T>) -> (T, Heard) {
    let ear = Ear::default();
    let done = EAR.scope(ear.clone(), upload).await;
    let heard = ear.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (done, heard)
}

/// A part of this upload that becomes a task of its own: what it hears counts for this upload.
pub fn heard_here<T>(part: impl Future<Output = T>) -> impl Future<Output = T> {
    let ear = EAR.try_with(Ear::clone).unwrap_or_default();
    EAR.scope(ear, part)
}

/// Notes what came of a request for the upload at hand.
pub fn note(said: Said) {
    let good = matches!(&said, Said::Answer(reply) if reply.status.is_success() && !holds_error(&reply.text));
    // Outside of an upload nobody listens.
    let _ = EAR.try_with(|ear| {
        let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
        if !good {
            heard.bad = Some(said.clone());
        }
        heard.last = Some(said);
    });
}

/// The way to a store without a signature of ours.
#[derive(Clone)]
pub struct Link {
    client: HttpClient,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// Over this client.
    pub fn new(client: HttpClient) -> Link {
        Link { client }
    }

    /// Sends a request and reads its whole answer, within the time-outs of the connection and [`IDLE`].
    ///
    /// # Errors
    /// No answer, in plain words.
    pub async fn send(&self, request: HttpRequest) -> Result<Response<Bytes>, Said> {
        let moved = Arc::new(Moved::new());
        let request = self.request(request, &moved).await;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| {
                let (word, why) = transport_words(&self.client, &e);
                Said::Trouble { word, why }
            })?;
            moved.now();
            whole(response, &moved).await
        };
        let silent =
            || Said::Trouble { word: "timeout", why: format!("nothing has moved for {} s", IDLE.as_secs()) };
        moved.watch(exchange).await.unwrap_or_else(|| Err(silent()))
    }

    async fn request(&self, request: HttpRequest, moved: &Arc<Moved>) -> hyper::Request<UploadBody> {
        let (mut head, mut body) = request.into_parts();
        let mut pieces = Vec::new();
        // All pieces are there already: nothing waits here, and nothing is copied.
        while let Some(Ok(frame)) = body.frame().await {
            pieces.extend(frame.into_data().ok().filter(|piece| !piece.is_empty()));
        }
        let agent = HeaderValue::from_static(concat!("edgepush/", env!("CARGO_PKG_VERSION")));
        head.headers.insert(USER_AGENT, agent);
        hyper::Request::from_parts(head, UploadBody::new(pieces, moved.clone()))
    }
}

/// Notes what came of a request and says it to `object_store` in its terms. A 2xx that holds an error goes up as 500.
///
/// # Errors
/// No answer.
fn tell(method: &Method, answer: Result<Response<Bytes>, Said>) -> Result<HttpResponse, HttpError> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(said) => {
            note(said.clone());
            let why = match said {
                Said::Trouble { why, .. } | Said::Unable { why } => why,
                Said::Answer(reply) => reply.words(),
            };
            return Err(HttpError::new(HttpErrorKind::Unknown, io::Error::other(why)));
        }
    };
    let reply = Reply::of(&answer);
    let (mut head, body) = answer.into_parts();
    if head.status.is_success() && !method.is_safe() && holds_error(&reply.text) {
        head.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    note(Said::Answer(reply));
    let body = http_body_util::Full::new(body).map_err(|never| match never {});
    Ok(Response::from_parts(head, object_store::client::HttpResponseBody::new(body)))
}

/// Reads an answer to its end.
async fn whole(response: Response<Incoming>, moved: &Moved) -> Result<Response<Bytes>, Said> {
    let (head, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Said::Trouble { word: "closed", why: format!("the answer broke off: {e}") })?;
        moved.now();
        if let Some(piece) = frame.data_ref() {
            if read.len() + piece.len() > ANSWER_BYTES {
                let why = format!("the answer has more than {ANSWER_BYTES} bytes");
                return Err(Said::Trouble { word: "unreadable", why });
            }
            read.extend_from_slice(piece);
        }
    }
    Ok(Response::from_parts(head, read.freeze()))
}

/// A way to a store: it sends a request, as it is or signed, and gives the whole answer.
pub trait Way: Clone + fmt::Debug + Send + Sync + 'static {
    /// Sends a request.
    ///
    /// # Errors
    /// No answer.
    fn exchange(&self, request: HttpRequest) -> impl Future<Output = Result<Response<Bytes>, Said>> + Send;
}

impl Way for Link {
    fn exchange(&self, request: HttpRequest) -> impl Future<Output = Result<Response<Bytes>, Said>> + Send {
        self.send(request)
    }
}

/// A way as `object_store` takes it: what comes of each request is noted for the upload at hand.
#[derive(Clone, Debug)]
pub struct Connect<W>(pub W);

/// What `async_trait` makes of the answer of a service.
type Serving<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl<W: Way> HttpService for Connect<W> {
    fn call<'a, 'f>(&'a self, request: HttpRequest) -> Serving<'f>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let method = request.method().clone();
            tell(&method, self.0.exchange(request).await)
        })
    }
}

impl<W: Way> HttpConnector for Connect<W> {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<StoreClient> {
        Ok(StoreClient::new(self.clone()))
    }
}

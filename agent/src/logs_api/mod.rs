//! logs_api: where customers list and download their logs (INTERFACE 1 and 7, LOGPUSH 3), on a listener of its own.
//!
//! | path | says | admitted by |
//! |---|---|---|
//! | `POST /v1.1/log/list`, `POST /waap/v1.0/logs/list`, `GET /lls/v1.0/logs/delivery` | which files there are | a signed request |
//! | `GET /<domain>/<yyyyMMdd>/<name>` | one of them | a signed URL |
//!
//! `sign` judges signatures, `keys` has the keys, `turnstile` counts, `list` and `download` answer, `server` has the
//! connections.
//!
//! Promises: whatever a client sends or leaves unsent costs a bounded amount of memory and time; a key sees its domains
//! and nothing else; every error is JSON.
//! Must not know: shards, the ledger, the admin API and its tokens.
mod answer;
mod body;
mod download;
pub mod keys;
mod list;
mod range;
mod seen;
mod server;
pub mod sign;
pub mod times;
mod turnstile;

pub use server::{LogsServer, Stop, start};
pub use turnstile::Allowance;

use crate::archive::{self, Entry, Index, IndexError, Leases};
use crate::metrics::LogsCounters;
use answer::{Answer, Problem};
use body::Buffers;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, StatusCode, Uri};
use keys::{Key, KeyRing};
use list::{ListAsked, Spelling};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use turnstile::{DATE_SECONDS, Turnstile};

/// How long a signed URL is good, seconds.
pub const URL_SECONDS: i64 = 7 * 86_400;

/// What the API answers with.
pub struct LogsApi {
    directory: PathBuf,
    index_file: PathBuf,
    index: Mutex<Option<Index>>,
    keys: KeyRing,
    turnstile: Turnstile,
    leases: Leases,
    counters: Arc<LogsCounters>,
    buffers: Buffers,
    settings: LogsSettings,
    /// Now, s since the epoch.
    wall: fn() -> i64,
}

/// What an operator says of the API.
#[derive(Clone, Debug)]
pub struct LogsSettings {
    /// What each key may.
    pub allowance: Allowance,
    /// What URLs begin with, without a `/` at the end; `None`: as the request did.
    pub url: Option<String>,
    /// So long after its end no file can come for a slot any more, seconds.
    pub final_after: i64,
}

/// A request whose body has come.
pub(crate) struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    /// `http` or `https`, and where the listener listens: what URLs begin with when nobody says.
    scheme: &'static str,
    local: std::net::SocketAddr,
}

impl LogsApi {
    /// The archive of a state directory. Nothing is opened yet; it may come later.
    pub fn new(
        state: &Path,
        settings: LogsSettings,
        (leases, counters): (Leases, Arc<LogsCounters>),
    ) -> LogsApi {
        LogsApi {
            directory: state.join(archive::DIR),
            index_file: state.join(archive::INDEX_FILE),
            index: Mutex::default(),
            keys: KeyRing::new(state),
            turnstile: Turnstile::new(settings.allowance, state),
            leases,
            counters,
            buffers: Buffers::default(),
            settings,
            wall: || jiff::Timestamp::now().as_second(),
        }
    }

    /// Answers. Blocks while it asks index and keys.
    pub(crate) fn respond(&self, asked: &Asked) -> Answer {
        let path = asked.uri.path();
        let (what, answer) = match Spelling::of(path) {
            Some((_, method)) if asked.method.as_str() != method => ("list", Err(Problem::method(method))),
            Some((spelling, _)) => ("list", self.list(spelling, asked)),
            None => {
                let what = (path, asked.uri.query());
                ("download", download::respond(self, &asked.method, what, &asked.headers))
            }
        };
        let answer = answer.unwrap_or_else(Problem::answer);
        self.counters.answered(what == "list", answer.status().as_u16());
        tracing::debug!(method = %asked.method, path, status = answer.status().as_u16(), "logs API");
        answer
    }

    fn list(&self, spelling: Spelling, asked: &Asked) -> Result<Answer, Problem> {
        let key = self.admitted(asked)?;
        let list = ListAsked::read(spelling, asked.uri.query(), &asked.body)?;
        let found = self.found(spelling, &key, &list)?;
        let now = (self.wall)();
        let base = self.settings.url.clone().unwrap_or_else(|| base(asked));
        let url = |entry: &Entry| {
            let (path, expire) = (entry.path(), now + URL_SECONDS);
            let sign = sign::url(key.secret.expose(), &path, expire, &key.id);
            format!("{base}/{path}?expire={expire}&key={}&sign={sign}", key.id)
        };
        Ok(answer::json(StatusCode::OK, list::text(&list, &found, url, now - self.settings.final_after)))
    }

    /// The key that signed a request.
    fn admitted(&self, asked: &Asked) -> Result<Arc<Key>, Problem> {
        let claim = sign::Claim::read(&asked.headers).map_err(Problem::unauthorized)?;
        let now = (self.wall)();
        if (claim.date - now).abs() > DATE_SECONDS {
            return Err(Problem::unauthorized("X-SFD-Date is more than 1 hour from this host's time"));
        }
        let key = self.keys.get(&claim.key);
        // Without such a key as much is computed as with one.
        let secret = key.as_ref().map_or("", |key| key.secret.expose());
        let signed = claim.is_of(secret, &asked.method, &asked.uri, &asked.headers, &asked.body);
        let key = key.filter(|key| signed && !key.disabled);
        let key = key.ok_or_else(|| {
            Problem::unauthorized("no key signs like this: check id, secret and what is signed")
        })?;
        self.turnstile.signed(&key.id, claim.date, claim.nonce, now, Instant::now())?;
        Ok(key)
    }

    /// The files of every asked domain, if the key sees them all.
    fn found(&self, spelling: Spelling, key: &Key, list: &ListAsked) -> Result<Vec<Vec<Entry>>, Problem> {
        if let Some((said, _)) = list.domains.iter().find(|(_, domain)| !key.opens(domain)) {
            return Err(spelling.not_found(said));
        }
        let failed = |error: IndexError| {
            crate::once_a_minute!(warn, %error, "the archive's index cannot be read");
            Problem::failed()
        };
        let mut found = Vec::new();
        for (said, domain) in &list.domains {
            let files = self.index(|index| index.list(domain, list.starts.clone())).map_err(failed)?;
            let files = files.unwrap_or_default();
            // A key for all domains names one that there is not; a key for this one waits for its first file.
            let unknown = files.is_empty()
                && key.domains == keys::Domains::All
                && !self.index(|index| index.has(domain)).map_err(failed)?.unwrap_or(false);
            if unknown {
                return Err(spelling.not_found(said));
            }
            found.push(files);
        }
        Ok(found)
    }

    /// Asks the index; `None`: nothing was ever archived.
    fn index<T>(&self, ask: impl FnOnce(&Index) -> Result<T, IndexError>) -> Result<Option<T>, IndexError> {
        let mut held = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            match Index::look(&self.index_file) {
                Ok(index) => *held = Some(index),
                Err(IndexError::Missing(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let asked = held.as_ref().map(ask).transpose();
        if asked.is_err() {
            *held = None;
        }
        asked
    }
}

/// What URLs begin with when nothing is configured: what the client called us.
fn base(asked: &Asked) -> String {
    let said = asked.headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_host = |host: &&str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
    };
    match said.filter(is_host) {
        Some(host) => format!("{}://{host}", asked.scheme),
        None => format!("{}://{}", asked.scheme, asked.local),
    }
}

//! Object stores: a batch is one object under its final name (INTERFACE 4, 5).
//!
//! Promises: an object appears whole or not at all, and a batch that comes again is the same object; an answer is what
//! the store said, mapped to a verdict, without secrets; retry and back-off exist once, in `sender`, and nothing here
//! tries again but for a wrong clock.
//! Must not know: spool, ledger, jobs, other destinations.
pub mod answer;
pub mod azure;
pub mod connector;
pub mod gcs;
mod put;
pub mod s3;

pub use answer::Mode;
pub use put::Parts;

use super::client::CONNECT;
use super::exchange::Limits;
use super::redact::Secrets;
use super::{Answer, Boxed, Destination, DestinationUrl, Outgoing, Status, Verdict};
use bytes::Bytes;
use connector::listening;
use edgepush_shard::codec::CodecKind;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
};
use put::Failure;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What a probe puts beside the batches. One name for all times: where it may not be removed again, it is there once.
const PROBE: &str = "edgepush-test.txt.gz";
/// What stands in it.
const PROBE_TEXT: &[u8] = b"{\"content\":\"tests\"}\n";

/// How a store is used.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What makes a second upload of a batch the same object.
    pub mode: Mode,
    /// When objects are sent in parts.
    pub parts: Parts,
    /// Whether readers get a `Content-Encoding` (`content-encoding=gzip`).
    pub encoded: bool,
    /// What names begin with that is no part of the key: `container/` where the URL's path names a container.
    pub strip: String,
}

/// An object store.
pub struct StoreDestination {
    store: Arc<dyn ObjectStore>,
    manner: Manner,
    /// The part of the path before its first placeholder, without [`Manner::strip`]; `a/b/` or empty.
    beside: String,
    borrows_keys: bool,
    shown: String,
    secrets: Secrets,
}

/// For the builders of `object_store`: it never tries again by itself.
pub fn once() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

impl StoreDestination {
    /// A destination; nothing is connected yet.
    pub fn new(store: Arc<dyn ObjectStore>, manner: Manner, url: &DestinationUrl) -> StoreDestination {
        let fixed = url.naming_path().split('/').take_while(|part| !part.is_empty() && !part.contains('{'));
        let fixed: String = fixed.map(|part| format!("{part}/")).collect();
        let beside = fixed.strip_prefix(&manner.strip).unwrap_or(&fixed).to_owned();
        let (shown, secrets) = (url.to_string(), url.secrets().clone());
        StoreDestination { store, manner, beside, borrows_keys: false, shown, secrets }
    }

    /// Whether its keys are this host's (environment, files, instance) and not in the URL.
    pub fn borrowing_keys(mut self, borrows_keys: bool) -> StoreDestination {
        self.borrows_keys = borrows_keys;
        self
    }

    /// The key of an object in the bucket.
    fn key(&self, name: &str) -> Result<Path, String> {
        let key = name.strip_prefix(&self.manner.strip).unwrap_or(name);
        Path::parse(key).map_err(|e| format!("{}: `{key}` cannot be the name of an object: {e}", self.shown))
    }

    fn mode(&self) -> PutMode {
        match self.manner.mode {
            Mode::CreateOnly => PutMode::Create,
            Mode::Overwrite => PutMode::Overwrite,
        }
    }

    fn attributes(&self, batch: &Outgoing) -> Attributes {
        let text = if batch.csv { "text/csv" } else { "application/x-ndjson" };
        let (whole, encoding) = match batch.codec {
            CodecKind::Gzip => ("application/gzip", Some("gzip")),
            CodecKind::Zstd => ("application/zstd", Some("zstd")),
            CodecKind::None => (text, None),
        };
        match encoding.filter(|_| self.manner.encoded) {
            Some(encoding) => Attributes::from_iter([
                (Attribute::ContentType, text),
                (Attribute::ContentEncoding, encoding),
            ]),
            None => Attributes::from_iter([(Attribute::ContentType, whole)]),
        }
    }

    async fn store_batch(&self, batch: Outgoing) -> Answer {
        let key = match self.key(&batch.name) {
            Ok(key) => key,
            Err(why) => return Answer::from(Verdict::Refused { why }),
        };
        let limit = Instant::now() + Limits::upload(batch.len()).total;
        let attributes = self.attributes(&batch);
        let parts = self.manner.parts;
        let (done, heard) = listening(async {
            if batch.len() > parts.over_bytes {
                put::put_parts(&*self.store, &key, &batch.body, (parts, attributes), limit).await
            } else {
                put::put(&*self.store, &key, &batch.body, (self.mode(), attributes), limit).await
            }
        })
        .await;
        let failure = match done {
            Ok(()) => return Answer { verdict: Verdict::Delivered, status: status(&heard) },
            Err(failure) => failure,
        };
        self.told(match failure {
            Failure::Store(error) => answer::meaning(self.manner.mode, &heard, &error.to_string()),
            Failure::Late => {
                let why = "the upload took too long (60 s and 1 s for each MB)".into();
                let verdict = Verdict::Retry { after: None, why };
                Answer { verdict, status: Status::Word("timeout") }
            }
        })
    }

    /// An answer as it is told: with the URL before it, without secrets.
    fn told(&self, answer: Answer) -> Answer {
        let tell = |why: &str| format!("{}: {}", self.shown, self.secrets.hide(why));
        let verdict = answer.verdict.told(tell);
        Answer { verdict, status: answer.status }
    }

    /// Puts a small object. Some seconds are enough: somebody waits for the answer.
    async fn put_small(
        &self,
        key: &Path,
        body: Bytes,
        mode: PutMode,
        content: &'static str,
    ) -> Result<(), String> {
        let attributes = Attributes::from_iter([(Attribute::ContentType, content)]);
        let as_put = if mode == PutMode::Create { Mode::CreateOnly } else { Mode::Overwrite };
        let limit = Instant::now() + 2 * CONNECT;
        let (done, heard) = listening(put::put(&*self.store, key, &[body], (mode, attributes), limit)).await;
        let answer = match done {
            Ok(()) => return Ok(()),
            Err(Failure::Store(error)) => answer::meaning(as_put, &heard, &error.to_string()),
            Err(Failure::Late) => return Err(format!("no answer within {} s", 2 * CONNECT.as_secs())),
        };
        answer.verdict.why().map_or(Ok(()), |why| Err(self.secrets.hide(&why)))
    }

    /// Writes an object and removes it again. Where removing is not allowed it stays: batches need no such right.
    async fn try_write(&self) -> Result<(), String> {
        let key = self.key(&format!("{}{PROBE}", self.beside))?;
        self.put_small(&key, gzip_stored(PROBE_TEXT), self.mode(), "application/gzip").await?;
        let removing = listening(timeout(2 * CONNECT, self.store.delete(&key)));
        if !matches!(removing.await.0, Ok(Ok(()))) {
            tracing::debug!(object = %key, "the probe object may not be removed, it stays");
        }
        Ok(())
    }

    /// Asks for an object that need not be there: whoever answers tells whether it knows the keys and the bucket.
    async fn look(&self) -> Result<(), String> {
        let key = self.key(&format!("{}{PROBE}", self.beside))?;
        let (done, heard) = listening(timeout(2 * CONNECT, self.store.get(&key))).await;
        match done {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => answer::look(&heard, &error.to_string()).map_err(|why| self.secrets.hide(&why)),
            Err(_) => Err(format!("no answer within {} s", 2 * CONNECT.as_secs())),
        }
    }
}

/// The label of a success.
fn status(heard: &connector::Heard) -> Status {
    match &heard.last {
        Some(connector::Said::Answer(reply)) => Status::Code(reply.status.as_u16()),
        _ => Status::Word("ok"),
    }
}

/// A gzip file of at most 64 KiB that is not compressed (RFC 1951 3.2.4, RFC 1952).
fn gzip_stored(text: &[u8]) -> Bytes {
    let len = u16::try_from(text.len()).expect("INVARIANT: a probe is small");
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    out.extend(len.to_le_bytes());
    out.extend((!len).to_le_bytes());
    out.extend(text);
    out.extend(crc32fast::hash(text).to_le_bytes());
    out.extend(u32::from(len).to_le_bytes());
    out.into()
}

impl Destination for StoreDestination {
    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        Box::pin(self.store_batch(batch))
    }

    fn probe(&self, write: bool) -> Boxed<'_, Result<(), String>> {
        Box::pin(async move { if write { self.try_write().await } else { self.look().await } })
    }

    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        let name = format!("{}{name}", self.beside);
        Box::pin(async move {
            let key = self.key(&name)?;
            // It is asked for again and again under one name: always the newest.
            self.put_small(&key, body, PutMode::Overwrite, "text/plain").await?;
            Ok(key.to_string())
        })
    }

    fn leaves_host(&self) -> bool {
        true
    }

    fn borrows_keys(&self) -> bool {
        self.borrows_keys
    }

    fn redacted(&self) -> &str {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_stored_gzip_is_one() {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&gzip_stored(PROBE_TEXT)[..]).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, PROBE_TEXT);
    }
}

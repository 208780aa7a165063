//! poll: looks at a set of jobs behind a URL.
//!
//! Promises: a document that did not change is not sent again where the server knows `ETag`; whatever is no whole,
//! successful answer is a reason and never a set; no secret of the URL is ever said.
//! Must not know: what a job is, what becomes of a set.
use super::files::SET_BYTES_MAX;
use super::guard::Seen;
use super::redact::redacted;
use crate::config::Target;
use crate::destination::client::Clients;
use crate::destination::document::{Fetch, Fetched};
use std::time::Duration;
use tokio::time::Instant;

/// What the document is called in keys of jobs and in mistakes: its URL may change, and may have secrets.
pub const DOCUMENT: &str = "jobs";

/// A document of jobs.
pub struct Document {
    url: Target,
    fetch: Option<Fetch>,
    every: Duration,
    next: Instant,
    etag: Option<String>,
}

impl Document {
    /// A document that is asked for so often. Touches nothing yet.
    pub fn new(url: Target, every: Duration) -> Document {
        Document { url, fetch: None, every, next: Instant::now(), etag: None }
    }

    /// Its URL without secrets.
    pub fn shown(&self) -> String {
        redacted(self.url.expose())
    }

    /// What was told was not taken: it is to be told again.
    pub fn forget(&mut self) {
        self.etag = None;
    }

    /// The set, or why there is none; `None`: it is not time, or it is as it was. `whole`: at once, and also when it is
    /// as it was.
    pub async fn look(&mut self, whole: bool) -> Option<Result<Seen, String>> {
        if !whole && Instant::now() < self.next {
            return None;
        }
        self.next = Instant::now() + jittered(self.every);
        if self.fetch.is_none() {
            // Its certificates may be mended while the agent runs.
            match Fetch::new(self.url.expose(), &Clients::default()) {
                Ok(fetch) => self.fetch = Some(fetch),
                Err(why) => return Some(Err(format!("EDGEPUSH_JOBS {why}"))),
            }
        }
        let fetch = self.fetch.as_ref().expect("INVARIANT: made above");
        let etag = self.etag.as_deref().filter(|_| !whole);
        match fetch.get(etag, SET_BYTES_MAX as usize).await {
            Ok(Fetched::Same) => None,
            Ok(Fetched::New { body, etag }) => {
                self.etag = etag;
                let files = vec![(DOCUMENT.to_owned(), body)];
                Some(Ok(Seen { files, confirmed: None }))
            }
            Err(why) => Some(Err(why)),
        }
    }
}

/// A tenth less to a tenth more, so that a thousand agents do not ask together.
fn jittered(every: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness they ask together: no harm but to the server.
    let share = getrandom::fill(&mut random)
        .map_or(0.5, |()| f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX));
    every.mul_f64(0.9 + 0.2 * share)
}

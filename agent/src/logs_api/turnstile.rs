//! Turnstile: how often and how much at once each key may, and which requests came before.
//!
//! Promises: one signed request is taken once, while its date is good; what is remembered for that is bounded, and when
//! the bound is reached requests wait instead of being taken twice. A refused request costs its key nothing.
//! Must not know: HTTP, signatures, what is asked for.
use super::seen::{Known, Request, Seen};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A request's date may be so far from now, seconds (LOGPUSH 3.3).
pub const DATE_SECONDS: i64 = 3600;
/// Keys whose rate is remembered; those that were idle for a second are forgotten first.
const KEYS_MAX: usize = 20_000;

/// Why a request has to wait or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The same request came before.
    Replay,
    /// Too many in the last second: wait so long, seconds.
    Wait(u64),
    /// The key downloads as much at once as it may.
    Downloads,
    /// Nobody can tell now whether it came before.
    Unknown,
}

/// What each key may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests per second, and so many at once after a pause.
    pub rate: u32,
    /// Open downloads.
    pub downloads: u32,
}

/// Counts for every key.
#[derive(Clone, Debug)]
pub struct Turnstile(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    allowance: Allowance,
    counts: Mutex<Counts>,
    /// Apart: who holds it waits for a disk.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Counts {
    keys: HashMap<String, Count>,
}

#[derive(Debug)]
struct Count {
    /// Requests that may come at once now.
    tokens: f64,
    since: Instant,
    open: u32,
}

impl Turnstile {
    /// Of a state directory, in which stands which requests came before.
    pub fn new(allowance: Allowance, state: &Path) -> Turnstile {
        let seen = Mutex::new(Seen::new(state));
        Turnstile(Arc::new(Inside { allowance, counts: Mutex::default(), seen }))
    }

    /// Lets a signed request through, once. `date` (s since the epoch) is within [`DATE_SECONDS`] of `wall`.
    ///
    /// # Errors
    /// It came before, or has to wait; then it may come again as it is.
    pub fn signed(&self, key: &str, date: i64, nonce: u64, wall: i64, now: Instant) -> Result<(), Refused> {
        let mut seen = self.seen();
        let request = Request { key, date, nonce };
        let unknown = |error: rusqlite::Error| {
            crate::once_a_minute!(warn, %error, "the nonces of signed requests cannot be kept");
            Refused::Unknown
        };
        match seen.look(request, wall).map_err(unknown)? {
            Known::Before => return Err(Refused::Replay),
            Known::Full => return Err(Refused::Wait(60)),
            Known::New => {}
        }
        self.request(key, now)?;
        seen.add(request).map_err(unknown)
    }

    /// Lets a request of a signed URL through.
    ///
    /// # Errors
    /// It has to wait.
    pub fn request(&self, key: &str, now: Instant) -> Result<(), Refused> {
        self.counts().take(key, self.0.allowance, now)
    }

    /// Opens a download.
    ///
    /// # Errors
    /// [`Refused::Downloads`].
    pub fn download(&self, key: &str, now: Instant) -> Result<Open, Refused> {
        let mut counts = self.counts();
        let most = self.0.allowance.downloads;
        let count = counts.of(key, self.0.allowance, now);
        if count.open >= most {
            return Err(Refused::Downloads);
        }
        count.open += 1;
        Ok(Open { turnstile: self.clone(), key: key.to_owned() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // It opens anew what failed.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Whole after every statement.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&mut self, key: &str, allowance: Allowance, now: Instant) -> &mut Count {
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(key) {
            let idle = |count: &Count| now.saturating_duration_since(count.since) > Duration::from_secs(1);
            self.keys.retain(|_, count| count.open > 0 || !idle(count));
        }
        let full = f64::from(allowance.rate);
        let count = self.keys.entry(key.to_owned()).or_insert(Count { tokens: full, since: now, open: 0 });
        let passed = now.saturating_duration_since(count.since).as_secs_f64();
        count.tokens = (count.tokens + passed * full).min(full);
        count.since = now;
        count
    }

    fn take(&mut self, key: &str, allowance: Allowance, now: Instant) -> Result<(), Refused> {
        let count = self.of(key, allowance, now);
        if count.tokens < 1.0 {
            return Err(Refused::Wait(1));
        }
        count.tokens -= 1.0;
        Ok(())
    }
}

/// An open download, until this is dropped.
#[derive(Debug)]
pub struct Open {
    turnstile: Turnstile,
    key: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(count) = self.turnstile.counts().keys.get_mut(&self.key) {
            count.open = count.open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::SEEN_MAX;
    use super::*;

    const MAY: Allowance = Allowance { rate: 10, downloads: 2 };

    fn new(may: Allowance) -> (tempfile::TempDir, Turnstile, Instant) {
        let dir = tempfile::tempdir().unwrap();
        let turnstile = Turnstile::new(may, dir.path());
        (dir, turnstile, Instant::now())
    }

    #[test]
    fn a_request_comes_once_while_its_date_is_good() {
        let (_dir, turnstile, now) = new(MAY);
        let ask = |key: &str, date, nonce, wall| turnstile.signed(key, date, nonce, wall, now);
        assert_eq!(ask("a", 1000, 7, 1000), Ok(()));
        assert_eq!(ask("a", 1000, 7, 4600), Err(Refused::Replay));
        assert_eq!(ask("b", 1000, 7, 1000), Ok(()), "another key's number is its own");
        assert_eq!(ask("a", 1001, 7, 1000), Ok(()), "so is another second's");
        assert_eq!(ask("a", 1000, 8, 1000), Ok(()));
        assert_eq!(ask("a", 8000, 7, 8000), Ok(()));
        assert_eq!(turnstile.seen().rows(), 1, "what is too old is forgotten");
    }

    #[test]
    fn ten_a_second_and_ten_at_once() {
        let (_dir, turnstile, now) = new(MAY);
        let at = |ms| now + Duration::from_millis(ms);
        for nonce in 0..10 {
            assert_eq!(turnstile.signed("a", 0, nonce, 0, now), Ok(()));
        }
        assert_eq!(turnstile.signed("a", 0, 10, 0, now), Err(Refused::Wait(1)));
        assert_eq!(turnstile.request("a", at(99)), Err(Refused::Wait(1)), "list and download together");
        assert_eq!(turnstile.request("b", now), Ok(()));
        assert_eq!(turnstile.signed("a", 0, 10, 0, at(101)), Ok(()), "who waited comes as it is");
        assert_eq!(turnstile.signed("a", 0, 10, 0, at(900)), Err(Refused::Replay));
        let later = (0..20).filter(|_| turnstile.request("a", at(60_000)).is_ok()).count();
        assert_eq!(later, 10);
    }

    #[test]
    fn two_downloads_at_once() {
        let (_dir, turnstile, now) = new(MAY);
        let first = turnstile.download("a", now).unwrap();
        let second = turnstile.download("a", now).unwrap();
        assert_eq!(turnstile.download("a", now).unwrap_err(), Refused::Downloads);
        assert!(turnstile.download("b", now).is_ok());
        drop(first);
        let third = turnstile.download("a", now);
        assert!(third.is_ok() && turnstile.download("a", now).is_err());
        drop(second);
        assert!(turnstile.download("a", now).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (_dir, turnstile, now) = new(Allowance { rate: u32::MAX, downloads: 2 });
        assert_eq!(turnstile.signed("a", 0, 0, 0, now), Ok(()));
        turnstile.seen().fill("a", SEEN_MAX - 2);
        assert_eq!(turnstile.signed("a", 0, 1 << 40, 0, now), Ok(()));
        assert_eq!(turnstile.signed("a", 0, 1 << 41, 0, now), Err(Refused::Wait(60)));
        assert_eq!(turnstile.signed("a", 0, 0, 0, now), Err(Refused::Replay));
        assert_eq!(turnstile.signed("a", 3601, 0, 3601, now), Ok(()), "an hour later there is room");
    }
}

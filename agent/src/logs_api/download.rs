//! Download: one file, or the part of it that meets a range of time, by a signed URL and in no other way.
//!
//! `GET|HEAD /<domain>/<yyyyMMdd>/<name>?expire=&key=&sign=[&from=&to=]`
//!
//! Promises: only names that [`name::read_path`] reads and only files in the index; a key that was removed, disabled or
//! has lost the domain opens nothing; without a good signature nobody learns whether a file is there.
//! Must not know: how URLs come to customers, connections.
use super::answer::{Answer, Problem};
use super::body::{FileBody, LogsBody};
use super::range::{self, Asked};
use super::turnstile::Open;
use super::{LogsApi, sign, times};
use crate::archive::{Entry, Lease, members, name};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE,
};
use hyper::{Method, Response, StatusCode};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::Instant;

/// What a URL's parameters say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ticket {
    expire: i64,
    key: String,
    sign: String,
    /// A range of time, ns since the epoch.
    times: Option<Range<i64>>,
}

impl Ticket {
    /// Each parameter once, and no other. `None`: nobody signed that.
    fn read(query: &str) -> Option<Ticket> {
        let (mut expire, mut key, mut sign, mut from, mut to) = (None, None, None, None, None);
        for pair in query.split('&') {
            let (word, value) = pair.split_once('=')?;
            let place = match word {
                "expire" => &mut expire,
                "key" => &mut key,
                "sign" => &mut sign,
                "from" => &mut from,
                "to" => &mut to,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let time = |said: Option<&str>, absent: i64| match said {
            None => Some(absent),
            Some(text) => {
                times::read_any(&text.replace("%3A", ":").replace("%3a", ":"))?.checked_mul(1_000_000_000)
            }
        };
        let times = match (from, to) {
            (None, None) => None,
            _ => Some(time(from, i64::MIN)?..time(to, i64::MAX)?),
        };
        let expire = expire.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        Some(Ticket { expire, key: key?.to_owned(), sign: sign?.to_owned(), times })
    }
}

/// Answers a request for a file. Blocks.
pub(super) fn respond(
    api: &LogsApi,
    method: &Method,
    (path, query): (&str, Option<&str>),
    headers: &HeaderMap,
) -> Result<Answer, Problem> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let Some((domain, start, serial)) = name::read_path(path) else { return Err(Problem::nothing()) };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::method("GET, HEAD"));
    }
    let ticket = admitted(api, path, domain, query)?;
    api.turnstile.request(&ticket.key, Instant::now())?;
    let failed = |error: &dyn std::fmt::Display| {
        crate::once_a_minute!(warn, path, %error, "a file of the archive cannot be sent");
        Problem::failed()
    };
    // In this order: see `archive::lease`.
    let lease = api.leases.lease(path);
    let entry = api.index(|index| index.get(domain, start, serial)).map_err(|error| failed(&error))?;
    let Some(entry) = entry.flatten() else { return Err(gone()) };
    let file = match open(api, path, &entry) {
        Ok(file) => file,
        // Retention was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
        Err(error) => return Err(failed(&error)),
    };
    let sent = Sent::of(&file, &entry, ticket.times.as_ref()).map_err(|error| failed(&error))?;
    let opened = |file: File, runs: Vec<Range<u64>>, open: Open, lease: Lease| {
        let with = (api.buffers.clone(), api.counters.clone());
        LogsBody::File(Box::new(FileBody::new(file, runs, with, (lease, open))))
    };
    let (status, part) = sent.judge(method, headers)?;
    let mut answer = sent.head(&entry, status, part.as_ref());
    if *method == Method::GET && part.as_ref().is_some_and(|part| !part.is_empty()) {
        let open = api.turnstile.download(&ticket.key, Instant::now())?;
        let runs = sent.stretches(&part.unwrap_or_default());
        *answer.body_mut() = opened(file, runs, open, lease);
    }
    Ok(answer)
}

fn gone() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "File.NotFound", "this file is not kept any more: list again")
}

/// Whether the URL is signed by a key that opens the domain.
fn admitted(api: &LogsApi, path: &str, domain: &str, query: Option<&str>) -> Result<Ticket, Problem> {
    let refused = || {
        let message = "the URL is not signed by a key that opens it: list again for a new one";
        Problem::new(StatusCode::FORBIDDEN, "Url.Invalid", message)
    };
    let ticket = query.and_then(Ticket::read).ok_or_else(refused)?;
    let key = api.keys.get(&ticket.key);
    // Without such a key as much is computed as with one.
    let secret = key.as_ref().map_or("", |key| key.secret.expose());
    let signed = sign::is_url(secret, path, ticket.expire, &ticket.key, &ticket.sign);
    if !signed || !key.is_some_and(|key| key.opens(domain)) {
        return Err(refused());
    }
    if ticket.expire < (api.wall)() {
        let message = "the URL was good for 7 days: list again for a new one";
        return Err(Problem::new(StatusCode::FORBIDDEN, "Url.Expired", message));
    }
    Ok(ticket)
}

fn open(api: &LogsApi, path: &str, entry: &Entry) -> io::Result<File> {
    let file = File::open(api.directory.join(path))?;
    let bytes = file.metadata()?.len();
    match bytes == entry.bytes {
        true => Ok(file),
        false => Err(io::Error::other(format!("has {bytes} bytes, the index says {}", entry.bytes))),
    }
}

/// What is sent of a file: all of it, or some members.
struct Sent {
    runs: Vec<Range<u64>>,
    bytes: u64,
    tag: String,
    published: i64,
}

impl Sent {
    fn of(file: &File, entry: &Entry, times: Option<&Range<i64>>) -> io::Result<Sent> {
        let whole = 0..entry.bytes;
        let mut tag = format!("{:08x}-{:x}-{:x}", entry.crc32, entry.raw_bytes, entry.bytes);
        let runs = match times {
            None => vec![whole],
            Some(times) => {
                let runs = members::meeting(file, entry.bytes, times)?;
                tag = format!("{tag}-{:x}-{:x}", times.start, times.end);
                if runs == [whole.clone()] { vec![whole] } else { runs }
            }
        };
        let bytes = runs.iter().map(|run| run.end - run.start).sum();
        Ok(Sent { runs, bytes, tag: format!("\"{tag}\""), published: entry.published })
    }

    /// The status, and the bytes where there are any to send (RFC 9110, 13.2.2).
    fn judge(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(StatusCode, Option<Range<u64>>), Problem> {
        let said =
            |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
        let date = |name| said(name).and_then(times::read_http);
        let failed = || {
            Problem::new(StatusCode::PRECONDITION_FAILED, "Precondition.Failed", "the file is another one")
        };
        match said(IF_MATCH) {
            Some(tags) if !self.is_among(tags, false) => return Err(failed()),
            None if date(IF_UNMODIFIED_SINCE).is_some_and(|at| self.published > at) => return Err(failed()),
            _ => {}
        }
        let unchanged = match said(IF_NONE_MATCH) {
            Some(tags) => self.is_among(tags, true),
            None => date(IF_MODIFIED_SINCE).is_some_and(|at| self.published <= at),
        };
        if unchanged {
            return Ok((StatusCode::NOT_MODIFIED, None));
        }
        if self.bytes == 0 {
            return Ok((StatusCode::NO_CONTENT, None));
        }
        let same =
            said(IF_RANGE).is_none_or(|said| said == self.tag || said == times::write_http(self.published));
        let asked = match said(RANGE).filter(|_| same && *method == Method::GET) {
            Some(said) => range::read(said, self.bytes),
            None => Asked::Whole,
        };
        Ok(match asked {
            Asked::Whole => (StatusCode::OK, Some(0..self.bytes)),
            Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, Some(part)),
            Asked::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, None),
        })
    }

    fn is_among(&self, tags: &str, weak: bool) -> bool {
        let same = |tag: &str| tag == self.tag || (weak && tag.strip_prefix("W/") == Some(&self.tag));
        tags == "*" || tags.split(',').map(str::trim).any(same)
    }

    fn head(&self, entry: &Entry, status: StatusCode, part: Option<&Range<u64>>) -> Answer {
        let mut answer = Response::new(LogsBody::text(""));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        let mut put = |name, value: String| {
            headers
                .insert(name, value.try_into().expect("INVARIANT: digits, hex and names are header values"));
        };
        put(ACCEPT_RANGES, "bytes".into());
        put(ETAG, self.tag.clone());
        put(LAST_MODIFIED, times::write_http(self.published));
        put(CACHE_CONTROL, "private".into());
        match (status, part) {
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => put(CONTENT_RANGE, format!("bytes */{}", self.bytes)),
            (_, Some(part)) => {
                let name = name::file(entry.start, entry.serial);
                put(CONTENT_TYPE, "application/gzip".into());
                put(CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
                put(hyper::header::CONTENT_LENGTH, (part.end - part.start).to_string());
                if status == StatusCode::PARTIAL_CONTENT {
                    put(CONTENT_RANGE, format!("bytes {}-{}/{}", part.start, part.end - 1, self.bytes));
                }
            }
            _ => {}
        }
        answer
    }

    /// Where `part` of what is sent lies in the file.
    fn stretches(&self, part: &Range<u64>) -> Vec<Range<u64>> {
        let mut before = 0;
        let mut out = Vec::new();
        for run in &self.runs {
            let from = run.start + part.start.saturating_sub(before).min(run.end - run.start);
            let to = run.start + part.end.saturating_sub(before).min(run.end - run.start);
            if from < to {
                out.push(from..to);
            }
            before += run.end - run.start;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ticket_has_every_parameter_once() {
        let ticket = Ticket::read("expire=7&key=K&sign=ab").unwrap();
        assert_eq!(ticket, Ticket { expire: 7, key: "K".into(), sign: "ab".into(), times: None });
        let slice = Ticket::read("sign=ab&from=1&to=1970-01-01T00%3A00:02Z&key=K&expire=7").unwrap();
        assert_eq!(slice.times, Some(1_000_000_000..2_000_000_000));
        for query in [
            "",
            "expire=7&key=K",
            "expire=7&key=K&sign=ab&sign=ab",
            "expire=7&key=K&sign=ab&x=1",
            "expire=+7&key=K&sign=ab",
            "expire=-7&key=K&sign=ab",
            "expire=&key=K&sign=ab",
            "expire=7&key=K&sign=ab&from=x",
            "expire=7&key=K&sign=ab&from=999999999999",
            "expire=7&key=K&sign",
        ] {
            assert_eq!(Ticket::read(query), None, "{query}");
        }
    }

    proptest! {
        #[test]
        fn stretches_are_the_part_of_the_runs(
            lens in proptest::collection::vec((1u64..5, 1u64..5), 1..6), from in 0u64..40, more in 1u64..40,
        ) {
            let (mut at, mut runs) = (0, Vec::new());
            for (gap, len) in lens {
                at += gap;
                runs.push(at..at + len);
                at += len;
            }
            let all: Vec<u64> = runs.iter().cloned().flatten().collect();
            let bytes = all.len() as u64;
            let part = from.min(bytes)..(from + more).min(bytes);
            let sent = Sent { runs, bytes, tag: String::new(), published: 0 };
            let got: Vec<u64> = sent.stretches(&part).into_iter().flatten().collect();
            prop_assert_eq!(&got[..], &all[part.start as usize..part.end as usize]);
        }
    }
}

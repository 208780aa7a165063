//! which: finds the files that an operator means.
//!
//! Promises: mistakes are told before anything is read; an archive that holds nothing yet is empty, no mistake.
//! Must not know: what is done with the files.
use crate::archive::{self, Entry, Index, IndexError, name};
use crate::cli::{ArchiveFilter, Exit, complain};
use crate::config::Config;
use crate::ledger::StateDir;
use crate::logs_api::times;
use std::ops::Range;
use std::path::PathBuf;

/// Files that are listed, and where they lie.
pub(super) struct Found {
    /// By domain, start and serial.
    pub(super) entries: Vec<Entry>,
    /// The archive's directory.
    pub(super) directory: PathBuf,
}

impl Found {
    /// Where a file lies.
    pub(super) fn path(&self, entry: &Entry) -> PathBuf {
        self.directory.join(entry.path())
    }
}

/// The files that are meant.
///
/// # Errors
/// How the command ends; said already.
pub(super) fn find(config: &Config, filter: &ArchiveFilter) -> Result<Found, Exit> {
    let range = range(filter.from.as_deref(), filter.to.as_deref())?;
    let one = filter.what.as_deref().and_then(name::read_path);
    let domain = match (&filter.what, one) {
        (_, Some((domain, ..))) => Some(domain.to_owned()),
        (Some(said), None) => Some(self::domain(said)?),
        (None, None) => None,
    };
    let mut found = of_domain(config, domain.as_deref(), &range)?;
    if let Some((_, start, serial)) = one {
        found.entries.retain(|entry| (entry.start, entry.serial) == (start, serial));
        if found.entries.is_empty() {
            complain(&format!("edgepush: {} is not listed\n", filter.what.as_deref().unwrap_or_default()));
            return Err(Exit::Failed);
        }
    }
    Ok(found)
}

/// The files of a domain, or of all, whose slots meet a range of time, s since the epoch.
pub(super) fn of_domain(config: &Config, domain: Option<&str>, range: &Range<i64>) -> Result<Found, Exit> {
    let failed = |error: &dyn std::fmt::Display, exit| {
        complain(&format!("edgepush: {error}\n"));
        exit
    };
    StateDir::check_known(&config.state_dir).map_err(|error| failed(&error, Exit::Held))?;
    let directory = config.state_dir.join(archive::DIR);
    let index = match Index::look(&config.state_dir.join(archive::INDEX_FILE)) {
        Ok(index) => index,
        Err(error @ IndexError::Missing(_)) if !config.state_dir.is_dir() => {
            return Err(failed(&error, Exit::Operator));
        }
        Err(IndexError::Missing(_)) => return Ok(Found { entries: Vec::new(), directory }),
        Err(error @ IndexError::Newer { .. }) => return Err(failed(&error, Exit::Held)),
        Err(error) => return Err(failed(&error, Exit::Failed)),
    };
    let ask = || -> Result<Vec<Entry>, IndexError> {
        let domains = match domain {
            Some(domain) => vec![domain.to_owned()],
            None => index.domains()?,
        };
        let mut entries = Vec::new();
        for domain in domains {
            // A slot that began before the range may reach into it.
            let starts = range.start.saturating_sub(archive::Slot::Hour.seconds())..range.end;
            entries.extend(index.list(&domain, starts)?);
        }
        entries.retain(|entry| entry.start + entry.slot.seconds() > range.start);
        Ok(entries)
    };
    let entries = ask().map_err(|error| failed(&error, Exit::Failed))?;
    Ok(Found { entries, directory })
}

/// The domain that is meant.
pub(super) fn domain(said: &str) -> Result<String, Exit> {
    let own = if name::is_domain(said) { said.into() } else { name::domain(said.as_bytes()) };
    if own == name::INVALID && said != name::INVALID {
        complain(&format!(
            "edgepush: {said} is neither a domain nor a file as `edgepush archive ls` writes it\n"
        ));
        return Err(Exit::Operator);
    }
    Ok(own.into_owned())
}

/// The range of time that is meant, s since the epoch.
pub(super) fn range(from: Option<&str>, to: Option<&str>) -> Result<Range<i64>, Exit> {
    let time = |flag: &str, said: Option<&str>, absent| match said {
        None => Ok(absent),
        Some(text) => {
            times::read_any(text).or_else(|| times::read(&format!("{text}T00:00:00Z"))).ok_or_else(|| {
                complain(&format!(
                    "edgepush: {flag} {text}: write 2022-09-01, 2022-09-01T08:00:00Z or Unix seconds\n"
                ));
                Exit::Operator
            })
        }
    };
    let range = time("--from", from, i64::MIN)?..time("--to", to, i64::MAX)?;
    if range.is_empty() {
        complain("edgepush: --from must lie before --to\n");
        return Err(Exit::Operator);
    }
    Ok(range)
}

//! Drives the archive's retention: a sweep at the start, then one a minute, on a blocking thread.
//!
//! Promises: nothing waits for a sweep but `run --once`, which begins with one; what ends a sweep early is weather. When
//! the bound or the reserve wins over the days, an operator hears of it.
//! Must not know: what goes, or in which order.
use crate::archive::retention::{Keep, Swept, Why, leftovers, sweep};
use crate::archive::{DIR, INDEX_FILE, Index, Leases};
use crate::config::{ArchiveConfig, Config, Reserve};
use crate::metrics::Metrics;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);

/// What sweeps need.
#[derive(Clone)]
pub(super) struct Retention {
    state: PathBuf,
    archive: ArchiveConfig,
    reserve: Reserve,
    leases: Leases,
    metrics: Arc<Metrics>,
}

impl Retention {
    pub(super) fn new(config: &Config, state: &Path, leases: Leases, metrics: Arc<Metrics>) -> Retention {
        let (archive, reserve) = (config.archive.clone(), config.disk_reserve);
        Retention { state: state.to_owned(), archive, reserve, leases, metrics }
    }

    /// Begins: one sweep (`--once`), or sweeps beside all else for as long as the agent runs.
    pub(super) async fn begin(self, once: bool) {
        match once {
            true => self.once(true).await,
            false => drop(tokio::task::spawn_local(self.drive())),
        }
    }

    async fn drive(self) {
        let mut first = true;
        loop {
            self.once(std::mem::take(&mut first)).await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// One sweep; the first one of a process also removes what an earlier one has left.
    async fn once(&self, first: bool) {
        let own = self.clone();
        let swept = tokio::task::spawn_blocking(move || own.sweep(first)).await;
        match swept {
            Ok(Ok(Some(swept))) => self.tell(&swept),
            Ok(Ok(None)) => {}
            Ok(Err(why)) => {
                crate::once_a_minute!(
                    warn,
                    "the archive's old files cannot be removed: {why}; it is tried again"
                );
            }
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// `None`: there is no archive yet.
    fn sweep(&self, first: bool) -> Result<Option<Swept>, String> {
        let (file, root) = (self.state.join(INDEX_FILE), self.state.join(DIR));
        if !file.exists() {
            return Ok(None);
        }
        let index = Index::open(&file).map_err(|error| error.to_string())?;
        if first {
            let left = leftovers(&index, &root).map_err(|error| error.to_string())?;
            if left > 0 {
                tracing::info!(files = left, "files whose days were over when the agent ended are removed");
            }
        }
        let keep = self.keep().map_err(|error| format!("{}: {error}", self.state.display()))?;
        sweep(&index, &root, &self.leases, &keep).map(Some).map_err(|error| error.to_string())
    }

    fn keep(&self) -> std::io::Result<Keep> {
        let disk = rustix::fs::statvfs(&self.state)?;
        let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        // Directories are called as domains are spelled.
        let days = self.archive.domain_days.iter();
        let days = days.map(|(domain, days)| match crate::archive::name::is_domain(domain) {
            true => (domain.clone(), *days),
            false => (crate::archive::name::domain(domain.as_bytes()).into_owned(), *days),
        });
        Ok(Keep {
            days: self.archive.days,
            domain_days: days.collect(),
            bytes_max: self.archive.max.of(total),
            missing: self.reserve.of(total).saturating_sub(free),
        })
    }

    fn tell(&self, swept: &Swept) {
        self.metrics.delivery().archive_swept(swept.files, swept.left);
        let (bound, reserve) = (swept.of(Why::Bound), swept.of(Why::Reserve));
        if bound > 0 {
            crate::once_a_minute!(
                warn,
                files = bound,
                "EDGEPUSH_ARCHIVE_MAX is reached: the archive's oldest hours go before their days are over"
            );
        }
        if reserve > 0 {
            crate::once_a_minute!(
                warn,
                files = reserve,
                "EDGEPUSH_DISK_RESERVE is reached: the archive's oldest hours go before their days are over"
            );
        }
        if swept.of(Why::Days) > 0 {
            tracing::info!(files = swept.of(Why::Days), "files of the archive are gone: their days are over");
        }
    }
}

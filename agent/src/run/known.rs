//! known: the jobs that there are when the agent starts: those of the settings, of the ledger, and of `EDGEPUSH_JOBS`.
//!
//! Promises: what `EDGEPUSH_JOBS` names is durable before anything is read, so its jobs begin where `EDGEPUSH_START` says.
//! Must not know: threads.
use super::changes;
use super::error::StartError;
use super::jobs::Jobs;
use super::make::{CHECKS, Maker};
use super::start::BLOCKING_END;
use crate::cli::Exit;
use crate::config::Config;
use crate::jobs::follow::{self, Follow, JobsFrom, Pace};
use crate::jobs::{Book, Change, GuardState};
use crate::ledger::{Ledger, LedgerEvent, LedgerReply, OsDisk, Recovered};
use crate::metrics::Metrics;
use crate::protocol::{Commit, JobId, JobsCommit, Now};
use std::sync::Arc;

/// The jobs at the start.
pub(super) struct Known {
    pub(super) jobs: Jobs,
    pub(super) book: Book,
    pub(super) maker: Arc<Maker>,
    /// What the set of `EDGEPUSH_JOBS` is followed with, and where it is.
    pub(super) follow: Follow,
    pub(super) from: Option<JobsFrom>,
    /// Jobs whose last batch was delivered.
    pub(super) well: Vec<JobId>,
}

/// Makes them.
///
/// # Errors
/// The environment job's destination cannot be; no disk for a change of the set.
pub(super) fn open(
    config: &Config,
    maker: Arc<Maker>,
    metrics: &Metrics,
    (ledger, recovered): (&mut Ledger<OsDisk>, &mut Recovered),
    now: Now,
) -> Result<Known, StartError> {
    let (mut jobs, mut book) = maker.all(recovered).map_err(|e| StartError::new(Exit::Operator, e))?;
    let follow = Follow {
        checks: CHECKS,
        zones: maker.zones.clone(),
        guard: Arc::new(GuardState::new(metrics.delivery().sets_refused())),
        pace: Pace::default(),
    };
    let from = config.jobs.as_ref().map(|said| JobsFrom::of(said.expose()));
    if let Some(from) = &from
        && let Some(change) = first_set(from, &book, &follow)?
    {
        let rows = changes::at_start(&maker, &mut jobs, &mut book, &change);
        let rows = rows.map_err(|e| StartError::new(Exit::Operator, format!("EDGEPUSH_JOBS: {e:?}")))?;
        keep_at_start(ledger, recovered, rows, now)?;
    }
    if !config.destination_said {
        jobs.rest_environment();
    }
    // From here on the jobs are what was made of their rows.
    let rows = std::mem::take(&mut recovered.jobs);
    let good = rows.iter().filter(|row| row.last_complete.is_some() && row.last_error.is_none());
    let well = good.map(|row| row.id).collect();
    Ok(Known { jobs, book, maker, follow, from, well })
}

/// The set of jobs as it is before anything runs: they begin where `EDGEPUSH_START` says.
fn first_set(from: &JobsFrom, book: &Book, follow: &Follow) -> Result<Option<Change>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| StartError::new(Exit::Failed, format!("no runtime: {e}")))?;
    let first = runtime.block_on(follow::first(from, &Arc::new(book.clone()), follow));
    runtime.shutdown_timeout(BLOCKING_END);
    Ok(first)
}

/// Makes a change of jobs durable before anything runs.
fn keep_at_start(
    ledger: &mut Ledger<OsDisk>,
    recovered: &mut Recovered,
    rows: Arc<JobsCommit>,
    now: Now,
) -> Result<(), StartError> {
    recovered.spooled.retain(|batch| !rows.deleted.contains(&batch.job));
    recovered.open.retain(|batch| !rows.deleted.contains(&batch.job));
    let commit =
        Commit { epoch: 0, batches: Vec::new(), shelves: Vec::new(), logs: Vec::new(), jobs: Some(rows) };
    let replies = ledger.step(now, LedgerEvent::Commit(commit));
    let replies = replies.map_err(|e| StartError::coded(e.exit_code(), &e))?;
    match replies.iter().any(|reply| matches!(reply, LedgerReply::NoSpace(_))) {
        true => Err(StartError::new(Exit::Failed, "no space left for the jobs of EDGEPUSH_JOBS".to_owned())),
        false => Ok(()),
    }
}

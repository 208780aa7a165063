//! admin: what the admin API shows of the running agent.
use super::error::StartError;
use super::make::CHECKS;
use super::port::{JobsShown, Port};
use super::shared::Shared;
use crate::api::logpush::{Logpush, no_scheme};
use crate::api::{self, ApiLimits, ApiState, auth::Auth, bind::Bound, health::Health};
use crate::cli::Exit;
use crate::config::{self, Config};
use crate::jobs::Challenges;
use crate::metrics::Metrics;
use crate::status::{JobStatus, SpoolStatus, Status};
use std::path::Path;
use std::sync::Arc;

/// Binds the admin API if it is wanted.
pub(super) fn bind(config: &Config, once: bool, state: &Path) -> Result<Option<Bound>, StartError> {
    let Some(addr) = config.api_of(once) else { return Ok(None) };
    api::bind::bind(addr, state).map(Some).map_err(|why| StartError::new(Exit::Operator, why))
}

/// What the server needs, on its way to the delivery thread.
pub(super) fn state(
    config: &Config,
    shared: &Shared,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    (logpush, told): (Logpush, Arc<JobsShown>),
) -> ApiState {
    let clock = shared.clock.clone();
    let status = {
        let (metrics, health, shared) = (metrics.clone(), health.clone(), shared.clone());
        let guard = logpush.port.guard();
        move || {
            let jobs = told.statuses(&metrics, shared.clock.now().wall);
            let jobs_refused = guard.as_ref().and_then(|guard| guard.refused());
            Status { jobs_refused, ..status(&metrics, &health, &shared, jobs) }
        }
    };
    ApiState {
        metrics: metrics.clone(),
        health: health.clone(),
        auth: Auth::new(config.api_token.clone(), config.api_tokens.clone()),
        logpush: Some(logpush),
        status: Box::new(status),
        clock: Box::new(move || clock.now().mono),
        limits: ApiLimits::default(),
    }
}

/// What the jobs API works with.
pub(super) fn logpush(shared: &Shared, port: Arc<Port>, ledger_id: u128) -> Logpush {
    let clock = shared.clock.clone();
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(&ledger_id.to_le_bytes());
    Logpush {
        zones: port.maker.zones.clone(),
        port,
        checks: CHECKS,
        challenges: Challenges::new(&secret),
        challenged: no_scheme,
        clock: Box::new(move || clock.now().wall / 1_000_000_000),
    }
}

fn status(metrics: &Metrics, health: &Health, shared: &Shared, jobs: Vec<JobStatus>) -> Status {
    let uptime = shared.clock.now().mono;
    let totals = metrics.totals();
    Status {
        version: config::VERSION.to_owned(),
        pid: std::process::id(),
        uptime_seconds: uptime.as_secs(),
        runtime: metrics.labels().runtime.to_owned(),
        simd: metrics.labels().simd.to_owned(),
        ready: health.not_ready().is_none(),
        stopping: health.is_stopping(),
        shards_stuck: health.stuck(uptime),
        sources: shared.shown.sources(),
        spool: SpoolStatus {
            bytes: totals.spool_bytes,
            limit_bytes: totals.spool_limit_bytes,
            batches: jobs.iter().map(|job| job.spool_batches).sum(),
        },
        jobs,
        backpressure: shared.words.readers_stopped(),
        // Until the agent runs more than the environment job.
        jobs_refused: None,
    }
}

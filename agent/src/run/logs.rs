//! logs: opens the Logs API of the running agent.
//!
//! Promises: what an operator asked for and cannot be is exit 2 before anything starts; the default listener is only
//! missed, with a WARN, when somebody else has its address.
//! Must not know: what the API answers.
use super::error::StartError;
use super::shared::Shared;
use crate::api::bind::{self, Bound};
use crate::api::tls::Tls;
use crate::cli::Exit;
use crate::config::Config;
use crate::jobs::Book;
use crate::logs_api::{Allowance, LogsApi, LogsServer, start};
use crate::metrics::Metrics;
use std::path::Path;
use std::sync::Arc;

/// The certificate of the listeners, if there is one.
pub(super) fn tls(config: &Config) -> Result<Option<Arc<Tls>>, StartError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let tls = Tls::open(cert, key).map_err(|why| StartError::new(Exit::Operator, why))?;
    Ok(Some(Arc::new(tls)))
}

/// Binds the Logs API if it is wanted.
pub(super) fn bind(
    config: &Config,
    once: bool,
    book: &Book,
    state: &Path,
) -> Result<Option<Bound>, StartError> {
    let archives = book.iter().any(|job| job.config.destination_conf.expose().starts_with("archive:"));
    let Some((addr, said)) = config.logs_api_of(once, archives) else {
        bind::clear_logs(state);
        return Ok(None);
    };
    match bind::bind_logs(addr, state) {
        Ok(bound) => Ok(Some(bound)),
        Err(why) if said => Err(StartError::new(Exit::Operator, why)),
        Err(why) => {
            tracing::warn!("{why}; the logs API does not run");
            Ok(None)
        }
    }
}

/// Starts it.
pub(super) fn serve(
    bound: Option<Bound>,
    config: &Config,
    shared: &Shared,
    metrics: &Metrics,
    tls: Option<Arc<Tls>>,
) -> Result<Option<LogsServer>, StartError> {
    let Some(bound) = bound else { return Ok(None) };
    let allowance = Allowance { rate: config.logs_rate, downloads: config.logs_downloads };
    let with = (shared.leases.clone(), metrics.logs().clone());
    let api = LogsApi::new(&config.state_dir, allowance, config.logs_url.clone(), with);
    let server = start(bound, Arc::new(api), tls);
    let server =
        server.map_err(|e| StartError::new(Exit::Failed, format!("no thread for the logs API: {e}")))?;
    tracing::info!("logs API at {}", server.addr());
    Ok(Some(server))
}

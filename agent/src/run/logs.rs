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
use crate::logs_api::{Allowance, LogsApi, LogsServer, LogsSettings, start};
use crate::metrics::Metrics;
use std::path::Path;
use std::sync::Arc;

/// What is bound and read before anything starts.
pub(super) struct Opened {
    /// The certificate of both listeners, if there is one.
    pub(super) tls: Option<Arc<Tls>>,
    bound: Option<Bound>,
}

/// Binds the Logs API if it is wanted, and reads the certificate.
pub(super) fn open(config: &Config, once: bool, book: &Book, state: &Path) -> Result<Opened, StartError> {
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::open(cert, Path::new(key.expose()))),
        _ => None,
    };
    let tls = tls.transpose().map_err(|why| StartError::new(Exit::Operator, why))?;
    Ok(Opened { tls: tls.map(Arc::new), bound: bind(config, once, book, state)? })
}

fn bind(config: &Config, once: bool, book: &Book, state: &Path) -> Result<Option<Bound>, StartError> {
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

impl Opened {
    /// Starts the Logs API.
    pub(super) fn serve(
        self,
        config: &Config,
        shared: &Shared,
        metrics: &Metrics,
    ) -> Result<Option<LogsServer>, StartError> {
        let Some(bound) = self.bound else { return Ok(None) };
        let settings = LogsSettings {
            allowance: Allowance { rate: config.logs_rate, downloads: config.logs_downloads },
            url: config.logs_url.clone(),
            final_after: config.archive.final_after(),
        };
        let with = (shared.leases.clone(), metrics.logs().clone());
        let api = LogsApi::new(&config.state_dir, settings, with);
        let server = start(bound, Arc::new(api), self.tls);
        let server =
            server.map_err(|e| StartError::new(Exit::Failed, format!("no thread for the logs API: {e}")))?;
        tracing::info!("logs API at {}", server.addr());
        Ok(Some(server))
    }
}

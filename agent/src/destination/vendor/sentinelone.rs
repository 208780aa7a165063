//! `sentinelone://`: the collector of SentinelOne's Singularity AI SIEM, which speaks like Splunk's.
//!
//! Promises: an answer that names an error is no success, whatever its status.
//! Must not know: connections, retries.
//!
//! The form: <https://docs.observo.ai/6S3TPBguCvVUaX3Cy74P/working-with-data/destinations/s1_hec_logs>. Its answers are not
//! documented for everybody: a success may have no code, and one to a wrong region is known to be a 200.
use super::super::kind::{HTTP, Kind};
use super::{Dialect, Probe, hec, posts};
use crate::destination::{Destination, DestinationUrl, Opening};
use std::sync::Arc;

/// The row of the table.
pub const SENTINELONE: Kind = Kind { scheme: "sentinelone", zstd: false, build, ..HTTP };

const DIALECT: Dialect = Dialect {
    name: "SentinelOne",
    content_type: None,
    body_bytes_max: u64::MAX,
    zstd: false,
    taken: &[200],
    read: hec::read_loosely,
    probe: Probe::Head,
    text: false,
};

fn build(url: &DestinationUrl, with: &Opening<'_>) -> Result<Arc<dyn Destination>, String> {
    if !url.has_header("authorization") {
        return Err("names no token: add header_Authorization=Bearer%20<token>".into());
    }
    posts(url, with, &DIALECT)
}

//! Real servers that write logs, driven by wrk, read by the agent as files, by syslog and through pipes: what arrives is
//! what the server itself counts, each request once from every source, with the values that it had.
//!
//! Short runs for CI; `EDGEPUSH_TEST_REAL=all` makes them longer, and in a release build wants nginx's datagrams without a loss.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#[path = "../common/mod.rs"]
mod common;

mod apache;
mod haproxy;
mod kit;
mod nginx;
mod varnish;

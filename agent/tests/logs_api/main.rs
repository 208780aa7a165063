//! The Logs API over real sockets: lists, signatures, downloads, limits; its commands; a client that shares no code.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod download;
mod kit;
mod list;
mod python;
mod retention;
mod tls;

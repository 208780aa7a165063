//! The jobs API over real sockets; every answer is held against the OpenAPI document.
#![allow(clippy::unwrap_used)]
mod access;
mod document;
mod jobs;
mod kit;
mod mistakes;
mod schema;
mod schemathesis;
mod tries;

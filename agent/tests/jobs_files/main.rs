//! Jobs from files and from a URL, over real directories and sockets, and `edgepush jobs` against a served API.
#![allow(clippy::unwrap_used)]
mod cli;
mod directory;
mod document;
mod kit;

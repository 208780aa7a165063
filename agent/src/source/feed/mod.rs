//! Feed: a source that cannot be read again: a socket or a pipe.
//!
//! `collector` joins lines into chunks; `lines` finds whole lines in what a pipe gives; `bind` opens sockets and pipes;
//! `receive` takes many datagrams with one call; `host` asks the kernel for its bounds and for what it dropped.
//!
//! Promises: what is received goes on in whole lines, in order for each sender; nothing waits longer than
//! [`collector::AGE_MAX`] for company.
//! Must not know: the ledger, the shards, the runtime.
pub mod bind;
pub mod collector;
pub mod host;
pub mod lines;
pub mod receive;

pub use collector::{Collector, Piece};
pub use lines::Lines;

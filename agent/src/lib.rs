//! edgepush: the agent around the data plane of `edgepush-shard`.
//!
//! Every part that decides something is a state machine, `step(now, event, actions)`: [`source`], [`shard_loop`],
//! [`batcher`], [`ledger`] and [`sender`]. They are driven by [`rt`] in production and by the simulation in tests:
//! the same types. What they say to one another stands in [`protocol`].
//!
//! Who may import whom: `config` is a leaf; `source`, `ledger`, `destination` do not know one another; only `run`
//! knows all of them.
pub mod api;
pub mod archive;
pub mod archive_cli;
pub mod ask;
pub mod batcher;
pub mod check;
pub mod cli;
pub mod config;
pub mod demo;
pub mod denied;
pub mod destination;
pub mod fields;
pub mod jobs;
pub mod jobs_cli;
pub mod keys_cli;
pub mod ledger;
pub mod log;
pub mod logs_api;
pub mod metrics;
pub mod notify;
pub mod parking;
pub mod protocol;
pub mod queue;
pub mod rt;
pub mod run;
pub mod sender;
pub mod shard_loop;
pub mod source;
pub mod spool_cli;
pub mod status;

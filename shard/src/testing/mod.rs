//! testing: corpora, oracles and properties for tests, benches, fuzzing and perf.
//!
//! Promises: everything is a function of its arguments; a seed gives the same bytes on every machine.
//! Must not know: test frameworks. A property panics when it does not hold.
pub mod corpus;
pub mod filter;
pub mod format;
pub mod lines;
pub mod oracle;
pub mod output;
pub mod property;
pub mod syslog;
pub mod time;

//! Plan: all jobs compiled; the exact bytes that each gets of a record.
//!
//! Promises: value bytes are the input's, never re-spelled where a job does not ask for it; nothing is allocated per
//! record after warm-up.
//! Must not know: where the bytes go.
mod digest;
mod fields;
pub mod filter;
mod format;
mod host;
mod output;
pub(crate) mod path;
mod route;
mod sample;
mod shelf;

pub(crate) use output::text;

pub use fields::{FieldSlot, FieldTable, Resolved};
pub use filter::{Compiled, Filter, FilterError};
pub use format::{Formatter, Output};
pub use output::{Envelope, HashKey, OptionError, OutputOptions, OutputType, Privacy};
pub use route::{RouteJob, Router};
pub use sample::Sample;
pub use shelf::{Reading, Rule, ShelfCounts, Shelver, Shelving, Spot};

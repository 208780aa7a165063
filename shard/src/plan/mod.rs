//! Plan: all jobs compiled; the exact bytes that each gets of a record.
//!
//! Promises: value bytes are the input's, never re-spelled where a job does not ask for it; nothing is allocated per
//! record after warm-up.
//! Must not know: where the bytes go.
mod format;
mod output;
mod path;

pub use format::{Formatter, Output};
pub use output::{HashKey, OptionError, OutputOptions, OutputType, Privacy};

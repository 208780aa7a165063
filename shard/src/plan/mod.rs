//! Plan: all jobs compiled; the exact bytes that each gets of a record.
//!
//! Promises: value bytes are the input's, never re-spelled; nothing is allocated per record after warm-up.
//! Must not know: where the bytes go.
mod format;
mod path;
mod sample;

pub use format::{Formatter, Output};
pub use sample::Sample;

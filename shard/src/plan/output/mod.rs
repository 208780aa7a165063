//! Output: what a job's records look like (Cloudflare's `output_options`, and what we add to them).
//!
//! `options` says it; `read` and `logpull` take it from a job and check it; `projection`, `members` and `pattern` are
//! the ways in which a record is written, `treat` is what may be done to a value on its way.
//! Promises: options that were accepted cannot fail later, and every record of them is at least one byte long.
//! Must not know: jobs, sinks, where bytes go.
mod envelope;
pub(super) mod id;
mod logpull;
pub(super) mod members;
mod nearest;
mod options;
pub(super) mod pattern;
mod privacy;
pub(super) mod projection;
mod read;
pub(super) mod scratch;
mod shapes;
mod template;
pub(crate) mod text;
mod treat;

pub use envelope::Envelope;
pub use options::{OptionError, OutputOptions, OutputType};
pub use privacy::{HashKey, Privacy};

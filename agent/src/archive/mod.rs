//! archive: files of one domain and one slot of time each, kept for customers (INTERFACE 7).
//!
//! `name` is what domains and files are called, `index` which files are listed, `lease` which are being downloaded;
//! `members` finds parts of a file by time.
//!
//! Promises: a file that is listed never changes, and goes only by retention, never while it is being downloaded.
//! Must not know: HTTP, keys of customers.
pub mod compose;
pub mod index;
pub mod lease;
pub mod members;
pub mod name;
pub mod retention;

pub use index::{Entry, Index, IndexError, Slot};
pub use lease::{Lease, Leases};

/// The archive's directory in the state directory.
pub const DIR: &str = "archive";
/// The index's file in the state directory.
pub const INDEX_FILE: &str = "archive.db";

//! Source (integration stand-in until the real one is merged).
pub mod file;
pub use file::*;

//! edgepush-shard: the data plane of edgepush. Bytes in, bytes out.
//!
//! The way of a line through this crate (DESIGN 3):
//! [`chunk::Chunk`] → [`frame`] → [`parse`] → [`plan`] → [`ring`] → [`codec`] → [`segment::Segment`] → [`batch`].
//!
//! Promises: nothing here blocks, fails for reasons of weather, or allocates per record after warm-up.
//! Must not know: files, sockets, clocks, threads, the environment, logs. Time comes in as an argument.
pub mod batch;
pub mod chunk;
pub mod codec;
pub mod dataset;
pub mod deflate;
pub mod format;
pub mod frame;
pub mod limits;
pub mod nearest;
pub mod parse;
pub mod plan;
pub mod proven;
pub mod record;
pub mod reject;
pub mod ring;
pub mod room;
pub mod scan;
pub mod segment;
pub mod syslog;
pub mod testing;
pub mod testing_out;
pub mod time;
pub mod zone;

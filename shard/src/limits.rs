//! Every fixed bound of the data plane, with its reason, and the relations between them.
//!
//! Promises: a bound stands here once. Bounds that an operator sets are configuration, not limits.
//! Must not know: who uses them.

/// One KiB, MiB in bytes.
pub const KIB: usize = 1024;
/// One MiB in bytes.
pub const MIB: usize = 1024 * KIB;

/// A chunk, slab or segment holds at most this many raw bytes, or one longer line alone (RULINGS 3).
pub const CHUNK_BYTES_MAX: usize = MIB;
/// What one read of a hot file asks for: large enough to amortise the call, small enough to stay in L2.
pub const READ_BYTES_HOT: usize = 256 * KIB;
/// What one read of a cold backlog asks for.
pub const READ_BYTES_COLD: usize = MIB;
/// A file further behind than this is read as a cold backlog (through io_uring on that backend).
pub const COLD_BACKLOG_BYTES: u64 = 8 * MIB as u64;
/// Slab size at which a segment is cut: gzip's ratio is within 1-2 % of its best from 256 KiB on (COMPRESS 1).
pub const SLAB_BYTES: usize = MIB;
/// What is kept of a line that is too long (INTERFACE 1, `EDGEPUSH_LINE_MAX`).
pub const TOO_LONG_KEPT_BYTES: usize = 64 * KIB;
/// Bytes of a file's head that identify it (PROTOCOL S1).
pub const HEAD_BYTES_MAX: usize = KIB;
/// Bytes before a durable offset that prove it (PROTOCOL S1).
pub const TAIL_BYTES_MAX: usize = 64;
/// Nesting depth of a JSON value above which a line is a reject (INTERFACE 3).
pub const JSON_DEPTH_MAX: usize = 128;
/// A longer line is never parsed: `EDGEPUSH_LINE_MAX`'s ceiling (INTERFACE 1). Spans are 32 bits wide.
pub const LINE_BYTES_MAX: usize = 16 * MIB;
/// Shapes that a parser remembers at once: more than the servers of one host write, few enough to try.
pub const SHAPES_MAX: usize = 16;
/// Members of a record above which its values are not found by marks.
pub const TEMPLATE_MEMBERS_MAX: usize = 256;
/// Members of a record above which its shape is not learned.
pub const SHAPE_MEMBERS_MAX: usize = 512;
/// Bytes between a record's values above which its shape is not learned: what is remembered stays in L2.
pub const SHAPE_BYTES_MAX: usize = 16 * KIB;
/// Text whose quotes are found at once: with its marks it stays in L2. A longer line is read without marks.
pub const MARKED_BYTES_MAX: usize = 64 * KIB;
/// Lines longer than this are typed by the strict scanner alone: simd-json's buffers are up to 16 times a line.
pub const TYPED_BYTES_MAX: usize = 256 * KIB;
/// Ends of values that are tried in a line of a text format before it is given up: a flood of bad lines stays cheap.
pub const FORMAT_SEARCH_STEPS_MAX: usize = 4096;
/// What a parser's buffers keep once a line that needed more is past.
pub const PARSE_BYTES_KEPT: usize = MIB;
/// Most sources of one agent: each has counters of its own in every shard.
pub const SOURCES_MAX: usize = 64;
/// Largest `EDGEPUSH_BATCH_RECORDS`.
pub const BATCH_RECORDS_MAX: u32 = 10_000_000;
/// Bytes of a filter's text: Logpush's bound.
pub const FILTER_BYTES_MAX: usize = 1000;
/// Operators (leaves) of a filter: Logpush's bound.
pub const FILTER_OPERATORS_MAX: usize = 30;
/// Levels of nodes of a filter: its evaluation recurses.
pub const FILTER_DEPTH_MAX: usize = 16;
/// A longer host is no host: RFC 1035 has 253 bytes. Walking its labels is bounded by it.
pub const HOST_BYTES_MAX: usize = 255;
/// Largest `EDGEPUSH_BATCH_BYTES`.
pub const BATCH_BYTES_MAX: u32 = 1_000_000_000;
/// Longest text that a job may put around records, or name a field by: it stands in every record.
pub const OUTPUT_TEXT_BYTES_MAX: usize = 16 * KIB;
/// Most fields that a job may name: more than any data set has.
pub const OUTPUT_FIELDS_MAX: usize = 1000;

const _: () = {
    assert!(READ_BYTES_COLD <= CHUNK_BYTES_MAX);
    assert!(SLAB_BYTES <= CHUNK_BYTES_MAX);
    assert!(BATCH_RECORDS_MAX < 1 << 24);
    assert!(BATCH_BYTES_MAX < 1 << 30);
    // A repair makes at most six bytes (`\u00NN`) of one, and its positions are 32 bits wide too.
    assert!(LINE_BYTES_MAX * 8 < u32::MAX as usize);
    assert!(TAIL_BYTES_MAX < HEAD_BYTES_MAX);
};

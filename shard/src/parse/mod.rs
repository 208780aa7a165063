//! parse: one line becomes a record.

//! Plan: all jobs compiled; the exact bytes that each gets of a record.

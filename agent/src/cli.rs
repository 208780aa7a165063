//! cli: the command line.

//! Source: where lines come from.

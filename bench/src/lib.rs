//! Benches of the pure parts; each asserts its answer before it times anything.
